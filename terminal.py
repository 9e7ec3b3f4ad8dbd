"""The terminal's mode: keys one by one, and everything as it was at the end.

These are all the control sequences that are emitted here:

    ESC[?2004h / l  the terminal marks pastes / marks them no more

Lives here: what is set in a terminal and has to be given back. Never here: what is shown.
"""

from __future__ import annotations

import termios
from collections.abc import Callable

Write = Callable[[str], None]


class RawMode:
    """Keys one by one and unechoed. Ctrl-C and Ctrl-Z stay the signals that they are."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._fd = -1
        self._saved: list[int | list[bytes | int]] | None = None

    def enter(self, fd: int) -> None:
        if self._saved is not None:
            return
        try:
            mode = termios.tcgetattr(fd)
        except termios.error as error:
            raise OSError(*error.args) from None
        # Enter stays "\r"; Ctrl-S must not stop an output that a whole loop waits for.
        mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        try:
            saved = termios.tcgetattr(fd)
            termios.tcsetattr(fd, termios.TCSANOW, mode)
        except termios.error as error:
            raise OSError(*error.args) from None
        self._fd, self._saved = fd, saved
        self._write("\x1b[?2004h")

    def leave(self) -> None:
        """As it was before `enter`; to call it again does nothing."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, saved)
        except termios.error:
            return  # the terminal itself is gone: there is nothing to restore
        self._write("\x1b[?2004l")
