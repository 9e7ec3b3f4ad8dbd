"""The command as people and scripts use it: real processes, real sockets, real terminals."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

import pytest

import protocol
import terminal
from identity import Identity, open_room
from tests.processes import ROWS, SELCHAT, Crowd, Process, TerminalProcess, free_ports

CORK = getattr(socket, "TCP_CORK", socket.TCP_NODELAY)  # what is sent waits for its end
MIB = 1024 * 1024
ROUNDS = int(os.environ.get("SELCHAT_ROUNDS", "20"))  # of kill -9
MESH_S = 10.0  # for 8 nodes to find one another; a second or less on a quiet machine


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd
        check(crowd)


def check(crowd: Crowd) -> None:
    """A traceback is always a bug."""
    for process in crowd.processes:
        assert b"Traceback" not in process.stdout + process.stderr, process.stderr.decode()


def leave(*processes: Process) -> None:
    """Ends the input of all, and reads all that they still say."""
    for process in processes:
        process.end_input()
    for process in processes:
        assert process.wait_end() == 0


# ---------------------------------------------------------------- the promises


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
def test_three_users_in_any_order_are_linked_and_get_each_post_once(
    crowd: Crowd, order: tuple[int, ...]
) -> None:
    ports = dict(zip((1, 2, 3), free_ports(3), strict=True))
    users: dict[int, Process] = {}
    for number in order:
        peer = number % 3 + 1
        users[number] = crowd.start(ports[number], ports[peer], f"user{number}").wait_ready()
    crowd.wait_linked(*users.values())

    said = {n: [f"user{n} says {i}" for i in range(5)] for n in users}
    for number, user in users.items():
        user.say(*said[number])
    crowd.wait(lambda: all(len(u.texts()) >= 10 for u in users.values()), "all have all")
    leave(*users.values())

    for number, user in users.items():
        others = [n for n in users if n != number]
        for other in others:
            assert user.texts(name=f"user{other}") == said[other]
        assert user.texts(own=True) == said[number]
        assert user.texts(history=True) == []
        assert len(user.texts()) == 10
        assert len(user.events("link", state="up")) == 2


def test_a_user_killed_and_back_gets_what_was_said_meanwhile_once_as_history(
    crowd: Crowd,
) -> None:
    ports = free_ports(3)
    one = crowd.start(ports[0], ports[1], "user1", data="one")
    two = crowd.start(ports[1], ports[2], "user2")
    three = crowd.start(ports[2], ports[0], "user3")
    crowd.wait_linked(one, two, three)
    one.say("before")
    crowd.wait(lambda: two.texts() == three.texts() == ["before"], "both have it")

    one.kill()
    crowd.wait(lambda: len(two.linked()) == len(three.linked()) == 1, "both see it gone")
    two.say("meanwhile 1", "meanwhile 2")
    crowd.wait(lambda: len(three.texts()) == 3, "the others go on")

    back = crowd.start(ports[0], ports[1], "user1", data="one")
    crowd.wait_linked(back, two, three)
    crowd.wait(lambda: len(back.texts()) == 2, "it catches up")
    three.say("live again")
    crowd.wait(lambda: len(back.texts()) == 3, "it is back")
    back.say("after")
    crowd.wait(lambda: "after" in two.texts() and "after" in three.texts(), "it is heard")
    leave(back, two, three)
    assert back.id == one.id
    assert back.texts(history=True) == ["meanwhile 1", "meanwhile 2"]
    assert back.texts() == ["meanwhile 1", "meanwhile 2", "live again"]
    assert two.texts() == ["before", "live again", "after"]
    assert three.texts() == ["before", "meanwhile 1", "meanwhile 2", "after"]


def test_a_member_who_was_away_gets_the_posts_of_an_author_who_is_gone(crowd: Crowd) -> None:
    bob = crowd.start(0, 0, "bob").wait_ready()
    alice = crowd.start(0, bob.port, "alice")
    alice.say("one", "two", "three")
    alice.end_input()
    assert alice.wait_end() == 0  # someone has it: that is what the end waits for
    carol = crowd.start(0, bob.port, "carol")
    crowd.wait(lambda: len(carol.texts()) == 3, "carol has what alice said")
    leave(carol, bob)
    assert carol.texts(id=alice.id, history=True) == ["one", "two", "three"]
    assert {event["name"] for event in carol.events("message")} == {"alice"}
    assert bob.texts() == ["one", "two", "three"]


def test_eight_nodes_each_told_one_other_become_a_full_mesh(crowd: Crowd) -> None:
    ports = free_ports(8)
    nodes = [
        crowd.start(port, ports[number - 1] if number else 0, f"node{number}")
        for number, port in enumerate(ports)
    ]
    for node in nodes:
        node.wait_ready()
    began = time.monotonic()
    crowd.wait_linked(*nodes, deadline_s=MESH_S)
    print(f"8 nodes: a full mesh in {time.monotonic() - began:.2f} s", file=sys.stderr)
    for node in nodes:
        node.say(f"from {node.port}")
    crowd.wait(lambda: all(len(node.texts()) >= 7 for node in nodes), "all have all")
    leave(*nodes)
    for node in nodes:
        assert sorted(node.texts()) == sorted(f"from {port}" for port in ports if port != node.port)


def test_10000_lines_piped_in_arrive_complete_in_order_once_in_bounded_memory(
    crowd: Crowd,
) -> None:
    ports = free_ports(3)
    nodes = [crowd.start(ports[n], ports[n - 1], f"node{n}") for n in range(3)]
    crowd.wait_linked(*nodes)
    before = [node.peak_memory_bytes() for node in nodes]
    lines = [f"{n} {'x' * 60}" for n in range(10_000)]
    began = time.monotonic()
    nodes[0].say(*lines)
    crowd.wait(lambda: all(len(n.texts()) >= len(lines) for n in nodes[1:]), "all is there", 30.0)
    took = time.monotonic() - began
    grown = [node.peak_memory_bytes() - b for node, b in zip(nodes, before, strict=True)]
    print(f"10,000 lines: {took:.2f} s, grown {[g // MIB for g in grown]} MiB", file=sys.stderr)
    leave(*nodes)
    assert [node.texts() for node in nodes] == [[], lines, lines]
    assert nodes[0].texts(own=True) == lines
    assert max(grown) < 64 * MIB


def wait_for_own(crowd: Crowd, process: Process, count: int) -> None:
    crowd.wait(lambda: len(process.texts(own=True)) >= count, "it is on disk")


def test_a_sender_killed_again_and_again_loses_nothing_and_says_nothing_twice(
    crowd: Crowd,
) -> None:
    chance = random.Random(1)
    first = crowd.start(0, 0, "first").wait_ready()
    second = crowd.start(0, first.port, "second").wait_ready()
    kept: list[str] = []  # what the sender reported as its own
    for number in range(ROUNDS):
        sender = crowd.start(0, first.port, "sender", data="sender").wait_ready()
        enough = chance.choice([0, 1, 5, 20, 60, 100])
        for start in range(0, 100, 5):
            sender.say(*(f"{number}/{line}" for line in range(start, start + 5)))
        wait_for_own(crowd, sender, enough)
        sender.kill()
        kept += sender.texts(own=True)
        assert sender.texts() == []  # nothing that it said came back as another's
    sender = crowd.start(0, first.port, "sender", data="sender").wait_ready()
    sender.say("the end")
    kept.append("the end")
    crowd.wait(
        lambda: all(set(kept) <= set(other.texts()) for other in (first, second)),
        "nothing is missing",
    )
    leave(sender)
    leave(first, second)
    for other in (first, second):
        assert len(set(other.texts())) == len(other.texts())
        places: dict[int, int] = {}
        for text in other.texts()[:-1]:
            number, line = map(int, text.split("/"))
            assert places.get(number, -1) == line - 1, "in the author's order, without a gap"
            places[number] = line
    assert set(first.texts()) == set(second.texts())


# ---------------------------------------------------------------- names

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\r"
NAMES = ("", "n" * 10_000, "🙂👩\u200d🚀e\u0301", "two\nlines", "../../x", "[red]", ESCAPES)


def has_controls(text: str) -> bool:
    return any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text.replace("\n", ""))


def test_any_name_arrives_exactly_in_json_and_harmless_in_plain(crowd: Crowd) -> None:
    exact = crowd.start(0, 0, "exact").wait_ready()
    plain = crowd.start(0, exact.port, "plain", json=False)
    crowd.wait(lambda: len(exact.linked()) == 1, "both observers are linked")
    names = [*NAMES, "twin", "twin"]  # all with data folders of selchat's own choice
    members = [crowd.start(0, exact.port, name, data=None) for name in names]
    for number, member in enumerate(members):
        member.say(f"post {number}")
    crowd.wait(lambda: len(exact.texts()) == len(names), "all is there")
    crowd.wait(lambda: len(plain.lines) == len(names), "all is shown")
    leave(*members)
    leave(plain)
    leave(exact)

    for number, (name, member) in enumerate(zip(names, members, strict=True)):
        assert [event["name"] for event in member.events("ready")] == [name]
        said = exact.events("message", text=f"post {number}")
        assert [(event["name"], event["id"]) for event in said] == [(name, member.id)]
        assert [e["name"] for e in exact.events("link", id=member.id, state="up")] == [name]
        assert sum(line.endswith(f": post {number}") for line in plain.lines) == 1
    assert not has_controls(plain.stdout.decode() + plain.stderr.decode())
    assert any("[red]: post 5" in line for line in plain.lines)
    assert max(map(len, plain.lines)) < 60
    twins = [line.split()[1] for line in plain.lines if "post 7" in line or "post 8" in line]
    assert "twin~" in max(twins), "the second twin is told from the first"
    assert len({member.id for member in members}) == len(names)
    outside = [path for path in crowd.folder.rglob("journal.db") if "selchat" not in path.parts]
    assert all(path.parent.name.startswith("data-") for path in outside)
    assert len(list((crowd.home / ".local/share/selchat").iterdir())) == len(names)


def test_the_same_name_twice_without_data_finds_its_own_data_again(crowd: Crowd) -> None:
    ports = free_ports(2)

    def start() -> tuple[Process, Process]:
        one = crowd.start(ports[0], 0, "me", data=None).wait_ready()
        return one, crowd.start(ports[1], ports[0], "me", data=None)

    first = start()
    crowd.wait_linked(*first)
    first[0].say("hello me")
    crowd.wait(lambda: first[1].texts() == ["hello me"], "one me hears the other")
    leave(*first)
    second = start()
    crowd.wait_linked(*second)
    leave(*second)
    assert [process.id for process in first] == [process.id for process in second]


# ---------------------------------------------------------------- wrong usage, wrong surroundings

WRONG = (
    ["80"],
    ["1"],
    ["1023"],
    ["65536"],
    ["70000"],
    ["-1"],
    ["abc"],
    ["5000.5"],
    ["٥٠٠٠"],
    ["5000\n6000"],
    [""],
    ["\x1b[31m"],
    ["9" * 10_000],
    ["0", "abc"],
    ["0", "70000"],
    ["0", "10.0.0.7:6000"],
    ["0", "example.org:6000"],
    ["0", "[::1"],
    ["0", "0", "name", "more"],
    ["--no-such-option"],
    ["--peer"],
    ["--peer", "x y"],
    ["--host", "0.0.0.0"],
    ["--host", "no host"],
    ["--confirm", "-1"],
    ["--confirm", "many"],
    ["--linger", "nan"],
    ["--linger", "-1"],
    ["--history", "all"],
)


def is_one_clear_line(stderr: bytes | bytearray) -> bool:
    line = stderr.decode()
    return (
        line.startswith("selchat: ")
        and line.endswith("\n")
        and len(line) < 250
        and not has_controls(line)
        and line.count("\n") == 1
    )


def test_wrong_usage_is_exit_2_and_one_clear_line_on_stderr(crowd: Crowd) -> None:
    started = [(w, crowd.start(*w, data=None, json=False, stdin=DEVNULL)) for w in WRONG]
    for wrong, process in started:
        assert process.wait_end() == 2, wrong
        assert process.stdout == b"", wrong
        assert is_one_clear_line(process.stderr), (wrong, process.stderr)
    assert list(crowd.home.iterdir()) == []


def test_what_selchat_can_not_use_is_exit_1_and_one_line_that_tells_what_to_do(
    crowd: Crowd,
) -> None:
    running = crowd.start(0, 0, "running", data="used").wait_ready()
    (crowd.folder / "file").write_text("in the way")
    (crowd.folder / "key").mkdir()
    (crowd.folder / "key" / "key.pem").write_text("no key")
    failing = {
        "choose another port": crowd.start(running.port, json=False, stdin=DEVNULL),
        "own --data": crowd.start(0, data="used", json=False, stdin=DEVNULL),
        "choose a folder with --data": crowd.start(0, data="file", json=False, stdin=DEVNULL),
        "Not a directory": crowd.start(0, data="file/below", json=False, stdin=DEVNULL),
        "holds no key": crowd.start(0, data="key", json=False, stdin=DEVNULL),
        "No such file": crowd.start(0, "--debug", "no/such", json=False, stdin=DEVNULL),
        "too long": crowd.start(0, 0, "n" * 40_001, json=False, stdin=DEVNULL),
    }
    for what, process in failing.items():
        assert process.wait_end() == 1, what
        assert process.stdout == b"", what
        assert is_one_clear_line(process.stderr), process.stderr
        assert what in process.stderr.decode()
    leave_at_once(running)


def test_a_certificate_that_can_be_neither_read_nor_made_is_exit_1_and_one_line(
    crowd: Crowd,
) -> None:
    """That is found after it has said that it is ready: before, TLS would be waited for."""
    node = crowd.start(0, 0, "ann", data="kept").wait_ready()
    leave_at_once(node)
    (certificate,) = (crowd.folder / "kept").glob("certificate-*.pem")
    certificate.unlink()
    certificate.mkdir()
    again = crowd.start(0, 0, "ann", data="kept")
    assert again.wait_end() == 1
    assert is_one_clear_line(again.stderr), again.stderr
    assert "choose a folder with --data" in again.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_transcript_on_a_full_disk_ends_selchat_with_one_clear_line(crowd: Crowd) -> None:
    full = crowd.run(0, 0, "--debug", "/dev/full", "--linger", 0.1)
    assert is_one_clear_line(full.stderr), full.stderr.decode()
    assert full.popen.returncode == 1


def leave_at_once(*processes: Process) -> None:
    """For those that would linger, with nobody to hear them."""
    for process in processes:
        process.signal(signal.SIGTERM)
    for process in processes:
        assert process.wait_end() == 0


# ---------------------------------------------------------------- the end, and its status


def test_signals_and_the_end_of_input_are_a_clean_end(crowd: Crowd) -> None:
    by_term, by_int, staying = (
        crowd.start(0, 0, "who"),
        crowd.start(0, 0, "who"),
        crowd.start(0, 0, "who", "--stay", stdin=DEVNULL),
    )
    alone = crowd.start(0, 0, "who", "--linger", 0.3, stdin=DEVNULL)
    for process in (by_term, by_int, staying):
        process.wait_ready()
    by_term.signal(signal.SIGTERM)
    by_int.signal(signal.SIGINT)
    for process in (by_term, by_int, alone):
        assert process.wait_end() == 0
    assert [event["reason"] for event in by_term.events("bye")] == ["stopped"]
    assert [event["reason"] for event in by_int.events("bye")] == ["interrupted"]
    assert [event["reason"] for event in alone.events("bye")] == ["end of input"]
    assert not staying.has_ended
    leave_at_once(staying)


def test_alone_it_lingers_and_confirm_that_was_not_reached_is_exit_3(crowd: Crowd) -> None:
    linger_s = 0.7
    alone = crowd.start(0, 0, "alone", "--linger", linger_s, "--confirm", 1, data="kept")
    alone.wait_ready()
    began = time.monotonic()
    alone.say("kept, and told the next time")
    alone.end_input()
    assert alone.wait_end() == 3
    assert linger_s - 0.1 < time.monotonic() - began < linger_s + 2
    assert len(alone.errors()) == 1 and "0.7 s" in alone.errors()[0]
    other = crowd.start(0, 0, "other").wait_ready()
    again = crowd.start(0, other.port, "alone", "--confirm", 1, data="kept", stdin=DEVNULL)
    assert again.wait_end() == 0
    assert other.texts(id=alone.id) == ["kept, and told the next time"]
    few = crowd.start(0, other.port, "few", "--confirm", 9, "--linger", 0.5, json=False)
    few.say("nine shall have it")
    few.end_input()
    assert few.wait_end() == 3
    assert sum("0.5 s" in line and "9" in line for line in few.error_lines) == 1
    leave_at_once(other)


def test_confirm_that_is_reached_ends_at_once_with_every_post_on_all_their_disks(
    crowd: Crowd,
) -> None:
    others = [crowd.start(0, 0, "one").wait_ready()]
    others.append(crowd.start(0, others[0].port, "two").wait_ready())
    crowd.wait_linked(*others)
    sender = crowd.start(0, others[0].port, "sender", "--confirm", 2)
    sender.say(*map(str, range(100)))
    sender.end_input()
    assert sender.wait_end() == 0
    for other in others:
        other.kill()  # what was confirmed survives that
        assert other.data is not None
        again = crowd.run(0, 0, "again", "--history", 200, "--linger", 0, data=other.data.name)
        assert again.texts(id=sender.id) == list(map(str, range(100)))
    by = {event["ref"]: set(event["by"]) for event in sender.events("confirmed")}
    refs = [event["ref"] for event in sender.events("message", own=True)]
    assert [by[ref] for ref in refs] == [{other.id for other in others}] * 100


# ---------------------------------------------------------------- standard input


def test_every_kind_of_standard_input_works(crowd: Crowd) -> None:
    hub = crowd.start(0, 0, "hub").wait_ready()
    script = crowd.folder / "script"
    script.write_text("from a file 1\nfrom a file 2, without a line break at the end")
    with script.open("rb") as file:
        by_file = crowd.start(0, hub.port, "file", stdin=file)
    by_pipe = crowd.start(0, hub.port, "pipe")
    by_pipe.write("from a pipe")
    by_pipe.end_input()
    nothing = crowd.start(0, hub.port, "nothing", stdin=DEVNULL)
    closed = crowd.start(
        *("-c", 'exec "$@" <&-', "sh", sys.executable, SELCHAT, "--json"),
        *("--data", crowd.folder / "closed", 0, hub.port, "closed"),
        command=["/bin/sh"],
    )
    for process in (by_file, by_pipe, nothing, closed):
        assert process.wait_end() == 0
    terminal = crowd.start_on_terminal("--json", 0, hub.port, "terminal")
    crowd.wait(lambda: terminal.stdout.count(b'"up"') == 1, "it is linked")
    terminal.write("from a terminal\r")
    crowd.wait(lambda: len(hub.texts()) == 4, "all is there")
    terminal.write("\x04")
    assert terminal.wait_end() == 0
    leave_at_once(hub)
    assert hub.texts(name="file") == script.read_text().split("\n")
    assert hub.texts(name="pipe") == ["from a pipe"]
    assert hub.texts(name="terminal") == ["from a terminal"]
    assert {e["name"] for e in hub.events("link")} >= {"nothing", "closed"}


def test_a_line_is_a_post_or_a_command_or_nothing(crowd: Crowd) -> None:
    other = crowd.start(0, 0, "other").wait_ready()
    user = crowd.start(0, other.port, "user")
    crowd.wait_linked(user, other)
    longest = "€" * (protocol.MAX_POST_BYTES // 3)
    user.say("", "   ", "\t", "//slash", "///two", "/nosuch thing", "/ x", " /not at the start")
    user.say(longest, longest + "n", "z" * 3_000_000, "  spaces  ", "/help", "/peers")
    user.write(b"a\rb\x00c\x1b[31m\xff\n\x0b\nlast")
    user.end_input()
    assert user.wait_end() == 0
    leave_at_once(other)
    said = ["/slash", "//two", " /not at the start", longest, "  spaces  "]
    said += ["a\rb\x00c\x1b[31m\ufffd", "last"]
    assert user.texts(own=True) == said
    assert other.texts() == said
    kinds = ["no command /nosuch", "no command /", "is too long", "is too long"]
    assert len(user.errors()) == len(kinds)
    for kind, error in zip(kinds, user.errors(), strict=True):
        assert kind in error
        assert "\n" not in error
    shown = "\n".join(user.notices())
    assert "/connect ADDRESS" in shown and other.id[:8] in shown


def test_what_was_said_is_shown_again_searched_and_exported(crowd: Crowd, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    user = crowd.start(0, 0, "alice").wait_ready()
    user.say(*(f"post {number}" for number in range(300)), "a Zebra", "another ZEBRA", "the end")
    wait_for_own(crowd, user, 303)
    user.say("/history 2 from alice since today", "/search zebra", "/search a zebr")
    crowd.wait(lambda: len(user.texts(history=True)) >= 6, "all is shown again")
    assert user.texts(history=True) == [
        "another ZEBRA",
        "the end",
        *["a Zebra", "another ZEBRA"] * 2,
    ]
    endings = ("txt", "json", "jsonl", "html", "svg")
    user.say(*(f"/export {folder}/room.{ending}" for ending in endings))
    crowd.wait(lambda: len(user.notices()) >= len(endings), "all is exported")
    for ending in endings:
        exported = (folder / f"room.{ending}").read_text()
        assert "the" in exported and "ZEBRA" in exported
    lines = (folder / "room.jsonl").read_text().splitlines()
    shown = [event | {"history": True} for event in user.events("message", history=False)]
    assert [json.loads(line) for line in lines] == shown
    assert json.loads((folder / "room.json").read_text()) == shown
    user.say("/history since when?", "/search", f"/export {folder}/room.txt", "/export room")
    crowd.wait(lambda: len(user.errors()) == 4, "each mistake has an answer")
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"room.{e}" for e in endings)
    leave_at_once(user)

    user = crowd.start(0, 0, "alice", "--history", 2, data=user.data)
    crowd.wait(lambda: user.texts(history=True) == ["another ZEBRA", "the end"], "as asked for")
    leave_at_once(user)


def test_plain_output_has_posts_only_on_stdout_and_shows_lines_of_a_post_as_one(
    crowd: Crowd,
) -> None:
    plain = crowd.start(0, 0, "plain", json=False)
    crowd.wait(lambda: b"listening on 127.0.0.1:" in plain.stderr, "it is ready")
    port = plain.stderr.decode().split("listening on 127.0.0.1:")[1].split()[0]
    terminal = crowd.start_on_terminal(0, port, "friend")
    crowd.wait(lambda: b"friend joined" in plain.stderr, "they are linked")
    terminal.write("\x1b[200~one\ntwo\x1b[201~\r")  # a paste of two lines is one post
    crowd.wait(lambda: len(plain.lines) == 2, "it is shown")
    plain.say("an answer")
    crowd.wait(lambda: len(plain.lines) == 3, "own posts are shown too")
    terminal.write("/quit\r")
    assert terminal.wait_end() == 0
    leave_at_once(plain)
    first, more, own = plain.lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d friend: one", first)
    assert more == "    two"
    assert re.fullmatch(r"\d\d:\d\d:\d\d plain: an answer", own)


def test_a_reader_that_goes_away_ends_selchat_without_a_word(crowd: Crowd) -> None:
    script = f'"$0" {SELCHAT} 0 0 x --data {crowd.folder}/pipe --plain | head -n 1'
    piped = crowd.start("-c", script, sys.executable, command=["/bin/sh"])
    piped.say("one")
    crowd.wait(lambda: len(piped.lines) == 1, "the first post")
    piped.say("two")
    piped.say("three")
    piped.wait_end()
    assert all(line.startswith("selchat: ") for line in piped.error_lines)


# ---------------------------------------------------------------- the room, its links


def told(process: Process, command: str, answer: str) -> str:
    """The notice or error with `answer` in it that `command` leads to."""
    before = len(process.all_events)

    def found() -> list[str]:
        new = [event for event in process.all_events[before:] if "text" in event]
        return [event["text"] for event in new if answer in event["text"]]

    process.say(command)
    process._crowd.wait(found, f"{command} says {answer}")
    return found()[0]


def row_of(table: str, name: str) -> list[str]:
    (row,) = [line for line in table.splitlines() if line.split()[0] == name]
    return re.split(r"  +", row)


def test_who_and_peers_and_net_tell_of_the_members_and_the_links(crowd: Crowd) -> None:
    hub = crowd.start(0, 0, "hub").wait_ready()
    friend = crowd.start(0, hub.port, "friend")
    gone = crowd.start(0, hub.port, "gone")
    crowd.wait_linked(hub, friend, gone)
    friend.say("hello")
    gone.say("goodbye")
    crowd.wait(lambda: len(hub.texts()) == 2, "both have spoken")
    leave(gone)
    crowd.wait(lambda: gone.id not in hub.linked(), "it is gone")
    who = told(hub, "/who", "last said")
    assert row_of(who, "hub")[1:3] == [hub.id[:8], "you"]
    assert row_of(who, "friend")[1:3] == [friend.id[:8], "linked"]
    assert re.fullmatch(r"left (just now|.+ ago)", row_of(who, "gone")[2])
    assert row_of(who, "hub")[3] == "never"
    assert re.fullmatch("just now|.+ ago", row_of(who, "gone")[3])
    _name, id, address, call, trip, heard, size, behind = row_of(
        told(hub, "/peers", "round trip"), "friend"
    )
    assert (id, address, call, behind) == (
        friend.id[:8],
        f"127.0.0.1:{friend.port}",
        "called us",
        "nobody",
    )
    assert re.fullmatch(r"(under 1|\d+) ms", trip) and re.fullmatch("just now|.+ ago", heard)
    assert re.fullmatch(r"[\d.]+ (B|KiB) / [\d.]+ (B|KiB)", size)
    assert row_of(told(friend, "/peers", "round trip"), "hub")[3] == "we called"
    net = told(hub, "/net", "linked to friend; a round trip takes ")
    assert f"others can link to you at 127.0.0.1:{hub.port}" in net
    leave(friend)
    leave_at_once(hub)


def test_net_says_what_is_wrong_where_nobody_is_linked(crowd: Crowd) -> None:
    (port,) = free_ports(1)
    user = crowd.start(0, port, "user").wait_ready()
    crowd.wait(lambda: "refused" in "".join(user.notices()), "it has tried")
    net = told(user, "/net", "linked to nobody: no address that is known leads to a member")
    assert re.search(
        rf"127\.0\.0\.1:{port} failed .*: connection refused: nothing listens there", net
    )
    assert told(user, "/peers", "linked to nobody") == "linked to nobody yet; /net says why"
    told(user, f"/connect {user.port}", "is this very node")
    told(user, "/net", f"127.0.0.1:{user.port} is this very node")
    leave_at_once(user)


def test_who_is_disconnected_stays_so_until_it_is_connected_again(crowd: Crowd) -> None:
    user = crowd.start(0, 0, "user").wait_ready()
    other = crowd.start(0, user.port, "other")
    third = crowd.start(0, user.port, "third")
    crowd.wait_linked(user, other, third)
    told(user, "/disconnect other", "no link to other from now on")
    crowd.wait(lambda: user.linked() == {third.id} == other.linked(), "the link is gone")
    (down,) = other.events("link", state="down")
    assert (down["id"], down["reason"]) == (user.id, "its user has ended the link")
    unwanted = "its user does not want this link"
    crowd.wait(lambda: unwanted in told(other, "/net", "linked to third"), "it tries in vain")
    other.say("by way of third")
    crowd.wait(lambda: user.texts() == ["by way of third"], "what it says comes all the same")
    assert row_of(told(user, "/who", "last said"), "other")[2] == "disconnected by you"
    told(user, "/net", "you have disconnected other")
    assert other.id not in user.linked()
    user.say(f"/connect {other.port}")
    crowd.wait_linked(user, other)
    told(user, f"/disconnect 127.0.0.1:{other.port}", "no link to other")
    crowd.wait(lambda: user.linked() == {third.id}, "an address will do as well")
    for text, answer in (
        ("nobody", "nobody here is called"),
        ("user", "that is you"),
        ("", "usage"),
    ):
        told(user, f"/disconnect {text}", answer)
    leave(other, third, user)


def test_a_new_name_counts_from_there_until_the_end(crowd: Crowd) -> None:
    reader = crowd.start(0, 0, "reader").wait_ready()
    user = crowd.start(0, reader.port, "old", data="user")
    crowd.wait_linked(user, reader)
    user.say("one")
    told(user, "/nick new name", "you are called new name now")
    user.say("two")
    told(user, "/nick", "usage: /nick NAME")
    told(user, "/nick " + "€" * (protocol.MAX_NAME_BYTES // 3 + 1), "too long")
    user.say("three")
    crowd.wait(lambda: len(reader.texts()) == 3, "all is there")
    assert [event["name"] for event in reader.events("message")] == ["old", "new name", "new name"]
    assert "new name" in told(reader, "/who", "last said")
    late = crowd.start(0, user.port, "late")
    crowd.wait_linked(late, user)
    assert late.events("link", id=user.id, name="new name")
    leave(user)
    again = crowd.start(0, reader.port, "old", data="user")
    crowd.wait_linked(again, reader)
    again.say("four")
    crowd.wait(lambda: len(reader.texts()) == 4, "the last one, too")
    assert reader.events("message", text="four")[0]["name"] == "old"
    leave(again)
    leave_at_once(reader, late)


# ---------------------------------------------------------------- the address book


def test_a_broken_line_in_the_address_book_is_told_by_number_and_kept(crowd: Crowd) -> None:
    friend = crowd.start(0, 0, "friend").wait_ready()
    book = crowd.folder / "mine" / "addresses.txt"
    book.parent.mkdir()
    written = f"# my friends\n{friend.port}  # at home\nnobody knows what this is\n127.0.0.1:x\n"
    book.write_text(written)
    user = crowd.start(0, 0, "user", data="mine")
    crowd.wait_linked(user, friend)  # though nobody told it of a peer but the book
    complaints = [notice for notice in user.notices() if "addresses.txt" in notice]
    leave(user)
    leave_at_once(friend)
    assert [re.findall(r"line \d+", notice) for notice in complaints] == [["line 3"], ["line 4"]]
    kept = book.read_text().splitlines()
    assert [kept[0], *kept[2:4]] == [written.splitlines()[n] for n in (0, 2, 3)]
    assert kept[1].startswith(str(friend.port)) and kept[1].endswith("# at home")
    assert f"member={friend.id}" in kept[1]


def test_learned_addresses_are_in_the_file_and_tried_at_the_next_start(crowd: Crowd) -> None:
    hub = crowd.start(0, 0, "hub").wait_ready()
    heard_of = crowd.start(0, hub.port, "heard of")
    user = crowd.start(0, hub.port, "user", data="user")
    crowd.wait_linked(hub, heard_of, user)
    leave(user)
    text = (crowd.folder / "user" / "addresses.txt").read_text()
    lines = {line.split()[0]: line for line in text.splitlines() if not line.startswith("#")}
    assert f"member={hub.id}" in lines[f"127.0.0.1:{hub.port}"]
    assert f"member={heard_of.id}" in lines[f"127.0.0.1:{heard_of.port}"]
    leave_at_once(hub)
    again = crowd.start(0, 0, "user", data="user")
    crowd.wait_linked(again, heard_of)
    leave_at_once(again, heard_of)


# ---------------------------------------------------------------- strangers


class Stranger:
    """A client written from the header of protocol.py, to do what no member would."""

    def __init__(self, port: int, me: Identity) -> None:
        self.me = me
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), 10)
        self._frames = protocol.Frames()

    def knock(self) -> None:
        challenge = self.sock.recv(protocol.CHALLENGE_BYTES, socket.MSG_WAITALL)
        self.sock.sendall(open_room().knock(challenge))

    def log_in(self) -> None:
        self.knock()
        self.sock = self.me.tls_contexts()[1].wrap_socket(self.sock)

    def join(self) -> None:
        self.log_in()
        self.send(protocol.Hello("mallory", 0, 1), protocol.Have(()))

    def send(self, *messages: protocol.Message) -> None:
        self.sock.sendall(b"".join(map(protocol.encode, messages)))

    def entry(self, seq: int, previous: bytes = b"", log: bytes = b"") -> bytes:
        head = protocol.Head(log or self.me.member + b"12345678", seq)
        before = previous or (b"?" * 32 if seq > 1 else protocol.NO_PREVIOUS)
        body = protocol.pack_posts(["evil"])
        unsigned = protocol.unsigned_entry(head, before, 1, (), protocol.POSTS, body)
        return unsigned + self.me.sign(protocol.signed_bytes(open_room().id, unsigned))

    def wait_for(self, kind: type[protocol.Message]) -> None:
        while kind not in map(type, self._frames.feed(self.sock.recv(1 << 16))):
            pass

    def last_words(self) -> list[protocol.Message]:
        """What the node says until it hangs up. Fails if it does not."""
        said: list[protocol.Message] = []
        try:
            while data := self.sock.recv(1 << 16):
                if isinstance(self.sock, ssl.SSLSocket):
                    said += self._frames.feed(data)
        except (ConnectionError, ssl.SSLError):
            pass  # that is hanging up as well
        self.sock.close()
        return said

    def sends_entries(self, *run: bytes) -> None:
        self.join()
        self.send(protocol.Entries(run))

    def sends_bytes(self, data: bytes) -> None:
        self.join()
        self.sock.sendall(data)


def send_junk(stranger: Stranger) -> None:
    try:
        stranger.sock.sendall(random.Random(3).randbytes(MIB))
    except ConnectionError:
        pass


def send_entries_before_hello(stranger: Stranger) -> None:
    stranger.log_in()
    stranger.send(protocol.Entries((stranger.entry(1),)))


def send_a_second_hello(stranger: Stranger) -> None:
    stranger.join()
    stranger.send(protocol.Hello("mallory again", 0, 1))


def send_no_tls_in_tls(stranger: Stranger) -> None:
    stranger.join()
    stranger.wait_for(protocol.Have)
    os.write(stranger.sock.fileno(), b"GET / HTTP/1.1\r\n\r\n")


def send_hello_and_no_tls_at_once(stranger: Stranger) -> None:
    """The node has an answer to send when it finds that it can't."""
    stranger.log_in()
    stranger.sock.setsockopt(socket.IPPROTO_TCP, CORK, 1)
    stranger.send(protocol.Hello("mallory", 0, 1), protocol.Have(()))
    os.write(stranger.sock.fileno(), b"GET / HTTP/1.1\r\n\r\n")
    stranger.sock.setsockopt(socket.IPPROTO_TCP, CORK, 0)


