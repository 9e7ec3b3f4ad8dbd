"""The terminal: keys to lines, events to text that is safe to show.

    bytes typed --> LineEditor.feed() --> Line, Interrupt, EndOfInput
    events      --> JsonOutput | PlainOutput | Screen  --> one write a turn, in flush()

Nothing that came from the network reaches a terminal without having passed
`harmless()` (text.py). The `Screen` is no full-screen program: the conversation scrolls like
any output, and one row, the prompt, is hidden before a turn's lines and shown again
below them. All the control sequences that selchat itself emits are these:

    CR  ESC[J       to the start of the row; erase from there on    (hide the prompt)
    ESC[nC          n cells to the right                            (place the cursor)
    ESC[...m        colours and styles, made by rich
    ESC[?2004h / l  the terminal marks pastes / marks them no more  (RawMode)

Lives here: the line editor, the three outputs, the terminal's mode. Never here: reading
(bytes are handed in), clocks (times are handed in), threads, peers, any import of another
module of selchat but text. rich is imported only when a Screen is made, because every
start would pay for it otherwise.
"""

from __future__ import annotations

import json
import re
import termios
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import StringIO
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.text import Text

from text import NAME_CELLS, Names, cells_of, first_cells, harmless, last_cells, short_name

Write = Callable[[str], None]
LocalTime = Callable[[int], datetime]  # seconds since 1970 to local time: fromtimestamp

HISTORY_LINES = 500  # what bash keeps
LINE_CHARACTERS = 49_152 // 4  # the longest post is 48 KiB, a character at most 4 bytes
ESC_TIMEOUT_S = 0.05  # neovim's ttimeoutlen: a sequence is faster, a person slower
SEQUENCE_CHARACTERS = 32  # the longest real sequences (mouse, colours) have about 20
NARROW_COLUMNS = 20  # "HH:MM:SS " and a word no longer fit beside one another
UNKNOWN_COLUMNS = 80  # what terminals that do not know their width (0) are taken to have
LAST_S = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that datetime can show
DAY_S = 86_400  # no time zone is further from UTC than this
# Of the 256 colours twelve of many hues, each with a contrast of 3.7 or more on black and on
# white (computed as in WCAG 2.1; a test does it again).
COLOURS = (27, 28, 30, 32, 64, 98, 100, 130, 133, 161, 164, 166)

# ---------------------------------------------------------------- the line editor


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


# ---------------------------------------------------------------- the outputs


@dataclass(frozen=True)
class Message:
    """A post to be shown."""

    ref: str
    id: str  # the author's
    name: str
    time_ms: int  # since 1970, UTC, by the author's clock: it may be absurd
    text: str
    history: bool
    own: bool
    private: bool = False


