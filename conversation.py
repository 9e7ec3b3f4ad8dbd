"""The conversation: what happens in a room, as lines of rich text for one person to read.

    events --> message, link, notice, ... --> take() --> lines, to be folded and painted (paint.py)

Folded are: what was said while one was away, and crowds that come or go. Then `deadline` says
when to call `unfold` at the latest, and `take` once more.

Lives here: which lines there are. Never here: a terminal and what it is told, clocks (times are
handed in), peers, the styles of a post (look.py). rich is imported only when a Conversation is
made, because every start would pay for it otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

from output import LocalTime, Message, Readable
from text import Names, cells_of, harmless

NARROW_COLUMNS = 20  # "HH:MM:SS " and a word no longer fit beside one another
# What was said while one was away is shown once nothing more of it came for so long: a round
# trip and a turn of a slow link.
AWAY_S = 0.3
AWAY_WHOLE = 20  # so many are shown, and not folded: about a screenful, as at a start
AWAY_LAST = 10  # of more than those, so many: what the conversation is about now
# Of who comes and goes so many are shown one by one in so long; of the others it is told
# together, so much later: people who meet come within a second or two.
LINKS_ALONE = 3
LINKS_ALONE_S = 10.0
LINKS_TOGETHER_S = 2.0
LINKS_NAMED = 3  # of those so many by name
GAP = 2  # cells between the columns of a table
FOLDED_CELLS = 24  # a column narrower than a few words is no column

Line = tuple["Text", "Text"]  # what stands before it, in its first row alone; and the line


class Conversation(Readable):
    """A conversation as one person sees it."""

    def __init__(
        self,
        columns: int,
        local_time: LocalTime,
        names: Names,
        today: date,
        name: str,
        now: Callable[[], float],
        *,
        few_colours: bool,
        links: bool,
    ) -> None:
        """`columns`: of the rows that it will be folded to. `name`: the person's. `few_colours`:
        there are no more than 16. `links`: whether the terminal can do with them (OSC 8)."""
        super().__init__(local_time, names)
        from rich.text import Text

        import look

        self._text, self._columns, self._now = Text, columns, now
        self._look = look.Look(names, name, colours=not few_colours, links=links)
        self._day = today  # of the newest post shown; older history begins with its date
        self._lines: list[Line] = []
        self._away: deque[Message] = deque(maxlen=AWAY_WHOLE)  # the last of _away_count
        self._away_count = self._away_mentions = 0
        self._away_until = 0.0
        # Labels, to be told together, each once.
        self._links: dict[str, dict[str, None]] = {"up": {}, "down": {}}
        self._links_until = 0.0
        self._alone: deque[float] = deque(maxlen=LINKS_ALONE)  # when one was told alone

    # ------------------------------------------------------------ what there is to show

    def message(self, message: Message) -> None:
        if message.history:
            self._away.append(message)
            self._away_count += 1
            self._away_mentions += self._look.mentions(message.text)
            self._away_until = self._now() + AWAY_S
        else:
            self._unfold_away()
            self._post(message)

    def recalled(self, messages: Sequence[Message], found: Sequence[str] = ()) -> None:
        self._unfold_away()
        for message in messages:
            self._post(message, found)

    def _post(self, message: Message, found: Sequence[str] = ()) -> None:
        when = self._clock.when(message.time_ms // 1000)
        self._separate_days(when.date())
        clock = f"{when:%H:%M:%S} " if self._columns >= NARROW_COLUMNS else ""
        line = self._look.post(
            message.name,
            message.id,
            message.text,
            own=message.own,
            private=message.private,
            found=found,
            past=message.history,
        )
        self._lines.append((self._text().append(clock, "dim"), line))

    def _separate_days(self, day: date) -> None:
        if day != self._day:
            year = f" {day.year}" if day.year != self._day.year else ""
            self._day = day
            self._rule(f"{day:%A} {day.day} {day:%B}{year}")

    def _rule(self, text: str) -> None:
        self._add("", f"── {text} ──", "dim")

    def _add(self, sign: str, text: str, style: str) -> None:
        shown = harmless(text, multiline=True)
        self._lines.append((self._text().append(sign, style), self._text().append(shown, style)))

    def _unfold_away(self) -> None:
        """Shows what was said while one was away: if that was much, the last of it."""
        count, mentions = self._away_count, self._away_mentions
        self._away_count = self._away_mentions = 0
        if not count:
            return
        away = list(self._away)
        self._away.clear()
        what = (f"{count:,} posts" if count > 1 else "one post") + " while you were away"
        if mentions:
            what += f" ({mentions:,} to you)"
        if count > AWAY_WHOLE:
            away = away[-AWAY_LAST:]
            what += f"; /history {count} shows all"
        self._rule(what)
        for message in away:
            self._post(message)

    def ready(self, id: str, name: str, address: str, room: str) -> None:
        self._rename(name)
        super().ready(id, name, address, room)

    def renamed(self, id: str, name: str) -> None:
        self._rename(name)
        super().renamed(id, name)

    def _rename(self, name: str) -> None:
        self._look.rename(name)

    def link(self, state: str, id: str, name: str, address: str, reason: str | None = None) -> None:
        now = self._now()
        alone = len(self._alone) < LINKS_ALONE or now >= self._alone[0] + LINKS_ALONE_S
        together = self._links["up"] or self._links["down"]
        if alone and not together:
            self._alone.append(now)
            text = self._link_text(state, id, name, address, reason)
            self._add("→ " if state == "up" else "← ", text, "dim")
            return
        if not together:
            self._links_until = now + LINKS_TOGETHER_S
        self._links[state][self._names.label_of(name, id)] = None

    def _tell_links(self) -> None:
        for state, sign, verb in (("up", "→ ", "joined"), ("down", "← ", "left")):
            labels = list(self._links[state])
            if labels:
                named = ", ".join(labels[:LINKS_NAMED])
                more = len(labels) - LINKS_NAMED
                who = f"{named} and {more} more" if more > 0 else named
                self._add(sign, f"{who} {verb}", "dim")
                self._links[state].clear()

    def notice(self, text: str) -> None:
        self._add("· ", text, "dim")

    def warning(self, text: str) -> None:
        self._add("!! ", text, "bold red")

    def error(self, text: str) -> None:
        self._add("! ", text, "red")

    def info(self, lines: list[str]) -> None:
        for line in lines:
            self._add("", line, "")

    def table(self, headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """In columns, the last of which may be folded; where these do not fit side by side, each
        row as a few lines."""
        shown = [[harmless(cell) for cell in row] for row in (headers, *rows)]
        *widths, last = (max(map(cells_of, column)) for column in zip(*shown, strict=True))
        room = self._columns - sum(widths) - GAP * len(widths)
        if room < min(last, FOLDED_CELLS):
            self._records(shown)
            return
        for index, (*cells, folded) in enumerate(shown):
            padded = (
                cell + " " * (width - cells_of(cell) + GAP)
                for cell, width in zip(cells, widths, strict=True)
            )
            style = "" if index else "dim"
            head, body = self._text().append("".join(padded), style), self._text()
            self._lines.append((head, body.append(folded, style)))

    def figure(self, lines: list[str], instead: str) -> None:
        # Of a wider row the end would come below it, indented by as much (see paint.py).
        if max(map(cells_of, lines), default=0) > self._columns - GAP:
            self.notice(instead)
            return
        import look

        for line in lines:
            self._lines.append((self._text(), look.figure(harmless(line))))

    def _records(self, shown: list[list[str]]) -> None:
        headers, *rows = shown
        for row in rows:
            self._add("", row[0], "bold")
            for header, cell in zip(headers[1:], row[1:], strict=True):
                head = f"  {header}: " if len(headers) > 2 else "  "
                self._lines.append((self._text().append(head, "dim"), self._text(cell)))

    # ------------------------------------------------------------ what is shown when

    def deadline(self) -> float | None:
        """When to unfold, though nothing more happens."""
        times = [self._away_until] if self._away_count else []
        if self._links["up"] or self._links["down"]:
            times.append(self._links_until)
        return min(times, default=None)

    def unfold(self) -> None:
        """Shows what was folded, as far as its time has come."""
        now = self._now()
        if self._away_count and now >= self._away_until:
            self._unfold_away()
        if now >= self._links_until:
            self._tell_links()

    def unfold_all(self) -> None:
        """Shows all that was folded: nothing more will come."""
        self._unfold_away()
        self._tell_links()

    def take(self) -> list[Line]:
        """The lines that came since."""
        lines, self._lines = self._lines, []
        return lines

    def drop(self) -> None:
        """Forgets what was not taken yet."""
        self._lines.clear()
        self._away.clear()
        self._away_count = self._away_mentions = 0
