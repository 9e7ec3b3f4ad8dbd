"""identity.py: keys and what is derived from them, and files that are whole or made anew."""

from __future__ import annotations

import contextlib
import hmac
import os
import ssl
import stat
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

import identity
from identity import BadKey, Identity, Room, member_of, open_room, verify

ROOM = Room("garden", b"0123456789abcdef")
OTHER_ROOM = Room("garden", b"0123456789abcdeF")


def certificate_file(folder: Path, room: Room = ROOM) -> Path:
    return folder / f"certificate-{room.id[:8].hex()}.pem"


def certificates_in(folder: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(certificate_file(folder).read_bytes())


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


# ---------------------------------------------------------------- rooms


def test_all_of_a_room_comes_from_its_secret_and_nothing_from_its_name() -> None:
    same = Room("called otherwise", b"0123456789abcdef")
    assert (same.id, same.knock(b"c" * 16)) == (ROOM.id, ROOM.knock(b"c" * 16))
    assert same.authority().private_bytes_raw() == ROOM.authority().private_bytes_raw()
    assert OTHER_ROOM.id != ROOM.id
    assert OTHER_ROOM.knock(b"c" * 16) != ROOM.knock(b"c" * 16)
    assert OTHER_ROOM.authority().private_bytes_raw() != ROOM.authority().private_bytes_raw()


def test_what_a_room_derives_is_fixed_for_ever() -> None:
    """Other versions and other programs have to come to the same."""

    def derived(label: bytes) -> bytes:
        return hmac.digest(b"0123456789abcdef", label, "sha256")

    assert ROOM.id == derived(b"selchat room id v1")
    assert ROOM.authority().private_bytes_raw() == derived(b"selchat authority v1")
    knock_key = derived(b"selchat knock v1")
    assert ROOM.knock(b"c" * 16) == hmac.digest(knock_key, b"c" * 16, "sha256")
    assert open_room().id.hex().startswith(open_room().id[:8].hex())
    assert open_room().name == "open"


def test_only_the_answer_to_this_challenge_from_this_room_is_a_knock() -> None:
    challenge = b"c" * 16
    assert ROOM.is_knock(challenge, ROOM.knock(challenge))
    for answer in (OTHER_ROOM.knock(challenge), ROOM.knock(b"d" * 16), b"", bytes(32)):
        assert not ROOM.is_knock(challenge, answer)


# ---------------------------------------------------------------- keys


def test_a_member_is_made_at_the_first_start_and_the_same_at_every_later_one(
    tmp_path: Path,
) -> None:
    first = Identity(tmp_path, ROOM)
    again = Identity(tmp_path, ROOM)
    elsewhere = Identity(tmp_path, OTHER_ROOM)
    assert len(first.member) == 32
    assert first.member == again.member == elsewhere.member
    (tmp_path / "other").mkdir()
    assert Identity(tmp_path / "other", ROOM).member != first.member


def test_files_that_hold_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Identity(tmp_path, ROOM).tls_contexts()
    finally:
        os.umask(before)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        ["key.pem", certificate_file(tmp_path).name]
    )
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_what_was_begun_and_not_finished_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "key.new").write_text("half a k")
    member = Identity(tmp_path, ROOM).member
    assert Identity(tmp_path, ROOM).member == member
    assert not (tmp_path / "key.new").exists()


