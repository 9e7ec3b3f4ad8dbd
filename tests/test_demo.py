"""The demo plays to its end without a terminal; in one it can be stopped; nothing stays behind."""

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import demo

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
    assert "✗ kill -9" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_says_what_is_missing_and_gives_the_terminal_back(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        COMMAND, stdin=slave, stdout=slave, stderr=slave, env=environment(tmp_path)
    )
    os.close(slave)
    try:
        read_until(master, b"127.0.0.1:")  # alice is there
        process.send_signal(signal.SIGINT)
        shown = read_until(master, None).decode()
        status = process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert "✗ stopped before its end" in shown
    assert "alice was shown 0 times, not once" in shown
    assert "\x1b[?25h" in shown and "\x1b[?1049l" in shown  # the cursor, the screen from before
    assert status == 1
    assert list(tmp_path.iterdir()) == []


def test_the_script_says_each_post_once_so_that_each_can_be_counted() -> None:
    assert len(set(demo.POSTS)) == len(demo.POSTS) >= 8
    assert {who for who, _ in demo.POSTS} == set(demo.COLOURS)


def test_the_picture_fetches_nothing_from_elsewhere() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    assert "url(http" not in picture and "href=" not in picture and "@import" not in picture
    assert "exactly&#160;once" in picture
