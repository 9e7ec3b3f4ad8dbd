"""The mesh, as transcripts: `>>` what happens to it, and `<<` all that it does about it.

`me` is the node that is tested; the id of `ann` is smaller, the id of `zoe` larger. A
transcript is exact: an action too many, too few or elsewhere fails it, and so does a
TimePassed at any other time than the one at which the mesh asked for it.
"""

from collections import Counter
from itertools import count, pairwise
from random import Random
from typing import Any

import pytest

import contacts
import events
import mesh
import protocol
import receipts
from events import (
    AddressLearned,
    CallersRefused,
    CloseLink,
    Event,
    LinkClosed,
    LinkOpened,
    LinkSecured,
    MessageReceived,
    OpenLink,
    RunStored,
    SendEntries,
    SendMessage,
    ShowLink,
    ShowNotice,
    TimePassed,
)
from mesh import Mesh
from protocol import Entry, Fork, Frontier, Have, Head, Hello, Log, Peer, Peers, Ping, Pong

ANN, ME, ZOE, BOB = (letter * 32 for letter in (b"A", b"M", b"Z", b"B"))
ANN_LOG, MY_LOG, ZOE_LOG, BOB_LOG = (member + bytes(8) for member in (ANN, ME, ZOE, BOB))
ANN_AT, ME_AT, ZOE_AT, BOB_AT = ((f"10.0.0.{n}", 5000) for n in (1, 2, 3, 4))
NEAR_ALL = ("10.0.0.9", 50_000)  # where those call from that are linked in a Script
STARTED_MS = 1_000_000
MY_HELLO = Hello("me", 5000, 1)
PROOF = Fork(b"one", b"other")
TWICE = (
    " is not let in: another node uses the same key, and is linked already; somebody runs a copy "
    "of a data folder"
)
COPY = (
    "a copy of your data folder must not run beside it; stop one of them, or give it a folder of "
    "its own with --data"
)


def hello_to(address: events.Address) -> Hello:
    return MY_HELLO.but(seen=address[0])


def sent(actions: list[events.Action]) -> list[protocol.Message]:
    return [action.message for action in actions if isinstance(action, SendMessage)]


def entry(log: Log, seq: int, time_ms: int = STARTED_MS) -> Entry:
    return Entry(log, seq, protocol.NO_PREVIOUS, time_ms, (), protocol.POSTS, b"", b"")


NAMES: dict[str, Any] = {**vars(protocol), **vars(events)}
NAMES |= {name: value for name, value in globals().items() if name.isupper() or name == "entry"}
BY_BYTES = {v: name for name, v in NAMES.items() if isinstance(v, bytes) and len(v) >= 32}
BY_BYTES |= {v: n for n, v in NAMES.items() if n.endswith("_AT")}


class Highest(Random):
    """Random numbers that are exact in a transcript: always the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Script:
    """One mesh, and what happens to it."""

    def __init__(self, random: Random | None = None, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "log": MY_LOG,
            "name": "me",
            "port": 5000,
            "instance": 1,
            "random": random or Highest(),
            "frontier": {},
            "forks": {},
            "named": True,
            "started": 0.0,
            "started_ms": STARTED_MS,
        }
        self.mesh = Mesh(**(defaults | options))
        self.now = 0.0

    def play(self, transcript: str) -> None:
        event, at, expected = "", 0, list[str]()
        for number, line in enumerate([*transcript.strip().splitlines(), "0 >> end"]):
            stamp, mark, text = line.strip().rpartition(">> ")
            if not mark:
                expected.append(text.removeprefix("<< "))
                continue
            if event:
                self._step(f"line {at}: {event}", event, expected)
            if text != "end":
                self.now = float(stamp) if stamp.strip() else self.now
            event, at, expected = text, number + 1, []

    def _step(self, where: str, text: str, expected: list[str]) -> None:
        due, event = self.mesh.deadline(), eval(text, NAMES)
        while due is not None and due < self.now - 1e-6:  # it may be early, and then does nothing
            assert self.mesh.handle(TimePassed(), due) == [], f"before {where}"
            early, due = due, self.mesh.deadline()
            assert due is None or due > early
        if isinstance(event, TimePassed):
            assert due is not None and due == pytest.approx(self.now), where
            self.now = due
        assert due is None or due >= self.now - 1e-9, f"{where} comes after a deadline"
        done = [shown(action) for action in self.mesh.handle(event, self.now)]
        assert done == [shown(eval(action, NAMES)) for action in expected], where

    def do(self, *events: Event) -> list[events.Action]:
        return [action for event in events for action in self.mesh.handle(event, self.now)]

    def link(self, member: bytes, number: int, *heads: Head) -> None:
        """A link that has called, from a node that can't be called back, and is settled."""
        self.do(LinkOpened(number, ("10.0.0.9", 40_000 + number), dialed=False))
        self.do(LinkSecured(number, member))
        self.do(MessageReceived(number, Hello(f"{member[:1].decode()}.", 0, number)))
        self.do(MessageReceived(number, Have(heads)))
        self.sleep(mesh.PEERS_S)

    def sleep(self, seconds: float) -> list[tuple[float, events.Action]]:
        """What the mesh does by itself in that time, and when."""
        end, done = self.now + seconds, list[tuple[float, events.Action]]()
        while (due := self.mesh.deadline()) is not None and due <= end:
            self.now = max(due, self.now)
            done += [(self.now, action) for action in self.do(TimePassed())]
        self.now = end
        return done


def shown(thing: Any) -> str:
    """All of it (the repr of some actions leaves out what a person has no use for)."""
    if isinstance(thing, bytes | tuple) and thing in BY_BYTES:
        return BY_BYTES[thing]
    if isinstance(thing, Hello):
        thing = thing.but(seen="")  # a test of its own looks at that
    names = getattr(thing, "_fields", None)
    if names is not None:
        inside = ", ".join(f"{name}={shown(getattr(thing, name))}" for name in names)
        return f"{type(thing).__name__}({inside})"
    if isinstance(thing, tuple):
        return f"({', '.join(map(shown, thing))})"
    return repr(thing)


# Addresses


def test_an_address_is_dialed_until_it_answers_and_said_once_that_it_does_not() -> None:
    Script().play("""
        0.000 >> AddressLearned(ZOE_AT, "you")
              << RememberAddress(ZOE_AT, "you", None, False)
              << OpenLink(ZOE_AT)
              >> LinkOpened(1, ZOE_AT, True)
        0.001 >> LinkClosed(1, "connection refused")
              << ShowNotice("10.0.0.3:5000 does not answer yet (connection refused); trying on")
        0.501 >> TimePassed()
              << OpenLink(ZOE_AT)
              >> LinkOpened(2, ZOE_AT, True)
              >> LinkClosed(2, "connection refused")
        1.501 >> TimePassed()
              << OpenLink(ZOE_AT)
              >> LinkOpened(3, ZOE_AT, True)
              >> LinkSecured(3, ZOE)
              << RememberAddress(ZOE_AT, "you", ZOE, True)
              << SendMessage(3, MY_HELLO)
        1.510 >> MessageReceived(3, Hello("zoe", 5000, 7))
              << ShowLink("up", ZOE, "zoe", ZOE_AT)
              << SendMessage(3, Have(()))
        1.551 >> TimePassed()
              << SendMessage(3, Peers((Peer(ZOE, *ZOE_AT),)))
    """)


def tries(source: str, seed: int, seconds: float) -> list[float]:
    """When an address that never answers is dialed."""
    script, at = Script(Random(seed)), [0.0]
    assert OpenLink(ZOE_AT) in script.do(AddressLearned(ZOE_AT, source, ZOE))
    for link in count(1):
        script.do(LinkOpened(link, ZOE_AT, dialed=True), LinkClosed(link, "refused"))
        due = script.mesh.deadline()
        assert due is not None
        if due > seconds:
            break
        script.sleep(due - script.now)
        at.append(due)
    return at


@pytest.mark.parametrize(
    ("source", "cap", "later"),
    [
        ("you", contacts.BACKOFF_NAMED_S, contacts.BACKOFF_LATER_S),
        ("hearsay", contacts.BACKOFF_OTHERS_S, contacts.BACKOFF_OTHERS_S),
    ],
)
def test_back_off_doubles_up_to_its_cap_and_goes_on_for_ever(
    source: str, cap: float, later: float
) -> None:
    at = tries(source, 1, 200_000.0)
    waits = [after - before for before, after in pairwise(at)]
    assert len(waits) > 300
    for number, wait in enumerate(waits, 1):
        most = cap if number < contacts.NAMED_TRIES else later
        full = min(most, contacts.BACKOFF_S * 2.0 ** min(number, 30))
        assert full / 2 <= wait <= full + 1e-6
    assert len({round(wait, 6) for wait in waits[-100:]}) > 90  # no two wait alike


def test_the_jitter_comes_from_the_random_numbers_that_are_handed_in() -> None:
    assert tries("you", 1, 60.0) == tries("you", 1, 60.0) != tries("you", 2, 60.0)


def test_an_address_that_answers_as_oneself_is_not_dialed_again() -> None:
    script = Script()
    script.play("""
        0.000 >> AddressLearned(ME_AT, "you")
              << RememberAddress(ME_AT, "you", None, False)
              << OpenLink(ME_AT)
              >> LinkOpened(1, ME_AT, True)
              >> LinkOpened(2, ("10.0.0.2", 40000), False)
              >> LinkSecured(1, ME)
              << SendMessage(1, MY_HELLO)
              >> LinkSecured(2, ME)
              >> MessageReceived(2, MY_HELLO)
              << SendMessage(2, MY_HELLO)
              >> MessageReceived(1, MY_HELLO)
              << CloseLink(1)
              << ShowNotice("10.0.0.2:5000 is this very node")
              >> LinkClosed(2, "closed without a goodbye")
              >> AddressLearned(ME_AT, "you")
    """)
    assert script.mesh.deadline() is None and not script.mesh.links


def test_an_address_that_is_deleted_is_not_dialed_again() -> None:
    script = Script()
    script.play("""
        0.000 >> AddressLearned(ZOE_AT, "you")
              << RememberAddress(ZOE_AT, "you", None, False)
              << OpenLink(ZOE_AT)
              >> LinkOpened(1, ZOE_AT, True)
              >> AddressDeleted(ZOE_AT)
        0.001 >> LinkClosed(1, "connection refused")
    """)
    assert script.mesh.deadline() is None


