"""Layers: where the time of a line goes, from the pipe of one selchat to the pipe of another.

    python -m bench.layers [--fast] [--repetitions N]

Two kinds of traffic: as fast as the pipe takes them, and alone, 200 a second. Each runs twice. The
first time nothing is profiled, and tells what a line costs both processes on the processor. The
second time both are profiled, and that divides this cost among the layers: a profiler makes calls
dearer, so what it says are shares and not times. (Layers that are made of many small calls get too
much by this, and those that are one call into C too little.) A function of ours belongs to the
layer that its module or its name stands for, any other to that of its callers. The commit is apart:
it waits for the disk, and so it is the time on the clock, as the profile has it, and no share.

Lives here: which function belongs to which layer, and the two kinds of traffic. Never here: the
profiler (profiled.py).
"""

from __future__ import annotations

import marshal
import re
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.alone import main
from bench.figures import Figure, Plan
from tests.processes import ROOT, Crowd, Process

LINES, FAST_LINES = 50_000, 5_000
LONE_LINES, FAST_LONE_LINES = 300, 60
LONE_S = 0.005  # between two lines that come alone
# A profile hardly differs from one run to the next, and each takes seconds.
REPETITIONS = 2
SETTLE_S = 0.3  # until both have taken in that they are linked, or profiled
TEXT_BYTES = 79  # with the end of the line 80
SHOWN_BYTES = len("hh:mm:ss sender: \n") + TEXT_BYTES

WAIT, DISK, OTHER = "wait", "commit", "other"
# What a layer is made of: modules, or functions in them. The first line that fits counts, so the
# functions that are no part of what their module is come first.
PARTS = (
    ("loop", "net.run net._serve_patient net._timeout_s net.watch net._watch net.unwatch door"),
    ("loop", "errands user.earliest user.passed user.before_sleep user._end_turn user._is_behind"),
    ("loop", "session._deadline session._each_turn session._time_passed session._is_confirmed"),
    ("read", "lines commands session net.receive net._on_ready user.submit user.submit_all"),
    ("read", "user.say user._say_or_ask user.post user.validate_msg user._write_typed"),
    ("frame", "protocol.feed protocol.encode protocol.body protocol._encode_entries"),
    ("frame", "link.send"),
    ("TLS", "link"),
    ("verify", "identity kept protocol.hash protocol.signature protocol.signed_bytes"),
    ("journal", "journal backlog held"),
    ("mesh", "mesh node events receipts contacts addresses user.listen_data user._transcribe"),
    ("write", "net"),
    ("decode", "protocol archive"),
    ("render", "feed output text roster facts acquaintances lookalikes status user"),
)
LAYERS = (
    "read", "frame", "TLS", "decode", "verify", "journal", DISK, "mesh", "render", "write", "loop",
    OTHER,
)  # fmt: skip
_LAYER = {part: layer for layer, parts in reversed(PARTS) for part in parts.split()}

Function = tuple[str, int, str]  # its file, its line, its name; "~" is the file of what is C
# Calls (all, and not recursive), seconds in it, seconds with all that it calls, by caller.
Row = tuple[int, int, float, float, dict[Function, tuple[int, int, float, float]]]
Profile = dict[Function, Row]
Seconds = dict[str, float]  # by layer


# ---------------------------------------------------------------- from functions to layers


def layer_of(function: Function) -> str | None:
    """What it belongs to by itself; None if that is up to its callers."""
    file, _, name = function
    if file == "~":
        if "epoll" in name:
            return WAIT
        return "verify" if "sha256" in name else None  # the hashes of a chain
    path = Path(file)
    if path.parent != ROOT:
        return None
    return _LAYER.get(f"{path.stem}.{name}") or _LAYER.get(path.stem, OTHER)


def seconds_by_layer(profile: Profile) -> Seconds:
    """The time in each layer, with that of what is not ours and was called from it."""
    known: dict[Function, Seconds] = {}

    def shares(function: Function) -> Seconds:
        """Which layers it works for, in parts of 1."""
        if function not in known:
            known[function] = {OTHER: 1.0}  # while it is looked at: it may call itself
            layer = layer_of(function)
            known[function] = {layer: 1.0} if layer else by_callers(function)
        return known[function]

    def by_callers(function: Function) -> Seconds:
        callers = {caller: row[2] for caller, row in profile[function][4].items()}
        whole = sum(callers.values())
        found: Seconds = defaultdict(float)
        for caller, seconds in callers.items():
            part = seconds / whole if whole else 1 / len(callers)
            commits = "sqlite3" in function[2] and caller[2] == "commit"
            for layer, share in ({DISK: 1.0} if commits else shares(caller)).items():
                found[layer] += share * part
        return found or {OTHER: 1.0}

    layers: Seconds = defaultdict(float)
    for function, row in profile.items():
        for layer, share in shares(function).items():
            layers[layer] += share * row[2]
    return layers


def cost_by_layer(layers: Seconds, cpu_us: float, lines: int) -> dict[str, float]:
    """What a line costs each layer, us, when it costs so much in all on the processor."""
    computed = sum(layers.get(layer, 0.0) for layer in LAYERS if layer != DISK)
    costs = {layer: cpu_us * layers.get(layer, 0.0) / computed for layer in LAYERS}
    return costs | {DISK: 1e6 * layers.get(DISK, 0.0) / lines}


# ---------------------------------------------------------------- traffic


