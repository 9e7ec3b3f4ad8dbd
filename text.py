"""Text that is safe to show: what is harmless, how wide it is, where one character of it
ends and the next begins, what a member is called.

Every string from the network, a file or the command line passes `harmless()` before it
gets near a terminal. What it replaces, it shows that something was there.

Never here: escape sequences of our own, layout, any import of another module of selchat but
lookalikes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

from lookalikes import fold, keys

NAME_CELLS = 24  # under a third of the classic 80 columns: most of a row is the text's
NAME_CHARACTERS = 256  # 24 cells with 4 marks on each are 120; no longer name is looked at
NAMES = 2048  # twice as many as have receipts, and more than one room has talking; 2 MB at most
# Of an id so many digits are shown where names look alike: as many as one sees at a glance.
DIGITS = 4
# Members with one look whose ids are told apart digit by digit. Of any more, and of those whose
# names come when NAMES are known, so many digits are shown: 64 bits, for which nobody finds a key.
CROWD = 64
CROWD_DIGITS = 16
NO_NAME = "(no name)"
MARKS = 4  # Vietnamese and pointed Hebrew stack 2 or 3; above 4 it is decoration

REPLACEMENT = "\ufffd"
# The big runs of letters and symbols that hold nothing but visible, assigned characters:
# whoever writes with these alone is not looked at character by character.
_ORDINARY = (
    " -~\xa0-\xac\xae-\u02ff\u03a3-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e"
    "\u2190-\u2426\u2460-\u2b73\u3041-\u3096\u309b-\u30ff\u4e00-\u9fa5\uac00-\ud7a3"
    "\uff01-\uff9f\U0001f300-\U0001f64f"
)
_FLAGS = "[\U0001f1e6-\U0001f1ff]{3,}"  # more than one, without a space
_EMOJI_PARTS = "\u200c\u200d"  # joiners: category Cf, yet needed by emoji, Persian, Hindi
_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters by category, but nothing is to be seen
# What a name may hold without anybody seeing it; two names that differ by it look the same.
_INVISIBLE = (
    "[\u034f\u17b4\u17b5\u180b-\u180d\u180f\u200c\u200d\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# What in a name could pass for a label with an id, as `fold` shows it.
_POSES = r"~\W{0,2}\w{4}"
# Where a name seems to end and a text to begin, "bob: I agree"; with what looks like a colon.
_SPEAKS = (
    "[:\u02d0\u02f8\u0589\u05c3\u0703\u0704\u0903\u0a83\u16ec\u1803\u1809\u205a\u2236\ua789\ufe13\ufe30"
    "\ufe55\uff1a](?=\\s|\\Z)"
)


_CLEAN = bytes(range(0x20, 0x7F))
_CLEAN_LINES = _CLEAN + b"\n"
_LONG = 256  # characters: from here on it pays to look at them as bytes


# Compiled when there is a text that is not ASCII: that takes 4 ms, which no start should pay. (For
# the others above, 3 ms together, `re` sees to that itself: they are texts up to their first use.)
@lru_cache(maxsize=1)
def _suspicious() -> re.Pattern[str]:
    return re.compile(f"[^{_ORDINARY}]")


@lru_cache(maxsize=1)
def _joining() -> re.Pattern[str]:
    """What may join with what is before it. Of the ordinary ones, only skin tones do so alone."""
    return re.compile(f"[^\n\t{_ORDINARY}]|[\U0001f3fb-\U0001f3ff]")


@lru_cache(maxsize=4096)  # the characters of a few scripts; a hostile text can't make it grow
def _stand_in(character: str) -> str:
    """The character itself, or what says that something else was there."""
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if character in _EMOJI_PARTS:
        return character
    category = unicodedata.category(character)
    if category == "Cn" and 0x1F300 <= code <= 0x1FAFF:
        return character  # an emoji younger than this Python
    if category in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp") or character in _FILLERS:
        return REPLACEMENT
    return character


@lru_cache(maxsize=4096)
def _is_mark(character: str) -> bool:
    """Whether it is drawn onto the character before it, or not at all."""
    if character in _EMOJI_PARTS or "\u1160" <= character <= "\u11ff":  # Hangul vowels, finals
        return True
    return "\ud7b0" <= character <= "\ud7ff" or unicodedata.category(character)[0] == "M"


@lru_cache(maxsize=4096)
def _is_pictogram(character: str) -> bool:
    """Whether a joiner before it makes one emoji of both: more than Unicode's list, which
    Python does not have, but no letter."""
    emoji = "\U0001f000" <= character <= "\U0001faff"
    return emoji or unicodedata.category(character) in ("So", "Sm")


def _is_idle(character: str, base: str) -> bool:
    """Whether it is a joiner or a selector where none does anything: on nothing or on ASCII, but
    for the emoji of keys (1️⃣ # *). There it would only be a way to hide something."""
    if not base.isascii() or not re.match(_INVISIBLE, character):
        return False
    return not (character == "\ufe0f" and base and base in "0123456789#*")


def _is_leading(character: str) -> bool:
    """Whether it is a Hangul consonant that begins a syllable."""
    return "\u1100" <= character <= "\u115f" or "\ua960" <= character <= "\ua97c"


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


@lru_cache(maxsize=4096)
def _character_cells(character: str) -> int:
    """How wide it is shown. In doubt too wide: a prompt that wraps is worse than a gap."""
    if character == "\ufe0f":
        return 1  # turns a narrow symbol before it into an emoji two cells wide
    if _is_mark(character) and unicodedata.category(character) != "Mc":
        return 0
    if _is_flag_half(character):
        return 2  # kitty shows each half as wide as an emoji; most show 2 for the pair
    wide = unicodedata.east_asian_width(character) in "WF"
    return 2 if wide or unicodedata.category(character) == "Cn" else 1


def cells_of(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_character_cells, text))


