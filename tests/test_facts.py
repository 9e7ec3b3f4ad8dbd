"""The facts, from a node that has lived through something; and what is noted of members."""

from __future__ import annotations

from random import Random

import events
import facts
import protocol
from events import AddressLearned, LinkClosed, LinkOpened, LinkSecured, MessageReceived, RunStored
from facts import MemberFacts, Sightings
from link import Secured
from protocol import Entries, Fork, Have, Head, Hello, Peer, Peers, Ping
from tests.simulator import sign
from tests.test_mesh import ANN_LOG, BOB, BOB_LOG, MY_LOG, ZOE, ZOE_AT, ZOE_LOG, Script
from tests.test_node import ANN, ANN_AT, ME, Bench, Line, post
from text import Names

BOB_AT = ("10.0.0.2", 5000)


def sized(line: Line) -> Line:
    line.received_bytes, line.sent_bytes = 700, 400  # type: ignore[attr-defined]
    return line


# ---------------------------------------------------------------- who is behind


def test_who_is_behind_by_how_much_on_either_side() -> None:
    script = Script(frontier={MY_LOG: 5, ANN_LOG: 3})
    script.link(ZOE, 1, Head(MY_LOG, 2), Head(ANN_LOG, 3), Head(BOB_LOG, 4))
    script.link(BOB, 2, Head(MY_LOG, 5), Head(ANN_LOG, 3), Head(BOB_LOG, 6), Head(ZOE_LOG, 1))
    zoe, bob = script.mesh.members.values()
    assert facts.behind(script.mesh, zoe) == (3, 4)
    assert facts.behind(script.mesh, bob) == (0, 7)
    assert facts.missing(script.mesh) == 6 + 1
    script.do(events.EntriesSent(1, MY_LOG, 5, False))
    assert facts.behind(script.mesh, zoe) == (0, 4)
    script.do(RunStored(2, BOB_LOG, 6))
    assert facts.behind(script.mesh, zoe) == (2, 0)
    assert facts.missing(script.mesh) == 1
    script.do(LinkClosed(2, "closed"))
    assert facts.missing(script.mesh) == 0


def test_what_a_peer_should_have_from_another_counts_until_it_says_so() -> None:
    script = Script()
    script.link(ZOE, 1)
    script.link(BOB, 2)
    script.do(MessageReceived(1, Peers((Peer(BOB, "", 0),))))
    script.do(RunStored(2, ANN_LOG, 2))  # zoe has it from bob as well
    assert facts.behind(script.mesh, script.mesh.members[BOB]) == (0, 0)
    script.do(MessageReceived(2, Peers((Peer(ZOE, "", 0),))))
    script.do(RunStored(2, ANN_LOG, 3))
    zoe = script.mesh.members[ZOE]
    before = facts.behind(script.mesh, zoe)
    script.do(MessageReceived(1, Have((Head(ANN_LOG, 3),))))
    assert (before, facts.behind(script.mesh, zoe)) == ((3, 0), (0, 0))


def test_a_branch_that_is_never_taken_is_not_missing() -> None:
    script = Script(frontier={ANN_LOG: 1}, forks={ANN_LOG: Fork(b"one", b"other")})
    script.link(ZOE, 1, Head(ANN_LOG, 9))
    assert facts.behind(script.mesh, script.mesh.members[ZOE])[1] == 0
    assert facts.missing(script.mesh) == 0


# ---------------------------------------------------------------- links and members


def test_a_peer_has_its_facts() -> None:
    bench = Bench()
    line = sized(bench.linked())
    bench.hear(line, Peers((Peer(ME, "10.0.0.2", 5000),)), Ping())
    (peer,) = facts.of_peers(bench.node, Names(), 3.0)
    assert peer == facts.PeerFacts(
        ANN, "ann", ANN_AT, False, None, 3.0, 700, 400, 0, 0, ("10.0.0.2", 5000), ""
    )


def test_where_a_peer_sees_us_is_told_only_if_it_is_an_address_at_all() -> None:
    bench = Bench()
    line = sized(bench.linked())
    (link,) = bench.node.mesh.members.values()
    for seen, told in (("5.6.7.8", "5.6.7.8"), ("2a0a::1", "2a0a::1"), ("1.2.3.4; rm -r ~", "")):
        link.hello = Hello("ann", 5000, 7, seen=seen)
        bench.hear(line, Peers((Peer(ME, seen, 5000),)))
        (peer,) = facts.of_peers(bench.node, Names(), 3.0)
        assert (peer.sees_us, peer.finds_us) == (told, (told, 5000) if told else None)


