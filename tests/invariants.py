"""What must be true of a simulated room: each promise a function or a class, with a docstring
that says it. `assert` is the judge: an ordeal that breaks one fails with its words.

`Screen` and `Sendings` look on as one process of a machine runs; `at_rest` and its parts
are for a room that has been left in peace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import contacts
import events
import mesh
import net
import protocol
from protocol import Entry, Frontier, Log

if TYPE_CHECKING:
    from tests.simulator import Machine, Room, SimulatedJournal

# A link's own books (queue, deferred, lacking) beside what its Link queues.
QUEUED_BYTES = net.MAX_QUEUED_BYTES + protocol.MAX_FRAME_BYTES
MOST_LINKS = mesh.MAX_LINKS_FACTOR * mesh.MAX_LINKS
HEARTBEATS = (protocol.Ping, protocol.Pong)
# To one address in a second: what the back-off allows, and what people and hearsay may add.
DIALS_PER_S = 20


class Truth:
    """What people were shown, whatever became of the machines since."""

    def __init__(self) -> None:
        self.shown: dict[tuple[Log, int], bytes] = {}
        self.excused: Frontier = {}  # all that a broken disk may have taken with it is after this
        self.forked: dict[Log, None] = {}  # by liars
        self.forged: dict[bytes, None] = {}  # entries in the name of others
        self.withheld = False  # a liar named entries that nobody gets

    def must_be_held(self, log: Log, seq: int) -> bool:
        return log not in self.forked and seq <= self.excused.get(log, 2**63)


class Screen:
    """Nothing twice, each author's order, nothing before what its author had seen, and only
    what is on disk."""

    def __init__(self, machine: Machine, journal: SimulatedJournal) -> None:
        self.placed = journal.placed()
        self.history: list[tuple[Log, int]] = []
        self.linked: dict[bytes, None] = {}
        self._machine = machine
        self._journal = journal
        self._drawn: list[Entry] = []

    def posts(self, action: events.ShowPosts) -> None:
        for entry, history in zip(action.entries, action.history, strict=True):
            assert entry.seq == self.placed.get(entry.log, 0) + 1, "a post twice, or out of order"
            unseen = [head for head in entry.heads if self.placed.get(head.log, 0) < head.seq]
            forked = self._machine.room.truth.forked
            assert all(head.log in forked for head in unseen), "an answer before its question"
            self.placed[entry.log] = entry.seq
            self._drawn.append(entry)
            if history:
                self.history.append((entry.log, entry.seq))

    def flush(self) -> None:
        """What is on the screen now is on disk; what is the author's own, on the platter."""
        for entry in self._drawn:
            self._machine.room.truth.shown[entry.log, entry.seq] = entry.raw
        if self._drawn:
            assert not self._journal._db.in_transaction, "shown before it was committed"
            if any(entry.log == self._machine.log for entry in self._drawn):
                assert self._journal.platter_is_new, "shown as sent before it was on the platter"
        self._drawn.clear()

    def link(self, action: events.ShowLink) -> None:
        """A member comes up once, and goes down once."""
        assert (action.state == "up") == (action.member not in self.linked), "linked twice"
        if action.state == "up":
            self.linked[action.member] = None
        else:
            del self.linked[action.member]


class Sendings:
    """No entry goes twice over one link, but to prove a fork: nobody is made to amplify.
    And what a node says that it has on disk, it has promised to keep; where it says that a
    member is, it has been itself; it dials nobody as fast as it can, and blames nobody who is
    honest."""

    def __init__(self, machine: Machine) -> None:
        self.chatter = 0  # all that is sent but heartbeats, and all dials
        self._machine = machine
        self._sent: dict[tuple[int, Log], int] = {}
        self._promised: list[protocol.Head] = []
        self._dials: dict[events.Address, list[float]] = {}

    def look(self, actions: Sequence[events.Action]) -> None:
        for action in actions:
            kind = type(action)
            if kind is events.SendEntries:
                assert isinstance(action, events.SendEntries)
                sent = self._sent.get((action.link, action.log), 0)
                forked = action.log in self._machine.room.truth.forked
                assert action.after >= sent or forked, "the same entries twice over one link"
                self._sent[action.link, action.log] = action.after + 1
                self._machine.room.runs += 1
                self.chatter += 1
            elif kind is events.SendMessage:
                assert isinstance(action, events.SendMessage)
                self.chatter += type(action.message) not in HEARTBEATS
                if type(action.message) is protocol.Have:
                    self._promised.extend(action.message.heads)
                elif type(action.message) is protocol.Peers:
                    self._are_true(action.message)
            elif kind is events.ShowNotice:
                assert isinstance(action, events.ShowNotice)
                liars = not all(machine.honest for machine in self._machine.room.machines)
                assert liars or not action.text.endswith("link closed"), "honest, and blamed"
            elif kind is events.OpenLink:
                assert isinstance(action, events.OpenLink)
                # One that a liar made up is dialed some times more before it is let go, and
                # what a liar says of our own we find out once.
                others = self._machine.room.listeners.keys() - {self._machine.address}
                self.chatter += action.address in others
                self._is_patient(action.address)

    def _are_true(self, peers: protocol.Peers) -> None:
        listeners = self._machine.room.listeners
        for member, host, port in peers.peers:
            there = listeners.get((host, port))
            assert not host or (there and there.member == member), "hearsay was passed on"

    def _is_patient(self, address: events.Address) -> None:
        now = self._machine.room.now
        recent = [at for at in self._dials.get(address, ()) if at > now - 1.0]
        self._dials[address] = [*recent, now]
        assert len(recent) < DIALS_PER_S, "an address is dialed without a pause"

    def flush(self) -> None:
        """What was to be sent has left."""
        self._machine.receipts.update((head.log, head.seq) for head in self._promised)
        self._promised.clear()


