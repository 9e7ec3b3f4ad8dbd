"""The feed: posts on their way to an output that may stand still.

    newly placed entries --> Feed --> messages, as many as a turn may show

The journal is the queue: what can't be shown now stays there, and the feed knows up to where the
output has everything. So a reader that stands still costs nothing, and misses nothing.

Lives here: how much a turn shows. Never here: how it looks, what hides a post.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from journal import Journal
from output import Message
from protocol import Entry

# Entries shown in a turn to an output that catches up: full ones are half a megabyte.
SHOW_ENTRIES = 8
# Text and names shown in a turn (characters; JSON may need six bytes for one), and what a
# message costs beside them. A screen draws that much in 13 ms, and a turn has 20.
SHOW_BYTES = 32 * 1024
MESSAGE_BYTES = 128


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
        unpack: Callable[[Entry, bool], list[Message]],
        show: Callable[[Message], None],
    ) -> None:
        """`is_full`: whether the output stands still. `unpack(entry, history)`: its posts."""
        self._journal = journal
        self._is_full, self._is_history = is_full, is_history
        self._unpack, self._show = unpack, show
        self._shown = journal.placed_count  # how many placed entries the output knows
        self._rest: deque[Message] = deque()  # of the entry after those, still to be shown
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
        for entry in self._journal.placed_after(self._shown, SHOW_ENTRIES):
            self._show_entry(entry, self._is_history(entry))
            if self._rest:
                return
        self.behind = self._shown < self._journal.placed_count

    def _may_show(self) -> bool:
        return self._room > 0 and not self._is_full()

    def _show_entry(self, entry: Entry, history: bool) -> None:
        """Shows the next entry, or as much of it as this turn may."""
        if not self._rest:
            self._rest.extend(self._unpack(entry, history))
        if self._show_rest():
            self._shown += 1

    def _show_rest(self) -> bool:
        """Whether nothing is left of the entry."""
        while self._rest:
            if not self._may_show():
                self.behind = True
                return False
            message = self._rest.popleft()
            self._room -= bytes_of(message)
            self._show(message)
        return True