def send_a_bad_signature(stranger: Stranger) -> None:
    stranger.sends_entries(stranger.entry(1)[:-1] + b"!")


def send_another_author(stranger: Stranger) -> None:
    stranger.sends_entries(stranger.entry(1, log=b"a" * 40))


# What is done, and what the node says about it.
ATTACKS: tuple[tuple[Callable[[Stranger], object], str], ...] = (
    (send_entries_before_hello, "before its Hello"),
    (send_a_second_hello, "a hello out of place"),
    (send_a_bad_signature, "bad signature"),
    (send_another_author, "bad signature"),
    (lambda s: s.sends_bytes(b"\xff\xff\xff\xff\x04abc"), "a frame of 4294967295 bytes"),
    (lambda s: s.sends_bytes(b"\0\0\0\0"), "a frame of 0 bytes"),
    (lambda s: s.sends_bytes(b"\0\0\0\x04\x03\x01\x00\x07"), "ends too early"),
    (lambda s: s.sends_entries(s.entry(1), s.entry(2)), "a wrong hash"),
    (lambda s: s.sends_entries(s.entry(1), s.entry(3)), "a gap"),
    (lambda s: s.sends_entries(s.entry(7)), "a gap"),
    (lambda s: s.sends_entries(b"no entry"), "ends too early"),
    (lambda s: s.sends_entries(s.entry(1) + b"x"), "bytes after its signature"),
    (send_no_tls_in_tls, "TLS: "),
    (send_hello_and_no_tls_at_once, "TLS: "),
)
EVIL_HOSTS = ("192.0.2.1", "host.invalid", "a\0b", "..", "\x1b[2J", "x" * 253, "ü", "[::1]", "::1")


