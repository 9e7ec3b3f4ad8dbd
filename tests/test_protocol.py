"""protocol.py: bytes to messages and back, exactly, and nothing but RemoteError from bytes."""

from __future__ import annotations

import struct
import sys
from hashlib import sha256
from itertools import starmap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protocol
from protocol import (
    LINES,
    NAME,
    NO_PREVIOUS,
    POSTS,
    Bye,
    Entries,
    Entry,
    Fork,
    Frames,
    Have,
    Head,
    Hello,
    LocalError,
    Message,
    Peer,
    Peers,
    Ping,
    Pong,
    RemoteError,
    encode,
    pack_bursts,
    pack_posts,
    parse_entry,
    parse_receipt,
    signed_bytes,
    signed_receipt_bytes,
    texts_in,
    unpack_posts,
    unsigned_entry,
    unsigned_receipt,
)

ALICE = b"a" * 32
LOG = ALICE + b"A" * 8
OTHER_LOG = b"b" * 32 + b"B" * 8
SIGNATURE = b"s" * 64

# One of each kind, and its frame written out by hand from the specification.
EXACT: list[tuple[Message, str]] = [
    (
        Hello("bö", port=5000, instance=7, seen="::1"),
        "00000016 01  0001 0000000000000007 1388 0003 62c3b6 03 3a3a31",
    ),
    (
        Peers((Peer(ALICE, "::1", 6000), Peer(ALICE, "", 1))),
        f"0000004c 02  0002 {ALICE.hex()} 1770 03 3a3a31 {ALICE.hex()} 0001 00",
    ),
    (
        Have((Head(LOG, 258, b"the mark"),)),
        f"0000003c 03  01 0001 {LOG.hex()} 0000000000000102 {b'the mark'.hex()}",
    ),
    (Have((), last=False), "00000004 03  00 0000"),
    (Entries((b"one", b"")), "0000000c 04  00000003 6f6e65 00000000"),
    (Ping(), "00000001 05"),
    (Pong(), "00000001 06"),
    (Bye("no"), "00000003 07  6e6f"),
    (Fork(b"x", b"yz"), "0000000c 08  00000001 78 00000002 797a"),
    (
        parse_receipt(unsigned_receipt(ALICE, (Head(OTHER_LOG, 258),)) + SIGNATURE),
        f"00000093 09  {ALICE.hex()} 0001 {OTHER_LOG.hex()} 0000000000000102 {SIGNATURE.hex()}",
    ),
]

sequence_numbers = st.integers(1, 2**63 - 1)
logs = st.binary(min_size=40, max_size=40)
unmarked = st.builds(Head, logs, sequence_numbers, st.just(protocol.NO_MARK))
heads = st.lists(unmarked, max_size=5, unique_by=lambda h: h.log)
marks = st.binary(min_size=protocol.MARK_BYTES, max_size=protocol.MARK_BYTES)
marked = st.lists(st.builds(Head, logs, sequence_numbers, marks), max_size=5)
texts = st.text(max_size=60)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello,
        name=texts,
        port=st.integers(0, 65535),
        instance=st.integers(0, 2**64 - 1),
        version=st.integers(0, 65535),
    ),
    st.builds(
        Peers,
        st.lists(
            st.builds(Peer, st.binary(min_size=32, max_size=32), texts, port=st.integers(0, 65535)),
            max_size=4,
        ).map(tuple),
    ),
    st.builds(Have, marked.map(tuple), last=st.booleans()),
    st.builds(Entries, st.lists(st.binary(max_size=60), min_size=1, max_size=4).map(tuple)),
    st.just(Ping()),
    st.just(Pong()),
    st.builds(Bye, st.text(max_size=50)),
    st.builds(Fork, st.binary(max_size=60), st.binary(max_size=60)),
    st.builds(
        lambda *fields: parse_receipt(unsigned_receipt(*fields) + SIGNATURE),
        st.binary(min_size=32, max_size=32),
        heads.map(tuple),
    ),
)


def frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


def fed(data: bytes, frames: Frames | None = None) -> list[Message]:
    return list((frames or Frames()).feed(data))


def fed_until_broken(data: bytes) -> tuple[list[Message], str]:
    got: list[Message] = []
    with pytest.raises(RemoteError) as broken:
        got.extend(Frames().feed(data))
    return got, str(broken.value)


