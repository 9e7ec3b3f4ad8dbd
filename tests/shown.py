"""What the tests of all outputs need: an emulated terminal, nasty texts, a post."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from pathlib import Path

import pyte
from hypothesis import strategies as st

import terminal
from editor import Key, LineEditor
from output import Message, PlainOutput
from screen import Screen
from text import Names

ROOT = Path(__file__).resolve().parent.parent
ALICE, BOB, CAROL = "a1" * 32, "b2" * 32, "c3" * 32
TIME_MS = 1_795_336_980_123  # 2026-11-22T08:43:00.123Z
DAY_MS = 86_400_000
PALE = {"TERM": "xterm-256color", "NO_COLOR": "1"}
COLOURFUL = {"TERM": "xterm-256color"}
# All that a Screen may write beside text: see the head of screen.py.
OUR_SEQUENCES = re.compile(
    r"\r|\x1b\[\d+A|\x1b\[[JK]|\x1b\[\?7[lh]|\x1b\[H\x1b\[2J|\x1b\[[0-9;]*m"
    r"|\x1b\]8;id=\d+;https?://[!-~]*\x1b\\|\x1b\]8;;\x1b\\"
    r"|\a\x1b\]9;[^;\x00-\x1f\x7f-\x9f]*\a|\a\x1b\]777;notify;selchat;[^;\x00-\x1f\x7f-\x9f]*\a|\a"
)

# Any code point there is, and those that do harm more often than chance would have it.
nasty = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs"]),
        st.sampled_from("\x00\x07\x08\t\n\r\x1b[]mJ\x7f\x85\x9b\u202e\u2066\u2028\u0301\u200d世🙂"),
    )
)

keyboard = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.text(max_size=4).map(lambda text: text.encode("utf-8", "replace")),
        st.sampled_from([b"\r", b"\n", b"\x1b", b"\x1b[", b"\x1b[200~", b"\x1b[201~", b"\x1b[A"]),
        st.sampled_from(
            [bytes([key]) for key in b"\x01\x02\x07\t\x0b\x0f\x12\x14\x15\x17\x19\x1f\x7f"]
        ),
        st.sampled_from(
            [b"\x1b[B", b"\x1b[D", b"\x1bb", b"\x1bd", b"\x1b\r", b"\x1b\x7f", b"\x1b[Z"]
        ),
    )
).map(b"".join)


def utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def post(
    text: str = "hello",
    name: str = "bob",
    id: str = BOB,
    time_ms: int = TIME_MS,
    *,
    history: bool = False,
    own: bool = False,
    private: bool = False,
) -> Message:
    return Message("r1", id, name, time_ms, text, history, own, private)


def has_controls(text: str, *, allowed: str = "") -> bool:
    forbidden = ("Cc", "Cs", "Co", "Zl", "Zp")
    return any(
        (unicodedata.category(character) in forbidden and character not in allowed)
        or character in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for character in text
    )


class Plain:
    """A PlainOutput with what it wrote."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.error_writes: list[str] = []
        self.output = PlainOutput(self.writes.append, self.error_writes.append, utc, Names())

    def stdout(self) -> str:
        self.output.flush()
        return "".join(self.writes)

    def stderr(self) -> str:
        self.output.flush()
        return "".join(self.error_writes)


class Terminal:
    """A Screen on an emulated terminal."""

    def __init__(
        self, columns: int = 60, rows: int = 24, name: str = "me", environ: dict[str, str] = PALE
    ) -> None:
        self.columns, self.rows = columns, rows
        self.now, self.bell = 0.0, "mentions"
        self.emulator = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        self.emulator.set_mode(pyte.modes.LNM)
        self.stream = pyte.Stream(self.emulator)
        self.writes: list[str] = []
        self.editor = LineEditor()
        self.screen = Screen(
            self._write,
            lambda: (self.columns, self.rows),
            self.editor,
            utc,
            Names(),
            date(2026, 11, 22),
            name,
            terminal.Terminal(environ),
            lambda: self.now,
            lambda: self.bell,
        )

    def _write(self, text: str) -> None:
        self.writes.append(text)
        self.stream.feed(text)

    def resize(self, columns: int, rows: int) -> None:
        """As xterm does: what no longer fits is cut."""
        self.columns, self.rows = columns, rows
        self.emulator.resize(rows, columns)

    def type(self, data: bytes) -> list[Key]:
        keys = self.editor.feed(data, 0.0)
        self.screen.edited()
        return keys

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.screen.flush()

    def lines(self) -> list[str]:
        """What is on the terminal now, without the empty rows at the end."""
        self.screen.flush()
        lines = [line.rstrip() for line in self.emulator.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines
