"""The conversation on an emulated terminal."""

from __future__ import annotations

import re
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

import text as text_module
from editor import Line
from output import JsonOutput, Output
from screen import COLOURS
from tests.shown import (
    ALICE,
    BOB,
    COLOURFUL,
    DAY_MS,
    OUR_SEQUENCES,
    PALE,
    ROOT,
    TIME_MS,
    Plain,
    Terminal,
    has_controls,
    keyboard,
    nasty,
    post,
)
from text import harmless


def test_a_conversation_looks_like_one() -> None:
    screen = Terminal()
    screen.screen.ready(ALICE, "me", "127.0.0.1:5000", "open")
    screen.screen.message(post("before", time_ms=TIME_MS - DAY_MS, history=True))
    screen.screen.link("up", BOB, "bob", "127.0.0.1:6000")
    screen.screen.message(post("hello"))
    screen.screen.message(post("hi", "me", ALICE, own=True))
    screen.screen.message(post("psst", private=True))
    screen.screen.message(post("two\nlines"))
    screen.screen.confirmed("r1", [BOB])
    screen.screen.info(["/help  this", "/quit  end"])
    screen.screen.notice("one")
    screen.screen.error("two")
    screen.screen.link("down", BOB, "bob", "127.0.0.1:6000", "gone")
    screen.screen.bye("")
    screen.type(b"typing")
    assert screen.lines() == [
        "· listening on 127.0.0.1:5000 as me (id a1a1a1a1)",
        "── Saturday 21 November ──",
        "08:43:00 bob: before",
        "→ bob joined (127.0.0.1:6000)",
        "── Sunday 22 November ──",
        "08:43:00 bob: hello",
        "08:43:00 me › hi",
        "08:43:00 bob (private): psst",
        "08:43:00 bob: two",
        "         lines",
        "/help  this",
        "/quit  end",
        "· one",
        "! two",
        "← bob left: gone",
        "me › typing",
    ]
    assert len(screen.writes) == 1
    assert (screen.emulator.cursor.y, screen.emulator.cursor.x) == (15, 11)


def test_a_day_of_another_year_says_so() -> None:
    screen = Terminal()
    screen.screen.message(post("old", time_ms=TIME_MS - 365 * DAY_MS, history=True))
    assert screen.lines()[0] == "── Saturday 22 November 2025 ──"


def test_long_text_is_folded_and_indented_so_that_no_post_passes_for_two() -> None:
    screen = Terminal(columns=30)
    screen.screen.message(post("x" * 15 + " 08:43:00 carol: I agree " + "y" * 50))
    first, *rest = screen.lines()[:-1]
    assert first.startswith("08:43:00 bob: xxx")
    assert rest and all(line.startswith(" " * 9) for line in rest)


def test_nothing_is_written_when_nothing_changed() -> None:
    screen = Terminal()
    screen.screen.flush()
    assert len(screen.writes) == 1
    screen.screen.flush()
    screen.screen.edited()
    screen.screen.flush()
    screen.type(b"\x1b[D")
    screen.screen.flush()
    assert len(screen.writes) == 1
    screen.type(b"a")
    screen.screen.flush()
    assert len(screen.writes) == 2


def test_a_resized_terminal_gets_its_prompt_anew() -> None:
    screen = Terminal()
    screen.type(b"0123456789" * 4)
    screen.screen.flush()
    screen.columns = 30
    screen.emulator.resize(24, 30)
    screen.screen.resized()
    assert screen.lines() == ["me › " + ("0123456789" * 4)[-24:]]
    assert screen.emulator.cursor.x == 29


def test_a_narrow_terminal_keeps_its_cells_for_the_text() -> None:
    screen = Terminal(columns=19, name="somebody")
    screen.screen.message(post("hello"))
    assert screen.lines() == ["bob: hello", "›"]


def test_a_long_name_takes_a_third_of_the_prompt_at_most() -> None:
    screen = Terminal(columns=30, name="somebody with a long name")
    assert screen.lines() == ["somebody … ›"]


def test_a_closed_screen_leaves_a_clean_line_and_can_come_back() -> None:
    screen = Terminal()
    screen.type(b"half a line")
    screen.screen.flush()
    screen.screen.notice("bye")
    screen.screen.resized()
    screen.screen.close()
    assert screen.lines() == ["· bye"]
    assert (screen.emulator.cursor.y, screen.emulator.cursor.x) == (1, 0)
    count = len(screen.writes)
    screen.screen.close()
    screen.screen.edited()
    screen.screen.flush()
    assert len(screen.writes) == count
    screen.screen.reopen()
    assert screen.lines() == ["· bye", "me › half a line"]


