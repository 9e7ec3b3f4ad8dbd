"""archive.py: posts of before, by number, author, time and word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archive as archives
import protocol
from archive import Archive, posts_of
from errands import finish
from feed import MESSAGE_BYTES
from journal import Journal
from output import Message
from protocol import NAME, Entry, parse_entry
from tests.test_journal import ALICE, BOB, ME, Author, deliver, opened, orders_of, talk, write
from tests.test_search import say


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = opened(tmp_path)
    yield journal
    journal.close()


@pytest.fixture
def archive(journal: Journal, tmp_path: Path) -> Archive:
    return Archive(journal, tmp_path / "search.index", ME)


def messages_of(entry: Entry, name: str | None, *, history: bool, own: bool) -> list[Message]:
    posts = posts_of(entry, name, history=history, own=own)
    return posts.messages() if posts else []


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def test_an_entry_becomes_messages_with_refs_that_are_the_same_on_every_member() -> None:
    entry = parse_entry(Author(ALICE).says("one", "two", time_ms=5))
    ref = (b"a" * 8).hex()
    one, two = messages_of(entry, "alice", history=True, own=False)
    assert one == Message(f"{ref}-{ref}-1-0", "61" * 32, "alice", 5, "one", True, False)
    assert (two.ref, two.text) == (f"{ref}-{ref}-1-1", "two")
    (mine,) = messages_of(parse_entry(Author(ALICE).says("x")), None, history=False, own=True)
    assert (mine.name, mine.history, mine.own) == ("", False, True)


@pytest.mark.parametrize(("kind", "body"), [(NAME, b"alice"), (9, b""), (2, b"\xff\xff\xff\xff")])
def test_an_entry_with_nothing_to_show_becomes_no_message(kind: int, body: bytes) -> None:
    entry = parse_entry(Author(ALICE).says(kind=kind, body=body))
    assert messages_of(entry, "alice", history=True, own=False) == []


def test_the_last_posts_come_in_order_and_with_the_newest_names(
    journal: Journal, archive: Archive
) -> None:
    alice = Author(ALICE)
    alice.says(kind=NAME, body=b"old")
    alice.says("1", "2", "3", time_ms=1)
    alice.says(kind=NAME, body=b"alice")
    journal.append(alice.run)
    write(journal, "4", time_ms=2)
    for posts in range(6):
        found = finish(archive.last(posts))
        assert texts(found.messages) == ["1", "2", "3", "4"][max(4 - posts, 0) :]
        assert not found.more
    messages = finish(archive.last(3)).messages
    assert [(m.name, m.own) for m in messages] == [("alice", False), ("alice", False), ("", True)]


def test_of_some_authors_only_their_entries_are_read(
    journal: Journal, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, ALICE[:32] + b"12345678", "again")  # at 0 ms
    say(journal, ALICE, *(f"a {number}" for number in range(100)))
    say(journal, BOB, *(f"b {number}" for number in range(100)))
    read: list[bytes] = []
    row_at = journal._row_at

    def noted(log: bytes, seq: int) -> Any:
        read.append(log[:32])
        return row_at(log, seq)

    monkeypatch.setattr(journal, "_row_at", noted)
    found = finish(archive.last(3, authors=frozenset({ALICE[:32]})))
    assert texts(found.messages) == ["a 97", "a 98", "a 99"]
    assert set(read) == {ALICE[:32]} and len(read) < 10
    assert texts(finish(archive.last(101, authors=frozenset({ALICE[:32]}))).messages) == [
        *("again", "a 0"),  # at one time, the smaller log first
        *(f"a {number}" for number in range(1, 100)),
    ]
    assert finish(archive.last(3, authors=frozenset({b"x" * 32}))).messages == []


def test_since_goes_by_the_time_that_is_shown_so_a_wrong_clock_spoils_its_owners_posts_only(
    journal: Journal, archive: Archive
) -> None:
    alice, bob = Author(ALICE), Author(BOB)
    bob.says("from the future", time_ms=10**12)
    alice.says("early", time_ms=100, heads=(protocol.Head(BOB, 1),))
    alice.says("late", time_ms=200)
    bob.says("clock put right", time_ms=50, heads=(protocol.Head(ALICE, 2),))
    journal.append(bob.run[:1])
    journal.append(alice.run)
    journal.append(bob.run)

    def since(time_ms: int) -> list[str]:
        return texts(finish(archive.last(10, since_ms=time_ms)).messages)

    assert since(0) == ["from the future", "early", "late", "clock put right"]
    assert since(150) == ["from the future", "late"]
    assert since(10**12) == ["from the future"]
    assert since(10**12 + 1) == []


def test_since_reads_no_further_back_than_it_must(
    journal: Journal, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, ALICE, *(f"post {number}" for number in range(1000)))  # at 0 ms, 1 ms, ...
    assert len(finish(archive.last(10**9, since_ms=990)).messages) == 10
    assert sum(1 for _ in archive.last(10**9, since_ms=990)) <= 12


def test_what_is_too_much_at_once_is_cut_at_its_older_end(
    journal: Journal, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, ALICE, *(f"line {number:02}" for number in range(90)))
    monkeypatch.setattr(archives, "FOUND_BYTES", 10 * (7 + MESSAGE_BYTES))
    for found in (finish(archive.last(50)), finish(archive.search(("line",), 50))):
        assert texts(found.messages) == [f"line {number}" for number in range(80, 90)]
        assert found.more
    assert not finish(archive.last(10)).more


def test_a_search_gives_the_last_that_hold_the_words_and_says_whether_there_are_more(
    journal: Journal, archive: Archive
) -> None:
    said = [f"{'Needle' if number % 10 == 0 else 'hay'} {number}" for number in range(500)]
    say(journal, ALICE, *said)
    for _ in range(2):
        found = finish(archive.search(("needle",), 3))
        assert texts(found.messages) == ["Needle 470", "Needle 480", "Needle 490"] and found.more
        found = finish(archive.search(("needle",), 50))
        assert len(found.messages) == 50 and not found.more
        assert texts(finish(archive.search(("needle", "12"), 9)).messages) == ["Needle 120"]
        assert texts(finish(archive.search(("needle 12",), 9)).messages) == ["Needle 120"]
        finish(archive.catch_up())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 40))
def test_all_is_everything_in_the_rooms_order_and_last_is_its_end(
    seed: int, logs: int, entries: int
) -> None:
    random = Random(seed)
    with TemporaryDirectory() as folder:
        journal = opened(Path(folder))
        archive = Archive(journal, Path(folder) / "search.index", ME)
        placed = deliver(random, talk(random, logs, entries), journal)
        orders = orders_of(placed)
        placed.sort(key=lambda entry: orders[entry.log, entry.seq])
        expected = [m for e in placed for m in messages_of(e, None, history=True, own=False)]
        assert [m for messages in archive.all() for m in messages] == expected
        authors = frozenset(random.sample([log[:32] for log in journal.placed()], 1))
        since_ms, posts = random.randrange(2000), random.randrange(1, 20)
        fitting = [
            message
            for message in expected
            if message.time_ms >= since_ms and bytes.fromhex(message.id) in authors
        ]
        found = finish(archive.last(posts, authors=authors, since_ms=since_ms))
        assert found.messages == fitting[-posts:]
        journal.close()


def test_a_step_reads_few_entries(
    journal: Journal, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        say(journal, number.to_bytes(40, "big"), "one", "two", "three")
    read = 0
    row_at = journal._row_at

    def counted(log: bytes, seq: int) -> Any:
        nonlocal read
        read += 1
        return row_at(log, seq)

    monkeypatch.setattr(journal, "_row_at", counted)
    errands: list[Any] = [archive.last(10**9), archive.search(("zebra",), 9), archive.all()]
    for errand in errands:
        total = 0
        for _ in errand:
            total += read
            assert read <= 40
            read = 0
        assert total >= 250
