"""The terminal is given back as it was."""

from __future__ import annotations

import os
import termios

import pytest

from terminal import RawMode, Terminal


def test_raw_mode_gives_keys_one_by_one_and_leaves_no_trace() -> None:
    master, slave = os.openpty()
    try:
        before = termios.tcgetattr(slave)
        writes: list[str] = []
        mode = RawMode(writes.append)
        mode.leave()
        assert writes == []
        mode.enter(slave)
        mode.enter(slave)
        during = termios.tcgetattr(slave)
        assert not during[3] & (termios.ICANON | termios.ECHO)
        assert during[3] & termios.ISIG
        assert not during[0] & (termios.ICRNL | termios.IXON)
        os.write(master, b"x\r")
        assert os.read(slave, 10) == b"x\r"
        mode.leave()
        mode.leave()
        assert termios.tcgetattr(slave) == before
        assert writes == ["\x1b[?2004h", "\x1b[?2004l"]
    finally:
        os.close(master)
        os.close(slave)


def test_leaving_a_terminal_that_is_gone_is_quiet() -> None:
    master, slave = os.openpty()
    writes: list[str] = []
    mode = RawMode(writes.append)
    mode.enter(slave)
    os.close(master)
    os.close(slave)
    mode.leave()
    assert writes == ["\x1b[?2004h"]


@pytest.mark.parametrize(
    ("environ", "links", "reflows", "notification"),
    [
        ({"TERM": "xterm"}, True, False, "\a"),
        ({"TERM": "linux"}, False, False, "\a"),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, True, True, "\a\x1b]9;a, b\a"),
        ({"TERM": "xterm", "TERM_PROGRAM": "WezTerm"}, True, True, "\a\x1b]9;a, b\a"),
        ({"TERM": "xterm", "VTE_VERSION": "7600"}, True, True, "\a\x1b]777;notify;selchat;a, b\a"),
        ({"TERM": "foot"}, True, True, "\a\x1b]777;notify;selchat;a, b\a"),
        # What the terminal around a tmux can do, says nothing of tmux.
        ({"TERM": "tmux-256color", "TMUX": "x", "VTE_VERSION": "7600"}, True, True, "\a"),
        ({"TERM": "screen", "STY": "x", "KITTY_WINDOW_ID": "1"}, True, True, "\a"),
        ({}, True, False, "\a"),
    ],
)
def test_a_terminal_gets_what_it_is_known_to_understand(
    environ: dict[str, str], links: bool, reflows: bool, notification: str
) -> None:
    one = Terminal(environ)
    assert (one.links, one.reflows) == (links, reflows)
    assert one.notification("a; b") == notification