def test_an_address_of_ours_that_others_tell_of_is_found_out_in_silence_and_once() -> None:
    script = Script()
    script.link(BOB, 1)
    script.play("""
        1.000 >> MessageReceived(1, Peers((Peer(ZOE, *ME_AT),)))
              << OpenLink(ME_AT)
              >> LinkOpened(2, ME_AT, True)
              >> LinkSecured(2, ME)
              << SendMessage(2, MY_HELLO)
              >> MessageReceived(2, MY_HELLO)
              << CloseLink(2)
        2.000 >> MessageReceived(1, Peers((Peer(ZOE, *ME_AT),)))
    """)
    assert not any(isinstance(action, OpenLink) for _, action in script.sleep(11.0))


def test_a_caller_is_called_back_and_its_address_passed_on_only_when_proven() -> None:
    script = Script()
    script.link(ANN, 1)
    script.play("""
        1.000 >> LinkOpened(2, ("10.0.0.3", 40000), False)
              >> LinkSecured(2, ZOE)
              >> MessageReceived(2, Hello("zoe", 5000, 7))
              << SendMessage(2, MY_HELLO)
              << ShowLink("up", ZOE, "zoe", ZOE_AT)
              << SendMessage(2, Have(()))
              << RememberAddress(ZOE_AT, "link", ZOE, False)
        1.050 >> TimePassed()
              << SendMessage(1, Peers((Peer(ANN, "", 0), Peer(ZOE, "", 0))))
              << SendMessage(2, Peers((Peer(ANN, "", 0), Peer(ZOE, "", 0))))
              << OpenLink(ZOE_AT)
              >> LinkOpened(3, ZOE_AT, True)
        1.060 >> LinkSecured(3, ZOE)
              << RememberAddress(ZOE_AT, "link", ZOE, True)
              << CloseLink(3)
        1.110 >> TimePassed()
              << SendMessage(1, Peers((Peer(ANN, "", 0), Peer(ZOE, *ZOE_AT))))
              << SendMessage(2, Peers((Peer(ANN, "", 0), Peer(ZOE, *ZOE_AT))))
    """)


