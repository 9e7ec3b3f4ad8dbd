"""Bytes from hell: what must hold whatever comes from the wire, the keyboard or the disk.

    python -m tests.fuzz TARGET --seconds 60    look for bytes that break one target
    python -m tests.fuzz live --bytes 100000000    hell for a running node: see hostile.py

A target is a function from any bytes to nothing; its docstring says what must hold, and it
raises if that does not. `tests/corpus/TARGET/` keeps bytes that reach different code, found
by atheris (a fuzzer guided by coverage; `pip install atheris`, it is no part of
`make setup`) or written by hand. The tests replay them, and try bytes near them. More:

    python -m tests.fuzz TARGET --seconds 600 --into FOLDER    what reaches new code
    python -m tests.fuzz TARGET --merge FOLDER    take from there what the corpus lacks

Without atheris, hypothesis tries bytes near those of the corpus, blind to coverage.

Lives here: the targets, and how they are run. Never here: sockets (see hostile.py).
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
import tempfile
import textwrap
import time
import unicodedata
from base64 import b32encode
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, ModuleType, SimpleNamespace
from typing import Any, cast

import addresses
import buffer
import commands
import completion
import editor as editor_module
import events
import identity
import invite as invite_module
import journal
import keys as keys_module
import layout
import look
import lookalikes
import net
import output as output_module
import protocol
import screen as screen_module
import search
import settings
import terminal
import text as text_module
import when
from acquaintances import Acquaintances
from addresses import AddressBook, BadAddress
from editor import LineEditor
from identity import BadKey, Identity
from journal import Journal, JournalError
from lines import LineReader
from link import Failed, Gate, Link, Shared
from output import JsonOutput, PlainOutput
from protocol import Bye, Frames, Head, Message, RemoteError
from screen import Screen
from tests.shown import OUR_SEQUENCES

Target = Callable[[bytes], None]
TraceFunction = Callable[[FrameType, str, Any], Any]

CORPUS = Path(__file__).resolve().parent / "corpus"
OURS: tuple[ModuleType, ...] = (
    addresses, buffer, commands, completion, editor_module, events, identity, invite_module,
    journal, keys_module, layout, look, lookalikes, net, output_module, protocol, screen_module,
    search, settings, terminal, text_module, when
)  # fmt: skip
MAX_BYTES = 4096  # of one input: longer ones reach no other code, and fill the corpus
# Characters that turn the direction of the text around them (Unicode's Bidi_Control).
TURNERS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ALICE, BOB = "a1" * 32, "b2" * 32

# ---------------------------------------------------------------- bytes to other things


class Fields:
    """Takes fields off the front of any bytes; what is missing is zero, or empty."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def take(self, count: int) -> bytes:
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def number(self, width: int = 1) -> int:
        return int.from_bytes(self.take(width), "big")

    def text(self) -> str:
        """Of up to 255 bytes."""
        return as_text(self.take(self.number()))

    def rest(self) -> bytes:
        return self.take(len(self._rest))


def as_text(data: bytes) -> str:
    """Any bytes as text; what is no UTF-8 becomes lone surrogates, which are worse."""
    return data.decode(errors="surrogateescape")


def pieces(data: bytes, sizes: bytes) -> Iterator[bytes]:
    """`data` cut into pieces, as long as `sizes` say, again and again."""
    at = turn = 0
    while at < len(data):
        size = 1 + (sizes[turn % len(sizes)] if sizes else 0)
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def can_harm(shown: str, *, allowed: str = "") -> bool:
    """Whether a terminal would obey something in it, or a person could not see it."""
    return any(
        character not in allowed
        and (
            unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp")
            or character in TURNERS
        )
        for character in shown
    )


@cache
def folder() -> Path:
    """For files, in memory where this machine has such a place: syncs are slow."""
    memory = Path("/dev/shm")
    kept = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
    _folders.append(kept)  # gone when the process ends
    return Path(kept.name)


_folders: list[tempfile.TemporaryDirectory[str]] = []


# ---------------------------------------------------------------- the wire


