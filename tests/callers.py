"""Callers at a simulated node that are no nodes: strangers, and a member that keeps to nothing.

Lives here: what they do to a connection. Never here: when, and what must come of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, cast

import link as links
import mesh
import net
import protocol
from link import Failed, Link, Secured
from protocol import Entries, Have, Head, Hello, Message, Peer, Peers, Ping, Pong
from tests.simulator import SOCKET_BYTES, Machine, Room, Socket, gate_of

BOASTS = 0.1  # of rude members
MANY = 30_000  # messages; a second of a real processor
PATIENCE_S = 2.0  # then a caller hangs up that was not hung up on


class Caller:
    """Calls, and says what it has to say as soon as TLS is through; or nothing at all."""

    def __init__(
        self,
        source: Machine,
        target: Machine,
        member: bytes,
        says: Sequence[Message],
        *,
        knocks: bool = True,
        silent: bool = False,
        then: bytes = b"",
    ) -> None:
        """`then`: frames, after which it reads nothing any more."""
        self._source = source
        self._says = says
        self._silent = silent
        self._then = then
        gate = gate_of(member)
        link = Link(gate if knocks else gate.but(knock=lambda _: bytes(32)), dialed=True)
        make = cast(Any, lambda *_: Socket(source))
        self._connection = net.Connection.dial(
            source._loop, target.address, link, self._listen, make
        )
        source.room.after(PATIENCE_S, self._connection.close)

    def _listen(self, connection: net.Connection) -> None:
        for heard in connection.receive():
            if isinstance(heard, Failed):
                connection.close()
                return
            if isinstance(heard, Secured):
                for message in self._says:
                    connection.link.send(message)
                if self._then:
                    self._go_deaf(connection)
                    return
        connection.take_drained()
        if not self._silent:
            connection.flush()

    def _go_deaf(self, connection: net.Connection) -> None:
        sock = cast(Socket, connection._socket)
        connection.link._plain.append(self._then)
        connection.flush()
        self._source._loop.unwatch(sock.descriptor)
        sock.peer.in_flight = SOCKET_BYTES  # not even its kernel takes more


def crowd(source: Machine, target: Machine, chance: Random) -> None:
    """More at once than a node has room for: they say nothing, don't know how to knock, or
    have a key of no member."""
    ways: list[dict[str, Any]] = [{"silent": True}, {"knocks": False}]
    for _ in range(mesh.MAX_OPENING + 6):
        Caller(source, target, chance.randbytes(32), [Hello("x", 1, 1)], **chance.choice(ways))


def deaf(source: Machine, target: Machine, chance: Random) -> None:
    """A member that asks, and asks, and never reads an answer."""
    hello = Hello(source.name, source.address[1], chance.getrandbits(64))
    asks = links.MAX_QUEUED_BYTES // len(protocol.encode(Pong())) + 2_000
    if asks < MANY:
        then = protocol.encode(Have(())) + asks * protocol.encode(Ping())
        Caller(source, target, source.member, [hello], then=then)


def rude(room: Room, source: Machine, target: Machine, chance: Random, entry: bytes) -> None:
    """A member that does not say Hello, or twice, or begins what it does not finish. `entry`:
    one that it has made."""
    log = protocol.parse_entry(entry).log
    hello = Hello(source.name, source.address[1], chance.getrandbits(64))
    held = tuple(Head(each, 1) for each in _logs(room))[: protocol.MAX_HAVE_LOGS]
    says: tuple[tuple[Message, ...], ...] = (
        (Peers((Peer(target.member, *target.address),)),),
        (Have((Head(log, 1),)),),
        (Entries((entry,)),),
        (Ping(),),
        (hello, hello, Have(())),
        (hello, Have(held, last=False)),
        (hello, Have((), last=False), Entries((entry,))),
    )
    room.truth.forked[log] = None  # it is said to one, and to nobody else
    boast = chance.random() < BOASTS
    Caller(source, target, source.member, [hello, *_boast()] if boast else chance.choice(says))


def _boast() -> Iterator[Have]:
    """A frontier of more logs than are to be remembered, and then some."""
    most = protocol.MAX_HAVE_LOGS
    total = mesh.MAX_LOGS_TOLD + most // 4
    for start in range(0, total, most)[:10]:
        numbers = range(start, min(start + most, total))
        heads = (Head(number.to_bytes(40, "big"), 1) for number in numbers)
        yield Have(tuple(heads), last=False)


def _logs(room: Room) -> Iterator[protocol.Log]:
    for log, _ in room.truth.shown:
        yield log
