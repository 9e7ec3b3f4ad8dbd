"""rows.py, and the journal that reads and rescues packs."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import protocol
import rows
from journal import Journal, JournalDamaged
from protocol import Entry, Head
from rows import Row
from tests.test_held import stream, taking_turns
from tests.test_journal import (
    OLD_SCHEMA,
    Author,
    begun,
    changed,
    everything,
    filled,
    goes_on_with,
    opened,
    rescued,
    seal,
    summed,
    verify,
)

NUMBER = st.integers(0, 2**63 - 1)


def packed(raws: list[bytes], orders: list[int], seq: int = 100) -> Row:
    *before, stamp, rank, placed = orders
    columns = (7, seq, 1, stamp, rank, placed)
    return rows.row_of(columns, raws[-1], rows.pack(raws[:-1], before))


@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER, st.binary(max_size=9)), min_size=1, max_size=9))
def test_what_is_packed_comes_out_again(entries: list[tuple[int, int, int, bytes]]) -> None:
    raws = [raw for *_, raw in entries]
    row = packed(raws, [number for *order, _ in entries for number in order])
    assert rows.is_sound(row)
    found = rows.unpack(row)
    assert [(*each[3:6], each.raw) for each in found] == entries
    assert [each.seq for each in found] == list(range(101 - len(entries), 101))
    assert found[-1] == row
    assert row.earlier is not None and [*rows.raws_in(row.earlier), row.raw] == raws


@given(st.integers(0), st.integers(0, 7), st.booleans())
def test_a_pack_that_is_damaged_is_not_sound(at: int, bit: int, is_cut: bool) -> None:
    row = packed([b"one", b"two", b"three"], [1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert row.earlier is not None
    earlier = bytearray(row.earlier)
    at %= len(earlier)
    if is_cut:
        del earlier[at:]
    else:
        earlier[at] ^= 1 << bit
    damaged = row._replace(earlier=bytes(earlier))
    assert not rows.is_sound(damaged)
    assert not rows.is_sound(row._replace(earlier=None))
    list(rows.raws_in(bytes(earlier)))  # whatever that is
    try:
        rows.unpack(damaged)
    except (ValueError, struct.error):
        pass


def finds_damage(folder: Path, read: Callable[[Journal], Any]) -> None:
    with contextlib.ExitStack() as opening, pytest.raises(JournalDamaged):
        journal = opened(folder)
        opening.callback(journal.close)
        read(journal)


def caught_up(folder: Path, entries: int = 600, authors: int = 3) -> list[bytes]:
    """A journal that got all its entries from another one, in step; what these are."""
    said = taking_turns(entries, authors)
    source = Journal(folder / "source.db", verify)
    for raw in said:
        source.append((raw,))
    taker = Journal(folder / "journal.db", verify)
    stream(source, taker)
    (singly, in_packs) = [
        db.execute("SELECT COUNT(*) FROM entries").fetchone()[0] for db in (source._db, taker._db)
    ]
    assert in_packs <= singly / 5
    assert_same(taker, source, said)
    for journal in (source, taker):
        journal.close()
    return said


def assert_same(one: Journal, other: Journal, said: list[bytes]) -> None:
    mine, theirs = everything(one), everything(other)
    assert [entry.raw for entry in mine["history"]] == said
    assert sorted(entry.raw for entry in mine.pop("placed")) == sorted(said)
    del theirs["placed"]
    assert mine == theirs


def test_a_journal_of_packs_says_what_one_of_single_entries_says(tmp_path: Path) -> None:
    said = caught_up(tmp_path)
    source, taker = Journal(tmp_path / "source.db", verify), opened(tmp_path)
    assert_same(taker, source, said)
    for seq in (1, 2, 99, 150):
        assert taker.run(b"a" * 40, seq) == source.run(b"a" * 40, seq)
    for journal in (source, taker):
        journal.close()


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_what_was_placed_is_read_on_in_steps_of_any_size_and_from_anywhere(
    tmp_path: Path, step: int
) -> None:
    caught_up(tmp_path)
    journal = opened(tmp_path)
    whole = journal.placed_after(0, 10_000)
    assert len({entry.raw for entry in whole}) == 600
    found: list[Entry] = []
    while more := journal.placed_after(len(found), step):
        found += more
    assert found == whole and not journal._ahead
    random = Random(step)
    for _ in range(20):
        at = random.randrange(600)
        for number in (at, at + step):
            assert journal.placed_after(number, step) == whole[number : number + step]
    journal.close()


def test_an_entry_is_found_in_its_pack_and_packs_that_are_read_have_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journal.MAX_UNPACKED", 2)
    said = caught_up(tmp_path, authors=5)
    journal = opened(tmp_path)
    statements: list[str] = []
    journal._db.set_trace_callback(statements.append)
    for raw in said[:-5]:
        assert journal.entry(*protocol.name_in(raw)) == raw
    assert len(journal._unpacked) == 2
    statements.clear()
    of_one = [raw for raw in said if raw.startswith(b"b" * 40)]
    for raw in of_one:
        assert journal.entry(*protocol.name_in(raw)) == raw
    assert len(statements) < len(of_one) / 4
    journal.close()


def test_a_pack_is_no_larger_than_it_may_be_and_ends_where_a_signature_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught_up(tmp_path)
    with sqlite3.connect(tmp_path / "journal.db") as database:
        found = [Row(*columns) for columns in database.execute(rows.PLACED_AFTER, (0,))]
    for row in found:
        entries = rows.unpack(row)
        numbers = [each.placed or 0 for each in entries]
        assert sum(len(each.raw) for each in entries) <= rows.PACK_BYTES
        assert numbers == sorted(numbers) and numbers[-1] - numbers[0] < rows.PACK_SPAN
    ends = [row for row in found if row.checked]
    assert 3 <= len(ends) <= 12
    monkeypatch.setattr(rows, "PACK_SPAN", 5)
    (tmp_path / "narrow").mkdir()
    caught_up(tmp_path / "narrow", 60, 1)
    with sqlite3.connect(tmp_path / "narrow" / "journal.db") as database:
        narrow = [Row(*columns) for columns in database.execute(rows.PLACED_AFTER, (0,))]
    assert max(len(rows.unpack(row)) for row in narrow) == 5


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET earlier = NULL WHERE rowid = 5",
        "UPDATE entries SET earlier = CAST(earlier || x'00' AS BLOB) WHERE rowid = 5",
        "UPDATE entries SET earlier = (SELECT earlier FROM entries WHERE rowid = 6)"
        " WHERE rowid = 5",
        "DELETE FROM entries WHERE rowid = 5",
        "UPDATE entries SET placed = placed + 3000 WHERE rowid = 5",
    ],
)
@pytest.mark.parametrize("is_sum_right", [False, True])
def test_what_is_changed_or_missing_of_a_pack_is_found(
    tmp_path: Path, change: str, is_sum_right: bool
) -> None:
    caught_up(tmp_path)
    database = sqlite3.connect(tmp_path / "journal.db")
    (seq,) = database.execute("SELECT seq FROM entries WHERE rowid = 5").fetchone()
    (log,) = database.execute(
        "SELECT l.log FROM logs l, entries e WHERE l.id = e.log AND e.rowid = 5"
    ).fetchone()
    database.close()
    (summed if is_sum_right else changed)(tmp_path, change)
    reads: list[Any] = [lambda journal: journal.placed_after(0, 10_000)]
    if "placed" not in change or not is_sum_right:
        reads.append(lambda journal: list(journal.entries(log, seq - 3, seq - 2)))
        reads.append(lambda journal: journal.history(10**9))
    if not is_sum_right:  # a run is not parsed before it goes out
        reads.append(lambda journal: [journal.run(log, at) for at in (seq - 3, seq)])
    for read in reads:
        finds_damage(tmp_path, read)
        (tmp_path / "journal.damaged").unlink()


def test_an_entry_twice_in_what_was_placed_is_damage(tmp_path: Path) -> None:
    caught_up(tmp_path)
    change = "UPDATE entries SET earlier = (SELECT earlier FROM entries WHERE rowid = 3)"
    summed(tmp_path, change + " WHERE rowid = 5 AND earlier IS NOT NULL")
    journal = opened(tmp_path)
    with pytest.raises(JournalDamaged):
        for number in range(0, 600, 10):
            journal.placed_after(number, 10)
    journal.close()


# ---------------------------------------------------------------- version 2


def made_second(folder: Path) -> None:
    """The journal in there as the second version of the schema had it."""
    path, new = folder / "journal.db", folder / "new.db"
    path.rename(new)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    second = OLD_SCHEMA.replace("BLOB NOT NULL,\n    PRIMARY", "BLOB NOT NULL, x,\n    PRIMARY")
    second = second.replace("raw BLOB NOT NULL, x", "raw BLOB NOT NULL, checksum INTEGER NOT NULL")
    second = second.replace("log BLOB NOT NULL);", "log BLOB NOT NULL, checksum INTEGER NOT NULL);")
    second = second.replace(
        "other BLOB NOT NULL)", "other BLOB NOT NULL, checksum INTEGER NOT NULL)"
    )
    second = second.replace(
        "value BLOB NOT NULL)", "value BLOB NOT NULL, checksum INTEGER NOT NULL)"
    )
    history = "CREATE INDEX history ON entries(stamp, rank) WHERE rank IS NOT NULL;\n"
    database.executescript(second.replace(history, "").replace("= 1;", "= 2;"))
    database.execute("ATTACH ? AS new", (str(new),))
    for table, columns in {
        "logs": "*",
        "entries": "log, seq, checked, stamp, rank, placed, raw, checksum",
        "names": "*",
        "forks": "*",
        "state": "*",
    }.items():
        database.execute(f"INSERT INTO {table} SELECT {columns} FROM new.{table}")
    database.close()
    new.unlink()


def test_a_journal_of_the_second_version_says_after_its_upgrade_what_it_said(
    tmp_path: Path,
) -> None:
    filled(tmp_path)
    journal = opened(tmp_path)
    before = everything(journal)
    journal.close()
    made_second(tmp_path)
    for _again in range(2):
        journal = opened(tmp_path)
        assert everything(journal) == before
        journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (rows.VERSION,)


def test_a_journal_of_the_second_version_goes_on_with_its_log_and_takes_packs(
    tmp_path: Path,
) -> None:
    log = begun(tmp_path)
    made_second(tmp_path)
    seal(tmp_path, log)
    assert goes_on_with(tmp_path) == (log, 3)
    source = Journal(tmp_path / "source.db", verify)
    for raw in taking_turns(100, 2):
        source.append((raw,))
    journal = opened(tmp_path)
    stream(source, journal)
    before = everything(journal)
    journal.close()
    source.close()
    journal = opened(tmp_path)
    assert everything(journal) == before
    journal.close()


def test_what_is_damaged_in_a_second_version_is_rescued(tmp_path: Path) -> None:
    filled(tmp_path)
    made_second(tmp_path)
    changed(tmp_path, "UPDATE entries SET checked = 2 WHERE rowid = 9")
    finds_damage(tmp_path, everything)
    assert rescued(tmp_path).entries > 100


# ---------------------------------------------------------------- the rescue of packs


def test_a_rescue_takes_what_is_sound_out_of_packs(tmp_path: Path) -> None:
    said = caught_up(tmp_path)
    changed(tmp_path, "UPDATE entries SET checked = 2 WHERE rowid = 5")
    finds_damage(tmp_path, everything)
    assert rescued(tmp_path).entries == 600
    journal = opened(tmp_path)
    assert [entry.raw for entry in journal.history(10**9)] == said
    journal.close()


def test_a_rescue_takes_all_before_a_pack_that_is_lost(tmp_path: Path) -> None:
    said = caught_up(tmp_path)
    database = sqlite3.connect(tmp_path / "journal.db")
    (last,) = database.execute("SELECT MAX(rowid) FROM entries WHERE log = 1").fetchone()
    database.close()
    lose = "UPDATE entries SET earlier = zeroblob(9), raw = zeroblob(9)"
    changed(tmp_path, f"{lose} WHERE rowid = {last}")
    finds_damage(tmp_path, everything)
    entries = rescued(tmp_path).entries
    assert 500 < entries < 600
    journal = opened(tmp_path)
    held = {log: journal.run(log, 0) for log in journal.frontier()}
    for log, run in held.items():
        whole = [raw for raw in said if raw.startswith(log)]
        assert list(run) == whole[: len(run)]
    journal.close()


def test_runs_are_given_out_of_packs_up_to_an_entry_that_was_checked(tmp_path: Path) -> None:
    """Also where the others are signed by nothing but what follows them."""
    seldom, often = Author(b"s" * 40), Author(b"o" * 40)
    for number in range(40):
        head = Head(often.log, number)
        seldom.says(f"{number}", heads=(head,) * (number > 0), signed=number % 10 == 9)
        often.says(f"{number}", heads=(Head(seldom.log, number + 1),))
    journal = opened(tmp_path)
    for start, end in pairwise(range(0, 50, 10)):
        journal.append(seldom.run[start:end], source=1)
        journal.append(often.run[start:end], source=1)
    assert not journal.holds
    assert [len(journal.run(seldom.log, at)) for at in (0, 3, 12, 39)] == [40, 37, 28, 1]
    assert [len(journal.run(seldom.log, at, 8)) for at in (0, 3, 12)] == [10, 7, 8]
    journal.close()
