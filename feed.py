"""The feed: posts on their way to an output that may stand still.

    newly placed entries --> Feed --> messages, as many as a turn may show

The journal is the queue: what can't be shown now stays there, and the feed knows up to where the
output has everything. So a reader that stands still costs little, and misses nothing. (What would
be shown in the next turns waits in memory, or a flood would be read again as it comes.)

Lives here: how much a turn shows. Never here: how it looks, what hides a post.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from journal import Journal
from output import Message, Posts
from protocol import Entry

# What waits in memory, and twice over: a turn of a flood.
WAITING_BYTES = 256 * 1024
# Entries read at once for an output that is behind: full ones are half a megabyte.
SHOW_ENTRIES = 8
# Entries are unpacked as many at once as have so many bytes.
UNPACK_BYTES = 32 * 1024
# Text and names shown in a turn (characters; JSON may need six bytes for one), and what a
# message costs beside them. A screen draws that much in 13 ms, and a turn has 20.
SHOW_BYTES = 32 * 1024
MESSAGE_BYTES = 128


NOTHING_BYTES = 32  # an entry with nothing to show takes a quarter of the time of one with a post
# Of clean text that a quick output shows this counts as one: 512 KiB of it cost 2 ms.
CLEAN = 16


def bytes_of(message: Message) -> int:
    return len(message.text) + len(message.name) + MESSAGE_BYTES


class Feed:
    """What there is to show, from where the journal's placed entries end at the start."""

    def __init__(
        self,
        journal: Journal,
        *,
        is_full: Callable[[], bool],
        are_history: Callable[[Sequence[Entry]], list[bool]],
        unpack: Callable[[Sequence[tuple[Entry, bool]]], list[Posts]],
        show: Callable[[Sequence[Posts]], None],
        is_quick: bool,
    ) -> None:
        """`is_full`: whether the output stands still. `unpack`: the posts in entries, each of which
        is history or not. `is_quick`: see Output."""
        self._journal = journal
        self._is_full, self._are_history = is_full, are_history
        self._is_quick = is_quick
        self._unpack, self._show = unpack, show
        # Of the placed entries, by their numbers: all that there are; those that are shown, or wait
        # here to be.
        self._placed = self._taken = journal.placed_count
        self._waiting: deque[tuple[Entry, bool]] = deque()
        self._waiting_bytes = 0
        self._posts: deque[Posts] = deque()  # of the entries before those, still to be shown
        self._room = SHOW_BYTES

    @property
    def behind(self) -> bool:
        """Whether there is something that could not be shown yet."""
        return self._taken < self._placed or bool(self._waiting or self._posts)

    def feed(self, entries: Sequence[Entry], history: Sequence[bool]) -> None:
        """Entries, in the order in which the journal has placed them just now."""
        follow = self._taken == self._placed
        self._placed += len(entries)
        if follow and self._waiting_bytes < WAITING_BYTES:
            self._take(entries, history)
        self._show_waiting()

    def turn(self) -> None:
        """To be called once a turn: shows what an output that stood still, or a turn that was
        full, left out."""
        self._room = SHOW_BYTES
        self._show_waiting()
        while self._taken < self._placed and self._room > 0 and not self._is_full():
            entries = self._journal.placed_after(self._taken, SHOW_ENTRIES)
            self._take(entries, self._are_history(entries))
            self._show_waiting()

    def _take(self, entries: Sequence[Entry], history: Sequence[bool]) -> None:
        self._taken += len(entries)
        self._waiting.extend(zip(entries, history, strict=True))
        self._waiting_bytes += sum([len(entry.raw) for entry in entries])

    def _show_waiting(self) -> None:
        """As much as this turn may. All of it goes through each step at once: to take each post
        through all of them takes twice the time, 3 us for who catches up."""
        if self._is_full():
            return
        shown: list[Posts] = []
        while self._room > 0 and (self._posts or self._waiting):
            if not self._posts:
                self._unpack_some()
            if self._is_quick:
                shown += self._all_that_are_clean()
            if self._posts and self._room > 0:
                shown.append(self._first_that_fits())
        if shown:
            self._show(shown)

    def _unpack_some(self) -> None:
        entries: list[tuple[Entry, bool]] = []
        room = UNPACK_BYTES
        while self._waiting and room > 0:
            entries.append(self._waiting.popleft())
            room -= len(entries[-1][0].raw)
        self._waiting_bytes -= UNPACK_BYTES - room
        found = self._unpack(entries)
        self._room -= NOTHING_BYTES * (len(entries) - len(found))
        self._posts.extend(found)

    def _all_that_are_clean(self) -> list[Posts]:
        """Of what is unpacked; if it is all clean, and so not worth to be cut."""
        sizes = [
            len(clean) + (len(name) + MESSAGE_BYTES) * total
            for _, _, _, total, clean, _, _, name, _, _, _, _ in self._posts
            if clean is not None
        ]
        if len(sizes) < len(self._posts):
            return []
        self._room -= sum(sizes) // CLEAN
        posts, self._posts = self._posts, deque()
        return [*posts]

    def _first_that_fits(self) -> Posts:
        """The next posts that there is room for, one at least."""
        posts = self._posts.popleft()
        each = len(posts.name) + MESSAGE_BYTES
        if self._is_quick and posts.clean is not None:
            self._room -= (len(posts.clean) + each * posts.total) // CLEAN
            return posts
        for count, text in enumerate(posts.texts, 1):
            self._room -= len(text) + each
            if self._room <= 0 and count < posts.total:
                self._posts.appendleft(posts.part(count, posts.total))
                return posts.part(0, count)
        return posts
