"""Names that a person takes for one another have a key in common, and others have none."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lookalikes
from lookalikes import fold, keys, shape


def look_alike(one: str, other: str) -> bool:
    return not set(keys(one)).isdisjoint(keys(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bob", "Bob"),
        ("bob", "BOB"),
        ("bob", "bób"),
        ("bob", "b\u0336o\u0336b\u0336"),
        ("bob", "b\u20ddob"),
        ("bob", "bo\u200bb"),
        ("bob", "bob\ufe0f"),
        ("bob", "bob\u3164"),
        ("bob", "\xa0bob "),
        ("bob", "bоb"),  # Cyrillic
        ("bob", "ВОВ"),  # Cyrillic, all of it
        ("bob", "bοb"),  # Greek
        ("bob", "ｂｏｂ"),
        ("bob", "𝐛𝐨𝐛"),
        ("bob", "ⓑⓞⓑ"),
        ("bob", "ʙᴏʙ"),
        ("bob", "ɓøƀ"),
        ("bob", "b0b"),
        ("Bob", "B0B"),
        ("admin", "аdmіn"),
        ("alice", "al\u0131ce"),
        ("apple", "аррӏе"),  # Cyrillic, all of it
        ("bob~1a2b", "bob\u02dc1a2b"),
        ("alice", "a1ice"),
        ("alice", "aIice"),
        ("Ian", "lan"),
        ("Ian", "|an"),
        ("OO7", "007"),
        ("modern", "modem"),
        ("wave", "vvave"),
        ("đorđe", "dorde"),
        ("Łukasz", "lukasz"),
        ("weiß", "WEISS"),
        ("æon", "ӕon"),
        ("user-1", "user–1"),
        ("o'neil", "o’neil"),
        ("bob x", "bob\u2003 x"),
        ("Нина", "нина"),
        ("Νίκος", "ΝΙΚΟΣ"),
        ("Νίκος", "νίκος"),
        ("Nikos", "Νikos"),  # its N is Greek
        ("Пётр", "Πётр"),  # its P is Greek
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
        ("שָׁלוֹם", "שלום"),
    ],
)
def test_names_that_look_alike_have_a_key_in_common(one: str, other: str) -> None:
    assert look_alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bob", "rob"),
        ("bob", "bobby"),
        ("bob", "bob2"),
        ("Ian", "Lan"),
        ("user1", "user2"),
        ("anna", "anne"),
        ("राम", "रोम"),  # vowels of Hindi
        ("かき", "がき"),  # voiced in Japanese
        ("ขาว", "ข่าว"),  # tones of Thai
        ("世界", "世間"),
        ("🙂", "🙃"),
        ("Ольга", "Игорь"),
        ("a b", "ab"),
    ],
)
def test_names_that_differ_have_none(one: str, other: str) -> None:
    assert not look_alike(one, other)


def test_the_keys_are_what_the_header_says() -> None:
    assert {fold(name) for name in ("Bob", "bob", "bób", "b0b", "bоb")} == {"bob"}
    assert (shape("Ian"), shape("lan"), shape("Lan")) == ("lan", "lan", "Lan")
    assert (shape("1O0|I"), shape("rn vv VV")) == ("lOOll", "m w W")
    assert keys("bob") == ("fold bob", "shape bob")
    assert keys("Νίκος") == ("fold nikoσ", "fold vikoo", "shape Nikoς")
    assert keys("") == ("fold ", "shape ")


def test_the_table_leads_from_letters_outside_of_ascii_to_simpler_ones_in_one_step() -> None:
    table = lookalikes._table()
    assert len(table) > 400
    for odd, simple in table.items():
        assert not odd.isascii()
        assert simple and simple.isprintable() and len(simple) <= 2
        assert all(table.get(letter, letter) == letter for letter in simple), odd
        # What NFKD takes apart before would never be looked up.
        assert unicodedata.normalize("NFKD", odd) == odd


@given(st.text())
def test_whatever_the_name_its_keys_are_few_and_of_one_line(name: str) -> None:
    found = keys(name)
    assert 2 <= len(found) <= 3
    assert all(len(key.splitlines()) == 1 for key in found)


@given(st.text(st.characters(categories=("L", "N")), max_size=20))
def test_neither_marks_nor_what_is_invisible_make_another_name(name: str) -> None:
    marked = "".join(f"{letter}\u0301\u200d" for letter in name)
    assert look_alike(name, marked)


@given(st.text(max_size=20))
def test_a_name_in_full_width_looks_like_itself(name: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name)
    assert look_alike(name, wide)
