"""journal.py: the chain, the order, the seal. Signatures are stood in for by a hash, so
that a thousand entries cost nothing; identity.py has the real ones."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from hashlib import sha512
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import journal as journals
import protocol
import rows
from journal import Journal, JournalDamaged, JournalError, JournalLocked, check_run
from outcomes import Conflict, Gap, Known, NoRoom, Stored
from protocol import POSTS, Entry, Head, RemoteError, parse_entry
from rescue import Rescued, refill, rescue

ME = b"me" * 16
ALICE, BOB, CAROL = (letter * 40 for letter in (b"a", b"b", b"c"))
SIGNATURE_BYTES = protocol.SIGNATURE_BYTES


def sign(unsigned: bytes) -> bytes:
    return sha512(b"signed: " + unsigned).digest()


def verify(entry: Entry) -> bool:
    return sign(entry.raw[:-SIGNATURE_BYTES]) == entry.signature


class Author:
    """Writes entries of one log."""

    def __init__(self, log: bytes) -> None:
        self.log = log
        self.entries: list[bytes] = []

    def says(
        self,
        *texts: str,
        heads: tuple[Head, ...] = (),
        time_ms: int = 0,
        kind: int = POSTS,
        body: bytes | None = None,
        signed: bool = True,
    ) -> bytes:
        previous = parse_entry(self.entries[-1]).hash if self.entries else protocol.NO_PREVIOUS
        head = Head(self.log, len(self.entries) + 1)
        body = protocol.pack_posts(list(texts)) if body is None else body
        unsigned = protocol.unsigned_entry(head, previous, time_ms, heads, kind, body)
        self.entries.append(unsigned + (sign(unsigned) if signed else bytes(SIGNATURE_BYTES)))
        return self.entries[-1]

    def branch(self, seq: int) -> Author:
        """The same author in another world, where all after `seq` is still unsaid."""
        other = Author(self.log)
        other.entries = self.entries[:seq]
        return other

    @property
    def run(self) -> tuple[bytes, ...]:
        return tuple(self.entries)


def speaker(log: bytes, *texts: str) -> Author:
    author = Author(log)
    for text in texts:
        author.says(text)
    return author


def opened(folder: Path, fresh: bytes = b"12345678") -> Journal:
    journal = Journal(folder / "journal.db", verify)
    journal.own_log(ME, fresh)
    return journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = opened(tmp_path)
    yield journal
    try:
        journal.close()
    except JournalError:
        pass  # closed by the test


def write(journal: Journal, *texts: str, time_ms: int = 0) -> Stored:
    return journal.write([(POSTS, protocol.pack_posts([t])) for t in texts], time_ms, sign)


def texts_of(entries: list[Entry]) -> list[str]:
    return [text for entry in entries for text in protocol.texts_in(entry)]


def shown(journal: Journal, posts: int = 1000) -> list[str]:
    return texts_of(journal.history(posts))


def killed_after(work: Callable[[], Any]) -> Any:
    """What `work` returns in a process that is then killed, as kill -9 does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(work(), pipe)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(result)


def later(folder: Path) -> None:
    """Returns when the file system's clock, a coarse one, has moved on."""
    probe = folder / "probe"
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.touch()
    probe.unlink()


def save(folder: Path, copy: Path) -> None:
    copy.mkdir(exist_ok=True)
    for name in ("journal.db", "journal.seal"):
        (copy / name).unlink(missing_ok=True)
        if (folder / name).exists():
            shutil.copy2(folder / name, copy / name)


def restore(copy: Path, folder: Path) -> None:
    later(folder)
    (folder / "journal.seal").unlink(missing_ok=True)
    (folder / "journal.db-wal").unlink(missing_ok=True)
    for name in ("journal.db", "journal.seal"):
        if (copy / name).exists():
            shutil.copy2(copy / name, folder / name)


# ---------------------------------------------------------------- the chain


def test_a_sound_run_is_taken_in_and_given_out_again_to_the_byte(journal: Journal) -> None:
    alice = speaker(ALICE, "one", "two", "three")
    stored = journal.append(alice.run)
    assert isinstance(stored, Stored)
    assert (stored.log, stored.seq, texts_of(stored.placed)) == (ALICE, 3, ["one", "two", "three"])
    assert journal.frontier() == {ALICE: 3}
    assert journal.run(ALICE, 0) == alice.run
    assert journal.run(ALICE, 2) == alice.run[2:]
    assert journal.run(ALICE, 3) == ()
    assert [entry.raw for entry in journal.entries(ALICE, 1, 3)] == list(alice.run[1:])
    assert journal.entry(ALICE, 2) == alice.run[1]


def test_a_bad_last_signature_is_refused(journal: Journal) -> None:
    alice = speaker(ALICE, "one")
    alice.says("two", signed=False)
    with pytest.raises(RemoteError, match="bad signature"):
        journal.append(alice.run)
    assert journal.frontier() == {}


def test_a_later_signature_vouches_for_the_entries_before_it() -> None:
    alice = Author(ALICE)
    alice.says("one", signed=False)
    alice.says("two")
    assert [entry.seq for entry in check_run(alice.run, verify)] == [1, 2]


def test_a_wrong_hash_of_the_entry_before_is_refused(journal: Journal) -> None:
    alice, liar = speaker(ALICE, "one", "two"), speaker(ALICE, "uno", "due")
    with pytest.raises(RemoteError, match="wrong hash"):
        journal.append((alice.run[0], liar.run[1]))


def test_a_run_with_a_hole_a_repetition_or_another_log_in_it_is_refused(journal: Journal) -> None:
    one, two, three = speaker(ALICE, "one", "two", "three").run
    for run in [(one, three), (two, one), (one, one), (one, *speaker(BOB, "x", "y").run[1:])]:
        with pytest.raises(RemoteError, match="not one log's, or has a gap"):
            journal.append(run)


def test_bytes_that_are_no_entry_are_refused(journal: Journal) -> None:
    for run in [(b"",), (b"junk",), (b"junk", speaker(ALICE, "one").run[0])]:
        with pytest.raises(RemoteError):
            journal.append(run)


def test_a_run_that_begins_too_late_is_a_gap_and_changes_nothing(journal: Journal) -> None:
    alice = speaker(ALICE, "one", "two", "three")
    assert journal.append(alice.run[1:]) == Gap(ALICE)
    assert journal.frontier() == {}
    journal.append(alice.run[:1])
    assert journal.append(alice.run[2:]) == Gap(ALICE)


def test_of_an_overlapping_run_only_the_new_part_is_stored_and_placed(journal: Journal) -> None:
    alice = speaker(ALICE, "one", "two", "three", "four")
    journal.append(alice.run[:2])
    assert journal.append(alice.run[:2]) == Known()
    assert journal.append(alice.run[:1]) == Known()
    stored = journal.append(alice.run[1:])
    assert isinstance(stored, Stored) and texts_of(stored.placed) == ["three", "four"]
    assert journal.run(ALICE, 0) == alice.run


def test_two_entries_with_one_seq_are_a_conflict_and_ours_stays(journal: Journal) -> None:
    alice = speaker(ALICE, "one", "two")
    other = alice.branch(1)
    other.says("zwei")
    journal.append(alice.run)
    assert journal.append(other.run) == Conflict(ALICE, alice.run[1], other.run[1])
    assert journal.append(other.run[1:]) == Conflict(ALICE, alice.run[1], other.run[1])
    assert journal.run(ALICE, 0) == alice.run


def test_a_run_that_follows_another_entry_than_ours_is_a_conflict_without_proof(
    journal: Journal,
) -> None:
    alice = speaker(ALICE, "one", "two")
    other = alice.branch(1)
    other.says("zwei")
    other.says("drei")
    journal.append(alice.run)
    assert journal.append(other.run[2:]) == Conflict(ALICE, alice.run[1], None)


def test_a_fork_that_goes_on_shows_both_entries_of_the_newest_common_seq(journal: Journal) -> None:
    alice = speaker(ALICE, "one", "two", "three")
    other = alice.branch(1)
    for text in ("zwei", "drei", "vier"):
        other.says(text)
    journal.append(alice.run)
    assert journal.append(other.run) == Conflict(ALICE, alice.run[2], other.run[2])


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_an_entry_without_a_signature_of_its_own_proves_no_fork(
    journal: Journal, whose: str
) -> None:
    """Or an author could make two innocent members blame each other for a bad proof."""
    alice = speaker(ALICE, "one")
    other = alice.branch(1)
    alice.says("two", signed=whose != "ours")
    alice.says("three")
    other.says("zwei", signed=whose != "theirs")
    if whose == "theirs":
        other.says("drei", signed=False)
        other.says("vier")
    journal.append(alice.run)
    common = alice.run[1 if whose == "ours" else 2]
    assert journal.append(other.run) == Conflict(ALICE, common, None)


def test_the_proof_of_a_fork_is_kept_once_and_over_a_restart(tmp_path: Path) -> None:
    alice = speaker(ALICE, "one")
    other = speaker(ALICE, "eins")
    journal = opened(tmp_path)
    assert journal.add_fork(alice.run[0], other.run[0]) == []
    assert not journal.add_fork(other.run[0], alice.run[0])
    journal.close()
    journal = opened(tmp_path)
    assert journal.forks == {ALICE: (alice.run[0], other.run[0])}
    assert not journal.add_fork(alice.run[0], other.run[0])
    journal.close()


def test_what_is_no_proof_of_a_fork_is_refused(journal: Journal) -> None:
    one, two = speaker(ALICE, "one", "two").run
    unsigned = Author(ALICE)
    unsigned.says("eins", signed=False)
    for other in (one, two, speaker(BOB, "one").run[0]):
        with pytest.raises(RemoteError, match="proves nothing"):
            journal.add_fork(one, other)
    with pytest.raises(RemoteError, match="bad signature"):
        journal.add_fork(one, unsigned.run[0])
    with pytest.raises(RemoteError):
        journal.add_fork(one, b"junk")
    assert journal.forks == {}


