"""What a `User` shows, with an output that stands still and goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import protocol
from events import ShowPosts
from identity import Identity
from invite import Invite, write
from journal import Journal
from node import Node
from output import Message, Posts
from protocol import Entry
from tests.test_journal import Author
from user import User


class Slow(User):
    """A user whose output takes a message only when the test says so."""

    def __init__(self, folder: Path) -> None:
        super().__init__(port=0, name="slow", data=folder, output=Recorder())
        self.heard: list[str] = []

    def on_message(self, message: Message) -> None:
        self.heard.append(message.text)


class Recorder:
    """An output that keeps the messages, the errors and what commands answer, no more."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.errors: list[str] = []
        self.answers: list[list[str]] = []

    is_quick = False

    def posts(self, many: Sequence[Posts]) -> None:
        self.texts += [text for posts in many for text in posts.texts]

    def error(self, text: str) -> None:
        self.errors.append(text)

    def info(self, lines: list[str]) -> None:
        self.answers.append(lines)

    def recalled(self, messages: Sequence[Message], found: Sequence[str] = ()) -> None:
        self.texts += [message.text for message in messages]

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Outlet:
    """Stands in for standard output, to be full or not."""

    full = False

    def write(self, text: str) -> None:
        raise AssertionError("the recorder writes nothing")

    def finish(self, end: float) -> bool:
        return not self.full


@pytest.fixture
def user(tmp_path: Path) -> User:
    user = Slow(tmp_path)
    user.stdout = Outlet()  # type: ignore[assignment]
    user.start_server()
    return user


