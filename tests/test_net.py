"""link.py: over two ends without sockets; then net.py and door.py: connections over real ones."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import door
import net
import protocol
from door import Listener
from identity import Identity, Room, member_of
from link import (
    BUFFER_BYTES,
    HANDSHAKE_BYTES,
    HIGH_WATER_BYTES,
    LITTLE_BYTES,
    MAX_QUEUED_BYTES,
    PIECE_BYTES,
    READ_BYTES,
    RECORD_BYTES,
    Failed,
    Gate,
    Link,
    Secured,
    Shared,
)
from net import READ, WRITE, Connection, Loop
from protocol import Bye, Entries, Hello, Message, Ping, Pong, RemoteError

ROOM, OTHER_ROOM = Room("garden", b"the secret of the garden"), Room("attic", b"another secret")
CHALLENGE = b"0123456789abcdef"
Event = Secured | Failed | Message


@dataclass(frozen=True)
class Member:
    id: bytes
    gate: Gate


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Member]:
    found = {}
    for name, room in (("alice", ROOM), ("bob", ROOM), ("mallory", OTHER_ROOM)):
        folder = tmp_path_factory.mktemp(name)
        member = Identity(folder, room)
        gate = Gate(room.knock, room.is_knock, *member.tls_contexts(), member_of, Shared())
        found[name] = Member(member.member, gate)
    # Mallory, who knows the room's knock by whatever means, and takes any certificate.
    (certificate,) = folder.glob("certificate-*.pem")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.load_cert_chain(certificate, folder / "key.pem")
    accepting = found["mallory"].gate.accepting
    gate = Gate(ROOM.knock, ROOM.is_knock, accepting, trusting, member_of, Shared())
    found["thief"] = Member(found["mallory"].id, gate)
    return found


class Pair:
    """Two links, and the bytes between them: no socket anywhere."""

    def __init__(self, listener: Member, dialer: Member) -> None:
        self.listener = Link(listener.gate, dialed=False, challenge=CHALLENGE)
        self.dialer = Link(dialer.gate, dialed=True)
        self.heard: list[Event] = []  # by the listener
        self.told: list[Event] = []  # to the dialer
        self.bytes = 0

    def pump(self, piece: int = 1 << 30) -> None:
        """Carries bytes both ways, `piece` at a time, until none are left."""
        moved = True
        while moved:
            up = self._carry(self.dialer, self.listener, self.heard, piece)
            down = self._carry(self.listener, self.dialer, self.told, piece)
            moved = up or down

    def _carry(self, source: Link, target: Link, events: list[Event], piece: int) -> bool:
        data = bytes(source.outgoing()[:piece])
        source.sent(len(data))
        self.bytes += len(data)
        if data and not any(isinstance(event, Failed) for event in events):
            events += target.receive(data)
        for link in (source, target):
            assert not link._gate.shared.outgoing.pending, "left for another link"
        return bool(data)


@pytest.fixture
def pair(members: dict[str, Member]) -> Pair:
    return Pair(members["alice"], members["bob"])


def secured(pair: Pair) -> Pair:
    pair.pump()
    pair.heard.clear()
    pair.told.clear()
    return pair


def taken(link: Link, count: int | None = None) -> bytes:
    """What the link sends now, as if a socket had taken it."""
    data = bytes(link.outgoing()[:count])
    link.sent(len(data))
    return data


# ---------------------------------------------------------------- the way in


def test_two_members_of_a_room_find_out_who_the_other_is(
    pair: Pair, members: dict[str, Member]
) -> None:
    pair.pump()
    (heard,), (told,) = pair.heard, pair.told
    assert isinstance(heard, Secured) and heard.member == members["bob"].id
    assert isinstance(told, Secured) and told.member == members["alice"].id


def test_the_first_bytes_are_the_challenge_and_the_knock_as_specified(pair: Pair) -> None:
    assert taken(pair.listener) == CHALLENGE
    assert taken(pair.dialer) == b""
    assert pair.dialer.receive(CHALLENGE) == []
    knock = taken(pair.dialer)
    assert knock[:32] == ROOM.knock(CHALLENGE)
    assert pair.listener.receive(knock[:32]) == []


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 16, 33, 1000])
def test_pieces_of_any_size_make_the_same_link(pair: Pair, piece: int) -> None:
    pair.pump(piece)
    pair.dialer.send(Hello("bob", 1, 2))
    pair.listener.send(Hello("alice", 3, 4))
    pair.dialer.send(Ping())
    pair.pump(piece)
    assert [type(event) for event in pair.heard] == [Secured, Hello, Ping]
    assert [type(event) for event in pair.told] == [Secured, Hello]


def test_a_link_counts_the_bytes_of_both_ways_as_they_go_through_the_socket(pair: Pair) -> None:
    pair.pump(100)
    pair.dialer.send(protocol.Bye("a reason"))
    pair.pump()
    ends = pair.dialer, pair.listener
    assert sum(link.sent_bytes for link in ends) == pair.bytes
    assert [link.sent_bytes for link in ends] == [link.received_bytes for link in ends[::-1]]
    pair.dialer.send(Ping())
    sent = pair.dialer.sent_bytes
    waiting = len(pair.dialer.outgoing())
    assert waiting > 0 and pair.dialer.sent_bytes == sent  # no socket has taken it yet
    taken(pair.dialer, 5)
    assert pair.dialer.sent_bytes == sent + 5
    assert pair.dialer.receive(b"") == [] and pair.dialer.received_bytes > 0


def test_a_way_in_that_is_split_in_two_anywhere_makes_the_same_link(
    members: dict[str, Member],
) -> None:
    """At every third byte of all that is sent both ways; one at a time is above."""
    at, length = 1, 2
    while at < length:
        pair = Pair(members["alice"], members["bob"])
        pair.dialer.send(Hello("bob", 1, 2))
        carried = 0
        for source, target, events in [
            (pair.listener, pair.dialer, pair.told),
            (pair.dialer, pair.listener, pair.heard),
        ] * 5:
            data = taken(source)
            cut = min(max(at - carried, 0), len(data))
            events += target.receive(data[:cut]) + target.receive(data[cut:])
            carried += len(data)
        assert [type(event) for event in pair.heard] == [Secured, Hello]
        assert [type(event) for event in pair.told] == [Secured]
        at, length = at + 3, carried


def test_a_split_at_every_byte_of_the_messages_gives_the_same_messages(pair: Pair) -> None:
    secured(pair)
    sent: list[Message] = [Hello("böb", 1, 2), Ping(), Bye("so long")]
    lengths = set()
    for at in range(150):
        for message in sent:
            pair.dialer.send(message)
        data = taken(pair.dialer)
        lengths.add(len(data))
        got = pair.listener.receive(data[:at]) + pair.listener.receive(data[at:])
        assert got == sent
    assert max(lengths) < 150  # every boundary was one


def test_a_wrong_knock_is_refused_before_tls(pair: Pair) -> None:
    assert pair.listener.receive(b"k" * 31) == []
    assert pair.listener.receive(b"k") == [Failed("no knock of this room", fault=True)]
    assert taken(pair.listener) == CHALLENGE  # a stranger learns nothing more


def test_who_knows_another_room_does_not_get_in(members: dict[str, Member]) -> None:
    pair = Pair(members["alice"], members["mallory"])
    pair.pump()
    assert pair.heard == [Failed("no knock of this room", fault=True)]
    assert pair.told == []


def test_the_knock_of_an_earlier_challenge_is_refused(members: dict[str, Member]) -> None:
    link = Link(members["alice"].gate, dialed=False, challenge=b"f" * 16)
    assert link.receive(ROOM.knock(CHALLENGE)) == [Failed("no knock of this room", fault=True)]


def test_a_dialer_with_a_certificate_of_another_room_does_not_get_in(
    members: dict[str, Member],
) -> None:
    pair = Pair(members["alice"], members["thief"])
    pair.pump()
    (failed,) = pair.heard
    assert failed == Failed("TLS: certificate verify failed", fault=True)
    assert not [event for event in pair.heard if isinstance(event, Secured)]


def test_a_listener_with_a_certificate_of_another_room_is_refused_by_the_dialer(
    members: dict[str, Member],
) -> None:
    pair = Pair(members["thief"], members["bob"])
    pair.pump()
    assert pair.told == [Failed("TLS: certificate verify failed", fault=True)]
    assert all(isinstance(event, Failed) for event in pair.heard)


def test_a_caller_without_a_certificate_does_not_get_in(members: dict[str, Member]) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    gate = members["bob"].gate
    pair = Pair(
        members["alice"],
        Member(b"", gate.but(dialing=bare)),
    )
    pair.pump()
    assert pair.heard == [Failed("TLS: peer did not return a certificate", fault=True)]


def test_a_caller_with_an_older_tls_does_not_get_in(members: dict[str, Member]) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    gate = members["bob"].gate
    pair = Pair(
        members["alice"],
        Member(b"", gate.but(dialing=old)),
    )
    pair.pump()
    assert pair.heard == [Failed("TLS: unsupported protocol", fault=True)]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=400), dialed=st.booleans(), knocked=st.booleans())
def test_any_bytes_on_the_way_in_end_in_nothing_worse_than_a_failure(
    members: dict[str, Member], data: bytes, dialed: bool, knocked: bool
) -> None:
    link = Link(members["alice"].gate, dialed=dialed, challenge=b"" if dialed else CHALLENGE)
    start = (CHALLENGE if dialed else ROOM.knock(CHALLENGE)) if knocked else b""
    events = link.receive(start + data)
    assert events == [] or [type(event) for event in events] == [Failed]
    link.outgoing()


def test_a_certificate_of_the_room_in_which_there_is_no_members_key_lets_nobody_in(
    members: dict[str, Member],
) -> None:
    gate = members["alice"].gate.but(member_of=lambda certificate: None)
    pair = Pair(Member(b"", gate), members["bob"])
    pair.dialer.send(Hello("bob", 1, 2))
    pair.pump()
    assert pair.heard == [Failed("a certificate without a member's key", fault=True)]


def test_a_handshake_that_does_not_end_is_ended_before_it_costs_anything(pair: Pair) -> None:
    taken(pair.listener)
    assert pair.listener.receive(ROOM.knock(CHALLENGE)) == []
    # A record of TLS that begins a message of 124 KB, and records that go on with it.
    flood = bytes.fromhex("16 0301 1000 01 01f000") + bytes(0x1000 - 4)
    flood += 8 * (bytes.fromhex("16 0301 1000") + bytes(0x1000))
    heard: list[Event] = []
    sent = 0
    while not heard and sent < len(flood):
        heard = pair.listener.receive(flood[sent : sent + 1000])
        sent += 1000
    assert sent <= HANDSHAKE_BYTES + 1000
    assert heard == [Failed("a handshake without an end", fault=True)]


def test_what_comes_with_the_end_of_a_handshake_may_be_long(
    members: dict[str, Member],
) -> None:
    pair = Pair(members["alice"], members["bob"])
    pair.dialer.send(Hello("bob", 1, 2))
    for number in range(100):
        pair.dialer.send(Bye(f"{number:0200}"))
    pair.pump()
    assert len(pair.heard) == 102 and pair.bytes > 2 * HANDSHAKE_BYTES


def test_handshakes_of_one_room_that_go_on_at_once_do_not_mix(members: dict[str, Member]) -> None:
    pairs = [Pair(members["alice"], members["bob"]) for _ in range(3)]
    pairs.append(Pair(members["alice"], members["mallory"]))  # and one that fails
    pairs.append(Pair(members["alice"], members["thief"]))
    for number, pair in enumerate(pairs):
        pair.dialer.send(Hello(str(number), 0, 0))
    for _ in range(100):
        for pair in pairs:
            pair._carry(pair.dialer, pair.listener, pair.heard, 50)
            pair._carry(pair.listener, pair.dialer, pair.told, 50)
    bob = Secured(members["bob"].id)
    assert [pair.heard for pair in pairs[:3]] == [[bob, Hello(str(n), 0, 0)] for n in range(3)]
    assert all(isinstance(pair.heard[-1], Failed) for pair in pairs[3:])


def test_an_end_in_the_middle_of_the_handshake_is_no_fault(pair: Pair) -> None:
    """TLS says it in the clear, as the alert close_notify (RFC 8446, section 6.1)."""
    alert = bytes.fromhex("15 0303 0002 0100")
    assert pair.dialer.receive(taken(pair.listener)) == []
    assert pair.listener.receive(taken(pair.dialer)) == []
    assert pair.listener.receive(alert) == pair.dialer.receive(alert) == [Failed("closed")]


def test_what_follows_the_knock_in_one_piece_belongs_to_tls(pair: Pair) -> None:
    pair.dialer.receive(taken(pair.listener))
    knock_and_more = taken(pair.dialer)
    assert len(knock_and_more) > 32
    assert pair.listener.receive(knock_and_more) == []
    pair.pump()
    assert [type(event) for event in pair.heard] == [Secured]


# ---------------------------------------------------------------- messages over a link


# Of TLS 1.3: the kind of what is in a record, and its tag.
RECORD_MORE_BYTES = 1 + 16


def record_sizes(data: bytes) -> list[int]:
    sizes = []
    while data:
        size = int.from_bytes(data[3:5], "big")
        assert len(data) >= 5 + size, "cut off"
        sizes.append(size)
        data = data[5 + size :]
    return sizes


def test_all_messages_of_a_turn_leave_in_few_records_and_arrive_in_order(
    pair: Pair,
) -> None:
    secured(pair)
    for number in range(100):
        pair.dialer.send(Hello(str(number), 0, 0))
    data = taken(pair.dialer)
    sizes = record_sizes(data)
    assert len(sizes) == 1
    events = pair.listener.receive(data)
    assert [event.name for event in events if isinstance(event, Hello)] == [
        str(number) for number in range(100)
    ]


def test_a_burst_leaves_in_the_largest_records_that_there_are(pair: Pair) -> None:
    secured(pair)
    for _ in range(10):
        pair.dialer.send(Entries((bytes(5000),)))
    sizes = record_sizes(taken(pair.dialer))
    assert max(sizes) == RECORD_BYTES + RECORD_MORE_BYTES
    assert len(sizes) == -(-sum(sizes) // max(sizes))


class Plain:
    """Stands for an SSLContext and its SSLObject: no TLS. It looks at how much is in the BIO."""

    def __init__(self) -> None:
        self.found: list[int] = []  # each time that it was asked

    def wrap_bio(self, incoming: ssl.MemoryBIO, _: ssl.MemoryBIO, *, server_side: bool) -> Plain:
        self._incoming = incoming
        return self

    def do_handshake(self) -> None:
        self.found.append(self._incoming.pending)

    def getpeercert(self, *, binary_form: bool) -> bytes:
        return b"certificate"

    def read(self, count: int) -> bytes:
        self.found.append(self._incoming.pending)
        if data := self._incoming.read(count):
            return data
        raise ssl.SSLWantReadError


@pytest.mark.parametrize(
    ("comes", "found"),
    [
        (PIECE_BYTES, [PIECE_BYTES]),
        (PIECE_BYTES + 1, [PIECE_BYTES, 1]),
        (LITTLE_BYTES, [PIECE_BYTES] * (LITTLE_BYTES // PIECE_BYTES)),
        (LITTLE_BYTES + 1, [LITTLE_BYTES + 1]),
        (READ_BYTES, [READ_BYTES]),
    ],
)
def test_what_comes_at_rest_goes_through_tls_in_pieces_and_a_burst_as_it_came(
    members: dict[str, Member], comes: int, found: list[int]
) -> None:
    """A BIO would keep room for all of it."""
    tls = Plain()
    context = cast(ssl.SSLContext, tls)
    gate = members["alice"].gate.but(accepting=context, member_of=lambda _: b"anybody")
    link = Link(gate, dialed=False, challenge=CHALLENGE)
    link.receive(ROOM.knock(CHALLENGE))
    tls.found.clear()
    ping = protocol.encode(Ping())
    heard = link.receive((ping * comes)[:comes])
    assert len(heard) == comes // len(ping)
    assert [size for size in tls.found if size] == found


def test_a_message_to_many_is_encoded_once(
    members: dict[str, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, encoded = protocol.encode, list[Message]()

    def counting(message: Message) -> bytes:
        encoded.append(message)
        return encode(message)

    pairs = [secured(Pair(members["alice"], members["bob"])) for _ in range(3)]
    monkeypatch.setattr(protocol, "encode", counting)
    said = [Bye("one"), Bye("one"), Bye("other"), Bye("one")]  # equal ones are not looked for
    too_long = Entries((bytes(protocol.MAX_FRAME_BYTES),))
    for message in said:
        for pair in pairs:
            pair.listener.send(message)
            with pytest.raises(protocol.LocalError):
                pair.listener.send(too_long)
            pair.listener.send(message)
    assert [each for each in encoded if each is not too_long] == said
    for pair in pairs:
        pair.pump()
        assert pair.told == [message for message in said for _ in range(2)]


def test_a_largest_message_arrives_whole(pair: Pair) -> None:
    secured(pair)
    largest = Entries((Random(1).randbytes(protocol.MAX_FRAME_BYTES - 5),))
    pair.dialer.send(largest)
    pair.pump(10_000)
    assert pair.heard == [largest]


def plain(link: Link, data: bytes) -> bytes:
    """`data` as the link would send it: what a member with another client may do."""
    link._plain.append(data)
    return taken(link)


def test_a_frame_that_claims_four_gigabytes_is_refused_at_once(pair: Pair) -> None:
    secured(pair)
    events = pair.listener.receive(plain(pair.dialer, b"\xff\xff\xff\xff"))
    assert events == [Failed("a frame of 4294967295 bytes", fault=True)]


def test_messages_before_a_broken_one_still_come_out(pair: Pair) -> None:
    secured(pair)
    data = protocol.encode(Ping()) + protocol.encode(Bye("!")) + b"\0\0\0\1\1" + b"\0\0\0\1\6"
    events = pair.listener.receive(plain(pair.dialer, data))
    assert events == [Ping(), Bye("!"), Failed("a message that ends too early", fault=True)]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=300))
def test_any_bytes_from_a_member_end_in_nothing_worse_than_a_failure(
    members: dict[str, Member], data: bytes
) -> None:
    pair = secured(Pair(members["alice"], members["bob"]))
    events = pair.listener.receive(plain(pair.dialer, data))
    assert not any(isinstance(event, Failed) for event in events[:-1])


def test_a_changed_byte_anywhere_in_a_record_ends_the_link(members: dict[str, Member]) -> None:
    at, length = 0, 1
    while at < length:
        pair = secured(Pair(members["alice"], members["bob"]))
        pair.dialer.send(Ping())
        data = bytearray(taken(pair.dialer))
        data[at] ^= 1
        at, length = at + 1, len(data)
        events = pair.listener.receive(bytes(data) + bytes(300))
        assert [type(event) for event in events] == [Failed]


def test_a_goodbye_of_tls_is_a_closed_link(pair: Pair) -> None:
    secured(pair)
    pair.dialer.send(Bye("so long"))
    data = taken(pair.dialer)
    with pytest.raises(ssl.SSLWantReadError):
        pair.dialer._tls.unwrap()
    pair.dialer._encrypted()
    data += taken(pair.dialer)
    assert pair.listener.receive(data) == [Bye("so long"), Failed("closed")]


def test_what_was_queued_for_a_link_that_broke_is_given_up_in_silence(pair: Pair) -> None:
    """A turn may have queued something before the broken bytes come, and closing a
    connection flushes it first: no byte from the network may make that raise."""
    secured(pair)
    pair.listener.send(Ping())
    (failed,) = pair.listener.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert isinstance(failed, Failed)
    taken(pair.listener)


# ---------------------------------------------------------------- the outbox


def test_what_is_queued_before_tls_is_through_arrives_after_it(pair: Pair) -> None:
    pair.dialer.send(Ping())
    pair.pump()
    assert [type(event) for event in pair.heard] == [Secured, Ping]
    assert pair.dialer.queued_bytes == 0


def test_the_outbox_counts_what_the_socket_has_not_taken(pair: Pair) -> None:
    secured(pair)
    assert pair.dialer.queued_bytes == 0
    pair.dialer.send(Entries((bytes(1000),)))
    assert pair.dialer.queued_bytes == 1009
    pending = len(pair.dialer.outgoing())
    assert 1009 < pending < 1100
    assert pair.dialer.queued_bytes == pending
    taken(pair.dialer, 300)
    assert pair.dialer.queued_bytes == pending - 300
    taken(pair.dialer)
    assert pair.dialer.queued_bytes == 0


def test_an_outbox_over_the_high_water_is_clogged_until_it_drains(pair: Pair) -> None:
    secured(pair)
    pair.dialer.send(Entries((bytes(HIGH_WATER_BYTES - 9),)))
    assert not pair.dialer.clogged
    pair.dialer.send(Ping())
    assert pair.dialer.clogged
    pair.dialer.outgoing()
    assert pair.dialer.clogged
    taken(pair.dialer, 2000)
    assert not pair.dialer.clogged


def test_a_peer_that_never_reads_costs_a_limit_and_then_its_link(pair: Pair) -> None:
    secured(pair)
    sent = 0
    with pytest.raises(RemoteError, match="it does not read what it is sent"):
        for _ in range(1_000_000):
            pair.dialer.send(Pong())
            pair.dialer.outgoing()
            sent += 1
    assert sent > 1000
    assert len(pair.dialer.outgoing()) < MAX_QUEUED_BYTES + 1000


def test_a_clogged_outbox_has_room_for_a_run_and_the_rest_of_a_turn(pair: Pair) -> None:
    secured(pair)
    largest = Entries((bytes(protocol.MAX_FRAME_BYTES - 5),))
    pair.dialer.send(Entries((bytes(HIGH_WATER_BYTES - 9),)))
    for _ in range(2):
        pair.dialer.send(largest)
    with pytest.raises(RemoteError):
        for _ in range(2):
            pair.dialer.send(largest)


def test_a_message_that_fits_no_frame_is_our_own_error_and_leaves_the_link_whole(
    pair: Pair,
) -> None:
    secured(pair)
    with pytest.raises(protocol.LocalError):
        pair.dialer.send(Entries((bytes(protocol.MAX_FRAME_BYTES),)))
    assert pair.dialer.queued_bytes == 0
    pair.dialer.send(Ping())
    pair.pump()
    assert pair.heard == [Ping()]


# ---------------------------------------------------------------- the loop


def run_until(
    loop: Loop, done: Callable[[], bool], before: Callable[[], None] | None = None
) -> None:
    """Turns of the loop until `done()`; what never comes fails the test after 5 s."""
    end = time.monotonic() + 5

    def before_sleep() -> None:
        if before:
            before()
        if done():
            loop.stop()

    def too_late() -> None:
        loop.stop()
        raise AssertionError("it never came")

    loop.run(lambda: end, too_late, before_sleep)


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def test_a_pipe_in_the_loop_is_read_when_something_is_in_it() -> None:
    loop, got = Loop(), []
    with pipe() as (reader, writer):
        loop.watch(reader, READ, lambda _: got.append(os.read(reader, 100)))
        os.write(writer, b"hello")
        run_until(loop, lambda: got == [b"hello"])
        loop.unwatch(reader)
        loop.unwatch(reader)  # twice is allowed


def test_a_regular_file_in_the_loop_is_always_ready(tmp_path: Path) -> None:
    loop, got = Loop(), []
    (tmp_path / "input").write_bytes(b"one\ntwo\n")
    file = os.open(tmp_path / "input", os.O_RDONLY)
    try:
        loop.watch(file, READ, lambda _: got.append(os.read(file, 4)))
        run_until(loop, lambda: b"" in got)
        assert got == [b"one\n", b"two\n", b""]
        loop.unwatch(file)
        loop.unwatch(file)
        with pipe() as (reader, writer):  # and after it the loop sleeps again
            loop.watch(reader, READ, lambda _: got.append(os.read(reader, 100)))
            os.write(writer, b"x")
            run_until(loop, lambda: got[-1] == b"x")
    finally:
        os.close(file)


def test_a_file_that_is_always_ready_starves_no_pipe(tmp_path: Path) -> None:
    loop, got = Loop(), []
    (tmp_path / "input").touch()
    file = os.open(tmp_path / "input", os.O_RDONLY)
    with pipe() as (reader, writer):
        loop.watch(file, READ, lambda _: got.append(b""))
        loop.watch(reader, READ, lambda _: got.append(os.read(reader, 100)))
        run_until(loop, lambda: len(got) > 5)
        os.write(writer, b"hello")
        run_until(loop, lambda: b"hello" in got)
    os.close(file)


def test_what_a_long_turn_had_no_time_for_comes_first_in_the_next() -> None:
    now = 0.0
    loop = Loop(lambda: now)
    called: list[int] = []
    with contextlib.ExitStack() as stack:
        for number in range(3):
            reader, writer = stack.enter_context(pipe())
            os.write(writer, b"x")  # never read: it is ready in each turn

            def ready(_: int, number: int = number) -> None:
                nonlocal now
                called.append(number)
                now += 2 * net.TURN_S  # so long it took

            loop.watch(reader, READ, ready)
        turns: list[int] = []
        run_until(loop, lambda: len(turns) == 7, lambda: turns.append(len(called)))
    assert turns == [0, 1, 2, 3, 4, 5, 6]  # each turn had time for one
    assert sorted(called[:3]) == sorted(called[3:]) == [0, 1, 2]


def test_what_is_to_come_soon_comes_in_the_next_turn_and_what_it_asks_for_in_the_one_after() -> (
    None
):
    loop, got = Loop(), list[tuple[str, int]]()

    def call() -> None:
        got.append(("one", loop.wakeups))
        loop.soon(lambda: got.append(("two", loop.wakeups)))

    loop.soon(call)
    assert got == []
    run_until(loop, lambda: len(got) == 2)
    assert got == [("one", 0), ("two", 1)]


def test_the_patient_have_a_small_part_of_the_time_while_others_are_ready() -> None:
    now = 0.0
    loop, called = Loop(lambda: now), list[tuple[str, int]]()
    with pipe() as (patient, one), pipe() as (other, two):
        os.write(one, b"x")  # never read: both are ready in each turn
        os.write(two, b"x")

        def ready(name: str, takes_s: float) -> Callable[[int], None]:
            def note(_: int) -> None:
                nonlocal now
                called.append((name, loop.wakeups))
                now += takes_s

            return note

        loop.watch(patient, READ, ready("patient", 0.001), patient=True)
        # Four of these take a little longer than the patient have to wait.
        loop.watch(other, READ, ready("other", net.PATIENCE * 0.001 / 3.9))
        run_until(loop, lambda: loop.wakeups == 13)
        assert [turn for name, turn in called if name == "patient"] == [0, 4, 8, 12]
        assert [turn for name, turn in called if name == "other"] == list(range(13))
        loop.unwatch(other)  # with nothing else to do, it is looked at in each
        called.clear()
        run_until(loop, lambda: loop.wakeups == 16)
        assert called == [("patient", turn) for turn in (13, 14, 15)]
        loop.watch(patient, READ, ready("not so patient", 0.001))
        loop.watch(other, READ, ready("other", 0.001))
        called.clear()
        run_until(loop, lambda: loop.wakeups == 18)
        assert len(called) == 4


def test_a_later_watch_replaces_the_earlier_one() -> None:
    loop, got = Loop(), []
    with pipe() as (reader, writer):
        loop.watch(reader, READ, lambda _: got.append("first"))
        loop.watch(reader, READ, lambda _: got.append("second"))
        os.write(writer, b"x")
        run_until(loop, lambda: bool(got))
        loop.unwatch(reader)
    assert got == ["second"]


def test_a_deadline_in_the_past_is_met_in_the_next_turn_and_none_is_not() -> None:
    clock = [10.0]
    loop, met = Loop(lambda: clock[0]), list[float]()

    def deadline() -> float | None:
        return 9.0 if len(met) < 3 else None

    def on_deadline() -> None:
        met.append(loop.now())
        if len(met) == 3:
            loop.stop()

    loop.run(deadline, on_deadline, lambda: None)
    assert met == [10.0] * 3
    assert loop.wakeups == 3


def test_before_sleep_comes_before_the_first_sleep_and_after_the_last_turn() -> None:
    loop, order = Loop(lambda: 0.0), []

    def on_deadline() -> None:
        order.append("turn")
        loop.stop()

    loop.run(lambda: 0.0, on_deadline, lambda: order.append("before sleep"))
    assert order == ["before sleep", "turn", "before sleep"]


def test_a_loop_that_is_stopped_before_it_sleeps_does_not_sleep() -> None:
    loop = Loop()
    loop.run(lambda: None, lambda: None, loop.stop)
    assert loop.wakeups == 0


def test_a_loop_that_was_stopped_before_it_ran_makes_its_last_turn_and_ends() -> None:
    loop, order = Loop(), list[str]()
    loop.stop()
    loop.run(lambda: None, lambda: None, lambda: order.append("before sleep"))
    assert order == ["before sleep"]


def test_signals_arrive_in_a_turn_of_the_loop_one_call_each() -> None:
    numbers = [signal.SIGUSR1, signal.SIGUSR2]
    before = [signal.getsignal(number) for number in numbers]
    loop, got = Loop(), list[int]()
    try:
        loop.watch_signals([int(number) for number in numbers], got.append)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert got == []  # not in between
        run_until(loop, lambda: len(got) == 2)
        assert got == [signal.SIGUSR1, signal.SIGUSR2]
        for _ in range(2000):  # more than the pipe between holds
            os.kill(os.getpid(), signal.SIGUSR1)
        run_until(loop, lambda: len(got) > 100)
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


# ---------------------------------------------------------------- over real sockets


class Node:
    """A member that listens on loopback, and all that its connections bring."""

    def __init__(self, loop: Loop, member: Member) -> None:
        self.loop = loop
        self.member = member
        self.connections: list[Connection] = []
        self.events: list[Event] = []
        self.drained = 0
        self.listener = Listener(loop, "127.0.0.1", 0, self.accept)

    def accept(self) -> None:
        for sock, _ in self.listener.accept():
            link = Link(self.member.gate, dialed=False, challenge=os.urandom(16))
            self.connections.append(Connection(self.loop, sock, link, self.ready))

    def dial(self, port: int) -> Connection:
        connection = Connection.dial(
            self.loop, ("127.0.0.1", port), Link(self.member.gate, dialed=True), self.ready
        )
        self.connections.append(connection)
        return connection

    def ready(self, connection: Connection) -> None:
        for event in connection.receive():
            self.events.append(event)
            if isinstance(event, Failed):
                self.connections.remove(connection)
                connection.close()
        self.drained += connection.take_drained()

    def flush(self) -> None:
        for connection in self.connections:
            connection.flush()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.listener.close()


class Net:
    """Nodes in one loop."""

    def __init__(self, *members: Member) -> None:
        self.loop = Loop()
        self.nodes = [Node(self.loop, member) for member in members]

    def until(self, done: Callable[[], bool]) -> None:
        run_until(self.loop, done, self.flush)

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()

    def linked(self) -> tuple[Connection, Connection]:
        one, two = self.nodes
        dialed = one.dial(two.listener.port)
        self.until(lambda: bool(one.events) and bool(two.events))
        assert [type(e) for e in one.events + two.events] == [Secured, Secured]
        one.events.clear()
        two.events.clear()
        return dialed, two.connections[0]


@pytest.fixture
def lan(members: dict[str, Member]) -> Iterator[Net]:
    lan = Net(members["alice"], members["bob"])
    yield lan
    for node in lan.nodes:
        node.close()


def test_two_nodes_link_up_and_talk_over_loopback(lan: Net, members: dict[str, Member]) -> None:
    alice, bob = lan.nodes
    dialed = alice.dial(bob.listener.port)
    lan.until(lambda: len(alice.events) == len(bob.events) == 1)
    (secured,) = bob.events
    assert secured == Secured(members["alice"].id)
    dialed.link.send(Hello("alice", 1, 2))
    bob.connections[0].link.send(Hello("bob", 3, 4))
    lan.until(lambda: len(alice.events) == len(bob.events) == 2)
    assert bob.events[1] == Hello("alice", 1, 2)
    assert alice.events[1] == Hello("bob", 3, 4)


def test_a_burst_of_a_turn_is_one_write(lan: Net) -> None:
    _, bob = lan.nodes
    dialed, _ = lan.linked()
    before = dialed.writes
    for _ in range(500):
        dialed.link.send(Ping())
    lan.until(lambda: len(bob.events) == 500)
    assert dialed.writes == before + 1


def test_a_link_with_nothing_to_say_wakes_nobody(lan: Net) -> None:
    lan.linked()
    lan.until(lambda: True)
    before = lan.loop.wakeups
    due = iter([0.0] * 20)
    lan.flush()

    def on_deadline() -> None:
        if next(due, None) is None:
            lan.loop.stop()

    events = [len(node.events) for node in lan.nodes]
    lan.loop.run(lambda: 0.0, on_deadline, lambda: None)
    assert lan.loop.wakeups == before + 21  # the deadlines, and nothing else
    assert [len(node.events) for node in lan.nodes] == events


def test_a_refused_dial_is_a_failure_in_a_word(lan: Net) -> None:
    alice, bob = lan.nodes
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        alice.dial(free.getsockname()[1])
        lan.until(lambda: bool(alice.events))
    assert alice.events == [Failed("connection refused")]
    assert bob.events == []


def test_a_dial_that_can_not_even_begin_is_an_error_at_once(lan: Net) -> None:
    with pytest.raises(OSError) as error:
        link = Link(lan.nodes[0].member.gate, dialed=True)
        Connection.dial(lan.loop, ("255.255.255.255", 1), link, lan.nodes[0].ready)
    assert error.value.errno in (errno.EACCES, errno.ENETUNREACH)


@pytest.mark.parametrize("zone", ["no such wire", "\0", "\ud800"])
def test_a_dial_over_a_wire_that_there_is_not_is_an_error_whatever_it_is_called(
    lan: Net, members: dict[str, Member], zone: str
) -> None:
    link = Link(members["alice"].gate, dialed=True)
    with pytest.raises(OSError):
        Connection.dial(lan.loop, (f"fe80::1%{zone}", 1), link, lan.nodes[0].ready)


def test_what_is_said_in_a_turn_does_not_leave_before_its_end(lan: Net) -> None:
    bob = lan.nodes[1]
    dialed, _ = lan.linked()
    bob.events.clear()
    dialed.link.send(Hello("alice", 1, 2))
    dialed.flush(mid_turn=True)
    assert dialed.writes and dialed.link.queued_bytes
    assert not dialed.link.outgoing(mid_turn=True)
    dialed.flush()
    lan.until(lambda: bool(bob.events))
    assert bob.events == [Hello("alice", 1, 2)]


def test_a_reset_is_a_failure_in_words(lan: Net) -> None:
    alice, bob = lan.nodes
    dialed, accepted = lan.linked()
    linger = (1).to_bytes(4, "little") + bytes(4)
    accepted._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    lan.loop.unwatch(accepted._socket.fileno())
    accepted._socket.close()
    bob.connections.clear()
    lan.until(lambda: bool(alice.events))
    assert alice.events == [Failed("connection reset by peer")]
    dialed.close()  # once more does no harm


def test_an_end_without_a_goodbye_is_told_as_such(lan: Net) -> None:
    alice, bob = lan.nodes
    lan.linked()
    bob.connections.pop().close()
    lan.until(lambda: bool(alice.events))
    assert alice.events == [Failed("closed without a goodbye")]


def test_what_was_queued_still_leaves_when_a_connection_is_closed(lan: Net) -> None:
    alice, bob = lan.nodes
    _, accepted = lan.linked()
    alice.connections[0].link.send(Ping())  # arrives, and is never read
    alice.flush()
    accepted.link.send(Bye("enough"))
    bob.connections.remove(accepted)
    accepted.close()
    lan.until(lambda: len(alice.events) == 2)
    assert alice.events == [Bye("enough"), Failed("closed without a goodbye")]


def test_a_stranger_that_sends_noise_fails_and_delays_nobody(lan: Net) -> None:
    alice, bob = lan.nodes
    with socket.create_connection(("127.0.0.1", bob.listener.port)) as stranger:
        stranger.sendall(Random(1).randbytes(1000))
        lan.until(lambda: bool(bob.events))
        assert bob.events == [Failed("no knock of this room", fault=True)]
        bob.events.clear()
        lan.linked()
    assert len(alice.connections) == len(bob.connections) == 1


def test_a_slow_reader_clogs_its_own_link_only_and_is_told_of_once_it_drains(lan: Net) -> None:
    alice, bob = lan.nodes
    dialed, accepted = lan.linked()
    run = Entries((Random(1).randbytes(60_000),))
    lan.loop.unwatch(accepted._socket.fileno())  # Bob's end does not read
    sent = 0
    while not dialed.link.clogged:
        dialed.link.send(run)
        dialed.flush()
        sent += 1
    assert alice.drained == 0
    assert sent * 60_000 < MAX_QUEUED_BYTES + 20 * BUFFER_BYTES
    lan.loop.watch(accepted._socket.fileno(), READ, accepted._on_ready)
    lan.until(lambda: len(bob.events) == sent and alice.drained == 1)
    assert bob.events == [run] * sent
    assert dialed.link.queued_bytes == 0


def test_one_read_a_turn_keeps_a_torrent_from_starving_the_others(lan: Net) -> None:
    alice, bob = lan.nodes
    lan.linked()
    second = alice.dial(bob.listener.port)
    lan.until(lambda: len(alice.events) == len(bob.events) == 1)
    bob.events.clear()
    flooding = alice.connections[0]
    rounds = 0

    def flood() -> None:
        nonlocal rounds
        rounds += 1
        while not flooding.link.clogged:
            flooding.link.send(Entries((bytes(30_000),)))
        if rounds == 3:
            second.link.send(Bye("am I heard?"))
        lan.flush()

    run_until(lan.loop, lambda: Bye("am I heard?") in bob.events, flood)
    assert rounds < 20


def test_a_turn_takes_in_so_many_messages_of_a_link_and_the_next_ones_the_rest(lan: Net) -> None:
    _, bob = lan.nodes
    dialed, _ = lan.linked()
    sizes: list[int] = []
    for number in range(100):
        dialed.link.send(Bye(str(number)))

    def flush() -> None:
        sizes.append(len(bob.events))
        lan.flush()

    run_until(lan.loop, lambda: len(bob.events) == 100, flush)
    # Not a byte is in the socket any more: the connection wakes the loop itself.
    assert [size for size in dict.fromkeys(sizes) if size] == [32, 64, 96, 100]
    assert bob.events == [Bye(str(number)) for number in range(100)]


def test_what_came_before_the_end_of_a_link_is_told_before_it(lan: Net) -> None:
    alice, bob = lan.nodes
    dialed, _ = lan.linked()
    for _ in range(100):
        dialed.link.send(Ping())
    alice.connections.remove(dialed)
    dialed.close()
    lan.until(lambda: len(bob.events) == 101)
    assert bob.events[:100] == [Ping()] * 100
    assert isinstance(bob.events[100], Failed)


def test_a_listener_has_the_port_that_it_was_given_or_says_why_not(lan: Net) -> None:
    port = lan.nodes[0].listener.port
    with pytest.raises(OSError) as error:
        Listener(lan.loop, "127.0.0.1", port, lambda: None)
    assert error.value.errno == errno.EADDRINUSE


def test_a_crowd_of_callers_is_taken_in_over_several_turns() -> None:
    loop, turns = Loop(), list[int]()
    accepted: list[socket.socket] = []

    def accept() -> None:
        callers = listener.accept()
        turns.append(len(callers))
        accepted.extend(sock for sock, _ in callers)

    listener = Listener(loop, "127.0.0.1", 0, accept)
    with contextlib.ExitStack() as callers:
        for _ in range(door.ACCEPTS_PER_TURN * 2 + 5):
            callers.enter_context(socket.create_connection(("127.0.0.1", listener.port)))
        run_until(loop, lambda: len(accepted) == door.ACCEPTS_PER_TURN * 2 + 5)
    assert max(turns) == door.ACCEPTS_PER_TURN
    for sock in accepted:
        sock.close()
    listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_for_both_families_tells_each_address_in_its_one_spelling(host: str) -> None:
    loop, accepted = Loop(), list[tuple[socket.socket, tuple[str, int]]]()
    listener = Listener(loop, "::", 0, lambda: accepted.extend(listener.accept()))
    with socket.create_connection((host, listener.port)) as caller:
        run_until(loop, lambda: bool(accepted))
        ((sock, address),) = accepted
        assert address == caller.getsockname()[:2]
        sock.close()
    listener.close()


def test_out_of_descriptors_a_caller_is_turned_away_and_later_ones_get_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop()
    listener = Listener(loop, "127.0.0.1", 0, lambda: None)
    accept, full = socket.socket.accept, [True]

    def limited(self: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        if full.pop() if full else False:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    with socket.create_connection(("127.0.0.1", listener.port)) as one:
        monkeypatch.setattr(socket.socket, "accept", limited)
        assert listener.accept() == []
        assert one.recv(1) == b""  # hung up on
        with socket.create_connection(("127.0.0.1", listener.port)):
            ((sock, address),) = listener.accept()
            assert address[0] == "127.0.0.1"
            sock.close()
    listener.close()


def test_a_connection_is_tuned_for_short_messages_and_small_buffers(lan: Net) -> None:
    for connection in lan.linked():
        sock = connection._socket
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            assert sock.getsockopt(socket.SOL_SOCKET, buffer) <= 2 * BUFFER_BYTES


def test_a_watch_for_writing_is_called_when_there_is_room() -> None:
    loop, got = Loop(), list[int]()
    with pipe() as (_, writer):
        loop.watch(writer, WRITE, got.append)
        run_until(loop, lambda: bool(got))
        loop.unwatch(writer)
    assert got[0] == WRITE


def test_an_outlet_that_nobody_reads_is_given_up_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(net, "FINISH_S", 0.05)
    reader, writer = os.pipe()
    try:
        loop = net.Loop()
        outlet = net.Outlet(loop, writer, lambda error: None)
        outlet.write("x" * 1_000_000)
        assert outlet.full
        assert not outlet.finish(loop.now() + 60)  # the reader stands still
        assert not outlet.finish(loop.now())  # or reads, but the time is over
        os.read(reader, 65_536)
        assert not outlet.finish(loop.now())
    finally:
        os.close(reader)
        os.close(writer)
