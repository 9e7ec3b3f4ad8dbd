"""Text that is safe to show: what is harmless, how wide it is, what a member is called.

Every string from the network, a file or the command line passes `harmless()` before it
gets near a terminal. What it replaces, it shows that something was there.

Never here: escape sequences of our own, layout, any import of another module of selchat.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

NAME_CELLS = 24  # under a third of the classic 80 columns: most of a row is the text's
NAME_CHARACTERS = 256  # 24 cells with 4 marks on each are 120; no longer name is looked at
NAMES = 4096  # far more than one room has talking; a few hundred KB at most
MARKS = 4  # Vietnamese and pointed Hebrew stack 2 or 3; above 4 it is decoration

REPLACEMENT = "\ufffd"
# The big runs of letters and symbols that hold nothing but visible, assigned characters:
# whoever writes with these alone is not looked at character by character.
_SUSPICIOUS = re.compile(
    "[^ -~\xa0-\xac\xae-\u02ff\u03a3-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e"
    "\u2190-\u2426\u2460-\u2b73\u3041-\u3096\u309b-\u30ff\u4e00-\u9fa5\uac00-\ud7a3"
    "\uff01-\uff9f\U0001f300-\U0001f64f]"
)
_EMOJI_PARTS = "\u200c\u200d"  # joiners: category Cf, yet needed by emoji, Persian, Hindi
_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters by category, but nothing is to be seen
# What a name may hold without anybody seeing it; two names that differ by it look the same.
_INVISIBLE = re.compile("[\u034f\u180b-\u180d\u200c\u200d\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")


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
def _character_cells(character: str) -> int:
    """How wide it is shown. In doubt too wide: a prompt that wraps is worse than a gap."""
    if character == "\ufe0f":
        return 1  # turns a narrow symbol before it into an emoji two cells wide
    if _is_mark(character) and unicodedata.category(character) != "Mc":
        return 0
    wide = unicodedata.east_asian_width(character) in "WF"
    return 2 if wide or unicodedata.category(character) == "Cn" else 1


def cells_of(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_character_cells, text))


def first_cells(text: str, cells: int) -> str:
    """As much of the start of a text as fits."""
    for index, character in enumerate(text):
        cells -= _character_cells(character)
        if cells < 0:
            return text[:index]
    return text


def last_cells(text: str, cells: int) -> str:
    for index in range(len(text) - 1, -1, -1):
        cells -= _character_cells(text[index])
        if cells < 0:
            return text[index + 1 :]
    return text


def harmless(text: str, *, multiline: bool = False) -> str:
    """The text with nothing in it that a terminal would obey or a person could not see."""
    if not _SUSPICIOUS.search(text):
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if _is_mark(character) else 0
        if multiline and character == "\n":
            shown.append(character)
        elif multiline and character == "\t":
            shown.append("    ")
        elif marks <= MARKS:
            shown.append(_stand_in(character))
        elif marks == MARKS + 1:
            shown.append(REPLACEMENT)
    return "".join(shown)


def short_name(name: str, cells: int = NAME_CELLS) -> str:
    """A name as it is shown, without an id; empty when there would be nothing to see."""
    shown = harmless(name[:NAME_CHARACTERS]).strip()
    if not _INVISIBLE.sub("", shown).strip():
        return ""
    return shown if cells_of(shown) <= cells else first_cells(shown, cells - 1) + "…"


def label(name: str, member: str, clash: bool) -> str:
    """What a person is called on screen."""
    shown = short_name(name)
    # A name that itself ends like a label ("bob~1a2b") could pass for another member.
    poses = re.search("~[0-9a-f]{4}$", shown)
    return f"{shown or '(no name)'}~{member[:4]}" if clash or poses or not shown else shown


class Names:
    """Who is called what, so that two members whose names look the same are told apart."""

    def __init__(self) -> None:
        self._owners: dict[str, set[str]] = {}  # two are enough to know of a clash
        self._labels: dict[tuple[str, str], str] = {}

    def label_of(self, name: str, member: str) -> str:
        name = name[:NAME_CHARACTERS]
        known = self._labels.get((name, member))
        if known is not None:
            return known
        look = unicodedata.normalize("NFKC", _INVISIBLE.sub("", short_name(name)))
        owners = self._owners.setdefault(look, set())
        if member not in owners and len(owners) < 2:
            owners.add(member)
            self._labels.clear()  # the first owner's label may have to change
        if len(self._owners) > NAMES:
            del self._owners[next(iter(self._owners))]
        if len(self._labels) >= NAMES:
            self._labels.clear()
        shown = self._labels[name, member] = label(name, member, len(owners) > 1)
        return shown