class Output(Protocol):
    """Where events are shown. All of one turn is written by one call of `flush`."""

    def ready(self, id: str, name: str, address: str, room: str) -> None: ...
    def link(
        self, state: str, id: str, name: str, address: str, reason: str | None = None
    ) -> None: ...
    def message(self, message: Message) -> None: ...
    def confirmed(self, ref: str, by: list[str]) -> None: ...
    def notice(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...
    def info(self, lines: list[str]) -> None: ...
    def bye(self, reason: str) -> None: ...
    def drop(self) -> None: ...
    def flush(self) -> None: ...


class _Clock:
    """Times as text. Posts come in bursts, so the last second's text is kept."""

    def __init__(self, convert: LocalTime, layout: str, margin_s: int) -> None:
        self._convert, self._layout, self._margin_s = convert, layout, margin_s
        self._second: int | None = None
        self._text = ""

    def when(self, second: int) -> datetime:
        return self._convert(min(max(second, self._margin_s), LAST_S - self._margin_s))

    def text(self, second: int) -> str:
        if second != self._second:
            self._text = self.when(second).strftime(self._layout)
            self._second = second
        return self._text


def _utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


class JsonOutput:
    """One JSON object a line: the contract's events."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines: list[str] = []
        self._clock = _Clock(_utc, "%Y-%m-%dT%H:%M:%S", 0)
        # ASCII only: no control character and no lone surrogate gets out unescaped.
        self._encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode

    def _event(self, event: str, **fields: object) -> None:
        self._lines.append(self._encode({"event": event, **fields}))

    def ready(self, id: str, name: str, address: str, room: str) -> None:
        self._event("ready", id=id, name=name, address=address, room=room)

    def link(self, state: str, id: str, name: str, address: str, reason: str | None = None) -> None:
        down = {} if state == "up" else {"reason": reason or ""}
        self._event("link", state=state, id=id, name=name, address=address, **down)

    def message(self, message: Message) -> None:
        time_ms = min(max(message.time_ms, 0), LAST_S * 1000 + 999)
        self._event(
            "message",
            ref=message.ref,
            id=message.id,
            name=message.name,
            time=f"{self._clock.text(time_ms // 1000)}.{time_ms % 1000:03}Z",
            text=message.text,
            history=message.history,
            own=message.own,
            private=message.private,
        )

    def confirmed(self, ref: str, by: list[str]) -> None:
        self._event("confirmed", ref=ref, by=by)

    def notice(self, text: str) -> None:
        self._event("notice", text=text)

    def error(self, text: str) -> None:
        self._event("error", text=text)

    def info(self, lines: list[str]) -> None:
        self.notice("\n".join(lines))

    def bye(self, reason: str) -> None:
        self._event("bye", reason=reason)

    def drop(self) -> None:
        """Forgets what was not flushed yet."""
        self._lines.clear()

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("\n".join(lines) + "\n")


class _Readable:
    """What the two outputs for people say in the same words."""

    def __init__(self, local_time: LocalTime) -> None:
        self._names = Names()
        self._clock = _Clock(local_time, "%H:%M:%S", DAY_S)

    def notice(self, text: str) -> None:
        raise NotImplementedError

    def ready(self, id: str, name: str, address: str, room: str) -> None:
        self.notice(f"listening on {address} as {self._names.label_of(name, id)} (id {id[:8]})")

    def link(self, state: str, id: str, name: str, address: str, reason: str | None = None) -> None:
        self.notice(self._link_text(state, id, name, address, reason))

    def _link_text(self, state: str, id: str, name: str, address: str, reason: str | None) -> str:
        who = self._names.label_of(name, id)
        if state == "up":
            return f"{who} joined ({address})"
        return f"{who} left: {reason}" if reason else f"{who} left"

    def confirmed(self, ref: str, by: list[str]) -> None:
        """Nothing: people ask for receipts when they want to know."""

    def bye(self, reason: str) -> None:
        if reason:
            self.notice(reason)


class PlainOutput(_Readable):
    """Posts on stdout, all else on stderr, for pipes and for terminals that can't do more."""

    def __init__(self, write: Write, write_error: Write, local_time: LocalTime) -> None:
        super().__init__(local_time)
        self._write, self._write_error = write, write_error
        self._posts: list[str] = []
        self._notices: list[str] = []

    def message(self, message: Message) -> None:
        text = harmless(message.text, multiline=True)
        if "\n" in text:
            # Indented, so that no post can pass for two.
            text = text.replace("\n", "\n    ")
        who = self._names.label_of(message.name, message.id)
        self._posts.append(f"{self._clock.text(message.time_ms // 1000)} {who}: {text}\n")

    def notice(self, text: str) -> None:
        self._notices.append(f"selchat: {harmless(text)}\n")

    def error(self, text: str) -> None:
        self.notice(text)

    def info(self, lines: list[str]) -> None:
        self._notices.extend(harmless(line) + "\n" for line in lines)

    def drop(self) -> None:
        """Forgets what was not flushed yet."""
        self._posts.clear()
        self._notices.clear()

    def flush(self) -> None:
        posts, self._posts = self._posts, []
        notices, self._notices = self._notices, []
        if posts:
            self._write("".join(posts))
        if notices:
            self._write_error("".join(notices))


class Screen(_Readable):
    """A conversation in a terminal, with the prompt below it.

    Where a terminal is made narrower than the prompt and does not cut but wrap it, its
    first part stays behind as a line: erasing upwards could erase a post elsewhere.
    """

    def __init__(
        self,
        write: Write,
        size: Callable[[], tuple[int, int]],
        editor: LineEditor,
        local_time: LocalTime,
        today: date,
        name: str,
        environ: Mapping[str, str],
    ) -> None:
        super().__init__(local_time)
        from rich.console import Console
        from rich.text import Text

        self._text = Text
        self._write, self._size, self._editor, self._name = write, size, editor, name
        self._day = today  # of the newest post shown; older history begins with its date
        self._lines: list[tuple[Text, Text]] = []  # what stands before a line, and the line
        self._drawn: str | None = None  # the prompt on the terminal; None: to be drawn anew
        self._dirty, self._shown = True, True
        # rich finds out from TERM, COLORTERM and NO_COLOR which colours there are.
        self._console = Console(
            file=StringIO(),  # never the terminal itself: that may stand still, or be gone
            force_terminal=True,
            force_jupyter=False,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
            width=UNKNOWN_COLUMNS,
            height=1,  # any: with both given rich does not ask the terminal at each print
            _environ=environ,
        )
        self.resized()
        self._drawn = ""

    def message(self, message: Message) -> None:
        when = self._clock.when(message.time_ms // 1000)
        self._separate_days(when.date())
        clock = f"{when:%H:%M:%S} " if self._columns >= NARROW_COLUMNS else ""
        colour = COLOURS[sum(map(ord, message.id)) % len(COLOURS)]
        line = self._text(style="dim" if message.history else "")
        who = self._names.label_of(message.name, message.id)
        line.append(who, f"bold{' underline' * message.own} color({colour})")
        if message.private:
            line.append(" (private)", "dim")
        line.append(" › " if message.own else ": ")
        line.append(harmless(message.text, multiline=True))
        self._lines.append((self._text(clock, "dim"), line))

    def _separate_days(self, day: date) -> None:
        if day != self._day:
            year = f" {day.year}" if day.year != self._day.year else ""
            self._day = day
            self._add("", f"── {day:%A} {day.day} {day:%B}{year} ──", "dim")

    def _add(self, sign: str, text: str, style: str) -> None:
        shown = harmless(text, multiline=True)
        self._lines.append((self._text(sign, style), self._text(shown, style)))

    def ready(self, id: str, name: str, address: str, room: str) -> None:
        self._name, self._dirty = name, True
        super().ready(id, name, address, room)

    def link(self, state: str, id: str, name: str, address: str, reason: str | None = None) -> None:
        text = self._link_text(state, id, name, address, reason)
        self._add("→ " if state == "up" else "← ", text, "dim")

    def notice(self, text: str) -> None:
        self._add("· ", text, "dim")

    def error(self, text: str) -> None:
        self._add("! ", text, "red")

    def info(self, lines: list[str]) -> None:
        for line in lines:
            self._add("", line, "")

    def edited(self) -> None:
        """The editor was fed; the next flush shows what became of it."""
        self._dirty = True

    def resized(self) -> None:
        """The terminal has another size: the prompt is drawn anew."""
        self._columns = self._size()[0] or UNKNOWN_COLUMNS
        self._console.width = self._columns
        self._drawn, self._dirty = None, True

    def close(self) -> None:
        """Show what is left, and leave the terminal on an empty row without a prompt."""
        self._shown, self._dirty = False, True
        self.flush()

    def reopen(self) -> None:
        """After a close: back from the background, say."""
        self._shown = True
        self.resized()

    def drop(self) -> None:
        """Forgets what was not flushed yet."""
        self._lines.clear()

    def flush(self) -> None:
        if not self._lines and not self._dirty:
            return
        prompt = self._prompt() if self._shown else ""
        if self._lines or prompt != self._drawn:
            lines, self._lines = self._lines, []
            self._write("\r\x1b[J" + self._rendered(lines) + prompt)
        self._drawn, self._dirty = prompt, False

    def _prompt(self) -> str:
        head = self._text()
        if self._columns >= NARROW_COLUMNS:
            name = short_name(self._name, min(NAME_CELLS, self._columns // 3))
            head.append((name or "(no name)") + " ", "bold")
        head.append("› ", "bold")
        width = cells_of(head.plain)
        text, cursor = self._editor.view(self._columns - width)
        return f"{self._styled(head)}{text}\r\x1b[{width + cursor}C"

    def _rendered(self, lines: list[tuple[Text, Text]]) -> str:
        """Each line folded to the width, indented so that no post can pass for two."""
        rows: list[Text] = []
        for head, body in lines:
            margin = max(head.cell_len, 2)
            width = max(self._columns - margin, 1)
            for row in body.wrap(self._console, width, overflow="fold"):
                rows.append(head + row)
                head = self._text(" " * margin)
        return self._styled(self._text("\n", end="").join(rows)) + "\n" * bool(rows)

    def _styled(self, text: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(text, end="", no_wrap=True, crop=False, overflow="ignore")
        return capture.get()


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


# ---------------------------------------------------------------- the terminal's mode


class RawMode:
    """Keys one by one and unechoed. Ctrl-C and Ctrl-Z stay the signals that they are."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._fd = -1
        self._saved: list[int | list[bytes | int]] | None = None

    def enter(self, fd: int) -> None:
        if self._saved is not None:
            return
        try:
            mode = termios.tcgetattr(fd)
        except termios.error as error:
            raise OSError(*error.args) from None
        # Enter stays "\r"; Ctrl-S must not stop an output that a whole loop waits for.
        mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        try:
            saved = termios.tcgetattr(fd)
            termios.tcsetattr(fd, termios.TCSANOW, mode)
        except termios.error as error:
            raise OSError(*error.args) from None
        self._fd, self._saved = fd, saved
        self._write("\x1b[?2004h")

    def leave(self) -> None:
        """As it was before `enter`; to call it again does nothing."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, saved)
        except termios.error:
            return  # the terminal itself is gone: there is nothing to restore
        self._write("\x1b[?2004l")