def messages_in(parts: list[bytes]) -> tuple[list[Message], str]:
    """The messages in a stream, and what broke it."""
    reader, got = Frames(), []
    try:
        for part in parts:
            for message in reader.feed(part):
                got.append(message)
    except RemoteError as error:
        return got, str(error)
    return got, ""


def check_message(message: Message) -> None:
    frame = protocol.encode(message)
    assert len(frame) <= protocol.MAX_FRAME_BYTES + 4
    again = list(Frames().feed(frame))
    if isinstance(message, Bye):  # cut to its limit, and what is no UTF-8 replaced
        assert len(message.reason) <= protocol.MAX_REASON_BYTES
        [message] = again
        again = list(Frames().feed(protocol.encode(message)))
    assert again == [message]
    assert not can_harm(events.describe(events.MessageReceived(1, message)))


def frames(data: bytes) -> None:
    """However a stream is cut, the same messages come out of it, and the same RemoteError."""
    fields = Fields(data)
    sizes, stream = fields.take(4), fields.rest()
    whole = messages_in([stream])
    assert messages_in(list(pieces(stream, sizes))) == whole
    for message in whole[0]:
        check_message(message)


def message(data: bytes) -> None:
    """Of any kind and body: a message whose own frame brings it back, or a RemoteError."""
    got, broken = messages_in([len(data).to_bytes(4, "big") + data])
    assert len(got) + bool(broken) <= 1
    for message in got:
        check_message(message)


def entry(data: bytes) -> None:
    """An entry that its own fields make again to the byte, or a RemoteError."""
    try:
        parsed = protocol.parse_entry(data)
    except RemoteError:
        return
    assert parsed.raw == data and parsed.log.startswith(parsed.author)
    head = Head(parsed.log, parsed.seq)
    again = protocol.unsigned_entry(
        head, parsed.previous, parsed.time_ms, parsed.heads, parsed.kind, parsed.body
    )
    if parsed.time_ms < protocol.MAX_TIME_MS:  # a later one is taken for that
        assert again + parsed.signature == data
    assert not can_harm(events.describe(parsed))


def posts(data: bytes) -> None:
    """Texts that, packed again, are the same texts in bursts within the limits, or a
    RemoteError."""
    try:
        texts = protocol.unpack_posts(data)
    except RemoteError:
        return
    again = []
    for kind, body in protocol.pack_bursts(texts):
        lines = kind == protocol.LINES
        burst = protocol.unpack_lines(body)[0].split("\n") if lines else protocol.unpack_posts(body)
        assert len(body) <= protocol.MAX_BODY_BYTES and len(burst) <= protocol.MAX_POSTS
        again += burst
    assert again == texts


@cache
def member() -> Identity:
    return Identity(folder(), identity.open_room())


@cache
def gate() -> Gate:
    room = identity.open_room()
    contexts = member().tls_contexts()
    return Gate(room.knock, room.is_knock, *contexts, identity.member_of, Shared())


def way_in(data: bytes) -> None:
    """Who has no key of the room never gets in, however the bytes come; and of a failed
    link no more than one Failed is told, as the last."""
    fields = Fields(data)
    dialed, knocks, sizes = fields.number() % 2 == 1, fields.number() % 2 == 1, fields.take(4)
    challenge = bytes(16)
    link = Link(gate(), dialed=dialed, challenge=b"" if dialed else challenge)
    stream = fields.rest()
    if knocks:  # and so gets as far as TLS
        stream = (challenge if dialed else gate().knock(challenge)) + stream
    for piece in pieces(stream, sizes):
        got = link.receive(piece)
        assert all(isinstance(event, Failed) for event in got) and len(got) <= 1
        link.sent(len(link.outgoing()))
        if got:
            assert not can_harm(cast(Failed, got[0]).reason)
            return


# ---------------------------------------------------------------- keys


def certificate(data: bytes) -> None:
    """Any DER has a member's key in it, or not; it is never another error."""
    found = identity.member_of(data)
    assert found is None or (len(found) == protocol.MEMBER_BYTES and found in data)


