"""One scenario by itself: `python -m bench.NAME [--fast] [--repetitions N]`.

Lives here: the command line of a scenario. Never here: what it measures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from bench import report
from bench.figures import Figure, Plan

# Five are the least of which a median tells something; three show that it runs.
REPETITIONS, FAST_REPETITIONS = 5, 3


def _lines_of(figures: Iterator[Figure]) -> Iterator[str]:
    return map(report.line_of, figures)


def main(
    measure: Callable[[Plan], Iterator[Figure]],
    show: Callable[[Iterator[Figure]], Iterator[str]] = _lines_of,
) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="less of everything")
    parser.add_argument("--repetitions", type=int, default=0, help="of each thing")
    args = parser.parse_args()
    repetitions = args.repetitions or (FAST_REPETITIONS if args.fast else REPETITIONS)
    plan = Plan(args.fast, repetitions, lambda text: print(text, file=sys.stderr, flush=True))
    for line in show(measure(plan)):
        print(line, flush=True)
    for failure in plan.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if plan.failures else 0
