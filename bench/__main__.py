"""All benchmarks in turn, and what they must show.

    python -m bench [--fast] [--only a,b] [--repetitions N] [--json FILE] [--svg FILE] [--strict]

Progress goes to stderr, the table and the promises to stdout. It ends with 1 if something did not
run; with --strict also if a promise is not kept.

Lives here: which scenarios there are, and the command line. Never here: how one measures.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import plot, promises, report
from bench.contestants import OURS
from bench.figures import Figure, Plan
from bench.rivals import HINT, RIVALS

# Five are the least of which a median tells something; three of a fast run show that it runs.
REPETITIONS, FAST_REPETITIONS = 5, 3

# The letters of what each module measures.
SCENARIOS = (
    ("ag", "throughput"),
    ("b", "latency"),
    ("d", "stopped"),
    ("c", "idle"),
    ("e", "catch_up"),
    ("f", "start"),
    ("f", "first_line"),
    ("h", "meshing"),
    ("i", "layers"),
)


def main() -> int:
    args = _arguments()
    # Whoever ends it so has all that it started ended as well.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)

    plan = Plan(args.fast, args.repetitions or _usual(args.fast), say)
    missing = [rival.who for rival in RIVALS if not rival.version()]
    if missing:
        say(f"without {', '.join(missing)}, {HINT}")
    tables: dict[str, report.Table] = {}
    figures = list(_measured(plan, args.only, tables))
    verdicts = list(promises.judged(figures))
    for line in report.table(figures, tables):
        print(line)
    print()
    for verdict in verdicts:
        print(promises.line_of(verdict))
    for failure in plan.failures:
        print(f"failed: {failure}", file=sys.stderr)
    versions = {each.who: each.version() for each in [*OURS, *RIVALS] if each.version()}
    if args.json:
        text = report.as_json(figures, verdicts, versions, plan.failures, fast=args.fast)
        args.json.write_text(text, encoding="utf-8")
    if args.svg:
        args.svg.write_text(_plot(figures, versions), encoding="utf-8")
    broken = args.strict and not all(verdict.kept for verdict in verdicts)
    return 1 if plan.failures or broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="all benchmarks in turn")
    parser.add_argument("--fast", action="store_true", help="less of everything: under a minute")
    parser.add_argument("--only", default="", metavar="LETTERS", help="some measures: a,b")
    parser.add_argument("--repetitions", type=int, default=0, metavar="N", help="of each thing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep all figures")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="where to draw them")
    parser.add_argument("--strict", action="store_true", help="fail if a promise is not kept")
    return parser.parse_args()


def _usual(fast: bool) -> int:
    return FAST_REPETITIONS if fast else REPETITIONS


def _measured(plan: Plan, only: str, tables: dict[str, report.Table]) -> Iterator[Figure]:
    """One scenario after another; each is loaded only when it is its turn. Puts into `tables` who
    has one of its own."""
    for letters, name in SCENARIOS:
        if only and not set(only) & set(letters):
            continue
        plan.say(f"({', '.join(letters)}) {name.replace('_', ' ')}")
        try:
            scenario = importlib.import_module(f"bench.{name}")
            if hasattr(scenario, "table"):
                tables[letters] = scenario.table
            measure: Callable[[Plan], Iterator[Figure]] = scenario.measure
            for figure in measure(plan):
                plan.say(f"   {report.line_of(figure)}")
                yield figure
        except Exception as error:  # what others have found is not to be lost by it
            traceback.print_exc()
            plan.failures.append(f"{name}: {error!r:.500}")


def _plot(figures: list[Figure], versions: dict[str, str]) -> str:
    rows = [
        plot.Row(each.who, f"{versions[each.who]}, {each.does}", kind)
        for contestants, kinds in ((OURS, ("ours", "limit")), (RIVALS, ("rival", "rival")))
        for each in contestants
        if each.who in versions
        for kind in (kinds["bare" in each.who],)
    ]
    here = report.machine()
    foot = [
        f"{here['cores']} cores of {here['cpu']}; {here['system']}, Python {here['python']}; "
        f"{time.strftime('%Y-%m-%d')}",
    ]
    return plot.svg(rows, plot.panels_of(figures), foot)


if __name__ == "__main__":
    sys.exit(main())
