"""Throughput: how many lines a second one delivers to many, and what a line costs.

One is fed as fast as it takes lines, a number of them that is fixed beforehand; the time is from
the first byte that goes in until the last receiver has the last line. What each has shown is
compared with what was said, byte by byte. What a line costs is the processor time of all processes
of the crowd, not of this one. What they hold is weighed before.

Lives here: measures a and g, and a part of c. Never here: who takes part, how they are started.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from bench.crowd import LINE_BYTES, Contestant, Crowd, Flow, memory_kib, start_all
from bench.figures import Figure, Plan
from bench.rivals import there

SIZES, FAST_SIZES = (1, 8, 32), (8, 32)
TARGET_S, FAST_TARGET_S = 0.3, 0.15  # that one flow takes, about
MOST_BYTES = 80 * 1024 * 1024  # delivered in one flow, all of which is kept until it is compared
REST_SIZE = 8  # whose processes are weighed before anything is said
FIRST_LINES = 20  # that a crowd is tried with; then ever more, until it takes long enough
LONG_ENOUGH = 0.5  # of the target: less may be the delay of the first line, not the pace of all
# In a fast run 32 receivers cost too much time for those of whom nothing is promised there.
FAST_AT_32 = ("selchat", "bare mesh, TLS", "pyzmq PUB/SUB")


def measure(plan: Plan) -> Iterator[Figure]:
    for receivers in FAST_SIZES if plan.fast else SIZES:
        for slow in (False, True):
            group = [c for c in there(plan) if c.slow == slow and receivers <= c.most]
            if plan.fast and receivers == max(SIZES):
                group = [c for c in group if c.who in FAST_AT_32]
            if group:
                yield from _side_by_side(plan, group, receivers)


def _side_by_side(plan: Plan, group: list[Contestant], receivers: int) -> Iterator[Figure]:
    """All at once, so that they are measured in turn: what disturbs one disturbs the others."""
    with ExitStack() as stack:
        crowds = start_all(group, receivers, plan.failures, stack)
        plan.say(f"   1 to {receivers}: {', '.join(crowd.who for crowd in crowds)}")
        if receivers == REST_SIZE:
            yield from map(_at_rest, crowds)
        target_s = FAST_TARGET_S if plan.fast else TARGET_S
        most = MOST_BYTES // (LINE_BYTES * receivers)
        counts = {crowd: enough_lines(crowd, target_s, most) for crowd in crowds}
        rates: dict[Crowd, list[float]] = {crowd: [] for crowd in crowds}
        costs: dict[Crowd, list[float]] = {crowd: [] for crowd in crowds}
        lost: dict[Crowd, list[float]] = {crowd: [] for crowd in crowds}
        flawed: dict[Crowd, int] = dict.fromkeys(crowds, 0)
        for _ in range(plan.repetitions):
            for crowd in crowds:
                crowd.drain()
                flow = Flow(crowd, crowd.next_lines(counts[crowd])).run()
                delivered = sum(flow.judge())
                rates[crowd].append(delivered / flow.seconds)
                costs[crowd].append(1e6 * flow.cpu_s / max(1, delivered))
                lost[crowd].append(1 - delivered / (receivers * counts[crowd]))
                flawed[crowd] += len(flow.flawed)
        for crowd in crowds:
            what, note = f"1 to {receivers}", crowd.note
            if any(lost[crowd]):
                note = f"loses up to {max(lost[crowd]):.0%}"
            elif flawed[crowd]:
                note = "some lines twice, out of order, or not as they were said"
            if flawed[crowd] and crowd.who.startswith("selchat"):
                plan.failures.append(f"{what}, {crowd.who}: {note}")
            yield Figure("a", what, crowd.who, "lines/s", tuple(rates[crowd]), note)
            yield Figure("g", what, crowd.who, "us/line", tuple(costs[crowd]), note)


def _at_rest(crowd: Crowd) -> Figure:
    """What each process of it holds, before it has done anything."""
    mib = tuple(memory_kib(process.pid) / 1024 for process in crowd.processes)
    return Figure("c", f"one of {REST_SIZE + 1}, resident", crowd.who, "MiB", mib, crowd.note)


def enough_lines(crowd: Crowd, target_s: float, most: int) -> int:
    """So many that they take about as long as is wanted. Warms it up as well."""
    count = FIRST_LINES
    while True:
        crowd.drain()
        flow = Flow(crowd, crowd.next_lines(count)).run()
        if flow.seconds > LONG_ENOUGH * target_s or count == most:
            return max(FIRST_LINES, min(most, round(count * target_s / flow.seconds)))
        count = min(most, 5 * count)
