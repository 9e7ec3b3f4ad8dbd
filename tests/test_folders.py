"""The folders and the secrets of rooms: which they are, who may read them, what spoils them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import folders
import invite
import whereabouts
from addresses import Address, AddressBook
from folders import Folders
from identity import Room
from invite import Invite
from rooms import RoomError, Rooms

FAR, NEAR, HERE = Address("5.6.7.8", 5000), Address("10.0.0.5", 5000), Address("127.0.0.1", 6000)
SECRET = bytes(range(16))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SELCHAT_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "selchat"


def is_same(one: Room, other: Room) -> bool:
    return one.id == other.id


# ---------------------------------------------------------------- folders


def test_a_given_folder_is_the_only_one_and_has_one_in_it_for_each_room(tmp_path: Path) -> None:
    given = Folders(tmp_path)
    assert given.of_user("ann", 5000, None) == [tmp_path]
    assert given.of_user("ann", 5000, "team") == [tmp_path / "rooms" / "team"]
    assert given.rooms == tmp_path / "rooms"


def test_the_environment_gives_a_folder_where_no_option_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELCHAT_DATA", str(tmp_path / "there"))
    assert Folders().of_user("ann", 1, None) == [tmp_path / "there"]
    assert Folders(tmp_path).of_user("ann", 1, None) == [tmp_path]


def test_each_name_has_a_profile_and_rooms_are_shared_by_all_of_them(home: Path) -> None:
    kept = Folders()
    assert kept.of_user("ann", 5000, None)[:2] == [home / "ann", home / "ann@5000"]
    assert kept.of_user("ann", 5000, "team")[0] == home / "ann" / "rooms" / "team"
    assert kept.rooms == home / ".rooms"
    (home / "ann@5000").mkdir(parents=True)
    assert kept.of_user("ann", 5000, None)[:2] == [home / "ann@5000", home / "ann"]
    assert len(kept.of_user("ann", 5000, None)) == folders.MAX_PROFILES


def test_names_that_are_no_file_names_get_one_each() -> None:
    names = ["ann", "Ann", "a/b", "a_b", "../ann", "", ".", "x" * 40, "x" * 41, "é", "è"]
    files = [folders.safe(name) for name in names]
    assert len(set(files)) == len(names) and files[0] == "ann"
    assert all("/" not in file and not file.startswith(".") for file in files)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_folders_are_made_for_their_owner_only_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        folders.make(tmp_path / "a" / "b" / "c")
        folders.make(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    assert [folder.stat().st_mode & 0o777 for folder in made] == [0o700] * 3


def test_what_is_no_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        folders.make(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        folders.make(tmp_path / "file" / "below")


def test_what_others_may_read_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folders.make(folder)
    for name in ("key.pem", "journal.db"):
        (folder / name).touch(mode=0o600)
    (folder / "gone").symlink_to("nowhere")
    assert folders.exposed(folder) == []
    (folder / "key.pem").chmod(0o640)
    (line,) = folders.exposed(folder)
    assert line.startswith(f"others on this machine may read {folder}/key.pem, which")
    assert line.endswith(f"chmod -R go= {folder}")
    folder.chmod(0o755)
    (line,) = folders.exposed(folder)
    assert f"{folder} and 1 more" in line


# ---------------------------------------------------------------- rooms


def test_a_room_is_made_at_its_first_use_and_is_the_same_from_then_on(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path / "rooms")
    made = rooms.open("team")
    assert is_same(made, rooms.open("team")) and not is_same(made, rooms.open("team 2"))
    (file,) = (tmp_path / "rooms").glob("team.room")
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "rooms").iterdir())) == 2, "no drafts are left"


def test_who_joins_is_in_the_same_room_under_its_name_or_another(tmp_path: Path) -> None:
    ann, bob = Rooms(tmp_path / "ann"), Rooms(tmp_path / "bob")
    made = ann.open("team")
    invited = invite.read(ann.invite("team", [FAR, HERE]))
    assert invited.addresses == (FAR, HERE) and invited.room == "team"
    assert is_same(bob.join(invited), made) and bob.join(invited).name == "team"
    assert is_same(bob.join(invited, "work"), made) and is_same(bob.open("work"), made)
    assert bob.addresses_in(invited, "work") == (FAR, HERE)


def test_an_invite_to_another_room_of_that_name_is_refused_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    rooms = Rooms(tmp_path)
    made = rooms.open("team")
    other = Invite("team", SECRET, ())
    with pytest.raises(RoomError, match=r"to another room than the one that is called 'team' here"):
        rooms.join(other)
    with pytest.raises(RoomError, match="to another room: leave this one"):
        rooms.addresses_in(other, "team")
    with pytest.raises(RoomError, match="to another room"):
        rooms.addresses_in(other, None)
    assert is_same(rooms.open("team"), made)
    assert is_same(rooms.join(other, "team2"), Room("team", SECRET))


@pytest.mark.parametrize("name", ["", "open", "Open", "a/b", ".hidden", " a", "a\n", "x" * 65])
def test_a_room_can_not_be_called_anything(tmp_path: Path, name: str) -> None:
    with pytest.raises(RoomError, match="the room's name "):
        Rooms(tmp_path).open(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spoilt", [b"", b"selchat1", b"\xff" * 5000, b"hello\n"])
def test_a_spoilt_secret_is_said_to_be_that_and_is_neither_used_nor_written_over(
    tmp_path: Path, spoilt: bytes
) -> None:
    rooms = Rooms(tmp_path)
    rooms.open("team")
    file = tmp_path / "team.room"
    file.write_bytes(spoilt)
    for use in (rooms.open, lambda name: rooms.join(Invite(name, SECRET, ()))):
        with pytest.raises(RoomError, match=r"team\.room does not tell the room's secret"):
            use("team")
    assert file.read_bytes() == spoilt


def test_of_two_who_make_a_room_at_the_same_moment_both_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, others = os.link, list[Room]()

    def link_late(draft: Path, path: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        moved = draft.rename(draft.with_suffix(".other"))  # its name holds another process's number
        others.append(Rooms(tmp_path).open("team"))
        link(moved.rename(draft), path)

    monkeypatch.setattr(os, "link", link_late)
    mine = Rooms(tmp_path).open("team")
    assert is_same(mine, others[0])
    assert [file.name for file in tmp_path.iterdir()] == ["team.room"]


# ---------------------------------------------------------------- whereabouts


def test_where_a_node_was_found_is_found_again(tmp_path: Path) -> None:
    assert whereabouts.load(tmp_path) == []
    whereabouts.save(tmp_path, [FAR, HERE])
    assert whereabouts.load(tmp_path) == [FAR, HERE]
    assert (tmp_path / whereabouts.NAME).stat().st_mode & 0o777 == 0o600
    (tmp_path / whereabouts.NAME).write_bytes(b"\xff\n5.6.7.8:5000\n\nno\n" + b"x" * 9000)
    assert whereabouts.load(tmp_path) == [FAR]


def test_an_invite_leads_to_its_writer_and_to_who_answered_last_and_can_be_reached(
    tmp_path: Path,
) -> None:
    book = AddressBook(tmp_path / "addresses.txt")
    told = [f"9.9.9.{number}:5000" for number in range(9)]
    lines = [
        f"{at} from=link member={'a' * 64} answered=2026-11-2{n}T08:43:00Z"
        for n, at in enumerate(told)
    ]
    lines += [
        "10.0.0.1:1 answered=2026-12-01T00:00:00Z",
        "nas:5000 answered=2026-12-01T00:00:00Z",
        "chat.example:5000 answered=2026-12-01T00:00:00Z",
        "9.9.9.100:1",
        f"{FAR} answered=2026-12-01T00:00:00Z",
    ]
    (tmp_path / "addresses.txt").write_text("\n".join(lines) + "\n")
    book.load()
    found = whereabouts.for_invite([FAR], book.entries())
    assert list(map(str, found)) == [str(FAR), "chat.example:5000", *told[:6:-1]]
    whereabouts.save(tmp_path, [NEAR])
    found = whereabouts.in_folders([tmp_path])
    assert {*map(str, found)} == {str(NEAR), str(FAR), "chat.example:5000", told[8]}
    assert whereabouts.in_folders([]) == ()


def test_an_invite_leads_to_this_very_machine_only_where_there_is_nowhere_else_to_go(
    tmp_path: Path,
) -> None:
    (tmp_path / "addresses.txt").write_text(f"{FAR} answered=2026-12-01T00:00:00Z\n")
    book = AddressBook(tmp_path / "addresses.txt")
    book.load()
    assert whereabouts.for_invite([HERE], []) == (HERE,)
    assert whereabouts.for_invite([HERE], book.entries()) == (FAR,)
    assert whereabouts.for_invite([NEAR, HERE], []) == (NEAR,)
