"""What goes wrong outside: real processes, real sockets, real disks, and all of them fail.

Networks that are bad come from proxy.py, full and read-only disks are file systems of
their own (which takes root; elsewhere these tests are skipped). What takes long goes on in
the background while the other tests run.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from mesh import DEAD_S
from tests import soak
from tests.processes import Crowd, Event, Process, free_ports
from tests.proxy import FRONT

# Of the storms. More of them: SELCHAT_ROUNDS=200 pytest tests/test_faults.py
ROUNDS = int(os.environ.get("SELCHAT_ROUNDS", "4"))
KIB = 1024
LINK_S = 5.0  # a link that broke is back by then, as dialing again is dear only for the absent


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd
        check(crowd)


def check(crowd: Crowd) -> None:
    """A traceback is always a bug."""
    for process in crowd.processes:
        assert b"Traceback" not in process.stdout + process.stderr, process.stderr.decode()


def stop(*processes: Process) -> None:
    """Ends all, and reads what they still say."""
    for process in processes:
        process.signal(signal.SIGTERM)
    for process in processes:
        assert process.wait_end() == 0


def is_one_clear_line(stderr: bytearray) -> bool:
    line = stderr.decode()
    return line.startswith("selchat: ") and line.count("\n") == 1 and len(line) < 250


def history(crowd: Crowd, process: Process) -> list[Event]:
    """All posts on the disk of a node that has ended, in the room's order."""
    assert process.data is not None
    again = crowd.run(0, 0, "x", "--history", 100_000, "--linger", 0, data=process.data)
    return again.events("message")


def check_same_history(crowd: Crowd, *nodes: Process) -> list[Event]:
    """Every node has the same posts on its disk, once, in one order: these."""
    histories = [history(crowd, node) for node in nodes]
    refs = [[post["ref"] for post in posts] for posts in histories]
    assert all(one == refs[0] for one in refs[1:]), "one order for all"
    assert len(set(refs[0])) == len(refs[0]), "and each post once"
    return histories[0]


# ---------------------------------------------------------------- what takes its time


@dataclass
class Background:
    """A room of three through a network that has forgotten their links; one is stopped."""

    crowd: Crowd
    network: Process
    nodes: list[Process]
    began: float


