"""The contacts by themselves: what is known, what is a spare, what is dialed when."""

from random import Random
from typing import Any

import contacts
from contacts import NEVER, Contacts
from events import (
    Action,
    Address,
    ForgetAddress,
    LookUpName,
    OpenLink,
    RememberAddress,
    ShowNotice,
)

ANN, BOB, ZOE = (letter * 32 for letter in (b"A", b"B", b"Z"))
TELLER, OTHER = b"T" * 32, b"O" * 32
ANN_AT, BOB_AT, ZOE_AT = (("10.0.0.1", 5000), ("10.0.0.2", 5000), ("10.0.0.3", 5000))


class Book(Contacts):
    """Contacts of a node that wants `max_links`; what it does, and who is linked."""

    def __init__(self, max_links: int = 1) -> None:
        self.members: dict[bytes, object] = {}
        self.done: list[Action] = []
        self.refused: set[bytes] = set()
        super().__init__(
            self.members,
            max_links,
            Random(1),
            lambda address, over: True,
            self.done.append,
            self.refused,
        )

    def dialed(self) -> list[Address]:
        dialed = [action.address for action in self.done if isinstance(action, OpenLink)]
        self.done.clear()
        return dialed

    def is_spare(self, address: Address) -> bool:
        return address in self._spares


def found(book: Book, address: Address, link: int, member: bytes) -> None:
    book.opened(address, link)
    book.proven(address, link, member)


def test_what_a_peer_told_of_first_and_a_person_names_then_is_remembered_as_named() -> None:
    book = Book()
    book.hear([(ZOE_AT, ZOE, 0.0)], ZOE_AT, TELLER, 0.0)
    assert book.dialed() == [ZOE_AT]
    book.learn(ZOE_AT, "you", None, 0.0)
    assert book.done == [RememberAddress(ZOE_AT, "you", None, answered=False)]
    assert book.known[ZOE_AT].named and book.known[ZOE_AT].member == ZOE


def test_who_is_turned_away_as_somebody_that_is_linked_meanwhile_is_not_dialed_again() -> None:
    book = Book()
    book.learn(ZOE_AT, "you", None, 0.0)
    found(book, ZOE_AT, 1, ZOE)
    book.members[ZOE] = object()
    book.ended(ZOE_AT, 1, 0.0)
    book.failed(ZOE_AT, "linked already", 0.0, reached=True)
    assert book.known[ZOE_AT].next_try is None and not book.is_spare(ZOE_AT)
    book.ended(BOB_AT, 9, 0.0)
    book.failed(BOB_AT, "nobody knows it any more", 0.0, reached=False)
    assert BOB_AT not in book.known


def test_ones_own_address_is_neither_dialed_again_nor_a_spare() -> None:
    book = Book()
    book.learn(ZOE_AT, "link", None, 0.0)
    found(book, ZOE_AT, 1, ANN)
    book.known[ZOE_AT].is_self = True
    book.ended(ZOE_AT, 1, 0.0)
    book.failed(ZOE_AT, "it is ourselves", 0.0, reached=True)
    book.members[BOB] = object()
    book.hear([(ZOE_AT, ANN, 0.0)], ZOE_AT, TELLER, 0.0)
    assert book.known[ZOE_AT].next_try is None and not book.is_spare(ZOE_AT)


def test_an_address_whose_member_has_called_meanwhile_is_not_dialed_any_more() -> None:
    book = Book(max_links=2)
    book.learn(ZOE_AT, "link", None, 0.0)
    found(book, ZOE_AT, 1, ZOE)
    book.ended(ZOE_AT, 1, 0.0)  # a second link to ZOE was there first, but is not up yet
    assert book.deadline() == contacts.HEARSAY_S
    book.members[ZOE] = object()
    book.dialed()
    book.dial(contacts.HEARSAY_S)
    assert book.dialed() == [] and book.deadline() == NEVER