def key_file(data: bytes) -> None:
    """A key file holds a key, which is the same at the next start, or it is a BadKey."""
    path = folder() / "keys" / "key.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        found = Identity(path.parent, identity.open_room())
    except BadKey:
        return
    assert path.read_bytes() == data
    assert Identity(path.parent, identity.open_room()).member == found.member
    signed = found.sign(b"hello")
    assert identity.verify(found.member, signed, b"hello")


def signature(data: bytes) -> None:
    """No made-up key or signature is an error, and of a true one no byte may be another."""
    fields = Fields(data)
    author, signed = fields.take(fields.number()), fields.take(fields.number())
    where, change, said = fields.number(), fields.number(), fields.rest()
    assert identity.verify(author, signed, said) in (True, False)  # small keys verify anything
    true = bytearray(member().sign(said))
    assert identity.verify(member().member, bytes(true), said)
    true[where % len(true)] ^= change
    assert identity.verify(member().member, bytes(true), said) == (change == 0)


# ---------------------------------------------------------------- addresses


def address(data: bytes) -> None:
    """An address that reads its own spelling as itself, or a BadAddress whose text is one
    short line of plain ASCII."""
    try:
        parsed = addresses.parse_address(as_text(data))
    except BadAddress as error:
        assert str(error).isascii() and str(error).isprintable()
        assert len(str(error)) < 4 * addresses.MAX_QUOTED_CHARACTERS
        return
    assert addresses.parse_address(str(parsed)) == parsed
    assert str(parsed).isascii() and str(parsed).isprintable() and " " not in str(parsed)
    addresses.is_loopback(parsed)


def address_book(data: bytes) -> None:
    """Any file is read, with a complaint a broken line. What is learned is saved beside what
    was there; no other line is touched, and the next start reads the same."""
    path = folder() / "addresses.txt"
    path.write_bytes(data)
    book = AddressBook(path)
    complaints = book.load()
    assert book.save() == [] and path.read_bytes() == data
    learned = addresses.parse_address("127.0.0.1:5000")
    book.learn(learned, "link", ALICE)
    book.note_tried(learned, "2026-11-22T08:43:00Z")
    complaints += book.save()
    assert all(can_harm(complaint) is False for complaint in complaints)
    if len(data) > addresses.MAX_FILE_BYTES:
        assert path.read_bytes() == data
        return
    lines, kept = Counter(data.split(b"\n")), Counter(path.read_bytes().split(b"\n"))
    lines.pop(b"", None)  # that behind the last line feed
    assert (lines - kept).total() <= 1  # the one line of the address that was learned
    again = AddressBook(path)
    again.load()
    assert again.entries() == book.entries()
    assert any(known.address == learned and known.tried for known in again.entries())


def invite(data: bytes) -> None:
    """Any text holds an invite that its own line brings back, however that line is broken, or
    it is a BadInvite whose text is one line of plain ASCII. So does any payload whose check is
    right."""
    fields = Fields(data)
    check_invite(as_text(data))
    columns, mark = fields.number() % 100 + 1, fields.number()
    payload = fields.rest()
    rest = b32encode(payload + invite_module._check_of(payload)).decode().rstrip("=").lower()
    if len(rest) < 1024:
        line = "selchat1" + invite_module._header(len(rest)) + rest
        check_invite(("\n", "=\n", "\r\n> ")[mark % 3].join(textwrap.wrap(line, columns)))


def check_invite(text: str) -> None:
    means_one = invite_module.is_invite(text)
    try:
        found = invite_module.read(text)
    except invite_module.BadInvite as error:
        assert str(error).isascii() and str(error).isprintable()
        return
    assert means_one
    line = invite_module.write(found)
    assert invite_module.is_invite(line) and invite_module.read(line) == found
    assert line.isalnum() and line.isascii() and len(line) < 1024 + len("selchat1") + 4
    assert invite_module.room_fault(found.room) == "" and not can_harm(found.room)
    assert "/" not in found.room and found.room not in ("", ".", "..")


# ---------------------------------------------------------------- keys typed, lines piped


