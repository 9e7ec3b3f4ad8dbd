"""A window of the demo: what one member sees, made of what their process reports.

The conversation is that of the real screen (conversation.py), folded anew for each picture, so
that it fits terminals of any size. The status and the prompt below it are drawn here as
screen.py draws them: there is no editor, but a text of which more and more is typed.

Lives here: windows and their pictures, framed for a terminal or as SVG. Never here: processes,
clocks (times are handed in), the script.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from copy import copy
from datetime import date, datetime
from typing import Any

from rich import box
from rich.color_triplet import ColorTriplet
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from conversation import Conversation, Line
from layout import Layout
from look import Look
from output import Message, Status
from paint import Paint
from status import receipt
from text import Names, cells_of, first_cells, harmless

PROMPT_ROWS = 3  # the longest post has no more where a window is 24 columns wide
KILLED = "bold color(161)"
FRAME_ROWS, FRAME_COLUMNS = 2, 2  # that the frame takes, not counting its padding
# In the picture nothing moves, so it can have its own ground, dark for any page. Rich's own is
# so light that half of the members' colours are hard to read on it.
GROUND, FOREGROUND = ColorTriplet(13, 17, 23), ColorTriplet(220, 224, 230)
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"  # what is there anyway


class Window:
    """What one member sees."""

    def __init__(self, name: str, console: Console, now: Callable[[], float]) -> None:
        """`console`: says which colours there are. `now`: the clock of the screens."""
        self.name = name
        self.typed = ""
        self.links: dict[str, str] = {}  # ids, and names
        self._now = now
        self._few_colours = console.color_system == "standard"
        self._look = Look(Names(), name, colours=not self._few_colours)
        self._paint = Paint({"TERM": "xterm-256color"})  # console makes of it what it can
        self._title = Text(name, "bold")
        self._lines: list[Line] = []  # with those that are out of sight: a script's are few
        self._killed = False
        self.open()

    def open(self) -> None:
        """A new run of selchat begins, below what there is."""
        # 0 columns: beside one another there is no room for the times of posts.
        self._conversation = Conversation(
            0, datetime.fromtimestamp, Names(), date.today(), self.name, self._now,
            few_colours=self._few_colours, links=False,
        )  # fmt: skip
        self._met: dict[str, str] = {}  # ids and names of all that were linked in this run
        self._has_last: set[str] | None = None  # who has the last post; None: there is none
        self._has_prompt = self._killed = False

    def kill(self) -> None:
        self._conversation.unfold_all()
        self.note("✗ kill -9", KILLED)
        self._has_prompt, self._killed, self.typed = False, True, ""
        self.links.clear()

    def note(self, text: str, style: str = "") -> None:
        """A line that does not come from selchat."""
        self._lines += self._conversation.take()
        self._lines.append((Text(), Text(text, style)))

    # ------------------------------------------------------------ what is reported

    def report(self, event: dict[str, Any]) -> None:
        """Takes in what the process said: one of the JSON lines (output.py)."""
        match event["event"]:
            case "ready":
                self._has_prompt = True
                self._title = self._look.who(event["name"], event["id"])
                self._conversation.ready(
                    event["id"], event["name"], event["address"], event["room"]
                )
            case "link":
                self._link(event["state"], event["id"], event["name"], event)
            case "message":
                self._message(event)
            case "confirmed":
                self._has_last = set(event["by"])
            case "notice":
                self._conversation.notice(event["text"])
            case "error":
                self._conversation.error(event["text"])

    def _link(self, state: str, id: str, name: str, event: dict[str, Any]) -> None:
        if state == "up":
            self.links[id] = self._met[id] = name
        else:
            self.links.pop(id, None)
        self._conversation.link(state, id, name, event["address"], event.get("reason"))

    def _message(self, event: dict[str, Any]) -> None:
        if event["own"]:
            self._has_last = set()
        time_s = datetime.fromisoformat(event["time"]).timestamp()
        self._conversation.message(
            Message(
                event["ref"],
                event["id"],
                event["name"],
                int(time_s * 1000),
                event["text"],
                event["history"],
                event["own"],
            )
        )

    def is_settled(self) -> bool:
        """Whether nothing is folded, and all who are linked have what was said last."""
        has_last = self._has_last is None or self._has_last >= self.links.keys()
        return has_last and self._conversation.deadline() is None

    def deadline(self) -> float | None:
        """When to unfold, though nothing more happens."""
        return self._conversation.deadline()

    def unfold(self) -> None:
        self._conversation.unfold()

    # ------------------------------------------------------------ its picture

    def rows(self, columns: int, rows: int | None = None) -> list[Text]:
        """The newest that fits into so many rows; empty ones fill them. None: all of it."""
        self._lines += self._conversation.take()
        below = [self._status(columns - 1), *self._prompt(columns)] if self._has_prompt else []
        painted = "".join(self._paint.folded(head, body, columns) for head, body in self._lines)
        shown = [Text.from_ansi(row) for row in painted.split("\n")[:-1]] + below
        for row in shown:
            row.truncate(columns)  # the prompt's head may be wider
        if rows is None:
            return shown
        return shown[-rows:] + [Text()] * (rows - len(shown))

    def _status(self, room: int) -> Text:
        """All are in one room, so its name can be left out, and the receipt fits."""
        last = ""
        if self._has_last is not None:
            missing = [name for id, name in self._met.items() if id not in self._has_last]
            names = harmless(", ".join(missing))
            last = receipt(len(self._has_last), len(missing), names, bool(self.links))
        text = " · ".join(Status("", len(self.links), receipt=last).parts())
        return Text(text if cells_of(text) <= room else first_cells(text, room - 1) + "…", "dim")

    def _prompt(self, columns: int) -> list[Text]:
        head = Text().append(f"{self.name} › ", "bold")
        at, cells = len(self.typed), cells_of(head.plain)
        view = Layout().view(self.typed, at, columns, PROMPT_ROWS, cells)
        rows = [Text("  ") + Text(row) for row in view.rows]
        if not view.above:
            rows[0] = head + Text(view.rows[0])
        rows[-1].append(" ", "reverse")  # the cursor
        return rows

    def framed(self, columns: int, rows: int, padding: int) -> RenderableType:
        """So many columns and rows, with the frame."""
        inside = columns - FRAME_COLUMNS - 2 * padding
        shown = self.rows(inside, max(rows - FRAME_ROWS, 1))
        return Panel(
            Group(*shown),
            box.ROUNDED,
            title=Text.assemble(" ", self._title, " ", style="not dim"),
            border_style=KILLED if self._killed else "dim",
            padding=(0, padding),
        )

    def ruled(self, columns: int, rows: int | None) -> RenderableType:
        """Below a line, which costs less room than a frame."""
        border = KILLED if self._killed else "dim"
        shown = self.rows(columns, rows and rows - 1)
        return Group(Rule(self._title, style=border, align="left"), *shown)

    def svg(self, columns: int, rows: int) -> tuple[int, int, str]:
        """Width and height in pixels, and an SVG that fetches nothing from elsewhere."""
        console = Console(
            record=True, width=columns, file=io.StringIO(), force_terminal=True,
            color_system="256", _environ={},
        )  # fmt: skip
        for row in self.rows(columns, rows):
            console.print(row, no_wrap=True)
        theme = copy(SVG_EXPORT_THEME)
        theme.background_color, theme.foreground_color = GROUND, FOREGROUND
        svg = console.export_svg(title=self.name, theme=theme, unique_id=self.name)
        svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
        svg = svg.replace("Fira Code, monospace", FONT)
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert size
        return round(float(size[1])), round(float(size[2])), svg
