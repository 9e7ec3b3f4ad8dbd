"""The far ends of many idle links, in one process.

    python -m bench.far_ends selchat|tls PORT FOLDER

Each line of standard input is a number: so many links there are to be, from then on. When they are
up, the number is printed. They call a selchat, as so many members with keys of their own (kept in
FOLDER), who say what members of a large room say: a hello, that they have nothing, whom they are
linked to. When all are there, each says once that it lives, at some moment of SPREAD_S: as if they
had come at different times, for a node asks after each that has said nothing for a while. Then they
answer heartbeats, and that is all. Or they call anybody who speaks TLS, with
one certificate, and say nothing.

Lives here: callers. Never here: whom they call, what is measured.
"""

from __future__ import annotations

import os
import resource
import socket
import ssl
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random

import identity
import net
import protocol
from link import READ_BYTES, Failed, Gate, Link, Secured, Shared
from mesh import MAX_LINKS
from protocol import Have, Hello, Peer, Peers, Ping, Pong

# Handshakes at once: fewer than a selchat has room for (MAX_OPENING).
AT_ONCE = 32
SPREAD_S = 1.5
DESCRIPTORS = 4096  # for a thousand links, and more than enough


class Members:
    """Members of the open room, who call one node."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port, self._folder = port, folder
        self._loop = net.Loop()
        self._random = Random(1)
        self._connections: list[net.Connection] = []
        self._members: list[bytes] = []
        self._due: deque[tuple[float, int]] = deque()  # when which of them says that it lives
        self._opening = self._up = self._wanted = 0

    def run(self) -> None:
        waiting = bytearray()

        def asked(_: int) -> None:
            data = os.read(0, 64)
            waiting.extend(data)
            while (end := waiting.find(b"\n")) >= 0:
                self._wanted = int(waiting[:end])
                del waiting[: end + 1]
                self._open()
            if not data:
                self._loop.stop()

        self._loop.watch(0, net.READ, asked)
        self._loop.run(lambda: self._due[0][0] if self._due else None, self._live, lambda: None)

    def _live(self) -> None:
        while self._due and self._due[0][0] <= self._loop.now():
            connection = self._connections[self._due.popleft()[1]]
            connection.link.send(Ping())
            connection.flush()

    def _open(self) -> None:
        while self._opening < AT_ONCE and self._up + self._opening < self._wanted:
            self._call(len(self._members))
            self._opening += 1

    def _call(self, number: int) -> None:
        folder = self._folder / f"member-{number}"
        folder.mkdir(exist_ok=True)
        room = identity.open_room()
        me = identity.Identity(folder, room)
        self._members.append(me.member)
        gate = Gate(room.knock, room.is_knock, *me.tls_contexts(), identity.member_of, Shared())

        def heard(connection: net.Connection) -> None:
            for message in connection.receive():
                if isinstance(message, Failed):
                    sys.exit(f"member {number}: {message.reason}")
                self._answer(connection.link, number, message)
            connection.flush()

        link = Link(gate, dialed=True)
        address = ("127.0.0.1", self._port)
        self._connections.append(net.Connection.dial(self._loop, address, link, heard))

    def _answer(self, link: Link, number: int, message: object) -> None:
        if isinstance(message, Secured):
            link.send(Hello(f"member{number}", 0, number))
        elif isinstance(message, Hello):
            link.send(Have(()))
            linked = self._members[-MAX_LINKS:]
            link.send(Peers(tuple(Peer(member, "", 0) for member in linked)))
            self._up, self._opening = self._up + 1, self._opening - 1
            if self._up == self._wanted:
                print(self._up, flush=True)
                end = self._loop.now() + SPREAD_S
                when = (end - self._random.uniform(0, SPREAD_S) for _ in self._connections)
                self._due = deque(sorted(zip(when, range(self._up), strict=True)))
            self._open()
        elif isinstance(message, Ping):
            link.send(Pong())
        elif isinstance(message, protocol.Bye):
            sys.exit(f"member {number}: {message.reason}")


def call_in_silence(port: int, folder: Path) -> None:
    """So many links over TLS. One after the other: the far end has nothing else to do."""
    folder.mkdir(exist_ok=True)
    _, context = identity.Identity(folder, identity.open_room()).tls_contexts()
    context.verify_mode = ssl.CERT_NONE
    links: list[tuple[socket.socket, ssl.SSLObject]] = []
    for line in sys.stdin:
        while len(links) < int(line):
            sock = socket.create_connection(("127.0.0.1", port))
            links.append((sock, _shake_hands(sock, context)))
        print(len(links), flush=True)


def _shake_hands(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLObject:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(READ_BYTES))
        else:
            sock.sendall(outgoing.read())
            return tls


def raise_limit() -> None:
    """A thousand links are as many descriptors."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most), most))


def main() -> None:
    call: dict[str, Callable[[int, Path], None]] = {
        "selchat": lambda port, folder: Members(port, folder).run(),
        "tls": call_in_silence,
    }
    raise_limit()
    call[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))


if __name__ == "__main__":
    main()