def test_hostile_strangers_end_their_own_links_and_nothing_else(crowd: Crowd) -> None:
    me = Identity(crowd.folder, open_room())
    node = crowd.start(0, 0, "node").wait_ready()
    friend = crowd.start(0, node.port, "friend")
    crowd.wait_linked(node, friend)
    before = node.peak_memory_bytes()
    friend_events = len(friend.events("link"))

    def still_talk() -> None:
        posts = len(node.texts()) + 1
        node.say(f"node {posts}")
        friend.say(f"friend {posts}")
        crowd.wait(lambda: len(node.texts()) == len(friend.texts()) == posts, "posts still flow")

    for knocked in (False, True):
        stranger = Stranger(node.port, me)
        if knocked:
            stranger.knock()
        send_junk(stranger)
        stranger.last_words()
        still_talk()
    assert [notice.partition(":")[0] for notice in node.notices()] == [
        "a caller from 127.0.0.1 did not get in"  # and one is enough for some seconds
    ]
    for attack, words in ATTACKS:
        known = len(node.notices())
        stranger = Stranger(node.port, me)
        attack(stranger)
        said = stranger.last_words()
        still_talk()
        notices = node.notices()[known:]
        assert len(notices) == 1 and words in notices[0], (words, notices)
        assert notices[0].endswith("; link closed") and "127.0.0.1:" in notices[0]
        # A stream that is broken can't carry a goodbye; any other ends with the reason.
        assert all(words in message.reason for message in said if isinstance(message, protocol.Bye))

    assert node.peak_memory_bytes() - before < 64 * MIB
    assert len(friend.events("link")) == friend_events
    leave(friend, node)
    assert friend.notices() == []
    assert "evil" not in node.texts()


