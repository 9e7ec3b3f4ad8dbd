"""The invite: exact lines, what mail does to them, and what is said of one that is broken."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

import invite
from addresses import Address, parse_address
from invite import BadInvite, Invite, is_invite, read, room_fault, write

SECRET = bytes(range(16))
SMALLEST = Invite("a", bytes(16))
FULL = Invite(
    "büro 5",
    SECRET,
    (Address("203.0.113.7", 5000), Address("2001:db8::7", 443), Address("chat.example.org", 65535)),
)
# Made by hand from the header of invite.py, with base64 and hashlib, once and for all.
SMALLEST_LINE = "selchat1bi6xafqraaaaaaaaaaaaaaaaaaaaaaaaaaaa7cidv33b"
FULL_LINE = (
    "selchat1d44da5rmhpdsn4qdkeaaaebagbafaydqqcikbmga2dqpama4wadra4jyqaraaeg3"
    "qaaaaaaaaaaaaaaaaaahag5qgeddnbqxiltfpbqw24dmmuxg64th777v5nyky5xa"
)

COPY = "copy it again, whole, or ask for a new one"
DAMAGED = f"the invite is damaged, some of its characters are not as written: {COPY}"
DAMAGED_HEADER = f"the invite is damaged near its start: {COPY}"
NONE_HERE = f"there is no invite here: one begins with selchat1; {COPY}"
MADE_WRONG = "the invite was made wrong, though it is whole: ask for a new one"


def refusal(text: str) -> str:
    with pytest.raises(BadInvite) as caught:
        read(text)
    return str(caught.value)


def line_of(payload: bytes) -> str:
    """A sound line around any payload, made without invite.py."""
    payload += sha256(b"selchat1" + payload).digest()[:5]
    rest = base64.b32encode(payload).decode().rstrip("=").lower()
    length, turned = divmod(len(rest), 32), divmod(1023 - len(rest), 32)
    header = "".join("abcdefghijklmnopqrstuvwxyz234567"[five] for five in (*length, *turned))
    return "selchat1" + header + rest


# Lines

EXACT = [
    (SMALLEST, SMALLEST_LINE, b"\x01a" + b"\x10" + bytes(16) + b"\x00"),
    (
        FULL,
        FULL_LINE,
        b"\x07b\xc3\xbcro 5" + b"\x10" + SECRET + b"\x03"
        b"\x01\xcb\x00\x71\x07\x13\x88"
        b"\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x01\xbb"
        b"\x03\x10chat.example.org\xff\xff",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made", "line", "payload"), EXACT)
def test_an_invite_is_the_line_that_the_header_says(
    made: Invite, line: str, payload: bytes
) -> None:
    assert write(made) == line == line_of(payload)
    assert read(line) == made


def test_an_invite_hides_its_secret_from_logs() -> None:
    made = Invite("garden", b"0123456789abcdef", (Address("127.0.0.1", 5000),))
    for shown in (repr(made), str(made), f"{made}", f"{[made]}"):
        assert "0123456789abcdef" not in shown and "garden" in shown and "5000" in shown


ROOM_NAMES = st.text(min_size=1, max_size=20).filter(lambda name: not room_fault(name))
HOST_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,9}){0,4}", fullmatch=True)
PORTS = st.integers(1, 65535)


def addresses_of(hosts: st.SearchStrategy) -> st.SearchStrategy[Address]:
    def is_for_others(address: Address) -> bool:
        return address.host not in ("0.0.0.0", "::")

    texts = st.builds("{}:{}".format, hosts, PORTS)
    return texts.map(parse_address).filter(is_for_others)


ADDRESSES = (
    addresses_of(st.ip_addresses(v=4))
    | addresses_of(st.ip_addresses(v=6).map("[{}]".format))
    | addresses_of(HOST_NAMES)
)
INVITES = st.builds(
    Invite,
    ROOM_NAMES,
    st.binary(min_size=16, max_size=32),
    st.lists(ADDRESSES, max_size=8).map(tuple),
)


@given(INVITES)
def test_any_invite_reads_back(made: Invite) -> None:
    line = write(made)
    assert read(line) == made and is_invite(line)
    assert line.isascii() and line.isalnum() and line == line.lower()


def test_an_invite_holds_the_first_addresses_that_fit() -> None:
    nine = tuple(Address("10.0.0.1", port) for port in range(1, 10))
    assert read(write(Invite("a", SECRET, nine))).addresses == nine[:8]
    name = ".".join(["a" * 63] * 3 + ["a" * 61])  # 253 characters, as many as there may be
    long = tuple(Address(name, port) for port in range(1, 8))
    room = "x" * 64
    line = write(Invite(room, bytes(32), (*long, Address("10.0.0.1", 5000))))
    assert len(line) <= 8 + 4 + 1023
    assert read(line) == Invite(room, bytes(32), (*long[:2], Address("10.0.0.1", 5000)))


@pytest.mark.parametrize("host", ["fe80::1%eth0", "0.0.0.0", "::"])
def test_an_address_that_means_nothing_elsewhere_is_left_out(host: str) -> None:
    made = Invite("a", SECRET, (Address(host, 5000), Address("10.0.0.1", 5000)))
    assert read(write(made)).addresses == (Address("10.0.0.1", 5000),)


# What mail and chats do


def wrapped(line: str, columns: int, between: str) -> str:
    return between.join(textwrap.wrap(line, columns))


MANGLED: dict[str, Callable[[str], str]] = {
    "wrapped": lambda line: wrapped(line, 20, "\n"),
    "wrapped as in Windows": lambda line: wrapped(line, 20, "\r\n"),
    "wrapped with a space that flows": lambda line: wrapped(line, 20, " \n"),
    "wrapped by Unicode": lambda line: wrapped(line, 20, "\u2028"),
    "quoted": lambda line: "> " + wrapped(line, 20, "\n> "),
    "quoted thrice": lambda line: "> >>" + wrapped(line, 20, "\n> >>"),
    "quoted with bars": lambda line: "| " + wrapped(line, 20, "\n| "),
    "quoted-printable": lambda line: wrapped(line, 20, "=\r\n"),
    "hyphenated": lambda line: wrapped(line, 20, "-\n"),
    "continued in a shell": lambda line: wrapped(line, 20, "\\\n  "),
    "framed": lambda line: "│ " + wrapped(line, 20, " │\n│ ") + " │",
    "in capitals": str.upper,
    "with a capital": str.capitalize,
    "with soft hyphens": lambda line: wrapped(line, 20, "\u00ad"),
    "with zero-width spaces": lambda line: wrapped(line, 20, "\u200b"),
    "with a byte order mark": lambda line: "\ufeff" + line + "\r\n",
    "with no-break spaces": lambda line: wrapped(line, 4, "\u00a0"),
    "told about": lambda line: f"Hi bob,\nselchat 1.0 is out, take selchat2! <{line}>\n-- \nalice",
    "in quotes": lambda line: f"“{line}”",
    "in Markdown": lambda line: f"```\n{line}\n```",
    "twice": lambda line: f"{line}\n{line}",
    "after one that was damaged": lambda line: f"{line[:-1]}8 {line}",
}


@pytest.mark.parametrize("mangle", MANGLED.values(), ids=MANGLED)
def test_an_invite_survives_mails_and_chats(mangle: Callable[[str], str]) -> None:
    text = mangle(FULL_LINE)
    assert text != FULL_LINE
    assert read(text) == FULL and is_invite(text)


@given(INVITES, st.integers(1, 100), st.sampled_from(["\n", "\r\n", "=\n", "-\n", "\n> ", "\n| >"]))
def test_any_invite_survives_wrapping_at_any_column(
    made: Invite, columns: int, between: str
) -> None:
    line = write(made)
    assert read(wrapped(line, columns, between)) == made
    assert read(wrapped(line.upper(), columns, between)) == made


# What is said of a broken one


def test_each_character_that_is_another_one_is_damage() -> None:
    """Also a bit of the last character that no byte fills, and what is dropped elsewhere."""
    for at in range(len("selchat1"), len(FULL_LINE)):
        for other in "abcdefghijklmnopqrstuvwxyz234567" + "0189=-|>._é\x1b\0\ud800":
            if other != FULL_LINE[at]:
                text = FULL_LINE[:at] + other + FULL_LINE[at + 1 :]
                assert refusal(text) == (DAMAGED if at >= 12 else DAMAGED_HEADER)


def test_each_pair_of_characters_that_changed_places_is_damage() -> None:
    for at in range(len("selchat1"), len(FULL_LINE) - 1):
        one, other = FULL_LINE[at], FULL_LINE[at + 1]
        if one != other:
            text = FULL_LINE[:at] + other + one + FULL_LINE[at + 2 :]
            assert refusal(text) in (DAMAGED, DAMAGED_HEADER)


def test_each_end_that_is_missing_is_told_as_that() -> None:
    for length in range(1, len(FULL_LINE)):
        text = FULL_LINE[:length]
        there = f"{length} of its {len(FULL_LINE)} characters are there"
        if length < 12:  # the length is missing, too
            there = f"{length} characters are there"
        assert refusal(text) == f"the invite is cut off, {there}: {COPY}"
        assert refusal(wrapped(text, 10, "\n> ")) == refusal(text)
        assert is_invite(text) == (length >= 4)


def test_a_character_that_is_missing_or_was_added_is_refused() -> None:
    for at in range(13, len(FULL_LINE)):
        assert "is cut off" in refusal(FULL_LINE[:at] + FULL_LINE[at + 1 :])
        added = FULL_LINE[:at] + "q" + FULL_LINE[at:]
        assert added.startswith(FULL_LINE) or refusal(added) == DAMAGED


@pytest.mark.parametrize(
    "text", ["", " \n> ", "hello", "selfish", "5000", "selchat", "selchat0abc"]
)
def test_where_there_is_none_that_is_said(text: str) -> None:
    expected = NONE_HERE
    if text == "selchat":
        expected = f"the invite is cut off, 7 characters are there: {COPY}"
    assert refusal(text) == expected


@pytest.mark.parametrize("version", "23456789")
def test_one_of_a_later_version_asks_for_that_version(version: str) -> None:
    said = refusal(f"selchat{version}" + FULL_LINE[8:])
    assert said.startswith("the invite is of a later version of selchat: get that version")


def test_of_several_broken_ones_the_first_is_told() -> None:
    assert refusal(f"{FULL_LINE[:-1]}\u20ac selchat2").startswith("the invite is damaged")


ROOM, KEY = b"\x01a", b"\x10" + SECRET
WRONG = {
    "nothing in it": b"",
    "no room": b"\x00" + KEY + b"\x00",
    "a room that is no UTF-8": b"\x01\xff" + KEY + b"\x00",
    "a room that leads elsewhere": b"\x04../x" + KEY + b"\x00",
    "a room with an escape in it": b"\x03\x1b[m" + KEY + b"\x00",
    "a room that is too long": b"\x41" + b"x" * 65 + KEY + b"\x00",
    "a short secret": ROOM + b"\x0f" + bytes(15) + b"\x00",
    "a long secret": ROOM + b"\x21" + bytes(33) + b"\x00",
    "an end before the addresses": ROOM + KEY,
    "an end within an address": ROOM + KEY + b"\x01\x01\x0a\x00\x00\x01\x13",
    "fewer addresses than it says": ROOM + KEY + b"\x02\x01\x0a\x00\x00\x01\x13\x88",
    "more addresses than there may be": ROOM + KEY + b"\x09" + b"\x01\x0a\x00\x00\x01\x13\x88" * 9,
    "an unknown kind of address": ROOM + KEY + b"\x01\x04\x0a\x00\x00\x01\x13\x88",
    "the port 0": ROOM + KEY + b"\x01\x01\x0a\x00\x00\x01\x00\x00",
    "any address": ROOM + KEY + b"\x01\x01\x00\x00\x00\x00\x13\x88",
    "IPv4 as IPv6": ROOM + KEY + b"\x01\x02" + bytes(10) + b"\xff\xff\x0a\x00\x00\x01\x13\x88",
    "IPv4 as a name": ROOM + KEY + b"\x01\x03\x0810.0.0.1\x13\x88",
    "a name in capitals": ROOM + KEY + b"\x01\x03\x01A\x13\x88",
    "a name that is none": ROOM + KEY + b"\x01\x03\x02a\n\x13\x88",
    "a name that is no ASCII": ROOM + KEY + b"\x01\x03\x02\xc3\xa9\x13\x88",
    "a name that is empty": ROOM + KEY + b"\x01\x03\x00\x13\x88",
    "more behind the addresses": ROOM + KEY + b"\x00\x00",
}


@pytest.mark.parametrize("payload", WRONG.values(), ids=WRONG)
def test_an_invite_of_a_wrong_writer_is_refused_though_its_check_is_right(payload: bytes) -> None:
    assert refusal(line_of(payload)) == MADE_WRONG


def test_a_name_that_ends_like_a_port_is_no_way_to_another_address() -> None:
    assert refusal(line_of(ROOM + KEY + b"\x01\x03\x04a:80\x13\x88")) == MADE_WRONG


@given(st.binary(max_size=100))
def test_no_payload_is_another_error(payload: bytes) -> None:
    line = line_of(payload)
    try:
        assert write(read(line)) == line
    except BadInvite as error:
        assert str(error) == MADE_WRONG


@pytest.mark.parametrize(
    ("room", "secret", "advice"),
    [
        ("", SECRET, "is empty"),
        (" a", SECRET, "has characters that nobody sees"),
        ("a\nb", SECRET, "has characters that nobody sees"),
        ("a\u202eb", SECRET, "has characters that nobody sees"),
        ("\ud800", SECRET, "has characters that nobody sees"),
        ("x" * 65, SECRET, "is too long: 64 bytes"),
        ("é" * 33, SECRET, "is too long: 64 bytes"),
        ("a/b", SECRET, "has a slash in it"),
        ("..", SECRET, "begins with a dot"),
        (".a", SECRET, "begins with a dot"),
        ("a", bytes(15), "has 16 to 32 bytes"),
        ("a", bytes(33), "has 16 to 32 bytes"),
    ],
)
def test_no_invite_is_written_to_a_room_that_there_cant_be(
    room: str, secret: bytes, advice: str
) -> None:
    with pytest.raises(BadInvite) as caught:
        write(Invite(room, secret))
    assert advice in str(caught.value)


@pytest.mark.parametrize("name", ["a", "Büro 5", "x" * 64, "家", "a.b", "-", "open", "~", "🎉"])
def test_a_room_may_be_called_nearly_anything(name: str) -> None:
    assert room_fault(name) == ""
    assert read(write(Invite(name, SECRET))).room == name


# What a person meant


@pytest.mark.parametrize(
    "text",
    ["5000", "127.0.0.1:5000", "[::1]:5000", "selchat1.example.org:5000", "selchat2:5000\n", "",
     "0", "sel", "bob", "@file", "-", "example.org:5000"],
)  # fmt: skip
def test_what_is_an_address_or_anything_else_is_no_invite(text: str) -> None:
    assert not is_invite(text)


@pytest.mark.parametrize(
    "text", ["selchat1", "selchat2xyz", "selchat1!", "selc", "SELCHAT1", "see: selchat1abc:"]
)
def test_what_was_meant_as_an_invite_is_one_though_it_is_broken(text: str) -> None:
    assert is_invite(text)
    assert "invite is" in refusal(text)


@pytest.mark.parametrize("line", [SMALLEST_LINE, FULL_LINE, FULL_LINE.upper(), FULL_LINE[9:80]])
def test_what_quotes_an_invite_can_be_shown_without_it(line: str) -> None:
    hidden = invite.hide(f"'{line}' is no port, and {line}: no file")
    assert hidden.endswith("...: no file") and "...' is no port, and " in hidden
    assert all(line[at : at + 8] not in hidden for at in range(9, len(line) - 8))
    assert invite.hide("no such word") == "no such word"


# Bounds


@pytest.mark.parametrize(
    "text",
    [" " * 10_000_000, "selchat1" * 1_000_000, "selchat1bi6x" * 1_000_000, ">\n" * 5_000_000,
     "=" * 10_000_000, "\u200b" * 10_000_000, "selchat177aa" + "a" * 10_000_000],
    ids=["spaces", "prefixes", "headers", "quotes", "equals", "invisible", "long"],
)  # fmt: skip
def test_no_text_takes_long(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in characters that are looked at, and in lines that are tried."""
    looked_at: list[str] = []
    tried: list[str] = []
    without, at = invite._without_mangling, invite._read_at

    def noted_without(text: str) -> str:
        looked_at.append(without(text))
        return looked_at[-1]

    def noted_at(line: str, version: int) -> Invite:
        tried.append(line)
        return at(line, version)

    monkeypatch.setattr(invite, "_without_mangling", noted_without)
    monkeypatch.setattr(invite, "_read_at", noted_at)
    refusal(text)
    assert sum(map(len, looked_at)) <= invite.MAX_TEXT_CHARACTERS
    assert len(tried) <= invite.MAX_TRIED
    assert all(len(line) <= invite.MAX_CHARACTERS for line in tried)


def test_what_comes_after_64_kib_is_not_looked_at() -> None:
    assert read(" " * (64 * 1024 - len(FULL_LINE)) + FULL_LINE) == FULL
    assert refusal(" " * (64 * 1024) + FULL_LINE) == NONE_HERE
