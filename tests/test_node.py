"""node.py: what a node does about what goes wrong while it performs an action. (That it does
right what goes right, whole rooms show: test_rooms.py.)"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, cast

import pytest

import events
import journal
import net
import protocol
from link import Failed, Link, Secured
from node import Node, Surroundings
from protocol import Entries, Fork, Head, Hello, Peer, Peers, Ping, RemoteError
from tests.simulator import Disk, SimulatedJournal, gate_of, sign, verify, verify_receipt

ME, ANN = b"M" * 32, b"A" * 32
ANN_AT = ("10.0.0.1", 5000)


class Line:
    """Stands for a connection: what it is given, what it was sent."""

    def __init__(self, *news: Secured | Failed | protocol.Message) -> None:
        self.id = 0
        self.news = list(news)
        self.link = self
        self.sent: list[protocol.Message] = []
        self.broken = self.closed = self.clogged = False

    def receive(self) -> list[Any]:
        news, self.news = self.news, []
        return news

    def take_drained(self) -> bool:
        return False

    def send(self, message: protocol.Message) -> None:
        if self.broken:
            raise RemoteError("nothing back: it does not read what it is sent")
        self.sent.append(message)

    def flush(self) -> None:
        """What is sent is in `sent` already."""

    def close(self) -> None:
        self.closed = True


class Bench:
    """A node, and all that it was told and wants shown."""

    def __init__(self) -> None:
        self.told: list[events.Event] = []
        self.shown: list[events.Action] = []
        self.lines: list[Line] = []
        self.unreachable = False
        self.asked: list[tuple[str, Callable[[list[str], str], None]]] = []
        opened = SimulatedJournal(Disk(), verify)
        self.node = Node(
            "me",
            5000,
            opened.own_log(ME, bytes(8)),
            opened,
            Surroundings(
                now=lambda: 0.0,
                wall_ms=lambda: 1000,
                random=Random(1),
                gate=gate_of(ME),
                sign=partial(sign, ME),
                sign_receipt=partial(sign, ME),
                verify_receipt=verify_receipt,
                dial=self._dial,
                look_up=lambda host, done: self.asked.append((host, done)),
                show=self.shown.append,
                transcribe=lambda event, actions: self.told.append(event),
            ),
        )

    def _dial(self, address: events.Address, link: Link) -> net.Connection:
        if self.unreachable:
            raise OSError(101, "Network is unreachable")
        return cast(net.Connection, self.caller())

    def caller(self, *news: Secured | Failed | protocol.Message) -> Line:
        self.lines.append(Line(*news))
        return self.lines[-1]

    def linked(self, member: bytes = ANN) -> Line:
        """A link with Ann, that is up."""
        line = self.caller(Secured(member), Hello("ann", 0, 7), protocol.Have(()))
        self.node.accept(cast(net.Connection, line), ANN_AT)
        self.hear(line)
        return line

    def hear(self, line: Line, *news: protocol.Message) -> None:
        line.news += news
        self.node.listen(cast(net.Connection, line))
        self.node.end_turn()


def post(author: bytes, text: str) -> bytes:
    body = protocol.pack_posts([text])
    head = Head(author + bytes(8), 1)
    unsigned = protocol.unsigned_entry(head, protocol.NO_PREVIOUS, 0, (), protocol.POSTS, body)
    return unsigned + sign(author, unsigned)


def test_a_dial_that_can_not_even_begin_is_a_link_that_has_ended() -> None:
    bench = Bench()
    bench.unreachable = True
    bench.node.learn([(ANN_AT, "you", None)])
    assert bench.told[-1] == events.LinkClosed(1, "network is unreachable")
    assert not bench.node.connections


def test_a_name_is_looked_up_and_what_is_found_is_told_with_its_port() -> None:
    bench = Bench()
    home = ("zoe.example", 5000)
    bench.node.learn([(home, "you", None)])
    ((host, done),) = bench.asked
    done(["10.0.0.7", "::7"], "")
    found = (("10.0.0.7", 5000), ("::7", 5000))
    assert host == "zoe.example" and events.NameLookedUp(home, found) in bench.told
    assert len(bench.node.connections) == 2
    done([], "no such host")
    assert bench.told[-1] == events.NameLookedUp(home, (), "no such host")


def test_who_was_refused_at_the_door_is_told_of() -> None:
    bench = Bench()
    bench.node.refused(ANN_AT, "no knock of this room", 3)
    assert bench.told == [events.CallersRefused(ANN_AT, "no knock of this room", 3)]
    (notice,) = bench.shown
    assert isinstance(notice, events.ShowNotice) and "and 2 others" in notice.text


def test_a_link_that_takes_no_more_is_closed_by_its_fault() -> None:
    bench = Bench()
    line = bench.linked()
    line.broken = True
    bench.hear(line, Ping())
    (closed,) = [event for event in bench.told if isinstance(event, events.LinkClosed)]
    assert closed.fault and "does not read" in closed.reason
    assert line.closed and not bench.node.connections


def test_what_is_for_a_link_that_is_gone_is_dropped() -> None:
    bench = Bench()
    line = bench.linked()
    told = len(bench.told)
    for action in (events.SendMessage(9, Ping(), answered=True), events.CloseLink(9)):
        bench.node._PERFORM[type(action)](bench.node, action)
    assert bench.told[told:] == [events.MessageSent(9, clogged=True)]
    assert list(bench.node.connections) == [line.id]


def test_logs_that_find_no_room_are_one_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_LOGS", 1)
    bench = Bench()
    line = bench.linked()
    for author in (ANN, b"B" * 32, b"C" * 32):
        bench.hear(line, Entries((post(author, "hello"),)))
    notices = [action for action in bench.shown if isinstance(action, events.ShowNotice)]
    assert [notice.text for notice in notices] == [
        "somebody writes more logs than fit here; theirs are left out"
    ]
    assert list(bench.node.journal.frontier()) == [ANN + bytes(8)]


def test_a_proof_that_proves_nothing_ends_its_link() -> None:
    bench = Bench()
    line = bench.linked()
    bench.hear(line, Fork(post(ANN, "one"), post(ANN, "one")))
    assert line.sent[-1] == protocol.Bye("you sent a proof of a fork that proves nothing")
    assert line.closed


def test_a_proof_is_kept_and_said_once() -> None:
    bench = Bench()
    line = bench.linked()
    proof = Fork(post(ANN, "one"), post(ANN, "other"))
    bench.hear(line, proof, proof)
    assert bench.node.mesh.forks == {ANN + bytes(8): proof}
    assert sum(isinstance(event, events.ForkKept) for event in bench.told) == 1


def test_a_receipt_that_its_member_has_not_signed_ends_its_link() -> None:
    bench = Bench()
    line = bench.linked()
    bench.node.say(["hello"])
    (log,) = bench.node.journal.frontier()
    bob = b"B" * 32
    unsigned = protocol.unsigned_receipt(bob, (Head(log, 1),))
    bench.hear(line, Peers((Peer(bob, "", 0),)))
    bench.hear(line, protocol.parse_receipt(unsigned + sign(bob, unsigned)))
    assert bench.node.mesh.confirmed[bob] == {log: 1} and not line.closed
    bench.node.say(["and more"])
    unsigned = protocol.unsigned_receipt(bob, (Head(log, 2),))
    bench.hear(line, protocol.parse_receipt(unsigned + sign(ANN, unsigned)))
    assert bench.node.mesh.confirmed[bob] == {log: 1}
    assert line.sent[-1] == protocol.Bye("you sent a receipt that is not signed") and line.closed


def test_a_receipt_is_signed_once_for_all_links_that_it_is_sent_over() -> None:
    bench = Bench()
    line = bench.linked()
    heads = (Head(b"B" * 40, 7),)
    bench.node._send_receipt(events.SendReceipt((line.id, 9), heads))
    receipt = line.sent[-1]
    assert isinstance(receipt, protocol.Receipt) and verify_receipt(receipt)
    assert (receipt.member, receipt.heads) == (ME, heads)


def test_who_leaves_has_told_what_it_has() -> None:
    bench = Bench()
    line = bench.linked()
    bob = b"B" * 32
    bench.hear(line, Peers((Peer(bob, "", 0),)))
    line.news.append(Entries((post(bob, "hello"),)))
    bench.node.listen(cast(net.Connection, line))
    bench.node.leave()
    kinds = [type(message) for message in line.sent[-3:]]
    assert kinds == [protocol.Have, protocol.Receipt, protocol.Bye]


def test_a_run_with_a_gap_before_it_ends_its_link() -> None:
    bench = Bench()
    line = bench.linked()
    unsigned = protocol.unsigned_entry(
        Head(ANN + bytes(8), 5), b"p" * 32, 0, (), protocol.POSTS, protocol.pack_posts(["late"])
    )
    bench.hear(line, Entries((unsigned + sign(ANN, unsigned),)))
    assert line.sent[-1] == protocol.Bye("you sent entries with a gap before them")


def answer(author: bytes, seq: int, previous: bytes, *heads: Head) -> bytes:
    body = protocol.pack_posts(["an answer"])
    head = Head(author + bytes(8), seq)
    unsigned = protocol.unsigned_entry(head, previous, 0, heads, protocol.POSTS, body)
    return unsigned + sign(author, unsigned)


def stored_by(bench: Bench) -> list[tuple[int | None, bytes, int]]:
    return [(e.link, e.log, e.seq) for e in bench.told if isinstance(e, events.RunStored)]


def test_what_was_held_is_told_as_stored_with_the_link_that_it_came_over() -> None:
    bench = Bench()
    first, second = bench.linked(), bench.linked(b"Z" * 32)
    bob = b"B" * 32
    bench.hear(first, Entries((answer(bob, 1, protocol.NO_PREVIOUS, Head(ANN + bytes(8), 1)),)))
    assert stored_by(bench) == [] and events.RunHeld() in bench.told
    bench.hear(second, Entries((post(ANN, "a question"),)))
    assert stored_by(bench) == [(2, ANN + bytes(8), 1), (1, bob + bytes(8), 1)]


def test_a_run_that_crosses_what_is_held_is_taken_in_all_the_same() -> None:
    bench = Bench()
    line, log = bench.linked(), b"B" * 32 + bytes(8)
    one = answer(b"B" * 32, 1, protocol.NO_PREVIOUS, Head(ANN + bytes(8), 1))
    two = answer(b"B" * 32, 2, protocol.parse_entry(one).hash)
    bench.hear(line, Entries((one,)), Entries((one, two)))
    assert stored_by(bench) == [(1, log, 1), (1, log, 2)]


def test_what_is_held_when_its_time_is_over_or_when_we_leave_is_stored_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "KEEP_ENTRIES", 1)
    bench = Bench()
    line = bench.linked()
    for author in (b"B" * 32, b"C" * 32, b"D" * 32):
        run = (answer(author, 1, protocol.NO_PREVIOUS, Head(ANN + bytes(8), 1)),)
        bench.hear(line, Entries(run))
    bench.node._keep_runs(events.KeepRuns())
    assert stored_by(bench) == [(1, b"B" * 32 + bytes(8), 1)]
    assert bench.told[-1] == events.RunsKept(more=True)
    bench.node.leave()
    assert len(stored_by(bench)) == 3
    kept = [event.more for event in bench.told if isinstance(event, events.RunsKept)]
    assert kept == [True, True, False]


def test_several_logs_are_sent_as_they_follow_one_another() -> None:
    bench = Bench()
    bench.node.say(["first"])  # with the name before it
    bench.hear(bench.linked(), Entries((post(ANN, "second"),)))
    told = len(bench.told)
    line = bench.linked()
    runs = [message.run for message in line.sent if isinstance(message, Entries)]
    assert [len(run) for run in runs] == [2, 1]
    found = [e for e in bench.told[told:] if isinstance(e, events.EntryFound)]
    assert [(event.log[:32], event.number) for event in found] == [(ME, 1), (ANN, 3)]
