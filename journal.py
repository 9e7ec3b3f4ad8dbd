"""The room's entries on disk: append, read a run, what is held, what order it has.

An entry is *stored* when it follows, by hash, the entries of its log that are stored
already, and a signature vouches for it: its own, or that of a later entry of its run.
It is *placed* when every entry that its author had seen is placed too; until then it
waits, and nobody is shown it: on disk, or *held* in memory (held.py), where it is neither
stored nor told. Placing computes, from the entries alone:

    stamp   the largest time in it and in all it follows (ms; a clock that is behind
            can't put an answer before its question)
    rank    one more than the largest rank that it follows

(stamp, rank, log, seq) is the one total order of the room's history: the same on every
member, because nothing local goes into it, and no member can bend it by lying about a
rank, because no rank travels. (Only what answers a forked log may stand elsewhere: nobody
waits for more of such a log, and each member holds its own branch of it.)

NEVER A FORK. A log may only be continued by a node that knows its end. Waiting until
others give one's own entries back is no answer: alone, a node could not write, and the
others may not have the last of it either. So a log belongs to an *incarnation*: at a
clean end the journal is sealed with a file that names the log and the inode and change
time of the database file, which no copy, restore or other writer leaves as they were.
The next start takes the seal away before it writes. If it fits, the log goes on; if
not (a crash, a lost journal, an old copy, a clone), the author writes a new log, and
gets the old ones back from the others like anybody else's. So a fork takes a restored
image of a whole file system, and the number of logs grows with crashes, not starts.

DAMAGED. What a disk gives back need not be what was written. Every row carries a checksum
that is compared at every read, and one row says how many entries there are; so a flipped
bit is found here, before it goes out and a peer blames us for it. Whoever finds damage
leaves a mark beside the file, and the journal can't be opened again before rescue.py has
moved the old file aside (it is never destroyed) and taken what can still be read of it
into a new one, as if a stranger had sent it: by chain and signature. The rest comes back
from the others. The new file fits no seal, so our own log ends there.

DURABLE. `commit` makes a turn's appends outlive the process; a turn that wrote entries
of our own is synced to the platter by the same commit, others by the next `sync`. The
database is held under an exclusive lock: it is also the lock of the data directory.

Lives here: the order, SQLite, the seal. Never here: what a row is (rows.py), sockets,
rendering, clocks, keys (`verify` and `sign` are handed in).
"""

from __future__ import annotations

import contextlib
import heapq
import os
import sqlite3
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import protocol
import rows
from held import MAX_BYTES, MAX_ENTRIES_OF_ONE, Held, HeldLog
from outcomes import Conflict, Crossed, Gap, Known, NoRoom, Released, Stored, Waits
from protocol import Entry, Frontier, Head, Log, RemoteError
from rows import Row

# What the far end takes in one frame, less its kind byte.
RUN_BYTES = protocol.MAX_FRAME_BYTES - 1
# One crash a day for twenty years; who writes logs without end fills only an eighth.
MAX_LOGS_OF_ONE = 8192
# Proofs are held in memory, up to 128 KiB each. Forks beyond that are marked all the same.
MAX_FORKS = 256
# Names of those who talk now; others are looked up again.
MAX_NAMES_CACHED = 1024
# A log costs about 400 bytes of memory and a line of every frontier. A member makes one
# per crash; this is for a room of a thousand that crash dozens of times each.
MAX_LOGS = 65_536
# Of how many logs the first entry is read in one step of `in_order`: 2 MB if all are full.
_STEP_LOGS = 32
# How many entries are stored as they are in one step of `keep`: 4 ms.
KEEP_ENTRIES = 512
# Orders of entries placed lately, that may be asked for: 200 bytes each.
MAX_ORDERS_CACHED = 4096
# Logs of which a pack is kept as it was read, for the next entry in it: 30 KB each.
MAX_UNPACKED = 64
# A window (Backlog) ends for each log at one of so many places, or all that waits for the last
# one would be placed, shown and stored in one turn: 5,000 entries, 25 ms.
PHASES = 8
# The number of an entry that is not placed.
UNPLACED = 2**63
# What is read for its order is kept until its turn where it is short; MAX_LOGS such are 64 MB.
_KEPT_BYTES = 1024
# SQLite keeps a megabyte of pages: twice as much, its default, is what a burst leaves behind.
_PRAGMAS = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL", "cache_size=-1000")
_MIN_PAGE_BYTES = 512  # of SQLite: less it overwrites, as no database
# What SQLite says when it is not the file that is wrong, but the disk or the rights to it.
_NOT_DAMAGE = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}

_SUMMARY = struct.Struct(">QQQ")  # entries, rows in names and in forks; the tips follow


class JournalError(Exception):
    """The journal can't be used; the text says why and what to do."""


class JournalLocked(JournalError):
    """Another selchat uses this data directory."""


class JournalDamaged(JournalError):
    """The file is not as it was written. `rescue` is for this."""


class _LogState:
    def __init__(self, id: int) -> None:
        self.id = id
        self.seq = 0  # stored without a gap
        self.hash = protocol.NO_PREVIOUS  # of the entry seq
        self.placed = 0  # <= seq
        self.order = (0, 0)  # (stamp, rank) of the entry placed


# (stamp, rank, log as a number), each negative where the newest comes first; seq, log, row.
_Turn = tuple[int, int, int, int, Log, Row | None]


