"""Bytes become keys, wherever a read ends; nothing unknown leaves anything behind."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys as keys_module
from keys import KeyReader, Pasted, Pressed, Stroke, Typed
from tests.shown import keyboard


def read(*pieces: bytes) -> list[Stroke]:
    """What one reader makes of it all, with neighbouring pieces of text as one."""
    reader, strokes = KeyReader(), list[Stroke]()
    for piece in pieces:
        strokes += reader.feed(piece, 0.0)
    return joined(strokes)


def joined(strokes: list[Stroke]) -> list[Stroke]:
    found: list[Stroke] = []
    for stroke in strokes:
        last = found[-1] if found else None
        if isinstance(stroke, Typed) and isinstance(last, Typed):
            found[-1] = Typed(last.text + stroke.text)
        elif isinstance(stroke, Pasted) and isinstance(last, Pasted):
            found[-1] = Pasted(last.text + stroke.text)
        else:
            found.append(stroke)
    return found


def names(data: bytes) -> list[str]:
    return [stroke.name for stroke in read(data) if isinstance(stroke, Pressed)]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\r", "enter"),
        (b"\n", "enter"),
        (b"\r\n", "enter"),
        (b"\t", "tab"),
        (b"\x1b[Z", "shift-tab"),
        (b"\x7f", "backspace"),
        (b"\x08", "backspace"),
        (b"\x00", "ctrl-@"),
        (b"\x01", "ctrl-a"),
        (b"\x1a", "ctrl-z"),
        (b"\x1f", "ctrl-_"),
        (b"\x1b[A", "up"),
        (b"\x1bOA", "up"),
        (b"\x1b[1;1A", "up"),
        (b"\x1b[1;2A", "up"),
        (b"\x1b[a", "up"),
        (b"\x1b[H", "home"),
        (b"\x1bOH", "home"),
        (b"\x1b[1~", "home"),
        (b"\x1b[7~", "home"),
        (b"\x1b[4~", "end"),
        (b"\x1b[8~", "end"),
        (b"\x1b[3~", "delete"),
        (b"\x1b[3;5~", "ctrl-delete"),
        (b"\x1b[3^", "ctrl-delete"),
        (b"\x1b[1;5C", "ctrl-right"),
        (b"\x1b[5C", "ctrl-right"),
        (b"\x1bO5C", "ctrl-right"),
        (b"\x1bOc", "ctrl-right"),
        (b"\x1b[1;6C", "ctrl-right"),
        (b"\x1b[1;3D", "alt-left"),
        (b"\x1b[1;9D", "alt-left"),
        (b"\x1b\x1b[D", "alt-left"),
        (b"\x1b\x1bOd", "ctrl-alt-left"),
        (b"\x1b[1;7D", "ctrl-alt-left"),
        (b"\x1bb", "alt-b"),
        (b"\x1bB", "alt-b"),
        (b"\x1b\r", "alt-enter"),
        (b"\x1b\r\n", "alt-enter"),
        (b"\x1b\x7f", "alt-backspace"),
        (b"\x1b\x08", "alt-backspace"),
    ],
)
def test_what_terminals_send_for_a_key_is_that_key(data: bytes, name: str) -> None:
    assert read(b"a" + data + b"z") == [Typed("a"), Pressed(name), Typed("z")]


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b[15~", b"\x1b[2~", b"\x1b[3$", b"\x1bOP", b"\x1bO1;5P", b"\x1b[[A", b"\x1b[1;5P",
        b"\x1b[<0;10;20M", b"\x1b[?1;2c", b"\x1b[27;5;13~", b"\x1b[13;5u", b"\x1b[?2026;2$y",
        b"\x1b[12;34R", b"\x1b[~", b"\x1b[1;2;3C", b"\x1b[I", b"\x9b", b"\xc2\x9b",
    ],
)  # fmt: skip
def test_an_unknown_sequence_leaves_nothing_behind(sequence: bytes) -> None:
    assert joined([s for s in read(b"a" + sequence + b"z") if s != Typed("\ufffd")]) in (
        [Typed("az")],
        [Typed("a\ufffdz")],  # a byte that is no UTF-8 is seen
    )


def test_a_bad_byte_is_a_replacement_character() -> None:
    assert read(b"a\xff\xc3b\xe4\xb8\r") == [Typed("a\ufffd\ufffdb\ufffd"), Pressed("enter")]


def test_an_endless_sequence_is_given_up() -> None:
    [text] = read(b"\x1b[" + b"1" * 1000)
    assert isinstance(text, Typed)
    assert len(text.text) == 1000 - keys_module.SEQUENCE_CHARACTERS - 1


def test_a_control_key_breaks_a_sequence_off_and_counts() -> None:
    assert names(b"\x1b[\r") == ["enter"]
    assert names(b"\x1b[1\x03") == ["ctrl-c"]
    assert names(b"\x1b\x03") == ["ctrl-c"]
    assert read("\x1b[1é".encode()) == [Typed("é")]
    assert names(b"\x1b[1\x1b[A") == ["up"]


def test_a_lone_escape_is_a_key_once_its_deadline_is_over() -> None:
    reader = KeyReader()
    assert reader.deadline() is None
    assert reader.feed(b"\x1b", 10.0) == []
    assert reader.deadline() == 10.0 + keys_module.ESC_TIMEOUT_S
    assert reader.expire(10.01) == []
    assert reader.expire(10.1) == [Pressed("escape")]
    assert reader.deadline() is None and reader.expire(99.0) == []
    assert reader.feed(b"[A", 10.2) == [Typed("[A")]


def test_an_old_escape_swallows_no_key_even_if_nobody_called_expire() -> None:
    reader = KeyReader()
    reader.feed(b"\x1b", 10.0)
    assert reader.feed(b"x", 11.0) == [Pressed("escape"), Typed("x")]


def test_a_sequence_may_take_its_time_once_it_is_one() -> None:
    reader = KeyReader()
    reader.feed(b"\x1b", 10.0)
    assert reader.feed(b"[", 10.04) == []
    assert reader.deadline() is None
    assert reader.feed(b"D", 12.0) == [Pressed("left")]


def test_a_paste_is_text_with_its_line_breaks_and_tabs() -> None:
    pasted = b"a\r\nb\rc\nd\te\x15\x04\x7f\x00\x1b[Df\x1bg\xc2\x9b"
    assert read(b"\x1b[200~" + pasted + b"\x1b[201~z") == [
        Pressed("paste"),
        Pasted("a\nb\nc\nd\tefg"),
        Typed("z"),
    ]


def test_an_escape_in_a_paste_waits_for_the_rest_however_long() -> None:
    reader = KeyReader()
    reader.feed(b"\x1b[200~a\x1b", 10.0)
    assert reader.deadline() is None
    assert reader.feed(b"[201~b", 99.0) == [Typed("b")]


def test_a_paste_that_never_ends_is_left_by_ctrl_c_or_a_reset() -> None:
    assert read(b"\x1b[200~a\x03b") == [
        Pressed("paste"),
        Pasted("a"),
        Pressed("ctrl-c"),
        Typed("b"),
    ]
    reader = KeyReader()
    reader.feed(b"\x1b[200~a\x1b[", 0.0)
    assert reader.pasting
    reader.reset()
    assert not reader.pasting
    assert reader.feed(b"A", 0.0) == [Typed("A")]


@given(keyboard, st.lists(st.integers(0, 200)))
def test_where_a_read_ends_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[a:b] for a, b in pairwise(places)]
    assert read(*pieces) == read(data)
    assert read(*(bytes([byte]) for byte in data)) == read(data)


@given(keyboard)
def test_no_text_holds_a_control_but_the_breaks_and_tabs_of_a_paste(data: bytes) -> None:
    for stroke in read(data):
        if isinstance(stroke, Typed | Pasted):
            assert stroke.text
            kept = stroke.text
            if isinstance(stroke, Pasted):
                kept = kept.replace("\n", "").replace("\t", "")
            assert not [each for each in kept if each < " " or "\x7f" <= each <= "\x9f"]
