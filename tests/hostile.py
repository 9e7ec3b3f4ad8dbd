"""Hell for a running node: strangers and a member that send anything at all.

    python -m tests.fuzz live --bytes 100000000

A node (a `User` in a process of its own, that measures its turns) has an honest member, a
real selchat, and hostile callers over loopback: strangers for one half of the bytes,
members with valid keys of the open room for the other. One weapon after another; after
each, the node says what its longest turn took, and the honest member gets an answer to
what it says, within a second. Turns are judged by the time on the processor, since a machine
that is busy with others stretches any other time; both are told.

Lives here: the node, the callers, the weapons, the verdict. Never here: what bytes do to
a part of selchat alone (see fuzz.py).
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import re
import resource
import selectors
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import StringIO
from itertools import count, cycle
from pathlib import Path
from random import Random
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, NamedTuple

import identity
import net
import protocol
from identity import Identity
from protocol import Bye, Entries, Fork, Have, Head, Hello, Message, Peer, Peers, Ping, Pong
from tests.processes import Crowd, Process
from user import User

TURN_LIMIT_MS = 20.0  # nobody notices a wait of one frame of a film, 40 ms; half of that
MEMORY_LIMIT_MIB = 16.0
ANSWER_LIMIT_S = 1.0
MEMBERS = 4  # hostile ones at once: in a small room nobody expects more
PIECE_BYTES = 64 * 1024  # of one send: what the kernel holds for a link anyway
PATIENCE_S = 10.0  # for a socket that takes nothing; a node that stood so long has failed
ESCAPES = "\x1b[2J\x1b]0;gone\x07\u202e\r\n\x9b31m\ud7fb\u2066"

# ---------------------------------------------------------------- the node


@dataclass
class Figures:
    """What the turns took since the last time that somebody asked."""

    turns: int = 0
    longest_cpu_ms: float = 0.0
    wall_of_that_ms: float = 0.0
    longest_wall_ms: float = 0.0
    collecting_ms: float = 0.0  # the longest collection of garbage, part of its turn
    over: int = 0  # turns over the limit
    memory_mib: float = 0.0
    profile: str = ""  # of the longest turn


class MeasuredSelector(selectors.DefaultSelector):
    """A turn is what happens between two waits."""

    profiling = False

    def __init__(self) -> None:
        super().__init__()
        self.figures = Figures()
        self._began: tuple[float, float] | None = None
        self._profile: cProfile.Profile | None = None
        self._collecting = 0.0
        gc.callbacks.append(self._collected)

    def select(self, timeout: float | None = None) -> Any:
        self._end()
        ready = super().select(timeout)
        if self.profiling:
            self._profile = cProfile.Profile()
            self._profile.enable()
        self._began = time.thread_time(), time.perf_counter()
        return ready

    def _end(self) -> None:
        if self._began is None:
            return
        cpu_ms, wall_ms = (
            1000 * (now - then)
            for now, then in zip(
                (time.thread_time(), time.perf_counter()), self._began, strict=True
            )
        )
        figures = self.figures
        figures.turns += 1
        figures.over += cpu_ms > TURN_LIMIT_MS
        figures.longest_wall_ms = max(figures.longest_wall_ms, wall_ms)
        if self._profile is not None:
            self._profile.disable()
        if cpu_ms > figures.longest_cpu_ms:
            figures.longest_cpu_ms, figures.wall_of_that_ms = cpu_ms, wall_ms
            if self._profile is not None:
                shown = StringIO()
                pstats.Stats(self._profile, stream=shown).sort_stats("cumtime").print_stats(22)
                figures.profile = shown.getvalue()

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        now = 1000 * time.thread_time()
        if phase == "start":
            self._collecting = now
        else:
            self.figures.collecting_ms = max(self.figures.collecting_ms, now - self._collecting)


def memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Answerer(User):
    """A node that answers the honest member, and tells its figures to who started it."""

    def on_message(self, message: Any) -> None:
        if message.name == "honest" and not message.history:
            self.post(f"answer to {message.text}")


def run_node(folder: str, profiling: str) -> int:
    """Standard input is a socket: a byte in, the figures out as a line."""
    import output

    control = socket.socket(fileno=0)
    loop = net.Loop()
    selector = MeasuredSelector()
    selector.profiling = profiling == "profile"
    loop._selector = selector
    user = Answerer(port=0, name="node", data=Path(folder), loop=loop)
    user.output = output.JsonOutput(user.stdout.write)

    def asked(_: int) -> None:
        if not control.recv(1):
            user.leave("nobody asks any more")
            return
        told, selector.figures = selector.figures, Figures()
        told.memory_mib = memory_mib()
        control.sendall(json.dumps(asdict(told)).encode() + b"\n")

    user.start_server()
    control.sendall(json.dumps(user.port).encode() + b"\n")
    loop.watch(0, net.READ, asked)
    return user.run()


class NodeProcess:
    """The node, from outside."""

    def __init__(self, folder: Path, profiling: bool) -> None:
        ours, its = socket.socketpair()
        arguments = [str(folder), "profile" if profiling else ""]
        with its:
            self._popen = Popen(
                [sys.executable, "-m", "tests.hostile", *arguments],
                stdin=its.fileno(),
                stdout=DEVNULL,
                stderr=PIPE,
                cwd=Path(__file__).parent.parent,
            )
        ours.settimeout(6 * PATIENCE_S)
        self._control, self._lines = ours, ours.makefile()
        self.port = int(self._line())

    def _line(self) -> str:
        line = self._lines.readline()
        if not line:
            raise NodeFailed(self.end())
        return line

    def ask(self) -> Figures:
        self._control.sendall(b"?")
        return Figures(**json.loads(self._line()))

    def end(self) -> str:
        """What it wrote about its failure, if it failed."""
        self._control.close()
        self._lines.close()
        _, said = self._popen.communicate(timeout=6 * PATIENCE_S)
        return said.decode() if self._popen.returncode or said else ""


class NodeFailed(Exception):
    """The node has ended; the text is what it wrote."""


# ---------------------------------------------------------------- callers


class Battle:
    """The node, and all that its attackers share."""

    def __init__(self, port: int, random: Random, folder: Path) -> None:
        self.port = port
        self.random = random
        self.room = identity.open_room()
        self.members = [self._member(folder / f"member-{n}", self.room) for n in range(MEMBERS)]
        self._contexts = {member: member.tls_contexts()[1] for member in self.members}
        other = self._member(folder / "other", identity.Room("other", b"another secret"))
        self._contexts[other] = other.tls_contexts()[1]
        self._contexts[other].verify_mode = ssl.CERT_NONE
        self.other = other

    @staticmethod
    def _member(folder: Path, room: identity.Room) -> Identity:
        folder.mkdir()
        return Identity(folder, room)

    def connect(self) -> socket.socket:
        sock = socket.socket()
        # Else megabytes wait in our own kernel, sent but not yet the node's to deal with.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE_BYTES)
        sock.settimeout(PATIENCE_S)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def knock(self) -> socket.socket:
        """Knocked as it should be."""
        sock = self.connect()
        sock.sendall(self.room.knock(_exactly(sock, protocol.CHALLENGE_BYTES)))
        return sock

    def login(self, member: Identity) -> ssl.SSLSocket:
        return self._contexts[member].wrap_socket(self.knock())

    def client_hello(self) -> bytes:
        """The first flight of TLS."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._contexts[self.members[0]].wrap_bio(incoming, outgoing)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            return outgoing.read()
        raise AssertionError("a handshake without a far end")


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def drain(sock: socket.socket) -> None:
    """Reads what is there."""
    sock.setblocking(False)
    try:
        while sock.recv(1 << 18):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        pass  # no more for now
    finally:
        sock.settimeout(PATIENCE_S)