def keys(data: bytes) -> None:
    """Whatever is typed, in whatever reads: the same lines, within their limit, with the
    cursor in the line, and a view of it that fits its row and harms no terminal."""
    fields = Fields(data)
    columns, sizes, typed = fields.number(), fields.take(4), fields.rest()
    rows, head_cells = columns % 7 + 1, columns % 11
    whole, cut = LineEditor(_complete), LineEditor(_complete)
    got = whole.feed(typed, 0.0)
    assert [key for piece in pieces(typed, sizes) for key in cut.feed(piece, 0.0)] == got
    assert (cut.text, cut.cursor) == (whole.text, whole.cursor)
    for line in (whole.text, *(key.text for key in got if isinstance(key, editor_module.Line))):
        assert len(line) <= buffer.LINE_CHARACTERS
        assert len(line.encode()) <= protocol.MAX_POST_BYTES
        assert "\x1b" not in line
    assert whole.cursor in text_module.edges(whole.text)
    view = whole.view(columns, rows, head_cells)
    assert cut.view(columns, rows, head_cells) == view and cut.hint() == whole.hint()
    assert len(view.rows) <= rows and min(view.above, view.below) >= 0
    assert not can_harm("".join(view.rows))
    assert view.rows[view.cursor_row].startswith(view.before)
    for index, row in enumerate(view.rows):
        head = layout.INDENT if index or view.above else head_cells
        assert not row or head + text_module.cells_of(row) < columns
    hint = whole.hint()
    assert hint is None or not can_harm(hint.text + "".join(hint.choices))


def _complete(before: str) -> tuple[int, list[str]]:
    """Any word may be meant: as it is, or twice, or turned around."""
    start = before.rfind(" ") + 1
    word = before[start:]
    return start, [word, word + word, word[::-1]][: len(word)]


def lines(data: bytes) -> None:
    """Whatever is piped in, in whatever reads: the same lines, none much over the limit."""
    fields = Fields(data)
    limit, sizes, piped = fields.number(), fields.take(4), fields.rest()
    whole, cut = LineReader(limit), LineReader(limit)
    got = whole.feed(piped) + whole.end()
    assert [line for piece in pieces(piped, sizes) for line in cut.feed(piece)] + cut.end() == got
    expected = piped.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert got == [line[: limit + 1].decode(errors="replace") for line in expected]


class _Noted:
    """Stands for a user, and notes what a command makes of it."""

    def __init__(self) -> None:
        self.noted: list[object] = []
        self.member = bytes(32)
        self.stdout = SimpleNamespace(full=False)
        self.settings = settings.Settings(folder() / "settings.json")
        self.roster = SimpleNamespace(
            find=lambda name: [bytes.fromhex(BOB)] if name == "bob" else [],
            label=bytes.hex,
            others=lambda: [bytes.fromhex(BOB)],
            among=lambda ids, name: [],
        )
        self.room = identity.open_room()
        self.acquaintances = Acquaintances(folder() / "members.json", ALICE)
        self.book = AddressBook(folder() / "none.txt")
        self.archive = SimpleNamespace(last=self._last, search=self._note, catch_up=self._note)

    def __getattr__(self, name: str) -> Any:
        """Whatever a command tells or asks: `user.output.error(...)`."""
        if name in ("output", "node", "mesh", "contacts", "kept"):
            return self
        if name in ("members", "known"):
            return {}
        return self._note

    def _note(self, *args: object, **more: object) -> None:
        self.noted.append(args)

    def _last(self, posts: int, *, authors: frozenset[bytes] | None, since_ms: int | None) -> Any:
        assert 0 <= posts <= commands.ALL and authors != frozenset()
        assert since_ms is None or abs(since_ms) < 10**15
        yield None

    def begin(self, errand: Any, doing: str) -> None:
        self.noted.append(doing)
        if doing == "reading the history":
            next(errand)


