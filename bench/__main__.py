"""All benchmarks in turn, and what they must show.

    python -m bench [--fast] [--only a,b] [--repetitions N] [--json FILE] [--svg FILE]

Lives here: which scenarios there are, and the command line. Never here: how one measures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from bench.figures import Figure, Plan

# Five are the least of which a median tells something; three of a fast run show that it runs.
REPETITIONS, FAST_REPETITIONS = 5, 3

SCENARIOS: dict[str, Callable[[Plan], Iterator[Figure]]] = {}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="less of everything")
    parser.add_argument("--only", default="", help="the letters of some measures: a,b")
    parser.add_argument("--repetitions", type=int, default=0)
    args = parser.parse_args()
    repetitions = args.repetitions or (FAST_REPETITIONS if args.fast else REPETITIONS)
    plan = Plan(args.fast, repetitions, lambda line: print(line, file=sys.stderr, flush=True))
    wanted = set(args.only.split(",")) if args.only else set()
    for letters, scenario in SCENARIOS.items():
        if not wanted or wanted & set(letters):
            for figure in scenario(plan):
                print(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
