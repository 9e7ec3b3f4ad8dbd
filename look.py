"""The look of a post: who said it, and what is marked in what was said, as rich texts.

    `code`  *emphasis*  https://...  @name  and what somebody searched for

Marks are shown, not swallowed: what is on the screen is, letter for letter, what was sent (once
`harmless`), so nothing can be hidden in markup, a link leads where it says, and what is copied
is what was written. A colour or a style never is the only sign of anything.

Lives here: styles. Never here: layout, escape codes, times, any import of another module of
selchat but text. Imported only where something is drawn, because rich costs every start 60 ms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from rich.style import Style
from rich.text import Text

from text import Names, harmless, short_name

# Of the 256 colours twelve of many hues, each with a contrast of 3.7 or more on black and on
# white (computed as in WCAG 2.1; a test does it again).
COLOURS = (27, 28, 30, 32, 64, 98, 100, 130, 133, 161, 164, 166)
# Of the 16 those that no common palette makes unreadable on black or on white.
FEW_COLOURS = ("red", "green", "magenta", "cyan")
ACTION = "/me "  # a post that begins so tells what its author does
# What a browser opens as it stands: ASCII, so that no letter can pass for another. The longest
# that all browsers take is 2,048 characters.
_LINK = r"https?://[!-~]{1,2048}+(?!\w)"
# Each mark ends at the next of its kind, or is none: the search never goes back.
_MARKED = re.compile(
    rf"(?P<code>`[^`\n]+`)|(?P<link>\b{_LINK})|(?P<emphasis>(?<![\w*])\*(?![\s*])[^*\n]*(?<!\s)\*(?![\w*]))"
)
MAX_MARKS = 100  # of each kind in a post, which drawn are a millisecond; what follows stays plain
_CODE, _EMPHASIS = Style(color="color(30)"), Style(italic=True)
# Ink on paper, turned round: light on dark, whatever colours the terminal has.
_FIGURE = Style.parse("bright_white on black")
_MENTION, _FOUND = Style(bold=True, reverse=True), Style(reverse=True)


def figure(row: str) -> Text:
    """One row of a picture that is made of blocks."""
    return Text(row, _FIGURE)


class Look:
    """How posts look to one person."""

    def __init__(
        self, names: Names, name: str, *, colours: bool = True, links: bool = True
    ) -> None:
        """`name`: this person's own. `colours`: whether there are more than 16. `links`: whether
        the terminal can do with links (OSC 8)."""
        self._names = names
        self._colours, self._links = colours, links
        self.rename(name)

    def rename(self, name: str) -> None:
        """This person is called so from here on."""
        name = re.escape(short_name(name))
        # At the start also as people have always begun: "bob: ..."
        self._mention = (
            re.compile(rf"(?<!\w)@{name}(?!\w)|\A{name}(?=[:,]\s)", re.I) if name else None
        )

    def mentions(self, text: str) -> bool:
        """Whether a post is addressed to this person."""
        return self._mention is not None and self._mention.search(text) is not None

    def who(self, name: str, member: str, *, own: bool = False) -> Text:
        colours = COLOURS if self._colours else FEW_COLOURS
        colour = colours[sum(map(ord, member)) % len(colours)]
        style = f"bold{' underline' * own} {f'color({colour})' if self._colours else colour}"
        return Text().append(self._names.label_of(name, member), style)

    def post(
        self,
        name: str,
        member: str,
        text: str,
        *,
        own: bool,
        private: bool,
        past: bool = False,
        found: Iterable[str] = (),
    ) -> Text:
        """`past`: it was said before. `found`: words to be highlighted."""
        line = self.who(name, member, own=own)
        if private:
            line.append(" (private)", "dim")
        if text.startswith(ACTION):
            line = Text("✶ ").append_text(line).append(" ")
            text = text[len(ACTION) :]
        else:
            line.append(" › " if own else ": ")
        start = len(line)
        text = harmless(text, multiline=True)
        line.append(text, "dim" if past else "")
        self._mark(line, text, start, own=own)
        for word in found:
            for match in _first(re.compile(re.escape(harmless(word)), re.I), text):
                line.stylize(_FOUND, start + match.start(), start + match.end())
        return line

    def _mark(self, line: Text, text: str, start: int, *, own: bool) -> None:
        for match in _first(_MARKED, text):
            kind, begin, end = match.lastgroup, match.start(), match.end()
            if kind == "link":
                end = begin + len(_without_punctuation(match[0]))
                style = Style(underline=True, link=text[begin:end] if self._links else None)
            else:
                style = _CODE if kind == "code" else _EMPHASIS
            line.stylize(style, start + begin, start + end)
        if self._mention is not None and not own:
            for match in _first(self._mention, text):
                line.stylize(_MENTION, start + match.start(), start + match.end())


def _first(marks: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    return islice(marks.finditer(text), MAX_MARKS)


def _without_punctuation(link: str) -> str:
    """What ends a sentence, or closes a bracket that was opened before, is not part of it."""
    link = link.rstrip(".,;:!?'\"*`")
    return link.rstrip(")") if "(" not in link else link
