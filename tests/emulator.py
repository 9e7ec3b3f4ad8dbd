"""A terminal to test with: pyte, with what it lacks put right.

    pyte 0.8.2                                    here
    drops what follows a joiner, a variation      marks and joiners go into the cell that
    selector or a vowel sign in one draw()        stands before them, and the rest is drawn
    leaves half of a wide character in the        wraps it as a whole
    last cell of a row
    loses the rows that scroll off (Screen),      keeps all in `past`; a smaller screen drops
    and all that a smaller screen cuts off        empty rows below the cursor, then scrolls
    leaves the cursor where it was then           moves it with its row

Which of what real terminals do it does is said when it is made: whether rows are cut or wrapped
anew by a narrower one, whether a higher one takes back rows that had scrolled off, and whether
emoji of several parts are as wide as one.

Lives here: what is on a terminal, and was. Never here: what should be there.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any

import pyte
from pyte import modes
from wcwidth import wcwidth

JOINER = "\u200d"


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    return max(wcwidth(character), 0)


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


class Row:
    """The cells of one row; the second one of a wide character is empty."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.wrapped = False  # whether it goes on in the next row
        self.marked = False  # by a test, to find it again
        self._text: str | None = None
        self._whole: str | None = None  # what it held before a narrower terminal cut it

    @property
    def text(self) -> str:
        """What can be seen."""
        if self._text is None:
            self._text = "".join(self.cells).rstrip()
        return self._text

    @property
    def written(self) -> str:
        """All that was written, before a narrower terminal cut it; spaces at its end, too."""
        return "".join(self.cells) if self._whole is None else self._whole

    @property
    def whole(self) -> str:
        """What could be seen of that."""
        return self.text if self._whole is None else self._whole.rstrip()

    def write(self, x: int, cells: list[str]) -> None:
        end = x + len(cells)
        if len(self.cells) < x:
            self.cells += " " * (x - len(self.cells))
        if self.cells[x : x + 1] == [""]:
            self.cells[x - 1] = " "  # of a wide character no half is left
        if self.cells[end : end + 1] == [""]:
            self.cells[end] = " "
        self.cells[x:end] = cells
        self._text = self._whole = None

    def append(self, x: int, character: str) -> None:
        """Puts a mark into the cell before `x`."""
        while x and self.cells[x - 1 : x] == [""]:
            x -= 1
        if 0 < x <= len(self.cells):
            self.cells[x - 1] += character
            self._text = self._whole = None

    def before(self, x: int) -> str:
        while x and self.cells[x - 1 : x] == [""]:
            x -= 1
        return self.cells[x - 1] if 0 < x <= len(self.cells) else ""

    def erase_from(self, x: int) -> None:
        if not x:
            self.wrapped = False
        del self.cells[x:]
        self._text = self._whole = None

    def cut(self, columns: int) -> None:
        if len(self.cells) > columns:
            whole = self.written
            del self.cells[columns:]
            self._text, self._whole = None, whole


