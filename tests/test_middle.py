"""A member in the middle: it holds the room's secret, is linked to two who can't reach each other,
and can neither pose as another member nor change or reorder another's log."""

from __future__ import annotations

import ssl
from base64 import encodebytes
from collections.abc import Iterator
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
from identity import Identity, member_of
from net import Failed, Gate, Secured
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
        gate = Gate(ROOM.knock, ROOM.is_knock, accepting, dialing, lambda certificate: b"anybody")
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
    return Member(found.member, Gate(ROOM.knock, ROOM.is_knock, *found.tls_contexts(), member_of))


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
