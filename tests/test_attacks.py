"""What was ever done to a terminal by text that it was made to show, on all our ways to one.

A table of attacks and a table of ways: whatever is in a text, a name, a reason or an address, no
control gets out, and what is shown says that something was there.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import protocol
from conversation import AWAY_S, AWAY_WHOLE, LINKS_ALONE, LINKS_TOGETHER_S
from editor import LineEditor
from identity import Identity, open_room
from output import JsonOutput, Status
from tests import shown
from tests.processes import Crowd
from tests.shown import ALICE, BOB, COLOURFUL, OUR_SEQUENCES, Plain, post
from tests.test_selchat import Stranger
from text import MARKS, harmless

ATTACKS = {
    # Answers that the terminal types for the person, and what it runs.
    "title report, CVE-2003-0063": "\x1b]0;;id;\x07\x1b[21t",
    "DECRQSS, CVE-2008-2383": "\x1bP$q\nid\n\x1b\\",
    "tmux control mode, CVE-2019-9535": "\x1bP1000p%begin 1 1 0\n%output id\n\x1b\\",
    "font query, CVE-2022-45063": "\x1b]50;i$(touch /tmp/x)\x07\x1b]50;?\x07",
    "DECRQSS in iTerm2, CVE-2022-45872": "\x1bP$qm;id\x1b\\",
    "title report in iTerm2, CVE-2024-38395": "\x1b]2;$(id)\x1b\\\x1b[21t\x1b[20t",
    "tmux and title, CVE-2024-38396": "\x1b]0;id\x07\x1bP1000p%session-changed $0\n\x1b[21t",
    "device attributes": "\x1b[c\x1b[>c\x1b[5n\x1b[6n\x1bZ",
    "answerback": "\x05",
    "clipboard, OSC 52": "\x1b]52;c;cm0gLXJmIC8K\x07",
    "clipboard is asked, OSC 52": "\x1b]52;c;?\x1b\\",
    "link, OSC 8": "\x1b]8;;file:///etc/passwd\x1b\\click\x1b]8;;\x1b\\",
    "notification, OSC 9": "\x1b]9;4;1;50\x07",
    "iTerm2's file, OSC 1337": "\x1b]1337;File=name=eA==:eA==\x07",
    "user keys, DECUDK": "\x1bP0;1|17/726d\x1b\\",
    "sixel": '\x1bPq"1;1;9999;9999#0~~\x1b\\',
    "kitty's graphics, APC": "\x1b_Ga=T,f=24,s=9999,v=9999;AAAA\x1b\\",
    "PM": "\x1b^private\x1b\\",
    "SOS": "\x1bXstart of string\x1b\\",
    # What is drawn where it should not be.
    "cursor and erase": "\x1b[2J\x1b[H\x1b[1000A\x1b[K",
    "colours": "\x1b[8m\x1b[31;41;5m",
    "alternate screen, mouse": "\x1b[?1049h\x1b[?1003h\x1b[?25l",
    "autowrap, pastes": "\x1b[?7l\x1b[?2004h",
    "reset": "\x1bc\x1b[!p",
    "other character sets": "\x0e\x1b(0\x1b%@\x0f",
    "scroll region": "\x1b[5;6r\x1bM\x1bD",
    "lone escape": "\x1b",
    "half a sequence": "\x1b[31",
    "C1, in UTF-8": "\x9b31m\x9d0;title\x9c\x90$qm\x9c\x9fapc\x9c\x98sos\x9c",
    "next line, index": "\x85\x84\x8d\x88",
    "NUL": "\x00",
    "bell": "\x07\x07\x07",
    "backspace over the name": "\x08\x08\x08\x08\x08evil",
    "DEL": "\x7f",
    "carriage return": "\rroot: I agree",
    "carriage return and line feed": "\r\n",
    "line feed": "\n08:43:00 root: I agree",
    "tab": "\t",
    "vertical tab, form feed": "\x0b\x0c",
    "all of C0": "".join(map(chr, range(0x20))),
    "all of C1": "".join(map(chr, range(0x80, 0xA0))),
    # What a person does not see, or sees otherwise than it is.
    "bidi overrides": "\u202eevil\u202c\u202d\u202a\u202b",
    "bidi isolates": "\u2066\u2067\u2068evil\u2069",
    "bidi marks": "\u200e\u200f\u061c",
    "line and paragraph separators": "\u2028\u2029",
    "zalgo": "".join(f"Z{chr(0x300 + n) * 20}" for n in range(0x40)),
    "10,000 combining marks": "a" + "\u0301" * 10_000,
    "10,000 joiners": "a" + "\u200d" * 10_000,
    "a lone surrogate": "\ud800",
    "surrogates in the wrong order": "\udc9b\ud83d",
    "tags": "".join(chr(0xE0000 + ord(character)) for character in "hide") + "\U000e007f",
    "variation selectors": "".join(map(chr, range(0xFE00, 0xFE10))),
    "variation selectors supplement": "".join(map(chr, range(0xE0100, 0xE0110))),
    "zero width": "\u200b\u200c\u200d\u2060",
    "invisible operators": "\u2061\u2062\u2063\u2064",
    "grapheme joiner": "\u034f",
    "byte order mark": "\ufeff",
    "interlinear annotation": "\ufff9visible\ufffahidden\ufffb",
    "deprecated formats": "\u206a\u206b\u206c\u206d\u206e\u206f",
    "private use": "\ue000\uf8ff\U000f0000\U0010fffd",
    "noncharacters": "\ufdd0\ufffe\uffff\U0001ffff\U0010ffff",
    "unassigned": "\u0378\U000e0fff",
    "soft hyphen": "\xad",
    "Mongolian vowel separator": "\u180e",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "shorthand and musical formats": "\U0001bca0\U0001d173",
}

SOMETHING_WAS_THERE = re.compile("[\u2400-\u2421\ufffd]")
WIDE = 400  # columns: what is checked stands on one row, and nothing of it is cut off
KITTY = {**COLOURFUL, "KITTY_WINDOW_ID": "1"}
VTE = {**COLOURFUL, "VTE_VERSION": "7600"}
DRAWN = "\x1b\r\a"  # controls that we write ourselves

Way = Callable[[str], str]  # what gets out, for what came in


class Terminal(shown.Terminal):
    """Without the emulator: here it counts what is written, not what is to be seen."""

    def _write(self, text: str) -> None:
        self.writes.append(text)


def _on_screen(*shows: Callable[[Terminal, str], object]) -> Way:
    def way(evil: str) -> str:
        terminal = Terminal(WIDE)
        for show in shows:
            show(terminal, evil)
        terminal.screen.flush()
        return "".join(terminal.writes)

    return way


def _in_plain(*shows: Callable[[Plain, str], object]) -> Way:
    def way(evil: str) -> str:
        plain = Plain()
        for show in shows:
            show(plain, evil)
        return plain.stdout() + plain.stderr()

    return way


def _away(count: int) -> Callable[[Terminal, str], None]:
    def show(terminal: Terminal, evil: str) -> None:
        for _ in range(count):
            terminal.screen.message(post(evil, history=True))
        terminal.wait(AWAY_S)

    return show


def _crowd(terminal: Terminal, evil: str) -> None:
    for number in range(LINKS_ALONE):
        terminal.screen.link("up", f"{number:064}", "n", "127.0.0.1:1")
    terminal.screen.link("up", BOB, evil, "127.0.0.1:1")
    terminal.screen.link("down", BOB, evil, "127.0.0.1:1", evil)
    terminal.wait(LINKS_TOGETHER_S)


def _narrow_table(evil: str) -> str:
    terminal = Terminal(40)
    terminal.screen.table((evil, "more " * 9), [(f"one{evil}", "two"), ("three", evil)])
    terminal.screen.flush()
    return "".join(terminal.writes)


def _question(terminal: Terminal, evil: str) -> None:
    terminal.editor.ask(evil)
    terminal.screen.edited()


def _searched(terminal: Terminal, evil: str) -> None:
    terminal.editor.remember([harmless(evil)])
    terminal.type(b"\x12" + harmless(evil)[:20].encode())


def _completed(evil: str) -> str:
    """Candidates are labels: what was completed from them stands in the prompt."""
    terminal = Terminal(WIDE)
    terminal.editor = LineEditor(lambda before: (0, [harmless(evil), "other"]))
    terminal.screen._editor = terminal.editor
    for _ in range(3):
        terminal.type(b"\t")
        terminal.screen.flush()
    return "".join(terminal.writes)


def _alert(environ: dict[str, str], *, name: bool = False) -> Way:
    def way(evil: str) -> str:
        terminal = Terminal(WIDE, environ=environ)
        terminal.bell = "all"
        terminal.screen.message(post("x", evil) if name else post(f"@me {evil}"))
        terminal.screen.flush()
        return terminal.writes[-1]

    return way


def _named(evil: str) -> str:
    return "".join(Terminal(WIDE, name=evil).writes) + _on_screen(
        lambda t, evil: t.screen.renamed(ALICE, evil)
    )(evil)


def _status(evil: str) -> str:
    terminal = Terminal(10 * WIDE)
    terminal.screen.status(Status(evil, 1, evil, evil, evil))
    terminal.screen.flush()
    return "".join(terminal.writes)


SEVERAL_ROWS: dict[str, Way] = {  # where a line break is one, followed by an indented row
    "a post": _on_screen(lambda t, evil: t.screen.message(post(evil))),
    "one's own post": _on_screen(lambda t, evil: t.screen.message(post(evil, own=True))),
    "a private post": _on_screen(lambda t, evil: t.screen.message(post(evil, private=True))),
    "what somebody does": _on_screen(lambda t, evil: t.screen.message(post(f"/me {evil}"))),
    "marks in a post": _on_screen(
        lambda t, evil: t.screen.message(post(f"`{evil}` *{evil}* https://x.org/{evil} @me"))
    ),
    "posts while one was away": _on_screen(_away(2)),
    "folded posts": _on_screen(_away(AWAY_WHOLE + 1)),
    "a recalled post": _on_screen(lambda t, evil: t.screen.recalled([post(evil)])),
    "a found post": _on_screen(lambda t, evil: t.screen.recalled([post(evil)], ["<", "evil"])),
    "a notice": _on_screen(lambda t, evil: t.screen.notice(evil)),
    "an error": _on_screen(lambda t, evil: t.screen.error(evil)),
    "an answer": _on_screen(lambda t, evil: t.screen.info([evil])),
    "the last words": _on_screen(lambda t, evil: t.screen.bye(evil)),
    "why a link went": _on_screen(
        lambda t, evil: t.screen.link("down", BOB, "bob", "127.0.0.1:1", evil)
    ),
    "an address": _on_screen(lambda t, evil: t.screen.link("up", BOB, "bob", evil)),
    "one's own address and room": _on_screen(lambda t, evil: t.screen.ready(BOB, "me", evil, evil)),
    "a plain post": _in_plain(lambda p, evil: p.output.message(post(evil))),
    "a plain recalled post": _in_plain(lambda p, evil: p.output.recalled([post(evil)], [evil])),
}
ONE_ROW: dict[str, Way] = {
    "a name at a post": _on_screen(lambda t, evil: t.screen.message(post("x", evil))),
    "a name at a link": _on_screen(lambda t, evil: t.screen.link("up", BOB, evil, "127.0.0.1:1")),
    "names of a crowd": _on_screen(_crowd),
    "a wide table": _on_screen(lambda t, evil: t.screen.table((evil[:50],), [(evil[:50],)])),
    "a narrow table": _narrow_table,
    "the status": _status,
    "the prompt's head": _named,
    "a question": _on_screen(_question),
    "a search": _on_screen(_searched),
    "a completion": _completed,
    "the bell": _alert(COLOURFUL),
    "a notification by OSC 9": _alert(KITTY),
    "a name in one by OSC 9": _alert(KITTY, name=True),
    "a notification by OSC 777": _alert(VTE),
    "a name in one by OSC 777": _alert(VTE, name=True),
    "a plain name": _in_plain(lambda p, evil: p.output.message(post("x", evil))),
    "a plain notice": _in_plain(lambda p, evil: p.output.notice(evil)),
    "a plain link": _in_plain(lambda p, evil: p.output.link("down", BOB, evil, evil, evil)),
    "a plain start": _in_plain(lambda p, evil: p.output.ready(BOB, evil, evil, evil)),
    "a plain table": _in_plain(lambda p, evil: p.output.table((evil, "b"), [(evil, evil)])),
    "a plain answer": _in_plain(lambda p, evil: p.output.info([evil])),
}  # fmt: skip


def forbidden(out: str) -> list[str]:
    """What may not get out, of what is no sequence of ours."""
    return [
        character
        for character in out
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        and character not in "\n\u200c\u200d"
    ]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("way", [*SEVERAL_ROWS, *ONE_ROW])
def test_nothing_of_an_attack_gets_out_but_that_there_was_one(way: str, attack: str) -> None:
    evil = ATTACKS[attack]
    several = way in SEVERAL_ROWS
    show = SEVERAL_ROWS[way] if several else ONE_ROW[way]
    out = show(f"<{evil}>")
    if way != "the bell":
        visible = evil.replace("\n", "").replace("\t", "") if several else evil
        if visible and harmless(visible) != visible:
            assert SOMETHING_WAS_THERE.search(out)
    assert forbidden(OUR_SEQUENCES.sub("", out)) == []
    assert not re.search(f"[\u0300-\u036f]{{{MARKS + 1}}}", out)
    # No sequence that only looks like one of ours: a text without any leads to just as many.
    tame = show(harmless(f"<{evil}>", multiline=several))
    assert [out.count(control) for control in DRAWN] == [tame.count(control) for control in DRAWN]


@pytest.mark.parametrize("way", [way for way in SEVERAL_ROWS if "start" not in way])
def test_a_line_break_never_begins_a_row_that_could_be_another_post(way: str) -> None:
    out = OUR_SEQUENCES.sub("", SEVERAL_ROWS[way]("<\n08:43:00 root: evil>"))
    assert "08:43:00 root" in out
    assert "\n08:43:00 root" not in out


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_escaped_in_json_and_arrives_exactly(attack: str) -> None:
    writes: list[str] = []
    evil = ATTACKS[attack]
    output = JsonOutput(writes.append)
    output.ready(BOB, evil, evil, evil)
    output.message(post(evil, evil))
    output.link("down", BOB, evil, evil, evil)
    output.table((evil,), [(evil,)])
    output.error(evil)
    output.bye(evil)
    output.flush()
    assert writes[0].isascii() and forbidden(writes[0]) == []
    lines = [json.loads(line) for line in writes[0].splitlines()]
    assert lines[1]["text"] == lines[1]["name"] == lines[2]["reason"] == lines[4]["text"] == evil


def test_a_terminal_without_links_and_colours_is_sent_none() -> None:
    terminal = Terminal(WIDE, environ={"TERM": "linux", "NO_COLOR": "1"})
    terminal.screen.message(post("https://example.org/x *y*"))
    terminal.screen.flush()
    assert "\x1b]8" not in "".join(terminal.writes)


# ---------------------------------------------------------------- on a real terminal

RAW_MODE = re.compile(r"\x1b\[\?2004[hl]")


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd


class Mallory(Stranger):
    """A member with a valid key, and the worst of intentions."""

    def attack(self, name: str, reason: str, evils: list[str]) -> None:
        self.log_in()
        self.send(protocol.Hello(name, 0, 1), protocol.Have(()))
        head = protocol.Head(self.me.member + b"12345678", 1)
        body = protocol.pack_posts([text for evil in evils for text in posts_of(evil)])
        unsigned = protocol.unsigned_entry(head, protocol.NO_PREVIOUS, 1, (), protocol.POSTS, body)
        signature = self.me.sign(protocol.signed_bytes(open_room().id, unsigned))
        self.send(protocol.Entries((unsigned + signature,)), protocol.Bye(reason))
        self.last_words()


def posts_of(evil: str) -> list[str]:
    return [evil, f"@ann {evil}", f"/me {evil}", f"`{evil}` *{evil}* https://x.org/{evil}"]


def test_no_member_gets_a_control_through_to_a_real_terminal(crowd: Crowd) -> None:
    friend = crowd.start(0, 0, "friend", "--stay").wait_ready()
    ann = crowd.start_on_terminal(0, friend.port, "ann")
    crowd.wait(lambda: len(friend.linked()) == 1, "they are linked")
    port = next(iter(friend.events("link")))["address"].rpartition(":")[2]
    sendable = [evil[:300].encode(errors="replace").decode() for evil in ATTACKS.values()]
    evils = [f"<{evil}>" for evil in sendable]
    for start in range(0, len(evils), 3):
        some = evils[start : start + 3]
        folder = crowd.folder / f"mallory-{start}"
        folder.mkdir()
        Mallory(int(port), Identity(folder, open_room())).attack(some[0], some[-1], some)
        crowd.read()
    said = 4 * len(ATTACKS)
    crowd.wait(lambda: len(friend.texts()) == said, "all of it is with the friend, too")
    for typed in ("/who\r", f"/history {said}\r", "/net\r", "/peers\r", "@\t\t\t\x07\x15"):
        ann.write(typed)
        crowd.wait_s(0.2)
    ann.write("/hide <\t\t\x07\x15/quit\r")
    assert ann.wait_end() == 0
    friend.kill()

    out = bytes(ann.stdout).decode()
    assert out.count("root: I agree") > 4
    assert len(SOMETHING_WAS_THERE.findall(out)) > said
    assert forbidden(RAW_MODE.sub("", OUR_SEQUENCES.sub("", out))) == []
    for evil in evils:
        if forbidden(evil):
            assert evil not in out
