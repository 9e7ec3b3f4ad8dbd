"""The wire: what two selchat nodes say to each other, byte for byte.

This header is the specification. A stranger can write a client from it alone.
Numbers are unsigned and big-endian: u8, u16, u32, u64. "text" is strict UTF-8.

THE ROOM. All keys come from its secret as HMAC-SHA256(secret, label), 32 bytes each:

    room id                            label "selchat room id v1"
    knock key                          label "selchat knock v1"
    seed of the authority's Ed25519    label "selchat authority v1"

The open room's secret is the ASCII text "selchat: the open room, its secret is public". A
member's certificate is X.509 v3, issuer CN=selchat room, subject CN=selchat member, its
public key the member's own Ed25519 key, signed by the authority itself, in DER; the authority's
own is self-signed, a CA of path length 0, subject CN=selchat room. Both are valid from 2000 to
9999, but nobody looks at dates: a clock may be wrong.

THE WAY IN (on a fresh TCP connection; a *dialer* connected, a *listener* accepted)

    1. listener -> dialer   16 random bytes, the challenge
    2. dialer -> listener   32 bytes: HMAC-SHA256(knock key, challenge)
    3. both                 TLS 1.3, the dialer as the client. Both show a certificate
                            that the room's authority signed and whose public key
                            (Ed25519, 32 bytes) IS the member's id. No host names
    4. dialer -> listener   frame Hello; then listener -> dialer frame Hello
    5. both                 frame Have (its whole frontier), and from then on anything

A dialer that finds at step 4 that it is linked to that member already, or to as many as it
wants, closes without a Hello: the address is proven all the same. A listener that is linked to as
many as it can answers with PEERS and BYE instead of its Hello. A dialer that finds its own id says
Hello all the same, and is answered: by the instance both see whether it has called itself.

FRAMES, inside TLS

    u32 length | u8 kind | body          length counts kind and body, 1..MAX_FRAME_BYTES

A kind that a node does not know is passed over. Bytes after the fields listed below
are passed over too, so that a later version can add fields at the end.

    kind 1 HELLO    u16 version | u64 instance | u16 port | u16 n | n bytes: name, text |
                    u8 k | k bytes: seen, text
                    version: 1. instance: random, new at every start, tells a restarted
                    node from a second link. port: where the node can be called back at the address
                    that it calls from, or was called at; 0 for nowhere. seen: the host at which
                    the sender sees the receiver; may be missing
    kind 2 PEERS    u16 n | n * (32 bytes member | u16 port | u8 k | k bytes: host, text)
                    the members that the sender is linked to now. k is 0 where the sender
                    has not itself dialed the address and found that member there
    kind 3 HAVE     u8 last | u16 n | n * (40 bytes log | u64 seq | 8 bytes mark)
                    "of these logs I have, on disk, everything up to seq". mark: the first
                    bytes of the SHA-256 over that entry, or zeros. The first HAVEs
                    on a link tell the whole frontier; last is 0 on all but the final one
                    of them. Later ones (last is 1) tell what is new: they acknowledge
    kind 4 ENTRIES  at most 256 entries, one after another: u32 length | entry. All of one
                    log, gapless, rising. A receiver may check the last signature only: through
                    the hashes it vouches for the entries before it
    kind 5 PING     empty; answered by a PONG
    kind 6 PONG     empty
    kind 7 BYE      text: the reason; the sender closes after it. TLS's close_notify is not
                    relied on. "another node uses this key": of two nodes with one key, which is
                    told by two instances taking turns, only one is linked to
    kind 8 FORK     u32 length | entry | u32 length | entry: two different entries with one
                    (log, seq), both validly signed: proof that their author forked its log
    kind 9 RECEIPT  32 bytes member | u16 n | n * (40 bytes log | u64 seq) | 64 bytes signature
                    "of these logs the member has, on disk, everything up to seq". For authors
                    that it is not linked to, and the receiver is; who passes it on, unchanged, to
                    those authors and to nobody else. signature: the member's, Ed25519 over
                    b"selchat receipt v1\\0" | 32 bytes room id | all of the body before it

ENTRIES, the signed records

    32 bytes  author        the member's id, an Ed25519 public key
     8 bytes  incarnation   (author, incarnation) is one *log*, 40 bytes
    u64       seq           1, 2, 3, ... within the log
    32 bytes  previous      SHA-256 over the whole entry seq-1 of the log, signature
                            included; zeros for seq 1
    u64       time          milliseconds since 1970 by the author's clock
    u16 n     n * (40 bytes log | u64 seq)    the heads: the newest entries of other logs
                            that the author had seen and none of its seen entries names
    u16       kind
    u32 n     n bytes       body
    64 bytes  signature     Ed25519 over  b"selchat entry v1\\0" | 32 bytes room id | all
                            bytes of the entry before the signature

    kind 1 NAME   text: the author's name from here on
    kind 2 POSTS  u32 n | n * u32 length | all the posts' texts, joined. length in bytes;
                  n is at most 1024, a text at most 48 KiB
    kind 3 LINES  text: the posts, with a line break (0x0A) between each and the next. For posts
                  without any, as most are: at most 1024

Entries of other kinds are kept, passed on, and shown as nothing.

LIMITS. A frame has at most 128 KiB, an entry 128 heads and a body of 56 KiB, a name
40,000 bytes, a HAVE 2048 logs, a PEERS 256 members, a RECEIPT 64 logs. What is over a limit,
in the wrong state, or no valid run ends the link, with a BYE where that can still be said. So
does silence: a node sends a PING when no message came for 5 s, and closes when no byte came
for 12 s. The way in has 10 s in all.

A STREAM OF ENTRIES of a log goes on where the receiver's HAVE says that it ends. A run that
begins further on is an error; one that ends earlier is passed over; one that does not fit
the receiver's by its hashes shows that the author forked the log, and is answered with the
receiver's own entries from there on, so that the sender holds the proof. So is a HAVE of the
receiver's own seq with another mark.

WHOSE FAULT: `RemoteError` is the far end's (its link is closed, its docstring or
text is the reason given); `LocalError` is ours or our user's. Parsing raises
nothing else, whatever the bytes.

Lives here: bytes to messages and back, and the limits. Never here: sockets, clocks,
what is known about peers, policy.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise, starmap
from typing import Any, NamedTuple

from records import Record

VERSION = 1

# 48 KiB of text is far more than a person writes in one go, and small enough that the
# outbox of a link (link.py) holds several frames and still stays under half a megabyte.
MAX_POST_BYTES = 48 * 1024
# One burst holds at least one longest post, with the lengths of its posts beside it.
MAX_BODY_BYTES = MAX_POST_BYTES + 8 * 1024
# A burst of the shortest lines; what one entry makes others show has a limit, too.
MAX_POSTS = 1024
# 10,000 characters of 4 bytes each fit: nobody's name is refused, no name fills a frame.
MAX_NAME_BYTES = 40_000
# Heads are as many as there are members talking past each other. 128 * 48 bytes are a
# tenth of a body; with more tips than that the rest is named by the next entries.
MAX_HEADS = 128
MAX_ENTRY_BYTES = 256 + MAX_HEADS * 48 + MAX_BODY_BYTES
# The largest message is a proof: two largest entries, with their lengths.
MAX_FRAME_BYTES = 128 * 1024
# To store that many of the shortest takes 8 ms; a frame of them, three times that.
MAX_RUN = 256
# What fits in one HAVE or PEERS frame by its own u16 and by MAX_FRAME_BYTES.
MAX_HAVE_LOGS = 2048
MAX_PEERS = 256
# Some logs of each of as many authors as are in a small room; with more, it takes two.
MAX_RECEIPT_LOGS = 64
MAX_HOST_BYTES = 253  # RFC 1035, the longest host name
MAX_REASON_BYTES = 200  # a sentence
COPIED = "another node uses this key"  # the reason of a Bye, see above
# 9999-12-31T23:59:59.999Z, the last instant that datetime can show.
MAX_TIME_MS = 253_402_300_799_999

# A frame comes in records of TLS, nine of the largest at most; this is for smaller ones.
MAX_PARTS = 256
_LENGTH_BYTES = 4

CHALLENGE_BYTES = 16
KNOCK_BYTES = 32
MEMBER_BYTES = 32
LOG_BYTES = 40
SIGNATURE_BYTES = 64
SIGNED_PREFIX = b"selchat entry v1\0"
RECEIPT_PREFIX = b"selchat receipt v1\0"
NO_PREVIOUS = bytes(32)
# Enough that no two entries of a log have the same by chance. Who makes two that do has
# nothing of it: the fork is found as soon as one of them is followed by another entry.
MARK_BYTES = 8
NO_MARK = bytes(MARK_BYTES)

NAME, POSTS, LINES = 1, 2, 3  # kinds of entries

Log = bytes  # 40 bytes: author and incarnation
Frontier = dict[Log, int]  # the highest seq held without a gap


class LocalError(ValueError):
    """What was asked for does not fit the wire; the text says why."""


class RemoteError(ValueError):
    """The far end broke the protocol; the text says how."""


class Head(NamedTuple):
    """The newest entry of a log that somebody has seen. `mark`, of a HAVE only: the first
    MARK_BYTES of its hash, by which two branches of a forked log differ."""

    log: Log
    seq: int
    mark: bytes = NO_MARK


class Hello(Record):
    """First frame of either end: who I am and where I can be called back."""

    name: str
    port: int
    instance: int
    version: int = VERSION
    seen: str = ""  # the far end's host, as we see it


class Peer(NamedTuple):
    """A member that the sender is linked to; host is "" where it is not proven."""

    member: bytes
    host: str
    port: int


class Peers(Record):
    """All members that the sender is linked to now."""

    peers: tuple[Peer, ...]


class Have(Record):
    """What the sender has on disk, of these logs."""

    heads: tuple[Head, ...]
    last: bool = True


class Entries(Record):
    """A gapless run of one log, as the exact bytes of its entries."""

    run: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Entries({len(self.run)} entries, {sum(map(len, self.run))} bytes)"


class Ping(Record):
    """Are you there?"""


class Pong(Record):
    """I am."""


class Bye(Record):
    """The sender closes this link, for this reason."""

    reason: str


class Fork(Record):
    """Two entries of one log with one seq: proof against their author."""

    one: bytes
    other: bytes

    def __repr__(self) -> str:
        return f"Fork({len(self.one)} and {len(self.other)} bytes)"


class Receipt(Record):
    """`member` has these logs on disk, up to these seqs. `raw` are the exact bytes that were
    signed and that travel."""

    member: bytes
    heads: tuple[Head, ...]
    raw: bytes

    @property
    def unsigned(self) -> bytes:
        return self.raw[:-SIGNATURE_BYTES]

    @property
    def signature(self) -> bytes:
        return self.raw[-SIGNATURE_BYTES:]


Message = Hello | Peers | Have | Entries | Ping | Pong | Bye | Fork | Receipt


class Entry(NamedTuple):
    """One signed record. `raw` are the exact bytes that were signed and that travel."""

    log: Log
    seq: int
    previous: bytes
    time_ms: int
    heads: tuple[Head, ...]
    kind: int
    body: bytes
    raw: bytes

    @property
    def author(self) -> bytes:
        return self.log[:MEMBER_BYTES]

    @property
    def signature(self) -> bytes:
        return self.raw[-SIGNATURE_BYTES:]

    @property
    def hash(self) -> bytes:
        return sha256(self.raw).digest()


_HEAD = struct.Struct(f">{LOG_BYTES}sQ")
_HELD = struct.Struct(f">{LOG_BYTES}sQ{MARK_BYTES}s")
_PEER = struct.Struct(f">{MEMBER_BYTES}sHB")  # up to how long the host is
_ENTRY_START = struct.Struct(f">{LOG_BYTES}sQ{len(NO_PREVIOUS)}sQH")  # up to the number of heads
_ENTRY_BODY = struct.Struct(">HI")  # the kind, and how long the body is
_unpack_length = struct.Struct(">I").unpack_from
_unpack_head = _HEAD.unpack_from
_unpack_start, _unpack_kind = _ENTRY_START.unpack_from, _ENTRY_BODY.unpack_from
# An entry with one head, up to its body.
_USUAL = struct.Struct(f">{LOG_BYTES}sQ{len(NO_PREVIOUS)}sQH{LOG_BYTES}sQHI")
_unpack_usual, _USUAL_BYTES = _USUAL.unpack_from, _USUAL.size
_new_tuple = tuple.__new__
_SEQ_END = 2**63

# ---------------------------------------------------------------- reading bytes


class _Reader:
    """Takes fields off the front of a body; the far end's fault when one is missing."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self.body):
            raise RemoteError("a message that ends too early")
        return self.body[start : self.at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def text(self, count: int, limit: int) -> str:
        if count > limit:
            raise RemoteError(f"a text of {count} bytes where {limit} is the limit")
        return _text(self.take(count))

    def sized(self) -> bytes:
        return self.take(self.number(4))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RemoteError("a text that is not UTF-8") from None


def _limited(count: int, limit: int, what: str) -> int:
    if count > limit:
        raise RemoteError(f"{count} {what} where {limit} is the limit")
    return count


# ---------------------------------------------------------------- messages


def _encode_hello(hello: Hello) -> bytes:
    name, seen = hello.name.encode(), hello.seen.encode()
    start = struct.pack(">HQHH", hello.version, hello.instance, hello.port, len(name))
    return start + name + struct.pack(">B", len(seen)) + seen


def _decode_hello(reader: _Reader) -> Hello:
    version, instance, port = reader.number(2), reader.number(8), reader.number(2)
    name = reader.text(reader.number(2), MAX_NAME_BYTES)
    told = reader.at < len(reader.body)
    seen = reader.text(reader.number(1), MAX_HOST_BYTES) if told else ""
    return Hello(name, port, instance, version, seen)


def _encode_peers(peers: Peers) -> bytes:
    parts = [struct.pack(">H", len(peers.peers))]
    for member, host, port in peers.peers:
        name = host.encode()
        parts.append(_PEER.pack(member, port, len(name)) + name)
    return b"".join(parts)


def _decode_peers(reader: _Reader) -> Peers:
    count = _limited(reader.number(2), MAX_PEERS, "peers")
    found = []
    for _ in range(count):
        member, port, size = _PEER.unpack(reader.take(_PEER.size))
        found.append(Peer(member, reader.text(size, MAX_HOST_BYTES), port))
    return Peers(tuple(found))


def _encode_have(have: Have) -> bytes:
    start = struct.pack(">BH", have.last, len(have.heads))
    return start + b"".join(starmap(_HELD.pack, have.heads))


def _decode_have(reader: _Reader) -> Have:
    last = reader.number(1) != 0
    count = _limited(reader.number(2), MAX_HAVE_LOGS, "logs")
    heads = _HELD.iter_unpack(reader.take(count * _HELD.size))
    return Have(tuple(starmap(Head, heads)), last)


def _encode_entries(entries: Entries) -> bytes:
    parts: list[bytes] = []
    for raw in entries.run:
        parts += (len(raw).to_bytes(4, "big"), raw)
    return b"".join(parts)


def _decode_entries(reader: _Reader) -> Entries:
    """The largest part of all that is ever read: 0.2 µs an entry, where with `reader.sized()` it
    takes 0.6."""
    body, at, run = reader.body, reader.at, list[bytes]()
    size = len(body)
    try:
        for _ in range(MAX_RUN):
            if at >= size:
                break
            start = at + 4
            at = start + _unpack_length(body, at)[0]
            run.append(body[start:at])
    except struct.error:
        at = size + 1
    if at > size:
        raise RemoteError("a message that ends too early")
    if at < size:
        raise RemoteError(f"more than {MAX_RUN} entries in a run")
    if not run:
        raise RemoteError("a run of no entries")
    return Entries(tuple(run))


def _encode_bye(bye: Bye) -> bytes:
    # A character that does not fit whole is left out, or it would be no UTF-8.
    return bye.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()


def _decode_bye(reader: _Reader) -> Bye:
    return Bye(reader.body[:MAX_REASON_BYTES].decode(errors="replace"))


def _decode_receipt(reader: _Reader) -> Receipt:
    member = reader.take(MEMBER_BYTES)
    count = _limited(reader.number(2), MAX_RECEIPT_LOGS, "logs of a receipt")
    heads = _HEAD.iter_unpack(reader.take(count * _HEAD.size))
    reader.take(SIGNATURE_BYTES)
    return Receipt(member, tuple(starmap(Head, heads)), reader.body[: reader.at])


def _encode_fork(fork: Fork) -> bytes:
    return _encode_entries(Entries((fork.one, fork.other)))


_KINDS: dict[type, tuple[int, Callable[[Any], bytes], Callable[[_Reader], Message]]] = {
    Hello: (1, _encode_hello, _decode_hello),
    Peers: (2, _encode_peers, _decode_peers),
    Have: (3, _encode_have, _decode_have),
    Entries: (4, _encode_entries, _decode_entries),
    Ping: (5, lambda _: b"", lambda _: Ping()),
    Pong: (6, lambda _: b"", lambda _: Pong()),
    Bye: (7, _encode_bye, _decode_bye),
    Fork: (8, _encode_fork, lambda reader: Fork(reader.sized(), reader.sized())),
    Receipt: (9, lambda receipt: receipt.raw, _decode_receipt),
}
_DECODERS = {kind: decode for kind, _, decode in _KINDS.values()}


def encode(message: Message) -> bytes:
    """The frame that carries `message`. Raises LocalError if it does not fit one."""
    kind, encode_body, _ = _KINDS[type(message)]
    try:
        body = encode_body(message)
    except (struct.error, OverflowError, UnicodeEncodeError) as error:
        raise LocalError(f"a {type(message).__name__} that fits no frame: {error}") from None
    if len(body) + 1 > MAX_FRAME_BYTES:
        raise LocalError(f"a {type(message).__name__} of {len(body)} bytes fits no frame")
    return struct.pack(">IB", len(body) + 1, kind) + body


class Frames:
    """Cuts a stream of bytes into messages. Holds at most one unfinished frame, in parts that are
    put together once it is whole. (To append to what there is moved each byte four times.)"""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0  # of all parts
        self._missing_below = _LENGTH_BYTES  # with fewer bytes there is nothing to be cut

    def feed(self, data: bytes) -> Iterator[Message]:
        """Messages completed by `data`; those before a broken frame come out before
        RemoteError is raised for it (so iterate, do not collect)."""
        if self._parts:
            data = self._put_together(data)
            if self._size < self._missing_below:
                return
        start, size = 0, len(data)
        self._missing_below = _LENGTH_BYTES
        try:
            while size - start >= _LENGTH_BYTES:
                length = int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
                if not 1 <= length <= MAX_FRAME_BYTES:
                    raise RemoteError(f"a frame of {length} bytes")
                end = start + _LENGTH_BYTES + length
                if size < end:
                    self._missing_below = end - start
                    break
                kind, body = data[start + _LENGTH_BYTES], data[start + _LENGTH_BYTES + 1 : end]
                start = end
                if kind in _DECODERS:
                    yield _DECODERS[kind](_Reader(body))
        finally:
            rest = data[start:]
            self._parts, self._size = [rest] if rest else [], len(rest)

    def _put_together(self, data: bytes) -> bytes:
        self._parts.append(data)
        self._size += len(data)
        # Who sends single bytes has them put together now and then, or each would cost us fifty.
        if self._size >= self._missing_below or len(self._parts) >= MAX_PARTS:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]


