"""The terminal is given back as it was."""

from __future__ import annotations

import os
import termios

from terminal import RawMode


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
