"""Latency: how long a line takes from one to eight others, when there is nothing to wait for.

Every line carries the time at which it was written. There is one clock, and one process that looks
at it: this one, which writes and reads. It reads one receiver after another, so the last one's
lines may seem to take longer by what it takes to read seven.

Lives here: measure b. Never here: who takes part, how they are started.
"""

from __future__ import annotations

import os
import re
import selectors
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from statistics import quantiles

from bench.crowd import LINE_BYTES, Contestant, Crowd, Output, start_all
from bench.figures import Figure, Plan
from bench.rivals import there

RECEIVERS = 8
RATE = 200  # lines a second: a busy room of hundreds
LINES, FAST_LINES = 120, 40  # in each repetition
PATIENCE_S = 1.5  # that the last lines are waited for
STAMP = re.compile(rb"\bat (\d{19}) ")
PARTS = ("p50", "p99", "max")


def measure(plan: Plan) -> Iterator[Figure]:
    for slow in (False, True):
        yield from _side_by_side(plan, [c for c in there(plan) if c.slow == slow])


def _side_by_side(plan: Plan, group: list[Contestant]) -> Iterator[Figure]:
    with ExitStack() as stack:
        crowds = start_all(group, RECEIVERS, plan.failures, stack)
        plan.say(f"   {RATE} lines/s to {RECEIVERS}: {', '.join(c.who for c in crowds)}")
        lines = FAST_LINES if plan.fast else LINES
        found: dict[Crowd, list[tuple[float, ...]]] = {crowd: [] for crowd in crowds}
        lost: dict[Crowd, int] = dict.fromkeys(crowds, 0)
        for _ in range(plan.repetitions):
            for crowd in crowds:
                delays_us = _delays_us(crowd, lines)
                lost[crowd] += lines * RECEIVERS - len(delays_us)
                if len(delays_us) > 1:
                    cuts = quantiles(delays_us, n=100, method="inclusive")
                    found[crowd].append((cuts[49], cuts[98], max(delays_us)))
        for crowd in crowds:
            if not found[crowd]:
                plan.failures.append(f"{crowd.who}: nothing came at {RATE} lines/s")
                continue
            said = lines * RECEIVERS * plan.repetitions
            note = f"{lost[crowd] / said:.0%} came later or never" if lost[crowd] else crowd.note
            for part, values in zip(PARTS, zip(*found[crowd], strict=True), strict=True):
                yield Figure("b", part, crowd.who, "us", values, note)


def _delays_us(crowd: Crowd, lines: int) -> list[float]:
    """Of each line to each receiver, those that came."""
    crowd.drain()
    reads: list[tuple[Output, int, int]] = []  # whose, when, and how much there was then
    began = time.perf_counter()
    said, missing = 0, set(crowd.outputs)
    last = unfed = b""
    with selectors.DefaultSelector() as selector:
        for output in [*crowd.outputs, *crowd.unread]:
            selector.register(output.descriptor, selectors.EVENT_READ, output)
        while missing and time.perf_counter() < began + lines / RATE + PATIENCE_S:
            if said < lines and time.perf_counter() >= began + said / RATE:
                said += 1
                last = b"%08d at %019d " % (said, time.perf_counter_ns())
                unfed += crowd.wrap(last.ljust(LINE_BYTES - 1, b".") + b"\n")
            with suppress(BlockingIOError):  # of who falls behind, the pipe is full at last
                unfed = unfed[os.write(crowd.feed, unfed) :] if unfed else b""
            wait_s = began + said / RATE - time.perf_counter() if said < lines else PATIENCE_S
            for key, _ in selector.select(max(0.0, wait_s)):
                output = key.data
                if not output.read():
                    missing.discard(output)
                    selector.unregister(output.descriptor)
                reads.append((output, time.perf_counter_ns(), output.size))
                if said == lines and output.ends_with(last):
                    missing.discard(output)
    return _seen(crowd, reads)


def _seen(crowd: Crowd, reads: list[tuple[Output, int, int]]) -> list[float]:
    """When each line was there as a whole: at the first read after which it was."""
    delays_us: list[float] = []
    for output in crowd.outputs:
        text = output.text()
        ends = [(size, now) for reader, now, size in reads if reader is output]
        turn = 0
        for match in STAMP.finditer(text):
            while turn < len(ends) and ends[turn][0] < match.end():
                turn += 1
            if turn < len(ends):
                delays_us.append((ends[turn][1] - int(match[1])) / 1000)
    return delays_us
