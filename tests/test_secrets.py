"""The room's secret and a member's private key are in two files, and nowhere else; and nobody else
on the machine can read what selchat keeps. Real processes."""

from __future__ import annotations

import base64
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import folders
import invite
from addresses import Address
from identity import Room
from invite import Invite
from tests.processes import SELCHAT, Crowd, Process

ROOM = "garden"
# No so long part of a secret may be anywhere: 80 bits are no chance, and what a half of it leaves
# to be tried is too much.
PART_BYTES = 10
UMASKS = ("000", "022", "077")
WITH_UMASK = 'umask "$1"; shift; exec "$@"'


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd
        for process in crowd.processes:
            assert b"Traceback" not in process.stdout + process.stderr


# ---------------------------------------------------------------- what must be nowhere


def spellings(secret: bytes) -> set[bytes]:
    """Each part of a secret in each way that it may be written, wherever it stands in something
    longer."""
    found: set[bytes] = set()
    for start in range(len(secret) - PART_BYTES + 1):
        part = secret[start : start + PART_BYTES]
        found |= {part, part.hex().encode(), part.hex().upper().encode(), repr(part)[2:-1].encode()}
        for shift in range(3):  # what stands before it moves it by that many bytes
            found.add(_inside(base64.b64encode, part, shift, bits=6))
            found.add(_inside(base64.urlsafe_b64encode, part, shift, bits=6))
        for shift in range(5):
            word = _inside(base64.b32encode, part, shift, bits=5)
            found |= {word, word.lower()}
    return found


