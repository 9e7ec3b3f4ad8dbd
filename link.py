"""The link: bytes from the far end in, messages out; and the other way.

First the way in (a challenge and a knock, see protocol.py), then TLS over memory BIOs, and in it
frames. Whoever has not knocked is no business of TLS: it costs no more than this object.

A peer that does not read costs HIGH_WATER_BYTES and one run of entries in our memory, and twice
BUFFER_BYTES (Linux doubles it) in the kernel; then `clogged` says so and the caller sends no
more entries. At MAX_QUEUED_BYTES of other messages the link has failed.

Lives here: what bytes make of a link. Never here: sockets, clocks, what a message means.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator

import protocol
from protocol import Message, RemoteError
from records import Record

# A burst. Python makes room for all of it at each read: of 256 KiB, with a call of the system.
READ_BYTES = 64 * 1024
# A handshake has 2 KB, and a member may send hundreds of certificates, for which OpenSSL takes
# 30 ms: it gets so much at once, and no more in all.
HANDSHAKE_BYTES = 8 * 1024
# What a link brings in at once, that the loop may be back soon: one message, or those of this
# many bytes, and no more than so many of them. (Of one message the rest is no more work than a
# turn that finds it unfinished. Of a quarter of that, a catch-up had five turns where it has one.)
TURN_BYTES = 64 * 1024
TURN_MESSAGES = 32
# A memory BIO keeps room for the most that was ever in it at once, as long as it lives. So what
# comes in at rest (2 KB of handshake, in a large room 4 KB of Peers) goes through it in pieces,
# 1.2 us each: a link needs 0.4 KiB less, or 5. And all links have one for the way out: each needs
# 2 KiB less. A burst goes through that one record by record.
RECORD_BYTES = 16 * 1024
PIECE_BYTES = 512
LITTLE_BYTES = 8 * 1024
# What the kernel may hold, each way. Its default is 4 MB a link on loopback; this carries a
# burst, and a link to the other side of the world with 128 KiB in flight.
BUFFER_BYTES = 96 * 1024
HIGH_WATER_BYTES = 48 * 1024
# Half a megabyte for a link, less what the kernel may hold of it: high water, one run, and
# room for what else a turn may say (a frontier or a proof, answers).
MAX_QUEUED_BYTES = 512 * 1024 - 2 * BUFFER_BYTES
WRONG_KNOCK = "no knock of this room"


class Secured(Record):
    """TLS is through; `member` is at the far end, by a certificate of the room."""

    member: bytes


class Failed(Record):
    """The link is over. `fault`: the far end broke the protocol."""

    reason: str
    fault: bool = False


class Shared:
    """What all links of a room use, one after the other."""

    def __init__(self) -> None:
        # What TLS makes for the far end: empty whenever a link has done its work.
        self.outgoing = ssl.MemoryBIO()
        self._message: Message | None = None  # that was encoded last
        self._frame = b""

    def frame_of(self, message: Message) -> bytes:
        """Made once for all whom it is sent to. (Of the Peers of a thousand links, each had 4 KB in
        the same turn, and the holes that they left were 2 KiB a link.)"""
        if message is not self._message:
            self._frame = protocol.encode(message)
            self._message = message
        return self._frame


class Gate(Record):
    """What a room hands to its links: the knock, the TLS contexts, whose key is in a
    certificate (DER) of the room (None: nobody's), and what they share."""

    knock: Callable[[bytes], bytes]
    is_knock: Callable[[bytes, bytes], bool]
    accepting: ssl.SSLContext
    dialing: ssl.SSLContext
    member_of: Callable[[bytes], bytes | None]
    shared: Shared


class Link:
    """Bytes from the far end in, messages out; messages in, bytes for the far end out."""

    # What is set from the knock on would else give each a dict of its own, of 0.8 KB, once a
    # dozen were dialed before the first of them answered.
    __slots__ = (
        "_arriving",
        "_came",
        "_challenge",
        "_cipher",
        "_dialed",
        "_frames",
        "_gate",
        "_incoming",
        "_knocking",
        "_outgoing",
        "_plain",
        "_taken",
        "_tls",
        "queued_bytes",
        "received_bytes",
        "secured",
        "sent_bytes",
        "unread",
    )

    def __init__(self, gate: Gate, *, dialed: bool, challenge: bytes = b"") -> None:
        """`challenge`: 16 random bytes, of a listener only."""
        self._gate = gate
        self._dialed = dialed
        self._challenge = challenge
        self._knocking: bytearray | None = bytearray()
        # From the knock on.
        self._incoming: ssl.MemoryBIO
        self._outgoing: ssl.MemoryBIO
        self._tls: ssl.SSLObject
        self.secured = False
        self._came, self._taken = b"", 0  # and how much of that TLS has got
        self._frames = protocol.Frames()
        self._arriving: Iterator[Message] | None = None  # of a record that is decrypted
        self.unread = False  # whether `receive(b"")` may bring more
        self._plain: list[bytes] = []  # frames of this turn
        self._cipher = bytearray(challenge)  # not yet taken by the socket
        self.queued_bytes = len(challenge)
        self.received_bytes = self.sent_bytes = 0  # as they went through the socket

    @property
    def knocked(self) -> bool:
        """Whether the knock was given, and was right."""
        return self._knocking is None

    @property
    def clogged(self) -> bool:
        return self.queued_bytes > HIGH_WATER_BYTES

    def send(self, message: Message) -> None:
        """Queues a message. Raises RemoteError if the far end has not read for too long."""
        frame = self._gate.shared.frame_of(message)
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
                self._came, self._taken = self._came[self._taken :] + data, 0
                if not self._incoming.pending:
                    self._feed()
                self._decrypt(events, everything)
        except RemoteError as error:
            events.append(Failed(str(error), fault=True))
        except ssl.SSLError as error:
            reason = (error.reason or "TLS failed").lower().replace("_", " ")
            events.append(Failed(f"TLS: {reason}", fault=True))
        return events

    def ended(self, reason: str) -> Failed:
        """What it means that no more bytes come. `reason`: as the socket has it."""
        if self._dialed and self.received_bytes == protocol.CHALLENGE_BYTES:
            reason = "refused the knock: another room?"
        elif self._dialed and self.received_bytes < protocol.CHALLENGE_BYTES:
            reason = "hung up before the knock"
        return Failed(reason)

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
            raise RemoteError(WRONG_KNOCK)
        self._knocking = None
        context = self._gate.dialing if self._dialed else self._gate.accepting
        self._incoming = ssl.MemoryBIO()
        self._outgoing = self._gate.shared.outgoing
        bios = self._incoming, self._outgoing
        self._tls = context.wrap_bio(*bios, server_side=not self._dialed)
        return data[missing:]

    def _decrypt(self, events: list[Secured | Failed | Message], everything: bool) -> None:
        size = 0
        try:
            while everything or not events or (size < TURN_BYTES and len(events) < TURN_MESSAGES):
                if self._arriving is None:
                    plain = self._read(events)
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
            if not self.secured and self.received_bytes > HANDSHAKE_BYTES:
                raise RemoteError("a handshake without an end") from None
        except ssl.SSLZeroReturnError:
            events.append(Failed("closed"))

    def _read(self, events: list[Secured | Failed | Message]) -> bytes:
        """What TLS makes of what came, of which it gets the next piece once it wants more."""
        while True:
            try:
                if not self.secured:
                    self._tls.do_handshake()
                    events.append(self._shown())
                    self.secured = True
                return self._tls.read(TURN_BYTES)
            except ssl.SSLWantReadError:
                if not self._came:
                    raise
                self._feed()
            finally:
                self._encrypted()

    def _feed(self) -> None:
        size = PIECE_BYTES if len(self._came) <= LITTLE_BYTES else READ_BYTES
        start, self._taken = self._taken, self._taken + size
        self._incoming.write(self._came[start : self._taken])
        if self._taken >= len(self._came):
            self._came, self._taken = b"", 0

    def _shown(self) -> Secured:
        """Whose certificate it is."""
        member = self._gate.member_of(self._tls.getpeercert(binary_form=True) or b"")
        if member is None:
            raise RemoteError("a certificate without a member's key")
        return Secured(member)

    def outgoing(self, *, mid_turn: bool = False) -> bytearray:
        """What is to be sent now; the socket deletes from its front what it took. `mid_turn`:
        without the messages of this turn, which may tell of what is not stored yet."""
        if self._plain and self.secured and not mid_turn:
            plain = memoryview(b"".join(self._plain))
            with contextlib.suppress(ssl.SSLError):  # broken: the reader has said so, or will
                for start in range(0, len(plain), RECORD_BYTES):
                    self._write(plain[start : start + RECORD_BYTES])
            self._plain.clear()
        if not self._plain:
            self.queued_bytes = len(self._cipher)
        return self._cipher

    def _write(self, plain: memoryview) -> None:
        try:
            self._tls.write(plain)
        finally:
            self._encrypted()

    def _encrypted(self) -> None:
        """Takes what TLS has made for the far end, and leaves nothing to the next link."""
        if self._outgoing.pending:
            self._cipher += self._outgoing.read()

    def sent(self, count: int) -> None:
        del self._cipher[:count]
        self.sent_bytes += count
        self.queued_bytes = max(0, self.queued_bytes - count)