def test_spares_are_dialed_where_links_are_missing_those_a_person_named_first() -> None:
    book = Book()
    book.members[BOB] = object()
    told = [((f"10.1.0.{number}", 5000), bytes([number]) * 32, 0.0) for number in range(9)]
    book.hear(told, ZOE_AT, TELLER, 0.0)
    book.learn(ZOE_AT, "you", None, 0.0)
    found(book, ZOE_AT, 1, ZOE)
    book.ended(ZOE_AT, 1, 0.0)
    book.failed(ZOE_AT, "full", 0.0, reached=True)
    assert book.is_spare(ZOE_AT)
    book.dialed()
    del book.members[BOB]
    book.lost(BOB, "gone", 1.0, was_good=True)
    book.dial(1.0)
    first, *others = book.dialed()
    assert first == ZOE_AT and len(others) == 1  # as it has failed once, one more is tried


def test_a_node_with_links_enough_tries_any_other_whatever_became_of_the_one_a_person_named() -> (
    None
):
    book = Book()
    book.learn(ZOE_AT, "you", None, 0.0)
    found(book, ZOE_AT, 1, ZOE)
    book.ended(ZOE_AT, 1, 0.0)
    book.members[BOB] = object()
    book.failed(ZOE_AT, "full", 0.0, reached=True)
    told = [((f"10.1.0.{number}", 5000), bytes([number]) * 32, 0.0) for number in range(9)]
    book.hear(told, ZOE_AT, TELLER, 0.0)
    book.dial(0.0)
    assert 0.5 * contacts.EXPLORE_S <= book.deadline() <= 1.5 * contacts.EXPLORE_S
    tried = set()
    for _ in range(2000):
        now = book.deadline()
        book.dial(now)
        for address in book.dialed():
            tried.add(address)
            book.opened(address, 9)
            book.ended(address, 9, now)
            book.failed(address, "refused", now, reached=False)
    assert {address for address, _, _ in told} <= tried


def test_the_end_of_a_link_costs_no_look_at_everything_for_each_address_of_its_member() -> None:
    book = Book()
    looks = 0

    def look(now: float) -> int:
        nonlocal looks
        looks += 1
        return 0

    book.hear(
        [((f"10.1.{n >> 8}.{n & 255}", 5000), ZOE, 0.0) for n in range(1000)], ZOE_AT, TELLER, 0.0
    )
    book._missing = look  # type: ignore[method-assign]
    book.lost(ZOE, "gone", 1.0, was_good=True)
    assert looks <= 1


def test_a_book_full_of_what_was_found_true_has_room_for_what_a_person_names() -> None:
    book = Book(max_links=2000)
    book.members[ZOE] = object()
    for number in range(contacts.MAX_ADDRESSES):
        address = (f"10.1.{number >> 8}.{number & 255}", 5000)
        book.learn(address, "link", None, 0.0)
        found(book, address, number, ZOE)
        book.ended(address, number, 0.0)
    book.dialed()
    book.learn(BOB_AT, "you", None, 0.0)
    assert book.dialed() == [BOB_AT]


def test_the_next_one_is_tried_only_where_spares_are_left_whose_members_are_not_linked() -> None:
    book = Book()
    book.members[BOB] = object()
    book.hear([(ZOE_AT, ZOE, 0.0)], ZOE_AT, TELLER, 0.0)
    book.members[ZOE] = object()
    book.dial(0.0)
    book.dial(book.deadline())
    assert book.dialed() == []


def test_who_leaves_dials_nobody() -> None:
    book = Book()
    book.hear([(ZOE_AT, ZOE, 5.0)], ZOE_AT, TELLER, 0.0)
    assert book.deadline() == 5.0
    book.leave()
    book.lost(ZOE, "gone", 1.0, was_good=True)
    book.dial(5.0)
    assert book.dialed() == [] and book.deadline() == NEVER


