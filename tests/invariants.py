"""What must be true of a simulated room: each promise a function or a class, with a docstring
that says it. `assert` is the judge: an ordeal that breaks one fails with its words.

`Screen`, `Sendings` and `Hearings` look on as one process of a machine runs; `at_rest` and
its parts are for a room that has been left in peace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import contacts
import events
import link as links
import mesh
import net
import protocol
import receipts
from protocol import Entry, Frontier, Log

if TYPE_CHECKING:
    from node import Node
    from tests.simulator import Machine, Room, SimulatedJournal, Socket

MOST_LINKS = mesh.MAX_LINKS_FACTOR * mesh.MAX_LINKS
HEARTBEATS = (protocol.Ping, protocol.Pong)
# To one address in a second: what the back-off allows, and what people and hearsay may add.
DIALS_PER_S = 20
REST_S = 2.0  # the longest that something is put off (mesh.RELAY_S, SYNC_S), and round trips
PATIENCE_S = 5.0  # to be linked to everybody again
SLOW_BYTES_PER_S = 2_000
FORGET_S = 120.0  # for the dials that a made-up address is worth
# A frame that is not whole yet, and what was read after it.
UNREAD_BYTES = protocol.MAX_FRAME_BYTES + links.READ_BYTES
LIMITS: dict[type, Callable[[Any], bool]] = {  # of what a message is made of
    protocol.Have: lambda have: len(have.heads) <= protocol.MAX_HAVE_LOGS,
    protocol.Peers: lambda peers: len(peers.peers) <= protocol.MAX_PEERS,
    protocol.Receipt: lambda receipt: len(receipt.heads) <= protocol.MAX_RECEIPT_LOGS,
    protocol.Entries: lambda entries: len(entries.run) <= protocol.MAX_RUN,
    protocol.Hello: lambda hello: len(hello.name.encode()) <= protocol.MAX_NAME_BYTES,
}


class Truth:
    """What people were shown, whatever became of the machines since."""

    def __init__(self) -> None:
        self.shown: dict[tuple[Log, int], bytes] = {}
        self.excused: Frontier = {}  # all that a broken disk may have taken with it is after this
        self.forked: dict[Log, None] = {}  # by liars
        self.whispered: dict[Log, None] = {}  # by liars, to members whose disks may lose it
        self.forged: dict[bytes, None] = {}  # entries in the name of others
        self.withheld = False  # a liar named entries that nobody gets

    def must_be_held(self, log: Log, seq: int) -> bool:
        doubtful = log in self.forked or log in self.whispered
        return not doubtful and seq <= self.excused.get(log, 2**63)


class Screen:
    """Nothing twice, each author's order, nothing before what its author had seen, and only
    what is on disk."""

    def __init__(self, machine: Machine, journal: SimulatedJournal) -> None:
        self.placed = journal.placed()
        self.history: list[tuple[Log, int]] = []
        self.linked: dict[bytes, None] = {}
        self.left: dict[bytes, str] = {}  # members that went, and why
        self.confirmed: dict[bytes, int] = {}  # of our log, by whom
        self._machine = machine
        self._journal = journal
        self._drawn: list[Entry] = []

    def posts(self, action: events.ShowPosts) -> None:
        for entry, history in zip(action.entries, action.history, strict=True):
            assert len(entry.raw) <= protocol.MAX_ENTRY_BYTES, "an entry beyond the limits"
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
        if not self._drawn:
            return
        for entry in self._drawn:
            self._machine.room.truth.shown[entry.log, entry.seq] = entry.raw
        assert not self._journal._db.in_transaction, "shown before it was committed"
        if any(entry.log == self._machine.log for entry in self._drawn):
            assert self._journal.platter_is_new, "shown as sent before it was on the platter"
        self._drawn.clear()

    def link(self, action: events.ShowLink) -> None:
        """A member comes up once, and goes down once."""
        assert (action.state == "up") == (action.member not in self.linked), "linked twice"
        members = [machine.member for machine in self._machine.room.machines]
        assert action.member in members, "somebody is in who is no member"
        if action.state == "up":
            self.linked[action.member] = None
        else:
            del self.linked[action.member]
            self.left[action.member] = action.reason

    def confirm(self, action: events.ShowConfirmed) -> None:
        """Who is listed as having a post has had it on the platter, and stays listed."""
        confirmed, log = dict(action.confirmed), self._machine.log
        assert 0 <= action.after < action.upto <= max(confirmed.values()), "confirmed for nothing"
        for machine in self._machine.room.machines:
            seq = confirmed.get(machine.member, 0)
            assert seq >= self.confirmed.get(machine.member, 0), "confirmed, and not any more"
            limits = machine.disk.synced if machine.honest else self._journal.frontier()
            assert seq <= limits.get(log, 0), "listed as having a post that it has not"
        self.confirmed = confirmed


class Sendings:
    """No entry goes twice over one link, but to prove a fork: nobody is made to amplify.
    And what a node says that it has on disk, it has promised to keep; where it says that a
    member is, it has been itself; it dials nobody as fast as it can, and blames nobody who is
    honest."""

    def __init__(self, machine: Machine) -> None:
        self.chatter = 0  # all that is sent but heartbeats, and all dials
        self.receipts = 0
        self._machine = machine
        self._sent: dict[tuple[int, Log], int] = {}
        self._shown: dict[tuple[int, Log], None] = {}  # forks, to who holds another branch
        self._told: dict[tuple[int, Log], int] = {}
        self._promised: list[protocol.Head] = []
        self._signed_at = float("-inf")
        self._passed: dict[tuple[int, bytes, Log], int] = {}
        self._dials: dict[events.Address, list[float]] = {}

    def look(self, event: events.Event, actions: Sequence[events.Action]) -> None:
        at_once = 0
        for action in actions:
            kind = type(action)
            if kind is events.SendEntries:
                assert isinstance(action, events.SendEntries)
                sent = self._sent.get((action.link, action.log), 0)
                forked = action.log in self._machine.room.truth.forked
                if action.after < sent:
                    again = (action.link, action.log) in self._shown
                    assert forked and not again, "the same entries twice over one link"
                    self._shown[action.link, action.log] = None
                self._machine.hearings.allow(action, forked)
                self._sent[action.link, action.log] = action.after + 1
                self._machine.room.runs += 1
                self.chatter += 1
            elif kind is events.SendMessage:
                assert isinstance(action, events.SendMessage)
                # What a liar says of our own address we find out once.
                told = self._node().mesh.links.get(action.link)
                to_us = told is not None and told.member == self._machine.member
                self.chatter += type(action.message) not in HEARTBEATS and not to_us
                self._is_in_place(action)
                if type(action.message) is protocol.Have:
                    self._is_news(action.link, action.message)
                    self._promised.extend(action.message.heads)
                elif type(action.message) is protocol.Peers:
                    self._are_true(action.message)
                elif type(action.message) is protocol.Receipt:
                    self.receipts += 1
                    self._is_for(action.link, action.message)
            elif kind is events.SendReceipt:
                assert isinstance(action, events.SendReceipt)
                self.chatter += 1
                self.receipts += 1
                self._is_needed(action, leaving=type(event) is events.Left)
                self._promised.extend(action.heads)
            elif kind is events.ShowNotice:
                assert isinstance(action, events.ShowNotice)
                if self._machine.honest and "; link closed" in action.text:
                    self._is_of_a_liar(action.text)
            elif kind is events.OpenLink:
                assert isinstance(action, events.OpenLink)
                # One that a liar made up is dialed some times more before it is let go, and
                # what a liar says of our own we find out once.
                others = self._machine.room.listeners.keys() - {self._machine.address}
                self.chatter += action.address in others
                self._is_patient(action.address)
                known = self._node().mesh.contacts.known[action.address]
                at_once += known.source != "you"
        assert at_once <= contacts.DIALS_AT_ONCE, "a turn of nothing but dials"

    def _node(self) -> Node:
        assert self._machine.node is not None
        return self._machine.node

    def _is_in_place(self, action: events.SendMessage) -> None:
        """Who has not said Hello is told nothing."""
        link = self._node().mesh.links.get(action.link)
        greeting = type(action.message) in (protocol.Hello, protocol.Bye)
        assert greeting or link is None or link.up, "told before it said Hello"

    def _is_news(self, link: int, have: protocol.Have) -> None:
        """What was told of a log is not told again, and who reads nothing can wait for it."""
        assert not self._node().mesh.links[link].clogged, "told more than it reads"
        for log, seq, _ in have.heads:
            assert seq > self._told.get((link, log), 0), "the same is acknowledged twice"
            self._told[link, log] = seq

    def _is_needed(self, action: events.SendReceipt, *, leaving: bool) -> None:
        """A receipt is of authors that are not linked, and goes to who can pass it on; seldom."""
        mesh_, now = self._node().mesh, self._machine.room.now
        links = [mesh_.links[link] for link in action.links] if not leaving else []
        assert len(action.links) <= 2 * len(action.heads), "signed for more than it has authors"
        assert leaving or now > self._signed_at + receipts.RECEIPT_S - 0.001, "signed too often"
        self._signed_at = now
        for log, _, _ in action.heads:
            author = log[: protocol.MEMBER_BYTES]
            assert author not in (*mesh_.members, mesh_.me), "signed for who is told anyway"
            reached = leaving or any(author in link.linked for link in links)
            assert reached, "signed for who does not get it"

    def _is_for(self, link: int, receipt: protocol.Receipt) -> None:
        """A receipt is passed on to an author in it, and never again if nothing in it is news."""
        author = self._node().mesh.links[link].member
        assert author is not None
        own = [head for head in receipt.heads if head.log.startswith(author)]
        assert own and author != receipt.member, "a receipt for nobody"
        keys = [(link, receipt.member, log) for log, _, _ in own]
        news = [seq > self._passed.get(key, 0) for key, (_, seq, _) in zip(keys, own, strict=True)]
        self._passed.update(zip(keys, (seq for _, seq, _ in own), strict=True))
        # A liar has more logs than one receipt, or says what it likes.
        liars = [m.member for m in self._machine.room.machines if not m.honest]
        lied = author in liars or receipt.member in liars
        assert any(news) or lied, "the same is passed on"

    def _is_of_a_liar(self, notice: str) -> None:
        for machine in self._machine.room.machines:
            blamed = f" at {machine.address[0]}:" in notice
            assert not (blamed and machine.honest), f"honest, and blamed: {notice}"

    def _are_true(self, peers: protocol.Peers) -> None:
        listeners = self._machine.room.listeners
        for member, host, port in peers.peers:
            there = listeners.get((host, port))
            assert not host or (there and there.member == member), "hearsay was passed on"
            found = (member, (host, port)) in self._machine.hearings.found
            assert not host or found, "told where it has not been itself"

    def _is_patient(self, address: events.Address) -> None:
        now = self._machine.room.now
        recent = [at for at in self._dials.get(address, ()) if at > now - 1.0]
        self._dials[address] = [*recent, now]
        assert len(recent) < DIALS_PER_S, "an address is dialed without a pause"

    def flush(self) -> None:
        """What was to be sent has left; and what it acknowledges was on the platter before."""
        if self._promised:
            synced = self._machine.disk.synced
            for log, seq, _ in self._promised:
                assert synced.get(log, 0) >= seq, "acknowledged, and not on the platter"
                self._machine.receipts[log] = max(seq, self._machine.receipts.get(log, 0))
            self._promised.clear()


class Hearings:
    """What comes over each link, and what is made of it: who breaks the protocol is hung up
    on, and who keeps to it is not; nobody takes in more at once than the limits say, or sends
    what the far end said that it has."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.found: dict[tuple[bytes, events.Address], None] = {}  # members, where it called
        self._called: dict[int, events.Address] = {}
        self._members: dict[int, bytes] = {}
        self._greeted: dict[int, None] = {}
        self._told_all: dict[int, None] = {}  # links over which a whole frontier has come
        self._had: dict[tuple[int, Log], int] = {}  # what the far end said that it has
        self._in_turn: Counter[int] = Counter()  # messages, of each link
        self._stranger_at = float("-inf")
        self._unsynced_at = float("inf")

    def allow(self, action: events.SendEntries, forked: bool) -> None:
        """An entry is for who has told what it has, and that it has not this one."""
        assert forked or action.link in self._told_all, "sent before the far end said what it has"
        had = self._had.get((action.link, action.log), 0)
        assert action.after >= had or forked, "sent to who said that it has it"

    def look(self, event: events.Event, actions: Sequence[events.Action]) -> None:
        node = self._machine.node
        assert node is not None
        kind = type(event)
        if kind is events.MessageReceived:
            assert isinstance(event, events.MessageReceived)
            self._hear(node, event, actions)
        elif kind is events.LinkSecured:
            assert isinstance(event, events.LinkSecured)
            self._members[event.link] = event.member
            if event.link in self._called:
                self.found[event.member, self._called[event.link]] = None
        elif kind is events.LinkOpened:
            assert isinstance(event, events.LinkOpened)
            if event.dialed:
                self._called[event.link] = event.address
        elif kind is events.RunRefused or kind is events.LinkClosed:
            assert isinstance(event, events.RunRefused | events.LinkClosed)
            assert event.link not in node.mesh.links, "it goes on with who broke the protocol"
        elif kind is events.TimePassed:
            self._are_dead(node, actions)
        elif kind is events.JournalSynced:
            self._unsynced_at = float("inf")
        elif kind is events.RunStored:
            assert isinstance(event, events.RunStored)
            if event.link is not None and self._is_honest(event.link):
                had = self._had.get((event.link, event.log), 0)
                self._had[event.link, event.log] = max(event.seq, had)
        for action in actions:
            if type(action) is events.ShowNotice and "did not get in" in action.text:
                soon = self._stranger_at + mesh.STRANGERS_S > self._machine.room.now
                assert not soon, "strangers fill the screen"
                self._stranger_at = self._machine.room.now

    def flush(self) -> None:
        """A turn is over: what others wait for is put off no longer than it may be."""
        self._in_turn.clear()
        node, now = self._machine.node, self._machine.room.now
        if node is None or not node.mesh.unsynced:
            self._unsynced_at = float("inf")
        else:
            self._unsynced_at = min(self._unsynced_at, now)
            assert now <= self._unsynced_at + mesh.SYNC_S + 0.001, "acknowledged late"

    def _hear(
        self, node: Node, event: events.MessageReceived, actions: Sequence[events.Action]
    ) -> None:
        message, number = event.message, event.link
        self._in_turn[number] += 1
        assert self._in_turn[number] <= links.TURN_MESSAGES, "one link has a turn to itself"
        within = LIMITS.get(type(message))
        assert within is None or within(message), "beyond the limits"
        if isinstance(message, protocol.Hello):
            assert number not in self._greeted or number not in node.mesh.links, "greeted twice"
            self._greeted[number] = None
            self._stays_one(node, number, message, actions)
        link = node.mesh.links.get(number)
        if link is None:
            return
        turned_away = link.dialed and link.greeted and type(message) is protocol.Peers
        ours = link.member == node.mesh.me  # it said Hello, and is to find out that we are it
        assert link.up or turned_away or ours, "it listens to who has not said Hello"
        if isinstance(message, protocol.Have):
            for log, seq, _ in message.heads if self._is_honest(number) else ():
                self._had[number, log] = max(seq, self._had.get((number, log), 0))
            if message.last:
                self._told_all[number] = None
        elif isinstance(message, protocol.Ping):
            queued = node.connections[number].link.queued_bytes
            fits = queued <= links.MAX_QUEUED_BYTES or not self._machine.honest  # as liars need not
            assert fits, "it answers on and on to who reads no answer"
            assert events.SendMessage(number, protocol.Pong()) in actions, "a question unanswered"

    def _is_honest(self, link: int) -> bool:
        room = self._machine.room
        return any(m.honest for m in room.machines if m.member == self._members.get(link))

    def _stays_one(
        self, node: Node, number: int, hello: protocol.Hello, actions: Sequence[events.Action]
    ) -> None:
        """Of two links between two nodes one stays, on both ends the same: the one that the
        smaller id dialed. And none stays to a process that is gone."""
        member = self._members.get(number, b"")
        stay = [link for link in node.mesh.links.values() if link.member == member and link.greeted]
        for action in actions:
            if not isinstance(action, events.CloseLink) or not self._is_honest(number):
                continue
            if member == self._machine.member:
                continue  # it has called itself: none is to stay
            if stay and self._members.get(action.link) == member:
                lost, kept = (self._socket(node, link) for link in (action.link, stay[0].id))
                lost.unwanted = True
                assert not kept.peer.unwanted, "of two links none stays"
                one_way = lost.dialed == kept.dialed
                if not (lost.peer.closed or kept.peer.closed or one_way):
                    assert kept.dialed == (self._machine.member < member), "the wrong link stays"
                earlier = stay[0].hello
                if protocol.Bye(protocol.COPIED) in [
                    getattr(each, "message", None) for each in actions
                ]:
                    self._is_a_copy(member, stay[0])
                elif action.link == number and earlier is not None:
                    assert earlier.instance == hello.instance, "the dead before the living"

    def _is_a_copy(self, member: bytes, kept: mesh.Link) -> None:
        """Only where two run with one key is one of them not let in; or it is gone by now."""
        nodes = [each.node for each in self._machine.room.machines if each.member == member]
        alive = [node.mesh._instance for node in nodes if node is not None]
        assert kept.hello is not None
        assert len(alive) != 1 or alive == [kept.hello.instance], "the dead before the living"

    @staticmethod
    def _socket(node: Node, link: int) -> Socket:
        return cast("Socket", node.connections[link]._socket)

    def _are_dead(self, node: Node, actions: Sequence[events.Action]) -> None:
        """Only who is not heard, not even in pieces of a message, is taken for dead."""
        for close, shown in pairwise(actions):
            if isinstance(shown, events.ShowLink) and shown.reason.startswith("not heard"):
                assert isinstance(close, events.CloseLink)
                silent_s = self._machine.room.now - self._socket(node, close.link).heard
                assert silent_s > mesh.DEAD_S - 0.001, "taken for dead while it was heard"


