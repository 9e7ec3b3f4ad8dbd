"""What is held: entries that are sound, and wait in memory for what their authors had seen.

A run that came in step (backlog.py) can be placed a moment later. Until then it is nowhere but
here: not stored, so not told as being held, not passed on, and lost with the process; then it
comes again. So what waits for long has to be stored as it is, and what is here is bounded.

Lives here: entries of each log, in their order. Never here: what they wait for, SQL (journal.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from protocol import Entry, Log

# In a window of a Backlog half of what is sent waits: at most 8,192 typed lines, 7 MB of memory.
MAX_BYTES = 8 * 1024 * 1024
ENTRY_BYTES = 600  # what an entry takes in memory beside its own bytes
# Four of the longest runs: to store so many as they are takes 5 ms. A sender is hardly ever more
# than three ahead (Backlog).
MAX_ENTRIES_OF_ONE = 1024


class HeldLog:
    """What is held of a log: all that came after the entries that are stored."""

    def __init__(self, source: int) -> None:
        self.source = source  # what brought the last run
        self.entries: list[Entry] = []
        self.checked: list[int] = []  # seqs whose own signature was checked
        self.placed = 0  # so many of the entries are, and are to be stored at once
        self.orders: list[int] = []  # of each of these stamp, rank and number


class Held:
    """What is held of each log, that which came first before the others."""

    def __init__(self) -> None:
        self.logs: dict[Log, HeldLog] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.logs)

    def __iter__(self) -> Iterator[Log]:
        return iter(self.logs)

    def add(self, run: Sequence[Entry], source: int) -> HeldLog:
        """A run that follows what is held of its log, and was checked."""
        held = self.logs.get(run[0].log)
        if held is None:
            held = self.logs[run[0].log] = HeldLog(source)
        held.source = source
        held.entries.extend(run)
        held.checked.append(run[-1].seq)
        self.bytes += bytes_of(run)
        return held

    def end(self, log: Log) -> tuple[int, bytes] | None:
        """Seq and hash of the last entry that is held of a log."""
        if log not in self.logs:
            return None
        last = self.logs[log].entries[-1]
        return last.seq, last.hash

    def has(self, log: Log, seq: int, raw: bytes) -> bool:
        """Whether exactly this is held."""
        held = self.logs.get(log)
        at = seq - held.entries[0].seq if held else -1
        return held is not None and 0 <= at < len(held.entries) and held.entries[at].raw == raw

    def take(self, log: Log, count: int) -> HeldLog:
        """The first entries of a log, that are no longer held from here on."""
        held = self.logs[log]
        taken = HeldLog(held.source)
        taken.entries, held.entries = held.entries[:count], held.entries[count:]
        taken.checked = [seq for seq in held.checked if seq <= taken.entries[-1].seq]
        held.checked = held.checked[len(taken.checked) :]
        taken.placed, held.placed = held.placed, 0
        taken.orders, held.orders = held.orders, []
        self.bytes -= bytes_of(taken.entries)
        if not held.entries:
            del self.logs[log]
        return taken


def bytes_of(entries: Sequence[Entry]) -> int:
    """In memory."""
    sizes = [len(entry.raw) for entry in entries]  # a generator takes twice as long
    return sum(sizes) + ENTRY_BYTES * len(sizes)