@pytest.fixture(scope="module", autouse=True)
def background(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    with Crowd(tmp_path_factory.mktemp("background")) as crowd:
        ports = free_ports(3)
        network = crowd.start_proxy(ports)
        nodes = [
            crowd.start(port, f"{FRONT}:{ports[n - 1]}", f"node{n}") for n, port in enumerate(ports)
        ]
        crowd.wait_linked(*nodes)
        change(crowd, network, forget=True)
        change(crowd, network)  # what is dialed from now on gets through
        nodes[2].signal(signal.SIGSTOP)
        for number, node in enumerate(nodes):
            node.say(f"{number} before they notice")
        yield Background(crowd, network, nodes, time.monotonic())
        nodes[2].signal(signal.SIGCONT)  # if the test that wakes it was not run, or failed
        stop(*nodes)
        check(crowd)


# ---------------------------------------------------------------- bad networks

WEATHERS: tuple[dict[str, Any], ...] = (
    {"latency_s": 0.15},
    {"slice_bytes": 7},
    {"resets_per_s": 4.0},
    {"hole": True},
    {"bytes_per_s": 3000},
    {"resets_per_s": 1.0, "slice_bytes": 400, "latency_s": 0.02, "close_s": 0.5},
)
WEATHER_S = 0.5
LINES_PER_WEATHER = 5


def change(crowd: Crowd, network: Process, **weather: object) -> Event:
    """Changes the weather; what was done to calls until then."""
    known = len(network.events("weather"))
    network.say(json.dumps(weather))
    crowd.wait(lambda: len(network.events("weather")) > known, "the weather changes")
    return network.events("weather")[-1]


def test_after_every_kind_of_bad_network_all_have_all_once_in_one_order(crowd: Crowd) -> None:
    ports = free_ports(3)
    network = crowd.start_proxy(ports)
    nodes = [
        crowd.start(ports[n], f"{FRONT}:{ports[n - 1]}", f"node{n}", "--debug", f"transcript-{n}")
        for n in range(3)
    ]
    crowd.wait_linked(*nodes)
    said: dict[str, list[str]] = {f"node{n}": [] for n in range(3)}
    for number, weather in enumerate(islice(cycle(WEATHERS), max(ROUNDS, len(WEATHERS)))):
        change(crowd, network, **weather)
        for line in range(LINES_PER_WEATHER):
            for node, (name, lines) in zip(nodes, said.items(), strict=True):
                lines.append(f"{name} in weather {number}: {line}")
                node.say(lines[-1])
            crowd.wait_s(WEATHER_S / LINES_PER_WEATHER)
    counts = change(crowd, network)
    assert counts["resets"], "or this test tests nothing"
    total = sum(map(len, said.values()))
    crowd.wait(
        lambda: all(len(node.events("message")) >= total for node in nodes), "all have all", 20.0
    )
    stop(*nodes)
    network.end_input()
    assert network.wait_end() == 0
    for node, (name, lines) in zip(nodes, said.items(), strict=True):
        assert node.texts(own=True) == lines
        for other in set(said) - {name}:
            assert node.texts(name=other) == said[other]
        assert node.errors() == []
    told = check_same_history(crowd, *nodes)
    for name, lines in said.items():
        assert [post["text"] for post in told if post["name"] == name] == lines
    for n in range(3):
        dialed = (crowd.folder / f"transcript-{n}").read_text()
        assert "OpenLink(address=('127.0.0.1'" not in dialed, "nobody found a way around"


# ---------------------------------------------------------------- kill -9, and being stopped


@dataclass
class Resident:
    """One node of the storm, over all its runs."""

    number: int
    process: Process
    runs: list[Process]


def test_after_a_storm_of_kill_9_and_stops_over_five_nodes_all_have_all_once(crowd: Crowd) -> None:
    chance = random.Random(3)
    ports = free_ports(5)

    def start(number: int) -> Process:
        named = f"node{number}"
        return crowd.start(ports[number], ports[number - 1], named, data=f"data-{named}")

    residents = [Resident(n, process, [process]) for n, process in enumerate(map(start, range(5)))]
    crowd.wait_linked(*(resident.process for resident in residents))

    def all_say(what: str) -> None:
        for resident in residents:
            resident.process.say(*(f"{resident.number} {what} {line}" for line in range(5)))

    slowest_s = 0.0
    for number in range(ROUNDS):
        killed, stopped, other = chance.sample(residents, 3)
        all_say(f"round {number}")
        stopped.process.signal(signal.SIGSTOP)
        crowd.wait(partial(killed.process.texts, own=True), "it has said something")
        killed.process.kill()
        for resident in residents:
            if resident is not killed:
                resident.process.say(f"{resident.number} round {number} goes on")
        killed.process = start(killed.number).wait_ready()
        killed.runs.append(killed.process)
        stopped.process.signal(signal.SIGCONT)
        woken, text = time.monotonic(), f"{stopped.number} is awake {number}"
        stopped.process.say(text)
        crowd.wait(partial(has_heard, other.process, text), "it is heard again", DEAD_S)
        slowest_s = max(slowest_s, time.monotonic() - woken)
    print(f"{ROUNDS} rounds: after SIGCONT heard within {slowest_s:.2f} s", file=sys.stderr)
    for resident in residents:
        resident.process.say(f"{resident.number} the end")
    for resident in residents:
        for number in range(len(residents)):
            heard = partial(has_heard, resident.process, f"{number} the end")
            crowd.wait(heard, "all have the end", 20.0)
    stop(*(resident.process for resident in residents))

    for resident in residents:
        shown = [post["ref"] for run in resident.runs for post in run.events("message")]
        assert len(set(shown)) == len(shown), "nothing is shown twice, not even by another run"
        assert all(run.errors() == [] for run in resident.runs)
    kept = {text for resident in residents for run in resident.runs for text in run.texts(own=True)}
    told = check_same_history(crowd, *(resident.process for resident in residents))
    assert len({post["text"] for post in told}) == len(told), "nothing is said twice"
    assert kept <= {post["text"] for post in told}, "what was shown as sent is there"


def has_heard(process: Process, text: str) -> bool:
    return bool(process.events("message", text=text))


# ---------------------------------------------------------------- full disks


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Callable[..., None]]:
    """A file system of its own on `folder`, and how to mount it with other options."""
    folder.mkdir(exist_ok=True)

    def mount(*options: str) -> None:
        text = ",".join(options)
        command = ["mount", "-t", "tmpfs", "-o", text, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip())

    try:
        mount(*options)
    except OSError as error:
        pytest.skip(f"a test needs a file system of its own, and may not mount one: {error}")
    try:
        yield lambda *options: mount("remount", *options)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Writes to a file until its file system is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4 * KIB)):
            continue