def test_a_callers_address_that_never_answers_is_let_go() -> None:
    script = Script()
    script.do(LinkOpened(1, ("10.0.0.3", 40_000), dialed=False), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", 5000, 7)))
    numbers = count(2)
    dials = 0
    for _ in range(60):
        for _, action in script.sleep(1.0):
            if isinstance(action, OpenLink):
                dials += 1
                link = next(numbers)
                script.do(LinkOpened(link, ZOE_AT, dialed=True), LinkClosed(link, "refused"))
        script.do(MessageReceived(1, protocol.Pong()))
    assert dials == contacts.PROOF_TRIES and ZOE in script.mesh.members


def test_who_hears_of_a_member_dials_it_at_once_with_the_smaller_id_and_later_otherwise() -> None:
    script = Script()
    script.link(BOB, 1)
    script.play("""
        1.000 >> MessageReceived(1, Peers((Peer(ZOE, *ZOE_AT), Peer(ANN, *ANN_AT), Peer(ME, *ME_AT))))
              << OpenLink(ZOE_AT)
              >> LinkOpened(2, ZOE_AT, True)
        2.000 >> TimePassed()
              << OpenLink(ANN_AT)
    """)  # noqa: E501


def test_a_member_without_a_proven_address_is_not_dialed() -> None:
    script = Script()
    script.link(BOB, 1)
    script.play('1.0 >> MessageReceived(1, Peers((Peer(ZOE, "", 0), Peer(ANN, "", 5000))))')


def test_a_member_that_failed_and_is_heard_of_again_is_asked_soon() -> None:
    script = Script()
    script.link(BOB, 1)
    script.do(MessageReceived(1, Peers((Peer(ZOE, *ZOE_AT),))))
    known = script.mesh.contacts.known[ZOE_AT]
    known.failures, known.link, known.next_try = 20, None, script.now + contacts.BACKOFF_OTHERS_S
    script.do(MessageReceived(1, Peers((Peer(ZOE, *ZOE_AT),))))
    assert known.next_try == script.now + contacts.BACKOFF_NAMED_S


# Which link stays


class Pair:
    """Two meshes that dial each other at once; what is on the way arrives in any order
    that TCP allows: in order on each connection, the connections in no order."""

    def __init__(self, ids: tuple[bytes, bytes]) -> None:
        self.ids, self.at = ids, (ANN_AT, ZOE_AT)
        self.scripts = [Script(log=member + bytes(8), instance=n) for n, member in enumerate(ids)]
        self.shown: list[list[str]] = [[], []]
        # Pipes, by connection (the side that dialed it) and direction (the side it goes to).
        self.pipes: dict[tuple[int, int], list[Any]] = {}
        for side in (0, 1):
            self.happens(side, AddressLearned(self.at[1 - side], "you"))

    def happens(self, side: int, event: Event) -> None:
        for action in self.scripts[side].do(event):
            if isinstance(action, ShowLink):
                self.shown[side].append(action.state)
            elif isinstance(action, OpenLink) and (side, side) not in self.pipes:
                self.pipes[side, side], self.pipes[side, 1 - side] = [], ["open"]
                self.happens(side, LinkOpened(side, self.at[1 - side], dialed=True))
            elif isinstance(action, SendMessage) and isinstance(action.message, Hello):
                self.pipes[action.link, 1 - side].append(action.message)
            elif isinstance(action, CloseLink):
                self.pipes[action.link, 1 - side].append("close")

    def arrives(self, link: int, side: int) -> None:
        item = self.pipes[link, side].pop(0)
        if item == "open":
            self.happens(side, LinkOpened(link, (self.at[1 - side][0], 40_000), dialed=False))
            self.pipes[link, 1 - side].append("certificate")
        elif item == "certificate":
            self.pipes[link, 1 - side].append("finished")
            self.happens(side, LinkSecured(link, self.ids[1 - side]))
        elif item == "finished":
            self.happens(side, LinkSecured(link, self.ids[1 - side]))
        elif item == "close":
            self.happens(side, LinkClosed(link, "closed"))
        else:
            self.happens(side, MessageReceived(link, item))

    def run(self, choices: list[int]) -> list[int]:
        """Follows `choices`, then always takes the first; how many there were each time."""
        offered: list[int] = []
        while waiting := [pipe for pipe, items in self.pipes.items() if items]:
            step = len(offered)
            offered.append(len(waiting))
            self.arrives(*waiting[choices[step] if step < len(choices) else 0])
        return offered


@pytest.mark.parametrize("ids", [(ANN, ZOE), (ZOE, ANN)])
def test_of_two_links_dialed_at_once_both_ends_keep_the_same_one_in_every_order(
    ids: tuple[bytes, bytes],
) -> None:
    choices: list[int] | None = []
    orders = 0
    while choices is not None:
        pair = Pair(ids)
        offered = pair.run(choices)
        orders += 1
        one, other = (script.mesh for script in pair.scripts)
        assert list(one.links) == list(other.links) and len(one.links) == 1, choices
        assert list(one.members) == [ids[1]] and list(other.members) == [ids[0]], choices
        assert pair.shown == [["up"], ["up"]], choices
        taken = choices + [0] * (len(offered) - len(choices))
        while taken and taken[-1] == offered[len(taken) - 1] - 1:
            taken.pop()
        choices = [*taken[:-1], taken[-1] + 1] if taken else None
    assert orders > 500


@pytest.mark.parametrize("dialed", [True, False])
def test_a_restarted_node_takes_the_place_of_the_link_to_its_earlier_run(dialed: bool) -> None:
    script = Script()
    if dialed:
        script.do(AddressLearned(ZOE_AT, "you"))
    script.do(LinkOpened(1, ZOE_AT, dialed), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", 0, instance=7)))
    script.sleep(1.0)
    script.play("""
        1.000 >> LinkOpened(2, ("10.0.0.3", 40002), False)
              >> LinkSecured(2, ZOE)
              >> MessageReceived(2, Hello("zoe", 0, instance=8))
              << CloseLink(1)
              << SendMessage(2, MY_HELLO)
              << SendMessage(2, Have(()))
              >> MessageReceived(1, Ping())
              >> LinkClosed(1, "connection reset by peer")
    """)
    assert script.mesh.members[ZOE].id == 2


def test_each_is_told_at_which_host_the_other_sees_it_and_on_which_port_it_can_call_back() -> None:
    script = Script(port_for=lambda far: 5000 if far == ZOE_AT else 0)
    script.do(AddressLearned(ZOE_AT, "you"), LinkOpened(1, ZOE_AT, dialed=True))
    (hello,) = sent(script.do(LinkSecured(1, ZOE)))
    assert hello == Hello("me", 5000, 1, seen=ZOE_AT[0])
    script.do(LinkOpened(2, ("10.0.0.9", 40_000), dialed=False), LinkSecured(2, BOB))
    hello, *_ = sent(script.do(MessageReceived(2, Hello("bob", 0, 7, seen="6.6.6.6"))))
    assert hello == Hello("me", 0, 1, seen="10.0.0.9")


def test_of_two_instances_that_take_turns_only_one_is_linked_and_the_other_is_told_why() -> None:
    script = Script()
    script.link(ZOE, 7)
    script.play("""
        1.000 >> LinkOpened(8, ("10.0.0.9", 40008), False)
              >> LinkSecured(8, ZOE)
              >> MessageReceived(8, Hello("zoe", 0, instance=8))
              << CloseLink(7)
              << SendMessage(8, MY_HELLO)
              << SendMessage(8, Have(()))
              >> LinkOpened(9, ("10.0.0.9", 40009), False)
              >> LinkSecured(9, ZOE)
              >> MessageReceived(9, Hello("zoe", 0, instance=7))
              << ShowNotice("zoe (id 5a5a5a5a) at 10.0.0.9:40009" + TWICE)
              << SendMessage(9, Bye(COPIED))
              << CloseLink(9)
              >> LinkClosed(8, "closed")
              << ShowLink("down", ZOE, "zoe", ("10.0.0.9", 40008), "closed")
              >> LinkOpened(10, ("10.0.0.9", 40010), False)
              >> LinkSecured(10, ZOE)
              >> MessageReceived(10, Hello("zoe", 0, instance=7))
              << SendMessage(10, MY_HELLO)
              << ShowLink("up", ZOE, "zoe", ("10.0.0.9", 40010))
              << SendMessage(10, Have(()))
    """)


def test_a_dialed_instance_that_takes_turns_is_told_so_and_dialed_later() -> None:
    script = Script()
    script.link(ZOE, 7)
    script.do(LinkOpened(8, ("10.0.0.9", 40_008), dialed=False), LinkSecured(8, ZOE))
    script.do(MessageReceived(8, Hello("zoe", 0, instance=8)))
    script.do(AddressLearned(ZOE_AT, "you"), LinkOpened(9, ZOE_AT, dialed=True))
    script.mesh.links[9].member = ZOE
    script.do(MessageReceived(9, Hello("zoe", 0, instance=7)))
    assert 9 not in script.mesh.links
    assert script.mesh.contacts.known[ZOE_AT].failure == protocol.COPIED


def test_what_is_remembered_of_instances_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh, "MAX_REPLACED", 2)
    script = Script(max_links=9)
    for number in range(1, 5):
        script.link(member(number), number)
        again = number + 100
        script.do(LinkOpened(again, ("10.0.0.9", 1024), dialed=False))
        script.do(LinkSecured(again, member(number)))
        script.do(MessageReceived(again, Hello("again", 0, instance=again)))
    assert list(script.mesh._replaced) == [member(3), member(4)]


def test_who_dials_a_node_with_its_own_key_says_once_that_there_is_a_copy() -> None:
    script = Script()
    script.do(AddressLearned(BOB_AT, "you"))
    script.play("""
        0.000 >> LinkOpened(1, BOB_AT, True)
              >> LinkSecured(1, ME)
              << SendMessage(1, MY_HELLO)
              >> MessageReceived(1, Hello("me", 5000, instance=99))
              << ShowNotice("another node at 10.0.0.4:5000 uses your key: " + COPY)
              << CloseLink(1)
              << ShowNotice("10.0.0.4:5000 does not answer yet (" + COPIED + "); trying on")
    """)
    assert script.mesh.contacts.known[BOB_AT].next_try is not None
    script.do(LinkOpened(2, ("10.0.0.4", 40_000), dialed=False), LinkSecured(2, ME))
    assert sent(script.do(MessageReceived(2, Hello("me", 5000, instance=99)))) == [
        hello_to(("10.0.0.4", 40_000))
    ]
    again = script.do(MessageReceived(2, Hello("me", 5000, instance=99)))
    assert CloseLink(2) in again


def test_who_is_told_that_another_node_uses_its_key_says_so() -> None:
    script = Script()
    script.do(AddressLearned(BOB_AT, "you"), LinkOpened(1, BOB_AT, dialed=True))
    script.do(LinkSecured(1, BOB))
    said = script.do(MessageReceived(1, protocol.Bye(protocol.COPIED)))
    assert said[0] == ShowNotice("10.0.0.4:5000 says that another node uses your key: " + COPY)
    # It may have lied; who meets the copy itself says so all the same, and then nobody else.
    script.do(LinkOpened(2, ANN_AT, dialed=False), LinkSecured(2, ME))
    met = script.do(MessageReceived(2, Hello("me", 5000, instance=99)))
    assert met[0] == ShowNotice("another node at 10.0.0.1:5000 uses your key: " + COPY)
    script.do(LinkOpened(3, ZOE_AT, dialed=False), LinkSecured(3, ZOE))
    told = script.do(MessageReceived(3, protocol.Bye(protocol.COPIED)))
    assert not any(isinstance(action, ShowNotice) and COPY in action.text for action in told)


# The end of a link


def test_a_link_that_is_silent_is_asked_and_is_dead_within_15_seconds() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.play("""
         1.000 >> MessageReceived(1, Pong())
         6.000 >> TimePassed()
               << SendMessage(1, Ping())
         6.100 >> MessageReceived(1, Pong())
        11.100 >> TimePassed()
               << SendMessage(1, Ping())
        16.100 >> TimePassed()
               << SendMessage(1, Ping())
        18.100 >> TimePassed()
               << CloseLink(1)
               << ShowLink("down", ZOE, "Z.", ("10.0.0.9", 40001), "not heard for 12 s")
    """)
    assert mesh.DEAD_S < 15.0


def test_a_link_over_which_a_long_message_trickles_is_asked_but_not_taken_for_dead() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.play("""
         1.000 >> MessageReceived(1, Pong())
         6.000 >> TimePassed()
               << SendMessage(1, Ping())
        10.000 >> LinkHeard(1)
        11.000 >> TimePassed()
               << SendMessage(1, Ping())
        16.000 >> TimePassed()
               << SendMessage(1, Ping())
        20.000 >> LinkHeard(1)
        21.000 >> TimePassed()
               << SendMessage(1, Ping())
        26.000 >> TimePassed()
               << SendMessage(1, Ping())
        31.000 >> TimePassed()
               << SendMessage(1, Ping())
        32.000 >> TimePassed()
               << CloseLink(1)
               << ShowLink("down", ZOE, "Z.", ("10.0.0.9", 40001), "not heard for 12 s")
               >> LinkHeard(1)
    """)


def test_a_clogged_link_is_acknowledged_to_once_when_it_has_drained() -> None:
    script = Script()
    script.link(ANN, 1)
    script.link(ZOE, 2)
    script.do(RunStored(None, MY_LOG, 1, ()))
    script.do(events.EntriesSent(1, MY_LOG, 1, clogged=True))
    script.do(events.EntriesSent(2, MY_LOG, 1, clogged=False))
    for seq in (1, 2, 3):
        script.now += mesh.NEWS_S
        told = script.do(RunStored(2, ZOE_LOG, seq, ()), events.JournalSynced(), TimePassed())
        assert SendMessage(2, Have((Head(ZOE_LOG, seq),))) in told
        assert [done for done in told if getattr(done, "link", 0) == 1] == []
    drained = script.do(events.LinkDrained(1))
    assert drained[0] == SendMessage(1, Have((Head(ZOE_LOG, 3),)))
    script.do(events.EntriesSent(1, ZOE_LOG, 3, clogged=True))
    script.do(RunStored(2, ANN_LOG, 1, ()), events.JournalSynced(), RunStored(2, ANN_LOG, 2, ()))
    drained = script.do(events.LinkDrained(1))
    assert not any(isinstance(done, SendMessage) for done in drained), "2 is not synced yet"
    assert SendMessage(1, Have((Head(ANN_LOG, 2),))) in script.do(events.JournalSynced())


def test_an_address_that_was_only_told_of_and_never_answers_is_let_go() -> None:
    script = Script()
    script.link(ANN, 1)
    actions = script.do(MessageReceived(1, Peers((Peer(ZOE, *ZOE_AT),))))
    dials = 0
    while ZOE_AT in script.mesh.contacts.known:
        if OpenLink(ZOE_AT) in actions:
            dials += 1
            script.do(LinkOpened(1 + dials, ZOE_AT, dialed=True))
            script.do(LinkClosed(1 + dials, "connection refused"))
        script.do(MessageReceived(1, Ping()))
        actions = [action for _, action in script.sleep(0.1)]
        assert script.now < 100.0
    assert dials == contacts.HEARSAY_TRIES


def test_a_dialed_link_has_10_seconds_for_its_handshake() -> None:
    script = Script()
    script.do(AddressLearned(ZOE_AT, "book"), LinkOpened(1, ZOE_AT, dialed=True))
    script.play("""
         9.000 >> LinkSecured(1, ZOE)
               << RememberAddress(ZOE_AT, "book", ZOE, True)
               << SendMessage(1, MY_HELLO)
         9.050 >> TimePassed()
        10.000 >> TimePassed()
               << CloseLink(1)
        10.500 >> TimePassed()
               << OpenLink(ZOE_AT)
    """)


def test_a_caller_has_10_seconds_for_its_handshake() -> None:
    script = Script()
    script.play("""
         0.000 >> LinkOpened(1, ("10.0.0.3", 40000), False)
        10.000 >> TimePassed()
               << CloseLink(1)
               << ShowNotice("a caller from 10.0.0.3 did not get in: did not finish the handshake in 10 s")
    """)  # noqa: E501
    assert script.mesh.deadline() is None


def test_callers_that_do_not_get_in_are_reported_once_in_a_while_with_their_number() -> None:
    script = Script()
    for number in range(1, 5):
        script.now = 3.5 * number
        script.do(LinkOpened(number, ZOE_AT, dialed=False))
        got = script.do(LinkClosed(number, "no knock of this room", fault=True))
        text = "a caller from 10.0.0.3 did not get in: no knock of this room"
        wanted = {1: [ShowNotice(text)], 4: [ShowNotice(f"{text} (and 2 others)")]}
        assert got == wanted.get(number, [])


def test_those_who_were_refused_at_the_door_are_counted_with_the_others() -> None:
    script = Script()
    text = "a caller from 10.0.0.3 did not get in: too many at once"
    refused = CallersRefused(ZOE_AT, "too many at once", 7)
    assert script.do(refused) == [ShowNotice(f"{text} (and 6 others)")]
    assert script.do(refused) == []
    script.now = 10.0
    assert script.do(refused) == [ShowNotice(f"{text} (and 13 others)")]


@pytest.mark.parametrize("early", ["Have(())", "Peers(())", "Entries((b'',))", "Ping()", "PROOF"])
def test_a_message_before_the_hello_ends_the_link_with_one_notice(early: str) -> None:
    script = Script()
    script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
    reason = f"{type(eval(early, NAMES)).__name__} before its Hello"
    script.play(f"""
        0.000 >> MessageReceived(1, {early})
              << ShowNotice("a node (id 5a5a5a5a) at 10.0.0.3:5000 sent {reason}; link closed")
              << SendMessage(1, Bye("you sent {reason}"))
              << CloseLink(1)
              >> MessageReceived(1, {early})
              >> LinkClosed(1, "closed")
    """)


def test_a_second_hello_ends_the_link_with_one_notice() -> None:
    script = Script()
    script.link(ZOE, 1)
    fault = "sent a hello out of place"
    script.play(f"""
        0.050 >> MessageReceived(1, Hello("zoe", 5000, 7))
              << ShowNotice("Z. (id 5a5a5a5a) at 10.0.0.9:40001 {fault}; link closed")
              << SendMessage(1, Bye("you {fault}"))
              << CloseLink(1)
              << ShowLink("down", ZOE, "Z.", ("10.0.0.9", 40001), "{fault}")
    """)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ('LinkClosed(1, "a frame of 0 bytes", fault=True)', "a frame of 0 bytes"),
        ('RunRefused(1, "an entry with a bad signature")', "an entry with a bad signature"),
    ],
)
def test_whoever_breaks_the_protocol_is_told_so_and_reported_once(fault: str, reason: str) -> None:
    script = Script()
    script.link(ZOE, 1)
    script.play(f"""
        0.050 >> {fault}
              << ShowNotice("Z. (id 5a5a5a5a) at 10.0.0.9:40001 sent {reason}; link closed")
              << SendMessage(1, Bye("you sent {reason}"))
              << CloseLink(1)
              << ShowLink("down", ZOE, "Z.", ("10.0.0.9", 40001), "sent {reason}")
              >> {fault}
        0.100 >> TimePassed()
    """)


