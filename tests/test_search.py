"""search.py: whatever the index knows or has lost, a search finds what reading all finds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protocol
import search
from errands import Errand, finish
from journal import Journal
from protocol import NAME, Entry
from search import Index, holds, words_of
from tests.test_journal import ALICE, BOB, Author, opened, speaker, texts_of


def read_all(journal: Journal, words: tuple[str, ...]) -> list[str]:
    """The plainest search there is, the newest first."""
    return [text for text in texts_of(journal.history(10**9))[::-1] if holds(text, words)]


def found(journal: Journal, index: Index, words: tuple[str, ...]) -> tuple[list[str], int]:
    """With the index: the texts, the newest first, and how many entries were read."""
    parts = finish(index.parts(words))
    read = [e for e in journal.in_order(newest_first=True, wanted=parts.newest) if e]
    texts = [text for entry in read for text in texts_of([entry])[::-1]]
    return [text for text in texts if holds(text, words)], len(read)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = opened(tmp_path)
    yield journal
    journal.close()


def say(journal: Journal, log: bytes, *texts: str) -> Author:
    author = Author(log)
    for number, text in enumerate(texts):
        author.says(text, time_ms=number)
    for start in range(0, len(author.run), 200):
        journal.append(author.run[start : start + 200])
    return author


def numbers(start: int, end: int) -> list[str]:
    return [f"number {number}" for number in range(start, end)]


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one Two", ("one", "two")),
        ("  one   one ", ("one",)),
        ('"One  two" three', ("one  two", "three")),
        ('three"four "one two', ('three"four', "one two")),
        ('"" " "', (" ",)),
        ("Straße ΣΑΣ", ("strasse", "σασ")),
        ("NOT a* (b OR c) ^d -e", ("not", "a*", "(b", "or", "c)", "^d", "-e")),
    ],
)
def test_words_are_what_stands_between_spaces_or_double_quotes(
    text: str, words: tuple[str, ...]
) -> None:
    assert words_of(text) == words


def test_a_text_holds_words_anywhere_in_it_whatever_the_case_and_the_script() -> None:
    assert holds("In the BASKET", ("ask", "in"))
    assert holds("große STRASSE", words_of("GROSSE straße"))
    assert holds("東京タワーに行った", ("タワー",))
    assert not holds("one two", ("one", "three"))


# ---------------------------------------------------------------- what the index spares


def test_only_blocks_that_may_hold_the_words_are_read(journal: Journal, tmp_path: Path) -> None:
    say(journal, ALICE, *numbers(0, 500), "a Zebra", *numbers(500, 1500))
    say(journal, BOB, *numbers(0, 1000))
    index = Index(tmp_path / "search.index", journal)
    assert found(journal, index, ("zebra",)) == (["a Zebra"], 2501)
    finish(index.catch_up())
    texts, read = found(journal, index, ("zebra",))
    assert texts == ["a Zebra"] and read <= 3 * search.BLOCK_ENTRIES
    texts, read = found(journal, Index(tmp_path / "search.index", journal), ("zebra",))
    assert texts == ["a Zebra"] and read <= 3 * search.BLOCK_ENTRIES
    assert stat.S_IMODE((tmp_path / "search.index").stat().st_mode) == 0o600


def test_what_came_since_is_found_before_the_index_knows_it_and_after(
    journal: Journal, tmp_path: Path
) -> None:
    alice = say(journal, ALICE, *numbers(0, 300))
    index = Index(tmp_path / "search.index", journal)
    for round in range(5):
        for number in range(20):
            journal.append((alice.says(f"zebra {round} {number}", time_ms=10**6),))
        assert len(found(journal, index, ("zebra",))[0]) == 20 * (round + 1)
        finish(index.catch_up())
        assert len(found(journal, index, ("zebra",))[0]) == 20 * (round + 1)


@pytest.mark.parametrize("word", ["r", "so", "😀", "é"])
def test_a_word_of_less_than_three_characters_is_looked_for_everywhere(
    journal: Journal, tmp_path: Path, word: str
) -> None:
    say(journal, ALICE, *numbers(0, 300), "so 😀é")
    index = Index(tmp_path / "search.index", journal)
    finish(index.parts(("number",)))
    finish(index.catch_up())
    texts, read = found(journal, index, (word,))
    assert texts == read_all(journal, (word,)) != [] and read == 301


def test_entries_that_are_no_posts_or_none_that_can_be_read_do_no_harm(
    journal: Journal, tmp_path: Path
) -> None:
    alice = Author(ALICE)
    for number in range(93):
        alice.says(f"number {number}")
        alice.says(body=b"\xff\xff\xff\xff")
        alice.says(body=b"zebra", kind=NAME)
    journal.append(alice.run[:200])
    journal.append(alice.run[200:])
    index = Index(tmp_path / "search.index", journal)
    finish(index.parts(("zebra",)))
    finish(index.catch_up())
    parts = finish(index.parts(("zebra",)))
    end = search.BLOCK_ENTRIES
    assert [parts.newest(ALICE, seq) for seq in (1, end, end + 1, 279)] == [0, 0, end + 1, 279]


# ---------------------------------------------------------------- the same as reading all

SCRIPTS = [
    "abcAB ",
    "aıİIißẞſ",
    "абвАБ",
    "日本語カナ",
    "😀👍🏽\u200d",
    "\0\t\n\x1b\\\"'%*",
    "éÉe\u0301Σσςΐΰŉǰ",
]
texts = st.sampled_from(SCRIPTS).flatmap(lambda script: st.text(script, max_size=12))
any_text = st.one_of(texts, st.text(max_size=12))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(any_text, min_size=1, max_size=40), st.integers(0, 2**32))
def test_a_search_finds_exactly_what_reading_all_finds(
    data: st.DataObject, said: list[str], seed: int
) -> None:
    random = Random(seed)
    said = [text.encode(errors="replace").decode() for text in said]
    sizes = {"MIN_BLOCK_ENTRIES": random.randint(1, 3), "BLOCK_ENTRIES": random.randint(3, 9)}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(search, name, size)
        patch.setattr(search, "BLOCK_CHARACTERS", random.choice([1, 20, 10_000]))
        patch.setattr(search, "_STEP_GRAMS", random.choice([1, 5, 2048]))
        patch.setattr(search, "_STEP_BYTES", random.choice([1, 200]))
        journal = opened(Path(folder))
        index = Index(Path(folder) / "search.index", journal)
        authors = [Author(bytes([65 + number]) * 40) for number in range(3)]
        while said:
            for text in said[:10]:
                author = random.choice(authors)
                journal.append((author.says(text, time_ms=random.randrange(9)),))
            del said[:10]
            if random.random() < 0.3:
                index = Index(Path(folder) / "search.index", journal)
            finish(index.parts(("any",)))
            errand = index.catch_up()
            for _ in range(random.choice([3, 10**9])):  # or it is stopped in the middle
                if next(errand, "done") == "done":
                    break
            everything = texts_of(journal.history(10**9))
            inside = data.draw(st.sampled_from(everything))
            start = data.draw(st.integers(0, len(inside)))
            word = data.draw(any_text | st.just(inside[start:]))
            words = tuple({part.casefold(): 0 for part in (word, word[::2]) if part})
            assert found(journal, index, words)[0] == read_all(journal, words)
        journal.close()


# ---------------------------------------------------------------- damage


def indexed(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What is in the index of a few hundred posts."""
    monkeypatch.setattr(search, "BLOCK_ENTRIES", 32)
    say(journal, ALICE, *numbers(0, 300), "a zebra", *numbers(300, 400))
    say(journal, BOB, *numbers(0, 100), "another Zebra")
    index = Index(path, journal)
    finish(index.parts(("zebra",)))
    finish(index.catch_up())
    return path.read_bytes()