def stored_before_sent(machine: Machine) -> None:
    """No message leaves before the turn that it comes from is committed."""
    if machine.node and machine.honest:
        assert not machine.journal._db.in_transaction, "sent before it was committed"


def acknowledged_is_kept(machine: Machine, frontier: Frontier) -> None:
    """What a node has said is on its disk is there after whatever start."""
    for log, seq in machine.receipts.items():
        assert frontier.get(log, 0) >= seq, f"{machine.name} lost what it had acknowledged"


def excuse(machine: Machine, *, liars_only: bool = False) -> None:
    """To be called before `machine`'s disk loses something that had been on the platter:
    what nobody else has on theirs may be gone for good. Or before it loses what had not:
    an author that is honest has that on its own platter, a liar need not have it at all."""
    truth = machine.room.truth
    liars = [other.member for other in machine.room.machines if not other.honest]
    if liars_only and not liars:
        return
    others: Frontier = {}
    for other in machine.room.machines:
        if other.honest and (liars_only or other is not machine):
            for log, seq in other.disk.frontier().items():
                others[log] = max(seq, others.get(log, 0))
    for log in {log: None for log, _ in truth.shown}:
        if not liars_only or log[: protocol.MEMBER_BYTES] in liars:
            truth.excused[log] = min(others.get(log, 0), truth.excused.get(log, 2**63))
    if not liars_only:
        machine.receipts.clear()


def memory_is_bounded(machine: Machine) -> None:
    """What a node holds for its links, and of addresses, is within the limits."""
    node = machine.node
    if node is None:
        return
    for connection in node.connections.values():
        assert connection.link.queued_bytes <= QUEUED_BYTES, "a link queues more than it may"
    assert len(node.connections) <= MOST_LINKS + mesh.MAX_OPENING + contacts.MAX_DIALS
    assert len(node.mesh.contacts.known) <= contacts.MAX_ADDRESSES, (
        "more addresses than are to be remembered"
    )
    assert len(node.mesh.links) == len(node.connections), "links and connections are not the same"


# ---------------------------------------------------------------- a room at rest


def converged(machines: Sequence[Machine]) -> bool:
    """Everybody holds the same, but for logs that were forked."""
    if not machines:
        return True
    forked = machines[0].room.truth.forked
    frontiers = (machine.journal.frontier() for machine in machines)
    if forked:
        frontiers = ({log: f[log] for log in f if log not in forked} for f in frontiers)
    first = next(frontiers)
    return all(frontier == first for frontier in frontiers)  # up to one that is not


def proven(machines: Sequence[Machine]) -> bool:
    """Every fork becomes a proof at every member: a log of which two members hold different
    entries, or one holds proof, is proven to be forked to all."""
    known: dict[Log, None] = {}
    branches: dict[Log, bytes] = {}
    for machine in machines:
        known.update(dict.fromkeys(machine.journal.forks))
        frontier = machine.journal.frontier()
        for log in machine.room.truth.forked:
            if log in frontier:
                first = machine.journal.entry(log, 1)
                if branches.setdefault(log, first) != first:
                    known[log] = None
    return all(log in machine.journal.forks for log in known for machine in machines)


def at_rest(room: Room) -> None:
    """All of what follows."""
    nothing_is_lost(room)
    history = one_order(room)
    answers_follow(room, history)  # of one: all have the same
    one_name_each(room)
    nothing_is_forged(room)
    no_honest_log_is_forked(room)
    assert proven(room.up()), "a fork that is not proven to everybody"
    every_queue_is_drained(room)
    for machine in room.up():
        memory_is_bounded(machine)


