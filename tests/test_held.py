"""held.py, and what the journal does with it: runs that wait in memory for what they follow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from unittest.mock import ANY

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import held
import journal as journals
import protocol
from backlog import Backlog
from journal import Journal
from outcomes import Conflict, Crossed, Gap, Known, NoRoom, Released, Stored, Waits
from protocol import Entry, Head, Log
from tests.test_journal import (
    ALICE,
    BOB,
    CAROL,
    ME,
    Author,
    assert_causal,
    opened,
    shown,
    speaker,
    talk,
    texts_of,
    verify,
    write,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = opened(tmp_path)
    yield journal
    journal.close()


def waiting(log: bytes, *heads: Head, after: str = "") -> Author:
    """Who says nothing but what follows something else."""
    author = speaker(log, after) if after else Author(log)
    for number, head in enumerate(heads):
        author.says(f"{log[:1].decode()}{number}", heads=(head,))
    return author


def test_what_waits_is_neither_told_nor_stored_before_it_can_be_placed(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    bob = waiting(BOB, Head(ALICE, 1), Head(ALICE, 2))
    assert journal.append(bob.run, source=7) == Waits()
    assert (journal.frontier(), journal.commits, journal.holds) == ({}, 0, True)
    first = journal.append(speaker(ALICE, "question").run, source=8)
    assert isinstance(first, Stored) and texts_of(first.placed) == ["question", "b0"]
    assert journal.take_released() == [Released(BOB, 1, 7)]
    assert journal.take_released() == []
    assert journal.frontier() == {ALICE: 1, BOB: 1} and journal.holds
    journal.close()
    journal = opened(tmp_path)
    assert shown(journal) == ["question", "b0"]
    assert journal.append(bob.run, source=7) == Waits()  # the rest of it, again
    journal.close()


def test_a_run_may_follow_what_is_held_and_what_is_held_is_known(journal: Journal) -> None:
    bob = waiting(BOB, *(Head(ALICE, number) for number in (1, 2, 3, 4)))
    assert journal.append(bob.run[:2], source=7) == Waits()
    assert journal.append(bob.run[:2], source=8) == Known()
    assert journal.append(bob.run[:1], source=8) == Known()
    assert journal.append(bob.run[2:], source=8) == Waits()
    alice = speaker(ALICE, *"1234")
    stored = journal.append(alice.run, source=9)
    assert isinstance(stored, Stored) and len(stored.placed) == 8
    assert journal.take_released() == [Released(BOB, 4, 8)]
    assert journal.run(BOB, 0) == bob.run and not journal.holds


def test_what_does_not_simply_follow_what_is_held_is_asked_again_once_that_is_stored(
    journal: Journal,
) -> None:
    bob = waiting(BOB, *(Head(ALICE, number) for number in (1, 2, 3, 4)))
    other = bob.branch(1)
    other.says("another")
    journal.append(bob.run[:2], source=7)
    for run in (bob.run[1:3], bob.run[3:], other.run[1:]):
        assert journal.append(run, source=8) == Crossed(BOB)
    assert journal.append(bob.run[2:]) == Crossed(BOB)  # this one is to be stored
    journal.keep(BOB)
    assert journal.take_released() == [Released(BOB, 2, 7)]
    assert journal.append(bob.run[3:], source=8) == Gap(BOB)
    assert journal.append(other.run[1:], source=8) == Conflict(BOB, bob.run[1], other.run[1])
    assert journal.run(BOB, 0) == bob.run[:2]


def test_what_is_kept_is_stored_as_it_is_and_placed_in_its_time(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    bob = waiting(BOB, *(Head(ALICE, number) for number in (1, 2, 3)))
    journal.append(bob.run[:2], source=7)
    journal.append(bob.run[2:], source=7)
    journal.keep()
    assert journal.take_released() == [Released(BOB, 3, 7)]
    assert journal.frontier() == {BOB: 3} and shown(journal) == [] and not journal.holds
    assert journal.run(BOB, 0) == bob.run  # so it was checked
    bob.says("held again", heads=(Head(ALICE, 4),))
    assert journal.append(bob.run[3:], source=7) == Waits()
    assert journal.append(speaker(ALICE, *"12").run, source=7) == Stored(ALICE, 2, ANY)
    assert len(shown(journal)) == 4 and journal.holds
    journal.keep()
    journal.close()
    journal = opened(tmp_path)
    journal.append(speaker(ALICE, *"1234").run, source=7)
    assert len(shown(journal)) == 8
    journal.close()


def test_a_step_of_keeping_is_short_and_takes_what_came_first(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "KEEP_ENTRIES", 2)
    for log in (BOB, CAROL, b"d" * 40, b"e" * 40):
        journal.append(waiting(log, Head(ALICE, 1)).run, source=7)
    journal.keep()
    assert [each.log for each in journal.take_released()] == [BOB, CAROL]
    journal.keep()
    assert len(journal.take_released()) == 2 and not journal.holds
    journal.keep()
    assert journal.take_released() == []


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_ENTRIES_OF_ONE"])
def test_beyond_a_limit_what_waits_is_stored_at_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(journals, limit, 1)
    bob = waiting(BOB, Head(ALICE, 1), Head(ALICE, 2))
    assert journal.append(bob.run, source=7) == Stored(BOB, 2, [])
    assert not journal.holds and journal._held.bytes == 0
    assert journal.take_released() == []
    alice = journal.append(speaker(ALICE, *"12").run, source=7)
    assert isinstance(alice, Stored) and len(alice.placed) == 4


def test_what_is_held_takes_no_room_that_is_not_there(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_LOGS", 2)
    for log in (BOB, CAROL):
        journal.append(waiting(log, Head(ALICE, 1)).run, source=7)
    assert isinstance(journal.append(speaker(ALICE, "one").run, source=7), Stored)
    assert len(journal.frontier()) == 3  # one more than fits, by those that were held
    assert journal.append(speaker(b"d" * 40, "one").run, source=7) == NoRoom(b"d" * 40)


def test_one_author_holds_no_more_logs_than_it_may_have(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_LOGS_OF_ONE", 2)
    logs = [BOB[:32] + bytes([number]) * 8 for number in range(4)]
    said = [journal.append(waiting(log, Head(ALICE, 1)).run, source=7) for log in logs]
    assert said == [Waits(), Waits(), Stored(logs[2], 1, []), Stored(logs[3], 1, [])]
    journal.keep()


def test_a_fork_that_is_marked_releases_what_waited_for_the_log(journal: Journal) -> None:
    journal.append(waiting(BOB, Head(ALICE, 9), Head(CAROL, 1)).run, source=7)
    placed = journal.add_fork(speaker(ALICE, "one").run[0], speaker(ALICE, "eins").run[0])
    assert placed is not None and texts_of(placed) == ["b0"]
    assert journal.take_released() == [Released(BOB, 1, 7)]
    assert journal.frontier() == {BOB: 1}


def test_what_others_give_back_of_our_own_log_is_stored_before_we_go_on_with_it(
    journal: Journal,
) -> None:
    mine = waiting(ME + b"12345678", Head(ALICE, 1))
    assert journal.append(mine.run, source=7) == Waits()
    assert write(journal, "on").seq == 2
    assert journal.take_released() == [Released(ME + b"12345678", 1, 7)]


def stream(source: Journal, taker: Journal, random: Random | None = None) -> list[Entry]:
    """All of `source`, in step, as a mesh and a node do it; what `taker` has placed."""
    backlog, sent = Backlog(), dict[Log, int]()
    placed: list[Entry] = []
    frontier = source.frontier()
    for log in frontier:
        backlog.add(log)
    while backlog:
        log, is_to_be_found = backlog.next()
        after = sent.get(log, 0)
        if after == frontier[log]:
            backlog.drop(log)
        elif is_to_be_found:
            backlog.stands(log, source.number_of(log, after + 1))
        else:
            run = source.run(log, after, backlog.window)
            sent[log] = after + len(run)
            if sent[log] < frontier[log]:
                backlog.stands(log, source.number_of(log, sent[log] + 1))
            stored = taker.append(run, source=1)
            placed += stored.placed if isinstance(stored, Stored) else []
            taker.commit()
            if random and random.random() < 0.1:
                taker.keep()
    return placed


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 60), st.integers(1, 8))
def test_a_journal_fed_in_step_has_the_same_history(
    seed: int, logs: int, entries: int, run: int
) -> None:
    random = Random(seed)
    authors = talk(random, logs, entries)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "MAX_RUN", run)
        patch.setattr(journals, "MAX_ORDERS_CACHED", random.choice([0, 4096]))
        source = Journal(Path(folder) / "source.db", verify)
        for author in authors:
            for at in range(0, len(author.run), run):
                source.append(author.run[at : at + run], source=1)
                if random.random() < 0.2:
                    source.keep()
        taker = Journal(Path(folder) / "taker.db", verify)
        placed = stream(source, taker, random)
        assert_causal(placed)
        assert len(placed) == entries and not taker.holds and taker._held.bytes == 0
        assert taker.history(10**9) == source.history(10**9)
        assert taker.frontier() == source.frontier()
        for journal in (source, taker):
            journal.close()


def taking_turns(entries: int, authors: int) -> list[bytes]:
    """Posts typed singly, each by who has seen the one before."""
    writers = [Author(bytes([97 + number]) * 40) for number in range(authors)]
    heads: tuple[Head, ...] = ()
    said = []
    for number in range(entries):
        writer = writers[number % authors]
        said.append(writer.says(f"post {number}", heads=heads, time_ms=number))
        heads = (Head(writer.log, len(writer.entries)),)
    return said


def test_a_catch_up_of_posts_typed_singly_costs_what_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, since times wobble: what 10,000 posts of 20 authors cost who gets them."""
    entries = 10_000
    source = Journal(tmp_path / "source.db", verify)
    for raw in taking_turns(entries, 20):
        source.append((raw,))
    verified = 0

    def counted(entry: Entry) -> bool:
        nonlocal verified
        verified += 1
        return verify(entry)

    taker = Journal(tmp_path / "taker.db", counted)
    statements: list[str] = []
    taker._db.set_trace_callback(statements.append)
    most = 0
    append = taker.append

    def watched(run: tuple[bytes, ...], *, source: int | None = None) -> object:
        nonlocal most
        outcome = append(run, source=source)
        most = max(most, taker._held.bytes)
        assert len(getattr(outcome, "placed", ())) <= 1024, "a turn that takes too long"
        return outcome

    monkeypatch.setattr(taker, "append", watched)
    placed = stream(source, taker)
    assert len(placed) == entries
    assert verified <= 80
    assert taker.commits <= 80
    assert not [each for each in statements if each.startswith("UPDATE")]
    assert sum("FROM entries" in each for each in statements) == 0, "read again"
    assert most <= held.MAX_BYTES / 2
    for journal in (source, taker):
        journal.close()


def test_the_python_calls_for_an_entry_that_comes_in_step_do_not_grow_unseen(
    tmp_path: Path,
) -> None:
    """By counts, since times wobble: three for each entry, and some for each run and pack."""
    entries = 10_000
    source = Journal(tmp_path / "source.db", verify)
    for raw in taking_turns(entries, 20):
        source.append((raw,))
    taker = Journal(tmp_path / "taker.db", lambda _: True)
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    append, commit = taker.append, taker.commit

    def counted(run: tuple[bytes, ...], *, source: int | None = None) -> object:
        sys.setprofile(count)
        try:
            return append(run, source=source)
        finally:
            commit()
            sys.setprofile(None)

    taker.append = counted  # type: ignore[method-assign, assignment]
    assert len(stream(source, taker)) == entries
    assert calls <= 4 * entries
    for journal in (source, taker):
        journal.close()
