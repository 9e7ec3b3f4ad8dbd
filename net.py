"""The net: one loop, and links that speak TLS without ever waiting.

`Loop` knows file descriptors, one deadline and one hook before it sleeps. `Link` turns
bytes into messages and back (the way in, TLS over memory BIOs, frames; see protocol.py)
and touches no socket. `Connection` ties a link to a socket, `Listener` accepts.

What a caller owes a Connection: call `flush()` once at the end of each turn (all that a
turn sends over one link is one write), and `close()` when it has failed.

A peer that does not read costs HIGH_WATER_BYTES and one run of entries in our memory,
and twice BUFFER_BYTES (Linux doubles it) in the kernel; then `clogged` says so and the
caller sends no more entries. At MAX_QUEUED_BYTES of other messages the link has failed.

Lives here: the only use of `socket` and `selectors`. Never here: whom to dial, printing,
what a message means.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import selectors
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import protocol
from protocol import Message, RemoteError

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

# Some more than a run of entries: one read takes in a burst, one turn stays short.
READ_BYTES = 256 * 1024
# What a link brings in at once, that the loop may be back soon: the messages of this many
# bytes (the largest record of TLS), and no more than so many messages.
TURN_BYTES = 16 * 1024
TURN_MESSAGES = 32
# After so long, what else is ready waits for the next turn.
TURN_S = 0.005
# The kernel's default is 4 MB a link on loopback; this carries a burst, and a link to
# the other side of the world with 128 KiB in flight.
BUFFER_BYTES = 64 * 1024
HIGH_WATER_BYTES = 64 * 1024
# Half a megabyte for a link, less what the kernel may hold of it: high water, one run, and
# room for what else a turn may say (a frontier or a proof, answers).
MAX_QUEUED_BYTES = 512 * 1024 - 2 * BUFFER_BYTES
# Callers taken in a turn; the rest waits in the kernel for the next one.
ACCEPTS_PER_TURN = 32
MAX_SLEEP_S = 3600.0  # epoll takes no more than 24 days; an hour's wake-up costs nothing
# What waits for a reader of our output. More stays in the journal until it reads.
FULL_BYTES = 256 * 1024
# Posts wait elsewhere by then. Notices are all that can still come, and these are lost.
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
FINISH_S = 1.0  # at the end: a reader gets this long, then it is taken for stopped
# Hosts that are there for nobody (RFC 5737, RFC 3849), to ask the kernel for the way there.
_FAR = ((socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "192.0.2.1"))
BACKLOG = 128  # callers that the kernel keeps waiting; more would be dialing again anyway


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
        self._stopped = False

    def watch(self, descriptor: int, events: int, ready: Callable[[int], None]) -> None:
        """`ready(events)` is called whenever `descriptor` is ready; replaces an earlier
        watch. Regular files, which epoll refuses, are always ready."""
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
        while True:
            before_sleep()
            if self._stopped:
                self._stopped = False
                return
            ready = self._selector.select(self._timeout_s(deadline()))
            soon, self._soon = self._soon, []
            for call in soon:
                call()
            ready.sort(key=lambda each: -self._waited.get(each[0].fd, 0))
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
            due = deadline()
            if due is not None and due <= self.now():
                on_deadline()

    def _timeout_s(self, due: float | None) -> float | None:
        if self._always or self._soon:
            return 0.0
        return None if due is None else min(max(0.0, due - self.now()), MAX_SLEEP_S)

    def stop(self) -> None:
        """Ends `run` after the turn."""
        self._stopped = True


# ---------------------------------------------------------------- links


@dataclass(frozen=True)
class Secured:
    """TLS is through; `member` is at the far end, by a certificate of the room."""

    member: bytes


@dataclass(frozen=True)
class Failed:
    """The link is over. `fault`: the far end broke the protocol."""

    reason: str
    fault: bool = False


@dataclass(frozen=True)
class Gate:
    """What a room hands to its links: the knock, the TLS contexts, and whose key is in a
    certificate (DER) of the room (None: nobody's)."""

    knock: Callable[[bytes], bytes]
    is_knock: Callable[[bytes, bytes], bool]
    accepting: ssl.SSLContext
    dialing: ssl.SSLContext
    member_of: Callable[[bytes], bytes | None]


class Link:
    """Bytes from the far end in, messages out; messages in, bytes for the far end out."""

    def __init__(self, gate: Gate, *, dialed: bool, challenge: bytes = b"") -> None:
        """`challenge`: 16 random bytes, of a listener only."""
        self._gate = gate
        self._dialed = dialed
        self._challenge = challenge
        self._knocking: bytearray | None = bytearray()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = gate.dialing if dialed else gate.accepting
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=not dialed)
        self._secured = False
        self._frames = protocol.Frames()
        self._arriving: Iterator[Message] | None = None  # of a record that is decrypted
        self.unread = False  # whether `receive(b"")` may bring more
        self._plain: list[bytes] = []  # frames of this turn
        self._cipher = bytearray(challenge)  # not yet taken by the socket
        self.queued_bytes = len(challenge)
        self.received_bytes = self.sent_bytes = 0  # as they went through the socket

    @property
    def clogged(self) -> bool:
        return self.queued_bytes > HIGH_WATER_BYTES

    def send(self, message: Message) -> None:
        """Queues a message. Raises RemoteError if the far end has not read for too long."""
        frame = protocol.encode(message)
        if self.queued_bytes + len(frame) > MAX_QUEUED_BYTES:
            raise RemoteError("nothing back: it does not read what it is sent")
        self._plain.append(frame)
        self.queued_bytes += len(frame)

    def receive(self, data: bytes, *, everything: bool = True) -> list[Secured | Failed | Message]:
        """What `data` brings; at most one Failed, as the last. `everything`: else what a turn
        take in, and `unread` tells of the rest."""
        events: list[Secured | Failed | Message] = []
        self.received_bytes += len(data)
        self.unread = False
        try:
            if self._knocking is not None:
                data = self._knock(self._knocking, data)
            if self._knocking is None:
                self._incoming.write(data)
                self._decrypt(events, everything)
        except RemoteError as error:
            events.append(Failed(str(error), fault=True))
        except ssl.SSLError as error:
            reason = (error.reason or "TLS failed").lower().replace("_", " ")
            events.append(Failed(f"TLS: {reason}", fault=True))
        return events

    def _knock(self, got: bytearray, data: bytes) -> bytes:
        """The way in up to TLS; returns what belongs to TLS already."""
        size = protocol.CHALLENGE_BYTES if self._dialed else protocol.KNOCK_BYTES
        missing = size - len(got)
        got += data[:missing]
        if len(got) < size:
            return b""
        if self._dialed:
            self._cipher += self._gate.knock(bytes(got))
        elif not self._gate.is_knock(self._challenge, bytes(got)):
            raise RemoteError("no knock of this room")
        self._knocking = None
        return data[missing:]

    def _decrypt(self, events: list[Secured | Failed | Message], everything: bool) -> None:
        size = 0
        try:
            if not self._secured:
                self._tls.do_handshake()
                member = self._gate.member_of(self._tls.getpeercert(binary_form=True) or b"")
                if member is None:
                    raise RemoteError("a certificate without a member's key")
                self._secured = True
                events.append(Secured(member))
            while everything or (size < TURN_BYTES and len(events) < TURN_MESSAGES):
                if self._arriving is None:
                    plain = self._tls.read(READ_BYTES)
                    if not plain:
                        events.append(Failed("closed"))
                        return
                    size += len(plain)
                    self._arriving = self._frames.feed(plain)
                for message in self._arriving:
                    events.append(message)
                    if not everything and len(events) >= TURN_MESSAGES:
                        break
                else:
                    self._arriving = None
            self.unread = True
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            events.append(Failed("closed"))

    def outgoing(self, *, mid_turn: bool = False) -> bytearray:
        """What is to be sent now; the socket deletes from its front what it took. `mid_turn`:
        without the messages of this turn, which may tell of what is not stored yet."""
        if self._plain and self._secured and not mid_turn:
            with contextlib.suppress(ssl.SSLError):  # broken: the reader has said so, or will
                self._tls.write(b"".join(self._plain))
            self._plain.clear()
        if self._outgoing.pending:
            self._cipher += self._outgoing.read()
        if not self._plain:
            self.queued_bytes = len(self._cipher)
        return self._cipher

    def sent(self, count: int) -> None:
        del self._cipher[:count]
        self.sent_bytes += count
        self.queued_bytes = max(0, self.queued_bytes - count)


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
        sock = make(family, socket.SOCK_STREAM)
        connection = cls(loop, sock, link, ready)
        error = sock.connect_ex(address)
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
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            return [Failed((error.strerror or str(error)).lower())]
        if not data:
            return [Failed("closed without a goodbye")]
        return self.link.receive(data, everything=False)

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


class Listener:
    """A listening socket. Raises OSError if it can't have the port."""

    def __init__(self, loop: Loop, host: str, port: int, ready: Callable[[], None]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._loop = loop
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted has it from here, before the first byte.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            self._socket.bind((host, port))
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self.port: int = self._socket.getsockname()[1]
        loop.watch(self._socket.fileno(), READ, lambda _: ready())

    def accept(self) -> list[tuple[socket.socket, tuple[str, int]]]:
        """Callers, with their addresses."""
        accepted = []
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    continue  # this one caller is gone again
                self._turn_one_away()
                break
            accepted.append((sock, (address[0], address[1])))
        return accepted

    def _turn_one_away(self) -> None:
        """Out of descriptors. A caller that waits would wake us without end: the spare
        one lets us accept it and hang up."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._socket.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            os.close(self._spare)


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
        if os.isatty(descriptor):
            with contextlib.suppress(OSError):
                # A description of our own: to make the shared one non-blocking would
                # change it for the shell and everybody else on this terminal.
                path = os.ttyname(descriptor)
                self._descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        self._poll.register(self._descriptor, select.POLLOUT)

    @property
    def full(self) -> bool:
        return len(self._queue) > FULL_BYTES

    def write(self, text: str) -> None:
        """Queues `text`, and writes what can be written now."""
        if len(self._queue) < MAX_OUTPUT_BYTES:
            self._queue += text.encode(errors="replace")
        self._write_some()

    def finish(self, end: float) -> bool:
        """Writes the rest, until `end` at the latest. False if the reader stood still for
        FINISH_S, or the time was over."""
        while self._queue and self._loop.now() < end and self._poll.poll(FINISH_S * 1000):
            self._write_some()
        self._loop.unwatch(self._descriptor)
        return not self._queue

    def _write_some(self) -> None:
        try:
            # A pipe that polls as writable takes PIPE_BUF bytes without blocking (POSIX).
            while self._queue and self._poll.poll(0):
                del self._queue[: os.write(self._descriptor, self._queue[: select.PIPE_BUF])]
        except BlockingIOError:
            pass  # a terminal that takes less than that; watched below
        except OSError as error:
            self._queue.clear()
            if self._broken:
                broken, self._broken = self._broken, None
                broken(error)
        if self._queue:
            self._loop.watch(self._descriptor, WRITE, lambda _: self._write_some())
        else:
            self._loop.unwatch(self._descriptor)


def local_hosts() -> list[str]:
    """The addresses of this machine from which it would reach the internet, of each family."""
    found = []
    for family, far in _FAR:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((far, 9))  # sends nothing: the kernel only finds the way
            found.append(sock.getsockname()[0])
    return found


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    # Before the handshake: without it a handshake takes 43 ms instead of 3.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
