"""A whole room in one process, on a simulated clock, network and disk.

Real: Mesh, Journal and the frames of the wire, of every node. Simulated: time; TCP and the
way in; disks (an SQLite database in memory, and the image of it that a power cut leaves);
people. Signatures are fake, a plain hash that anybody could make: nothing here is about
forgery, and real ones would be most of the run time.

Every random choice comes from one seed: same seed, same run, same `Room.trace()`. What must
be true at any moment is asserted as it happens (`Node._show_posts` above all), what must be
true in the end in `Room.check`.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256, sha512
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import events
import journal
import protocol
from events import Address
from journal import Conflict, Gap, Journal, Stored
from mesh import Mesh
from protocol import Entry, Fork, Frontier, Log, RemoteError

EPOCH_MS = 1_700_000_000_000
BYTES_PER_S = 4_000_000
HIGH_WATER_BYTES = 64 * 1024  # in flight: what a link takes before it is clogged
OPEN, CHALLENGE, KNOCK, CERTIFICATE, FINISHED, REFUSED = range(6)  # the way in, then bytes
CLOSE = -1


class Disk:
    """What a node finds again at its next start."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.platter = b""  # what of it a power cut leaves
        self.seal: Log | None = None
        self.book: dict[Address, tuple[str, bytes | None]] = {}

    def lose_what_is_not_committed(self) -> None:
        self.db.rollback()

    def lose_what_is_not_synced(self) -> None:
        self.db.close()
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.deserialize(self.platter)


class SimulatedJournal(Journal):
    """The journal on a simulated disk; files and seals are all that is replaced."""

    def __init__(self, disk: Disk, verify: Callable[[Entry], bool]) -> None:
        self._disk = disk
        super().__init__(Path("simulated"), verify)
        self._image()

    def _connect(self) -> sqlite3.Connection:
        return self._disk.db

    def _open(self) -> None:
        self._db.executescript(journal._SCHEMA)

    def _image(self) -> None:
        self._disk.platter = self._db.serialize()

    def _read_seal(self) -> Log | None:
        return self._disk.seal

    def _take_seal(self, sealed: Log | None) -> Log | None:
        self._disk.seal = None
        return sealed

    def commit(self) -> bool:
        syncs = self.syncs
        synced = super().commit()
        if self.syncs > syncs:
            self._image()
        return synced

    def close(self, *, sealed: bool = True) -> None:
        self.commit()
        self.sync()
        if sealed and self._own in self._logs:
            self._disk.seal = self._own

    def placed(self) -> Frontier:
        return {log: state.placed for log, state in self._logs.items()}


class End:
    """One end of a connection: what it sends arrives at `peer`, in order, if ever."""

    peer: End

    def __init__(self, node: Node) -> None:
        self.node = node
        self.id = next(node.room.numbers)
        self.outbox: list[bytes] = []
        self.in_flight = 0
        self._frames = protocol.Frames()
        self._pipe: deque[bytes | int] = deque()
        self._arrives = 0.0

    @property
    def alive(self) -> bool:
        return self.node.ends.get(self.id) is self

    @property
    def clogged(self) -> bool:
        return self.in_flight + sum(map(len, self.outbox)) > HIGH_WATER_BYTES

    def flush(self) -> None:
        if self.outbox:
            self.send(b"".join(self.outbox))
            self.outbox.clear()

    def send(self, item: bytes | int) -> None:
        room, size = self.node.room, len(item) if isinstance(item, bytes) else 0
        self._pipe.append(item)
        self.in_flight += size
        self._arrives = max(self._arrives, room.now + room.latency()) + size / BYTES_PER_S
        room.at(self._arrives, self._deliver)

    def _deliver(self) -> None:
        if self.node.room.apart(self.node, self.peer.node):
            self.node.room.held.append(self._deliver)  # TCP sends it again, later
        elif self._pipe:
            was_clogged, item = self.clogged, self._pipe.popleft()
            self.in_flight -= len(item) if isinstance(item, bytes) else 0
            self.peer.receive(item)
            if was_clogged and not self.clogged and self.alive:
                self.node.turn(events.LinkDrained(self.id))

    def receive(self, item: bytes | int) -> None:
        node = self.node
        if item == OPEN:
            if node.mesh:
                node.ends[self.id] = self
                caller = (self.peer.node.address[0], 40_000 + self.id % 20_000)
                node.turn(events.LinkOpened(self.id, caller, dialed=False))
                self.send(CHALLENGE)
            elif not node.dark:
                self.send(REFUSED)
        elif not self.alive:
            if node.mesh and item != CLOSE:
                self.peer.end("connection reset by peer")
        elif isinstance(item, bytes):
            for message in self._frames.feed(item):
                node.dispatch(events.MessageReceived(self.id, message))
            node.end_turn(item)
        elif item in (CLOSE, REFUSED):
            self.end("connection refused" if item == REFUSED else "closed without a goodbye")
        else:
            if item != FINISHED:
                self.send(item + 1)
            if item in (CERTIFICATE, FINISHED):
                node.turn(events.LinkSecured(self.id, self.peer.node.member))

    def end(self, reason: str) -> None:
        self._pipe.clear()
        self.in_flight = 0
        if self.alive:
            del self.node.ends[self.id]
            self.node.turn(events.LinkClosed(self.id, reason))