# ---------------------------------------------------------------- receipts


def unsigned_receipt(member: bytes, heads: tuple[Head, ...]) -> bytes:
    """All bytes of a receipt before its signature. Raises LocalError beyond the limit."""
    if len(heads) > MAX_RECEIPT_LOGS:
        raise LocalError("a receipt beyond the limit")
    parts = [head.log + head.seq.to_bytes(8, "big") for head in heads]
    return member + len(heads).to_bytes(2, "big") + b"".join(parts)


def signed_receipt_bytes(room: bytes, unsigned: bytes) -> bytes:
    """What a member signs: bound to this purpose and to this room (32 bytes)."""
    return RECEIPT_PREFIX + room + unsigned


def parse_receipt(raw: bytes) -> Receipt:
    """The receipt that `raw` begins with. Raises RemoteError. The signature is not checked."""
    return _decode_receipt(_Reader(raw))


# ---------------------------------------------------------------- entries


def unsigned_entry(
    head: Head, previous: bytes, time_ms: int, heads: tuple[Head, ...], kind: int, body: bytes
) -> bytes:
    """All bytes of an entry before its signature. Raises LocalError beyond the limits."""
    if len(body) > MAX_BODY_BYTES or len(heads) > MAX_HEADS:
        raise LocalError("an entry beyond the limits")
    parts = [head.log, head.seq.to_bytes(8, "big"), previous]
    parts.append(struct.pack(">QH", time_ms, len(heads)))
    parts += [head.log + head.seq.to_bytes(8, "big") for head in heads]
    parts.append(struct.pack(">HI", kind, len(body)))
    return b"".join(parts) + body


