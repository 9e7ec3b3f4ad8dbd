"""The search index: in which parts of the journal some words may be.

A text *holds* a word that is somewhere in it, whatever the case and the script:
`"ask" in "BASKET"`. The index knows of each *block*, a few hundred entries of one log, which
runs of three characters (*grams*) are in it. A block that lacks a gram of a word lacks the
word; what the other blocks hold, only reading them tells. So nothing that is found depends
on the index, only how much is read for it:

    file    FIRST_LINE, then blocks one after another, never changed:
    block   u32 CRC-32 of the rest | 40 bytes log | u64 first seq | u64 last seq
            32 bytes SHA-256 of the last entry | u32 n | n bytes: 8n bits, a power of two.
            A gram sets the bit CRC-32(gram) modulo 8n

DERIVED. All of it comes from the journal, so it may be deleted at any time, is never synced
and never trusted. A log is a chain of hashes, so the one hash at the end of a log's blocks
proves all of them to be of the entries that the journal holds, even after a rescue, or with
an old copy put back. Where a hash or a checksum does not fit, the file is begun anew. Where
it can't be used (no disk, no rights), a search reads the whole journal, and is only slower.

Why no FTS5 of SQLite: a damaged page of it answers with less, not with an error (1 in 5 when
20 bits are flipped); it can't be stopped in the middle of a query (40 ms for 200,000 posts);
and it takes ten times the space.

Lives here: words, blocks, the file of them. Never here: what is done with what is found
(archive.py), names, clocks, SQL.
"""

from __future__ import annotations

import os
import re
import struct
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import protocol
from errands import Errand
from journal import Journal
from protocol import Entry, Log, RemoteError

FIRST_LINE = b"selchat search 1\n"
_BLOCK = struct.Struct(f">{protocol.LOG_BYTES}sQQ32sI")  # without its checksum
_GRAM = 3  # characters: two of them are in every block, four would leave out more short words
# A block is full with so many entries (reading them takes 5 ms), or so much text.
BLOCK_ENTRIES = 256
BLOCK_CHARACTERS = 32 * 1024
# Fewer entries at the end of a log are no block yet: to read them takes no longer than to
# look at another block's bits.
MIN_BLOCK_ENTRIES = 32
# One bit in eight set lets one gram in eight pass that is not there. 1,000,000 short posts
# take 16 MB.
_BITS_OF_A_GRAM = 8
# The grams of the fullest block: an entry that makes it full, of characters that become
# three each when their case is folded: 116,000.
MAX_BITS_BYTES = 128 * 1024
_STEP_GRAMS = 2048  # set in 1 ms
_STEP_BYTES = 128 * 1024  # of blocks, read and looked at in 1 ms
_STEP_LOGS = 32  # of which the last entry is read and hashed
# Grams of the words that are looked for: more of them leave out hardly any more blocks.
_MAX_GRAMS_SOUGHT = 64


def words_of(text: str) -> tuple[str, ...]:
    """What is looked for: words, or in double quotes several that follow one another. Folded,
    so that their case does not matter."""
    found = re.findall(r'"([^"]*)"?|(\S+)', text)
    return tuple({(quoted or word).casefold(): 1 for quoted, word in found if quoted or word})


def holds(text: str, words: Iterable[str]) -> bool:
    """Whether all of the words are in a text."""
    folded = text.casefold()
    return all(word in folded for word in words)


def _grams_of(folded: str) -> set[str]:
    return {folded[at : at + _GRAM] for at in range(len(folded) - _GRAM + 1)}


def _bit_of(gram: str) -> int:
    # A word that is typed may hold half a character; no post does.
    return crc32(gram.encode(errors="surrogatepass"))


class Parts:
    """The parts of the journal that may hold what is looked for."""

    def __init__(self) -> None:
        self._ends: dict[Log, int] = {}  # up to where the index knows a log
        self._blocks: dict[Log, list[tuple[int, int]]] = {}  # first and last seq, rising

    def add(self, log: Log, first: int, last: int, *, may_hold: bool) -> None:
        self._ends[log] = last
        if may_hold:
            self._blocks.setdefault(log, []).append((first, last))

    def newest(self, log: Log, seq: int) -> int:
        """The nearest entry that is to be read, from `seq` on downwards; 0: there is none."""
        if seq > self._ends.get(log, 0):
            return seq
        blocks = self._blocks.get(log, [])
        at = bisect_left(blocks, (seq + 1, 0)) - 1  # the last that begins no later
        return min(seq, blocks[at][1]) if at >= 0 else 0