def check_run(run: tuple[bytes, ...], verify: Callable[[Entry], bool]) -> list[Entry]:
    """The entries of a run. Pure. Raises RemoteError unless they are a chain (parse_run), and the
    last signature is valid."""
    entries = protocol.parse_run(run)
    if not verify(entries[-1]):
        raise RemoteError("an entry with a bad signature")
    return entries


class Journal:
    """All entries of one room, in one SQLite file. Raises JournalError from anywhere."""

    def __init__(self, path: Path, verify: Callable[[Entry], bool]) -> None:
        self._path = path
        self._verify = verify
        self.commits = 0  # counted for the tests that guard the cost of a turn
        self.syncs = 0
        self._own: Log | None = None
        self._tips: Frontier = {}  # placed entries that no placed entry names as a head
        self._stored_count = 0  # entries, of all logs
        self._summary_changed = False
        self._failed = False  # what was in the works may be half done; no more is written
        self._full = False  # as it is opened; else a transaction is synced at its commit
        self._synced = True  # all that was committed is on the platter
        self._held = Held()
        self._unwritten: list[Log] = []  # of which something is held and placed
        self._released: list[Released] = []
        self._orders: dict[tuple[Log, int], tuple[int, int]] = {}  # (stamp, rank), some of them
        self._unpacked: dict[int, list[Row]] = {}  # of some logs, by their id
        self._ahead: dict[int, bytes] = {}  # entries by their numbers, that were read in packs
        self._ahead_from = self._ahead_upto = 0
        self._explained = _Explained(self)
        with self._explained:
            sealed = self._read_seal()  # before SQLite touches the file
            wal = path.with_name(path.name + "-wal")
            killed = wal.exists()
            self._refuse_to_lose(wal)
            self._db = self._connect()
            with contextlib.ExitStack() as unusable:
                unusable.callback(self._db.close)  # and lets go of the lock
                self._open()
                self._sealed_log = self._take_seal(sealed)
                self._load()
                self._inode = self._inode_now()
                unusable.pop_all()
        if killed:
            # What is held is about to be told as being on the platter; here it gets there.
            self._synced = False
            self.sync()

    # ------------------------------------------------------------ opening, closing

    def _refuse_to_lose(self, wal: Path) -> None:
        """What SQLite would take for a new journal, and is none."""
        if not self._path.exists():
            if mark_of(self._path).exists():  # in the middle of a rescue the power was cut
                raise self._damage()
            return
        size = self._path.stat().st_size
        if 0 < size < _MIN_PAGE_BYTES or (size == 0 and wal.exists() and wal.stat().st_size):
            raise self._damage()

    def _connect(self) -> sqlite3.Connection:
        # Readable by its owner only from its first byte on.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        return sqlite3.connect(self._path, timeout=0, isolation_level=None)

    def _open(self) -> None:
        for pragma in _PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > rows.VERSION:
            raise JournalError(f"{self._path} was written by a newer selchat; use that one")
        if mark_of(self._path).exists():
            raise self._damage()
        if version:
            self._upgrade(version)
        self._db.executescript("BEGIN IMMEDIATE;" + rows.SCHEMA + "COMMIT;")

    def _upgrade(self, version: int) -> None:
        """In one transaction."""
        self._db.create_function("checksum", -1, lambda raw, *rest: rows.checksum(raw, rest))
        self._db.execute("BEGIN IMMEDIATE")
        for each in range(version, rows.VERSION):
            for statement in rows.UPGRADES[each]:
                self._db.execute(statement)
        if version == 1:
            self._check_all()
        self._db.execute("COMMIT")

    def _check_all(self) -> None:
        """Where all checksums are new: each vouches for what it is made of, so all chains are
        checked, and the signature that vouches for each."""
        stored = 0
        for log, id in self._db.execute("SELECT log, id FROM logs").fetchall():
            entry: Entry | None = None
            for row in self._after(id, 0):
                previous = entry
                entry = self._parsed(row.raw)
                follows = (previous.seq, previous.hash) if previous else (0, protocol.NO_PREVIOUS)
                if entry.log != log or (row.seq - 1, entry.previous) != follows:
                    raise self._damage()
                stored += 1
            if entry is None or not self._verify(entry):
                raise self._damage()
        counts = [stored]
        for table in ("names", "forks"):
            counts += self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        tips = self._db.execute("SELECT value FROM state WHERE key = 'tips'").fetchone()
        self._db.execute("DELETE FROM state")
        self._save("summary", _SUMMARY.pack(*counts) + (tips[0] if tips else b""))

    def _load(self) -> None:
        logs = self._db.execute("SELECT log, id FROM logs").fetchall()
        self._logs = {log: _LogState(id) for log, id in logs}
        for log, state in self._logs.items():
            last = self._row(rows.LAST, state.id)
            if last is None or last.raw[: protocol.LOG_BYTES] != log:
                raise self._damage()  # a log is written together with its first entry
            state.seq, state.hash = last.seq, sha256(last.raw).digest()
            if last.placed is None:
                last = self._row(rows.LAST_PLACED, state.id)
            if last:
                state.placed, state.order = last.seq, _order_of(last)
        # How many entries were placed, ever.
        self.placed_count = sum(state.placed for state in self._logs.values())
        self._stored_count = sum(state.seq for state in self._logs.values())
        self._logs_of = Counter(log[: protocol.MEMBER_BYTES] for log in self._logs)
        self._names: dict[bytes, str | None] = {}
        self._named = {author for author, *_ in self._name_rows("TRUE")}
        self.forks: dict[Log, tuple[bytes, bytes]] = {}
        self._parted: set[Log] = set()  # logs known to be forked, proven or not
        for log, one, other, checksum in self._db.execute("SELECT * FROM forks"):
            if rows.checksum(log, (one, other)) != checksum:
                raise self._damage()
            self._parted.add(log)
            if other:
                self.forks[log] = (one, other)
        self._load_summary()
        self._waiting: dict[Log, list[tuple[int, Log]]] = {}  # heaps: (seq that is waited for, by)
        self._waits: set[Log] = set()  # the logs in there; each waits for one thing at a time
        for log in list(self._logs):  # those that waited when we stopped wait again
            self._advance(log)

    def _load_summary(self) -> None:
        """The tips; and whether all rows are still there. That each is as it was written,
        its own checksum says; of one that is gone only a number can tell."""
        query = "SELECT value, checksum FROM state WHERE key = 'summary'"
        value, checksum = self._db.execute(query).fetchone() or (_SUMMARY.pack(0, 0, 0), None)
        if checksum is not None and rows.checksum(value, ("summary",)) != checksum:
            raise self._damage()
        if _SUMMARY.unpack(value[: _SUMMARY.size]) != self._counts():
            raise self._damage()
        for tip in rows.unpack_heads(value[_SUMMARY.size :]):
            # A tip is the newest placed entry of its log.
            if tip.log not in self._logs or self._logs[tip.log].placed != tip.seq:
                raise self._damage()
            self._tips[tip.log] = tip.seq

    def _counts(self) -> tuple[int, int, int]:
        return self._stored_count, len(self._named), len(self._parted)

    def _save(self, key: str, value: bytes) -> None:
        row = (key, value, rows.checksum(value, (key,)))
        self._db.execute("INSERT OR REPLACE INTO state VALUES(?, ?, ?)", row)

    @property
    def _seal_path(self) -> Path:
        return self._path.with_suffix(".seal")

    def _fingerprint(self) -> str:
        stat = os.stat(self._path)
        return f"{stat.st_ino} {stat.st_ctime_ns}"

    def _read_seal(self) -> Log | None:
        if not (self._seal_path.exists() and self._path.exists()):
            return None
        log, _, fingerprint = self._seal_path.read_text(errors="replace").partition(" ")
        if fingerprint != self._fingerprint() or len(log) != 2 * protocol.LOG_BYTES:
            return None
        try:
            return bytes.fromhex(log)
        except ValueError:
            return None

    def _take_seal(self, sealed: Log | None) -> Log | None:
        """Gone from the platter before anything is written under it."""
        if self._seal_path.exists():
            self._seal_path.unlink()
            sync_directory(self._path.parent)
        return sealed

    def own_log(self, author: bytes, fresh: bytes) -> Log:
        """The log that `author` writes now: the sealed one, or with the incarnation
        `fresh` (8 random bytes) a new one."""
        sealed = self._sealed_log
        continued = sealed is not None and sealed in self._logs and sealed.startswith(author)
        own = sealed if continued and sealed is not None else author + fresh
        self._own = own
        return own

    def close(self, *, sealed: bool = True) -> None:
        """Syncs, and seals our own log so that the next start may go on with it. After a
        failure neither: what is on disk is the last turn that was committed."""
        with self._explained:
            try:
                if not self._failed:
                    self.sync()
            finally:
                self._db.close()
            own = self._own
            if sealed and not self._failed and own is not None and own in self._logs:
                # Where no seal can be written, the next start begins a new log.
                with contextlib.suppress(OSError):
                    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                    with os.fdopen(os.open(self._seal_path, flags, 0o600), "w") as file:
                        file.write(f"{own.hex()} {self._fingerprint()}")

    # ------------------------------------------------------------ writing

    def _begin(self, *, full: bool) -> None:
        """A transaction, synced at its commit if `full`. SQLite wants that said before."""
        if self._failed:
            raise JournalError(f"{self._path} failed before; start again")
        if self._db.in_transaction:
            if not full or self._full:
                return
            self.commit()
        if full != self._full:
            self._full = full
            self._db.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
        self._db.execute("BEGIN")

    def commit(self) -> bool:
        """Ends the turn's transaction. True if all that is held is on the platter."""
        if self._db.in_transaction and not self._failed:
            self._check_in_place()
            with self._explained:
                self._save_summary()
                self._db.execute("COMMIT")
            self.commits += 1
            self.syncs += self._full
            self._synced = self._full
        return self._synced and not self._failed

    def _check_in_place(self) -> None:
        """SQLite goes on in a file that has no name any more: nothing of it would be there
        at the next start. (0.002 ms a turn.)"""
        if self._inode_now() != self._inode:
            self._failed = True
            raise JournalError(
                f"{self._path} was moved, removed or replaced; put it back and start again"
            )

    def _inode_now(self) -> int | None:
        try:
            return os.stat(self._path).st_ino
        except OSError:
            return None

    def sync(self) -> None:
        """Commits, and puts all that is held on the platter."""
        if not self.commit() and not self._failed:
            with self._explained:
                self._begin(full=True)
                # A commit that changes nothing would write nothing and so sync nothing.
                bump = "ON CONFLICT DO UPDATE SET value = value + 1"
                self._db.execute(f"INSERT INTO state VALUES('syncs', 1, 0) {bump}")
            self.commit()

    def _save_summary(self) -> None:
        if self._summary_changed:
            tips = b"".join(log + seq.to_bytes(8, "big") for log, seq in self._tips.items())
            self._save("summary", _SUMMARY.pack(*self._counts()) + tips)
            self._summary_changed = False

    def write(
        self, bodies: list[tuple[int, bytes]], time_ms: int, sign: Callable[[bytes], bytes]
    ) -> Stored:
        """Appends entries (kind, body) of our own to our own log. `sign` gets the bytes
        of an entry before its signature. Synced at the commit of the turn."""
        if self._own is None:
            raise ValueError("own_log() comes before write()")
        self.keep(self._own)  # somebody gives back what we had lost
        entries = []
        state = self._logs.get(self._own) or _LogState(0)
        seq, previous = state.seq, state.hash
        heads = tuple(Head(*tip) for tip in self._tips.items() if tip[0] != self._own)
        for kind, body in bodies:
            seq += 1
            head = Head(self._own, seq)
            some = heads[: protocol.MAX_HEADS]
            unsigned = protocol.unsigned_entry(head, previous, time_ms, some, kind, body)
            heads = heads[protocol.MAX_HEADS :]
            entry = protocol.parse_entry(unsigned + sign(unsigned))
            previous = entry.hash
            entries.append(entry)
        with self._explained:
            self._begin(full=True)
            return self._store(entries, all_checked=True)

    def append(
        self, run: tuple[bytes, ...], *, source: int | None = None
    ) -> Stored | Known | Waits | Crossed | Gap | NoRoom | Conflict:
        """Takes in a run from elsewhere. Raises RemoteError if it is no valid one. `source`, if
        given: what waits may be held, and `take_released` tells when it is stored."""
        if self._is_known(run[-1]):
            return Known()
        entries = check_run(run, self._verify)
        log = entries[0].log
        state = self._logs.get(log) or _LogState(0)
        held = self._held.end(log)
        if held is not None:
            follows = held == (entries[0].seq - 1, entries[0].previous)
            if source is None or not follows:
                return Crossed(log)
            with self._explained:
                return self._hold(entries, source)
        if entries[0].seq > state.seq + 1:
            return Gap(log)
        with self._explained:
            new = [entry for entry in entries if entry.seq > state.seq]
            old = entries[: len(entries) - len(new)]
            conflict = self._conflict(state, old, new)
            if conflict:
                return conflict.but(placed=tuple(self._part(log, conflict.ours, b"")))
            # What is said now comes alone and has not to wait: to hold it would cost 14 µs more.
            is_alone = len(new) == 1 and self._missing(new[0]) is None
            if source is not None and not is_alone and self._has_room(log, 1):
                return self._hold(new, source)
            if not self._has_room(log, 0):
                return NoRoom(log)
            self._begin(full=False)
            return self._store(new)

    def _has_room(self, log: Log, held: int) -> bool:
        """For a log; `held` times those that are held and may be new ones, too."""
        others = held * len(self._held)
        ofs = self._logs_of[log[: protocol.MEMBER_BYTES]]
        return log in self._logs or (
            len(self._logs) + others < MAX_LOGS and ofs + others < MAX_LOGS_OF_ONE
        )

    def _is_known(self, raw: bytes) -> bool:
        """The end of a run, and so the run, is held to the byte: it was checked before.
        Several peers may send one entry, and a comparison is cheaper than a signature."""
        log, seq = protocol.name_in(raw)
        state = self._logs.get(log)
        if state is not None and 1 <= seq <= state.seq:
            return raw == self.entry(log, seq)
        return self._held.has(log, seq, raw)

    def _conflict(self, state: _LogState, old: list[Entry], new: list[Entry]) -> Conflict | None:
        if old:
            ours = self.entry(old[-1].log, old[-1].seq)
            if ours == old[-1].raw:
                return None
            proof = self._verify(old[-1]) and self._verify(protocol.parse_entry(ours))
            return Conflict(old[-1].log, ours, old[-1].raw if proof else None)
        if new[0].previous == state.hash:
            return None
        return Conflict(new[0].log, self.entry(new[0].log, state.seq), None)

    def _store(self, entries: list[Entry], *, all_checked: bool = False) -> Stored:
        log = entries[0].log
        state = self._logs.get(log) or self._add_log(log, _LogState(0))
        found, placed = [], []
        for entry in entries:
            order: tuple[int | None, ...] = (None, None, None)
            if state.placed == entry.seq - 1 and self._place(entry, state) is None:
                order = (*state.order, self.placed_count)
                placed.append(entry)
            checked = int(all_checked or entry is entries[-1])
            found.append(rows.row_of((state.id, entry.seq, checked, *order), entry.raw))
        self._db.executemany(rows.INSERT, found)
        self._stored(state, entries)
        if len(placed) < len(entries) and log not in self._waits:
            self._advance(log)
        for waiting in self._woken(log, state.placed) if placed else ():
            placed += self._advance(waiting)
        self._write_placed()
        return Stored(log, state.seq, placed)

    # ------------------------------------------------------------ holding

    def _hold(self, entries: list[Entry], source: int) -> Stored | Waits:
        """Entries that follow what is held or stored of their log."""
        log = entries[0].log
        held = self._held.add(entries, source)
        placed = [] if log in self._waits else self._advance(log)
        self._write_placed()
        if self._held.bytes > MAX_BYTES or len(held.entries) > MAX_ENTRIES_OF_ONE:
            self._keep(log)
        stored = [each for each in self._released if each.log == log]
        if not stored:
            return Waits()
        self._released = [each for each in self._released if each.log != log]
        return Stored(log, stored[-1].seq, placed)

    @property
    def holds(self) -> bool:
        """Whether something sound is in memory only."""
        return len(self._held) > 0

    def keep(self, *logs: Log) -> None:
        """Stores what is held of these logs as it is; or some, that which came first."""
        with self._explained:
            room = KEEP_ENTRIES
            for log in logs or list(self._held):
                room -= self._keep(log)
                if room <= 0:
                    break

    def take_released(self) -> list[Released]:
        """What is stored that was held before, since this was asked last."""
        released, self._released = self._released, []
        return released

    def _keep(self, log: Log) -> int:
        """How many entries that were."""
        if log not in self._held.logs:
            return 0
        held = self._held.take(log, len(self._held.logs[log].entries))
        state = self._logs.get(log) or self._add_log(log, _LogState(0))
        checked = {*held.checked}
        columns = [(state.id, each.seq, int(each.seq in checked)) for each in held.entries]
        found = [
            rows.row_of((*start, None, None, None), entry.raw)
            for start, entry in zip(columns, held.entries, strict=True)
        ]
        self._begin(full=False)
        self._db.executemany(rows.INSERT, found)
        self._stored(state, held.entries)
        self._released.append(Released(log, state.seq, held.source))
        return len(found)

    def _write_placed(self) -> None:
        """Stores what was held and is placed now, in packs."""
        if not self._unwritten:
            return
        self._begin(full=False)
        found: list[Row] = []
        for log in self._unwritten:
            state = self._logs[log]
            batch = self._held.take(log, self._held.logs[log].placed)
            found += rows.packs(state.id, batch.entries, batch.orders, batch.checked)
            self._stored(state, batch.entries)
            self._released.append(Released(log, state.seq, batch.source))
        self._db.executemany(rows.INSERT, found)
        self._unwritten.clear()
        if len(self._orders) > MAX_ORDERS_CACHED:
            self._orders.clear()

    def _stored(self, state: _LogState, entries: list[Entry]) -> None:
        """These follow what is stored of a log."""
        state.seq, state.hash = entries[-1].seq, entries[-1].hash
        self._stored_count += len(entries)
        self._summary_changed = True

    def _add_log(self, log: Log, state: _LogState) -> _LogState:
        self._begin(full=False)
        id = self._db.execute("INSERT INTO logs(log) VALUES(?)", (log,)).lastrowid
        assert id is not None
        state.id = id
        self._logs[log] = state
        self._logs_of[log[: protocol.MEMBER_BYTES]] += 1
        return state

    # ------------------------------------------------------------ placing

    def _missing(self, entry: Entry) -> Head | None:
        """See `_place`."""
        for head in entry.heads:
            state = self._logs.get(head.log)
            if (state is None or state.placed < head.seq) and head.log not in self._parted:
                return head
        return None

    def _place(self, entry: Entry, state: _LogState) -> Head | None:
        """Places the next entry of a log: `state` tells where, `placed_count` as which. Or says
        what its author had seen that is not placed here."""
        logs, tips = self._logs, self._tips
        stamp, rank = state.order
        named = []  # tips
        for head in entry.heads:
            log, seq = head.log, head.seq
            seen = logs.get(log)
            if seen is None or seen.placed < seq:
                # Of a forked log nothing is waited for: its author may have gone on in a branch
                # that is refused here, for ever.
                if log not in self._parted:
                    return head
            else:
                order = seen.order if seen.placed == seq else self._order(head)
                stamp = order[0] if order[0] > stamp else stamp
                rank = order[1] if order[1] > rank else rank
            if log in tips and tips[log] <= seq:
                named.append(log)
        for log in named:
            del tips[log]
        log, seq, time_ms = entry.log, entry.seq, entry.time_ms
        tips[log] = seq
        order = (time_ms if time_ms > stamp else stamp, rank + 1)
        state.placed, state.order = seq, order
        self._orders[log, seq] = order
        self.placed_count += 1
        if entry.kind == protocol.NAME and len(entry.body) <= protocol.MAX_NAME_BYTES:
            self._rename(entry, (*order, log))
        return None

    def _rename(self, entry: Entry, order: tuple[int, int, Log]) -> None:
        """The newest name in the room's order counts, whichever of them came last."""
        self._begin(full=False)
        newest = self._name_row(entry.author) if entry.author in self._named else None
        if newest is None or order >= newest[2:]:
            stamp, rank, log = order
            row = (entry.author, entry.body.decode(errors="replace"), stamp, rank)
            checksum = rows.checksum(log, row)
            query = "INSERT OR REPLACE INTO names VALUES(?, ?, ?, ?, ?, ?)"
            self._db.execute(query, (*row, log, checksum))
            self._named.add(entry.author)
            self._names.pop(entry.author, None)

    def _order(self, head: Head) -> tuple[int, int]:
        known = self._orders.get((head.log, head.seq))
        return known or _order_of(self._row_at(head.log, head.seq))

    def _advance(self, log: Log) -> list[Entry]:
        """Places what can be placed of `log` and of those that waited for it.

        Of the logs that may go on, it tries the one whose next entry is the earliest by its
        author's clock: as a rule nothing that it follows is still to come. (One log as far as it
        goes, then the next, lets nearly every entry wait, and takes twice as long.)"""
        placed: list[Entry] = []
        turns = [(0, log)]
        logs, all_held = self._logs, self._held.logs
        while turns:
            log = turns[0][1]
            count = len(placed)
            state, held = logs.get(log), all_held.get(log)
            time_ms = None
            if state is None or state.placed >= state.seq or self._advance_stored(log, placed):
                if held is not None and held.placed < len(held.entries):
                    time_ms = self._advance_held(log, held, state, placed)
            if time_ms is None:
                heapq.heappop(turns)
            else:
                heapq.heapreplace(turns, (time_ms, log))
            if log in self._waiting and len(placed) > count:
                for woken in self._woken(log, logs[log].placed):
                    heapq.heappush(turns, (0, woken))
        return placed

    def _advance_stored(self, log: Log, placed: list[Entry]) -> bool:
        """False if some of what is stored of a log has to wait."""
        state = self._logs[log]
        while state.placed < state.seq:
            row = self._row_at(log, state.placed + 1)
            if row.placed is not None:
                raise self._damage()
            entry = self._entry_in(row, log)
            missing = self._place(entry, state)
            if missing is not None:
                self._wait(log, missing)
                return False
            self._begin(full=False)
            order = (*state.order, self.placed_count)
            self._summary_changed = True
            checksum = rows.checksum(row.raw, (row.log, row.seq, row.checked, *order))
            self._db.execute(rows.PLACE, (*order, checksum, row.log, row.seq))
            placed.append(entry)
        return True

    def _advance_held(
        self, log: Log, held: HeldLog, state: _LogState | None, placed: list[Entry]
    ) -> int | None:
        """The next entry that is held of a log of which all that is stored is placed. Unless it
        has to wait, the time (ms) of the one after it, if there is one."""
        entry = held.entries[held.placed]
        state = state or _LogState(0)
        missing = self._place(entry, state)
        if missing is not None:
            self._wait(log, missing)
            return None
        if not held.placed:
            self._unwritten.append(log)
            if not state.id:
                self._add_log(log, state)
        held.placed += 1
        held.orders += (*state.order, self.placed_count)
        placed.append(entry)
        return held.entries[held.placed].time_ms if held.placed < len(held.entries) else None

    def _wait(self, log: Log, missing: Head) -> None:
        self._waits.add(log)
        heapq.heappush(self._waiting.setdefault(missing.log, []), (missing.seq, log))

    def _woken(self, log: Log, seq: int) -> list[Log]:
        """The logs that waited for no more than entry `seq` of `log`."""
        waiting, woken = self._waiting.get(log, []), []
        while waiting and waiting[0][0] <= seq:
            woken.append(heapq.heappop(waiting)[1])
        if not waiting:
            self._waiting.pop(log, None)
        self._waits.difference_update(woken)
        return woken

    def _part(self, log: Log, one: bytes, other: bytes) -> list[Entry]:
        """Marks a forked log; `other` is empty if that can't be proven to others. Places
        what waited for more of it."""
        if log in self._parted and not other:
            return []
        self._parted.add(log)
        self._begin(full=False)
        self._summary_changed = True
        row = (log, one, other, rows.checksum(log, (one, other)))
        self._db.execute("INSERT OR REPLACE INTO forks VALUES(?, ?, ?, ?)", row)
        woken = self._woken(log, 2**63)
        placed = [entry for waiting in woken for entry in self._advance(waiting)]
        self._write_placed()
        return placed

    # ------------------------------------------------------------ reading

    def name_of(self, author: bytes) -> str | None:
        """The newest name that `author` has given itself."""
        if author not in self._named:
            return None
        if author not in self._names:
            if len(self._names) >= MAX_NAMES_CACHED:
                self._names.clear()
            with self._explained:
                self._names[author] = self._name_row(author)[1]
        return self._names[author]

    def _name_row(self, author: bytes) -> tuple[bytes, str, int, int, Log]:
        for row in self._name_rows("author = ?", author):
            return row
        raise self._damage()

    def names(self, limit: int) -> Iterator[tuple[bytes, str]]:
        """Members and what they are called, in the room's order of their newest names."""
        with self._explained:
            rows = self._name_rows(f"true ORDER BY stamp, rank, log LIMIT {limit:d}")
            yield from ((author, name) for author, name, *_ in rows)

    def _name_rows(self, where: str, *values: bytes) -> Iterator[tuple[bytes, str, int, int, Log]]:
        query = "SELECT author, name, stamp, rank, log, checksum FROM names WHERE "
        for author, name, stamp, rank, log, checksum in self._db.execute(query + where, values):
            if rows.checksum(log, (author, name, stamp, rank)) != checksum:
                raise self._damage()
            yield author, name, stamp, rank, log

    def frontier(self) -> Frontier:
        return {log: state.seq for log, state in self._logs.items() if state.seq}

    def mark(self, log: Log) -> bytes:
        """Of the last entry of a log that is held (protocol.Head)."""
        return self._logs[log].hash[: protocol.MARK_BYTES]

    def last_order(self, log: Log) -> tuple[int, int]:
        """Where the last entry of a log that is placed stands in the room's order."""
        return self._logs[log].order

    def entry(self, log: Log, seq: int) -> bytes:
        """The exact bytes of an entry that is held."""
        return self._entry(log, seq).raw

    def _entry(self, log: Log, seq: int) -> Entry:
        with self._explained:
            return self._entry_in(self._row_at(log, seq), log)

    def _entry_in(self, row: Row, log: Log) -> Entry:
        entry = self._parsed(row.raw)
        if (entry.log, entry.seq) != (log, row.seq):
            raise self._damage()
        return entry

    def _row_at(self, log: Log, seq: int) -> Row:
        """Of a pack all is read at once: the next entry that is asked for is often in it, too."""
        id = self._logs[log].id
        unpacked = self._unpacked.get(id)
        if unpacked and unpacked[0].seq <= seq <= unpacked[-1].seq:
            return unpacked[seq - unpacked[0].seq]
        row = self._row(rows.AT, id, seq)
        if row is None or (row.seq != seq and row.earlier is None):
            raise self._damage()
        if row.seq == seq:
            return row
        unpacked = rows.unpack(row)
        if unpacked[0].seq > seq:
            raise self._damage()
        if len(self._unpacked) >= MAX_UNPACKED:
            del self._unpacked[next(iter(self._unpacked))]
        self._unpacked[id] = unpacked
        return unpacked[seq - unpacked[0].seq]

    def _after(self, id: int, seq: int) -> Iterator[Row]:
        """The entries of a log that follow one of them."""
        for row in self._rows(rows.AFTER, id, seq):
            if row.earlier is None:
                yield row
            else:
                yield from (each for each in rows.unpack(row) if each.seq > seq)

    def _row(self, query: str, *values: int) -> Row | None:
        columns = self._db.execute(query, values).fetchone()
        return None if columns is None else self._checked(columns)

    def _rows(self, query: str, *values: int) -> Iterator[Row]:
        return map(self._checked, self._db.execute(query, values))

    def _checked(self, columns: tuple[Any, ...]) -> Row:
        """A row of entries: all that are read come through here."""
        row = Row._make(columns)
        if not rows.is_sound(row):
            raise self._damage()
        return row

    def _parsed(self, raw: bytes) -> Entry:
        """An entry from our own disk: if it is none, no far end is to blame."""
        try:
            return protocol.parse_entry(raw)
        except RemoteError:
            raise self._damage() from None

    def number_of(self, log: Log, seq: int) -> int:
        """As which an entry that is held was placed: 1, 2, 3, ...; or UNPLACED."""
        with self._explained:
            return self._row_at(log, seq).placed or UNPLACED

    def run(self, log: Log, after: int, window: int = 0) -> tuple[bytes, ...]:
        """What follows entry `after` of `log`: as much as fits in a frame, up to an entry
        whose own signature was checked (so that whoever checks only that one is right).
        `window`, if not 0: and little more than what was placed in a span of so many entries."""
        run: list[bytes] = []
        size = checked = 0
        state = self._logs[log]
        end = UNPLACED
        with self._explained:
            for row in self._after(state.id, after):
                if row.seq != after + len(run) + 1:
                    raise self._damage()
                size += 4 + len(row.raw)
                if size > RUN_BYTES or len(run) == protocol.MAX_RUN:
                    break
                if window and row.placed is not None:
                    if not run:
                        end = _end_of_window(log, row.placed, window)
                    if row.placed >= end and checked:
                        break
                run.append(row.raw)
                if row.checked:
                    checked = len(run)
            else:
                if after + len(run) < state.seq:
                    raise self._damage()
        if run and not checked and self._verify(self._parsed(run[-1])):
            checked = len(run)  # it came in a longer run than there are today
        return tuple(run[:checked])

    def placed(self) -> Frontier:
        """Up to where each log is placed, and so may be shown."""
        return {log: state.placed for log, state in self._logs.items() if state.placed}

    def in_order(
        self,
        *,
        newest_first: bool,
        since_ms: int = 0,
        wanted: Callable[[Log, int], int] = lambda log, seq: seq,
    ) -> Iterator[Entry | None]:
        """The entries that are placed at the first step, in the room's order, from either
        end: of each log the next one, and when that is taken, the one after it. A step reads
        few entries; where it takes several to find one, it gives None in between.

        `since_ms`: newest first, it ends at the first with a smaller stamp. `wanted`: the
        nearest seq of a log that is asked for, from this one on in that direction, or 0."""
        ends, step = self.placed(), -1 if newest_first else 1
        heap: list[_Turn] = []
        for count, (log, last) in enumerate(ends.items(), 1):
            seq = wanted(log, last if newest_first else 1)
            if 0 < seq <= last:
                heapq.heappush(heap, self._turn(log, seq, step))
            if count % _STEP_LOGS == 0:
                yield None
        while heap:
            stamp, *_, seq, log, row = heap[0]
            if newest_first and -stamp < since_ms:
                return
            following = wanted(log, seq + step) if 0 < seq + step <= ends[log] else 0
            if 0 < following <= ends[log]:
                heapq.heapreplace(heap, self._turn(log, following, step))
            else:
                heapq.heappop(heap)
            with self._explained:
                entry = self._entry_in(row or self._row_at(log, seq), log)
            yield entry

    def _turn(self, log: Log, seq: int, step: int) -> _Turn:
        """What sorts an entry among those of other logs while it waits for its turn."""
        state, row = self._logs[log], None
        with self._explained:
            if seq == state.placed:
                stamp, rank = state.order
            else:
                row = self._row_at(log, seq)
                stamp, rank = _order_of(row)
                if len(row.raw) > _KEPT_BYTES:
                    row = None  # read again
        return step * stamp, step * rank, step * int.from_bytes(log, "big"), seq, log, row

    def history(self, posts: int) -> list[Entry]:
        """The placed entries that hold the last `posts` posts, in the room's order."""
        found: list[Entry] = []
        for entry in self.in_order(newest_first=True) if posts > 0 else ():
            try:
                said = len(protocol.texts_in(entry)) if entry else 0
            except RemoteError:
                continue  # nothing can be shown of it, whatever number it says
            if entry is None or not said:
                continue
            posts -= said
            found.append(entry)
            if posts <= 0:
                break
        return found[::-1]

    def placed_after(self, number: int, limit: int) -> list[Entry]:
        """The `limit` entries that were placed after the first `number` of them."""
        upto = min(number + limit, self.placed_count)
        with self._explained:
            if number != self._ahead_from:
                self._ahead, self._ahead_upto = {}, number
            self._ahead_from = upto
            self._read_placed(range(number + 1, upto + 1))
            return [self._parsed(self._ahead.pop(each)) for each in range(number + 1, upto + 1)]

    def _read_placed(self, numbers: range) -> None:
        """Reads ahead until all of these are there. A pack has numbers before and after those
        of others, and the largest of them is that of its row: what is read too early stays."""
        lacking = sum(number not in self._ahead for number in numbers)
        if not lacking:
            return
        for row in self._rows(rows.PLACED_AFTER, self._ahead_upto):
            assert row.placed is not None
            if row.placed > numbers[-1] + rows.PACK_SPAN:
                break
            self._ahead_upto = row.placed
            for number, raw in rows.placed_in(row):
                if number in self._ahead:
                    raise self._damage()
                if number >= numbers[0]:
                    self._ahead[number] = raw
                    lacking -= number in numbers
            if not lacking:
                return
        raise self._damage()

    def entries(self, log: Log, after: int, upto: int) -> Iterator[Entry]:
        """Entries after+1..upto of `log`."""
        return (self._entry(log, seq) for seq in range(after + 1, upto + 1))

    def add_fork(self, one: bytes, other: bytes) -> list[Entry] | None:
        """Keeps the proof, and places what need no longer wait for the forked log. None if
        that was marked already. Raises RemoteError unless it is a proof: two entries, one
        log, one seq, two valid signatures."""
        first, second = protocol.parse_entry(one), protocol.parse_entry(other)
        if first.log != second.log or first.seq != second.seq or one == other:
            raise RemoteError("a proof of a fork that proves nothing")
        if not (self._verify(first) and self._verify(second)):
            raise RemoteError("a proof of a fork with a bad signature")
        if first.log in self.forks:
            return None
        with self._explained:
            if len(self.forks) >= MAX_FORKS:
                return self._part(first.log, one, b"")
            self.forks[first.log] = (one, other)
            return self._part(first.log, one, other)

    # ------------------------------------------------------------ damage

    def _damage(self) -> JournalDamaged:
        """To be raised. From here on only a rescue helps."""
        self._failed = True
        self._leave_mark()
        return JournalDamaged(
            f"{self._path} is damaged; the next start keeps what can still be read of it, "
            "and gets the rest from the others"
        )

    def _leave_mark(self) -> None:
        # Where none can be left, the next who reads there finds the damage again.
        with contextlib.suppress(OSError):
            os.close(os.open(mark_of(self._path), os.O_WRONLY | os.O_CREAT, 0o600))

    def explain(self, error: BaseException) -> None:
        """Says what SQLite says in words that tell what to do."""
        if isinstance(error, TypeError | ValueError | OverflowError | IndexError | struct.error):
            raise self._damage() from None  # a value of a kind or size that nobody wrote
        if isinstance(error, sqlite3.DatabaseError):
            # One without a code comes from Python: a text that is none, if not a mistake.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise in_use(self._path) from None
            # With more than the bare code it says why nothing can be written. Without, the
            # header does, and wrongly: the file was opened for writing before.
            read_only = code & 0xFF == sqlite3.SQLITE_READONLY != code
            mistake = isinstance(error, sqlite3.ProgrammingError)
            if not (code & 0xFF in _NOT_DAMAGE or read_only or mistake):
                raise self._damage() from None
            self._failed = True
            raise JournalError(
                f"{self._path}: {error}; make room or mend the disk, then start again"
            ) from None


class _Explained:
    """Has a journal explain what is raised in it. (A generator would do, but takes 1 µs more,
    several times a turn.)"""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __enter__(self) -> None:
        """There is nothing to make ready."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._journal.explain(error)


def _order_of(row: Row) -> tuple[int, int]:
    if row.stamp is None or row.rank is None:
        raise ValueError("it is not placed")
    return row.stamp, row.rank


def _end_of_window(log: Log, number: int, window: int) -> int:
    """The first number after the window in which an entry of `log` has `number`."""
    phase = log[0] % PHASES * window // PHASES
    return number - (number + phase) % window + window


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_use(path: Path) -> JournalLocked:
    return JournalLocked(
        f"{path.parent} is in use by another selchat; give this one its own --data"
    )


def mark_of(path: Path) -> Path:
    """An empty file that says that there is damage, and is the lock of its rescue."""
    return path.with_suffix(".damaged")
