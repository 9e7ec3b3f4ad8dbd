"""Real processes in rooms of their own: who gets in by an invite, who does not, and why not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Crowd, Process

DEVNULL = subprocess.DEVNULL


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd


def invite_of(crowd: Crowd, data: str | None, room: str = "hike") -> str:
    """What `--invite` prints, once its room's node is found somewhere."""
    process = crowd.run("--invite", "--room", room, data=data, json=False)
    assert process.wait_end() == 0, process.stderr
    return process.stdout.decode().strip()


def command_line(process: Process) -> str:
    return Path(f"/proc/{process.popen.pid}/cmdline").read_text()


def one_line(process: Process, status: int) -> str:
    """Why it has ended."""
    assert process.wait_end() == status
    (line,) = process.stderr.decode().splitlines()
    assert process.stdout == b"" and line.startswith("selchat: ")
    return line


def test_who_is_invited_is_in_the_room_and_nobody_else_sees_it_in_a_list_of_processes(
    crowd: Crowd,
) -> None:
    ann = crowd.start(0, 0, "ann", "--room", "hike", data="ann").wait_ready()
    (ready,) = ann.events("ready")
    assert ready["room"] == "hike"
    invited = invite_of(crowd, "ann")
    bob = crowd.start(0, invited, "bob", data="bob")
    cyd = crowd.start(0, "0", "cyd", f"--peer={invited.upper()}", data="cyd")
    crowd.wait_linked(ann, bob, cyd)
    for process in (ann, bob, cyd):
        assert invited not in command_line(process).lower()
    bob.say("hi")
    crowd.wait(lambda: ann.texts() == ["hi"] == cyd.texts(), "bob is heard")
    # The room is kept: the next time its name is enough, and the address is in the book.
    bob.end_input()
    bob.wait_end()
    again = crowd.start(0, 0, "bob", "--room", "hike", data="bob")
    crowd.wait_linked(ann, again, cyd)
    assert again.id == bob.id


def test_an_invite_may_be_in_a_file_or_come_first_on_standard_input_broken_into_lines(
    crowd: Crowd,
) -> None:
    ann = crowd.start(0, 0, "ann", "--room", "hike", data="ann").wait_ready()
    invited = invite_of(crowd, "ann")
    (crowd.folder / "mail").write_text(f"Hello,\n\n> {invited[:30]}=\n> {invited[30:]}\n\nAnn\n")
    bob = crowd.start(0, "@mail", "bob", data="bob")
    cyd = crowd.start(0, "--peer", "-", "0", "cyd", data="cyd")
    cyd.write(f"{invited[:20]}\n{invited[20:50]}\n{invited[50:]}\nthis is said\n")
    crowd.wait_linked(ann, bob, cyd)
    crowd.wait(lambda: ann.texts() == ["this is said"], "what follows the invite is said")
    (crowd.folder / "address").write_text(f"127.0.0.1:{ann.port}\n")
    dan = crowd.start(0, "@address", "dan", "--room", "hike", "--peer", invited, data="dan")
    crowd.wait_linked(ann, bob, cyd, dan)


def test_one_invite_on_the_command_line_and_one_on_standard_input_are_both_read_once(
    crowd: Crowd,
) -> None:
    ann = crowd.start(0, 0, "ann", "--room", "hike", data="ann").wait_ready()
    invited = invite_of(crowd, "ann")
    for peers in (("-", "bob", "--peer", invited), (invited, "bob", "--peer=-")):
        bob = crowd.start(0, *peers)
        bob.say(invited, "hi")
        bob.end_input()
        assert bob.wait_end() == 0, bob.stderr
    crowd.wait(lambda: ann.texts() == ["hi", "hi"], "the line after the invite is a post")


@pytest.mark.parametrize("arguments", ["0 0 INVITE", "0 0 bob --room INVITE"])
def test_an_invite_in_the_wrong_place_is_told_to_nobody(crowd: Crowd, arguments: str) -> None:
    invited = invite_of(crowd, "ann", "h")
    words = [invited if word == "INVITE" else word for word in arguments.split()]
    wrong = crowd.start(*words, stdin=DEVNULL)
    line = one_line(wrong, 2)
    assert "selchat.py 0 INVITE" in line and invited[12:] not in line
    ann = crowd.start(0, 0, "ann").wait_ready()
    ann.write(f"/nick {invited}\n")
    crowd.wait(ann.errors, "it is refused")
    assert ann.errors() == ["that is an invite, and no name: nobody was told"]


def test_all_names_of_one_person_are_in_the_same_room(crowd: Crowd) -> None:
    ann = crowd.start(0, 0, "ann", "--room", "hike", data=None).wait_ready()
    bob = crowd.start(0, ann.port, "bob", "--room", "hike", data=None)
    again = crowd.start(0, ann.port, "ann", "--room", "hike", data=None)
    crowd.wait_linked(ann, bob, again)
    assert len({ann.id, bob.id, again.id}) == 3
    assert invite_of(crowd, None).startswith("selchat1")
    home = crowd.home / ".local/share/selchat"
    assert [file.name for file in (home / ".rooms").iterdir()] == ["hike.room"]


def test_rooms_side_by_side_have_nothing_in_common(crowd: Crowd) -> None:
    one = crowd.start(0, 0, "ann", "--room", "one", data="ann").wait_ready()
    two = crowd.start(0, one.port, "ann", "--room", "two", data="ann").wait_ready()
    none = crowd.start(0, one.port, "ann", data="ann").wait_ready()
    assert len({one.id, two.id, none.id}) == 3
    crowd.wait(
        lambda: all(
            any("refused the knock: another room?" in notice for notice in process.notices())
            for process in (two, none)
        ),
        "they are told that this is another room",
    )
    crowd.wait(lambda: any("did not get in" in each for each in one.notices()), "so is the other")
    one.say("of one")
    two.say("of two")
    crowd.wait(lambda: one.events("message") and two.events("message"), "each has its own post")
    said = [[event["text"] for event in each.events("message")] for each in (one, two, none)]
    assert said == [["of one"], ["of two"], []]
    assert not any(process.linked() for process in (one, two, none))


def test_what_is_no_good_invite_is_refused_with_a_sentence_of_its_own_and_nothing_of_it_shown(
    crowd: Crowd,
) -> None:
    good = invite_of(crowd, "ann")
    broken = good[:30] + ("a" if good[30] != "a" else "b") + good[31:]
    (crowd.folder / "file").write_text(broken)
    said = {
        "cut off, 40 of its": crowd.run(0, good[:40], data="x", json=False),
        "damaged, some of its characters": crowd.run(0, broken, data="x", json=False),
        "damaged, some": crowd.run(0, "@file", data="x", json=False),
        "damaged at its start": crowd.run(0, "x" + good[3:], data="x", json=False),
        "of a later version": crowd.run(0, good.replace("1", "2", 1), data="x", json=False),
    }
    for what, process in said.items():
        line = one_line(process, 2)
        assert what in line and good[20:28] not in line
    assert not (crowd.folder / "x").exists(), "nothing was made"


def test_an_invite_to_another_room_of_the_same_name_is_refused_and_can_have_another_name(
    crowd: Crowd,
) -> None:
    ann = crowd.start(0, 0, "ann", "--room", "hike", data="ann").wait_ready()
    mine, other = invite_of(crowd, "bob"), invite_of(crowd, "ann")
    assert mine != other
    refused = crowd.run(0, other, "bob", data="bob", json=False)
    assert "to another room than the one that is called 'hike' here" in one_line(refused, 1)
    two = crowd.run(0, other, "bob", "--peer", mine, data="cyd", json=False)
    assert "another room" in one_line(two, 1)
    bob = crowd.start(0, other, "bob", "--room", "ann's hike", data="bob")
    crowd.wait_linked(ann, bob)
    assert invite_of(crowd, "bob") == mine, "the own room is as it was"
    bob.say(f"/connect {mine}")
    crowd.wait(lambda: any("to another room: leave" in each for each in bob.errors()), "refused")
    bob.say(f"/connect {other}", "/connect selchat1aaaa")
    crowd.wait(lambda: any("the invite is" in each for each in bob.errors()), "it is damaged")


def test_an_invite_can_be_asked_for_in_the_conversation_but_in_the_open_room(crowd: Crowd) -> None:
    ann = crowd.start(0, 0, "ann", "--room", "hike", data="ann").wait_ready()
    ann.say("/invite")
    crowd.wait(lambda: any("selchat1" in each for each in ann.notices()), "an invite")
    (said,) = (each for each in ann.notices() if "selchat1" in each)
    invited = re.findall(r"selchat1[a-z2-7]+", said)[0]
    bob = crowd.start(0, invited, "bob", data="bob")
    crowd.wait_linked(ann, bob)
    open_room = crowd.start(0, 0, "eve", data="eve").wait_ready()
    open_room.say("/invite")
    crowd.wait(lambda: open_room.errors(), "no invite")
    assert open_room.errors() == [
        "the open room needs no invite: it is for everybody on this machine"
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1"])
def test_the_open_room_is_neither_heard_nor_dialed_beyond_this_machine(
    crowd: Crowd, host: str
) -> None:
    line = one_line(crowd.run(0, "--host", host, data="x", json=False), 2)
    assert "everybody out there could read the open room" in line and "--room" in line
    for peer in ("5.6.7.8:5000", "chat.example:5000", "[2a0a::1]:5000"):
        assert "stays on it" in one_line(crowd.run(0, peer, data="x", json=False), 2)


def test_of_two_nodes_with_one_key_one_is_told_so_and_what_both_say_is_lost_nowhere(
    crowd: Crowd,
) -> None:
    zoe = crowd.start(0, 0, "zoe", "--room", "hike", data="zoe").wait_ready()
    ann = crowd.start(0, invite_of(crowd, "zoe"), "ann", data="ann")
    crowd.wait_linked(zoe, ann)
    ann.say("before")
    crowd.wait(lambda: zoe.texts() == ["before"], "all is well")
    crowd.wait(
        lambda: (
            b"127.0.0.1"
            in b"".join(
                f.read_bytes() for f in (crowd.folder / "ann/rooms/hike").glob("addresses.txt")
            )
        ),
        "ann knows where zoe is",
    )
    shutil.copytree(crowd.folder / "ann", crowd.folder / "copy")
    copy = crowd.start(0, zoe.port, "ann", "--room", "hike", data="copy").wait_ready()
    assert copy.id == ann.id
    warned = "uses your key: a copy of your data folder must not run beside it"
    crowd.wait(lambda: any(warned in each for each in ann.notices()), "the first one is told")
    crowd.wait(
        lambda: any("is not let in: another node uses the same key" in n for n in zoe.notices()),
        "so is who was called",
    )
    ann.say("first one")
    copy.say("second one")
    crowd.wait(lambda: "second one" in zoe.texts(), "who is linked is heard")
    copy.end_input()
    copy.wait_end()
    crowd.wait(lambda: "first one" in zoe.texts(), "and the other one when it is alone again", 30.0)
    # To the first one, what the copy has said is its own.
    crowd.wait(lambda: ann.events("message", text="second one"), "each has the other's", 30.0)
    for process in (zoe, ann):
        said = sorted(event["text"] for event in process.events("message"))
        assert said == ["before", "first one", "second one"]
    assert not any("fork" in each for process in (zoe, ann, copy) for each in process.notices())
