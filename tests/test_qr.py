"""The QR code: the picture is the code's own modules, and nothing needs the library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import segno

import invite
import qr
from tests.processes import ROWS, SELCHAT, Crowd, TerminalProcess

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


# ---------------------------------------------------------------- where it is shown


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd


def invite_on(process: TerminalProcess) -> str:
    """The one that is on its screen, in one row."""
    [line] = [row for row in process.rows if row.startswith("selchat1")]
    return line


def picture_of(line: str) -> list[str]:
    rows = qr.rows(line.upper())
    assert rows is not None
    return rows


def test_an_invite_on_a_terminal_has_its_picture(crowd: Crowd) -> None:
    ann = crowd.start_on_terminal("--room", "garden", "--invite")
    assert ann.wait_end() == 0
    line = invite_on(ann)
    picture = picture_of(line)
    assert ann.rows[1 : 1 + len(picture)] == picture
    narrow = crowd.start_on_terminal(
        *("sh", "-c", 'stty columns 32; exec "$@"', "sh", sys.executable, SELCHAT),
        *("--data", ann.data, "--room", "garden", "--invite"),
        command=["env"],
    )
    assert narrow.wait_end() == 0
    assert (
        line.encode() in narrow.stdout.replace(b"\r\n", b"") and "█".encode() not in narrow.stdout
    )


def test_an_invite_in_a_conversation_has_its_picture_where_it_fits(crowd: Crowd) -> None:
    ann = crowd.start_on_terminal(0, 0, "ann", "--room", "garden")
    crowd.wait(lambda: ann.rows[-1] == "ann ›", "the prompt is there")
    ann.write("/invite\r")
    crowd.wait(lambda: len([row for row in ann.rows if "█" in row]) > 9, "there is a picture")
    picture = picture_of(invite_on(ann))
    assert ann.rows[-2 - len(picture) : -2] == picture
    ann.resize(30, ROWS)
    ann.write("/invite\r")
    crowd.wait(
        lambda: b"needs a larger" in ann.stdout,
        "it says that there is no room",
    )
    ann.write("/quit\r")
    assert ann.wait_end() == 0


def test_without_a_terminal_an_invite_is_its_line_alone(crowd: Crowd) -> None:
    ann = crowd.run("--room", "garden", "--invite", json=False)
    assert ann.wait_end() == 0
    [line] = ann.lines
    assert invite.read(line).room == "garden" and invite.write(invite.read(line)) == line


def test_an_invite_that_is_typed_is_in_no_history(crowd: Crowd) -> None:
    [line] = crowd.run("--room", "shed", "--invite", json=False).lines
    ann = crowd.start_on_terminal(0, 0, "ann", "--room", "garden")
    crowd.wait(lambda: ann.rows[-1] == "ann ›", "the prompt is there")
    ann.write(f"/connect {line}\r/help\r")
    crowd.wait(lambda: any("/quit" in row for row in ann.rows), "it has helped")
    typed = [path.read_text() for path in ann.data.rglob("typed.jsonl")] if ann.data else []
    assert typed == ['"/help"\n']
