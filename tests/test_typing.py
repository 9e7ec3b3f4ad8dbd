"""Typing survives everything: see typist.py. Here are as many schedules as there is time for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest

import editor
from buffer import Buffer
from output import Message
from screen import Screen
from tests import stage
from tests.emulator import Emulator
from tests.person import NARROW, WORDS, Plan
from tests.processes import Crowd
from tests.typist import rehearse

SCHEDULES = 300
TOGETHER = 30  # so many are one test: a few seconds
PLAN = Plan(messages=40, posts=3, resizes=4)
needs_tmux = pytest.mark.skipif(stage.TMUX is None, reason="tmux is not installed")


def rehearse_from(first: int) -> None:
    for seed in range(first, first + TOGETHER):
        try:
            rehearse(seed, PLAN)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None


@pytest.mark.parametrize("first", range(1, SCHEDULES, TOGETHER))
def test_what_a_person_means_is_said_while_others_talk_and_nothing_is_torn(first: int) -> None:
    rehearse_from(first)


@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_so_on_a_real_terminal(seed: int) -> None:
    stage.on_terminal(seed, Plan(messages=500, posts=5, resizes=10))


@needs_tmux
@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_so_in_tmux(seed: int) -> None:
    stage.in_tmux(seed, Plan(messages=100, posts=4, resizes=6))


# ---------------------------------------------------------------- would it be noticed?


def goes_up_too_far(self: Screen, up: Callable[[Screen], str] = Screen._up) -> str:
    return up(self).replace("\x1b[1A", "\x1b[2A")


def goes_up_too_little(self: Screen, up: Callable[[Screen], str] = Screen._up) -> str:
    return up(self).replace("\x1b[2A", "\x1b[1A")


def erases_from_the_first_cell(self: Screen, up: Callable[[Screen], str] = Screen._up) -> str:
    return up(self).replace(" \x1b[J\r", "\x1b[J")


def leaves_the_cursor_at_the_end(self: Screen, region: Callable = Screen._region) -> str:
    return region(self).rpartition("\r")[0] + "\x1b[?7h"


def never_hears_of_another_size(self: Screen, measure: Callable = Screen._measure) -> None:
    if not self._drawn:
        measure(self)


def loses_a_post(self: Screen, post: Message, message: Callable = Screen.message) -> None:
    if not post.text.startswith("bob7"):
        message(self, post)


def shows_a_post_twice(self: Screen, post: Message, message: Callable = Screen.message) -> None:
    for _ in range(1 + post.text.startswith("bob7")):
        message(self, post)


def takes_two(self: Buffer) -> None:
    Buffer.backspace(self)
    Buffer.backspace(self)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_up", goes_up_too_far),
        ("_up", goes_up_too_little),
        ("_up", erases_from_the_first_cell),
        ("_region", leaves_the_cursor_at_the_end),
        ("_measure", never_hears_of_another_size),
        ("message", loses_a_post),
        ("message", shows_a_post_twice),
    ],
)
def test_a_broken_screen_is_found(
    name: str, broken: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screen, name, broken)
    with pytest.raises(AssertionError):
        rehearse_from(1)


@pytest.mark.parametrize("key", ["backspace", "ctrl-w", "ctrl-y", "ctrl-_", "ctrl-t", "home"])
def test_a_broken_key_is_found(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dict_of(editor._EDITS), key, takes_two)
    with pytest.raises(AssertionError):
        rehearse_from(1)


def dict_of(mapping: Mapping) -> dict:
    assert isinstance(mapping, dict)
    return mapping


# ---------------------------------------------------------------- is the terminal one?


def test_the_terminal_draws_what_follows_a_joiner_and_wraps_wide_characters_whole() -> None:
    terminal = Emulator(5, 3, reflows=False, pulls=False, composes=False)
    terminal.feed("e\u0301\u200dab世c\nx")
    assert terminal.display == ["e\u0301\u200dab世", "c", "x"]
    terminal.feed("\r\x1b[2Aabcd世")
    assert terminal.display == ["abcd", "世", "x"]


def test_a_terminal_that_cuts_rows_knows_what_they_were_and_keeps_what_scrolls_off() -> None:
    terminal = Emulator(10, 3, reflows=False, pulls=True, composes=False)
    terminal.feed("0123456789\nab\ncd")
    terminal.resize(2, 5)
    assert (terminal.display, terminal.top) == (["ab", "cd"], 1)
    terminal.resize(3, 5)
    assert terminal.display == ["01234", "ab", "cd"]
    assert terminal.transcript(3) == ["0123456789", "ab", "cd"]


@needs_tmux
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_terminal_that_wraps_rows_anew_does_it_as_tmux_does(seed: int) -> None:
    """Both were written independently of one another. Not with wide characters: of those tmux
    3.3a loses count."""
    random = Random(seed)
    words = (*WORDS, *NARROW)
    lines = [" ".join(random.choices(words, k=random.randint(0, 8))) for _ in range(60)]
    terminal = Emulator(80, 24, reflows=True, pulls=True, composes=False)
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        (crowd.folder / "text").write_text("\n".join(lines))
        tmux = stage.Tmux(crowd, 80, 24, f"cat {crowd.folder}/text; exec sleep 60")
        try:
            terminal.feed("\n".join(lines))
            crowd.wait(lambda: tmux.look()[0] == shown(terminal), "all is drawn")
            for _ in range(12):
                columns = random.randint(10, 200)
                tmux.resize(columns, 24)
                terminal.resize(24, columns)
                cursor = terminal.cursor
                assert tmux.look() == (shown(terminal), cursor.x, cursor.y), columns
        finally:
            tmux.close()


def shown(terminal: Emulator) -> list[str]:
    return "\n".join(terminal.display).rstrip("\n").split("\n")
