"""The demo: three real selchat processes talk to one another, and one of them is killed.

    python demo.py [--svg FILE]

Each peer is the command that people type, with --json, on pipes. One loop (that of net.py)
reads what they report; a Window makes of it what that member would see: the conversation of
the real screen (conversation.py), the status and the prompt below it. A step of the script is
taken when all before it is known to everybody alive, and has stood there for a moment to be
read. Ends by itself; the exit status is 0 only if every post reached every peer exactly once.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

import net
from conversation import LINKS_ALONE_S
from lines import LineReader
from link import READ_BYTES
from text import harmless
from window import FONT, FRAME_COLUMNS, FRAME_ROWS, Window

TYPE_S = 0.45  # for each post: fast, yet one sees who writes
FRAME_S = 0.04  # 25 pictures a second look like motion
PAUSE_S = 0.25  # with the typing of the next post, time to read one
LIMIT_S = 15.0  # it takes 10; with LEAVE_S it still is less than 20 s
LEAVE_S = 3.0
LINE_BYTES = 1 << 20  # the longest post, all of it escaped, has 400 KB
SIDE_BY_SIDE = 72  # columns; with fewer, the windows stand below one another
PADDED = 100  # columns; with fewer, the text needs those between it and the frames
LEAST_ROWS = 3  # of a window: its title, the status and the prompt
PICTURE_COLUMNS = 38  # of each window; a page 900 pixels wide then shows letters 12 high
GAP_PX, CAPTION_PX = 12, 44  # around the windows, and below them
GOOD, BAD = "bold color(64)", "bold color(161)"
PICTURE_GROUND, PICTURE_GOOD, PICTURE_BAD = "#2d333b", "#7ee787", "#ff7b72"

START, SAY, KILL, TYPE = "start", "say", "kill", "type"


class Step(NamedTuple):
    who: str
    does: str
    text: str  # what is said, or typed and not sent
    caption: str  # told below the screens


SCRIPT = (
    Step("ada", START, "", "ada starts, and waits"),
    Step("bob", START, "", "bob dials ada's port"),
    Step("cyd", START, "", "cyd dials bob's port, and finds ada by herself"),
    Step("ada", SAY, "Hike on Saturday, anyone?", "no server: they talk to one another"),
    Step("bob", SAY, "Yes! Train at `7:42`?", "no server: they talk to one another"),
    Step("cyd", SAY, "I'm in! Battery's at *1%* …", "no server: they talk to one another"),
    Step("cyd", KILL, "", "cyd's laptop dies: kill -9"),
    Step("ada", SAY, "@cyd, do you have the map?", "cyd is away, the others talk on"),
    Step("bob", SAY, "She'll read that later.", "cyd is away, the others talk on"),
    Step("ada", SAY, "Let's meet on *platform 3*.", "cyd is away, the others talk on"),
    Step("cyd", START, "", "cyd is back: what she missed comes by itself"),
    Step(
        "cyd",
        SAY,
        "Back! 7:42, platform 3, and yes, I have the map.",
        "nobody had to send anything again",
    ),
    Step("bob", SAY, "@cyd and a charger?", "nothing lost, and nothing twice"),
    Step("cyd", TYPE, "Two! See you on Sat", "nothing lost, and nothing twice"),
)
POSTS = [(step.who, step.text) for step in SCRIPT if step.does == SAY]
NAMES = list(dict.fromkeys(step.who for step in SCRIPT))


class Peer:
    """One process, and what it has reported."""

    def __init__(self, window: Window, folder: Path, dials: Peer | None) -> None:
        self.name, self.window = window.name, window
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""  # once it is ready
        self.killed = self.leaving = False
        self.seen: Counter[tuple[str, str]] = Counter()
        self.lines = LineReader(LINE_BYTES)
        self._folder, self._dials = folder, dials

    def start(self) -> int:
        """Starts the command; returns the descriptor of its output."""
        port = self._dials.address.rpartition(":")[2] if self._dials else "0"
        self.window.note(f"$ python selchat.py 0 {port} {self.name}")
        self.window.open()
        command = [sys.executable, str(Path(__file__).resolve().with_name("selchat.py"))]
        self.process = subprocess.Popen(
            [*command, "0", port, self.name, "--json", "--data", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends its peers
        )
        self.killed, self.address = False, ""
        self.lines = LineReader(LINE_BYTES)  # of the one before, half a line may be left
        assert self.process.stdout
        return self.process.stdout.fileno()

    def say(self, line: str) -> None:
        if self.process and self.process.stdin:
            try:
                self.process.stdin.write(line.encode() + b"\n")
            except BrokenPipeError:
                pass  # it has ended, as the end of its output will say

    def kill(self) -> None:
        if self.process:
            self.killed = True
            self.process.kill()

    def end(self) -> int:
        """Ends the process if it has not ended yet; returns its exit status."""
        if self.process is None:
            return 0
        if not self.killed:
            try:
                self.process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        with self.process as process:  # closes the pipes
            status = process.wait()
        self.process = None
        if self.killed:
            self.window.kill()
        return status

    def report(self, event: dict[str, Any]) -> None:
        """Takes in one line of its output."""
        match event["event"]:
            case "ready":
                self.address = harmless(event["address"])
            case "message":
                self.seen[event["name"], event["text"]] += 1
            case _ if self.leaving:
                return  # the others leave too, each a little sooner or later
        self.window.report(event)

    def knows(self, posts: list[tuple[str, str]], others: int) -> bool:
        """Whether it is linked to so many, was shown all those, and all is to be seen."""
        return (
            self.address != ""
            and not self.killed
            and len(self.window.links) == others
            and all(self.seen[post] for post in posts)
            and self.window.is_settled()
        )


class Demo:
    """The script, and the loop that plays it."""

    def __init__(self, console: Console, folder: Path) -> None:
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._loop = net.Loop()
        self._ahead_s = 0.0  # of the loop's clock is that of the screens
        self._peers: dict[str, Peer] = {}
        dials = None
        for name in NAMES:
            window = Window(name, console, self._now)
            dials = self._peers[name] = Peer(window, folder / name, dials)
        self._caption = Text()
        self._problems: list[str] = []
        self._script = iter(SCRIPT)
        self._typing: Step | None = None
        self._typing_since = 0.0
        self._said: list[tuple[str, str]] = []
        self._next_at: float | None = self._loop.now()  # None: not before all is settled
        self._limit = self._loop.now() + LIMIT_S
        self._leaving = False

    def _now(self) -> float:
        return self._loop.now() + self._ahead_s

    def run(self) -> bool:
        """Plays it to the end. Whether every post reached every peer exactly once."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
        self._loop.watch_signals([int(number) for number in numbers], self._signalled)
        if self._live:
            self._console.set_alt_screen(True)
            self._console.show_cursor(False)
        try:
            self._loop.run(self._deadline, self._time_passed, self._end_turn)
        finally:
            for peer in self._peers.values():
                if peer.process:
                    peer.process.kill()
                peer.end()
            if self._live:
                self._console.show_cursor(True)
                self._console.set_alt_screen(False)
        wrong = self._problems + self._missing()
        good = f"✓ all {len(POSTS)} posts reached all {len(self._peers)} peers exactly once"
        self._caption = Text(
            "\n".join(f"✗ {line}" for line in wrong) or good, BAD if wrong else GOOD
        )
        return not wrong

    def _missing(self) -> list[str]:
        """A line for each peer that was not shown each post once, and nothing else."""
        lines = []
        for peer in self._peers.values():
            posts = dict.fromkeys([*POSTS, *peer.seen])
            wrong = [post for post in posts if peer.seen[post] != POSTS.count(post)]
            if wrong:
                times, more = peer.seen[wrong[0]], f" and {len(wrong) - 1} more" * (len(wrong) > 1)
                text = harmless(": ".join(wrong[0]))
                lines.append(f"{peer.name} was shown {times} times, not once: {text!r}{more}")
        return lines

    # ------------------------------------------------------------ the turn

    def _deadline(self) -> float:
        times = [self._limit if self._next_at is None else min(self._limit, self._next_at)]
        folded_until = (peer.window.deadline() for peer in self._peers.values())
        times += [until - self._ahead_s for until in folded_until if until is not None]
        return min(times)

    def _time_passed(self) -> None:
        now = self._loop.now()
        if now >= self._limit:
            self._leave(f"not done within {LEAVE_S if self._leaving else LIMIT_S:g} s")
        elif self._typing:
            self._type(self._typing, now)
        elif self._next_at is not None and now >= self._next_at:
            self._next_at = None
            step = next(self._script, None)
            if step:
                self._take(step)
            else:
                self._leave()

    def _take(self, step: Step) -> None:
        peer, self._caption = self._peers[step.who], Text(step.caption)
        if step.does == START:
            if peer.killed:
                # She was away for longer than it takes to play it: who comes back after a
                # while is told at once.
                self._ahead_s += LINKS_ALONE_S
            self._loop.watch(peer.start(), net.READ, lambda _: self._read(peer))
        elif step.does == KILL:
            peer.kill()
        else:
            self._typing, self._typing_since = step, self._loop.now()
            self._type(step, self._typing_since)

    def _type(self, step: Step, now: float) -> None:
        """Some more of it; where nobody looks on, all at once."""
        window = self._peers[step.who].window
        done = (now - self._typing_since) / TYPE_S if self._live else 1.0
        window.typed = step.text[: round(len(step.text) * done)]
        self._next_at = now + FRAME_S
        if done >= 1.0:
            self._typing = self._next_at = None
            if step.does == SAY:
                window.typed = ""
                self._said.append((step.who, step.text))
                self._peers[step.who].say(step.text)

    def _read(self, peer: Peer) -> None:
        assert peer.process and peer.process.stdout
        descriptor = peer.process.stdout.fileno()
        data = os.read(descriptor, READ_BYTES)
        for line in peer.lines.feed(data) if data else peer.lines.end():
            try:
                peer.report(json.loads(line))
            except (ValueError, TypeError, KeyError):
                if not peer.killed:  # its last line may be half a one
                    self._problems.append(f"{peer.name} said: {harmless(line)}")
        if not data:
            self._loop.unwatch(descriptor)
            killed, status = peer.killed, peer.end()
            if not killed and (status or not self._leaving):
                self._leave(f"{peer.name} ended with status {status}")

    def _end_turn(self) -> None:
        for peer in self._peers.values():
            peer.window.unfold()
        if self._leaving and not any(peer.process for peer in self._peers.values()):
            self._loop.stop()
        elif not self._leaving and self._next_at is None and self._is_settled():
            self._next_at = self._loop.now() + PAUSE_S
        if self._live:
            self._draw()

    def _is_settled(self) -> bool:
        """Whether all that was done so far is known to everybody alive."""
        alive = [peer for peer in self._peers.values() if peer.process]
        return all(peer.knows(self._said, len(alive) - 1) for peer in alive)

    def _leave(self, problem: str = "") -> None:
        if problem:
            self._problems.append(problem)
        if self._leaving:
            self._loop.stop()  # it takes too long, or Ctrl-C was pressed again
        self._leaving, self._typing, self._next_at = True, None, None
        self._limit = self._loop.now() + LEAVE_S
        for peer in self._peers.values():
            peer.leaving = True
            peer.say("/quit")

    def _signalled(self, number: int) -> None:
        if number != signal.SIGWINCH:
            self._leave("stopped before its end")
        elif self._live:
            self._console.clear()

    # ------------------------------------------------------------ the picture

    def _draw(self) -> None:
        width, height = self._console.size
        with self._console.capture() as capture:
            self._console.print(self.picture(width, height - 1))
        # Over the one before, row by row: nothing flickers.
        rows = capture.get().rstrip("\n").split("\n")[: height - 1]
        self._console.file.write("\x1b[H" + "\n".join(rows))
        self._console.file.flush()

    def picture(self, columns: int, rows: int | None = None) -> Group:
        """All of it; with `rows`, the newest that fits into so many."""
        windows = [peer.window for peer in self._peers.values()]
        beside = columns >= SIDE_BY_SIDE
        grid = Table.grid()
        if beside:
            across, padding = columns // len(windows), int(columns >= PADDED)
            inside = across - FRAME_COLUMNS - 2 * padding
            each = rows - 1 if rows else FRAME_ROWS + _tallest(windows, inside)
            grid.add_row(*(window.framed(across, each, padding) for window in windows))
            for column in grid.columns:
                column.width = across
        else:
            each_or_all = max((rows - 1) // len(windows), LEAST_ROWS) if rows else None
            for window in windows:
                grid.add_row(window.ruled(columns, each_or_all))
        return Group(grid, self._below())

    def _below(self) -> Table:
        reached = sum(peer.seen.total() for peer in self._peers.values())
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(ratio=1)
        line.add_row(self._caption, Text(f"{reached}/{len(POSTS) * len(NAMES)}", "dim"))
        return line

    def svg(self) -> str:
        """The windows as they are now, beside one another, and the caption."""
        windows = [peer.window for peer in self._peers.values()]
        rows = _tallest(windows, PICTURE_COLUMNS)
        parts, x, bottom = [], GAP_PX, 0
        for window in windows:
            width, height, svg = window.svg(PICTURE_COLUMNS, rows)
            place = f'<svg x="{x}" y="{GAP_PX}" width="{width}" height="{height}" '
            parts.append(svg.replace("<svg ", place, 1))
            x, bottom = x + width + GAP_PX, GAP_PX + height + CAPTION_PX
        colour = PICTURE_BAD if self._caption.style == BAD else PICTURE_GOOD
        said = escape(self._caption.plain).replace(" ", "&#160;")
        return "\n".join(
            [
                # Some viewers drop the spaces in it otherwise.
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {x} {bottom}"'
                ' xml:space="preserve">',
                f'<rect width="{x}" height="{bottom}" rx="12" fill="{PICTURE_GROUND}"/>',
                *parts,
                f'<text x="{x / 2:g}" y="{bottom - CAPTION_PX / 2 + 6:g}" fill="{colour}"'
                f' font-family="{FONT}" font-size="20" font-weight="bold"'
                f' text-anchor="middle">{said}</text>',
                "</svg>\n",
            ]
        )


def _tallest(windows: list[Window], columns: int) -> int:
    return max(len(window.rows(columns)) for window in windows)


def main() -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Three peers talk on this machine.")
    parser.add_argument("--svg", metavar="FILE", help="write the final screens there as a picture")
    args = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # whatever it can't show
    console = Console(highlight=False)
    with TemporaryDirectory(prefix="selchat-demo-") as folder:
        demo = Demo(console, Path(folder))
        good = demo.run()
    console.print(demo.picture(console.width))
    if args.svg:
        Path(args.svg).write_text(demo.svg(), encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
