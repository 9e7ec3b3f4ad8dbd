"""The net: one loop, and what it carries: links over sockets, text to a slow reader.

`Loop` knows file descriptors, one deadline and one hook before it sleeps. `Connection` ties
a link to a socket, `Outlet` writes to a descriptor that may stand still.

What a caller owes a Connection: call `flush()` once at the end of each turn (all that a
turn sends over one link is one write), and `close()` when it has failed.

Lives here: `selectors`, and with door.py the only use of `socket`. Never here: whom to dial,
printing, what a message means.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import select
import selectors
import signal
import socket
import stat
import time
from collections.abc import Callable, Sequence

from link import BUFFER_BYTES, HANDSHAKE_BYTES, READ_BYTES, Failed, Link, Secured
from protocol import Message

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Ready = tuple[selectors.SelectorKey, int]

# After so long, what else is ready waits for the next turn.
TURN_S = 0.005
# While there is something else to do, others have so many times the time that the patient have
# had before these get more: strangers (door.py) take one part in twenty-five of a busy node's time.
PATIENCE = 24
# Of Python's collector: as many objects as a long run of entries makes; then, as usual, ten times.
GC_THRESHOLDS = (20_000, 10, 10)
MAX_SLEEP_S = 3600.0  # epoll takes no more than 24 days; an hour's wake-up costs nothing
# Of a pipe, in which Linux has 64 KiB: a turn then takes in, and puts out, twice as much. (Four
# times as much is no quicker, and a burst then takes 1 MiB more.)
PIPE_BYTES = 128 * 1024
# So often a turn reads of a link that has more to say and no whole message yet: the longest is
# twice READ_BYTES.
READS = 3
# What waits for a reader of our output. More stays in the journal until it reads.
FULL_BYTES = 256 * 1024
# Posts wait elsewhere by then. Notices are all that can still come, and these are lost.
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
FINISH_S = 1.0  # at the end: a reader gets this long, then it is taken for stopped
# Hosts that are there for nobody (RFC 5737, RFC 3849), to ask the kernel for the way there.
_FAR = ((socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "192.0.2.1"))


class Loop:
    """Waits for descriptors and for one deadline; calls back in this one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self.watches_signals = False
        self._signals: Sequence[int] = ()
        self.wakeups = 0  # counted for the tests that guard an idle node's silence
        self._selector = selectors.DefaultSelector()
        self._always: dict[int, Callable[[int], None]] = {}
        self._waited: dict[int, int] = {}  # turns that had no time for a ready descriptor
        self._soon: list[Callable[[], None]] = []
        self._patient: set[int] = set()
        self._patient_at = 0.0  # until then they wait for others
        self._stopped = False

    def watch(
        self, descriptor: int, events: int, ready: Callable[[int], None], *, patient: bool = False
    ) -> None:
        """`ready(events)` is called whenever `descriptor` is ready; replaces an earlier
        watch. `patient`: but not whenever others are ready too (PATIENCE). Regular files,
        which epoll refuses, are always ready."""
        (self._patient.add if patient else self._patient.discard)(descriptor)
        try:
            if descriptor in self._selector.get_map():
                self._selector.modify(descriptor, events, ready)
            else:
                self._selector.register(descriptor, events, ready)
        except PermissionError:
            self._always[descriptor] = ready

    def unwatch(self, descriptor: int) -> None:
        if self._always.pop(descriptor, None) is None and descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)  # to unwatch twice is allowed

    def soon(self, call: Callable[[], None]) -> None:
        """Calls it in the next turn: for what must not happen in the middle of this one."""
        self._soon.append(call)

    def watch_signals(self, numbers: Sequence[int], ready: Callable[[int], None]) -> None:
        """`ready(number)` is called in a turn of the loop, never in between."""
        self.watches_signals = True
        self._signals = numbers
        reader, self._signal_writer = socket.socketpair()
        reader.setblocking(False)
        self._signal_writer.setblocking(False)
        signal.set_wakeup_fd(self._signal_writer.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)  # the byte in the pipe is the news

        def read(_: int) -> None:
            for number in reader.recv(64):
                if number in numbers:
                    ready(number)

        self.watch(reader.fileno(), READ, read)

    def release_signals(self) -> None:
        """Without turns there is nobody to hear of signals: they end the process again,
        Ctrl-C with the status that it has everywhere."""
        for number in self._signals:
            if number == signal.SIGINT:
                signal.signal(number, lambda *_: os._exit(128 + signal.SIGINT))
            else:
                signal.signal(number, signal.SIG_DFL)
        self._signals = ()

    def run(
        self,
        deadline: Callable[[], float | None],
        on_deadline: Callable[[], None],
        before_sleep: Callable[[], None],
    ) -> None:
        """Turns until `stop()`, even of before: each one event batch, then `before_sleep`."""
        gc.freeze()  # what the start has made is there to stay: no turn has to look through it
        # Nor through a burst as it comes, after each 700 objects: that was a tenth of a catch-up.
        gc.set_threshold(*GC_THRESHOLDS)
        while True:
            before_sleep()
            if self._stopped:
                self._stopped = False
                return
            due = deadline()
            ready = self._serve_patient(self._selector.select(self._timeout_s(due)))
            soon, self._soon = self._soon, []
            for call in soon:
                call()
            end = self.now() + TURN_S
            taken = 0
            while taken < len(ready) and self.now() <= end:
                key, events = ready[taken]
                key.data(events)
                taken += 1
            late = [key.fd for key, _ in ready[taken:]]
            self._waited = {fd: self._waited.get(fd, 0) + 1 for fd in late}
            self.wakeups += 1
            for always in list(self._always.values()):
                always(READ)
            if due is not None and due <= self.now():  # what came in may be due: in the next turn
                on_deadline()

    def _serve_patient(self, ready: list[Ready]) -> list[Ready]:
        """Calls the patient, if it is their time; the others that are ready, who has waited
        longest first."""
        patient = [each for each in ready if each[0].fd in self._patient]
        others = [each for each in ready if each[0].fd not in self._patient]
        others.sort(key=lambda each: -self._waited.get(each[0].fd, 0))
        if patient and not (others and self.now() < self._patient_at):
            began = self.now()
            for key, events in patient:
                key.data(events)
            ended = self.now()
            self._patient_at = ended + PATIENCE * (ended - began)
        return others

    def _timeout_s(self, due: float | None) -> float | None:
        if self._always or self._soon:
            return 0.0
        return None if due is None else min(max(0.0, due - self.now()), MAX_SLEEP_S)

    def stop(self) -> None:
        """Ends `run` after the turn."""
        self._stopped = True


