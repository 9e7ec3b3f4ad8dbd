"""terminal.py: what is typed becomes lines, what arrives is shown and never obeyed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import termios
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

import terminal
import text as text_module
from terminal import (
    EndOfInput,
    Interrupt,
    JsonOutput,
    Key,
    Line,
    LineEditor,
    Message,
    Output,
    PlainOutput,
    RawMode,
    Screen,
)
from text import harmless, label

ALICE, BOB, CAROL = "a1" * 32, "b2" * 32, "c3" * 32
TIME_MS = 1_795_336_980_123  # 2026-11-22T08:43:00.123Z
DAY_MS = 86_400_000
PALE = {"TERM": "xterm-256color", "NO_COLOR": "1"}
COLOURFUL = {"TERM": "xterm-256color"}
OUR_SEQUENCES = re.compile(r"\r\x1b\[J|\r\x1b\[\d+C|\x1b\[[0-9;]*m")

# Any code point there is, and those that do harm more often than chance would have it.
nasty = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs"]),
        st.sampled_from("\x00\x07\x08\t\n\r\x1b[]mJ\x7f\x85\x9b\u202e\u2066\u2028\u0301\u200d世🙂"),
    )
)


def utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def post(
    text: str = "hello",
    name: str = "bob",
    id: str = BOB,
    time_ms: int = TIME_MS,
    *,
    history: bool = False,
    own: bool = False,
    private: bool = False,
) -> Message:
    return Message("r1", id, name, time_ms, text, history, own, private)


def has_controls(text: str, *, allowed: str = "") -> bool:
    forbidden = ("Cc", "Cs", "Co", "Zl", "Zp")
    return any(
        (unicodedata.category(character) in forbidden and character not in allowed)
        or character in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for character in text
    )


class Plain:
    """A PlainOutput with what it wrote."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.error_writes: list[str] = []
        self.output = PlainOutput(self.writes.append, self.error_writes.append, utc)

    def stdout(self) -> str:
        self.output.flush()
        return "".join(self.writes)

    def stderr(self) -> str:
        self.output.flush()
        return "".join(self.error_writes)


