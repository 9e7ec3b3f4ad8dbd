"""The address book: how addresses are read, and a file that two hands may write in."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

import addresses
from addresses import (
    MAX_ADDRESSES,
    MAX_FILE_BYTES,
    MAX_QUOTED_CHARACTERS,
    Address,
    AddressBook,
    BadAddress,
    Known,
    is_loopback,
    parse_address,
    site_of,
)

ALICE, BOB = "a" * 64, "b" * 64
EARLY, LATE = "2026-11-22T08:43:00Z", "2026-11-22T09:00:00Z"
ONE, TWO, THREE = (Address("127.0.0.1", port) for port in (6001, 6002, 6003))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "addresses.txt"


def loaded(path: Path) -> AddressBook:
    book = AddressBook(path)
    assert book.load() == []
    return book


def known_to(book: AddressBook) -> list[Address]:
    return [entry.address for entry in book.entries()]


# How a person writes an address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("5000", "127.0.0.1", 5000),
        (" 5000\t", "127.0.0.1", 5000),
        ("1", "127.0.0.1", 1),
        ("65535", "127.0.0.1", 65535),
        ("localhost:6000", "127.0.0.1", 6000),
        ("10.0.0.7:6000", "10.0.0.7", 6000),
        ("Chat.Example.org:6000", "chat.example.org", 6000),
        ("3com.com:80", "3com.com", 80),
        ("[::1]:6000", "::1", 6000),
        ("[2001:DB8:0::1]:6000", "2001:db8::1", 6000),
        ("[fe80::1%eth0]:6000", "fe80::1%eth0", 6000),
        ("[::ffff:10.0.0.7]:6000", "10.0.0.7", 6000),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)
    assert parse_address(str(parse_address(text))) == Address(host, port)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "write PORT, HOST:PORT or [IPv6]:PORT"),
        ("alice", "no port"),
        ("[::1]", "no port"),
        ("0", "from 1 to 65535"),
        ("65536", "from 1 to 65535"),
        ("9" * 10_000, "from 1 to 65535"),
        ("\u0665\u0660\u0660\u0660", "no port"),
        ("127.0.0.1:", "from 1 to 65535"),
        ("127.0.0.1:-1", "from 1 to 65535"),
        ("127.0.0.1:\u0665", "from 1 to 65535"),
        ("127.0.0.1:5000\n", "from 1 to 65535"),
        ("::1:5000", "in brackets"),
        (":5000", "no valid host"),
        ("a..b:5000", "no valid host"),
        ("-a:5000", "no valid host"),
        ("a_b:5000", "no valid host"),
        ("\u212a.org:5000", "no valid host"),
        ("a" * 64 + ".org:5000", "no valid host"),
        (".".join(["a" * 50] * 6) + ":5000", "no valid host"),
        ("127.1:5000", "four numbers"),
        ("0x7f.0.0.0x1:5000", "four numbers"),
        ("256.0.0.1:5000", "four numbers"),
        ("[127.0.0.1]:5000", "such as [::1]:5000"),
        ("[fe80::1%e\x1b[31m]:5000", "such as [::1]:5000"),
        ("[]:5000", "such as [::1]:5000"),
    ],
)
def test_what_is_no_address_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    sentence = str(caught.value)
    assert advice in sentence
    assert sentence.isascii() and sentence.isprintable()
    assert len(sentence) < MAX_QUOTED_CHARACTERS + 140


def test_addresses_sort_and_hash_and_show_their_brackets() -> None:
    assert sorted({TWO, ONE, Address("127.0.0.1", 6002)}) == [ONE, TWO]
    assert f"{ONE} {Address('::1', 5000)}" == "127.0.0.1:6001 [::1]:5000"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.example.org", False),
        ("no address at all", False),
    ],
)
def test_only_addresses_that_stay_on_this_machine_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(Address(host, 5000)) is expected


# What is known


def test_a_better_source_replaces_a_lesser_one_and_never_the_other_way_round(path: Path) -> None:
    book = AddressBook(path)
    for source, expected in (
        ("link", "link"),
        ("hearsay", "link"),
        ("you", "you"),
        ("link", "you"),
    ):
        assert book.learn(ONE, source)
        assert book.entries() == [Known(ONE, expected)]


def test_a_claim_never_replaces_a_member_that_answered(path: Path) -> None:
    book = AddressBook(path)
    book.learn(ONE, "link", ALICE)
    book.learn(ONE, "hearsay", BOB)
    assert book.entries()[0].member == ALICE
    book.learn(ONE, "link", BOB)
    assert book.entries()[0].member == BOB
    book.note_answered(ONE, ALICE, EARLY)
    book.learn(ONE, "you", BOB)
    assert book.entries() == [Known(ONE, "you", ALICE, None, EARLY)]


def test_only_learning_takes_an_address_in(path: Path) -> None:
    book = AddressBook(path)
    book.note_tried(ONE, EARLY)
    book.note_answered(ONE, ALICE, EARLY)
    book.forget(ONE)
    assert book.entries() == [] and not book.changed


def test_another_spelling_is_the_same_address(path: Path) -> None:
    book = AddressBook(path)
    book.learn(Address("::ffff:127.0.0.1", 6001), "link")
    book.note_tried(Address("localhost", 6001), EARLY)
    assert book.entries() == [Known(ONE, "link", None, EARLY)]
    book.forget(Address("localhost", 6001))
    assert book.entries() == []


@pytest.mark.parametrize("host", ["a\nb", "a b", "", "#", "x" * 254, "a\x00"])
def test_a_host_that_would_spoil_the_file_is_refused(path: Path, host: str) -> None:
    with pytest.raises(BadAddress):
        AddressBook(path).learn(Address(host, 6001), "hearsay")


def test_words_that_would_spoil_the_file_are_refused(path: Path) -> None:
    book = AddressBook(path)
    book.learn(ONE, "you")
    with pytest.raises(ValueError, match="you, link or hearsay"):
        book.learn(TWO, "somebody")
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        book.note_answered(ONE, "alice", EARLY)
    with pytest.raises(ValueError, match="a time such as"):
        book.note_tried(ONE, "now\n")
    assert book.entries() == [Known(ONE, "you")]


def test_a_full_book_forgets_the_least_recently_answered_and_never_the_persons(path: Path) -> None:
    book = AddressBook(path)
    book.learn(Address("127.0.0.1", 1), "you")
    for port in range(2, MAX_ADDRESSES + 1):
        book.learn(Address("127.0.0.1", port), "link")
        book.note_answered(Address("127.0.0.1", port), ALICE, EARLY if port == 7 else LATE)
    for port in (2001, 2002, 2003):
        assert book.learn(Address("127.0.0.1", port), "hearsay")
    ports = {address.port for address in known_to(book)}
    # The first gossip cost the one that answered earliest; after that gossip cost gossip.
    assert ports == set(range(1, MAX_ADDRESSES + 1)) - {7} | {2003}


def test_a_book_full_of_the_persons_own_addresses_takes_no_more(path: Path) -> None:
    book = AddressBook(path)
    for port in range(1, MAX_ADDRESSES + 1):
        assert book.learn(Address("127.0.0.1", port), "you")
    assert not book.learn(Address("127.0.0.1", 5000), "hearsay")
    assert len(book.entries()) == MAX_ADDRESSES


# The file


def test_a_missing_file_is_an_empty_book_and_stays_missing_until_needed(path: Path) -> None:
    book = loaded(path)
    assert book.entries() == [] and not book.changed
    assert book.save() == [] and not path.exists()


def test_the_first_write_explains_the_format_and_is_private(path: Path) -> None:
    book = loaded(path)
    book.learn(Address("::1", 6000), "you", ALICE)
    book.note_tried(Address("::1", 6000), EARLY)
    book.note_answered(Address("::1", 6000), BOB, LATE)
    assert book.changed and book.save() == [] and not book.changed
    line = f"[::1]:6000  from=you  member={BOB}  tried={EARLY}  answered={LATE}\n"
    assert path.read_text() == addresses.HEADER + line
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name]
    assert loaded(path).entries() == book.entries()


def test_an_address_alone_on_its_line_is_the_persons(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf6001\r\nlocalhost:6002 # bob's\r\n\r\n  # end")
    assert loaded(path).entries() == [Known(ONE, "you"), Known(TWO, "you")]


def test_a_broken_line_is_complained_about_with_its_number_and_kept(path: Path) -> None:
    lines = [
        b"# mine",
        b"127.0.0.1:6001",
        b"nonsense",
        b"",
        b"caf\xe9:6000",
        b"6002 bob",
        b"6002 tried=yesterday",
        b"6002 from=link from=you",
        b"localhost:6001",
    ]
    path.write_bytes(b"\n".join(lines))
    book = AddressBook(path)
    complaints = book.load()
    assert complaints == [
        "addresses.txt line 3 is not an address: 'nonsense' has no port: write PORT, HOST:PORT"
        " or [IPv6]:PORT, such as 127.0.0.1:5000",
        "addresses.txt line 5 is not UTF-8 text",
        "addresses.txt line 6 has 'bob' after the address: put a # before a remark",
        "addresses.txt line 7 has 'tried=yesterday': tried= takes a time such as"
        " 2026-11-22T08:43:00Z",
        "addresses.txt line 8 says from= twice: keep one of them",
        "addresses.txt line 9 repeats the address of line 2",
    ]
    assert known_to(book) == [ONE]
    book.learn(THREE, "link")
    assert book.save() == []
    assert path.read_bytes().split(b"\n") == [*lines, b"127.0.0.1:6003  from=link", b""]


def test_only_the_line_that_changed_is_rewritten_and_keeps_what_we_do_not_know(path: Path) -> None:
    path.write_text("6001   colour=red from=link # \u00e9\r\n \t6002\tfrom=you   x=\n")
    book = loaded(path)
    book.note_tried(ONE, EARLY)
    book.save()
    assert path.read_bytes().decode() == (
        f"6001  from=link  tried={EARLY}  colour=red  # \u00e9\r\n \t6002\tfrom=you   x=\n"
    )


def test_forgetting_takes_out_the_line_and_its_repetitions_and_nothing_else(path: Path) -> None:
    path.write_text("# a\n6001\n6002\nlocalhost:6001\n# b\n")
    book = AddressBook(path)
    assert len(book.load()) == 1
    book.forget(ONE)
    book.save()
    assert path.read_text() == "# a\n6002\n# b\n"


def test_nothing_is_written_when_nothing_changed(path: Path) -> None:
    path.write_text("6001")
    book = loaded(path)
    book.learn(ONE, "hearsay")
    before = path.stat()
    assert not book.changed and book.save() == []
    assert path.stat() == before


def test_more_lines_than_addresses_may_be_remembered_are_kept_but_ignored(path: Path) -> None:
    text = "".join(f"{port}\n" for port in range(1, MAX_ADDRESSES + 3))
    path.write_text(text)
    book = AddressBook(path)
    assert book.load() == [
        f"addresses.txt line {MAX_ADDRESSES + extra} is one too many: 1024 addresses at most"
        for extra in (1, 2)
    ]
    assert len(book.entries()) == MAX_ADDRESSES
    book.forget(Address("127.0.0.1", 1))
    book.save()
    assert path.read_text() == text.removeprefix("1\n")


def test_a_file_that_is_too_large_is_neither_read_nor_written(path: Path) -> None:
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    book = AddressBook(path)
    assert ["larger than 256 KiB" in complaint for complaint in book.load()] == [True]
    book.learn(ONE, "you")
    assert book.save() == [] and path.stat().st_size == MAX_FILE_BYTES + 1
    path.write_text("6002\n")
    assert book.save() == []
    assert path.read_text() == "6002\n127.0.0.1:6001  from=you\n"


def test_long_names_from_gossip_can_not_make_the_file_too_large(path: Path) -> None:
    path.write_text("6001\n")
    book = loaded(path)
    for number in range(MAX_ADDRESSES - 1):
        host = ".".join(["a" * 60] * 3 + [f"{number:060}"[-58:] + "x"])
        book.learn(Address(host, 60000), "hearsay", ALICE)
        book.note_tried(Address(host, 60000), EARLY)
    assert book.save() == [] and not book.changed
    assert MAX_FILE_BYTES - 1000 < path.stat().st_size <= MAX_FILE_BYTES
    assert loaded(path).entries() == book.entries()
    assert known_to(book)[0] == ONE


def test_a_person_whose_remarks_fill_the_file_is_told_once(path: Path) -> None:
    text = "6001\n" + "#" * (MAX_FILE_BYTES - 6) + "\n"
    path.write_text(text)
    book = loaded(path)
    book.note_tried(ONE, EARLY)
    assert book.save() == [
        "addresses.txt has no room for what was learned (256 KiB at most): take lines out"
    ]
    assert book.save() == [] and book.changed and path.read_text() == text


# Two hands


def edit(path: Path, text: str) -> None:
    """As an editor does it: a new file in place of the old one."""
    draft = path.with_suffix(".edited")
    draft.write_text(text)
    os.replace(draft, path)


def test_an_edit_and_what_we_learned_meanwhile_are_merged(path: Path) -> None:
    path.write_text("6001 from=link\n6002 from=link\n")
    book = loaded(path)
    book.note_tried(ONE, LATE)
    book.note_tried(TWO, LATE)
    book.learn(Address("10.0.0.1", 7000), "link")
    edit(path, f"# mine\n6003\n6001 from=you tried={EARLY} # alice\n")
    assert book.save() == []
    assert path.read_text() == (
        f"# mine\n6003\n6001  from=you  tried={LATE}  # alice\n10.0.0.1:7000  from=link\n"
    )
    assert known_to(book) == [THREE, ONE, Address("10.0.0.1", 7000)]
    assert not book.changed


def test_an_edit_is_taken_in_even_when_we_have_nothing_to_write(path: Path) -> None:
    path.write_text("6001\n")
    book = loaded(path)
    edit(path, "6002   from=you\n")
    before = path.stat()
    assert not book.changed and book.save() == []
    assert known_to(book) == [TWO] and path.stat() == before


def test_a_deleted_line_comes_back_only_when_learned_anew(path: Path) -> None:
    path.write_text("6001 from=link\n6002 from=link\n")
    book = loaded(path)
    book.learn(ONE, "hearsay")  # we had it: gossip about it is no news
    book.learn(TWO, "you")
    edit(path, "")
    book.save()
    assert path.read_text() == addresses.HEADER + "127.0.0.1:6002  from=you\n"
    book.learn(ONE, "hearsay")
    book.save()
    assert known_to(book) == [TWO, ONE] == known_to(loaded(path))


def test_throwing_the_file_away_empties_the_book(path: Path) -> None:
    path.write_text("6001\n")
    book = loaded(path)
    book.note_tried(ONE, LATE)
    path.unlink()
    assert book.save() == [] and book.entries() == [] and not path.exists()


def test_what_we_forgot_stays_forgotten_unless_the_person_touched_its_line(path: Path) -> None:
    path.write_text("6001 from=link\n6002 from=link\n")
    book = loaded(path)
    book.forget(ONE)
    book.forget(TWO)
    edit(path, "6001 from=link\n6002 from=you\n")
    book.save()
    assert path.read_text() == "6002 from=you\n"


def test_a_complaint_is_made_once_an_edit(path: Path) -> None:
    path.write_text("6001\nnonsense\n")
    book = AddressBook(path)
    assert len(book.load()) == 1
    book.note_tried(ONE, EARLY)
    assert book.save() == []
    edit(path, "6001\nnonsense\nrubbish\n")
    assert ["line 3" in complaint for complaint in book.save()] == [True]
    assert book.save() == []


def test_a_failed_write_leaves_the_old_file_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("6001\n")
    book = loaded(path)
    book.learn(TWO, "you")

    def fail(source: str, target: str) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            book.save()
    assert path.read_text() == "6001\n" and os.listdir(path.parent) == [path.name]
    assert book.changed and book.save() == []
    assert path.read_text() == "6001\n127.0.0.1:6002  from=you\n"


def test_a_book_kept_elsewhere_through_a_link_stays_there(path: Path) -> None:
    elsewhere = path.with_name("elsewhere.txt")
    path.symlink_to(elsewhere)
    book = loaded(path)
    book.learn(ONE, "you")
    book.save()
    assert path.is_symlink() and known_to(loaded(elsewhere)) == [ONE]


def test_a_book_that_can_not_be_read_says_so_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        AddressBook(tmp_path).load()


# Properties, where hypothesis is installed (it is a development tool)

try:
    from hypothesis import example, given, settings
    from hypothesis import strategies as some
except ImportError:
    pass
else:
    ports = some.integers(1, 65535)
    hosts = some.one_of(
        some.ip_addresses(v=4).map(str),
        some.ip_addresses(v=6).map(str),
        some.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z])?(\.[a-z]{1,9}){0,3}", fullmatch=True),
    )
    near_addresses = some.text(some.sampled_from("0123456789.:[]%abx-#= \t\r\n\x00\u0665"))
    lines = some.one_of(
        some.binary(max_size=40),
        some.sampled_from(
            [b"6001", b"[::1]:6001 from=link", b"6002 x=y # z", b"# \xff", b"", b"\r", b"6001 b=1"]
        ),
    )
    files = some.one_of(some.binary(), some.lists(lines, max_size=12).map(b"\n".join))

    @given(hosts, ports)
    def test_what_an_address_shows_is_what_it_is_read_from(host: str, port: int) -> None:
        address = parse_address(str(Address(host, port)))
        assert parse_address(str(address)) == address

    @given(some.one_of(some.text(some.characters()), near_addresses))
    @example("\ud800:5000")
    def test_any_text_is_an_address_or_a_clear_refusal(text: str) -> None:
        try:
            address = parse_address(text)
        except BadAddress as error:
            assert str(error).isprintable() and str(error).isascii()
        else:
            assert parse_address(str(address)) == address
            is_loopback(address)

    def ours(line: bytes) -> bool:
        try:
            return addresses._read_line(line.decode("utf-8", "surrogateescape")) is not None
        except ValueError:
            return False

    def foreign(content: bytes) -> list[bytes]:
        lines = content.split(b"\n")
        return [line for line in lines[: -1 if not lines[-1] else None] if not ours(line)]

    @settings(deadline=None)  # it waits for the disk
    @given(files, files)
    def test_any_file_is_read_and_every_line_that_is_not_ours_is_kept(
        content: bytes, edited: bytes
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "addresses.txt")
            path.write_bytes(content)
            book = AddressBook(path)
            for complaint in book.load():
                assert complaint.isascii() and complaint.isprintable()
            assert book.save() == [] and path.read_bytes() == content
            book.learn(Address("10.0.0.1", 1), "hearsay")
            for entry in book.entries():
                book.note_tried(entry.address, LATE)
            book.save()
            assert all(entry.tried == LATE for entry in book.entries())
            kept = foreign(content) if content else foreign(addresses.HEADER.encode())
            assert foreign(path.read_bytes()) == kept
            again = AddressBook(path)
            again.load()
            assert again.entries() == book.entries()
            path.write_bytes(edited)
            book.learn(Address("10.0.0.2", 1), "you")
            book.save()
            assert Address("10.0.0.2", 1) in known_to(book)


def test_all_addresses_of_a_subscriber_are_one_site() -> None:
    assert (
        site_of("2a0a:5600:1:2::3") == site_of("2a0a:5600:1:ffff::9") != site_of("2a0a:5600:2::3")
    )
    assert site_of("5.6.7.8") != site_of("5.6.7.9") and site_of("fe80::1%lo") == site_of("fe80::2")