def test_what_a_member_does_wrong_without_end_is_told_a_few_times_a_minute() -> None:
    script = Script()

    def faults(count: int) -> list[str]:
        told: list[str] = []
        for _ in range(count):
            script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
            done = script.do(MessageReceived(1, Ping()))
            told += [action.text for action in done if isinstance(action, ShowNotice)]
        return told

    said = "a node (id 5a5a5a5a) at 10.0.0.3:5000 sent Ping before its Hello; link closed"
    assert faults(1000) == [said] * mesh.BLAMES
    script.now = mesh.BLAMES_S
    more = f" ({1000 - mesh.BLAMES} more such things were not told)"
    assert faults(mesh.BLAMES + 1) == [said + more, *[said] * (mesh.BLAMES - 1)]


def test_a_goodbye_is_no_fault_and_its_reason_is_shown() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.play("""
        0.050 >> MessageReceived(1, Bye("goodbye"))
              << CloseLink(1)
              << ShowLink("down", ZOE, "Z.", ("10.0.0.9", 40001), "goodbye")
    """)


def test_a_lost_link_that_was_good_is_dialed_again_without_back_off() -> None:
    script = Script()
    script.do(AddressLearned(ZOE_AT, "you"), LinkOpened(1, ZOE_AT, dialed=True))
    script.mesh.contacts.known[ZOE_AT].failures = 9
    script.do(LinkSecured(1, ZOE), MessageReceived(1, Hello("zoe", 5000, 7)))
    script.sleep(5.5)
    script.play("""
        5.500 >> LinkClosed(1, "connection reset by peer")
              << ShowLink("down", ZOE, "zoe", ZOE_AT, "connection reset by peer")
        5.550 >> TimePassed()
        6.000 >> TimePassed()
              << OpenLink(ZOE_AT)
    """)


def test_who_leaves_says_goodbye_and_dials_nobody() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.do(AddressLearned(ANN_AT, "you"), LinkOpened(2, ANN_AT, dialed=True))
    script.play("""
        0.050 >> Left()
              << SendMessage(1, Bye("goodbye"))
              << CloseLink(1)
              << CloseLink(2)
              >> LinkClosed(1, "closed")
              >> LinkClosed(2, "closed")
              >> AddressLearned(BOB_AT, "you")
              << RememberAddress(BOB_AT, "you", None, False)
    """)


# Entries


def test_a_fresh_link_streams_what_the_other_lacks_run_by_run() -> None:
    script = Script(frontier={MY_LOG: 9, ANN_LOG: 4})
    script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
    script.play("""
        0.000 >> MessageReceived(1, Hello("zoe", 0, 7))
              << SendMessage(1, MY_HELLO)
              << ShowLink("up", ZOE, "zoe", ZOE_AT)
              << SendMessage(1, Have((Head(MY_LOG, 9), Head(ANN_LOG, 4))))
              >> MessageReceived(1, Have((Head(ANN_LOG, 4),), last=False))
              >> MessageReceived(1, Have((Head(MY_LOG, 2),)))
              << ShowConfirmed(0, 2, ((ZOE, 2),))
              << SendEntries(1, MY_LOG, 2)
              >> EntriesSent(1, MY_LOG, 7, False)
              << SendEntries(1, MY_LOG, 7)
              >> EntriesSent(1, MY_LOG, 9, False)
    """)


def test_of_several_logs_that_a_link_lacks_the_oldest_entries_go_first() -> None:
    script = Script(frontier={MY_LOG: 900, ANN_LOG: 700})
    script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", 0, 7)))
    script.play("""
        0.000 >> MessageReceived(1, Have((Head(MY_LOG, 500),)))
              << ShowConfirmed(0, 500, ((ZOE, 500),))
              << FindEntry(1, MY_LOG, 501)
              >> EntryFound(1, MY_LOG, 1300)
              << FindEntry(1, ANN_LOG, 1)
              >> EntryFound(1, ANN_LOG, 1100)
              << SendEntries(1, ANN_LOG, 0, window=512)
              >> EntriesSent(1, ANN_LOG, 200, False, next=1400)
              << SendEntries(1, MY_LOG, 500, window=512)
              >> EntriesSent(1, MY_LOG, 700, False, next=1500)
              << SendEntries(1, ANN_LOG, 200, window=512)
              >> EntriesSent(1, ANN_LOG, 700, False)
              << SendEntries(1, MY_LOG, 700)
              >> EntriesSent(1, MY_LOG, 900, False)
              >> EntryFound(9, MY_LOG, 7)
    """)


def test_what_is_held_is_stored_after_a_second_a_piece_in_each_turn() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.play("""
        0.050 >> MessageReceived(1, Entries((b"run",)))
              << StoreRun(1, (b"run",))
              >> RunHeld()
        0.500 >> RunHeld()
        1.050 >> TimePassed()
              << KeepRuns()
              >> RunStored(1, ZOE_LOG, 3)
              >> RunsKept(True)
        1.050 >> TimePassed()
              << KeepRuns()
              >> RunsKept(False)
        1.150 >> TimePassed()
              << SyncJournal()
    """)


def test_a_clogged_link_is_fed_again_only_when_it_has_drained() -> None:
    script = Script(frontier={MY_LOG: 9})
    script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", 0, 7)))
    script.play("""
        0.000 >> MessageReceived(1, Have(()))
              << SendEntries(1, MY_LOG, 0)
              >> EntriesSent(1, MY_LOG, 3, True)
              >> RunStored(None, MY_LOG, 10)
        0.010 >> LinkDrained(1)
              << SendEntries(1, MY_LOG, 3)
              >> EntriesSent(1, MY_LOG, 10, True)
              >> LinkDrained(1)
    """)


def test_a_run_of_which_nothing_may_be_passed_on_yet_is_not_asked_for_again_at_once() -> None:
    script = Script(frontier={ANN_LOG: 5})
    script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", 0, 7)))
    script.play("""
        0.000 >> MessageReceived(1, Have(()))
              << SendEntries(1, ANN_LOG, 0)
              >> EntriesSent(1, ANN_LOG, 0, False)
    """)


def test_a_post_is_written_under_a_name_and_pushed_to_every_link() -> None:
    script = Script(named=False)
    script.link(ANN, 1)
    script.link(ZOE, 2)
    script.play("""
        0.100 >> PostsTyped(("hi", "there"), 1000100)
              << WriteEntries(((NAME, b"me"), (LINES, b"hi\\nthere")), 1000100)
              >> RunStored(None, MY_LOG, 2, (entry(MY_LOG, 1), entry(MY_LOG, 2)))
              << ShowPosts((entry(MY_LOG, 1), entry(MY_LOG, 2)), (False, False))
              << SendEntries(1, MY_LOG, 0)
              << SendEntries(2, MY_LOG, 0)
              >> EntriesSent(1, MY_LOG, 2, False)
              >> EntriesSent(2, MY_LOG, 2, False)
              >> PostsTyped(("again",), 1000200)
              << WriteEntries(((LINES, b"again"),), 1000200)
    """)


def test_what_others_wrote_is_acknowledged_once_it_is_on_the_platter() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.play("""
        0.050 >> MessageReceived(1, Entries((b"run",)))
              << StoreRun(1, (b"run",))
              >> RunStored(1, ZOE_LOG, 3, (entry(ZOE_LOG, 3),))
              << ShowPosts((entry(ZOE_LOG, 3),), (False,))
        0.060 >> RunStored(1, ZOE_LOG, 4)
        0.150 >> TimePassed()
              << SyncJournal()
              >> JournalSynced()
              << SendMessage(1, Have((Head(ZOE_LOG, 4),)))
    """)


def test_a_fresh_link_is_told_of_nothing_that_is_not_on_the_platter() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.do(RunStored(1, ZOE_LOG, 3))
    script.do(LinkOpened(2, ANN_AT, dialed=False), LinkSecured(2, ANN))
    script.play("""
        0.060 >> MessageReceived(2, Hello("ann", 0, 7))
              << SendMessage(2, MY_HELLO)
              << ShowLink("up", ANN, "ann", ANN_AT)
              << SyncJournal()
              << SendMessage(2, Have((Head(ZOE_LOG, 3),)))
              >> JournalSynced()
              << SendMessage(1, Have((Head(ZOE_LOG, 3),)))
    """)


def triangle() -> Script:
    """ann and zoe are linked to me, and to each other."""
    script = Script()
    script.link(ANN, 1)
    script.link(ZOE, 2)
    script.do(MessageReceived(2, Peers((Peer(ME, "", 0), Peer(ANN, "", 0)))))
    return script


def test_an_entry_is_passed_on_at_once_to_a_peer_that_is_not_linked_to_its_source() -> None:
    script = triangle()
    script.play("""
        0.100 >> RunStored(2, ZOE_LOG, 1)
              << SendEntries(1, ZOE_LOG, 0)
    """)


def test_an_entry_is_not_sent_to_a_peer_that_has_it_from_its_source() -> None:
    script = triangle()
    script.play("""
        0.100 >> RunStored(1, ANN_LOG, 1)
        0.150 >> MessageReceived(2, Have((Head(ANN_LOG, 1),)))
        0.200 >> TimePassed()
              << SyncJournal()
              >> JournalSynced()
              << SendMessage(1, Have((Head(ANN_LOG, 1),)))
        0.600 >> TimePassed()
              << SendMessage(2, Have((Head(ANN_LOG, 1),)))
        5.000 >> TimePassed()
              << SendMessage(1, Ping())
              << SendMessage(2, Ping())
    """)


def test_an_entry_is_sent_to_a_peer_that_does_not_get_it_from_its_source() -> None:
    script = triangle()
    script.play("""
        0.100 >> RunStored(1, ANN_LOG, 1)
        0.150 >> JournalSynced()
              << SendMessage(1, Have((Head(ANN_LOG, 1),)))
        0.600 >> TimePassed()
              << SendMessage(2, Have((Head(ANN_LOG, 1),)))
        1.100 >> TimePassed()
              << SendEntries(2, ANN_LOG, 0)
    """)
    assert mesh.RELAY_S > mesh.SYNC_S + mesh.NEWS_S


def test_only_its_author_is_told_at_once_that_what_is_said_now_is_here() -> None:
    script = triangle()
    script.play("""
        0.100 >> RunStored(1, ANN_LOG, 1)
        0.150 >> MessageReceived(2, Have((Head(ANN_LOG, 3),)))
        0.200 >> TimePassed()
              << SyncJournal()
              >> JournalSynced()
              << SendMessage(1, Have((Head(ANN_LOG, 1),)))
        0.300 >> RunStored(1, ANN_LOG, 2)
        0.400 >> TimePassed()
              << SyncJournal()
              >> JournalSynced()
              << SendMessage(1, Have((Head(ANN_LOG, 2),)))
        0.580 >> RunStored(1, ANN_LOG, 3)
        0.680 >> TimePassed()
              << SyncJournal()
              >> JournalSynced()
              << SendMessage(1, Have((Head(ANN_LOG, 3),)))
              << SendMessage(2, Have((Head(ANN_LOG, 3),)))
    """)