class Terminal:
    """A Screen on an emulated terminal."""

    def __init__(
        self, columns: int = 60, rows: int = 24, name: str = "me", environ: dict[str, str] = PALE
    ) -> None:
        self.columns, self.rows = columns, rows
        self.emulator = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        self.emulator.set_mode(pyte.modes.LNM)
        self.stream = pyte.Stream(self.emulator)
        self.writes: list[str] = []
        self.editor = LineEditor()
        self.screen = Screen(
            self._write,
            lambda: (self.columns, self.rows),
            self.editor,
            utc,
            date(2026, 11, 22),
            name,
            environ,
        )

    def _write(self, text: str) -> None:
        self.writes.append(text)
        self.stream.feed(text)

    def type(self, data: bytes) -> list[Key]:
        keys = self.editor.feed(data, 0.0)
        self.screen.edited()
        return keys

    def lines(self) -> list[str]:
        """What is on the terminal now, without the empty rows at the end."""
        self.screen.flush()
        lines = [line.rstrip() for line in self.emulator.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines


# ---------------------------------------------------------------- harmless, label


def test_ordinary_text_is_not_even_copied() -> None:
    for text in ("hello", "Grüße, Ωμέγα, Привет", "世界 こんにちは 안녕", "🙂 👍 → “x” …", ""):
        assert harmless(text) is text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "␛[2J"),
        ("\x00\x07\x08\r\x7f", "␀␇␈␍␡"),
        ("\x9b31m", "\ufffd31m"),
        ("a\u202eb\u2066c\u200fd\u061c", "a\ufffdb\ufffdc\ufffdd\ufffd"),
        ("a\u2028b\u2029c", "a\ufffdb\ufffdc"),
        ("\ud800 \udfff", "\ufffd \ufffd"),
        ("\ue000\ufffe\U0010ffff\u0378", "\ufffd\ufffd\ufffd\ufffd"),
        ("\u200b\ufeff\xad\u3164", "\ufffd\ufffd\ufffd\ufffd"),
        ("a\tb\nc", "a␉b␊c"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_instead(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_line_breaks_and_tabs_stay_where_several_lines_may_be_shown() -> None:
    assert harmless("a\tb\nc\x1b", multiline=True) == "a    b\nc␛"


def test_emoji_of_several_parts_and_joiners_stay_whole() -> None:
    for text in (
        "👨\u200d👩\u200d👧",
        "❤\ufe0f",
        "🏳\ufe0f\u200d🌈",
        "👍🏽",
        "می\u200cخواهم",
        "\U0001fae8",
    ):
        assert harmless(text) == text


def test_more_marks_on_one_letter_than_any_script_needs_are_cut() -> None:
    assert harmless("a" + "\u0301" * 4 + "b") == "a" + "\u0301" * 4 + "b"
    assert harmless("a" + "\u0301" * 900 + "b") == "a" + "\u0301" * 4 + "\ufffdb"
    assert harmless("a" + "\u200d" * 900) == "a" + "\u200d" * 4 + "\ufffd"


def test_the_quick_look_passes_nothing_that_the_close_look_would_replace() -> None:
    for code in range(0x110000):
        character = chr(code)
        if not text_module._SUSPICIOUS.search(character):
            assert text_module._stand_in(character) == character
            assert not text_module._is_mark(character)


@given(nasty)
def test_no_text_keeps_a_control_character(text: str) -> None:
    assert not has_controls(harmless(text))
    assert not has_controls(harmless(text, multiline=True), allowed="\n")
    harmless(text).encode()  # no surrogate is left
    assert harmless(harmless(text)) == harmless(text)


def test_a_name_is_shown_as_it_is() -> None:
    assert label("user1", ALICE, False) == "user1"
    assert label("user1", ALICE, True) == "user1~a1a1"


@pytest.mark.parametrize("name", ["", "   ", "\xa0\u3000", "\u200d\u200d", "\u2800", "\ufe0f"])
def test_a_name_with_nothing_to_see_has_a_stand_in_with_the_id(name: str) -> None:
    assert label(name, ALICE, False) == "(no name)~a1a1"


def test_a_name_is_cut_by_cells_and_not_by_characters() -> None:
    assert label("x" * 24, ALICE, False) == "x" * 24
    assert label("x" * 25, ALICE, False) == "x" * 23 + "…"
    assert label("世" * 13, ALICE, False) == "世" * 11 + "…"
    assert label("x" * 10_000, ALICE, True) == "x" * 23 + "…~a1a1"


def test_a_name_can_not_pose_as_another_members_label() -> None:
    assert label("bob~b2b2", ALICE, False) == "bob~b2b2~a1a1"


@given(nasty, st.booleans())
def test_no_name_keeps_a_control_character_or_outgrows_its_cells(name: str, clash: bool) -> None:
    shown = label(name, ALICE, clash)
    assert not has_controls(shown)
    assert shown.strip()
    assert text_module.cells_of(shown) <= text_module.NAME_CELLS + len("~a1a1")


# ---------------------------------------------------------------- the line editor


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
    assert editor.deadline() == 10.0 + terminal.ESC_TIMEOUT_S
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
    for number in range(terminal.HISTORY_LINES + 10):
        editor.feed(b"%d\r" % number, 0.0)
    editor.feed(b"\x1b[A" * 2000, 0.0)
    assert editor.text == "10"


def test_a_line_is_bounded() -> None:
    editor = LineEditor()
    editor.feed(b"x" * (terminal.LINE_CHARACTERS + 100), 0.0)
    assert editor.feed(b"\r", 0.0) == [Line("x" * terminal.LINE_CHARACTERS)]


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


keyboard = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.text(max_size=4).map(lambda text: text.encode("utf-8", "replace")),
        st.sampled_from([b"\r", b"\n", b"\x1b", b"\x1b[", b"\x1b[200~", b"\x1b[201~", b"\x1b[A"]),
    )
).map(b"".join)


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


# ---------------------------------------------------------------- JSON lines


def events(writes: list[str]) -> Iterator[object]:
    return (json.loads(line) for line in "".join(writes).splitlines())