def _inside(encode: object, part: bytes, shift: int, *, bits: int) -> bytes:
    """The characters that are of `part` alone."""
    assert callable(encode)
    word: bytes = encode(bytes(shift) + part).rstrip(b"=")
    whole = (shift + len(part)) * 8 // bits
    return word[-(-shift * 8 // bits) : whole]


def test_a_secret_is_found_however_it_is_written() -> None:
    secret = bytes(range(100, 132))
    line = invite.write(Invite("x", secret, (Address("10.0.0.1", 5000),)))
    for hay in (
        b"..." + secret + b"...",
        f"Invite({secret!r})".encode(),
        secret.hex().encode(),
        secret.hex().upper()[3:].encode(),
        base64.b64encode(b"1" + secret + b"2"),
        base64.b64encode(b"22" + secret),
        line.encode(),
        line.upper().encode(),
        invite.write(Invite("ab", secret)).encode()[:60],
    ):
        assert any(spelling in hay for spelling in spellings(secret))
    assert not any(spelling in line.encode() for spelling in spellings(bytes(32)))


def secrets_in(data: Path, room: str = ROOM) -> dict[str, bytes]:
    """All that nobody else may know of a member, from the folder that it was given."""
    [room_file] = (data / "rooms").glob("*.room")
    kept = invite.read(room_file.read_text())
    assert kept.room == room
    whole = Room(kept.room, kept.secret)
    found = {"the room's secret": kept.secret}
    found["its authority's key"] = whole.authority().private_bytes_raw()
    found["the key of its knock"] = whole._knock_key
    for number, file in enumerate(sorted(data.rglob("key.pem"))):
        key = load_pem_private_key(file.read_bytes(), None)
        found[f"private key {number}"] = key.private_bytes_raw()  # type: ignore[union-attr]
        body = "".join(file.read_text().splitlines()[1:-1])
        found[f"PEM body {number}"] = body.encode()
    assert len(found) >= 5
    return found


def leaks(secrets: dict[str, bytes], places: dict[str, bytes]) -> list[str]:
    return [
        f"{name} in {place}: {spelling!r}"
        for name, secret in secrets.items()
        for spelling in spellings(secret) | ({secret} if name.startswith("PEM") else set())
        for place, hay in places.items()
        if spelling in hay
    ]


def said_by(*processes: Process) -> dict[str, bytes]:
    places: dict[str, bytes] = {}
    for number, process in enumerate(processes):
        places[f"stdout of {number}"] = bytes(process.stdout)
        places[f"stderr of {number}"] = bytes(process.stderr)
    return places


def files_in(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.match("*.sock")]
    return {str(path): path.read_bytes() for path in files if path.suffix not in but}


def command_line(process: Process) -> bytes:
    return Path(f"/proc/{process.popen.pid}/cmdline").read_bytes()


def invite_to(crowd: Crowd, data: Path, room: str = ROOM) -> str:
    process = crowd.run("--room", room, "--invite", data=data, json=False)
    [line] = process.lines
    return line


def leave(*processes: Process) -> None:
    for process in processes:
        process.signal(signal.SIGTERM)
    for process in processes:
        assert process.wait_end() == 0


# ---------------------------------------------------------------- a room with everything on


def test_no_secret_gets_out_of_a_room_with_everything_on(crowd: Crowd) -> None:
    ann_data, out = crowd.folder / "ann", crowd.folder / "out"
    out.mkdir()
    ann = crowd.start(
        *(0, 0, "ann", "--room", ROOM, "--debug", out / "ann.txt"), data=ann_data
    ).wait_ready()
    line = invite_to(crowd, ann_data)
    assert invite.read(line).addresses
    (crowd.folder / "invite").write_text(line)
    bob = crowd.start(0, line, "bob", "--debug", out / "bob.txt", data="bob")
    cyd = crowd.start(0, "-", "cyd", data="cyd", json=False)
    cyd.write(f"{line}\n")
    dan = crowd.start(
        *(0, 0, "dan", "--peer", f"@{crowd.folder / 'invite'}", "--plain"), data="dan", json=False
    )
    eve = crowd.start_on_terminal(0, "0", "eve", f"--peer={line}", data="eve")
    crowd.wait(lambda: len(ann.linked()) == 4 and len(bob.linked()) == 4, "all are linked")
    everybody = (ann, bob, cyd, dan, eve)
    lines = {f"command line of {n}": command_line(one) for n, one in enumerate(everybody)}
    for one in (ann, bob, cyd, dan):
        one.say("hello", "/who", "/peers", "/net", "/help", "/history", "/connect 1", "/nick me")
    eve.write("hello\r/who\r/net\r")
    for kind in ("txt", "json", "jsonl", "html", "svg"):
        ann.say(f"/export {out / f'all.{kind}'}")
        crowd.wait((out / f"all.{kind}").exists, "all is exported")
    ann.say("/search hello", "/bell off", "/hide bob", "/unhide bob")
    for one in everybody:
        crowd.wait(lambda one=one: one.stdout.count(b"hello") >= 5, "all was said")  # type: ignore[misc]
    leave(*everybody)

    secrets = secrets_in(ann_data)
    for name in ("bob", "cyd", "dan", "eve"):
        for what, secret in secrets_in(crowd.folder / name).items():
            secrets[what if "key" not in what and "PEM" not in what else f"{name}'s {what}"] = (
                secret
            )
    assert len(set(secrets.values())) == 3 + 2 * 5
    places = said_by(*everybody) | lines | files_in(out)
    for name in ("ann", "bob", "cyd", "dan", "eve"):
        places |= files_in(crowd.folder / name, but=(".room", ".pem"))
        # Even the files that hold one hold no other.
        certificates = files_in(crowd.folder / name, but=(".room",))
        places |= {path: data for path, data in certificates.items() if "certificate" in path}
    assert len(places) > 30
    assert leaks(secrets, places) == []


def test_an_invite_is_on_no_command_line_once_selchat_has_begun(crowd: Crowd) -> None:
    ann = crowd.start(0, 0, "ann", "--room", ROOM, data="ann").wait_ready()
    line = invite_to(crowd, crowd.folder / "ann")
    wrapped = f"Come:\n> {line[:40]}=\n> {line[40:]}\n"
    started = [
        crowd.start(0, line, "bob"),
        crowd.start(0, wrapped, "cyd"),
        crowd.start(0, 0, "dan", "--peer", line.upper()),
        crowd.start(0, 0, "eve", f"--peer={line}", "--room", "elsewhere"),
        crowd.start("--peer", line, "--", 0, "0", "fay"),
    ]
    secrets = secrets_in(crowd.folder / "ann")
    for number, one in enumerate(started):
        crowd.wait(lambda one=one: one.linked(), f"{number} is linked")  # type: ignore[misc]
        assert leaks(secrets, {"command line": command_line(one)}) == []
        assert one.events("ready")[0]["name"] == ("bob", "cyd", "dan", "eve", "fay")[number]
    everybody = {one.id for one in started}
    crowd.wait(lambda: ann.linked() == everybody, "all of them are linked")


# ---------------------------------------------------------------- what goes wrong


def test_no_error_tells_a_secret(crowd: Crowd) -> None:
    ann_data = crowd.folder / "ann"
    ann = crowd.start(0, 0, "ann", "--room", ROOM, data=ann_data).wait_ready()
    line = invite_to(crowd, ann_data)
    secrets = secrets_in(ann_data)
    secrets["another room's secret"] = bytes(range(16))
    other = invite.write(Invite(ROOM, bytes(range(16)), (Address("127.0.0.1", ann.port),)))
    damaged = line[:30] + ("a" if line[30] != "a" else "b") + line[31:]
    ended: list[Process] = []

    def refused(*arguments: object, data: str = "", status: int | None = None) -> None:
        process = crowd.run(*arguments, data=data, json=False)
        assert process.wait_end() in ((1, 2) if status is None else (status,)), arguments
        assert len(process.error_lines) == 1 and process.lines == []
        ended.append(process)

    refused(0, damaged, "bob")
    refused(0, line[:-1], "bob")
    refused(0, line[1:], "bob")
    refused(0, "x" + line[2:], "bob")
    refused(0, "selchat2" + line[8:], "bob")
    refused(0, 0, "bob", f"--peer={damaged}")
    refused(0, 0, "bob", "--wrong", line)
    refused(0, line, "bob", "and", "more")
    refused(line, 0, "bob")
    refused(0, 0, "bob", "--host", line)
    refused(0, 0, "bob", "--room", line)
    refused(0, 0, line)
    refused(0, 0, "bob", "--history", line)
    refused(ann.port, line, "bob")
    (crowd.folder / "file").write_text("in the way")
    refused(0, 0, "bob", "--room", ROOM, "--data", f"file/{line}")
    refused(0, 0, "bob", "--debug", f"file/{line}")
    for content in (damaged, line[9:], "-" + line[8:], (ann_data / "rooms" / ROOM).as_posix()):
        (crowd.folder / "file").write_text(content)
        refused(0, "@file", "bob")
    for path in ann_data.rglob("key.pem"):
        refused(0, f"@{path}", "bob")
    # Another secret under the same name, in the same data.
    crowd.run(0, other, "bob", "--linger", 0, data="bob")
    refused(0, line, "bob", data="bob", status=1)
    # A room's file, and a key, that are damaged.
    for what, path in (("room", next((crowd.folder / "bob").rglob("*.room"))),
                       ("key", next((crowd.folder / "bob").rglob("key.pem")))):  # fmt: skip
        whole = path.read_text()
        for broken in (whole[:-9], whole[:40] + "!" + whole[41:], whole[::-1], "", "x" * 3000):
            path.write_text(broken)
            process = crowd.run(0, 0, "bob", "--room", ROOM, data="bob", json=False)
            assert process.wait_end() == 1 and len(process.error_lines) == 1, what
            ended.append(process)
        path.write_text(whole)
    secrets |= {f"bob's {name}": each for name, each in secrets_in(crowd.folder / "bob").items()}

    # Who knocks with another secret is a stranger, on both sides.
    stranger = crowd.start(0, ann.port, "bob", "--room", ROOM, data="bob", json=True)
    crowd.wait(lambda: stranger.events("notice") and ann.events("notice"), "both say something")
    ann.say(f"/connect {damaged}", f"/connect {line[:-3]}", f"/connect x{line[3:]}", "/connect @x")
    ann.say(f"/{line}", f"/help {line}", f"/hide {line}", f"/history {line}", f"/bell {line}")
    ann.say(f"/invite {line}", f"/history since {line}", f"/nick {line}")
    crowd.wait(lambda: len(ann.events("error")) + len(ann.events("notice")) > 11, "it complains")
    leave(ann, stranger)
    assert leaks(secrets, said_by(ann, stranger, *ended)) == []


# ---------------------------------------------------------------- who may read what is kept


def modes(folder: Path) -> dict[str, str]:
    """Of all that is in a folder, and itself, what others may do with it."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        expected = 0o700 if stat.S_ISDIR(mode) else 0o600
        if stat.S_IMODE(mode) != expected:
            found[str(path.relative_to(folder))] = oct(stat.S_IMODE(mode))
    return found


@pytest.mark.parametrize("umask", UMASKS)
@pytest.mark.parametrize("given", [True, False], ids=["--data", "no data given"])
def test_all_that_selchat_makes_is_its_owners_alone_under_any_umask(
    crowd: Crowd, umask: str, given: bool
) -> None:
    shell = ["/bin/sh", "-c", WITH_UMASK, "sh", umask, sys.executable, str(SELCHAT), "--json"]
    mine = crowd.folder / "some" / "data" if given else crowd.home / ".local/share/selchat"
    data = ("--data", mine) if given else ()
    (crowd.folder / "out").mkdir()
    [line] = crowd.run("--room", ROOM, "--invite", *data, json=False, data=None).lines
    for number, room in enumerate((("--peer", line), ())):
        debug = ("--debug", crowd.folder / "out" / f"debug{number}.txt")
        ann = crowd.start(0, 0, "ann", *room, *data, *debug, command=shell).wait_ready()
        bob = crowd.start(0, ann.port, "bob", *room, "--data", crowd.folder / "bob", command=shell)
        crowd.wait_linked(ann, bob)
        ann.say("hello", "/bell off", f"/export {crowd.folder / 'out' / f'all{number}.txt'}")
        crowd.wait(lambda bob=bob: bob.events("message"), "it is said")  # type: ignore[misc]
        assert modes(mine) == {} and modes(crowd.folder / "bob") == {}, "while it runs"
        leave(bob, ann)
        assert modes(mine) == {} and modes(crowd.folder / "bob") == {}
        assert len(files_in(mine)) > 5
    (crowd.folder / "out").chmod(0o700)
    assert modes(crowd.folder / "out") == {}


def test_a_file_or_folder_that_others_can_read_is_reported_at_each_start_in_one_line(
    crowd: Crowd,
) -> None:
    data = crowd.folder / "ann"

    def complaints(*options: object) -> list[str]:
        one = crowd.run(0, 0, "ann", *options, "--linger", 0, data=data)
        assert one.wait_end() == 0
        texts = [event["text"] for event in one.all_events if event["event"] in ("notice", "error")]
        return [text for text in texts if "chmod" in text]

    for options, place in (((), data), (("--room", ROOM), data / "rooms" / folders.safe(ROOM))):
        assert complaints(*options) == []
        kept = sorted(path for path in place.iterdir() if path.is_file())
        assert len(kept) >= 3
        for path in kept:
            path.chmod(0o640)
            [said] = complaints(*options)
            assert str(path) in said
            path.chmod(0o600)
        for path in kept:
            path.chmod(0o644)
        place.chmod(0o755)
        [said] = complaints(*options)
        command = said.rpartition(": ")[2]
        subprocess.run(["/bin/sh", "-c", command], check=True)
        assert complaints(*options) == []


@pytest.mark.parametrize("which", ["file", "folder"])
@pytest.mark.parametrize("given", [True, False], ids=["--data", "no data given"])
def test_a_room_whose_secret_others_can_read_is_reported(
    crowd: Crowd, which: str, given: bool
) -> None:
    data = crowd.folder / "ann" if given else None
    first = crowd.run(0, 0, "ann", "--room", ROOM, "--linger", 0, data=data)
    assert first.wait_end() == 0
    base = crowd.folder / "ann" if given else crowd.home / ".local" / "share" / "selchat"
    [file] = base.rglob("*.room")
    path = file if which == "file" else file.parent
    path.chmod(0o644 if which == "file" else 0o755)
    again = crowd.run(0, 0, "ann", "--room", ROOM, "--linger", 0, data=data)
    texts = [event["text"] for event in again.all_events if event["event"] in ("notice", "error")]
    [said] = [text for text in texts if "chmod" in text]
    assert str(path) in said
    subprocess.run(["/bin/sh", "-c", said.rpartition(": ")[2]], check=True)
    assert not path.stat().st_mode & 0o077