def test_posts_between_keystrokes_leave_the_prompt_at_the_bottom_and_the_text_intact() -> None:
    screen = Terminal(columns=40, rows=10)
    typed_text = "what I type, 世界 and all 🙂, while others talk"
    whole = []
    for number, character in enumerate(typed_text):
        screen.type(character.encode())
        screen.screen.message(post(f"post number {number}"))
        whole.append(f"08:43:00 bob: post number {number}")
        screen.screen.flush()
        rows = [line.rstrip() for line in screen.emulator.display if line.strip()]
        assert rows[-1].startswith("me › ")
        assert [line for line in rows if "›" in line] == [rows[-1]]
        assert rows[:-1] == whole[-len(rows) + 1 :]
        assert screen.emulator.cursor.y == len(rows) - 1
    assert len(screen.writes) == len(typed_text)
    assert screen.type(b"\r") == [Line(typed_text)]
    assert screen.lines()[-1] == "me ›"


@given(st.lists(st.one_of(keyboard, st.text(max_size=60)), max_size=8), st.integers(20, 90))
def test_whatever_is_typed_and_sent_the_prompt_is_one_row_below_all(
    turns: list[bytes | str], columns: int
) -> None:
    screen = Terminal(columns)
    for turn in turns:
        if isinstance(turn, bytes):
            screen.type(turn)
        else:
            screen.screen.message(post(turn, turn))
        screen.screen.flush()
        # The bottom row as it was drawn, before any terminal had its own idea of widths.
        prompt = OUR_SEQUENCES.sub("", screen.writes[-1]).rpartition("\n")[2]
        assert prompt.startswith("me › ")
        assert text_module.cells_of(prompt) < columns
        shown, offset = screen.editor.view(columns - 5)
        assert prompt == f"me › {shown}"
        assert screen.writes[-1].endswith(f"\r\x1b[{5 + offset}C")


@given(nasty, nasty, st.integers(-(2**63), 2**64), st.integers(1, 90), st.booleans())
def test_no_byte_from_the_network_controls_the_screen(
    text: str, name: str, time_ms: int, columns: int, colourful: bool
) -> None:
    screen = Terminal(columns, name=name, environ=COLOURFUL if colourful else PALE)
    screen.screen.ready(ALICE, name, text, text)
    screen.screen.message(post(text, name, time_ms=time_ms, history=True, private=True))
    screen.screen.message(post(text, name, ALICE, own=True))
    screen.screen.link("up", BOB, name, text)
    screen.screen.link("down", BOB, name, text, text)
    screen.screen.notice(text)
    screen.screen.error(text)
    screen.screen.info([text])
    screen.screen.flush()
    screen.screen.close()
    shown = OUR_SEQUENCES.sub("", "".join(screen.writes))
    assert not has_controls(shown, allowed="\n")
    shown.encode()


@given(nasty)
def test_every_character_of_a_post_is_on_the_screen(text: str) -> None:
    screen = Terminal(80)
    screen.screen.message(post(text))
    screen.screen.flush()
    shown = OUR_SEQUENCES.sub("", screen.writes[0]).rpartition("\n")[0]
    assert "".join(shown.split()) == "".join(
        ("08:43:00 bob: " + harmless(text, multiline=True)).split()
    )


def test_markup_and_emoji_codes_are_text() -> None:
    screen = Terminal(columns=70)
    screen.screen.message(post("[bold]x[/bold] :smile: [link=http://x]y[/link]", "[red]bob"))
    assert screen.lines()[0] == "08:43:00 [red]bob: [bold]x[/bold] :smile: [link=http://x]y[/link]"
    assert "\x1b]8" not in screen.writes[0]


def test_no_color_means_none_and_otherwise_a_member_keeps_a_colour() -> None:
    pale, colourful = Terminal(), Terminal(environ=COLOURFUL)
    for screen in (pale, colourful):
        screen.screen.message(post("one"))
        screen.screen.message(post("two", "renamed"))
        screen.screen.flush()
    assert "38;5" not in pale.writes[0]
    colours = re.findall(r"38;5;(\d+)m", colourful.writes[0])
    assert len(colours) == 2
    assert len(set(colours)) == 1


def test_every_colour_of_a_name_is_readable_on_black_and_on_white() -> None:
    levels = (0, 95, 135, 175, 215, 255)  # xterm's colour cube

    def linear(level: int) -> float:
        return ((level / 255 + 0.055) / 1.055) ** 2.4 if level > 10 else level / 255 / 12.92

    for colour in COLOURS:
        cube = colour - 16
        red, green, blue = levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6]
        light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
        assert min(1.05 / (light + 0.05), (light + 0.05) / 0.05) >= 3.7


def test_all_three_outputs_are_outputs() -> None:
    outputs: list[Output] = [JsonOutput(print), Plain().output, Terminal().screen]
    assert len(outputs) == 3


def test_a_start_does_not_pay_for_rich() -> None:
    code = (
        "import sys, editor, output, screen, terminal\n"
        "sys.exit(any(name.startswith('rich') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