def test_json_lines_are_the_contracts_objects_in_the_contracts_order() -> None:
    writes: list[str] = []
    output = JsonOutput(writes.append)
    output.ready(ALICE, "me", "127.0.0.1:5000", "open")
    output.link("up", BOB, "bob", "127.0.0.1:6000")
    output.link("down", BOB, "bob", "127.0.0.1:6000", "timed out")
    output.link("down", BOB, "bob", "127.0.0.1:6000")
    output.message(post("hi"))
    output.confirmed("r1", [BOB, CAROL])
    output.notice("n")
    output.error("e")
    output.info(["one", "two"])
    output.bye("")
    assert writes == []
    output.flush()
    output.flush()
    assert len(writes) == 1
    assert writes[0].splitlines() == [
        f'{{"event":"ready","id":"{ALICE}","name":"me","address":"127.0.0.1:5000","room":"open"}}',
        f'{{"event":"link","state":"up","id":"{BOB}","name":"bob","address":"127.0.0.1:6000"}}',
        f'{{"event":"link","state":"down","id":"{BOB}","name":"bob","address":"127.0.0.1:6000",'
        '"reason":"timed out"}',
        f'{{"event":"link","state":"down","id":"{BOB}","name":"bob","address":"127.0.0.1:6000",'
        '"reason":""}',
        f'{{"event":"message","ref":"r1","id":"{BOB}","name":"bob",'
        '"time":"2026-11-22T08:43:00.123Z","text":"hi","history":false,"own":false,'
        '"private":false}',
        f'{{"event":"confirmed","ref":"r1","by":["{BOB}","{CAROL}"]}}',
        '{"event":"notice","text":"n"}',
        '{"event":"error","text":"e"}',
        '{"event":"notice","text":"one\\ntwo"}',
        '{"event":"bye","reason":""}',
    ]


@given(nasty, nasty)
def test_json_carries_every_text_and_name_exactly_and_escaped(text: str, name: str) -> None:
    writes: list[str] = []
    output = JsonOutput(writes.append)
    output.message(post(text, name))
    output.flush()
    assert writes[0].isascii()
    assert not has_controls(writes[0], allowed="\n")
    assert writes[0].count("\n") == 1
    [event] = events(writes)
    assert isinstance(event, dict)
    # JSON has no way to tell a pair of lone surrogates from the character they make.
    joined = [value.encode("utf-16", "surrogatepass") for value in (text, name)]
    read = [event[key].encode("utf-16", "surrogatepass") for key in ("text", "name")]
    assert read == joined


