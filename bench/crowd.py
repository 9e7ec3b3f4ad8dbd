"""A crowd: the processes of one contestant, one of which is fed, and all others are read.

All of it is done by this one process, through pipes (or sockets, where the contestant is a server),
which never waits for one of them: a reader that does not read would be what is measured.

Lives here: starting, feeding, reading, what they cost. Never here: who the contestants are, what is
measured of them.
"""

from __future__ import annotations

import os
import random
import re
import select
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

LINE_BYTES = 80  # with its line break, as most lines of a chat are shorter, and few are longer
READ_BYTES = 64 * 1024  # what a pipe holds
ROOM_BYTES = 1024 * 1024  # by so much a buffer grows
TAIL_BYTES = 1024  # the last line is in these, with all that a contestant wraps it in
READY_S = 60.0  # 33 processes on a slow machine
PROBE_S = 0.1  # so often one is asked whether they hear one another
STALL_S = 3.0  # nothing went in or out for so long: what is missing is lost
SILENT_S = 1.0  # the same of one that others have waited for
SETTLE_S = 5.0  # so long they may go on setting something up, as some always do
QUIET_S, QUIET_SHARE = 0.25, 0.1  # so long, so little of a processor: nothing is being set up
NUMBER = re.compile(rb"(?m)\b(\d{8}) ")
PROBE = b"do you hear me"
TEXTS = 997  # different ones; a prime, that no power of two hides in
WORDS = ["bread", "cat", "green", "hill", "lamp", "moon", "paper", "rain", "song", "stone"]


class NotReady(Exception):
    """A contestant does not run; the text says what it said."""


@dataclass(frozen=True)
class Contestant:
    """Who can be started, and with how many receivers."""

    who: str
    start: Callable[[Crowd, int], object]  # its processes, with so many receivers
    does: str  # for its lines, beside carrying them
    version: Callable[[], str]  # empty if it is not installed
    most: int = 32  # receivers that it is asked to serve
    slow: bool = False  # busy when idle, or so slow that the others should not wait for it
    extra: bool = False  # left out of a fast run: nothing is promised beside it


def lines_of(first: int, count: int) -> list[bytes]:
    """Lines of LINE_BYTES, each with its number, no two alike, without blanks at the end."""
    rng = random.Random(first)
    size = LINE_BYTES - len(b"00000000 .\n")
    texts = [" ".join(rng.choices(WORDS, k=size)).encode()[:size] for _ in range(TEXTS)]
    return [b"%08d %b.\n" % (n, texts[n % TEXTS]) for n in range(first, first + count)]


