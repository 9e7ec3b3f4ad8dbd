"""The archive: what was said, found again.

Everything here may take long, because a journal may hold a million posts; so it is done in
*errands* (errands.py), step by step between the turns of the loop. What is found is bounded:
it has to be held, and shown, at once.

Lives here: entries to posts, and which posts are asked for. Never here: what was typed, how
anything looks, clocks, files.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator, Sequence
from pathlib import Path

import protocol
import search
from errands import Errand
from feed import bytes_of
from journal import Journal
from output import Message, Posts
from protocol import Entry, Log, RemoteError
from records import Record
from text import is_clean, is_clean_lines

# Of all that is found at once, 40,000 lines: text and names in characters, and that.
FOUND_BYTES = 8 * 1024 * 1024


class Found(Record):
    """Posts in the room's order. `more`: there are others, older ones."""

    messages: list[Message]
    more: bool


def posts_of(entry: Entry, name: str | None, *, history: bool, own: bool) -> Posts | None:
    """The posts in an entry, with the name that its author has now; None if there are none."""
    log, seq, _, time_ms, _, kind, body, _ = entry
    clean: str | None = None
    others: list[str] = []
    try:
        if kind == protocol.LINES:
            text, total = protocol.unpack_lines(body)
            if is_clean_lines(body):
                clean = text
            else:
                others = text.split("\n")
        else:
            others = protocol.texts_in(entry)
            total = len(others)
            if is_clean("".join(others)):
                clean = "\n".join(others)
    except RemoteError:
        return None  # signed, so kept and passed on, but there is nothing in it to show
    if not total:
        return None
    id = log[: protocol.MEMBER_BYTES].hex()
    # As Posts(...) does, in a third of the time: who catches up does it for each post.
    values = (log, seq, 0, total, clean, others, id, name or "", time_ms, history, own, False)
    return tuple.__new__(Posts, values)


class Author(Record):
    """Whom entries are shown as."""

    id: str
    name: str
    own: bool


def posts_in(
    entries: Sequence[tuple[Entry, bool]], author_of: Callable[[Log], Author | None]
) -> list[Posts]:
    """The posts in entries, each of which is history or not; of authors that are None, none."""
    logs = dict.fromkeys([entry.log for entry, _ in entries])
    authors = {log: author for log in logs if (author := author_of(log)) is not None}
    lines = _typed_lines([entry for entry, _ in entries]) if len(authors) == len(logs) else None
    found: list[Posts] = []
    if lines is not None:
        new, none = tuple.__new__, list[str]()
        for (entry, history), line in zip(entries, lines, strict=True):
            log, seq, _, time_ms, _, _, _, _ = entry
            id, name, own = authors[log]
            values = (log, seq, 0, 1, line, none, id, name, time_ms, history, own, False)
            found.append(new(Posts, values))
        return found
    for entry, history in entries:
        if entry.log in authors:
            _, name, own = authors[entry.log]
            if posts := posts_of(entry, name, history=history, own=own):
                found.append(posts)
    return found


def _typed_lines(entries: Sequence[Entry]) -> list[str] | None:
    """The text of each entry, if each is one clean line, as people type them: who catches up gets
    them by the thousand, and to look at all at once takes a third of the time."""
    bodies = [entry.body for entry in entries if entry.kind == protocol.LINES]
    if len(bodies) < len(entries) or any(b"\n" in body for body in bodies):
        return None
    text = b"\n".join(bodies)
    if not is_clean_lines(text):
        return None
    return text.decode().split("\n") if entries else []


class Archive:
    """All that was said in a room, for the member `me`."""

    def __init__(
        self, journal: Journal, index_path: Path, me: bytes, hidden: Container[str] = ()
    ) -> None:
        """`hidden`: ids of members of whom nothing is shown."""
        self._journal, self._me, self._hidden = journal, me, hidden
        self._index = search.Index(index_path, journal)

    def last(
        self, posts: int, *, authors: frozenset[bytes] | None = None, since_ms: int | None = None
    ) -> Errand[Found]:
        """The last posts, of these authors, said no earlier than `since_ms`. `more` is only
        said where what was asked for is too much at once.

        It goes by the time that is shown with a post, so that a wrong clock adds or hides its
        owner's posts only. No entry comes before its own time in the room's order: that is
        where it ends."""
        earliest_ms = since_ms or 0

        def wanted(log: Log, seq: int) -> int:
            return seq if authors is None or log[: protocol.MEMBER_BYTES] in authors else 0

        entries = self._journal.in_order(newest_first=True, since_ms=earliest_ms, wanted=wanted)
        return (yield from self._newest(entries, posts, lambda m: m.time_ms >= earliest_ms))

    def search(self, words: tuple[str, ...], posts: int) -> Errand[Found]:
        """The last posts that hold all of `words` (search.words_of)."""
        parts = yield from self._index.parts(words)
        entries = self._journal.in_order(newest_first=True, wanted=parts.newest)
        found = yield from self._newest(
            entries, posts + 1, lambda message: search.holds(message.text, words)
        )
        older = max(len(found.messages) - posts, 0)
        return Found(found.messages[older:], found.more or older > 0)

    def catch_up(self) -> Errand[None]:
        """Makes the next searches quicker; to be done after one. May be stopped."""
        return (yield from self._index.catch_up())

    def all(self) -> Generator[list[Message], None, None]:
        """Everything, oldest first, by the entry; now and then nothing for a while."""
        for entry in self._journal.in_order(newest_first=False):
            yield self._messages(entry) if entry else []

    def _messages(self, entry: Entry) -> list[Message]:
        if entry.author.hex() in self._hidden:
            return []
        name = self._journal.name_of(entry.author)
        posts = posts_of(entry, name, history=True, own=entry.author == self._me)
        return posts.messages() if posts else []

    def _newest(
        self, entries: Iterator[Entry | None], posts: int, fits: Callable[[Message], bool]
    ) -> Errand[Found]:
        """As many as are asked for of those that fit, out of `entries`, newest first."""
        found: list[Message] = []
        room = FOUND_BYTES
        for entry in entries if posts > 0 else ():
            yield None
            for message in reversed(self._messages(entry)) if entry else ():
                if fits(message):
                    room -= bytes_of(message)
                    if room < 0:
                        return Found(found[::-1], more=True)
                    found.append(message)
                    if len(found) >= posts:
                        return Found(found[::-1], more=False)
        return Found(found[::-1], more=False)
