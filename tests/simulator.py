"""A whole room in one process, on a simulated clock, network and disk.

Real: `Node`, and with it `Mesh`, `Journal`, `Link`, `Connection` and the frames of the wire.
Simulated: time; the kernel's sockets; TLS (its bytes are passed on as they are); disks (an
SQLite database in memory, and the image of it that a power cut leaves); people. Signatures
are fake, a plain hash that anybody could make: nothing here is about forging them, and real
ones would be most of the run time.

Every random choice comes from one seed: same seed, same run, same `Room.trace()`, under any
Python and any PYTHONHASHSEED. What must be true is said in invariants.py; what goes wrong
on purpose in ordeal.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256, sha512
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NoReturn, cast

import door
import events
import net
import protocol
import rows
from events import Address
from journal import Journal, JournalDamaged, JournalError
from link import BUFFER_BYTES, Gate, Link, Shared
from net import READ, WRITE
from node import Node, Surroundings
from protocol import Entry, Frontier, Log, Receipt
from rescue import refill, salvage
from tests import invariants

EPOCH_MS = 1_700_000_000_000
BYTES_PER_S = 4_000_000
# What a connection holds in the kernels of both its ends, as Linux counts BUFFER_BYTES.
SOCKET_BYTES = 2 * BUFFER_BYTES
MANY_PAGES = 2**30  # a disk with room
LOG_STATEMENTS = 1000  # that a database has not applied to its platter: what they hold is memory
TURN_S = 0.0001  # from news to the turn that takes it in: a machine is never infinitely fast
READ_WRITE = READ | WRITE
FIN = None  # in a stream of bytes: their end


class Database(sqlite3.Connection):
    """In memory, with a log of what changes it, as SQLite's own write-ahead log is one: what of
    that is synced makes the platter. (An image at each sync was a sixth of a run.)"""

    def __init__(self, image: bytes = b"") -> None:
        super().__init__(":memory:", isolation_level=None)
        if image:
            self.deserialize(image)
        self._began = image
        self._platter: sqlite3.Connection | None = None
        self._log: list[tuple[str, Any]] = []  # what changed it since, but the platter
        self._committed = self._synced = 0  # so much of the log is

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        cursor = super().execute(sql, values)
        if not sql.startswith(("SELECT", "PRAGMA")):
            self._log.append((sql, values))
            if sql == "COMMIT":
                self._committed = len(self._log)
        return cursor

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        cursor = super().executemany(sql, rows)
        self._log += [(sql, row) for row in rows]
        return cursor

    def executescript(self, script: str) -> sqlite3.Cursor:
        """Creates the tables."""
        cursor = super().executescript(script)
        self._log.append((script, None))
        self._committed = len(self._log)
        return cursor

    def close(self) -> None:
        """What is there stays there, whoever closes a journal."""
        self.lose_what_is_not_committed()

    def discard(self) -> None:
        super().close()
        if self._platter:
            self._platter.close()

    def lose_what_is_not_committed(self) -> None:
        self.rollback()
        del self._log[self._committed :]

    def sync(self) -> None:
        """Puts all that is committed on the platter."""
        self._synced = self._committed
        if self._synced > LOG_STATEMENTS:
            self.platter()

    def platter(self) -> sqlite3.Connection:
        """What of it a power cut leaves: only to be read."""
        if self._platter is None:
            self._platter, self._began = opened(self._began), b""
        for sql, values in self._log[: self._synced]:
            if values is None:
                self._platter.executescript(sql)
            else:
                self._platter.execute(sql, values)
        del self._log[: self._synced]
        self._committed -= self._synced
        self._synced = 0
        return self._platter


def opened(image: bytes) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    if image:
        db.deserialize(image)
    return db


def image_of(db: sqlite3.Connection) -> bytes:
    """All that is committed."""
    try:
        return db.serialize()
    except sqlite3.OperationalError:
        return b""  # nothing was ever written


class Disk:
    """What a machine finds again when it is started again."""

    def __init__(self) -> None:
        self.db = Database()
        self.synced: Frontier = {}  # what was on the platter at one time or another
        self.seal: Log | None = None
        self.book: dict[Address, tuple[str, bytes | None]] = {}
        self.copy = b""  # an old platter, to be restored from
        self.damaged = False  # the mark that says so
        self.short = False  # rows are gone, and it has not been found out
        self.fails = False  # nothing can be written
        self._pages = MANY_PAGES  # no more than that fit

    def limit(self, pages: int | None) -> None:
        self._pages = pages or MANY_PAGES
        with contextlib.suppress(sqlite3.DatabaseError):  # too damaged; the next start sees it
            self.apply_limit()

    def apply_limit(self) -> None:
        self.db.execute(f"PRAGMA max_page_count={self._pages}")

    @property
    def platter(self) -> bytes:
        return image_of(self.db.platter())

    def replace(self, platter: bytes) -> None:
        """Puts another database in the place of this one."""
        self.db.discard()
        self.db = Database(platter)

    def frontier(self) -> Frontier:
        """What a power cut would leave of each log."""
        query = "SELECT l.log, MAX(seq) FROM entries e JOIN logs l ON l.id = e.log GROUP BY e.log"
        try:
            return dict(self.db.platter().execute(query).fetchall())
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter of what it names
            return {}  # nothing was ever written; or so damaged that nothing can be relied on


class SimulatedJournal(Journal):
    """The journal on a simulated disk; files and seals are all that is replaced."""

    def __init__(self, disk: Disk, verify: Callable[[Entry], bool]) -> None:
        self._disk = disk
        super().__init__(Path("simulated"), verify)
        self._sync_disk()

    def _connect(self) -> sqlite3.Connection:
        self._disk.apply_limit()
        return self._disk.db

    def _open(self) -> None:
        if self._disk.damaged:
            raise self._damage()
        self._db.executescript(rows.SCHEMA)

    def _read_seal(self) -> Log | None:
        return self._disk.seal

    def _take_seal(self, sealed: Log | None) -> Log | None:
        self._disk.seal = None
        return sealed

    def commit(self) -> bool:
        if self._disk.fails and self._db.in_transaction:
            raise JournalError("disk I/O error")
        syncs = self.syncs
        synced = super().commit()
        if self.syncs > syncs:
            self._sync_disk()
        return synced

    def _sync_disk(self) -> None:
        self._disk.db.sync()
        synced = self._disk.synced
        for log, seq in self.frontier().items():
            if seq > synced.get(log, 0):
                synced[log] = seq

    def close(self, *, sealed: bool = True) -> None:
        self.commit()
        self.sync()
        if sealed and not self._failed and self._own in self._logs:
            self._disk.seal = self._own

    def _inode_now(self) -> int | None:
        return None  # there is no file

    def _leave_mark(self) -> None:
        self._disk.damaged = True

    def parted(self) -> list[Log]:
        return sorted(self._parted)

    @property
    def platter_is_new(self) -> bool:
        return self._synced

    def held(self) -> dict[tuple[Log, int], bytes]:
        """All entries, as they are in the database."""
        found: dict[tuple[Log, int], bytes] = {}
        for log, state in self._logs.items():
            for columns in self._db.execute(rows.AFTER, (state.id, 0)):
                found |= {(log, row.seq): row.raw for row in rows.unpack(rows.Row(*columns))}
        return found

    def read_all(self) -> None:
        """Finds what damage there is, as a node does sooner or later."""
        self.history(10**9)
        self._names.clear()
        for log, seq in self.frontier().items():
            self.name_of(log[: protocol.MEMBER_BYTES])
            after = 0
            while after < seq:
                after += len(self.run(log, after)) or seq

    def placed(self) -> Frontier:
        return {log: state.placed for log, state in self._logs.items() if state.placed}


class Tls:
    """Stands for an SSLObject over memory BIOs: TLS 1.3's flights, in the clear."""

    def __init__(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        member: bytes,
        server_side: bool,
        before_write: Callable[[], None],
    ) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._before_write = before_write
        # Last first: what is said, and how many bytes of the far end come before the next.
        self._flights = [b"certificate" + member] if server_side else [b"finish" + member, b"hello"]
        self._awaited = [6 + 32, 5] if server_side else [11 + 32, 0]
        self._got = bytearray()

    def do_handshake(self) -> None:
        while self._awaited:
            self._got += self._incoming.read(self._awaited[-1] - len(self._got))
            if len(self._got) < self._awaited[-1]:
                raise ssl.SSLWantReadError
            if len(self._awaited) > 1 or self._flights:
                self._outgoing.write(self._flights.pop())
            if len(self._awaited) > 1:
                self._got.clear()
            self._awaited.pop()

    def getpeercert(self, *, binary_form: bool) -> bytes:
        return bytes(self._got[-32:])

    def read(self, count: int) -> bytes:
        data = self._incoming.read(count)
        if not data:
            raise ssl.SSLWantReadError
        return data

    def write(self, data: bytes) -> int:
        self._before_write()
        return self._outgoing.write(data)


class TlsContext:
    """Stands for an SSLContext of a member."""

    def __init__(self, member: bytes, before_write: Callable[[], None]) -> None:
        self._member = member
        self._before_write = before_write

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *, server_side: bool
    ) -> Tls:
        return Tls(incoming, outgoing, self._member, server_side, self._before_write)


def gate_of(member: bytes, before_write: Callable[[], None] = lambda: None) -> Gate:
    """The way into the simulated room. `before_write` looks on when messages leave."""
    context = cast(ssl.SSLContext, TlsContext(member, before_write))
    return Gate(_knock, _is_knock, context, context, lambda shown: shown, Shared())


def _knock(challenge: bytes) -> bytes:
    return challenge + challenge


def _is_knock(challenge: bytes, knock: bytes) -> bool:
    return knock == challenge + challenge


class Socket:
    """One end of a connection, as the kernel gives it to a `Connection`."""

    peer: Socket

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.descriptor = machine.room.next_number()
        self.watched = 0
        self.ready: Callable[[int], None] = lambda _: None
        self.connected = self.closed = False
        self.dialed = False
        self.unwanted = False  # there were two links
        self.heard = 0.0  # when bytes came
        self.error = 0
        self.in_flight = 0  # bytes that the far end has not read yet
        self.inbox = b""  # most often one segment that is read at once: then nobody copies it
        self._ended = False  # after the inbox
        self._segments: deque[bytes | None] = deque()
        self._arrives = 0.0
        machine.sockets[self.descriptor] = self

    # ------------------------------------------------------------ what a Connection calls

    def fileno(self) -> int:
        return -1 if self.closed else self.descriptor

    def setblocking(self, _: bool) -> None:
        """All sockets here are non-blocking."""

    def setsockopt(self, *_: int) -> None:
        """Buffers are SOCKET_BYTES, and nothing is ever delayed."""

    def getsockopt(self, *_: int) -> int:
        error, self.error = self.error, 0
        return error

    def connect_ex(self, address: Address) -> int:
        room = self.machine.room
        room.dials += 1
        self.dialed = True
        target = room.listeners.get(address)
        if target is None:
            room.after(0.01, self._fail, errno.EHOSTUNREACH)
        else:
            room.after(room.latency(), self._knock_at, target)
        return errno.EINPROGRESS

    def send(self, data: bytearray) -> int:
        if self.error:
            self._raise_error()
        space = SOCKET_BYTES - self.in_flight
        if not self.connected or space <= 0:
            raise BlockingIOError
        piece = bytes(memoryview(data)[: self.machine.room.cut(min(len(data), space))])
        self.in_flight += len(piece)
        self._transmit(piece)
        return len(piece)

    def recv(self, count: int) -> bytes:
        if self.error:
            self._raise_error()
        if not self.inbox:
            if self._ended:
                return b""
            raise BlockingIOError
        count = min(count, self.machine.room.cut(len(self.inbox)))
        data, self.inbox = self.inbox[:count], self.inbox[count:]
        self.heard = self.machine.room.now
        peer = self.peer
        was_full = peer.in_flight >= SOCKET_BYTES
        peer.in_flight -= count
        if was_full:
            room = self.machine.room
            room.after(room.latency(), peer.news)
        return data

    def shutdown(self, _: int) -> None:
        """`close` says it all."""

    def close(self) -> None:
        if not self.closed:
            self.vanish()
            if self.connected and not self.error:
                self._transmit(FIN)

    # ------------------------------------------------------------ what the network does

    def vanish(self) -> None:
        """As by a power cut: the far end is not told."""
        self.closed = True
        self.machine.sockets.pop(self.descriptor, None)

    def reset(self) -> None:
        """What is under way is lost, in the middle of whatever it was."""
        for end in (self, self.peer):
            end._segments.clear()
            end._fail(errno.ECONNRESET)

    def readiness(self) -> int:
        if self.error:
            return READ_WRITE
        readable = READ if self.inbox or self._ended else 0
        if self.connected and self.in_flight < SOCKET_BYTES:
            return readable | WRITE
        return readable

    def news(self) -> None:
        if not self.closed and self.readiness() & self.watched:
            machine = self.machine
            machine.pending[self.descriptor] = self
            machine.wake()

    def _raise_error(self) -> NoReturn:
        raise OSError(self.error, os.strerror(self.error))

    def _fail(self, error: int) -> None:
        self.error = error
        self.news()

    def _knock_at(self, target: Machine) -> None:
        room = self.machine.room
        if room.blocked(self.machine, target):
            room.hold(self._knock_at, target)
        elif self.closed or target.dark:
            return
        elif target.node is None or len(target.callers) >= door.BACKLOG:
            room.after(room.latency(), self._fail, errno.ECONNREFUSED)
        else:
            self.peer = Socket(target)
            self.peer.peer, self.peer.connected = self, True
            target.callers.append(self.peer)
            target.wake()
            room.after(room.latency(), self._connect)

    def _connect(self) -> None:
        if not self.closed:
            self.connected = True
            self.news()

    def _transmit(self, segment: bytes | None) -> None:
        room = self.machine.room
        arrives = room.now + room.latency()
        if arrives < self._arrives:
            arrives = self._arrives
        if segment:
            bytes_per_s = room.bytes_per_s(self.machine, self.peer.machine)
            while len(segment) > bytes_per_s:  # it comes in pieces, one a second
                piece, segment = segment[: int(bytes_per_s)], segment[int(bytes_per_s) :]
                arrives += 1.0
                self._segments.append(piece)
                room.at(arrives, self._deliver)
            arrives += len(segment) / bytes_per_s
        self._arrives = arrives
        self._segments.append(segment)
        room.at(arrives, self._deliver)

    def hurry(self) -> None:
        """What crept along a slow line comes at once, now that it is slow no longer."""
        self._arrives = self.machine.room.now + self.machine.room.latency()
        for _ in self._segments:
            self.machine.room.at(self._arrives, self._deliver)

    def _deliver(self) -> None:
        peer, room = self.peer, self.machine.room
        if room.blocked(self.machine, peer.machine):
            room.hold(self._deliver)  # TCP sends it again, later
        elif self._segments:
            segment = self._segments.popleft()
            room.note(self.descriptor, segment)
            if peer.closed:
                if segment is not FIN and not peer.machine.dark:
                    self._segments.clear()
                    self._fail(errno.ECONNRESET)
                return
            if segment is FIN:
                peer._ended = True
            else:
                peer.inbox += segment
            peer.news()