@pytest.mark.parametrize(
    ("time_ms", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
        (-(2**63), "1970-01-01T00:00:00.000Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
        (2**64, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_json_clamps_an_absurd_time(time_ms: int, shown: str) -> None:
    writes: list[str] = []
    output = JsonOutput(writes.append)
    output.message(post(time_ms=time_ms))
    output.flush()
    assert f'"time":"{shown}"' in writes[0]


# ---------------------------------------------------------------- plain


def test_plain_posts_go_to_stdout_in_one_write_and_all_else_to_stderr() -> None:
    plain = Plain()
    plain.output.ready(ALICE, "me", "127.0.0.1:5000", "open")
    plain.output.link("up", BOB, "bob", "127.0.0.1:6000")
    plain.output.message(post("one"))
    plain.output.message(post("two\nthree", time_ms=TIME_MS + 1000))
    plain.output.message(post("mine", "me", ALICE, own=True))
    plain.output.confirmed("r1", [BOB])
    plain.output.link("down", BOB, "bob", "127.0.0.1:6000", "gone")
    plain.output.link("down", BOB, "bob", "127.0.0.1:6000")
    plain.output.notice("a\nb")
    plain.output.error("port in use")
    plain.output.info(["one  1", "two  2"])
    plain.output.bye("")
    plain.output.bye("stopped")
    assert plain.writes == plain.error_writes == []
    plain.output.flush()
    plain.output.flush()
    assert plain.writes == ["08:43:00 bob: one\n08:43:01 bob: two\n    three\n08:43:00 me: mine\n"]
    assert plain.error_writes == [
        "selchat: listening on 127.0.0.1:5000 as me (id a1a1a1a1)\n"
        "selchat: bob joined (127.0.0.1:6000)\n"
        "selchat: bob left: gone\n"
        "selchat: bob left\n"
        "selchat: a␊b\n"
        "selchat: port in use\n"
        "one  1\n"
        "two  2\n"
        "selchat: stopped\n"
    ]


@given(nasty, nasty, st.integers(-(2**63), 2**64))
def test_no_byte_from_the_network_controls_a_plain_terminal(
    text: str, name: str, time_ms: int
) -> None:
    plain = Plain()
    plain.output.message(post(text, name, time_ms=time_ms))
    plain.output.notice(text)
    plain.output.link("down", CAROL, name, text, text)
    plain.output.info([text])
    shown = plain.stdout()
    assert not has_controls(shown + plain.stderr(), allowed="\n")
    assert plain.stderr().count("\n") == 3
    first, *rest = shown[:-1].split("\n")
    assert re.match(r"\d\d:\d\d:\d\d .*: ", first)
    assert len(rest) == text.count("\n")
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize("name", ["bob", "bob ", "b\u200dob", "\uff42\uff4f\uff42"])
def test_two_members_whose_names_look_the_same_are_told_apart(name: str) -> None:
    plain = Plain()
    plain.output.message(post("one", "bob", BOB))
    plain.output.message(post("two", name, CAROL))
    plain.output.message(post("three", "bob", BOB))
    assert plain.stdout().splitlines() == [
        "08:43:00 bob: one",
        f"08:43:00 {label(name, CAROL, True)}: two",
        "08:43:00 bob~b2b2: three",
    ]


def test_one_member_seen_often_does_not_clash_with_itself() -> None:
    plain = Plain()
    plain.output.link("up", BOB, "bob", "127.0.0.1:6000")
    plain.output.message(post("one"))
    plain.output.message(post("two"))
    assert plain.stdout() == "08:43:00 bob: one\n08:43:00 bob: two\n"


def test_what_is_remembered_of_names_is_bounded() -> None:
    names = text_module.Names()
    for number in range(3 * text_module.NAMES):
        names.label_of(f"{number:5}" * 10_000, f"{number:064x}")
    assert len(names._owners) <= text_module.NAMES
    assert len(names._labels) <= text_module.NAMES
    assert all(len(name) <= text_module.NAME_CHARACTERS for name, _ in names._labels)


# ---------------------------------------------------------------- the screen


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

    for colour in terminal.COLOURS:
        cube = colour - 16
        red, green, blue = levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6]
        light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
        assert min(1.05 / (light + 0.05), (light + 0.05) / 0.05) >= 3.7


def test_all_three_outputs_are_outputs() -> None:
    outputs: list[Output] = [JsonOutput(print), Plain().output, Terminal().screen]
    assert len(outputs) == 3


def test_a_start_does_not_pay_for_rich() -> None:
    code = "import sys, terminal; sys.exit(any(name.startswith('rich') for name in sys.modules))"
    root = Path(terminal.__file__).parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# ---------------------------------------------------------------- the terminal's mode


def test_raw_mode_gives_keys_one_by_one_and_leaves_no_trace() -> None:
    master, slave = os.openpty()
    try:
        before = termios.tcgetattr(slave)
        writes: list[str] = []
        mode = RawMode(writes.append)
        mode.leave()
        assert writes == []
        mode.enter(slave)
        mode.enter(slave)
        during = termios.tcgetattr(slave)
        assert not during[3] & (termios.ICANON | termios.ECHO)
        assert during[3] & termios.ISIG
        assert not during[0] & (termios.ICRNL | termios.IXON)
        os.write(master, b"x\r")
        assert os.read(slave, 10) == b"x\r"
        mode.leave()
        mode.leave()
        assert termios.tcgetattr(slave) == before
        assert writes == ["\x1b[?2004h", "\x1b[?2004l"]
    finally:
        os.close(master)
        os.close(slave)


def test_leaving_a_terminal_that_is_gone_is_quiet() -> None:
    master, slave = os.openpty()
    writes: list[str] = []
    mode = RawMode(writes.append)
    mode.enter(slave)
    os.close(master)
    os.close(slave)
    mode.leave()
    assert writes == ["\x1b[?2004h"]
