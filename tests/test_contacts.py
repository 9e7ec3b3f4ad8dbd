"""The contacts by themselves: what is known, what is a spare, what is dialed when."""

from random import Random

import contacts
from contacts import NEVER, Contacts
from events import Action, Address, OpenLink, RememberAddress

ANN, BOB, ZOE = (letter * 32 for letter in (b"A", b"B", b"Z"))
ANN_AT, BOB_AT, ZOE_AT = (("10.0.0.1", 5000), ("10.0.0.2", 5000), ("10.0.0.3", 5000))


class Book(Contacts):
    """Contacts of a node that wants `max_links`; what it does, and who is linked."""

    def __init__(self, max_links: int = 1) -> None:
        self.members: dict[bytes, object] = {}
        self.done: list[Action] = []
        super().__init__(self.members, max_links, Random(1), lambda _: True, self.done.append)

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
    book.hear([(ZOE_AT, ZOE, 0.0)], 0.0)
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
    book.failed(ZOE_AT, "linked already", 0.0)
    assert book.known[ZOE_AT].next_try is None and not book.is_spare(ZOE_AT)
    book.ended(BOB_AT, 9, 0.0)
    book.failed(BOB_AT, "nobody knows it any more", 0.0)
    assert BOB_AT not in book.known


def test_ones_own_address_is_neither_dialed_again_nor_a_spare() -> None:
    book = Book()
    book.learn(ZOE_AT, "link", None, 0.0)
    found(book, ZOE_AT, 1, ANN)
    book.known[ZOE_AT].is_self = True
    book.ended(ZOE_AT, 1, 0.0)
    book.failed(ZOE_AT, "it is ourselves", 0.0)
    book.members[BOB] = object()
    book.hear([(ZOE_AT, ANN, 0.0)], 0.0)
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
    book.hear(told, 0.0)
    book.learn(ZOE_AT, "you", None, 0.0)
    found(book, ZOE_AT, 1, ZOE)
    book.ended(ZOE_AT, 1, 0.0)
    book.failed(ZOE_AT, "full", 0.0)
    assert book.is_spare(ZOE_AT)
    book.dialed()
    del book.members[BOB]
    book.lost(BOB, "gone", 1.0, was_good=True)
    book.dial(1.0)
    first, *others = book.dialed()
    assert first == ZOE_AT and len(others) == 1  # as it has failed once, one more is tried


def test_a_node_with_links_enough_tries_one_that_nobody_ever_failed_to_reach() -> None:
    book = Book()
    book.members[BOB] = object()
    told = [((f"10.1.0.{number}", 5000), bytes([number]) * 32, 0.0) for number in range(9)]
    book.hear(told, 0.0)
    for address, _, _ in told[1:]:
        book.known[address].failures = 1
    book.dial(0.0)
    at = book.deadline()
    assert 0.5 * contacts.EXPLORE_S <= at <= 1.5 * contacts.EXPLORE_S
    book.dial(at)
    assert book.dialed() == [told[0][0]] and book.known[told[0][0]].exploring


def test_the_next_one_is_tried_only_where_spares_are_left_whose_members_are_not_linked() -> None:
    book = Book()
    book.members[BOB] = object()
    book.hear([(ZOE_AT, ZOE, 0.0)], 0.0)
    book.members[ZOE] = object()
    book.dial(0.0)
    book.dial(book.deadline())
    assert book.dialed() == []


def test_who_leaves_dials_nobody() -> None:
    book = Book()
    book.hear([(ZOE_AT, ZOE, 5.0)], 0.0)
    assert book.deadline() == 5.0
    book.leave()
    book.lost(ZOE, "gone", 1.0, was_good=True)
    book.dial(5.0)
    assert book.dialed() == [] and book.deadline() == NEVER
