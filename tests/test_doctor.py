"""The doctor's sentences, each from the facts that call for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import doctor
from doctor import ago, diagnose, entries, size, span
from facts import ClockFacts, DialFacts, NetFacts, PeerFacts

ANN_AT, BOB_AT = ("127.0.0.1", 6000), ("127.0.0.1", 7000)
OURS = ("127.0.0.1", 5000)


def peer(label: str = "ann", **changed: Any) -> PeerFacts:
    usual = PeerFacts(b"A" * 32, label, ANN_AT, True, 0.02, 1.0, 10, 20, 0, 0, None, "")
    return usual.but(**changed)


def dial(**changed: Any) -> DialFacts:
    usual = DialFacts(BOB_AT, True, "", False, False, 1, "connection refused", 3.0)
    return usual.but(**changed)


def net(*peers: PeerFacts, **changed: Any) -> NetFacts:
    usual = NetFacts(
        *OURS, was_called=True, peers=peers, dials=(), clocks=(), refused=(), missing=0
    )
    return usual.but(**changed)


def said_by(facts: NetFacts, about: str) -> str:
    """The one sentence with these words in it."""
    (sentence,) = [sentence for sentence in diagnose(facts) if about in sentence]
    return sentence


def test_a_node_with_which_all_is_well_hears_just_that() -> None:
    facts = net(peer(), peer("bob", round_trip_s=0.0001, finds_us=OURS))
    assert diagnose(facts) == [
        "linked to ann and bob; a round trip takes up to 20 ms",
        "others can link to you at 127.0.0.1:5000: bob did",
    ]


def test_a_round_trip_too_short_to_tell_is_said_to_be_that() -> None:
    near = net(peer(round_trip_s=0.0001))
    assert said_by(near, "linked to ann") == "linked to ann; a round trip takes under 1 ms"


def test_who_is_linked_to_many_hears_a_few_names_and_a_number() -> None:
    facts = net(*(peer(f"p{number}") for number in range(9)))
    assert diagnose(facts)[0].startswith("linked to p0, p1, p2, p3, p4 and 4 more;")


def test_who_answers_no_ping_is_named() -> None:
    facts = net(peer(round_trip_s=None), peer("bob"))
    assert said_by(facts, "no answer") == ("no answer yet from ann: a slow line, or a busy machine")
    assert diagnose(net(peer(round_trip_s=None)))[0] == "linked to ann"


def test_who_is_alone_hears_what_to_do() -> None:
    assert diagnose(net(was_called=False)) == [
        "linked to nobody, and no address to try: /connect ADDRESS links to somebody, or "
        "somebody links to you",
        "listening on 127.0.0.1:5000; nobody has called yet",
    ]
    assert "no address to try" in diagnose(net(dials=(dial(is_self=True),)))[0]
    assert diagnose(net(dials=(dial(),)))[0] == (
        "linked to nobody: no address that is known leads to a member"
    )


def test_whether_anybody_can_link_to_us() -> None:
    assert said_by(net(peer(), port=0), "can link") == (
        "nobody can link to you: this node does not listen; start it with a port"
    )
    assert said_by(net(peer()), "can link") == (
        "others can link to you at 127.0.0.1:5000: you were called"
    )
    assert said_by(net(peer(), was_called=False), "firewall") == (
        "nobody has linked to you at 127.0.0.1:5000 yet, all links go out from here: either "
        "nobody has tried, or a router or firewall keeps them out"
    )
    seen = net(peer(sees_us="5.6.7.8"), peer(sees_us="5.6.7.8"), peer(), was_called=False)
    assert said_by(seen, "firewall").endswith("keeps them out; they see you at 5.6.7.8")
    there = net(peer(finds_us=("5.6.7.8", 5000)), peer("bob"), host="::")
    assert said_by(there, "can link") == "others can link to you at 5.6.7.8:5000: ann did"
    assert "[::1]:5000" in said_by(net(host="::1"), "others can link to you")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_who_listens_on_this_machine_only_hears_that_no_other_machine_can_call(host: str) -> None:
    far = net(peer(), peer("bob", address=("5.6.7.8", 5000)), was_called=False, host=host)
    assert "this node listens on " in said_by(far, "nobody on other machines can link to you")
    for facts in (far.but(host="::"), net(peer(), was_called=False, host=host)):
        assert said_by(facts, "nobody has linked to you at")


def test_an_ipv6_address_that_no_way_leads_to_is_no_fault_of_the_network() -> None:
    failed = dial(address=("2a0a::1", 5000), failure="network is unreachable")
    assert "may have no IPv6" in said_by(net(peer(), dials=(failed,)), "2a0a::1")


# ---------------------------------------------------------------- dials


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("connection refused", "nothing listens there; has it started?"),
        ("connection timed out", "no answer; a firewall, or a wrong address"),
        ("did not finish the handshake in 10 s", "no answer; a firewall, or a wrong address"),
        ("no route to host", "no way leads there; is that machine on, and in your network?"),
        ("network is unreachable", "is this machine connected to a network?"),
        ("host is down", "that machine does not answer; is it on?"),
        ("too many open files", "this machine has no more sockets; ulimit -n says how many"),
        ("permission denied", "this machine does not allow that; a firewall of its own?"),
        ("full", "it is linked to as many as it can; others lead to it, or ask later"),
        ("full: linked to as many as it can", "it is linked to as many as it can"),
        ("its user has ended the link", "its user does not want this link"),
        (
            "refused the knock: another room?",
            "it does not know our room; an invite of another one?",
        ),
        ("hung up before the knock", "it hung up at once; too busy, or no selchat at all"),
        ("closed without a goodbye", "it hung up; another room, or no selchat at all"),
        ("connection reset by peer", "it hung up; another room, or no selchat at all"),
        ("broken pipe", "it hung up; another room, or no selchat at all"),
        ("TLS: wrong version number", "a stranger; another room, or no selchat at all"),
        ("goodbye", "it was just leaving"),
        ("a hello out of place", "it does not speak as a selchat should; another version of it?"),
    ],
)
def test_each_failure_comes_with_what_it_means(reason: str, meaning: str) -> None:
    sentence = said_by(net(dials=(dial(failure=reason),)), "failed")
    assert sentence.startswith(f"127.0.0.1:7000 failed (3 s ago): {reason}: ")
    assert meaning in sentence


def test_a_failure_names_who_was_there_how_often_and_that_it_has_called() -> None:
    facts = net(peer("bob"), dials=(dial(label="bob", failures=7, linked=True),))
    assert said_by(facts, "failed") == (
        "bob at 127.0.0.1:7000 failed (7 times, last 3 s ago): connection refused: nothing "
        "listens there; has bob started? (it has called you, so you are linked all the same)"
    )


def test_a_label_with_braces_in_it_is_a_label() -> None:
    assert "has {has} started?" in said_by(net(dials=(dial(label="{has}"),)), "failed")


def test_ones_own_address_is_no_address_of_somebody_else() -> None:
    assert said_by(net(dials=(dial(is_self=True),)), "7000") == (
        "127.0.0.1:7000 is this very node; name the address of somebody else"
    )


def test_of_many_failures_a_few_are_told_and_the_others_counted() -> None:
    named = tuple(dial() for _ in range(8))
    others = tuple(dial(named=False, failure=f"reason {min(number, 6)}") for number in range(9))
    told = [sentence for sentence in diagnose(net(dials=named + others)) if "7000" not in sentence]
    assert told[2:] == [
        "no link by 3 more of the addresses that you have named (3 with 'connection refused')",
        "no link by 9 of the addresses that were heard of "
        "(3 with 'reason 6', 1 with 'reason 0', 1 with 'reason 1', 1 with 'reason 2', "
        "1 with 'reason 3', 2 with others)",
    ]


def test_a_reason_that_a_far_end_gave_is_cut() -> None:
    sentence = said_by(net(dials=(dial(failure="x" * 200),)), "failed")
    assert "x" * doctor.MAX_REASON_CHARACTERS in sentence
    assert "x" * (doctor.MAX_REASON_CHARACTERS + 1) not in sentence


# ---------------------------------------------------------------- who is behind


def test_who_is_behind_is_told_with_how_much() -> None:
    facts = net(peer(ahead=3, lacks=1), peer("bob", ahead=2), peer("zoe", lacks=1200), missing=4)
    assert said_by(facts, "catching up") == (
        "you are catching up: ann and bob have 4 entries that you have not"
    )
    assert [sentence for sentence in diagnose(facts) if "behind" in sentence] == [
        "zoe is behind: 1,200 entries still to be sent there",
        "ann is behind: 1 entry still to be sent there",
    ]
    assert "ann has 1 entry that" in said_by(net(peer(ahead=1), missing=1), "catching up")


def test_of_many_that_are_behind_the_furthest_are_told() -> None:
    facts = net(*(peer(f"p{number}", lacks=number) for number in range(1, 9)))
    told = [sentence for sentence in diagnose(facts) if "behind" in sentence]
    assert [sentence.split()[0] for sentence in told] == ["p8", "p7", "p6", "p5", "p4", "3"]
    assert told[-1] == "3 more are behind by less"


def test_a_boast_is_no_number() -> None:
    assert entries(2**63) == "countless entries"


# ---------------------------------------------------------------- clocks


def clocks(**behind_s: float) -> list[str]:
    facts = net(clocks=tuple(ClockFacts(label, s) for label, s in behind_s.items()))
    return [sentence for sentence in diagnose(facts) if "clock" in sentence]


def test_clocks_that_agree_are_not_mentioned() -> None:
    assert clocks() == clocks(ann=4.9, bob=-4.9) == []


def test_of_two_clocks_nobody_knows_which_is_right() -> None:
    assert clocks(ann=90.0) == [
        "ann's clock is 90 s behind yours; with two clocks nobody can tell which is right"
    ]
    assert clocks(ann=-90.0)[0].startswith("ann's clock is 90 s ahead of yours;")


def test_where_all_others_agree_ours_is_off() -> None:
    assert clocks(ann=62.0, bob=60.0) == [
        "your clock is 60 s ahead of those of ann and bob, which agree: set it right"
    ]
    assert clocks(ann=-7200.0, bob=-7201.0, zoe=-7202.0) == [
        "your clock is 2 h behind those of ann, bob and zoe, which agree: set it right"
    ]


def test_where_somebody_agrees_with_us_the_others_are_off() -> None:
    assert clocks(ann=62.0, bob=0.1) == ["ann's clock is 62 s behind yours"]
    assert clocks(ann=62.0, bob=-62.0) == [
        "ann's clock is 62 s behind yours",
        "bob's clock is 62 s ahead of yours",
    ]


def test_of_many_clocks_that_are_off_a_few_are_told() -> None:
    told = clocks(**{f"p{number}": 100.0 * number for number in range(1, 9)})
    assert len(told) == doctor.MOST_NAMED + 1
    assert told[-1] == "3 more clocks differ from yours"


def test_whom_our_user_has_disconnected_is_told() -> None:
    assert said_by(net(refused=("bob",)), "bob") == (
        "you have disconnected bob: what they say comes through others; "
        "/connect ADDRESS links again"
    )


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1.0, "under 1 ms"),
        (0.0004, "under 1 ms"),
        (0.012, "12 ms"),
        (1.4, "1 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7200.0, "2 h"),
        (172_800.0, "2 days"),
    ],
)
def test_a_time_is_one_number_with_its_unit(seconds: float, shown: str) -> None:
    assert span(seconds) == shown
    assert ago(seconds) == ("just now" if seconds < 1.0 else f"{shown} ago")


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")],
)
def test_a_number_of_bytes_has_its_unit(count: int, shown: str) -> None:
    assert size(count) == shown


peers = st.builds(
    PeerFacts,
    st.binary(min_size=32, max_size=32),
    st.text(),
    st.tuples(st.text(), st.integers(1, 65535)),
    st.booleans(),
    st.none() | st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.integers(0),
    st.integers(0),
    st.integers(0),
    st.integers(0),
    st.none() | st.tuples(st.text(), st.integers(1, 65535)),
    st.text(),
)
dials = st.builds(
    DialFacts,
    st.tuples(st.text(), st.integers(1, 65535)),
    st.booleans(),
    st.text(),
    st.booleans(),
    st.booleans(),
    st.integers(1),
    st.text(),
    st.floats(0, 1e9),
)
any_facts = st.builds(
    NetFacts,
    st.text(),
    st.integers(0, 65535),
    st.booleans(),
    st.lists(peers).map(tuple),
    st.lists(dials).map(tuple),
    st.lists(st.builds(ClockFacts, st.text(), st.floats(-1e12, 1e12))).map(tuple),
    st.lists(st.text()).map(tuple),
    st.integers(0),
)


@given(any_facts)
def test_whatever_the_facts_there_is_something_to_say_and_it_fits_a_screen(
    facts: NetFacts,
) -> None:
    said = diagnose(facts)
    assert all(said) and 2 <= len(said) <= 6 * (doctor.MOST_NAMED + 1)