def test_a_name_from_the_journal_counts_more_than_that_of_the_hello() -> None:
    bench = Bench()
    sized(bench.linked())
    assert facts.name_of(bench.node, ANN) == "ann" and facts.name_of(bench.node, ME) == "me"
    assert facts.name_of(bench.node, BOB) == ""
    bench.node.journal.name_of = lambda author: "anna"  # type: ignore[method-assign]
    assert facts.name_of(bench.node, ANN) == "anna" and facts.name_of(bench.node, ME) == "me"


def test_two_of_one_name_have_two_labels() -> None:
    bench = Bench()
    bench.node.journal.name_of = lambda author: "bob"  # type: ignore[method-assign]
    assert facts.labels(bench.node, Names(), [ANN, BOB]) == {ANN: "bob~4141", BOB: "bob~4242"}


def test_who_is_told_apart_on_screen_is_told_apart_in_a_list_without_the_other() -> None:
    bench, names = Bench(), Names()
    bench.node.journal.name_of = lambda author: "bob"  # type: ignore[method-assign]
    names.label_of("bоb", "99" * 32)  # with a Cyrillic letter, not listed here
    assert facts.labels(bench.node, names, [ANN]) == {ANN: "bob~4141"}


def test_members_are_listed_with_who_is_here_first_and_then_who_spoke_last() -> None:
    bench = Bench()
    line = sized(bench.linked())
    bench.node.say(["mine"])
    bench.hear(line, Entries((post(BOB, "first"),)))
    bench.hear(line, Entries((post(ZOE, "then"),)))
    sightings = Sightings()
    sightings.left(BOB, 10.0)
    bench.node.disconnect(ZOE)
    listed, more = facts.of_members(bench.node, Names(), sightings, 25.0, 5000, 99)
    assert more == 0
    assert listed == [
        MemberFacts(ME, "me", True, False, False, None, 4.0, ""),
        MemberFacts(ANN, "ann", False, True, False, None, None, ""),
        MemberFacts(ZOE, "(no name)~5a5a", False, False, True, None, 5.0, ""),
        MemberFacts(BOB, "(no name)~4242", False, False, False, 15.0, 5.0, ""),
    ]
    assert facts.of_members(bench.node, Names(), sightings, 25.0, 5000, 2) == (listed[:2], 2)
    assert facts.known_members(bench.node) == [ME, ANN, ZOE, BOB]


def test_who_is_here_and_can_be_reached_through_others_alone_is_not_away() -> None:
    bench, silent = Bench(), b"S" * 32
    line = sized(bench.linked())
    bench.hear(line, Entries((post(BOB, "first"),)), Entries((post(ZOE, "then"),)))
    bench.hear(line, Peers(tuple(Peer(member, "", 0) for member in (ME, BOB, silent))))
    listed, _ = facts.of_members(bench.node, Names(), Sightings(), 0.0, 4000, 99)
    assert [(member.member, member.linked, member.through) for member in listed] == [
        (ME, False, ""),
        (ANN, True, ""),
        (BOB, False, "ann"),
        (silent, False, "ann"),
        (ZOE, False, ""),
    ]
    cut_off, _ = facts.of_members(bench.node, Names(), Sightings(), 0.0, 4000, 3)
    assert cut_off[2].through == "ann"
    sightings = Sightings()
    sightings.left(BOB, 10.0)  # and ann has not told of that yet
    for now, through in ((11.0, ""), (12.0, "ann")):
        listed, _ = facts.of_members(bench.node, Names(), sightings, now, 4000, 99)
        assert listed[2].through == through


def test_the_newest_log_of_an_author_tells_when_it_spoke() -> None:
    bench = Bench()
    line = sized(bench.linked())
    for incarnation, time_ms in ((b"\x02" * 8, 1000), (b"\x01" * 8, 3000)):
        unsigned = protocol.unsigned_entry(
            Head(BOB + incarnation, 1),
            protocol.NO_PREVIOUS,
            time_ms,
            (),
            protocol.POSTS,
            protocol.pack_posts(["hi"]),
        )
        bench.hear(line, Entries((unsigned + sign(BOB, unsigned),)))
    listed, _ = facts.of_members(bench.node, Names(), Sightings(), 0.0, 4000, 99)
    assert [member.said_s for member in listed if member.member == BOB] == [1.0]


