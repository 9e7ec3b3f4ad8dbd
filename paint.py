"""The paint: rich texts become what a terminal takes.

rich knows what a style looks like on which terminal. How a text is cut at its styles, and folded,
is done here: rich's own printing takes four times as long, and all that a crowd says passes here.

Lives here: texts to control sequences, `ESC[...m` and OSC 8, as rich makes them. Never here: what
is shown, where and in which style. Imported only where something is drawn, because rich costs
every start 60 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from io import StringIO

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Text

from text import break_rows, cells_of

_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
}
STYLES = 1024  # that are known with and without colours: a room has some dozens, links are more
TEXT_CELLS = 10  # beside a head a text has so much, or it begins where that does
INDENT = 2  # cells before all rows of a line but the first, at least

Run = tuple[int, int, Style]  # from where to where in a text it looks so


class Paint:
    """How texts are written for one terminal."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """rich finds out from TERM, COLORTERM and NO_COLOR which colours there are."""
        console = Console(
            file=StringIO(),  # never the terminal itself: that may stand still, or be gone
            force_terminal=True,
            force_jupyter=False,
            legacy_windows=False,
            _environ=environ,
        )
        self._system = _SYSTEMS.get(console.color_system or "")
        self._colours = not console.no_color
        self.few_colours = console.color_system == "standard"

    def text(self, text: Text) -> str:
        """One row, or several, as they are."""
        plain = text.plain
        return "".join(self._written(plain[a:b], style) for a, b, style in _runs(text))

    def folded(self, head: Text, body: Text, columns: int) -> str:
        """Head and body in rows that fit, each with its line break: the first begins with the
        head, and all others are indented, so that no post can pass for two."""
        if columns - cells_of(head.plain) < min(columns // 2, TEXT_CELLS):  # as after a resize
            head, body = Text(), Text().append_text(head).append_text(body)
        margin = max(cells_of(head.plain), INDENT)
        plain, runs, first = body.plain, _runs(body), 0
        parts = [self.text(head)]
        for row, (start, end) in enumerate(_rows(plain, max(columns - margin, 1))):
            if row:
                parts.append(" " * margin)
            while first < len(runs) and runs[first][1] <= start:
                first += 1
            at = first
            while at < len(runs) and runs[at][0] < end:
                begin, stop, style = runs[at]
                parts.append(self._written(plain[max(begin, start) : min(stop, end)], style))
                at += 1
            parts.append("\n")
        return "".join(parts)

    def _written(self, text: str, style: Style) -> str:
        shown = style if self._colours else _without_colour(style)
        return shown.render(text, color_system=self._system)


@lru_cache(maxsize=STYLES)
def _without_colour(style: Style) -> Style:
    return style.without_color


def _runs(text: Text) -> list[Run]:
    """The text, cut wherever its look changes."""
    length, base = len(text), _style(text.style)
    spans = text.spans
    edges = [(span.start, True, index) for index, span in enumerate(spans) if span]
    edges += [(span.end, False, index) for index, span in enumerate(spans) if span]
    edges.sort()
    runs: list[Run] = []
    active: set[int] = set()  # spans; of those that overlap the later one counts
    at = 0
    for place, begins, index in edges:
        if at < place <= length:
            look = sum((_style(spans[each].style) for each in sorted(active)), start=base)
            runs.append((at, place, look))
            at = place
        if begins:
            active.add(index)
        else:
            active.discard(index)
    if at < length:
        runs.append((at, length, base))
    return runs


def _style(style: str | Style) -> Style:
    return Style.parse(style) if isinstance(style, str) else style


def _rows(plain: str, cells: int) -> Iterator[tuple[int, int]]:
    """From where to where each row reaches, without the spaces at its end. At least one."""
    offset = 0
    for line in plain.split("\n"):
        start = 0
        for stop in (*break_rows(line, cells), len(line)):
            yield offset + start, offset + start + len(line[start:stop].rstrip())
            start = stop
        offset += len(line) + 1
