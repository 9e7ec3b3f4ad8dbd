"""Real selchat processes for tests: started, read, typed to, and waited for.

A `Crowd` is all the processes that one test starts. `crowd.wait(condition, what)` reads
from all of them until the condition holds, with a deadline and without threads, so that
none of them ever stands still because nobody reads its output.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import selectors
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pyte

ROOT = Path(__file__).resolve().parent.parent
SELCHAT = ROOT / "selchat.py"
DEADLINE_S = 10.0  # generous: a busy machine is no reason to fail
POLL_S = 0.02  # for conditions that no descriptor tells about, such as a file's contents
ROWS, COLUMNS = 24, 80

Event = dict[str, Any]
Input = int | IO[Any] | None


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class Process:
    """One process of a crowd, and all that it has written so far."""

    def __init__(self, crowd: Crowd, popen: subprocess.Popen[bytes], data: Path | None) -> None:
        self.popen = popen
        self.data = data
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._crowd = crowd
        self._parsed = 0
        self._events: list[Event] = []
        self._unwritten = bytearray()
        self._ending = False
        for pipe, sink in ((popen.stdout, self.stdout), (popen.stderr, self.stderr)):
            if pipe is not None:
                crowd.read_from(pipe.fileno(), sink.extend)
        if popen.stdin is not None:
            os.set_blocking(popen.stdin.fileno(), False)

    # ------------------------------------------------------------ what it says

    @property
    def all_events(self) -> list[Event]:
        """Every JSON event so far."""
        end = self.stdout.rfind(b"\n") + 1
        for line in self.stdout[self._parsed : end].splitlines():
            self._events.append(json.loads(line))
        self._parsed = end
        return self._events

    def events(self, kind: str, **fields: object) -> list[Event]:
        """The events of one kind with these values in them."""
        return [
            event
            for event in self.all_events
            if event["event"] == kind and all(event[key] == fields[key] for key in fields)
        ]

    def texts(self, **fields: object) -> list[str]:
        """The texts of the posts of others, or of those with these values, as they came."""
        return [event["text"] for event in self.events("message", **(fields or {"own": False}))]

    def notices(self) -> list[str]:
        return [event["text"] for event in self.events("notice")]

    def errors(self) -> list[str]:
        return [event["text"] for event in self.events("error")]

    def linked(self) -> set[str]:
        """The ids of the members that it is linked to now."""
        up: set[str] = set()
        for event in self.events("link"):
            if event["state"] == "up":
                up.add(event["id"])
            else:
                up.discard(event["id"])
        return up

    @property
    def id(self) -> str:
        return str(self.events("ready")[0]["id"])

    @property
    def port(self) -> int:
        return int(self.events("ready")[0]["address"].rpartition(":")[2])

    @property
    def lines(self) -> list[str]:
        """The complete lines of its standard output."""
        return self.stdout.decode().split("\n")[:-1]

    @property
    def error_lines(self) -> list[str]:
        return self.stderr.decode().splitlines()

    # ------------------------------------------------------------ what is done to it

    def write(self, text: str | bytes) -> None:
        """To its standard input, as fast as it takes it."""
        self._unwritten += text.encode() if isinstance(text, str) else text
        self._crowd.write_to(self._input(), self._write_some)

    def say(self, *posts: str) -> None:
        self.write("".join(f"{post}\n" for post in posts))

    def end_input(self) -> None:
        """Closes its standard input, after what was written to it."""
        self._ending = True
        self._crowd.write_to(self._input(), self._write_some)

    def _input(self) -> int:
        assert self.popen.stdin is not None
        return self.popen.stdin.fileno()

    def _write_some(self) -> bool:
        """Whether there is more to be written."""
        assert self.popen.stdin is not None
        try:
            count = os.write(self._input(), self._unwritten) if self._unwritten else 0
        except BlockingIOError:
            return True
        except BrokenPipeError:
            count = len(self._unwritten)
        del self._unwritten[:count]
        if self._ending and not self._unwritten:
            self.popen.stdin.close()
        return bool(self._unwritten)

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """As kill -9 does. What it had written until then can still be read."""
        self.popen.kill()
        self.wait_end()

    def wait_ready(self) -> Process:
        self._crowd.wait(lambda: self.events("ready") or self.has_ended, "it is ready")
        assert self.events("ready"), f"ended before it was ready: {self.stderr.decode()}"
        return self

    @property
    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    def wait_end(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit status, once all that it wrote is read."""
        self._crowd.wait(lambda: self.has_ended, "it has ended", deadline_s)
        pipes = [pipe for pipe in (self.popen.stdout, self.popen.stderr) if pipe is not None]
        open_ones = [pipe.fileno() for pipe in pipes if not pipe.closed]
        self._crowd.wait(lambda: not self._crowd.reads_any(open_ones), "its output is read")
        return self.popen.returncode

    def peak_memory_bytes(self) -> int:
        """The most memory that it ever had."""
        return self._status("VmHWM") * 1024

    def memory_bytes(self) -> int:
        return self._status("VmRSS") * 1024

    def sleeps(self) -> int:
        """How often it went to sleep, and so how often it was woken."""
        return self._status("voluntary_ctxt_switches")

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.popen.pid}/fd"))

    def cpu_s(self) -> float:
        """The time that it has computed."""
        # The first number, in ns: of its one thread. The better known file counts in 10 ms.
        return int(Path(f"/proc/{self.popen.pid}/schedstat").read_text().split()[0]) / 1e9

    def _status(self, key: str) -> int:
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        found = re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE)
        assert found is not None
        return int(found[1])

    def close(self) -> None:
        if not self.has_ended:
            self.popen.kill()
            self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe is not None and not pipe.closed:
                self._crowd.forget(pipe.fileno())
                pipe.close()


