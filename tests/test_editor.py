"""Keys become lines; nothing typed gets lost."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import buffer as buffer_module
import editor as editor_module
from buffer import LINE_CHARACTERS
from editor import (
    Answer,
    ClearScreen,
    EndOfInput,
    Hint,
    Interrupt,
    Key,
    Line,
    LineEditor,
)
from keys import ESC_TIMEOUT_S
from layout import INDENT, View
from tests.shown import has_controls, keyboard, nasty
from text import cells_of, edges, harmless


def typed(data: bytes) -> list[Key]:
    return LineEditor().feed(data, 0.0)


def left_over(data: bytes) -> tuple[str, int]:
    return state(edited(data))


def edited(data: bytes, *history: str) -> LineEditor:
    editor = LineEditor(history=history)
    editor.feed(data, 0.0)
    return editor


def state(editor: LineEditor) -> tuple[str, int]:
    return editor.text, editor.cursor


def escape(editor: LineEditor) -> list[Key]:
    """A lone ESC, which takes its time."""
    assert editor.feed(b"\x1b", 0.0) == []
    return editor.expire(ESC_TIMEOUT_S)


def paste(text: str) -> bytes:
    return b"\x1b[200~" + text.encode() + b"\x1b[201~"


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
        (b"a\tb\x07\x00\x1ac", "abc", 3),
        (b"one two, three\x1bbx", "one two, xthree", 10),
        (b"one two, three\x1b[1;5D\x1b[5D\x1bODx", "onex two, three", 4),
        (b"one, two\x01\x1bfx", "onex, two", 4),
        (b"one, two\x01\x1b[1;3C\x1bOcx", "one, twox", 9),
        (b"one, two\x01\x1bd", ", two", 0),
        (b"one two, \x1b\x7f", "one ", 4),
        (b"one two.x\x17", "one ", 4),
        (b"ab\x14", "ba", 2),
        (b"abc\x02\x02\x14", "bac", 2),
        (b"a\x14", "a", 1),
        (b"ab\x01\x14", "ab", 0),
        (b"one two\x17\x19\x19", "one twotwo", 10),
        (b"one two three\x17\x17\x19", "one two three", 13),
        (b"one two three\x1bb\x02\x15\x0b\x19", "one two three", 13),
        (b"one two\x17\x02\x17\x19", "one ", 3),
        (b"one\x15two\x15\x19", "two", 3),
        (b"\x19\x1f", "", 0),
        (b"a\x1b\rb", "a\nb", 3),
        (b"a\x1b\rb\x01c\x05d", "a\ncbd", 5),
        (b"a\x1b\rb\x15\x15c", "ac", 2),
        (b"a\x1b\rb\x1b[A\x1b[D\x0b\x0b", "b", 0),
        ("aß世🙂".encode(), "aß世🙂", 4),
        (b"a\xff\xc3b", "a\ufffd\ufffdb", 4),
    ],
)
def test_the_keys_of_every_shell_work(keys: bytes, text: str, cursor: int) -> None:
    assert left_over(keys) == (text, cursor)


@pytest.mark.parametrize(
    "sequence",
    [b"\x1b[1;5P", b"\x1b[15~", b"\x1bOP", b"\x1b[[A", b"\x1bx", b"\x1b[<0;10;20M", b"\x1b[?1;2c"],
)
def test_an_unknown_escape_sequence_leaves_nothing_behind(sequence: bytes) -> None:
    assert left_over(b"a" + sequence + b"b") == ("ab", 2)


def test_an_endless_escape_sequence_is_given_up() -> None:
    text, _ = left_over(b"\x1b[" + b"1" * 1000)
    assert 0 < len(text) < 1000


def test_a_control_key_ends_an_escape_sequence_and_counts() -> None:
    assert typed(b"a\x1b[\r") == [Line("a")]
    assert typed(b"a\x1b[1\x03") == [Interrupt()]
    assert left_over(b"\x1b\x1b[Cz") == ("z", 1)


def test_a_lone_escape_is_dropped_after_its_deadline() -> None:
    editor = LineEditor()
    assert editor.deadline() is None
    editor.feed(b"\x1b", 10.0)
    assert editor.deadline() == 10.0 + ESC_TIMEOUT_S
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
    editor.feed(b"x" * (LINE_CHARACTERS + 100), 0.0)
    assert editor.feed(b"\r", 0.0) == [Line("x" * LINE_CHARACTERS)]


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
    "one two three\x17\x17\x1f\x19\x1b\rß\x12t\x12o\x7f\x07\x1b[A\x1b\x7f\x14"
).encode() + b"\xff\xe4\xb8x\r"


@pytest.mark.parametrize("cut", range(len(EVERYTHING) + 1))
def test_where_a_read_ends_makes_no_difference(cut: int) -> None:
    editor = LineEditor()
    keys = editor.feed(EVERYTHING[:cut], 0.0) + editor.feed(EVERYTHING[cut:], 0.0)
    assert keys == typed(EVERYTHING)


@given(keyboard, st.integers(4, 50), st.integers(1, 5))
def test_bytes_one_by_one_are_the_bytes_in_one(data: bytes, columns: int, rows: int) -> None:
    whole, pieces = (LineEditor(complete_names, OLD) for _ in range(2))
    keys = [key for byte in data for key in pieces.feed(bytes([byte]), 0.0)]
    assert keys == whole.feed(data, 0.0)
    assert state(pieces) == state(whole)
    assert pieces.hint() == whole.hint()
    assert pieces.view(columns, rows, 5) == whole.view(columns, rows, 5)


@given(keyboard)
def test_whatever_is_typed_the_cursor_stands_between_characters_and_the_line_is_bounded(
    data: bytes,
) -> None:
    editor = LineEditor(complete_names, OLD)
    for byte in data:
        editor.feed(bytes([byte]), 0.0)
        assert editor.cursor in edges(editor.text)
        assert len(editor.text) <= LINE_CHARACTERS
        hint = editor.hint()
        assert hint is None or not has_controls(hint.text + "".join(hint.choices))


# ---------------------------------------------------------------- characters as people see them


@pytest.mark.parametrize(
    "character", ["e\u0301", "👨\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f", "👍🏽", "ᄒ\u1161\u11ab"]
)
def test_a_character_of_several_parts_is_one_to_every_key(character: str) -> None:
    data = f"a{character}b".encode()
    size = len(character)
    assert left_over(data + b"\x02\x02") == (f"a{character}b", 1)
    assert left_over(data + b"\x01\x06\x06") == (f"a{character}b", 1 + size)
    assert left_over(data + b"\x02\x7f") == ("ab", 1)
    assert left_over(data + b"\x02\x02\x04") == ("ab", 1)
    assert left_over(data + b"\x02\x14") == (f"ab{character}", 2 + size)


def test_an_emoji_that_arrives_in_parts_joins_with_nothing_behind_it() -> None:
    editor = edited("👩\x01".encode())
    for part in "👨\u200d👦x":
        editor.feed(part.encode(), 0.0)
        assert editor.cursor in edges(editor.text)
    assert state(editor) == ("👨\u200d👦x👩", 4)
    assert state(edited("🇩🇪\x01🇫🇷".encode())) == ("🇫🇷🇩🇪", 2)


# ---------------------------------------------------------------- several lines


def test_up_and_down_move_between_the_lines_of_a_text_first_and_keep_the_column() -> None:
    editor = edited(b"first\x1b\rab\x1b\rthird", "old")
    seen = []
    for key in (b"\x10", b"\x10", b"\x10", b"\x0e", b"\x02\x10", b"\x0e", b"\x0e"):
        editor.feed(key, 0.0)
        seen.append(state(editor))
    text = "first\nab\nthird"
    assert seen == [
        (text, 8), (text, 5), ("old", 3), (text, 14), (text, 8), (text, 13), (text, 13),
    ]  # fmt: skip


def test_the_column_is_counted_in_cells() -> None:
    assert left_over("世e\u0301x\x1b\rabcd\x1b[D\x1b[A".encode())[1] == 3
    assert left_over("世界\x1b\rabc\x1b[A".encode())[1] == 1


# ---------------------------------------------------------------- undo


def test_a_word_is_one_step_to_undo_and_so_is_a_paste() -> None:
    editor = edited(b"one two" + paste("three\nfour") + b"five\x17\x7f\x7f")
    seen: list[str] = []
    while not seen or seen[-1] != editor.text:
        seen.append(editor.text)
        editor.feed(b"\x1f", 0.0)
    assert seen == [
        "one twothre", "one twothree\n", "one twothree\nfourfive",
        "one twothree\nfour", "one two", "one ", "",
    ]  # fmt: skip


def test_an_undo_brings_back_the_cursor_and_the_place_in_the_history() -> None:
    editor = edited(b"draft\x02\x10\x10\x17\x1f", "old", "older words", "new")
    assert state(editor) == ("older words", 11)
    editor.feed(b"\x1f", 0.0)
    assert state(editor) == ("draft", 4)
    editor.feed(b"\x10", 0.0)
    assert editor.text == "new"
    editor.feed(b"\x0e", 0.0)
    assert editor.text == "draft"


def test_what_can_be_undone_is_bounded() -> None:
    editor = edited(b"word " * (buffer_module.UNDO_STEPS + 10) + b"\x1f" * 1000)
    assert editor.text == "word " * 10


def test_a_line_that_was_sent_is_no_matter_of_undo() -> None:
    assert state(edited(b"one\r\x1f")) == ("", 0)


# ---------------------------------------------------------------- the history


def test_the_history_that_is_handed_in_is_bounded_and_clean() -> None:
    old = ["first", *(f"line {number}" for number in range(499)), "  ", "a\x1b[2J\tb\nc\x9b"]
    editor = edited(b"\x10", *old)
    assert editor.text == "a[2J\tb\nc"
    editor.feed(b"\x10" * 2000, 0.0)
    assert editor.text == "line 0"
    editor = edited(b"\x10", "x" * (LINE_CHARACTERS + 1))
    assert editor.text == "x" * LINE_CHARACTERS


# ---------------------------------------------------------------- the search

OLD = ("apple pie", "banana", "apple", "cherry pie", "pie")


def shown(editor: LineEditor) -> tuple[str, int]:
    """What can be seen, and where the cursor is in it."""
    view = editor.view(80, 1, 0)
    return view.rows[0], len(view.before)


def test_a_search_narrows_goes_on_and_widens() -> None:
    editor = edited(b"dr\x12", *OLD)
    assert editor.hint() == Hint("search: ")
    seen = []
    for key in (b"p", b"i", b"\x12", b"\x12", b"\x12", b"z", b"\x7f", b"\x7f\x7f", b"\x7f"):
        editor.feed(key, 0.0)
        seen.append((*shown(editor), str(editor.hint().text)))  # type: ignore[union-attr]
    assert seen == [
        ("pie", 0, "search: p"),
        ("pie", 0, "search: pi"),
        ("cherry pie", 7, "search: pi"),
        ("apple pie", 6, "search: pi"),
        ("apple pie", 6, "nothing found: pi"),
        ("apple pie", 6, "nothing found: piz"),
        ("pie", 0, "search: pi"),
        ("dr", 2, "search: "),
        ("dr", 2, "search: "),
    ]


def test_a_search_that_is_given_up_changes_nothing() -> None:
    for give_up in (lambda editor: editor.feed(b"\x07", 0.0), escape):
        editor = edited(b"draft\x02\x12ban", *OLD)
        assert shown(editor) == ("banana", 0)
        assert give_up(editor) == []
        assert editor.hint() is None
        assert shown(editor) == ("draft", 4)
        assert editor.feed(b"!\r", 0.0) == [Line("draf!t")]


def test_enter_sends_what_was_found_and_any_other_key_takes_it() -> None:
    assert edited(b"dr\x12ban", *OLD).feed(b"\r", 0.0) == [Line("banana")]
    editor = edited(b"dr\x12an\x06!", *OLD)
    assert state(editor) == ("bana!na", 5)
    assert editor.hint() is None
    editor.feed(b"\x10", 0.0)
    assert editor.text == "apple pie"  # what is older than what was found
    editor.feed(b"\x0e" * 9, 0.0)
    assert editor.text == "dr"
    assert state(edited(b"dr\x12ban\x05\x1f", *OLD)) == ("dr", 2)


def test_a_search_that_finds_nothing_leaves_what_was_there() -> None:
    editor = edited(b"dr\x12xyz", *OLD)
    assert editor.hint() == Hint("nothing found: xyz")
    assert shown(editor) == ("dr", 2)
    assert editor.feed(b"\r", 0.0) == [Line("dr")]


def test_ctrl_r_twice_searches_for_the_same_again() -> None:
    editor = edited(b"\x12pie\x07\x12\x12", *OLD)
    assert shown(editor) == ("pie", 0)
    assert editor.hint() == Hint("search: pie")
    assert edited(b"\x12\x12\x12", *OLD).hint() == Hint("search: ")


def test_a_search_is_bounded() -> None:
    hint = edited(b"\x12" + b"x" * 100_000, *OLD).hint()
    assert hint == Hint("nothing found: " + "x" * editor_module.QUERY_CHARACTERS)


# ---------------------------------------------------------------- completion


def complete_names(before: str) -> tuple[int, list[str]]:
    start = before.rfind(" ") + 1
    names = ["ann ", "anna ", "annabel ", "bob "]
    return start, [name for name in names if name.startswith(before[start:])]


def test_one_candidate_is_inserted_with_what_it_brings() -> None:
    editor = LineEditor(complete_names)
    editor.feed(b"hi b there" + b"\x02" * 6 + b"\t", 0.0)
    assert state(editor) == ("hi bob  there", 7)
    assert editor.hint() is None
    editor.feed(b"\x1f", 0.0)
    assert state(editor) == ("hi b there", 4)


def test_no_candidate_changes_nothing() -> None:
    for complete in (None, complete_names):
        editor = LineEditor(complete)
        editor.feed(b"x\t", 0.0)
        assert state(editor) == ("x", 1)
        assert editor.hint() is None


def test_tab_inserts_what_is_sure_and_then_cycles() -> None:
    editor = LineEditor(complete_names)
    editor.feed(b"hi a!\x02", 0.0)
    seen = []
    for key in (b"\t", b"\t", b"\t", b"\t", b"\t", b"\x1b[Z", b"\x1b[Z"):
        editor.feed(key, 0.0)
        hint = editor.hint()
        assert hint and hint.choices == ("ann", "anna", "annabel")
        seen.append((*state(editor), hint.chosen))
    assert seen == [
        ("hi ann!", 6, -1),
        ("hi ann !", 7, 0),
        ("hi anna !", 8, 1),
        ("hi annabel !", 11, 2),
        ("hi ann !", 7, 0),
        ("hi annabel !", 11, 2),
        ("hi anna !", 8, 1),
    ]
    assert editor.feed(b"x\r", 0.0) == [Line("hi anna x!")]
    assert editor.hint() is None


def test_shift_tab_begins_at_the_end() -> None:
    editor = LineEditor(complete_names)
    editor.feed(b"a\t\x1b[Z", 0.0)
    assert editor.text == "annabel "


def test_a_completion_that_is_given_up_leaves_what_was_typed() -> None:
    for keys in (b"\t", b"\t\t", b"\t\t\t"):
        for give_up in (lambda editor: editor.feed(b"\x07", 0.0), escape):
            editor = LineEditor(complete_names)
            editor.feed(b"b\ta!\x02" + keys, 0.0)
            assert give_up(editor) == []
            assert editor.hint() is None
            assert state(editor) == ("bob a!", 5)
            editor.feed(b"\x1f\x1f", 0.0)
            assert editor.text == "b"


def test_a_completion_is_one_step_to_undo() -> None:
    editor = LineEditor(complete_names)
    editor.feed(b"a\t\t\t\x1f", 0.0)
    assert state(editor) == ("a", 1)


def test_candidates_are_bounded_and_clean_and_so_is_the_text() -> None:
    editor = LineEditor(lambda before: (-7, [f"{number}\x1b" for number in range(1000)]))
    editor.feed(b"x\t\t", 0.0)
    hint = editor.hint()
    assert hint and len(hint.choices) == editor_module.MAX_CANDIDATES
    assert editor.text == "0"
    editor = LineEditor(lambda before: (99, ["x" * 2 * LINE_CHARACTERS]))
    editor.feed(b"ab\x02\t", 0.0)
    assert editor.text == "a" + "x" * (LINE_CHARACTERS - 2) + "b"


# ---------------------------------------------------------------- questions


@pytest.mark.parametrize(
    ("key", "yes"),
    [(b"y", True), (b"Y", True), (b"\r", False), (b"n", False), (b"N", False), (b"\x07", False),
     (b"\x03", False), (b"\x04", False)],
)  # fmt: skip
def test_a_question_has_an_answer_and_what_was_being_typed_is_back(key: bytes, yes: bool) -> None:
    editor = edited(b"draft\x02")
    editor.ask("really\x1b?")
    assert editor.hint() == Hint("really␛? [y/N]")
    assert editor.view(80, 5, 0) == View(("",), 0, "", 0, 0)
    assert editor.feed(b"x \x1b[A\t\x0c\x12" + paste("y\n") + key + b"e", 0.0) == [Answer(yes)]
    assert editor.hint() is None
    assert state(editor) == ("drafet", 5)


def test_a_lone_escape_is_a_no() -> None:
    editor = edited(b"draft")
    editor.ask("really?")
    assert escape(editor) == [Answer(False)]
    assert state(editor) == ("draft", 5)


def test_a_question_gives_up_a_search_and_keeps_a_completion() -> None:
    editor = edited(b"draft\x12ban", *OLD)
    editor.ask("really?")
    assert editor.feed(b"y\x05", 0.0) == [Answer(True)]
    assert editor.text == "draft"
    editor = LineEditor(complete_names)
    editor.feed(b"a\t\t", 0.0)
    editor.ask("really?")
    assert editor.feed(b"y\x1f", 0.0) == [Answer(True)]
    assert editor.text == "a"


def test_a_long_paste_is_sent_only_when_that_is_meant() -> None:
    lines = [f"line {number}" for number in range(editor_module.PASTE_LINES + 2)]
    pasted = "\n".join(lines)
    editor = edited(b"> " + paste(pasted + "\n"))
    assert editor.feed(b"\r", 0.0) == []
    question = f"send these 26 lines ({len(pasted) + 2} characters) as one post? [Y/n]"
    assert editor.hint() == Hint(question)
    assert editor.feed(b"n", 0.0) == []
    assert editor.hint() is None
    assert editor.text == f"> {pasted}\n"
    assert editor.feed(b"\ry", 0.0) == [Line(f"> {pasted}")]
    assert editor.feed(b"short\r", 0.0) == [Line("short")]
    # It was sent once: who wants it again from the history has seen it.
    assert editor.feed(b"\x10\x10\r", 0.0) == [Line(f"> {pasted}")]


def test_a_paste_of_many_characters_is_long_and_one_that_was_shortened_is_not() -> None:
    size = editor_module.PASTE_CHARACTERS + 1
    editor = edited(paste("x" * (size // 2)) + paste("x" * (size // 2 + 1)))
    assert editor.feed(b"\r", 0.0) == [Line("x" * size)]
    editor = edited(paste("x" * size) + b"\r")
    assert editor.hint() == Hint("send this line (1,921 characters) as one post? [Y/n]")
    assert escape(editor) == []
    assert editor.feed(b"\x7f\r", 0.0) == [Line("x" * (size - 1))]
    assert edited(b"x" * size).feed(b"\r", 0.0) == [Line("x" * size)]


def test_a_full_line_says_so() -> None:
    editor = edited(b"x" * (LINE_CHARACTERS - 1))
    assert editor.hint() is None
    editor.feed(b"xx", 0.0)
    assert editor.hint() == Hint("that is all a post can hold: 12,288 characters")


# ---------------------------------------------------------------- clearing


def test_there_may_be_nothing_to_clear() -> None:
    assert LineEditor().clear() is False
    assert edited(b"one\r", *OLD).clear() is False


@pytest.mark.parametrize(
    "begun", [b"draft\x1b\rmore", b"\x12", b"\x12ban", b"\x1b[200~", b"d\x1b[200~x"]
)
def test_whatever_was_begun_is_cleared(begun: bytes) -> None:
    editor = edited(begun, *OLD)
    assert editor.clear() is True
    assert editor.hint() is None
    assert state(editor) == ("", 0)
    assert editor.clear() is False
    assert editor.feed(b"a\r", 0.0) == [Line("a")]


def test_cleared_text_can_be_got_back() -> None:
    editor = edited(b"dr\x10", "old")
    editor.clear()
    editor.feed(b"\x1f", 0.0)
    assert editor.text == "old"
    editor.clear()
    editor.feed(b"\x10", 0.0)
    assert editor.text == "old"


def test_a_question_that_is_cleared_was_answered_with_no() -> None:
    editor = LineEditor()
    editor.ask("really?")
    assert editor.clear() is True
    assert editor.hint() is None
    assert editor.feed(b"", 0.0) == [Answer(False)]


def test_a_paste_that_is_not_to_be_sent_stays_to_be_changed() -> None:
    editor = edited(paste("x" * 2000) + b"\r")
    assert editor.clear() is True
    assert editor.feed(b"y", 0.0) == []
    assert editor.text == "x" * 2000 + "y"


def test_a_paste_that_was_cut_says_so_when_it_is_about_to_be_sent() -> None:
    editor = edited(paste("x" * (LINE_CHARACTERS + 1)) + b"\r")
    hint = editor.hint()
    assert hint and hint.text.startswith(
        "send what fits into one post, this line, and not the rest"
    )


def test_a_completion_that_is_cleared_is_over() -> None:
    editor = LineEditor(complete_names)
    editor.feed(b"a\t\t", 0.0)
    assert editor.clear() is True
    assert editor.hint() is None
    assert editor.text == ""


def test_ctrl_l_is_reported() -> None:
    assert typed(b"a\x0c") == [ClearScreen()]


# ---------------------------------------------------------------- the view


def test_a_short_line_is_shown_whole() -> None:
    assert edited("a世\x1b\rb\tc\x02".encode()).view(20, 5, 5) == View(("a世", "bc"), 1, "b", 0, 0)
    assert edited(paste("a\tb")).view(20, 5, 5) == View(("a    b",), 0, "a    b", 0, 0)


def test_a_long_line_is_folded_beside_its_head_and_indented_below_it() -> None:
    editor = edited(b"0123456789" * 2)
    # Of ten cells, nine are written: five beside the head, seven beside the indent.
    assert editor.view(10, 5, 4) == View(("01234", "5678901", "2345678", "9"), 3, "9", 0, 0)
    assert editor.view(10, 2, 4) == View(("2345678", "9"), 1, "9", 2, 0)
    editor.feed(b"\x01" + b"\x06" * 7, 0.0)
    assert editor.view(10, 2, 4) == View(("01234", "5678901"), 1, "56", 0, 2)
    assert editor.view(10, 1, 4) == View(("5678901",), 0, "56", 1, 2)
    assert editor.view(10, 0, 4) == editor.view(10, 1, 4)


def test_a_cursor_at_the_end_of_a_full_row_stands_on_a_new_one() -> None:
    editor = edited(b"01234\x1b\r5")
    assert editor.view(10, 5, 4) == View(("01234", "5"), 1, "5", 0, 0)
    editor.feed(b"\x1b[A\x05", 0.0)
    assert editor.view(10, 5, 4) == View(("01234", "", "5"), 1, "", 0, 0)
    assert edited(b"").view(10, 5, 9) == View(("", ""), 1, "", 0, 0)


def test_a_row_ends_between_characters_as_people_see_them() -> None:
    family = "👨\u200d👩\u200d👧"  # counted as six cells, as some terminals show it
    assert edited(f"ab{family}c".encode()).view(11, 5, 5).rows == ("ab", f"{family}c")
    # Where it fits into no row it has to be broken.
    assert edited(family.encode()).view(7, 5, 4).rows == ("👨\u200d", "👩\u200d👧", "")


def test_where_not_even_a_wide_character_fits_nothing_is_shown() -> None:
    for columns in (-1, 0, 1, 4):
        assert edited(b"abc").view(columns, 5, 2) == View(("",), 0, "", 0, 0)
    assert edited("\u0301".encode()).view(5, 5, 5) == View(("", "\u0301"), 1, "\u0301", 0, 0)
    assert edited(b"abc").view(5, 5, 2) == View(("ab", "c"), 1, "c", 0, 0)


@given(nasty, st.integers(0, 400), st.integers(5, 90), st.integers(1, 9), st.integers(0, 99))
def test_every_view_fits_holds_the_cursor_and_is_the_harmless_text(
    text: str, moves: int, columns: int, rows: int, head_cells: int
) -> None:
    editor = edited(paste(text.encode(errors="replace").decode()) + b"\x02" * moves)
    view = editor.view(columns, rows, head_cells)
    assert 1 <= len(view.rows) <= rows
    assert view.rows[view.cursor_row].startswith(view.before)
    for index, row in enumerate(view.rows):
        head = head_cells if index + view.above == 0 else INDENT
        assert not row or head + cells_of(row) < columns
    head = head_cells if view.cursor_row + view.above == 0 else INDENT
    assert head + cells_of(view.before) < columns - 1 or not view.before
    assert not has_controls("".join(view.rows))
    # All of it, once there is room.
    whole = editor.view(columns, 1000, head_cells)
    assert (whole.above, whole.below) == (0, 0)
    assert whole.rows[view.above : view.above + len(view.rows)] == view.rows
    assert len(whole.rows) == view.above + len(view.rows) + view.below
    lines = harmless(editor.text, multiline=True)
    assert "".join(whole.rows) == lines.replace("\n", "")
    before = harmless(editor.text[: editor.cursor], multiline=True)
    upto = "".join(whole.rows[: whole.cursor_row]) + whole.before
    assert upto == before.replace("\n", "")
    # What is remembered of a view makes no difference to the next.
    assert editor.view(columns, rows, head_cells) == view


@pytest.mark.parametrize(
    "text",
    ["x" * 12_000, "Grüße, 世界 🙂 " * 900, "สวัสดี🇩🇪" * 1500, "\n" * 12_000, "é\u0301" * 6000],
)
def test_a_key_in_the_longest_text_is_shown_at_once(text: str) -> None:
    """A tenth of a second would be felt; it takes a tenth of that."""
    editor = edited(paste(text) + b"\x10\x01\x1bf")
    spent = []
    for key in (b"a", b"\x7f", b"\x06", b"\x1bb", b"b"):
        started = time.perf_counter()
        editor.feed(key, 0.0)
        editor.view(80, 10, 5)
        spent.append(time.perf_counter() - started)
    assert sorted(spent)[2] < 0.1


# ---------------------------------------------------------------- against a simple model


class Undo(NamedTuple):
    text: str
    cursor: int


class Model:
    """What the editor has to do to letters, spaces and line breaks, said once more and as
    plainly as possible."""

    def __init__(self) -> None:
        self.text, self.cursor = "", 0
        self.undos: list[Undo] = []
        self.killed, self.last = "", ""

    def press(self, key: str) -> None:
        last, self.last = self.last, ""
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        line_before, line_after = before.rpartition("\n")[2], after.partition("\n")[0]
        if key in ("a", "b", " ", "\n"):
            went_on = last == "type" and not (before[-1:].isspace() and not key.isspace())
            self.change(before + key, after, "type", went_on)
        elif key == "left":
            self.cursor = max(self.cursor - 1, 0)
        elif key == "right":
            self.cursor = min(self.cursor + 1, len(self.text))
        elif key == "home":
            self.cursor -= len(line_before)
        elif key == "end":
            self.cursor += len(line_after)
        elif key == "word_left":
            self.cursor = len(self.without_word(before))
        elif key == "word_right":
            self.cursor = len(self.text) - len(self.without_word(after[::-1]))
        elif key == "backspace":
            self.change(before[:-1], after, "backspace", last == "backspace", last)
        elif key == "delete":
            self.change(before, after[1:], "delete", last == "delete", last)
        elif key == "kill_line_before":
            self.kill(len(line_before) or len(before[-1:]), 0, last)
        elif key == "kill_line_after":
            self.kill(0, len(line_after) or len(after[:1]), last)
        elif key in ("kill_to_space", "kill_word_before"):
            self.kill(len(before) - len(self.without_word(before)), 0, last)
        elif key == "kill_word_after":
            self.kill(0, len(after) - len(self.without_word(after[::-1])), last)
        elif key == "yank":
            self.change(before + self.killed, after, "yank", False)
        elif key == "undo":
            while self.undos:
                text, cursor = self.undos.pop()
                if text != self.text:
                    self.text, self.cursor = text, cursor
                    break

    def without_word(self, before: str) -> str:
        return before.rstrip().rstrip("ab")

    def change(self, before: str, after: str, kind: str, went_on: bool, last: str = "") -> None:
        if before + after == self.text:
            self.last = last
            return
        if not went_on:
            self.undos.append(Undo(self.text, self.cursor))
        self.text, self.cursor, self.last = before + after, len(before), kind

    def kill(self, back: int, forth: int, last: str) -> None:
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        gone = before[len(before) - back :] + after[:forth]
        if gone:
            joined = self.killed + gone if forth else gone + self.killed
            self.killed = joined if last == "kill" else gone
        self.change(before[: len(before) - back], after[forth:], "kill", False, last)


MODEL_KEYS = {
    "a": b"a", "b": b"b", " ": b" ", "\n": b"\x1b\r", "left": b"\x02", "right": b"\x1b[C",
    "home": b"\x01", "end": b"\x05", "word_left": b"\x1bb", "word_right": b"\x1b[1;5C",
    "backspace": b"\x7f", "delete": b"\x1b[3~", "kill_line_before": b"\x15",
    "kill_line_after": b"\x0b", "kill_to_space": b"\x17", "kill_word_before": b"\x1b\x7f",
    "kill_word_after": b"\x1bd", "yank": b"\x19", "undo": b"\x1f",
}  # fmt: skip


@given(st.lists(st.sampled_from(list(MODEL_KEYS)), max_size=60))
def test_random_edits_do_what_a_simple_model_says(names: list[str]) -> None:
    editor, model = LineEditor(), Model()
    for name in names:
        editor.feed(MODEL_KEYS[name], 0.0)
        model.press(name)
        assert state(editor) == (model.text, model.cursor), name


@given(st.lists(st.sampled_from([name for name in MODEL_KEYS if name != "undo"]), max_size=60))
def test_undo_goes_back_to_the_beginning_through_former_texts_only(names: list[str]) -> None:
    editor = LineEditor()
    former = [""]
    for name in names:
        editor.feed(MODEL_KEYS[name], 0.0)
        former.append(editor.text)
    # What is between is reached in this order, some of it in one step.
    while former:
        while former and former[-1] != editor.text:
            former.pop()
        assert former, editor.text
        if editor.text == "" and not editor._buffer._undo:
            break
        editor.feed(b"\x1f", 0.0)
    assert editor.text == ""
