"""The text that is being typed, and the cursor in it.

Lives here: moving, inserting, deleting, killing, undoing. Never here: keys, the history,
drawing, any import of another module of selchat but text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from text import cells_of, clusters, edges, harmless

LINE_CHARACTERS = 49_152 // 4  # the longest post is 48 KiB, a character at most 4 bytes
UNDO_STEPS = 100  # more than anybody takes back; of the longest lines they are 5 MB

_WORD = re.compile(r"\S+\s*|\s+")  # what is typed until the next word begins


class Moment(NamedTuple):
    """What an undo brings back."""

    text: str
    point: int
    place: int


class Buffer:
    """One text, of one line or several.

    A cursor stands between characters as a person sees them. What is inserted goes where
    its predecessor ended, though: an emoji may arrive in parts, each of which would join
    with what is behind it.
    """

    def __init__(self) -> None:
        self.text = ""
        self.place = 0  # how many lines back in the history the text is from; 0: it is new
        self._point = 0  # where to insert, an index into text
        self._undo: deque[Moment] = deque(maxlen=UNDO_STEPS)
        self._killed = ""
        self._last = ""  # what was done last: some things go on where they left off
        self._column = 0  # where up and down want to go

    @property
    def cursor(self) -> int:
        places = self._places()
        return places[bisect_left(places, self._point)]

    def _places(self) -> Sequence[int]:
        """Where the cursor may stand."""
        return edges(self.text)

    def reset(self) -> None:
        """Empty, with nothing to undo; what was killed stays."""
        self.text, self.place, self._point = "", 0, 0
        self._undo.clear()
        self._last = ""

    def settle(self) -> None:
        """What is done next is a step of its own, whatever was done last."""
        self._last = ""

    # ------------------------------------------------------------ changing

    def type(self, text: str) -> None:
        """Characters one by one; a word of them is one step to undo."""
        for word in _WORD.findall(text):
            before = self.text[self._point - 1 : self._point]
            if before.isspace() and not word[0].isspace():
                self.settle()
            self.insert(word, "type")

    def insert(self, text: str, action: str) -> None:
        """As much of it as there is room for."""
        text = text[: LINE_CHARACTERS - len(self.text)]
        if text:
            self._change(self._point, self._point, text, action)

    def replace(self, text: str, cursor: int, place: int, action: str) -> None:
        """All of the text; the same action again goes on with the step to undo."""
        self._begin(action)
        self.text = text[:LINE_CHARACTERS]
        self._point, self.place = min(cursor, len(self.text)), place

    def undo(self) -> None:
        self.settle()
        while self._undo:
            text, point, place = self._undo.pop()
            if text != self.text:
                self.text, self._point, self.place = text, point, place
                return

    def _begin(self, action: str) -> None:
        if action != self._last:
            self._undo.append(Moment(self.text, self._point, self.place))
        self._last = action

    def _change(self, start: int, end: int, text: str, action: str) -> None:
        self._begin(action)
        self.text = self.text[:start] + text + self.text[end:]
        self._point = start + len(text)

    def backspace(self) -> None:
        if self.cursor:
            self._change(self._neighbour(-1), self.cursor, "", "backspace")

    def delete(self) -> None:
        if self.cursor < len(self.text):
            self._change(self.cursor, self._neighbour(1), "", "delete")

    def transpose(self) -> None:
        """The character before the cursor goes behind the one after it, or, at the end of a
        line, the last two change places."""
        places = self._places()
        index = bisect_left(places, self._point)
        if index == len(places) - 1 or self.text[places[index]] == "\n":
            index -= 1
        if index > 0:
            start, middle, end = places[index - 1 : index + 2]
            swapped = self.text[middle:end] + self.text[start:middle]
            if "\n" not in swapped:
                self.settle()
                self._change(start, end, swapped, "transpose")

    # ------------------------------------------------------------ killing

    def kill_line_before(self) -> None:
        """To the start of the line; there, the line break before it."""
        start = self._line_start()
        self._kill(start if start < self.cursor else max(start - 1, 0), self.cursor)

    def kill_line_after(self) -> None:
        """To the end of the line; there, the line break."""
        self._kill(self.cursor, max(self._line_end(), min(self.cursor + 1, len(self.text))))

    def kill_word_before(self) -> None:
        self._kill(self._word_start(_in_word), self.cursor)

    def kill_word_after(self) -> None:
        self._kill(self.cursor, self._word_end())

    def kill_to_space(self) -> None:
        """The word before the cursor, and whatever hangs on it without a space."""
        self._kill(self._word_start(_no_space), self.cursor)

    def _kill(self, start: int, end: int) -> None:
        """Kills one after another are yanked as one text."""
        if start == end:
            return
        killed, forward = self.text[start:end], start == self.cursor
        if self._last == "kill":
            killed = self._killed + killed if forward else killed + self._killed
        self._killed = killed
        self.settle()  # each is undone by itself
        self._change(start, end, "", "kill")

    def yank(self) -> None:
        self.settle()
        self.insert(self._killed, "yank")

    # ------------------------------------------------------------ moving

    def left(self) -> None:
        self._move(self._neighbour(-1))

    def right(self) -> None:
        self._move(self._neighbour(1))

    def home(self) -> None:
        self._move(self._line_start())

    def end(self) -> None:
        self._move(self._line_end())

    def word_left(self) -> None:
        self._move(self._word_start(_in_word))

    def word_right(self) -> None:
        self._move(self._word_end())

    def up(self) -> bool:
        """False if there is no line above."""
        start = self._line_start()
        return start > 0 and self._to_line(self.text.rfind("\n", 0, start - 1) + 1, start - 1)

    def down(self) -> bool:
        start = self._line_end() + 1
        end = self.text.find("\n", start)
        return start <= len(self.text) and self._to_line(start, end if end >= 0 else len(self.text))

    def _move(self, point: int) -> None:
        self._point = point
        self.settle()

    def _to_line(self, start: int, end: int) -> bool:
        """Into another line, as near as possible to the column that one came from."""
        if self._last != "line":
            before = self.text[self._line_start() : self.cursor]
            self._column = cells_of(harmless(before, multiline=True))
        point, cells = start, self._column
        for part in clusters(self.text[start:end]):
            cells -= cells_of(harmless(part, multiline=True))
            if cells < 0:
                break
            point += len(part)
        self._point, self._last = point, "line"
        return True

    def _neighbour(self, step: int) -> int:
        """The place before (-1) or after (1) the cursor."""
        places = self._places()
        index = bisect_left(places, self._point) + step
        return places[min(max(index, 0), len(places) - 1)]

    def _line_start(self) -> int:
        return self.text.rfind("\n", 0, self.cursor) + 1

    def _line_end(self) -> int:
        end = self.text.find("\n", self.cursor)
        return end if end >= 0 else len(self.text)

    def _word_start(self, belongs: Callable[[str], bool]) -> int:
        places = self._places()
        index = bisect_left(places, self._point)
        while index and not belongs(self.text[places[index - 1]]):
            index -= 1
        while index and belongs(self.text[places[index - 1]]):
            index -= 1
        return places[index]

    def _word_end(self) -> int:
        places = self._places()
        index, last = bisect_left(places, self._point), len(places) - 1
        while index < last and not _in_word(self.text[places[index]]):
            index += 1
        while index < last and _in_word(self.text[places[index]]):
            index += 1
        return places[index]


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _no_space(character: str) -> bool:
    return not character.isspace()
