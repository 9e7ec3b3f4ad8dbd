"""The export: all that was said, in a file of its own.

    .txt            as plain output, each day with a heading
    .json           a list of JSON objects, as with --json
    .jsonl          the same, one a line
    .html           a page that loads nothing from elsewhere
    .svg            a picture of the last posts

The file gets its name when it is whole and on the platter; until then there is another one
beside it, which goes again if anything goes wrong.

Lives here: how a file is written, and what is in each kind of file. Never here: which posts
there are (archive.py), questions to the user. rich and html are imported only where they are
used, because every start would pay for them otherwise.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections import deque
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from records import Record

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

from archive import Archive
from errands import Errand
from journal import sync_directory
from output import DAY_S, Clock, JsonOutput, LocalTime, Message, PlainOutput, Write
from text import Names, harmless

SVG_ROWS = 100  # of more a picture is too long to look at, and takes a turn's time to make
SVG_COLUMNS = 100
SVG_POST_ROWS = 10  # of one post: it shall not be all there is
# So much is synced in one step: at the end all at once would take seconds.
_STEP_SYNC_CHARACTERS = 256 * 1024

_PAGE_START = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ background: #ffffff; color: #000000; font-family: monospace; max-width: 100ch; }}
h2 {{ font-size: 1em; color: #555555; }}
/* A line that is folded is indented, so that no post can pass for two. */
div {{ white-space: pre-wrap; overflow-wrap: anywhere; padding-left: 4ch; text-indent: -4ch; }}
</style>
</head>
<body>
"""
_PAGE_END = "</body>\n</html>\n"


class BadFile(ValueError):
    """A file that can't be written; says why."""


class Source(Record):
    """What is exported."""

    archive: Archive
    title: str
    local_time: LocalTime


class Target(Record):
    """A file to write. `exists`: there is one of that name, which would be overwritten."""

    path: Path
    exists: bool


def target_of(text: str) -> Target:
    """The file that a person means. Raises BadFile."""
    path = Path(os.path.expanduser(text))
    if path.suffix.lower() not in _FORMATS:
        raise BadFile(f"{text}: a file to export to ends with {', '.join(_FORMATS)}")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return Target(path, exists=False)
    except OSError as error:
        raise BadFile(f"{text}: {error.strerror}") from None
    except ValueError:
        raise BadFile(f"{text}: no file has such a name") from None
    # Where a link leads may change after somebody said yes to what is there.
    if not stat.S_ISREG(mode):
        raise BadFile(f"{text} is there already, and it is no plain file; take another name")
    return Target(path, exists=True)


def write(target: Target, source: Source) -> Errand[str]:
    """Writes the file; returns what is in it. An old one is replaced if it was there when
    the target was made. Raises BadFile or OSError."""
    folder = target.path.parent
    part = folder / f".selchat-{os.urandom(8).hex()}.part"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            content = yield from _synced(file, source, _FORMATS[target.path.suffix.lower()])
        if not target.exists and os.path.lexists(target.path):
            raise BadFile(f"{target.path} was made by somebody else meanwhile; not overwritten")
        part.replace(target.path)
        sync_directory(folder)
        return content
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


_Format = Callable[[Write, Source], Errand[str]]


def _synced(file: TextIO, source: Source, write_all: _Format) -> Errand[str]:
    """Writes all of it to the file, and what was written to the platter."""
    unsynced = 0

    def put(text: str) -> None:
        nonlocal unsynced
        unsynced += len(text)
        file.write(text)

    def sync() -> None:
        nonlocal unsynced
        unsynced = 0
        file.flush()
        os.fsync(file.fileno())

    errand = write_all(put, source)
    try:
        while True:
            next(errand)
            if unsynced >= _STEP_SYNC_CHARACTERS:
                sync()
            yield None
    except StopIteration as done:
        sync()
        return str(done.value)
    finally:
        errand.close()


# ---------------------------------------------------------------- one post after another


def _write_json_lines(put: Write, source: Source) -> Errand[str]:
    output = JsonOutput(put)
    posts = 0
    for messages in source.archive.all():
        yield None
        for message in messages:
            output.message(message)
            output.flush()
            yield None
        posts += len(messages)
    return f"posts: {posts}"


