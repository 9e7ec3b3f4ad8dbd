"""The outputs: events to text that is safe to show.

    events --> JsonOutput | PlainOutput | Screen (screen.py) --> one write a turn, in flush()

Nothing that came from the network reaches a terminal without having passed `harmless()`
(text.py).

Lives here: what all outputs have in common, and the two that need no terminal. Never here:
clocks (times are handed in), threads, peers, any import of another module of selchat but
text, rich (every start would pay for it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Protocol

from records import Record
from text import Names, cells_of, harmless, label

Write = Callable[[str], None]
LocalTime = Callable[[int], datetime]  # seconds since 1970 to local time: fromtimestamp

LAST_S = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that datetime can show
DAY_S = 86_400  # no time zone is further from UTC than this


class Message(Record):
    """A post to be shown."""

    ref: str
    id: str  # the author's
    name: str
    time_ms: int  # since 1970, UTC, by the author's clock: it may be absurd
    text: str
    history: bool
    own: bool
    private: bool = False


class Posts(Record):
    """What an entry has its author say, or a part of that: one post or many, which an output that
    can shows as one thing."""

    log: bytes  # of the entry
    seq: int
    first: int  # the number in the entry of the first post here
    total: int  # of posts here
    clean: str | None  # their texts, one a line, if all are printable ASCII
    others: list[str]  # their texts, if not
    id: str
    name: str
    time_ms: int
    history: bool
    own: bool
    private: bool = False

    @property
    def texts(self) -> list[str]:
        return self.others if self.clean is None else self.clean.split("\n")

    @property
    def refs(self) -> list[str]:
        """One name for each post, the same on every member."""
        start = f"{self.log[:8].hex()}-{self.log[32:].hex()}-{self.seq}"
        return [f"{start}-{number}" for number in range(self.first, self.first + self.total)]

    def messages(self) -> list[Message]:
        return [
            Message(ref, self.id, self.name, self.time_ms, text, self.history, self.own)
            for ref, text in zip(self.refs, self.texts, strict=True)
        ]

    def part(self, start: int, stop: int) -> Posts:
        """Those from number `start` of these up to before `stop`."""
        texts = self.texts[start:stop]
        clean, others = (None, texts) if self.clean is None else ("\n".join(texts), [])
        first, total = self.first + start, stop - start
        return self.but(first=first, total=total, clean=clean, others=others)


class Status(Record):
    """How things stand, for one line. Names as they are shown."""

    room: str
    linked: int
    behind: str = ""  # linked members who do not have all that we have
    doing: str = ""
    receipt: str = ""  # of the newest post of one's own

    def parts(self) -> list[str]:
        """In the order of what people want to know first: what is cut off is the last."""
        linked = f"{self.linked} linked" if self.linked else "linked to nobody"
        behind = f"behind: {self.behind}" if self.behind else ""
        return [part for part in (self.room, linked, self.doing, self.receipt, behind) if part]


class Output(Protocol):
    """Where events are shown. All of one turn is written by one call of `flush`."""

    is_quick: bool  # with posts that are clean: they cost it little more than their bytes

    def ready(self, id: str, name: str, address: str, room: str) -> None: ...
    def link(
        self, state: str, id: str, name: str, address: str, reason: str | None = None
    ) -> None: ...
    def posts(self, many: Sequence[Posts]) -> None: ...
    def message(self, message: Message) -> None: ...
    def recalled(self, messages: Sequence[Message], found: Sequence[str] = ()) -> None:
        """Posts that were asked for; `found`: the words that were searched for."""

    def confirmed(self, ref: str, by: list[str]) -> None: ...
    def table(self, headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None: ...
    def figure(self, lines: list[str], instead: str) -> None:
        """A picture made of lines, which may not be folded; `instead`: what is said where it
        would be, and does not fit. For eyes alone: who has no screen is told nothing."""

    def renamed(self, id: str, name: str) -> None: ...
    def status(self, status: Status) -> None: ...
    def clear(self) -> None: ...
    def notice(self, text: str) -> None: ...
    def warning(self, text: str) -> None:
        """A notice that nobody should overlook."""

    def error(self, text: str) -> None: ...
    def info(self, lines: list[str]) -> None: ...
    def bye(self, reason: str) -> None: ...
    def drop(self) -> None: ...
    def flush(self) -> None: ...


# Of seconds: to format one takes 0.2 us, and who catches up does it for each post.
_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))


class Clock:
    """Times as text. Posts come in bursts, so the text of the last minute is kept: to format each
    takes 1 us."""

    def __init__(self, convert: LocalTime, layout: str, margin_s: int) -> None:
        """`layout`: for strftime; with the seconds at its end."""
        self._convert, self._margin_s = convert, margin_s
        self._layout = layout.removesuffix("%S")
        self._minute: int | None = None  # of which the text is kept
        self._text = ""

    def when(self, second: int) -> datetime:
        return self._convert(min(max(second, self._margin_s), LAST_S - self._margin_s))

    def text(self, second: int) -> str:
        minute, within = divmod(second, 60)
        if minute == self._minute:
            return self._text + _TWO_DIGITS[within]
        time = self.when(second)
        self._text = time.strftime(self._layout)
        # Before 1972 local time could be some seconds off; and what is out of reach stands still.
        is_near = self._margin_s <= second <= LAST_S - self._margin_s
        self._minute = minute if is_near and time.second == within else None
        return self._text + _TWO_DIGITS[time.second]


def table_lines(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A table as lines: harmless cells below one another, each column as wide as its widest."""
    shown = [[harmless(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(cells_of, column)) for column in zip(*shown, strict=True)]
    padded = (
        (cell + " " * (width - cells_of(cell)) for cell, width in zip(row, widths, strict=True))
        for row in shown
    )
    return ["  ".join(row).rstrip() for row in padded]


def _utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


class JsonOutput:
    """One JSON object a line: the contract's events."""

    is_quick = True

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines: list[str] = []
        self._clock = Clock(_utc, "%Y-%m-%dT%H:%M:%S", 0)
        # ASCII only: no control character and no lone surrogate gets out unescaped.
        self._encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode

    def _event(self, event: str, **fields: object) -> None:
        self._lines.append(self._encode({"event": event, **fields}))

    def ready(self, id: str, name: str, address: str, room: str) -> None:
        self._event("ready", id=id, name=name, address=address, room=room)

    def link(self, state: str, id: str, name: str, address: str, reason: str | None = None) -> None:
        down = {} if state == "up" else {"reason": reason or ""}
        self._event("link", state=state, id=id, name=name, address=address, **down)

    def posts(self, many: Sequence[Posts]) -> None:
        for posts in many:
            self._say(posts.refs, posts.texts, posts)

    def message(self, message: Message) -> None:
        self._say([message.ref], [message.text], message)

    def _say(self, refs: list[str], texts: list[str], said: Posts | Message) -> None:
        """A line for each: what they have in common is encoded once. (Each as a whole: 6 us.)"""
        encode, quote = self._encode, encode_basestring_ascii
        time_ms = min(max(said.time_ms, 0), LAST_S * 1000 + 999)
        time = f"{self._clock.text(time_ms // 1000)}.{time_ms % 1000:03}Z"
        who = f'"id":{encode(said.id)},"name":{encode(said.name)},"time":"{time}"'
        how = encode({"history": said.history, "own": said.own, "private": said.private})[1:]
        self._lines += [
            f'{{"event":"message","ref":{quote(ref)},{who},"text":{quote(text)},{how}'
            for ref, text in zip(refs, texts, strict=True)
        ]

    def recalled(self, messages: Sequence[Message], found: Sequence[str] = ()) -> None:
        for message in messages:
            self.message(message)

    def confirmed(self, ref: str, by: list[str]) -> None:
        self._event("confirmed", ref=ref, by=by)

    def notice(self, text: str) -> None:
        self._event("notice", text=text)

    def warning(self, text: str) -> None:
        self._event("notice", text=text, loud=True)

    def error(self, text: str) -> None:
        self._event("error", text=text)

    def info(self, lines: list[str]) -> None:
        self.notice("\n".join(lines))

    def table(self, headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        self.info(table_lines(headers, rows))

    def figure(self, lines: list[str], instead: str) -> None:
        """Nothing: no program looks at pictures."""

    def renamed(self, id: str, name: str) -> None:
        self.notice(f"you are called {label(name, id)} now")

    def status(self, status: Status) -> None:
        """Nothing: it is made of what was told before."""

    def clear(self) -> None:
        """Nothing: what is written is written."""

    def bye(self, reason: str) -> None:
        self._event("bye", reason=reason)

    def drop(self) -> None:
        """Forgets what was not flushed yet."""
        self._lines.clear()

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("\n".join(lines) + "\n")


class Readable:
    """What the two outputs for people say in the same words."""

    is_quick = False

    def __init__(self, local_time: LocalTime, names: Names) -> None:
        self._names = names
        self._clock = Clock(local_time, "%H:%M:%S", DAY_S)

    def notice(self, text: str) -> None:
        raise NotImplementedError

    def message(self, message: Message) -> None:
        raise NotImplementedError

    def posts(self, many: Sequence[Posts]) -> None:
        for posts in many:
            for message in posts.messages():
                self.message(message)

    def ready(self, id: str, name: str, address: str, room: str) -> None:
        self.notice(f"listening on {address} as {self._names.label_of(name, id)} (id {id[:8]})")

    def link(self, state: str, id: str, name: str, address: str, reason: str | None = None) -> None:
        self.notice(self._link_text(state, id, name, address, reason))

    def _link_text(self, state: str, id: str, name: str, address: str, reason: str | None) -> str:
        who = self._names.label_of(name, id)
        if state == "up":
            return f"{who} joined ({address})"
        return f"{who} left: {reason}" if reason else f"{who} left"

    def renamed(self, id: str, name: str) -> None:
        self.notice(f"you are called {self._names.label_of(name, id)} now")

    def confirmed(self, ref: str, by: list[str]) -> None:
        """Nothing: people ask for receipts when they want to know."""

    def status(self, status: Status) -> None:
        """Nothing: only a screen has a place for it."""

    def clear(self) -> None:
        """Nothing: what is written is written."""

    def bye(self, reason: str) -> None:
        if reason:
            self.notice(reason)


class Signs(Record):
    """What lines of each kind begin with on stderr."""

    notice: str
    warning: str
    error: str
    info: str


STDERR_SIGNS = Signs("selchat: ", "selchat: WARNING: ", "selchat: ", "")
# The journal of systemd takes the number for a priority (sd-daemon(3)), and adds the name.
JOURNAL_SIGNS = Signs(notice="<6>", warning="<4>", error="<3>", info="<6>")


class PlainOutput(Readable):
    """Posts on stdout, all else on stderr, for pipes and for terminals that can't do more."""

    is_quick = True

    def __init__(
        self,
        write: Write,
        write_error: Write,
        local_time: LocalTime,
        names: Names,
        signs: Signs = STDERR_SIGNS,
    ) -> None:
        """`names`: who is called what, wherever that is shown."""
        super().__init__(local_time, names)
        self._signs = signs
        self._write, self._write_error = write, write_error
        self._posts: list[str] = []
        self._notices: list[str] = []

    def posts(self, many: Sequence[Posts]) -> None:
        label_of, time_of = self._names.label_of, self._clock.text
        for posts in many:
            _, _, _, total, clean, _, id, name, time_ms, _, _, _ = posts
            if clean is None:
                super().posts((posts,))
                continue
            start = f"{time_of(time_ms // 1000)} {label_of(name, id)}: "
            if total > 1:
                clean = clean.replace("\n", f"\n{start}")
            self._posts += (start, clean, "\n")

    def message(self, message: Message) -> None:
        text = harmless(message.text, multiline=True)
        if "\n" in text:
            # Indented, so that no post can pass for two.
            text = text.replace("\n", "\n    ")
        who = self._names.label_of(message.name, message.id)
        self._posts.append(f"{self._clock.text(message.time_ms // 1000)} {who}: {text}\n")

    def notice(self, text: str) -> None:
        self._notices.append(f"{self._signs.notice}{harmless(text)}\n")

    def warning(self, text: str) -> None:
        self._notices.append(f"{self._signs.warning}{harmless(text)}\n")

    def error(self, text: str) -> None:
        self._notices.append(f"{self._signs.error}{harmless(text)}\n")

    def info(self, lines: list[str]) -> None:
        self._notices.extend(f"{self._signs.info}{harmless(line)}\n" for line in lines)

    def recalled(self, messages: Sequence[Message], found: Sequence[str] = ()) -> None:
        for message in messages:
            self.message(message)

    def table(self, headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        self.info(table_lines(headers, rows))

    def figure(self, lines: list[str], instead: str) -> None:
        """Nothing: how wide the window is, or whether there is one, nobody knows."""

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