def stored_before_sent(machine: Machine) -> None:
    """No message leaves before the turn that it comes from is committed."""
    if machine.node and machine.honest:
        assert not machine.journal._db.in_transaction, "sent before it was committed"


def leaves_nothing_open(machine: Machine, frontier: Frontier) -> None:
    """Who leaves has acknowledged all that it has got."""
    for log, seq in frontier.items():
        told = log == machine.log or machine.receipts.get(log, 0) >= seq
        assert told, f"{machine.name} goes, and has not said what it has"


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
        queued = connection.link.queued_bytes
        assert queued <= links.MAX_QUEUED_BYTES, "a link queues more than it may"
        asleep = connection.link.unread and not connection._watched & net.WRITE
        assert not asleep, "messages that nobody will look at"
        unread = connection.link._frames._size
        assert unread <= UNREAD_BYTES, "a link holds more unread than it may"
    held = len(node.mesh.frontier)
    for link in node.mesh.links.values():
        assert len(link.sent) <= mesh.MAX_LOGS_TOLD + held, "more logs than are to be remembered"
        assert len(link.linked) <= protocol.MAX_PEERS, "more peers than can be told"
        ahead = [(log, seq) for log, seq in link.ahead.items() if log in link.sent]
        assert len(ahead) == len(link.ahead), "of more logs than are to be remembered"
        assert all(seq > node.mesh.frontier.get(log, 0) for log, seq in ahead), "it lags behind"
        assert len(link.passed) <= receipts.MAX_PASSED, "more receipts than are remembered"
        assert link.passing.keys() <= link.passed.keys(), "more receipts than are remembered"
    assert len(node.mesh.receipts._moved) <= held, "receipts of what it does not hold"
    assert len(node.mesh._history) <= mesh.MAX_LOGS_TOLD + held, "more logs than are remembered"
    opening = sum(not (link.dialed or link.up) for link in node.mesh.links.values())
    assert opening <= mesh.MAX_OPENING, "more callers at the door than there is room for"
    assert len(node.connections) <= MOST_LINKS + mesh.MAX_OPENING + contacts.MAX_DIALS
    known = len(node.mesh.contacts.known)
    assert known <= contacts.MAX_ADDRESSES, "more addresses than are to be remembered"
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
    chains_hold(room)
    no_honest_log_is_forked(room)
    assert proven(room.up()), "a fork that is not proven to everybody"
    every_queue_is_drained(room)
    everybody_is_listed(room)
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
        for author in room.machines if not room.truth.excused else ():
            for log in frontier if author.honest else ():
                if log.startswith(author.member):
                    shown = machine.screen.placed.get(log, 0)
                    assert shown == frontier[log], "held, but not shown"
        assert machine.screen.placed == machine.journal.placed(), "the screen is behind"