def command(data: bytes) -> None:
    """What begins with a slash does one thing or says why not, and is never a post; what may
    complete it is harmless, and begins somewhere in it."""
    user, text = _Noted(), as_text(data)
    if not text.startswith(("who", "net", "peers", "export")):  # which look into a node, and files
        commands.run(cast(Any, user), "/" + text)
        assert user.noted
    if not text.startswith("export"):
        start, candidates = commands.complete(cast(Any, user), "/" + text)
        assert 0 <= start <= len(text) + 1
        assert not any(can_harm(candidate) for candidate in candidates)


# ---------------------------------------------------------------- what is shown


def _utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _tell(output: output_module.Output, fields: Fields) -> output_module.Message:
    """Tells an output of everything there is, in evil words."""
    flags, time_ms = fields.number(), fields.number(8) - 2**63
    name, other = fields.text(), fields.text()
    text = as_text(fields.rest())
    output.ready(ALICE, name, text, other)
    one = output_module.Message(
        other, BOB, name, time_ms, text, bool(flags & 1), bool(flags & 2), bool(flags & 4)
    )
    output.message(one)
    output.message(output_module.Message("", ALICE, other, 0, text, False, True))
    output.link("up", BOB, name, other)
    output.link("down", BOB, name, other, text)
    output.recalled([one], [text, other])
    output.status(output_module.Status(name, 1, text, other, text))
    output.table((name, other), [(text, name)])
    output.figure([text, name], other)
    output.renamed(ALICE, name)
    output.confirmed(other, [text])
    output.notice(text)
    output.warning(text)
    output.error(text)
    output.info([text, other])
    output.bye(text)
    return one


def screen(data: bytes) -> None:
    """Nothing of what anybody says or types reaches the terminal but what is harmless: all
    control sequences are our own. The row of the prompt is never too long."""
    fields = Fields(data)
    columns, typed, colours = fields.number(), fields.take(fields.number()), fields.number() % 2
    editor, writes = LineEditor(), cast(list[str], [])
    environ = {"TERM": "xterm-256color"} | ({} if colours else {"NO_COLOR": "1"})
    one = Screen(
        writes.append,
        lambda: (columns, 24),
        editor,
        _utc,
        text_module.Names(),
        date(2026, 11, 22),
        "me",
        terminal.Terminal(environ),
        lambda: 0.0,
        lambda: "all",
    )
    editor.feed(typed, 0.0)
    _tell(one, fields)
    one.flush()
    drawn = next(text for text in reversed(writes) if "\x1b[?7l" in text)
    region = drawn.rpartition("\x1b[?7l")[2]
    width = max(columns or screen_module.UNKNOWN_COLUMNS, 4)
    for row in OUR_SEQUENCES.sub("", region.rpartition("\r")[0]).split("\n"):
        assert text_module.cells_of(row) < width
    one.close()
    shown = OUR_SEQUENCES.sub("", "".join(writes))
    assert not can_harm(shown, allowed="\n")
    shown.encode()


def plain(data: bytes) -> None:
    """As on a screen, without any control sequence. A post is one line, and those that go
    on are indented, so that none passes for two."""
    posts, notices = cast(list[str], []), cast(list[str], [])
    one = PlainOutput(posts.append, notices.append, _utc, text_module.Names())
    _tell(one, Fields(data))
    one.flush()
    assert not can_harm("".join(posts) + "".join(notices), allowed="\n")
    starts = [line for line in posts[0].split("\n") if line and not line.startswith("    ")]
    assert len(starts) == 3
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in starts)


def json_lines(data: bytes) -> None:
    """An event is one line of ASCII, which reads back as exactly what was said."""
    writes: list[str] = []
    output = JsonOutput(writes.append)
    told = _tell(output, Fields(data))
    output.flush()
    assert writes[0].isascii() and not can_harm(writes[0], allowed="\n")
    read = [json.loads(line) for line in writes[0].splitlines()]
    assert len(read) == 14
    said, again = (e for e in read if e["event"] == "message" and e["id"] == BOB)
    assert said == again
    assert (said["text"], said["name"], said["ref"]) == (told.text, told.name, told.ref)
    datetime.fromisoformat(said["time"])