def test_no_address_that_a_member_tells_aims_a_node_beyond_this_machine(crowd: Crowd) -> None:
    transcript = crowd.folder / "transcript"
    node = crowd.start(0, 0, "node", "--debug", transcript).wait_ready()
    stranger = Stranger(node.port, Identity(crowd.folder, open_room()))
    stranger.join()
    evil = [protocol.Peer(bytes([n]) * 32, host, 6000) for n, host in enumerate(EVIL_HOSTS)]
    stranger.send(protocol.Peers(tuple(evil)), protocol.Ping())
    stranger.wait_for(protocol.Pong)
    stranger.send(protocol.Bye("\x1b[2J enough"))
    stranger.last_words()
    crowd.wait(lambda: node.events("link", state="down", reason="\x1b[2J enough"), "it is gone")
    leave_at_once(node)
    assert node.notices() == []
    dialed = re.findall(r"OpenLink\(address=\('(.*?)', \d+\)\)", transcript.read_text())
    assert set(dialed) <= {"127.0.0.1", "::1"}, "the open room stays on this machine"
    assert node.data is not None
    assert not (node.data / "addresses.txt").exists(), "hearsay is kept once it was found true"


def test_a_member_that_never_reads_keeps_nobody_waiting_and_costs_little_memory(
    crowd: Crowd,
) -> None:
    author = crowd.start(0, 0, "author").wait_ready()
    friend = crowd.start(0, author.port, "friend")
    crowd.wait_linked(author, friend)
    deaf = Stranger(author.port, Identity(crowd.folder, open_room()))
    deaf.join()
    crowd.wait(lambda: len(author.linked()) == 2, "the deaf one is linked")
    before = [process.peak_memory_bytes() for process in (author, friend)]
    posts = [f"{n} " + "x" * 5000 for n in range(1000)]
    author.say(*posts)
    crowd.wait(lambda: len(friend.texts()) >= len(posts), "the friend has all")
    for process, memory in zip((author, friend), before, strict=True):
        assert process.peak_memory_bytes() - memory < 64 * MIB
    assert len(author.linked()) == 2
    leave(author)
    leave_at_once(friend)
    deaf.sock.close()
    assert friend.texts() == posts


