"""The benchmarks of what grows: a past, links, nodes, starts, layers. That they run, and that what
they conclude from what they see is right; never how fast anything is."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from subprocess import DEVNULL

import pytest

import identity
import protocol
from bench import alone, catch_up, idle, layers, meshing, past, start
from bench.figures import Figure, Plan
from journal import Journal
from protocol import Entry
from tests.processes import ROOT, Crowd

PLAN = Plan(fast=True, repetitions=1, say=lambda text: None)
POSTS = 50  # more than each author's first two, and no whole number of rounds


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is left of what is made once."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp" / f"selchat-bench-{os.getuid()}"


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd


# ---------------------------------------------------------------- the past


def _verify(entry: Entry) -> bool:
    signed = protocol.signed_bytes(identity.open_room().id, entry.raw[: -protocol.SIGNATURE_BYTES])
    return identity.verify(entry.author, entry.signature, signed)


def test_the_past_is_signed_by_all_authors_and_has_one_order(tmp_path: Path) -> None:
    for author in range(past.AUTHORS):
        past.write_entries(author, POSTS, tmp_path)
    past.merge_entries(tmp_path, tmp_path / "entries")
    assert [path.name for path in tmp_path.glob("author*")] == []
    entries = [*map(protocol.parse_entry, past.read_entries(tmp_path / "entries"))]
    assert all(map(_verify, entries))
    assert [entry.kind for entry in entries] == [protocol.NAME] * past.AUTHORS + [
        protocol.LINES
    ] * POSTS
    for before, entry in pairwise(entries):
        assert [head[:2] for head in entry.heads] == [(before.log, before.seq)]
    texts = [protocol.texts_in(entry) for entry in entries[past.AUTHORS :]]
    assert texts == [[past.text_of(number)] for number in range(POSTS)]

    journal = Journal(tmp_path / "other.db", _verify)
    for log in reversed(dict.fromkeys(entry.log for entry in entries)):
        journal.append(tuple(entry.raw for entry in entries if entry.log == log))
    placed = [entry.raw for entry in journal.placed_after(0, 1000)]
    assert placed == [entry.raw for entry in entries]


def test_what_was_made_is_kept_until_nobody_has_used_it_for_a_day(place: Path) -> None:
    path = past.entries_file(POSTS, PLAN)
    assert path.parent.parent == place and place.stat().st_mode & 0o077 == 0
    made = path.stat().st_mtime_ns
    assert past.entries_file(POSTS, PLAN).stat().st_mtime_ns == made
    old = time.time() - past.KEEP_S - 1
    os.utime(path.parent, (old, old))
    past.journal_folder(2, PLAN)
    assert not path.exists()
    assert not list(place.glob("unfinished*"))


def test_what_could_not_be_made_is_not_there(place: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "part").touch()
        raise OSError("full")

    with pytest.raises(OSError):
        past._kept("thing", make)
    assert list(place.iterdir()) == []


# ---------------------------------------------------------------- catching up


def _shown(numbers: list[int]) -> bytes:
    line = "12:00:00 author{:02}: {}\n"
    return "".join(line.format(n % past.AUTHORS, past.text_of(n)) for n in numbers).encode()


def test_a_post_that_is_missing_or_twice_or_out_of_order_is_noticed() -> None:
    catch_up.check_lines(_shown([0, 1, 2]) + b"more", 3)
    for wrong in ([0, 2, 3], [0, 1, 1], [0, 2, 1], [0, 1]):
        with pytest.raises(AssertionError):
            catch_up.check_lines(_shown(wrong), 3)


def test_a_newcomer_gets_all_posts_and_so_does_the_bare_copy(crowd: Crowd) -> None:
    taken = catch_up._catch_up(crowd, POSTS, PLAN)
    assert len(taken.shown_s) == len(taken.durable_s) == len(taken.bare_s) == 1
    assert taken.durable_s >= taken.shown_s


def test_a_journal_that_lacks_an_entry_is_noticed(tmp_path: Path) -> None:
    past.copy_journal(POSTS, tmp_path / "data", PLAN)
    path = tmp_path / "data" / "journal.db"
    catch_up.check_journal(path, POSTS - 2, said=1)  # and the name of who said it
    with pytest.raises(AssertionError, match="and not"):
        catch_up.check_journal(path, POSTS, said=1)


# ---------------------------------------------------------------- starts


def test_each_kind_of_start_is_timed_beside_the_imports_that_it_needs(crowd: Crowd) -> None:
    starts = start._Starts(crowd, POSTS, PLAN)
    assert {"ssl", "sqlite3", "selectors"} <= set(starts.needed)
    assert not {"user", "mesh", "rich", "tests"} & set(starts.needed)
    starts.one_of_each()
    kinds = {"imports", "ready empty", "ready big", "line empty", "line big"}
    assert {kind: len(seconds) for kind, seconds in starts.taken.items()} == dict.fromkeys(kinds, 1)


# ---------------------------------------------------------------- links and nodes


def test_the_memory_of_a_process_is_read_as_the_kernel_tells_it() -> None:
    told = (
        "5600-7ffe ---p 00000000 00:00 0    [rollup]\nRss:      1000 kB\nPss:  700 kB\n"
        "Pss_Dirty:   9 kB\nShared_Clean:   90 kB\nPrivate_Clean:   100 kB\nPrivate_Dirty: 500 kB\n"
    )
    assert idle.memory_in(told) == idle.Memory(resident=1000, shared_out=700, private=500)


def test_what_a_link_needs_is_how_much_more_each_costs() -> None:
    assert idle.slope({0: 30_000.0, 100: 32_000.0, 1000: 50_000.0}) == pytest.approx(20.0)


def test_what_a_heartbeat_costs_is_compared_with_few_and_with_many_links() -> None:
    memory = idle.Memory(2048, 1024, 1024)
    rests = {
        links: idle.Rest(idle.REST_S, cpu_us, links, memory)
        for links, cpu_us in ((100, 20_000.0), (1000, 500_000.0))
    }
    told = {figure.what: figure.values for figure in idle.rest_figures(rests)}
    assert told["100 idle links, resident"] == (2.0,)
    assert told["100 idle links, CPU"] == (4.0,)
    assert told["1,000 idle links, wake-ups"] == (200.0,)
    assert told["100 idle links, CPU a heartbeat"] == (200.0,)
    assert told["CPU a heartbeat, 1,000 : 100 links"] == (2.5,)
    part = {100: idle.Rest(1.0, 9.0, 9, memory)}
    assert not any("heartbeat" in figure.what for figure in idle.rest_figures(part))


@pytest.mark.parametrize(
    ("begin", "kind"), [(idle._start_selchat, "selchat"), (idle._start_bare, "tls")]
)
def test_far_ends_open_as_many_links_as_they_are_told(
    crowd: Crowd, begin: idle.Start, kind: str
) -> None:
    holder, port = begin(crowd, "holder")
    ends = idle._start_far_ends(crowd, kind, port)
    for links in (3, 5):
        idle._open_links(crowd, ends, links)
        if kind == "selchat":
            crowd.wait(lambda links=links: len(holder.linked()) == links, "they are linked")  # type: ignore[misc]
    assert idle.memory_of(holder).private > 0
    assert not holder.has_ended and not ends.has_ended


def test_dials_are_counted_in_transcripts(tmp_path: Path) -> None:
    transcript = tmp_path / "transcript"
    transcript.write_text(
        ">> LinkOpened(1)\n<< OpenLink(address=('127.0.0.1', 1))\n>> x\n<< OpenLink(2)\n"
    )
    assert meshing.dials_in(transcript) == 2


def test_a_few_nodes_mesh_and_their_dials_are_counted(crowd: Crowd) -> None:
    ratio, note = meshing._dials(crowd, 3, 2)
    assert note.endswith(" dials, 3 links")
    assert ratio >= 1.0


# ---------------------------------------------------------------- layers

MAIN = (str(ROOT / "net.py"), 1, "run")
SHOW = (str(ROOT / "output.py"), 2, "message")
COMMIT = (str(ROOT / "journal.py"), 3, "commit")
STORE = (str(ROOT / "journal.py"), 4, "_store")
SELECT = ("/usr/lib/python3/selectors.py", 5, "select")
POLL = ("~", 0, "<method 'poll' of 'select.epoll' objects>")
EXECUTE = ("~", 0, "<method 'execute' of 'sqlite3.Connection' objects>")
LEN = ("~", 0, "<built-in method builtins.len>")
HASH = ("~", 0, "<built-in method _hashlib.openssl_sha256>")


def _row(seconds: float, **callers: float) -> layers.Row:
    named = {"main": MAIN, "show": SHOW, "commit": COMMIT, "store": STORE, "select": SELECT}
    rows = {named[name]: (1, 1, share, share) for name, share in callers.items()}
    return (1, 1, seconds, seconds, rows)


PROFILE: layers.Profile = {
    MAIN: _row(1.0),
    SHOW: _row(4.0, main=4.0),
    COMMIT: _row(0.5, main=0.5),
    STORE: _row(1.5, main=1.5),
    SELECT: _row(0.25, main=0.25),
    POLL: _row(100.0, select=100.0),
    EXECUTE: _row(3.0, commit=2.0, store=1.0),
    LEN: _row(1.0, show=0.75, select=0.25),
    HASH: _row(0.5, store=0.5),
}


def test_what_is_not_ours_counts_for_the_layers_that_called_it() -> None:
    assert layers.seconds_by_layer(PROFILE) == pytest.approx(
        {
            "loop": 1.0 + 0.25 + 0.25,
            "render": 4.0 + 0.75,
            "journal": 0.5 + 1.5 + 1.0,
            "commit": 2.0,
            "verify": 0.5,
            "wait": 100.0,
        }
    )


def test_a_function_that_calls_itself_through_others_belongs_somewhere() -> None:
    one, other = ("a.py", 1, "one"), ("a.py", 2, "other")
    profile: layers.Profile = {
        one: (1, 1, 1.0, 1.0, {other: (1, 1, 1.0, 1.0)}),
        other: (1, 1, 1.0, 1.0, {one: (1, 1, 1.0, 1.0)}),
    }
    assert layers.seconds_by_layer(profile) == {layers.OTHER: 2.0}


def test_the_cost_of_a_line_is_divided_as_the_profile_says_but_for_the_commit() -> None:
    costs = layers.cost_by_layer(
        {"render": 3.0, "mesh": 1.0, "commit": 2.0, "wait": 9.0}, 10.0, 1000
    )
    assert costs.pop("render") == 7.5 and costs.pop("mesh") == 2.5
    assert costs.pop("commit") == 2000.0  # us of the clock, for each of a thousand lines
    assert set(costs.values()) == {0.0}


def test_layers_are_shown_as_a_table() -> None:
    costs = dict.fromkeys(layers.LAYERS, 0.0) | {"render": 3.0, "mesh": 1.0, "commit": 7.0}
    figures = [
        Figure("i", f"lines {what}, {layer}", "selchat", "us/line", (cost,))
        for what in ("in a burst", "alone")
        for layer, cost in costs.items()
    ]
    shown = {line.split()[0]: line.split()[1:] for line in islice(layers.table(figures), 1, None)}
    assert shown["render"] == ["3.00", "75%"] * 2
    assert shown["commit"] == ["7.00", "wait"] * 2


def test_a_real_line_goes_through_all_layers() -> None:
    costs = layers._costs(layers._one_burst, 50)
    for layer in layers.LAYERS:
        if layer != layers.OTHER:
            assert sum(by_layer[layer] for by_layer in costs.values()) > 0, layer


def test_a_scenario_alone_prints_its_figures(
    crowd: Crowd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(plan: Plan) -> Iterator[Figure]:
        yield Figure("x", "runs", "selchat", "times", (plan.repetitions,))
        if not plan.fast:
            plan.failures.append("the other one")

    monkeypatch.setattr(sys, "argv", ["bench", "--fast"])
    assert alone.main(measure) == 0
    monkeypatch.setattr(sys, "argv", ["bench", "--repetitions", "7"])
    assert alone.main(measure) == 1
    said = capsys.readouterr()
    assert said.out == "runs, selchat: 3 times\nruns, selchat: 7 times\n"
    assert said.err == "failed: the other one\n"


def test_a_wide_selchat_takes_the_words_of_selchat(crowd: Crowd) -> None:
    wide = crowd.start(
        "--version",
        command=[sys.executable, "-m", "bench.wide"],
        environment={"PYTHONPATH": str(ROOT)},
        stdin=DEVNULL,
    )
    assert wide.wait_end() == 0
