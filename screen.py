"""The screen: a conversation in a terminal, with the prompt below it.

It is no full-screen program: the conversation scrolls like any output, into the terminal's own
scroll-back. Below it stands the *region*: a row with the status (or with what the editor asks,
finds or completes), and the rows of the prompt. Before a turn's lines are written the region
is erased, and drawn again below them, all in one write. These are all the control sequences
that are emitted here:

    CR  ESC[nA          to the region's first row
    ESC[J  ESC[K        erase what is below, and to the right
    ESC[?7l / ESC[?7h   rows of the region are cut, not wrapped, whatever the terminal thinks
                        of their width: so the region is as high as we think
    ESC[H ESC[2J        /clear: to the top, erase what is to be seen (not the scroll-back)
    ESC[...m  OSC 8     colours, styles, links, made by rich (paint.py)
    BEL  OSC 9 / 777    somebody mentions this person (terminal.py says which terminal knows which)

The cursor is put at its place by writing what stands before it in its row once more: so it is
right even where the terminal thinks otherwise about the width of a character.

Lives here: what is drawn where on a terminal. Never here: reading, clocks (times are handed in),
threads, peers, which lines there are (conversation.py), how a terminal is told of a style
(paint.py). rich is imported only when a Screen is made, because every start would pay for it
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

from conversation import NARROW_COLUMNS, Conversation
from editor import Hint, LineEditor
from layout import View, wrapped_rows
from output import LocalTime, Message, Status, Write
from terminal import Terminal
from text import NAME_CELLS, Names, cells_of, first_cells, harmless, short_name

UNKNOWN_COLUMNS = 80  # what terminals that do not know their width (0) are taken to have
UNKNOWN_ROWS = 24
PROMPT_ROWS = 8  # of a long text so many are shown, and at most half of the terminal
STATUS_ROWS = 4  # a terminal with fewer rows shows no status
FRAME_ROWS = 2  # the status and the prompt: a figure that is to be seen whole leaves room for them
HINT_END = 6  # of a hint that is cut, so many characters are shown: " [y/N]"
ALERT_S = 1.0  # a bell that rings more often is no bell any more


class Screen(Conversation):
    """A conversation in a terminal."""

    def __init__(
        self,
        write: Write,
        size: Callable[[], tuple[int, int]],
        editor: LineEditor,
        local_time: LocalTime,
        names: Names,
        today: date,
        name: str,
        terminal: Terminal,
        now: Callable[[], float],
        bell: Callable[[], str],
    ) -> None:
        """`size`: columns and rows, 0 where they are not known. `now`: the loop's clock. `bell`:
        what rings it, "off", "mentions" or "all"."""
        import paint

        self._paint = paint.Paint(terminal.environ)
        super().__init__(
            UNKNOWN_COLUMNS,
            local_time,
            names,
            today,
            name,
            now,
            few_colours=self._paint.few_colours,
            links=terminal.links,
        )
        self._write, self._size, self._editor, self._name = write, size, editor, name
        self._terminal, self._bell = terminal, bell
        self._status: Status | None = None
        self._alert, self._alerted = "", float("-inf")
        self._drawn = ""  # the region on the terminal; "" is none
        self._region_rows = [""]
        self._cursor = (0, 0)  # its row in the region, how much of that stands before it
        self._dirty = self._shown = True
        self._rows = UNKNOWN_ROWS
        self._measure()

    # ------------------------------------------------------------ what there is to show

    def message(self, message: Message) -> None:
        super().message(message)
        bell = "off" if message.own or message.history else self._bell()
        if bell == "all" or (bell == "mentions" and self._look.mentions(message.text)):
            self._alert = f"{self._names.label_of(message.name, message.id)}: {message.text[:200]}"

    def warning(self, text: str) -> None:
        super().warning(text)
        if self._bell() != "off":
            self._alert = text[:200]

    def figure(self, lines: list[str], instead: str) -> None:
        self._measure()
        if len(lines) > self._rows - FRAME_ROWS:
            self.notice(instead)
        else:
            super().figure(lines, instead)

    def _rename(self, name: str) -> None:
        super()._rename(name)
        self._name, self._dirty = name, True

    # ------------------------------------------------------------ what changes

    def status(self, status: Status) -> None:
        if status != self._status:
            self._status, self._dirty = status, True

    def edited(self) -> None:
        """The editor was fed; the next flush shows what became of it."""
        self._dirty = True

    def resized(self) -> None:
        """The terminal may have another size: then the region is drawn anew."""
        self._measure()

    def clear(self) -> None:
        """An empty terminal, but for the region. The scroll-back stays."""
        self._measure()
        # Many terminals, and tmux, keep what is cleared: not the region.
        self._write(self._up() + "\x1b[H\x1b[2J")
        self._forget_region()

    def close(self) -> None:
        """Show what is left, and leave the terminal on an empty row without a prompt."""
        self.unfold_all()
        self._shown, self._dirty = False, True
        self.flush()

    def reopen(self) -> None:
        """After a close: back from the background, say."""
        self._shown = True
        self._measure()
        self._forget_region()

    def flush(self) -> None:
        self.unfold()
        if not (self._lines or self._dirty or self._alert):
            return
        self._measure()
        lines = self.take()
        before = self._up()
        region = self._region() if self._shown else ""
        if lines or region != self._drawn:
            shown = (self._paint.folded(head, body, self._columns) for head, body in lines)
            self._write(before + "".join(shown) + region)
        self._drawn, self._dirty = region, False
        self._ring(self._now())

    def _ring(self, now: float) -> None:
        if self._alert and now >= self._alerted + ALERT_S:
            self._write(self._terminal.notification(harmless(self._alert)))
            self._alerted = now
        self._alert = ""

    # ------------------------------------------------------------ drawing

    def _measure(self) -> None:
        columns, rows = self._size()
        columns, rows = columns or UNKNOWN_COLUMNS, rows or UNKNOWN_ROWS
        if (columns, rows) == (self._columns, self._rows):
            return
        self._columns, self._rows = columns, rows
        self._dirty = True
        self._drawn = self._drawn and "?"  # what it looks like by now, nobody knows

    def _forget_region(self) -> None:
        self._drawn, self._dirty = "", True

    def _up(self) -> str:
        """To the start of the region, and it is gone."""
        row, before = self._cursor if self._drawn else (0, 0)
        if self._drawn and self._terminal.reflows:
            # It has wrapped the rows that no longer fit; the cursor stays in its cell.
            above = [*self._region_rows[:row], self._region_rows[row][: before + 1]]
            row = sum(wrapped_rows(one, self._columns) for one in above) - 1
        # All but the first row from its second cell on: what is erased from the very first one
        # on, tmux keeps as scrolled off, and it is the region. Then that row, for which a
        # terminal may remember that it goes on in the next.
        return "\r" + (f"\x1b[{row}A" if row else "") + " \x1b[J\r\x1b[K"

    def _region(self) -> str:
        head = self._head()
        room = max(1, min(PROMPT_ROWS, self._rows // 2))
        view = self._editor.view(self._columns, room, cells_of(head.plain))
        indent = self._text("  " if self._columns > 2 else "")
        rows = [
            (head if index == 0 and not view.above else indent) + row
            for index, row in enumerate(view.rows)
        ]
        start = (head if view.cursor_row == 0 and not view.above else indent) + view.before
        above = self._above(view)
        row = len(above) + view.cursor_row
        everything = [*above, *rows]
        if start.plain == everything[row].plain:
            # Behind the last cell written, each terminal that wraps rows anew puts it elsewhere.
            everything[row] += " "
        self._region_rows = [one.plain for one in everything]
        self._cursor = (row, len(start.plain))
        drawn = "\n".join(map(self._paint.text, everything))
        back = len(everything) - 1 - row
        up = f"\x1b[{back}A" if back else ""
        return f"\x1b[?7l{drawn}{up}\r{self._paint.text(start)}\x1b[?7h"

    def _head(self) -> Text:
        head = self._text()
        if self._columns >= NARROW_COLUMNS:
            name = short_name(self._name, min(NAME_CELLS, self._columns // 3))
            head.append((name or "(no name)") + " ", "bold")
        return head.append("› ", "bold")

    def _above(self, view: View) -> list[Text]:
        """The row above the prompt: what the editor has to say, or else the status."""
        hint = self._editor.hint()
        room = self._columns - 1
        if hint is not None:
            return [self._hint(hint, room)]
        if self._rows < STATUS_ROWS or self._columns < NARROW_COLUMNS or self._status is None:
            return []
        hidden = view.above + view.below
        parts = [f"{hidden} more rows" if hidden > 1 else "1 more row"] if hidden else []
        text = harmless(" · ".join([*parts, *self._status.parts()]))
        if cells_of(text) > room:
            text = first_cells(text, room - 1) + "…"
        return [self._text(text, "dim")]

    def _hint(self, hint: Hint, room: int) -> Text:
        said = harmless(hint.text)
        if cells_of(said) > room > HINT_END and said.endswith("]"):  # what may be answered stays
            said = f"{first_cells(said, room - HINT_END - 1)}…{said[-HINT_END:]}"
        line = self._text().append(first_cells(said, room), "bold")
        used = line.cell_len
        # So many before the chosen one that it is in sight.
        for index in range(self._first_choice(hint, room - used), len(hint.choices)):
            shown = harmless(hint.choices[index].strip())
            gap = " " * bool(used)
            if used + cells_of(shown) + len(gap) > room:
                line.append(first_cells(gap + "…", room - used), "dim")
                break
            line.append(gap).append(shown, "reverse" if index == hint.chosen else "")
            used += cells_of(shown) + len(gap)
        return line

    def _first_choice(self, hint: Hint, room: int) -> int:
        first = used = 0
        for index in range(hint.chosen + 1):
            width = cells_of(harmless(hint.choices[index].strip())) + 1
            used += width
            if used + 2 > room:
                first, used = index, width
        return first
