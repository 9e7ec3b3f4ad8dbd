"""The backlog of a link: the logs of which the far end lacks entries, and whose turn it is.

An entry can be shown once all that its author had seen is there. So logs are sent *in step*,
not one after the other: next is the log whose next entry was placed here first, and a run goes no
further than its *window*, a span of so many entries that were placed here one after another. In
any other order all arrives as well, but waits at the far end, which costs that much more.

Where several send to one, each has a *share* of the logs, and sends that first: or all would send
the same, before it can be said what has come. But nobody gets further ahead of the others than the
far end can hold: then it helps with theirs.

Lives here: the order of logs. Never here: what the far end has, sending (mesh.py), entries.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from hashlib import sha256

import protocol
from protocol import Log

# So many entries of each log go into a window, as long as the far end can hold of a window what
# waits: 16,384 typed lines are 5 MB, and half of them wait.
MAX_WINDOW = 16_384
# So far our share may be ahead of those of others, as far as the far end has told what it has: two
# runs of each log, and no more than the far end can hold.
MAX_AHEAD_OF_ONE = 2 * protocol.MAX_RUN
MAX_AHEAD = MAX_WINDOW // 2
# How many logs are asked for where they stand before something is sent: one takes 10 µs.
MAX_FINDS = 32
_UNKNOWN = (True, 0)


class Backlog:
    """Logs, and where the next entry to send of each stands, as far as that is known."""

    def __init__(self) -> None:
        # Whether it is our share, and the number of its next entry.
        self._logs: dict[Log, tuple[bool, int]] = {}
        self._unknown: dict[Log, None] = {}
        # Numbers and logs, of our share and of the others: heaps, of which some may be out of date.
        self._turns: dict[bool, list[tuple[int, Log]]] = {True: [], False: []}
        self._finds = 0  # since something was sent

    def __len__(self) -> int:
        return len(self._logs)

    def __iter__(self) -> Iterator[Log]:
        return iter(self._logs)

    def add(self, log: Log) -> None:
        if log not in self._logs:
            self._logs[log] = _UNKNOWN
            self._unknown[log] = None

    def moved(self, log: Log) -> None:
        """Its next entry is another one than was told, since somebody else has sent some."""
        if log in self._logs:
            self._logs[log] = _UNKNOWN
            self._unknown[log] = None

    def drop(self, log: Log) -> None:
        self._logs.pop(log, None)
        self._unknown.pop(log, None)

    def stands(self, log: Log, number: int, *, is_ours: bool = True) -> None:
        """The next entry of `log` was placed as `number`: 1, 2, 3, ... `is_ours`: our share."""
        if log not in self._logs:
            return
        self._unknown.pop(log, None)
        self._logs[log] = (is_ours, number)
        turns = self._turns[is_ours]
        heapq.heappush(turns, (number, log))
        if len(turns) > 2 * len(self._logs) + MAX_FINDS:  # of logs that were dropped
            known = self._logs.items()
            turns[:] = sorted((at, each) for each, (ours, at) in known if at and ours == is_ours)

    def next(self) -> tuple[Log, bool]:
        """Whose turn it is; and whether where it stands has to be found out before."""
        if len(self._logs) == 1:
            return next(iter(self._logs)), False
        if self._unknown and self._finds < MAX_FINDS:
            self._finds += 1
            return next(iter(self._unknown)), True
        self._finds = 0
        ours, others = self._first(True), self._first(False)
        ahead = min(len(self._logs) * MAX_AHEAD_OF_ONE, MAX_AHEAD)
        if ours and (not others or ours[0] <= others[0] + ahead):
            return ours[1], False
        return others[1] if others else next(iter(self._unknown)), False

    def _first(self, is_ours: bool) -> tuple[int, Log] | None:
        turns = self._turns[is_ours]
        while turns and self._logs.get(turns[0][1]) != (is_ours, turns[0][0]):
            heapq.heappop(turns)
        return turns[0] if turns else None

    @property
    def window(self) -> int:
        """See the header. 0: there is only one log, so nothing has to be in step."""
        logs = len(self._logs)
        return min(logs * protocol.MAX_RUN, MAX_WINDOW) if logs > 1 else 0


def is_share(log: Log, me: bytes, senders: Collection[bytes]) -> bool:
    """Whether of all `senders` (members) to one, `me` has the log in its share: its author, or
    else, as each of them finds, one of them by chance."""
    author = log[: protocol.MEMBER_BYTES]
    if author == me or author in senders:
        return author == me
    mine = sha256(me + log).digest()
    return all(mine <= sha256(sender + log).digest() for sender in senders)