class TerminalProcess(Process):
    """One process on a pseudo-terminal of its own, and what is to be seen on that."""

    def __init__(
        self,
        crowd: Crowd,
        popen: subprocess.Popen[bytes],
        data: Path,
        master: int,
        slave: int,
        mode_before: list[Any],
        show: Callable[[bytes], object] | None,
    ) -> None:
        self._master, self._slave = master, slave
        self.mode_before = mode_before
        self.mode_after: list[Any] = []
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._feed = show or pyte.ByteStream(self.screen).feed
        super().__init__(crowd, popen, data)
        os.set_blocking(master, False)
        crowd.read_from(master, self._show)

    def _show(self, data: bytes) -> None:
        self.stdout += data
        self._feed(data)

    def resize(self, columns: int, rows: int) -> None:
        """Its window has another size from here on, which it is told by a signal."""
        termios.tcsetwinsize(self._master, (rows, columns))

    def _input(self) -> int:
        return self._master

    def _write_some(self) -> bool:
        count = os.write(self._master, self._unwritten)
        del self._unwritten[:count]
        return bool(self._unwritten)

    @property
    def rows(self) -> list[str]:
        """What is on the screen, without the empty rows below it."""
        return "\n".join(row.rstrip() for row in self.screen.display).rstrip("\n").split("\n")

    def wait_end(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit status, once all that it wrote is on the screen."""
        status = super().wait_end(deadline_s)
        self._hang_up()
        self._crowd.wait(lambda: not self._crowd.reads_any([self._master]), "its output is read")
        return status

    def mode(self) -> list[Any]:
        """Of the terminal, now."""
        return termios.tcgetattr(self._slave)

    def lose_terminal(self) -> None:
        """As if its window was closed."""
        self.mode_after = self.mode()
        self._crowd.forget(self._master)
        for descriptor in (self._slave, self._master):
            os.close(descriptor)
        self._slave = self._master = -1

    def _hang_up(self) -> None:
        """Nobody has the terminal open any more: the end of its output can be seen."""
        if self._slave >= 0:
            self.mode_after = termios.tcgetattr(self._slave)
            os.close(self._slave)
            self._slave = -1

    def close(self) -> None:
        super().close()
        if self._master >= 0:
            self._hang_up()
            self._crowd.forget(self._master)
            os.close(self._master)


def _as_from_a_shell() -> None:
    """Its terminal is the controlling one, and no signal is ignored: what a script has begun with
    `&`, as it may have these tests, ignores Ctrl-C, and so does all that this begins."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


class Crowd:
    """All the processes that one test has started, in one folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.processes: list[Process] = []
        self._selector = selectors.DefaultSelector()
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.close()
        self._selector.close()

    # ------------------------------------------------------------ starting

    def start(
        self,
        *arguments: object,
        data: Path | str | None = "",
        json: bool = True,
        stdin: Input = subprocess.PIPE,
        command: list[str] | None = None,
        environment: dict[str, str] | None = None,
        descriptors: int | None = None,
        inside: list[str] | None = None,
    ) -> Process:
        """Starts selchat. `data`: its folder; by default a new one, None for selchat's own
        choice. `command`: what to start in its place. `descriptors`: how many it may open.
        `inside`: what to put before all that, such as the namespace it is to run in."""
        folder = self._folder(data)

        def limit() -> None:
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        popen = subprocess.Popen(
            (inside or []) + self._command(arguments, folder, command, ["--json"] if json else []),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment | (environment or {}),
            cwd=self.folder,
            preexec_fn=limit if descriptors is not None else None,
        )
        self.processes.append(Process(self, popen, folder))
        return self.processes[-1]

    def start_proxy(self, ports: list[int], seed: int = 1) -> Process:
        """Starts a bad network before the nodes on these ports; see proxy.py."""
        return self.start(
            *("--seed", seed, *ports),
            command=[sys.executable, "-m", "tests.proxy"],
            environment={"PYTHONPATH": str(ROOT)},
        ).wait_ready()

    def start_on_terminal(
        self,
        *arguments: object,
        data: Path | str = "",
        command: list[str] | None = None,
        show: Callable[[bytes], object] | None = None,
        inside: list[str] | None = None,
    ) -> TerminalProcess:
        """Starts selchat, or `command`, on a pseudo-terminal, which is its controlling one.
        `show`: what is done with its output; by default it is to be seen on its `screen`.
        `inside`: what to put before all that."""
        folder = self._folder(data)
        assert folder is not None
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))
        before = termios.tcgetattr(slave)
        popen = subprocess.Popen(
            (inside or []) + self._command(arguments, folder, command, []),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environment | ({"PYTHONPATH": str(ROOT)} if command else {}),
            cwd=self.folder,
            start_new_session=True,
            preexec_fn=_as_from_a_shell,
        )
        process = TerminalProcess(self, popen, folder, master, slave, before, show)
        self.processes.append(process)
        return process

    def run(self, *arguments: object, **options: Any) -> Process:
        """Starts selchat with nothing to read, and waits for its end."""
        process = self.start(*arguments, **{"stdin": subprocess.DEVNULL, **options})
        process.wait_end()
        return process

    def _folder(self, data: Path | str | None) -> Path | None:
        if data == "":
            return self.folder / f"data-{len(self.processes)}"
        return None if data is None else self.folder / data

    def _command(
        self,
        arguments: tuple[object, ...],
        data: Path | None,
        command: list[str] | None,
        options: list[str],
    ) -> list[str]:
        if command is not None:
            return [*command, *map(str, arguments)]
        options += [] if data is None else ["--data", str(data)]
        return [sys.executable, str(SELCHAT), *options, *map(str, arguments)]

    # ------------------------------------------------------------ waiting

    def wait(
        self, condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S
    ) -> None:
        """Reads from all until the condition holds. Fails if it does not in time."""
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {deadline_s:g} s: {what}\n{self._summary()}")
            self._turn(POLL_S)

    def _turn(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            key.data()

    def _summary(self) -> str:
        """The last of what each process has said."""
        return "\n".join(
            f"{str(process.popen.args)[:400]} exit {process.popen.poll()}: "
            f"{bytes(process.stdout[-300:])!r} stderr {bytes(process.stderr[-300:])!r}"
            for process in self.processes[-8:]
        )

    def wait_s(self, seconds: float) -> None:
        """Reads from all for so long: for tests of what happens, or not, within a time."""
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            self._turn(min(left_s, POLL_S))

    def read(self) -> None:
        """Reads from all what there is."""
        self._turn(0.0)

    def wait_linked(self, *processes: Process, deadline_s: float = DEADLINE_S) -> None:
        """Until each of these is linked to all the others of these."""

        def complete() -> bool:
            ids = {process.id for process in processes}
            return all(process.linked() >= ids - {process.id} for process in processes)

        for process in processes:
            process.wait_ready()
        self.wait(complete, "all are linked to one another", deadline_s)

    def read_from(self, descriptor: int, sink: Callable[[bytes], object]) -> None:
        def read() -> None:
            try:
                data = os.read(descriptor, 1 << 20)
            except BlockingIOError:
                return
            except OSError:
                data = b""  # a terminal that nobody has open any more
            if data:
                sink(data)
            else:
                self.forget(descriptor)

        self._selector.register(descriptor, selectors.EVENT_READ, read)

    def write_to(self, descriptor: int, write_some: Callable[[], bool]) -> None:
        """Writes what the pipe takes now, and the rest as it takes more."""
        if not write_some():
            return
        if descriptor in self._selector.get_map():
            return

        def write() -> None:
            self.forget(descriptor)
            self.write_to(descriptor, write_some)

        self._selector.register(descriptor, selectors.EVENT_WRITE, write)

    def reads_any(self, descriptors: list[int]) -> bool:
        return any(descriptor in self._selector.get_map() for descriptor in descriptors)

    def forget(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