def test_who_is_at_an_address() -> None:
    bench = Bench()
    sized(bench.linked())
    bench.node.learn([(BOB_AT, "link", BOB), (ZOE_AT, "you", None)])
    found = [facts.member_at(bench.node, at) for at in (ANN_AT, BOB_AT, ZOE_AT, ("10.9.9.9", 1))]
    assert found == [ANN, BOB, None, None]


# ---------------------------------------------------------------- the whole


def test_the_net_has_its_facts() -> None:
    bench = Bench()
    sized(bench.linked())
    sightings = Sightings()
    sightings.said(ANN, 250)
    bench.node.disconnect(BOB)
    found = facts.of_net(bench.node, Names(), sightings, 1.0, "10.0.0.2", 5000)
    assert (found.host, found.port, found.was_called) == ("10.0.0.2", 5000, True)
    assert found.peers == tuple(facts.of_peers(bench.node, Names(), 1.0))
    assert found.clocks == (facts.ClockFacts("ann", 0.25),)
    assert (found.dials, found.refused, found.missing) == ((), ("(no name)~4242",), 0)


def test_only_what_is_dialed_in_vain_is_a_failure() -> None:
    bench = Bench()
    bench.unreachable = True
    bench.node.learn([(ANN_AT, "you", ANN), (BOB_AT, "link", BOB), (ZOE_AT, "you", None)])
    ways = [("10.0.0.8", 5000), ("10.0.0.9", 5000)]
    do = bench.node.dispatch
    for number, (address, member) in enumerate(zip(ways, (ME, ZOE), strict=True), 100):
        do(AddressLearned(address, "you"))
        do(LinkOpened(number, address, dialed=True))
        do(LinkSecured(number, member))
    do(MessageReceived(100, Hello("me", 5000, bench.node.mesh._instance)))
    bench.unreachable = False
    sized(bench.linked())
    bench.node.disconnect(BOB)
    dials = facts.of_net(bench.node, Names(), Sightings(), 2.0, "10.0.0.2", 5000).dials
    reason = "network is unreachable"
    assert [dial for dial in dials if dial.address not in ways] == [
        facts.DialFacts(ANN_AT, True, "ann", True, False, 1, reason, 2.0),
        facts.DialFacts(ZOE_AT, True, "", False, False, 1, reason, 2.0),
    ]
    assert [dial.address for dial in dials if dial.is_self] == [ways[0]]


def test_an_address_whose_member_is_linked_there_is_no_failure_any_more() -> None:
    bench = Bench()
    bench.unreachable = True
    bench.node.learn([(ANN_AT, "you", None)])
    bench.unreachable = False
    bench.node.learn([(ANN_AT, "you", None)])
    line = sized(bench.lines[-1])
    line.news += [Secured(ANN), Hello("ann", 5000, 7)]
    bench.hear(line)
    assert ANN in bench.node.mesh.members
    assert facts.of_net(bench.node, Names(), Sightings(), 2.0, "10.0.0.2", 5000).dials == ()


# ---------------------------------------------------------------- sightings


def test_the_least_delayed_of_the_last_posts_tells_how_far_a_clock_is_behind() -> None:
    sightings, random = Sightings(), Random(1)
    for delay_ms in (400, 30, 9000):
        sightings.said(ANN, 60_000 + delay_ms)
        sightings.said(BOB, -60_000 + delay_ms)
    assert sightings.clocks_s() == {ANN: 60.03, BOB: -59.97}
    for _ in range(facts.CLOCK_POSTS):  # it has put its clock right
        sightings.said(ANN, random.randrange(50))
    assert 0.0 <= sightings.clocks_s()[ANN] < 0.05


def test_what_is_noted_of_members_is_bounded_and_the_newest_stays() -> None:
    sightings = Sightings()
    members = [number.to_bytes(32, "big") for number in range(facts.MAX_SIGHTINGS + 1)]
    for number, member in enumerate(members[:-1]):
        sightings.left(member, float(number))
        sightings.said(member, number)
    sightings.left(members[0], 9.0)
    sightings.said(members[0], 9)
    sightings.left(members[-1], 10.0)
    sightings.said(members[-1], 10)
    kept = [member for member in members if sightings.left_at(member) is not None]
    assert kept == list(dict.fromkeys([members[0], *members[2:]]))
    assert set(sightings.clocks_s()) == set(kept)