class Poll(net.Loop):
    """A machine's loop; who is ready is known without asking a kernel."""

    def __init__(self, machine: Machine) -> None:
        self.now = lambda: machine.room.now
        self._machine = machine

    def watch(
        self, descriptor: int, events: int, ready: Callable[[int], None], *, patient: bool = False
    ) -> None:
        sock = self._machine.sockets[descriptor]
        sock.watched, sock.ready = events, ready
        sock.news()

    def unwatch(self, descriptor: int) -> None:
        sock = self._machine.sockets.get(descriptor)
        if sock is not None:
            sock.watched = 0


class Machine:
    """One member's machine: its disk, its clocks, its sockets, and its node while that runs."""

    def __init__(self, room: Room, number: int) -> None:
        self.room = room
        self.name = f"node {number}"
        self.member = room.random.randbytes(32)
        self.address = (f"10.0.{number >> 8}.{number & 255}", 5000)
        self.told: list[Address] = []  # the peers that its user names at each start
        self.skew_ms = room.random.randrange(-60_000, 60_000)  # its wall clock is wrong
        self.disk = Disk()
        self.node: Node | None = None
        self.dark = False  # off power: doesn't even refuse a connection
        self.honest = True
        self.stopped_until = 0.0  # as by SIGSTOP
        self.sockets: dict[int, Socket] = {}
        self.pending: dict[int, Socket] = {}  # those with news for the next turn
        self.callers: list[Socket] = []
        self.receipts: Frontier = {}  # what it has told others that it has on disk
        self.typed: list[str] = []
        self.errors: list[str] = []  # why its node ended by itself
        self.look_on: Callable[[list[events.Action]], None] = lambda _: None
        self._loop = Poll(self)
        self._turn_at: float | None = None
        self._random = Random(room.random.getrandbits(64))

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            now=self._loop.now,
            wall_ms=self.wall_ms,
            random=self._random,
            gate=self._gate(),
            sign=partial(sign, self.member),
            sign_receipt=partial(sign, self.member),
            verify_receipt=verify_receipt,
            dial=self._dial,
            show=self._show,
            transcribe=self._transcribe,
        )

    def _gate(self) -> Gate:
        return gate_of(self.member, partial(invariants.stored_before_sent, self))

    # ------------------------------------------------------------ its life

    @property
    def journal(self) -> SimulatedJournal:
        assert self.node is not None
        return cast(SimulatedJournal, self.node.journal)

    def start(self) -> None:
        room, self.dark = self.room, False
        opened = self._attempt(self._open_journal)
        if opened is None:
            return
        self.log = opened.own_log(self.member, room.random.randbytes(8))
        invariants.acknowledged_is_kept(self, opened.frontier())
        self.screen = invariants.Screen(self, opened)
        self.hearings = invariants.Hearings(self)
        self.sendings = invariants.Sendings(self)
        self.notices: list[str] = []
        make = partial(Node, self.name, self.address[1], self.log, opened, self._surroundings())
        self.node = self._attempt(make)
        if self.node is None:
            return
        room.running[self] = None
        self.node.learn((address, *known) for address, known in list(self.disk.book.items()))
        self.node.learn((address, "you", None) for address in self.told)
        self._end_turn()

    def _open_journal(self) -> SimulatedJournal:
        disk = self.disk
        try:
            opened_journal = SimulatedJournal(disk, verify)
            assert not disk.short, "rows are gone, and nobody misses them"
            return opened_journal
        except JournalDamaged:
            if disk.fails:
                raise
            return self._rescue()

    def _rescue(self) -> SimulatedJournal:
        """As rescue.py does it, but for the files."""
        invariants.excuse(self)
        self.room.rescues += 1
        image = image_of(self.disk.db)
        self.disk.replace(b"")
        self.disk.damaged, self.disk.seal, self.disk.short = False, None, False
        rescued = SimulatedJournal(self.disk, verify)
        with contextlib.closing(opened(image)) as damaged:
            refill(rescued, salvage(damaged))
        rescued.sync()
        return rescued

    def tell(self, addresses: Sequence[Address]) -> None:
        """What its user names while it runs."""
        if self.node:
            self.node.learn((address, "you", None) for address in addresses)
            self.wake()

    def say(self, *texts: str) -> None:
        """Typed now, taken in as soon as its process runs."""
        self.typed += texts
        if self.stopped_until <= self.room.now:
            self._turn()

    def read_all(self) -> None:
        """Finds what damage there is, as a node does sooner or later."""
        if self.node:
            self._attempt(self.journal.read_all)

    def leave(self) -> None:
        node = self.node
        assert node is not None

        def end() -> None:
            links = node.mesh.members.values()
            heard = any(not (link.clogged or link.telling) for link in links)
            node.leave()
            node.end_turn()
            self.screen.flush()
            self.sendings.flush()
            if heard:
                invariants.leaves_nothing_open(self, self.journal.frontier())
            node.journal.close()
            self._end_process()

        self._attempt(end)

    def kill(self) -> None:
        """As by `kill -9`: the kernel closes the connections."""
        self._end_process()
        self.disk.db.lose_what_is_not_committed()

    def cut_power(self) -> None:
        """Nobody is told, and what was not synced is lost."""
        self.dark = True
        for sock in list(self.sockets.values()):
            sock.vanish()
        self._end_process()
        invariants.excuse(self, liars_only=True)
        self.disk.replace(self.disk.platter)

    def _end_process(self) -> None:
        self.node = None
        self.room.running.pop(self, None)
        for sock in list(self.sockets.values()):
            sock.close()
        self.pending.clear()
        self.callers.clear()
        self.typed.clear()
        self.stopped_until = 0.0

    def _attempt(self, call: Callable[[], Any]) -> Any:
        """What a `User` does about a journal that can't be used: it says so and ends."""
        try:
            return call()
        except JournalError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: JournalError) -> None:
        self.errors.append(str(error))
        if self.node:
            self.kill()
        else:  # it ended while it started, in the middle of whatever it wrote
            self.disk.db.lose_what_is_not_committed()

    def wall_ms(self) -> int:
        return EPOCH_MS + self.skew_ms + int(self.room.now * 1000)

    # ------------------------------------------------------------ its turns

    def wake(self, delay_s: float = TURN_S) -> None:
        room = self.room
        at = room.now + delay_s
        if self._turn_at is None or at < self._turn_at:
            self._turn_at = at
            room.at(at, self._ring, at)

    def _ring(self, at: float) -> None:
        if at == self._turn_at:
            self._turn_at = None
            if self.node is not None:
                self._turn()

    def _turn(self) -> None:
        """As `Loop.run` and `User` have it."""
        if self.stopped_until > self.room.now:
            self.wake(self.stopped_until - self.room.now)
        else:
            try:
                self._take_turn()
            except JournalError as error:
                self._give_up(error)

    def _take_turn(self) -> None:
        node = self.node
        assert node is not None
        if self.pending:
            pending, self.pending = self.pending, {}
            for sock in pending.values():
                happened = sock.readiness() & sock.watched
                if happened:
                    sock.ready(happened)
                sock.news()  # what is ready still is so in the next turn
        if self.callers:
            callers, self.callers = self.callers, []
            for sock in callers:
                self._accept(node, sock)
        due = node.mesh.deadline()
        if due is not None and due <= self.room.now:
            node.pass_time()
            due = node.mesh.deadline()
            assert due is None or due > self.room.now, "a deadline that stays makes a node spin"
        if self.typed:
            typed, self.typed = self.typed, []
            node.say(typed)
        self._end_turn()

    def _end_turn(self) -> None:
        node = self.node
        assert node is not None
        room = self.room
        node.end_turn()
        self.screen.flush()
        self.sendings.flush()
        self.hearings.flush()
        room.turns += 1
        due = node.mesh.deadline()
        if due is not None:
            self.wake(due - room.now if due > room.now else 0.0)

    def _accept(self, node: Node, sock: Socket) -> None:
        if sock.closed:
            return
        challenge = self._random.randbytes(protocol.CHALLENGE_BYTES)
        link = Link(self._gate(), dialed=False, challenge=challenge)
        connection = net.Connection(self._loop, cast(Any, sock), link, node.listen)
        node.accept(connection, (sock.peer.machine.address[0], 40_000 + sock.descriptor % 20_000))

    def _dial(self, address: Address, link: Link) -> net.Connection:
        assert self.node is not None
        make = cast(Any, lambda *_: Socket(self))
        return net.Connection.dial(self._loop, address, link, self.node.listen, make)

    # ------------------------------------------------------------ what it shows

    def _show(self, action: events.Action) -> None:
        if isinstance(action, events.ShowPosts):
            self.screen.posts(action)
        elif isinstance(action, events.ShowLink):
            self.screen.link(action)
        elif isinstance(action, events.ShowConfirmed):
            self.screen.confirm(action)
        elif isinstance(action, events.RememberAddress):
            self.disk.book[action.address] = (action.source, action.member)
        elif isinstance(action, events.ShowNotice):
            self.notices.append(action.text)

    def _transcribe(self, event: events.Event, actions: list[events.Action]) -> None:
        self.room.events += 1
        if self.room.transcript is not None:
            stamp = f"{self.room.now:10.4f} {self.name}"
            lines = [f"{stamp} >> {events.describe(event)}"]
            lines += [f"{stamp} << {events.describe(action)}" for action in actions]
            self.room.transcript += lines
        self.hearings.look(event, actions)
        if actions:
            self.sendings.look(event, actions)
            self.look_on(actions)


class Room:
    """The machines, the clock and the network between them."""

    def __init__(self, seed: int, nodes: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.events = self.turns = self.steps = 0  # of meshes, of nodes, of the agenda
        self.rescues = 0
        self.dials = self.runs = 0  # counted for the tests that guard what a room costs
        self.transcript: list[str] | None = None
        self.cuts = False  # sockets take and give as little as one byte
        self.truth = invariants.Truth()
        self.running: dict[Machine, None] = {}
        self.next_number = count(1).__next__
        self._held: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._blocked: dict[tuple[Machine, Machine], None] = {}
        self._slow: dict[tuple[Machine, Machine], float] = {}
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._next_tick = count().__next__
        self._trace = sha256()
        self.machines = [Machine(self, number) for number in range(1, nodes + 1)]
        self.listeners = {machine.address: machine for machine in self.machines}

    # ------------------------------------------------------------ time

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        heappush(self._agenda, (when, self._next_tick(), call, arguments))

    def after(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now + delay_s, call, *arguments)

    def run(self, seconds: float) -> None:
        self.run_until(None, seconds)

    def run_until(self, done: Callable[[], bool] | None, seconds: float) -> bool:
        """Lets time pass until `done`; whether it was within `seconds`."""
        end = self.now + seconds
        agenda = self._agenda
        while not (done and done()):
            if not agenda or agenda[0][0] > end:
                self.now = end
                return False
            when, _, call, arguments = heappop(agenda)
            if when > self.now:
                self.now = when
            self.steps += 1
            call(*arguments)
        return True

    def note(self, descriptor: int, segment: bytes | None) -> None:
        """What is delivered, when and where: all that happens follows from that."""
        self._trace.update(struct.pack(">dI", self.now, descriptor))
        if segment:
            self._trace.update(segment)

    def trace(self) -> str:
        return self._trace.hexdigest()

    # ------------------------------------------------------------ the network

    def latency(self) -> float:
        return 0.001 + 0.019 * self.random.random()

    def cut(self, size: int) -> int:
        """How much of `size` bytes a socket takes or gives at once."""
        if not self.cuts:
            return size
        return 1 + int(self.random.random() * self.random.random() * size)

    def bytes_per_s(self, source: Machine, target: Machine) -> float:
        return self._slow.get((source, target), BYTES_PER_S) if self._slow else BYTES_PER_S

    def blocked(self, source: Machine, target: Machine) -> bool:
        return bool(self._blocked) and (source, target) in self._blocked

    def hold(self, call: Callable[..., None], *arguments: Any) -> None:
        """For the end of a partition."""
        self._held.append((call, arguments))

    def block(self, sources: Iterable[Machine], targets: Iterable[Machine]) -> None:
        """Nothing gets from these to those until `heal`."""
        targets = list(targets)
        for source in sources:
            self._blocked.update(((source, target), None) for target in targets)

    def part(self, side: Sequence[Machine]) -> None:
        """These machines and the others don't reach each other until `heal`."""
        self.heal()
        others = [machine for machine in self.machines if machine not in side]
        self.block(side, others)
        self.block(others, side)

    def keep_apart(self, one: Machine, other: Machine) -> None:
        """These two don't reach each other until `heal`, though others reach both."""
        for source, target in ((one, other), (other, one)):
            self.block([source], [target])
            for sock in list(source.sockets.values()):
                if sock.connected and sock.peer.machine is target:
                    sock.reset()

    def slow(self, source: Machine, target: Machine, bytes_per_s: float) -> None:
        self._slow[source, target] = bytes_per_s

    def heal(self) -> None:
        self._blocked.clear()
        if self._slow:
            self._slow.clear()
            for machine in self.machines:
                for sock in machine.sockets.values():
                    sock.hurry()
        held, self._held = self._held, []
        for call, arguments in held:
            self.after(self.latency(), call, *arguments)

    # ------------------------------------------------------------ how it is

    def up(self) -> list[Machine]:
        """Who runs, and is honest."""
        return [machine for machine in self.running if machine.honest]

    def converged(self) -> bool:
        """Whether all nodes that are up hold the same."""
        return invariants.converged(self.up())

    def full_mesh(self) -> bool:
        """Whether each two nodes that are up have one link, and no more."""
        wanted = len(self.running) - 1
        for machine in self.running:
            node = machine.node
            if node and not len(node.mesh.members) == len(node.connections) == wanted:
                return False
        return True

    def check(self) -> None:
        """All that must be true of a room that comes to rest."""
        self.run(invariants.REST_S)
        invariants.at_rest(self)


def sign(author: bytes, unsigned: bytes | memoryview) -> bytes:
    digest = sha512(author)
    digest.update(unsigned)
    return digest.digest()


def verify(entry: Entry) -> bool:
    unsigned = memoryview(entry.raw)[: -protocol.SIGNATURE_BYTES]
    return entry.signature == sign(entry.author, unsigned)


def verify_receipt(receipt: Receipt) -> bool:
    return receipt.signature == sign(receipt.member, receipt.unsigned)
