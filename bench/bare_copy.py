"""The limit of catching up: entries over one TLS stream, as rows in SQLite, their text as output.

    python -m bench.bare_copy FOLDER ENTRIES    entries, as past.py has written them

It checks nothing: no signature, no hash, no order. Two processes, as with selchat: this one sends,
and starts one that receives, whose standard output is its own. That one says `ready` on standard
error when it begins, and `durable` when all is on the platter.

Lives here: the fewest lines that copy. Never here: anything of selchat but its certificates.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import ssl
import sys
from pathlib import Path

import identity
from bench.past import LENGTH_BYTES, TEXT_BYTES
from protocol import SIGNATURE_BYTES

READ_BYTES = 256 * 1024
SEND_BYTES = 64 * 1024


def send(sock: socket.socket, context: ssl.SSLContext, entries: Path) -> None:
    with context.wrap_socket(sock, server_side=True) as link, entries.open("rb") as file:
        while some := file.read(SEND_BYTES):
            link.sendall(some)


def receive(sock: socket.socket, context: ssl.SSLContext, database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE entries(number INTEGER PRIMARY KEY, raw BLOB NOT NULL)")
    os.write(2, b"ready\n")
    link = context.wrap_socket(sock)
    number, got = 0, b""
    connection.execute("BEGIN")
    while more := link.recv(READ_BYTES):
        got += more
        rows, texts = [], []
        at, size = 0, len(got)
        while at + LENGTH_BYTES <= size:
            end = at + LENGTH_BYTES + int.from_bytes(got[at : at + LENGTH_BYTES], "big")
            if end > size:
                break
            number += 1
            rows.append((number, got[at + LENGTH_BYTES : end]))
            texts.append(got[end - SIGNATURE_BYTES - TEXT_BYTES : end - SIGNATURE_BYTES])
            at = end
        got = got[at:]
        connection.executemany("INSERT INTO entries VALUES(?, ?)", rows)
        _write(b"\n".join(texts) + b"\n" if texts else b"")
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(FULL)")  # which syncs
    connection.close()
    os.write(2, b"durable\n")


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def main() -> None:
    folder, entries = Path(sys.argv[1]), Path(sys.argv[2])
    room = identity.open_room()
    (folder / "one").mkdir()
    (folder / "other").mkdir()
    accepting, _ = identity.Identity(folder / "one", room).tls_contexts()
    _, dialing = identity.Identity(folder / "other", room).tls_contexts()
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        send(ours, accepting, entries)
        os.wait()
    else:
        ours.close()
        receive(theirs, dialing, folder / "bare.db")


if __name__ == "__main__":
    main()