# ---------------------------------------------------------------- what takes its time


@dataclass
class Background:
    """What takes its time goes on while the other tests run."""

    crowd: Crowd
    idle: list[Process]
    transcripts: list[Path]
    patient: Process
    silent: list[Stranger]


@pytest.fixture(scope="module", autouse=True)
def background(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    with Crowd(tmp_path_factory.mktemp("background")) as crowd:
        files = [crowd.folder / f"transcript-{n}" for n in range(3)]
        idle = [crowd.start(0, 0, "idle-0", "--debug", files[0]).wait_ready()]
        for file in files[1:]:
            idle.append(crowd.start(0, idle[0].port, "idle", "--debug", file))
        patient = crowd.start(0, 0, "patient").wait_ready()
        me = Identity(crowd.folder, open_room())
        silent = [Stranger(patient.port, me) for _ in range(3)]  # the first says nothing at all
        silent[1].sock.sendall(b"half a knock")
        silent[2].knock()
        silent[2].sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # a handshake begins so
        crowd.wait_linked(*idle)
        yield Background(crowd, idle, files, patient, silent)
        leave_at_once(*idle, patient)
        check(crowd)


def test_strangers_who_stop_half_way_in_are_hung_up_on_with_one_notice(
    background: Background,
) -> None:
    for stranger in background.silent:
        stranger.sock.settimeout(15)
        stranger.last_words()
    patient = background.patient
    background.crowd.wait(patient.notices, "it says so")
    assert len(patient.notices()) == 1
    # Of the first whose time is over: one at the door, or the one that has knocked.
    reasons = ("did not get in: no knock within 10 s", "the handshake in 10 s")
    assert any(reason in patient.notices()[0] for reason in reasons)
    assert not patient.has_ended


QUIET_S = 6.0  # longer than a link stays silent


def test_idle_nodes_wake_up_for_a_heartbeat_and_nothing_else(background: Background) -> None:
    def lines(file: Path) -> list[tuple[float, str]]:
        split = (line.partition(" ") for line in file.read_text().splitlines()[:-1])
        return [(float(stamp), rest) for stamp, _, rest in split]

    def quiet_from(file: Path) -> float:
        return 2.0 + max(at for at, rest in lines(file) if "ShowLink" in rest)

    files = background.transcripts
    background.crowd.wait(
        lambda: all(lines(file)[-1][0] > quiet_from(file) + QUIET_S for file in files),
        "it was quiet for long enough",
        20.0,
    )
    for file in files:
        began = quiet_from(file)
        quiet = [rest for at, rest in lines(file) if began < at < began + QUIET_S]
        for rest in quiet:
            assert rest == ">> TimePassed()" or "Ping()" in rest or "Pong()" in rest
        # Two links, up to two heartbeats each: asked or asking, and the time that passed.
        assert 1 <= sum(rest.startswith(">>") for rest in quiet) <= 12, quiet


# ---------------------------------------------------------------- on a terminal


def wait_for_rows(crowd: Crowd, terminal: TerminalProcess, above: str, prompt: str) -> None:
    """The prompt is the last row; above it are the status, and the conversation."""

    def shown() -> bool:
        rows = terminal.rows
        return len(rows) > 2 and rows[-3].endswith(above) and rows[-1] == prompt

    crowd.wait(shown, f"{above!r} above {prompt!r}")


@pytest.mark.parametrize(
    ("wanted", "columns"),
    [("", 80), ("30", 30), ("0", 80), ("-5", 80), ("99999", 80), ("wide", 80), ("²", 80)],
)
def test_columns_from_the_environment_count_more_than_those_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, wanted: str, columns: int
) -> None:
    monkeypatch.setattr("os.get_terminal_size", lambda descriptor: os.terminal_size((80, 24)))
    monkeypatch.setenv("COLUMNS", wanted)
    assert terminal.size() == (columns, 24)