class Connection:
    """A link on a socket. `ready(connection)` is called when there may be news: then
    call `receive`."""

    def __init__(
        self, loop: Loop, sock: socket.socket, link: Link, ready: Callable[[Connection], None]
    ) -> None:
        self.link = link
        self.id = 0  # its owner's number for it
        self.writes = 0  # counted for the tests that guard the cost of a turn
        self._loop = loop
        self._socket = sock
        self._ready = ready
        self._connecting = False
        self._watched = 0
        self._drained = False
        _tune(sock)

    @classmethod
    def dial(
        cls,
        loop: Loop,
        address: tuple[str, int],
        link: Link,
        ready: Callable[[Connection], None],
        make: Callable[[int, int], socket.socket] = socket.socket,
    ) -> Connection:
        """Begins to connect, on a socket from `make`. Raises OSError if that fails at
        once."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        # Raises an error for a name, which the system would look up here and now.
        socket.inet_pton(family, address[0].partition("%")[0])
        full = in_full(address)
        sock = make(family, socket.SOCK_STREAM)
        connection = cls(loop, sock, link, ready)
        error = sock.connect_ex(full)
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        connection._connecting = True
        connection._watch(WRITE)
        return connection

    def _watch(self, events: int) -> None:
        if events != self._watched:
            self._watched = events
            self._loop.watch(self._socket.fileno(), events, self._on_ready)

    def _on_ready(self, events: int) -> None:
        if self._socket.fileno() < 0:
            return  # closed earlier in this turn
        if events & WRITE:
            self.flush(mid_turn=True)
        if events & READ or self._connecting or self._drained or self.link.unread:
            self._ready(self)

    def take_drained(self) -> bool:
        """Whether the outbox was clogged and is no longer; true once."""
        drained, self._drained = self._drained, False
        return drained

    def receive(self) -> list[Secured | Failed | Message]:
        """What has come, as much as a turn may take in: no link starves the others."""
        if self._connecting:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                return [Failed(os.strerror(error).lower())]
            self._connecting = False
            self._watch(READ)
        if self.link.unread:
            return self.link.receive(b"", everything=False)
        heard: list[Secured | Failed | Message] = []
        for _ in range(READS):
            size = READ_BYTES if self.link.secured else HANDSHAKE_BYTES
            try:
                data = self._socket.recv(size)
            except BlockingIOError:
                break
            except OSError as error:
                return [self.link.ended((error.strerror or str(error)).lower())]
            if not data:
                return [self.link.ended("closed without a goodbye")]
            heard = self.link.receive(data, everything=False)
            if heard or len(data) < size:
                break
        return heard

    def flush(self, *, mid_turn: bool = False) -> None:
        """Sends what is queued, as much as the kernel takes. A broken connection shows
        at the next read. `mid_turn`: of earlier turns only."""
        if self._connecting:
            return
        link = self.link
        was_clogged = link.clogged
        outgoing = link.outgoing(mid_turn=mid_turn)
        if outgoing:
            try:
                count = self._socket.send(outgoing)
            except BlockingIOError:
                count = 0
            except OSError:
                count = len(outgoing)
            self.writes += 1
            self.link.sent(count)
        # Even if all is sent by now: the caller is told in the next turn, not in this one,
        # so that one fast reader can't keep the loop to itself.
        if was_clogged and not link.clogged:
            self._drained = True
        again = link.queued_bytes or self._drained or link.unread
        self._watch(READ | WRITE if again else READ)

    def close(self) -> None:
        """Flushes once, then closes. What the kernel can't take now is given up."""
        if self._socket.fileno() < 0:
            return
        self.flush()
        self._loop.unwatch(self._socket.fileno())
        with contextlib.suppress(OSError):
            # Unread bytes would turn the close into a reset, and the goodbye be lost.
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.recv(READ_BYTES)
        self._socket.close()