def test_who_waits_for_ready_waits_for_no_tls_and_for_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def noting(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            happened.append(what)
            return call(*arguments, **named)

        return noted

    user = Slow(tmp_path)
    for what in ("ready", "flush"):
        setattr(user.output, what, noting(what, lambda *_: None))
    monkeypatch.setattr(Identity, "certify", noting("certify", Identity.certify))
    monkeypatch.setattr(Identity, "tls_contexts", noting("TLS", Identity.tls_contexts))
    monkeypatch.setattr(Node, "__init__", noting("node", Node.__init__))
    user.start_server()
    assert happened == ["certify", "ready", "flush", "TLS", "certify", "node"]


def shown(user: User) -> list[str]:
    assert isinstance(user.output, Recorder)
    return user.output.texts


def say(user: User, *texts: str) -> None:
    for text in texts:
        user.post(text)
    user._end_turn()


def test_posts_wait_for_an_output_that_stands_still_and_come_once_and_in_order(
    user: User,
) -> None:
    say(user, "one")
    user.stdout.full = True  # type: ignore[misc]
    for number in range(30):
        say(user, f"{number} a", f"{number} b")
    assert shown(user) == ["one"]
    user.stdout.full = False  # type: ignore[misc]
    for number in range(30, 40):
        say(user, f"{number} a", f"{number} b")
    expected = [f"{number} {letter}" for number in range(40) for letter in "ab"]
    assert shown(user) == ["one", *expected]


def test_a_turn_shows_no_more_than_its_share_and_the_next_ones_the_rest(user: User) -> None:
    texts = [f"{number:04} " + "x" * 1000 for number in range(2000)]
    say(user, *texts)
    turns = 1
    assert 0 < len(shown(user)) < 1000
    while len(shown(user)) < len(texts):
        user._end_turn()
        turns += 1
    assert shown(user) == texts and turns > 4


def test_a_long_name_counts_with_each_post_and_a_full_output_stops_them(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user.kept.journal, "name_of", lambda author: "n" * 40_000)
    texts = [f"post {number}" for number in range(1024)]
    say(user, *texts)
    count = len(shown(user))
    assert count <= 2
    user._end_turn()
    assert shown(user) == texts[: count + 1]  # 40,000 is more than a turn's share already
    user.stdout.full = True  # type: ignore[misc]
    for _turn in range(3):
        user._end_turn()
    assert shown(user) == texts[: count + 1]
    user.stdout.full = False  # type: ignore[misc]
    for _turn in range(1022):
        user._end_turn()
    assert shown(user) == texts


def test_a_history_is_cut_where_it_would_be_too_much_at_once(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(user, *(f"line {number}" for number in range(100)))
    before = len(shown(user))
    user.show_history(3)
    assert shown(user)[before:] == ["line 97", "line 98", "line 99"]
    monkeypatch.setattr("archive.FOUND_BYTES", 50 * (7 + 4 + 128))
    user.show_history(100)
    assert shown(user)[before + 3 :] == [f"line {number}" for number in range(50, 100)]


def test_a_burst_costs_one_commit_one_sync_and_one_signature(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(user, "the first one brings the name along")
    signed: list[bytes] = []
    sign = user.kept._identity.sign

    def counted(data: bytes) -> bytes:
        signed.append(data)
        return sign(data)

    monkeypatch.setattr(user.kept._identity, "sign", counted)
    journal: Journal = user.kept.journal
    commits, syncs = journal.commits, journal.syncs
    say(user, *(f"line {number}" for number in range(500)))
    assert (journal.commits - commits, journal.syncs - syncs, len(signed)) == (1, 1, 1)


def test_what_is_said_in_answer_to_a_late_post_comes_once_and_after_it(tmp_path: Path) -> None:
    class Echo(Slow):
        def on_message(self, message: Message) -> None:
            if message.text.startswith("ask"):
                self.submit("answer " + message.text)
                self.submit("/peers")

    echo = Echo(tmp_path)
    outlet = Outlet()
    echo.stdout = outlet  # type: ignore[assignment]
    echo.start_server()
    outlet.full = True
    say(echo, "ask 1")
    say(echo, "ask 2")
    outlet.full = False
    for _turn in range(4):
        echo._end_turn()
    texts = shown(echo)
    assert sorted(texts) == ["answer ask 1", "answer ask 2", "ask 1", "ask 2"]
    assert texts.index("ask 1") < texts.index("ask 2") < texts.index("answer ask 2")


def told(user: User) -> list[str]:
    assert isinstance(user.output, Recorder)
    return [line for lines in user.output.answers for line in lines]


def errors(user: User) -> list[str]:
    assert isinstance(user.output, Recorder)
    return user.output.errors


def test_who_leaves_gets_the_answers_that_are_under_way_first(user: User) -> None:
    user.submit("/net")
    user.submit("/peers")
    assert told(user) == []
    user.leave("quit")
    assert told(user)[-1] == "linked to nobody yet; /net says why"
    assert told(user)[0].startswith("linked to nobody")


def test_a_name_that_can_be_none_is_refused_with_the_reason(user: User) -> None:
    for name in ("", " \t", "n" * (protocol.MAX_NAME_BYTES + 1)):
        user.rename(name)
    assert [error.split()[0] for error in errors(user)] == ["a", "a", "that"]
    assert user.name == "slow"
    user.rename("n" * protocol.MAX_NAME_BYTES)
    user._end_turn()
    assert user.name == user.kept.journal.name_of(user.member) == "n" * protocol.MAX_NAME_BYTES


def test_members_are_found_by_label_name_or_the_start_of_their_id(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {b"\x11" * 32: "Ann", b"\x22" * 32: "ann", b"\x33" * 32: "1111", user.member: "me"}
    members = list(names)
    monkeypatch.setattr("facts.known_members", lambda node: members)
    monkeypatch.setattr("facts.name_of", lambda node, member: names[member])
    ann, other_ann, number, _ = members
    find = user.roster.find
    assert find("Ann") == [ann] and find("ann") == [other_ann]
    assert find("ANN") == [ann, other_ann]
    assert find("1111") == [number] and find("11111") == [ann]
    assert find("222") == [] and find("nobody") == []
    for name in ("ANN", "me", "nobody"):
        user.submit(f"/disconnect {name}")
    assert errors(user) == [
        "2 members are called so; say which by its id: /disconnect 11111111, /disconnect 22222222",
        "that is you",
        "nobody here is called nobody; /who lists who is",
    ]


def test_a_clock_is_judged_by_what_its_linked_author_says_live(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked, stranger = b"L" * 32, b"S" * 32
    assert user._node is not None
    monkeypatch.setattr(user._node.mesh, "members", {linked: object()})
    monkeypatch.setattr("user.time.time_ns", lambda: 500_000 * 1_000_000)
    said = [(linked, False), (linked, True), (stranger, False)]
    entries = tuple(
        Entry(author + bytes(8), 1, protocol.NO_PREVIOUS, time_ms, (), 99, b"", b"")
        for (author, _), time_ms in zip(said, (440_000, 500_000, 0), strict=True)
    )
    user._show_posts(ShowPosts(entries, tuple(history for _, history in said)))
    assert user.sightings.clocks_s() == {linked: 60.0}


# ---------------------------------------------------------------- what was said before


class Notes(Recorder):
    """Keeps what is said beside the posts, too, and which words are marked."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.marks: tuple[str, ...] = ()

    def notice(self, text: str) -> None:
        self.said.append(text)

    error = notice

    def recalled(self, messages: Sequence[Message], found: Sequence[str] = ()) -> None:
        super().recalled(messages, found)
        self.marks = tuple(found)


@pytest.fixture
def room(user: User) -> User:
    """With what three others have said: two are called bob, one Bob."""
    for number, name in enumerate(("bob", "bob", "Bob")):
        author = Author(bytes([0xA0 + number]) * 40)
        author.says(kind=protocol.NAME, body=name.encode())
        author.says(f"{name} {number} says hello", time_ms=1000 * number)
        user.kept.journal._verify = lambda entry: True
        user.kept.journal.append(author.run)
    user.node.mesh.frontier.update(user.kept.journal.frontier())
    say(user, "my own Hello")
    user.output = Notes()
    return user


def answers(user: User, line: str) -> tuple[list[str], list[str]]:
    """The posts that a command shows, and what else it says."""
    notes = user.output = Notes()
    user.submit(line)
    user._errands.step(60.0)
    return notes.texts, notes.said


BOBS = ["bob 0 says hello", "bob 1 says hello"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/history", [*BOBS, "Bob 2 says hello", "my own Hello"]),
        ("/history 2", ["Bob 2 says hello", "my own Hello"]),
        ("/history from bob", BOBS),
        ("/history from BOB", [*BOBS, "Bob 2 says hello"]),
        ("/history 1 from bob", BOBS[1:]),
        ("/history  from  bob~a1a1", BOBS[1:]),
        ("/history from a0a0a", BOBS[:1]),
        ("/history from A0A0", BOBS[:1]),
        ("/history from slow", ["my own Hello"]),
        ("/history since 1h", ["my own Hello"]),
        ("/history  9   since  1h", ["my own Hello"]),
        ("/history from bob   since   1969-12-30", BOBS),
        ("/history from bob since 1969-12-30", BOBS),
        ("/history 1 from bob since 1969-12-30", BOBS[1:]),
        ("/search hello", [*BOBS, "Bob 2 says hello", "my own Hello"]),
        ("/search bob HELLO", [*BOBS, "Bob 2 says hello"]),
        ('/search "own hello"', ["my own Hello"]),
        ("/search 1", BOBS[1:]),
    ],
)
def test_what_is_asked_for_is_shown_and_nothing_else_is_said(
    room: User, line: str, expected: list[str]
) -> None:
    assert answers(room, line) == (expected, [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/history from nobody", "nobody here is called nobody"),
        ("/history from a0a", "nobody here is called a0a"),
        ("/history from bob since 1h", "nothing found"),
        ("/history since soon", "'soon' is no time; these are: "),
        ("/history many", "usage: /history "),
        ("/history 1 2", "usage: /history "),
        ("/history 1000000000", "usage: /history "),
        ("/history from", "usage: /history "),
        ("/history 5x" + " " * 40_000 + "x", "usage: /history "),
        ("/history from a" + " " * 40_000 + "x", "nobody here is called a"),
        ("/search", "usage: /search "),
        ('/search ""', "usage: /search "),
        ("/search hello zebra", "nothing found"),
        ("/export", "usage: /export "),
        ("/export room.pdf", "room.pdf: a file to export to ends with .txt, .json, "),
        ("/export /nowhere/room.txt", "/nowhere/room.txt can't be written: No such file"),
    ],
)
def test_what_is_not_there_or_not_understood_is_told_in_one_line(
    room: User, line: str, said: str
) -> None:
    texts, told = answers(room, line)
    assert texts == [] and len(told) == 1 and told[0].startswith(said)


def test_a_search_marks_its_words_and_says_if_there_are_more(room: User) -> None:
    say(room, *(f"Needle {number}" for number in range(30)))
    texts, said = answers(room, "/search needle")
    assert texts == [f"Needle {number}" for number in range(10, 30)]
    assert said == ["only the last 20 of them; there are more"]
    assert isinstance(room.output, Notes) and room.output.marks == ("needle",)


def test_an_export_overwrites_nothing_without_a_yes(
    room: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "room.txt"
    assert answers(room, f"/export {path}") == ([], [f"wrote {path} (posts: 4)"])
    whole = path.read_text()
    path.write_text("mine")
    asked: list[str] = []
    for yes, expected in ((False, "mine"), (True, whole)):

        def ask(question: str, then: Callable[[bool], None], yes: bool = yes) -> None:
            asked.append(question)
            then(yes)

        monkeypatch.setattr(room, "ask", ask)
        _, said = answers(room, f"/export {path}")
        assert path.read_text() == expected
        assert said == [f"wrote {path} (posts: 4)" if yes else f"{path} exists; not overwritten"]
    assert asked == [f"{path} exists; overwrite it?"] * 2


def test_an_invite_that_a_person_pastes_as_a_post_is_asked_about(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = write(Invite("hike", bytes(16), ()))
    user.submit(line)
    user._end_turn()
    assert shown(user) == [line], "nobody can be asked in a pipe"
    asked: list[str] = []
    answers_to = {"yes": False}

    def ask(question: str, answer: Callable[[bool], None]) -> None:
        asked.append(question)
        answer(answers_to["yes"])

    user.ask_with(ask)
    user.submit(f"see {line}")
    user._end_turn()
    answers_to["yes"] = True
    user.submit(f"do see {line}")
    user._end_turn()
    assert shown(user) == [line, f"do see {line}"] and len(asked) == 2