def test_no_damage_to_the_index_changes_what_is_found(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, random = tmp_path / "search.index", Random(7)
    sound = indexed(journal, path, monkeypatch)
    expected = read_all(journal, ("zebra",))
    assert found(journal, Index(path, journal), ("zebra",))[1] < 150
    for _ in range(100):
        image = bytearray(sound)
        for _ in range(random.choice([1, 1, 5])):
            at = random.randrange(len(image))
            image[at] ^= 1 << random.randrange(8)
        if random.random() < 0.2:
            image = image[: random.randrange(len(image))] + bytes(random.choice([0, 100]))
        if random.random() < 0.2:
            image += random.randbytes(random.randrange(200))
        path.write_bytes(image)
        index = Index(path, journal)
        assert found(journal, index, ("zebra",))[0] == expected
        finish(index.catch_up())
        assert found(journal, index, ("zebra",))[0] == expected
        assert path.read_bytes() == sound  # begun anew, and the same again


def test_an_index_of_another_version_is_begun_anew(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "search.index"
    sound = indexed(journal, path, monkeypatch)
    path.write_bytes(sound.replace(b"search 1", b"search 2"))
    index = Index(path, journal)
    assert len(found(journal, index, ("zebra",))[0]) == 2
    finish(index.catch_up())
    assert path.read_bytes() == sound


def test_a_block_that_is_there_twice_is_damage(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "search.index"
    sound = indexed(journal, path, monkeypatch)
    path.write_bytes(sound + sound[len(search.FIRST_LINE) :])
    assert len(found(journal, Index(path, journal), ("zebra",))[0]) == 2
    assert not path.exists()


def test_blocks_of_entries_that_this_journal_does_not_hold_are_not_believed(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "search.index"
    indexed(journal, path, monkeypatch)
    (tmp_path / "other").mkdir()
    for said in (numbers(0, 50), [*numbers(1000, 1060), "a zebra", *numbers(1061, 1500)]):
        other = opened(tmp_path / "other")  # holds less, then a branch of the same length
        say(other, ALICE, *said)
        index = Index(path, other)
        assert found(other, index, ("zebra",))[0] == read_all(other, ("zebra",))
        assert not path.exists()
        other.close()
        (tmp_path / "other" / "journal.db").unlink()
        indexed(journal, path, monkeypatch)


def test_a_journal_that_placed_the_same_entries_in_another_order_keeps_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a rescue."""
    monkeypatch.setattr(search, "BLOCK_ENTRIES", 32)
    alice, bob = (speaker(log, *numbers(0, 99), f"a zebra {log!r}") for log in (ALICE, BOB))
    for number, order in enumerate([(alice, bob), (bob, alice)]):
        (tmp_path / str(number)).mkdir()
        journal = opened(tmp_path / str(number))
        for author in order:
            journal.append(author.run)
        index = Index(tmp_path / "search.index", journal)
        texts, read = found(journal, index, ("zebra",))
        assert texts == [f"a zebra {BOB!r}", f"a zebra {ALICE!r}"]
        assert read == 200 if number == 0 else read < 100
        finish(index.catch_up())
        journal.close()


# ---------------------------------------------------------------- no disk


def test_where_no_index_can_be_written_a_search_reads_everything(
    journal: Journal, tmp_path: Path
) -> None:
    say(journal, ALICE, *numbers(0, 300), "a zebra")
    for path in (tmp_path / "missing" / "search.index", tmp_path):
        index = Index(path, journal)
        for _ in range(2):
            assert found(journal, index, ("zebra",)) == (["a zebra"], 301)
            finish(index.catch_up())


def test_an_index_that_can_not_be_removed_is_not_used(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "search.index"
    sound = indexed(journal, path, monkeypatch)
    path.write_bytes(sound[:-1])

    def refuse(path: Path, missing_ok: bool) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    index = Index(path, journal)
    for _ in range(2):
        assert len(found(journal, index, ("zebra",))[0]) == 2
        finish(index.catch_up())
    assert path.read_bytes() == sound[:-1]


def test_a_disk_that_is_full_in_the_middle_of_a_block_costs_the_index_only(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, ALICE, *numbers(0, 600), "a zebra")
    path = tmp_path / "search.index"
    index = Index(path, journal)
    write, room = os.write, 700

    def full(descriptor: int, data: bytes) -> int:
        nonlocal room
        count = write(descriptor, data[:room])
        room -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        finish(index.parts(("zebra",)))
        finish(index.catch_up())
    assert path.stat().st_size == 700
    assert found(journal, index, ("zebra",)) == (["a zebra"], 601)
    index = Index(path, journal)  # after the next start
    assert found(journal, index, ("zebra",)) == (["a zebra"], 601)
    finish(index.catch_up())
    assert found(journal, index, ("zebra",))[1] < 300


# ---------------------------------------------------------------- steps


def test_a_step_reads_few_entries_and_few_blocks(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, ALICE, *numbers(0, 2000))
    for number in range(200):
        say(journal, number.to_bytes(40, "big"), *numbers(0, 40))
    read = 0
    entry_in = journal._entry_in

    def counted(*arguments: Any) -> Entry:
        nonlocal read
        read += 1
        return entry_in(*arguments)

    monkeypatch.setattr(journal, "_entry_in", counted)
    index = Index(tmp_path / "search.index", journal)
    for _ in range(2):
        for errand in (index.parts(("zebra",)), index.catch_up()):
            for _ in errand:
                assert read <= search._STEP_LOGS
                read = 0
    assert (tmp_path / "search.index").stat().st_size > 200 * 100


def test_the_fullest_entry_is_learned_in_small_steps(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MIN_BLOCK_ENTRIES", 1)
    random = Random(1)
    text = "".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(16_000)) + "ΐ" * 50
    assert len(text.encode()) < protocol.MAX_POST_BYTES
    say(journal, ALICE, text)
    index = Index(tmp_path / "search.index", journal)
    finish(index.parts(("zebra",)))
    steps = sum(1 for _ in index.catch_up())
    assert steps >= 2 * (16_000 // search._STEP_GRAMS)
    assert finish(index.parts((text[100:110],))).newest(ALICE, 1) == 1
    assert finish(index.parts(("zebra",))).newest(ALICE, 1) == 0


def test_two_that_learn_at_once_write_each_block_once(journal: Journal, tmp_path: Path) -> None:
    say(journal, ALICE, *numbers(0, 600))
    path = tmp_path / "search.index"
    index = Index(path, journal)
    finish(index.parts(("zebra",)))
    one, other = index.catch_up(), index.catch_up()
    ended: set[Errand[None]] = set()
    while len(ended) < 2:
        for errand in (one, other):
            if next(errand, "done") == "done":
                ended.add(errand)
    other_index = Index(path, journal)
    assert found(journal, other_index, ("number 599",))[0] == ["number 599"]
    assert path.exists()  # it was not begun anew