class Emulator(pyte.Screen):
    """Takes bytes by `feed`."""

    def __init__(
        self, columns: int, rows: int, *, reflows: bool, pulls: bool, composes: bool
    ) -> None:
        """`reflows`: wraps rows anew when its width changes, and scrolls what is erased from
        the very first cell on, as tmux does; else cuts them, as xterm does. `pulls`: takes back
        rows when it becomes higher. `composes`: one emoji of several parts is as wide as one."""
        self.reflows, self.pulls, self.composes = reflows, pulls, composes
        self.past: list[Row] = []  # scrolled off
        self.screen = [Row() for _ in range(rows)]
        self.overflows: list[str] = []  # rows that had to be wrapped when they were written
        super().__init__(columns, rows)
        self._stream, self._byte_stream = pyte.Stream(self), pyte.ByteStream(self)

    def feed(self, data: str | bytes) -> None:
        """Bytes as they come from a pseudo-terminal, or a text in which a line feed is one."""
        if isinstance(data, bytes):
            self._byte_stream.feed(data)
        else:
            self._stream.feed(data.replace("\n", "\r\n"))

    # ------------------------------------------------------------ what is there

    @property
    def display(self) -> list[str]:
        return [row.text for row in self.screen]

    @property
    def top(self) -> int:
        """The number of the screen's first row, counted from the first row ever."""
        return len(self.past)

    def mark(self, number: int) -> None:
        """Marks one row, and no other."""
        for row in chain(self.past, self.screen):
            row.marked = False
        self.screen[number - self.top].marked = True

    def marked(self) -> int:
        rows = enumerate(chain(self.past, self.screen))
        return next(number for number, row in rows if row.marked)

    def transcript(self, end: int) -> list[str]:
        """The rows before that one, whole; those that were wrapped are one."""
        lines, begun = [], ""
        for row, _ in zip(chain(self.past, self.screen), range(end), strict=False):
            if row.wrapped:
                begun += row.written
            else:
                lines.append(begun + row.whole)
                begun = ""
        return lines + [begun] * bool(begun)

    def cells_of(self, text: str) -> int:
        """How wide it is on this terminal."""
        scratch = Emulator(1000, 1, reflows=False, pulls=False, composes=self.composes)
        scratch.draw(text)
        return scratch.cursor.x

    # ------------------------------------------------------------ what is written

    def draw(self, data: str) -> None:
        x, row = self.cursor.x, self.screen[self.cursor.y]
        if data.isascii() and x + len(data) <= self.columns:
            row.write(x, list(data))
            self.cursor.x = x + len(data)
            return
        for character in data:
            self._draw(character)

    def _draw(self, character: str) -> None:
        width = _width(character)
        row = self.screen[self.cursor.y]
        if not width or (self.composes and self._joins(row.before(self.cursor.x), character)):
            row.append(self.cursor.x, character)
            return
        if self.cursor.x + width > self.columns:
            if modes.DECAWM in self.mode:
                self.overflows.append(row.text)
                row.wrapped = True
                self.carriage_return()
                self.index()
                row = self.screen[self.cursor.y]
            else:
                self.cursor.x = max(self.columns - width, 0)
        row.write(self.cursor.x, [character, ""][:width])
        self.cursor.x += width

    @staticmethod
    def _joins(before: str, character: str) -> bool:
        if "\U0001f3fb" <= character <= "\U0001f3ff":
            return _width(before[:1]) == 2 if before else False
        if _is_flag_half(character):
            return len(before) == 1 and _is_flag_half(before)
        return before.endswith(JOINER) and character > "\u2000"

    def index(self) -> None:
        if self.cursor.y < len(self.screen) - 1:
            self.cursor.y += 1
        else:
            self._scroll()

    def _scroll(self) -> None:
        self.past.append(self.screen.pop(0))
        self.screen.append(Row())

    def erase_in_display(self, how: int = 0, *_: Any, **__: Any) -> None:
        home = self.cursor.x == self.cursor.y == 0
        if self.reflows and (how == 2 or (how == 0 and home)):
            while any(row.text for row in self.screen):
                self._scroll()
        if how == 0:
            self.screen[self.cursor.y].erase_from(self.cursor.x)
        for row in self.screen[self.cursor.y + 1 if how == 0 else 0 :]:
            row.erase_from(0)

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        assert not how, "nothing here writes that"
        self.screen[self.cursor.y].erase_from(self.cursor.x)

    # ------------------------------------------------------------ another size

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        rows, columns = lines or len(self.screen), columns or self.columns
        if columns != self.columns and self.reflows:
            self._wrap_anew(columns)
        elif columns < self.columns:
            for row in self.screen:
                row.cut(columns)
        while len(self.screen) > max(rows, self.cursor.y + 1) and not self.screen[-1].text:
            self.screen.pop()
        while len(self.screen) > rows:
            self.past.append(self.screen.pop(0))
            self.cursor.y = max(self.cursor.y - 1, 0)
        while self.pulls and self.past and len(self.screen) < rows:
            self.screen.insert(0, self.past.pop())
            self.cursor.y += 1
        self.screen += [Row() for _ in range(rows - len(self.screen))]
        self.columns, self.lines = columns, rows
        self.cursor.x = min(self.cursor.x, columns if self.reflows else columns - 1)

    def _wrap_anew(self, columns: int) -> None:
        """As tmux does: the cursor stays in its cell, or behind the last one of its line."""
        rows = [*self.past, *self.screen]
        at = self.top + self.cursor.y
        while len(rows) > at + 1 and not rows[-1].cells:
            rows.pop()
        height, had_past = len(self.screen), bool(self.past)
        wrapped: list[Row] = []
        start = 0
        for number, row in enumerate(rows):
            if row.wrapped and number < len(rows) - 1:
                continue
            line = rows[start : number + 1]
            pieces = _split(list(chain.from_iterable(each.cells for each in line)), columns)
            pieces[0].marked = any(each.marked for each in line)
            if start <= at <= number:
                place = sum(len(each.cells) for each in rows[start:at]) + self.cursor.x
                cursor_row, self.cursor.x = _find(pieces, place, rows[at], self.cursor.x)
                cursor_row += len(wrapped)
            wrapped += pieces
            start = number + 1
        top = max(len(wrapped) - height, 0) if had_past else 0
        top = min(max(top, cursor_row - height + 1), cursor_row)
        self.past, self.screen = wrapped[:top], wrapped[top:]
        self.screen += [Row() for _ in range(height - len(self.screen))]
        self.cursor.y = cursor_row - top


def _split(cells: list[str], columns: int) -> list[Row]:
    rows = [Row()]
    for index, cell in enumerate(cells):
        wide = cells[index + 1 : index + 2] == [""]
        if cell and len(rows[-1].cells) + 1 + wide > columns:
            rows[-1].wrapped = True
            rows.append(Row())
        rows[-1].cells.append(cell)
    return rows


def _find(pieces: list[Row], place: int, row: Row, x: int) -> tuple[int, int]:
    """Where the cursor is now: its row among the pieces, and its cell."""
    if x >= len(row.cells):
        return len(pieces) - 1, len(pieces[-1].cells)
    for number, piece in enumerate(pieces):
        if place < len(piece.cells):
            return number, place
        place -= len(piece.cells)
    raise AssertionError("the cursor is in none of them")
