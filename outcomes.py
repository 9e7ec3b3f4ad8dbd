"""What came of a run that a journal was given.

Lives here: outcomes, and what each has to tell. Never here: how one is reached (journal.py).
"""

from __future__ import annotations

from protocol import Entry, Log
from records import Record


class Stored(Record):
    """Entries up to `seq` of `log` are held now; `placed` may be shown, in this order."""

    log: Log
    seq: int
    placed: list[Entry]


class Known(Record):
    """Nothing new in that run."""


class Gap(Record):
    """The run begins beyond what is held of `log`."""

    log: Log


class Waits(Record):
    """The run is sound, and held in memory until what its entries wait for is here."""


class Crossed(Record):
    """The run does not simply follow what is held of its log: `keep` that, then ask again."""

    log: Log


class Released(Record):
    """Entries up to `seq` of `log` were held, and are stored now. `source`: see `append`."""

    log: Log
    seq: int
    source: int


class NoRoom(Record):
    """The run begins a log that is one more than this journal keeps."""

    log: Log


class Conflict(Record):
    """The run does not follow what is held of `log`: somebody forked it. `ours` is the
    entry held where they part; `theirs` the other one of that seq, where it was in the
    run and both carry a valid signature of their own, and so are proof."""

    log: Log
    ours: bytes
    theirs: bytes | None
    placed: tuple[Entry, ...] = ()  # what had waited for more of this log, and need not now