def _write_json(put: Write, source: Source) -> Errand[str]:
    """The same objects, in one list."""
    separator = "[\n"

    def put_next(line: str) -> None:
        nonlocal separator
        put(separator + line.rstrip("\n"))
        separator = ",\n"

    content = yield from _write_json_lines(put_next, source)
    put("[]\n" if separator == "[\n" else "\n]\n")
    return content


def _write_text(put: Write, source: Source) -> Errand[str]:
    output = PlainOutput(put, put, source.local_time, Names())
    days = _Days(source.local_time)
    posts = 0
    for messages in source.archive.all():
        yield None
        for message in messages:
            heading = days.heading(message)
            put(f"-- {heading} --\n" if heading else "")
            output.message(message)
            output.flush()
            yield None
        posts += len(messages)
    return f"posts: {posts}"


def _write_html(put: Write, source: Source) -> Errand[str]:
    from html import escape

    lines, days = _Lines(source.local_time), _Days(source.local_time)
    posts = 0
    with open(os.devnull, "w") as nowhere:
        console = _console(nowhere)
        put(_PAGE_START.format(title=escape(harmless(source.title))))
        for messages in source.archive.all():
            yield None
            for message in messages:
                heading = days.heading(message)
                put(f"<h2>{heading}</h2>\n" if heading else "")
                console.print(lines.line(message), soft_wrap=True, end="")
                code = console.export_html(inline_styles=True, code_format="{code}")
                put(f"<div>{code}</div>\n")
                yield None
            posts += len(messages)
        put(_PAGE_END)
    return f"posts: {posts}"


def _write_svg(put: Write, source: Source) -> Errand[str]:
    """The last posts, as many as have room; of each its first rows."""
    lines, days = _Lines(source.local_time), _Days(source.local_time)
    found = yield from source.archive.last(SVG_ROWS)
    rows: deque[tuple[int, Text]] = deque(maxlen=SVG_ROWS)  # each with the number of its post
    with open(os.devnull, "w") as nowhere:
        console = _console(nowhere)
        for number, message in enumerate(found.messages):
            if heading := days.heading(message):
                rows.append((number, lines.text(f"── {heading} ──")))
            line = lines.line(message)
            line.truncate(SVG_POST_ROWS * SVG_COLUMNS, overflow="ellipsis")
            rows += [(number, row) for row in line.wrap(console, SVG_COLUMNS)[:SVG_POST_ROWS]]
            yield None
        for _, row in rows:
            console.print(row)
            yield None
    svg = console.export_svg(title=harmless(source.title), unique_id="selchat")
    # It shall load nothing from elsewhere, and some viewers drop the spaces in it.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    put(svg.replace("<svg ", '<svg xml:space="preserve" ', 1))
    return f"the last posts only: {len({number for number, _ in rows})}"


_FORMATS: dict[str, _Format] = {
    ".txt": _write_text,
    ".json": _write_json,
    ".jsonl": _write_json_lines,
    ".html": _write_html,
    ".svg": _write_svg,
}


# ---------------------------------------------------------------- how it looks


class _Days:
    """A heading wherever the day changes."""

    def __init__(self, local_time: LocalTime) -> None:
        self._clock = Clock(local_time, "", DAY_S)
        self._day: date | None = None

    def heading(self, message: Message) -> str:
        day = self._clock.when(message.time_ms // 1000).date()
        if day == self._day:
            return ""
        self._day = day
        return f"{day:%A} {day.day} {day:%B} {day.year}"


class _Lines:
    """How a post looks in a line of its own. No links: what is in them would not be escaped."""

    def __init__(self, local_time: LocalTime) -> None:
        from rich.text import Text

        from look import Look

        self.text = Text
        self._look = Look(Names(), "", links=False)
        self._clock = Clock(local_time, "%H:%M:%S", DAY_S)

    def line(self, message: Message) -> Text:
        line = self._look.post(
            message.name, message.id, message.text, own=message.own, private=message.private
        )
        return self.text(f"{self._clock.text(message.time_ms // 1000)} ").append_text(line)


def _console(nowhere: TextIO) -> Console:
    from rich.console import Console

    return Console(
        record=True,
        file=nowhere,
        width=SVG_COLUMNS,
        height=1,  # any: with both given rich does not ask the terminal
        force_terminal=True,
        force_jupyter=False,
        legacy_windows=False,
        color_system="truecolor",
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )
