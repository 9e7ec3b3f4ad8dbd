"""The plot: throughput and latency of all contestants beside one another, as SVG.

Dots on logarithmic scales, for the slowest and the fastest are four powers of ten apart; a line
through a dot is the spread, or leads from the median to the 99th percentile. It has no background
of its own, and colours for a light and a dark page.

Lives here: how it is drawn. Never here: what was found, and what it must show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.figures import Figure
from bench.report import readable

# As wide as a README is shown, so that its letters have their true size.
WIDTH, NAME_WIDTH, GAP = 830, 178, 22
TOP, ROW, BOTTOM = 66, 34, 46
STYLE = """
  text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
  .small { font-size: 10.5px; fill: #59636e }
  .title { font-weight: 600 }
  .ours { font-weight: 600; fill: #0a6e31 }
  .grid { stroke: #d1d9e0 }
  .ours-dot { fill: #1a7f37; stroke: #1a7f37 }
  .limit-dot { fill: #8c959f; stroke: #8c959f }
  .rival-dot { fill: #bc4c00; stroke: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .small { fill: #9198a1 } .grid { stroke: #3d444d }
    .ours { fill: #3fb950 } .ours-dot { fill: #3fb950; stroke: #3fb950 }
    .limit-dot { fill: #9198a1; stroke: #9198a1 } .rival-dot { fill: #f0883e; stroke: #f0883e }
  }
"""


@dataclass(frozen=True)
class Row:
    """A contestant, with what is said of it below its name."""

    who: str
    below: str
    kind: str  # ours, limit, rival


@dataclass(frozen=True)
class Panel:
    """One scale, and for each contestant the point, and from where to where its line goes."""

    title: str
    below: str
    points: dict[str, tuple[float, float, float]]
    low: int  # the powers of ten that the scale goes from and to
    high: int


def panels_of(figures: Sequence[Figure]) -> list[Panel]:
    sizes: dict[str, dict[str, tuple[float, float, float]]] = {"1 to 8": {}, "1 to 32": {}}
    for figure in figures:
        if figure.measure == "a" and figure.what in sizes and min(figure.values) > 0:
            least, most = min(figure.values), max(figure.values)
            sizes[figure.what][figure.who] = (figure.median, least, most)
    both = [end for points in sizes.values() for point in points.values() for end in point]
    panels = [
        Panel(f"lines a second, {size}", "more is better", points, *_scale(both))
        for size, points in sizes.items()
        if points
    ]
    medians = {f.who: f.median for f in figures if (f.measure, f.what) == ("b", "p50")}
    slow = {f.who: f.median for f in figures if (f.measure, f.what) == ("b", "p99")}
    points = {who: (medians[who], medians[who], slow[who]) for who in medians if who in slow}
    if points:
        below = "half of all, to 99 %; less is better"
        ends = [end for point in points.values() for end in point]
        panels.append(Panel("microseconds to 8", below, points, *_scale(ends)))
    return panels


def _scale(ends: Sequence[float]) -> tuple[int, int]:
    if not ends:
        return 0, 1
    low, high = math.floor(math.log10(min(ends))), math.ceil(math.log10(max(ends)))
    return low, max(high, low + 1)


def svg(rows: Sequence[Row], panels: Sequence[Panel], foot: Sequence[str]) -> str:
    shown = [row for row in rows if any(row.who in panel.points for panel in panels)]
    height = TOP + ROW * len(shown) + BOTTOM
    label = "Lines a second and delay of selchat, of bare programs and of other programs"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        *_names(shown),
    ]
    width = (WIDTH - NAME_WIDTH) / max(1, len(panels))
    for number, panel in enumerate(panels):
        left = NAME_WIDTH + width * number + GAP / 2
        parts += _panel(panel, shown, left, width - GAP)
    for number, line in enumerate(foot):
        y = height - 8 - 15 * (len(foot) - 1 - number)
        parts.append(_text(0, y, line, "small"))
    return "\n".join([*parts, "</svg>", ""])


def _names(rows: Sequence[Row]) -> Iterator[str]:
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        yield _text(0, y - 1, row.who, "ours" if row.kind == "ours" else "")
        yield _text(0, y + 12, row.below, "small")


def _panel(panel: Panel, rows: Sequence[Row], left: float, width: float) -> Iterator[str]:
    yield _text(left, 14, panel.title, "title")
    yield _text(left, 29, panel.below, "small")
    low, high = panel.low, panel.high
    bottom = TOP + ROW * len(rows)

    def x_of(value: float) -> float:
        return left + width * (math.log10(value) - low) / (high - low)

    for power in range(low, high + 1):
        x = x_of(10.0**power)
        yield f'<path class="grid" d="M{x:.1f} {TOP - 8}V{bottom}"/>'
        anchor = {low: "start", high: "end"}.get(power, "middle")  # that two panels don't touch
        yield _text(x, TOP - 14, _power(power), "small", anchor)
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        if row.who not in panel.points:
            yield _text(left, y + 4, "–", "small")
            continue
        point, start, end = (x_of(value) for value in panel.points[row.who])
        yield f'<path class="{row.kind}-dot" stroke-width="2" d="M{start:.1f} {y}H{end:.1f}"/>'
        yield f'<circle class="{row.kind}-dot" cx="{point:.1f}" cy="{y}" r="4.5"/>'
        value = readable(panel.points[row.who][0])
        if max(point, end) < left + width - 40:
            yield _text(max(point, end) + 8, y + 4, value, "")
        else:
            yield _text(min(point, start) - 8, y + 4, value, "", "end")


def _power(power: int) -> str:
    """10, 100, 1k, ... : what fits above a line of the grid."""
    return (
        f"{10 ** (power % 3)}{('', 'k', 'M', 'G')[power // 3]}" if 0 <= power < 12 else f"1e{power}"
    )


def _text(x: float, y: float, text: str, style: str, anchor: str = "") -> str:
    options = (f' class="{style}"' if style else "") + (
        f' text-anchor="{anchor}"' if anchor else ""
    )
    return f'<text x="{x:.1f}" y="{y:.1f}"{options}>{escape(text)}</text>'
