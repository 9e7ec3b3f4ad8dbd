"""The line editor: what is typed, or piped, becomes lines.

    bytes typed --> LineEditor.feed() --> Line, Interrupt, EndOfInput
    bytes piped --> LineReader.feed() --> lines

Lives here: keys and what they do to the line that is being typed. Never here: reading
(bytes are handed in), clocks (times are handed in), drawing, any import of another module
of selchat but text.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from text import cells_of, first_cells, harmless, last_cells

HISTORY_LINES = 500  # what bash keeps
LINE_CHARACTERS = 49_152 // 4  # the longest post is 48 KiB, a character at most 4 bytes
ESC_TIMEOUT_S = 0.05  # neovim's ttimeoutlen: a sequence is faster, a person slower
SEQUENCE_CHARACTERS = 32  # the longest real sequences (mouse, colours) have about 20


@dataclass(frozen=True)
class Line:
    """Enter was pressed. A paste of several lines is one Line with "\\n" in it."""

    text: str


@dataclass(frozen=True)
class Interrupt:
    """Ctrl-C arrived as a byte."""


@dataclass(frozen=True)
class EndOfInput:
    """Ctrl-D on an empty line."""


Key = Line | Interrupt | EndOfInput


class LineEditor:
    """One line that is being typed. It reads nothing: bytes and the time are handed in.

    The cursor moves by code points: an emoji of several parts takes several arrows.
    """

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0  # an index into text
        self._decoder = getincrementaldecoder("utf-8")(errors="replace")
        self._history: deque[str] = deque(maxlen=HISTORY_LINES)
        self._place = 0  # how many lines back in the history; 0 is the line being typed
        self._draft = ""  # the line being typed, while the history is shown
        self._sequence = ""  # an escape sequence that is not complete yet
        self._escaped_at = 0.0  # when its ESC came
        self._pasting = False
        self._previous = ""  # the character before, to take "\r\n" for one Enter

    def feed(self, data: bytes, now: float) -> list[Key]:
        """Bytes that were typed; what became complete by them."""
        self.expire(now)
        keys: list[Key] = []
        for character in self._decoder.decode(data):
            if self._sequence and self._continue_sequence(character):
                pass
            elif character == "\x1b":
                self._sequence, self._escaped_at = character, now
            elif character != "\n" or self._previous != "\r":
                self._press(character, keys)
            self._previous = character
        return keys

    def deadline(self) -> float | None:
        """When to call `expire`: a lone ESC is a key of its own once nothing follows it."""
        return self._escaped_at + ESC_TIMEOUT_S if self._sequence == "\x1b" else None

    def expire(self, now: float) -> None:
        deadline = self.deadline()
        if deadline is not None and now >= deadline:
            self._sequence = ""

    def view(self, columns: int) -> tuple[str, int]:
        """What to show on one row of so many cells, and the cell of the cursor in it.

        Of a long line the part around the cursor is shown, with up to a third of the
        row after it. The last cell is only ever the cursor's: some terminals wrap as
        soon as it is written.
        """
        left, right = harmless(self.text[: self.cursor]), harmless(self.text[self.cursor :])
        room = max(columns, 1) - 1
        after = cells_of(first_cells(right, room // 3))
        left = last_cells(left, room - after)
        offset = cells_of(left)
        return left + first_cells(right, room - offset), offset

    def _continue_sequence(self, character: str) -> bool:
        """Whether the character belongs to the escape sequence that has begun."""
        sequence = self._sequence
        self._sequence = ""
        if character < " " or character > "~":
            return False  # no part of any sequence: what came before it is dropped
        if sequence == "\x1b":
            if character in "[O":
                self._sequence = sequence + character
            return True  # else Alt and a key
        in_csi = sequence.startswith("\x1b[") and sequence != "\x1b[["
        # ESC[[A to ESC[[E are the Linux console's F1 to F5.
        if in_csi and (character < "@" or (sequence, character) == ("\x1b[", "[")):
            if len(sequence) < SEQUENCE_CHARACTERS + 2:
                self._sequence = sequence + character
            return True
        self._obey(sequence + character)
        return True

    def _obey(self, sequence: str) -> None:
        if sequence == "\x1b[200~":
            self._pasting = True
        elif sequence == "\x1b[201~":
            self._pasting = False
        elif not self._pasting and sequence in _SEQUENCES:
            _SEQUENCES[sequence](self)

    def _press(self, character: str, keys: list[Key]) -> None:
        if character == "\x03":
            self._pasting = False  # the way out, should the end of a paste get lost
            keys.append(Interrupt())
        elif self._pasting and character in "\r\n\t":
            self._insert("\t" if character == "\t" else "\n")
        elif character >= " " and not "\x7f" <= character <= "\x9f":
            self._insert(character)
        elif self._pasting:
            pass  # a control character in a paste is neither text nor a key
        elif character in "\r\n":
            keys.append(Line(self._take()))
        elif character == "\x04" and not self.text:
            keys.append(EndOfInput())
        elif character in _CONTROLS:
            _CONTROLS[character](self)

    def _insert(self, character: str) -> None:
        if len(self.text) < LINE_CHARACTERS:
            self.text = self.text[: self.cursor] + character + self.text[self.cursor :]
            self.cursor += 1

    def _take(self) -> str:
        text = self.text.rstrip("\n")  # a paste often ends with a line break that nobody means
        if text.strip() and (not self._history or self._history[-1] != text):
            self._history.append(text)
        self._place, self._draft = 0, ""
        self._set("")
        return text

    def _set(self, text: str) -> None:
        self.text, self.cursor = text, len(text)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _recall(self, step: int) -> None:
        place = self._place + step
        if not 0 <= place <= len(self._history):
            return
        if self._place == 0:
            self._draft = self.text
        self._place = place
        self._set(self._history[-place] if place else self._draft)

    def _older(self) -> None:
        self._recall(1)

    def _newer(self) -> None:
        self._recall(-1)

    def _left(self) -> None:
        self.cursor = max(self.cursor - 1, 0)

    def _right(self) -> None:
        self.cursor = min(self.cursor + 1, len(self.text))

    def _home(self) -> None:
        self.cursor = 0

    def _end(self) -> None:
        self.cursor = len(self.text)

    def _backspace(self) -> None:
        self._cut(max(self.cursor - 1, 0), self.cursor)

    def _delete(self) -> None:
        self._cut(self.cursor, self.cursor + 1)

    def _cut_before(self) -> None:
        self._cut(0, self.cursor)

    def _cut_after(self) -> None:
        self._cut(self.cursor, len(self.text))

    def _cut_word(self) -> None:
        before = self.text[: self.cursor]
        words = re.search(r"\S*\s*\Z", before)
        self._cut(words.start() if words else 0, self.cursor)


# The keys of every shell, so that nobody has to learn any.
_CONTROLS: Mapping[str, Callable[[LineEditor], None]] = {
    "\x01": LineEditor._home,
    "\x02": LineEditor._left,
    "\x04": LineEditor._delete,
    "\x05": LineEditor._end,
    "\x06": LineEditor._right,
    "\x08": LineEditor._backspace,
    "\x7f": LineEditor._backspace,
    "\x0b": LineEditor._cut_after,
    "\x15": LineEditor._cut_before,
    "\x17": LineEditor._cut_word,
}
# As xterm, the Linux console and rxvt send them (terminfo: kcuu1, khome, kdch1 and so on).
_SEQUENCES: Mapping[str, Callable[[LineEditor], None]] = {
    **dict.fromkeys(("\x1b[A", "\x1bOA"), LineEditor._older),
    **dict.fromkeys(("\x1b[B", "\x1bOB"), LineEditor._newer),
    **dict.fromkeys(("\x1b[C", "\x1bOC"), LineEditor._right),
    **dict.fromkeys(("\x1b[D", "\x1bOD"), LineEditor._left),
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), LineEditor._home),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), LineEditor._end),
    "\x1b[3~": LineEditor._delete,
}


# ---------------------------------------------------------------- lines without a terminal


class LineReader:
    """Cuts piped bytes into lines, at b"\\n" and nowhere else."""

    def __init__(self, limit_bytes: int) -> None:
        """Of a longer line one byte more than `limit_bytes` is kept: enough to refuse it."""
        self._keep = limit_bytes + 1
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = b""
        self._rest = (self._rest + rest)[: self._keep]
        return [line[: self._keep].decode(errors="replace") for line in lines]

    def end(self) -> list[str]:
        """The last line, if no line break ended it."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []
