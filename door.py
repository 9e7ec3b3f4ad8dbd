"""The door: where callers wait until they have knocked; nobody else hears of them before.

    listening socket -> Listener.accept -> Door.take_in -> 16 random bytes, the challenge
    32 bytes, the right knock -> a Connection -> `let_in`        anything else -> hung up on

A caller that has not knocked is a stranger: one small object, and no byte to it but the
challenge; a Link is only made for members. All who wait at the door are one descriptor
of the loop, and a patient one: however many they are, they get a small part of its time.

A crowd of strangers never locks a member out. Where the door is full, one of those who come from
the address with the most callers has to go; of IPv6 from the site, which may have 65,536 networks.
It is picked at random: the oldest would always be the honest one, whose answer has a long way. Of
many addresses with one caller each those stay from which a member has come. An address that knocks
wrong without end is hung up on without a challenge, but for so many times a second, and never if a
member has come from there.

Lives here: the listening socket, who waits, the limits. Never here: what a knock is, TLS, what is
said once somebody is in.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
from collections.abc import Callable, Iterable
from itertools import islice
from random import Random

import net
import protocol
from link import BUFFER_BYTES, WRONG_KNOCK, Gate, Link

# Callers taken in a turn: a quarter of a millisecond. The rest stays in the kernel, and while the
# loop is busy it stays there longer (net.py).
ACCEPTS_PER_TURN = 8
# Callers that are heard in a turn. Each that has knocked gets a TLS object of 50 KB, and goes again
# at the end of the turn if there are too many of them.
HEARD_PER_TURN = 16
BACKLOG = 128  # callers that the kernel keeps waiting; more would be dialing again anyway
# At the door at once: with links and files well below the 1024 descriptors that a process has.
MAX_CALLERS = 256
# Ten times what a challenge and its answer take over a slow satellite link.
KNOCK_S = 10.0
# From one address, of callers who did not get in: more than a room of a thousand dials in a
# hurry, and 2 % of a processor.
ATTEMPTS_PER_S = 500
# Addresses of which we remember how many attempts there were, and from which members came: a
# few hundred bytes each.
MAX_ADDRESSES = 1024
REPORT_S = 1.0  # a flood is one event a second, and not one for each stranger

# A hang-up that keeps nothing in the kernel: each other close would stay there for a minute.
_RESET = struct.pack("ii", 1, 0)
# Of a kernel that has no IPv6, or has it switched off.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.EINVAL)

NO_KNOCK = "hung up without a knock"
ANY_HOST, ANY_IPV4_HOST = "::", "0.0.0.0"

Address = tuple[str, int]


class Listener:
    """A listening socket. Raises OSError if it can't have the port."""

    def __init__(self, loop: net.Loop, host: str, port: int, ready: Callable[[], None]) -> None:
        """On `host` "::" it listens to callers of both families, where there are two."""
        self._loop = loop
        self.host = host
        try:
            self._socket = _listening(host, port)
        except OSError as error:
            if host != ANY_HOST or error.errno not in _NO_IPV6:
                raise
            self.host = ANY_IPV4_HOST
            self._socket = _listening(self.host, port)
        self._socket.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self.port: int = self._socket.getsockname()[1]
        loop.watch(self._socket.fileno(), net.READ, lambda _: ready(), patient=True)

    def accept(self) -> list[tuple[socket.socket, Address]]:
        """Callers, with their addresses, each in its one spelling."""
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
            accepted.append((sock, _plain(address)))
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


class _Origin:
    """One address, or one network of IPv6, that calls."""

    def __init__(self, key: str | bytes, now: float) -> None:
        self.key = key
        self.allowance = float(ATTEMPTS_PER_S)  # attempts that it has left
        self.counted = now  # when that was so
        self.callers: dict[int, _Caller] = {}  # at the door, by descriptor


class _Caller:
    """Somebody at the door."""

    def __init__(
        self, sock: socket.socket, address: Address, origin: _Origin, challenge: bytes, came: float
    ) -> None:
        self.socket, self.address, self.origin = sock, address, origin
        self.challenge = challenge
        self.came = came
        self.got = b""


class Door:
    """Those who have called and not knocked yet."""

    def __init__(
        self,
        loop: net.Loop,
        gate: Gate,
        random: Random,
        listen: Callable[[net.Connection, Address], None],
        let_in: Callable[[net.Connection, Address], None],
        refused: Callable[[Address, str, int], None],
    ) -> None:
        """Who has knocked is `let_in`, and from then on calls `listen` when there is news.
        `refused(address, reason, count)`: one of those who were refused since it was last
        called, and how many they were."""
        self._loop = loop
        self._gate = gate
        self._random = random
        self._listen, self._let_in, self._refused = listen, let_in, refused
        self._callers: dict[int, _Caller] = {}  # by descriptor, the first to come first
        self._origins: dict[str | bytes, _Origin] = {}  # the last to call last
        self._crowds: dict[str | bytes, dict[int, _Caller]] = {}  # by site, and by descriptor
        self._friendly: dict[str | bytes, None] = {}  # from there a member came; the last one last
        self._told_of: tuple[Address, str] | None = None
        self._untold = 0
        self._report_at = loop.now()
        self._selector = selectors.DefaultSelector()
        loop.watch(self._selector.fileno(), net.READ, self._on_ready, patient=True)

    def take_in(self, accepted: Iterable[tuple[socket.socket, Address]]) -> None:
        """Challenges new callers."""
        now = self._loop.now()
        for sock, address in accepted:
            origin = self._origin(_origin_of(address[0]), now)
            if origin.allowance < 1.0 and origin.key not in self._friendly:
                self._hang_up(sock, address, "too many attempts")
                continue
            origin.allowance -= 1.0
            caller = _Caller(sock, address, origin, os.urandom(protocol.CHALLENGE_BYTES), now)
            try:
                # All of it goes at once: the outbox of a new socket is empty.
                sock.send(caller.challenge, socket.MSG_DONTWAIT)
                self._enter(caller)
            except OSError:
                self._hang_up(sock, address, NO_KNOCK)
        self._report()

    def deadline(self) -> float | None:
        """When `pass_time` is due."""
        times = [caller.came + KNOCK_S for caller in islice(self._callers.values(), 1)]
        if self._told_of is not None:
            times.append(self._report_at)
        return min(times, default=None)

    def pass_time(self) -> None:
        now = self._loop.now()
        for caller in list(self._callers.values()):
            if now < caller.came + KNOCK_S:
                break
            self._refuse(caller, f"no knock within {KNOCK_S:.0f} s")
        self._report()

    def close(self) -> None:
        for caller in list(self._callers.values()):
            self._leave(caller)
            caller.socket.close()
        if self._selector.get_map() is not None:
            self._loop.unwatch(self._selector.fileno())
            self._selector.close()

    # ------------------------------------------------------------ at the door

    def _on_ready(self, _: int) -> None:
        for key, _events in self._selector.select(0)[:HEARD_PER_TURN]:
            self._hear(key.data)  # the others come first the next time
        self._report()

    def _hear(self, caller: _Caller) -> None:
        try:
            # What follows the knock is for TLS, and waits in the kernel.
            missing = protocol.KNOCK_BYTES - len(caller.got)
            data = caller.socket.recv(missing, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._refuse(caller, NO_KNOCK)
            return
        caller.got += data
        if len(caller.got) == protocol.KNOCK_BYTES:
            self._judge(caller)

    def _judge(self, caller: _Caller) -> None:
        if not self._gate.is_knock(caller.challenge, caller.got):
            self._refuse(caller, WRONG_KNOCK)
            return
        link = Link(self._gate, dialed=False, challenge=caller.challenge)
        link.sent(len(caller.challenge))
        link.receive(caller.got)  # it asks once more, and then begins TLS
        self._leave(caller)
        caller.origin.allowance += 1.0
        key = caller.origin.key
        self._friendly.pop(key, None)
        self._friendly[key] = None
        if len(self._friendly) > MAX_ADDRESSES:
            del self._friendly[next(iter(self._friendly))]
        connection = net.Connection(
            self._loop, caller.socket, link, self._news_from(caller.address)
        )
        self._let_in(connection, caller.address)

    def _news_from(self, address: Address) -> Callable[[net.Connection], None]:
        return lambda connection: self._listen(connection, address)  # and holds no caller

    def _make_room(self) -> None:
        most = max(map(len, self._crowds.values()))
        crowds = [list(crowd.values()) for crowd in self._crowds.values() if len(crowd) == most]
        strange = [crowd for crowd in crowds if crowd[0].origin.key not in self._friendly]
        crowd = self._random.choice(strange or crowds)
        self._refuse(self._random.choice(crowd), "too many at once")

    def _origin(self, key: str | bytes, now: float) -> _Origin:
        """Where a caller comes from, with what it is allowed by now."""
        origin = self._origins.pop(key, None)
        if origin is None:
            origin = _Origin(key, now)
            if len(self._origins) >= MAX_ADDRESSES:
                idle = (each for each, known in self._origins.items() if not known.callers)
                del self._origins[next(idle)]
        self._origins[key] = origin
        earned = (now - origin.counted) * ATTEMPTS_PER_S
        origin.allowance = min(ATTEMPTS_PER_S, origin.allowance + earned)
        origin.counted = now
        return origin

    # ------------------------------------------------------------ who comes and goes

    def _enter(self, caller: _Caller) -> None:
        """Raises OSError."""
        number = caller.socket.fileno()
        self._selector.register(number, net.READ, caller)
        self._callers[number] = caller.origin.callers[number] = caller
        self._crowds.setdefault(_site_of(caller.origin), {})[number] = caller
        if len(self._callers) > MAX_CALLERS:
            self._make_room()

    def _leave(self, caller: _Caller) -> None:
        number = caller.socket.fileno()
        crowd = self._crowds[site := _site_of(caller.origin)]
        del self._callers[number], caller.origin.callers[number], crowd[number]
        if not crowd:
            del self._crowds[site]
        self._selector.unregister(number)

    def _refuse(self, caller: _Caller, reason: str) -> None:
        self._leave(caller)
        self._hang_up(caller.socket, caller.address, reason)

    def _hang_up(self, sock: socket.socket, address: Address, reason: str) -> None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass  # it is gone already, on some systems
        sock.close()
        if self._told_of is None:
            self._told_of = address, reason
        self._untold += 1

    def _report(self) -> None:
        now = self._loop.now()
        if self._told_of is not None and now >= self._report_at:
            (address, reason), count = self._told_of, self._untold
            self._told_of, self._untold, self._report_at = None, 0, now + REPORT_S
            self._refused(address, reason, count)


def _listening(host: str, port: int) -> socket.socket:
    """Raises OSError if that can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            # Said in full: what holds where nothing is said differs from system to system.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != ANY_HOST)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What is accepted has it from here, before the first byte.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.bind(net.in_full((host, port)))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _plain(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """The address of a caller as a person would write it: IPv4 as such, although the socket is
    one for both families; and of one that holds on one wire only, on which."""
    host = address[0].removeprefix("::ffff:") if "." in address[0] else address[0]
    if len(address) == 4 and address[3]:
        with contextlib.suppress(OSError):  # that wire was unplugged just now
            return f"{host.partition('%')[0]}%{socket.if_indextoname(address[3])}", address[1]
    return host, address[1]


def _origin_of(host: str) -> str | bytes:
    """What counts as one address: of IPv6 a whole network, for who has one address there has
    2^64 of them."""
    if ":" not in host:
        return host
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8]


def _site_of(origin: _Origin) -> str | bytes:
    """All networks of IPv6 that one subscriber may have: their first 48 bits (RFC 6177)."""
    return origin.key if isinstance(origin.key, str) else origin.key[:6]
