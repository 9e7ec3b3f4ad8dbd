"""The schedules of person.py, played by real processes.

The person is at `selchat.py` on a pseudo-terminal, or in a window of tmux; the others are two
processes whose input is piped. Whatever takes time is waited for, with a deadline.

What nobody can help: when a terminal changes its size, what the program draws before it knows
is drawn for the old one. Where that would spoil what is judged, the size is changed only once
all is drawn that was said; elsewhere at any time.

Lives here: processes, tmux, waiting. Never here: what must be on the terminal (typist.py).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from random import Random

from layout import View, wrapped_rows
from tests.emulator import JOINER, Emulator
from tests.person import (
    MEMBERS,
    ROWS,
    Keys,
    Plan,
    Resized,
    Said,
    Schedule,
    Shown,
    Step,
    make_schedule,
)
from tests.processes import DEADLINE_S, SELCHAT, Crowd, Process
from tests.typist import (
    ME,
    Judge,
    difference,
    judge_lines,
    prompt_rows,
    status_of,
    view_of,
)
from text import cells_of, first_cells

COLUMNS = 80
LOOKED_AT = 0.1  # of what is typed; each look waits until all is drawn
FEW_ROWS = 12  # in fewer the region, of 9 rows at most, may not fit while its size is not known
# Rows that fill the largest window, so that the prompt is at its bottom. In a window with empty
# rows at its end, tmux scrolls off rows that have room when it wraps them anew.
SCROLLED = 60
CLEARED = 0.3  # of the looks so many are followed by Ctrl-L
TMUX = shutil.which("tmux")


class Stage(ABC):
    """Two who talk, and one who types."""

    def __init__(self, crowd: Crowd, schedule: Schedule, random: Random) -> None:
        self._crowd, self._schedule, self._random = crowd, schedule, random
        self._columns, self._rows = COLUMNS, 24
        first = crowd.start(0, 0, MEMBERS[0]).wait_ready()
        second = crowd.start(0, first.port, MEMBERS[1]).wait_ready()
        self._others: dict[str, Process] = dict(zip(MEMBERS, (first, second), strict=True))
        self._shown = Shown("", 0)
        self._unseen: list[str] = []  # how posts begin that were said, and not looked for yet
        self._pending: Resized | None = None

    @property
    def port(self) -> int:
        return self._others[MEMBERS[0]].port

    @abstractmethod
    def type(self, data: bytes) -> None: ...
    @abstractmethod
    def resize(self, size: Resized) -> None: ...
    @abstractmethod
    def has_drawn(self, words: list[str]) -> bool: ...
    @abstractmethod
    def problem(self, view: View, above: str | None) -> str:
        """What is wrong with the region; "" for nothing."""

    @abstractmethod
    def accept(self, view: View, above: str | None) -> None:
        """All that was said is drawn, and the region is as it has to be."""

    @abstractmethod
    def may_resize(self, size: Resized) -> bool:
        """Whether right now, whatever is under way."""

    @abstractmethod
    def finish(self) -> None:
        """Judges all of the conversation."""

    # ------------------------------------------------------------ playing

    def play(self) -> None:
        everybody = list(self._others.values())
        self._wait(lambda: all(len(o.linked()) == 2 for o in everybody), "they are linked")
        self._settle()
        for step in self._schedule.steps:
            self._take(step)
            self._crowd.read()
        self._settle()
        own = self._schedule.own
        self._wait(lambda: all(len(self._heard(o)) >= len(own) for o in everybody), "all is heard")
        for other in everybody:
            assert self._heard(other) == own, difference(self._heard(other), own)
        self.finish()

    def _heard(self, other: Process) -> list[str]:
        return other.texts(name=ME)

    def _take(self, step: Step) -> None:
        if isinstance(step, Keys):
            self.type(step.data)
            if step.shown:
                self._typed(step.shown)
        elif isinstance(step, Said):
            self._others[step.name].say(step.text)
            self._unseen.append(step.text.split()[0])
        elif isinstance(step, Resized):
            if self.may_resize(step):
                self._resize(step)
            else:
                self._pending = step
        else:
            self._crowd.wait_s(step.seconds)

    def _typed(self, shown: Shown) -> None:
        self._shown = shown
        if self._pending or self._random.random() < LOOKED_AT:
            self._settle()
        if self._pending:
            size, self._pending = self._pending, None
            self._resize(size)
            self._settle()

    def _resize(self, size: Resized) -> None:
        self._columns, self._rows = size.columns, size.rows
        self.resize(size)

    # ------------------------------------------------------------ waiting

    def _settle(self) -> None:
        """Until all that was said and typed is drawn, and everybody knows."""
        self._wait(lambda: self.has_drawn(self._unseen), "all is drawn")
        self._unseen.clear()
        view = view_of(self._shown.text, self._shown.cursor, self._columns, self._rows)
        found = [""]

        def fits() -> bool:
            found[0] = self.problem(view, self._above(view))
            return not found[0]

        try:
            self._wait(fits, "the prompt is as it has to be")
        except AssertionError as error:
            raise AssertionError(f"{found[0]}\n{error}") from None
        self.accept(view, self._above(view))

    def _above(self, view: View) -> str | None:
        """The status, once every post has arrived: it does not change any more by itself."""
        status = status_of(view, self._columns, self._rows, 2)
        if status is None:
            return None
        if any(len(self._heard(other)) for other in self._others.values()):
            status += " · your last: all 2 have it"
        if cells_of(status) > self._columns - 1:
            return first_cells(status, self._columns - 2) + "…"
        return status

    def _wait(self, condition: object, what: str) -> None:
        self._crowd.wait(condition, what, DEADLINE_S)  # type: ignore[arg-type]


# ---------------------------------------------------------------- on a pseudo-terminal


class TerminalStage(Stage):
    """On an emulated terminal, at which the judge may look at any moment."""

    def __init__(self, crowd: Crowd, schedule: Schedule, random: Random) -> None:
        super().__init__(crowd, schedule, random)
        pulls, composes = random.random() < 0.5, random.random() < 0.5
        self._emulator = Emulator(COLUMNS, 24, reflows=False, pulls=pulls, composes=composes)
        self._judge = Judge()
        self._process = crowd.start_on_terminal(0, self.port, ME, show=self._emulator.feed)
        self._looked_from = 0  # in what it has written

    def type(self, data: bytes) -> None:
        self._process.write(data)

    def resize(self, size: Resized) -> None:
        self._crowd.read()
        self._emulator.resize(size.rows, size.columns)
        if size.rows < FEW_ROWS:
            # What of the region was pushed off the screen is out of anybody's reach.
            del self._emulator.past[self._emulator.marked() :]
        self._process.resize(size.columns, size.rows)

    def may_resize(self, size: Resized) -> bool:
        return min(size.rows, self._rows) >= FEW_ROWS

    def has_drawn(self, words: list[str]) -> bool:
        written = self._process.stdout
        return all(written.find(word.encode(), self._looked_from) >= 0 for word in words)

    def problem(self, view: View, above: str | None) -> str:
        try:
            self._judge.region(self._emulator, view, above)
        except AssertionError as error:
            return str(error)
        return ""

    def accept(self, view: View, above: str | None) -> None:
        # What was drawn for another size than the terminal had by then was wrapped.
        self._emulator.overflows.clear()
        self._judge.look(self._emulator, view, above)
        self._looked_from = len(self._process.stdout)

    def finish(self) -> None:
        self._judge.finish(self._schedule)


# ---------------------------------------------------------------- in tmux


class Tmux:
    """A tmux of its own, with one window in which one command runs."""

    def __init__(self, crowd: Crowd, columns: int, rows: int, command: str) -> None:
        self._crowd = crowd
        self._socket = crowd.folder / "tmux"
        self._raw = crowd.folder / "raw"
        self._raw.touch()
        self.run("start-server", ";", "set", "-g", "history-limit", "100000", ";",
                 "new-session", "-d", "-x", str(columns), "-y", str(rows), command)  # fmt: skip
        self._pid = int(self.run("display", "-p", "#{pane_pid}"))
        self.run("pipe-pane", f"cat >> {shlex.quote(str(self._raw))}")

    def run(self, *arguments: str) -> str:
        """What a command of tmux says."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._crowd.home),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        command = ["tmux", "-f", "/dev/null", "-S", str(self._socket), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=DEADLINE_S)
        assert done.returncode == 0, f"tmux {arguments[:3]}: {done.stderr.decode()}"
        return done.stdout.decode()

    def send(self, keys: bytes) -> None:
        for at in range(0, len(keys), 500):  # a command of tmux has at most 16 KB
            self.run("send-keys", "-H", *(f"{byte:02x}" for byte in keys[at : at + 500]))

    def resize(self, columns: int, rows: int) -> bool:
        """Whether that is another size."""
        before = self.run("display", "-p", "#{window_width} #{window_height}").strip()
        self.run("resize-window", "-x", str(columns), "-y", str(rows))
        return before != f"{columns} {rows}"

    def written(self) -> bytes:
        """All that the command wrote."""
        return self._raw.read_bytes()

    def look(self) -> tuple[list[str], int, int]:
        """The rows on the screen, without the empty ones at the end; the cursor's cell and row."""
        seen = self.run("display", "-p", "#{cursor_x} #{cursor_y}", ";", "capture-pane", "-p")
        place, *rows = seen.rstrip().split("\n")
        x, y = map(int, place.split())
        return [row.rstrip() for row in rows], x, y

    def lines(self) -> list[str]:
        """All that is on the screen or has scrolled off; rows that were wrapped are one."""
        captured = self.run("capture-pane", "-p", "-J", "-S", "-").rstrip()
        return [line.rstrip() for line in captured.split("\n")]

    def close(self) -> None:
        self.run("kill-server")
        gone = Path(f"/proc/{self._pid}")
        self._crowd.wait(lambda: not gone.exists(), "what ran in tmux has ended")


