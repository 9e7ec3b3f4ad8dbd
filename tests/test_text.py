"""Nothing from the network controls a terminal; names are told apart."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import text as text_module
from lookalikes import fold
from tests.shown import (
    ALICE,
    has_controls,
    nasty,
)
from text import Names, break_rows, cells_of, clusters, edges, harmless, label


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
    assert harmless("ش" + "\u200d" * 900) == "ش" + "\u200d" * 4 + "\ufffd"


@pytest.mark.parametrize("hidden", "\u034f\u180b\u200c\u200d\ufe00\ufe0f\U000e0100")
def test_what_can_not_be_seen_is_shown_where_it_has_no_use(hidden: str) -> None:
    for before in ("", "a", "e\u0301", "\n", "; "):
        shown = harmless(before + hidden + "b", multiline=True)
        assert shown == before + "\ufffd" + "b"


def test_the_quick_look_passes_nothing_that_the_close_look_would_replace() -> None:
    for code in range(0x110000):
        character = chr(code)
        if not text_module._suspicious().search(character):
            assert text_module._stand_in(character) == character
            assert not text_module._is_mark(character)


@given(nasty)
def test_no_text_keeps_a_control_character(text: str) -> None:
    assert not has_controls(harmless(text))
    assert not has_controls(harmless(text, multiline=True), allowed="\n")
    harmless(text).encode()  # no surrogate is left
    assert harmless(harmless(text)) == harmless(text)


@pytest.mark.parametrize(
    "cluster",
    [
        "a", "世", "🙂", "\t", "\n", "e\u0301", "e\u0301\u0323", "❤\ufe0f", "1\ufe0f\u20e3", "👍🏽",
        "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "🙂\u200d↔\ufe0f", "🏃🏽\u200d♀\ufe0f", "🇩🇪", "한",
        "\u1112\u1161\u11ab", "\u1112\u1112\u1161", "\u1112가", "น้ำ"[:2], "क्", "\u0301",
    ],
)  # fmt: skip
def test_what_a_person_sees_as_one_character_is_one(cluster: str) -> None:
    for before in ("", "x", "🙂", "🇫🇷", "\n", "\t"):
        if cluster != "\u0301" or before in ("", "\n"):
            assert clusters(before + cluster + "x")[-2:] == [cluster, "x"]


def test_flags_in_a_row_are_told_apart() -> None:
    assert clusters("🇩🇪🇫🇷🇬") == ["🇩🇪", "🇫🇷", "🇬"]
    assert clusters("🇬x🇩🇪") == ["🇬", "x", "🇩🇪"]


def test_a_joiner_joins_no_letters() -> None:
    assert clusters("می\u200cخو") == ["م", "ی\u200c", "خ", "و"]
    assert clusters("क्\u200dष") == ["क्\u200d", "ष"]


def test_ordinary_text_is_cut_at_each_character() -> None:
    assert clusters("Grüße 世界\n🙂") == list("Grüße 世界\n🙂")
    assert clusters("") == []


def test_the_quick_look_for_clusters_overlooks_none() -> None:
    for code in range(0x110000):
        character = chr(code)
        if not text_module._joining().search(character):
            for before in ("a", "🙂", "\t", "\ufeff"):
                assert not text_module._join(before, character)


@given(nasty)
def test_clusters_are_the_text_and_none_begins_with_a_mark(text: str) -> None:
    found = clusters(text)
    assert "".join(found) == text and "" not in found
    for before, after in pairwise(found):
        assert before == "\n" or not text_module._is_mark(after[0])
        assert "\n" not in before or before == "\n"
    assert sorted(set(edges(text))) == list(edges(text))


@given(nasty)
def test_where_a_text_is_cut_it_is_harmless_in_the_same_way(text: str) -> None:
    for multiline in (False, True):
        whole = harmless(text, multiline=multiline)
        assert "".join(harmless(part, multiline=multiline) for part in clusters(text)) == whole


@pytest.mark.parametrize(
    "text", ["🇩", "🇩🇪", "1\ufe0f\u20e3", "❤\ufe0f", "👍🏽", "\u1112\u1161\u11ab"]
)
def test_what_some_terminal_shows_two_cells_wide_has_two_cells_at_least(text: str) -> None:
    assert cells_of(text) >= 2


def test_a_name_is_shown_as_it_is() -> None:
    assert label("user1", ALICE) == "user1"
    assert label("user1", ALICE, 4) == "user1~a1a1"


@pytest.mark.parametrize("name", ["", "   ", "\xa0\u3000", "\u200d\u200d", "\u2800", "\ufe0f"])
def test_a_name_with_nothing_to_see_has_a_stand_in_with_the_id(name: str) -> None:
    assert label(name, ALICE) == "(no name)~a1a1"


def test_a_name_is_cut_by_cells_and_not_by_characters() -> None:
    assert label("x" * 24, ALICE) == "x" * 24
    assert label("x" * 25, ALICE) == "x" * 23 + "…"
    assert label("世" * 13, ALICE) == "世" * 11 + "…"
    assert label("x" * 10_000, ALICE, 4) == "x" * 23 + "…~a1a1"


def test_a_name_can_not_pose_as_another_members_label() -> None:
    assert label("bob~b2b2", ALICE) == "bob~b2b2~a1a1"


@pytest.mark.parametrize(
    "name",
    [
        *("bob~lalb", "bob∼1a2b", "bob\uff5e1a2b", "bob~ 1a2b", "bob~1a2b3c4d"),
        *("bob~1a2b.", "bob~1a2b \u2713", "bob~\xb71a2b", "bob~1a2b: no"),
        *("bob\u02dc1a2b", "bob\u223d1a2b", "bob \u03031a2b", "bob\u30301a2b"),
    ],
)
def test_nor_can_one_that_only_looks_like_a_label(name: str) -> None:
    assert label(name, ALICE).endswith("~a1a1")


@pytest.mark.parametrize("colon", [":", "\u2236", "\ua789", "\uff1a", "\u02d0", "\u05c3"])
def test_nothing_in_a_name_looks_like_its_end_and_the_beginning_of_a_text(colon: str) -> None:
    assert label(f"bob{colon} I agree", ALICE) == "bob\ufffd I agree"
    assert label(f"bob{colon}", ALICE) == "bob\ufffd"
    assert label(f"12{colon}30", ALICE) == f"12{colon}30"


BOB, TWIN, OTHER_TWIN = "b2" * 32, "b2b2" + "c" * 60, "b2b2c" + "d" * 59


def called(*known: tuple[str, str]) -> list[str]:
    names = Names()
    for name, member in known:
        names.label_of(name, member)
    return [names.label_of(name, member) for name, member in known]


def test_two_whose_names_look_alike_are_told_apart_by_their_ids() -> None:
    assert called(("bob", BOB), ("Bob", ALICE)) == ["bob~b2b2", "Bob~a1a1"]
    assert called(("bob", BOB), ("bоb", ALICE)) == ["bob~b2b2", "bоb~a1a1"]
    assert called(("Ian", BOB), ("lan", ALICE)) == ["Ian~b2b2", "lan~a1a1"]
    assert called(("Ian", BOB), ("Lan", ALICE)) == ["Ian", "Lan"]


def test_a_key_made_to_begin_like_another_is_told_apart_by_more_digits() -> None:
    assert called(("bob", BOB), ("bob", TWIN)) == ["bob~b2b2b", "bob~b2b2c"]
    assert called(("bob", BOB), ("bob", TWIN), ("bob", OTHER_TWIN), ("bob", ALICE)) == [
        "bob~b2b2b",
        "bob~b2b2cc",
        "bob~b2b2cd",
        "bob~a1a1",
    ]
    assert called(("", BOB), ("\u200d", TWIN)) == ["(no name)~b2b2b", "(no name)~b2b2c"]


def test_of_a_crowd_with_one_name_each_shows_more_of_its_id_than_anybody_can_choose() -> None:
    names = Names()
    for number in range(3 * text_module.CROWD):
        names.label_of("bob", f"b2b2{number:060x}")
    assert names.label_of("bob", BOB) == "bob~" + BOB[: text_module.CROWD_DIGITS]
    assert len(names._alike["fold bob"]) == text_module.CROWD + 1
    shown = {names.label_of("bob", f"b2b2{n:060x}") for n in range(text_module.CROWD)}
    assert len(shown) == text_module.CROWD


def test_who_was_known_before_thousands_of_names_came_is_not_posed_as_after_them() -> None:
    names = Names()
    assert names.label_of("bob", BOB) == "bob"
    for number in range(2 * text_module.NAMES):
        names.label_of(f"name {number}x", f"{number:064x}")
    assert names.label_of("bob", BOB) == "bob"
    assert names.label_of("bob", ALICE) == "bob~a1a1"
    assert names.label_of("bob", BOB) == "bob~b2b2"
    assert names.label_of("new", ALICE) == "new~a1a1a1a1a1a1a1a1"


look_alikes = st.text(st.sampled_from("bоo0Il1|~ab2"), min_size=1, max_size=6)
ids = st.text(st.sampled_from("ab2"), min_size=64, max_size=64)


@given(st.lists(st.tuples(look_alikes, ids), max_size=8))
def test_no_two_members_ever_have_labels_that_look_alike(known: list[tuple[str, str]]) -> None:
    shown: dict[str, str] = {}
    for (name, member), each in zip(known, called(*known), strict=True):
        assert shown.setdefault(fold(each), member) == member, (name, each)


@given(nasty, st.sampled_from([0, 4]))
def test_no_name_keeps_a_control_character_or_outgrows_its_cells(name: str, digits: int) -> None:
    shown = label(name, ALICE, digits)
    assert not has_controls(shown)
    assert shown.strip()
    assert text_module.cells_of(shown) <= text_module.NAME_CELLS + len("~a1a1")


@given(st.text(st.sampled_from("x y  "), max_size=60), st.integers(1, 20))
def test_plain_text_is_broken_where_all_other_text_is(line: str, cells: int) -> None:
    assert break_rows(line, cells) == break_rows(line.replace("x", "é"), cells)


def rows_of(line: str, cells: int) -> list[str]:
    return [line[start:end] for start, end in pairwise([0, *break_rows(line, cells), len(line)])]


@pytest.mark.parametrize(
    ("line", "cells", "rows"),
    [
        ("one two three", 8, ["one two ", "three"]),
        ("one two", 7, ["one two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("世界", 3, ["世", "界"]),
        ("ab 👩\u200d👩\u200d👧!", 6, ["ab ", "👩\u200d👩\u200d👧", "!"]),
        ("abc👩\u200d👩", 6, ["abc", "👩\u200d👩"]),
        ("👩\u200d👩\u200d👧", 4, ["👩\u200d👩\u200d", "👧"]),
    ],
)
def test_a_line_is_broken_after_spaces_and_inside_of_no_character_that_fits_a_row(
    line: str, cells: int, rows: list[str]
) -> None:
    assert rows_of(line, cells) == rows


broken = st.text(st.sampled_from("ab  世é\u0301\u200d👩🏽🇩❤\ufe0f"), max_size=40)


@given(broken, st.integers(2, 12))
def test_all_rows_of_a_line_fit_and_tear_no_character_that_could_be_whole(
    line: str, cells: int
) -> None:
    rows = rows_of(line, cells)
    assert "".join(rows) == line
    assert all(cells_of(row.rstrip(" ")) <= cells for row in rows)
    at = 0
    for row in rows[:-1]:
        at += len(row)
        part = next((p for p in pairwise(edges(line)) if p[0] < at < p[1]), None)
        assert part is None or cells_of(line[part[0] : part[1]]) > cells