def test_all_are_told_at_once_of_what_somebody_catches_up_with() -> None:
    script = Script()
    script.link(ANN, 1, Head(ANN_LOG, 2), Head(ZOE_LOG, 1))
    script.link(ZOE, 2, Head(ANN_LOG, 2), Head(ZOE_LOG, 1))
    script.do(RunStored(1, ANN_LOG, 2))
    assert sent(script.do(events.JournalSynced())) == 2 * [Have((Head(ANN_LOG, 2),))]
    script.do(RunStored(1, ZOE_LOG, 1))
    assert sent(script.do(events.JournalSynced())) == 2 * [Have((Head(ZOE_LOG, 1),))]


def test_a_receipt_is_shown_each_time_a_member_has_more_of_ours() -> None:
    script = Script(frontier={MY_LOG: 5})
    script.link(ANN, 1)
    script.link(ZOE, 2)
    script.play("""
        0.100 >> MessageReceived(1, Have((Head(MY_LOG, 3),)))
              << ShowConfirmed(0, 3, ((ANN, 3), (ZOE, 0)))
              >> MessageReceived(1, Have((Head(MY_LOG, 3), Head(ZOE_LOG, 8))))
              >> MessageReceived(2, Have((Head(MY_LOG, 99),)))
              << ShowConfirmed(0, 5, ((ANN, 3), (ZOE, 5)))
    """)
    assert script.mesh.confirmed_by() == 1
    script.do(MessageReceived(1, Have((Head(MY_LOG, 5),))))
    assert script.mesh.confirmed_by() == 2


def test_who_gives_back_what_we_have_lost_counts_as_having_it() -> None:
    script = Script(frontier={MY_LOG: 1})
    script.link(ANN, 1)
    lost = ME + b"another "
    script.do(MessageReceived(1, Have((Head(MY_LOG, 1), Head(lost, 2)))))
    assert script.mesh.confirmed_by() == 1
    script.do(RunStored(1, lost, 1), RunStored(1, lost, 2))
    assert script.mesh.confirmed_by() == 1


def test_what_was_written_before_this_node_could_see_it_live_is_history() -> None:
    script = Script(frontier={ANN_LOG: 2})
    script.now = 10.0
    script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", 0, 7)))
    script.do(MessageReceived(1, Have((Head(ZOE_LOG, 8), Head(ANN_LOG, 2)))))
    live_ms = STARTED_MS + 8_000  # 2 s before the link came up

    def history(log: Log, seq: int, time_ms: int) -> tuple[bool, ...]:
        shown = script.do(RunStored(1, log, seq, (entry(log, seq, time_ms),)))[0]
        assert isinstance(shown, events.ShowPosts)
        assert list(shown.history) == script.mesh.are_history([entry(log, seq, time_ms)])
        return shown.history

    assert history(ANN_LOG, 2, live_ms + 9_000) == (True,)  # it was in the journal already
    assert history(ZOE_LOG, 7, live_ms - 1) == (True,)
    assert history(ZOE_LOG, 8, live_ms) == (False,)  # said in the breath that found us
    assert history(ZOE_LOG, 9, 0) == (False,)  # pushed to us, by a clock that is wrong
    assert history(ANN_LOG, 3, 0) == (False,)


# Forks


def test_who_sent_the_other_side_of_a_fork_is_shown_ours_once_and_has_the_proof() -> None:
    script = Script(frontier={BOB_LOG: 6})
    script.link(ZOE, 1, Head(BOB_LOG, 9))
    script.play("""
        0.050 >> RunParted(1, BOB_LOG, 6, None)
              << SendEntries(1, BOB_LOG, 5)
              >> EntriesSent(1, BOB_LOG, 6, False)
              >> RunParted(1, BOB_LOG, 6, None)
              >> MessageReceived(1, PROOF)
              << KeepFork(1, PROOF)
    """)


def test_the_proof_of_a_fork_goes_to_every_link_and_to_those_that_come_later() -> None:
    script = Script(frontier={BOB_LOG: 6})
    script.link(ANN, 1, Head(BOB_LOG, 6))
    script.link(ZOE, 2, Head(BOB_LOG, 6))
    text = "member 42424242... has forked its log: it has said two things as one"
    script.play(f"""
        0.100 >> RunParted(1, BOB_LOG, 6, PROOF)
              << KeepFork(1, PROOF)
              >> ForkKept(BOB_LOG, PROOF)
              << ShowNotice("{text}")
              << SendMessage(1, PROOF, answered=True)
              << SendMessage(2, PROOF, answered=True)
              >> MessageSent(1, False)
              >> RunParted(2, BOB_LOG, 6, PROOF)
              >> RunParted(2, BOB_LOG, 6, None)
    """)
    script.do(LinkOpened(3, BOB_AT, dialed=False), LinkSecured(3, BOB))
    script.play("""
        0.100 >> MessageReceived(3, Hello("bob", 0, 7))
              << SendMessage(3, Hello("me", 5000, 1))
              << ShowLink("up", BOB, "bob", BOB_AT)
              << SendMessage(3, Have((Head(BOB_LOG, 6),)), answered=True)
              >> MessageSent(3, True)
              >> LinkDrained(3)
              << SendMessage(3, PROOF, answered=True)
    """)


def test_who_has_another_entry_of_the_same_seq_is_shown_ours_once() -> None:
    script = Script(frontier={BOB_LOG: 3}, marks={BOB_LOG: b"our mark"})
    script.link(ANN, 1, Head(BOB_LOG, 3))
    theirs = MessageReceived(1, Have((Head(BOB_LOG, 3, b"thy mark"),)))
    assert script.do(theirs) == [SendEntries(1, BOB_LOG, 2)]
    script.do(events.EntriesSent(1, BOB_LOG, 3, clogged=False))
    assert script.do(theirs) == []
    same = MessageReceived(1, Have((Head(BOB_LOG, 3, b"our mark"),)))
    assert script.do(same, MessageReceived(1, Have((Head(BOB_LOG, 3),)))) == []


def test_a_frontier_of_many_messages_is_told_no_faster_than_the_link_takes_it() -> None:
    logs = [Head(ZOE + number.to_bytes(8, "big"), 1) for number in range(5000)]
    script = Script(frontier={head.log: head.seq for head in logs})
    script.do(LinkOpened(1, ANN_AT, dialed=False), LinkSecured(1, ANN))
    first = script.do(MessageReceived(1, Hello("ann", 0, 7)))[-1]
    second = script.do(events.MessageSent(1, False))
    assert script.do(events.MessageSent(1, True)) == []
    third = script.do(events.LinkDrained(1))
    told: list[Any] = [first, *second, *third]
    haves = [action.message for action in told]
    assert [have.last for have in haves] == [False, False, True]
    assert [head for have in haves for head in have.heads] == logs