def test_of_what_a_peer_tells_only_that_is_kept_which_the_room_reaches_and_for_which_is_room() -> (
    None
):
    book = Book(max_links=2)
    book._may_learn_from = lambda address, over: (address, over) != (ANN_AT, ZOE_AT)
    book.hear([(ANN_AT, ANN, 0.0), (BOB_AT, BOB, 0.0)], ZOE_AT, TELLER, 0.0)
    assert list(book.known) == [BOB_AT] == book.dialed()
    for number in range(contacts.MAX_ADDRESSES - 1):
        book.learn((f"10.1.{number >> 8}.{number & 255}", 5000), "you", None, 0.0)
    book.hear([(ZOE_AT, ZOE, 0.0)], ZOE_AT, TELLER, 0.0)
    assert ZOE_AT not in book.known and len(book.known) == contacts.MAX_ADDRESSES


def test_the_reason_and_the_time_of_the_last_dial_that_failed_are_remembered() -> None:
    book = Book()
    book.learn(ZOE_AT, "you", None, 0.0)
    for number, reason in enumerate(("connection refused", "no route to host"), 1):
        book.opened(ZOE_AT, number)
        book.ended(ZOE_AT, number, float(number))
        book.failed(ZOE_AT, reason, float(number), reached=False)
        known = book.known[ZOE_AT]
        assert (known.failures, known.failure, known.failed_at) == (number, reason, number)
    found(book, ZOE_AT, 3, ZOE)
    book.lost(ZOE, "goodbye", 9.0, was_good=True)
    assert book.known[ZOE_AT].failure == "no route to host"  # the end of a link is no dial


def test_who_has_moved_is_told_of_where_it_was_found_last_while_it_is_called_where_it_was() -> None:
    book, moved_to = Book(), ("10.0.0.4", 5000)
    book.learn(ZOE_AT, "you", None, 0.0)
    found(book, ZOE_AT, 1, ZOE)
    book.is_up(ZOE_AT)
    book.members[ZOE] = object()
    assert book.where([ZOE]) == {ZOE: ZOE_AT}
    del book.members[ZOE]
    book.ended(ZOE_AT, 1, 10.0)
    book.lost(ZOE, "not heard for 12 s", 10.0, was_good=True)
    book.dial(11.0)
    book.opened(ZOE_AT, 2)  # and nothing comes back
    book.called_from(moved_to, ZOE, 11.0, 0.0)
    book.members[ZOE] = object()
    assert book.dialed() == [ZOE_AT, ZOE_AT, moved_to]
    found(book, moved_to, 3, ZOE)
    assert book.where([ZOE]) == {ZOE: moved_to}
    book.ended(moved_to, 3, 11.0)
    assert book.where([ZOE]) == {ZOE: moved_to}


def test_who_is_found_at_a_second_address_is_told_of_where_the_link_is() -> None:
    book = Book()
    for link, address in ((1, ZOE_AT), (2, BOB_AT)):
        book.learn(address, "you", None, 0.0)
        found(book, address, link, ZOE)
        if link == 1:
            book.is_up(address)
            book.members[ZOE] = object()
    assert book.where([ZOE]) == {ZOE: ZOE_AT}


def test_who_calls_from_where_a_peer_has_found_it_is_called_back_some_time_later() -> None:
    book = Book(max_links=30)
    book.members.update((bytes([number]) * 32, object()) for number in range(27))
    book.hear([(ZOE_AT, ZOE, 1.0), (BOB_AT, BOB, 1.0)], ANN_AT, ANN, 0.0)
    for address, member in ((ZOE_AT, ZOE), (BOB_AT, TELLER), (("10.0.0.4", 5000), OTHER)):
        book.members[member] = object()
        book.called_from(address, member, 0.5, 0.0)
        book.dial(0.5)
    assert book.dialed() == [BOB_AT, ("10.0.0.4", 5000)], "where nobody was found, or another one"
    book.dial(1.2)
    assert book.dialed() == [], "it was to be dialed for a link, and that is there"
    assert book.proof_s() == contacts.PROOF_S, "as many are linked as are wanted"
    book.dial(0.5 + contacts.PROOF_S)
    assert book.dialed() == [ZOE_AT]


