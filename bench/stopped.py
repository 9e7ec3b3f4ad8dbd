"""Stopped: what happens when one of eight readers reads nothing while much is said.

First a part of it with all of them reading, for comparison; then 20 MB, and nobody reads what the
last receiver writes; then it is read again, for as long as something comes. (Of the slower ones
less: as much as they deliver in two seconds.) How much a process has grown is its peak meanwhile,
which the kernel keeps, over what it had before.

Of selchat once more with a receiver that is stopped as a whole (SIGSTOP), and goes on later.

Lives here: measure d. Never here: who takes part, how they are started.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.crowd import LINE_BYTES, Contestant, Crowd, Flow, forget_peak, memory_kib, start_all
from bench.figures import Figure, Plan
from bench.rivals import there
from bench.throughput import enough_lines

RECEIVERS = 8
STOPPED_BYTES, FAST_STOPPED_BYTES = 20_000_000, 4_000_000
WHOLE_BYTES = 4_000_000  # of these a link holds far less
# That is spent on selchat, and on a rival, before there are fewer repetitions.
SPEND_S, RIVAL_SPEND_S, FAST_SPEND_S = 10.0, 1.0, 2.0
RIVAL_S = 2.0  # that all of it takes at most: pyre would need a minute, lichen-chat a day
# The bare meshes stand still, as they are made; and what --json costs is another question.
LEFT_OUT = ("bare mesh", "bare mesh, TLS", "bare mesh, TLS, disk", "selchat, --json")
COMPARED = 0.25  # of the lines are said with all reading, for comparison


@dataclass
class _Found:
    """In all repetitions."""

    who: str
    note: str = ""
    pace: list[float] = field(default_factory=list)  # of the others, as % of the usual
    lost: list[float] = field(default_factory=list)  # % of its lines that it never got
    grown_mib: list[float] = field(default_factory=list)  # of the process that grew most

    def figures(self) -> Iterator[Figure]:
        yield Figure("d", "pace of the others", self.who, "%", tuple(self.pace), self.note)
        yield Figure("d", "lost by the one", self.who, "%", tuple(self.lost), self.note)
        yield Figure("d", "most grown", self.who, "MiB", tuple(self.grown_mib), self.note)


def measure(plan: Plan) -> Iterator[Figure]:
    for contestant in there(plan):
        if contestant.who in LEFT_OUT:
            continue
        if plan.fast and contestant.who != "selchat":
            continue  # so little does not fill what the kernel holds
        plan.say(f"   one of {RECEIVERS} stops reading: {contestant.who}")
        yield from _of(plan, contestant, whole=False)
        if contestant.who == "selchat":
            yield from _of(plan, contestant, whole=True)


def _of(plan: Plan, contestant: Contestant, *, whole: bool) -> Iterator[Figure]:
    """`whole`: the receiver is stopped as a whole, not only its reader."""
    found = _Found(contestant.who + (", SIGSTOP" if whole else ""))
    crowds: list[Crowd] = []
    count = 0
    spend_s = SPEND_S if contestant.who == "selchat" else RIVAL_SPEND_S
    end = time.monotonic() + (FAST_SPEND_S if plan.fast else spend_s)
    with ExitStack() as stack:
        for repetition in range(plan.repetitions):
            if repetition and time.monotonic() > end:
                break
            if not crowds or any(output.ended for output in crowds[0].outputs):
                # A new one, where the one that had stopped was cut off.
                crowds = start_all([contestant], RECEIVERS, plan.failures, stack)
            if not crowds:
                return
            count = count or _lines(plan, crowds[0], whole=whole)
            _stop_one(crowds[0], count, found, whole=whole)
    if count < _wanted(plan):
        found.note = f"of {count * LINE_BYTES / 1e6:.2g} MB"
    yield from found.figures()


def _lines(plan: Plan, crowd: Crowd, *, whole: bool) -> int:
    wanted = _wanted(plan)
    if whole:
        return min(wanted, WHOLE_BYTES // LINE_BYTES)
    return wanted if crowd.who == "selchat" else enough_lines(crowd, RIVAL_S, wanted)


def _wanted(plan: Plan) -> int:
    return (FAST_STOPPED_BYTES if plan.fast else STOPPED_BYTES) // LINE_BYTES


def _stop_one(crowd: Crowd, count: int, found: _Found, *, whole: bool) -> None:
    crowd.drain()
    usual = Flow(crowd, crowd.next_lines(max(1, round(count * COMPARED)))).run()
    usual_rate = sum(usual.judge()) / usual.seconds
    crowd.drain()
    before = {process.pid: memory_kib(process.pid) for process in crowd.processes}
    for pid in before:
        forget_peak(pid)
    deaf, lines = crowd.outputs[-1], crowd.next_lines(count)
    if whole:
        crowd.processes[-1].send_signal(signal.SIGSTOP)
    flow = Flow(crowd, lines, deaf=deaf).run()
    if whole:
        crowd.processes[-1].send_signal(signal.SIGCONT)
    # Eight are compared with seven: what counts is what each of them got in a second.
    rate = sum(flow.judge()) / len(flow.outputs) / flow.seconds
    found.pace.append(100 * rate / (usual_rate / RECEIVERS) if flow.all_came else 0.0)
    missing = flow.hear_out(deaf)
    found.lost.append(100 * missing / count)
    grown = [
        memory_kib(pid, "VmHWM") - kib
        for pid, kib in before.items()
        if Path(f"/proc/{pid}").exists()
    ]
    found.grown_mib.append(max(grown) / 1024)
