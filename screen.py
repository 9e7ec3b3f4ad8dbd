"""The screen: a conversation in a terminal, with the prompt below it.

It is no full-screen program: the conversation scrolls like any output, and one row, the
prompt, is hidden before a turn's lines and shown again below them. All the control
sequences that are emitted here are these:

    CR  ESC[J       to the start of the row; erase from there on    (hide the prompt)
    ESC[nC          n cells to the right                            (place the cursor)
    ESC[...m        colours and styles, made by rich

Lives here: how things look. Never here: reading, clocks (times are handed in), threads,
peers. rich is imported only when a Screen is made, because every start would pay for it
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

from editor import LineEditor
from output import LocalTime, Message, Readable, Write
from text import NAME_CELLS, cells_of, harmless, short_name

NARROW_COLUMNS = 20  # "HH:MM:SS " and a word no longer fit beside one another
UNKNOWN_COLUMNS = 80  # what terminals that do not know their width (0) are taken to have
# Of the 256 colours twelve of many hues, each with a contrast of 3.7 or more on black and on
# white (computed as in WCAG 2.1; a test does it again).
COLOURS = (27, 28, 30, 32, 64, 98, 100, 130, 133, 161, 164, 166)


class Screen(Readable):
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