def test_a_disk_that_fills_up_ends_it_with_one_line_and_loses_nothing_that_was_shown(
    crowd: Crowd,
) -> None:
    disk = crowd.folder / "disk"
    with mounted(disk, "size=1m") as remount:
        friend = crowd.start(0, 0, "friend", "--stay").wait_ready()
        node = crowd.start(0, friend.port, "node", data=disk / "data")
        crowd.wait_linked(node, friend)
        lines = [f"{n} " + "x" * 4000 for n in range(400)]
        node.say(*lines)
        assert node.wait_end() == 1
        assert len(node.errors()) == 1 and "make room" in node.errors()[0]
        assert node.stderr == b""
        shown = node.texts(own=True)
        assert shown == lines[: len(shown)] and len(shown) > 50

        fill(disk / "ballast")
        again = crowd.start(0, friend.port, "node", data=disk / "data", json=False)
        more = [f"again {n} " + "x" * 4000 for n in range(100)]
        again.say(*more)  # if it starts at all, and the first ones may still find room
        assert again.wait_end() == 1
        assert sum("make room" in line for line in again.error_lines) == 1

        remount("size=16m")
        again = crowd.start(0, friend.port, "node", data=disk / "data")
        crowd.wait_linked(again, friend)
        friend.say("there is room again")
        again.say("so it goes on")
        crowd.wait(
            lambda: again.texts() == ["there is room again"] and "so it goes on" in friend.texts(),
            "they go on",
        )
        stop(again, friend)
        assert again.id == node.id
        heard = friend.texts()
        first = heard.index(more[0]) if more[0] in heard else len(heard) - 1
        assert heard == [*lines[:first], *more[: len(heard) - 1 - first], "so it goes on"]
        assert first >= len(shown)
        told = [post["text"] for post in check_same_history(crowd, again, friend)]
        assert sorted(told) == sorted([*heard, "there is room again"])


def test_a_reader_whose_disk_fills_up_gets_the_rest_once_there_is_room(crowd: Crowd) -> None:
    disk = crowd.folder / "disk"
    with mounted(disk, "size=1m") as remount:
        author = crowd.start(0, 0, "author").wait_ready()
        reader = crowd.start(0, author.port, "reader", data=disk / "data")
        crowd.wait_linked(author, reader)
        lines = [f"{n} " + "x" * 4000 for n in range(400)]
        author.say(*lines)
        assert reader.wait_end() == 1
        assert len(reader.errors()) == 1 and "make room" in reader.errors()[0]
        first = reader.texts()
        assert first == lines[: len(first)]
        remount("size=16m")
        again = crowd.start(0, author.port, "reader", data=disk / "data")
        crowd.wait(lambda: len(first) + len(again.texts()) >= len(lines), "it has the rest")
        stop(again, author)
        assert first + again.texts() == lines


def test_a_start_on_a_full_disk_says_so_and_leaves_nothing_that_stops_the_next(
    crowd: Crowd,
) -> None:
    disk = crowd.folder / "disk"
    with mounted(disk, "size=256k") as remount:
        for room_kib in (0, 4, 16, 40, 64):  # it fails at another step each time, if it does
            data = disk / f"data-{room_kib}"
            data.mkdir()
            fill(disk / "ballast")
            os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - room_kib * KIB)
            full = crowd.run(0, 0, "x", "--linger", 0, data=data, json=False)
            assert full.popen.returncode == 1 or room_kib, "nothing at all is too little"
            assert full.popen.returncode == 0 or is_one_clear_line(full.stderr), full.stderr
            (disk / "ballast").unlink()
            remount("size=16m")
            assert crowd.run(0, 0, "x", "--linger", 0, data=data).popen.returncode == 0
            shutil.rmtree(data)
            remount("size=256k")