def raw_entry(
    *,
    log: bytes = LOG,
    seq: int = 1,
    previous: bytes | None = None,
    time_ms: int = 0,
    heads: tuple[Head, ...] = (),
    kind: int = protocol.POSTS,
    body: bytes = b"",
) -> bytes:
    if previous is None:
        previous = protocol.NO_PREVIOUS if seq == 1 else b"p" * 32
    return unsigned_entry(Head(log, seq), previous, time_ms, heads, kind, body) + SIGNATURE


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize(("message", "exact"), EXACT, ids=lambda case: type(case).__name__)
def test_each_message_has_exactly_the_bytes_of_the_specification(
    message: Message, exact: str
) -> None:
    assert encode(message) == bytes.fromhex(exact)
    assert fed(bytes.fromhex(exact)) == [message]


def test_a_hello_may_leave_out_where_it_sees_the_far_end() -> None:
    exact = bytes.fromhex("00000012 01  0001 0000000000000007 1388 0003 62c3b6")
    assert fed(exact) == [Hello("bö", port=5000, instance=7)]


@given(messages)
def test_every_message_comes_back_from_its_frame(message: Message) -> None:
    assert fed(encode(message)) == [message]


@given(messages, st.binary(max_size=20))
def test_bytes_after_the_known_fields_are_passed_over(message: Message, more: bytes) -> None:
    if isinstance(message, Entries | Bye):
        return  # these two fill their frame to its end
    data = encode(message)
    assert fed(frame(data[4], data[5:] + more)) == [message]


@pytest.mark.parametrize("kind", [0, 10, 100, 255])
def test_a_frame_of_an_unknown_kind_is_passed_over(kind: int) -> None:
    assert fed(encode(Ping()) + frame(kind, b"what?") + encode(Pong())) == [Ping(), Pong()]


def test_a_split_at_every_boundary_gives_the_same_messages() -> None:
    expected = [message for message, _ in EXACT]
    data = b"".join(bytes.fromhex(exact) for _, exact in EXACT)
    for at in range(len(data) + 1):
        frames = Frames()
        assert fed(data[:at], frames) + fed(data[at:], frames) == expected


