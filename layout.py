"""The layout of the text that is being typed: rows that fit a terminal.

Lives here: how a text is cut into rows, and which of them are shown. Never here: keys,
escape codes, any import of another module of selchat but text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from records import Record
from text import cell_ends, cells_of, edges, harmless

INDENT = 2  # cells before all rows but the first: as wide as the sign of the prompt, "› "
WIDEST = 2  # cells of the widest character


class View(Record):
    """A part of a text, in rows. Head and indent are not in them."""

    rows: tuple[str, ...]  # at least one
    cursor_row: int  # an index into rows
    before: str  # what stands left of the cursor in its row
    above: int  # how many rows more there are above these,
    below: int  # and below


def wrapped_rows(row: str, columns: int) -> int:
    """How many rows a terminal makes of one that does not fit any more."""
    rows, used = 1, 0
    for before, after in pairwise(cell_ends(row)):
        if used + after - before > columns:
            rows, used = rows + 1, 0
        used += after - before
    return rows


class Layout:
    """Lays out one text again and again, while it is typed.

    Of what is laid out, only the lines that have changed since are looked at once more.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], list[str]] = {}

    def view(self, text: str, cursor: int, columns: int, rows: int, head_cells: int) -> View:
        """At most `rows` rows around the cursor; before the first of all stands a head.

        The last cell of each row is never written: some terminals wrap as soon as it is.
        Where not even the widest character fits, nothing is shown.
        """
        room = columns - 1 - INDENT
        if room < WIDEST:
            return View(("",), 0, "", 0, 0)
        laid: list[str] = []
        row, offset = -1, 0  # of the cursor
        for line, limit, wrapped in self._lines(text, max(columns - 1 - head_cells, 0), room):
            if row < 0 and cursor <= len(line):
                before = harmless(line[:cursor], multiline=True)
                wrapped, row, offset = _with_cursor(wrapped, len(before), limit, room)
                row += len(laid)
            cursor -= len(line) + 1
            laid += wrapped
        rows = max(rows, 1)
        top = max(min(row - rows // 2, len(laid) - rows), 0)
        shown = tuple(laid[top : top + rows])
        row -= top
        return View(shown, row, shown[row][:offset], top, len(laid) - top - len(shown))

    def _lines(self, text: str, first: int, room: int) -> Iterator[tuple[str, int, list[str]]]:
        """Each line, the cells that its first row has, and its rows."""
        known, self._known = self._known, {}
        limit = first
        for line in text.split("\n"):
            key = (line, limit, room)
            wrapped = known.get(key) or _wrapped(harmless(line, multiline=True), limit, room)
            self._known[key] = wrapped
            yield line, limit, wrapped
            limit = room


def _wrapped(line: str, first: int, room: int) -> list[str]:
    """Rows of at most `room` cells, the first of them of at most `first`."""
    if line.isascii():
        return [line[:first], *(line[at : at + room] for at in range(first, len(line), room))]
    cells = cell_ends(line)
    places = _places(line, cells, room)
    ends = [cells[place] for place in places]
    rows: list[str] = []
    start, limit = 0, first
    while not rows or start < len(places) - 1:
        # Marks alone take no cells, but where there are none they have no place either.
        stop = bisect_right(ends, ends[start] + limit) - 1 if limit else start
        rows.append(line[places[start] : places[stop]])
        start, limit = stop, room
    return rows


def _places(line: str, cells: list[int], room: int) -> list[int]:
    """Where the line may be cut: between characters as a person sees them, and inside of
    those that would not fit into any row."""
    places = list(edges(line))
    for start, end in list(pairwise(places)):
        if cells[end] - cells[start] > room:
            places += range(start + 1, end)
    return sorted(places)


def _with_cursor(
    wrapped: list[str], offset: int, first: int, room: int
) -> tuple[list[str], int, int]:
    """The rows, the cursor's among them, and its offset there; at the end of a full row it
    stands on a new one."""
    row = 0
    while row < len(wrapped) - 1 and offset >= len(wrapped[row]):
        offset -= len(wrapped[row])
        row += 1
    if offset == len(wrapped[row]) and cells_of(wrapped[row]) >= (room if row else first):
        return [*wrapped, ""], row + 1, 0
    return wrapped, row, offset
