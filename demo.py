"""The demo: three real selchat processes talk to one another, and one of them is killed.

    python demo.py [--svg FILE]

Each peer is the command that people type, with --json, on pipes. One loop (that of net.py)
reads what they report and draws it, a panel for each. A step of the script is taken when
all before it is known to everybody alive, and has stood there for a moment to be read.
Ends by itself; the exit status is 0 only if every post reached every peer exactly once.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import net
from lines import LineReader
from text import harmless

PAUSE_S = 0.5  # what it takes to read one of the lines below
LIMIT_S = 15.0  # twice what it takes; with LEAVE_S it still is less than 20 s
LEAVE_S = 3.0
LINE_BYTES = 1 << 20  # the longest post, all of it escaped, has 400 KB
SIDE_BY_SIDE = 66  # columns; with fewer, the panels stand below one another
PICTURE_COLUMNS = 114
GOOD, BAD, ACCENT = "bold color(64)", "bold color(161)", "bold color(30)"

START, KILL = "start", "kill"
SCRIPT = (  # who, START or KILL or a post, what is told below the panels
    ("alice", START, "alice starts, and waits"),
    ("bob", START, "bob dials alice's port"),
    ("carol", START, "carol dials bob's port, and finds alice by herself"),
    ("alice", "Hello? Is anybody here?", "everybody reads every post"),
    ("bob", "Yes. No server, just us.", "everybody reads every post"),
    ("carol", "I only knew bob's port, yet I read you both.", "a ✓ for each other disk it is on"),
    ("alice", "Let's see what this can take. Sorry, carol!", "a ✓ for each other disk it is on"),
    ("carol", KILL, "carol is killed with kill -9"),
    ("bob", "She's gone. Do we have to wait?", "the others talk on"),
    ("alice", "No. She gets it all when she is back.", "the others talk on"),
    ("carol", START, "carol starts again, and catches up: ↻"),
    ("carol", "Back! I read all of it.", "nobody had to send anything again"),
    ("bob", "Nothing lost, and nothing twice.", "that was all"),
)
POSTS = [(who, what) for who, what, _ in SCRIPT if what not in (START, KILL)]
COLOURS = {"alice": "color(32)", "bob": "color(166)", "carol": "color(133)"}


@dataclass
class Post:
    ref: str
    name: str
    text: str
    history: bool


@dataclass
class Peer:
    """One process, what it has reported, and what its panel shows of that."""

    name: str
    folder: Path
    dials: Peer | None
    process: subprocess.Popen[bytes] | None = None
    lines: LineReader = field(default_factory=lambda: LineReader(LINE_BYTES))
    address: str = ""  # once it is ready
    killed: bool = False
    leaving: bool = False
    links: set[str] = field(default_factory=set)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    confirmed: dict[str, int] = field(default_factory=dict)
    shown: list[Post | Text] = field(default_factory=list)

    def start(self) -> int:
        """Starts the command; returns the descriptor of its output."""
        port = self.dials.address.rpartition(":")[2] if self.dials else "0"
        self.shown.append(Text(f"$ selchat.py 0 {port} {self.name}", "dim"))
        command = [sys.executable, str(Path(__file__).resolve().with_name("selchat.py"))]
        self.process = subprocess.Popen(
            [*command, "0", port, self.name, "--json", "--data", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends its peers
        )
        self.killed = False
        assert self.process.stdout
        return self.process.stdout.fileno()

    def type(self, line: str) -> None:
        if self.process and self.process.stdin:
            try:
                self.process.stdin.write(line.encode() + b"\n")
            except BrokenPipeError:
                pass  # it has ended, as the end of its output will say

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
        self.links.clear()
        if self.killed:
            self.address = ""
            self.shown.append(Text("✗ kill -9", BAD))
        return status

    def report(self, event: dict[str, Any]) -> None:
        """Takes in one line of its output."""
        match event["event"]:
            case "ready":
                self.address = harmless(event["address"])
            case "link" if self.leaving:
                pass  # the others leave too, each a little sooner or later
            case "link" if event["state"] == "up":
                self.links.add(event["id"])
                self.shown.append(Text(f"→ {harmless(event['name'])} joined", "dim"))
            case "link":
                self.links.discard(event["id"])
                self.shown.append(Text(f"← {harmless(event['name'])} left", "dim"))
            case "message":
                name, text = harmless(event["name"]), harmless(event["text"])
                self.seen[name, text] += 1
                self.shown.append(Post(event["ref"], name, text, event["history"]))
            case "confirmed":
                self.confirmed[event["ref"]] = len(event["by"])

    def panel(self, console: Console, columns: int, rows: int | None) -> Panel:
        """The newest of it that fits."""
        width = max(columns - 4, 4)
        body: list[Text] = []
        for item in self.shown:
            first, *more = self._text(item).wrap(console, max(width - 2, 2), overflow="fold")
            body += [first, *(Text("  ") + row for row in more)]
        if rows is not None:
            body = body[-max(rows - 2, 1) :] + [Text()] * (rows - 2 - len(body))
        state = Text(f" ● {self.address} " if self.address else " ○ ", "dim")
        colour = COLOURS[self.name] if self.address else "bright_black"
        title = Text(f" {self.name} ", f"bold {COLOURS[self.name]}")
        return Panel(Group(*body), title=title, subtitle=state, border_style=colour)

    def _text(self, item: Post | Text) -> Text:
        if isinstance(item, Text):
            return item
        colour = COLOURS.get(item.name, "")
        return Text.assemble(
            ("↻ " if item.history else "", "dim"),
            (item.name, f"bold {colour}"),
            (" " + item.text),
            (" " + "✓" * self.confirmed.get(item.ref, 0), GOOD),
        )


class Demo:
    """The script, and the loop that plays it."""

    def __init__(self, console: Console, folder: Path) -> None:
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._peers: dict[str, Peer] = {}
        dials = None
        for name in COLOURS:
            dials = self._peers[name] = Peer(name, folder / name, dials)
        self._caption = Text()
        self._problems: list[str] = []
        self._loop = net.Loop()
        self._script = iter(SCRIPT)
        self._said: list[tuple[str, str]] = []
        self._next_at: float | None = self._loop.now()  # None: not before all is settled
        self._limit = self._loop.now() + LIMIT_S
        self._leaving = False

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
                text = ": ".join(wrong[0])
                lines.append(f"{peer.name} was shown {times} times, not once: {text!r}{more}")
        return lines

    # ------------------------------------------------------------ the turn

    def _deadline(self) -> float:
        return self._limit if self._next_at is None else min(self._limit, self._next_at)

    def _time_passed(self) -> None:
        if self._loop.now() >= self._limit:
            self._leave(f"not done within {LEAVE_S if self._leaving else LIMIT_S:g} s")
            return
        self._next_at = None
        who, what, caption = next(self._script, ("", "", ""))
        if not who:
            self._leave()
            return
        peer, self._caption = self._peers[who], Text(caption)
        if what == START:
            self._loop.watch(peer.start(), net.READ, lambda _: self._read(peer))
        elif what == KILL and peer.process:
            peer.killed = True
            peer.process.kill()
        else:
            self._said.append((who, what))
            peer.type(what)

    def _read(self, peer: Peer) -> None:
        assert peer.process and peer.process.stdout
        descriptor = peer.process.stdout.fileno()
        data = os.read(descriptor, net.READ_BYTES)
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
        if self._leaving and not any(peer.process for peer in self._peers.values()):
            self._loop.stop()
        elif not self._leaving and self._next_at is None and self._is_settled():
            self._next_at = self._loop.now() + PAUSE_S
        if self._live:
            self._draw()

    def _is_settled(self) -> bool:
        """Whether all that was done so far is known to everybody alive."""
        alive = [peer for peer in self._peers.values() if peer.process]
        return all(
            peer.address
            and len(peer.links) == len(alive) - 1
            and all(peer.seen[post] for post in self._said)
            for peer in alive
        )

    def _leave(self, problem: str = "") -> None:
        if problem:
            self._problems.append(problem)
        if self._leaving:
            self._loop.stop()  # it takes too long, or Ctrl-C was pressed again
        self._leaving, self._next_at = True, None
        self._limit = self._loop.now() + LEAVE_S
        for peer in self._peers.values():
            peer.leaving = True
            peer.type("/quit")

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
        console, peers = self._console, list(self._peers.values())
        beside = columns >= SIDE_BY_SIDE
        across = columns // len(peers) if beside else columns
        each = None if rows is None else (rows - 2) // (1 if beside else len(peers))
        panels = [peer.panel(console, across, each) for peer in peers]
        if beside and each is None:  # as tall as the tallest
            each = max(len(console.render_lines(panel)) for panel in panels)
            panels = [peer.panel(console, across, each) for peer in peers]
        grid = Table.grid(expand=True)
        for _ in panels if beside else panels[:1]:
            grid.add_column(ratio=1)
        for row in [panels] if beside else [[panel] for panel in panels]:
            grid.add_row(*row)
        delivered = f"{sum(len(peer.seen) for peer in peers)}/{len(POSTS) * len(peers)}"
        tagline = Text("three peers, no server", "dim", no_wrap=True, overflow="ellipsis")
        head = _both_ends(Text("selchat", ACCENT), tagline)
        return Group(head, grid, _both_ends(self._caption, Text(delivered, "dim")))


def _both_ends(left: Text, right: Text) -> Table:
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(ratio=1)
    line.add_row(left, right)
    return line


def _write_picture(demo: Demo, path: str) -> None:
    with open(os.devnull, "w") as nowhere:
        console = Console(
            record=True, width=PICTURE_COLUMNS, file=nowhere, force_terminal=True,
            color_system="256", _environ={},
        )  # fmt: skip
        console.print(demo.picture(PICTURE_COLUMNS))
    svg = console.export_svg(title="make demo", unique_id="selchat")
    # It shall load nothing from elsewhere, and some viewers drop the spaces in it.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)
    Path(path).write_text(svg, encoding="utf-8")


def main() -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Three peers talk on this machine.")
    parser.add_argument("--svg", metavar="FILE", help="write the final screen there as a picture")
    args = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # whatever it can't show
    console = Console(highlight=False)
    with TemporaryDirectory(prefix="selchat-demo-") as folder:
        demo = Demo(console, Path(folder))
        good = demo.run()
    console.print(demo.picture(console.width))
    if args.svg:
        _write_picture(demo, args.svg)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
