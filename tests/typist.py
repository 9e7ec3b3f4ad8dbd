"""Typing survives everything: a person types while others talk, and a judge watches.

    python -m tests.typist [--seed FIRST] [--schedules COUNT] [--messages N]
    python -m tests.typist --real [...]     selchat.py on a pseudo-terminal, others as processes
    python -m tests.typist --tmux [...]     the same in tmux

Without --real or --tmux the screen and the editor are in this process, on a clock of its own, and
all that is drawn is looked at. Says how far it is; a seed that fails is told, and ends with 1.

Lives here: what must be on a terminal (`Judge`), and the run in one process. The person is in
person.py, the terminal in emulator.py, real processes are in stage.py.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from random import Random

import terminal
from conversation import NARROW_COLUMNS
from editor import Line, LineEditor
from layout import Layout, View
from output import Status
from screen import PROMPT_ROWS, STATUS_ROWS, Screen
from tests.emulator import Emulator
from tests.person import MEMBERS, Keys, Plan, Resized, Said, Schedule, Shown, Waited, make_schedule
from tests.shown import ALICE, BOB, CAROL, PALE, TIME_MS, post, utc
from text import Names, cells_of, first_cells, harmless

ME = "me"
IDS = dict(zip(MEMBERS, (BOB, CAROL), strict=True))
REFLOWING = {**PALE, "TMUX": "/tmp/tmux-0/default,1,0"}
SPEED_S = 0.001  # between two keys: less than ESC waits for
GATHERED = 0.3  # of the steps so many share a turn with the next one
# How each line begins that is drawn above the region, but for those of a post that goes on.
_POST = re.compile(rf"(?:\d\d:\d\d:\d\d ?)?(?:({'|'.join(MEMBERS)}):|({ME}) ?›)")
_NOTICE = re.compile("──|·|→|←")
_NEW = re.compile(rf"{_POST.pattern}|\d\d:\d\d:\d\d(?: {ME})?\Z|{_NOTICE.pattern}|  |\Z")


class Judge:
    """Says what is wrong with a terminal."""

    def __init__(self) -> None:
        self._seen: list[str] = []  # the conversation, as far as it was on the terminal

    # ------------------------------------------------------------ at any moment

    def look(self, emulator: Emulator, view: View, above: str | None) -> None:
        """Right after something was drawn: the region is at the bottom of all, and what was
        above it is still there. `above`: how the row over the prompt begins."""
        self.keep(emulator, self.region(emulator, view, above))

    def region(self, emulator: Emulator, view: View, above: str | None) -> int:
        """The number of its first row."""
        rows, start = prompt_rows(view, emulator.columns)
        height = view.cursor_row + (above is not None)
        at = emulator.cursor.y - height
        shown = emulator.display
        assert at >= 0, "the region begins above the screen"
        if above is not None:
            above = first_cells(harmless(above), emulator.columns - 2).rstrip()
            assert shown[at].startswith(above), f"{shown[at]!r} is not {above!r}"
            rows = [shown[at], *rows]
        drawn = shown[at : at + len(rows)]
        assert drawn == [row.rstrip() for row in rows], f"the region is {drawn}, not {rows}"
        assert not any(shown[at + len(rows) :]), f"below the prompt: {shown[at + len(rows) :]}"
        assert emulator.cursor.x == emulator.cells_of(start), "the cursor is elsewhere"
        return emulator.top + at

    def keep(self, emulator: Emulator, end: int) -> None:
        """What is above that row was there before, and goes on from there."""
        emulator.mark(end)
        lines = emulator.transcript(end)
        kept = len(self._seen)
        assert lines[:kept] == self._seen, difference(lines[:kept], self._seen)
        assert not emulator.overflows, f"did not fit the row that it was made for: {lines[-5:]}"
        for line in lines[kept:]:
            assert _NEW.match(line), f"neither a post nor a notice is drawn: {line!r}"
        self._seen = lines

    # ------------------------------------------------------------ at the end

    def finish(self, schedule: Schedule) -> None:
        """All posts are there, whole, once, in their order, and nothing else but notices."""
        judge_lines(self._seen, schedule)


def judge_lines(lines: list[str], schedule: Schedule) -> None:
    found: dict[str, list[str]] = {name: [] for name in (ME, *MEMBERS)}
    for whole in _whole_lines(lines):
        if _NOTICE.match(whole):
            continue
        named = _POST.match(whole)
        assert named, f"this is neither a post nor a notice: {whole!r}"
        found[named[1] or named[2]].append(whole[named.end() :])
    meant = {ME: schedule.own, **schedule.others}
    for name, texts in meant.items():
        expected = [_without_space(harmless(text, multiline=True)) for text in texts]
        assert found[name] == expected, f"{name}: {difference(found[name], expected)}"


def _whole_lines(lines: list[str]) -> list[str]:
    """Each line with its continuation rows, without white space."""
    whole: list[str] = []
    for line in lines:
        if line and not line.startswith(" "):
            whole.append(_without_space(line))
        else:
            assert whole and line[:2].strip() == "" and len(line) != 1, f"not indented: {line!r}"
            whole[-1] += _without_space(line)
    return whole


def _without_space(text: str) -> str:
    return "".join(text.split())


def difference(found: list[str], expected: list[str]) -> str:
    for number in range(max(len(found), len(expected))):
        here, there = found[number : number + 1], expected[number : number + 1]
        if here != there:
            return f"line {number} of {len(expected)} is {here}, not {there}"
    return "none"


# ---------------------------------------------------------------- what the prompt has to show


def head_of(columns: int) -> str:
    return f"{ME} › " if columns >= NARROW_COLUMNS else "› "


def view_of(text: str, cursor: int, columns: int, rows: int) -> View:
    room = max(1, min(PROMPT_ROWS, rows // 2))
    return Layout().view(text, cursor, columns, room, cells_of(head_of(columns)))


def status_of(view: View, columns: int, rows: int, linked: int) -> str | None:
    """How the row above the prompt begins, if there is one."""
    if columns < NARROW_COLUMNS or rows < STATUS_ROWS:
        return None
    hidden = view.above + view.below
    more = "1 more row · " if hidden == 1 else f"{hidden} more rows · "
    return more * bool(hidden) + f"open · {linked} linked"


def prompt_rows(view: View, columns: int) -> tuple[list[str], str]:
    """Its rows, and what stands before the cursor."""
    heads = ["  " if index or view.above else head_of(columns) for index in range(len(view.rows))]
    rows = [head + row for head, row in zip(heads, view.rows, strict=True)]
    return rows, heads[view.cursor_row] + view.before


# ---------------------------------------------------------------- in one process


class Rehearsal:
    """A schedule on a Screen and an editor in this process."""

    def __init__(self, seed: int, plan: Plan) -> None:
        random = self._random = Random(f"rehearsal {seed}")
        reflows = random.random() < 0.4
        if reflows:  # how it has wrapped a character of unknown width nobody can know
            plan = replace(plan, ambiguous=False)
        self.schedule = make_schedule(seed, plan)
        self._now = 0.0
        self._time_ms = TIME_MS
        columns, rows = random.choice(((80, 24), (40, 10), (120, 50)))
        composes = not reflows and random.random() < 0.5
        pulls = random.random() < 0.5
        self._emulator = Emulator(columns, rows, reflows=reflows, pulls=pulls, composes=composes)
        self._editor = LineEditor(_complete)
        self._lines: list[str] = []  # what was sent
        self._judge = Judge()
        self._drawn = False  # whether something was, for the size that the terminal has
        self._screen = Screen(
            self._write,
            lambda: (self._emulator.columns, self._emulator.lines),
            self._editor,
            utc,
            Names(),
            date(2026, 11, 22),
            ME,
            terminal.Terminal(REFLOWING if reflows else PALE),
            lambda: self._now,
            lambda: "mentions",
        )

    def run(self) -> None:
        self._screen.status(Status("open", 2))
        self._flush()
        for step in self.schedule.steps:
            self._take(step)
            if isinstance(step, Resized) or self._random.random() > GATHERED:
                self._flush()
        self._flush()
        assert self._lines == self.schedule.own, difference(self._lines, self.schedule.own)
        self._judge.finish(self.schedule)

    def _take(self, step: Keys | Said | Resized | Waited) -> None:
        if isinstance(step, Keys):
            self._now += SPEED_S
            self._type(step.data)
            if step.shown:
                held = Shown(self._editor.text, self._editor.cursor)
                assert held == step.shown, f"the prompt holds {held}, not {step.shown}"
        elif isinstance(step, Said):
            self._say(step.name, step.text, IDS[step.name])
        elif isinstance(step, Resized):
            self._resize(step)
        else:
            self._now += step.seconds
            self._type(b"")

    def _type(self, data: bytes) -> None:
        for key in self._editor.feed(data, self._now):
            assert isinstance(key, Line), f"nobody meant {key}"
            text = key.text.removeprefix("/") if key.text.startswith("//") else key.text
            self._lines.append(text)
            self._say(ME, text, ALICE, own=True)
        self._screen.edited()

    def _say(self, name: str, text: str, id: str, *, own: bool = False) -> None:
        self._time_ms += self._random.choice((10, 1000, 1000, 40_000_000))
        self._screen.message(post(text, name, id, self._time_ms, own=own))

    def _resize(self, step: Resized) -> None:
        self._flush()  # what comes meanwhile is drawn for the old size, and nobody can help it
        self._emulator.resize(step.rows, step.columns)
        self._drawn = False
        # What of the region was pushed off the screen is out of anybody's reach.
        del self._emulator.past[self._emulator.marked() :]
        if self._random.random() < 0.7:
            self._screen.resized()

    def _write(self, text: str) -> None:
        self._drawn = True
        self._emulator.feed(text)

    def _flush(self) -> None:
        self._screen.flush()
        if not self._drawn:
            return  # nobody said that the size has changed, nothing happened yet
        emulator, hint = self._emulator, self._editor.hint()
        columns, rows = emulator.columns, emulator.lines
        room = max(1, min(PROMPT_ROWS, rows // 2))
        view = self._editor.view(columns, room, cells_of(head_of(columns)))
        above = status_of(view, columns, rows, 2) if hint is None else hint.text
        self._judge.look(emulator, view, above)


def _complete(before: str) -> tuple[int, list[str]]:
    start = before.rfind("@")
    if start < 0:
        return len(before), []
    return start, [f"@{name} " for name in MEMBERS if name.startswith(before[start + 1 :])]


# ---------------------------------------------------------------- many of them


def rehearse(seed: int, plan: Plan) -> None:
    Rehearsal(seed, plan).run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.typist", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--posts", type=int, default=40)
    parser.add_argument("--resizes", type=int, default=40)
    stages = parser.add_mutually_exclusive_group()
    stages.add_argument("--real", action="store_true")
    stages.add_argument("--tmux", action="store_true")
    args = parser.parse_args()
    plan = Plan(args.messages, args.posts, args.resizes)
    run: Callable[[int, Plan], None] = rehearse
    if args.real or args.tmux:
        from tests import stage

        run = stage.in_tmux if args.tmux else stage.on_terminal
    start = time.monotonic()
    for number, seed in enumerate(range(args.seed, args.seed + args.schedules), 1):
        try:
            run(seed, plan)
        except Exception:
            print(f"seed {seed} fails:", file=sys.stderr)
            raise
        if number % 10 == 0 or number == args.schedules:
            print(f"{number} schedules, {time.monotonic() - start:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
