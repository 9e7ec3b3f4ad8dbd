"""Two people compare a number, and it is kept that it was the same; who is who is told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import protocol
from acquaintances import MAX_VERIFIED
from events import ShowLink, ShowPosts
from identity import safety_number
from kept import Kept
from tests.processes import Crowd, Process
from tests.test_commands import BOB, BOB_LOG, OTHER_BOB, Told, started, typed
from tests.test_journal import Author
from user import RENAMES, User

TODAY = "2026-11-24"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """In a room with one bob, who has said something; it is always the same day."""
    monkeypatch.setattr("time.strftime", lambda *_: TODAY)
    user = started(tmp_path)
    user.kept.journal._verify = lambda entry: True
    author = Author(BOB_LOG)
    author.says(kind=protocol.NAME, body=b"bob")
    user.kept.journal.append(author.run)
    user.node.mesh.frontier.update(user.kept.journal.frontier())
    return user


def number_of(user: User, member: bytes = BOB) -> str:
    return safety_number(user.room.id, user.member, member)


def warned(user: User, name: str, member: bytes) -> list[str]:
    """What is warned of when somebody is linked who is called so."""
    told = user.output = Told()
    user._show_link(ShowLink("up", member, name, ("127.0.0.1", 6000)))
    return told.warnings


# ---------------------------------------------------------------- /verify


def test_a_number_is_shown_and_a_yes_is_kept_and_marked(user: User, tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(question: str, answer: Callable[[bool], None]) -> None:
        asked.append(question)
        answer(True)

    user.ask_with(ask)
    assert typed(user, "/verify bob").said == [
        "your safety number with bob:",
        f"    {number_of(user)}",
        "bob gets one by /verify and your name. Read them to each other by voice, not in here: "
        "if they are the same, nobody stands between you.",
        "bob is verified: b0b0b0b0 is the right key",
    ]
    assert asked == ["does bob see the same number?"]
    kept = json.loads((tmp_path / "members.json").read_text())
    assert kept["verified"] == {BOB.hex(): TODAY}
    assert [row[2] for row in typed(user, "/who").rows] == ["you", "away, verified"]
    assert typed(user, "/verify").rows == [("bob", "b0b0b0b0", TODAY)]
    assert typed(user, "/verify bob").said[3:] == [f"verified on {TODAY}"]
    assert len(asked) == 1


def test_a_no_keeps_nothing_and_where_nobody_can_be_asked_the_number_can_be_typed(
    user: User,
) -> None:
    later = "not verified; /verify b0b0b0b0 NUMBER does it later"
    assert typed(user, "/verify bob").said[3:] == [later]
    user.ask_with(lambda question, answer: answer(False))
    assert typed(user, "/verify bob").said[3:] == [later]
    assert typed(user, "/verify").said == [
        "nobody is verified yet; /verify NAME shows the number to compare"
    ]
    number = number_of(user)
    for line in (f"/verify bob {number}", f"/verify b0b0b0b0  {number.replace(' ', '')} "):
        assert typed(user, line).said == ["bob is verified: b0b0b0b0 is the right key"]
        assert typed(user, "/unverify bob").said == ["bob is no longer verified"]


def test_a_question_that_is_answered_later_is_about_whom_it_was_asked_of(user: User) -> None:
    answers = []
    user.ask_with(lambda question, answer: answers.append(answer))
    assert warned(user, "bob", BOB) == []
    typed(user, "/verify bob")
    assert len(warned(user, "bob", OTHER_BOB)) == 1
    answers[0](True)
    assert list(user.kept.acquaintances.verified) == [BOB.hex()]


def test_a_wrong_number_is_refused_loudly_and_keeps_nothing(user: User) -> None:
    told = typed(user, f"/verify bob {number_of(user, OTHER_BOB)}")
    assert told.said == []
    assert told.warnings == [
        f"that is NOT your safety number with bob, which is {number_of(user)}: "
        "a digit is wrong, or somebody stands between you; nothing is kept"
    ]
    assert user.kept.acquaintances.verified == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/verify bob 12345", "a safety number has 30 digits, and that has 5; nothing is kept"),
        ("/verify bob " + "7" * 31, "nobody here is called bob 7; /who lists who is"),
        ("/verify " + "7" * 30, "usage: /verify [NAME [NUMBER]]"),
        ("/verify nobody", "nobody here is called nobody; /who lists who is"),
        ("/verify nobody 12345", "nobody here is called nobody; /who lists who is"),
        ("/verify me", "that is you"),
        ("/verify " + "-" * 5000, f"nobody here is called {'-' * 40}; /who lists who is"),
        ("/unverify", "usage: /unverify NAME"),
        ("/unverify bob", "nobody called bob is verified; /verify lists who is"),
    ],
)
def test_a_mistake_is_told_in_one_line(user: User, line: str, said: str) -> None:
    assert typed(user, line).said == [said]
    assert user.kept.acquaintances.verified == {}


def test_a_name_may_end_with_digits_or_be_one_number(user: User) -> None:
    user.node.mesh.called[OTHER_BOB] = "bob 12345"
    user.node.mesh.confirmed[OTHER_BOB] = {}
    assert typed(user, "/verify bob 12345").said[0] == "your safety number with bob 12345:"
    number = number_of(user, OTHER_BOB)
    assert typed(user, f"/verify bob 12345 {number}").said[0].startswith("bob 12345 is verified")


def test_who_calls_itself_like_the_id_of_another_is_not_taken_for_it(user: User) -> None:
    user.node.mesh.called[OTHER_BOB] = BOB.hex()[:8]
    user.node.mesh.confirmed[OTHER_BOB] = {}
    assert user.roster.find("b0b0b0b0") == [BOB]
    assert typed(user, "/verify b0b0b0b0").said[0] == "your safety number with bob:"


def test_two_whose_ids_begin_alike_are_told_apart_by_a_longer_one(user: User) -> None:
    twin = BOB[:6] + bytes(26)
    user.node.mesh.called[twin] = "bob"
    user.node.mesh.confirmed[twin] = {}
    (said,) = typed(user, "/verify bob").said
    assert said.endswith("which by its id: /verify b0b0b0b0b0b0b, /verify b0b0b0b0b0b00")
    assert typed(user, "/verify b0b0b0b0b0b00").said[0].startswith("your safety number with bob~")


def test_no_more_are_verified_than_are_kept(user: User) -> None:
    user.kept.acquaintances.verified.update(
        dict.fromkeys((f"{n:064x}" for n in range(1024)), TODAY)
    )
    assert typed(user, f"/verify bob {number_of(user)}").said == [
        f"{MAX_VERIFIED} members are verified; /unverify some of them first"
    ]


def test_what_can_not_be_kept_is_told_and_holds_until_the_end(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(user.kept.acquaintances, "save", fail)
    assert typed(user, f"/verify bob {number_of(user)}").said == [
        "bob is verified: b0b0b0b0 is the right key",
        "whom you know here can't be kept (No space left on device)",
    ]
    assert list(user.kept.acquaintances.verified) == [BOB.hex()]


def test_who_was_verified_and_is_not_in_the_room_any_more_has_the_name_of_then(
    user: User,
) -> None:
    user.kept.acquaintances.verify(OTHER_BOB.hex(), "robert", TODAY)
    assert typed(user, "/verify").rows == [("robert", "b1b1b1b1", TODAY)]
    assert typed(user, "/unverify robert").said == ["robert is no longer verified"]


# ---------------------------------------------------------------- another key


def test_another_key_is_told_of_when_it_is_linked_and_when_it_names_itself(user: User) -> None:
    assert warned(user, "bob", BOB) == []
    (said,) = warned(user, "Bob", OTHER_BOB)
    assert "calls themselves Bob (id b1b1b1b1), which looks like the bob known here" in said
    assert warned(user, "Bob", OTHER_BOB) == warned(user, "eve", b"e" * 32) == []
    eve = Author(b"e" * 40)
    eve.says(kind=protocol.NAME, body="mе".encode())
    told = user.output = Told()
    user._note_names(ShowPosts(tuple(map(protocol.parse_entry, eve.run)), (True,)))
    assert len(told.warnings) == 1 and "(id 65656565), which looks like your me" in told.warnings[0]


def test_who_has_another_name_in_each_turn_is_told_of_a_few_times_and_if_hidden_not_at_all(
    user: User,
) -> None:
    eve = Author(b"e" * 40)
    for number in range(100):
        eve.says(kind=protocol.NAME, body=b"eve%d" % number)
    entries = list(map(protocol.parse_entry, eve.run))
    told = user.output = Told()
    for entry in entries:
        user._note_names(ShowPosts((entry,), (False,)))
    assert told.said[0] == "eve0 is called eve1 now" and len(told.said) == RENAMES
    user._renamed.clear()
    user.kept.settings.hidden[(b"e" * 32).hex()] = None
    user._note_names(ShowPosts((entries[0],), (False,)))
    assert len(told.said) == RENAMES


def test_another_name_of_our_own_is_known_as_ours(user: User) -> None:
    typed(user, "/nick robert")
    assert "as you do" in warned(user, "robert", OTHER_BOB)[0]


def test_who_is_linked_and_leaves_is_not_asked_for_a_name(user: User) -> None:
    told = user.output = Told()
    user._show_link(ShowLink("down", OTHER_BOB, "bob", ("127.0.0.1", 6000)))
    assert told.warnings == []


def test_a_journal_older_than_the_file_says_who_was_first(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Author(BOB_LOG[:31] + b"\xff" + bytes(8))
    later.says(kind=protocol.NAME, body=b"bob", time_ms=10**12)
    user.kept.journal.append(later.run)
    user.leave("")
    user.run()
    (tmp_path / "members.json").unlink()
    monkeypatch.setattr(Kept, "verify", lambda kept, entry: True)
    again = User(port=0, name="me", data=tmp_path, output=Told())
    again.start_server()
    assert isinstance(again.output, Told)
    (said,) = again.output.warnings
    first, second = BOB.hex()[:63], f"{BOB[:31].hex()}f"
    assert f"(id {second}), not the bob known here since {TODAY} (id {first})" in said
    again.leave("")
    again.run()
    once_more = User(port=0, name="me", data=tmp_path, output=Told())
    once_more.start_server()
    assert isinstance(once_more.output, Told) and once_more.output.warnings == []


# ---------------------------------------------------------------- real processes


def warnings(process: Process) -> list[str]:
    return [event["text"] for event in process.events("notice") if event.get("loud")]


def test_two_people_see_one_number_and_a_third_with_ones_name_is_told_of_once(
    tmp_path: Path,
) -> None:
    with Crowd(tmp_path) as crowd:
        ann = crowd.start_on_terminal(0, 0, "ann", data="ann")
        crowd.wait(lambda: "listening on" in "\n".join(ann.rows), "ann is ready")
        port = "".join(ann.rows).partition("127.0.0.1:")[2].split()[0]
        bob = crowd.start(0, port, "bob", data="bob").wait_ready()
        crowd.wait(lambda: "bob joined" in "\n".join(ann.rows), "they are linked")
        bob.say("/verify ann")
        crowd.wait(lambda: len(bob.notices()) > 1, "bob sees the number")
        number = bob.notices()[0].split("\n")[1].strip()
        ann.write("/verify bob\r")
        crowd.wait(lambda: "[y/N]" in "\n".join(ann.rows), "ann is asked")
        assert number in "\n".join(ann.rows)
        bob.say("posts go on meanwhile")
        crowd.wait(lambda: "go on meanwhile" in "\n".join(ann.rows), "ann sees posts")
        ann.write("y")
        crowd.wait(lambda: "bob is verified" in "\n".join(ann.rows), "a yes is kept")
        bob.say(f"/verify ann {number}")
        crowd.wait(lambda: "ann is verified" in bob.notices()[-1], "a number is kept")

        other = crowd.start(0, port, "Bob", data="other").wait_ready()
        crowd.wait(lambda: "!! SOMEBODY ELSE calls" in "\n".join(ann.rows), "ann is warned")
        crowd.wait(lambda: warnings(bob), "bob is warned")
        assert len(warnings(bob)) == 1 and "which looks like your bob" in warnings(bob)[0]
        bob.end_input()
        assert bob.wait_end() == 0
        again = crowd.start(0, port, "bob", data="bob").wait_ready()
        crowd.wait_linked(again, other)
        again.say("/verify")
        crowd.wait(lambda: again.notices()[-1:] and "ann" in again.notices()[-1], "it is kept")
        assert warnings(again) == []
