"""Who one is, and what room one is in: keys, certificates, TLS contexts, signatures.

A room is known by its secret. From the secret come, by HMAC-SHA256 under fixed labels:
the seed of the room's certificate authority (an Ed25519 key, so every member can make
the same authority on its own), the key of the knock, and the room's public id. The open
room's secret is public: it keeps nobody out, and so it stays on loopback.

A member is an Ed25519 key pair. Its certificate carries that very key, signed by the
room's authority. OpenSSL proves both (the chain, and that the far end holds the private
key), so the member at the far end of a link is read off its certificate.

Certificates are made once, at the first start, and kept; a later start only loads them
(importing X.509 costs as much as all the rest of a start, so it is imported late).

Lives here: all use of `cryptography` and of TLS contexts, and the files that hold keys
(mode 0600). Never here: connections, history, prompts, cryptography of our own.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import os
import secrets
import ssl
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# Keys of those who talk now: to make one of 32 bytes takes 8 us, a tenth of what it verifies in.
KEYS = 1024

OPEN_ROOM = "open"
OPEN_ROOM_SECRET = b"selchat: the open room, its secret is public"

# RFC 8410, section 7 and appendix A: what stands before the 32 bytes of an Ed25519
# private key in PKCS #8, and of a public key in a certificate.
_PKCS8_PREFIX = bytes.fromhex("302e020100300506032b657004220420")
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
# Who stands between two people, and shows to each of them a key of his own under the other's name,
# needs two keys with one safety number, and so half of its bits. Therefore it has 30 digits, and
# each try costs 4 MiB and about 10 ms (scrypt, RFC 7914; n = 4096, r = 8).
SAFETY_DIGITS = 30
_SAFETY_WORK = {"n": 4096, "r": 8, "p": 1}
# X509_V_FLAG_NO_CHECK_TIME (OpenSSL, x509_vfy.h), which Python has no name for: dates that are the
# same for everybody would only lock out a machine whose clock begins in 1970 at each start.
_NO_CHECK_TIME = 0x200000
# Tags of ASN.1 in a certificate.
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0
_PEM_BEGIN, _PEM_END = "-----BEGIN PRIVATE KEY-----\n", "\n-----END PRIVATE KEY-----\n"


class BadKey(Exception):
    """The key file can't be read as a key; the text says which and what to do."""


class Room:
    """A room's secret, and all that is derived from it."""

    def __init__(self, name: str, secret: bytes) -> None:
        self.name = name
        self._secret = secret
        self.id = self._derive(b"selchat room id v1")
        self._knock_key = self._derive(b"selchat knock v1")

    def _derive(self, label: bytes) -> bytes:
        return hmac.digest(self._secret, label, "sha256")

    def authority(self) -> Ed25519PrivateKey:
        """The key that signs the certificates of the room's members."""
        return Ed25519PrivateKey.from_private_bytes(self._derive(b"selchat authority v1"))

    def knock(self, challenge: bytes) -> bytes:
        """The answer (32 bytes) that only a holder of the secret can give."""
        return hmac.digest(self._knock_key, challenge, "sha256")

    def is_knock(self, challenge: bytes, answer: bytes) -> bool:
        return hmac.compare_digest(self.knock(challenge), answer)


def open_room() -> Room:
    """The room that everybody is in who names no other."""
    return Room(OPEN_ROOM, OPEN_ROOM_SECRET)


class Identity:
    """One member's key pair in one room, kept in `folder`: made there at the first start."""

    def __init__(self, folder: Path, room: Room) -> None:
        self.room = room
        key_file = folder / "key.pem"
        # The certificate file names the room, for one key may be in several.
        certificate_file = folder / f"certificate-{room.id[:8].hex()}.pem"
        if not key_file.exists():
            _write_private(key_file, _pem_of(secrets.token_bytes(32)))
        self._key = Ed25519PrivateKey.from_private_bytes(_seed_in(key_file))
        self._key_file, self._certificate_file = key_file, certificate_file
        self.member = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def certify(self) -> None:
        """Makes the certificate, where there is none yet."""
        if not self._certificate_file.exists():
            _write_private(self._certificate_file, self._make_certificates())

    def tls_contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """(for links that were accepted, for links that were dialed). Takes 4 ms."""
        self.certify()
        try:
            return self._context(ssl.PROTOCOL_TLS_SERVER), self._context(ssl.PROTOCOL_TLS_CLIENT)
        except ssl.SSLError:
            # Only derived from the key: made again, nothing is lost.
            _write_private(self._certificate_file, self._make_certificates())
            return self._context(ssl.PROTOCOL_TLS_SERVER), self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= _NO_CHECK_TIME
        context.load_cert_chain(self._certificate_file, self._key_file)
        context.load_verify_locations(self._certificate_file)
        if context.cert_store_stats()["x509_ca"] != 1:
            raise ssl.SSLError("the room's own certificate is missing")
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # nothing is resumed, and a ticket costs a write
        return context

    def _make_certificates(self) -> str:
        return _make_certificates(self.room.authority(), self._key.public_key())