def nothing_is_forged(room: Room) -> None:
    """Nobody holds what an author did not sign."""
    for machine in room.up():
        for raw in room.truth.forged:
            entry = protocol.parse_entry(raw)
            if machine.journal.frontier().get(entry.log, 0) >= entry.seq:
                assert machine.journal.entry(entry.log, entry.seq) != raw, "a forged post"


def chains_hold(room: Room) -> None:
    """Of a liar's log nobody holds an entry that does not name the one before it. (To an
    honest one nobody can add.)"""
    for machine in room.up():
        held = machine.journal.held()
        for (log, seq), raw in held.items():
            if not any(m.honest for m in room.machines if m.member == log[:32]):
                entry = protocol.parse_entry(raw)
                before = held.get((log, seq - 1), b"")
                hashed = sha256(before).digest() if seq > 1 else protocol.NO_PREVIOUS
                assert (entry.log, entry.previous) == (log, hashed), "a chain is broken"


def one_order(room: Room) -> list[Entry]:
    """The history is the same on every member, in one total order. (After a fork each
    member has its own branch of it: then the same posts of all others.) Returns one."""
    forked = room.truth.forked
    whole = [machine.journal.history(10**9) for machine in room.up()]
    histories = [[entry.raw for entry in each if entry.log not in forked] for each in whole]
    for history in histories:
        names = {protocol.name_in(raw) for raw in history}
        assert len(names) == len(history), "a post is in the history twice"
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
            assert head.log != entry.log, "it names itself"
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