def names(data: bytes) -> None:
    """Any two names: labels that fit, harm no terminal, and do not look alike."""
    fields = Fields(data)
    one, other = fields.text(), fields.text()
    called = text_module.Names()
    for _ in range(2):  # the first one's label may change when the second comes
        labels = [called.label_of(one, ALICE), called.label_of(other, BOB)]
    for label in labels:
        assert label.strip() and not can_harm(label)
        assert text_module.cells_of(label) <= text_module.NAME_CELLS + len("~1a2b")
    assert set(lookalikes.keys(labels[0])).isdisjoint(lookalikes.keys(labels[1]))


# ---------------------------------------------------------------- the database


@cache
def _journal_files() -> dict[str, bytes]:
    """A small journal of two members, as its files."""
    path = folder() / "made" / "journal.db"
    path.parent.mkdir()
    logs = [bytes.fromhex(ALICE) + bytes(8), bytes.fromhex(BOB) + bytes(8)]
    made = Journal(path, lambda entry: True)
    made.own_log(bytes.fromhex(ALICE), bytes(8))
    made.write([(protocol.NAME, b"alice")], 1, lambda unsigned: bytes(64))
    for seq, previous in ((1, protocol.NO_PREVIOUS), (1, protocol.NO_PREVIOUS), (3, b"p" * 32)):
        heads = (Head(logs[0], 1),) if seq == 1 else (Head(b"c" * 40, 7),)
        body = protocol.pack_posts(["hello", f"{seq}"])
        head = Head(logs[1], seq)
        raw = protocol.unsigned_entry(head, previous, 5, heads, protocol.POSTS, body)
        made.append((raw + bytes(64),))
    made.write([(protocol.POSTS, protocol.pack_posts(["bye"]))], 9, lambda unsigned: bytes(64))
    made.close()
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def database(data: bytes) -> None:
    """Of a damaged journal (any file, or a good one with any bytes changed) all that can be
    asked is answered, or a JournalError."""
    place = folder() / "journal"
    place.mkdir(exist_ok=True)
    for file in place.iterdir():
        file.unlink()
    fields = Fields(data)
    how = fields.number()
    for name, content in _journal_files().items():
        (place / name).write_bytes(content)
    path = place / "journal.db"
    if how == 1:
        path.write_bytes(fields.rest())
    elif how == 2:
        (place / "journal.seal").write_bytes(fields.rest())
    elif how == 3:
        (place / "journal.db-wal").write_bytes(fields.rest())
    elif how == 4:
        path.write_bytes(path.read_bytes()[: fields.number(2)] + fields.rest())
    else:
        patched = bytearray(path.read_bytes())
        while rest := fields.take(4):  # where, and what
            where = int.from_bytes(rest[:2], "big") % len(patched)
            patched[where : where + 2] = rest[2:4].ljust(2, b"\0")
        path.write_bytes(patched)
    try:
        _read_all(Journal(path, lambda entry: True))
    except JournalError as error:
        assert len(str(error)) > len(str(path))
    except RemoteError as error:
        raise AssertionError("our own file is no far end's fault") from error


def _read_all(opened: Journal) -> None:
    try:
        log = opened.own_log(bytes.fromhex(ALICE), b"8 bytes.")
        for known, seq in opened.frontier().items():
            for found in opened.entries(known, 0, seq):
                opened.name_of(found.author)
            opened.run(known, 0)
        opened.history(10)
        opened.placed_after(0, 10)
        opened.write([(protocol.NAME, b"new")], 10, lambda unsigned: bytes(64))
        opened.commit()
        opened.run(log, 0)
    finally:
        opened.close()


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        frames,
        message,
        entry,
        posts,
        way_in,
        certificate,
        key_file,
        signature,
        address,
        address_book,
        invite,
        keys,
        lines,
        command,
        screen,
        plain,
        json_lines,
        names,
        database,
    )
}


# ---------------------------------------------------------------- running them


def corpus_of(target: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir())]