def test_an_address_book_on_a_full_disk_is_one_line_and_is_written_later(crowd: Crowd) -> None:
    disk = crowd.folder / "disk"
    with mounted(disk, "size=64k"):
        fill(disk / "ballast")
        data = crowd.folder / "data"
        data.mkdir()
        book = data / "addresses.txt"
        book.symlink_to(disk / "addresses.txt")  # some people keep such files elsewhere
        friend = crowd.start(0, 0, "friend").wait_ready()
        node = crowd.start(0, friend.port, "node", data=data)
        crowd.wait_linked(node, friend)
        crowd.wait(node.errors, "it says so")
        assert len(node.errors()) == 1 and "address book can't be written" in node.errors()[0]
        node.say("and goes on")
        crowd.wait(lambda: friend.texts() == ["and goes on"], "posts still flow")
        (disk / "ballast").unlink()
        stop(node, friend)
        assert node.errors()[1:] == []
        assert f"member={friend.id}" in book.read_text()


# ---------------------------------------------------------------- too many open files


DESCRIPTORS = 32  # a node with one link has 11 open


def test_a_node_out_of_descriptors_neither_spins_nor_drops_its_links(crowd: Crowd) -> None:
    friend = crowd.start(0, 0, "friend").wait_ready()
    node = crowd.start(0, friend.port, "node", descriptors=DESCRIPTORS)
    crowd.wait_linked(node, friend)
    with contextlib.ExitStack() as stack:

        def call(times: int) -> None:
            for _ in range(times):
                stack.enter_context(socket.create_connection(("127.0.0.1", node.port)))

        def is_full() -> bool:
            full = node.descriptors() == DESCRIPTORS
            call(0 if full else 1)  # a link that two nodes had twice may have ended
            return full

        call(2 * DESCRIPTORS)
        crowd.wait_s(0.2)  # the callers that are left are turned away
        crowd.wait(is_full, "all descriptors are taken")
        cpu_s, sleeps = node.cpu_s(), node.sleeps()
        crowd.wait_s(1.0)
        assert node.cpu_s() - cpu_s < 0.1 and node.sleeps() - sleeps < 20, "it rests"
        node.say("one")
        friend.say("two")
        crowd.wait(is_full, "all descriptors are taken")
        node.say("/connect 1025")  # nobody is there, and there is no descriptor to find that out
        crowd.wait(lambda: friend.texts() == ["one"] and node.texts() == ["two"], "links work")
        crowd.wait(lambda: any("too many open files" in n for n in node.notices()), "it says so")
        late = crowd.start(0, node.port, "late")
        crowd.wait(late.notices, "it was turned away")
        assert node.id not in late.linked()
    crowd.wait_linked(node, late, friend, deadline_s=20.0)
    late.say("three")
    crowd.wait(lambda: "three" in node.texts(), "it takes callers again")
    assert len(node.notices() + node.errors()) <= 4
    stop(node, friend, late)


# ---------------------------------------------------------------- folders that are not as they were


def test_a_read_only_data_folder_is_one_clear_line(crowd: Crowd) -> None:
    disk = crowd.folder / "disk"
    with mounted(disk, "size=4m") as remount:
        used = crowd.run(0, 0, "x", "--linger", 0, data=disk / "used")
        assert used.popen.returncode == 0
        remount("ro")
        for data in ("used", "new"):
            process = crowd.run(0, 0, "x", "--linger", 0, data=disk / data, json=False)
            assert process.popen.returncode == 1
            assert is_one_clear_line(process.stderr), process.stderr
        remount("rw")
        assert crowd.run(0, 0, "x", "--linger", 0, data=disk / "used").popen.returncode == 0


