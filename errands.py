"""The errands: what takes longer than a turn of the loop, done a little in each.

An errand is a generator. It does a little, about 2 ms of work, and yields: None to go on soon, or
a time (of the loop's clock) before which there is nothing for it to do. What it returns, another
errand gets by `yield from`. They are done one after the other, so their answers come in the order
in which they were asked for. One that nobody waits for is begun with nothing to say of it, and
ends as soon as there is something else to do.

Lives here: whose turn it is. Never here: what they do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")
Errand = Generator[float | None, None, Result]

# What errands may take of a turn, which has 20 ms.
TURN_S = 0.005
# A person begins one or two; a script that begins more is told to wait.
MAX_ERRANDS = 8


class Errands:
    """Those that are under way."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._queue: deque[tuple[Errand[None], str]] = deque()
        self._at = 0.0  # when the first wants to go on

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def doing(self) -> str:
        """What is under way, in a word; "" if nothing is that anybody waits for."""
        return self._queue[0][1] if self._queue else ""

    def begin(self, errand: Errand[None], doing: str) -> bool:
        """False if there are too many already."""
        if not self.doing:
            self.end()
        if len(self._queue) >= MAX_ERRANDS:
            return False
        if not self._queue:
            self._at = self._now()
        self._queue.append((errand, doing))
        return True

    def deadline(self) -> float | None:
        return self._at if self._queue else None

    def step(self, seconds: float = TURN_S) -> None:
        """To be called once a turn: goes on for so long at most, but for one step more."""
        end = self._now() + seconds
        while self._queue:
            errand, _ = self._queue[0]
            try:
                at = next(errand)
            except StopIteration:
                if self._queue and self._queue[0][0] is errand:  # it may have ended all
                    self._queue.popleft()
                self._at = self._now()
                continue
            self._at = self._now() if at is None else at
            if at is not None or self._now() >= end:
                return

    def end(self) -> bool:
        """Ends all before their end; whether anybody waited for one."""
        were = bool(self.doing)
        while self._queue:
            errand, _ = self._queue.popleft()
            errand.close()
        return were


def finish(errand: Errand[Result]) -> Result:
    """All of it at once, and what it returns: before there are turns, or after."""
    while True:
        try:
            next(errand)
        except StopIteration as end:
            result: Result = end.value
            return result