class Output:
    """What one receiver has written since the last `clear`."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.size = 0
        self.ended = False
        self._buffer = bytearray(ROOM_BYTES)  # kept: fresh memory costs more than what is measured

    def read(self) -> int:
        """Takes in what there is, up to READ_BYTES."""
        if len(self._buffer) < self.size + READ_BYTES:
            self._buffer += bytes(max(ROOM_BYTES, self.size // 2))
        with memoryview(self._buffer) as view:
            try:
                count = os.readv(self.descriptor, [view[self.size : self.size + READ_BYTES]])
            except BlockingIOError:
                return 0
            except OSError:
                count = 0
        self.ended = not count
        self.size += count
        return count

    def ends_with(self, line: bytes) -> bool:
        start = max(0, self.size - TAIL_BYTES)
        return self._buffer.find(line, start, self.size) >= 0

    def find(self, line: bytes) -> bool:
        return self._buffer.find(line, 0, self.size) >= 0

    def text(self) -> bytes:
        return bytes(memoryview(self._buffer)[: self.size])

    def clear(self) -> None:
        self.size = 0


class Crowd:
    """The processes of one contestant. Whoever starts them sets `feed` and `outputs`, and how a
    line is told to it, and is shown by it, if that is not as it is."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.feed = -1  # the descriptor that lines are written to
        self.outputs: list[Output] = []
        self.unread: list[Output] = []  # what nobody wants to know, such as what a sender is told
        self.wrap: Callable[[bytes], bytes] = lambda lines: lines
        self.unwrap: Callable[[bytes], bytes] = lambda shown: shown
        self.note = ""  # what one should know about its figures
        self._next = 10_000_000  # of a line: none comes twice in the life of a crowd
        self._at_end: list[Callable[[], object]] = []

    # ---------------------------------------------------------------- starting

    def start(self, *command: object, **environment: str) -> subprocess.Popen[bytes]:
        """A process with pipes; what it says on stderr is kept in a file."""
        with (self.folder / f"stderr-{len(self.processes)}").open("wb") as stderr:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.folder,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "HOME": str(self.folder),
                    "LANG": "C.UTF-8",
                    **environment,
                },
            )
        self.processes.append(process)
        return process

    def feed_to(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        self.feed = process.stdin.fileno()
        os.set_blocking(self.feed, False)

    def read_from(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.outputs.append(Output(process.stdout.fileno()))

    def at_end(self, do: Callable[[], object]) -> None:
        self._at_end.append(do)

    def close(self) -> None:
        for do in self._at_end:
            do()
        for process in self.processes:
            process.kill()
        for process in self.processes:
            with process:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def fail(self, what: str) -> NotReady:
        """What to raise: with the end of what each process has said."""
        said = [
            path.read_text(errors="replace").strip()[-200:] for path in self.folder.glob("stderr-*")
        ]
        ended = [process.returncode for process in self.processes if process.poll() is not None]
        return NotReady(f"{what}; ended: {ended}; said: {[s for s in said if s][:3]}")

    # ---------------------------------------------------------------- what they cost

    def cpu_s(self) -> float:
        """Of all threads of all processes, since they began."""
        return sum(cpu_s(process.pid) for process in self.processes)

    # ---------------------------------------------------------------- lines

    def next_lines(self, count: int) -> list[bytes]:
        self._next += count
        return lines_of(self._next - count, count)

    def await_text(self, output: Output, text: bytes) -> None:
        """Until this has come; then what has come is forgotten."""
        end = time.monotonic() + READY_S
        while not output.find(text):
            if output.ended or time.monotonic() > end:
                raise self.fail(f"{text!r} did not come, but {output.text()[-200:]!r}")
            select.select([output.descriptor], [], [], PROBE_S)
            output.read()
        output.clear()

    def wait_heard(self) -> None:
        """Until everybody hears the one that is fed."""
        end = time.monotonic() + READY_S
        deaf = list(self.outputs)
        while deaf:
            if time.monotonic() > end or any(output.ended for output in self.outputs):
                raise self.fail(f"{len(deaf)} of {len(self.outputs)} hear nothing")
            with suppress(BlockingIOError):
                os.write(self.feed, self.wrap(PROBE + b"\n"))
            before = time.monotonic()
            while deaf and time.monotonic() < before + PROBE_S:
                select.select([output.descriptor for output in deaf], [], [], PROBE_S)
                for output in self.outputs:
                    output.read()
                deaf = [output for output in deaf if not output.find(PROBE)]

    def drain(self) -> None:
        """Forgets what has come, and what still comes."""
        for output in [*self.outputs, *self.unread]:
            while output.read():
                pass
            output.clear()


def start_all(
    contestants: Sequence[Contestant], receivers: int, failures: list[str], stack: ExitStack
) -> list[Crowd]:
    """Those that can be started, everybody hearing, and nobody busy with anything else any more;
    until the stack is closed."""
    crowds: list[Crowd] = []
    for contestant in contestants:
        try:
            crowd = Crowd(contestant.who)
            stack.callback(crowd.close)
            contestant.start(crowd, receivers)
            crowd.wait_heard()
            crowds.append(crowd)
        except (NotReady, OSError) as error:
            failures.append(f"{contestant.who}: {error}")
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        before = sum(crowd.cpu_s() for crowd in crowds)
        time.sleep(QUIET_S)
        for crowd in crowds:
            crowd.drain()
        if sum(crowd.cpu_s() for crowd in crowds) - before < QUIET_SHARE * QUIET_S:
            break
    return crowds


class Flow:
    """Some lines, from the first byte that goes in to the last that comes out."""

    def __init__(self, crowd: Crowd, lines: list[bytes], *, deaf: Output | None = None) -> None:
        """`deaf`: a receiver that is not read meanwhile."""
        self.lines = lines
        self.outputs = [output for output in crowd.outputs if output is not deaf]
        self._crowd = crowd
        self._unfed = memoryview(crowd.wrap(b"".join(lines)))
        self._last = lines[-1][:-1]
        self._open = set(self.outputs)
        self._selector = selectors.DefaultSelector()
        self.began = self.moved = time.perf_counter()
        self._cpu_before = crowd.cpu_s()
        self.flawed: list[Output] = []

    @property
    def seconds(self) -> float:
        """Until the last byte came."""
        return self.moved - self.began

    def run(self) -> Flow:
        with self._selector as selector:
            for output in [*self.outputs, *self._crowd.unread]:
                selector.register(output.descriptor, selectors.EVENT_READ, output)
            selector.register(self._crowd.feed, selectors.EVENT_WRITE)
            self.began = self.moved = time.perf_counter()
            while self._open and time.perf_counter() < self.moved + STALL_S:
                for key, _ in selector.select(STALL_S):
                    self._read(key.data) if key.data else self._feed()
        self.cpu_s = self._crowd.cpu_s() - self._cpu_before
        return self

    def _feed(self) -> None:
        try:
            count = os.write(self._crowd.feed, self._unfed[:READ_BYTES])
        except OSError:  # full after all; or gone, and then nothing comes any more
            count = 0
        self._unfed = self._unfed[count:]
        if count:
            self.moved = time.perf_counter()
        if not self._unfed:
            self._selector.unregister(self._crowd.feed)

    def _read(self, output: Output) -> None:
        count = output.read()
        if output in self._crowd.unread:
            output.clear()
        elif count:
            self.moved = time.perf_counter()
        if output.ended or output.ends_with(self._last):
            self._open.discard(output)
        if output.ended:
            self._selector.unregister(output.descriptor)

    @property
    def all_came(self) -> bool:
        return not self._open

    def hear_out(self, deaf: Output) -> int:
        """Reads also the one that was not read, until all has come, or nothing comes any more;
        how many lines it misses."""
        moved = time.perf_counter()
        while time.perf_counter() < moved + SILENT_S and not deaf.ended:
            everybody = [*self._crowd.outputs, *self._crowd.unread]
            by_number = {output.descriptor: output for output in everybody}
            for descriptor in select.select(list(by_number), [], [], SILENT_S)[0]:
                if by_number[descriptor].read():
                    moved = time.perf_counter()
            if deaf.ends_with(self._last):
                break
        self.outputs = [deaf]
        return len(self.lines) - self.judge()[0]

    def judge(self) -> list[int]:
        """How many lines each receiver has; sets `flawed`: who has not all of them, each once, in
        order, and nothing else."""
        expected = b"".join(self.lines)
        counts: list[int] = []
        for output in self.outputs:
            shown = self._crowd.unwrap(output.text())
            if shown == expected:
                counts.append(len(self.lines))
                continue
            self.flawed.append(output)
            found = set(NUMBER.findall(shown))
            counts.append(sum(line[:8] in found for line in self.lines))
        return counts


def cpu_s(pid: int) -> float:
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def memory_kib(pid: int, what: str = "VmRSS") -> int:
    """`what`: VmRSS, what it has now; VmHWM, the most that it had since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    return 0


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