def test_who_is_linked_and_yet_to_be_called_back_takes_no_link_from_others() -> None:
    book = Book(max_links=2)
    book.hear([(ZOE_AT, ZOE, 0.5)], ANN_AT, ANN, 0.0)
    book.members[ZOE] = object()
    book.hear([(BOB_AT, BOB, 0.0)], ANN_AT, ANN, 0.0)
    assert book.dialed() == [BOB_AT]


def test_whom_the_user_wants_no_link_to_is_not_dialed_by_any_way() -> None:
    book = Book(max_links=2)
    book.hear([(ZOE_AT, ZOE, 5.0)], ZOE_AT, TELLER, 0.0)  # to be dialed later
    book.learn(BOB_AT, "you", None, 0.0)
    found(book, BOB_AT, 1, BOB)
    book.members[BOB] = object()
    book.refused |= {ZOE, BOB}
    del book.members[BOB]
    book.ended(BOB_AT, 1, 1.0)
    book.lost(BOB, "disconnected", 1.0, was_good=True)
    book.hear([(ZOE_AT, ZOE, 0.0), (("10.1.0.1", 5000), BOB, 0.0)], ZOE_AT, TELLER, 2.0)
    book.dialed()
    while book.deadline() < NEVER:
        book.dial(book.deadline())
    assert book.dialed() == [] and book.known[BOB_AT].next_try is None


