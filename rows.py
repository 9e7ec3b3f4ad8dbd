"""The rows of the journal's tables: what is in them, and that it is what was written.

A row of entries holds one entry; or several of one log that were placed at once, in a *pack*: the
last of them as it would stand alone, and in `earlier` those before it:

    u16 n | n * (u64 stamp | u64 rank | u64 placed) | n * u32 length | the entries, joined

Who catches up gets entries by the thousand, and a pack is written and found like one entry: 0.3 µs
for each in it, and 4.7 µs for each that stands alone. A pack never changes, so what waits stands
alone until it is placed. Of what is in a pack, no entry but the last may have had its own signature
checked.

Lives here: the schema and its versions, checksums, packs. Never here: a database (journal.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, cast
from zlib import crc32

from protocol import Entry, Head

# To read one entry of a pack costs reading all of it: 20 µs for so much.
PACK_BYTES = 12 * 1024
# The numbers in a pack are those of one turn, and so close together; they must be no further apart.
PACK_SPAN = 1024

VERSION = 3  # 2: without packs; 1: without checksums and summary
SCHEMA = """
CREATE TABLE IF NOT EXISTS logs(id INTEGER PRIMARY KEY, log BLOB UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS entries(
    log INTEGER NOT NULL, seq INTEGER NOT NULL,
    checked INTEGER NOT NULL,           -- its own signature was verified
    stamp INTEGER, rank INTEGER,        -- NULL until it is placed
    placed INTEGER,                     -- 1, 2, 3, ... as they were placed here
    raw BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    earlier BLOB,                       -- of a pack; else NULL
    PRIMARY KEY (log, seq));
CREATE INDEX IF NOT EXISTS placed ON entries(placed) WHERE placed IS NOT NULL;
CREATE TABLE IF NOT EXISTS names(
    author BLOB PRIMARY KEY, name TEXT NOT NULL,
    stamp INTEGER NOT NULL, rank INTEGER NOT NULL, log BLOB NOT NULL,  -- of the newest NAME
    checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS forks(  -- other is empty where the fork is certain, but no proof
    log BLOB PRIMARY KEY, one BLOB NOT NULL, other BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS state(
    key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL);
PRAGMA user_version = 3;
"""
# From each version to the next. `checksum` is the one below.
UPGRADES: dict[int, tuple[str, ...]] = {
    1: (
        "DROP INDEX history",
        *(
            f"ALTER TABLE {table} ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0"
            for table in ("entries", "names", "forks", "state")
        ),
        "UPDATE entries SET checksum = checksum(raw, log, seq, checked, stamp, rank, placed)",
        "UPDATE names SET checksum = checksum(log, author, name, stamp, rank)",
        "UPDATE forks SET checksum = checksum(log, one, other)",
        "PRAGMA user_version = 2",
    ),
    2: (  # which changes no row
        "ALTER TABLE entries ADD COLUMN earlier BLOB",
        "PRAGMA user_version = 3",
    ),
}

# The queries for rows of entries, whole: SQLite knows one that it has compiled by its text.
_ROW = "SELECT log, seq, checked, stamp, rank, placed, raw, checksum, earlier FROM entries WHERE "
AT = _ROW + "log = ? AND seq >= ? ORDER BY seq LIMIT 1"
LAST = _ROW + "log = ? ORDER BY seq DESC LIMIT 1"
LAST_PLACED = _ROW + "log = ? AND placed > 0 ORDER BY seq DESC LIMIT 1"
AFTER = _ROW + "log = ? AND seq > ? ORDER BY seq"
PLACED_AFTER = _ROW + "placed > ? ORDER BY placed"
INSERT = "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
PLACE = "UPDATE entries SET stamp=?, rank=?, placed=?, checksum=? WHERE log=? AND seq=?"

_COUNT = struct.Struct(">H")
_ORDER = struct.Struct(">QQQ")


class Row(NamedTuple):
    """A row of entries, as it was written; or an entry of a pack, as if it stood alone."""

    log: int
    seq: int
    checked: int
    stamp: int | None
    rank: int | None
    placed: int | None
    raw: bytes
    checksum: int  # over all the others
    earlier: bytes | None = None


def checksum(raw: bytes, columns: tuple[object, ...], earlier: bytes | None = None) -> int:
    """Over all that a row says. The repr tells a 1 from a '1' and both from a NULL."""
    found = crc32(raw, crc32(repr(columns).encode()))
    return found if earlier is None else crc32(earlier, found)


def row_of(columns: tuple[Any, ...], raw: bytes, earlier: bytes | None = None) -> Row:
    """To be written: the first six columns, the entry, and what is packed with it."""
    log, seq, checked, stamp, rank, placed = columns
    sum = checksum(raw, columns, earlier)
    return Row(log, seq, checked, stamp, rank, placed, raw, sum, earlier)


def is_sound(row: Row) -> bool:
    return checksum(row.raw, row[:6], row.earlier) == row.checksum


def pack(entries: Sequence[bytes], orders: Sequence[int]) -> bytes:
    """`orders`: of each entry its stamp, its rank, and as which it was placed."""
    lengths = struct.pack(f">{len(entries)}I", *map(len, entries))
    start = _COUNT.pack(len(entries)) + struct.pack(f">{len(orders)}Q", *orders)
    return b"".join((start, lengths, *entries))


def packs(
    id: int, entries: Sequence[Entry], orders: Sequence[int], checked: Sequence[int]
) -> Iterator[Row]:
    """The rows for entries, placed at once, of the log with this id. Nearly always it is one.
    `checked`: the seqs of those whose own signature was."""
    sizes = [len(entry.raw) for entry in entries]
    numbers = orders[2::3]
    ends = {seq - entries[0].seq + 1 for seq in checked} | {len(entries)}
    start = size = 0
    if len(ends) == 1 and sum(sizes) <= PACK_BYTES and numbers[-1] - numbers[0] < PACK_SPAN:
        sizes = []
    for at, entry_bytes in enumerate(sizes[:-1], 1):
        size += entry_bytes
        is_far = numbers[at] - numbers[start] >= PACK_SPAN
        if is_far or at in ends or size + sizes[at] > PACK_BYTES:
            yield _row_of_pack(id, entries[start:at], orders[3 * start : 3 * at], checked)
            start, size = at, 0
    yield _row_of_pack(id, entries[start:], orders[3 * start :], checked)


def _row_of_pack(
    id: int, entries: Sequence[Entry], orders: Sequence[int], checked: Sequence[int]
) -> Row:
    raws = [entry.raw for entry in entries]
    *before, stamp, rank, placed = orders
    seq = entries[-1].seq
    columns = (id, seq, int(seq in checked), stamp, rank, placed)
    return row_of(columns, raws[-1], pack(raws[:-1], before) if before else None)


def unpack(row: Row) -> list[Row]:
    """All entries in a row, each as if it stood alone. Raises ValueError or struct.error."""
    if row.earlier is None:
        return [row]
    raws, orders = _unpacked(row.earlier)
    first = row.seq - len(raws)
    found = [
        Row(row.log, seq, 0, *order, raw, 0)
        for seq, (order, raw) in enumerate(zip(orders, raws, strict=True), first)
    ]
    return [*found, row]


def placed_in(row: Row) -> list[tuple[int, bytes]]:
    """As which each entry in a row that is placed was, and the entry. Raises as `unpack`."""
    found: list[tuple[int, bytes]] = []
    if row.earlier is not None:
        raws, orders = _unpacked(row.earlier)
        found = [(placed, raw) for (_, _, placed), raw in zip(orders, raws, strict=True)]
    assert row.placed is not None
    found.append((row.placed, row.raw))
    return found


def _unpacked(earlier: bytes) -> tuple[list[bytes], Iterator[tuple[int, int, int]]]:
    lengths, at = _lengths_in(earlier)
    orders = _ORDER.iter_unpack(earlier[_COUNT.size : at - 4 * len(lengths)])
    ends = accumulate(lengths, initial=at)
    raws = [earlier[start:end] for start, end in pairwise(ends)]
    if at + sum(lengths) != len(earlier):
        raise ValueError("not what was written")
    return raws, cast(Iterator[tuple[int, int, int]], orders)


def _lengths_in(earlier: bytes) -> tuple[tuple[int, ...], int]:
    """How long each entry is, and where the first begins."""
    (count,) = _COUNT.unpack_from(earlier)
    at = _COUNT.size + count * _ORDER.size
    return struct.unpack_from(f">{count}I", earlier, at), at + 4 * count


def raws_in(earlier: bytes) -> Iterator[bytes]:
    """What may be entries in a pack that may be damaged."""
    try:
        lengths, at = _lengths_in(earlier)
    except struct.error:
        return
    for length in lengths:
        yield earlier[at : at + length]
        at += length


def unpack_heads(value: bytes) -> Iterator[Head]:
    if len(value) % 48:
        raise ValueError("not what was written")
    for at in range(0, len(value), 48):
        yield Head(value[at : at + 40], int.from_bytes(value[at + 40 : at + 48], "big"))
