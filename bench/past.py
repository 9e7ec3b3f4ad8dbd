"""The past: what many authors have said one after the other, as a journal that selchat has written.

Twenty authors take turns. Each post is an entry of its own, signed by its author, and names as its
head the one before it, which its author had seen: as if they had typed. So there is one order, and
each line that shows a post has the same length.

To sign a million takes a minute, so what was made is kept, in the folder for temporary files, and
made again when the code that writes it is another.

Lives here: authors, their entries, journals full of them. Never here: what is measured with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import zip_longest
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import identity
import protocol
from bench.figures import Plan
from journal import Journal
from protocol import Head
from tests.processes import ROOT

AUTHORS = 20
TEXT_BYTES = 79  # with the end of the line 80, as in all that is measured
BEGAN_MS = 1_700_000_000_000
PAUSE_MS = 1000  # between two posts
COMMIT_ENTRIES = 1000  # in one transaction, when a journal is made: as fast as it gets
# One for each processor that there is.
WORKERS = os.cpu_count() or 1
KEEP_S = 24 * 3600  # what nobody has used for a day goes
# An entry in a file has its length before it.
LENGTH_BYTES = 4
LINE_BYTES = len("hh:mm:ss author00: \n") + TEXT_BYTES


def name_of(author: int) -> str:
    return f"author{author:02}"


def text_of(number: int) -> str:
    """The post with this number, counted from 0."""
    return f"post {number:08} ".ljust(TEXT_BYTES, "x")


def number_in(line: bytes | memoryview) -> bytes:
    """Of the post that a line of LINE_BYTES shows: its eight digits."""
    start = len("hh:mm:ss author00: post ")
    return bytes(line[start : start + 8])


def entries_of(author: int, posts: int) -> Iterator[bytes]:
    """All entries of one author: its name, and its part of so many posts of all."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % author).digest())
    log, before = _log(author), _log((author - 1) % AUTHORS)
    room = identity.open_room().id
    previous = protocol.NO_PREVIOUS
    parts = range(author, posts, AUTHORS)
    for at, number in enumerate([author - AUTHORS, *parts]):
        if number < 0:
            kind, body = protocol.NAME, name_of(author).encode()
        else:
            kind, body = protocol.LINES, text_of(number).encode()
        # The author before it has said as much, or, if it is the last one, one less.
        seen = at + 1 if author else at
        heads = (Head(before, seen),) if seen else ()
        time_ms = BEGAN_MS + (number + AUTHORS) * PAUSE_MS
        unsigned = protocol.unsigned_entry(Head(log, at + 1), previous, time_ms, heads, kind, body)
        raw = unsigned + key.sign(protocol.signed_bytes(room, unsigned))
        previous = hashlib.sha256(raw).digest()
        yield raw


@cache
def _log(author: int) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % author).digest())
    return key.public_key().public_bytes_raw() + b"the only"


def write_entries(author: int, posts: int, folder: Path) -> None:
    """To a file of that author."""
    with (folder / name_of(author)).open("wb") as file:
        for raw in entries_of(author, posts):
            file.write(len(raw).to_bytes(LENGTH_BYTES, "big") + raw)


def read_entries(path: Path) -> Iterator[bytes]:
    """Those in one file, in its order."""
    with path.open("rb") as file:
        while length := file.read(LENGTH_BYTES):
            yield file.read(int.from_bytes(length, "big"))


def merge_entries(folder: Path, path: Path) -> None:
    """The files of all authors, in turns, to one; they are gone then."""
    parts = [folder / name_of(author) for author in range(AUTHORS)]
    with path.open("wb") as file:
        for turn in zip_longest(*map(read_entries, parts)):
            for raw in filter(None, turn):
                file.write(len(raw).to_bytes(LENGTH_BYTES, "big") + raw)
    for part in parts:
        part.unlink()


def write_journal(path: Path, entries: Iterator[bytes]) -> None:
    """As if each had come by itself. They are signed by us just now: nothing is verified."""
    journal = Journal(path, lambda entry: True)
    for count, raw in enumerate(entries, 1):
        journal.append((raw,))
        if count % COMMIT_ENTRIES == 0:
            journal.commit()
    journal.sync()
    journal.close()


# ---------------------------------------------------------------- what is kept


def entries_file(posts: int, plan: Plan) -> Path:
    """All entries of so many posts, in their order."""

    def make(folder: Path) -> None:
        plan.say(f"signing {posts:,} posts (once: they are kept in {_place()})")
        with ProcessPoolExecutor(WORKERS) as pool:
            signing = [
                pool.submit(write_entries, author, posts, folder) for author in range(AUTHORS)
            ]
            for author in signing:
                author.result()
        merge_entries(folder, folder / "entries")

    return _kept(f"entries-{posts}-{_version('protocol')}", make) / "entries"


def journal_folder(posts: int, plan: Plan) -> Path:
    """A folder with a journal of so many posts. It is to be copied, and not to be changed."""

    def make(folder: Path) -> None:
        entries = entries_file(posts, plan)
        plan.say(f"making a journal of {posts:,} posts (once)")
        write_journal(folder / "journal.db", read_entries(entries))

    return _kept(f"journal-{posts}-{_version('journal')}", make)


def copy_journal(posts: int, folder: Path, plan: Plan) -> None:
    """A data folder of somebody who was there all the time, but has said nothing."""
    folder.mkdir(mode=0o700)
    if posts:
        shutil.copyfile(journal_folder(posts, plan) / "journal.db", folder / "journal.db")


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name; if it is not there it is made, whole or not at all."""
    place = _place()
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise RuntimeError(f"{place} is somebody else's: set TMPDIR")
    _remove_old(place)
    folder = place / name
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=place) as unfinished:
            made = Path(unfinished) / name
            made.mkdir()
            make(made)
            with contextlib.suppress(OSError):  # somebody else has made it meanwhile
                made.rename(folder)
    os.utime(folder)
    return folder


def _place() -> Path:
    return Path(tempfile.gettempdir()) / f"selchat-bench-{os.getuid()}"


def _remove_old(place: Path) -> None:
    for each in place.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if each.stat().st_mtime < time.time() - KEEP_S:
                shutil.rmtree(each)


@cache
def _version(module: str) -> str:
    """Of the code of a module of ours, with all that it imports of ours."""
    told = f"import {module}, sys; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sources = [ROOT / f"{name}.py" for name in sorted(ran.stdout.split())]
    code = b"".join(s.read_bytes() for s in (*sources, Path(__file__)) if s.exists())
    return hashlib.sha256(code).hexdigest()[:12]