def test_a_new_key_is_on_the_platter_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut could leave a journal behind whose author is gone."""
    synced = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        named = (tmp_path / "key.pem").exists()
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), named))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    Identity(tmp_path, ROOM)
    assert synced == [(False, False), (True, True)]


def test_the_key_file_is_what_every_other_tool_reads_too(tmp_path: Path) -> None:
    ours = Identity(tmp_path, ROOM)
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    assert key.public_key().public_bytes_raw() == ours.member
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert (tmp_path / "key.pem").read_bytes() == written
    (tmp_path / "key.pem").write_bytes(written.replace(b"\n", b"\r\n"))
    assert Identity(tmp_path, ROOM).member == ours.member


OTHER_KIND = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff" * 100, b"-----BEGIN\nnot base64!\n-----END", OTHER_KIND]
)
def test_a_file_that_holds_no_key_is_told_in_one_clear_line_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(BadKey) as bad:
        Identity(tmp_path, ROOM)
    assert (
        str(bad.value) == f"{file} holds no key; put its copy back, or move it away for a new one"
    )
    assert file.read_bytes() == content


@given(st.binary(max_size=200))
def test_any_key_file_is_a_key_or_a_bad_key(content: bytes) -> None:
    class File:
        def read_text(self, errors: str) -> str:
            return content.decode(errors=errors)

    try:
        assert len(identity._seed_in(File())) == 32  # type: ignore[arg-type]
    except BadKey:
        pass


# ---------------------------------------------------------------- signatures


def test_a_signature_holds_for_its_author_and_its_bytes_only(tmp_path: Path) -> None:
    alice = Identity(tmp_path, ROOM)
    (tmp_path / "bob").mkdir()
    bob = Identity(tmp_path / "bob", ROOM)
    signature = alice.sign(b"hello")
    assert len(signature) == 64
    assert verify(alice.member, signature, b"hello")
    assert not verify(alice.member, signature, b"hello!")
    assert not verify(bob.member, signature, b"hello")
    for bit in range(0, 512, 37):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        assert not verify(alice.member, bytes(changed), b"hello")


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
def test_any_bytes_are_no_signature(author: bytes, signature: bytes, data: bytes) -> None:
    assert not verify(author, signature, data)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_nobody_guesses_the_signature_of_a_member(seed: bytes, signature: bytes) -> None:
    member = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert not verify(member, signature, b"hello")


# ---------------------------------------------------------------- certificates


def test_a_certificate_carries_the_members_own_key_signed_by_the_room(tmp_path: Path) -> None:
    alice = Identity(tmp_path, ROOM)
    alice.tls_contexts()
    leaf, authority = certificates_in(tmp_path)
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (limits.ca, limits.path_length) == (True, 0)
    assert member_of(der_of(leaf)) == alice.member
    assert member_of(der_of(authority)) == ROOM.authority().public_key().public_bytes_raw()
    leaf.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)


def test_certificates_have_the_dates_that_are_specified(tmp_path: Path) -> None:
    Identity(tmp_path, ROOM).tls_contexts()
    for certificate in certificates_in(tmp_path):
        assert certificate.not_valid_before_utc.isoformat() == "2000-01-01T00:00:00+00:00"
        assert certificate.not_valid_after_utc.isoformat() == "9999-12-31T23:59:59+00:00"


def test_nobody_looks_at_the_dates_of_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def past(
        year: int, month: int, day: int, hour: int = 0, minute: int = 0, s: int = 0
    ) -> datetime:
        return datetime(year - 8000 if year == 9999 else year - 30, month, day, hour, minute, s)

    monkeypatch.setattr(identity, "datetime", SimpleNamespace(datetime=past))
    ends = []
    for name, is_server in (("alice", True), ("bob", False)):
        (tmp_path / name).mkdir()
        accepting, dialing = Identity(tmp_path / name, ROOM).tls_contexts()
        context = accepting if is_server else dialing
        bios = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends.append((context.wrap_bio(*bios, server_side=is_server), bios))
    assert certificates_in(tmp_path / "bob")[0].not_valid_after_utc.year == 1999
    for _ in range(3):
        for (tls, (_, out)), (_, (into, _)) in (ends, ends[::-1]):
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            into.write(out.read())
    assert all(tls.getpeercert(binary_form=True) for tls, _ in ends)


def test_every_member_makes_an_authority_that_the_others_know(tmp_path: Path) -> None:
    found = []
    for name in ("alice", "bob"):
        (tmp_path / name).mkdir()
        Identity(tmp_path / name, ROOM).tls_contexts()
        found.append(certificates_in(tmp_path / name))
    (alice, authority), (bob, same_authority) = found
    assert authority.public_key() == same_authority.public_key()
    assert authority.subject == same_authority.subject == alice.issuer == bob.issuer
    bob.verify_directly_issued_by(authority)
    alice.verify_directly_issued_by(same_authority)


def test_certificates_are_made_once_and_then_kept(tmp_path: Path) -> None:
    Identity(tmp_path, ROOM).tls_contexts()
    before = certificate_file(tmp_path).stat()
    Identity(tmp_path, ROOM).tls_contexts()
    after = certificate_file(tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_one_key_has_a_certificate_for_each_of_its_rooms(tmp_path: Path) -> None:
    for room in (ROOM, OTHER_ROOM):
        Identity(tmp_path, room).tls_contexts()
    assert certificate_file(tmp_path, ROOM).exists()
    assert certificate_file(tmp_path, OTHER_ROOM).exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "hello",
        lambda text: text[:300],
    ],
    ids=["empty", "text", "cut"],
)
def test_a_damaged_certificate_is_made_again(tmp_path: Path, damage: object) -> None:
    alice = Identity(tmp_path, ROOM)
    alice.tls_contexts()
    whole = certificate_file(tmp_path).read_text()
    certificate_file(tmp_path).write_text(damage(whole))  # type: ignore[operator]
    alice.tls_contexts()
    assert certificate_file(tmp_path).read_text() == whole


def test_a_certificate_of_an_earlier_key_is_made_again(tmp_path: Path) -> None:
    Identity(tmp_path, ROOM).tls_contexts()
    (tmp_path / "key.pem").unlink()
    anew = Identity(tmp_path, ROOM)
    anew.tls_contexts()
    assert member_of(der_of(certificates_in(tmp_path)[0])) == anew.member


def test_the_contexts_accept_only_the_newest_tls_and_only_who_shows_a_certificate(
    tmp_path: Path,
) -> None:
    for context in Identity(tmp_path, ROOM).tls_contexts():
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert not context.check_hostname
        assert {ca["subject"] for ca in context.get_ca_certs()} == {
            ((("commonName", "selchat room"),),)
        }


# ---------------------------------------------------------------- the member in a certificate


def test_another_kind_of_key_is_no_member() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "selchat member")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2000, 1, 1))
        .not_valid_after(datetime(2100, 1, 1))
        .sign(ROOM.authority(), None)
    )
    assert member_of(der_of(certificate)) is None


def test_a_look_alike_of_a_key_in_another_field_is_not_taken_for_it(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    victim = Ed25519PrivateKey.from_private_bytes(b"v" * 32).public_key().public_bytes_raw()
    look_alike = (identity._SPKI_PREFIX + victim).decode("latin-1")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, look_alike)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2000, 1, 1))
        .not_valid_after(datetime(2100, 1, 1))
        .add_extension(
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier("1.2.3"), identity._SPKI_PREFIX + victim
            ),
            critical=False,
        )
        .sign(ROOM.authority(), None)
    )
    assert identity._SPKI_PREFIX + victim in der_of(certificate)
    assert member_of(der_of(certificate)) == key.public_key().public_bytes_raw()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_with_a_member_or_without(data: bytes) -> None:
    assert member_of(data) is None or len(member_of(data) or b"") == 32


def test_a_certificate_cut_anywhere_never_names_another_member(tmp_path: Path) -> None:
    alice = Identity(tmp_path, ROOM)
    alice.tls_contexts()
    whole = der_of(certificates_in(tmp_path)[0])
    assert member_of(whole) == alice.member
    assert {member_of(whole[:end]) for end in range(len(whole))} == {None}


def test_a_certificate_in_which_openssl_could_find_another_key_than_we_is_no_members(
    tmp_path: Path,
) -> None:
    """Each length, written longer than it has to be, or without an end: that is no DER."""
    alice = Identity(tmp_path, ROOM)
    alice.tls_contexts()
    whole = der_of(certificates_in(tmp_path)[0])
    head, length, tbs = whole[:4], whole[4:7], whole[7:]
    assert head[:2] == b"\x30\x82" and length[:2] == b"\x30\x81" and tbs[:2] == b"\xa0\x03"
    pad = bytes(8)  # so that none of it is cut
    assert member_of(head + length + tbs + pad) == alice.member
    for found in (
        b"\x30\x80" + whole[4:],
        b"\x30\x83\0" + whole[2:],
        b"\x31" + whole[1:],
        head + b"\x30\x80" + tbs,
        head + b"\x30\x82\0" + length[2:] + tbs,
        head + length + b"\xa0\x80" + tbs[2:],
        head + length + b"\xa0\x81\x03" + tbs[2:],
        head + length + b"\xa0\x84\0\0\0\x03" + tbs[2:],
    ):
        assert member_of(found + pad) is None


# ---------------------------------------------------------------- safety numbers


def test_both_sides_compute_one_safety_number_and_any_other_key_or_room_gives_another() -> None:
    one, other, third = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
    number = identity.safety_number(ROOM.id, one, other)
    assert number == identity.safety_number(ROOM.id, other, one)
    others = [(ROOM.id, one, third), (ROOM.id, third, other), (OTHER_ROOM.id, one, other)]
    assert len({number, *(identity.safety_number(*each) for each in others)}) == 4
    assert [len(group) for group in number.split(" ")] == [5] * 6
    assert number.replace(" ", "").isdigit()


def test_what_a_safety_number_is_made_of_is_fixed_for_ever() -> None:
    """Two people may have two versions of selchat, or of something else."""
    one, other = bytes([1]) * 32, bytes([2]) * 32
    salt = b"selchat safety number v1\0" + ROOM.id
    derived = Scrypt(salt=salt, length=32, n=4096, r=8, p=1).derive(one + other)
    digits = str(int(derived.hex(), 16))[-30:]
    assert identity.safety_number(ROOM.id, one, other).replace(" ", "") == digits


def test_a_safety_number_that_begins_with_zeros_has_all_its_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hashlib.scrypt", lambda *_, **__: bytes(31) + b"\x07")
    number = identity.safety_number(ROOM.id, bytes(32), bytes(32))
    assert number == "00000 00000 00000 00000 00000 00007"