def everybody_is_listed(room: Room) -> None:
    """Each author knows of all who are linked that they have all its posts, and is shown it. (Who
    was cut off from its power may be taken for linked yet, and has said nothing any more.)"""
    honest = [machine.member for machine in room.up() if machine.honest]
    for machine in room.up():
        assert machine.node is not None
        own = machine.node.mesh.frontier.get(machine.log, 0)
        linked = [member for member in machine.node.mesh.members if member in honest]
        for member in linked if own else ():
            assert machine.screen.confirmed.get(member) == own, "it has a post, and is not listed"
        assert machine.node.mesh.confirmed_by() >= len(linked), "not all who have it are counted"


def every_queue_is_drained(room: Room) -> None:
    """Nothing waits for ever on a link that is up, and no socket is forgotten."""
    for machine in room.up():
        assert machine.node is not None
        assert len(machine.sockets) == len(machine.node.connections), "a socket nobody closes"
        for connection in machine.node.connections.values():
            assert not connection.link.queued_bytes, "bytes that never leave"
        for link in machine.node.mesh.members.values():
            waiting = (link.lacking, link.deferred, link.untold, link.telling, link.passing)
            assert not any(waiting) and not link.feeding, "something that is never sent"


def nobody_is_left_to_dial(room: Room) -> bool:
    """Everybody has found out of every address of the room who is there, or given up. Its own only
    a liar tells it of, and has its turn among what else the liar has made up."""
    for machine in room.up():
        assert machine.node is not None
        mesh = machine.node.mesh
        for contact in map(mesh.contacts.known.get, room.listeners.keys() - {machine.address}):
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


