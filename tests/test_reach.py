"""The reach: which addresses are ours, and which of those that others tell of count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from addresses import Address
from mesh import Mesh
from reach import MAX_OWN, UNCALLED_S, Reach

FAR, NEAR, HERE = ("5.6.7.8", 5000), ("192.168.1.5", 5000), ("127.0.0.1", 6000)
FAR_6 = ("2a0a::1", 5000)


def link(at: tuple[str, int], *, dialed: bool = True, **fields: Any) -> Any:
    usual = {"address": at, "dialed": dialed, "finds_us": None, "up_since": 0.0}
    seen = fields.pop("seen", "")
    return SimpleNamespace(**usual | fields, hello=SimpleNamespace(seen=seen))


def mesh(*links: Any) -> Mesh:
    return cast(Mesh, SimpleNamespace(members=dict(enumerate(links))))


@pytest.mark.parametrize(
    ("address", "over", "counts"),
    [
        (FAR, FAR, True),
        (FAR, NEAR, True),
        (FAR, HERE, True),
        (NEAR, FAR, False),
        (NEAR, NEAR, True),
        (HERE, NEAR, False),
        (HERE, ("127.0.0.1", 9), True),
        (FAR_6, FAR, True),
        (("fe80::1%eth0", 5000), NEAR, False),
        (("fe80::1%eth0", 5000), None, True),
        (HERE, None, True),
        (("chat.example", 5000), FAR, False),
        (("chat.example", 5000), None, False),
        (("224.0.0.1", 5000), None, False),
        (("255.255.255.255", 5000), None, False),
        (("0.0.0.0", 5000), None, False),
        (("::", 5000), None, False),
        (("::ffff:5.6.7.8", 5000), None, False),  # has another spelling
        (("5.6.7.8", 0), None, False),
        (("5.6.7.8", 65536), None, False),
        (("no address\n", 5000), None, False),
        # A wire is a word of this machine's own, and only fe80:: needs one.
        (("2a0a::1%eth0", 5000), FAR, False),
        (("2a0a::1%\0", 5000), FAR, False),
        (("fe80::1%\0", 5000), None, False),
        (("fe80::1%" + "9" * 200, 5000), None, False),
        (FAR, ("no address", 1), False),
    ],
)
def test_what_a_peer_tells_of_counts_as_far_as_the_peer_itself_is_away(
    address: tuple[str, int], over: tuple[str, int] | None, counts: bool
) -> None:
    assert Reach("::", 5000, is_open=False).may_learn(address, over) is counts


@pytest.mark.parametrize("over", [None, FAR, HERE])
def test_the_open_room_stays_on_this_machine(over: tuple[str, int] | None) -> None:
    reach = Reach("127.0.0.1", 5000, is_open=True)
    assert reach.may_learn(HERE, over) and reach.may_learn(("::1", 5000), over)
    assert not reach.may_learn(FAR, over) and not reach.may_learn(NEAR, over)


def test_who_listens_on_this_machine_only_tells_nobody_else_to_call_back() -> None:
    inside, outside = Reach("127.0.0.1", 5000, is_open=False), Reach("::", 5000, is_open=False)
    assert (inside.port_for(HERE), inside.port_for(FAR), inside.port_for(NEAR)) == (5000, 0, 0)
    assert (outside.port_for(HERE), outside.port_for(FAR)) == (5000, 5000)
    assert Reach("::", 0, is_open=False).port_for(FAR) == 0


def test_a_node_is_found_where_others_did_and_then_where_it_sees_itself_the_furthest_first() -> (
    None
):
    reach = Reach("::", 5000, is_open=False)
    found = link(FAR, finds_us=("9.9.9.9", 5000))
    assert reach.own(mesh(link(FAR), found), lambda: ["192.168.1.9", "2a0a::9"]) == [
        Address("9.9.9.9", 5000),
        Address("2a0a::9", 5000),
        Address("192.168.1.9", 5000),
    ]
    assert len(reach.own(mesh(), lambda: [f"7.7.7.{n}" for n in range(40)])) == MAX_OWN


def test_what_peers_merely_say_of_us_counts_for_nothing_and_what_nobody_can_call_neither() -> None:
    reach = Reach("::", 5000, is_open=False)
    told = mesh(link(FAR, seen="6.6.6.6"), link(FAR, finds_us=("chat.example", 5000)))
    assert reach.own(told, lambda: ["5.6.7.8", "127.0.0.1"]) == [Address("5.6.7.8", 5000)]
    assert reach.own(told, lambda: ["127.0.0.1"]) == [Address("127.0.0.1", 5000)]


def test_peers_that_lie_neither_fill_an_invite_nor_lead_who_is_invited_to_their_own_router() -> (
    None
):
    reach = Reach("::", 5000, is_open=False)
    lies = [link(FAR, finds_us=(f"6.6.6.{number}", 22)) for number in range(9)]
    lies += [link(FAR, finds_us=NEAR), link(FAR, finds_us=HERE)]
    truth = [link(NEAR, finds_us=("9.9.9.9", 5000)), link(FAR, finds_us=("9.9.9.9", 5000))]
    assert reach.own(mesh(*lies, *truth), lambda: ["192.168.1.9", "2a0a::9"]) == [
        Address("9.9.9.9", 5000),
        Address("6.6.6.0", 22),
        Address("2a0a::9", 5000),
        Address("192.168.1.9", 5000),
    ]


def test_who_listens_on_one_address_is_found_there() -> None:
    assert Reach("127.0.0.1", 5000, is_open=False).own(
        mesh(link(FAR, seen="7.7.7.7")), lambda: ["5.6.7.8"]
    ) == [Address("127.0.0.1", 5000)]
    assert Reach("5.6.7.8", 5000, is_open=False).own(mesh(), lambda: ["1.1.1.1"]) == [
        Address("5.6.7.8", 5000)
    ]
    assert Reach("::", 0, is_open=False).own(mesh(), lambda: ["5.6.7.8"]) == []


def test_a_node_that_nobody_can_call_says_so_once_and_what_to_do() -> None:
    reach = Reach("::", 5000, is_open=False)
    away = mesh(link(FAR), link(HERE, dialed=False))
    assert reach.uncalled(away, UNCALLED_S - 1) is None
    said = reach.uncalled(away, UNCALLED_S)
    assert said is not None and "let the router pass port 5000 on to this machine" in said
    assert reach.uncalled(away, UNCALLED_S + 1) is None


def test_a_node_that_listens_on_this_machine_only_is_told_how_to_be_called() -> None:
    said = Reach("127.0.0.1", 5000, is_open=False).uncalled(mesh(link(FAR)), UNCALLED_S)
    assert said is not None and "listens on 127.0.0.1 only" in said and "--host ::" in said


@pytest.mark.parametrize("called", [link(FAR, dialed=False), link(FAR, finds_us=("9.9.9.9", 5000))])
def test_a_node_that_was_called_says_nothing_of_that_and_never_will(called: Any) -> None:
    reach = Reach("::", 5000, is_open=False)
    assert reach.uncalled(mesh(called), 0.0) is None
    assert reach.uncalled(mesh(link(FAR)), 1000.0) is None


def test_who_is_linked_to_nodes_on_this_machine_alone_has_nothing_to_be_told() -> None:
    assert Reach("::", 5000, is_open=False).uncalled(mesh(link(HERE)), 1000.0) is None


def test_it_is_looked_again_when_a_link_that_was_new_is_old_enough() -> None:
    reach = Reach("::", 5000, is_open=False)
    assert reach.look_at(mesh()) is None and reach.look_at(mesh(link(HERE))) is None
    again = link(FAR, up_since=6.0)
    assert reach.look_at(mesh(link(FAR, up_since=0.0))) == UNCALLED_S
    assert reach.uncalled(mesh(again), UNCALLED_S) is None, "the first one is gone"
    assert reach.look_at(mesh(again)) == 6.0 + UNCALLED_S
    assert reach.uncalled(mesh(again), 6.0 + UNCALLED_S) is not None
    assert reach.look_at(mesh(again)) is None


def test_who_was_called_for_a_moment_can_be_called() -> None:
    reach = Reach("::", 5000, is_open=False)
    assert reach.look_at(mesh(link(FAR), link(FAR, dialed=False))) is None
    assert reach.uncalled(mesh(link(FAR)), 1000.0) is None
