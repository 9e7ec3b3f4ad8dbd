"""The QR code: a text as a square of modules that a phone's camera reads off a terminal.

Two rows of modules make one row of half blocks. Light modules are drawn, dark ones left out,
because most terminals are dark; who can, draws them white on black.

Lives here: the picture. Never here: what it says, where it is shown. segno (an optional extra,
"selchat[qr]") is imported only when there is a picture to be made.
"""

from __future__ import annotations

from itertools import zip_longest

QUIET_ZONE = 2  # light modules around it; the standard has 4, phones are content with 2

_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def rows(text: str) -> list[str] | None:
    """The picture; None where segno is not installed, or the text is too long for any.
    Capitals, digits and "$%*+-./: " take a third less space than all else."""
    try:
        import segno
    except ImportError:
        return None
    try:
        code = segno.make(text, micro=False)  # the small kind is read by few
    except segno.DataOverflowError:
        return None
    light = [[not module for module in row] for row in code.matrix_iter(border=QUIET_ZONE)]
    pairs = zip_longest(light[::2], light[1::2], fillvalue=[False] * len(light[0]))
    return ["".join(map(_BLOCKS.__getitem__, zip(*pair, strict=True))) for pair in pairs]