def signed_bytes(room: bytes, unsigned: bytes) -> bytes:
    """What an author signs: bound to this purpose and to this room (32 bytes)."""
    return SIGNED_PREFIX + room + unsigned


def name_in(raw: bytes) -> tuple[Log, int]:
    """The log and seq that `raw` begins with, if it is an entry at all."""
    return raw[:LOG_BYTES], int.from_bytes(raw[LOG_BYTES : LOG_BYTES + 8], "big")


def parse_entry(raw: bytes) -> Entry:
    """The entry in exactly `raw`. Raises RemoteError. The signature is not checked here.

    Every entry that comes or is read goes through here: 1.1 µs, where it took 3.0 with a call
    for each field and with named tuples made by their own `__new__`."""
    if len(raw) > MAX_ENTRY_BYTES:
        raise RemoteError(f"an entry of {len(raw)} bytes")
    heads: tuple[Head, ...] = ()
    try:
        log, seq, previous, time_ms, count = _unpack_start(raw)
        end = _ENTRY_START.size + count * _HEAD.size
        if count == 1:  # as with most: whoever answers has seen one entry that others had not
            heads = (_new_tuple(Head, (*_unpack_head(raw, _ENTRY_START.size), NO_MARK)),)
        elif count:
            _limited(count, MAX_HEADS, "heads")
            heads = tuple(starmap(Head, _HEAD.iter_unpack(raw[_ENTRY_START.size : end])))
        kind, size = _unpack_kind(raw, end)
    except struct.error:
        raise RemoteError("an entry that ends too early") from None
    start = end + _ENTRY_BODY.size
    end = start + size
    if len(raw) != end + SIGNATURE_BYTES:
        short = len(raw) < end + SIGNATURE_BYTES
        how = "that ends too early" if short else "with bytes after its signature"
        raise RemoteError(f"an entry {how}")
    # 2**63 is where SQLite's integers end, and no log gets there by writing.
    if not 0 < seq < _SEQ_END or (seq == 1) != (previous == NO_PREVIOUS):
        raise RemoteError("an entry with an impossible seq")
    for head in heads:
        if not 0 < head[1] < _SEQ_END:
            raise RemoteError("an entry with impossible heads")
    if count > 1 and len({head.log for head in heads}) < count:
        raise RemoteError("an entry with impossible heads")
    if time_ms > MAX_TIME_MS:
        time_ms = MAX_TIME_MS
    return _new_tuple(Entry, (log, seq, previous, time_ms, heads, kind, raw[start:end], raw))