class TmuxStage(Stage):
    """In a window of tmux. It wraps the rows anew, the region's too."""

    def __init__(self, crowd: Crowd, schedule: Schedule, random: Random, scrolled: int) -> None:
        super().__init__(crowd, schedule, random)
        data = crowd.folder / "tmux-data"
        command = (sys.executable, SELCHAT, "--data", data, "0", self.port, ME)
        shell = f"seq {scrolled}; exec env -u COLUMNS -u LINES {shlex.join(map(str, command))}"
        self._scrolled = scrolled
        self._keys = b""
        self._tmux = Tmux(crowd, COLUMNS, 24, shell)
        self.close = self._tmux.close

    def type(self, data: bytes) -> None:
        self._keys += data
        if self._random.random() < 0.3:
            self._send()

    def _send(self) -> None:
        keys, self._keys = self._keys, b""
        self._tmux.send(keys)

    def resize(self, size: Resized) -> None:
        before = len(self._tmux.written())
        if self._tmux.resize(size.columns, size.rows):
            # Else what is said next could be drawn for the old size: see above.
            self._wait(lambda: len(self._tmux.written()) > before, "the region is drawn anew")

    def may_resize(self, size: Resized) -> bool:
        return False

    def _resize(self, size: Resized) -> None:
        """Only where all of the region stays on the screen: nobody can reach more."""
        rows, _ = self._region(self._view())
        needed = sum(wrapped_rows(row + " ", size.columns) for row in rows)
        if needed < ROWS[1]:
            super()._resize(Resized(size.columns, max(size.rows, needed)))

    def _view(self) -> View:
        return view_of(self._shown.text, self._shown.cursor, self._columns, self._rows)

    def _region(self, view: View) -> tuple[list[str], str]:
        """Its rows, and what stands before the cursor."""
        above = self._above(view)
        rows, start = prompt_rows(view, self._columns)
        return ([] if above is None else [above]) + rows, start

    def has_drawn(self, words: list[str]) -> bool:
        self._send()
        written = self._tmux.written()
        return all(word.encode() in written for word in words)

    def problem(self, view: View, above: str | None) -> str:
        self._send()
        rows, start = self._region(view)
        shown, x, y = self._tmux.look()
        at = max(y - view.cursor_row - (above is not None), 0)
        found = shown[at:] + [""] * (len(rows) - len(shown[at:]))
        expected = [row.rstrip() for row in rows]
        if found != expected:
            return f"the region is {found}, not {expected}"
        return "" if x == cells_of(start) else f"the cursor is at {x}, not {cells_of(start)}"

    def accept(self, view: View, above: str | None) -> None:
        """What is above the region is looked at in the end: tmux keeps what is cleared."""
        if not self._scrolled and self._random.random() < CLEARED:
            before = len(self._tmux.written())
            self._tmux.send(b"\x0c")
            self._wait(lambda: b"\x1b[?7h" in self._tmux.written()[before:], "it is drawn anew")

    def finish(self) -> None:
        lines = self._tmux.lines()
        rows, _ = self._region(self._view())
        others = {name: _unjoined(texts) for name, texts in self._schedule.others.items()}
        meant = Schedule([], self._schedule.own, others)
        judge_lines(_unjoined(lines[self._scrolled : -len(rows)]), meant)