def talk_is_live(room: Room) -> None:
    """What is said in a room at rest goes once to each member, is on every screen as what was
    said just now, and is known by its author to be there: all within REST_S."""
    runs, history = room.runs, {m: len(m.screen.history) for m in room.up()}
    for machine in room.up():
        machine.say(f"{machine.name} is here")
        room.run(mesh.SYNC_S / 2)  # while some acknowledge, others talk
    room.run(REST_S)
    for machine in room.up() if not room.truth.excused else ():
        names = {other.journal.name_of(machine.member): None for other in room.up()}
        assert list(names) == [machine.name], "it has a new name, and is called by the old one"
    if len(room.up()) == len(room.running):  # a liar has to have what it says that it hasn't
        assert room.runs - runs <= len(room.up()) * (len(room.up()) - 1), "sent more than once"
    assert room.converged(), "what was said in peace does not arrive"
    for machine in room.up():
        assert len(machine.screen.history) == history[machine], "what is said now is no history"
        log = machine.log
        for other in room.up():
            assert other.screen.placed.get(log) == machine.screen.placed[log], "not on the screen"
    everybody_is_listed(room)
    every_queue_is_drained(room)


def the_parted_have_receipts(room: Room) -> None:
    """Two who can't reach each other are known, each by the other, to have what both say, in
    both directions, through those who reach both; and when there is no more to say, that ends."""
    one, other = room.up()[:2]
    room.keep_apart(one, other)
    assert room.run_until(lambda: _are_parted(one, other), 2 * mesh.DEAD_S), "linked all the same"
    for each in (one, other):
        each.say(f"{each.name} is cut off")
    room.run(REST_S)
    for each, far in ((one, other), (other, one)):
        assert each.node and far.node
        own = each.node.mesh.frontier[each.log]
        assert each.screen.confirmed.get(far.member) == own, "it has a post, and is not listed"
        assert each.node.mesh.audience()[far.member], "it has all posts, and is not counted"
    before = {machine: machine.sendings.receipts for machine in room.running}
    room.run(2 * REST_S)
    for machine in room.up():
        assert machine.sendings.receipts == before[machine], "receipts for nothing new"