class Node:
    """One member's node: performs the mesh's actions as `User` does. Down until `start`."""

    def __init__(self, room: Room, number: int) -> None:
        self.room = room
        self.name = f"node {number}"
        self.member = room.random.randbytes(32)
        self.address = (f"10.0.0.{number}", 5000)
        self.told: list[Address] = []  # the peers that its user names at each start
        self.skew_ms = room.random.randrange(-60_000, 60_000)  # its wall clock is wrong
        self.disk = Disk()
        self.mesh: Mesh | None = None
        self.dark = False  # off power: doesn't even refuse a connection
        self.ends: dict[int, End] = {}
        self.receipts: Frontier = {}  # what others were told that it has on disk
        self._alarm: float | None = None

    # ------------------------------------------------------------ its life

    def start(self) -> None:
        room, self.dark = self.room, False
        self.journal = SimulatedJournal(self.disk, _verify)
        self.log = self.journal.own_log(self.member, room.random.randbytes(8))
        frontier = self.journal.frontier()
        for log, seq in self.receipts.items():
            assert frontier.get(log, 0) >= seq, f"{self.name} lost what it had acknowledged"
        self.placed = self.journal.placed()
        self.linked: dict[bytes, None] = {}
        self.notices: list[str] = []
        self.history: list[tuple[Log, int]] = []
        self._events: deque[events.Event] = deque()
        self._closing: list[End] = []
        self._dispatching = False
        self.mesh = Mesh(
            log=self.log,
            name=self.name,
            port=self.address[1],
            instance=room.random.getrandbits(64),
            random=Random(room.random.getrandbits(64)),
            frontier=frontier,
            forks={log: Fork(*pair) for log, pair in self.journal.forks.items()},
            named=self.journal.name_of(self.member) == self.name,
            started=room.now,
            started_ms=self.wall_ms(),
        )
        for address, (source, member) in list(self.disk.book.items()):
            self.dispatch(events.AddressLearned(address, source, member))
        for address in self.told:
            self.dispatch(events.AddressLearned(address, "you"))
        self.end_turn()

    def say(self, *texts: str) -> None:
        self.turn(events.PostsTyped(texts, self.wall_ms()))

    def leave(self) -> None:
        self.turn(events.Left())
        self.journal.close()
        self.mesh = None

    def kill(self) -> None:
        """As by `kill -9`: the kernel closes the connections."""
        self.mesh = None
        for end in self.ends.values():
            end.send(CLOSE)
        self.ends.clear()
        self.disk.lose_what_is_not_committed()

    def cut_power(self) -> None:
        """Nobody is told, and what was not synced is lost."""
        self.mesh, self.dark = None, True
        self.ends.clear()
        self.disk.lose_what_is_not_synced()

    def wall_ms(self) -> int:
        return EPOCH_MS + self.skew_ms + int(self.room.now * 1000)

    # ------------------------------------------------------------ the turn

    def turn(self, event: events.Event) -> None:
        self.dispatch(event)
        self.end_turn()

    def dispatch(self, event: events.Event) -> None:
        self._events.append(event)
        if self._dispatching or self.mesh is None:
            return
        self._dispatching = True
        while self._events:
            event = self._events.popleft()
            actions = self.mesh.handle(event, self.room.now)
            self.room.note(f"{self.room.now} {self.name} {event} {actions}".encode())
            for action in actions:
                self._PERFORM[type(action)](self, action)
        self._dispatching = False

    def end_turn(self, received: bytes = b"") -> None:
        """Store, then send."""
        if self.mesh is None:
            return
        self.room.note(received)
        if self.journal.commit() and self.mesh.unsynced:
            self.dispatch(events.JournalSynced())
        for end in self.ends.values():
            end.flush()
        for end in self._closing:
            end.flush()
            end.send(CLOSE)
        self._closing.clear()
        due = self.mesh.deadline()
        if due is not None and (self._alarm is None or due < self._alarm):
            self._alarm = due
            self.room.at(due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self.mesh is None:
            return
        due = self.mesh.deadline()
        if due is not None and due <= self.room.now:
            self.dispatch(events.TimePassed())
            due = self.mesh.deadline()
            assert due is None or due > self.room.now, "a deadline that stays makes a node spin"
        self.end_turn()

    # ------------------------------------------------------------ performing actions

    def _open_link(self, action: events.OpenLink) -> None:
        self.room.dials += 1
        end = End(self)
        self.ends[end.id] = end
        self.dispatch(events.LinkOpened(end.id, action.address, dialed=True))
        target = self.room.listeners.get(action.address)
        if target is None:
            self.room.at(self.room.now + 0.01, partial(end.end, "no route to host"))
        else:
            end.peer, end.peer.peer = End(target), end
            end.send(OPEN)

    def _close_link(self, action: events.CloseLink) -> None:
        end = self.ends.pop(action.link, None)
        if end is not None:
            self._closing.append(end)

    def _send_message(self, action: events.SendMessage) -> None:
        if action.link in self.ends:
            self.ends[action.link].outbox.append(protocol.encode(action.message))
        if action.answered:
            clogged = action.link not in self.ends or self.ends[action.link].clogged
            self.dispatch(events.MessageSent(action.link, clogged))

    def _send_entries(self, action: events.SendEntries) -> None:
        run = self.journal.run(action.log, action.after)
        if run:
            self.room.runs += 1
            self._send_message(events.SendMessage(action.link, protocol.Entries(run)))
        clogged = action.link not in self.ends or self.ends[action.link].clogged
        upto = action.after + len(run)
        self.dispatch(events.EntriesSent(action.link, action.log, upto, clogged))

    def _store_run(self, action: events.StoreRun) -> None:
        try:
            outcome = self.journal.append(action.run)
        except RemoteError as error:
            self.dispatch(events.RunRefused(action.link, str(error)))
            return
        if isinstance(outcome, Stored):
            placed = tuple(outcome.placed)
            self.dispatch(events.RunStored(action.link, outcome.log, outcome.seq, placed))
        elif isinstance(outcome, Gap):
            self.dispatch(events.RunRefused(action.link, "entries with a gap before them"))
        elif isinstance(outcome, Conflict):
            proof = Fork(outcome.ours, outcome.theirs) if outcome.theirs else None
            seq = protocol.parse_entry(outcome.ours).seq
            self.dispatch(events.RunParted(action.link, outcome.log, seq, proof, outcome.placed))

    def _write_entries(self, action: events.WriteEntries) -> None:
        sign = partial(_sign, self.member)
        stored = self.journal.write(list(action.bodies), action.time_ms, sign)
        self.dispatch(events.RunStored(None, stored.log, stored.seq, tuple(stored.placed)))

    def _sync_journal(self, action: events.SyncJournal) -> None:
        self.journal.sync()
        self.dispatch(events.JournalSynced())

    def _keep_fork(self, action: events.KeepFork) -> None:
        placed = self.journal.add_fork(action.proof.one, action.proof.other)
        if placed is not None:
            log = protocol.parse_entry(action.proof.one).log
            self.dispatch(events.ForkKept(log, action.proof, tuple(placed)))

    def _remember_address(self, action: events.RememberAddress) -> None:
        self.disk.book[action.address] = (action.source, action.member)

    def _show_posts(self, action: events.ShowPosts) -> None:
        """The three promises of a screen: nothing twice, each author's order, and nothing
        before what its author had seen."""
        for entry, history in zip(action.entries, action.history, strict=True):
            assert entry.seq == self.placed.get(entry.log, 0) + 1
            honest = [head for head in entry.heads if head.log not in self.journal.forks]
            assert all(self.placed.get(head.log, 0) >= head.seq for head in honest)
            self.placed[entry.log] = entry.seq
            self.room.shown[entry.log, entry.seq] = entry.raw
            if history:
                self.history.append((entry.log, entry.seq))

    def _show_link(self, action: events.ShowLink) -> None:
        assert (action.state == "up") == (action.member not in self.linked)
        if action.state == "up":
            self.linked[action.member] = None
        else:
            del self.linked[action.member]

    def _show_confirmed(self, action: events.ShowConfirmed) -> None:
        for node in self.room.nodes:
            told = dict(action.confirmed).get(node.member, 0)
            node.receipts[self.log] = max(told, node.receipts.get(self.log, 0))

    def _show_notice(self, action: events.ShowNotice) -> None:
        self.notices.append(action.text)

    _PERFORM: ClassVar[dict[type, Callable[[Node, Any], None]]] = {
        events.OpenLink: _open_link,
        events.CloseLink: _close_link,
        events.SendMessage: _send_message,
        events.SendEntries: _send_entries,
        events.StoreRun: _store_run,
        events.WriteEntries: _write_entries,
        events.SyncJournal: _sync_journal,
        events.KeepFork: _keep_fork,
        events.RememberAddress: _remember_address,
        events.ShowPosts: _show_posts,
        events.ShowLink: _show_link,
        events.ShowConfirmed: _show_confirmed,
        events.ShowNotice: _show_notice,
    }


class Room:
    """The nodes, the clock and the network between them."""

    def __init__(self, seed: int, nodes: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.dials = self.runs = 0  # counted for the tests that guard what a room costs
        self.numbers = count(1)
        self.held: list[Callable[[], None]] = []  # what waits for the end of a partition
        self.shown: dict[tuple[Log, int], bytes] = {}  # all that was on any screen
        self._sides: dict[str, int] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._ticks = count()
        self._trace = sha256()
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]
        self.listeners = {node.address: node for node in self.nodes}

    def note(self, what: bytes) -> None:
        self._trace.update(what)

    def trace(self) -> str:
        return self._trace.hexdigest()

    def latency(self) -> float:
        return self.random.uniform(0.001, 0.02)

    def at(self, when: float, call: Callable[[], None]) -> None:
        heappush(self._agenda, (when, next(self._ticks), call))

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def run_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Lets time pass until `done`; whether it was within `seconds`."""
        end = self.now + seconds
        while not done():
            if not self._agenda or self._agenda[0][0] > end:
                self.now = end
                return False
            when, _, call = heappop(self._agenda)
            self.now = max(self.now, when)
            call()
        return True

    # ------------------------------------------------------------ trouble

    def apart(self, one: Node, other: Node) -> bool:
        return self._sides.get(one.name) != self._sides.get(other.name)

    def part(self, side: Sequence[Node]) -> None:
        """These nodes and the others don't reach each other until `heal`."""
        self.heal()
        self._sides = {node.name: 1 for node in side}

    def heal(self) -> None:
        self._sides.clear()
        held, self.held = self.held, []
        for call in held:
            self.at(self.now, call)

    def reset(self, end: End) -> None:
        end.peer.end("connection reset by peer")
        end.end("connection reset by peer")

    # ------------------------------------------------------------ what must be true

    def up(self) -> list[Node]:
        return [node for node in self.nodes if node.mesh]

    def converged(self) -> bool:
        """Whether all nodes that are up hold the same."""
        frontiers = [node.journal.frontier() for node in self.up()]
        return all(frontier == frontiers[0] for frontier in frontiers)

    def full_mesh(self) -> bool:
        """Whether each two nodes that are up have one link, and no more."""
        wanted = len(self.up()) - 1
        return all(n.mesh and len(n.mesh.members) == len(n.ends) == wanted for n in self.up())

    def check(self) -> None:
        """All that was ever shown is held by all, shown by all, in one order."""
        first = self.up()[0]
        order = [entry.raw for entry in first.journal.history(10**9)]
        posts = [r for r in self.shown.values() if protocol.parse_entry(r).kind == protocol.POSTS]
        assert sorted(order) == sorted(posts)
        for node in self.up():
            assert [entry.raw for entry in node.journal.history(10**9)] == order
            assert node.placed == first.journal.frontier()
            assert not node.journal.forks


def _sign(author: bytes, unsigned: bytes) -> bytes:
    return sha512(author + unsigned).digest()


def _verify(entry: Entry) -> bool:
    return entry.signature == _sign(entry.author, entry.raw[: -protocol.SIGNATURE_BYTES])
