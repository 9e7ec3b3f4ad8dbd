"""Look-alikes: names that a person takes for one another, made equal by their keys.

    fold    without case, accents, what is not to be seen; Cyrillic, Greek, ... letters that look
            like ASCII ones are these, and 0 is o, 1 is l: Bob, bób, b0b and bоb (with a Cyrillic
            о) are one
    shape   the same with its case, but I, l, 1 and | are one, so are O and 0, rn and m, vv and w:
            Ian (a capital i) and lan (a small L) are one, while Ian and Lan are two

Two names look alike if they have any key in common. What is left alone: letters that differ by
more than a mark above, below or through them, though a hasty reader might not see it; vowel signs
of scripts in which they are letters; names that sound alike.

The table is made from Unicode's confusables (UTS 39, version 15.1, confusables.txt): letters,
digits and the marks of names, outside ASCII and inside of the first 65,536 characters, of which
fonts are at hand. Added are the small Cyrillic and Greek letters that look like small capitals, and
more waves; and the small palochka is an l, as fonts draw it, and not an i.

Lives here: pure functions from text to text. Never here: members, what is done about it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# What each letter looks like, and the codes (hexadecimal) of those that look like it.
_TABLE = """
' 2bc 2c8 2f4 55a 55d 5f3 2018 2019 201b 2032 2035; , 201a; - 2d7 6d4 2212 2238 2796; / 2044 2215;
2 1a7 1bb 3e8 14bf a644 a6ef a75a; 3 1b7 21c 417 498 4e0 2ccc a76a a7ab; 4 13ce; 5 1bc; 6 431 13ee
2cd2; 8 222 223 9ea a6a; 9 9ed a67 b68 d6d 2cca a76e a76f; : 2f8 589 5c3 703 704 903 a83 16ec 1803
1809 205a 2236 a789; A 391 410 13aa 15c5 a4ee; AE c6 4d4; B 392 412 13f4 15f7 a4d0 a7b4; C 421 4aa
13df 2ca4 a4da; D d0 189 13a0 15de 15ea a4d3; E 395 415 13ac 2d39 a4f0; F 3dc 15b4 a4dd; G 50c 13c0
13f3 a4d6; H 397 41d 4a2 4c7 4c9 13bb 157c 2c8e a4e7; I 196 399 406 4c0 2c92; J 37f 408 13ab 148d
a4d9; K 39a 41a 49a 49e 13e6 16d5 2c94 a4d7; L 13de 14aa 2cd0 a4e1; M 39c 3fa 41c 4cd 13b7 15f0
16d6 2c98 a4df; N 39d 2c9a a4e0; O 398 39f 3b8 41e 472 4e8 555 7c0 9e6 b20 b66 12d0 13be 13eb 2c9e
2d31 2d41 2d54 3007 a4f3; OE 152; P 3a1 420 13e2 146d 18d6 2ca2 a4d1; Q 2d55; R 1a6 13a1 13d2 1587
a4e3; S 405 54f 13d5 13da a4e2; T 3a4 422 4ac 13a2 2ca6 a4d4; U 244 54d 1200 13cc 144c a4f4; V 474
667 6f7 13d9 142f 2d38 a4e6 a6df; W 51c 13b3 13d4 a4ea; X 3a7 425 4b2 16b7 2cac 2d5d a4eb a7b3; Y
3a5 423 4ae 4b0 13a9 13bd 2ca8 a4ec; Z 396 13c3 a4dc; _ 2307; a 251 3b1 430; ae e6 4d5; b 184 411
42c 432 462 463 48c 48d 13cf 1472 1473 15af; c 441 4ab 1d04 2ca5 abaf; d 501 13e7 146f a4d2; e 435
4bd 4bf ab32; f 584 1e9d ab35; g 18d 50d 581; h 43d 45b 4a3 4bb 4c8 4ca 570 13c2 13f2 a695; i 269
26a 3b9 456 13a5 1d7b 1d7c a647 ab75; j 3f3 458; k 138 3ba 43a 49b 49f 2c95; l 1c0 4cf 5d5 5df 627
661 673 6f1 7ca 16c1 18f3 2d4f a4f2; m 43c 4ce ab51; n 3b7 578 57c; o 275 3bf 3c3 43e 473 4e9 585
5e1 629 647 665 6be 6c1 6d5 6f5 6ff 966 a66 ae6 be6 c66 ce6 d20 d66 e50 ed0 101d 1040 10ff 1d0f
1d11 2c9f ab3d ab3e ab74 ab8e abbb; oe 153; p 3c1 440 2ca3; q 51b 563 566; r 433 493 18f4 1d26 2c85
ab47 ab48 ab81; s 1bd 455 18f5 a731 abaa; t 3c4 442 4ad; u 3c5 57d 1d1c 1d7e a79f ab9c; v 3bd 475
5d8 1d20 aba9; w 26f 461 47d 51d 561 1d21 a761 ab83; x 445 1541 157d; y 263 28f 3b3 443 4af 4b1
10e7; z 1646 1d22 ab93; ~ 2053 223b 223c 223d 2e1b 301c 3030; 259 1dd 4d9; 25b 3b5 454 511 2c89;
25c 437; 393 413 492 2c84; 394 2c86; 39b 245 41b; 3a0 41f 2ca0; 3a6 424 553; 3a8 470; 3c0 43f; 3c6
278 444; 3c8 471; 3c9 a64d a7b7
"""
# Letters whose names say what they are without their marks: Đ, ł, ø, ɓ, ı, ʙ.
_LATIN = (
    r"LATIN (?:CAPITAL LETTER|(SMALL LETTER|LETTER SMALL CAPITAL)) (?:DOTLESS |SCRIPT )?([A-Z])"
    r"(?: WITH .*)?"
)
# Marks by their canonical combining class (Unicode, table 4-3): strokes through a letter, points
# of Hebrew and Arabic, all that is above or below. Not the signs that are letters themselves:
# of Hindi, Thai, Japanese.
_STROKES, _POINTS, _AROUND = 1, range(10, 37), 200
_SELECTOR = "[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
# What is left of a tilde that has a character to itself (U+02DC, U+1FC0), after NFKD.
_TILDE = " [\u0303\u0330\u0334\u0342]"
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols with nothing to see
_ONE_FOLD = str.maketrans({"0": "o", "1": "l", "|": "l"})
_ONE_SHAPE = str.maketrans({"I": "l", "1": "l", "|": "l", "0": "O"})


def keys(name: str) -> tuple[str, ...]:
    """Names that have one of these in common look alike. There are two or three."""
    folds = {fold(name), fold(name.casefold())}  # Ν looks like N, and is ν, which looks like v
    return (*(f"fold {key}" for key in sorted(folds)), f"shape {shape(name)}")


def fold(name: str) -> str:
    """What is left of a name if neither case, nor accents, nor scripts count."""
    return _simple(name).casefold().translate(_ONE_FOLD)


def shape(name: str) -> str:
    """What is left of a name for an eye that looks at it from afar."""
    merged = _simple(name).translate(_ONE_SHAPE)
    return merged.replace("rn", "m").replace("vv", "w").replace("VV", "W")


def _simple(name: str) -> str:
    if not name.isascii():
        name = re.sub(_TILDE, "~", unicodedata.normalize("NFKD", name))
        name = "".join(map(_look, name))
    return " ".join(name.split())


@lru_cache(maxsize=4096)  # the characters of a few scripts; hostile names can't make it grow
def _look(character: str) -> str:
    """What one character looks like; "" for one that is not to be seen, or that a mark is of."""
    if character.isascii():
        return character
    found = _table().get(character)
    if found is not None:
        return found
    category = unicodedata.category(character)
    if category[0] == "M":
        place = unicodedata.combining(character)
        drawn_on = place == _STROKES or place in _POINTS or place >= _AROUND
        # Those of no class at all are selectors and enclosures, or signs that are letters.
        hidden = category == "Me" or re.match(_SELECTOR, character) is not None
        return "" if drawn_on or hidden else character
    if category in ("Cc", "Cf") or character in _FILLERS:
        return ""
    if category == "Pd":
        return "-"
    latin = re.fullmatch(_LATIN, unicodedata.name(character, ""))
    if latin:
        return latin[2].lower() if latin[1] else latin[2]
    return character


@lru_cache(maxsize=1)  # made when there is a name that is not ASCII: a start needs none of it
def _table() -> dict[str, str]:
    found = {}
    for line in _TABLE.split(";"):
        look, *codes = line.split()
        simple = look if look.isascii() and len(look) < 3 else chr(int(look, 16))
        found.update({chr(int(code, 16)): simple for code in codes})
    return found
