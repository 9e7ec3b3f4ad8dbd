"""The limit of idle links: a program that accepts them over TLS, and reads.

    python -m bench.bare_links FOLDER    prints the port that it listens on

Each link is an SSLObject and two BIOs, as in selchat: no certificate is looked at but by OpenSSL,
nothing is framed, nothing is remembered.

Lives here: the fewest lines that hold a link. Never here: anything of selchat but its certificates.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import sys
from pathlib import Path

import identity
from bench.far_ends import raise_limit

READ_BYTES = 256 * 1024


class Held:
    """One link."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._secured = False

    def read(self) -> None:
        data = self._socket.recv(READ_BYTES)
        if not data:
            sys.exit(0)  # all of them end at once
        self._incoming.write(data)
        try:
            if not self._secured:
                self._tls.do_handshake()
                self._secured = True
            self._tls.read(READ_BYTES)
        except ssl.SSLWantReadError:
            pass
        if self._outgoing.pending:
            self._socket.sendall(self._outgoing.read())


def main() -> None:
    raise_limit()
    folder = Path(sys.argv[1])
    folder.mkdir()
    context, _ = identity.Identity(folder, identity.open_room()).tls_contexts()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    selector = selectors.DefaultSelector()

    def accept() -> None:
        sock, _ = listener.accept()
        selector.register(sock, selectors.EVENT_READ, Held(sock, context).read)

    selector.register(listener, selectors.EVENT_READ, accept)
    print(listener.getsockname()[1], flush=True)
    while True:
        for key, _ in selector.select():
            key.data()


if __name__ == "__main__":
    main()