@dataclass
class _Pair:
    """One who says lines, and one who shows them."""

    crowd: Crowd
    profiled: bool
    shown_bytes: int = 0  # of what was said before
    processes: dict[str, Process] = field(default_factory=dict)

    def start(self) -> None:
        receiver = self._start("receiver", 0)
        self.crowd.wait(lambda: b"listening on" in receiver.stderr, "the receiver listens")
        told = re.search(rb"127\.0\.0\.1:(\d+)", receiver.stderr)
        assert told is not None
        sender = self._start("sender", int(told[1]))
        self.crowd.wait(lambda: b"joined" in sender.stderr, "they are linked")
        self.crowd.wait(lambda: b"joined" in receiver.stderr, "they are linked")
        self.say(1)  # each says who it is with its first post
        self.wait_shown(1)

    def _start(self, name: str, peer: int) -> Process:
        options = ("--plain", "--stay", "--data", self.crowd.folder / f"{self.profiled}-{name}")
        command = ["-m", "bench.profiled", str(self._profile(name))]
        selchat = command if self.profiled else [str(ROOT / "selchat.py")]
        self.processes[name] = self.crowd.start(
            *(*options, 0, peer, name),
            command=[sys.executable, *selchat],
            environment={"PYTHONPATH": str(ROOT)},
        )
        return self.processes[name]

    def _profile(self, name: str) -> Path:
        return self.crowd.folder / f"profile-{name}"

    def say(self, lines: int) -> None:
        texts = (f"line {number}".ljust(TEXT_BYTES, "x") for number in range(lines))
        self.processes["sender"].say(*texts)

    def wait_shown(self, lines: int) -> None:
        receiver = self.processes["receiver"]
        self.shown_bytes += lines * SHOWN_BYTES
        self.crowd.wait(lambda: len(receiver.stdout) >= self.shown_bytes, "all is shown", 60.0)
        self.crowd.wait_s(SETTLE_S)  # and acknowledged

    def cpu_s(self) -> dict[str, float]:
        return {name: process.cpu_s() for name, process in self.processes.items()}

    def begin_profile(self) -> None:
        for process in self.processes.values():
            process.signal(signal.SIGUSR1)
        self.crowd.wait_s(SETTLE_S)

    def end_profile(self) -> dict[str, Profile]:
        paths = {name: self._profile(name) for name in self.processes}
        for process in self.processes.values():
            process.signal(signal.SIGUSR2)
        self.crowd.wait(lambda: all(path.exists() for path in paths.values()), "profiles")
        return {name: marshal.loads(path.read_bytes()) for name, path in paths.items()}


def _one_burst(pair: _Pair, lines: int) -> None:
    pair.say(lines)
    pair.wait_shown(lines)


def _lone_lines(pair: _Pair, lines: int) -> None:
    for _ in range(lines):
        pair.say(1)
        pair.crowd.wait_s(LONE_S)
    pair.wait_shown(lines)


Traffic = Callable[[_Pair, int], None]


def _costs(traffic: Traffic, lines: int) -> dict[str, dict[str, float]]:
    """What a line costs, us: by process and layer."""
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        pair = _Pair(crowd, profiled=False)
        pair.start()
        before = pair.cpu_s()
        traffic(pair, lines)
        cpu_us = {name: 1e6 * (now - before[name]) / lines for name, now in pair.cpu_s().items()}
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        pair = _Pair(crowd, profiled=True)
        pair.start()
        pair.begin_profile()
        traffic(pair, lines)
        profiles = pair.end_profile()
    return {
        name: cost_by_layer(seconds_by_layer(profile), cpu_us[name], lines)
        for name, profile in profiles.items()
    }


def measure(plan: Plan) -> Iterator[Figure]:
    repetitions = 1 if plan.fast else min(plan.repetitions, REPETITIONS)
    traffics: tuple[tuple[str, Traffic, int], ...] = (
        ("in a burst", _one_burst, FAST_LINES if plan.fast else LINES),
        ("alone", _lone_lines, FAST_LONE_LINES if plan.fast else LONE_LINES),
    )
    for what, traffic, lines in traffics:
        costs: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for repetition in range(repetitions):
            plan.say(f"layers, lines {what}: {repetition + 1} of {repetitions}")
            for name, layers in _costs(traffic, lines).items():
                for layer, cost_us in layers.items():
                    costs[layer][name].append(cost_us)
        yield from _figures(what, costs)


def _figures(what: str, costs: dict[str, dict[str, list[float]]]) -> Iterator[Figure]:
    """For each layer what it costs both processes together."""
    for layer in LAYERS:
        sender, receiver = costs[layer]["sender"], costs[layer]["receiver"]
        values = tuple(map(sum, zip(sender, receiver, strict=True)))
        note = f"sender {median(sender):.2f}, receiver {median(receiver):.2f}"
        yield Figure("i", f"lines {what}, {layer}", "selchat", "us/line", values, note)


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """The layers as rows, the kinds of traffic as columns."""
    costs: dict[str, dict[str, float]] = defaultdict(dict)
    for figure in figures:
        what, _, layer = figure.what.rpartition(", ")
        costs[what][layer] = figure.median
    yield f"{'us a line, and its share':24}" + "".join(f"{what:>24}" for what in costs)
    for layer in LAYERS:
        cells = (_cell(layer, by_layer) for by_layer in costs.values())
        yield f"{layer:24}" + "".join(f"{cell:>24}" for cell in cells)


def _cell(layer: str, costs: dict[str, float]) -> str:
    cost_us = costs[layer]
    if layer == DISK:
        return f"{cost_us:.2f}  wait"
    whole_us = sum(costs.values()) - costs[DISK]
    return f"{cost_us:.2f} {cost_us / whole_us:5.0%}"


if __name__ == "__main__":
    sys.exit(main(measure, table))
