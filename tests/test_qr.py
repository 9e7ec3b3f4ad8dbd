"""The QR code: the picture is the code's own modules, and nothing needs the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import segno

import qr

ROOT = Path(__file__).resolve().parent.parent
SHORT = "SELCHAT1BI6XAFQRAAAAAAAAAAAAAAAAAAAAAAAAAAAA7CIDV33B"
LIGHT = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def modules(rows: list[str]) -> list[list[int]]:
    """What a camera sees: 1 is dark."""
    seen: list[list[int]] = []
    for row in rows:
        for half in (0, 1):
            seen.append([1 - LIGHT[block][half] for block in row])
    return seen


@pytest.mark.parametrize("text", ["A", SHORT, SHORT * 19, "selchat, in lower case: ä"])
def test_the_picture_is_the_code_with_two_light_modules_around_it(text: str) -> None:
    rows = qr.rows(text)
    assert rows is not None
    seen = modules(rows)
    size = len(seen[0])
    assert seen[size:] == [[1] * size]  # the lower half of the last row, which is not drawn
    assert [seen[0], seen[1], seen[size - 2], seen[size - 1]] == [[0] * size] * 4
    assert all(row[:2] == row[-2:] == [0, 0] for row in seen[:size])
    matrix = [list(row) for row in segno.make(text, micro=False).matrix]
    assert [row[2:-2] for row in seen[2 : size - 2]] == matrix


def test_an_invite_in_capitals_fits_a_small_terminal() -> None:
    """One with two addresses has about 100 characters."""
    rows = qr.rows((SHORT * 2)[:104])
    assert rows is not None
    assert len(rows) == 19 and {len(row) for row in rows} == {37}


def test_a_text_that_no_code_holds_has_no_picture() -> None:
    assert qr.rows("a" * 5000) is None


def test_without_the_library_there_is_no_picture_and_no_error() -> None:
    code = "import sys; sys.modules['segno'] = None; import qr; print(qr.rows('A'))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (process.stdout, process.stderr) == ("None\n", "")


def test_the_library_is_not_imported_before_there_is_a_picture_to_be_made() -> None:
    code = (
        "import sys, qr; print('segno' in sys.modules); qr.rows('A'); print('segno' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout == "False\nTrue\n"