@pytest.mark.parametrize("what", ["folder gone", "journal gone", "journal replaced"])
def test_a_journal_that_is_taken_away_while_it_runs_is_one_clear_line(
    crowd: Crowd, what: str
) -> None:
    friend = crowd.start(0, 0, "friend").wait_ready()
    node = crowd.start(0, friend.port, "node", "--linger", 0).wait_ready()
    crowd.wait_linked(node, friend)
    node.say("before")
    crowd.wait(lambda: friend.texts() == ["before"], "it is heard")
    assert node.data is not None
    if what == "folder gone":
        shutil.rmtree(node.data)
    elif what == "journal gone":
        (node.data / "journal.db").unlink()
    else:
        shutil.copy(node.data / "journal.db", node.data / "copy")
        os.replace(node.data / "copy", node.data / "journal.db")
    node.say("after")
    node.end_input()
    status = node.wait_end()
    stop(friend)
    assert status == 1
    assert len(node.errors()) == 1 and "journal.db" in node.errors()[0]
    assert node.stderr == b""
    assert node.texts(own=True) == ["before"], "what is not on disk is not shown as sent"


def test_a_journal_with_flipped_bits_is_one_line_and_all_comes_back_from_the_others(
    crowd: Crowd,
) -> None:
    friend = crowd.start(0, 0, "friend").wait_ready()
    node = crowd.start(0, friend.port, "node").wait_ready()
    crowd.wait_linked(node, friend)
    for start in range(0, 200, 10):  # a few entries, some of them of each
        node.say(*(f"node says {n}." for n in range(start, start + 5)))
        friend.say(*(f"friend says {n}." for n in range(start + 5, start + 10)))
        crowd.wait(partial(has_heard, friend, f"node says {start + 4}."), "it is heard")
    crowd.wait(partial(has_heard, node, "friend says 199."), "all is heard")
    stop(node)
    assert node.data is not None
    journal = node.data / "journal.db"
    bits = bytearray(journal.read_bytes())
    for text in (b"node says 101.", b"friend says 107."):
        bits[bits.index(text) + 3] ^= 1
    journal.write_bytes(bits)
    # What is damaged is found when it is read, and mended at the start after that.
    found = crowd.run(0, 0, "x", "--history", 1000, "--linger", 0, data=node.data, json=False)
    assert found.popen.returncode == 1
    assert sum("damaged" in line for line in found.error_lines) == 1, found.error_lines
    again = crowd.start(0, friend.port, "node", data=node.data).wait_ready()
    crowd.wait_linked(again, friend)
    assert sum("damaged" in line for line in again.notices() + again.errors()) == 1
    again.say("it goes on")
    crowd.wait(partial(has_heard, friend, "it goes on"), "it is heard")
    crowd.wait(partial(has_heard, again, "node says 101."), "what was lost is back")
    stop(again, friend)
    assert again.id == node.id
    assert len(check_same_history(crowd, again, friend)) == 201


# ---------------------------------------------------------------- long runs, in short


def test_a_few_rounds_of_life_cost_a_node_no_more_at_their_end_than_at_their_beginning(
    crowd: Crowd,
) -> None:
    life = soak.live(crowd, rounds=4, round_s=0.0, told=lambda line: None)
    print(life.table(), file=sys.stderr)
    # So few rounds say little about times: those are for `python -m tests.soak`.
    assert not set(life.growing()) - {"wake-ups per post", "CPU per post (ms)"}, life.table()


# ---------------------------------------------------------------- what took its time


def test_links_that_died_without_a_word_and_a_node_stopped_for_long_are_back_in_time(
    background: Background,
) -> None:
    crowd, nodes = background.crowd, background.nodes
    crowd.wait(lambda: time.monotonic() > background.began + DEAD_S + 1, "it takes that long", 20.0)
    awake, asleep = nodes[:2], nodes[2]
    crowd.wait_linked(*awake, deadline_s=LINK_S)
    for node in awake:
        crowd.wait(node.texts, "and one has what the other said", LINK_S)
        down = [event["reason"] for event in node.events("link", state="down")]
        assert down == [f"not heard for {DEAD_S:.0f} s"] * 2
    asleep.signal(signal.SIGCONT)
    woken = time.monotonic()
    everything = {f"{number} before they notice" for number in range(3)}
    crowd.wait(
        lambda: all({event["text"] for event in n.events("message")} == everything for n in nodes),
        "it is heard again, and hears",
        DEAD_S,
    )
    print(f"stopped for long: back in {time.monotonic() - woken:.2f} s", file=sys.stderr)
    assert all(len(node.events("message")) == 3 for node in nodes)
