"""The keyboard: bytes become keys and text.

    bytes typed --> KeyReader.feed() --> Typed, Pasted, Pressed

A key has a name: a character after "ctrl-" or "alt-", or one of enter, tab, shift-tab,
escape, backspace, delete, up, down, left, right, home, end; the last seven also after
"ctrl-" and "alt-", as enter and backspace after "alt-". "paste" and "paste-end" are what
a terminal sends around a paste.

Lives here: what terminals send for keys. Never here: what a key does, reading (bytes are
handed in), clocks (times are handed in), any import of another module of selchat.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

from records import Record

ESC_TIMEOUT_S = 0.05  # neovim's ttimeoutlen: a sequence is faster, a person slower
SEQUENCE_CHARACTERS = 32  # the longest real sequences (mouse, colours) have about 20

_RUN = re.compile("[^\x00-\x1f\x7f-\x9f]+")  # what is text, whatever stands around it
_CONTROL_NAMES = {
    "\r": "enter", "\n": "enter", "\t": "tab", "\x08": "backspace", "\x7f": "backspace"
}  # fmt: skip
# ESC[ and ESCO, up to two numbers, and what the key is; as xterm, the Linux console, the
# VT220 and rxvt send them (terminfo: kcuu1, khome, kdch1 and so on).
_SEQUENCE = re.compile(r"\x1b([\[O])(\d*)(?:;(\d+))?([@-~])")
_LETTERED = {
    "A": "up", "B": "down", "C": "right", "D": "left", "F": "end", "H": "home", "Z": "shift-tab",
    "a": "up", "b": "down", "c": "right", "d": "left",
}  # fmt: skip
_NUMBERED = {
    "1": "home", "3": "delete", "4": "end", "7": "home", "8": "end",
    "200": "paste", "201": "paste-end",
}  # fmt: skip


class Typed(Record):
    """Characters typed one after another, none of them a control."""

    text: str


class Pasted(Record):
    """A part of a paste; line breaks are "\\n", and of the controls only tabs are left."""

    text: str


class Pressed(Record):
    """A key that is no character."""

    name: str


Stroke = Typed | Pasted | Pressed


class KeyReader:
    """Takes bytes in any pieces; what is not complete yet waits for the rest."""

    def __init__(self) -> None:
        self.pasting = False
        self._decoder = getincrementaldecoder("utf-8")(errors="replace")
        self._sequence = ""  # an escape sequence that is not complete yet
        self._alt = False  # whether there was one more ESC before it
        self._escaped_at = 0.0  # when its ESC came
        self._after_return = False  # to take "\r\n" for one Enter

    def feed(self, data: bytes, now: float) -> list[Stroke]:
        """Bytes that were typed; the keys that became complete by them."""
        strokes = self.expire(now)
        text = self._decoder.decode(data)
        at = 0
        while at < len(text):
            run = None if self._sequence else _RUN.match(text, at)
            if run:
                strokes.append((Pasted if self.pasting else Typed)(run.group()))
                self._after_return = False
                at = run.end()
            else:
                self._take(text[at], now, strokes)
                at += 1
        return strokes

    def deadline(self) -> float | None:
        """When to call `expire`: a lone ESC is a key of its own once nothing follows it."""
        lone = self._sequence == "\x1b" and not self.pasting
        return self._escaped_at + ESC_TIMEOUT_S if lone else None

    def expire(self, now: float) -> list[Stroke]:
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        self._sequence = ""
        return [Pressed("escape")]

    def reset(self) -> None:
        """No paste and no sequence any more: the way out, should the end of one get lost."""
        self.pasting, self._sequence = False, ""

    def _take(self, character: str, now: float, strokes: list[Stroke]) -> None:
        """One character that is a control, or belongs to a sequence."""
        doubled = character == "\n" and self._after_return
        self._after_return = character == "\r"
        if character == "\x1b":
            self._alt = self._sequence == "\x1b"  # rxvt sends Alt and an arrow so
            self._sequence, self._escaped_at = character, now
        elif self._sequence and self._continue(character, strokes):
            pass
        elif not doubled:
            self._press(character, strokes)

    def _continue(self, character: str, strokes: list[Stroke]) -> bool:
        """Whether the character belongs to the escape sequence that has begun."""
        sequence, self._sequence = self._sequence, ""
        if sequence == "\x1b":
            return self._after_escape(character, strokes)
        if not " " <= character <= "~":
            return False  # no part of any sequence: what came before it is dropped
        sequence += character
        # ESC[[A to ESC[[E are the Linux console's F1 to F5.
        if character < "@" or sequence == "\x1b[[":
            # "$" ends a key of rxvt where Shift is held (ESC[3$); else more would follow it.
            ended = character == "$" and sequence[2:-1].isdigit()
            if not ended and len(sequence) <= SEQUENCE_CHARACTERS + 2:
                self._sequence = sequence
            return True
        name = _name(sequence, self._alt)
        if name and not self.pasting:
            strokes.append(Pressed(name))
        if name in ("paste", "paste-end"):
            self.pasting = name == "paste"
        return True

    def _after_escape(self, character: str, strokes: list[Stroke]) -> bool:
        if character in "[O":
            self._sequence = "\x1b" + character
            return True
        if self.pasting:
            return False  # there is no Alt in a paste
        if " " <= character <= "~":
            strokes.append(Pressed("alt-" + character.lower()))
        elif character in "\r\n\x08\x7f":
            strokes.append(Pressed("alt-" + _CONTROL_NAMES[character]))
        else:
            return False
        return True

    def _press(self, character: str, strokes: list[Stroke]) -> None:
        if self.pasting and character in "\r\n\t":
            strokes.append(Pasted("\t" if character == "\t" else "\n"))
        elif character == "\x03":
            self.pasting = False
            strokes.append(Pressed("ctrl-c"))
        elif _RUN.match(character):
            strokes.append((Pasted if self.pasting else Typed)(character))
        elif character in _CONTROL_NAMES and not self.pasting:
            strokes.append(Pressed(_CONTROL_NAMES[character]))
        elif character < " " and not self.pasting:
            strokes.append(Pressed("ctrl-" + chr(ord(character) + 0x40).lower()))


def _name(sequence: str, alt: bool) -> str | None:
    """The key that a whole escape sequence stands for; Shift makes a difference to none."""
    match = _SEQUENCE.fullmatch(sequence)
    if not match:
        return None
    kind, number, modifiers, final = match.groups()
    if final in "~^@":
        name = _NUMBERED.get(number)
    else:
        name = _LETTERED.get(final)
        modifiers = modifiers or number  # ESC[5C is an old way to write ESC[1;5C
    if name is None or name.startswith(("paste", "shift")):
        return name
    bits = max(int(modifiers or 1) - 1, 0)  # xterm: 1 Shift, 2 Alt, 4 Ctrl, 8 Meta
    ctrl = bits & 4 or final in "^@" or (kind == "O" and final in "abcd")
    return "ctrl-" * bool(ctrl) + "alt-" * bool(alt or bits & 10) + name