def send(sock: socket.socket, data: bytes) -> int:
    """How much of it the node's machine took before the node hung up."""
    for at in range(0, len(data), PIECE_BYTES):
        try:
            drain(sock)
            sock.sendall(data[at : at + PIECE_BYTES])
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            return at
    return len(data)


@contextmanager
def closing(sock: socket.socket) -> Iterator[socket.socket]:
    try:
        yield sock
    finally:
        sock.close()


def finish(sock: socket.socket) -> None:
    """Waits until the node has taken in everything, or has hung up."""
    try:
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(PATIENCE_S)
        while sock.recv(1 << 18):
            pass
    except (OSError, ValueError) as error:
        if isinstance(error, TimeoutError):
            raise


# ---------------------------------------------------------------- strangers' weapons

# Each is called once and goes on for ever; it yields how many bytes it has sent.
Attack = Generator[int, None, None]


def garbage(battle: Battle) -> Attack:
    """Anything, where a knock should be."""
    while True:
        with closing(battle.connect()) as sock:
            yield send(sock, battle.random.randbytes(PIECE_BYTES))


def half_a_knock(battle: Battle) -> Attack:
    while True:
        with closing(battle.connect()) as sock:
            sock.sendall(battle.random.randbytes(battle.random.randrange(32)))
            yield 16