def _unjoined(texts: list[str]) -> list[str]:
    """Of an emoji that comes in two reads tmux 3.3a loses a joiner, whoever writes it."""
    return [text.replace(JOINER, "") for text in texts]


# ---------------------------------------------------------------- one schedule


def on_terminal(seed: int, plan: Plan) -> None:
    plan = replace(plan, lines=False, inside_keys=False)
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        random = Random(f"terminal {seed}")
        TerminalStage(crowd, make_schedule(seed, plan), random).play()


def _of_one_width(step: Step) -> Step:
    return replace(step, columns=COLUMNS) if isinstance(step, Resized) else step


def in_tmux(seed: int, plan: Plan) -> None:
    """Of an even seed with wide characters, but of one width: when that changes, tmux 3.3a takes
    one line of wide characters for two now and then, and puts the cursor into another row. It
    does so with what `cat` has written, too."""
    wide = seed % 2 == 0
    # As wide as tmux takes the ambiguous ones to be nobody else does.
    plan = replace(plan, lines=False, inside_keys=False, ambiguous=False, wide=wide)
    schedule = make_schedule(seed, plan)
    if wide:
        schedule.steps = [_of_one_width(step) for step in schedule.steps]
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        stage = TmuxStage(crowd, schedule, Random(f"tmux {seed}"), 0 if wide else SCROLLED)
        try:
            stage.play()
        finally:
            stage.close()