def verify(author: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `author` (32 bytes) signed `data`."""
    try:
        _public_key(author).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=KEYS)
def _public_key(member: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(member)


def safety_number(room_id: bytes, one: bytes, other: bytes) -> str:
    """Of two members, in groups of five digits: the same on both sides, and another for any
    other two keys."""
    salt = b"selchat safety number v1\0" + room_id
    digest = hashlib.scrypt(min(one, other) + max(one, other), salt=salt, **_SAFETY_WORK, dklen=32)
    digits = f"{int.from_bytes(digest, 'big') % 10**SAFETY_DIGITS:0{SAFETY_DIGITS}}"
    return " ".join(digits[at : at + 5] for at in range(0, SAFETY_DIGITS, 5))


def member_of(certificate: bytes) -> bytes | None:
    """The Ed25519 public key in a certificate (DER) that OpenSSL has accepted, or None for any
    other kind of key. Walks the ASN.1 of RFC 5280, section 4.1, to the one place where the key
    is, so a key's look-alike in another field is never taken for it. What is no DER is refused:
    OpenSSL takes lengths without an end (BER) as well, and who holds the room's secret could
    write a certificate in which we would find another key than it does."""
    try:
        at, _ = _element(certificate, 0, _SEQUENCE)  # Certificate
        at, _ = _element(certificate, at, _SEQUENCE)  # TBSCertificate
        if certificate[at] == _VERSION:
            _, at = _element(certificate, at, _VERSION)
        # The serial number; the signature's algorithm, issuer, validity, subject.
        for tag in (_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE):
            _, at = _element(certificate, at, tag)
        _, end = _element(certificate, at, _SEQUENCE)
    except (IndexError, ValueError):
        return None
    key = certificate[at:end]
    if len(key) == len(_SPKI_PREFIX) + 32 and key.startswith(_SPKI_PREFIX):
        return key[len(_SPKI_PREFIX) :]
    return None


def _element(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the contents of the element at `at` begin and end. Raises ValueError or IndexError
    unless it has this tag, a length in its shortest form, and is all there."""
    start, length = at + 2, der[at + 1]
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(der[at + 2 : start], "big")
        if length < 0x80 or der[at + 2] == 0:
            raise ValueError("a length that is longer than it has to be, or has no end")
    if der[at] != tag or start + length > len(der):
        raise ValueError("another element, or not all of it")
    return start, start + length


def _make_certificates(authority: Ed25519PrivateKey, member: Ed25519PublicKey) -> str:
    """The member's certificate and after it the room's own, as PEM. Dates 2000-9999: those of
    nobody in particular, and a room has no end."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject: str, key: Ed25519PublicKey, is_authority: bool) -> bytes:
        # The room signs its members, and no authorities below it, of other kinds of keys.
        path_length = 0 if is_authority else None
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("selchat room"))
            .not_valid_before(datetime.datetime(2000, 1, 1))
            .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59))
            .serial_number(int.from_bytes(key.public_bytes_raw()[:16], "big") | 1)
            .public_key(key)
            .add_extension(x509.BasicConstraints(is_authority, path_length), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
                critical=False,
            )
        )
        return builder.sign(authority, None).public_bytes(Encoding.PEM)

    leaf = certificate("selchat member", member, False)
    return (leaf + certificate("selchat room", authority.public_key(), True)).decode()


def _pem_of(seed: bytes) -> str:
    return _PEM_BEGIN + base64.b64encode(_PKCS8_PREFIX + seed).decode() + _PEM_END


def _seed_in(key_file: Path) -> bytes:
    text = key_file.read_text(errors="replace")
    try:
        der = base64.b64decode("".join(text.strip().splitlines()[1:-1]), validate=True)
    except ValueError:
        der = b""
    if len(der) != len(_PKCS8_PREFIX) + 32 or not der.startswith(_PKCS8_PREFIX):
        raise BadKey(f"{key_file} holds no key; put its copy back, or move it away for a new one")
    seed = der[len(_PKCS8_PREFIX) :]
    if text.split() != _pem_of(seed).split():
        raise BadKey(f"{key_file} is no PEM file; put its copy back, or move it away for a new one")
    return seed


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, on the platter, and readable by its owner only."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name is on the platter only with this
    finally:
        os.close(folder)
