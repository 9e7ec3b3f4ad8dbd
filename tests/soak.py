"""Long runs: an hour of a room's life in minutes, and a member that never reads.

    python -m tests.soak [--minutes M]                60 rounds of life on one node
    python -m tests.soak stalled [--seconds S]        a reader that stands still for so long

A round of life: posts from all sides, one member leaves and one is killed, both come back,
links break, a guest comes for the first and last time. Each round is the same, so whatever
a round costs must not grow with the rounds before it. What is compared: the median of the
second half of the rounds, and that of the first.

The node under test runs in a process of its own, as the command, with one addition: told
to by a signal, it says what it holds in memory for each of its links (`observed`).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import net
import protocol
import rows
from identity import Identity, member_of, open_room
from link import BUFFER_BYTES, READ_BYTES, Failed, Gate, Link, Secured, Shared
from mesh import PING_S
from tests.processes import ROOT, Crowd, Process, free_ports
from tests.proxy import FRONT

KIB, MIB = 1024, 1024 * 1024

# ---------------------------------------------------------------- an hour of life

ROUNDS = 60  # a round is for a minute
WARM_UP = 0.1  # of the rounds: the first links, imports that are late, caches that fill
MEMBERS = 4
POSTS_PER_MEMBER = 40  # a round; the node under test says as many
BREAK_S = 0.2  # so long the network resets calls
ROUND_DEADLINE_S = 30.0  # until all have all; a second on a quiet machine


@dataclass(frozen=True)
class Figure:
    """Something that is to be flat, and by how much it may grow all the same."""

    name: str
    factor: float  # the second half may be so many times the first,
    more: float  # and so much more besides


FIGURES = (
    # Between rounds the same links are up; a dial or two may be under way.
    Figure("open descriptors", 1.0, 2.0),
    # SQLite's page cache grows up to 2 MiB; a log, an address or a name takes 1 KiB.
    Figure("resident memory (MiB)", 1.05, 2.0),
    # Guests that left are dialed again, ever more rarely; and the machine is not ours alone.
    Figure("wake-ups per post", 1.25, 0.1),
    Figure("CPU per post (ms)", 1.25, 0.1),
    # Who lags behind names more entries of others, and how far people lag is chance.
    Figure("journal per post (B)", 1.1, 0.0),
)


@dataclass
class Life:
    """What the rounds have cost."""

    rounds: list[tuple[float, ...]] = field(default_factory=list)  # in the order of FIGURES
    journal: tuple[float, float] = (0.0, 0.0)  # of both halves, from the file itself

    def halves(self) -> Iterator[tuple[Figure, float, float, bool]]:
        """Each figure, its medians in both halves, and whether it is flat."""
        counted = self.rounds[max(1, int(len(self.rounds) * WARM_UP)) :]
        middle = len(counted) // 2
        columns = list(zip(*counted, strict=True))
        pairs = [(median(values[:middle]), median(values[middle:])) for values in columns]
        for figure, (first, second) in zip(FIGURES, [*pairs, self.journal], strict=True):
            yield figure, first, second, second <= first * figure.factor + figure.more

    def table(self) -> str:
        rows = [f"{'':22}{'first half':>12}{'second half':>12}"]
        for figure, first, second, flat in self.halves():
            verdict = "flat" if flat else "GROWS"
            rows.append(f"{figure.name:22}{first:12.2f}{second:12.2f}  {verdict}")
        return "\n".join(rows)

    def growing(self) -> list[str]:
        return [figure.name for figure, _, _, flat in self.halves() if not flat]


class Room:
    """The node under test, its members, and the network between them."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.ports = free_ports(MEMBERS + 1)
        self.network = crowd.start_proxy(self.ports)
        self.node = self._start(0).wait_ready()
        self.members = [self._start(number) for number in range(1, MEMBERS + 1)]
        crowd.wait_linked(self.node, *self.members)

    def _start(self, number: int) -> Process:
        peer = 0 if number == 0 else f"{FRONT}:{self.ports[0]}"
        name = f"member{number}"
        return self.crowd.start(self.ports[number], peer, name, data=name)

    def live(self, number: int, round_s: float) -> tuple[float, ...]:
        """One round of life; what it has cost the node."""
        node, crowd = self.node, self.crowd
        cpu_s, sleeps, known = node.cpu_s(), node.sleeps(), len(node.all_events)
        end = time.monotonic() + round_s
        leaving, dying = number % MEMBERS, (number + 1) % MEMBERS
        self._say(f"{number}, before")
        self.members[leaving].end_input()
        crowd.wait(lambda: self.members[dying].texts(own=True), "it has spoken")
        self.members[dying].kill()
        self._change_weather(resets_per_s=3.0)
        guest = crowd.start(0, f"{FRONT}:{self.ports[0]}", f"guest{number}")
        guest.say(f"guest {number}")
        guest.end_input()
        crowd.wait_s(BREAK_S)
        self._change_weather()
        for member in (leaving, dying):
            self.members[member].wait_end(ROUND_DEADLINE_S)
            self.members[member] = self._start(member + 1)
        last = self._say(f"{number}, after")
        guest.wait_end(ROUND_DEADLINE_S)
        crowd.wait_linked(node, *self.members, deadline_s=ROUND_DEADLINE_S)

        def posts() -> list[str]:
            events = node.all_events[known:]
            return [event["text"] for event in events if event["event"] == "message"]

        crowd.wait(lambda: posts().count(last) > MEMBERS, "the node has all", ROUND_DEADLINE_S)
        crowd.wait(lambda: time.monotonic() >= end, "the round is over", round_s + 1)
        self._close_ended()
        return (
            node.descriptors(),
            node.memory_bytes() / MIB,
            (node.sleeps() - sleeps) / len(posts()),
            (node.cpu_s() - cpu_s) / len(posts()) * 1000,
        )

    def _say(self, what: str) -> str:
        """The last of what everybody says."""
        lines = [f"round {what}: what people say, {n}" for n in range(POSTS_PER_MEMBER // 2)]
        for speaker in (self.node, *self.members):
            speaker.say(*lines)
        return lines[-1]

    def _change_weather(self, **weather: float) -> None:
        self.network.say(json.dumps(weather))

    def _close_ended(self) -> None:
        for process in [p for p in self.crowd.processes if p.has_ended]:
            process.close()
            self.crowd.processes.remove(process)

    def end(self) -> tuple[float, float]:
        """The journal's bytes per post, of the first half of all posts and of the second."""
        self.node.signal(signal.SIGTERM)
        self.node.wait_end()
        assert self.node.data is not None
        with contextlib.closing(sqlite3.connect(self.node.data / "journal.db")) as database:
            found = [
                row
                for columns in database.execute(rows.PLACED_AFTER, (0,))
                for row in rows.unpack(rows.Row(*columns))
            ]
            found.sort(key=lambda row: row.placed or 0)
            entries = [protocol.parse_entry(row.raw) for row in found]
        middle = len(entries) // 2
        return _bytes_per_post(entries[:middle]), _bytes_per_post(entries[middle:])


def _bytes_per_post(entries: list[protocol.Entry]) -> float:
    posts = sum(len(protocol.texts_in(entry)) for entry in entries)
    return sum(len(entry.raw) for entry in entries) / posts


def live(crowd: Crowd, rounds: int, round_s: float, told: Callable[[str], object]) -> Life:
    """So many rounds of life on one node."""
    room, life = Room(crowd), Life()
    for number in range(rounds):
        life.rounds.append(room.live(number, round_s))
        told(f"round {number + 1:2}: " + "".join(f"{value:10.2f}" for value in life.rounds[-1]))
    assert room.node.errors() == [], room.node.errors()
    life.journal = room.end()
    return life


# ---------------------------------------------------------------- a reader that never reads

POSTS_PER_S = 1000
RELAYED_PER_S = 100  # of these; what is relayed is acknowledged as well, to the deaf one too
TICK_S = 0.002
TEXT = "what people say, when they say much at a time: about as long as this is, or longer " * 2
WINDOW_S = 1.0  # 900 posts to two readers: a 99th percentile stands on 18 of them
MOST_BYTES = 512 * KIB
MOST_SLOWER = 1.10
SAMPLE = signal.SIGUSR1


def observed(arguments: list[str]) -> int:
    """The command; at SAMPLE it writes the bytes that it holds for the link for which it
    holds most: now, at the peak, and what Python has set aside for them."""
    import selchat

    held: dict[int, tuple[int, int, int]] = {}
    flush, close = net.Connection.flush, net.Connection.close

    def flushed(connection: net.Connection, *, mid_turn: bool = False) -> None:
        before = connection.link.queued_bytes
        flush(connection, mid_turn=mid_turn)
        now, (_, peak, _) = connection.link.queued_bytes, held.get(connection.id, (0, 0, 0))
        aside = sys.getsizeof(connection.link.outgoing(mid_turn=mid_turn))
        held[connection.id] = (now, max(peak, now, before), aside)

    def closed(connection: net.Connection) -> None:
        close(connection)
        held.pop(connection.id, None)

    def tell(*_: object) -> None:
        os.write(2, json.dumps(max(held.values(), default=(0, 0, 0))).encode() + b"\n")

    setattr(net.Connection, "flush", flushed)  # noqa: B010 (which mypy has no objection to)
    setattr(net.Connection, "close", closed)  # noqa: B010
    signal.signal(SAMPLE, tell)
    return selchat.main(arguments)


class Deaf:
    """A member that says Hello and then Ping, and reads when it is told to."""

    def __init__(self, port: int, me: Identity) -> None:
        room = open_room()
        gate = Gate(room.knock, room.is_knock, *me.tls_contexts(), member_of, Shared())
        self._link = Link(gate, dialed=True)
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._sock.settimeout(10)
        self._sock.connect(("127.0.0.1", port))
        self.port: int = self._sock.getsockname()[1]
        self.posts = 0
        self.ended = ""
        self._logs: dict[bytes, int] = {}
        while not any(isinstance(event, Secured) for event in self._receive()):
            self._flush()
        self._send(protocol.Hello("deaf", 0, 1))
        self._send(protocol.Have(()))
        self.ping()

    def _receive(self) -> list[Any]:
        return list(self._link.receive(self._sock.recv(READ_BYTES)))

    def _send(self, message: protocol.Message) -> None:
        self._link.send(message)
        self._flush()

    def _flush(self) -> None:
        data = bytes(self._link.outgoing())
        self._sock.sendall(data)
        self._link.sent(len(data))

    def ping(self) -> None:
        self._pinged = time.monotonic()
        self._send(protocol.Ping())

    def ping_if_due(self) -> None:
        if time.monotonic() > self._pinged + PING_S:
            self.ping()

    def read(self) -> None:
        """Takes in what there is; fails if an entry is missing or comes twice."""
        self._sock.settimeout(0.01)
        try:
            events = self._receive()
        except TimeoutError:
            return
        for event in events:
            if isinstance(event, Failed | protocol.Bye):
                self.ended = event.reason
            if isinstance(event, protocol.Entries):
                for entry in map(protocol.parse_entry, event.run):
                    assert entry.seq == self._logs.get(entry.log, 0) + 1
                    self._logs[entry.log] = entry.seq
                    self.posts += len(protocol.texts_in(entry))

    def close(self) -> None:
        self._sock.close()


@dataclass
class Sample:
    """The bytes on the deaf one's account."""

    queued: int = 0  # in the node's memory, as link.py counts
    peak: int = 0  # the most that was there within a turn
    aside: int = 0  # what Python has set aside for it
    node_kernel: int = 0  # of the node's socket: what it has sent, with all overhead
    deaf_kernel: int = 0  # of the deaf one's socket

    @property
    def total(self) -> int:
        return max(self.queued, self.aside) + self.node_kernel + self.deaf_kernel


class Stalled:
    """A node that says much, two that read it, and one that does not."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.node = crowd.start(
            *("--json", "--data", crowd.folder / "node", 0, 0, "node"),
            command=[sys.executable, "-m", "tests.soak", "observed"],
            environment={"PYTHONPATH": str(ROOT)},
        ).wait_ready()
        self.readers = [crowd.start(0, self.node.port, f"reader{n}").wait_ready() for n in (1, 2)]
        crowd.wait_linked(self.node, *self.readers)
        self.port = self.node.port
        self.heard: list[tuple[int, float]] = []  # (ns: when it was said, s: how long it took)
        self.latest: dict[Process, int] = {}  # when that was said which a reader heard last
        for process in (self.node, *self.readers):
            self._listen(process, process is not self.node)
        self.me = Identity(crowd.folder, open_room())
        self.said = 0

    def _listen(self, process: Process, timed: bool) -> None:
        """Keeps the times, and not the text: this process is not to be what is measured."""
        assert process.popen.stdout is not None
        rest = bytearray()

        def listen(data: bytes) -> None:
            now = time.monotonic_ns()
            if not timed:
                return
            rest.extend(data)
            end = rest.rfind(b"\n") + 1
            for found in re.finditer(rb'"text":"n(\d+) ', rest[:end]):
                said = int(found[1])
                self.heard.append((said, (now - said) / 1e9))
                self.latest[process] = said
            del rest[:end]

        self.crowd.forget(process.popen.stdout.fileno())
        self.crowd.read_from(process.popen.stdout.fileno(), listen)

    def talk(self, seconds: float, each_turn: Callable[[], object]) -> tuple[int, int]:
        """The node and a reader say POSTS_PER_S; from when to when (ns)."""
        began = time.monotonic()
        since = time.monotonic_ns()
        said = relayed = 0
        while (passed_s := time.monotonic() - began) < seconds:
            due = int(passed_s * (POSTS_PER_S - RELAYED_PER_S)) - said
            if due:
                self.node.say(*[f"n{time.monotonic_ns()} {TEXT}"] * due)
                said += due
            due = int(passed_s * RELAYED_PER_S) - relayed
            if due:
                self.readers[0].say(*[f"r {TEXT}"] * due)
                relayed += due
            each_turn()
            self.crowd.wait_s(TICK_S)
        self.said += said + relayed
        return since, time.monotonic_ns()

    def catch_up(self) -> None:
        """Until the readers have all that the node has said."""
        now = time.monotonic_ns()
        self.node.say(f"n{now} {TEXT}")
        self.said += 1
        self.crowd.wait(
            lambda: all(self.latest.get(reader) == now for reader in self.readers),
            "the readers have all",
            60.0,
        )

    def latency_s(self, since: int, until: int) -> tuple[float, float]:
        """The median and the 99th percentile of what was said in that time."""
        percentiles = quantiles([s for said, s in self.heard if since <= said < until], n=100)
        self.heard.clear()
        return percentiles[49], percentiles[98]

    def sample(self, deaf: Deaf) -> Sample:
        """Raises ConnectionError if its link was closed."""
        known = len(self.node.error_lines)
        self.node.signal(SAMPLE)
        self.crowd.wait(lambda: len(self.node.error_lines) > known, "it says what it holds")
        held = json.loads(self.node.error_lines[-1])
        shown = subprocess.run(
            ["ss", "-tmnH", f"( sport = :{deaf.port} or dport = :{deaf.port} )"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        kernel: dict[bool, int] = {}
        for line in re.sub(r"\n\s+", " ", shown).splitlines():
            local = int(line.split()[3].rpartition(":")[2])
            memory = re.search(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f\d+,w(\d+)", line)
            assert memory is not None, line
            kernel[local == self.port] = int(memory[1]) + int(memory[2])
        if True not in kernel:
            raise ConnectionError("the node has closed its link")
        queued, peak, aside = held
        return Sample(queued, peak, aside, kernel[True], kernel[False])

    def is_stuck(self, deaf: Deaf) -> bool:
        """Whether the kernel takes no more for it."""
        return self.sample(deaf).node_kernel > BUFFER_BYTES


def stalled(crowd: Crowd, seconds: float, told: Callable[[str], object]) -> list[str]:
    """What is not as it should be."""
    gc.disable()  # its pauses would be taken for the node's
    room = Stalled(crowd)
    room.talk(5.0, lambda: None)  # warm up; and enough to clog a link that has it all to come
    room.catch_up()

    ratios: list[tuple[float, float]] = []  # of the medians, and of the 99th percentiles
    told("delivery, ms   without: p50     p99   with a reader that never reads: p50     p99")
    for number in range(max(4, round(seconds / WINDOW_S / 2))):
        quantiles_s: dict[bool, tuple[float, float]] = {}
        for is_deaf in (False, True) if number % 2 else (True, False):
            deaf = Deaf(room.port, room.me) if is_deaf else None
            if deaf is not None:
                crowd.wait(partial(room.is_stuck, deaf), "it is stuck")
            room.talk(0.2, lambda: None)  # no longer the time after a pause
            since, until = room.talk(WINDOW_S, deaf.ping_if_due if deaf else lambda: None)
            room.catch_up()
            quantiles_s[is_deaf] = room.latency_s(since, until)
            if deaf is not None:
                deaf.close()
        (p50, p99), (deaf_p50, deaf_p99) = quantiles_s[False], quantiles_s[True]
        ratios.append((deaf_p50 / p50, deaf_p99 / p99))
        told(
            f"  pair {number + 1:2} {p50 * 1000:17.2f} {p99 * 1000:7.2f} {deaf_p50 * 1000:36.2f}"
            f" {deaf_p99 * 1000:7.2f}"
        )
    slower = []
    for name, values in zip(("p50", "p99"), zip(*ratios, strict=True), strict=True):
        low, middle, high = quantiles(values, n=4)
        slower.append(middle)
        told(f"{name} with / without: median {middle:.3f}, quartiles {low:.3f} and {high:.3f}")

    deaf = Deaf(room.port, room.me)
    samples: list[Sample] = []
    next_sample = time.monotonic()

    def each_turn() -> None:
        nonlocal next_sample
        if time.monotonic() < next_sample or deaf.ended:
            return
        next_sample += 1.0
        try:
            deaf.ping_if_due()
            samples.append(room.sample(deaf))
        except ConnectionError as error:
            deaf.ended = f"after {len(samples)} s: {error}"

    room.talk(seconds, each_turn)
    room.catch_up()
    most = max(samples, key=lambda sample: sample.total)
    told(f"{seconds:.0f} s at {POSTS_PER_S} posts a second; held for who does not read, in KiB:")
    for name, sample in (
        ("after 5 s", samples[min(5, len(samples) - 1)]),
        ("at the end", samples[-1]),
        ("most", most),
    ):
        told(
            f"  {name:12} queued {sample.queued / KIB:6.1f} (set aside {sample.aside / KIB:6.1f}, "
            f"peak {sample.peak / KIB:6.1f}), kernel {sample.node_kernel / KIB:6.1f} + "
            f"{sample.deaf_kernel / KIB:6.1f}, all {sample.total / KIB:6.1f}"
        )
    began = time.monotonic()
    while deaf.posts < room.said and not deaf.ended:
        deaf.read()
        deaf.ping_if_due()
        crowd.read()
        assert time.monotonic() < began + 60, "it does not get everything"
    told(f"reads again: {deaf.posts} of {room.said} posts in {time.monotonic() - began:.1f} s")
    deaf.close()
    wrong = []
    if slower[1] > MOST_SLOWER:
        wrong.append(f"others wait {slower[1]:.2f} times as long")
    if most.total > MOST_BYTES:
        wrong.append(f"{most.total} bytes are held for it")
    if deaf.posts != room.said:
        wrong.append(f"it has {deaf.posts} of {room.said} posts: {deaf.ended}")
    return wrong


# ---------------------------------------------------------------- the command


def main() -> int:
    if sys.argv[1:2] == ["observed"]:
        return observed(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("what", choices=["life", "stalled"], nargs="?", default="life")
    parser.add_argument("--minutes", type=float, default=3.0, help="of life")
    parser.add_argument("--seconds", type=float, default=60.0, help="of standing still")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        if arguments.what == "stalled":
            wrong = stalled(crowd, arguments.seconds, print)
        else:
            life = live(crowd, ROUNDS, arguments.minutes * 60 / ROUNDS, print)
            print(life.table())
            wrong = [f"{name} grows" for name in life.growing()]
    print("\n".join(wrong) or "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
