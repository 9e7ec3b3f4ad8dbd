"""What a `User` shows, with an output that stands still and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from journal import Journal
from output import Message
from user import User


class Slow(User):
    """A user whose output takes a message only when the test says so."""

    def __init__(self, folder: Path) -> None:
        super().__init__(port=0, name="slow", data=folder, output=Recorder())
        self.heard: list[str] = []

    def on_message(self, message: Message) -> None:
        self.heard.append(message.text)


class Recorder:
    """An output that keeps the messages and nothing else."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, message: Message) -> None:
        self.texts.append(message.text)

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
    monkeypatch.setattr(user._journal, "name_of", lambda author: "n" * 40_000)
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
    monkeypatch.setattr("user.HISTORY_BYTES", 50 * (7 + 4 + 128))
    user.show_history(100)
    assert shown(user)[before + 3 :] == [f"line {number}" for number in range(50, 100)]


def test_a_burst_costs_one_commit_one_sync_and_one_signature(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(user, "the first one brings the name along")
    signed: list[bytes] = []
    sign = user._identity.sign

    def counted(data: bytes) -> bytes:
        signed.append(data)
        return sign(data)

    monkeypatch.setattr(user._identity, "sign", counted)
    journal: Journal = user._journal
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