def knock_and_garbage(battle: Battle) -> Attack:
    """The right knock, and then anything."""
    while True:
        with closing(battle.knock()) as sock:
            yield send(sock, battle.random.randbytes(PIECE_BYTES))


def half_tls(battle: Battle) -> Attack:
    """A first flight of TLS, cut or changed, with much behind it."""
    while True:
        flight = bytearray(battle.client_hello())
        how = battle.random.randrange(3)
        if how == 0:
            del flight[battle.random.randrange(len(flight)) :]
        elif how == 1:
            flight[battle.random.randrange(len(flight))] ^= 1 + battle.random.randrange(255)
        else:
            flight += b"\x17\x03\x03\x40\x00" + battle.random.randbytes(16 * 1024)
        with closing(battle.knock()) as sock:
            yield send(sock, bytes(flight))


def endless_record(battle: Battle) -> Attack:
    """TLS records of one byte each: as much work for as few bytes as there is."""
    while True:
        with closing(battle.knock()) as sock:
            flight = battle.client_hello()[5:]
            records = b"".join(b"\x16\x03\x01\0\x01" + bytes([byte]) for byte in flight[:-1])
            yield send(sock, records * 4)


def foreign_certificate(battle: Battle) -> Attack:
    """A whole handshake, with a certificate of another room."""
    while True:
        with closing(battle.knock()) as sock:
            try:
                tls = battle._contexts[battle.other].wrap_socket(sock)
                sock = tls
                yield 2000 + send(tls, protocol.encode(Hello("x", 0, 1)))
            except (ssl.SSLError, ConnectionError):
                yield 2000
            finally:
                sock.close()


def resets(battle: Battle) -> Attack:
    """Callers that are gone at once, with a reset."""
    while True:
        with closing(battle.connect()) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            yield 1


def drip(battle: Battle) -> Attack:
    """Many callers that send a byte now and then."""
    while True:
        with ExitStack() as stack:
            socks = [stack.enter_context(closing(battle.connect())) for _ in range(60)]
            for _ in range(31):
                yield sum(send(sock, b"x") for sock in socks)


def crowd(battle: Battle) -> Attack:
    """Hundreds at once, all of them right as far as they get."""
    flight = battle.client_hello()
    while True:
        with ExitStack() as stack:
            socks = []
            for _ in range(300):
                socks.append(stack.enter_context(closing(battle.connect())))
            sent = 0
            for sock in socks:
                try:
                    knock = battle.room.knock(_exactly(sock, protocol.CHALLENGE_BYTES))
                    sent += send(sock, knock + flight)
                except OSError:
                    continue  # one that had to make room for others
            yield sent


# ---------------------------------------------------------------- members' weapons

# Bytes that go through TLS, one piece after another; after the last, another login.
Stream = Callable[[Random, Identity], Iterator[bytes]]


def as_member(stream: Stream, *, greets: bool = True) -> Callable[[Battle], Attack]:
    """The attack of all members at once with streams of this kind."""

    def attack(battle: Battle) -> Attack:
        turns = [_one_after_another(battle, member, stream, greets) for member in battle.members]
        try:
            for each in cycle(turns):
                yield next(each)
        finally:
            for each in turns:
                each.close()

    attack.__name__, attack.__doc__ = stream.__name__, stream.__doc__
    return attack