@given(st.lists(messages, max_size=5), st.data())
def test_any_pieces_give_the_same_messages(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames = Frames()
    got: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += fed(stream[start:end], frames)
    assert got == sent


def test_one_byte_at_a_time_gives_the_same_messages() -> None:
    data = b"".join(bytes.fromhex(exact) for _, exact in EXACT)
    frames = Frames()
    got = [message for byte in data for message in frames.feed(bytes([byte]))]
    assert got == [message for message, _ in EXACT]


@pytest.mark.parametrize(
    "broken",
    [
        frame(1, b""),
        frame(3, b"\x01\x00\x09"),
        frame(4, b""),
        bytes(4),
        b"\xff\xff\xff\xff",
        struct.pack(">I", protocol.MAX_FRAME_BYTES + 1),
    ],
)
def test_good_frames_before_a_broken_one_still_come_out(broken: bytes) -> None:
    got, _ = fed_until_broken(encode(Ping()) + encode(Bye("so long")) + broken + encode(Pong()))
    assert got == [Ping(), Bye("so long")]


@pytest.mark.parametrize("length", [0, protocol.MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_frame_length_beyond_the_limits_is_refused_before_its_body_comes(length: int) -> None:
    got, reason = fed_until_broken(struct.pack(">I", length))
    assert (got, reason) == ([], f"a frame of {length} bytes")


def test_the_longest_frame_passes_and_one_byte_more_is_refused_by_both_ends() -> None:
    longest = Entries((bytes(protocol.MAX_FRAME_BYTES - 5),))
    assert fed(encode(longest)) == [longest]
    with pytest.raises(LocalError, match="fits no frame"):
        encode(Entries((bytes(protocol.MAX_FRAME_BYTES - 4),)))


def test_an_unfinished_frame_is_all_that_is_held() -> None:
    frames = Frames()
    whole = encode(Entries((bytes(100_000),)))
    for _ in range(20):
        assert len(fed(whole + whole[:50_000], frames)) == 1
        assert len(frames._parts[0]) == 50_000
        assert len(fed(whole[50_000:], frames)) == 1
        assert not frames._parts


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_remote_error(data: bytes) -> None:
    try:
        fed(data)
    except RemoteError:
        pass


@given(st.integers(0, 10), st.binary(max_size=200))
def test_any_body_of_any_kind_raises_nothing_but_remote_error(kind: int, body: bytes) -> None:
    try:
        fed(frame(kind, body))
    except RemoteError:
        pass


@given(messages, st.data())
def test_a_frame_cut_short_is_broken_or_of_other_meaning_but_never_a_crash(
    message: Message, data: st.DataObject
) -> None:
    whole = encode(message)
    body = whole[5 : data.draw(st.integers(5, len(whole)))]
    try:
        fed(frame(whole[4], body))
    except RemoteError:
        pass


# ---------------------------------------------------------------- limits of messages


def test_the_longest_name_passes_and_one_byte_more_is_refused() -> None:
    name = "n" * protocol.MAX_NAME_BYTES
    assert fed(encode(Hello(name, 0, 0))) == [Hello(name, 0, 0)]
    _, reason = fed_until_broken(encode(Hello(name + "n", 0, 0)))
    assert reason == "a text of 40001 bytes where 40000 is the limit"


def test_as_many_logs_as_the_limit_pass_and_one_more_is_refused() -> None:
    many = tuple(Head(n.to_bytes(40, "big"), 1) for n in range(protocol.MAX_HAVE_LOGS))
    assert fed(encode(Have(many))) == [Have(many)]
    _, reason = fed_until_broken(encode(Have((*many, Head(LOG, 1)))))
    assert reason == "2049 logs where 2048 is the limit"


def test_as_many_peers_as_the_limit_with_the_longest_hosts_pass_and_one_more_is_refused() -> None:
    peer = Peer(ALICE, "h" * protocol.MAX_HOST_BYTES, 1)
    full = Peers((peer,) * protocol.MAX_PEERS)
    assert fed(encode(full)) == [full]
    _, reason = fed_until_broken(encode(Peers((*full.peers, peer))))
    assert reason == "257 peers where 256 is the limit"
    _, reason = fed_until_broken(encode(Peers((peer._replace(host="h" * 254),))))
    assert reason == "a text of 254 bytes where 253 is the limit"


def test_as_many_logs_of_a_receipt_as_the_limit_pass_and_one_more_is_refused() -> None:
    many = tuple(Head(n.to_bytes(40, "big"), n) for n in range(protocol.MAX_RECEIPT_LOGS))
    full = parse_receipt(unsigned_receipt(ALICE, many) + SIGNATURE)
    assert fed(encode(full)) == [full] and full.heads == many
    with pytest.raises(LocalError):
        unsigned_receipt(ALICE, (*many, Head(LOG, 1)))
    more = bytes(32) + (65).to_bytes(2, "big") + bytes(65 * 48 + 64)
    _, reason = fed_until_broken(frame(9, more))
    assert reason == "65 logs of a receipt where 64 is the limit"


def test_a_receipt_is_signed_for_its_purpose_and_room_over_all_that_is_before_it() -> None:
    unsigned = unsigned_receipt(ALICE, (Head(LOG, 7),))
    receipt = parse_receipt(unsigned + SIGNATURE + b"of a later version")
    assert (receipt.unsigned, receipt.signature) == (unsigned, SIGNATURE)
    signed = signed_receipt_bytes(b"r" * 32, unsigned)
    assert signed == b"selchat receipt v1\0" + b"r" * 32 + ALICE + b"\0\1" + LOG + bytes(7) + b"\7"
    for size in range(len(receipt.raw)):
        with pytest.raises(RemoteError):
            parse_receipt(receipt.raw[:size])


@pytest.mark.parametrize(
    "message",
    [
        Hello("n" * 70_000, 0, 0),
        Hello("lone \ud800", 0, 0),
        Hello("", 65_536, 0),
        Hello("", -1, 0),
        Peers((Peer(ALICE, "h" * 256, 1),)),
        Peers((Peer(ALICE, "h\udcff", 1),)),
        Have((Head(LOG, 2**64),)),
        Have((Head(LOG, 1),) * 65_536),
        Bye("\ud800"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_does_not_fit_the_wire_is_our_own_error(message: Message) -> None:
    with pytest.raises(LocalError):
        encode(message)


@given(st.text(max_size=40), st.sampled_from(["x", "é", "€", "🙂"]))
def test_a_long_reason_is_cut_between_two_characters(start: str, rest: str) -> None:
    (bye,) = fed(encode(Bye(start + rest * 200)))
    assert isinstance(bye, Bye)
    assert (start + rest * 200).startswith(bye.reason)
    assert -4 < len(bye.reason.encode()) - protocol.MAX_REASON_BYTES <= 0


def test_a_reason_that_is_not_text_is_still_a_goodbye() -> None:
    (bye,) = fed(frame(7, b"\xff" * 1000))
    assert bye == Bye("\ufffd" * protocol.MAX_REASON_BYTES)


def test_a_run_of_no_entries_is_refused() -> None:
    assert fed_until_broken(frame(4, b"")) == ([], "a run of no entries")


@pytest.mark.parametrize("body", [b"\0\0\0\2x", b"\0\0\0", b"\0\0\0\1x\xff\xff\xff\xff"])
def test_a_run_whose_lengths_lie_is_refused(body: bytes) -> None:
    assert fed_until_broken(frame(4, body)) == ([], "a message that ends too early")


@pytest.mark.parametrize("kind", [1, 2])
def test_a_text_that_is_not_utf8_is_refused(kind: int) -> None:
    bodies = {
        1: bytes.fromhex("0001 0000000000000000 0000 0001 ff"),
        2: b"\0\1" + ALICE + b"\0\1\1\xff",
    }
    assert fed_until_broken(frame(kind, bodies[kind])) == ([], "a text that is not UTF-8")


def test_long_messages_show_their_size_and_not_their_bytes() -> None:
    assert repr(Entries((b"abc", b"d"))) == "Entries(2 entries, 4 bytes)"
    assert repr(Fork(b"abc", b"d")) == "Fork(3 and 1 bytes)"


# ---------------------------------------------------------------- entries


def test_an_entry_has_exactly_the_bytes_of_the_specification() -> None:
    raw = raw_entry(seq=2, time_ms=3, heads=(Head(OTHER_LOG, 4),), kind=5, body=b"hi")
    assert raw == bytes.fromhex(
        f"{ALICE.hex()} 4141414141414141 0000000000000002 {(b'p' * 32).hex()} 0000000000000003"
        f"0001 {OTHER_LOG.hex()} 0000000000000004 0005 00000002 6869 {SIGNATURE.hex()}"
    )


def test_an_entry_is_signed_for_one_purpose_and_one_room() -> None:
    assert signed_bytes(b"r" * 32, b"entry") == b"selchat entry v1\0" + b"r" * 32 + b"entry"


@given(
    log=logs,
    seq=sequence_numbers,
    time_ms=st.integers(0, protocol.MAX_TIME_MS),
    heads=heads.map(tuple),
    kind=st.integers(0, 65535),
    body=st.binary(max_size=80),
)
def test_every_entry_comes_back_from_its_bytes(
    log: bytes, seq: int, time_ms: int, heads: tuple[Head, ...], kind: int, body: bytes
) -> None:
    raw = raw_entry(log=log, seq=seq, time_ms=time_ms, heads=heads, kind=kind, body=body)
    previous = protocol.NO_PREVIOUS if seq == 1 else b"p" * 32
    entry = parse_entry(raw)
    assert entry == Entry(log, seq, previous, time_ms, heads, kind, body, raw)
    assert (entry.author, entry.signature) == (log[:32], SIGNATURE)
    assert entry.hash == sha256(raw).digest()


def test_an_entry_cut_anywhere_or_with_a_byte_too_many_is_refused() -> None:
    raw = raw_entry(heads=(Head(OTHER_LOG, 1),), body=b"hello")
    for end in range(len(raw)):
        with pytest.raises(RemoteError):
            parse_entry(raw[:end])
    with pytest.raises(RemoteError, match="after its signature"):
        parse_entry(raw + b"!")


@given(st.binary(max_size=400))
def test_any_bytes_are_an_entry_or_a_remote_error(data: bytes) -> None:
    try:
        parse_entry(data)
    except RemoteError:
        pass


@given(st.data())
def test_an_entry_with_changed_bytes_is_an_entry_or_a_remote_error(data: st.DataObject) -> None:
    raw = bytearray(raw_entry(seq=2, heads=(Head(OTHER_LOG, 1),), body=b"hello"))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        entry = parse_entry(bytes(raw))
    except RemoteError:
        return
    assert entry.raw == raw


@pytest.mark.parametrize(
    ("seq", "previous"),
    [(0, bytes(32)), (0, b"p" * 32), (1, b"p" * 32), (2, bytes(32)), (2**63, b"p" * 32)],
)
def test_an_impossible_seq_is_refused(seq: int, previous: bytes) -> None:
    with pytest.raises(RemoteError, match="impossible seq"):
        parse_entry(raw_entry(seq=seq, previous=previous))


@pytest.mark.parametrize(
    "heads",
    [
        (Head(OTHER_LOG, 0),),
        (Head(OTHER_LOG, 2**63),),
        (Head(OTHER_LOG, 1), Head(OTHER_LOG, 2)),
    ],
)
def test_impossible_heads_are_refused(heads: tuple[Head, ...]) -> None:
    with pytest.raises(RemoteError, match="impossible heads"):
        parse_entry(raw_entry(heads=heads))


def test_a_time_beyond_all_calendars_is_the_last_instant_of_the_year_9999() -> None:
    entry = parse_entry(raw_entry(time_ms=2**64 - 1))
    assert entry.time_ms == protocol.MAX_TIME_MS
    assert entry.raw == raw_entry(time_ms=2**64 - 1)


def test_the_largest_entry_fits_in_one_frame_and_larger_ones_are_refused_by_both_ends() -> None:
    heads = tuple(Head(n.to_bytes(40, "big"), 1) for n in range(1, protocol.MAX_HEADS + 1))
    largest = raw_entry(heads=heads, body=bytes(protocol.MAX_BODY_BYTES))
    assert parse_entry(largest).heads == heads
    assert fed(encode(Entries((largest,)))) == [Entries((largest,))]
    assert fed(encode(Fork(raw_entry(), largest))) == [Fork(raw_entry(), largest)]
    with pytest.raises(LocalError):
        raw_entry(body=bytes(protocol.MAX_BODY_BYTES + 1))
    with pytest.raises(LocalError):
        raw_entry(heads=(*heads, Head(LOG, 1)))
    with pytest.raises(RemoteError, match="an entry of"):
        parse_entry(bytes(protocol.MAX_ENTRY_BYTES + 1))
    crowd = struct.pack(">H", protocol.MAX_HEADS + 1)
    start = largest[: 40 + 8 + 32 + 8]
    with pytest.raises(RemoteError, match="129 heads where 128 is the limit"):
        parse_entry(start + crowd + bytes(48 * 129) + bytes(70))


def test_what_the_entry_says_of_itself_is_its_own_bytes() -> None:
    entry = parse_entry(raw_entry(body=b"hello"))
    assert entry._replace(time_ms=5).raw == entry.raw
    assert entry._replace(time_ms=5).hash == entry.hash


# ---------------------------------------------------------------- posts


def test_posts_have_exactly_the_bytes_of_the_specification() -> None:
    body = bytes.fromhex("00000003 00000002 00000000 00000003 6869 e282ac")
    assert pack_posts(["hi", "", "€"]) == body
    assert unpack_posts(body) == ["hi", "", "€"]


@given(st.lists(st.text(max_size=40), max_size=20))
def test_posts_come_back_from_their_body(posts: list[str]) -> None:
    assert unpack_posts(pack_posts(posts)) == posts
    assert unpack_posts(pack_posts(posts) + b"later versions add here") == posts


@given(st.binary(max_size=100))
def test_any_body_is_posts_or_a_remote_error(body: bytes) -> None:
    try:
        unpack_posts(body)
    except RemoteError:
        pass


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\1",
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\0\0\0\2x",
        b"\0\0\0\1\0\0\0\1\xff",
        b"\0\0\0\2\0\0\0\1\0\0\0\1\xc3\xb6",
        struct.pack(">II", 1, protocol.MAX_POST_BYTES + 1) + bytes(protocol.MAX_POST_BYTES + 1),
    ],
)
def test_a_body_whose_lengths_or_texts_are_wrong_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteError):
        unpack_posts(body)


def texts_of(kind: int, body: bytes) -> list[str]:
    return texts_in(Entry(bytes(40), 1, NO_PREVIOUS, 0, (), kind, body, b""))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("xé€🙂\n"), st.integers(0, 12_288)), max_size=30))
