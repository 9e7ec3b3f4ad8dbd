"""The resolver: which numbers stand for a host's name.

The system's look-up may take half a minute, and nothing can hurry it or watch it. So a child
process does it, one for each name: it writes what it has found as lines to a pipe, and the loop
watches that pipe as it watches a link. There is no thread, and nothing to wait for: a child that
finds nothing in LOOKUP_S is ended by an alarm of its own, and the end of the pipe is the news. It
is given no descriptor, no terminal and no part in our process group (Ctrl-C is not for it).

Lives here: the children, who waits for which, and how their answers are read. Never here: which
names to look up and what to do with the answer, dialing, sockets.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial

import addresses
import net

# Twice as long as a system's resolver goes on with what two name servers don't answer.
LOOKUP_S = 60.0
# At once: a few names of a person's friends. More would be as many processes of 10 MB.
MAX_CHILDREN = 4
# Callers that wait, those of the running look-ups included: more names than a person has given.
MAX_WAITING = 64
# What is tried of one name. More are a service of many machines, and no member's home.
MAX_ANSWERS = 8
# As many of the longest, "fe80:...%interface" and a line feed, with room to spare.
MAX_ANSWER_BYTES = 1024

# What the child runs. The first thing is the alarm, and to let go of what it may have inherited.
CODE = """
import os, signal, sys
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
os.closerange(3, 4096)
import socket
try:
    # As bytes: text would be read as IDNA, and to import that takes longer than to look up.
    found = socket.getaddrinfo(os.fsencode(sys.argv[2]), None, type=socket.SOCK_STREAM)
    lines = []
    for family, _, _, _, address in found:
        zone = address[3] if family == socket.AF_INET6 else 0
        lines.append(address[0] + ("%" + socket.if_indextoname(zone) if zone else ""))
except socket.gaierror as error:
    lines = ["!later" if error.errno == socket.EAI_AGAIN else "!none"]
except (OSError, ValueError):
    lines = ["!none"]
os.write(1, "".join(line + "\\n" for line in lines[:8]).encode())
"""
COMMAND = (sys.executable or "", "-I", "-S", "-c", CODE, str(LOOKUP_S))

NO_SUCH_HOST = "no such host"
NO_ANSWER = "the resolver does not answer"
NO_CHILD = "its name can't be looked up now"
TOO_MANY = "too many names to look up at once"

Done = Callable[[list[str], str], None]


class _Child:
    """A look-up that is under way."""

    def __init__(self, command: Sequence[str], host: str) -> None:
        """Raises OSError, or ValueError for what is no name at all."""
        self.host = host
        self.answer = b""
        self.pipe, writer = os.pipe()
        try:
            os.set_blocking(self.pipe, False)
            self._process = os.posix_spawn(
                command[0],
                [*command, host],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, writer, 1),
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGALRM],  # whoever has begun us may have it ignored
            )
        except BaseException:
            os.close(self.pipe)
            raise
        finally:
            os.close(writer)

    def read(self) -> bool:
        """Takes in what has come; false at the end of it."""
        try:
            data = os.read(self.pipe, MAX_ANSWER_BYTES)
        except BlockingIOError:
            return True
        self.answer += data
        return bool(data) and len(self.answer) <= MAX_ANSWER_BYTES

    def end(self) -> bool:
        """Ends and buries it; whether its alarm had ended it before. The wait is none: what it
        had to do is done, or SIGKILL is not asked twice."""
        os.close(self.pipe)
        try:
            os.kill(self._process, signal.SIGKILL)
            _, status = os.waitpid(self._process, 0)
        except (ProcessLookupError, ChildProcessError):
            return False  # whoever has begun us has SIGCHLD ignored: it is buried already
        return os.waitstatus_to_exitcode(status) == -signal.SIGALRM


class Resolver:
    """Looks up names, a few at once, each for all who ask for it at that time."""

    def __init__(self, loop: net.Loop, command: Sequence[str] = COMMAND) -> None:
        """`command`: is given the name as its last word."""
        self._loop = loop
        self._command = command
        self._asked: dict[str, list[Done]] = {}  # in the order in which they were asked for
        self._children: dict[str, _Child] = {}

    def look_up(self, host: str, done: Done) -> None:
        """Calls `done(numbers, "")` or `done([], reason)` in a later turn of the loop."""
        if sum(map(len, self._asked.values())) >= MAX_WAITING:
            self._loop.soon(partial(done, [], TOO_MANY))
            return
        self._asked.setdefault(host, []).append(done)
        self._begin()

    def close(self) -> None:
        """Ends what is under way. Who waits for it is not told."""
        self._asked.clear()
        for child in self._children.values():
            self._loop.unwatch(child.pipe)
            child.end()
        self._children.clear()

    def _begin(self) -> None:
        """Begins as many as may run at once."""
        waiting = [host for host in self._asked if host not in self._children]
        for host in waiting[: MAX_CHILDREN - len(self._children)]:
            try:
                child = _Child(self._command, host)
            except (OSError, ValueError):  # no descriptor, no process left; no name
                self._loop.soon(partial(self._tell, self._asked.pop(host), [], NO_CHILD))
                continue
            self._children[host] = child
            self._loop.watch(child.pipe, net.READ, partial(self._read, child))

    def _read(self, child: _Child, _: int) -> None:
        if self._children.get(child.host) is not child or child.read():
            return  # closed earlier in this turn, or there is more to come
        self._loop.unwatch(child.pipe)
        del self._children[child.host]
        timed_out = child.end()
        found, reason = _parse(child.answer)
        waiting = self._asked.pop(child.host)
        self._begin()
        self._tell(waiting, found, NO_ANSWER if timed_out else reason)

    def _tell(self, waiting: list[Done], found: list[str], reason: str) -> None:
        for done in waiting:
            done(list(found), reason)


def _parse(answer: bytes) -> tuple[list[str], str]:
    """The numbers in what a child has written, each once, in its order; or why there are none."""
    lines = answer.decode("ascii", "replace").split("\n")
    if lines[0] in ("!none", "!later"):
        return [], NO_SUCH_HOST if lines[0] == "!none" else NO_ANSWER
    numbers = dict.fromkeys(number for line in lines[:-1] if (number := _number(line)))
    found = list(numbers)[:MAX_ANSWERS]
    return found, "" if found else NO_CHILD


def _number(line: str) -> str | None:
    """An address in its one spelling, without the port; None for what is none."""
    from ipaddress import ip_address

    try:
        written = addresses.parse_address(f"[{line}]:1" if ":" in line else f"{line}:1")
        ip_address(written.host)
    except ValueError:
        return None
    return written.host