def test_showing_our_side_of_a_fork_waits_for_a_link_that_is_clogged() -> None:
    script = Script(frontier={BOB_LOG: 6, MY_LOG: 1})
    script.do(LinkOpened(1, ZOE_AT, dialed=False), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", 0, 7)))
    script.play("""
        0.000 >> MessageReceived(1, Have((Head(BOB_LOG, 9),)))
              << SendEntries(1, MY_LOG, 0)
              >> EntriesSent(1, MY_LOG, 1, True)
              >> RunParted(1, BOB_LOG, 6, None)
              >> LinkDrained(1)
              << SendEntries(1, BOB_LOG, 5)
    """)


# Limits


def test_of_too_many_callers_that_do_not_get_in_the_oldest_goes() -> None:
    script = Script()
    for number in range(mesh.MAX_OPENING):
        assert script.do(LinkOpened(number, ZOE_AT, dialed=False)) == []
    script.play("""
        0.000 >> LinkOpened(999, ZOE_AT, False)
              << ShowNotice("a caller from 10.0.0.3 did not get in: too many at once")
              << CloseLink(0)
    """)


def test_of_too_many_callers_the_oldest_of_the_largest_crowd_goes() -> None:
    script = Script()
    script.do(LinkOpened(1000, ANN_AT, dialed=False))
    for number in range(2 * mesh.MAX_OPENING):
        script.do(LinkOpened(number, (f"2a0a:5600:1:{number:x}::1", 5000), dialed=False))
    assert 1000 in script.mesh.links and len(script.mesh.links) == mesh.MAX_OPENING
    assert 0 not in script.mesh.links


def member(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_node_with_enough_links_dials_only_what_its_user_names() -> None:
    script = Script(max_links=2)
    script.link(member(1), 1)
    script.link(member(2), 2)
    assert script.do(AddressLearned(ZOE_AT, "hearsay", ZOE))[1:] == []
    assert script.do(AddressLearned(BOB_AT, "you"))[1:] == [OpenLink(BOB_AT)]


def test_a_node_that_lost_links_dials_at_once_what_it_had_no_room_for() -> None:
    script = Script(max_links=2)
    script.link(member(1), 1)
    script.link(member(2), 2)
    script.do(AddressLearned(ZOE_AT, "hearsay", ZOE), LinkClosed(2, "closed"))
    assert (script.now, OpenLink(ZOE_AT)) in script.sleep(0.0)


def test_a_full_node_tells_a_new_member_of_others_and_turns_only_those_away_it_has_not() -> None:
    script = Script(max_links=1)
    for number in range(1, 4):
        script.link(member(number), number)
    script.do(LinkOpened(4, BOB_AT, dialed=True), LinkSecured(4, member(1)))  # to prove it
    script.do(LinkOpened(5, NEAR_ALL, dialed=False), LinkSecured(5, ZOE))
    script.do(LinkOpened(6, NEAR_ALL, dialed=False), LinkSecured(6, member(1)))
    linked = (Peer(member(1), *BOB_AT), Peer(member(2), "", 0), Peer(member(3), "", 0))
    assert script.do(MessageReceived(5, Hello("zoe", 0, 7))) == [
        SendMessage(5, Peers(linked)),
        SendMessage(5, protocol.Bye("full: linked to as many as it can")),
        CloseLink(5),
    ]
    actions = script.do(MessageReceived(6, Hello("again", 0, 7)))
    assert actions[:3] == [
        CloseLink(1),
        SendMessage(6, hello_to(NEAR_ALL)),
        SendMessage(6, Have(())),
    ]


def test_a_full_node_makes_room_for_a_caller_from_where_fewer_come_from() -> None:
    script = Script(max_links=1)
    for number in range(1, 4):
        script.link(member(number), number)
    script.do(LinkOpened(4, ZOE_AT, dialed=False), LinkSecured(4, ZOE))
    done = script.do(MessageReceived(4, Hello("zoe", 0, 7)))
    assert done[:2] == [SendMessage(3, protocol.Bye("full: it has to make room")), CloseLink(3)]
    assert list(script.mesh.members) == [member(1), member(2), ZOE]
    script.do(LinkOpened(5, BOB_AT, dialed=False), LinkSecured(5, BOB))
    assert CloseLink(2) in script.do(MessageReceived(5, Hello("bob", 0, 7)))
    # Now it would be a change for nothing.
    script.do(LinkOpened(6, ANN_AT, dialed=False), LinkSecured(6, ANN))
    assert CloseLink(6) in script.do(MessageReceived(6, Hello("ann", 0, 7)))


def test_who_is_turned_away_dials_those_it_is_told_of_and_asks_again_later() -> None:
    script = Script()
    script.do(AddressLearned(BOB_AT, "you"), LinkOpened(1, BOB_AT, dialed=True))
    script.do(LinkSecured(1, BOB))
    told = script.do(MessageReceived(1, Peers((Peer(ZOE, *ZOE_AT),))))
    assert told == [OpenLink(ZOE_AT)]
    assert script.do(MessageReceived(1, protocol.Bye("full"))) == [CloseLink(1)]
    assert OpenLink(BOB_AT) in [action for _, action in script.sleep(1.0)]


def test_whom_a_user_named_and_who_is_full_is_left_alone_by_a_node_with_enough_links() -> None:
    script = Script(max_links=1)
    script.link(member(1), 1)
    script.do(AddressLearned(BOB_AT, "you"), LinkOpened(2, BOB_AT, dialed=True))
    script.do(LinkSecured(2, BOB), MessageReceived(2, protocol.Bye("full")))
    assert script.mesh.contacts.known[BOB_AT].next_try is None


def test_a_node_with_enough_links_only_proves_what_it_had_begun_to_dial() -> None:
    script = Script(max_links=2)
    for number, at in ((1, ANN_AT), (2, BOB_AT), (3, ZOE_AT)):
        script.do(AddressLearned(at, "hearsay"), LinkOpened(number, at, dialed=True))
    assert SendMessage(1, hello_to(ANN_AT)) in script.do(LinkSecured(1, ANN))
    assert SendMessage(2, hello_to(BOB_AT)) in script.do(LinkSecured(2, BOB))
    assert script.do(LinkSecured(3, ZOE))[1:] == [CloseLink(3)]  # two are about to be up
    assert script.mesh.contacts.known[ZOE_AT].proven


def test_a_node_with_enough_links_exchanges_one_from_time_to_time() -> None:
    script = Script(max_links=2)
    for number, at in ((1, ANN_AT), (2, BOB_AT)):
        script.do(AddressLearned(at, "hearsay"), LinkOpened(number, at, dialed=True))
        script.do(LinkSecured(number, member(number)))
        script.do(MessageReceived(number, Hello(f"member {number}", 0, number)))
    script.do(AddressLearned(ZOE_AT, "hearsay", ZOE))
    for more in (0, 1):  # as long as there are not many, all stay
        if more:
            script.link(member(3), 3)
        explored = False
        while not explored:
            script.do(*(MessageReceived(number, Ping()) for number in (1, 2, 3)))
            explored = OpenLink(ZOE_AT) in [action for _, action in script.sleep(1.0)]
            assert script.now <= 2 * 1.6 * contacts.EXPLORE_S
        link = 4 + more
        script.do(LinkOpened(link, ZOE_AT, dialed=True), LinkSecured(link, ZOE))
        actions = script.do(MessageReceived(link, Hello("zoe", 0, 3)))
        assert len([action for action in actions if isinstance(action, CloseLink)]) == more
        assert len(script.mesh.members) == 3 and ZOE in script.mesh.members
        script.do(LinkClosed(link, "closed"))


def test_exploring_ends_no_link_that_its_user_named_or_that_called() -> None:
    script = Script(max_links=2)
    script.link(member(1), 1)
    script.do(AddressLearned(BOB_AT, "you"), LinkOpened(2, BOB_AT, dialed=True))
    script.do(LinkSecured(2, BOB), MessageReceived(2, Hello("bob", 0, 2)))
    script.do(AddressLearned(ZOE_AT, "hearsay", ZOE))
    script.mesh.contacts.known[ZOE_AT].exploring = True
    script.do(LinkOpened(3, ZOE_AT, dialed=True), LinkSecured(3, ZOE))
    actions = script.do(MessageReceived(3, Hello("zoe", 0, 3)))
    assert not any(isinstance(action, CloseLink) for action in actions)
    assert len(script.mesh.members) == 3


def test_in_a_large_room_peers_are_told_of_changes_once_a_second_and_newcomers_at_once() -> None:
    script = Script(max_links=2)
    for number in range(1, 4):
        script.link(member(number), number)
    script.sleep(contacts.HEARSAY_S)
    script.do(LinkOpened(4, ZOE_AT, dialed=False), LinkSecured(4, ZOE))
    actions = script.do(MessageReceived(4, Hello("zoe", 0, 4)))
    linked = Peers(tuple(Peer(who, "", 0) for who in (*map(member, range(1, 4)), ZOE)))
    assert SendMessage(4, linked) in actions
    started, told = script.now, script.sleep(2.0)
    assert [action for _, action in told] == [SendMessage(number, linked) for number in range(1, 5)]
    assert all(at == pytest.approx(started + mesh.PEERS_LARGE_S) for at, _ in told)


def test_in_a_large_room_an_entry_is_passed_on_to_some_at_once_and_to_the_others_in_time() -> None:
    script = Script()
    for number in range(1, 17):
        script.link(member(number), number)
    at_once = script.do(RunStored(1, BOB_LOG, 1))
    assert len(at_once) == mesh.EAGER
    sent = [*at_once, *(action for _, action in script.sleep(1.0))]
    links = [action.link for action in sent if isinstance(action, SendEntries)]
    assert sorted(links) == list(range(2, 17))


def test_a_full_node_makes_room_for_whom_its_user_named() -> None:
    script = Script(max_links=1)
    for number in range(1, 4):
        script.link(member(number), number)
    script.do(AddressLearned(ZOE_AT, "you"))
    script.do(LinkOpened(4, ZOE_AT, dialed=True), LinkSecured(4, ZOE))
    done = script.do(MessageReceived(4, Hello("zoe", 0, 7)))
    assert CloseLink(3) in done
    assert list(script.mesh.members) == [member(1), member(2), ZOE]


def test_a_node_full_of_whom_its_user_named_has_no_room_for_one_more() -> None:
    script = Script(max_links=1)
    for number in range(1, 4):
        script.link(member(number), number)
        at = ("10.0.0.9", 40_000 + number)
        script.do(AddressLearned(at, "you"), LinkOpened(10 + number, at, dialed=True))
        script.do(LinkSecured(10 + number, member(number)))
    script.do(AddressLearned(ZOE_AT, "you"))
    script.do(LinkOpened(4, ZOE_AT, dialed=True), LinkSecured(4, ZOE))
    assert CloseLink(4) in script.do(MessageReceived(4, Hello("zoe", 0, 7)))
    assert script.mesh.contacts.known[ZOE_AT].next_try is None


def test_who_claims_to_listen_where_a_friend_of_our_user_does_displaces_nobody() -> None:
    script = Script(max_links=1)
    script.do(AddressLearned(ZOE_AT, "you"))
    for number in range(1, 4):
        script.link(member(number), number)
        script.mesh.links[number].address = (f"10.0.1.{number}", 40_000)  # no crowd
    script.do(LinkOpened(4, (ZOE_AT[0], 41_000), dialed=False), LinkSecured(4, BOB))
    done = script.do(MessageReceived(4, Hello("zoe", ZOE_AT[1], 7)))
    assert CloseLink(4) in done
    assert list(script.mesh.members) == [member(1), member(2), member(3)]


def test_hearsay_keeps_nobody_from_dialing_what_the_user_named() -> None:
    script = Script()
    script.link(BOB, 1)
    script.do(AddressLearned(ZOE_AT, "you"), MessageReceived(1, Peers((Peer(BOB, *ZOE_AT),))))
    for number in range(2, 12):
        script.do(LinkOpened(number, ZOE_AT, dialed=True), LinkClosed(number, "refused"))
        script.do(MessageReceived(1, protocol.Pong()))
        due = script.mesh.contacts.known[ZOE_AT].next_try
        assert due is not None
        script.sleep(due - script.now)


def test_what_the_user_named_is_dialed_at_once_though_black_holes_take_all_places() -> None:
    script = Script()
    for number in range(200):
        script.do(AddressLearned(("10.1.0.0", 1024 + number), "hearsay"))
    script.sleep(1.0)
    assert script.mesh.deadline() is None  # as many are being dialed as may be
    assert OpenLink(ZOE_AT) in script.do(AddressLearned(ZOE_AT, "you"))


def test_links_are_begun_a_few_at_a_time_and_no_more_than_there_is_room_for() -> None:
    script = Script()
    addresses = [(f"10.1.0.{number}", 5000) for number in range(200)]
    done = script.do(*(AddressLearned(address, "hearsay") for address in addresses))
    assert len(done) == contacts.DIALS_AT_ONCE
    done += [action for _, action in script.sleep(10 * contacts.DIALS_WITHIN_S)]
    opened = [action.address for action in done if isinstance(action, OpenLink)]
    assert len(opened) == contacts.MAX_DIALS // 2  # the others are for what a peer tells of
    for number, address in enumerate(opened, 2):
        assert script.do(LinkOpened(number, address, dialed=True)) == []
    script.do(LinkClosed(2, "refused"))
    assert len(script.do(TimePassed())) == 1


def test_what_a_peer_tells_of_is_dialed_at_once_though_the_book_is_full_of_black_holes() -> None:
    script = Script()
    for number in range(200):
        script.do(AddressLearned((f"10.1.0.{number}", 5000), "link"))
    script.sleep(1.0)
    script.link(BOB, 1)
    assert script.do(MessageReceived(1, Peers((Peer(ZOE, *ZOE_AT),)))) == [OpenLink(ZOE_AT)]


def test_a_lie_about_who_is_where_does_not_outweigh_what_the_member_said_itself() -> None:
    script = Script()
    script.link(BOB, 1)
    script.do(AddressLearned(ZOE_AT, "link", ZOE))
    script.do(MessageReceived(1, Peers((Peer(BOB, *ZOE_AT),))))
    assert script.mesh.contacts.known[ZOE_AT].member == ZOE


def test_a_member_that_moved_is_told_of_where_it_is_now_and_its_old_address_let_go() -> None:
    script = Script()
    for number, at in ((1, ZOE_AT), (2, BOB_AT)):
        script.do(AddressLearned(at, "you"), LinkOpened(number, at, dialed=True))
        script.do(LinkSecured(number, ZOE), MessageReceived(number, Hello("zoe", 0, 7)))
        script.do(LinkClosed(1, "closed"))
    assert script.mesh.contacts.where([ZOE]) == {ZOE: BOB_AT}
    script.do(AddressLearned(ZOE_AT, "you"))  # who names it again may know better
    script.do(LinkOpened(3, ZOE_AT, dialed=True), LinkClosed(3, "refused"))
    assert not script.mesh.contacts.known[ZOE_AT].proven


def test_a_node_full_of_callers_makes_room_for_whom_it_has_dialed_itself() -> None:
    script = Script(max_links=1)
    for number in range(1, 4):
        script.link(member(number), number)
    script.do(AddressLearned(ZOE_AT, "hearsay", ZOE))
    script.mesh.contacts.known[ZOE_AT].exploring = True
    script.do(LinkOpened(4, ZOE_AT, dialed=True), LinkSecured(4, ZOE))
    assert CloseLink(3) in script.do(MessageReceived(4, Hello("zoe", 0, 7)))
    assert ZOE in script.mesh.members


def test_of_thousands_of_logs_a_link_is_told_no_faster_than_it_takes_it() -> None:
    script = Script()
    for who, number in ((ANN, 1), (BOB, 2)):
        script.link(who, number)
    script.do(events.EntriesSent(2, ZOE_LOG, 0, clogged=True))
    for number in range(8000):
        script.do(RunStored(1, member(number) + bytes(8), 1))
    done = script.do(events.JournalSynced(), events.LinkDrained(2))
    heads, haves = 0, [a for a in done if isinstance(a, SendMessage) and a.link == 2]
    while haves:
        (have,) = haves
        assert isinstance(have.message, Have)
        heads += len(have.message.heads)
        assert have.answered == (heads < 8000)
        done = script.do(events.MessageSent(2, clogged=False)) if have.answered else []
        haves = [a for a in done if isinstance(a, SendMessage) and a.link == 2]
    assert heads == 8000


def test_of_many_that_it_hears_of_a_node_dials_as_many_as_it_lacks_links() -> None:
    script = Script(max_links=4)
    script.link(BOB, 1)
    peers = tuple(Peer(b"X" + member(n)[1:], f"10.1.0.{n}", 5000) for n in range(200))
    done = script.do(MessageReceived(1, Peers(peers)))
    done += [action for _, action in script.sleep(2.0)]
    opened = [action.address for action in done if isinstance(action, OpenLink)]
    assert len(opened) == 3
    script.do(LinkOpened(2, opened[0], dialed=True), LinkClosed(2, "refused"))
    (again,) = script.do(TimePassed())  # another one at once
    assert isinstance(again, OpenLink) and again.address not in opened


def test_what_is_remembered_of_addresses_is_bounded_and_spares_the_useful_ones() -> None:
    script = Script()
    script.do(AddressLearned(ANN_AT, "you"), LinkOpened(1, ANN_AT, dialed=True))
    script.do(LinkClosed(1, "refused"))
    script.link(ZOE, 2)
    script.do(AddressLearned(ZOE_AT, "link", ZOE), LinkOpened(3, ZOE_AT, dialed=True))
    script.do(LinkSecured(3, ZOE))
    for number in range(2 * contacts.MAX_ADDRESSES):
        address = (f"host{number}", 5000)
        script.do(AddressLearned(address, "hearsay"))
        if script.mesh.contacts.known[address].link == -1:
            script.do(LinkOpened(10 + number, address, dialed=True))
            script.do(LinkClosed(10 + number, "refused"))
        assert len(script.mesh.contacts.known) <= contacts.MAX_ADDRESSES
    assert len(script.mesh.contacts.known) >= contacts.MAX_ADDRESSES * 7 // 8
    assert {ANN_AT, ZOE_AT} <= set(script.mesh.contacts.known)


def test_what_a_peer_has_us_remember_about_logs_is_bounded() -> None:
    script = Script()
    script.link(ZOE, 1)
    for start in range(0, 2 * mesh.MAX_LOGS_TOLD, 2048):
        heads = tuple(Head(number.to_bytes(40, "big"), 1) for number in range(start, start + 2048))
        assert script.do(MessageReceived(1, Have(heads))) == []
    assert len(script.mesh.links[1].sent) == mesh.MAX_LOGS_TOLD


def test_a_room_at_rest_is_silent_but_for_a_heartbeat() -> None:
    frontier: Frontier = {MY_LOG: 3}
    script = Script(frontier=frontier)
    script.do(AddressLearned(ZOE_AT, "you"), LinkOpened(1, ZOE_AT, dialed=True))
    script.do(LinkSecured(1, ZOE), MessageReceived(1, Hello("zoe", 5000, 7)))
    script.do(MessageReceived(1, Have((Head(MY_LOG, 3),))))
    script.sleep(0.1)
    for _ in range(100):
        done = script.sleep(5.0)
        assert [action for _, action in done] == [SendMessage(1, protocol.Ping())]
        script.do(MessageReceived(1, protocol.Pong()))


def test_a_ping_is_answered() -> None:
    script = Script()
    script.link(ZOE, 1)
    assert script.do(MessageReceived(1, protocol.Ping())) == [SendMessage(1, protocol.Pong())]


def test_events_of_links_that_are_gone_are_passed_over() -> None:
    Script().play("""
        0.000 >> LinkSecured(1, ZOE)
              >> MessageReceived(1, Ping())
              >> LinkDrained(1)
              >> LinkClosed(1, "closed")
              >> EntriesSent(1, ZOE_LOG, 1, False)
              >> RunRefused(1, "nonsense")
              >> RunParted(1, ZOE_LOG, 1, None)
    """)


def test_entries_of_a_link_that_is_gone_are_kept_and_passed_on() -> None:
    script = Script()
    script.link(ZOE, 1)
    done = script.do(RunStored(77, BOB_LOG, 1))
    assert done == [SendEntries(1, BOB_LOG, 0)]


# Corners


def test_an_address_that_the_room_does_not_reach_is_neither_kept_nor_dialed() -> None:
    script = Script(may_learn=lambda address, over: address != ZOE_AT)
    assert script.do(AddressLearned(ZOE_AT, "hearsay")) == []
    script.do(LinkOpened(1, (ZOE_AT[0], 40_000), dialed=False), LinkSecured(1, ZOE))
    script.do(MessageReceived(1, Hello("zoe", ZOE_AT[1], 7)))
    assert ZOE_AT not in script.mesh.contacts.known and ZOE in script.mesh.members


def test_a_book_that_is_full_of_what_a_person_named_takes_no_hearsay() -> None:
    script = Script()
    for number in range(contacts.MAX_ADDRESSES):
        script.do(AddressLearned((f"10.1.{number >> 8}.{number & 255}", 5000), "you"))
    assert script.do(AddressLearned(ZOE_AT, "hearsay")) == []
    assert ZOE_AT not in script.mesh.contacts.known


def test_an_address_that_was_forgotten_while_it_was_dialed_is_learnt_when_it_answers() -> None:
    script = Script()
    script.do(AddressLearned(ZOE_AT, "hearsay"))
    del script.mesh.contacts.known[ZOE_AT]
    script.do(LinkOpened(1, ZOE_AT, dialed=True), LinkSecured(1, ZOE))
    assert script.mesh.contacts.known[ZOE_AT].proven


def test_of_two_calls_of_one_run_of_a_member_the_newer_stays() -> None:
    script = Script()
    for number in (1, 2):
        script.do(LinkOpened(number, ZOE_AT, dialed=False), LinkSecured(number, ZOE))
        actions = script.do(MessageReceived(number, Hello("zoe", 0, 7)))
    assert CloseLink(1) in actions
    assert script.mesh.members[ZOE].id == 2


def test_a_listener_that_breaks_the_protocol_before_its_hello_is_dialed_again_later() -> None:
    script = Script()
    script.do(AddressLearned(ZOE_AT, "you"), LinkOpened(1, ZOE_AT, dialed=True))
    actions = script.do(LinkSecured(1, ZOE), MessageReceived(1, Ping()))
    assert CloseLink(1) in actions
    known = script.mesh.contacts.known[ZOE_AT]
    assert known.failures == 1 and known.next_try is not None


def test_what_comes_of_a_link_that_is_gone_changes_nothing() -> None:
    script = Script()
    gone: list[Event] = [events.MessageSent(9, False), events.EntriesSent(9, ZOE_LOG, 1, False)]
    gone += [events.LinkDrained(9), events.RunRefused(9, "no run"), LinkSecured(9, ZOE)]
    assert script.do(*gone) == []


def test_what_had_waited_for_a_forked_log_is_shown() -> None:
    script = Script()
    one, other = entry(ANN_LOG, 1), entry(BOB_LOG, 1)
    parted = script.do(events.RunParted(9, ZOE_LOG, 1, None, (one,)))
    assert parted == [events.ShowPosts((one,), (False,))]
    kept = script.do(events.ForkKept(ZOE_LOG, None, (other,)))
    assert kept == [events.ShowPosts((other,), (False,))]


def test_what_a_peer_has_of_logs_that_we_hold_is_noted_whatever_else_it_told_of() -> None:
    script = Script(frontier={MY_LOG: 1})
    script.link(BOB, 1)
    start = 0
    while start < mesh.MAX_LOGS_TOLD + 10:
        some = range(start, start + protocol.MAX_HAVE_LOGS)
        heads = tuple(Head(member(n) + bytes(8), 1) for n in some)
        script.do(MessageReceived(1, Have(heads)))
        start += len(heads)
    sent = script.mesh.links[1].sent
    assert len(sent) <= mesh.MAX_LOGS_TOLD
    sent.pop(MY_LOG, None)
    script.do(MessageReceived(1, Have((Head(MY_LOG, 1),))))
    assert sent[MY_LOG] == 1


def test_an_address_that_is_found_true_again_is_no_news_to_others() -> None:
    script = Script()
    script.link(BOB, 1)
    script.do(AddressLearned(ZOE_AT, "you"))
    for number, expected in ((2, 1), (3, 0)):
        script.do(LinkOpened(number, ZOE_AT, dialed=True), LinkSecured(number, ZOE))
        script.do(LinkClosed(number, "closed"))
        told = [action for _, action in script.sleep(0.2) if getattr(action, "message", None)]
        assert len(told) == expected


def test_of_two_handshakes_only_the_one_whose_time_is_over_is_given_up() -> None:
    script = Script()
    script.do(LinkOpened(1, ZOE_AT, dialed=False))
    script.now = 1.0
    script.do(LinkOpened(2, BOB_AT, dialed=False))
    given_up = [action for _, action in script.sleep(mesh.HANDSHAKE_S - 0.5)]
    assert CloseLink(1) in given_up and CloseLink(2) not in given_up
    assert list(script.mesh.links) == [2]


def test_a_member_that_claims_to_have_logs_of_ours_without_end_is_believed_some() -> None:
    script = Script(frontier={MY_LOG: 1})
    script.link(BOB, 1)
    for start in range(0, mesh.MAX_LOGS_TOLD + 2048, 2048):
        logs = [ME + number.to_bytes(8, "big") for number in range(1 + start, 2049 + start)]
        script.do(MessageReceived(1, Have(tuple(Head(log, 1) for log in logs))))
    assert len(script.mesh.confirmed[BOB]) == mesh.MAX_LOGS_TOLD


def test_of_members_that_came_and_went_the_last_ones_receipts_are_remembered() -> None:
    script = Script(frontier={MY_LOG: 1})
    made_up = ME + b"made up!"
    for number in range(receipts.MAX_RECEIPTS + 10):
        script.link(member(number), number, Head(MY_LOG, 1), Head(made_up, 1))
        script.do(LinkClosed(number, "closed"))
    assert len(script.mesh.confirmed) == receipts.MAX_RECEIPTS == script.mesh.confirmed_by()
    assert script.mesh.confirmed[member(10)] == {MY_LOG: 1}
    script.do(LinkOpened(5000, ANN_AT, dialed=False), LinkSecured(5000, ANN))
    script.do(MessageReceived(5000, Hello("ann", 0, 1)), LinkClosed(5000, "closed"))
    assert ANN not in script.mesh.confirmed  # it never said what it has


def test_who_has_said_nothing_is_confirmed_by_all_it_was_linked_to() -> None:
    script = Script()
    script.link(ANN, 1)
    script.do(LinkClosed(1, "closed"))
    assert script.mesh.confirmed_by() == 1


# What a person sees of the mesh, and does to it


def test_links_at_rest_are_looked_at_twice_a_second_at_most_however_many_there_are() -> None:
    script = Script(max_links=200)
    for number in range(1, 101):
        script.link(member(number), number)  # each at its own time
    looks, asked, end = 0, Counter[int](), script.now + 60.0
    while (due := script.mesh.deadline()) is not None and due <= end:
        script.now = due
        looks += script.mesh._links_at <= due  # else it is time for something else
        for action in script.do(TimePassed()):
            if isinstance(action, SendMessage) and isinstance(action.message, Ping):
                asked[action.link] += 1
                script.do(MessageReceived(action.link, Pong()))
    assert looks <= 2 * 60.0 / mesh.PINGS_S
    assert len(asked) == 100
    assert min(asked.values()) >= 60.0 / mesh.PING_S - 1
    assert max(asked.values()) <= 60.0 / (mesh.PING_S - mesh.PINGS_S) + 1


def test_a_pong_tells_the_round_trip_and_one_that_nobody_asked_for_tells_nothing() -> None:
    script = Script()
    script.link(ZOE, 1)
    link = script.mesh.links[1]
    script.play("""
        1.000 >> MessageReceived(1, Pong())
        6.000 >> TimePassed()
              << SendMessage(1, Ping())
        6.025 >> MessageReceived(1, Pong())
    """)
    assert link.round_trip_s == pytest.approx(0.025) and link.pinged is None
    script.play("6.100 >> MessageReceived(1, Pong())")
    assert link.round_trip_s == pytest.approx(0.025)


def test_the_user_asks_each_link_that_is_up_and_is_not_being_asked_already() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.link(BOB, 2)
    script.play("""
        1.000 >> LinkOpened(3, ("10.0.0.9", 40000), False)
              >> LinkSecured(3, ANN)
              >> RoundTripsAsked()
              << SendMessage(1, Ping())
              << SendMessage(2, Ping())
        1.010 >> MessageReceived(1, Pong())
        1.020 >> RoundTripsAsked()
              << SendMessage(1, Ping())
        1.050 >> MessageReceived(2, Pong())
    """)
    assert script.mesh.links[2].round_trip_s == pytest.approx(0.05)
    assert script.mesh.links[1].pinged == 1.02


def test_a_peer_that_answers_no_ping_is_asked_on_and_its_late_answer_counts_from_the_first() -> (
    None
):
    script = Script()
    script.link(ZOE, 1)
    script.play("""
        5.000 >> TimePassed()
              << SendMessage(1, Ping())
        6.000 >> MessageReceived(1, Have(()))
        11.000 >> TimePassed()
              << SendMessage(1, Ping())
        11.500 >> MessageReceived(1, Pong())
    """)
    assert script.mesh.links[1].round_trip_s == pytest.approx(6.5)


def test_where_others_find_us_is_what_they_say_last() -> None:
    script = Script()
    script.link(ZOE, 1)
    link = script.mesh.links[1]
    for peers, expected in (
        ((Peer(ME, "", 0),), None),
        ((Peer(ANN, *ANN_AT), Peer(ME, *ME_AT)), ME_AT),
        ((Peer(ANN, *ANN_AT),), None),
    ):
        script.do(MessageReceived(1, Peers(peers)))
        assert link.finds_us == expected


def test_whether_a_member_has_called_is_remembered_and_a_call_of_our_own_is_none() -> None:
    script = Script()
    script.do(LinkOpened(1, ME_AT, dialed=False), LinkSecured(1, ME))
    assert not script.mesh.was_called
    script.do(LinkOpened(2, ("10.0.0.9", 40_000), dialed=False), LinkSecured(2, ZOE))
    script.do(LinkClosed(2, "closed"))
    assert script.mesh.was_called
    script.do(LinkOpened(3, ME_AT, dialed=False), LinkSecured(3, ME))
    assert script.mesh.was_called


def test_what_a_peer_has_and_we_have_not_is_known_until_it_has_come() -> None:
    script = Script(frontier={ANN_LOG: 5})
    script.link(ZOE, 1, Head(ANN_LOG, 4), Head(BOB_LOG, 7))
    script.link(BOB, 2, Head(BOB_LOG, 9))
    zoe, bob = (script.mesh.links[number].ahead for number in (1, 2))
    assert (zoe, bob) == ({BOB_LOG: 7}, {BOB_LOG: 9})
    script.do(MessageReceived(1, Have((Head(BOB_LOG, 6),))))
    assert zoe == {BOB_LOG: 7}
    script.do(RunStored(2, BOB_LOG, 6))
    assert (zoe, bob) == ({BOB_LOG: 7}, {BOB_LOG: 9})
    script.do(RunStored(2, BOB_LOG, 8))
    assert (zoe, bob) == ({}, {BOB_LOG: 9})


def test_the_audience_are_all_that_were_linked_and_of_each_whether_it_has_ours() -> None:
    script = Script(frontier={MY_LOG: 2})
    script.link(ANN, 1, Head(MY_LOG, 2))
    script.link(ZOE, 2, Head(MY_LOG, 1))
    script.do(LinkClosed(2, "closed"))
    assert script.mesh.audience() == {ANN: True, ZOE: False} and script.mesh.confirmed_by() == 1


def test_whom_the_user_disconnects_is_told_so_and_neither_dialed_nor_let_in() -> None:
    script = Script()
    script.do(AddressLearned(ZOE_AT, "you"), LinkOpened(1, ZOE_AT, dialed=True))
    script.do(LinkSecured(1, ZOE), MessageReceived(1, Hello("zoe", 5000, 7)))
    script.do(MessageReceived(1, Have(())))
    script.play("""
        0.050 >> TimePassed()
              << SendMessage(1, Peers((Peer(ZOE, *ZOE_AT),)))
        1.000 >> DisconnectAsked(ZOE)
              << SendMessage(1, Bye("its user has ended the link"))
              << CloseLink(1)
              << ShowLink("down", ZOE, "zoe", ZOE_AT, "disconnected")
        1.050 >> TimePassed()
        9.000 >> LinkOpened(2, ("10.0.0.3", 40000), False)
              >> LinkSecured(2, ZOE)
              >> MessageReceived(2, Hello("zoe", 5000, 7))
              << SendMessage(2, Bye("its user has ended the link"))
              << CloseLink(2)
    """)
    assert script.mesh.deadline() is None and not script.mesh.links
    script.play("""
        9.000 >> AddressLearned(ZOE_AT, "you")
              << OpenLink(ZOE_AT)
              >> LinkOpened(3, ZOE_AT, True)
              >> LinkSecured(3, ZOE)
              << RememberAddress(ZOE_AT, "you", ZOE, True)
              << SendMessage(3, MY_HELLO)
    """)


def test_a_link_that_is_not_up_yet_ends_too_when_its_member_is_disconnected() -> None:
    script = Script()
    script.do(AddressLearned(ZOE_AT, "link"), LinkOpened(1, ZOE_AT, dialed=True))
    script.do(LinkSecured(1, ZOE), LinkOpened(2, BOB_AT, dialed=False))
    done = script.do(events.DisconnectAsked(ZOE))
    assert done[1:] == [CloseLink(1)] and list(script.mesh.links) == [2]


@pytest.mark.parametrize("source", ["you", "link"])
def test_a_member_that_is_disconnected_and_found_where_nobody_knew_of_it_is_not_linked(
    source: str,
) -> None:
    script = Script()
    script.do(events.DisconnectAsked(ZOE), AddressLearned(ZOE_AT, source))
    script.do(LinkOpened(1, ZOE_AT, dialed=True))
    done = script.do(LinkSecured(1, ZOE))
    said = ShowNotice("10.0.0.3:5000 is a member that you have disconnected")
    assert (said in done, CloseLink(1) in done) == (source == "you", True)
    assert script.mesh.contacts.deadline() == contacts.NEVER and not script.mesh.links
    assert script.do(AddressLearned(ZOE_AT, "you"))[-1] == OpenLink(ZOE_AT)  # now we know


def test_of_those_that_the_user_has_disconnected_the_last_ones_are_remembered() -> None:
    script = Script()
    script.do(*(events.DisconnectAsked(member(n)) for n in range(mesh.MAX_REFUSED + 3)))
    assert list(script.mesh.refused)[:: mesh.MAX_REFUSED - 1] == [
        member(3),
        member(mesh.MAX_REFUSED + 2),
    ]


def test_a_new_name_is_written_at_once_and_said_in_each_new_hello() -> None:
    Script(named=False).play("""
        0.000 >> NickTyped("new", 7)
              << WriteEntries(((NAME, b"new"),), 7)
              >> RunStored(None, MY_LOG, 1)
              >> PostsTyped(("a",), 8)
              << WriteEntries(((LINES, b"a"),), 8)
              >> LinkOpened(1, ("10.0.0.9", 40000), False)
              >> LinkSecured(1, ZOE)
              >> MessageReceived(1, Hello("zoe", 0, 7))
              << SendMessage(1, Hello("new", 5000, 1))
              << ShowLink("up", ZOE, "zoe", ("10.0.0.9", 40000))
              << SendMessage(1, Have((Head(MY_LOG, 1),)))
    """)
