"""The receipts: who is told, through whom and when, what it has; and what of that is believed.

As transcripts, like those of test_mesh.py. `me` is linked to ann and to zoe, and not to bob, who
is at home behind NAT, unless a test says otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest

import mesh
import protocol
import receipts
from events import (
    CheckReceipt,
    CloseLink,
    JournalSynced,
    Left,
    LinkClosed,
    LinkDrained,
    MessageReceived,
    MessageSent,
    PostsTyped,
    ReceiptProven,
    RunRefused,
    RunStored,
    SendMessage,
    SendReceipt,
    ShowConfirmed,
    ShowLink,
    ShowNotice,
)
from protocol import Head, Log, Peer, Peers, Receipt
from tests import test_mesh
from tests.test_mesh import ANN, ANN_LOG, BOB, BOB_LOG, ME, MY_LOG, PROOF, ZOE, ZOE_LOG, Script

CYD = b"C" * 32


def signed(member: bytes, *heads: Head) -> Receipt:
    return protocol.parse_receipt(protocol.unsigned_receipt(member, heads) + bytes(64))


test_mesh.NAMES |= {"signed": signed, "CYD": CYD}


def linked_to(*members: bytes) -> Peers:
    return Peers(tuple(Peer(member, "", 0) for member in members))


def behind_relays(*relays: bytes, **options: Any) -> Script:
    """A mesh that is linked to these, and these to bob. It has had the time to tell bob of what it
    had before."""
    script = Script(**options)
    for number, relay in enumerate(relays, 1):
        script.link(relay, number)
        script.do(MessageReceived(number, linked_to(ME, BOB)))
    script.sleep(2 * receipts.RECEIPT_S)
    script.now = 1.0
    return script


def store(script: Script, *logs: Log, link: int = 1) -> list[Any]:
    """One more entry of each, synced; and all that is done in that turn."""
    stored = [RunStored(link, log, script.mesh.frontier.get(log, 0) + 1) for log in logs]
    return script.do(*stored, JournalSynced())


def told(actions: list[Any]) -> list[SendReceipt]:
    return [action for action in actions if isinstance(action, SendReceipt)]


def told_later(script: Script, seconds: float = 1.0) -> list[SendReceipt]:
    return told([action for _, action in script.sleep(seconds)])


# What we have of others


def test_who_is_linked_to_a_peer_alone_is_told_through_it_what_is_on_the_platter() -> None:
    behind_relays(ANN).play("""
        1.000 >> RunStored(1, BOB_LOG, 1)
        1.100 >> TimePassed()
              << SyncJournal()
              << SendReceipt((1,), (Head(BOB_LOG, 1),))
              >> JournalSynced()
              << SendMessage(1, Have((Head(BOB_LOG, 1),)))
        1.150 >> RunStored(1, BOB_LOG, 2)
        1.160 >> RunStored(1, BOB_LOG, 3)
        1.250 >> TimePassed()
              << SyncJournal()
              >> JournalSynced()
              << SendMessage(1, Have((Head(BOB_LOG, 3),)))
        1.350 >> TimePassed()
              << SendReceipt((1,), (Head(BOB_LOG, 3),))
    """)


def test_what_is_stored_while_a_receipt_waits_is_synced_before_it_is_signed() -> None:
    script = behind_relays(ANN)
    assert told(store(script, BOB_LOG)) == [SendReceipt((1,), (Head(BOB_LOG, 1),))]
    script.now += receipts.RECEIPT_S - 0.01
    script.do(RunStored(1, BOB_LOG, 2))
    at = script.mesh.deadline()
    assert at is not None and at == pytest.approx(script.now + mesh.SYNC_S)
    script.now += 0.02
    assert told(script.do(RunStored(1, BOB_LOG, 3))) == []
    assert told(script.do(JournalSynced())) == [SendReceipt((1,), (Head(BOB_LOG, 3),))]


def test_a_receipt_has_all_logs_of_its_authors_and_goes_over_two_ways() -> None:
    other = BOB + b"another "
    script = behind_relays(ANN, ZOE, CYD, frontier={other: 7, MY_LOG: 1, BOB_LOG: 1})
    assert told(store(script, BOB_LOG)) == [SendReceipt((1, 2), (Head(BOB_LOG, 2), Head(other, 7)))]
    script.do(LinkClosed(1, "closed"))
    script.sleep(1.0)
    assert [action.links for action in told(store(script, BOB_LOG, link=2))] == [(2, 3)]


def test_a_peer_that_is_the_only_one_left_to_an_author_is_told_all_once_more() -> None:
    script = behind_relays(ANN, ZOE, CYD, frontier={BOB_LOG: 3})
    assert told_later(script) == []
    script.do(LinkClosed(2, "closed"), MessageReceived(3, linked_to(ME, BOB)))
    assert told_later(script) == [SendReceipt((3,), (Head(BOB_LOG, 3),))]
    script.do(MessageReceived(3, linked_to(ME, BOB)))
    assert told_later(script) == []


def test_an_author_that_comes_is_told_what_we_have_had_for_long() -> None:
    script = Script(frontier={BOB_LOG: 3, ZOE_LOG: 1})
    script.link(ANN, 1)
    script.play("""
        1.000 >> MessageReceived(1, Peers((Peer(ME, "", 0), Peer(BOB, "", 0))))
        1.250 >> TimePassed()
              << SendReceipt((1,), (Head(BOB_LOG, 3),))
        2.000 >> MessageReceived(1, Peers((Peer(ME, "", 0),)))
        3.000 >> MessageReceived(1, Peers((Peer(BOB, "", 0), Peer(ME, "", 0))))
        3.250 >> TimePassed()
              << SendReceipt((1,), (Head(BOB_LOG, 3),))
        4.000 >> MessageReceived(1, Peers((Peer(BOB, "", 0), Peer(ME, "", 0))))
    """)


def test_who_is_linked_to_us_is_told_by_no_receipt_until_that_link_has_ended() -> None:
    script = behind_relays(ANN)
    script.link(BOB, 2)
    script.now = 2.0
    assert told(store(script, BOB_LOG, link=2)) == [] == told_later(script)
    script.do(LinkClosed(2, "closed"))
    assert told_later(script) == [SendReceipt((1,), (Head(BOB_LOG, 1),))]


def test_who_has_gone_for_all_is_told_nothing() -> None:
    script = behind_relays(ANN)
    script.do(RunStored(1, BOB_LOG, 1), MessageReceived(1, linked_to(ME)))
    assert told(script.do(JournalSynced())) == [] == told_later(script)
    assert told(store(script, BOB_LOG)) == [] == told_later(script)


def test_of_a_log_that_is_forked_there_is_no_receipt() -> None:
    script = behind_relays(ANN, forks={BOB_LOG: PROOF}, frontier={BOB_LOG: 1})
    assert told(store(script, BOB_LOG)) == [] == told_later(script)
    other = BOB + b"another "
    assert told(store(script, other)) == [SendReceipt((1,), (Head(other, 1),))]
    script.mesh.forks[other] = PROOF
    assert told_later(script) == []
    script.do(RunStored(1, BOB + b"a third ", 1))
    script.mesh.forks[BOB + b"a third "] = PROOF
    assert told(script.do(JournalSynced())) == [] and not script.mesh.receipts._moved


def test_more_logs_than_one_receipt_has_are_told_by_the_next() -> None:
    logs = [BOB + number.to_bytes(8, "big") for number in range(70)]
    script = Script(frontier=dict.fromkeys(logs, 1))
    script.link(ANN, 1)
    script.do(MessageReceived(1, linked_to(ME, BOB)))
    first, second = told_later(script, 2 * receipts.RECEIPT_S)
    assert first.heads == tuple(Head(log, 1) for log in logs[:64])
    assert second.heads[:6] == tuple(Head(log, 1) for log in logs[64:])
    assert len(second.heads) == 64 and told_later(script) == []


def test_who_reads_nothing_is_told_when_it_reads_again_or_another_peer_is() -> None:
    script = behind_relays(ANN, frontier={BOB_LOG: 1})
    script.mesh.links[1].clogged = True
    assert told(store(script, BOB_LOG)) == [] == told_later(script)
    script.do(LinkDrained(1))
    assert told_later(script) == [SendReceipt((1,), (Head(BOB_LOG, 2),))]
    script.mesh.links[1].clogged = True
    script.link(ZOE, 2)
    script.do(MessageReceived(2, linked_to(ME, BOB)))
    assert told_later(script) == [SendReceipt((2,), (Head(BOB_LOG, 2),))]


def test_in_a_large_room_nobody_signs_for_anybody() -> None:
    script = Script(max_links=2)
    script.link(ANN, 1)
    script.do(MessageReceived(1, linked_to(ME, BOB, ZOE)))
    script.sleep(1.0)
    assert told(store(script, BOB_LOG)) == [] == told_later(script)  # ann has many peers
    assert script.mesh.audience() == {ANN: True}
    script.do(MessageReceived(1, linked_to(ME, BOB)))
    script.sleep(1.0)
    assert told(store(script, BOB_LOG)) != []
    assert script.mesh.audience() == {ANN: True, BOB: True}
    script.link(ZOE, 2)
    script.link(CYD, 3)
    script.sleep(1.0)
    assert told(store(script, BOB_LOG)) == [] == told_later(script)  # we have


def test_who_leaves_tells_before_what_it_has() -> None:
    script = behind_relays(ANN)
    store(script, BOB_LOG)
    script.do(RunStored(1, BOB_LOG, 2), JournalSynced())
    left = script.do(Left())
    assert told(left) == left[:1] == [SendReceipt((1,), (Head(BOB_LOG, 2),))]
    script = behind_relays(ANN)
    script.do(RunStored(1, BOB_LOG, 1))
    assert told(script.do(Left())) == []  # it is not on the platter


# What others have of ours


def test_a_receipt_that_a_peer_brings_counts_once_it_is_proven() -> None:
    script = behind_relays(ANN, frontier={MY_LOG: 5})
    script.play("""
        1.000 >> MessageReceived(1, signed(BOB, Head(MY_LOG, 3)))
              << CheckReceipt(1, signed(BOB, Head(MY_LOG, 3)))
              >> ReceiptProven(1, signed(BOB, Head(MY_LOG, 3)))
              << ShowConfirmed(0, 3, ((ANN, 0), (BOB, 3)))
              >> MessageReceived(1, signed(BOB, Head(MY_LOG, 3)))
              >> MessageReceived(1, signed(BOB, Head(MY_LOG, 99), Head(ZOE_LOG, 99)))
              << CheckReceipt(1, signed(BOB, Head(MY_LOG, 99), Head(ZOE_LOG, 99)))
              >> ReceiptProven(1, signed(BOB, Head(MY_LOG, 99), Head(ZOE_LOG, 99)))
              << ShowConfirmed(3, 5, ((ANN, 0), (BOB, 5)))
              >> MessageReceived(1, signed(BOB, Head(MY_LOG, 100)))
    """)
    assert script.mesh.confirmed[BOB] == {MY_LOG: 5} and script.mesh.confirmed_by() == 1


def test_a_receipt_that_is_not_signed_is_the_fault_of_who_sent_it() -> None:
    script = behind_relays(ANN, frontier={MY_LOG: 5})
    receipt = signed(BOB, Head(MY_LOG, 3))
    assert script.do(MessageReceived(1, receipt)) == [CheckReceipt(1, receipt)]
    done = script.do(RunRefused(1, "a receipt that is not signed"))
    assert [type(action) for action in done] == [ShowNotice, SendMessage, CloseLink, ShowLink]
    assert done[0] == ShowNotice(
        "A. (id 41414141) at 10.0.0.9:40001 sent a receipt that is not signed; link closed"
    )
    assert script.do(ReceiptProven(1, receipt)) == []


@pytest.mark.parametrize(
    ("link", "receipt"),
    [
        (1, signed(ANN, Head(MY_LOG, 3))),  # of who has said by a Have what it has
        (1, signed(ZOE, Head(MY_LOG, 3))),  # so has she
        (1, signed(CYD, Head(MY_LOG, 3))),  # of whom ann does not say that she is linked to it
        (1, signed(ME, Head(MY_LOG, 3))),
        (1, signed(BOB, Head(ZOE_LOG, 3))),  # not from bob himself
        (1, signed(BOB)),
        (1, signed(ANN, Head(ANN_LOG, 3), Head(BOB_LOG, 3))),  # for nobody here but herself
    ],
)
def test_a_receipt_that_tells_nothing_is_passed_over_and_not_even_checked(
    link: int, receipt: Receipt
) -> None:
    script = behind_relays(ANN, ZOE, frontier={MY_LOG: 5})
    assert script.do(MessageReceived(link, receipt)) == []
    assert script.do(ReceiptProven(link, receipt)) == []


def test_a_receipt_of_who_is_linked_since_it_was_checked_is_too_late() -> None:
    script = behind_relays(ANN, frontier={MY_LOG: 5})
    receipt = signed(BOB, Head(MY_LOG, 3))
    assert script.do(MessageReceived(1, receipt)) == [CheckReceipt(1, receipt)]
    script.link(BOB, 2)
    assert script.do(ReceiptProven(1, receipt)) == []


def test_who_is_here_through_a_peer_is_of_the_audience() -> None:
    script = behind_relays(ANN, frontier={MY_LOG: 1})
    script.do(MessageReceived(1, protocol.Have((Head(MY_LOG, 1),))))
    assert script.mesh.audience() == {ANN: True, BOB: False}
    lost = ME + b"another "
    script.do(ReceiptProven(1, signed(BOB, Head(MY_LOG, 1), Head(lost, 9))))
    assert script.mesh.audience() == {ANN: True, BOB: True}
    script.do(RunStored(1, lost, 9))  # he gives back what we had lost
    assert script.mesh.audience() == {ANN: False, BOB: True}
    script.do(MessageReceived(1, linked_to(ME)))
    assert script.mesh.audience() == {ANN: False, BOB: True}


def test_of_members_that_peers_tell_of_the_last_ones_receipts_are_remembered() -> None:
    script = behind_relays(ANN, frontier={MY_LOG: 1})
    for number in range(receipts.MAX_RECEIPTS + 10):
        other = test_mesh.member(number)
        script.do(MessageReceived(1, linked_to(other)))
        script.do(ReceiptProven(1, signed(other, Head(MY_LOG, 1))))
    assert len(script.mesh.confirmed) == receipts.MAX_RECEIPTS
    assert ANN in script.mesh.confirmed and test_mesh.member(0) not in script.mesh.confirmed


# What is passed on


def relay(**options: Any) -> Script:
    """Linked to bob (1) and to ann (2), who are not linked to each other."""
    script = Script(**options)
    script.link(BOB, 1)
    script.link(ANN, 2)
    script.sleep(1.0)
    script.now = 1.0
    return script


def test_a_receipt_is_passed_on_unchanged_to_its_authors_and_to_nobody_else() -> None:
    script = relay()
    script.link(ZOE, 3)
    script.link(CYD, 4)
    script.now = 1.0
    receipt = signed(BOB, Head(ANN_LOG, 3), Head(ZOE_LOG, 1), Head(BOB_LOG, 8), Head(b"?" * 40, 1))
    assert script.do(MessageReceived(1, receipt)) == [CheckReceipt(1, receipt)]
    passed = [SendMessage(2, receipt, answered=True), SendMessage(3, receipt, answered=True)]
    assert script.do(ReceiptProven(1, receipt)) == passed
    script.do(MessageSent(2, clogged=False), MessageSent(3, clogged=False))
    assert script.do(MessageReceived(1, receipt)) == [] == script.do(ReceiptProven(1, receipt))
    more = signed(BOB, Head(ANN_LOG, 4), Head(ZOE_LOG, 1))
    assert script.do(MessageReceived(1, more)) == [CheckReceipt(1, more)]
    assert script.do(ReceiptProven(1, more)) == [SendMessage(2, more, answered=True)]


def test_a_receipt_goes_one_peer_far() -> None:
    script = relay()
    script.do(MessageReceived(1, linked_to(ME, CYD)))
    receipt = signed(CYD, Head(ANN_LOG, 3))
    assert script.do(MessageReceived(1, receipt)) == [] == script.do(ReceiptProven(1, receipt))


def test_in_a_large_room_nothing_is_passed_on() -> None:
    script = relay(max_links=1)
    receipt = signed(BOB, Head(ANN_LOG, 3))
    assert script.do(MessageReceived(1, receipt)) == [] == script.do(ReceiptProven(1, receipt))


def test_who_reads_nothing_gets_the_newest_receipt_of_each_once_it_reads() -> None:
    script = relay()
    script.mesh.links[2].clogged = True
    for seq in range(1, 9):
        assert script.do(ReceiptProven(1, signed(BOB, Head(ANN_LOG, seq)))) == []
    script.link(CYD, 3)
    script.do(ReceiptProven(3, signed(CYD, Head(ANN_LOG, 1))))
    done = script.do(LinkDrained(2))
    assert done == [SendMessage(2, signed(BOB, Head(ANN_LOG, 8)), answered=True)]
    done = script.do(MessageSent(2, clogged=False))
    assert done == [SendMessage(2, signed(CYD, Head(ANN_LOG, 1)), answered=True)]
    assert script.do(MessageSent(2, clogged=False)) == []


def test_of_members_that_come_and_go_the_last_ones_receipts_are_passed_on() -> None:
    script = relay()
    script.mesh.links[2].clogged = True
    for number in range(receipts.MAX_PASSED + 3):
        other = test_mesh.member(number)
        script.link(other, 10 + number)
        script.do(ReceiptProven(10 + number, signed(other, Head(ANN_LOG, 1))))
        script.do(LinkClosed(10 + number, "closed"))
    link = script.mesh.links[2]
    assert list(link.passing) == list(link.passed)
    assert next(iter(link.passed)) == test_mesh.member(3)
    assert len(link.passed) == receipts.MAX_PASSED


def test_a_receipt_shows_what_was_said_in_the_meantime_too() -> None:
    script = behind_relays(ANN, frontier={MY_LOG: 1})
    script.do(PostsTyped(("more",), 7), RunStored(None, MY_LOG, 2))
    shown = script.do(ReceiptProven(1, signed(BOB, Head(MY_LOG, 2))))
    assert shown == [ShowConfirmed(0, 2, ((ANN, 0), (BOB, 2)))]
