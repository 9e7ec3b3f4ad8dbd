"""`make simulate`: ordeals by the thousand, each of its own seed.

    python -m tests.simulate [--seed FIRST] [--seeds COUNT] [--nodes N] [--jobs N]
    python -m tests.simulate --minutes M [--churn PERCENT] [--seed SEED] [--nodes N]

Says how far it is, on stderr. A seed that fails is shrunk to the fewest steps that still do,
and then told in full: the steps, what broke, and the end of the transcript of what every node
was told (>>) and did (<<); the whole of that is written to a file. Ends with 1 then.

With --minutes it is one large room instead, of which PERCENT of the members leave in each
minute, and as many start (churn.py). It says how that room is as it goes along.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from typing import NamedTuple

from tests.churn import Churn
from tests.ordeal import Ordeal, Plan, shrink

CHUNK = 10  # seeds in one piece of work: seconds, so that progress is seen
SHOWN_LINES = 60  # of a transcript; the rest is in the file


class Tally(NamedTuple):
    """What came of some seeds."""

    seeds: int
    events: int  # that a mesh handled
    steps: int  # of the simulated world: bytes that arrive, turns, deadlines, faults
    faults: Counter[str]
    cpu_s: float
    traces: bytes  # a hash of all their traces
    failed: int | None  # the first seed that did


def work(seeds: Iterable[int], nodes: int) -> Tally:
    events = steps = done = 0
    faults: Counter[str] = Counter()
    traces = sha256()
    start = time.process_time()
    failed = None
    for seed in seeds:
        ordeal = Ordeal(seed, nodes)
        try:
            ordeal.run()
        except Exception:  # told in full later
            failed = seed
        done += 1
        events += ordeal.room.events
        steps += ordeal.room.steps
        faults += ordeal.faults
        traces.update(ordeal.room.trace().encode())
        if failed is not None:
            break
    cpu_s = time.process_time() - start
    return Tally(done, events, steps, faults, cpu_s, traces.digest(), failed)


def chunks(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, CHUNK):
        yield range(start, min(start + CHUNK, first + count))


def run(first: int, count: int, nodes: int, jobs: int) -> int:
    """Runs the seeds; the exit status."""
    total = Tally(0, 0, 0, Counter(), 0.0, b"", None)
    traces = sha256()
    with ProcessPoolExecutor(jobs) as pool:
        for tally in pool.map(work, chunks(first, count), (nodes for _ in range(count))):
            total = Tally(
                total.seeds + tally.seeds,
                total.events + tally.events,
                total.steps + tally.steps,
                total.faults + tally.faults,
                total.cpu_s + tally.cpu_s,
                b"",
                tally.failed,
            )
            traces.update(tally.traces)
            _progress(total, count)
            if tally.failed is not None:
                pool.shutdown(cancel_futures=True)
                break
    print(file=sys.stderr)
    if total.failed is not None:
        tell(total.failed, nodes)
        return 1
    print(_summary(total))
    print("faults: " + ", ".join(f"{name} {n:,}" for name, n in sorted(total.faults.items())))
    print(f"no promise was broken. trace {traces.hexdigest()[:16]}")
    return 0


def _summary(total: Tally) -> str:
    happened = total.events + total.steps
    return (
        f"{total.seeds} seeds: {happened:,} events ({total.events:,} of meshes, {total.steps:,} of "
        f"the world), {total.faults.total():,} faults, {happened / total.cpu_s:,.0f} events/s"
    )


def _progress(total: Tally, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{total.seeds}/{count} {_summary(total)}", end="", file=sys.stderr, flush=True)


def tell(seed: int, nodes: int) -> None:
    """All about a seed that fails."""
    print(f"seed {seed} fails; shrinking it", flush=True)
    plan = shrink(seed, nodes)
    ordeal = Ordeal(seed, nodes, plan)
    ordeal.room.transcript = []
    try:
        ordeal.run()
        what = "nothing, this time"
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        _explain(error)
    path = f"simulate-{seed}.txt"
    with open(path, "w") as file:
        file.writelines(f"{line}\n" for line in ordeal.room.transcript)
    print("\n".join(ordeal.room.transcript[-SHOWN_LINES:]))
    print(f"seed {seed}, {nodes} nodes, {len(plan)} steps, then peace: {what}")
    _show(plan)
    print(f"the whole transcript: {path}. Again: make simulate SEED={seed} SEEDS=1 NODES={nodes}")


def churn(seed: int, nodes: int, minutes: float, percent: float) -> int:
    """Runs one large room; the exit status."""
    room, start = Churn(seed, nodes, minutes, percent), time.monotonic()

    def progress(summary: str) -> None:
        print(f"[{time.monotonic() - start:.0f} s] {summary}", file=sys.stderr, flush=True)

    try:
        room.run(progress)
    except Exception as error:  # a bug may raise anything
        _explain(error)
        print(room.summary())
        print(f"seed {seed}, {nodes} nodes: {type(error).__name__}: {error}")
        return 1
    print(room.summary())
    print(f"no promise was broken. trace {room.room.trace()[:16]}")
    return 0


def _explain(error: BaseException) -> None:
    import traceback

    print("".join(traceback.format_exception(error)[-6:]))


def _show(plan: Plan) -> None:
    for step in plan:
        print(f"  {step.when:8.4f}  {step.fault}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--churn", type=float, default=10.0)
    args = parser.parse_args()
    if args.minutes:
        return churn(args.seed, args.nodes, args.minutes, args.churn)
    return run(args.seed, args.seeds, args.nodes, args.jobs)


if __name__ == "__main__":
    sys.exit(main())
