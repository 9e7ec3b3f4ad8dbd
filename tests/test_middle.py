"""A member in the middle: it holds the room's secret, is linked to two who can't reach each other,
and can neither pose as another member nor change or reorder another's log."""

from __future__ import annotations

import socket
import ssl
import time
from base64 import encodebytes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import identity
import protocol
from identity import Identity, Room, member_of, open_room
from link import HANDSHAKE_BYTES, Failed, Gate, Secured, Shared
from protocol import Entries, Fork, Have, Head, Hello, Message, Peer, Peers, Ping, Pong
from tests.processes import Crowd, Event, Process
from tests.test_net import ROOM, Member, Pair, members

__all__ = ["members"]  # the fixture

# ---------------------------------------------------------------- certificates

NO_MEMBER = Failed("a certificate without a member's key", fault=True)
# What OpenSSL says on the side that has looked at the chain.
REFUSED = Failed("TLS: certificate verify failed", fault=True)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(
    subject: str,
    key: CertificatePublicKeyTypes,
    issuer: str,
    signer: CertificateIssuerPrivateKeyTypes,
    *,
    ca: bool = False,
) -> bytes:
    signed_with = None if isinstance(signer, Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder(named(issuer), named(subject), key, 7)
        .not_valid_before(datetime(2000, 1, 1))
        .not_valid_after(datetime(9999, 12, 31))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .sign(signer, signed_with)
        .public_bytes(Encoding.DER)
    )


class Mallory:
    """A member with a key of its own, and certificates as it likes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = Ed25519PrivateKey.from_private_bytes(b"mallory's own secret, 32 bytes..")
        self.id = self.key.public_key().public_bytes_raw()
        self.authority = ROOM.authority()

    def shows(
        self, *chain: bytes, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey | None = None
    ) -> Member:
        """It shows this chain, and holds this key, or its own."""
        private = (key or self.key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "key.pem").write_bytes(private)
        (self.folder / "chain.pem").write_text("".join(map(pem, chain)))
        contexts = []
        for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
            context = ssl.SSLContext(kind)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.load_cert_chain(self.folder / "chain.pem", self.folder / "key.pem")
            contexts.append(context)
        accepting, dialing = contexts
        gate = Gate(ROOM.knock, ROOM.is_knock, accepting, dialing, lambda _: b"anybody", Shared())
        return Member(self.id, gate)

    def leaf(self, signer: CertificateIssuerPrivateKeyTypes, issuer: str) -> bytes:
        return certificate("selchat member", self.key.public_key(), issuer, signer)


def pem(der: bytes) -> str:
    body = encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


@pytest.fixture
def mallory(tmp_path: Path) -> Mallory:
    return Mallory(tmp_path)


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    """A member whose certificates are from when the authority's had no path length."""
    real = x509.BasicConstraints
    monkeypatch.setattr("cryptography.x509.BasicConstraints", lambda ca, _: real(ca, None))
    folder = tmp_path / "older"
    folder.mkdir()
    found = Identity(folder, ROOM)
    contexts = found.tls_contexts()
    return Member(found.member, Gate(ROOM.knock, ROOM.is_knock, *contexts, member_of, Shared()))


def judged(honest: Member, hostile: Member) -> list[object]:
    """What the honest one makes of the other: as a listener, and as a dialer."""
    called, calls = Pair(honest, hostile), Pair(hostile, honest)
    called.pump()
    calls.pump()
    return [called.heard[0], calls.told[0]]


def test_a_chain_of_its_own_key_proves_its_own_key(
    members: dict[str, Member], mallory: Mallory
) -> None:
    """What the others below differ from."""
    direct = mallory.shows(mallory.leaf(mallory.authority, "selchat room"))
    assert judged(members["alice"], direct) == [Secured(mallory.id)] * 2


def test_older_and_newer_members_take_each_other_for_who_they_are(
    members: dict[str, Member], older: Member
) -> None:
    alice = members["alice"]
    assert judged(alice, older) == [Secured(older.id)] * 2
    assert judged(older, alice) == [Secured(alice.id)] * 2