def test_bursts_keep_the_order_fit_one_entry_each_and_are_as_few_as_can_be(
    shapes: list[tuple[str, int]],
) -> None:
    posts = [character * count for character, count in shapes]
    packed = list(pack_bursts(posts))
    kinds, bodies = {kind for kind, _ in packed}, [body for _, body in packed]
    bursts = list(starmap(texts_of, packed))
    assert [text for burst in bursts for text in burst] == posts
    assert all(burst for burst in bursts)
    assert all(len(body) <= protocol.MAX_BODY_BYTES for body in bodies)
    assert kinds <= ({POSTS} if any("\n" in post for post in posts) else {LINES})
    with_each = 4 if kinds == {POSTS} else 1  # its length, or the line break before it
    for body, following in zip(bodies, bursts[1:], strict=False):
        assert len(body) + with_each + len(following[0].encode()) > protocol.MAX_BODY_BYTES


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 2048, 5000])
@pytest.mark.parametrize("text", ["", "x", "one\ntwo"])
def test_of_short_posts_a_burst_has_so_many(count: int, text: str) -> None:
    sizes = [len(texts_of(*packed)) for packed in pack_bursts([text] * count)]
    rest = [count % protocol.MAX_POSTS] if count % protocol.MAX_POSTS else []
    assert sizes == [protocol.MAX_POSTS] * (count // protocol.MAX_POSTS) + rest


@pytest.mark.parametrize("body", [b"\xff", b"ok\n\xe2\x82", b"\n" * protocol.MAX_POSTS])
def test_lines_that_are_no_text_or_too_many_are_refused(body: bytes) -> None:
    with pytest.raises(RemoteError):
        protocol.unpack_lines(body)


def test_an_entry_of_another_kind_has_no_texts() -> None:
    assert texts_of(NAME, b"alice") == texts_of(9, b"x\ny") == []


def test_the_longest_post_fits_a_burst() -> None:
    longest = "x" * protocol.MAX_POST_BYTES
    assert list(pack_bursts([longest, longest])) == [(LINES, longest.encode())] * 2
    assert list(pack_bursts([longest, "\n"])) == [(POSTS, pack_posts([longest, "\n"]))]
    assert unpack_posts(pack_posts([longest])) == [longest]


def test_no_posts_are_no_bursts() -> None:
    assert list(pack_bursts([])) == []


def test_a_proof_of_two_largest_entries_fits_one_frame() -> None:
    largest = bytes(protocol.MAX_ENTRY_BYTES)
    assert len(protocol.encode(protocol.Fork(largest, largest))) <= 4 + protocol.MAX_FRAME_BYTES


def chain(*bodies: bytes, heads: tuple[Head, ...] = (Head(b"b" * 40, 7),)) -> list[bytes]:
    """Entries of one log, each naming the one before it; signed by nobody."""
    run: list[bytes] = []
    for seq, body in enumerate(bodies, 1):
        previous = sha256(run[-1]).digest() if run else protocol.NO_PREVIOUS
        head = Head(b"a" * 40, seq)
        unsigned = protocol.unsigned_entry(head, previous, 9, heads, protocol.POSTS, body)
        run.append(unsigned + bytes(protocol.SIGNATURE_BYTES))
    return run


def test_a_run_is_parsed_as_its_entries_are() -> None:
    for heads in ((), (Head(b"b" * 40, 7),), (Head(b"b" * 40, 7), Head(b"c" * 40, 2**63 - 1))):
        run = chain(b"one", b"", b"three", heads=heads)
        assert protocol.parse_run(tuple(run)) == [protocol.parse_entry(raw) for raw in run]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2), st.integers(0), st.integers(1, 255), st.integers(0, 3))
