"""The promises: what the figures must show, and whether they do.

All of them are about ratios to what was measured in the same run, or about what does not depend on
how fast a machine is; where a promise is in seconds, it is for two cores with nothing else to do.

Lives here: each promise, with its limit. Never here: how anything is measured, or shown.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.figures import Figure

PYZMQ, BARE, LICHEN = "pyzmq PUB/SUB", "bare mesh, TLS", "lichen-chat"
AT_LEAST, AT_MOST = operator.ge, operator.le
MORE, LESS = operator.gt, operator.lt
WORDS: dict[Callable[[float, float], bool], str] = {
    AT_LEAST: "at least", AT_MOST: "at most", MORE: "more than", LESS: "less than",
}  # fmt: skip
# Seven readers are served while one stands still: noise moves their pace by a tenth, a stall to 0.
PACE = 80.0
HIGHER_IS_BETTER = {"a": True, "b": False, "c": False, "f": False, "g": False}


@dataclass(frozen=True)
class Promise:
    """A figure of selchat, or its ratio to another one's, and its limit."""

    text: str
    measure: str
    what: str  # a regular expression: a fast run has other sizes
    compare: Callable[[float, float], bool]
    limit: float
    unit: str = "times"
    who: str = "selchat"
    beside: str = ""  # whose figure it is divided by


@dataclass(frozen=True)
class Verdict:
    promise: str
    kept: bool
    measured: float
    wanted: str  # "at most 2 times"
    unit: str


PROMISES = [
    *(
        promise
        for size in ("1 to 8", "1 to 32")
        for promise in (
            Promise(f"{size}, beside {PYZMQ}", "a", size, MORE, 1.0, beside=PYZMQ),
            Promise(f"{size}, beside the bare mesh", "a", size, AT_LEAST, 0.3, beside=BARE),
        )
    ),
    Promise("half of the lines, beside the bare mesh", "b", "p50", AT_MOST, 2.0, beside=BARE),
    Promise("99 of 100 lines, beside the bare mesh", "b", "p99", AT_MOST, 3.0, beside=BARE),
    Promise("memory of a link", "c", "a link, .*", AT_MOST, 28.0, "KiB"),
    Promise("memory of a piped node", "c", r"\d+ idle nodes, resident", AT_MOST, 40.0, "MiB"),
    *(
        promise
        for who, how in (("selchat", "reader"), ("selchat, SIGSTOP", "receiver"))
        for promise in (
            Promise(f"a {how} stops: the others' pace", "d", "pace of the others", AT_LEAST, PACE,
                    "%", who),
            Promise(f"a {how} stops: it lost", "d", "lost by the one", AT_MOST, 0.0, "%", who),
            Promise(f"a {how} stops: growth", "d", "most grown", AT_MOST, 4.0, "MiB", who),
        )
    ),
    Promise("catch-up", "e", "[0-9,]+ posts, durable", AT_LEAST, 100_000.0, "posts/s"),
    Promise("ten times the posts to catch up with", "e", "[0-9,]+ : .* posts", AT_MOST, 11.0),
    Promise("ready, beside the imports", "f", "ready : imports alone", AT_MOST, 1.4),
    Promise("ready with a big journal", "f", "ready, .* : none", AT_MOST, 1.1),
    Promise("first line with a big journal", "f", "first line, .* : none", AT_MOST, 1.1),
    Promise("a full mesh from nothing", "h", r"\d+ nodes from nothing", AT_MOST, 4.0, "s"),
    Promise("dials for each link", "h", "dials for each link.*", AT_MOST, 3.0, "dials"),
]  # fmt: skip


def judged(figures: Sequence[Figure]) -> Iterator[Verdict]:
    """Of each promise that there are figures for."""
    for promise in [*PROMISES, *_beside_lichen(figures)]:
        mine = _median(figures, promise.measure, promise.what, promise.who)
        other: float | None = 1.0
        if promise.beside:
            other = _median(figures, promise.measure, promise.what, promise.beside)
        if mine is None or not other:
            continue
        measured = mine / other
        yield Verdict(
            f"({promise.measure}) {promise.text}",
            promise.compare(measured, promise.limit),
            measured,
            f"{WORDS[promise.compare]} {promise.limit:,g}",
            promise.unit,
        )


def _beside_lichen(figures: Sequence[Figure]) -> Iterator[Promise]:
    """Ahead in all that it can run."""
    for figure in figures:
        if figure.who == LICHEN and figure.measure in HIGHER_IS_BETTER:
            compare = MORE if HIGHER_IS_BETTER[figure.measure] else LESS
            text = f"{figure.what}, beside {LICHEN}"
            what = re.escape(figure.what)
            yield Promise(text, figure.measure, what, compare, 1.0, beside=LICHEN)


def _median(figures: Sequence[Figure], measure: str, what: str, who: str) -> float | None:
    """Of the last one that fits: sizes are measured from the smallest to the largest."""
    for figure in reversed(figures):
        if (figure.measure, figure.who) == (measure, who) and re.fullmatch(what, figure.what):
            return figure.median
    return None


def line_of(verdict: Verdict) -> str:
    said = "kept    " if verdict.kept else "NOT KEPT"
    measured = f"{verdict.measured:,.4g} {verdict.unit}"
    return f"{said} {verdict.promise}: {measured} (promised: {verdict.wanted})"