def near(corpus: list[bytes]) -> Any:
    """A strategy for hypothesis: any bytes, and those of the corpus with a part replaced."""
    from hypothesis import strategies as st

    def replaced(data: bytes, where: int, count: int, by: bytes) -> bytes:
        at = where % (len(data) + 1)
        return data[:at] + by + data[at + count :]

    changed = st.builds(
        replaced,
        st.sampled_from(corpus),
        st.integers(0, MAX_BYTES),
        st.integers(0, 9),
        st.binary(max_size=9) | st.sampled_from(corpus),
    )
    return st.binary(max_size=300) | changed


def _run_guided(atheris: Any, target: str, options: list[str]) -> None:
    """Does not return."""
    for module in OURS:
        for owner in (module, *_classes_in(module)):
            for name, value in list(vars(owner).items()):
                if inspect.isfunction(value) and value.__module__ == module.__name__:
                    setattr(owner, name, atheris.instrument_func(value))
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


def _classes_in(module: ModuleType) -> list[type]:
    found = [value for value in vars(module).values() if inspect.isclass(value)]
    return [value for value in found if value.__module__ == module.__name__]


def _run_blind(target: str, seconds: float) -> None:
    from hypothesis import HealthCheck, given, settings

    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        tries = settings(
            max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        tries(given(near(corpus_of(target)))(TARGETS[target]))()
        rounds += 1
    print(f"{target}: nothing found in {rounds * 500} tries without coverage")


def _merge(target: str, found: Path) -> None:
    """Keeps what was put there by hand (it has a name that says what it is), and of the
    rest, and of `found`, what reaches more than all smaller ones."""
    by_hand = [file.read_bytes() for file in (CORPUS / target).iterdir() if "-" in file.name]
    kept: list[bytes] = []
    reached: set[tuple[CodeType, int, int]] = set()

    def trace(frame: FrameType, what: str, _: object) -> TraceFunction | None:
        """Notes whether each line ran once, or more often."""
        if frame.f_code.co_filename not in files:
            return None
        if what == "line":
            runs[frame.f_code, frame.f_lineno] += 1
        return trace

    files = {module.__file__ for module in OURS}
    places = (CORPUS / target, found)
    inputs = {file.read_bytes() for place in places for file in place.iterdir()} - {*by_hand}
    for data in by_hand + sorted(inputs, key=lambda data: (len(data), data)):
        runs: Counter[tuple[CodeType, int]] = Counter()
        sys.settrace(trace)
        try:
            TARGETS[target](data)
        finally:
            sys.settrace(None)
        news = {(code, line, min(count, 2)) for (code, line), count in runs.items()}
        if not news <= reached:
            reached |= news
            kept += [data] if data in inputs else []
    for file in (CORPUS / target).iterdir():
        if "-" not in file.name:
            file.unlink()
    for data in kept:
        (CORPUS / target / sha256(data).hexdigest()[:12]).write_bytes(data)
    print(f"{target}: {len(by_hand)} by hand, {len(kept)} of {len(inputs)} kept")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("target", choices=[*TARGETS, "live"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--into", metavar="FOLDER", help="keep there what reaches new code")
    parser.add_argument("--merge", metavar="FOLDER", help="take from there, and end")
    parser.add_argument("--bytes", type=int, default=100_000_000, help="live: how many to send")
    parser.add_argument("--seed", type=int, default=1, help="live: of all that is random")
    parser.add_argument("--only", default="", help="live: the weapons with this in their name")
    parser.add_argument("--profile", action="store_true", help="live: what the longest turn did")
    args = parser.parse_args(arguments)
    if args.target == "live":
        from tests import hostile

        return hostile.main(args.bytes, args.seed, args.profile, args.only)
    if args.merge:
        _merge(args.target, Path(args.merge))
        return 0
    ours = CORPUS / args.target
    try:
        atheris: Any = import_module("atheris")
    except ImportError:
        print("there is no atheris here: trying bytes near the corpus, without coverage")
        _run_blind(args.target, args.seconds)
        return 0
    options = [f"-max_len={MAX_BYTES}"]
    Path(args.into).mkdir(parents=True, exist_ok=True) if args.into else None
    options.append(f"-max_total_time={args.seconds:.0f}")
    _run_guided(atheris, args.target, [*options, *filter(None, [args.into]), str(ours)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
