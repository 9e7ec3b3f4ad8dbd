"""A start: until selchat is ready, and until its first line is at a peer that was there before.

    python -m bench.start [--fast] [--repetitions N]

A start is one with a key that is there, as each is but the first. Its standard output is a pipe.
Beside it is a Python that does nothing but import what a start needs of others' modules, as found
in one that is ready: no start can take less. All kinds of starts take turns, so that a busy machine
is one for all of them; each ratio is one of neighbours. (An empty journal holds the few lines that
its user says here.)

Lives here: kinds of starts, and the imports beside them. Never here: how journals are made.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

from bench import past
from bench.alone import main
from bench.figures import Figure, Plan
from tests.processes import ROOT, Crowd, Process

POSTS, FAST_POSTS = 1_000_000, 10_000
# Starts of each kind for a repetition: twenty pairs, the least of which the median stands still.
STARTS, FAST_STARTS = 4, 1
# Run with the arguments of selchat: when it is ready, it tells of all modules that can be imported
# by the name under which they are there, and ends.
LOOK = """
import os, sys, output, selchat
def ready(*_):
    specs = {name: getattr(module, "__spec__", None) for name, module in sys.modules.items()}
    print(*(name for name, spec in specs.items() if spec and spec.origin and spec.name == name))
    sys.stdout.flush()
    os._exit(0)
output.JsonOutput.ready = ready
selchat.main(sys.argv[1:])
"""
# What some installations of Python import at each start, and can't be imported by hand.
ONLY_HERE = {"__main__", "sitecustomize", "usercustomize"}


def measure(plan: Plan) -> Iterator[Figure]:
    posts = FAST_POSTS if plan.fast else POSTS
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        starts = _Starts(crowd, posts, plan)
        count = plan.repetitions * (FAST_STARTS if plan.fast else STARTS)
        plan.say(f"starts: {count} of each kind")
        for _ in range(count):
            starts.one_of_each()
    big = f"{posts:,} posts"
    taken = {what: tuple(seconds) for what, seconds in starts.taken.items()}
    note = f"{len(starts.needed)} modules"
    yield Figure("f", "imports alone", "bare", "s", taken["imports"], note)
    for journal in ("empty", "big"):
        held = big if journal == "big" else "an empty journal"
        yield Figure("f", f"start to ready, {held}", "selchat", "s", taken[f"ready {journal}"])
        yield Figure("f", f"start to first line, {held}", "selchat", "s", taken[f"line {journal}"])
    for what, much, little in (
        ("ready : imports alone", "ready empty", "imports"),
        (f"ready, {big} : none", "ready big", "ready empty"),
        (f"first line, {big} : none", "line big", "line empty"),
    ):
        ratios = tuple(one / other for one, other in zip(taken[much], taken[little], strict=True))
        yield Figure("f", what, "selchat", "times as long", ratios)


class _Starts:
    """Two users, one with an empty journal and one with a big one, and for each a peer that is
    there already and holds the same."""

    def __init__(self, crowd: Crowd, posts: int, plan: Plan) -> None:
        self._crowd = crowd
        self.taken: dict[str, list[float]] = defaultdict(list)  # seconds, by kind
        self._peers: dict[str, Process] = {}
        for journal, held in (("empty", 0), ("big", posts)):
            past.copy_journal(held, crowd.folder / journal, plan)
            past.copy_journal(held, crowd.folder / f"peer-{journal}", plan)
            peer = crowd.start("--stay", "0", "0", "peer", data=f"peer-{journal}")
            self._peers[journal] = peer.wait_ready()
            self._first_line(journal, "the first start of all")
        self.taken.clear()
        self.needed = needed_modules(crowd, "empty")

    def one_of_each(self) -> None:
        self._imports()
        for journal in self._peers:
            self._ready(journal)
        for journal in self._peers:
            self._first_line(journal, f"first line {len(self.taken[f'line {journal}'])}")

    def _imports(self) -> None:
        began = time.perf_counter()
        bare = self._crowd.start(command=importing(self.needed), stdin=DEVNULL)
        self._crowd.wait(lambda: bare.stdout, "all is imported")
        self.taken["imports"].append(time.perf_counter() - began)
        self._forget(bare)

    def _ready(self, journal: str) -> None:
        began = time.perf_counter()
        process = self._crowd.start("--stay", "0", "0", "user", data=journal, stdin=DEVNULL)
        self._crowd.wait(lambda: process.stdout, "it is ready")
        self.taken[f"ready {journal}"].append(time.perf_counter() - began)
        assert process.events("ready"), process.stdout.decode()
        self._end(process)

    def _first_line(self, journal: str, text: str) -> None:
        peer = self._peers[journal]
        began = time.perf_counter()
        process = self._crowd.start("--stay", "0", peer.port, "user", data=journal)
        process.say(text)
        self._crowd.wait(lambda: peer.events("message", text=text), "the line is there")
        self.taken[f"line {journal}"].append(time.perf_counter() - began)
        self._end(process)

    def _end(self, process: Process) -> None:
        """As users do, so that the next start finds all in order."""
        process.popen.terminate()
        self._forget(process)

    def _forget(self, process: Process) -> None:
        assert process.wait_end() == 0, process.stderr.decode()
        process.close()
        self._crowd.processes.remove(process)


def needed_modules(crowd: Crowd, data: str) -> list[str]:
    """All of others' modules that are there when a selchat is ready, in the order in which they
    came."""
    process = crowd.start(
        *("--json", "--data", crowd.folder / data, "0", "0", "user"),
        command=[sys.executable, "-c", LOOK],
        environment={"PYTHONPATH": str(ROOT)},
    )
    assert process.wait_end() == 0, process.stderr.decode()
    ours = {path.stem for path in ROOT.glob("*.py")}
    there = process.stdout.decode().split()
    return [name for name in there if name not in ours | ONLY_HERE]


def importing(modules: list[str]) -> list[str]:
    """A command that does nothing else, and says when it is done."""
    return [sys.executable, "-c", f"import {', '.join(modules)}; print('ready', flush=True)"]


if __name__ == "__main__":
    sys.exit(main(measure))