def test_a_spare_whom_the_user_wants_no_link_to_stays_one_and_is_not_explored() -> None:
    book = Book()
    book.members[BOB] = object()
    book.hear([(ZOE_AT, ZOE, 0.0), (ANN_AT, ANN, 0.0)], ZOE_AT, TELLER, 0.0)
    assert book.is_spare(ZOE_AT) and book.is_spare(ANN_AT)
    book.refused.add(ZOE)
    tried = set()
    for _ in range(contacts.HEARSAY_TRIES // 2):
        book.dial(book.deadline())
        for address in book.dialed():
            tried.add(address)
            book.opened(address, 9)
            book.ended(address, 9, 0.0)
            book.failed(address, "refused", 0.0, reached=False)
    assert tried == {ANN_AT}
    del book.members[BOB]
    book.lost(BOB, "gone", 9000.0, was_good=True)
    book.dial(9000.0)
    assert book.dialed() == [ANN_AT] and book.is_spare(ZOE_AT)


# Names

HOME, HOME_NOW, HOME_LATER = ("zoe.example", 5000), ("10.1.0.1", 5000), ("10.1.0.2", 5000)


def looked_up(book: Book) -> list[Address]:
    names = [action.address for action in book.done if isinstance(action, LookUpName)]
    book.done[:] = [action for action in book.done if not isinstance(action, LookUpName)]
    return names


def test_a_name_is_looked_up_and_where_it_leads_is_dialed_and_not_told_as_a_name() -> None:
    book = Book()
    book.learn(HOME, "you", None, 0.0)
    assert looked_up(book) == [HOME] and book.dialed() == []
    book.looked_up(HOME, (HOME_NOW, HOME_LATER), "", 1.0)
    assert sorted(book.dialed()) == [HOME_NOW, HOME_LATER]
    assert book.known[HOME_NOW].wanted and not book.known[HOME_NOW].named
    found(book, HOME_NOW, 1, ZOE)
    assert book.done == [RememberAddress(HOME, "you", ZOE, answered=True)]
    book.members[ZOE] = object()
    assert book.is_up(HOME_NOW) is False
    assert book.where([ZOE]) == {ZOE: HOME_NOW}
    book.dial(1000.0)
    assert looked_up(book) == [], "it leads to somebody who is linked"


def test_a_name_is_looked_up_again_when_who_was_there_is_gone_until_it_leads_to_somebody() -> None:
    book = Book()
    book.learn(HOME, "you", None, 0.0)
    book.looked_up(HOME, (HOME_NOW,), "", 0.0)
    found(book, HOME_NOW, 1, ZOE)
    book.members[ZOE] = object()
    book.dial(100.0)
    book.done.clear()
    del book.members[ZOE]
    book.ended(HOME_NOW, 1, 100.0)
    book.lost(ZOE, "not heard", 100.0, was_good=True)
    names: list[Address] = []
    while not names:
        assert book.deadline() < 101.0
        book.dial(book.deadline())
        names = looked_up(book)
        for address in book.dialed():
            book.failed(address, "no answer", 100.5, reached=False)
    assert names == [HOME]
    book.looked_up(HOME, (HOME_LATER,), "", 106.0)
    assert HOME_LATER in book.dialed()


def test_a_name_that_leads_nowhere_or_to_nobody_is_said_once_and_looked_up_ever_more_rarely() -> (
    None
):
    book = Book()
    book.learn(HOME, "you", None, 0.0)
    now, notices, times = 0.0, [], []
    for number in range(12):
        times.append(now)
        assert looked_up(book) == [HOME]
        if number % 2:
            book.looked_up(HOME, (HOME_NOW,), "", now)
            for address in book.dialed():
                book.failed(address, "connection refused", now, reached=False)
        else:
            book.looked_up(HOME, (), "no such host", now)
        notices += [action for action in book.done if isinstance(action, ShowNotice)]
        book.done.clear()
        while not any(isinstance(action, LookUpName) for action in book.done):
            now = book.deadline()
            book.dial(now)
    assert notices == [ShowNotice("zoe.example:5000 does not answer yet (no such host); trying on")]
    assert times[-1] - times[-2] > 5.0
    assert book.known[HOME].failure in ("no such host", "connection refused")


def test_the_answer_to_a_look_up_that_nobody_waits_for_any_more_leads_to_nothing() -> None:
    book = Book()
    book.looked_up(HOME, (HOME_NOW,), "", 0.0)
    assert not book.known
    book.learn(HOME, "you", None, 0.0)
    book.leave()
    book.looked_up(HOME, (HOME_NOW,), "", 0.0)
    assert list(book.known) == [HOME]


def test_what_a_name_leads_to_finds_no_room_in_a_book_full_of_what_a_person_named() -> None:
    book = Book()
    book.learn(HOME, "you", None, 0.0)
    for number in range(contacts.MAX_ADDRESSES - 1):
        book.learn((f"10.2.{number >> 8}.{number & 255}", 5000), "you", None, 0.0)
    book.looked_up(HOME, (HOME_NOW,), "", 0.0)
    assert HOME_NOW not in book.known


def test_a_name_that_leads_to_ourselves_is_not_looked_up_again() -> None:
    book = Book()
    book.learn(HOME, "you", None, 0.0)
    book.looked_up(HOME, (HOME_NOW,), "", 0.0)
    book.opened(HOME_NOW, 1)
    assert book.is_us(HOME_NOW), "our user wants to know"
    book.ended(HOME_NOW, 1, 0.0)
    looked_up(book)
    book.dialed()
    book.dial(1000.0)
    assert book.done == []
    assert not book.is_us(BOB_AT), "whom nobody asked for"


# An end


def failed_for_a_day(book: Book, address: Address) -> None:
    for number in range(contacts.LOST_TRIES):
        if address in book.known:
            book.failed(address, "no answer", 600.0 * number, reached=False)


def test_what_a_person_deletes_is_dialed_no_more_until_somebody_tells_of_it_again() -> None:
    book = Book()
    book.delete(ZOE_AT, 0.0)
    book.learn(ZOE_AT, "you", None, 0.0)
    book.failed(ZOE_AT, "connection refused", 0.0, reached=False)
    book.dialed()
    book.delete(ZOE_AT, 0.1)
    assert not book.known and book.deadline() == NEVER
    book.learn(ZOE_AT, "you", None, 1.0)
    assert book.dialed() == [ZOE_AT]


def test_a_link_to_what_a_person_deletes_stays_and_is_not_made_again() -> None:
    book = Book()
    book.learn(ZOE_AT, "you", None, 0.0)
    found(book, ZOE_AT, 1, ZOE)
    book.members[ZOE] = object()
    assert book.is_up(ZOE_AT) is False
    book.dialed()
    book.delete(ZOE_AT, 1.0)
    del book.members[ZOE]
    book.ended(ZOE_AT, 1, 2.0)
    book.lost(ZOE, "gone", 2.0, was_good=True)
    assert not book.known and book.done == []


def test_when_something_is_deleted_a_spare_takes_its_place() -> None:
    book = Book()
    book.members[BOB] = object()
    book.hear([(ZOE_AT, ZOE, 0.0)], BOB_AT, TELLER, 0.0)
    del book.members[BOB]
    assert book.is_spare(ZOE_AT)
    book.learn(ANN_AT, "link", None, 0.0)
    book.dialed()
    book.delete(ANN_AT, 0.0)
    assert book.known[ZOE_AT].link == -1


def test_with_a_name_that_is_deleted_goes_what_it_has_led_to_but_not_who_answered_there() -> None:
    book = Book(max_links=3)
    book.learn(HOME, "you", None, 0.0)
    book.looked_up(HOME, (HOME_NOW, HOME_LATER, ANN_AT), "", 0.0)
    book.known[ANN_AT].via = None  # another name has led there since
    found(book, HOME_NOW, 1, ZOE)
    assert book.known[HOME_NOW].wanted
    book.delete(HOME, 1.0)
    assert sorted(book.known) == sorted([HOME_NOW, ANN_AT])
    assert not book.known[HOME_NOW].wanted


def test_where_nobody_answers_for_a_day_while_others_do_is_let_go_for_good() -> None:
    book = Book(max_links=2)
    book.members[BOB] = object()
    book.learn(ZOE_AT, "link", ZOE, 0.0)
    book.learn(ANN_AT, "you", None, 0.0)
    failed_for_a_day(book, ZOE_AT)
    failed_for_a_day(book, ANN_AT)
    assert ForgetAddress(ZOE_AT) in book.done and ZOE_AT not in book.known
    assert ANN_AT in book.known, "a person named it"


def test_who_is_alone_forgets_nobody_for_it_may_be_alone_because_its_network_is_down() -> None:
    book = Book(max_links=2)
    book.learn(ZOE_AT, "link", ZOE, 0.0)
    failed_for_a_day(book, ZOE_AT)
    assert book.known[ZOE_AT].next_try is not None


def test_of_many_that_a_person_named_not_all_are_dialed_at_once_and_they_keep_nobody_waiting() -> (
    None
):
    book = Book(max_links=16)
    named = [("10.1.0.1", 1000 + number) for number in range(contacts.MAX_NAMED_DIALS + 99)]
    for address in named:
        book.learn(address, "you", None, 0.0)
    first = book.dialed()
    assert len(first) == contacts.MAX_NAMED_DIALS
    book.hear([(ZOE_AT, ZOE, 0.0)], BOB_AT, TELLER, 0.0)
    assert book.dialed() == [ZOE_AT]
    assert book.deadline() == NEVER, "nothing to be done before one of these has ended"
    for address in first:
        book.opened(address, 9)
        book.ended(address, 9, 10.0)
        book.failed(address, "no answer", 10.0, reached=False)
    assert book.deadline() <= 10.0
    book.dial(10.0)
    assert set(book.dialed()) == set(named) - set(first)


# Who would have us dial others


def lies(book: Book, now: float) -> list[Address]:
    """A member tells of a hundred ports of somebody, once a second for a minute, and nobody it
    knows is there; what is dialed."""
    dialed: list[Address] = []

    def fail(moment: float) -> None:
        for address in book.dialed():
            dialed.append(address)
            book.opened(address, 9)
            book.ended(address, 9, moment)
            book.failed(address, "connection refused", moment, reached=False)

    for second in range(60):
        at = [("9.9.9.9", 1000 + 100 * second + port) for port in range(100)]
        told = [(address, Random(str(address)).randbytes(32), 0.0) for address in at]
        book.hear(told, ZOE_AT, TELLER, now + second)
        fail(now + second)
        while (moment := book.deadline()) < now + second + 1:
            book.dial(moment)
            fail(moment)
    return dialed


def test_a_member_that_lies_has_us_dial_strangers_for_a_moment_and_then_once_a_second() -> None:
    book = Book(max_links=16)
    assert contacts.RUMOURS <= len(lies(book, 0.0)) <= contacts.RUMOURS + 61
    assert len(lies(book, 60.0)) <= 61
    assert contacts.RUMOURS <= len(lies(book, 600.0)) <= contacts.RUMOURS + 61


def test_what_was_true_costs_no_belief_and_what_a_person_or_a_caller_named_waits_for_no_lie() -> (
    None
):
    book = Book(max_links=1000)
    for number in range(2 * contacts.RUMOURS):
        address, member = ("10.1.0.1", 1000 + number), number.to_bytes(32, "big")
        book.hear([(address, member, 0.0)], ZOE_AT, TELLER, 0.1 * number)
        assert book.dialed() == [address]
        found(book, address, number, member)
        book.members[member] = object()
        book.is_up(address)
    lies(book, 20.0)
    book.learn(ANN_AT, "you", None, 80.0)
    book.called_from(BOB_AT, BOB, 80.0, 0.0)
    assert {ANN_AT, BOB_AT} <= set(book.dialed())


# What is said


def notices(book: Book) -> list[str]:
    said = [action.text for action in book.done if isinstance(action, ShowNotice)]
    book.done.clear()
    return said


def test_that_an_address_does_not_answer_is_said_once_though_it_is_named_twice_at_the_start() -> (
    None
):
    book = Book(max_links=3)
    for at in (0.0, 1.0):
        book.learn(BOB_AT, "you", None, at)
        book.failed(BOB_AT, "connection refused", at, reached=False)
    assert len(notices(book)) == 1
    book.learn(BOB_AT, "you", None, 100.0)
    book.failed(BOB_AT, "connection refused", 100.0, reached=False)
    assert len(notices(book)) == 1, "who asks again is told again"


def test_who_has_no_ipv6_hears_of_that_only_if_nothing_else_is_named() -> None:
    book = Book(max_links=3)
    six = ("2a0a::1", 5000)
    book.learn(six, "you", None, 0.0)
    book.failed(six, "network is unreachable", 0.0, reached=False)
    assert notices(book) == [
        "[2a0a::1]:5000 does not answer yet (network is unreachable); trying on"
    ]
    book.learn(BOB_AT, "you", None, 10.0)
    book.learn(six, "you", None, 10.0)
    book.failed(six, "network is unreachable", 10.0, reached=False)
    assert notices(book) == []
    book.failed(BOB_AT, "network is unreachable", 10.0, reached=False)
    assert len(notices(book)) == 1


def test_who_tells_many_lies_does_not_delay_what_others_tell(monkeypatch: Any) -> None:
    monkeypatch.setattr(contacts, "RUMOURS", 1)
    book = Book(max_links=9)
    lies = [((f"10.3.{n >> 8}.{n & 255}", 5000), bytes([n & 255, n >> 8]) * 16) for n in range(300)]
    book.hear([(at, member, 0.0) for at, member in lies], BOB_AT, TELLER, 0.0)
    # One of the true ones was told by the liar first.
    book.hear([(*lies[7], 0.0), (ZOE_AT, ZOE, 0.0), (ANN_AT, ANN, 0.0)], BOB_AT, OTHER, 0.0)
    dialed: list[Address] = []
    now = 0.0
    while not {lies[7][0], ZOE_AT, ANN_AT} <= set(dialed):
        now = book.deadline()
        book.dial(now)
        for address in book.dialed():
            dialed.append(address)
            book.failed(address, "no answer", now, reached=False)
    assert now <= 8.0 * contacts.RUMOUR_S and len(dialed) <= 8


def test_of_peers_only_the_last_ones_are_remembered_as_having_had_their_turn() -> None:
    book = Book()
    for number in range(contacts.MAX_TURNS + 5):
        book.hear([(ZOE_AT, ZOE, 0.0)], BOB_AT, bytes([number]) * 32, float(number))
    assert len(book._turns) == contacts.MAX_TURNS
    assert len(book.known[ZOE_AT].tellers) == contacts.MAX_TELLERS