def test_of_a_run_that_is_damaged_anywhere_nothing_is_taken(
    which: int, at: int, flip: int, cut: int
) -> None:
    run = chain(b"one", b"two", b"three")
    damaged = bytearray(run[which])
    damaged[at % len(damaged)] ^= flip
    run[which] = bytes(damaged[: len(damaged) - cut])
    try:
        entries = protocol.parse_run(tuple(run))
    except RemoteError:
        return
    # Only of the last one something may be another, that its signature is to vouch for.
    assert which == 2 and [protocol.parse_entry(raw) for raw in run] == entries


def test_the_python_calls_for_a_run_do_not_grow_unseen() -> None:
    """By counts, since times wobble: what each entry of a frame costs until it is parsed."""
    run = tuple(chain(*(b"%d" % number for number in range(256))))
    frame = protocol.encode(protocol.Entries(run))
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        (message,) = protocol.Frames().feed(frame)
        assert isinstance(message, protocol.Entries)
        protocol.parse_run(message.run)
    finally:
        sys.setprofile(None)
    assert calls <= 64


def test_a_run_of_more_entries_than_may_be_is_refused_before_they_are_cut() -> None:
    run = (b"",) * (protocol.MAX_RUN + 1)
    with pytest.raises(RemoteError, match="more than 256 entries"):
        list(protocol.Frames().feed(protocol.encode(protocol.Entries(run))))
