"""What may stand where Tab is pressed: commands, what belongs after them, and names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import commands
from commands import COMMANDS
from user import User

ANN, BOB, HIDDEN = b"a" * 32, b"b" * 32, b"h" * 32
LABELS = {ANN: "ann", BOB: "Bob the tall", HIDDEN: "heidi"}


@pytest.fixture
def user() -> User:
    """One who knows three members, of whom one is hidden, and an address."""
    roster = SimpleNamespace(label=LABELS.__getitem__, others=lambda: list(LABELS))
    settings = SimpleNamespace(hidden={HIDDEN.hex(): None})
    book = SimpleNamespace(entries=lambda: [SimpleNamespace(address="127.0.0.1:5000")])
    known = SimpleNamespace(verified={HIDDEN.hex(): "2026-11-22"})
    kept = SimpleNamespace(settings=settings, book=book, acquaintances=known)
    return cast(Any, SimpleNamespace(roster=roster, kept=kept))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/h", ["/help ", "/history ", "/hide "]),
        ("/HE", ["/help "]),
        ("/nothing", []),
        ("/nothing x", []),
        ("/help un", ["/help unverify", "/help unhide"]),
        ("/help /un", ["/help unverify", "/help unhide"]),
        ("/who ", []),
        ("/hide b", ["/hide Bob the tall"]),
        ("/hide Bob the", ["/hide Bob the tall"]),
        ("/unhide ", ["/unhide heidi"]),
        ("/verify b", ["/verify Bob the tall"]),
        ("/unverify h", ["/unverify heidi"]),
        ("/unverify b", []),
        ("/bell a", ["/bell all"]),
        ("/connect 127", ["/connect 127.0.0.1:5000"]),
        ("/history ", ["/history from ", "/history since "]),
        ("/history 5 f", ["/history 5 from "]),
        ("/history from a", ["/history from ann"]),
        ("/history 5 from bob the t", ["/history 5 from Bob the tall"]),
        ("/history 5 since y", ["/history 5 since yesterday"]),
        ("/history since 3", ["/history since 30m"]),
        ("/me pokes a", ["/me pokes ann "]),
        ("a", ["ann: "]),
        ("hi a", ["hi ann "]),
        ("hi\na", ["hi\nann "]),
        ("@b", ["@Bob the tall "]),
        ("hi @Bob the", ["hi @Bob the tall "]),
        ("mail@a", []),
        ("", []),
        ("hi ", []),
        ("hi\n", []),
        ("//a", []),
    ],
)
def test_what_is_typed_can_become(user: User, before: str, after: list[str]) -> None:
    start, candidates = commands.complete(user, before)
    assert [before[:start] + candidate for candidate in candidates] == after


def test_files_are_completed_where_a_command_takes_one(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "room").mkdir()
    for name in ("room.txt", "roof.html", ".hidden", "evil\x1b[31m", "room/of one"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def after(before: str) -> list[str]:
        start, candidates = commands.complete(user, before)
        return [before[:start] + candidate for candidate in candidates]

    assert after("/export roo") == ["/export roof.html", "/export room.txt", "/export room/"]
    assert after("/export room/") == ["/export room/of one"]
    assert after("/export ~/.h") == ["/export ~/.hidden"]
    assert after(f"/export {tmp_path}/roof") == [f"/export {tmp_path}/roof.html"]
    assert after("/export ") == ["/export roof.html", "/export room.txt", "/export room/"]
    assert after("/export nowhere/x") == []
    assert after("/export \x00/x") == []


def test_every_command_completes_something_or_nothing_without_failing(user: User) -> None:
    for name in COMMANDS:
        for argument in ("", "x", "from ", "since ", "@", "/", "~", "\x00", "\ud800"):
            start, _ = commands.complete(user, f"/{name} {argument}")
            assert 0 <= start <= len(name) + 2 + len(argument)
