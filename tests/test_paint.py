"""Texts look as rich would print them, whatever way they are cut."""

from __future__ import annotations

import cProfile
import pstats
from io import StringIO

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from paint import Paint
from tests.shown import COLOURFUL, OUR_SEQUENCES, PALE, Terminal, post

STYLES = ["", "bold", "dim", "red", "color(30)", "bold underline color(98)", "reverse", "italic"]
CALLS_A_POST = 260  # 174 when this was written; with rich's own printing 400

places = st.integers(0, 12)
spans = st.lists(
    st.tuples(st.sampled_from([*STYLES, "link https://x.org"]), places, places), max_size=6
)


def looks(text: str) -> list[tuple[object, ...]]:
    """Every cell of a terminal that is shown `text`."""
    screen = pyte.Screen(30, 8)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(text)
    return [tuple(screen.buffer[row][column]) for row in range(8) for column in range(30)]


@pytest.mark.parametrize(
    "environ", [PALE, COLOURFUL, {"TERM": "xterm"}, {**COLOURFUL, "COLORTERM": "truecolor"}]
)
@given(st.text("ab 世", max_size=12), st.sampled_from(STYLES), spans)
def test_a_text_looks_as_rich_prints_it(
    environ: dict[str, str], plain: str, style: str, marks: list[tuple[str, int, int]]
) -> None:
    text = Text(plain, style)
    for mark, start, end in marks:
        text.stylize(mark, start, end)
    console = Console(file=StringIO(), force_terminal=True, width=30, height=8, _environ=environ)
    with console.capture() as capture:
        console.print(text, end="", no_wrap=True, crop=False, overflow="ignore")
    painted = Paint(environ).text(text)
    assert looks(painted) == looks(capture.get())
    assert painted.count("\x1b]8;id=") == capture.get().count("\x1b]8;id=")
    assert OUR_SEQUENCES.sub("", painted) == plain


@given(st.text("ab \n世", max_size=60), spans, st.integers(3, 20))
def test_folded_rows_hold_the_whole_text_in_its_styles(
    plain: str, marks: list[tuple[str, int, int]], columns: int
) -> None:
    body = Text(plain)
    for mark, start, end in marks:
        body.stylize(mark, start, end)
    folded = Paint(COLOURFUL).folded(Text("! ", "red"), body, columns)
    shown = OUR_SEQUENCES.sub("", folded)
    assert shown.startswith("! ") and shown.endswith("\n")
    assert "".join(shown[2:].split()) == "".join(plain.split())
    for row in shown.split("\n")[1:-1]:
        assert row.startswith("  ")
        assert row == row.rstrip() or not row.strip()
    whole = Paint(COLOURFUL).text(body)
    styled = {cell for cell in looks(whole) if cell[0] != " "}
    assert {cell for cell in looks(folded) if cell[0] != " "} <= styled | set(looks("\x1b[31m! "))


def test_a_post_of_a_crowd_costs_few_calls() -> None:
    screen = Terminal(80, environ=COLOURFUL)
    screen.screen._write = lambda text: None
    posts = [post(f"a plain post, number {number} " + "x" * 50) for number in range(200)]
    profile = cProfile.Profile()
    profile.enable()
    for one in posts:
        screen.screen.message(one)
    screen.screen.flush()
    profile.disable()
    calls = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    assert calls / len(posts) < CALLS_A_POST


def test_a_turn_is_one_write_however_much_it_shows() -> None:
    screen = Terminal(80, environ=COLOURFUL)
    screen.screen.flush()
    before = len(screen.writes)
    for number in range(300):
        screen.screen.message(post(f"post {number}"))
    screen.type(b"typing")
    screen.screen.flush()
    assert len(screen.writes) == before + 1