@lru_cache(maxsize=16)  # each key asks for the same few again; a long text's are 500 KB
def edges(text: str) -> Sequence[int]:
    """Where one character, as a person sees it, ends and the next begins; both ends, too.

    These are the grapheme clusters of Unicode (UAX 29): a letter with its marks, an emoji
    of several parts, a flag, a Hangul syllable, all that a cursor steps over at once.
    """
    if text.isascii() or not _joining().search(text):
        return range(len(text) + 1)
    found = [place for place, pair in enumerate(pairwise(text), 1) if not _join(*pair)]
    for run in re.finditer(_FLAGS, text):
        found += range(run.start() + 2, run.end(), 2)
    return (0, *sorted(found), len(text))


@lru_cache(maxsize=4096)
def _join(before: str, character: str) -> bool:
    if before == "\n":
        return False
    if _is_mark(character) or "\U0001f3fb" <= character <= "\U0001f3ff":
        return True
    if before == "\u200d":
        return _is_pictogram(character)
    if _is_flag_half(before):
        return _is_flag_half(character)
    syllable = "\uac00" <= character <= "\ud7a3"
    return _is_leading(before) and (syllable or _is_leading(character))


def clusters(text: str) -> list[str]:
    """The characters of a text as a person sees them, see `edges`."""
    return [text[start:end] for start, end in pairwise(edges(text))]


def cell_ends(text: str) -> list[int]:
    """Where each character ends, in cells from the start, which comes first."""
    return list(accumulate(map(_character_cells, text), initial=0))


def first_cells(text: str, cells: int) -> str:
    """As much of the start of a text as fits."""
    for index, character in enumerate(text):
        cells -= _character_cells(character)
        if cells < 0:
            return text[:index]
    return text


def break_rows(line: str, cells: int) -> list[int]:
    """Where to break a line (no line break in it) into rows of so many cells: after a space, or
    else between characters as a person sees them, or where one is wider than a row, inside of
    it. A row that ends with a space may be that much wider."""
    if line.isascii():
        return _break_ascii(line, cells)
    breaks: list[int] = []
    places = edges(line)
    inside = frozenset(range(len(line))).difference(places) if len(places) <= len(line) else ()
    # Where the row starts; what follows its last space; where the last character starts, as a
    # person sees it. And how many cells of the line are before each.
    start = space = whole = 0
    to_start = to_space = to_whole = total = 0
    is_space = False
    for index, character in enumerate(line):
        width = 1 if " " <= character <= "~" else _character_cells(character)
        if index not in inside:
            whole, to_whole = index, total
            if is_space or width == 2:  # Chinese and Japanese have no spaces, and need none
                space, to_space = index, total
        is_space = character == " "
        if not is_space and total + width - to_start > cells and index > start:
            if _word_end(line, index) - space > cells:
                space = start
            for place, to_place in ((space, to_space), (whole, to_whole), (index, total)):
                if place > start and total + width - to_start > cells:
                    start, to_start = place, to_place
            breaks.append(start)
        total += width
    return breaks


