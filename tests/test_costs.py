"""What things cost, in counts that are the same everywhere: commits, signatures, bytes, calls.

A change that makes something twice as dear shows here; times are for the benchmarks.
"""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import backlog
import link as links
import mesh
import net
import output
import protocol
import receipts
from events import MessageReceived
from lines import LineReader
from protocol import Entry, Peer, Peers
from session import BURST_BYTES
from tests.simulator import Machine, gate_of, verify
from tests.test_journal import BOB, Author
from tests.test_mesh import ME, Script, member
from tests.test_rooms import started
from text import Names
from user import User

LINE = b"x" * 79 + b"\n"
LINES = 10_000  # 800 KB: seven reads of standard input
ENTRIES = 19  # of LINES, where each read ends one: 128 KiB are three
RECEIVERS = 8
SAID_MS = 1_700_000_000_000  # 2023: a time that needs no care, as nearly all
# Python 3.11 needs 2,278 (4,462 with a set of whom a peer is linked to), and this is a tenth more.
IDLE_LINKS = 80
IDLE_LINK_BYTES = 2500
OVERHEAD = 1.02  # of bytes: heads, lengths, signatures, TLS; acknowledgements


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the calls of Python functions and of built-in ones."""
    calls = Counter[str]()

    def count(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            calls["all"] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def a_burst() -> Iterator[list[str]]:
    """LINES, as they are read of a pipe."""
    reader, data = LineReader(protocol.MAX_POST_BYTES), LINES * LINE
    for start in range(0, len(data), BURST_BYTES):
        yield reader.feed(data[start : start + BURST_BYTES])


def bytes_in(machine: Machine) -> int:
    assert machine.node is not None
    return sum(each.link.received_bytes for each in machine.node.connections.values())


def test_a_burst_costs_its_bytes_once_for_each_and_few_signatures_commits_and_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = started(1, 1 + RECEIVERS)
    author, *others = room.machines
    verified = Counter[Machine]()

    for machine in others:

        def counting(entry: Entry, machine: Machine = machine) -> bool:
            verified[machine] += 1
            return verify(entry)

        monkeypatch.setattr(machine.journal, "_verify", counting)
    assert author.node is not None
    before = {machine: bytes_in(machine) for machine in others}
    commits = {machine: machine.journal.commits for machine in room.machines}
    syncs, seq = author.journal.syncs, author.journal.frontier().get(author.log, 0)
    writes = sum(each.writes for each in author.node.connections.values())
    reads = 0
    for lines in a_burst():
        author.say(*lines)
        room.run(0.05)
        reads += 1
    assert room.run_until(room.converged, 60.0)
    room.run(mesh.RELAY_S + 1.0)  # what is passed on in vain comes by then

    entries = author.journal.frontier()[author.log] - seq - 1  # and one with the name
    assert entries <= ENTRIES
    assert author.journal.commits - commits[author] <= reads + 1
    assert author.journal.syncs - syncs == reads
    assert sum(each.writes for each in author.node.connections.values()) - writes <= RECEIVERS * (
        3 * entries
    )
    for machine in others:
        assert bytes_in(machine) - before[machine] <= OVERHEAD * LINES * len(LINE)
        assert verified[machine] <= entries
        assert machine.journal.commits - commits[machine] <= 2 * entries


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def user(tmp_path: Path, written: list[str]) -> User:
    user = User(port=0, name="me", data=tmp_path)
    user.output = output.PlainOutput(
        written.append, lambda text: None, datetime.fromtimestamp, Names()
    )
    user.start_server()
    user.output.flush()
    return user


def test_what_is_piped_in_costs_its_author_a_third_of_a_call_for_each_line(
    user: User, written: list[str]
) -> None:
    user.post("the first one has a name before it")
    user._end_turn()
    written.clear()
    commits = user.kept.journal.commits
    with counted() as calls:
        for lines in a_burst():
            user.submit_all(lines)
            user._end_turn()
    assert "".join(written).count("me: xxx") == LINES
    assert len(written) == user.kept.journal.commits - commits == -(-LINES * 80 // BURST_BYTES)
    assert calls["all"] <= LINES / 3


@pytest.mark.parametrize(
    ("texts", "json", "most"), [(700, False, 0.1), (700, True, 2.2), (1, False, 16), (1, True, 34)]
)
def test_a_post_costs_a_reader_few_calls_alone_and_almost_none_in_a_burst(
    user: User, written: list[str], texts: int, json: bool, most: float
) -> None:
    if json:
        user.output = output.JsonOutput(written.append)
    author = Author(BOB)
    line = LINE[:-1].decode()
    body = "\n".join([line] * texts).encode()
    entries = [
        protocol.parse_entry(
            author.says(kind=protocol.LINES, body=body, time_ms=SAID_MS + 1000 * number)
        )
        for number in range(ENTRIES)
    ]
    assert user._feed is not None
    with counted() as calls:
        user._feed.feed(entries, [True] * ENTRIES)
        for _ in range(ENTRIES):
            user._feed.turn()
            user.output.flush()
    assert "".join(written).count(line) == ENTRIES * texts
    assert calls["all"] <= most * ENTRIES * texts + 10 * ENTRIES  # for turns without anything


def test_a_burst_goes_to_a_pipe_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    outlet = net.Outlet(net.Loop(), writer, lambda error: None)
    written = list[int]()
    write = os.write

    def counting(descriptor: int, data: bytes) -> int:
        written.append(write(descriptor, data))
        return written[-1]

    monkeypatch.setattr(os, "write", counting)
    outlet.write(100_000 * "x")
    assert written == [100_000] and len(os.read(reader, 300_000)) == 100_000
    os.close(reader)
    os.close(writer)


def an_idle_link(script: Script, gate: links.Gate, number: int) -> links.Link:
    """A member has called, has nothing to send, and has told whom it is linked to."""
    link = links.Link(gate, dialed=False, challenge=bytes(16))
    caller = links.Link(gate_of(member(number)), dialed=True)
    for _ in range(3):
        for source, target in ((link, caller), (caller, link)):
            data = bytes(source.outgoing())
            source.sent(len(data))
            target.receive(data)
    assert link.secured
    script.link(member(number), number)
    told = Peers(tuple(Peer(member(each), "", 0) for each in range(mesh.MAX_LINKS)))
    script.do(MessageReceived(number, told))
    return link


def test_an_idle_link_takes_few_bytes_beside_its_socket_and_its_tls() -> None:
    script, gate = Script(), gate_of(ME)
    kept = [an_idle_link(script, gate, number) for number in range(1, 9)]  # and what is made once
    tracemalloc.start()
    kept += [an_idle_link(script, gate, number) for number in range(9, 9 + IDLE_LINKS)]
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.stop()
    modules = (backlog, links, mesh, protocol, receipts)
    ours = [tracemalloc.Filter(True, str(module.__file__)) for module in modules]
    taken = sum(trace.size for trace in snapshot.filter_traces(ours).traces)
    assert len(script.mesh.members) == len(kept)
    assert taken / IDLE_LINKS <= IDLE_LINK_BYTES
