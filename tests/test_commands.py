"""What commands do: what is chosen lasts, a mistake explains itself, and nothing is posted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import protocol
from commands import COMMANDS
from output import Message, Posts
from settings import MAX_HIDDEN, Settings
from tests.test_journal import Author
from user import User

BOB_LOG, OTHER_BOB_LOG = bytes([0xB0]) * 40, bytes([0xB1]) * 40
BOB, OTHER_BOB = BOB_LOG[:32], OTHER_BOB_LOG[:32]


class Told:
    """An output that keeps the posts apart from what else is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.said: list[str] = []
        self.warnings: list[str] = []
        self.rows: list[tuple[str, ...]] = []
        self.cleared = 0
        self.is_quick = False

    def posts(self, many: Sequence[Posts]) -> None:
        self.texts += [text for posts in many for text in posts.texts]

    def recalled(self, messages: Sequence[Message], found: Sequence[str] = ()) -> None:
        self.texts += [message.text for message in messages]

    def info(self, lines: list[str]) -> None:
        self.said += lines

    def notice(self, text: str) -> None:
        self.said.append(text)

    error = notice

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def table(self, headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        self.rows += rows

    def clear(self) -> None:
        self.cleared += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def started(folder: Path) -> User:
    user = User(port=0, name="me", data=folder, output=Told())
    user.start_server()
    return user


@pytest.fixture
def user(tmp_path: Path) -> User:
    """In a room with two bobs, each of whom has said something."""
    user = started(tmp_path)
    for log in (BOB_LOG, OTHER_BOB_LOG):
        author = Author(log)
        author.says(kind=protocol.NAME, body=b"bob")
        author.says(f"hello from {log[:1].hex()}", time_ms=1000)
        user.kept.journal._verify = lambda entry: True
        user.kept.journal.append(author.run)
    user.node.mesh.frontier.update(user.kept.journal.frontier())
    return user


def typed(user: User, line: str) -> Told:
    told = user.output = Told()
    user.submit(line)
    user._end_turn()
    user._errands.step(60.0)
    return told


def test_who_is_hidden_is_shown_nowhere_until_he_is_not_and_that_lasts(
    user: User, tmp_path: Path
) -> None:
    assert typed(user, "/hide b0b0b0b0").said == ["nothing of bob~b0b0 is shown here any more"]
    assert typed(user, "/history").texts == ["hello from b1"]
    assert typed(user, "/search hello").texts == ["hello from b1"]
    assert [row[2] for row in typed(user, "/who").rows] == ["you", "away", "away, hidden by you"]
    assert typed(user, "/unhide").said == ["bob~b0b0"]
    again = Settings(tmp_path / "settings.json")
    assert again.load() == [] and list(again.hidden) == [BOB.hex()]
    assert typed(user, "/unhide bob").said == [
        "bob~b0b0 is shown again; /history shows what was hidden"
    ]
    assert typed(user, "/history").texts == ["hello from b0", "hello from b1"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/hide bob", "2 members are called so; say which by its id: "
         "/hide b1b1b1b1, /hide b0b0b0b0"),
        ("/hide me", "that is you"),
        ("/hide nobody", "nobody here is called nobody; /who lists who is"),
        ("/hide", "usage: /hide NAME"),
        ("/unhide bob", "nobody called bob is hidden; /unhide lists who is"),
        ("/unhide", "nobody is hidden"),
        ("/bell", "the bell rings for: mentions"),
        ("/bell loud", "usage: /bell [off|mentions|all]"),
        ("/me", "usage: /me TEXT"),
        ("/nick", "usage: /nick NAME"),
        ("/quit now", "usage: /quit"),
        ("/connect", "usage: /connect ADDRESS"),
        ("/connect x", "'x' has no port: write PORT, HOST:PORT or [IPv6]:PORT, "
         "such as 127.0.0.1:5000"),
        ("/h", "there is no command /h; did you mean /help or /history or /hide?"),
        ("/hsitory", "there is no command /hsitory; did you mean /history?"),
        ("/usr/bin/env x", "there is no command /usr/bin/env; /help lists them, "
         "and a post that begins with / is typed with //"),
        ("/", "there is no command /; /help lists them, "
         "and a post that begins with / is typed with //"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line_and_never_posted(user: User, line: str, said: str) -> None:
    told = typed(user, line)
    assert told.said == [said]
    assert told.texts == []


def test_the_bell_that_was_chosen_lasts(user: User, tmp_path: Path) -> None:
    assert typed(user, "/bell off").said == ["the bell rings for: off"]
    assert '"bell": "off"' in (tmp_path / "settings.json").read_text()


def test_what_can_not_be_kept_holds_until_the_end_and_is_told(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(user.kept.settings, "save", fail)
    assert "can't be kept (No space left on device)" in typed(user, "/bell all").said[0]
    assert user.kept.settings.bell == "all"


def test_no_more_are_hidden_than_are_kept(user: User) -> None:
    user.kept.settings.hidden.update(dict.fromkeys(f"{n:064x}" for n in range(MAX_HIDDEN)))
    assert typed(user, "/hide b0b0b0b0").said == [
        f"{MAX_HIDDEN} members are hidden; /unhide some of them first"
    ]


def test_what_one_does_and_a_post_with_a_slash_are_posts(user: User) -> None:
    assert typed(user, "/me waves").texts == ["/me waves"]
    assert typed(user, "//etc/hosts").texts == ["/etc/hosts"]


def test_help_lists_every_command_or_tells_of_one(user: User) -> None:
    usages = [row[0] for row in typed(user, "/help").rows]
    assert usages == [*(command.usage for command in COMMANDS.values()), "//text"]
    assert [row[0] for row in typed(user, "/help /BELL").rows] == ["/bell [off|mentions|all]"]
    assert typed(user, "/help hsitory").said == [
        "there is no command /hsitory; did you mean /history?"
    ]


def test_the_screen_is_cleared_when_that_is_asked_for(user: User) -> None:
    assert typed(user, "/clear").cleared == 1


def test_a_command_for_which_no_descriptor_is_left_says_so_and_ends_nothing(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argument: str) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("export.target_of", fail)
    assert typed(user, "/export x.txt").said == ["that can't be done now: Too many open files"]
    assert not user.leaving