def _are_parted(one: Machine, other: Machine) -> bool:
    assert one.node and other.node
    return not (other.member in one.node.mesh.members or one.member in other.node.mesh.members)


def who_was_away_is_told_so(room: Room) -> None:
    """Who leaves is seen to leave, at once. To who comes back, what was said meanwhile is what
    it missed; all of it that its clock does not take for said just now."""
    away, *others = room.up()
    placed = dict(away.journal.frontier())
    for other in others:
        other.screen.left.pop(away.member, None)
    away.leave()
    room.run(1.0)
    for other in others:
        assert other.screen.left.get(away.member) == "goodbye", "it left, and nobody is told"
        other.say(f"{other.name} talks of who is away")
    room.run(2 * mesh.LIVE_S)
    away.start()
    assert room.run_until(lambda: room.full_mesh() and room.converged(), PATIENCE_S), "not back"
    now_ms, live_ms = away.wall_ms(), int(1000 * mesh.LIVE_S)
    just_now_ms = range(now_ms - live_ms - int(1000 * PATIENCE_S), now_ms + live_ms)
    for other in others:
        for seq in range(placed.get(other.log, 0) + 1, other.journal.frontier()[other.log] + 1):
            entry = protocol.parse_entry(other.journal.entry(other.log, seq))
            if entry.time_ms not in just_now_ms:
                assert (other.log, seq) in away.screen.history, "what it missed is no news"