def _one_after_another(battle: Battle, member: Identity, stream: Stream, greets: bool) -> Attack:
    while True:
        try:
            sock = battle.login(member)
        except (ssl.SSLError, ConnectionError):
            yield 0  # the node had enough of us for now
            continue
        with closing(sock):
            if greets:
                send(sock, protocol.encode(Hello(ESCAPES, 0, battle.random.getrandbits(64))))
            try:
                for piece in stream(battle.random, member):
                    sent = send(sock, piece)
                    yield sent
                    if sent < len(piece):
                        break
            finally:
                finish(sock)


class Writer:
    """Writes one log, with valid hashes."""

    def __init__(self, random: Random, member: Identity) -> None:
        self._member = member
        self.log = member.member + random.randbytes(8)
        self.seq, self._previous = 0, protocol.NO_PREVIOUS

    def write(
        self,
        kind: int,
        body: bytes,
        time_ms: int = 0,
        heads: tuple[Head, ...] = (),
        signed: bool = True,
    ) -> bytes:
        raw = self.branch(kind, body, time_ms, heads, signed)
        self.seq, self._previous = self.seq + 1, sha256(raw).digest()
        return raw

    def branch(
        self,
        kind: int,
        body: bytes,
        time_ms: int = 0,
        heads: tuple[Head, ...] = (),
        signed: bool = True,
    ) -> bytes:
        """An entry that the next one does not follow."""
        head = Head(self.log, self.seq + 1)
        raw = protocol.unsigned_entry(head, self._previous, time_ms, heads, kind, body)
        room = self._member.room.id
        sign = self._member.sign
        return raw + (sign(protocol.signed_bytes(room, raw)) if signed else bytes(64))


def frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def random_bytes(random: Random, member: Identity) -> Iterator[bytes]:
    """Anything."""
    yield random.randbytes(PIECE_BYTES)


def random_frames(random: Random, member: Identity) -> Iterator[bytes]:
    """Frames of any kind with anything in them."""
    while True:
        yield frame(random.randrange(10), random.randbytes(random.randrange(200)))


def unknown_frames(random: Random, member: Identity) -> Iterator[bytes]:
    """The largest frames of kinds that nobody knows."""
    body = random.randbytes(protocol.MAX_FRAME_BYTES - 1)
    while True:
        yield frame(random.randrange(9, 256), body)