def test_nobody_can_even_begin_with_the_certificate_of_another_without_its_key(
    members: dict[str, Member], mallory: Mallory
) -> None:
    bob = members["bob"].id
    victims = Ed25519PublicKey.from_public_bytes(bob)
    theirs = certificate("selchat member", victims, "selchat room", mallory.authority)
    assert member_of(theirs) == bob
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        mallory.shows(theirs)
    both = mallory.shows(mallory.leaf(mallory.authority, "selchat room"), theirs)
    assert judged(members["alice"], both) == [Secured(mallory.id)] * 2


@pytest.mark.parametrize("length", [1, 2, 9])
def test_an_authority_below_the_rooms_own_signs_nobody(
    members: dict[str, Member], mallory: Mallory, older: Member, length: int
) -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(length)]
    chain, issuer, signer = [], "selchat room", mallory.authority
    for number, key in enumerate(keys):
        name = f"authority {number}"
        chain.append(certificate(name, key.public_key(), issuer, signer, ca=True))
        issuer, signer = name, key
    hostile = mallory.shows(mallory.leaf(signer, issuer), *reversed(chain))
    assert judged(members["alice"], hostile) == [REFUSED] * 2
    assert judged(older, hostile) == [Secured(mallory.id)] * 2  # its own name at least


def test_a_key_of_another_kind_is_no_members(members: dict[str, Member], mallory: Mallory) -> None:
    for key in (
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(65537, 2048),
    ):
        leaf = certificate("selchat member", key.public_key(), "selchat room", mallory.authority)
        hostile = mallory.shows(leaf, key=key)  # type: ignore[arg-type]
        assert judged(members["alice"], hostile) == [NO_MEMBER] * 2


def test_hundreds_of_certificates_are_not_even_looked_at(
    members: dict[str, Member], mallory: Mallory
) -> None:
    more = [
        certificate("selchat room", key.public_key(), "selchat room", mallory.authority, ca=True)
        for key in (Ed25519PrivateKey.generate() for _ in range(100))
    ]
    alice = members["alice"]
    hostile = mallory.shows(mallory.leaf(mallory.authority, "selchat room"), *more)
    for pair, events in ((p := Pair(alice, hostile), p.heard), (p := Pair(hostile, alice), p.told)):
        pair.pump(piece=HANDSHAKE_BYTES)
        assert events == [Failed("a handshake without an end", fault=True)]


def der(tag: int, *contents: bytes, has_end: bool = True) -> bytes:
    """An element of ASN.1; without an end of its own, as BER has it."""
    body = b"".join(contents)
    if not has_end:
        return bytes([tag, 0x80]) + body + b"\0\0"
    size = len(body)
    width = (size.bit_length() + 7) // 8
    length = bytes([size]) if size < 0x80 else bytes([0x80 | width]) + size.to_bytes(width, "big")
    return bytes([tag]) + length + body


ECDSA_WITH_SHA256 = bytes.fromhex("06082a8648ce3d040302")
NULL = b"\x05\x00"


