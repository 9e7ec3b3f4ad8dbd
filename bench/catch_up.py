"""Catching up: a newcomer gets all that was said, from one node that has it.

    python -m bench.catch_up [--fast] [--repetitions N]

Both are selchat as shipped, over TLS on loopback. The newcomer's standard output is read through a
pipe, and each line of it is looked at: every post once, in the room's order. Then the source says
one thing more. The newcomer acknowledges that when it is on its platter, and so is then all that
came before it: that moment counts. At the end the newcomer is killed, and its journal read.

The time begins when the newcomer says that it is listening. Beside it is the limit, bare_copy.py.

Lives here: the source, the newcomer, what is measured. Never here: how entries are made (past.py).
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from subprocess import DEVNULL

from bench import past
from bench.alone import main
from bench.figures import Figure, Plan
from journal import Journal
from protocol import Entry
from tests.processes import ROOT, Crowd, Process

SIZES, FAST_SIZES = (10_000, 100_000, 1_000_000), (1_000, 10_000)
# What a run of all benchmarks has for one size: beyond that there are fewer repetitions.
SIZE_S = 15.0
PATIENCE_S = 300.0  # for a million
LAST = "that was all"


@dataclass
class Taken:
    """What one size took, in each repetition, in seconds from the newcomer's start to listen."""

    shown_s: list[float] = field(default_factory=list)
    durable_s: list[float] = field(default_factory=list)
    bare_s: list[float] = field(default_factory=list)  # until it was durable


def measure(plan: Plan) -> Iterator[Figure]:
    sizes = FAST_SIZES if plan.fast else SIZES
    taken: dict[int, Taken] = {}
    for posts in sizes:
        with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
            taken[posts] = _catch_up(crowd, posts, plan)
        yield from _figures(posts, taken[posts])
    yield from _growth(taken[sizes[-2]], taken[sizes[-1]], f"{sizes[-1]:,} : {sizes[-2]:,} posts")


def _figures(posts: int, taken: Taken) -> Iterator[Figure]:
    for what, who, seconds in (
        ("shown", "selchat", taken.shown_s),
        ("durable", "selchat", taken.durable_s),
        ("durable", "bare", taken.bare_s),
    ):
        rates = tuple(posts / each for each in seconds)
        yield Figure("e", f"{posts:,} posts, {what}", who, "posts/s", rates)


def _growth(less: Taken, more: Taken, what: str) -> Iterator[Figure]:
    for who, few, many in (
        ("selchat", less.durable_s, more.durable_s),
        ("bare", less.bare_s, more.bare_s),
    ):
        ratios = tuple(each / median(few) for each in many)
        yield Figure("e", what, who, "times as long", ratios)


def _catch_up(crowd: Crowd, posts: int, plan: Plan) -> Taken:
    past.copy_journal(posts, crowd.folder / "source", plan)
    entries = past.entries_file(posts, plan)
    source = crowd.start("--stay", "0", "0", "source", data="source").wait_ready()
    taken, began = Taken(), time.perf_counter()
    for repetition in range(plan.repetitions):
        if repetition and time.perf_counter() - began > SIZE_S:
            break
        plan.say(f"catch up {posts:,} posts: {repetition + 1} of {plan.repetitions}")
        shown_s, durable_s = newcomer_takes(crowd, source, posts, repetition)
        taken.shown_s.append(shown_s)
        taken.durable_s.append(durable_s)
        taken.bare_s.append(_bare_takes(crowd, posts, entries, repetition))
    return taken


def newcomer_takes(
    crowd: Crowd, source: Process, posts: int, repetition: int
) -> tuple[float, float]:
    """How long the first and each further newcomer needs to show all, and to hold it for good."""
    said_before = repetition  # by the source, of what it says last
    newcomer = crowd.start(
        *("--plain", "--stay", "0", source.port, "newcomer"),
        data=f"newcomer-{repetition}",
        json=False,
        stdin=DEVNULL,
    )
    crowd.wait(lambda: b"listening on" in newcomer.stderr, "the newcomer listens")
    began = time.perf_counter()
    lines_bytes = posts * past.LINE_BYTES
    crowd.wait(lambda: len(newcomer.stdout) >= lines_bytes, "all is shown", PATIENCE_S)
    shown_s = time.perf_counter() - began
    source.say(LAST)
    crowd.wait(lambda: _is_confirmed(source, said_before), "the newcomer has all", PATIENCE_S)
    durable_s = time.perf_counter() - began
    newcomer.signal(signal.SIGKILL)
    newcomer.wait_end()
    check_lines(newcomer.stdout, posts)
    check_journal(crowd.folder / f"newcomer-{repetition}" / "journal.db", posts, said_before + 1)
    _forget(crowd, newcomer, f"newcomer-{repetition}")
    return shown_s, durable_s


def _is_confirmed(source: Process, before: int) -> bool:
    """Whether what the source said last, after so much else, is on somebody's platter: there is
    never anybody but the newcomer."""
    own = source.events("message", own=True)
    return len(own) > before and bool(source.events("confirmed", ref=own[before]["ref"]))


def check_lines(stdout: bytes | bytearray, posts: int) -> None:
    """Raises AssertionError unless it begins with each post, once, in their order."""
    lines = memoryview(stdout)
    for number in range(posts):
        at = number * past.LINE_BYTES
        shown = past.number_in(lines[at : at + past.LINE_BYTES])
        assert shown == b"%08d" % number, f"line {number} is post {shown!r}"


def check_journal(path: Path, posts: int, said: int) -> None:
    """Raises AssertionError unless it holds all, and what the source has said itself; and of each
    author the name."""
    journal = Journal(path, _verify)
    try:
        entries = posts + past.AUTHORS + said + 1
        held = journal.placed_count
        assert held == entries, f"a journal of {held} entries, and not {entries}"
    finally:
        journal.close(sealed=False)


def _verify(entry: Entry) -> bool:
    raise NotImplementedError("only what is held is read")


def _bare_takes(crowd: Crowd, posts: int, entries: Path, repetition: int) -> float:
    folder = crowd.folder / f"bare-{repetition}"
    folder.mkdir()
    bare = crowd.start(
        *(folder, entries),
        command=[sys.executable, "-m", "bench.bare_copy"],
        environment={"PYTHONPATH": str(ROOT)},
        stdin=DEVNULL,
    )
    crowd.wait(lambda: b"ready" in bare.stderr, "the bare copy begins")
    began = time.perf_counter()
    crowd.wait(lambda: b"durable" in bare.stderr, "the bare copy is done", PATIENCE_S)
    seconds = time.perf_counter() - began
    assert bare.wait_end() == 0, bare.stderr.decode()
    entries_bytes = (posts + past.AUTHORS) * (past.TEXT_BYTES + 1)  # it knows no kinds of entries
    assert len(bare.stdout) == entries_bytes, f"{len(bare.stdout)} bytes of the bare copy"
    _forget(crowd, bare, f"bare-{repetition}")
    return seconds


def _forget(crowd: Crowd, process: Process, data: str) -> None:
    """A million posts are half a gigabyte each time."""
    process.close()
    crowd.processes.remove(process)
    shutil.rmtree(crowd.folder / data)


if __name__ == "__main__":
    sys.exit(main(measure))
