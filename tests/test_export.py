"""export.py: whole files or none, and nothing in them that others could have meant to do harm."""

from __future__ import annotations

import html.parser
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import export
import protocol
from archive import Archive
from errands import finish
from export import BadFile, Source, Target, target_of, write
from journal import Journal
from output import JsonOutput
from protocol import NAME, POSTS
from tests.shown import has_controls, utc
from tests.test_journal import ALICE, ME, Author, opened, sign
from tests.test_search import say

DAY_MS = 86_400_000
ENDINGS = [".txt", ".json", ".jsonl", ".html", ".svg"]
EVIL = (
    "<script>alert(1)</script>",
    "]]> & &amp; <!-- -->",
    "\x1b[2J\x1b]0;title\x07 \x00\x7f\x9b31m",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200b",
    "two\nlines\r\nand\ttabs 12:00:00 alice: not me",
    "[bold]no markup[/bold] :smile: http://example.com/",
    '"><img src=x onerror=alert(1)> \' " `',
    "</div></body></html>",
    "\ud83d\ude00\U000e0041".encode(errors="replace").decode() + "😀👍🏽\u200d",
    "\ufffe\uffff\x0b\x0c\x85\u2028\u2029",
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "data").mkdir()
    journal = opened(tmp_path / "data")
    yield journal
    journal.close()


@pytest.fixture
def source(journal: Journal, tmp_path: Path) -> Source:
    return Source(Archive(journal, tmp_path / "data" / "search.index", ME), "open", utc)


def exported(path: Path, source: Source) -> str:
    finish(write(target_of(str(path)), source))
    return path.read_text(encoding="utf-8")


def left_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name != "data")


def named(journal: Journal, name: str, *texts: str) -> None:
    alice = Author(ALICE)
    alice.says(kind=NAME, body=name.encode())
    for number, text in enumerate(texts):
        alice.says(text, time_ms=10 * DAY_MS + number)
    journal.append(alice.run)


# ---------------------------------------------------------------- what is in each


def test_a_text_has_plain_lines_and_a_heading_for_each_day(
    journal: Journal, source: Source, tmp_path: Path
) -> None:
    alice = Author(ALICE)
    alice.says(kind=NAME, body=b"alice")
    alice.says("one", "two\nlines", time_ms=10 * DAY_MS + 1000)
    alice.says("three", time_ms=12 * DAY_MS)
    journal.append(alice.run)
    assert exported(tmp_path / "room.txt", source) == (
        "-- Sunday 11 January 1970 --\n"
        "00:00:01 alice: one\n"
        "00:00:01 alice: two\n    lines\n"
        "-- Tuesday 13 January 1970 --\n"
        "00:00:00 alice: three\n"
    )


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".JSON"])
def test_json_has_the_messages_of_the_contract_in_a_list_or_one_a_line(
    journal: Journal, source: Source, tmp_path: Path, ending: str
) -> None:
    named(journal, "alice", *EVIL)
    expected: list[str] = []
    output = JsonOutput(expected.append)
    for messages in source.archive.all():
        for message in messages:
            output.message(message)
    output.flush()
    text = exported(tmp_path / f"room{ending}", source)
    if ending == ".jsonl":
        assert text == "".join(expected)
        assert [json.loads(line)["text"] for line in text.splitlines()] == list(EVIL)
    else:
        assert json.loads(text) == [json.loads(line) for line in "".join(expected).splitlines()]


