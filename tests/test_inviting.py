"""How an invite comes to selchat: as a word, from a file, from standard input. Real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

import invite
from invite import Invite
from tests.processes import Crowd, Process

SECRET = bytes(range(16))
QUOTED = "On Monday ann wrote:\n> Hello bob, come to selchat 1.0:\n>\n> {}=\n> {}\n> Ann\n"


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd
        for process in crowd.processes:
            assert b"Traceback" not in process.stdout + process.stderr


@pytest.fixture
def ann(crowd: Crowd) -> Process:
    return crowd.start(0, 0, "ann", "--room", "garden", data="ann").wait_ready()


@pytest.fixture
def line(crowd: Crowd, ann: Process) -> str:
    [line] = crowd.run("--room", "garden", "--invite", data="ann", json=False).lines
    return line


def is_in_the_garden(crowd: Crowd, ann: Process, *others: Process) -> None:
    crowd.wait_linked(ann, *others)
    assert {one.events("ready")[0]["room"] for one in others} == {"garden"}


def test_an_invite_comes_as_a_word_from_a_file_and_from_standard_input(
    crowd: Crowd, ann: Process, line: str
) -> None:
    (crowd.folder / "mail").write_text(QUOTED.format(line[:33], line[33:]))
    word = crowd.start(0, line, "word")
    option = crowd.start(0, 0, "option", "--peer", line)
    file = crowd.start(0, "@mail", "file")
    option_file = crowd.start(0, 0, "option file", "--peer", "@mail")
    piped = crowd.start(0, "-", "piped")
    piped.write(f"{line}\nthis is said\n")
    option_piped = crowd.start(0, 0, "option piped", "--peer", "-")
    option_piped.write(f"\n  \n{line[:20]}\n{line[20:30]}\n\n{line[30:]}")
    option_piped.end_input()
    crowd.wait(lambda: option_piped.events("ready"), "an end ends the invite, too")
    is_in_the_garden(crowd, ann, word, option, file, option_file, piped)
    crowd.wait(lambda: ann.events("message", text="this is said"), "what follows it is said")
    assert [event["text"] for event in piped.events("message")] == ["this is said"]


def test_an_invite_is_typed_in_and_then_there_is_a_conversation(
    crowd: Crowd, ann: Process, line: str
) -> None:
    bob = crowd.start_on_terminal(0, "-", "bob")
    bob.write(f"{line[:30]}\n{line[30:]}\n")
    crowd.wait(lambda: bob.rows[-1] == "bob ›", "the prompt is there")
    bob.write("hello\r")
    crowd.wait(lambda: ann.events("message", text="hello"), "it is said")
    bob.signal(signal.SIGTERM)
    assert bob.wait_end() == 0


def test_an_input_that_does_not_block_is_waited_for(crowd: Crowd, ann: Process, line: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    bob = crowd.start(0, "-", "bob", stdin=reader)
    os.close(reader)
    crowd.wait_s(0.5)  # so that it finds nothing there yet
    os.write(writer, f"{line[:30]}\n".encode())
    crowd.wait_s(0.1)
    os.write(writer, f"{line[30:]}\n".encode())
    is_in_the_garden(crowd, ann, bob)
    os.close(writer)


def test_with_an_invite_a_room_is_known_from_then_on(crowd: Crowd, ann: Process, line: str) -> None:
    bob = crowd.start(0, line, "bob", data="bob").wait_ready()
    is_in_the_garden(crowd, ann, bob)
    bob.signal(signal.SIGTERM)
    assert bob.wait_end() == 0
    again = crowd.start(0, 0, "bob", "--room", "garden", data="bob")
    is_in_the_garden(crowd, ann, again)
    assert again.id == bob.id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line[:-1], "the invite is cut off"),
        (lambda line: line[:20], "the invite is cut off"),
        (lambda line: line[:20] + ("a" if line[20] != "a" else "b") + line[21:], "is damaged"),
        (lambda line: "selchat2" + line[8:], "of a later version"),
        (lambda line: "xelchat1" + line[8:], "that is no address, and if it was an invite"),
    ],
    ids=["cut off", "cut off early", "damaged", "later", "damaged at its start"],
)
def test_a_broken_invite_is_refused_for_what_it_is_wherever_it_comes_from(
    crowd: Crowd, change: Callable[[str], str], said: str
) -> None:
    broken = change(invite.write(Invite("garden", SECRET)))
    (crowd.folder / "mail").write_text(f"Hello!\n> {broken}\n")
    piped = crowd.start(0, "-", "bob", json=False)
    piped.write(f"{broken}\n")
    piped.end_input()
    for process in (
        crowd.run(0, broken, "bob", json=False),
        crowd.run(0, 0, "bob", f"--peer={broken}", json=False),
        crowd.run(0, "@mail", "bob", json=False),
        piped,
    ):
        assert process.wait_end() == 2
        [error] = process.error_lines
        assert said in error and broken[9:20] not in error
        assert process.data is not None and not process.data.exists()


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        ("@nothing", "'nothing': No such file or directory"),
        ("@", "No such file or directory"),
        ("@.", "Is a directory"),
        ("@empty", "has no port"),
        ("@noise", "that is no address"),
        ("-", "standard input ended before an invite came"),
    ],
)
def test_where_there_is_no_invite_that_is_one_clear_line(
    crowd: Crowd, peer: str, said: str
) -> None:
    (crowd.folder / "empty").write_text("\n")
    (crowd.folder / "noise").write_bytes(bytes(range(256)) * 1000)
    process = crowd.run(0, peer, "bob", json=False, stdin=DEVNULL)
    assert process.wait_end() == 2
    [error] = process.error_lines
    assert said in error


def test_an_invite_in_the_place_of_the_port_is_told_where_it_belongs(crowd: Crowd) -> None:
    process = crowd.run(invite.write(Invite("garden", SECRET)), json=False)
    assert process.wait_end() == 2
    assert "an invite comes second: selchat.py 0 INVITE" in process.error_lines[0]