def test_posts_that_arrive_do_not_tear_the_line_that_is_being_typed(crowd: Crowd) -> None:
    friend = crowd.start(0, 0, "friend").wait_ready()
    ann = crowd.start_on_terminal(0, friend.port, "ann")
    crowd.wait(lambda: len(friend.linked()) == 1, "they are linked")
    typed = ""
    for number, part in enumerate(("ha", "lf a", " li")):
        typed += part
        ann.write(part)
        friend.say(f"post {number}")
        wait_for_rows(crowd, ann, f"friend: post {number}", f"ann › {typed}")
        assert (ann.screen.cursor.x, ann.screen.cursor.y) == (6 + len(typed), len(ann.rows) - 1)
    friend.say(*(f"post {n}" for n in range(3, 40)))
    friend.write("\x1b[2J\x07boom\n")
    crowd.wait(lambda: "boom" in ann.rows[-3], "all is shown")
    assert ann.rows[-2:] == ["open · 1 linked", "ann › half a li"]
    shown = [re.fullmatch(r"\d\d:\d\d:\d\d friend: post (\d+)", row) for row in ann.rows[:-3]]
    assert [found and int(found[1]) for found in shown] == list(range(40 - len(shown), 40))
    assert len(ann.rows) == ROWS
    ann.write("ne\r")
    crowd.wait(lambda: friend.texts() == ["half a line"], "it is said, whole")
    crowd.wait(lambda: ann.rows[-1] == "ann ›", "and gone from the prompt")
    assert ann.rows[-3].endswith("ann › half a line")
    crowd.wait(lambda: ann.rows[-2] == "open · 1 linked · your last: arrived", "its state is shown")
    ann.write("\x04")
    assert ann.wait_end() == 0
    leave_at_once(friend)


