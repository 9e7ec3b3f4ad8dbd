"""Nothing from the network controls a terminal; names are told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import text as text_module
from tests.shown import (
    ALICE,
    has_controls,
    nasty,
)
from text import harmless, label


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