def test_a_run_ends_at_an_entry_whose_own_signature_was_checked(journal: Journal) -> None:
    alice = Author(ALICE)
    for number in range(5):
        alice.says(str(number) * 20_000, signed=number == 4)
    journal.append(alice.run)
    for number in range(5, 10):
        alice.says(str(number) * 20_000, signed=number == 9)
    journal.append(alice.run[5:])
    assert journal.run(ALICE, 0) == alice.run[:5]  # six would fit a frame
    assert journal.run(ALICE, 2) == alice.run[2:5]
    assert journal.run(ALICE, 5) == alice.run[5:]


def test_a_run_has_a_limited_number_of_entries_each_with_a_signature_at_its_end(
    journal: Journal,
) -> None:
    many = protocol.MAX_RUN + 10
    alice = speaker(ALICE, *(f"{number}" for number in range(many)))
    journal.append(alice.run)  # as a longer one than may travel
    first = journal.run(ALICE, 0)
    assert len(first) == protocol.MAX_RUN
    assert first + journal.run(ALICE, len(first)) == alice.run


def test_a_run_fills_a_frame_and_no_more(journal: Journal) -> None:
    write(journal, *("x" * 1000 for _ in range(300)))
    own = next(iter(journal.frontier()))
    after, parts = 0, 0
    while run := journal.run(own, after):
        frame = protocol.encode(protocol.Entries(run))
        last = after + len(run) == 300
        assert last or len(frame) > protocol.MAX_FRAME_BYTES - 1500
        after, parts = after + len(run), parts + 1
    assert (after, parts) == (300, 3)


def test_entries_of_unknown_kinds_are_kept_passed_on_and_not_shown(journal: Journal) -> None:
    alice = Author(ALICE)
    alice.says(kind=77, body=b"from the future")
    alice.says("hello")
    journal.append(alice.run)
    assert journal.run(ALICE, 0) == alice.run
    assert shown(journal) == ["hello"]


def test_the_number_of_logs_has_a_limit(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_LOGS", 2)
    journal.append(speaker(ALICE, "one").run)
    bob = Author(BOB)
    bob.says("waits", heads=(Head(CAROL, 1),))
    journal.append(bob.run)
    assert journal.append(speaker(CAROL, "one").run) == NoRoom(CAROL)
    assert journal.frontier() == {ALICE: 1, BOB: 1}


def test_one_author_fills_its_own_share_of_the_logs_only(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_LOGS_OF_ONE", 2)
    logs = [ALICE[:32] + bytes([number]) * 8 for number in range(3)]
    for log in logs:
        journal.append(speaker(log, "one").run)
    assert journal.append(speaker(logs[2], "one").run) == NoRoom(logs[2])
    journal.append(speaker(BOB, "one").run)
    assert journal.frontier() == {logs[0]: 1, logs[1]: 1, BOB: 1}


def test_a_fork_that_can_not_be_proven_silences_nobody_else(tmp_path: Path) -> None:
    """Only the last entries carry a valid signature: no two of one seq do."""
    ours, theirs, bob = Author(ALICE), Author(ALICE), Author(BOB)
    ours.says("one", signed=False)
    ours.says("two")
    theirs.says("eins")
    theirs.says("zwei", signed=False)
    theirs.says("drei")
    bob.says("after three", heads=(Head(ALICE, 3),))
    journal = opened(tmp_path)
    journal.append(ours.run)
    assert journal.append(bob.run) == Stored(BOB, 1, [])
    parted = journal.append(theirs.run)
    assert isinstance(parted, Conflict) and parted.theirs is None
    assert texts_of(list(parted.placed)) == ["after three"]
    bob.says("and on", heads=(Head(ALICE, 9),))
    journal.close()
    journal = opened(tmp_path)
    again = journal.append(bob.run)
    assert isinstance(again, Stored) and texts_of(again.placed) == ["and on"]
    assert journal.forks == {}
    journal.close()


def test_entries_can_be_read_again_in_the_order_in_which_they_were_placed_here(
    tmp_path: Path,
) -> None:
    alice, bob = Author(ALICE), Author(BOB)
    alice.says("question", time_ms=9)
    bob.says("waits", heads=(Head(ALICE, 1),), time_ms=1)
    bob.says("waits too", time_ms=1)
    journal = opened(tmp_path)
    journal.append(bob.run)
    journal.append(alice.run)
    journal.append(speaker(CAROL, "early by the clock, late here").run)
    texts = ["question", "waits", "waits too", "early by the clock, late here"]
    for _again in range(2):
        assert journal.placed_count == 4
        assert texts_of(journal.placed_after(0, 9)) == texts
        assert texts_of(journal.placed_after(1, 2)) == texts[1:3]
        journal.close()
        journal = opened(tmp_path)
    journal.close()


def test_a_fork_is_marked_even_where_no_more_proofs_are_kept(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_FORKS", 0)
    bob = Author(BOB)
    bob.says("after what nobody here has", heads=(Head(ALICE, 9),))
    journal.append(bob.run)
    placed = journal.add_fork(speaker(ALICE, "one").run[0], speaker(ALICE, "eins").run[0])
    assert placed is not None and texts_of(placed) == ["after what nobody here has"]
    assert journal.forks == {}


def test_thousands_that_wait_for_one_entry_are_not_read_again_for_every_other(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        waits = Author(BOB[:32] + number.to_bytes(8, "big"))
        waits.says("waits", heads=(Head(ALICE, 100),))
        journal.append(waits.run)
    parsed = []
    monkeypatch.setattr(journal, "_entry", lambda *which: parsed.append(which))
    journal.append(speaker(ALICE, *map(str, range(99))).run)
    assert parsed == []


# ---------------------------------------------------------------- the order


def test_an_entry_waits_until_all_that_its_author_had_seen_is_there(journal: Journal) -> None:
    alice = speaker(ALICE, "question", "and another")
    bob = Author(BOB)
    bob.says("answer", heads=(Head(ALICE, 2),))
    waiting = journal.append(bob.run)
    assert isinstance(waiting, Stored) and (waiting.seq, waiting.placed) == (1, [])
    assert shown(journal) == []
    assert journal.frontier() == {BOB: 1}
    first = journal.append(alice.run[:1])
    assert isinstance(first, Stored) and texts_of(first.placed) == ["question"]
    rest = journal.append(alice.run[1:])
    assert isinstance(rest, Stored) and texts_of(rest.placed) == ["and another", "answer"]


def test_a_chain_of_waiting_entries_is_placed_at_once(journal: Journal) -> None:
    alice, bob, carol = speaker(ALICE, "1"), Author(BOB), Author(CAROL)
    bob.says("2", heads=(Head(ALICE, 1),))
    carol.says("3", heads=(Head(BOB, 1),))
    bob.says("4", heads=(Head(CAROL, 1),))
    journal.append(carol.run)
    journal.append(bob.run)
    stored = journal.append(alice.run)
    assert isinstance(stored, Stored) and texts_of(stored.placed) == ["1", "2", "3", "4"]


def test_an_answer_comes_after_its_question_though_its_clock_is_behind(journal: Journal) -> None:
    alice, bob = Author(ALICE), Author(BOB)
    alice.says("question", time_ms=5000)
    bob.says("earlier", time_ms=4000)
    bob.says("answer", time_ms=10, heads=(Head(ALICE, 1),))
    journal.append(alice.run)
    journal.append(bob.run)
    assert shown(journal) == ["earlier", "question", "answer"]
    assert shown(journal, 2) == ["question", "answer"]


def test_an_entry_that_says_to_have_seen_itself_or_its_future_waits_for_ever_in_peace(
    journal: Journal,
) -> None:
    alice, bob = Author(ALICE), Author(BOB)
    alice.says("fine")
    alice.says("impossible", heads=(Head(ALICE, 3),))
    alice.says("behind it")
    bob.says("circle", heads=(Head(CAROL, 1),))
    carol = Author(CAROL)
    carol.says("circle", heads=(Head(BOB, 1),))
    for author in (alice, bob, carol):
        journal.append(author.run)
    assert shown(journal) == ["fine"]
    assert journal.frontier() == {ALICE: 3, BOB: 1, CAROL: 1}


def talk(random: Random, logs: int, entries: int) -> list[Author]:
    """A conversation: whoever speaks has seen some of the others, and no clock is right."""
    authors = [Author(bytes([65 + n]) * 40) for n in range(logs)]
    for number in range(entries):
        author = random.choice(authors)
        seen = [
            Head(other.log, random.randint(1, len(other.entries)))
            for other in random.sample(authors, random.randint(0, logs))
            if other is not author and other.entries
        ]
        time_ms = random.choice([0, 1000, random.randrange(2000)])
        author.says(f"post {number}", heads=tuple(seen), time_ms=time_ms)
    return authors


def deliver(random: Random, authors: list[Author], journal: Journal) -> list[Entry]:
    """Brings all entries, cut into runs at random, in an order at random; returns them as
    they were placed."""
    runs = []
    for author in authors:
        cuts = sorted(random.sample(range(1, len(author.run) + 1), len(author.run) // 3))
        bounds = [0, *cuts, len(author.run)]
        runs += [author.run[start:end] for start, end in pairwise(bounds) if start < end]
    placed: list[Entry] = []
    while runs:
        random.shuffle(runs)
        late = []
        for run in runs:
            outcome = journal.append(run)
            if isinstance(outcome, Gap):
                late.append(run)
            else:
                assert isinstance(outcome, Stored)
                placed += outcome.placed
        runs = late
    return placed


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 40))
def test_two_journals_fed_in_different_orders_have_one_history(
    seed: int, logs: int, entries: int
) -> None:
    random = Random(seed)
    authors = talk(random, logs, entries)
    histories, heads = [], []
    for _ in range(2):
        with TemporaryDirectory() as folder:
            journal = opened(Path(folder))
            placed = deliver(random, authors, journal)
            assert_causal(placed)
            history = journal.history(10**9)
            assert_causal(history)
            assert len(history) == len(placed) == entries
            histories.append(history)
            (mine,) = write(journal, "seen").placed
            heads.append(set(mine.heads))
            assert journal.history(10**9)[-1] == mine
            journal.close()
    assert histories[0] == histories[1]
    assert heads[0] == heads[1]


def orders_of(entries: list[Entry]) -> dict[tuple[bytes, int], tuple[int, int, bytes, int]]:
    """What the header of journal.py says of stamps and ranks, done in the plainest way. The
    entries come after all that they have seen."""
    orders = {(log, 0): (0, 0, log, 0) for log in {entry.log for entry in entries}}
    for entry in entries:
        seen = [orders[head.log, head.seq] for head in entry.heads]
        seen.append(orders[entry.log, entry.seq - 1])
        stamp = max(entry.time_ms, *(order[0] for order in seen))
        rank = 1 + max(order[1] for order in seen)
        orders[entry.log, entry.seq] = (stamp, rank, entry.log, entry.seq)
    return orders


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 40))
def test_the_order_from_either_end_is_what_sorting_all_would_give(
    seed: int, logs: int, entries: int
) -> None:
    random = Random(seed)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "_STEP_LOGS", random.randint(1, 3))
        patch.setattr(journals, "_KEPT_BYTES", random.choice([0, 200, 1024]))
        journal = opened(Path(folder))
        placed = deliver(random, talk(random, logs, entries), journal)
        orders = orders_of(placed)
        ordered = sorted(placed, key=lambda entry: orders[entry.log, entry.seq])
        since_ms = random.randrange(2000)
        late = [e for e in ordered if orders[e.log, e.seq][0] >= since_ms]

        def even(log: bytes, seq: int) -> int:  # downwards
            return seq - seq % 2

        def in_order(**how: Any) -> list[Entry]:
            return [entry for entry in journal.in_order(**how) if entry]

        assert in_order(newest_first=False) == ordered
        assert in_order(newest_first=True) == ordered[::-1]
        assert in_order(newest_first=True, since_ms=since_ms) == late[::-1]
        evens = [entry for entry in ordered if entry.seq % 2 == 0]
        assert in_order(newest_first=True, wanted=even) == evens[::-1]
        assert journal.placed() == {log: max(s for o, s in orders if o == log) for log, _ in orders}
        journal.close()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_what_comes_while_the_order_is_read_is_left_out_and_spoils_nothing(
    seed: int, newest_first: bool
) -> None:
    random = Random(seed)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "_STEP_LOGS", 1)
        journal = opened(Path(folder))
        early = deliver(random, talk(random, 4, 20), journal)
        authors = {entry.log: Author(entry.log) for entry in early}
        for entry in sorted(early, key=lambda entry: entry.seq):
            authors[entry.log].entries.append(entry.raw)
        found = []
        for number, given in enumerate(journal.in_order(newest_first=newest_first)):
            found += [given] if given else []
            journal.append(speaker(bytes([100 + number]) * 40, "new").run)
            journal.append((random.choice(list(authors.values())).says("and on"),))
        orders = orders_of(early)
        early.sort(key=lambda entry: orders[entry.log, entry.seq], reverse=newest_first)
        assert found == early
        journal.close()


