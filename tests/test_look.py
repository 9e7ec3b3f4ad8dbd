"""What a post looks like: marked, but letter for letter what was sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from rich.style import Style
from rich.text import Text

import look
from look import COLOURS, Look
from tests.shown import ALICE, BOB, nasty
from text import Names, harmless


def looks(text: str, *, name: str = "me", own: bool = False, **more: bool) -> Text:
    return Look(Names(), name, **more).post("bob", BOB, text, own=own, private=False)


def styled(line: Text) -> list[tuple[str, str]]:
    """What has a style, and which."""
    return [(line.plain[span.start : span.end], str(span.style)) for span in line.spans][1:]


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("nothing at all", []),
        ("say *this* and `that *thing*`", ["*this*", "`that *thing*`"]),
        ("2*3*4, a * b * c, ** and *", []),
        ("`not closed", []),
        ("*over\nlines*", []),
        ("see https://example.com/a?b=c.", ["https://example.com/a?b=c"]),
        ("(http://example.com/x_(y)) yes", ["http://example.com/x_(y))"]),
        ("(http://example.com/)", ["http://example.com/"]),
        ("http://exämple.com http://a" + "b" * 3000, []),
        ("ftp://example.com javascript:alert(1) xhttp://no", []),
        ("@me: hello @Me, @meow and me@me", ["@me", "@Me"]),
        ("me: hello", ["me"]),
        ("mean: hello", []),
    ],
)
def test_marks_links_and_mentions_are_found_and_nothing_else(text: str, marked: list[str]) -> None:
    line = looks(text)
    assert line.plain == f"bob: {text}"
    assert [part for part, _ in styled(line)] == marked


def test_a_link_leads_where_it_says() -> None:
    line = looks("go to https://example.com/x now")
    (link,) = [
        span.style for span in line.spans if isinstance(span.style, Style) and span.style.link
    ]
    assert isinstance(link, Style)
    assert link.link == "https://example.com/x"
    assert not any(
        isinstance(span.style, Style) and span.style.link
        for span in looks("https://example.com/x", links=False).spans
    )


def test_a_mention_of_oneself_is_one_for_others_and_not_in_ones_own_post() -> None:
    one = Look(Names(), "O'Neil (home)")
    assert one.mentions("hi @o'neil (HOME)!")
    assert not one.mentions("hi @o'neil")
    assert not Look(Names(), "").mentions("hi @ you")
    assert styled(looks("@me", own=True)) == []
    one.rename("bob")
    assert one.mentions("bob, are you there?")


def test_who_tells_what_he_does_is_shown_so() -> None:
    assert looks("/me waves").plain == "✶ bob waves"
    assert looks("/mean").plain == "bob: /mean"


def test_what_was_searched_for_is_marked_wherever_it_stands() -> None:
    line = Look(Names(), "me").post(
        "bob", BOB, "Hello hello (x)", own=False, private=False, found=["hello", "(x)"]
    )
    assert [part for part, _ in styled(line)] == ["Hello", "hello", "(x)"]


def test_terminals_of_few_colours_get_those_that_all_can_read() -> None:
    one = Look(Names(), "me", colours=False)
    styles = {str(one.who("bob", f"{number:064x}").spans[0].style) for number in range(64)}
    assert styles == {f"bold {colour}" for colour in look.FEW_COLOURS}


def test_every_colour_of_a_name_is_readable_on_black_and_on_white() -> None:
    levels = [0, 95, 135, 175, 215, 255]

    def light(level: int) -> float:
        return ((level / 255 + 0.055) / 1.055) ** 2.4 if level > 10 else level / 255 / 12.92

    for colour in COLOURS:
        cube = colour - 16
        red, green, blue = levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6]
        luminance = 0.2126 * light(red) + 0.7152 * light(green) + 0.0722 * light(blue)
        assert (luminance + 0.05) / 0.05 > 3.7
        assert 1.05 / (luminance + 0.05) > 3.7


@given(nasty, nasty)
def test_whatever_is_sent_stands_there_letter_for_letter(text: str, name: str) -> None:
    line = Look(Names(), name).post(name, ALICE, text, own=False, private=False)
    shown = harmless(text.removeprefix("/me "), multiline=True)
    assert line.plain.endswith(shown)