class Index:
    """The file of blocks for one journal."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self._path, self._journal = path, journal
        self._ends: dict[Log, tuple[int, bytes]] = {}  # last seq of its blocks, and its hash
        self._is_read = False  # so `_ends` say what is in the file
        self._unusable = False  # the disk or the rights; not tried again

    # ------------------------------------------------------------ looking

    def parts(self, words: tuple[str, ...]) -> Errand[Parts]:
        """Where the journal may hold all of `words`."""
        grams = sorted(set().union(*map(_grams_of, words)))[:_MAX_GRAMS_SOUGHT]
        bits = [_bit_of(gram) for gram in grams]
        parts = Parts()
        if self._unusable or not bits:
            return parts
        self._is_read = False
        try:
            with open(self._path, "rb") as file:
                sound = yield from self._read(file, bits, parts)
            sound = sound and (yield from self._fits())
        except FileNotFoundError:
            sound = False
        except OSError:
            self._unusable = True
            return Parts()
        if not sound:
            self._begin_anew()
            return Parts()
        self._is_read = True
        return parts

    def _read(self, file: BinaryIO, bits: list[int], parts: Parts) -> Errand[bool]:
        """Whether all blocks are as they were written."""
        if file.read(len(FIRST_LINE)) != FIRST_LINE:
            return False
        ends: dict[Log, tuple[int, bytes]] = {}
        step_bytes = 0
        while start := file.read(4 + _BLOCK.size):
            if len(start) < 4 + _BLOCK.size:
                return False
            log, first, last, last_hash, size = _BLOCK.unpack_from(start, 4)
            if not 0 < size <= MAX_BITS_BYTES or size & (size - 1):
                return False
            filter = file.read(size)
            if crc32(filter, crc32(start[4:])) != int.from_bytes(start[:4], "big"):
                return False
            if first != ends.get(log, (0, b""))[0] + 1 or last < first:
                return False
            ends[log] = (last, last_hash)
            mask = 8 * size - 1
            may_hold = all(filter[(bit & mask) >> 3] >> (bit & 7) & 1 for bit in bits)
            parts.add(log, first, last, may_hold=may_hold)
            step_bytes += len(start) + size
            if step_bytes >= _STEP_BYTES:
                step_bytes = 0
                yield None
        self._ends = ends
        return True

    def _end(self, log: Log) -> int:
        return self._ends[log][0] if log in self._ends else 0

    def _fits(self) -> Errand[bool]:
        """Whether these are blocks of the entries that this journal holds."""
        placed = self._journal.placed()
        for number, (log, (last, last_hash)) in enumerate(list(self._ends.items()), 1):
            if last > placed.get(log, 0):
                return False
            if sha256(self._journal.entry(log, last)).digest() != last_hash:
                return False
            if number % _STEP_LOGS == 0:
                yield None
        return True

    # ------------------------------------------------------------ learning

    def catch_up(self) -> Errand[None]:
        """Adds the blocks that can be made of what the journal holds beyond them. To be
        called after `parts`; may be stopped at any step, and goes on from there."""
        for log, placed in self._journal.placed().items():
            yield None
            while self._is_read and placed - self._end(log) >= MIN_BLOCK_ENTRIES:
                yield from self._add_block(log, self._end(log), placed)

    def _add_block(self, log: Log, after: int, upto: int) -> Errand[None]:
        """The next block of a log, after the entry `after`, of entries up to `upto`."""
        grams: set[str] = set()
        characters = 0
        entry: Entry | None = None
        for entry in self._journal.entries(log, after, min(upto, after + BLOCK_ENTRIES)):
            for text in _texts_of(entry):
                folded = text.casefold()
                characters += len(folded)
                for start in range(0, len(folded), _STEP_GRAMS):
                    grams |= _grams_of(folded[start : start + _STEP_GRAMS + _GRAM - 1])
                    if start:
                        yield None
            yield None
            if characters >= BLOCK_CHARACTERS:
                break
        assert entry is not None
        filter = yield from _filter_of(grams)
        if self._is_read and after == self._end(log):  # another errand was not quicker
            self._write(_BLOCK.pack(log, after + 1, entry.seq, entry.hash, len(filter)) + filter)
            self._ends[log] = (entry.seq, entry.hash)

    def _begin_anew(self) -> None:
        self._ends, self._is_read = {}, True
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            self._give_up()

    def _write(self, block: bytes) -> None:
        """One write, so that a kill leaves all of a block or nothing. A power cut may leave
        anything: the checksum tells."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        data = crc32(block).to_bytes(4, "big") + block
        try:
            descriptor = os.open(self._path, flags, 0o600)  # it tells what the posts are about
            try:
                if os.fstat(descriptor).st_size == 0:
                    data = FIRST_LINE + data
                if os.write(descriptor, data) < len(data):
                    self._give_up()  # the disk is full; the next start finds half a block
            finally:
                os.close(descriptor)
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        self._unusable, self._is_read = True, False


def _texts_of(entry: Entry) -> list[str]:
    try:
        return protocol.texts_in(entry)
    except RemoteError:
        return []  # nothing of it is ever shown


def _filter_of(grams: set[str]) -> Errand[bytes]:
    """The bits of a block that holds these."""
    size = 1
    while 8 * size < _BITS_OF_A_GRAM * len(grams) and size < MAX_BITS_BYTES:
        size *= 2
    bits, mask = bytearray(size), 8 * size - 1
    for number, gram in enumerate(grams, 1):
        bit = _bit_of(gram) & mask
        bits[bit >> 3] |= 1 << (bit & 7)
        if number % _STEP_GRAMS == 0:
            yield None
    return bytes(bits)