@pytest.mark.parametrize("end", ["/quit\r", "\x03", "\x04", "typed\x03\x03", signal.SIGTERM])
def test_the_terminal_is_as_it_was_after_any_end(crowd: Crowd, end: str | signal.Signals) -> None:
    ann = crowd.start_on_terminal(0, 0, "ann")
    crowd.wait(lambda: ann.rows[-1] == "ann ›", "the prompt is there")
    status = 0
    if isinstance(end, signal.Signals):
        ann.write("half a line")
        crowd.wait(lambda: ann.rows[-1] == "ann › half a line", "it is typed")
        ann.signal(end)
    elif end.startswith("typed"):
        status = 130  # the first Ctrl-C clears the line, the second is in a hurry
        ann.write("typed")
        crowd.wait(lambda: ann.rows[-1] == "ann › typed", "it is typed")
        ann.write("\x03")
        crowd.wait(lambda: ann.rows[-1] == "ann ›", "it is cleared")
        ann.write("\x03")
    else:
        ann.write(end)
    assert ann.wait_end() == status
    assert ann.mode_after == ann.mode_before
    assert b"\x1b[?2004l" in ann.stdout
    assert ann.stdout.count(b"\x1b[?2004h") == 1
    assert ann.screen.cursor.x == 0
    assert not any(row.startswith("ann ›") for row in ann.rows), "no prompt is left behind"


