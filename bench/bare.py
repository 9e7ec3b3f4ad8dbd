"""The limit: a mesh that does nothing but copy bytes, as fast as Python does it.

    python bench/bare.py PORT [PEER_PORT...] [--tls PEM] [--disk FILE]

Lines from standard input go to all peers, lines from all peers to standard output. There are no
frames, no disk, no signatures; who is gone gets nothing, and lines of two senders would mix.
`--tls`: every link is TLS 1.3 by this certificate and key, over memory BIOs (16 KiB at a time
through an SSLSocket took 1.3 times as long). `--disk`: what is said is synced to this file first,
and what is heard is written to it, for no chat that keeps what was said can do less.

Lives here: as few steps from one pipe to the other as there can be. Never here: selchat.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial

READ_BYTES = 256 * 1024  # more brought nothing: a pipe holds 64 KiB
FULL_BYTES = 1024 * 1024  # unsent: then no more is read until there is room again


class Peer:
    """A socket, with TLS or without."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None, dialed: bool) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.sock, self.unsent = sock, bytearray()
        self.tls: ssl.SSLObject | None = None
        self.early: list[bytes] = []  # what was said before the handshake was through
        self.open = context is None
        if context:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=not dialed)

    def say(self, data: bytes) -> None:
        if not self.open:
            self.early.append(data)
            return
        if self.tls:
            self.tls.write(data)
            data = self.outgoing.read()
        self.push(data)

    def push(self, data: bytes) -> None:
        if not self.unsent:
            try:
                count = self.sock.send(data)
            except BlockingIOError:
                count = 0
            if count == len(data):
                return
            data = data[count:]
        self.unsent += data

    def hear(self, data: bytes) -> list[bytes]:
        """What came, in the clear."""
        if not self.tls:
            return [data]
        self.incoming.write(data)
        heard: list[bytes] = []
        try:
            if not self.open:
                self.tls.do_handshake()
                self.open = True
                for early in self.early:
                    self.say(early)
            while part := self.tls.read(READ_BYTES):
                heard.append(part)
        except ssl.SSLWantReadError:
            if self.outgoing.pending:
                self.push(self.outgoing.read())
        return heard


class Mesh:
    """All the peers, standard input, standard output."""

    def __init__(
        self, port: int, context: tuple[ssl.SSLContext, ssl.SSLContext] | None, disk: str
    ) -> None:
        self.disk = os.open(disk, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if disk else -1
        self.accepting = context[0] if context else None
        self.dialing = context[1] if context else None
        self.peers: list[Peer] = []
        self.unwritten = bytearray()
        self.selector = selectors.DefaultSelector()
        self.watched: dict[int, int] = {}
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self.watch(self.listener.fileno(), selectors.EVENT_READ, self.accept)
        self.watch(0, selectors.EVENT_READ, self.read_input)

    def watch(self, descriptor: int, events: int, ready: Callable[[int], None]) -> None:
        known = self.watched.get(descriptor, 0)
        self.watched[descriptor] = events
        if not known and events:
            self.selector.register(descriptor, events, ready)
        elif known and not events:
            self.selector.unregister(descriptor)
        elif known != events:
            self.selector.modify(descriptor, events, ready)

    def accept(self, _: int) -> None:
        self.add(Peer(self.listener.accept()[0], self.accepting, dialed=False))

    def dial(self, port: int) -> None:
        peer = Peer(socket.create_connection(("127.0.0.1", port)), self.dialing, dialed=True)
        self.add(peer)
        if peer.tls:
            peer.hear(b"")

    def add(self, peer: Peer) -> None:
        self.peers.append(peer)
        self.watch(peer.sock.fileno(), selectors.EVENT_READ, partial(self.see, peer))

    def see(self, peer: Peer, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            del peer.unsent[: peer.sock.send(peer.unsent)]
        if mask & selectors.EVENT_READ:
            try:
                data = peer.sock.recv(READ_BYTES)
            except OSError:
                data = b""
            if not data:
                self.watch(peer.sock.fileno(), 0, lambda _: None)
                self.peers.remove(peer)
                return
            for heard in peer.hear(data):
                self.write(heard)
        self.balance()

    def read_input(self, _: int) -> None:
        data = os.read(0, READ_BYTES)
        if not data:
            sys.exit(0)
        if self.disk >= 0:
            os.write(self.disk, data)
            os.fdatasync(self.disk)
        for peer in self.peers:
            peer.say(data)
        self.balance()

    def write(self, data: bytes) -> None:
        if self.disk >= 0:
            os.write(self.disk, data)
        if not self.unwritten:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                pass
        self.unwritten += data

    def write_more(self, _: int) -> None:
        del self.unwritten[: os.write(1, self.unwritten)]
        self.balance()

    def balance(self) -> None:
        """Watches for what there is to do, and for nothing that there is no room for."""
        listening = selectors.EVENT_READ if len(self.unwritten) < FULL_BYTES else 0
        full = False
        for peer in self.peers:
            full = full or len(peer.unsent) > FULL_BYTES
            events = listening | (selectors.EVENT_WRITE if peer.unsent else 0)
            if self.watched[peer.sock.fileno()] != events:
                self.watch(peer.sock.fileno(), events, partial(self.see, peer))
        self.watch(0, 0 if full else selectors.EVENT_READ, self.read_input)
        self.watch(1, selectors.EVENT_WRITE if self.unwritten else 0, self.write_more)

    def run(self) -> None:
        while True:
            for key, mask in self.selector.select():
                if self.watched.get(key.fd):
                    key.data(mask)


def contexts(pem: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(pem)
    accepting.num_tickets = 0
    dialing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialing.check_hostname, dialing.verify_mode = False, ssl.CERT_NONE
    accepting.minimum_version = dialing.minimum_version = ssl.TLSVersion.TLSv1_3
    return accepting, dialing


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("peers", type=int, nargs="*")
    parser.add_argument("--tls", default="", metavar="PEM")
    parser.add_argument("--disk", default="", metavar="FILE")
    args = parser.parse_args()
    mesh = Mesh(args.port, contexts(args.tls) if args.tls else None, args.disk)
    for peer in args.peers:
        mesh.dial(peer)
    mesh.run()


if __name__ == "__main__":
    main()
