"""The terminal: what it can do, and its mode, which is given back as it was.

These are all the control sequences that are emitted here:

    ESC[?2004h / l          the terminal marks pastes / marks them no more
    BEL                     the bell
    OSC 9 ; text BEL        a notification, for iTerm2 and those that do as it does
    OSC 777 ; notify ; ...  a notification, for those that do as rxvt does

Lives here: what differs from terminal to terminal, what is set in one and has to be given back.
Never here: what is shown.
"""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Mapping

Write = Callable[[str], None]

# By TERM_PROGRAM, by TERM's start, or by a variable that the terminal sets: see each one's manual.
_KNOW_OSC_9 = ("iTerm.app", "WezTerm", "ghostty")
_KNOW_OSC_777 = ("foot", "rxvt")
# Terminals whose rows are wrapped anew when they become narrower.
_REFLOW = ("iTerm.app", "WezTerm", "ghostty", "Apple_Terminal", "vscode", "tmux")
_REFLOW_TERM = ("foot", "alacritty", "xterm-kitty", "xterm-ghostty", "tmux")
_REFLOW_VARIABLES = ("VTE_VERSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "WT_SESSION", "TMUX")
# Where an OSC that is not known is not swallowed, but printed.
_NO_OSC = ("linux", "eterm", "emacs", "cygwin")


class Terminal:
    """What can be done on the terminal that these environment variables tell of."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
        # Within tmux or screen the variables of the terminal around it say nothing.
        inside = bool(environ.get("TMUX") or environ.get("STY")) or term.startswith("screen")
        self.links = not term.startswith(_NO_OSC)
        self.reflows = (
            program in _REFLOW
            or term.startswith(_REFLOW_TERM)
            or any(environ.get(name) for name in _REFLOW_VARIABLES)
        )
        kitty = bool(environ.get("KITTY_WINDOW_ID"))
        self._osc_9 = not inside and (program in _KNOW_OSC_9 or kitty)
        vte = bool(environ.get("VTE_VERSION"))
        self._osc_777 = not (inside or self._osc_9) and (vte or term.startswith(_KNOW_OSC_777))

    def notification(self, text: str) -> str:
        """What rings the bell, and shows `text` (harmless) where the terminal knows how."""
        # What ends a field might make another request of it: OSC 9 ; 4 ; ... is ConEmu's progress.
        text = text.replace(";", ",")
        if self._osc_9:
            return f"\a\x1b]9;{text}\a"
        if self._osc_777:
            return f"\a\x1b]777;notify;selchat;{text}\a"
        return "\a"


def is_taken(fd: int) -> bool:
    """Whether another program has the terminal: the shell, while we are in the background."""
    try:
        return os.tcgetpgrp(fd) != os.getpgrp()
    except OSError:  # it is not the one that controls us, or gone
        return False


def is_journal(environ: Mapping[str, str], fd: int) -> bool:
    """Whether there is no terminal at all, but the journal of systemd: systemd.exec(5)."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class RawMode:
    """Keys one by one and unechoed. Ctrl-C and Ctrl-Z stay the signals that they are."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._fd = -1
        self._saved: list[int | list[bytes | int]] | None = None
        self._raw: list[int | list[bytes | int]] = []

    def enter(self, fd: int) -> None:
        if self._saved is not None:
            return
        try:
            mode = termios.tcgetattr(fd)
            # Enter stays "\r"; Ctrl-S must not stop an output that a whole loop waits for.
            mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON)
            mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            saved = termios.tcgetattr(fd)
            termios.tcsetattr(fd, termios.TCSANOW, mode)
            self._raw = termios.tcgetattr(fd)
        except termios.error as error:
            raise OSError(*error.args) from None
        self._fd, self._saved = fd, saved
        self._write("\x1b[?2004h")

    def leave(self) -> None:
        """As it was before `enter`; to call it again does nothing."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        # Else to set a mode would stop us where another program has the terminal.
        stopping = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            if is_taken(self._fd) and termios.tcgetattr(self._fd) != self._raw:
                return  # that program has set its own
            termios.tcsetattr(self._fd, termios.TCSANOW, saved)
        except termios.error:
            return  # the terminal itself is gone: there is nothing to restore
        finally:
            signal.signal(signal.SIGTTOU, stopping)
        self._write("\x1b[?2004l")


def size() -> tuple[int, int]:
    """Columns and rows; 0 where they are not known. COLUMNS counts more than the terminal."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        columns, rows = 0, 0
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isascii() and wanted.isdecimal() and len(wanted) < 5:
        columns = int(wanted) or columns
    return columns, rows