def small_unknown_frames(random: Random, member: Identity) -> Iterator[bytes]:
    """As many frames in as few bytes as there can be, of a kind that nobody knows."""
    while True:
        yield frame(99, b"") * (PIECE_BYTES // 5)


def pings(random: Random, member: Identity) -> Iterator[bytes]:
    while True:
        yield protocol.encode(Ping()) * (PIECE_BYTES // 5)


def pongs(random: Random, member: Identity) -> Iterator[bytes]:
    while True:
        yield protocol.encode(Pong()) * (PIECE_BYTES // 5)


def silly_frontiers(random: Random, member: Identity) -> Iterator[bytes]:
    """The largest Haves, of logs that nobody wrote, up to where no log goes."""
    while True:
        heads = (
            Head(
                random.randbytes(40),
                random.choice([0, 1, 2**63, 2**64 - 1, random.getrandbits(64)]),
            )
            for _ in range(protocol.MAX_HAVE_LOGS)
        )
        yield protocol.encode(Have(tuple(heads), last=random.random() < 0.5))


def small_frontiers(random: Random, member: Identity) -> Iterator[bytes]:
    """Haves of nothing, and of one log."""
    one = protocol.encode(Have((Head(member.member + bytes(8), 2**64 - 1),)))
    while True:
        yield (one + protocol.encode(Have(()))) * 1000


def crowds_of_peers(random: Random, member: Identity) -> Iterator[bytes]:
    """The largest Peers, at addresses of this machine and at hosts that are none."""
    hosts = ["127.0.0.1", "127.1.2.3", "::1", "localhost", "x" * 253, ESCAPES, "::ffff:127.0.0.1"]
    while True:
        peers = (
            Peer(random.randbytes(32), random.choice(hosts), random.randrange(65536))
            for _ in range(protocol.MAX_PEERS)
        )
        yield protocol.encode(Peers(tuple(peers)))


def crowds_of_loopback(random: Random, member: Identity) -> Iterator[bytes]:
    """The largest Peers, each with another address that may be dialed."""
    while True:
        peers = (
            Peer(random.randbytes(32), f"127.{random.randrange(256)}.3.{n}", 1 + n)
            for n in range(protocol.MAX_PEERS - 1)
        )
        yield protocol.encode(Peers(tuple(peers)))


def _run(entries: list[bytes]) -> bytes:
    return protocol.encode(Entries(tuple(entries)))


def receipts(battle: Battle) -> Attack:
    """Receipts of each for all others, with more each time: they are checked and passed on."""
    authors = [each.member for each in battle.members]

    def stream(random: Random, member: Identity) -> Iterator[bytes]:
        logs = [author + random.randbytes(8) for author in authors * 16][:64]
        for seq in count(1):
            heads = tuple(Head(log, seq) for log in logs)
            unsigned = protocol.unsigned_receipt(member.member, heads)
            signed = protocol.signed_receipt_bytes(member.room.id, unsigned)
            yield protocol.encode(protocol.parse_receipt(unsigned + member.sign(signed)))

    return as_member(stream)(battle)


def smallest_entries(random: Random, member: Identity) -> Iterator[bytes]:
    """As many entries in a frame as there may be, with one signature for all."""
    writer = Writer(random, member)
    count = protocol.MAX_RUN
    while True:
        run = [writer.write(7, b"", now_ms(), signed=False) for _ in range(count - 1)]
        yield _run([*run, writer.write(7, b"", now_ms())])


def one_entry_each(random: Random, member: Identity) -> Iterator[bytes]:
    """The smallest entries, each signed and in a frame of its own."""
    writer = Writer(random, member)
    while True:
        yield b"".join(_run([writer.write(7, b"", now_ms())]) for _ in range(300))


def most_posts(random: Random, member: Identity) -> Iterator[bytes]:
    """Entries with as many posts as one may have, of one character each."""
    writer = Writer(random, member)
    body = protocol.pack_posts(["x"] * protocol.MAX_POSTS)
    while True:
        entries = [writer.write(protocol.POSTS, body, now_ms()) for _ in range(20)]
        yield _run(entries)


def longest_posts(random: Random, member: Identity) -> Iterator[bytes]:
    """Posts as long as one may be, of what is hardest to show."""
    writer = Writer(random, member)
    texts = [(text * protocol.MAX_POST_BYTES).encode()[: protocol.MAX_POST_BYTES - 3]
             for text in ("\x1b[", "世", "e\u0301", "\n", "a ")]  # fmt: skip
    while True:
        body = protocol.pack_posts([random.choice(texts).decode(errors="ignore")])
        yield _run([writer.write(protocol.POSTS, body, now_ms()) for _ in range(2)])


def largest_entries(random: Random, member: Identity) -> Iterator[bytes]:
    """All heads that fit, a whole body, times that no clock shows."""
    writer = Writer(random, member)
    while True:
        heads = tuple(Head(random.randbytes(40), 2**63 - 1) for _ in range(protocol.MAX_HEADS))
        time_ms = random.choice([0, 2**64 - 1, 2**63, now_ms()])
        body = random.randbytes(protocol.MAX_BODY_BYTES)
        yield _run([writer.write(protocol.POSTS, body, time_ms, heads)])


def waiting_entries(random: Random, member: Identity) -> Iterator[bytes]:
    """Logs that wait for one another, and for what nobody ever wrote."""
    writers = [Writer(random, member) for _ in range(128)]
    while True:
        frames = []
        for writer in writers:
            other = random.choice([each for each in writers if each is not writer])
            heads = (Head(other.log, other.seq + 1),)
            frames.append(_run([writer.write(protocol.POSTS, b"", now_ms(), heads)]))
        yield b"".join(frames)


def chains_of_waiting(random: Random, member: Identity) -> Iterator[bytes]:
    """Thousands of entries that all can be placed at once, when one comes that they miss."""
    missing, waiting = Writer(random, member), Writer(random, member)
    body = protocol.pack_posts(["x"])
    count = 128 * 1024 // 240
    while True:
        heads = (Head(missing.log, missing.seq + 1),)
        for _ in range(10):
            run = [
                waiting.write(protocol.POSTS, body, now_ms(), heads, signed=False)
                for _ in range(count - 1)
            ]
            yield _run([*run, waiting.write(protocol.POSTS, body, now_ms(), heads)])
        yield _run([missing.write(protocol.POSTS, body, now_ms())])


def many_logs(random: Random, member: Identity) -> Iterator[bytes]:
    """One entry of each of many logs."""
    while True:
        yield b"".join(_run([Writer(random, member).write(7, b"")]) for _ in range(300))


def names(random: Random, member: Identity) -> Iterator[bytes]:
    """Names as long as one may be, of escape codes, of no text at all."""
    writer = Writer(random, member)
    while True:
        body = random.choice([
            (ESCAPES * 3000).encode()[: protocol.MAX_NAME_BYTES],
            random.randbytes(protocol.MAX_NAME_BYTES),
            b"\xcc\x81" * (protocol.MAX_NAME_BYTES // 2),
            b"honest",
            random.randbytes(protocol.MAX_BODY_BYTES),
        ])  # fmt: skip
        said = protocol.pack_posts([random.choice(["hello", ESCAPES, ""])])
        yield _run([
            writer.write(protocol.NAME, body, now_ms()),
            writer.write(protocol.POSTS, said, now_ms()),
        ])  # fmt: skip


def many_names(random: Random, member: Identity) -> Iterator[bytes]:
    """Another name with each post, of letters that nobody has looked at before."""
    writer = Writer(random, member)
    said = protocol.pack_posts(["hello"])
    while True:
        run = []
        for _ in range(protocol.MAX_RUN // 2):
            name = "".join(chr(random.randrange(0xA1, 0xD800)) for _ in range(256))
            run.append(writer.write(protocol.NAME, name.encode(), now_ms(), signed=False))
            run.append(writer.write(protocol.POSTS, said, now_ms()))
        yield b"".join(_run(run[at : at + 32]) for at in range(0, len(run), 32))


def bad_bodies(random: Random, member: Identity) -> Iterator[bytes]:
    """Posts that unpack badly: wrong counts, wrong lengths, no UTF-8."""
    writer = Writer(random, member)
    good = protocol.pack_posts(["hello", "wörld"])
    while True:
        body = random.choice([
            b"", b"\xff\xff\xff\xff", struct.pack(">I", 1024) + bytes(4096), good[:-1],
            good + b"x", b"\0\0\0\x01\xff\xff\xff\xff", b"\0\0\0\x01\0\0\0\x02\xc3\x28",
            b"\0\0\x04\x01" + bytes(4200),
        ])  # fmt: skip
        yield _run([writer.write(protocol.POSTS, body, random.getrandbits(64))])


def forked_logs(random: Random, member: Identity) -> Iterator[bytes]:
    """Two entries that say two things as one, as entries, and as proofs."""
    while True:
        writer = Writer(random, member)
        one, other = writer.branch(7, b"one"), writer.branch(7, b"other")
        if random.random() < 0.5:
            yield _run([one]) + _run([other])
        else:
            yield b"".join(protocol.encode(Fork(one, other)) for _ in range(20))


def large_proofs(random: Random, member: Identity) -> Iterator[bytes]:
    """Proofs of forks as large as one may be, each of another log."""
    body = random.randbytes(protocol.MAX_BODY_BYTES)
    while True:
        writer = Writer(random, member)
        yield protocol.encode(Fork(writer.branch(7, body), writer.branch(8, body)))


def changed(random: Random, member: Identity) -> Iterator[bytes]:
    """Valid messages in which a byte is another one."""
    writer = Writer(random, member)
    said = writer.write(protocol.POSTS, protocol.pack_posts(["hello"]), now_ms())
    valid: list[Message] = [
        Peers((Peer(random.randbytes(32), "127.0.0.1", 5000),)),
        Have((Head(writer.log, 1),)),
        Entries((said,)),
        Ping(),
        Fork(said, writer.branch(7, b"")),
    ]
    while True:
        data = bytearray(protocol.encode(random.choice(valid)))
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        yield bytes(data)


def cut_everywhere(random: Random, member: Identity) -> Iterator[bytes]:
    """Valid messages, a record of TLS for each byte."""
    writer = Writer(random, member)
    while True:
        said = writer.write(protocol.POSTS, protocol.pack_posts(["hello"]), now_ms())
        for byte in protocol.encode(Entries((said,))):
            yield bytes([byte])


def wrong_starts(random: Random, member: Identity) -> Iterator[bytes]:
    """No Hello, two of them, or one that is wrong."""
    hello = protocol.encode(Hello(ESCAPES * 1000, random.randrange(65536), random.getrandbits(64)))
    yield random.choice([
        protocol.encode(Ping()), hello + hello, protocol.encode(Hello("x", 1, 1, version=0)),
        hello[:7], hello + protocol.encode(Bye(ESCAPES)), frame(1, b""), protocol.encode(Bye("")),
    ])  # fmt: skip


def never_reads(random: Random, member: Identity) -> Iterator[bytes]:
    """Asks for everything from the start, again and again, and takes little of it."""
    yield protocol.encode(Have(()))
    for _ in range(200):
        yield protocol.encode(Ping()) * 50


class Weapon(NamedTuple):
    attack: Callable[[Battle], Attack]
    share: float  # of all bytes


STRANGERS = [
    Weapon(garbage, 0.2),
    Weapon(half_a_knock, 0.0005),
    Weapon(knock_and_garbage, 0.15),
    Weapon(half_tls, 0.08),
    Weapon(endless_record, 0.04),
    Weapon(foreign_certificate, 0.02),
    Weapon(resets, 0.00003),
    Weapon(drip, 0.0003),
    Weapon(crowd, 0.01),
]
WELCOME = [
    Weapon(as_member(random_bytes), 0.04),
    Weapon(as_member(random_frames), 0.002),
    Weapon(as_member(unknown_frames), 0.1),
    Weapon(as_member(small_unknown_frames), 0.04),
    Weapon(as_member(pings), 0.02),
    Weapon(as_member(pongs), 0.02),
    Weapon(as_member(silly_frontiers), 0.05),
    Weapon(as_member(small_frontiers), 0.02),
    Weapon(as_member(crowds_of_peers), 0.02),
    Weapon(as_member(crowds_of_loopback), 0.02),
    Weapon(receipts, 0.02),
    Weapon(as_member(smallest_entries), 0.02),
    Weapon(as_member(one_entry_each), 0.005),
    Weapon(as_member(most_posts), 0.01),
    Weapon(as_member(longest_posts), 0.03),
    Weapon(as_member(largest_entries), 0.03),
    Weapon(as_member(waiting_entries), 0.005),
    Weapon(as_member(chains_of_waiting), 0.02),
    Weapon(as_member(many_logs), 0.005),
    Weapon(as_member(names), 0.02),
    Weapon(as_member(many_names), 0.01),
    Weapon(as_member(bad_bodies), 0.003),
    Weapon(as_member(forked_logs), 0.004),
    Weapon(as_member(large_proofs), 0.02),
    Weapon(as_member(changed), 0.001),
    Weapon(as_member(cut_everywhere), 0.00002),
    Weapon(as_member(wrong_starts, greets=False), 0.005),
    Weapon(as_member(never_reads), 0.001),
]

# ---------------------------------------------------------------- the verdict


@dataclass
class Verdict:
    """What came of it."""

    sent: int = 0
    longest_ms: float = 0.0
    memory_mib: float = 0.0  # that it grew by
    slowest_answer_s: float = 0.0
    failed: str = ""  # what the node wrote if it failed

    @property
    def is_good(self) -> bool:
        return (
            not self.failed
            and self.longest_ms <= TURN_LIMIT_MS
            and self.memory_mib <= MEMORY_LIMIT_MIB
            and self.slowest_answer_s <= ANSWER_LIMIT_S
        )


class Honest:
    """The honest member: it asks the node, and waits for the answer."""

    def __init__(self, processes: Crowd, port: int) -> None:
        self._processes = processes
        self._process: Process = processes.start(0, port, "honest", "--stay").wait_ready()
        processes.wait(lambda: self._process.events("link", state="up"), "it is linked")
        self._asked = 0
        self._searched = 0
        self._at = 0.0

    def ask(self) -> None:
        self._asked += 1
        self._searched = len(self._process.stdout)
        self._at = time.monotonic()
        self._process.say(f"question {self._asked}")

    def is_answered(self) -> bool:
        """Reads what there is first."""
        self._processes._turn(0.0)
        wanted = f'"answer to question {self._asked}"'.encode()
        return self._process.stdout.find(wanted, self._searched) >= 0

    def wait(self) -> float:
        """Seconds until the answer came; infinity if it did not in time."""
        end = time.monotonic() + PATIENCE_S
        self._processes.wait(
            lambda: self.is_answered() or time.monotonic() > end, "an answer", 2 * PATIENCE_S
        )
        return time.monotonic() - self._at if self.is_answered() else float("inf")


def fight(
    total: int,
    *,
    seed: int,
    profiling: bool = False,
    only: str = "",
    say: Callable[[str], None] = print,
) -> Verdict:
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as place, Crowd(Path(place)) as processes:
        folder = Path(place)
        node = NodeProcess(folder / "node", profiling)
        try:
            honest = Honest(processes, node.port)
            honest.ask()
            honest.wait()
            started = node.ask().memory_mib
            say(f"{'':22}  {'KB':>7} {'turns':>7} {'cpu ms':>8} {'wall':>7} {'max wall':>8} "
                f"{'gc ms':>6} {'>20':>5} {'MiB':>6} {'answer':>7} {'after':>7}")  # fmt: skip
            battle = Battle(node.port, Random(seed), folder)
            for weapon in (*STRANGERS, *WELCOME):
                if re.search(only, weapon.attack.__name__):
                    _fight_with(weapon, total, battle, node, honest, verdict, say, started)
        except NodeFailed as error:
            verdict.failed = str(error) or "the node ended"
        else:
            verdict.failed = node.end()
    return verdict


def _fight_with(
    weapon: Weapon,
    total: int,
    battle: Battle,
    node: NodeProcess,
    honest: Honest,
    verdict: Verdict,
    say: Callable[[str], None],
    started: float,
) -> None:
    attack, sent, during = weapon.attack(battle), 0, 0.0
    honest.ask()
    asked = time.monotonic()
    while sent < weapon.share * total:
        sent += next(attack)
        if not during and honest.is_answered():
            during = time.monotonic() - asked
    attack.close()
    during = during or honest.wait()
    honest.ask()
    after = honest.wait()
    figures = node.ask()
    verdict.sent += sent
    verdict.longest_ms = max(verdict.longest_ms, figures.longest_cpu_ms)
    verdict.memory_mib = figures.memory_mib - started
    verdict.slowest_answer_s = max(verdict.slowest_answer_s, after)
    say(
        f"{weapon.attack.__name__:22}  {sent / 1000:7.0f} {figures.turns:7} "
        f"{figures.longest_cpu_ms:8.1f} {figures.wall_of_that_ms:7.1f} "
        f"{figures.longest_wall_ms:8.1f} {figures.collecting_ms:6.1f} {figures.over:5} "
        f"{figures.memory_mib:6.1f} {during:7.3f} {after:7.3f}"
    )
    if figures.profile:
        say(figures.profile)


def main(total: int, seed: int, profiling: bool, only: str = "") -> int:
    verdict = fight(
        total, seed=seed, profiling=profiling, only=only, say=lambda line: print(line, flush=True)
    )
    print(
        f"{verdict.sent} bytes (seed {seed}): longest turn {verdict.longest_ms:.1f} ms, memory "
        f"{verdict.memory_mib:+.1f} MiB, slowest answer afterwards {verdict.slowest_answer_s:.3f} s"
    )
    print(verdict.failed or "no exception was uncaught")
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(run_node(*sys.argv[1:]))