def a_slow_line_is_no_dead_one(room: Room) -> None:
    """A long post may take longer over a slow line than a dead link stays: nobody goes."""
    slow, other = room.up()[:2]
    room.slow(slow, other, SLOW_BYTES_PER_S)
    linked = dict(other.screen.linked)
    slow.say("x" * int(1.5 * mesh.DEAD_S * SLOW_BYTES_PER_S))
    room.run(2.0 * mesh.DEAD_S)
    room.heal()
    assert other.screen.linked == linked and slow.member in linked, "slow, and taken for dead"


def lies_are_let_go(room: Room) -> None:
    """What a liar made up is not dialed for ever: as often as hearsay is, and one a second."""
    most = max((len(_made_up(room, machine)) for machine in room.up()), default=0)
    dials_s = most * contacts.HEARSAY_TRIES * contacts.RUMOUR_S

    def let_go() -> bool:
        return not any(_made_up(room, machine) for machine in room.up())

    assert room.run_until(let_go, FORGET_S + dials_s), "it believes in where nobody ever was"


def _made_up(room: Room, machine: Machine) -> list[events.Address]:
    assert machine.node is not None
    known = machine.node.mesh.contacts.known
    return [address for address in known if address not in room.listeners]


def the_dead_are_missed(room: Room) -> None:
    """Nobody is taken for being there who has been off power for 15 seconds."""
    dead = room.machines[0]
    dead.cut_power()
    room.run(15.0)
    for machine in room.up():
        assert machine.node is not None
        assert dead.member not in machine.node.mesh.members, "linked to the dead"