# ---------------------------------------------------------------- a bot

BOT = """\
from selchat import User

class Echo(User):
    def on_message(self, message):
        if message.text == "leave":
            self.leave("told to")
        elif not message.own:
            self.post("echo: " + message.text)

bot = Echo(port=0, name="echo")
bot.start_server()
bot.start_client("127.0.0.1", {port})
raise SystemExit(bot.run())
"""

COUNTDOWN = """\
from selchat import User

class Countdown(User):
    def on_message(self, message):
        if message.text != "0":
            self.post(str(int(message.text) - 1))

bot = Countdown(port=0, name="countdown")
bot.start_server()
bot.post("3")
bot.run()
"""


def start_bot(crowd: Crowd, code: str) -> Process:
    script = crowd.folder / "bot.py"
    script.write_text(code)
    return crowd.start(
        command=[sys.executable, str(script)], environment={"PYTHONPATH": str(SELCHAT.parent)}
    )


def test_a_bot_of_ten_lines_answers(crowd: Crowd) -> None:
    friend = crowd.start(0, 0, "friend").wait_ready()
    bot = start_bot(crowd, BOT.format(port=friend.port))
    crowd.wait(lambda: len(friend.linked()) == 1, "they are linked")
    friend.say("one", "two")
    crowd.wait(lambda: len(friend.texts()) == 2, "it answers")
    friend.say("leave")
    assert bot.wait_end() == 0
    leave_at_once(friend)
    assert friend.texts() == ["echo: one", "echo: two"]


def test_a_bot_that_answers_itself_is_not_kept_waiting(crowd: Crowd) -> None:
    bot = start_bot(crowd, COUNTDOWN)
    crowd.wait(lambda: len(bot.lines) == 4, "it has counted down", 3.0)
    assert [line.split(": ")[1] for line in bot.lines] == ["3", "2", "1", "0"]