def wait_to_read(descriptor: int) -> None:
    """Waits for what there is to read, or its end, without a loop: before there is one."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()


class Outlet:
    """Text out to a descriptor that may stand still (a pager, a stopped terminal), without
    ever waiting for it. Its owner looks at `full`, and keeps what else there is to itself."""

    def __init__(self, loop: Loop, descriptor: int, broken: Callable[[OSError], None]) -> None:
        """`broken(error)` is called once, when nothing can be written there any more."""
        self._loop = loop
        self._descriptor = descriptor
        self._broken: Callable[[OSError], None] | None = broken
        self._queue = bytearray()
        self._poll = select.poll()
        # What polls as writable takes PIPE_BUF bytes without blocking (POSIX).
        self._at_once_bytes = select.PIPE_BUF
        with contextlib.suppress(OSError):
            # A description of our own: to make the shared one non-blocking would change it for
            # the shell and everybody else who has this terminal or pipe. It takes what it can at
            # once: of a burst that is 16 times as much.
            self._descriptor = os.open(
                _path_of(descriptor), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            )
            self._at_once_bytes = MAX_OUTPUT_BYTES
            widen(descriptor)
        self._poll.register(self._descriptor, select.POLLOUT)

    @property
    def full(self) -> bool:
        return len(self._queue) > FULL_BYTES

    def write(self, text: str) -> None:
        """Writes what can be written now, and queues the rest."""
        data = text.encode(errors="replace")
        if not self._queue:
            data = data[self._put(data) :]
        if len(self._queue) < MAX_OUTPUT_BYTES:
            self._queue += data
        self._write_some()

    def finish(self, end: float) -> bool:
        """Writes the rest, until `end` at the latest. False if the reader stood still for
        FINISH_S, or the time was over."""
        while self._queue and self._loop.now() < end and self._poll.poll(FINISH_S * 1000):
            self._write_some()
        self._loop.unwatch(self._descriptor)
        return not self._queue

    def _write_some(self) -> None:
        while self._queue:
            with memoryview(self._queue) as queue:
                count = self._put(queue)
            if not count:
                self._loop.watch(self._descriptor, WRITE, lambda _: self._write_some())
                return
            del self._queue[:count]
        self._loop.unwatch(self._descriptor)

    def _put(self, data: bytes | memoryview) -> int:
        """Writes what it takes of it now. What can't be written at all is given up."""
        try:
            # If it did not wait, we would not have to ask.
            if self._at_once_bytes == select.PIPE_BUF and not self._poll.poll(0):
                return 0
            return os.write(self._descriptor, data[: self._at_once_bytes])
        except BlockingIOError:
            return 0
        except OSError as error:
            if self._broken:
                broken, self._broken = self._broken, None
                broken(error)
            return len(data)


def widen(descriptor: int) -> None:
    """Gives a pipe room for a burst; where that is not possible, it stays as it is."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _path_of(descriptor: int) -> str:
    """Where a terminal or a pipe can be opened anew. Raises OSError for anything else: a file takes
    all at once anyway, and a socket can't be opened."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return f"/proc/self/fd/{descriptor}"
    return os.ttyname(descriptor)


def local_hosts() -> list[str]:
    """The addresses of this machine from which it would reach the internet, of each family."""
    found = []
    for family, far in _FAR:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((far, 9))  # sends nothing: the kernel only finds the way
            found.append(sock.getsockname()[0])
    return found


def in_full(address: tuple[str, int]) -> tuple[str, int] | tuple[str, int, int, int]:
    """As the system wants it: with the number of the wire on which it holds, where it says one.
    Raises OSError if there is no such wire."""
    host, _, zone = address[0].partition("%")
    if not zone:
        return address
    try:
        number = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    except (OSError, ValueError):  # the first has no words for it; NUL is no name at all
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None
    return host, address[1], 0, number


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    # Before the handshake: without it a handshake takes 43 ms instead of 3.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
