"""The rescue of a damaged journal: what can still be read of it, in a new file.

Nothing of the old file is believed but hashes and signatures: each entry is taken in as if
a stranger had sent it. The old file is moved aside, and never destroyed.

Lives here: reading what is damaged, and the order of renames in which a power cut at any
moment loses nothing. Never here: what a sound journal does (journal.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import protocol
import rows
from journal import (
    RUN_BYTES,
    Journal,
    JournalDamaged,
    JournalError,
    in_use,
    mark_of,
    sync_directory,
)
from protocol import Entry, Log, RemoteError
from records import Record

# Damaged files that are kept beside the journal, each up to its size. A disk that has done
# this so often is to be looked at by a person, who also may delete them.
MAX_DAMAGED_FILES = 9
# Of an entry with no heads and no body. A row that holds one is longer.
_MIN_ENTRY_BYTES = 160


class Rescued(Record):
    """What `rescue` kept, of a damaged file that is at `moved` now."""

    entries: int
    moved: Path | None  # None where there was nothing left to move


def rescue(path: Path, verify: Callable[[Entry], bool]) -> Rescued:
    """Makes a new journal at `path` of what can be read of the damaged one, which is moved
    aside. To be called where `Journal` raised JournalDamaged. Raises JournalError or OSError.

    While the mark is there no journal opens, so it is taken away last. A power cut before
    that lets the next start do again what was not done:

        1. the -wal, then the file are renamed (what is not there was renamed already)
        2. the new journal is written under another name, anew if one is there, and synced
        3. it gets its name: from here on nothing is missing
        4. the mark goes; or else the whole, sound journal is once more moved aside and read
    """
    with contextlib.ExitStack() as rescuing:
        try:
            mark = rescuing.enter_context(open(mark_of(path), "r+b"))
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # one rescue at a time
        except (BlockingIOError, FileNotFoundError):
            raise in_use(path) from None  # another is at it, or was since we looked
        if not os.fstat(mark.fileno()).st_nlink:
            raise in_use(path)
        return _rescue(path, verify)


def _rescue(path: Path, verify: Callable[[Entry], bool]) -> Rescued:
    if path.exists():
        # Says so, if another selchat has it open or a newer one wrote it.
        with contextlib.suppress(JournalDamaged):
            Journal(path, verify)
    sync_directory(path.parent)  # the mark is there before any name changes
    moved = _move_aside(path)
    path.with_suffix(".seal").unlink(missing_ok=True)  # it would fit no new file
    new = path.with_name(f"{path.stem}.rescued{path.suffix}")
    for left in (new, new.with_name(new.name + "-wal"), mark_of(new)):
        left.unlink(missing_ok=True)
    journal = Journal(new, verify)
    try:
        if moved is not None and moved.stat().st_size:
            with contextlib.closing(_opened_to_salvage(moved)) as old:
                refill(journal, salvage(old))
        entries = sum(journal.frontier().values())
    finally:
        journal.close(sealed=False)
    if new.with_name(new.name + "-wal").exists():
        raise JournalError(f"{path}: no room to rescue it; make some, then start again")
    sync_directory(path.parent)
    new.replace(path)
    sync_directory(path.parent)
    mark_of(path).unlink()
    sync_directory(path.parent)
    return Rescued(entries, moved)


def _move_aside(path: Path) -> Path | None:
    """Where the damaged file is now. It stays as it is."""
    asides = [
        path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        for number in range(1, MAX_DAMAGED_FILES + 1)
    ]
    taken = max((n for n, aside in enumerate(asides, 1) if aside.exists()), default=0)
    if not path.exists():  # a rescue before this one had moved it, as the last of them
        return asides[taken - 1] if taken else None
    if taken == MAX_DAMAGED_FILES:
        raise JournalError(
            f"{path} is damaged, and so were {MAX_DAMAGED_FILES} before it; look at the disk, "
            f"then move {asides[0].name} and the others like it away"
        )
    aside = asides[taken]
    for suffix in ("-wal", "-shm", ""):  # the file last: it says that the others are done
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
            sync_directory(path.parent)
    return aside


def _opened_to_salvage(path: Path) -> sqlite3.Connection:
    """Only to be read: nothing is written back to it when it is closed."""
    wal = path.with_name(path.name + "-wal")
    # A file that can't change needs no -wal and no -shm, and none is made.
    mode = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
    uri = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)


def salvage(db: sqlite3.Connection) -> Iterator[bytes]:
    """All that may be an entry in a database of any version, as it was stored: each log's
    in their order. Row by row, so that a damaged page costs only what is on it."""
    query = "SELECT raw, {} FROM entries WHERE rowid "
    try:
        db.execute("PRAGMA writable_schema=ON")  # an index that makes no sense is no hindrance
        columns = {column[1] for column in db.execute("PRAGMA table_info(entries)")}
        query = query.format("earlier" if "earlier" in columns else "NULL")
        db.execute(query + "= 0")
        (pages,), (page_bytes,) = (
            db.execute(f"PRAGMA {of_them}").fetchone() for of_them in ("page_count", "page_size")
        )
    except (sqlite3.Error, ValueError):
        return  # of the schema nothing is left
    most = pages * page_bytes // _MIN_ENTRY_BYTES
    for number in range(1, most + 1):
        try:
            row = db.execute(query + "= ?", (number,)).fetchone()
        except (sqlite3.Error, ValueError):
            continue
        if row:
            yield from _entries_in(*row)
    # Rows are numbered 1, 2, 3, ...; those after one with a damaged number go on from there.
    with contextlib.suppress(sqlite3.Error, ValueError):
        for row in islice(db.execute(query + "> ?", (most,)), most):
            yield from _entries_in(*row)


def _entries_in(raw: object, earlier: object) -> Iterator[bytes]:
    if type(earlier) is bytes:
        yield from rows.raws_in(earlier)
    if type(raw) is bytes:
        yield raw


def refill(journal: Journal, found: Iterable[bytes]) -> None:
    """Takes in what is found of another journal: of each log what is sound from its first
    entry on. Nothing is believed but hashes and signatures. At most a frame of each log is
    held in memory."""
    ends: dict[Log, tuple[int, bytes]] = {}  # seq and hash of the last one, stored or not
    runs: dict[Log, list[Entry]] = {}  # not stored yet: no signature was looked for so far
    sizes = Counter[Log]()  # of the runs, in a frame
    for raw in found:
        try:
            entry = protocol.parse_entry(raw)
        except RemoteError:
            continue
        log = entry.log
        if (entry.seq - 1, entry.previous) != ends.get(log, (0, protocol.NO_PREVIOUS)):
            continue
        run = runs.setdefault(log, [])
        if len(run) == protocol.MAX_RUN or sizes[log] + 4 + len(raw) > RUN_BYTES:
            # No more at once than travels at once: each run that is stored ends with a
            # signature that was checked, up to which it can be passed on.
            _take_in(journal, run)
            sizes[log] = sum(4 + len(before.raw) for before in run)
            if len(run) == protocol.MAX_RUN or sizes[log] + 4 + len(raw) > RUN_BYTES:
                continue  # no signature in a whole frame: nobody can pass on what follows
        ends[log] = (entry.seq, entry.hash)
        sizes[log] += 4 + len(raw)
        run.append(entry)
    for run in runs.values():
        _take_in(journal, run)


def _take_in(journal: Journal, run: list[Entry]) -> None:
    """As a peer would send it: up to the last one with a signature of its own."""
    for end in range(len(run), 0, -1):
        if journal._verify(run[end - 1]):
            journal.append(tuple(entry.raw for entry in run[:end]))
            del run[:end]
            return