def parse_run(run: tuple[bytes, ...]) -> list[Entry]:
    """The entries of a run. Raises RemoteError unless they are one log's, gapless, and each names
    the hash of the one before. No signature is checked here.

    Nearly all have one head, and are read with one call: 2.0 µs with the hash (0.6), where
    `parse_entry` and a look at each after that take 2.8."""
    first = parse_entry(run[0])
    found = [first]
    log, seq, head = first.log, first.seq, first.log
    for before, raw in pairwise(run):
        seq += 1
        raw_bytes = len(raw)
        fields = _unpack_usual(raw) if _USUAL_BYTES < raw_bytes <= MAX_ENTRY_BYTES else None
        if fields is None or fields[4] != 1 or fields[3] > MAX_TIME_MS:
            entry = parse_entry(raw)
            its_log, its_seq, previous = entry.log, entry.seq, entry.previous
        else:
            its_log, its_seq, previous, time_ms, _, its_head, head_seq, kind, size = fields
            end = _USUAL_BYTES + size
            if raw_bytes != end + SIGNATURE_BYTES or not 0 < head_seq < _SEQ_END > seq:
                parse_entry(raw)  # which says what is wrong
            head = head if its_head == head else its_head  # one in memory for a whole run
            heads = (_new_tuple(Head, (head, head_seq, NO_MARK)),)
            body = raw[_USUAL_BYTES:end]
            entry = _new_tuple(Entry, (log, seq, previous, time_ms, heads, kind, body, raw))
        if its_seq != seq or its_log != log:
            raise RemoteError("a run that is not one log's, or has a gap")
        if previous != sha256(before).digest():
            raise RemoteError("an entry with a wrong hash of the one before it")
        found.append(entry)
    return found


