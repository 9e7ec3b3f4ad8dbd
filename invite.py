"""The invite: one line that carries a room's name, its secret and the addresses to try.

    selchat1  bi6x    afqraaaaaaaaaaaaaaaaaaaaaaaaaaaa7cidv33b
    prefix    length  rest

It has only letters and digits, so that no program breaks it up or dresses it up, and it is
read in either case (a QR code holds capitals in less space).

    prefix   "selchat" and the version, 1. Another format gets another number.
    length   2 characters: how many there are in the rest (10 bits). And 2 more: the same
             number, every bit of it turned round. So a cut is known from damage.
    rest     base32 (RFC 4648, without padding) of
             room       u8 length, UTF-8
             secret     u8 length, 16 to 32 bytes
             addresses  u8 count, then each: u8 kind; IPv4 (1): 4 bytes, IPv6 (2): 16 bytes,
                        host name (3): u8 length, ASCII; u16 port
             check      the first 5 bytes of SHA-256 over "selchat1" and all bytes before

What mail and chats do to a line is undone when it is read: what stands before the prefix and
what follows the end does not count, nor do white space and line breaks, characters that
nobody sees, quote marks where a line begins, and what says where it ends that it goes on
("=", "-", "\\"). Any other character in it is damage.

Lives here: an invite as text. Never here: files, prompts, what is done with one; a secret or a
part of an invite in an error.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from hashlib import sha256
from itertools import islice

from addresses import Address, BadAddress, parse_address
from records import Record

PREFIX = "selchat1"
MIN_SECRET_BYTES = 16  # 128 bits: nobody tries them all
MAX_SECRET_BYTES = 32  # as many as HMAC-SHA256, where it goes, has any use for
MAX_ROOM_BYTES = 64  # with an ending it is a file's name, of which most systems allow 255 bytes
MAX_ADDRESSES = 8  # a few members at both their addresses; a longer line is no joy to hand on
MAX_TEXT_CHARACTERS = 64 * 1024  # a mail with all that was quoted in it, and no whole mailbox
MAX_TRIED = 64  # a mail that tells of versions, too, and quotes its invite again and again
# How much of the prefix alone is taken for an invite that was cut off: less could be any word.
MIN_PREFIX_CHARACTERS = 4

_HEADER_CHARACTERS = 4
_CHECK_BYTES = 5  # a wrong one passes once in 2**40
_LENGTH_BITS = 10  # 2 characters
_MAX_REST_CHARACTERS = 2**_LENGTH_BITS - 1
MAX_CHARACTERS = len(PREFIX) + _HEADER_CHARACTERS + _MAX_REST_CHARACTERS
# The shortest room's name and secret, and no address.
MIN_CHARACTERS = len(PREFIX) + _HEADER_CHARACTERS + -(-(3 + 1 + MIN_SECRET_BYTES + 5) * 8 // 5)
_MAX_REST_BYTES = _MAX_REST_CHARACTERS * 5 // 8
_IPV4, _IPV6, _NAME = 1, 2, 3

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, section 6, in lower case
_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_PREFIXES = "selchat([1-9])"
_LINE_BREAKS = "[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]"  # those of str.splitlines
_QUOTE_MARKS = ">|\u2502"  # of mails; and the frame around a window in a terminal
_GOES_ON = "=-\u2010\\|\u2502"  # quoted-printable, hyphens, a shell's backslash, that frame

# What may be a piece of one: no word has so many letters, and half of that tells no secret.
_PIECE = "[A-Za-z2-7]{32,}"

_COPY = "copy it again, whole, or ask for a new one"


class BadInvite(ValueError):
    """Not an invite that can be used; the text is the sentence that a person reads."""


class CutOffInvite(BadInvite):
    """More of it may be still to come."""


class Invite(Record):
    """What an invite carries. Without addresses it is how a room is kept in a file."""

    room: str
    secret: bytes
    addresses: tuple[Address, ...] = ()

    def __repr__(self) -> str:  # it gets into logs and tracebacks
        return f"Invite(room={self.room!r}, secret=..., addresses={self.addresses!r})"


def room_fault(name: str) -> str:
    """What is wrong with a room's name, to go on after "the room's name "; "" if nothing is."""
    if not name:
        return "is empty"
    # Before encode(), which refuses lone surrogates with an error of its own.
    if not name.isprintable() or name != name.strip():
        return "has characters that nobody sees: take letters, digits, hyphens"
    if len(name.encode()) > MAX_ROOM_BYTES:
        return f"is too long: {MAX_ROOM_BYTES} bytes at most"
    if "/" in name or name.startswith("."):  # it becomes a file's name
        return "has a slash in it, or begins with a dot: take letters, digits, hyphens"
    return ""


def write(invite: Invite) -> str:
    """The line; raises BadInvite for a room that there can't be. Of the addresses it holds
    the first MAX_ADDRESSES that fit, and that mean something on other machines."""
    data = _bytes_of(invite)
    data += _check_of(data)
    rest = base64.b32encode(data).decode().rstrip("=").translate(_LOWER)
    return PREFIX + _header(len(rest)) + rest


def read(text: str) -> Invite:
    """The first sound invite in a text; raises BadInvite, and nothing else."""
    line = _without_mangling(text)
    fault = None
    for found in islice(re.finditer(_PREFIXES, line), MAX_TRIED):
        start = found.start()
        try:
            return _read_at(line[start : start + MAX_CHARACTERS], int(found[1]))
        except BadInvite as error:
            fault = fault or error
    if fault is not None:
        raise fault
    if line and PREFIX.startswith(line):
        raise _cut_off(line)
    raise BadInvite(f"there is no invite here: one begins with {PREFIX}; {_COPY}")


def is_invite(text: str) -> bool:
    """Whether a person meant an invite, be it sound or not. (A host may be called so, too.)"""
    try:
        parse_address(text[:MAX_TEXT_CHARACTERS].strip())
    except BadAddress:
        line = _without_mangling(text)
        cut_off = len(line) >= MIN_PREFIX_CHARACTERS and PREFIX.startswith(line)
        return cut_off or re.search(_PREFIXES, line) is not None
    return False


def is_secret(text: str) -> bool:
    """Whether it is an invite, or so much of one that it may tell of the secret."""
    return hide(text) != text and is_invite(text)


def read_peer(text: str) -> Address | Invite:
    """What a person gives as a peer. Raises BadAddress or BadInvite, and neither tells what was
    given where that may be what is left of an invite."""
    if is_invite(text):
        return read(text)
    try:
        return parse_address(text)
    except BadAddress:
        if len(text) < MIN_CHARACTERS:
            raise
    raise BadInvite(
        "that is no address, and if it was an invite, it is damaged at its start: one begins with "
        f"{PREFIX}; {_COPY}"
    )


def hide(text: str) -> str:
    """A text that quotes what somebody typed, without an invite or a piece of one in it."""
    return re.sub(_PIECE, "...", text)


def _without_mangling(text: str) -> str:
    """The characters that count, in lower case."""
    text = text[:MAX_TEXT_CHARACTERS]
    if not text.isascii():
        text = "".join(each for each in text if unicodedata.category(each) != "Cf")
    *lines, last = re.split(_LINE_BREAKS, text)
    marks = _QUOTE_MARKS + " \t"
    lines = [line.strip().lstrip(marks).rstrip(_GOES_ON) for line in lines]
    return "".join("".join([*lines, last.strip().lstrip(marks)]).split()).translate(_LOWER)


def _read_at(line: str, version: int) -> Invite:
    """The invite that a line begins with."""
    if version != 1:
        raise BadInvite(
            "the invite is of a later version of selchat: get that version, or ask for an invite"
            " that this one made"
        )
    start = len(PREFIX) + _HEADER_CHARACTERS
    header = line[len(PREFIX) : start]
    if len(header) < _HEADER_CHARACTERS:
        raise _cut_off(line)
    length = _number(header[:2])
    if length is None or _header(length) != header:
        raise BadInvite(f"the invite is damaged near its start: {_COPY}")
    rest = line[start : start + length]
    if len(rest) < length:
        raise _cut_off(line, of=start + length)
    data = _decoded(rest)
    if data is None or _check_of(data[:-_CHECK_BYTES]) != data[-_CHECK_BYTES:]:
        raise BadInvite(
            f"the invite is damaged, some of its characters are not as written: {_COPY}"
        )
    return _parsed(data[:-_CHECK_BYTES])