class Page(html.parser.HTMLParser):
    """A page as a browser takes it apart."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.posts: list[str] = []
        self.headings: list[str] = []
        self._into: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag in ("div", "h2"):
            self._into = self.posts if tag == "div" else self.headings
            self._into.append("")

    def handle_data(self, data: str) -> None:
        if self._into:
            self._into[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("div", "h2"):
            self._into = []


def test_a_page_has_each_post_as_plain_output_shows_it_and_loads_nothing(
    journal: Journal, source: Source, tmp_path: Path
) -> None:
    named(journal, "<b>alice</b> & \x1b[31m", *EVIL)
    text = exported(tmp_path / "room.html", source)
    plain = exported(tmp_path / "room.txt", source)
    page = Page(text)
    assert page.headings == ["Sunday 11 January 1970"]
    assert [f"{post}\n".replace("\n    ", "\n") for post in page.posts] == [
        f"{post}\n".replace("\n    ", "\n")
        for post in re.split(r"\n(?=\d\d:)", plain.removesuffix("\n"))[1:]
    ]
    assert page.tags == {"html", "head", "meta", "title", "style", "body", "h2", "div", "span"}
    assert page.attributes == {"charset", "http-equiv", "content", "style"}
    assert not has_controls(text, allowed="\n")
    assert "url(" not in text and "@import" not in text


def test_a_picture_is_sound_xml_and_loads_nothing(
    journal: Journal, source: Source, tmp_path: Path
) -> None:
    named(journal, "<b>alice</b> & \x1b[31m", *EVIL)
    text = exported(tmp_path / "room.svg", source)
    root = ElementTree.fromstring(text)
    assert {element.tag.partition("}")[2] for element in root.iter()} <= {
        "svg", "style", "defs", "clipPath", "rect", "g", "text", "circle", "path"
    }  # fmt: skip
    for element in root.iter():
        assert not any("href" in name or name.startswith("on") for name in element.attrib)
    assert "url(" not in text.replace("url(#selchat-", "") and "@font-face" not in text
    shown = "".join(root.itertext())
    assert "alert(1)" in shown and "Sunday" in shown
    assert not has_controls(text, allowed="\n")


def test_a_picture_has_the_last_posts_only(
    journal: Journal, source: Source, tmp_path: Path
) -> None:
    named(journal, "alice", *(f"post-{number}-" for number in range(150)), "x" * 40_000, "\n" * 999)
    path = tmp_path / "room.svg"
    content = finish(write(target_of(str(path)), source))
    assert content == f"the last posts only: {2 + export.SVG_ROWS - 2 * export.SVG_POST_ROWS}"
    text = path.read_text()
    assert "post-149-" in text and "post-70-" in text and "post-69-" not in text
    assert text.count("<text") < export.SVG_ROWS * 4 and len(text) < 500_000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5), st.text(max_size=30))
def test_whatever_is_said_every_kind_of_file_is_sound(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], name: str
) -> None:
    folder = tmp_path_factory.mktemp("export")
    journal = opened(folder)
    said = [text.encode(errors="replace").decode() for text in said]
    named(journal, name.encode(errors="replace").decode(), *said)
    source = Source(Archive(journal, folder / "search.index", ME), name, utc)
    lines = exported(folder / "a.jsonl", source).splitlines()
    assert [json.loads(line)["text"] for line in lines] == said
    assert [post["text"] for post in json.loads(exported(folder / "a.json", source))] == said
    page = exported(folder / "a.html", source)
    assert len(Page(page).posts) == len(said)
    ElementTree.fromstring(exported(folder / "a.svg", source))
    text = exported(folder / "a.txt", source)
    assert len(re.findall(r"^\d\d:\d\d:\d\d ", text, re.MULTILINE)) == len(said)
    assert not has_controls(page + text, allowed="\n")
    journal.close()


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_is_for_its_owner_only_and_nothing_is_left_beside_it(
    journal: Journal, source: Source, tmp_path: Path, ending: str
) -> None:
    say(journal, ALICE, "one", "two")
    path = tmp_path / f"room{ending}"
    content = finish(write(target_of(str(path)), source))
    assert content == ("the last posts only: 2" if ending == ".svg" else "posts: 2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert left_in(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("old", [None, "old"])
def test_what_is_stopped_at_any_step_leaves_everything_as_it_was(
    journal: Journal, source: Source, tmp_path: Path, ending: str, old: str | None
) -> None:
    say(journal, ALICE, "one", "two", "three")
    path = tmp_path / f"room{ending}"
    if old:
        path.write_text(old)
    before = left_in(tmp_path)
    steps = 0
    while True:
        errand = write(target_of(str(path)), source)
        if any(next(errand, "done") == "done" for _ in range(steps)):
            break
        errand.close()
        assert left_in(tmp_path) == before
        assert not old or path.read_text() == old
        steps += 1
    assert steps > 3 and path.stat().st_size > 20 and left_in(tmp_path) == [path.name]


def test_an_error_leaves_no_file_behind(
    journal: Journal, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, ALICE, "one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        finish(write(target_of(str(tmp_path / "room.txt")), source))
    assert left_in(tmp_path) == []


def test_a_folder_that_is_not_there_is_an_error(source: Source, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        finish(write(target_of(str(tmp_path / "missing" / "room.txt")), source))


def test_an_old_file_is_replaced_only_if_it_was_asked_about(
    journal: Journal, source: Source, tmp_path: Path
) -> None:
    say(journal, ALICE, "one")
    path = tmp_path / "room.txt"
    target = target_of(str(path))
    assert not target.exists
    path.write_text("made meanwhile")
    with pytest.raises(BadFile, match="meanwhile"):
        finish(write(target, source))
    assert path.read_text() == "made meanwhile" and left_in(tmp_path) == ["room.txt"]
    path.chmod(0o644)
    target = target_of(str(path))
    assert target.exists
    finish(write(target, source))
    assert "one" in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name", ["room", "room.pdf", "room.txt/", "", ".", ".txt", "a.txt.gz", "room.db", "a\0.txt"]
)
def test_a_name_that_no_export_has_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadFile):
        target_of(f"{tmp_path}/{name}" if name != "room.txt/" else f"{tmp_path}/room.pdf/")


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "plain").write_text("x")
    (tmp_path / "linked.txt").symlink_to(tmp_path / "plain")
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("folder", "link", "linked", "pipe"):
        with pytest.raises(BadFile, match="no plain file"):
            target_of(f"{tmp_path}/{name}.txt")
    with pytest.raises(BadFile, match="Not a directory"):
        target_of(f"{tmp_path}/plain/room.txt")


def test_a_link_that_is_put_there_meanwhile_is_not_followed(
    journal: Journal, source: Source, tmp_path: Path
) -> None:
    say(journal, ALICE, "one")
    (tmp_path / "plain").write_text("x")
    path = tmp_path / "room.txt"
    path.write_text("old")
    target = target_of(str(path))
    path.unlink()
    path.symlink_to(tmp_path / "plain")
    finish(write(target, source))
    assert (tmp_path / "plain").read_text() == "x" and not path.is_symlink()


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target_of("~/room.txt") == Target(tmp_path / "room.txt", exists=False)


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize("ending", [".txt", ".json", ".html"])
def test_a_step_writes_one_post_and_memory_does_not_grow_with_them(
    journal: Journal, source: Source, tmp_path: Path, ending: str
) -> None:
    posts = [f"post {number}" for number in range(1000)]
    body = protocol.pack_posts(posts)
    journal.write([(POSTS, body), (POSTS, body)], 0, sign)
    errand = write(target_of(str(tmp_path / f"room{ending}")), source)
    assert sum(1 for _ in errand) >= 2000


def test_a_long_file_is_synced_on_the_way(
    journal: Journal, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, ALICE, *("x" * 40_000 for _ in range(100)))
    sizes: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            sizes.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    size = len(exported(tmp_path / "room.txt", source))
    assert sizes[-1] == size
    parts = [end - start for start, end in zip([0, *sizes], sizes, strict=False)]
    assert max(parts) < 1.2 * export._STEP_SYNC_CHARACTERS