def two_keyed(mallory: Mallory, victim: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Certificates, with that of their authority, which hold two keys: OpenSSL finds Mallory's, and
    who reads the lengths without an end as lengths of 0 finds the victim's. What is put between
    stands for a field each."""
    below = ec.generate_private_key(ec.SECP256R1())
    authority = certificate("below", below.public_key(), "selchat room", mallory.authority, ca=True)
    theirs = identity._SPKI_PREFIX + victim
    for between in ((), (NULL,), (NULL, NULL), (NULL, NULL, NULL)):
        hidden = der(0x30, *between, theirs, has_end=False)
        algorithm = der(0x30, ECDSA_WITH_SHA256, hidden, has_end=False)
        times = der(0x30, der(0x17, b"200101000000Z"), der(0x17, b"490101000000Z"))
        to_sign = der(
            0x30,
            der(0xA0, b"\x02\x01\x02"),
            b"\x02\x01\x07",
            algorithm,
            named("below").public_bytes(),
            times,
            named("selchat member").public_bytes(),
            identity._SPKI_PREFIX + mallory.id,
        )
        signature = below.sign(to_sign, ec.ECDSA(hashes.SHA256()))
        yield der(0x30, to_sign, algorithm, der(0x03, b"\0", signature)), authority


def test_a_certificate_with_two_keys_is_nobodys(
    members: dict[str, Member], mallory: Mallory, older: Member
) -> None:
    bob = members["bob"].id
    for leaf, authority in two_keyed(mallory, bob):
        assert identity._SPKI_PREFIX + bob in leaf and member_of(leaf) is None
        hostile = mallory.shows(leaf, authority)
        assert judged(members["alice"], hostile) == [REFUSED] * 2
        assert judged(older, hostile) == [NO_MEMBER] * 2  # OpenSSL itself would take it


# ---------------------------------------------------------------- logs

PATIENCE_S = 10.0
WORDS = ("one", "two", "three", "four")


class Call:
    """A link of the member in the middle with one node."""

    def __init__(self, me: Identity, port: int, name: str = "mallory") -> None:
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        challenge = sock.recv(protocol.CHALLENGE_BYTES, socket.MSG_WAITALL)
        sock.sendall(me.room.knock(challenge))
        self._tls = me.tls_contexts()[1].wrap_socket(sock)
        self._frames = protocol.Frames()
        self.heard: list[Message] = []
        self.is_over = False
        self.say(Hello(name, 0, 7), Have(()))

    def say(self, *messages: Message) -> None:
        try:
            self._tls.sendall(b"".join(map(protocol.encode, messages)))
        except OSError:
            self.is_over = True  # it hung up in the middle of what we said

    def hear(self, until: Callable[[list[Message]], bool]) -> None:
        """Until the condition holds, or the far end has hung up."""
        while not (self.is_over or until(self.heard)):
            try:
                data = self._tls.recv(1 << 16)
            except ConnectionError:
                data = b""
            self.heard += self._frames.feed(data)
            self.is_over = not data

    def all_is_dealt_with(self) -> None:
        pongs = sum(isinstance(each, Pong) for each in self.heard)
        self.say(Ping())
        self.hear(lambda heard: sum(isinstance(each, Pong) for each in heard) > pongs)

    def entries(self) -> list[bytes]:
        return [raw for each in self.heard if isinstance(each, Entries) for raw in each.run]

    def close(self) -> None:
        self._tls.close()


@dataclass
class Scene:
    """Ann, who has spoken, and the one in the middle, who has heard all of it."""

    crowd: Crowd
    ann: Process
    me: Identity
    log: list[bytes]  # all entries of ann's
    mine: list[bytes]  # and of the one in the middle

    @property
    def said(self) -> list[tuple[object, ...]]:
        return posts(self.ann)


def posts(process: Process) -> list[tuple[object, ...]]:
    """In the order in which they were shown, without what is another for each."""
    shown: list[Event] = process.events("message")
    return [tuple(each[key] for key in ("ref", "id", "name", "time", "text")) for each in shown]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("middle")
    (folder / "mallory").mkdir()
    me = Identity(folder / "mallory", open_room())
    with Crowd(folder) as crowd:
        ann = crowd.start(0, 0, "ann", data="ann").wait_ready()
        call = Call(me, ann.port)
        name = entry(me, me.member, kind=protocol.NAME, body=b"mallory")
        mine = [name, entry(me, me.member, "mallory here", seq=2, previous=name)]
        for number, word in enumerate(WORDS):
            if number == 2:  # the others name what ann has seen by then
                call.say(Entries(tuple(mine)))
                crowd.wait(lambda: ann.texts() == ["mallory here"], "ann sees what others say")
            ann.say(word)
            crowd.wait(lambda n=number: len(ann.texts(own=True)) == n + 1, "ann has said it")  # type: ignore[misc]
        call.hear(lambda _: len(call.entries()) == len(WORDS) + 1)
        log = call.entries()
        call.close()
        heads = [protocol.parse_entry(raw).heads for raw in log]
        assert [len(each) for each in heads] == [0, 0, 0, 1, 0]
        yield Scene(crowd, ann, me, log, mine)


def entry(
    signer: Identity,
    author: bytes,
    text: str = "",
    *,
    seq: int = 1,
    previous: bytes | None = None,
    kind: int = protocol.POSTS,
    body: bytes | None = None,
) -> bytes:
    """One of this author's log, after `previous`, signed by that one in that one's room."""
    head = Head(protocol.parse_entry(previous).log if previous else author + bytes(8), seq)
    before = protocol.parse_entry(previous).hash if previous else protocol.NO_PREVIOUS
    body = protocol.pack_posts([text]) if body is None else body
    unsigned = protocol.unsigned_entry(head, before, time.time_ns() // 1_000_000, (), kind, body)
    return unsigned + signer.sign(protocol.signed_bytes(signer.room.id, unsigned))


def altered(raw: bytes, **fields: object) -> bytes:
    """An entry with its signature, and these fields changed."""
    found = protocol.parse_entry(raw)._replace(**fields)  # type: ignore[arg-type]
    head = Head(found.log, found.seq)
    return (
        protocol.unsigned_entry(
            head, found.previous, found.time_ms, found.heads, found.kind, found.body
        )
        + found.signature
    )


def run(*entries: bytes) -> Entries:
    return Entries(entries)


def is_told_nothing_false(scene: Scene, *attack: Message) -> list[str]:
    """Bob gets `attack` from the one in the middle; then, over a way of its own, all that ann has
    said. What bob has told of."""
    crowd, said = scene.crowd, scene.said
    bob = crowd.start(0, 0, "bob").wait_ready()
    call = Call(scene.me, bob.port)
    call.say(*attack)
    call.all_is_dealt_with()
    crowd.read()
    assert set(posts(bob)) <= set(said)
    bob.say(f"/connect {scene.ann.port}")
    crowd.wait(lambda: len(posts(bob)) >= len(said), "all that ann has said has come")
    bob.say("thanks")
    crowd.wait(lambda: "thanks" in bob.texts(own=True), "bob can speak")
    *shown, thanks = posts(bob)
    assert sorted(shown) == sorted(said)
    assert by(scene.ann.id, shown) == by(scene.ann.id, said)
    crowd.wait(lambda: thanks in scene.said, "ann hears bob")
    call.close()
    bob.end_input()
    assert bob.wait_end() == 0
    return bob.notices()


def by(id: str, shown: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [each for each in shown if each[1] == id]


def test_what_is_relayed_as_it_is_arrives(scene: Scene) -> None:
    """What the attacks below differ from."""
    told = is_told_nothing_false(scene, run(*scene.mine), run(*scene.log))
    assert not [text for text in told if text.startswith("mallory (id ")]


BAD_SIGNATURE, BAD_HASH = "an entry with a bad signature", "an entry with a wrong hash"
GAP = "a run that is not one log's, or has a gap"
IMPOSSIBLE = "an entry with an impossible seq"


def reworded(raw: bytes, text: str) -> bytes:
    return altered(raw, body=protocol.pack_posts([text]))


# The order of Ed25519's base point (RFC 8032, section 5.1): who adds it to the second half of a
# signature has another one, which a careless check takes, and so two entries that differ: a fork.
ORDER = 2**252 + 27742317777372353535851937790883648493


def resigned(raw: bytes) -> bytes:
    half = int.from_bytes(raw[-32:], "little") + ORDER
    return raw[:-32] + half.to_bytes(32, "little")


ATTACKS: dict[str, tuple[str, Callable[[Scene, list[bytes]], list[Message]]]] = {
    "another text": (
        BAD_SIGNATURE, lambda scene, log: [run(*log[:2], reworded(log[2], "owt"))]),
    "another text, and the genuine rest": (
        BAD_HASH, lambda scene, log: [run(*log[:2], reworded(log[2], "owt"), *log[3:])]),
    "another text of the first": (
        BAD_HASH, lambda scene, log: [run(log[0], reworded(log[1], "no"), *log[2:])]),
    "another name": (BAD_HASH, lambda scene, log: [run(altered(log[0], body=b"eve"), *log[1:])]),
    "a name as a post": (
        BAD_SIGNATURE, lambda scene, log: [run(altered(log[0], kind=protocol.POSTS))]),
    "another time": (BAD_SIGNATURE, lambda scene, log: [run(*log[:2], altered(log[2], time_ms=5))]),
    "no heads": (
        BAD_SIGNATURE,
        lambda scene, log: [run(*scene.mine), run(*log[:3], altered(log[3], heads=()))]),
    "heads of its own": (
        BAD_SIGNATURE,
        lambda scene, log: [run(*log[:2], altered(log[2], heads=(Head(b"x" * 40, 9),)))]),
    "another seq": (BAD_HASH, lambda scene, log: [run(*log[:2], altered(log[3], seq=3))]),
    "one is missing": (GAP, lambda scene, log: [run(*log[:2], *log[3:])]),
    "one is missing, in two runs": (
        "entries with a gap before them", lambda scene, log: [run(*log[:2]), run(*log[3:])]),
    "the first is missing": ("entries with a gap before them", lambda scene, log: [run(*log[1:])]),
    "two are swapped": (GAP, lambda scene, log: [run(log[0], log[2], log[1], log[3])]),
    "two are swapped and renumbered": (
        BAD_HASH,
        lambda scene, log: [run(log[0], altered(log[2], seq=2), altered(log[1], seq=3))]),
    "one comes twice": (GAP, lambda scene, log: [run(*log[:3], log[2])]),
    "in its own log": (
        BAD_SIGNATURE, lambda scene, log: [run(altered(log[0], log=scene.me.member + bytes(8)))]),
    "in another log of ann's": (
        BAD_SIGNATURE,
        lambda scene, log: [run(altered(log[0], log=bytes.fromhex(scene.ann.id) + bytes(8)))]),
    "its own, as ann's": (
        BAD_SIGNATURE,
        lambda scene, log: [run(altered(scene.mine[0], log=protocol.parse_entry(log[0]).log))]),
    "signed by the wrong one": (
        BAD_SIGNATURE,
        lambda scene, log: [run(entry(scene.me, bytes.fromhex(scene.ann.id), "I quit"))]),
    "signed by the wrong one, after the genuine ones": (
        BAD_SIGNATURE,
        lambda scene, log: [run(*log, entry(scene.me, b"", "I quit", seq=6, previous=log[-1]))]),
    "not signed": (BAD_SIGNATURE, lambda scene, log: [run(*log[:4], log[4][:-64] + bytes(64))]),
    "with the signature of another": (
        BAD_SIGNATURE, lambda scene, log: [run(*log[:4], log[4][:-64] + log[3][-64:])]),
    "with the room's own signature": (
        BAD_SIGNATURE,
        lambda scene, log: [run(log[0][:-64] + scene.me.room.authority().sign(log[0][:-64]))]),
    "with another signature of the same": (
        BAD_SIGNATURE, lambda scene, log: [run(*log[:4], resigned(log[4]))]),
    "cut": ("an entry that ends too early", lambda scene, log: [run(*log[:4], log[4][:-1])]),
    "with something behind": (
        "an entry with bytes after its signature",
        lambda scene, log: [run(*log[:4], log[4] + b"x")]),
    "a seq of 0": (IMPOSSIBLE, lambda scene, log: [run(altered(log[1], seq=0))]),
    "a fork that is none": (
        "proves nothing", lambda scene, log: [run(*log), Fork(log[2], log[2])]),
    "a fork of two seqs": (
        "proves nothing", lambda scene, log: [run(*log), Fork(log[2], log[3])]),
    "a fork with a forged side": (
        "of a fork with a bad signature",
        lambda scene, log: [run(*log), Fork(log[2], reworded(log[2], "owt"))]),
    "a fork by another signature of the same": (
        "of a fork with a bad signature",
        lambda scene, log: [run(*log), Fork(log[4], resigned(log[4]))]),
    "a fork, signed by the wrong one": (
        "of a fork with a bad signature",
        lambda scene, log: [
            Fork(*(entry(scene.me, bytes.fromhex(scene.ann.id), text) for text in ("a", "b")))]),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_altered_is_refused_and_nothing_of_it_shown(scene: Scene, attack: str) -> None:
    reason, made = ATTACKS[attack]
    told = is_told_nothing_false(scene, *made(scene, scene.log))
    assert [text for text in told if text.startswith("mallory (id ") and reason in text], told
    assert not [text for text in told if "forked" in text]


def test_what_is_said_in_one_room_is_not_heard_in_another(scene: Scene, tmp_path: Path) -> None:
    """Even if one key is in both: ann's own words, with ann's own signature."""
    data = scene.ann.data
    assert data is not None
    (tmp_path / "key.pem").write_bytes((data / "key.pem").read_bytes())
    elsewhere = Identity(tmp_path, Room("attic", b"another room's secret"))
    assert elsewhere.member.hex() == scene.ann.id
    told = is_told_nothing_false(scene, run(entry(elsewhere, elsewhere.member, "in the attic")))
    assert [text for text in told if BAD_SIGNATURE in text]


def test_who_boasts_of_what_it_does_not_pass_on_keeps_nobody_from_it(scene: Scene) -> None:
    log = protocol.parse_entry(scene.log[0]).log
    ann = bytes.fromhex(scene.ann.id)
    is_told_nothing_false(
        scene,
        run(*scene.log[:2]),
        Have((Head(log, 2, b"not true"), Head(log, 10**6), Head(ann + bytes(8), 10**6))),
        Peers((Peer(ann, "", 0),)),
    )


def test_who_passes_receipts_on_can_make_none(scene: Scene) -> None:
    """Bob is not linked to ann; the one in the middle says that it is, and that she has it all."""
    bob = scene.crowd.start(0, 0, "bob", "--linger", "0").wait_ready()
    bob.say("ann, do you hear me?")
    call, ann = Call(scene.me, bob.port), bytes.fromhex(scene.ann.id)
    call.hear(lambda _: len(call.entries()) == 2)
    log = protocol.parse_entry(call.entries()[0]).log
    unsigned = protocol.unsigned_receipt(ann, (Head(log, 2),))
    signed = protocol.signed_receipt_bytes(scene.me.room.id, unsigned)
    receipt = protocol.parse_receipt(unsigned + scene.me.sign(signed))
    call.say(Peers((Peer(ann, "", 0),)), receipt)
    call.hear(lambda _: False)
    assert call.heard[-1] == protocol.Bye("you sent a receipt that is not signed")
    assert not [event for event in bob.events("confirmed") if scene.ann.id in event["by"]]
    call.close()
    bob.end_input()
    assert bob.wait_end() == 0


def test_who_is_said_to_be_elsewhere_is_not_taken_for_who_is_there(scene: Scene) -> None:
    crowd = scene.crowd
    eve = crowd.start(0, 0, "eve").wait_ready()
    bob = crowd.start(0, 0, "bob").wait_ready()
    call = Call(scene.me, bob.port)
    call.say(Peers((Peer(bytes.fromhex(scene.ann.id), "127.0.0.1", eve.port),)))
    crowd.wait(lambda: eve.id in bob.linked(), "bob has called who is there")
    assert scene.ann.id not in {event["id"] for event in bob.events("link")}
    call.close()
    for process in (eve, bob):
        process.end_input()
        assert process.wait_end() == 0


def test_who_calls_itself_ann_is_not_ann(scene: Scene) -> None:
    crowd, mallory = scene.crowd, scene.me.member.hex()
    bob = crowd.start(0, scene.ann.port, "bob").wait_ready()
    crowd.wait_linked(bob, scene.ann)
    call = Call(scene.me, bob.port, "ann")
    call.all_is_dealt_with()
    crowd.wait(lambda: mallory in bob.linked(), "it is linked as who it is")
    assert [event["id"] for event in bob.events("link", name="ann")] == [scene.ann.id, mallory]
    loud = [event["text"] for event in bob.events("notice") if event.get("loud")]
    assert [text for text in loud if f"ann (id {mallory[:8]}), not the ann known here" in text]
    call.close()
