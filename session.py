"""The session: one run of the command, from the first line to the exit status.

    standard input, signals, the terminal --> Session --> User (user.py), who does the rest

Lives here: what standard input, signals and the exit status have to do with a user. Never here:
options, byte parsing, SQL, escape codes, protocol decisions.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING

import lines
import net
import output
import protocol
import terminal
from user import DONE, User

if TYPE_CHECKING:
    import argparse

    import editor
    import screen

SCREEN_HISTORY = 20  # about a screenful
# One read of standard input becomes one burst, with one commit. So much is only asked for where
# there was much before: Python makes room for it first, 15 us that a lone line need not wait.
BURST_BYTES = net.PIPE_BYTES
INPUT_BYTES = 64 * 1024
# Ctrl-C again within this long is meant: leave now, whatever is not finished.
HURRY_S = 1.0

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What Python ignores, and the faults: to go on after one would meet it again, without end.
_NOT_ENDING = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU,
    signal.SIGCHLD, signal.SIGURG, signal.SIGPIPE, signal.SIGXFSZ,
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
}  # fmt: skip

NOT_CONFIRMED, INTERRUPTED = 3, 130  # exit statuses


def ends_on_screen() -> tuple[int, ...]:
    """Whatever would end us: on a screen that leaves the terminal as it was."""
    return tuple(sorted(signal.valid_signals() - _NOT_ENDING))


class Session:
    """One run of the command: a user, its standard input, its terminal, its end."""

    def __init__(self, user: User, args: argparse.Namespace) -> None:
        self._user, self._args = user, args
        self._lines = lines.LineReader(protocol.MAX_POST_BYTES)
        self._input_bytes = INPUT_BYTES
        self._raw = terminal.RawMode(user.stdout.write)
        self._screen: screen.Screen | None = None  # they come together, and only where
        self._editor: editor.LineEditor | None = None  # there is a terminal
        self._answer: Callable[[bool], None] | None = None  # who waits for one
        self._ended_at: float | None = None  # when standard input ended
        self._interrupted_at = float("-inf")
        self._continued = False  # after a stop
        # Looked at now: one that has gone is none any more.
        self._has_terminal = any(os.isatty(descriptor) for descriptor in (0, 1, 2))

    def run(self) -> int:
        """From the first line to the exit status."""
        user = self._user
        try:
            user.output = self._make_output()
            user.report_confirmed = self._args.json
            # Before the mode is changed: from here on no signal ends us without our doing.
            user.loop.watch_signals(ends_on_screen() if self._screen else ENDS, self._signalled)
            if self._screen:
                self._raw.enter(0)
                # The prompt is there at once: what is typed meanwhile waits in the terminal.
                self._screen.flush()
            self._start()
            gc.enable()
            status = user.run(self._deadline, self._time_passed, self._each_turn)
        finally:
            self._give_back()
            user.finish_output()
        # All is done: a late Ctrl-C must not turn the end of the interpreter into a failure.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return status

    def _make_output(self) -> output.Output:
        if self._args.json:
            return output.JsonOutput(self._user.stdout.write)
        if self._on_screen():
            import editor  # with what it imports 7 ms that no other start should pay
            import screen

            self._editor = editor.LineEditor(self._complete)
            self._screen = screen.Screen(
                self._user.stdout.write,
                terminal.size,
                self._editor,
                datetime.fromtimestamp,
                self._user.names,
                date.today(),
                self._user.name,
                terminal.Terminal(os.environ),
                self._user.loop.now,
                lambda: self._user.kept.settings.bell,
            )
            self._user.ask_with(self._ask)
            self._user.report_status = True
            return self._screen
        return self._user.output

    def _on_screen(self) -> bool:
        dumb = os.environ.get("TERM", "dumb") in ("dumb", "")
        return not (self._args.plain or dumb) and os.isatty(0) and os.isatty(1)

    def _start(self) -> None:
        user = self._user
        user.start_server()
        if self._editor:
            self._editor.remember(user.kept.typed_before())
        shown = self._args.history
        if shown is None:
            shown = SCREEN_HISTORY if self._screen else 0
        user.show_history(shown)  # before anything else is shown
        for address in self._args.peers:
            user.start_client(*address)
        net.widen(0)
        user.loop.watch(0, net.READ, self._input_ready)

    # ------------------------------------------------------------ input

    def _input_ready(self, _: int) -> None:
        try:
            data = os.read(0, self._input_bytes)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal that hung up
        if self._editor:
            self._interrupted_at = float("-inf")  # who types is in no hurry to leave
            self._act(self._editor.feed(data, self._user.loop.now()))
        else:
            self._input_bytes = BURST_BYTES if len(data) >= INPUT_BYTES else INPUT_BYTES
            self._user.submit_all(self._lines.feed(data) if data else self._lines.end())
        if not data:
            self._input_ended()

    def _complete(self, before: str) -> tuple[int, list[str]]:
        import commands  # user.py has, by now

        return commands.complete(self._user, before)

    def _act(self, keys: list[editor.Key]) -> None:
        import editor

        assert self._screen
        for key in keys:
            if isinstance(key, editor.Line):
                self._user.kept.remember_typed(key.text)
                self._user.submit(key.text)
            elif isinstance(key, editor.Interrupt):
                self._interrupt()
            elif isinstance(key, editor.ClearScreen):
                self._screen.clear()
            elif isinstance(key, editor.Answer):
                self._answered(key.yes)
            else:
                self._input_ended()
        self._screen.edited()

    def _ask(self, question: str, answer: Callable[[bool], None]) -> None:
        """Asks the person; who asked before gets a no."""
        assert self._editor
        self._answered(False)
        self._answer = answer
        self._editor.ask(question)

    def _answered(self, yes: bool) -> None:
        answer, self._answer = self._answer, None
        if answer:
            answer(yes)

    def _input_ended(self) -> None:
        self._user.loop.unwatch(0)
        if self._screen:
            self._user.leave("end of input")
        elif not self._args.stay:
            self._ended_at = self._user.loop.now()

    # ------------------------------------------------------------ signals

    def _signalled(self, number: int) -> None:
        if number == signal.SIGINT:
            self._interrupt()
        elif number == signal.SIGWINCH and self._screen:
            self._screen.resized()
        elif number == signal.SIGTSTP and self._screen:
            self._suspend()
        elif number == signal.SIGCONT and self._screen:
            self._continued = True  # but a signal to end may have come along with it
        elif number == signal.SIGHUP and self._args.stay and not self._has_terminal:
            self._user.reload_book()  # as for any daemon; else it says that the terminal went
        else:
            self._user.leave("stopped")

    def _interrupt(self) -> None:
        now = self._user.loop.now()
        hurried, self._interrupted_at = now - self._interrupted_at < HURRY_S, now
        if hurried:
            self._user.leave("interrupted", INTERRUPTED)
            self._user.status = INTERRUPTED
        elif self._user.end_errands():
            pass  # what was under way was meant
        elif self._editor and self._editor.clear():
            self._act(self._editor.feed(b"", now))  # what it says to a question
        else:
            self._user.leave("interrupted")

    def _give_back(self) -> None:
        """The terminal, as it was; its mode even where nothing can be drawn any more."""
        try:
            if self._screen and not terminal.is_taken(0):
                self._screen.close()
        finally:
            self._raw.leave()

    def _suspend(self) -> None:
        self._give_back()
        # By its default action, which does nothing where no shell could continue us.
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # returns when we are to go on
        signal.signal(signal.SIGTSTP, ours)
        os.kill(os.getpid(), signal.SIGCONT)  # one more, for who was not stopped

    def _resume(self, screen: screen.Screen) -> None:
        """Whoever had the terminal meanwhile may have set another mode, and drawn over it."""
        if terminal.is_taken(0):
            os.kill(os.getpid(), signal.SIGTTOU)  # stops who wants it, until it is his again
            return
        try:
            self._raw.leave()
            self._raw.enter(0)
        except OSError:  # the terminal went away meanwhile
            self._user.leave("stopped")
            return
        screen.reopen()

    # ------------------------------------------------------------ deadlines, the end

    def _deadline(self) -> float | None:
        waiting = (self._editor, self._screen)
        times = [each.deadline() if each else None for each in waiting]
        if self._ended_at is not None:
            times.append(self._ended_at + self._args.linger)
        return min((at for at in times if at is not None), default=None)

    def _time_passed(self) -> None:
        now = self._user.loop.now()
        if self._editor:
            self._act(self._editor.expire(now))
        if self._ended_at is not None and now >= self._ended_at + self._args.linger:
            missed = self._args.confirm is not None and not self._is_confirmed()
            if missed:
                self._user.output.error(
                    f"too few have every post on disk after {self._args.linger:g} s "
                    f"({self._user.confirmed_by()} of {self._args.confirm}); "
                    "the posts are kept and go out next time"
                )
            self._user.leave("end of input", NOT_CONFIRMED if missed else DONE)

    def _each_turn(self) -> None:
        if self._user.leaving and self._screen:
            # The terminal is given back before the last turn: what comes after may take long.
            self._give_back()
        elif self._continued and self._screen:
            self._continued = False
            self._resume(self._screen)
        if self._ended_at is not None and self._is_confirmed() and not self._user.is_busy:
            self._user.leave("end of input")

    def _is_confirmed(self) -> bool:
        wanted = 1 if self._args.confirm is None else self._args.confirm
        return self._user.confirmed_by() >= wanted