def nothing_is_lost(room: Room) -> None:
    """All that was ever on a screen is held by all, and shown to all: but for what only one
    broken disk had, and what its author forked."""
    for machine in room.up():
        frontier, held = machine.journal.frontier(), machine.journal.held()
        for (log, seq), raw in room.truth.shown.items():
            if room.truth.must_be_held(log, seq):
                assert frontier.get(log, 0) >= seq, f"a post is lost on {machine.name}"
                # A damaged page may hide from a scan what the index still finds.
                found = held.get((log, seq)) or machine.journal.entry(log, seq)
                assert found == raw, "a post was exchanged"
        if not (room.truth.excused or room.truth.withheld or room.truth.forked):
            assert machine.screen.placed == frontier, "held, but not shown"
        assert machine.screen.placed == machine.journal.placed(), "the screen is behind"


def nothing_is_forged(room: Room) -> None:
    """Nobody holds what an author did not sign."""
    for machine in room.up():
        for raw in room.truth.forged:
            entry = protocol.parse_entry(raw)
            if machine.journal.frontier().get(entry.log, 0) >= entry.seq:
                assert machine.journal.entry(entry.log, entry.seq) != raw, "a forged post"


def one_order(room: Room) -> list[Entry]:
    """The history is the same on every member, in one total order. (After a fork each
    member has its own branch of it: then the same posts of all others.) Returns one."""
    forked = room.truth.forked
    whole = [machine.journal.history(10**9) for machine in room.up()]
    histories = [[entry.raw for entry in each if entry.log not in forked] for each in whole]
    for history in histories:
        assert len(set(history)) == len(history), "a post is in the history twice"
        if forked:
            assert set(history) == set(histories[0]), "the history is not the same"
        else:
            assert history == histories[0], "the history has more than one order"
    return whole[0] if whole else []


def answers_follow(room: Room, history: list[Entry]) -> None:
    """In the history nothing stands before what its author had seen, whatever its clock says,
    and no author names again what it has named before."""
    forked = room.truth.forked
    place: dict[tuple[Log, int], int] = {}
    named: dict[tuple[Log, Log], int] = {}
    for number, entry in enumerate(history):
        place[entry.log, entry.seq] = number
    for number, entry in enumerate(history):
        if entry.log in forked or any(head.log in forked for head in entry.heads):
            continue
        before = [(head.log, head.seq) for head in entry.heads]
        before.append((entry.log, entry.seq - 1))
        assert all(place.get(seen, -1) < number for seen in before), "out of order"
    honest = [machine.member for machine in room.machines if machine.honest]
    for entry in sorted(history, key=lambda entry: (entry.log, entry.seq)):
        for head in entry.heads if entry.author in honest else ():
            again = named.get((entry.log, head.log), 0) >= head.seq
            assert not again, "what was seen is named twice"
            named[entry.log, head.log] = head.seq


def one_name_each(room: Room) -> None:
    """Everybody knows everybody by the same name."""
    if not room.truth.forked:
        for author in room.machines:
            names = {machine.journal.name_of(author.member): None for machine in room.up()}
            assert len(names) <= 1, "a member goes by two names"


def no_honest_log_is_forked(room: Room) -> None:
    """Whatever crash, restore or clone there was: who didn't lie is not accused."""
    for machine in room.up():
        for log in machine.journal.parted():
            assert log in room.truth.forked, f"{machine.name} takes an honest log as forked"


def every_queue_is_drained(room: Room) -> None:
    """Nothing waits for ever on a link that is up."""
    for machine in room.up():
        assert machine.node is not None
        for connection in machine.node.connections.values():
            assert not connection.link.queued_bytes, "bytes that never leave"
        for link in machine.node.mesh.members.values():
            waiting = (link.lacking, link.deferred, link.untold, link.telling)
            assert not any(waiting) and not link.feeding, "something that is never sent"


def nobody_is_left_to_dial(room: Room) -> bool:
    """Everybody has found out of every address of the room who is there, or given up."""
    for machine in room.up():
        assert machine.node is not None
        mesh = machine.node.mesh
        for contact in map(mesh.contacts.known.get, room.listeners):
            found = contact and contact.proven and contact.member in mesh.members
            if contact and contact.next_try is not None and not found:
                return False
        if not all(link.up for link in mesh.links.values() if link.address in room.listeners):
            return False
    return True


def silence(room: Room, seconds: float) -> None:
    """A room at rest sends heartbeats and nothing else, and dials nobody."""
    before = {machine: machine.sendings.chatter for machine in room.running}
    room.run(seconds)
    for machine in room.up():
        assert machine.sendings.chatter == before[machine], f"{machine.name} talks at rest"


def the_dead_are_missed(room: Room) -> None:
    """Nobody is taken for being there who has been off power for 15 seconds."""
    dead = room.machines[0]
    dead.cut_power()
    room.run(15.0)
    for machine in room.up():
        assert machine.node is not None
        assert dead.member not in machine.node.mesh.members, "linked to the dead"