def _cut_off(line: str, of: int = 0) -> CutOffInvite:
    there = (
        f"{len(line)} of its {of} characters are there"
        if of
        else f"{len(line)} characters are there"
    )
    return CutOffInvite(f"the invite is cut off, {there}: {_COPY}")


def _header(length: int) -> str:
    both = length << _LENGTH_BITS | (_MAX_REST_CHARACTERS - length)
    return "".join(_ALPHABET[both >> shift & 31] for shift in (15, 10, 5, 0))


def _number(characters: str) -> int | None:
    high, low = (_ALPHABET.find(character) for character in characters)
    return high << 5 | low if high >= 0 and low >= 0 else None


def _decoded(rest: str) -> bytes | None:
    """None for what no writer makes: another character, or bits that no byte fills."""
    if not set(rest) <= set(_ALPHABET):
        return None
    try:
        data = base64.b32decode(rest.upper() + "=" * (-len(rest) % 8))
    except ValueError:  # no number of bytes has so many characters
        return None
    again = base64.b32encode(data).decode().rstrip("=").translate(_LOWER)
    return data if again == rest else None


def _check_of(data: bytes) -> bytes:
    return sha256(PREFIX.encode() + data).digest()[:_CHECK_BYTES]


def _bytes_of(invite: Invite) -> bytes:
    """All but the check; raises BadInvite for a room that there can't be."""
    if fault := room_fault(invite.room):
        raise BadInvite(f"the room's name {fault}")
    if not MIN_SECRET_BYTES <= len(invite.secret) <= MAX_SECRET_BYTES:
        raise BadInvite(f"a room's secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")
    room = invite.room.encode()
    data = bytes([len(room)]) + room + bytes([len(invite.secret)]) + invite.secret
    places: list[bytes] = []
    for address in invite.addresses:
        place = _place_of(address)
        size = len(data) + 1 + sum(map(len, places)) + len(place) + _CHECK_BYTES
        if place and size <= _MAX_REST_BYTES and len(places) < MAX_ADDRESSES:
            places.append(place)
    return data + bytes([len(places)]) + b"".join(places)


def _place_of(address: Address) -> bytes:
    """An address as bytes; none if it means nothing elsewhere: an interface of ours (%eth0)
    has another name there, and 0.0.0.0 and :: say "here"."""
    import ipaddress  # late, as in addresses.py: a start that needs no address shall not pay

    address = parse_address(str(address))  # the one spelling, whoever made it
    port = address.port.to_bytes(2, "big")
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        name = address.host.encode()
        return bytes([_NAME, len(name)]) + name + port
    if ip.is_unspecified or "%" in address.host:
        return b""
    return bytes([_IPV4 if ip.version == 4 else _IPV6]) + ip.packed + port


def _parsed(data: bytes) -> Invite:
    """The check was right: what is wrong now, its writer did."""
    try:
        fields = _Fields(data)
        room, secret = fields.take(fields.number()).decode(), fields.take(fields.number())
        addresses = tuple(fields.address() for _ in range(fields.number()))
        invite = Invite(room, secret, addresses)
        if _bytes_of(invite) == data:
            return invite
    except ValueError:  # BadInvite and BadAddress are such, too
        pass  # told below: what is wrong in it says nothing to the person who was invited
    raise BadInvite("the invite was made wrong, though it is whole: ask for a new one")


class _Fields:
    """Takes fields off the front; a ValueError where there is less."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def take(self, count: int) -> bytes:
        taken, self._rest = self._rest[:count], self._rest[count:]
        if len(taken) < count:
            raise ValueError("less than it says")
        return taken

    def number(self, width: int = 1) -> int:
        return int.from_bytes(self.take(width), "big")

    def address(self) -> Address:
        import ipaddress

        kind = self.number()
        if kind == _IPV4:
            host = str(ipaddress.IPv4Address(self.take(4)))
        elif kind == _IPV6:
            host = f"[{ipaddress.IPv6Address(self.take(16))}]"
        elif kind == _NAME:
            host = self.take(self.number()).decode("ascii")
        else:
            raise ValueError("no such kind of address")
        return parse_address(f"{host}:{self.number(2)}")