def test_a_step_in_the_order_reads_few_entries_however_many_logs_there_are(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        journal.append(speaker(number.to_bytes(40, "big"), "a" * 5000, "b").run)
    read = 0
    row_at = journal._row_at

    def counted(log: bytes, seq: int) -> Any:
        nonlocal read
        read += 1
        return row_at(log, seq)

    monkeypatch.setattr(journal, "_row_at", counted)
    for newest_first in (True, False):
        steps = 0
        for _ in journal.in_order(newest_first=newest_first):
            steps += 1
            assert read <= journals._STEP_LOGS + 2
            read = 0
        assert steps >= 400


def assert_causal(entries: list[Entry]) -> None:
    seen = dict.fromkeys((entry.log for entry in entries), 0)
    for entry in entries:
        assert seen[entry.log] == entry.seq - 1
        assert all(seen[head.log] >= head.seq for head in entry.heads)
        seen[entry.log] = entry.seq


def test_entries_that_waited_at_the_end_wait_again_after_the_next_start(tmp_path: Path) -> None:
    bob = Author(BOB)
    bob.says("answer", heads=(Head(ALICE, 1),))
    journal = opened(tmp_path)
    journal.append(bob.run)
    journal.close()
    journal = opened(tmp_path)
    stored = journal.append(speaker(ALICE, "question").run)
    assert isinstance(stored, Stored) and texts_of(stored.placed) == ["question", "answer"]
    journal.close()


def test_history_is_the_last_posts_and_whole_entries(journal: Journal) -> None:
    alice = Author(ALICE)
    alice.says("1", "2", time_ms=1)
    alice.says("3", "4", "5", time_ms=2)
    alice.says("6", time_ms=3)
    journal.append(alice.run)
    assert shown(journal, 0) == []
    assert shown(journal, 1) == ["6"]
    assert shown(journal, 2) == ["3", "4", "5", "6"]
    assert shown(journal, 4) == ["3", "4", "5", "6"]
    assert shown(journal, 5) == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("body", [b"\xff\xff\xff\xff", b"", b"\0\0\0\x09\0\0\0\1x"])
def test_an_entry_that_lies_about_its_posts_hides_nobody_elses(
    journal: Journal, body: bytes
) -> None:
    alice = speaker(ALICE, "1", "2", "3")
    alice.says(body=body)
    journal.append(alice.run)
    assert shown(journal, 2) == ["2", "3"]


# ---------------------------------------------------------------- own entries


def test_what_one_writes_names_what_one_had_seen_and_nothing_twice(journal: Journal) -> None:
    alice, bob = speaker(ALICE, "1", "2"), Author(BOB)
    bob.says("3", heads=(Head(ALICE, 1),))
    journal.append(alice.run[:1])
    journal.append(bob.run)
    (first,) = write(journal, "I saw both").placed
    assert first.heads == (Head(BOB, 1),)  # who had seen Alice's
    (second,) = write(journal, "nothing new").placed
    assert second.heads == ()
    journal.append(alice.run[1:])
    (third,) = write(journal, "now there is").placed
    assert third.heads == (Head(ALICE, 2),)


def test_what_waits_is_not_named_as_seen(journal: Journal) -> None:
    bob = Author(BOB)
    bob.says("answer", heads=(Head(ALICE, 1),))
    journal.append(bob.run)
    (mine,) = write(journal, "I saw nothing").placed
    assert mine.heads == ()


def test_what_was_seen_is_still_known_after_the_next_start(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(speaker(ALICE, "1").run)
    journal.append(speaker(BOB, "2").run)
    journal.close()
    journal = opened(tmp_path)
    (mine,) = write(journal, "both").placed
    assert set(mine.heads) == {Head(ALICE, 1), Head(BOB, 1)}
    journal.close()


def test_more_heads_than_fit_are_named_by_the_next_entries(journal: Journal) -> None:
    for number in range(protocol.MAX_HEADS + 10):
        journal.append(speaker(number.to_bytes(40, "big"), "hi").run)
    first, second, third = write(journal, "one", "two", "three").placed
    assert (len(first.heads), len(second.heads), third.heads) == (protocol.MAX_HEADS, 10, ())
    assert len({*first.heads, *second.heads}) == protocol.MAX_HEADS + 10


def test_own_entries_of_one_turn_follow_one_another_and_are_placed(journal: Journal) -> None:
    stored = write(journal, "one", "two", time_ms=7)
    assert (stored.log, stored.seq) == (ME + b"12345678", 2)
    assert check_run(tuple(entry.raw for entry in stored.placed), verify) == stored.placed
    assert [entry.time_ms for entry in stored.placed] == [7, 7]
    assert write(journal, "three").placed[0].previous == stored.placed[1].hash


def test_writing_before_the_log_is_known_is_a_mistake(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", verify)
    with pytest.raises(ValueError, match="own_log"):
        write(journal, "one")
    journal.close()


def test_names_are_kept_and_the_newest_counts(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    alice, bob = Author(ALICE), Author(BOB)
    alice.says(kind=protocol.NAME, body=b"alice")
    alice.says(kind=protocol.NAME, body="Älice".encode())
    bob.says(kind=protocol.NAME, body=b"b\xffb")
    bob.says(kind=protocol.NAME, body=b"n" * (protocol.MAX_NAME_BYTES + 1))
    journal.append(alice.run)
    journal.append(bob.run)
    assert [journal.name_of(log[:32]) for log in (ALICE, BOB, CAROL)] == ["Älice", "b\ufffdb", None]
    journal.close()
    journal = opened(tmp_path)
    assert [journal.name_of(log[:32]) for log in (ALICE, BOB, CAROL)] == ["Älice", "b\ufffdb", None]
    assert sorted(journal.names(9)) == [(ALICE[:32], "Älice"), (BOB[:32], "b\ufffdb")]
    assert list(journal.names(1)) == list(journal.names(9))[:1]
    journal.close()


def test_two_logs_of_one_author_give_it_one_name_whichever_arrives_first(tmp_path: Path) -> None:
    old, new = Author(ALICE), Author(ALICE[:32] + b"later...")
    old.says(kind=protocol.NAME, body=b"old", time_ms=1)
    new.says(kind=protocol.NAME, body=b"new", time_ms=2)
    for number, runs in enumerate(((old.run, new.run), (new.run, old.run))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for again in (False, True):  # and once more, from the disk
            journal = opened(folder)
            for run in () if again else runs:
                journal.append(run)
            assert journal.name_of(ALICE[:32]) == "new"
            journal.close()


def test_the_first_names_of_a_room_are_told_in_its_order_and_no_damaged_one(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    for log, name, time_ms in ((CAROL, b"carol", 3), (ALICE, b"alice", 1), (BOB, b"b\xffb", 2)):
        author = Author(log)
        author.says(kind=protocol.NAME, body=name, time_ms=time_ms)
        journal.append(author.run)
    named = [(ALICE[:32], "alice"), (BOB[:32], "b\ufffdb"), (CAROL[:32], "carol")]
    assert list(journal.names(9)) == named
    assert list(journal.names(2)) == named[:2]
    journal.commit()
    journal._db.execute("UPDATE names SET name = 'eve' WHERE name = 'carol'")
    with pytest.raises(JournalDamaged):
        list(journal.names(9))


# ---------------------------------------------------------------- durability and its cost


def test_all_that_was_committed_survives_a_kill(tmp_path: Path) -> None:
    alice = speaker(ALICE, "1", "2")

    def work() -> tuple[bytes, ...]:
        journal = opened(tmp_path)
        journal.append(alice.run)
        write(journal, "mine")
        journal.commit()
        write(journal, "never committed, so never sent")
        return journal.run(ME + b"12345678", 0)[:1]

    mine = killed_after(work)
    journal = opened(tmp_path, b"another1")
    assert journal.frontier() == {ALICE: 2, ME + b"12345678": 1}
    assert journal.run(ALICE, 0) == alice.run
    assert journal.run(ME + b"12345678", 0) == mine
    assert shown(journal) == ["1", "2", "mine"]
    assert write(journal, "on").placed[0].heads == (Head(ME + b"12345678", 1),)
    journal.close()


def test_a_start_after_a_kill_syncs_what_it_is_going_to_tell_of(tmp_path: Path) -> None:
    def work() -> None:
        journal = opened(tmp_path)
        journal.append(speaker(ALICE, "1").run)
        journal.commit()

    killed_after(work)
    journal = opened(tmp_path)
    assert journal.frontier() == {ALICE: 1}
    assert journal.syncs == 1
    journal.close()
    journal = opened(tmp_path)
    assert (journal.commits, journal.syncs) == (0, 0)
    journal.close()


def test_a_turn_with_entries_of_others_is_one_commit_and_no_sync_until_asked(
    journal: Journal,
) -> None:
    for log in (ALICE, BOB, CAROL):
        journal.append(speaker(log, "1", "2").run)
    assert not journal.commit()
    assert (journal.commits, journal.syncs) == (1, 0)
    assert not journal.commit()
    assert journal.commits == 1
    journal.sync()
    assert journal.syncs == 1
    assert journal.commit()
    journal.sync()
    assert journal.syncs == 1


def test_a_turn_with_own_entries_is_one_commit_and_one_sync(journal: Journal) -> None:
    write(journal, "1", "2")
    write(journal, "3")
    journal.append(speaker(ALICE, "1").run)
    assert journal.commit()
    assert (journal.commits, journal.syncs) == (1, 1)
    journal.sync()
    assert (journal.commits, journal.syncs) == (1, 1)


def test_a_sync_for_own_entries_is_one_for_those_of_others_too(journal: Journal) -> None:
    journal.append(speaker(ALICE, "1").run)
    journal.commit()
    write(journal, "mine")
    assert journal.commit()
    journal.append(speaker(BOB, "1").run)
    write(journal, "mine")
    assert journal.commit()
    assert journal.syncs == 2


def test_a_turn_without_news_costs_nothing(journal: Journal) -> None:
    alice = speaker(ALICE, "1", "2")
    journal.append(alice.run)
    journal.commit()
    journal.append(alice.run)
    journal.append(speaker(BOB, "1", "2").run[1:])
    assert journal.commits == 1
    journal.commit()
    assert journal.commits == 1


def test_the_journal_is_readable_by_its_owner_only(journal: Journal, tmp_path: Path) -> None:
    write(journal, "secret")
    journal.commit()
    journal.close()
    assert {file.name for file in tmp_path.iterdir()} == {"journal.db", "journal.seal"}
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


# ---------------------------------------------------------------- the seal


def begun(folder: Path) -> bytes:
    """A folder whose journal was written and closed in good order; the log it wrote."""
    folder.mkdir(exist_ok=True)
    journal = opened(folder, b"first001")
    log = write(journal, "1", "2").log
    journal.close()
    return log


def goes_on_with(folder: Path) -> tuple[bytes, int]:
    """What the next start writes: the log and the seq."""
    journal = opened(folder, b"fresh002")
    stored = write(journal, "next")
    journal.close()
    return stored.log, stored.seq


NEW_LOG = (ME + b"fresh002", 1)


def test_after_a_clean_end_the_log_goes_on(tmp_path: Path) -> None:
    log = begun(tmp_path)
    assert goes_on_with(tmp_path) == (log, 3)
    assert goes_on_with(tmp_path) == (log, 4)


def test_a_start_that_writes_nothing_keeps_the_log(tmp_path: Path) -> None:
    log = begun(tmp_path)
    opened(tmp_path).close()
    assert goes_on_with(tmp_path) == (log, 3)


def test_a_folder_that_was_moved_keeps_the_log(tmp_path: Path) -> None:
    log = begun(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert goes_on_with(tmp_path / "there") == (log, 3)


def test_after_a_kill_a_new_log_begins(tmp_path: Path) -> None:
    log = begun(tmp_path)
    killed_after(lambda: opened(tmp_path).frontier())
    assert goes_on_with(tmp_path) == NEW_LOG
    assert log != NEW_LOG[0]


def test_a_close_without_a_seal_lets_a_new_log_begin(tmp_path: Path) -> None:
    begun(tmp_path)
    opened(tmp_path).close(sealed=False)
    assert goes_on_with(tmp_path) == NEW_LOG


def test_a_deleted_journal_lets_a_new_log_begin(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "journal.db").unlink()
    assert goes_on_with(tmp_path) == NEW_LOG


@pytest.mark.parametrize("in_place", [True, False])
def test_a_journal_put_back_from_an_old_copy_lets_a_new_log_begin(
    tmp_path: Path, in_place: bool
) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    begun(folder)
    save(folder, copy)
    goes_on_with(folder)
    if not in_place:
        (folder / "journal.db").unlink()
    restore(copy, folder)
    assert goes_on_with(folder) == NEW_LOG


def test_a_copy_put_back_over_a_journal_that_did_not_change_lets_a_new_log_begin(
    tmp_path: Path,
) -> None:
    begun(tmp_path / "data")
    save(tmp_path / "data", tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "data")
    assert goes_on_with(tmp_path / "data") == NEW_LOG


def test_a_cloned_folder_begins_a_new_log_and_the_original_goes_on(tmp_path: Path) -> None:
    log = begun(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert goes_on_with(tmp_path / "two") == NEW_LOG
    assert goes_on_with(tmp_path / "one") == (log, 3)


def test_another_writer_breaks_the_seal(tmp_path: Path) -> None:
    begun(tmp_path)
    later(tmp_path)
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("CREATE TABLE notes(text)")
    other.commit()
    other.close()
    assert goes_on_with(tmp_path) == NEW_LOG


def test_a_seal_of_another_author_is_not_taken(tmp_path: Path) -> None:
    begun(tmp_path)
    journal = Journal(tmp_path / "journal.db", verify)
    assert journal.own_log(b"another key" + bytes(21), b"fresh002") == (
        b"another key" + bytes(21) + b"fresh002"
    )
    journal.close()


@pytest.mark.parametrize("seal", [b"", b"\xff" * 100, b"00 1 2", b"zz" * 40, b"zz" * 40 + b" "])
def test_a_seal_that_makes_no_sense_is_no_seal(tmp_path: Path, seal: bytes) -> None:
    begun(tmp_path)
    stat = (tmp_path / "journal.db").stat()
    fingerprint = f"{stat.st_ino} {stat.st_ctime_ns}".encode()
    (tmp_path / "journal.seal").write_bytes(seal + fingerprint)
    assert goes_on_with(tmp_path) == NEW_LOG


def test_the_seal_is_gone_before_anything_is_written_under_it(tmp_path: Path) -> None:
    begun(tmp_path)
    journal = opened(tmp_path)
    assert not (tmp_path / "journal.seal").exists()
    journal.close()


def test_own_entries_come_back_from_others_after_a_loss(tmp_path: Path) -> None:
    log = begun(tmp_path)
    journal = opened(tmp_path)
    lost = journal.run(log, 0)
    journal.close()
    (tmp_path / "journal.db").unlink()
    journal = opened(tmp_path, b"fresh002")
    write(journal, "where is all that I said?")
    assert isinstance(journal.append(lost), Stored)
    assert set(journal.frontier()) == {log, ME + b"fresh002"}
    journal.close()


class Life:
    """One folder, what happens to it, and every entry that was ever written from it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "data"
        self.folder.mkdir()
        self.starts = 0
        self.written: dict[tuple[bytes, int], bytes] = {}

    def session(self, turns: int, end: str) -> None:
        self.starts += 1

        def work() -> list[bytes]:
            journal = opened(self.folder, self.starts.to_bytes(8, "big"))
            raws = []
            for turn in range(turns):
                stored = write(journal, f"start {self.starts}, turn {turn}")
                raws += [entry.raw for entry in stored.placed]
                journal.commit()
            if end == "close":
                journal.close()
            elif end == "kill in a turn":
                write(journal, "not committed")  # so it never leaves
            return raws

        for raw in work() if end == "close" else killed_after(work):
            entry = parse_entry(raw)
            assert self.written.setdefault((entry.log, entry.seq), raw) == raw, "a fork"

    def then(self, what: str) -> None:
        copy = self.base / "copy"
        if what == "save":
            save(self.folder, copy)
        elif what == "restore" and copy.exists():
            restore(copy, self.folder)
        elif what == "delete":
            (self.folder / "journal.db").unlink()
        elif what == "move to a clone":
            clone = self.base / f"clone {self.starts}"
            shutil.copytree(self.folder, clone)
            self.folder = clone
        elif what == "back to the first":
            self.folder = self.base / "data"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["close", "close", "close", "kill", "kill in a turn"]),
            st.sampled_from(
                ["nothing", "save", "restore", "delete", "move to a clone", "back to the first"]
            ),
        ),
        max_size=7,
    )
)
def test_a_log_is_never_forked_whatever_happens_to_the_folder(
    story: list[tuple[int, str, str]],
) -> None:
    with TemporaryDirectory() as base:
        life = Life(Path(base))
        for turns, end, after in [*story, (1, "close", "nothing")]:
            life.session(turns, end)
            life.then(after)


# ---------------------------------------------------------------- what can be wrong with it


def assert_one_clear_line(error: BaseException, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)


def test_a_second_opener_is_told_that_the_folder_is_in_use(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(JournalLocked) as locked:
        Journal(tmp_path / "journal.db", verify)
    assert str(locked.value) == (
        f"{tmp_path} is in use by another selchat; give this one its own --data"
    )
    write(journal, "still here")
    journal.close()
    assert goes_on_with(tmp_path) == (ME + b"12345678", 2)


def test_another_process_is_told_that_the_folder_is_in_use(tmp_path: Path) -> None:
    def work() -> str:
        try:
            opened(tmp_path)
        except JournalLocked as error:
            return str(error)
        return "opened"

    journal = opened(tmp_path)
    assert "in use by another selchat" in killed_after(work)
    journal.close()


@pytest.mark.parametrize("content", [b"hello, I am a text\n" * 100, Random(1).randbytes(8192)])
def test_a_file_that_is_no_database_is_told_in_one_clear_line(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="is damaged; the next start keeps") as error:
        Journal(path, verify)
    assert_one_clear_line(error.value, path)
    assert path.read_bytes() == content


def test_an_empty_file_is_a_new_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.db").touch()
    assert goes_on_with(tmp_path) == NEW_LOG


def test_a_database_of_a_newer_selchat_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {rows.VERSION + 1}")
    database.close()
    with pytest.raises(JournalError, match="newer selchat") as error:
        Journal(path, verify)
    assert_one_clear_line(error.value, path)


def filled(folder: Path) -> bytes:
    """The bytes of a journal with much in it."""
    journal = opened(folder)
    bob = Author(BOB)
    bob.says("waits", heads=(Head(CAROL, 1),))
    for author in (*talk(Random(1), 3, 60), bob):
        journal.append(author.run)
    alice = Author(ALICE)
    alice.says(kind=protocol.NAME, body=b"alice")
    journal.append(alice.run)
    write(journal, *(str(number) * 100 for number in range(50)))
    journal.add_fork(speaker(ALICE, "1").run[0], speaker(ALICE, "2").run[0])
    journal.close()
    return (folder / "journal.db").read_bytes()


def use(folder: Path) -> None:
    """All that a journal can be asked."""
    journal = opened(folder)
    try:
        for log, seq in journal.frontier().items():
            journal.run(log, 0)
            journal.entry(log, seq)
            list(journal.entries(log, 0, seq))
        journal.history(1000)
        journal.append(speaker(CAROL, "1").run)
        write(journal, "more")
    finally:
        try:
            journal.close()
        except JournalError:
            pass


def test_a_truncated_journal_is_told_in_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    whole = filled(tmp_path)
    path.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
    with pytest.raises(JournalDamaged, match="is damaged; the next start keeps") as error:
        use(tmp_path)
    assert_one_clear_line(error.value, path)


def test_a_damaged_page_anywhere_is_harmless_or_told_in_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    whole = filled(tmp_path)
    random = Random(1)
    told = 0
    for page in range(0, len(whole), 4096):
        for size in (8, 200, 4096):
            damaged = bytearray(whole)
            start = page + random.randrange(4096 - size + 1)
            damaged[start : start + size] = random.randbytes(size)
            path.write_bytes(damaged)
            try:
                use(tmp_path)
            except JournalError as error:
                told += 1
                assert_one_clear_line(error, path)
    assert told > len(whole) // 4096  # whole pages of noise can't be overlooked


@pytest.mark.parametrize("raw", [b"", speaker(ALICE, "not mine").run[0]])
def test_an_entry_damaged_on_disk_is_told_in_one_clear_line(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "journal.db"
    log = begun(tmp_path)
    database = sqlite3.connect(path)
    database.execute("UPDATE entries SET raw = ? WHERE seq = 1", (raw,))
    database.commit()
    database.close()
    journal = opened(tmp_path)
    with pytest.raises(JournalDamaged, match="is damaged; the next start keeps") as error:
        journal.entry(log, 1)
    assert_one_clear_line(error.value, path)
    with pytest.raises(JournalDamaged, match="is damaged; the next start keeps"):
        list(journal.entries(log, 0, 2))
    if not raw:
        with pytest.raises(JournalDamaged, match="is damaged; the next start keeps"):
            journal.history(10)
    journal.close()


def test_a_damaged_entry_that_waited_names_no_log_that_is_not_there(tmp_path: Path) -> None:
    bob = Author(BOB)
    bob.says("answer", heads=(Head(ALICE, 1),))
    journal = opened(tmp_path)
    journal.append(bob.run)
    journal.close()
    database = sqlite3.connect(tmp_path / "journal.db")
    database.execute("UPDATE entries SET raw = ?", (bytes([0x80]) + bob.run[0][1:],))
    database.commit()
    database.close()
    with pytest.raises(JournalDamaged, match="is damaged; the next start keeps"):
        opened(tmp_path)


def test_a_damaged_schema_that_is_no_text_is_told_in_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    whole = filled(tmp_path)
    path.write_bytes(whole.replace(b"CREATE INDEX placed", b"CREATE IND\xffX placed"))
    with pytest.raises(JournalError) as error:
        opened(tmp_path)
    assert_one_clear_line(error.value, path)


def test_a_folder_that_is_not_there_is_the_callers_to_explain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "nowhere" / "journal.db", verify)


# ---------------------------------------------------------------- found damage


def changed(folder: Path, *statements: str) -> None:
    """What another program does to a journal that is not open."""
    database = sqlite3.connect(folder / "journal.db", isolation_level=None)
    for statement in statements:
        assert database.execute(statement).rowcount != 0
    database.close()


def held(journal: Journal, log: bytes) -> tuple[bytes, ...]:
    """All entries of a log, as a peer would get them."""
    entries: tuple[bytes, ...] = ()
    while run := journal.run(log, len(entries)):
        entries += run
    return entries


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET raw = CAST(raw || x'00' AS BLOB) WHERE seq = 2",
        "UPDATE entries SET raw = CAST(raw AS TEXT) WHERE seq = 2",
        "UPDATE entries SET checked = 2 WHERE seq = 2",
        "UPDATE entries SET stamp = stamp + 1 WHERE seq = 2",
        "UPDATE entries SET rank = NULL WHERE seq = 2",
        "UPDATE entries SET rank = rank || 'x' WHERE seq = 2",
        "UPDATE entries SET placed = 9 WHERE seq = 2",
        "UPDATE entries SET checksum = checksum + 1 WHERE seq = 2",
        "UPDATE entries SET seq = 9 WHERE seq = 2",
        "DELETE FROM entries WHERE seq = 2",
        "DELETE FROM entries WHERE seq = 3",
        "UPDATE entries SET log = 9",
        "UPDATE logs SET id = 9",
        "UPDATE logs SET log = zeroblob(40)",
        "DELETE FROM logs",
        "UPDATE names SET name = 'alicia'",
        "UPDATE names SET author = zeroblob(32)",
        "DELETE FROM names",
        "UPDATE forks SET other = x''",
        "DELETE FROM forks",
        "UPDATE state SET value = zeroblob(24) WHERE key = 'summary'",
        "DELETE FROM state WHERE key = 'summary'",
        "ALTER TABLE entries RENAME COLUMN raw TO row",
        "DROP TABLE names",
    ],
)
def test_whatever_is_changed_or_missing_is_found_before_it_goes_out(
    tmp_path: Path, change: str
) -> None:
    alice = Author(ALICE)
    alice.says(kind=protocol.NAME, body=b"alice")
    alice.says("two")
    alice.says("three")
    journal = opened(tmp_path)
    journal.append(alice.run)
    journal.add_fork(speaker(BOB, "1").run[0], speaker(BOB, "2").run[0])
    journal.close()
    changed(tmp_path, change)
    with pytest.raises(JournalDamaged):
        journal = opened(tmp_path)
        journal.placed_after(0, 9)
        journal.history(9)
        journal.run(ALICE, 0)
    if "ALTER" in change:
        changed(tmp_path, "ALTER TABLE entries RENAME COLUMN row TO raw")


def test_every_reader_looks_at_the_checksum(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    alice = speaker(ALICE, "one", "two", "three")
    journal.append(alice.run)
    bob = Author(BOB)
    bob.says("after one", heads=(Head(ALICE, 1),))
    journal.close()
    changed(tmp_path, "UPDATE entries SET raw = CAST(raw || 'x' AS BLOB) WHERE seq = 1")
    for read in (
        lambda journal: journal.run(ALICE, 0),
        lambda journal: journal.entry(ALICE, 1),
        lambda journal: list(journal.entries(ALICE, 0, 3)),
        lambda journal: journal.history(3),
        lambda journal: journal.placed_after(0, 1),
        lambda journal: journal.append(alice.run[:1]),
        lambda journal: journal.append(bob.run),
    ):
        journal = opened(tmp_path)
        assert journal.run(ALICE, 1) == alice.run[1:]
        with pytest.raises(JournalDamaged) as error:
            read(journal)
        assert_one_clear_line(error.value, tmp_path / "journal.db")
        journal.close()
        (tmp_path / "journal.damaged").unlink()


def summed(folder: Path, *changes: str) -> None:
    """As `changed`, and then all checksums are made to fit: as by somebody, not by a disk."""
    db = sqlite3.connect(folder / "journal.db")
    db.create_function("summed", -1, lambda raw, *rest: rows.checksum(raw, rest))
    db.create_function("of_row", -1, lambda earlier, raw, *r: rows.checksum(raw, r, earlier))
    with db:
        for change in changes:
            db.execute(change)
        columns = "raw, log, seq, checked, stamp, rank, placed"
        db.execute(f"UPDATE entries SET checksum = of_row(earlier, {columns})")
        db.execute("UPDATE state SET checksum = summed(value, key) WHERE key = 'summary'")
    db.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE state SET value = CAST(substr(value, 1, 71) || x'09' AS BLOB) WHERE key LIKE 'su%'",
        "UPDATE state SET value = CAST(value || 'x' AS BLOB) WHERE key = 'summary'",
        "UPDATE entries SET placed = -1 WHERE seq = 3",
        "UPDATE entries SET placed = NULLIF(2 - seq, -1);"  # 1, 0, and not placed
        "UPDATE state SET value = substr(value, 1, 24) WHERE key = 'summary'",  # no tips
        "UPDATE entries SET stamp = NULL WHERE seq = 3",
        "UPDATE entries SET raw = (SELECT raw FROM entries WHERE seq = 2) WHERE seq = 1",
        "UPDATE entries SET raw = CAST('rubbish' AS BLOB) WHERE seq = 1",
    ],
)
def test_what_nobody_wrote_is_damage_though_its_checksum_fits(tmp_path: Path, change: str) -> None:
    journal = opened(tmp_path)
    journal.append(speaker(ALICE, "one", "two", "three").run)
    journal.close()
    summed(tmp_path)
    opened(tmp_path).close()  # what does not change is fine
    summed(tmp_path, *change.split(";"))
    with pytest.raises(JournalDamaged):
        journal = opened(tmp_path)
        journal.placed_after(0, 9)
        journal.history(9)


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("entries WHERE seq = 2", lambda journal: journal.run(ALICE, 0)),
        ("entries WHERE seq = 3", lambda journal: journal.run(ALICE, 0)),
        ("entries WHERE seq = 3", lambda journal: journal.entry(ALICE, 3)),
        ("names", lambda journal: journal.name_of(ALICE[:32])),
    ],
)
def test_a_row_that_goes_while_the_journal_is_open_is_found(
    tmp_path: Path, change: str, read: Callable[[Journal], Any]
) -> None:
    alice = Author(ALICE)
    alice.says(kind=protocol.NAME, body=b"alice")
    alice.says("two")
    alice.says("three")
    journal = opened(tmp_path)
    journal.append(alice.run)
    journal.commit()
    journal._db.execute(f"DELETE FROM {change}")
    with pytest.raises(JournalDamaged):
        read(journal)


def test_names_are_looked_up_again_when_there_were_too_many(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_NAMES_CACHED", 1)
    for log, name in ((ALICE, b"alice"), (BOB, b"bob")):
        author = Author(log)
        author.says(kind=protocol.NAME, body=name)
        journal.append(author.run)
    for _ in range(2):
        assert journal.name_of(ALICE[:32]) == "alice"
        assert journal.name_of(BOB[:32]) == "bob"
    assert len(journal._names) == 1


def test_a_name_is_read_from_disk_once_until_there_is_a_newer_one(journal: Journal) -> None:
    alice = Author(ALICE)
    alice.says(kind=protocol.NAME, body=b"alice")
    journal.append(alice.run)
    statements: list[str] = []
    for name, reads in (("alice", 1), ("alicia", 1)):
        if name == "alicia":
            alice.says(kind=protocol.NAME, body=b"alicia")
            journal.append(alice.run)
        journal._db.set_trace_callback(statements.append)
        assert [journal.name_of(ALICE[:32]) for _ in range(3)] == [name] * 3
        journal._db.set_trace_callback(None)
        assert len(statements) == reads
        statements.clear()


@pytest.mark.parametrize("what", ["gone", "another"])
def test_a_file_that_is_taken_away_is_noticed_before_anything_is_said_to_be_kept(
    tmp_path: Path, what: str
) -> None:
    journal = opened(tmp_path)
    journal.append(speaker(ALICE, "one").run)
    journal.commit()
    (tmp_path / "journal.db").rename(tmp_path / "away.db")
    if what == "another":
        (tmp_path / "journal.db").write_bytes(b"")
    journal.append(speaker(BOB, "one").run)
    with pytest.raises(JournalError, match="was moved, removed or replaced"):
        journal.commit()
    journal.close()
    assert not (tmp_path / "journal.seal").exists()


def test_placing_later_keeps_the_checksums_right(tmp_path: Path) -> None:
    alice, bob = speaker(ALICE, "question"), Author(BOB)
    bob.says("answer", heads=(Head(ALICE, 1),))
    journal = opened(tmp_path)
    journal.append(bob.run)
    journal.close()
    journal = opened(tmp_path)
    journal.append(alice.run)
    journal.close()
    journal = opened(tmp_path)
    assert texts_of(journal.placed_after(0, 9)) == shown(journal) == ["question", "answer"]
    assert journal.run(BOB, 0) == bob.run
    journal.close()


def test_found_damage_writes_nothing_more_seals_nothing_and_is_known_at_the_next_start(
    tmp_path: Path,
) -> None:
    begun(tmp_path)
    journal = opened(tmp_path)
    journal.append(speaker(ALICE, "one", "two").run)
    journal.close()
    changed(tmp_path, "UPDATE entries SET checked = checked + 2 WHERE seq = 1")
    journal = opened(tmp_path)
    journal.append(speaker(BOB, "half done").run)
    with pytest.raises(JournalDamaged):
        journal.run(ALICE, 0)
    with pytest.raises(JournalError, match="failed before"):
        write(journal, "too late")
    assert not journal.commit()
    journal.sync()
    journal.close()
    assert journal.syncs == 0
    assert {file.name for file in tmp_path.iterdir()} == {"journal.db", "journal.damaged"}
    changed(tmp_path, "UPDATE entries SET checked = checked - 2 WHERE seq = 1")  # it went away
    with pytest.raises(JournalDamaged):
        opened(tmp_path)
    rescue(tmp_path / "journal.db", verify)
    journal = opened(tmp_path)
    assert BOB not in journal.frontier()
    journal.close()


# ---------------------------------------------------------------- version 1

OLD_SCHEMA = """
CREATE TABLE logs(id INTEGER PRIMARY KEY, log BLOB UNIQUE NOT NULL);
CREATE TABLE entries(
    log INTEGER NOT NULL, seq INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    stamp INTEGER, rank INTEGER,
    placed INTEGER,
    raw BLOB NOT NULL,
    PRIMARY KEY (log, seq));
CREATE INDEX history ON entries(stamp, rank) WHERE rank IS NOT NULL;
CREATE INDEX placed ON entries(placed) WHERE placed IS NOT NULL;
CREATE TABLE names(
    author BLOB PRIMARY KEY, name TEXT NOT NULL,
    stamp INTEGER NOT NULL, rank INTEGER NOT NULL, log BLOB NOT NULL);
CREATE TABLE forks(log BLOB PRIMARY KEY, one BLOB NOT NULL, other BLOB NOT NULL);
CREATE TABLE state(key TEXT PRIMARY KEY, value BLOB NOT NULL);
PRAGMA user_version = 1;
"""


def made_old(folder: Path) -> None:
    """The journal in there as the first version of the schema had it."""
    path, new = folder / "journal.db", folder / "new.db"
    path.rename(new)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(OLD_SCHEMA)
    database.execute("ATTACH ? AS new", (str(new),))
    for table, columns in {
        "logs": "id, log",
        "entries": "log, seq, checked, stamp, rank, placed, raw",
        "names": "author, name, stamp, rank, log",
        "forks": "log, one, other",
    }.items():
        database.execute(f"INSERT INTO {table} SELECT {columns} FROM new.{table}")
    (summary,) = database.execute("SELECT value FROM new.state WHERE key='summary'").fetchone()
    database.execute("INSERT INTO state VALUES('tips', ?), ('syncs', 7)", (summary[24:],))
    database.close()
    new.unlink()


def test_a_journal_of_the_first_version_says_after_its_upgrade_what_it_said(
    tmp_path: Path,
) -> None:
    filled(tmp_path)
    journal = opened(tmp_path)
    before = everything(journal)
    journal.close()
    made_old(tmp_path)
    for _again in range(2):
        journal = opened(tmp_path)
        assert everything(journal) == before
        journal.close()
    changed(tmp_path, "UPDATE entries SET checked = 2")
    with pytest.raises(JournalDamaged):
        opened(tmp_path)


def test_an_upgraded_journal_goes_on_with_its_log(tmp_path: Path) -> None:
    log = begun(tmp_path)
    made_old(tmp_path)
    seal(tmp_path, log)
    assert goes_on_with(tmp_path) == (log, 3)


def test_an_upgrade_that_was_cut_off_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    made_old(tmp_path)
    for version, upgrade in list(rows.UPGRADES.items()):
        for statements in range(len(upgrade)):
            failing = (*upgrade[:statements], "SELECT no_such_function()")
            monkeypatch.setitem(rows.UPGRADES, version, failing)
            with pytest.raises(JournalDamaged):
                opened(tmp_path)
            (tmp_path / "journal.damaged").unlink()
        monkeypatch.setitem(rows.UPGRADES, version, upgrade)
    journal = opened(tmp_path)
    assert journal.placed_count > 100
    journal.close()


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_an_upgrade_vouches_for_no_damaged_entry(tmp_path: Path, seq: int) -> None:
    alice = speaker(ALICE, "one", "two", "three")
    journal = opened(tmp_path)
    journal.append(alice.run)
    journal.close()
    made_old(tmp_path)
    raw = bytearray(alice.run[seq - 1])
    raw[-SIGNATURE_BYTES - 1] ^= 1
    database = sqlite3.connect(tmp_path / "journal.db")
    database.execute("UPDATE entries SET raw = ? WHERE seq = ?", (bytes(raw), seq))
    database.commit()
    database.close()
    with pytest.raises(JournalDamaged):
        opened(tmp_path)
    assert rescue(tmp_path / "journal.db", verify).entries == seq - 1


# ---------------------------------------------------------------- the rescue


def everything(journal: Journal) -> dict[str, Any]:
    """All that a journal says."""
    frontier = journal.frontier()
    placed = []
    for number in range(0, journal.placed_count, 50):
        placed += journal.placed_after(number, 50)
    return {
        "frontier": frontier,
        "runs": {log: held(journal, log) for log in frontier},
        "entries": {log: list(journal.entries(log, 0, seq)) for log, seq in frontier.items()},
        "history": journal.history(10**9),
        "end": journal.history(7),
        "placed": placed,
        "names": {log: journal.name_of(log[:32]) for log in frontier},
        "forks": journal.forks,
    }


def seal(folder: Path, log: bytes) -> None:
    """As if it had been there all the time: what rots on the platter changes no ctime."""
    stat = (folder / "journal.db").stat()
    (folder / "journal.seal").write_text(f"{log.hex()} {stat.st_ino} {stat.st_ctime_ns}")


def rescued(folder: Path) -> Rescued:
    with pytest.raises(JournalDamaged):
        opened(folder)
    return rescue(folder / "journal.db", verify)


def spoil(image: bytes, random: Random) -> bytes:
    """A flipped bit, a page of zeros, a page of noise, or the end cut off."""
    spoiled = bytearray(image)
    page = random.randrange(0, len(image), 4096)
    what = random.random()
    if what < 0.6:
        spoiled[random.randrange(len(image))] ^= 1 << random.randrange(8)
    elif what < 0.75:
        spoiled[page : page + 4096] = bytes(4096)
    elif what < 0.85:
        spoiled[page : page + 4096] = random.randbytes(4096)
    else:
        del spoiled[random.randrange(1, len(image)) :]
    return bytes(spoiled)


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is such: for hundreds of syncs that nobody needs."""
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
    else:
        with TemporaryDirectory(dir=memory) as folder:
            yield Path(folder)


def test_damage_anywhere_is_harmless_or_found_and_what_is_rescued_is_true_and_works_on(
    quick_path: Path,
) -> None:
    tmp_path = quick_path
    image = filled(tmp_path)
    journal = opened(tmp_path)
    truth = everything(journal)
    (own,) = {log for log in truth["frontier"] if log.startswith(ME)}
    (after,) = write(journal, "after").placed
    journal.close()
    harmless = found = untouched = kept = 0
    for seed in range(300):
        for file in tmp_path.iterdir():
            file.unlink()
        (tmp_path / "journal.db").write_bytes(spoil(image, Random(seed)))
        seal(tmp_path, own)
        try:
            journal = opened(tmp_path, b"fresh002")
            with contextlib.closing(journal):
                assert everything(journal) == truth, seed
                assert write(journal, "after").placed == [after], seed
            harmless += 1
            continue
        except JournalDamaged:
            found += 1
        except JournalError as error:
            assert "newer selchat" in str(error), seed
            untouched += 1
            continue
        kept += rescue(tmp_path / "journal.db", verify).entries
        journal = opened(tmp_path, b"fresh002")
        for log, seq in journal.frontier().items():
            assert held(journal, log) == truth["runs"][log][:seq], seed
        for log, run in truth["runs"].items():
            journal.append(run[journal.frontier().get(log, 0) :] or run[-1:])
        again = everything(journal)
        for what in ("frontier", "runs", "entries", "history", "end", "names"):
            assert again[what] == truth[what], (seed, what)
        (mine,) = write(journal, "on").placed
        assert (mine.log, mine.seq) == NEW_LOG
        journal.close()
    assert harmless > 10 and found > 100 and untouched < 10
    assert kept > found * sum(truth["frontier"].values()) // 2


@pytest.mark.parametrize("state", ["killed", "old"])
def test_damage_to_a_killed_or_an_old_journal_makes_nothing_untrue(
    quick_path: Path, state: str
) -> None:
    """Of what was not written back yet SQLite drops a damaged end without a word: that is
    as if the power had gone before it, and none of our own logs goes on after that."""
    folder = quick_path / "data"
    folder.mkdir()
    filled(folder)
    if state == "old":
        made_old(folder)
    else:

        def work() -> None:
            journal = opened(folder, b"second01")
            for author in talk(Random(2), 7, 60)[4:]:
                journal.append(author.run)
                journal.commit()
            write(journal, "mine")
            journal.commit()

        killed_after(work)
    images = {file.name: file.read_bytes() for file in folder.iterdir()}
    images = {name: image for name, image in images.items() if "seal" not in name}
    assert ("journal.db-wal" in images) == (state == "killed")
    journal = opened(folder)
    truth = {log: held(journal, log) for log in journal.frontier()}
    journal.close()
    kept = []
    for seed in range(60):
        random = Random(seed)
        shutil.rmtree(folder)
        folder.mkdir()
        spoiled = random.choice(list(images))
        for name, image in images.items():
            (folder / name).write_bytes(spoil(image, random) if name == spoiled else image)
        for fresh in (b"fresh002", b"fresh003"):
            try:
                journal = opened(folder, fresh)
                with contextlib.closing(journal):
                    for log, seq in journal.frontier().items():
                        assert held(journal, log) == truth[log][:seq], seed
                    assert write(journal, "on").log == ME + fresh
                break
            except JournalDamaged:
                assert fresh == b"fresh002", seed
                kept.append(rescue(folder / "journal.db", verify).entries)
            except JournalError as error:
                assert "newer selchat" in str(error), seed
    assert len(kept) > 10 and max(kept) > 100


def test_a_rescue_says_how_much_it_kept_and_where_the_old_file_is(tmp_path: Path) -> None:
    log = begun(tmp_path)
    journal = opened(tmp_path)
    alice = speaker(ALICE, *map(str, range(10)))
    journal.append(alice.run)
    journal.close()
    changed(
        tmp_path,
        "UPDATE entries SET raw = zeroblob(200) WHERE seq = 8",
        "DELETE FROM state WHERE key = 'summary'",
    )
    aside = tmp_path / "journal.damaged-1.db"
    assert rescued(tmp_path) == Rescued(entries=9, moved=aside)
    assert {file.name for file in tmp_path.iterdir()} == {"journal.db", aside.name}
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    journal = opened(tmp_path, b"fresh002")
    assert journal.frontier() == {log: 2, ALICE: 7}
    assert isinstance(journal.append(alice.run[7:]), Stored)
    assert journal.run(ALICE, 0) == alice.run
    assert write(journal, "on").log == NEW_LOG[0]
    journal.close()


def test_after_a_rescue_our_own_log_is_not_continued_though_its_end_was_lost(
    tmp_path: Path,
) -> None:
    log = begun(tmp_path)
    changed(tmp_path, "DELETE FROM entries WHERE seq = 2")
    seal(tmp_path, log)
    assert rescued(tmp_path).entries == 1
    assert goes_on_with(tmp_path) == NEW_LOG


def test_after_a_rescue_our_own_log_is_not_continued_though_nothing_of_it_was_lost(
    tmp_path: Path,
) -> None:
    log = begun(tmp_path)
    seal(tmp_path, log)
    (tmp_path / "journal.damaged").touch()
    assert rescued(tmp_path).entries == 2
    assert not (tmp_path / "journal.seal").exists()
    assert goes_on_with(tmp_path) == NEW_LOG


@pytest.mark.parametrize(
    "content",
    [b"x", b"hello" * 5000, bytes(8192), Random(1).randbytes(20_000), b"SQLite format 3\0" * 999],
)
@pytest.mark.parametrize("wal", [None, b"", b"junk" * 5000])
def test_of_a_file_that_is_no_database_nothing_is_kept_and_nothing_is_destroyed(
    tmp_path: Path, content: bytes, wal: bytes | None
) -> None:
    (tmp_path / "journal.db").write_bytes(content)
    if wal is not None:
        (tmp_path / "journal.db-wal").write_bytes(wal)
    aside = tmp_path / "journal.damaged-1.db"
    assert rescued(tmp_path) == Rescued(0, aside)
    assert aside.read_bytes() == content
    assert goes_on_with(tmp_path) == NEW_LOG


def test_a_file_of_no_bytes_beside_what_was_not_written_back_to_it_is_damage(
    tmp_path: Path,
) -> None:
    """SQLite would delete the -wal."""
    killed_after(lambda: write(opened(tmp_path), "one") and None)
    (tmp_path / "journal.db").write_bytes(b"")
    wal = (tmp_path / "journal.db-wal").read_bytes()
    assert wal
    aside = tmp_path / "journal.damaged-1.db"
    assert rescued(tmp_path) == Rescued(0, aside)
    assert aside.with_name(aside.name + "-wal").read_bytes() == wal


def test_a_wal_that_is_garbage_costs_what_was_in_it_and_no_more(tmp_path: Path) -> None:
    log = begun(tmp_path)
    (tmp_path / "journal.db-wal").write_bytes(Random(1).randbytes(50_000))
    journal = opened(tmp_path)
    assert journal.frontier() == {log: 2}
    journal.close()


def test_what_was_committed_before_a_kill_is_rescued_from_the_wal(tmp_path: Path) -> None:
    begun(tmp_path)

    def work() -> None:
        journal = opened(tmp_path)
        journal.append(speaker(ALICE, "one").run)
        journal.commit()
        journal._damage()

    killed_after(work)
    assert (tmp_path / "journal.db-wal").exists()
    assert rescue(tmp_path / "journal.db", verify).entries == 3


def test_a_schema_that_makes_no_sense_costs_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    whole = filled(tmp_path)
    path.write_bytes(whole.replace(b"CREATE INDEX placed", b"CREATE INDEY placed"))
    journal_entries = 60 + 1 + 1 + 50
    assert rescued(tmp_path).entries == journal_entries


def test_rows_with_a_damaged_number_are_rescued_too(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(speaker(ALICE, "one", "two", "three").run)
    journal.close()
    changed(
        tmp_path,
        "UPDATE entries SET rowid = 9223372036854775807 WHERE seq = 2",
        "UPDATE entries SET rowid = 9223372036854775806, raw = 7 WHERE seq = 3",
        "DELETE FROM state",
    )
    assert rescued(tmp_path).entries == 2


def test_entries_without_signatures_of_their_own_are_rescued_with_the_one_that_has_it(
    tmp_path: Path,
) -> None:
    alice = Author(ALICE)
    for number in range(30):
        alice.says(str(number % 10) * 20_000, signed=number % 3 == 2)
    journal = opened(tmp_path)
    for start in range(0, 30, 3):
        journal.append(alice.run[start : start + 3])
    journal.close()
    (tmp_path / "journal.damaged").touch()
    assert rescued(tmp_path).entries == 30
    journal = opened(tmp_path)
    assert held(journal, ALICE) == alice.run
    journal.close()


def test_what_nobody_signed_is_not_rescued(tmp_path: Path) -> None:
    liar = Author(ALICE)
    for number in range(20):
        liar.says(str(number % 10) * 20_000, signed=False)
    journal = opened(tmp_path)
    refill(journal, [b"", b"junk", *liar.run, *speaker(BOB, "one").run])
    assert journal.frontier() == {BOB: 1}
    journal.close()


def test_what_is_rescued_can_be_passed_on_however_seldom_its_author_signed(tmp_path: Path) -> None:
    alice = Author(ALICE)
    for number in range(1, 2 * protocol.MAX_RUN + 1):
        alice.says(f"{number}", signed=number in (3, protocol.MAX_RUN + 3, 2 * protocol.MAX_RUN))
    journal = opened(tmp_path)
    refill(journal, alice.run)
    passed_on: list[bytes] = []
    while run := journal.run(ALICE, len(passed_on)):
        passed_on += run
    assert tuple(passed_on) == alice.run
    journal.close()


def test_a_power_cut_anywhere_in_a_rescue_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before each of the steps that change a name, until none is left to be cut."""

    class PowerCut(Exception):
        pass

    steps = 0

    def cut(which: str) -> bool:
        """Of the calls in order, the one at `steps` is the last thing that did not happen."""
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise PowerCut(which)
        return True

    real = {name: getattr(Path, name) for name in ("rename", "replace", "unlink")}
    for name, function in real.items():
        monkeypatch.setattr(
            Path,
            name,
            lambda path, *args, name=name, function=function, **kwargs: (
                cut(name) and function(path, *args, **kwargs)
            ),
        )
    whole = filled(tmp_path)
    (tmp_path / "journal.damaged").touch()
    entries = rescue(tmp_path / "journal.db", verify).entries
    assert entries == 112
    for point in range(1, 99):
        folder = tmp_path / str(point)
        folder.mkdir()
        (folder / "journal.db").write_bytes(whole)
        (folder / "journal.damaged").touch()
        (folder / "journal.rescued.db").write_bytes(b"left by an earlier one")
        (folder / "journal.rescued.damaged").touch()
        steps = point
        try:
            rescue(folder / "journal.db", verify)
            break
        except PowerCut:
            pass
        steps = 0
        assert rescued(folder).entries == entries
        asides = [file for file in folder.iterdir() if "damaged-" in file.name]
        assert len(asides) in (1, 2) and all(aside.read_bytes() for aside in asides)
        journal = opened(folder)
        assert sum(journal.frontier().values()) == entries
        journal.close()
    assert 5 < point < 20


def test_a_rescue_that_was_cut_off_goes_on_with_the_file_that_it_had_moved(
    tmp_path: Path,
) -> None:
    begun(tmp_path)
    (tmp_path / "journal.damaged").touch()
    (tmp_path / "journal.damaged-2.db").write_bytes(b"of long ago; the first was deleted")
    assert rescued(tmp_path) == Rescued(2, tmp_path / "journal.damaged-3.db")
    (tmp_path / "journal.db").unlink()  # as if it had not come so far
    (tmp_path / "journal.damaged").touch()
    assert rescued(tmp_path) == Rescued(2, tmp_path / "journal.damaged-3.db")


def test_a_journal_that_is_in_use_is_not_rescued(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    (tmp_path / "journal.damaged").touch()
    with pytest.raises(JournalLocked):
        rescue(tmp_path / "journal.db", verify)
    write(journal, "still here")
    journal.close()
    assert not list(tmp_path.glob("*damaged-*"))


def test_a_journal_of_a_newer_selchat_is_not_rescued(tmp_path: Path) -> None:
    changed(tmp_path, f"PRAGMA user_version = {rows.VERSION + 1}")
    (tmp_path / "journal.damaged").touch()
    with pytest.raises(JournalError, match="newer selchat"):
        rescue(tmp_path / "journal.db", verify)
    assert not list(tmp_path.glob("*damaged-*"))


def test_a_second_rescue_at_the_same_time_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"rubbish" * 1000)
    outcomes: list[str] = []

    def verify_while_rescuing(entry: Entry) -> bool:
        with pytest.raises(JournalLocked):
            rescue(path, verify)
        outcomes.append("refused")
        return verify(entry)

    path.unlink()
    begun(tmp_path)
    (tmp_path / "journal.damaged").touch()
    rescue(path, verify_while_rescuing)
    assert outcomes
    with pytest.raises(JournalLocked):  # it is done: nothing is damaged any more
        rescue(path, verify)


def test_a_rescue_whose_mark_was_taken_away_while_it_waited_for_it_is_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another rescue ended between the opening of the mark and its lock."""
    begun(tmp_path)
    mark, lock = tmp_path / "journal.damaged", fcntl.flock
    mark.touch()

    def lock_late(file: IO[bytes], how: int) -> None:
        mark.unlink(missing_ok=True)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with pytest.raises(JournalLocked):
        rescue(tmp_path / "journal.db", verify)
    assert not list(tmp_path.glob("*damaged-*"))


def test_a_rescue_that_finds_no_room_says_so_and_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SQLite can't write back from the -wal stays there when it closes."""
    begun(tmp_path)
    (tmp_path / "journal.damaged").touch()
    close = Journal.close

    def close_on_a_full_disk(journal: Journal, *, sealed: bool = True) -> None:
        close(journal, sealed=sealed)
        (tmp_path / "journal.rescued.db-wal").write_bytes(b"not written back")

    monkeypatch.setattr(Journal, "close", close_on_a_full_disk)
    with pytest.raises(JournalError, match="no room to rescue it") as error:
        rescue(tmp_path / "journal.db", verify)
    assert_one_clear_line(error.value, tmp_path / "journal.db")
    monkeypatch.undo()
    assert rescued(tmp_path) == Rescued(2, tmp_path / "journal.damaged-1.db")


def test_a_journal_that_somebody_moved_away_is_a_new_one_after_the_rescue(tmp_path: Path) -> None:
    (tmp_path / "journal.damaged").touch()
    assert rescued(tmp_path) == Rescued(0, None)
    assert goes_on_with(tmp_path) == NEW_LOG


def test_the_number_of_damaged_files_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rescue.MAX_DAMAGED_FILES", 2)
    path = tmp_path / "journal.db"
    for number in (1, 2):
        path.write_bytes(b"rubbish" * 1000)
        assert rescued(tmp_path).moved == tmp_path / f"journal.damaged-{number}.db"
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(JournalError, match="so were 2 before it") as error:
        rescued(tmp_path)
    assert_one_clear_line(error.value, path)
    assert path.read_bytes() == b"rubbish" * 1000


def test_a_header_that_forbids_to_write_is_damage_and_no_write_protection(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    whole = bytearray(filled(tmp_path))
    whole[18] |= 0x80  # the version of the format that writes
    path.write_bytes(whole)
    rescued(tmp_path)


def test_the_order_of_a_log_is_that_of_its_last_entry_that_is_placed(journal: Journal) -> None:
    first = write(journal, "one", time_ms=70)
    head = Head(first.log, 1)
    alice = Author(ALICE)
    alice.says("an answer", heads=(head,), time_ms=50)
    alice.says("has to wait", heads=(Head(CAROL, 1),), time_ms=900)
    journal.append(alice.run)
    assert journal.last_order(first.log) == (70, 1)
    assert journal.last_order(ALICE) == (70, 2)  # no earlier than what it answers