def _break_ascii(line: str, cells: int) -> list[int]:
    """The same, where each character is one cell wide: a crowd's posts are mostly such."""
    breaks: list[int] = []
    start, length = 0, len(line)
    while True:
        stop = start + cells
        while stop < length and line[stop] == " ":
            stop += 1
        if stop >= length:
            return breaks
        space = line.rfind(" ", start, stop) + 1
        start = space if space and _word_end(line, stop) - space <= cells else stop
        breaks.append(start)


def _word_end(line: str, at: int) -> int:
    """Where the word that goes on at `at` ends. One that no row holds is broken where it is, and
    not begun on a row of its own."""
    end = line.find(" ", at)
    return end if end >= 0 else len(line)


def is_clean(text: str) -> bool:
    """Whether there is nothing in it but printable ASCII. (A long text is looked through as bytes:
    it takes a quarter of the time.)"""
    if not text.isascii():
        return False
    return not text.encode().translate(None, _CLEAN) if len(text) >= _LONG else text.isprintable()


def is_clean_lines(data: bytes) -> bool:
    """The same of lines, encoded."""
    return not data.translate(None, _CLEAN_LINES)


def harmless(text: str, *, multiline: bool = False) -> str:
    """The text with nothing in it that a terminal would obey or a person could not see."""
    if is_clean(text):
        return text
    if not _suspicious().search(text):
        return text
    shown: list[str] = []
    marks, base = 0, ""
    for character in text:
        if _is_mark(character):
            marks += 1
        else:
            marks, base = 0, character
        if multiline and character == "\n":
            shown.append(character)
        elif multiline and character == "\t":
            shown.append("    ")
        elif marks <= MARKS:
            idle = marks and _is_idle(character, base)
            shown.append(REPLACEMENT if idle else _stand_in(character))
        elif marks == MARKS + 1:
            shown.append(REPLACEMENT)
    return "".join(shown)


def short_name(name: str, cells: int = NAME_CELLS) -> str:
    """A name as it is shown, without an id; empty when there would be nothing to see."""
    name = name[:NAME_CHARACTERS]
    seen = name if name.isascii() else re.sub(_INVISIBLE, "", name)
    if not seen.strip():
        return ""
    shown = harmless(name).strip()
    if ":" in shown or not shown.isascii():
        shown = re.sub(_SPEAKS, REPLACEMENT, shown)
    return shown if cells_of(shown) <= cells else first_cells(shown, cells - 1) + "…"


def label(name: str, member: str, digits: int = 0) -> str:
    """What a person is called on screen. `digits`: of the id, where the name alone won't do."""
    return _label(short_name(name), member, digits)


def _label(shown: str, member: str, digits: int) -> str:
    # A name that itself ends like a label ("bob~1a2b") could pass for another member.
    if not shown or re.search(_POSES, fold(shown)):
        digits = max(digits, DIGITS)
    return f"{shown or NO_NAME}~{member[:digits]}" if digits else shown


def digits_apart(one: str, other: str) -> int:
    """How many digits of each of two ids are to be shown, so that they differ."""
    same = next((at for at, pair in enumerate(zip(one, other, strict=True)) if len({*pair}) > 1), 0)
    return max(DIGITS, same + 1)


class Names:
    """Who is called what, so that two members whose names look alike are told apart: by as many
    digits of their ids as differ, since anybody can make a key whose id begins like another's."""

    def __init__(self) -> None:
        self._alike: dict[str, list[str]] = {}  # members by what their names look like
        self._labels: dict[tuple[str, str], str] = {}

    def label_of(self, name: str, member: str) -> str:
        name = name[:NAME_CHARACTERS]
        known = self._labels.get((name, member))
        if known is not None:
            return known
        shown = short_name(name)
        digits = max(self._digits(look, member) for look in keys(shown or NO_NAME))
        if len(self._labels) >= NAMES:
            self._labels.clear()
        known = self._labels[name, member] = _label(shown, member, digits)
        return known

    def _digits(self, look: str, member: str) -> int:
        """How many digits of its id tell a member from all whose names have this look."""
        alike = self._alike.get(look)
        if alike is None:
            # Of what is known nothing is forgotten: who is forgotten could be posed as.
            if len(self._alike) >= 2 * NAMES:  # a name has two or three looks
                return CROWD_DIGITS
            alike = self._alike[look] = []
        if member not in alike and len(alike) <= CROWD:
            alike.append(member)
            if len(alike) > 1:
                self._labels.clear()  # those of the others may have to change
        least = CROWD_DIGITS if len(alike) > CROWD else DIGITS if alike != [member] else 0
        near = [other for other in alike if other[:DIGITS] == member[:DIGITS] and other != member]
        return max([least, *(digits_apart(member, other) for other in near)])
