"""The conversation on an emulated terminal."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation import AWAY_S, AWAY_WHOLE, LINKS_TOGETHER_S
from editor import Line, LineEditor
from output import JsonOutput, Message, Output, Status
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
from text import cells_of, harmless


def test_a_conversation_looks_like_one() -> None:
    screen = Terminal()
    screen.bell = "off"
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
    screen.screen.warning("three")
    screen.screen.link("down", BOB, "bob", "127.0.0.1:6000", "gone")
    screen.screen.bye("")
    screen.type(b"typing")
    assert screen.lines() == [
        "· listening on 127.0.0.1:5000 as me (id a1a1a1a1)",
        "→ bob joined (127.0.0.1:6000)",
        "── one post while you were away ──",
        "── Saturday 21 November ──",
        "08:43:00 bob: before",
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
        "!! three",
        "← bob left: gone",
        "me › typing",
    ]
    assert len(screen.writes) == 1
    assert (screen.emulator.cursor.y, screen.emulator.cursor.x) == (17, 11)


def test_a_day_of_another_year_says_so() -> None:
    screen = Terminal()
    screen.screen.recalled([post("old", time_ms=TIME_MS - 365 * DAY_MS, history=True)])
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


@pytest.mark.parametrize("columns", [30, 90])
def test_a_resized_terminal_gets_its_prompt_anew(columns: int) -> None:
    screen = Terminal()
    screen.screen.notice("before")
    screen.type(b"0123456789" * 9)
    screen.screen.flush()
    screen.resize(columns, 24)
    screen.screen.resized()
    first, *rows = screen.lines()
    assert first == "· before"
    assert "".join(row.removeprefix("me › ").removeprefix("  ") for row in rows) == "0123456789" * 9
    assert screen.emulator.cursor.y == len(rows)


def test_a_size_that_changed_without_a_word_is_found_at_the_next_drawing() -> None:
    screen = Terminal()
    screen.type(b"0123456789" * 4)
    screen.screen.flush()
    screen.resize(30, 24)
    screen.type(b"x")
    assert screen.lines() == ["me › 012345678901234567890123", "  4567890123456789x"]


def test_a_terminal_that_wraps_its_rows_anew_keeps_nothing_of_the_old_prompt() -> None:
    screen = Terminal(columns=60, environ={**PALE, "VTE_VERSION": "7600"})
    screen.screen.status(Status("open", 3, doing="x" * 40))
    screen.type(b"0123456789" * 11)
    screen.screen.flush()
    screen.columns = 25  # rows of 57, 59 and 58 cells are 3 each, and the cursor is in the last
    screen.type(b"\x1b[D")
    screen.screen.flush()
    assert screen.writes[-1].startswith("\r\x1b[8A \x1b[J")


@pytest.mark.parametrize(("text", "columns", "up"), [("x" * 15, 10, 2), ("世" * 20, 5, 10)])
def test_the_rows_of_a_wrapped_prompt_are_counted_by_what_fits_into_each(
    text: str, columns: int, up: int
) -> None:
    screen = Terminal(environ={**PALE, "TMUX": "/tmp/x"})
    screen.type(text.encode())
    screen.screen.flush()
    # "me › xxxxx" and "xxxxxxxxxx" are full, so the cell of the cursor is in a third row. Of
    # wide characters a row of 5 cells has 2, and beside "me › " there is room for none.
    for narrow in (columns + 3, columns):  # told twice before anything is drawn
        screen.columns = narrow
        screen.screen.resized()
    screen.screen.flush()
    assert screen.writes[-1].startswith(f"\r\x1b[{up}A \x1b[J")


def test_the_cell_of_the_cursor_is_written_so_that_every_terminal_keeps_it_there() -> None:
    screen = Terminal()
    screen.type(b"hi")
    screen.screen.flush()
    assert OUR_SEQUENCES.sub("", screen.writes[-1].partition("\x1b[?7l")[2]) == "me › hi me › hi"


def test_nothing_is_erased_from_the_very_first_cell_on() -> None:
    screen = Terminal()
    for key in (b"a", b"b", b"\x0c"):
        screen.type(key)
        screen.screen.flush()
    screen.screen.clear()
    assert not re.search(r"(^|\r|A|H)\x1b\[J", "".join(screen.writes))


def test_what_a_terminal_keeps_of_a_cleared_screen_is_the_conversation_alone() -> None:
    screen = Terminal()
    screen.screen.notice("kept")
    screen.type(b"half\x1b\rtwo")
    screen.screen.flush()
    screen.screen.clear()
    assert screen.writes[-1].startswith("\r\x1b[1A \x1b[J\r")
    assert screen.writes[-1].endswith("\x1b[H\x1b[2J")


def test_a_post_for_which_the_terminal_became_too_narrow_has_its_time_in_a_row_above() -> None:
    screen = Terminal()
    screen.screen.message(post("世界"))
    screen.resize(10, 24)
    assert screen.lines() == ["08:43:00", "  bob: 世", "  界", "›"]


def test_the_time_of_a_post_is_dim_and_its_text_is_not() -> None:
    screen = Terminal()
    screen.screen.message(post("hello"))
    screen.screen.flush()
    assert "\x1b[2m08:43:00 \x1b[0m\x1b[1mbob\x1b[0m: hello\n" in screen.writes[0]


def test_a_long_text_takes_half_of_the_terminal_at_most_and_says_how_much_is_hidden() -> None:
    screen = Terminal(columns=40, rows=10)
    screen.screen.status(Status("open", 1))
    screen.screen.notice("before")
    screen.type(b"\x1b[200~" + b"\n".join(b"line %d" % n for n in range(12)) + b"\x1b[201~")
    lines = screen.lines()
    assert lines[0] == "· before"
    assert lines[1] == "7 more rows · open · 1 linked"
    assert lines[2:] == [f"  line {number}" for number in range(7, 12)]
    screen.type(b"\x1b[A" * 11)
    assert screen.lines()[2] == "me › line 0"


def test_the_status_stands_above_the_prompt_and_is_cut_to_its_row() -> None:
    screen = Terminal(columns=40)
    screen.screen.status(Status("open", 0))
    screen.type(b"hi")
    assert screen.lines() == ["open · linked to nobody", "me › hi"]
    screen.screen.status(Status("open", 3, "bob", "searching", "2 of 3 have it (missing: bob)"))
    assert screen.lines() == ["open · 3 linked · searching · 2 of 3 h…", "me › hi"]
    small = Terminal(columns=40, rows=3)
    small.screen.status(Status("open", 3))
    assert small.lines() == ["me ›"]


def test_what_the_editor_asks_finds_or_completes_stands_in_place_of_the_status() -> None:
    screen = Terminal(columns=30)
    screen.screen.status(Status("open", 3))
    screen.editor.ask("really\x1b?")
    screen.screen.edited()
    assert screen.lines() == ["really␛? [y/N]", "me ›"]
    screen.type(b"n")
    assert screen.lines() == ["open · 3 linked", "me ›"]
    screen.editor.remember(["hello world"])
    screen.type(b"\x12wor")
    assert screen.lines() == ["search: wor", "me › hello world"]


def test_of_many_candidates_the_chosen_one_is_always_in_sight() -> None:
    names = [f"candidate{number:02}" for number in range(40)]
    screen = Terminal(columns=30)
    screen.editor = LineEditor(lambda before: (0, names))
    screen.screen._editor = screen.editor
    screen.type(b"\t")
    for name in names:
        screen.type(b"\t")
        row = screen.lines()[0]
        assert name in row
        assert len(row) < 30


def test_what_was_said_while_one_was_away_is_folded_and_its_end_is_shown() -> None:
    screen = Terminal()
    for number in range(37):
        screen.screen.message(post(f"post {number}", history=True))
    assert screen.lines() == ["me ›"]
    assert screen.screen.deadline() == AWAY_S
    screen.wait(AWAY_S)
    assert screen.screen.deadline() is None
    assert screen.lines() == [
        "── 37 posts while you were away; /history 37 shows all ──",
        *(f"08:43:00 bob: post {number}" for number in range(27, 37)),
        "me ›",
    ]


def test_what_was_said_to_one_meanwhile_is_counted() -> None:
    screen = Terminal()
    for text in ("hi @me", "bye", "me: there?"):
        screen.screen.message(post(text, history=True))
    screen.wait(AWAY_S)
    assert screen.lines()[0] == "── 3 posts while you were away (2 to you) ──"
    screen.screen.message(post("@me", history=True))
    screen.wait(AWAY_S)
    assert screen.lines()[4] == "── one post while you were away (1 to you) ──"
    screen.screen.message(post("again", history=True))
    screen.wait(AWAY_S)
    assert screen.lines()[6] == "── one post while you were away ──"


def test_a_crowd_of_one_is_named_once() -> None:
    screen = Terminal()
    for _ in range(5):
        screen.screen.link("up", BOB, "bob", "127.0.0.1:1")
    screen.wait(LINKS_TOGETHER_S)
    assert screen.lines()[3:] == ["→ bob joined", "me ›"]


def test_a_question_that_is_cut_still_says_how_to_answer_it() -> None:
    screen = Terminal(columns=20)
    screen.editor.ask("overwrite this file here?")
    screen.screen.edited()
    assert screen.lines()[0] == "overwrite th… [y/N]"


def test_what_is_said_now_comes_after_what_was_said_before() -> None:
    screen = Terminal()
    screen.screen.message(post("then", history=True))
    screen.screen.message(post("now"))
    assert screen.lines()[1:3] == ["08:43:00 bob: then", "08:43:00 bob: now"]


def test_what_is_folded_costs_no_memory() -> None:
    screen = Terminal()
    for number in range(10_000):
        screen.screen.message(post(str(number), history=True))
    assert len(screen.screen._away) == AWAY_WHOLE
    screen.screen.close()
    assert screen.lines()[0].startswith("── 10,000 posts while you were away")


def test_a_crowd_that_comes_and_goes_is_told_in_two_lines() -> None:
    screen = Terminal()
    for number in range(20):
        state = "up" if number % 2 else "down"
        screen.screen.link(state, f"{number:064x}", f"n{number}", "127.0.0.1:1", "gone")
    alone = ["← n0 left: gone", "→ n1 joined (127.0.0.1:1)", "← n2 left: gone"]
    assert screen.lines() == [*alone, "me ›"]
    screen.wait(LINKS_TOGETHER_S)
    together = ["→ n3, n5, n7 and 6 more joined", "← n4, n6, n8 and 5 more left"]
    assert screen.lines() == [*alone, *together, "me ›"]
    screen.now = 60.0
    screen.screen.link("up", BOB, "bob", "127.0.0.1:6000")
    assert screen.lines()[-2] == "→ bob joined (127.0.0.1:6000)"


def test_the_bell_rings_as_often_as_a_person_wants_and_not_more_than_once_a_second() -> None:
    screen = Terminal(environ={"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"})

    def rings(*posts: Message) -> list[str]:
        start = len(screen.writes)
        for one in posts:
            screen.screen.message(one)
        screen.screen.flush()
        screen.wait(2.0)
        return [text for text in screen.writes[start:] if "\a" in text]

    hello = post("hello @me \x1b]0;evil\x07")
    assert rings(hello, hello) == ["\a\x1b]9;bob: hello @me ␛]0,evil␇\a"]
    assert rings(post("hello")) == []
    assert rings(post("@me", own=True)) == []
    assert rings(post("@me", history=True)) == []
    screen.screen.warning("somebody \x1b else")
    assert rings() == ["\a\x1b]9;somebody ␛ else\a"]
    screen.bell = "off"
    screen.screen.warning("somebody else")
    assert rings(hello) == []
    screen.bell = "all"
    assert len(rings(post("hello"))) == 1
    start = len(screen.writes)
    for _ in range(3):
        screen.screen.message(hello)
        screen.screen.flush()
    assert sum("\a" in text for text in screen.writes[start:]) == 1


def test_a_cleared_screen_holds_the_prompt_alone() -> None:
    screen = Terminal()
    screen.screen.notice("gone")
    screen.type(b"half")
    screen.screen.flush()
    screen.screen.clear()
    assert screen.lines() == ["me › half"]
    assert screen.emulator.cursor.y == 0


def test_a_table_has_columns_or_where_these_do_not_fit_lines() -> None:
    screen = Terminal(columns=30)
    headers = ("name", "address")
    screen.screen.table(headers, [("bob\x1b[31m", "127.0.0.1:6000"), ("世界", "")])
    assert screen.lines()[:-1] == [
        "name      address",
        "bob␛[31m  127.0.0.1:6000",
        "世界",
    ]
    small = Terminal(columns=23)
    small.screen.table(headers, [("bob\x1b[31m", "127.0.0.1:6000"), ("世界", "")])
    assert small.lines()[:-1] == [
        "bob␛[31m",
        "  127.0.0.1:6000",
        "世界",
        "",
    ]
    screen.screen.table((*headers, "said"), [("robert", "127.0.0.1:6000", "a day ago")])
    screen.screen.table(("command", "does"), [("/me", "say what you do: bob waves")])
    assert screen.lines()[3:-1] == [
        "robert",
        "  address: 127.0.0.1:6000",
        "  said: a day ago",
        "/me",
        "  say what you do: bob waves",
    ]
    screen.screen.table(("x", "does"), [("/", "a last column may be folded so")])
    assert screen.lines()[8:-1] == ["x  does", "/  a last column may be folded", "   so"]


def test_a_figure_is_shown_whole_or_not_at_all() -> None:
    figure = ["█▀▀█", "█  █", "▀▀▀▀"]
    fits = Terminal(columns=6, rows=5)
    fits.screen.figure(figure, "too small")
    assert fits.lines()[:-1] == figure
    for columns, rows in ((5, 24), (80, 4)):
        small = Terminal(columns, rows)
        small.screen.figure(figure, "no")
        assert small.lines()[0] == "· no"
    fits.resize(5, 5)  # which the screen has not been told of yet
    fits.screen.figure(figure, "no")
    assert fits.lines()[-2:] == ["· no", "›"]


def test_a_figure_is_light_on_dark_whatever_colours_a_terminal_has() -> None:
    screen = Terminal(environ=COLOURFUL)
    screen.screen.figure(["█▀█"], "")
    screen.screen.flush()
    assert "\x1b[97;40m█▀█\x1b[0m\n" in screen.writes[0]


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
        at = next(index for index, row in enumerate(rows) if row.startswith("me › "))
        shown = "".join(row[5:] if row.startswith("me") else row[2:] for row in rows[at:])
        assert shown == typed_text[: number + 1].rstrip()
        assert rows[:at] == whole[-at:]
        assert screen.emulator.cursor.y >= len(rows) - 1
    assert len(screen.writes) == len(typed_text)
    assert screen.type(b"\r") == [Line(typed_text)]
    assert screen.lines()[-1] == "me ›"


@given(
    st.lists(st.one_of(keyboard, st.text(max_size=60)), max_size=8),
    st.integers(20, 90),
    st.integers(4, 30),
)
def test_whatever_is_typed_and_sent_the_prompt_is_below_all_and_fits(
    turns: list[bytes | str], columns: int, height: int
) -> None:
    screen = Terminal(columns, height)
    screen.screen.status(Status("open", 3))
    for turn in turns:
        if isinstance(turn, bytes):
            screen.type(turn)
        else:
            screen.screen.message(post(turn, turn))
        screen.screen.flush()
        # As it was drawn, before any terminal had its own idea of widths.
        drawn = screen.writes[-1].rpartition("\x1b[?7l")[2]
        region, _, cursor = drawn.removesuffix("\x1b[?7h").rpartition("\r")
        rows = OUR_SEQUENCES.sub("", region).split("\n")
        assert all(cells_of(row) < columns for row in rows)
        assert len(rows) <= 1 + max(1, height // 2)
        view = screen.editor.view(columns, min(8, max(1, height // 2)), 5)
        head = "  " if view.above else "me › "
        start = head if view.cursor_row == 0 else "  "
        whole = [head + view.rows[0], *(f"  {row}" for row in view.rows[1:])]
        whole[view.cursor_row] += " " * (start + view.before == whole[view.cursor_row])
        assert rows[1:] == whole
        assert OUR_SEQUENCES.sub("", cursor) == start + view.before
        back = len(view.rows) - 1 - view.cursor_row
        assert region.endswith(f"\x1b[{back}A") or not back


@settings(deadline=None)  # on a terminal of one column the emulator scrolls for long
@given(nasty, nasty, st.integers(-(2**63), 2**64), st.integers(1, 90), st.booleans())
def test_no_byte_from_the_network_controls_the_screen(
    text: str, name: str, time_ms: int, columns: int, colourful: bool
) -> None:
    screen = Terminal(columns, name=name, environ=COLOURFUL if colourful else PALE)
    screen.screen.ready(ALICE, name, text, text)
    screen.screen.message(post(text, name, time_ms=time_ms, history=True, private=True))
    screen.screen.message(post(text, name, ALICE, own=True))
    screen.screen.recalled([post(text, name)], [text, name])
    screen.screen.status(Status(text, 1, name, text, name))
    screen.screen.table((text, name), [(name, text)])
    screen.screen.figure([text, name], name)
    screen.screen.renamed(ALICE, text)
    screen.screen.link("up", BOB, name, text)
    screen.screen.link("down", BOB, name, text, text)
    screen.screen.notice(text)
    screen.screen.warning(text)
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
    screen.screen.message(post("[bold]x[/bold] :smile: [link=ftp://x]y[/link]", "[red]bob"))
    assert screen.lines()[0] == "08:43:00 [red]bob: [bold]x[/bold] :smile: [link=ftp://x]y[/link]"
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


def test_all_three_outputs_are_outputs() -> None:
    outputs: list[Output] = [JsonOutput(print), Plain().output, Terminal().screen]
    assert len(outputs) == 3


def test_a_start_does_not_pay_for_rich() -> None:
    code = (
        "import sys, editor, output, screen, terminal\n"
        "sys.exit(any(name.startswith('rich') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
