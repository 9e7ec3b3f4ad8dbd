"""The feed: posts on their way to an output that may stand still.

    newly placed entries --> Feed --> messages, as many as a turn may show

The journal is the queue: what can't be shown now stays there, and the feed knows up to where the
output has everything. So a reader that stands still costs nothing, and misses nothing.

Lives here: how much a turn shows. Never here: how it looks, what hides a post.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from journal import Journal
from output import Message, Posts
from protocol import Entry

# Entries read at once for an output that catches up: full ones are half a megabyte.
SHOW_ENTRIES = 8
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
        is_history: Callable[[Entry], bool],
        unpack: Callable[[Entry, bool], Posts | None],
        show: Callable[[Posts], None],
        is_quick: bool,
    ) -> None:
        """`is_full`: whether the output stands still. `unpack(entry, history)`: its posts.
        `is_quick`: see Output."""
        self._journal = journal
        self._is_full, self._is_history = is_full, is_history
        self._is_quick = is_quick
        self._unpack, self._show = unpack, show
        self._shown = journal.placed_count  # how many placed entries the output knows
        self._rest: Posts | None = None  # of the entry after those, still to be shown
        self._room = SHOW_BYTES
        self.behind = False  # there are entries after those that could not be shown

    def feed(self, entries: Iterable[Entry], history: Iterable[bool]) -> None:
        """Entries, in the order in which the journal has placed them just now."""
        for entry, past in zip(entries, history, strict=True):
            self.behind = self.behind or not self._may_show()
            if self.behind:
                return
            self._show_entry(entry, past)

    def turn(self) -> None:
        """To be called once a turn: shows what an output that stood still, or a turn that was
        full, left out."""
        self._room = SHOW_BYTES
        if not self.behind or self._is_full():
            return
        if self._rest:  # without reading what comes after it, each turn anew
            if not self._show_rest():
                return
            self._shown += 1
        self.behind = self._shown < self._journal.placed_count
        while self.behind and self._may_show():
            for entry in self._journal.placed_after(self._shown, SHOW_ENTRIES):
                self._show_entry(entry, self._is_history(entry))
                if self._rest:
                    return
            self.behind = self._shown < self._journal.placed_count

    def _may_show(self) -> bool:
        return self._room > 0 and not self._is_full()

    def _show_entry(self, entry: Entry, history: bool) -> None:
        """Shows the next entry, or as much of it as this turn may."""
        self._rest = self._unpack(entry, history)
        if self._rest is None:
            self._room -= NOTHING_BYTES
        if self._show_rest():
            self._shown += 1

    def _show_rest(self) -> bool:
        """Whether nothing is left of the entry."""
        posts = self._rest
        while posts:
            if not self._may_show():
                self.behind = True
                return False
            count, cost = self._fitting(posts)
            self._room -= cost
            if count < posts.total:
                self._show(posts.part(0, count))
                self._rest = posts = posts.part(count, posts.total)
            else:
                self._rest = None
                self._show(posts)
                return True
        return True

    def _fitting(self, posts: Posts) -> tuple[int, int]:
        """How many of them there is room for, one at least, and what these cost."""
        each = len(posts.name) + MESSAGE_BYTES
        if self._is_quick and posts.clean is not None:  # not worth to be cut
            return posts.total, (len(posts.clean) + each * posts.total) // CLEAN
        cost = 0
        for count, text in enumerate(posts.texts, 1):
            cost += len(text) + each
            if cost >= self._room:
                return count, cost
        return posts.total, cost
