"""The demo plays to its end without a terminal; in one it can be stopped; nothing stays behind.
Its windows show what a member's real screen would."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

import demo
from conversation import AWAY_S
from tests.shown import ALICE, BOB, CAROL
from window import KILLED, Window

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, str(ROOT / "demo.py")]
DEADLINE_S = 20.0  # what the contract promises


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color", "TMPDIR": str(folder)}


def read_until(descriptor: int, wanted: bytes | None) -> bytes:
    """What a pseudo-terminal shows up to `wanted`; None: to its end."""
    shown = b""
    while wanted is None or wanted not in shown:
        assert select.select([descriptor], [], [], DEADLINE_S)[0], shown
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # how Linux says that nobody has the other end open any more
            data = b""
        if not data:
            break
        shown += data
    return shown


def test_without_a_terminal_every_post_reaches_everybody_and_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(tmp_path),
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    verdict = f"✓ all {len(demo.POSTS)} posts reached all 3 peers exactly once"
    assert verdict in done.stdout.splitlines()[-1], done.stdout
    assert done.returncode == 0
    for shown in (
        "✗ kill -9",
        "── 3 posts while you",
        "cyd: I'm in!",
        "cyd › I'm in!",
        "2 linked · your last: …",
        "cyd › Two! See you on S",
    ):
        assert shown in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_says_what_is_missing_and_gives_the_terminal_back(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        COMMAND, stdin=slave, stdout=slave, stderr=slave, env=environment(tmp_path)
    )
    os.close(slave)
    try:
        read_until(master, b"127.0.0.1:")  # ada is there
        process.send_signal(signal.SIGINT)
        shown = read_until(master, None).decode()
        status = process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert "✗ stopped before its end" in shown
    assert "ada was shown 0 times, not once" in shown
    assert "\x1b[?25h" in shown and "\x1b[?1049l" in shown  # the cursor, the screen from before
    assert status == 1
    assert list(tmp_path.iterdir()) == []


def test_in_a_terminal_it_plays_to_its_end_too_and_leaves_the_last_picture(tmp_path: Path) -> None:
    fast = "import sys, demo; demo.TYPE_S = demo.PAUSE_S = 0.05; sys.exit(demo.main())"
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", fast],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(tmp_path),
        cwd=ROOT,
    )
    os.close(slave)
    try:
        shown = read_until(master, None).decode()
        status = process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    last = shown.rpartition("\x1b[?1049l")[2]  # on the screen from before
    assert f"all {len(demo.POSTS)} posts reached all 3 peers exactly once" in last
    assert status == 0


def test_the_script_says_each_post_once_so_that_each_can_be_counted() -> None:
    assert len(set(demo.POSTS)) == len(demo.POSTS) >= 8
    assert {who for who, _ in demo.POSTS} == set(demo.NAMES)


class Seen:
    """The window of bob, who is linked to ada and cyd."""

    def __init__(self) -> None:
        self.now = 0.0
        console = Console(file=io.StringIO(), width=120, _environ={})
        self.window = Window("bob", console, lambda: self.now)
        self.report("ready", BOB, "bob", address="127.0.0.1:2", room="open")
        self.report("link", ALICE, "ada", state="up", address="127.0.0.1:1")
        self.report("link", CAROL, "cyd", state="up", address="127.0.0.1:3")

    def report(self, event: str, id: str, name: str, **fields: Any) -> None:
        self.window.report({"event": event, "id": id, "name": name, **fields})

    def post(self, id: str, name: str, text: str, *, history: bool = False) -> None:
        fields = {"text": text, "history": history, "own": id == BOB, "private": False}
        self.report("message", id, name, ref="r", time="2026-11-22T08:43:00.123Z", **fields)

    def lines(self, columns: int = 60, rows: int | None = None) -> list[str]:
        return [row.plain for row in self.window.rows(columns, rows)]

    def last_post(self) -> Text:
        return self.window.rows(60)[-3]


def test_a_window_shows_the_conversation_the_status_and_the_prompt() -> None:
    seen = Seen()
    seen.post(ALICE, "ada", "hello")
    seen.post(BOB, "bob", "hi")
    seen.window.typed = "how are"
    assert seen.lines() == [
        "· listening on 127.0.0.1:2 as bob (id b2b2b2b2)",
        "→ ada joined (127.0.0.1:1)",
        "→ cyd joined (127.0.0.1:3)",
        *(line for line in seen.lines() if line.startswith("── ")),  # on another day than today
        "ada: hello",
        "bob › hi",
        "2 linked · your last: on its way",
        "bob › how are ",
    ]


def test_a_status_says_who_has_the_last_post_and_who_that_is_away_has_not() -> None:
    seen = Seen()
    assert seen.lines()[-2] == "2 linked"
    seen.post(BOB, "bob", "hi")
    seen.window.report({"event": "confirmed", "ref": "r", "by": [ALICE, CAROL]})
    assert seen.lines()[-2] == "2 linked · your last: all 2 have it"
    assert seen.window.is_settled()
    seen.report("link", CAROL, "cyd", state="down", address="127.0.0.1:3", reason="gone")
    seen.post(BOB, "bob", "still there?")
    assert not seen.window.is_settled()
    seen.window.report({"event": "confirmed", "ref": "r", "by": [ALICE]})
    assert seen.window.is_settled()
    assert seen.lines()[-2] == "1 linked · your last: 1 of 2 have it (missing: cyd)"
    assert seen.lines(36)[-2] == "1 linked · your last: 1 of 2 have …"


def test_a_mention_is_marked_in_the_window_of_the_one_who_is_meant() -> None:
    seen = Seen()
    seen.post(ALICE, "ada", "@cyd are you there?")
    assert not any("reverse" in str(span.style) for span in seen.last_post().spans)
    seen.post(ALICE, "ada", "@bob are you there?")
    assert any("reverse" in str(span.style) for span in seen.last_post().spans)


def test_what_was_said_before_is_folded_and_a_window_settled_only_after_that() -> None:
    seen = Seen()
    for number in range(3):
        seen.post(ALICE, "ada", f"post {number}", history=True)
    assert not seen.window.is_settled()
    assert seen.window.deadline() == AWAY_S
    seen.now = AWAY_S
    seen.window.unfold()
    assert seen.window.is_settled()
    assert "── 3 posts while you were away ──" in seen.lines()


def test_a_killed_window_has_no_prompt_and_keeps_what_was_said_for_the_next_run() -> None:
    seen = Seen()
    seen.post(BOB, "bob", "hi")
    seen.window.typed = "half a li"
    seen.window.kill()
    assert seen.lines()[-2:] == ["bob › hi", "✗ kill -9"]
    assert str(seen.window.rows(60)[-1].spans[-1].style) == KILLED
    seen.window.open()
    seen.report("ready", BOB, "bob", address="127.0.0.1:2", room="open")
    assert seen.lines()[-2:] == ["linked to nobody", "bob ›  "]
    assert "bob › hi" in seen.lines()


@pytest.mark.parametrize("columns", [1, 2, 9, 22, 80])
@pytest.mark.parametrize("rows", [1, 2, 5, 40])
def test_a_window_fits_any_size_and_shows_the_newest(columns: int, rows: int) -> None:
    seen = Seen()
    seen.post(ALICE, "ada", "post " * 30)
    seen.window.typed = "typed " * 20
    shown = seen.window.rows(columns, rows)
    assert len(shown) == rows
    assert all(row.cell_len <= columns for row in shown)


def test_the_picture_fetches_nothing_from_elsewhere() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    assert "url(http" not in picture and "href=" not in picture and "@import" not in picture
    posts, peers = len(demo.POSTS), len(demo.NAMES)
    verdict = f"✓ all {posts} posts reached all {peers} peers exactly once"
    assert verdict.replace(" ", "&#160;") in picture


def test_a_window_as_svg_fetches_nothing_and_has_its_text_in_it() -> None:
    seen = Seen()
    seen.post(ALICE, "ada", "<hello>")
    width, height, picture = seen.window.svg(38, 10)
    assert width > 38 * 10 and height > 10 * 20
    assert "&lt;hello&gt;" in picture
    assert "http" not in picture.replace('xmlns="http', "").replace("https://www.textualize.io", "")