def pack_posts(texts: Iterable[str]) -> bytes:
    """The body of a POSTS entry."""
    posts = [text.encode() for text in texts]
    return struct.pack(f">I{len(posts)}I", len(posts), *map(len, posts)) + b"".join(posts)


def unpack_posts(body: bytes) -> list[str]:
    """The texts in a POSTS body. Raises RemoteError."""
    reader = _Reader(body)
    count = _limited(reader.number(4), MAX_POSTS, "posts")
    lengths = struct.unpack(f">{count}I", reader.take(4 * count))
    _limited(max(lengths, default=0), MAX_POST_BYTES, "bytes of a post")
    ends = list(accumulate(lengths, initial=reader.at))
    if ends[-1] > len(body):
        raise RemoteError("a message that ends too early")
    return [_text(body[start:end]) for start, end in pairwise(ends)]


def unpack_lines(body: bytes) -> tuple[str, int]:
    """The text of a LINES body, and how many posts, a line each, there are. Raises RemoteError."""
    count = _limited(body.count(b"\n") + 1, MAX_POSTS, "posts")
    return _text(body), count


def texts_in(entry: Entry) -> list[str]:
    """The posts in an entry. Raises RemoteError."""
    if entry.kind == LINES:
        return unpack_lines(entry.body)[0].split("\n")
    return unpack_posts(entry.body) if entry.kind == POSTS else []


def pack_bursts(texts: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """`texts` in order, each within its limit, as kinds and bodies of as few entries as hold them.
    (A burst of 700 lines as LINES takes its author 40 us less than as POSTS, each reader 90.)"""
    together = "\n".join(texts)
    if together.count("\n") == len(texts) - 1:
        yield from _cut_lines(together.encode())
        return
    sizes = [4 + len(text.encode()) for text in texts]
    ends = list(accumulate(sizes, initial=0))
    start = 0
    while start < len(texts):
        stop = bisect_right(ends, ends[start] + MAX_BODY_BYTES - 4) - 1
        stop = min(stop, start + MAX_POSTS)
        yield POSTS, pack_posts(texts[start:stop])
        start = stop


def _cut_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """At line breaks: each part as long as a body may be."""
    start, end = 0, len(data)
    while start <= end:
        stop = end
        if end - start > MAX_BODY_BYTES:
            stop = data.rindex(b"\n", start, start + MAX_BODY_BYTES + 1)
        if data.count(b"\n", start, stop) >= MAX_POSTS:
            stop = start - 1
            for _ in range(MAX_POSTS):
                stop = data.index(b"\n", stop + 1)
        yield LINES, data[start:stop]
        start = stop + 1
