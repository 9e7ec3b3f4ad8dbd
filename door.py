"""The door: where callers come in.

Lives here: the listening socket. Never here: whom to dial, TLS, what a message means.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable

import net
from link import BUFFER_BYTES

# Callers taken in a turn; the rest waits in the kernel for the next one.
ACCEPTS_PER_TURN = 32
BACKLOG = 128  # callers that the kernel keeps waiting; more would be dialing again anyway


class Listener:
    """A listening socket. Raises OSError if it can't have the port."""

    def __init__(self, loop: net.Loop, host: str, port: int, ready: Callable[[], None]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._loop = loop
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # "::" is for callers by IPv4, too, on any system
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
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
        loop.watch(self._socket.fileno(), net.READ, lambda _: ready())

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
            # Of a caller by IPv4 a listener for both families says ::ffff:192.0.2.1.
            host = address[0].removeprefix("::ffff:") if "." in address[0] else address[0]
            accepted.append((sock, (host, address[1])))
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
