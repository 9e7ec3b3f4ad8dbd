"""The report: what was found, as a table to read and as JSON to keep.

Lives here: the table, the JSON, on what machine it was. Never here: the plot (plot.py), what the
figures must show (promises.py).
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.figures import Figure
from bench.promises import Verdict

TITLES = {
    "a": "lines delivered a second, by one that is fed as fast as it takes them",
    "b": "from one pipe to eight others, at 200 lines a second",
    "c": "memory and CPU of idle links, and of idle nodes",
    "d": "one of eight stops reading",
    "e": "a newcomer catches up",
    "f": "start",
    "g": "CPU for a delivered line, all processes together",
    "h": "from nothing to a full mesh",
    "i": "what each layer costs",
}


Table = Callable[[Iterator[Figure]], Iterator[str]]


def table(figures: Sequence[Figure], own: dict[str, Table]) -> Iterator[str]:
    """For each measure who was measured in rows, what in columns; beside the first row's figures
    those of the others are ratios as well. `own`: of measures that have a table of their own."""
    for measure in sorted({figure.measure for figure in figures}):
        yield ""
        yield f"({measure}) {TITLES.get(measure, '')}"
        mine = [figure for figure in figures if figure.measure == measure]
        if measure in own:
            yield from (f"  {line}" for line in own[measure](iter(mine)))
            continue
        people = list(dict.fromkeys(figure.who for figure in mine))
        whats = list(dict.fromkeys((figure.what, figure.unit) for figure in mine))
        if len(whats) > len(people):  # many things of few: better the other way round
            yield from _aligned(_rows_of_things(mine, people, whats))
        else:
            yield from _aligned(_rows_of_people(mine, people, whats))
        notes = dict.fromkeys((figure.who, figure.note) for figure in mine if figure.note)
        if len(notes) <= len(people):  # not those of each single figure
            yield from (f"    {who}: {note}" for who, note in notes)


def line_of(figure: Figure) -> str:
    spread = f" ±{figure.spread / 2:.0%}" if len(figure.values) > 1 else ""
    note = f" ({figure.note})" if figure.note else ""
    return f"{figure.what}, {figure.who}: {readable(figure.median)} {figure.unit}{spread}{note}"


def _rows_of_people(
    figures: Sequence[Figure], people: list[str], whats: list[tuple[str, str]]
) -> Iterator[list[str]]:
    yield ["", *(f"{what}, {unit}" for what, unit in whats)]
    for who in people:
        yield [who, *(_cell(figures, who, what, people[0]) for what, _ in whats)]


def _rows_of_things(
    figures: Sequence[Figure], people: list[str], whats: list[tuple[str, str]]
) -> Iterator[list[str]]:
    yield ["", *people]
    for what, unit in whats:
        yield [f"{what}, {unit}", *(_cell(figures, who, what, people[0]) for who in people)]


def _cell(figures: Sequence[Figure], who: str, what: str, first: str) -> str:
    """The median, half the spread, and how often it holds the first one's."""
    by_name = {figure.who: figure for figure in figures if figure.what == what}
    figure = by_name.get(who)
    if figure is None:
        return "-"
    spread = f" ±{figure.spread / 2:.0%}" if len(figure.values) > 1 and figure.spread else ""
    base = by_name[first].median if first in by_name and who != first else 0.0
    ratio = ""
    if base and figure.median:
        ratio = f" ({readable(figure.median / base, digits=2)}x)"
    return f"{readable(figure.median)}{spread}{ratio}"


def readable(value: float, digits: int = 3) -> str:
    """4.81M, 152k, 913, 0.18."""
    rounded = float(f"{value:.{digits}g}")
    if rounded >= 1e6:
        return f"{rounded / 1e6:g}M"
    return f"{rounded / 1e3:g}k" if rounded >= 1e4 else f"{rounded:g}"


def _aligned(rows: Iterator[list[str]]) -> Iterator[str]:
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield f"  {first:{widths[0]}}  {'  '.join(cells)}".rstrip()


# ---------------------------------------------------------------- to keep


def machine() -> dict[str, object]:
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu() -> str:
    """What it is called, where Linux knows it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def as_json(
    figures: Sequence[Figure],
    verdicts: Sequence[Verdict],
    versions: dict[str, str],
    failures: Sequence[str],
    *,
    fast: bool,
) -> str:
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions,
        "fast": fast,
        "figures": [
            {
                "measure": figure.measure,
                "what": figure.what,
                "who": figure.who,
                "unit": figure.unit,
                "median": figure.median,
                "spread": figure.spread,
                "values": list(figure.values),
                "note": figure.note,
            }
            for figure in figures
        ],
        "promises": [vars(verdict) for verdict in verdicts],
        "failures": list(failures),
    }
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"
