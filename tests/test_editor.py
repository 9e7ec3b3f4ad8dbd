"""Keys become lines; nothing typed gets lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import editor as editor_module
import text as text_module
from editor import EndOfInput, Interrupt, Key, Line, LineEditor
from tests.shown import (
    has_controls,
    keyboard,
    nasty,
)


def typed(data: bytes) -> list[Key]:
    return LineEditor().feed(data, 0.0)


def left_over(data: bytes) -> tuple[str, int]:
    editor = LineEditor()
    editor.feed(data, 0.0)
    return editor.text, editor.cursor


@pytest.mark.parametrize("enter", [b"\r", b"\n", b"\r\n"])
def test_every_enter_of_one_read_gives_a_line(enter: bytes) -> None:
    assert typed(enter.join([b"one", b"", b"two", b"thr"])) == [Line("one"), Line(""), Line("two")]


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        (b"abc\x7f", "ab", 2),
        (b"abc\x08\x08", "a", 1),
        (b"\x7f\x7fa", "a", 1),
        (b"ac\x1b[Db", "abc", 2),
        (b"ac\x1bODb", "abc", 2),
        (b"ac\x02b\x06d", "abcd", 4),
        (b"bc\x01a", "abc", 1),
        (b"bc\x1b[Ha\x1b[Fd", "abcd", 4),
        (b"bc\x1bOHa\x1bOFd", "abcd", 4),
        (b"bc\x1b[1~a\x1b[4~d", "abcd", 4),
        (b"bc\x01a\x05d", "abcd", 4),
        (b"abc\x1b[D\x1b[D\x1b[3~", "ac", 1),
        (b"abc\x01\x04", "bc", 0),
        (b"abc\x1b[C\x1b[C", "abc", 3),
        (b"abc\x1b[3~", "abc", 3),
        (b"abcd\x02\x02\x15", "cd", 0),
        (b"abcd\x02\x02\x0b", "ab", 2),
        (b"one two  \x17", "one ", 4),
        (b"one two\x17\x17\x17", "", 0),
        (b"a\tb\x0c\x00\x1ac", "abc", 3),
        ("aß世🙂".encode(), "aß世🙂", 4),
        (b"a\xff\xc3b", "a\ufffd\ufffdb", 4),
    ],
)
def test_the_keys_of_every_shell_work(keys: bytes, text: str, cursor: int) -> None:
    assert left_over(keys) == (text, cursor)


@pytest.mark.parametrize(
    "sequence",
    [b"\x1b[1;5D", b"\x1b[15~", b"\x1bOP", b"\x1b[[A", b"\x1bx", b"\x1b[<0;10;20M", b"\x1b[?1;2c"],
)
def test_an_unknown_escape_sequence_leaves_nothing_behind(sequence: bytes) -> None:
    assert left_over(b"a" + sequence + b"b") == ("ab", 2)


def test_an_endless_escape_sequence_is_given_up() -> None:
    text, _ = left_over(b"\x1b[" + b"1" * 1000)
    assert 0 < len(text) < 1000


def test_a_control_key_ends_an_escape_sequence_and_counts() -> None:
    assert typed(b"a\x1b\r") == [Line("a")]
    assert typed(b"a\x1b[1\x03") == [Interrupt()]
    assert left_over(b"\x1b\x1b[Cz") == ("z", 1)


def test_a_lone_escape_is_dropped_after_its_deadline() -> None:
    editor = LineEditor()
    assert editor.deadline() is None
    editor.feed(b"\x1b", 10.0)
    assert editor.deadline() == 10.0 + editor_module.ESC_TIMEOUT_S
    editor.expire(10.01)
    assert editor.deadline() is not None
    editor.expire(10.1)
    assert editor.deadline() is None
    editor.feed(b"[x", 10.2)
    assert editor.text == "[x"


def test_an_old_escape_does_not_swallow_a_key_even_if_nobody_called_expire() -> None:
    editor = LineEditor()
    editor.feed(b"\x1b", 10.0)
    editor.feed(b"x", 11.0)
    assert editor.text == "x"


def test_an_escape_sequence_that_came_in_two_reads_is_one_key() -> None:
    editor = LineEditor()
    editor.feed(b"ab\x1b", 10.0)
    editor.feed(b"[", 10.04)
    assert editor.deadline() is None
    editor.feed(b"D", 12.0)
    assert (editor.text, editor.cursor) == ("ab", 1)


def test_ctrl_c_and_ctrl_d_are_reported() -> None:
    assert typed(b"\x03\x04") == [Interrupt(), EndOfInput()]
    assert typed(b"abc\x04\x01\x04") == []


def test_up_and_down_walk_through_what_was_sent_and_back_to_what_was_being_typed() -> None:
    editor = LineEditor()
    editor.feed(b"one\rtwo\rtwo\r\rdraft", 0.0)
    seen = []
    for key in (b"\x1b[A", b"\x1b[A", b"\x1b[A", b"\x1b[B", b"\x1bOB", b"\x1b[B"):
        editor.feed(key, 0.0)
        seen.append(editor.text)
    assert seen == ["two", "one", "one", "two", "draft", "draft"]
    assert editor.feed(b"\x1b[A\x1b[A!\r", 0.0) == [Line("one!")]


def test_the_history_is_bounded() -> None:
    editor = LineEditor()
    for number in range(editor_module.HISTORY_LINES + 10):
        editor.feed(b"%d\r" % number, 0.0)
    editor.feed(b"\x1b[A" * 2000, 0.0)
    assert editor.text == "10"


def test_a_line_is_bounded() -> None:
    editor = LineEditor()
    editor.feed(b"x" * (editor_module.LINE_CHARACTERS + 100), 0.0)
    assert editor.feed(b"\r", 0.0) == [Line("x" * editor_module.LINE_CHARACTERS)]


@pytest.mark.parametrize("newline", [b"\r", b"\n", b"\r\n"])
def test_a_paste_of_several_lines_is_one_post(newline: bytes) -> None:
    pasted = newline.join([b"if x:", b"\ty()", b"", b"z", b""])
    assert typed(b"> \x1b[200~" + pasted + b"\x1b[201~\r") == [Line("> if x:\n\ty()\n\nz")]


def test_nothing_in_a_paste_acts_as_a_key() -> None:
    assert typed(b"ab\x1b[200~\x15\x04\x7f\x1b[Dc\x1b[201~\r") == [Line("abc")]


def test_ctrl_c_gets_out_of_a_paste_that_never_ends() -> None:
    assert typed(b"\x1b[200~a\r\x03\r") == [Interrupt(), Line("a")]


EVERYTHING = (
    "aß世🙂\r\x1b[200~p\r\nq\x1b[201~\x1b[D\x1b[1;5D!\x1bOH\x1bx\x05\r\n\x1b[A\x17\x1b[[Az\n\x03"
).encode() + b"\xff\xe4\xb8x\r"


@pytest.mark.parametrize("cut", range(len(EVERYTHING) + 1))
def test_where_a_read_ends_makes_no_difference(cut: int) -> None:
    editor = LineEditor()
    keys = editor.feed(EVERYTHING[:cut], 0.0) + editor.feed(EVERYTHING[cut:], 0.0)
    assert keys == typed(EVERYTHING)


@given(keyboard)
def test_bytes_one_by_one_are_the_bytes_in_one(data: bytes) -> None:
    whole, pieces = LineEditor(), LineEditor()
    keys = [key for byte in data for key in pieces.feed(bytes([byte]), 0.0)]
    assert keys == whole.feed(data, 0.0)
    assert (pieces.text, pieces.cursor) == (whole.text, whole.cursor)
    assert 0 <= whole.cursor <= len(whole.text)


def test_a_short_line_is_shown_whole() -> None:
    editor = LineEditor()
    editor.feed("a世\x1b[200~\n\x1b[201~b\x02".encode(), 0.0)
    assert editor.view(20) == ("a世␊b", 4)


def test_a_long_line_is_shown_around_the_cursor() -> None:
    editor = LineEditor()
    editor.feed(b"0123456789" * 3, 0.0)
    assert editor.view(10) == ("123456789", 9)
    editor.feed(b"\x01", 0.0)
    assert editor.view(10) == ("012345678", 0)
    editor.feed(b"\x06" * 15, 0.0)
    assert editor.view(10) == ("901234567", 6)


@given(nasty, st.integers(0, 400), st.integers(-3, 90))
def test_the_view_fits_its_row_and_holds_the_cursor(text: str, cursor: int, columns: int) -> None:
    editor = LineEditor()
    editor.text, editor.cursor = text, min(cursor, len(text))
    shown, offset = editor.view(columns)
    assert not has_controls(shown)
    assert text_module.cells_of(shown) <= max(columns - 1, 0)
    assert 0 <= offset <= text_module.cells_of(shown)
