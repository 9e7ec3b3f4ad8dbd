"""How things stand, in one line: who is there, what is going on, who has what one said last."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from events import LinkClosed, MessageReceived
from facts import Sightings
from node import Node
from protocol import Have, Head, Peer, Peers
from status import GONE_S, LOOK_S, Standing, receipt
from tests.test_mesh import BOB_LOG, ME, MY_LOG, ZOE, Script
from tests.test_node import ANN
from text import Names


class Stand:
    """A mesh, and what is said of it."""

    def __init__(self, said: int = 0) -> None:
        self.script = Script(frontier={MY_LOG: 1} if said else {})
        self.sightings = Sightings()
        names = {ANN: "ann", ZOE: "zoe"}
        journal = SimpleNamespace(name_of=names.get)
        node = cast(Node, SimpleNamespace(mesh=self.script.mesh, journal=journal))
        self.standing = Standing(node, Names(), MY_LOG, self.sightings)
        self.now = 100.0

    def say(self) -> None:
        frontier = self.script.mesh.frontier
        frontier[MY_LOG] = frontier.get(MY_LOG, 0) + 1

    def parts(self) -> list[str]:
        return self.standing.look(self.now, "open", "").parts()


def test_who_is_alone_is_told_so_and_that_all_is_kept() -> None:
    stand = Stand()
    assert stand.parts() == ["open", "linked to nobody"]
    stand.say()
    assert stand.parts() == ["open", "linked to nobody", "your last: kept here"]


def test_what_was_said_in_an_earlier_run_is_no_news() -> None:
    assert Stand(said=1).parts() == ["open", "linked to nobody"]


def test_a_post_is_on_its_way_then_some_have_it_then_all() -> None:
    stand = Stand()
    stand.script.link(ANN, 1)
    stand.say()
    assert stand.parts() == ["open", "1 linked", "your last: on its way"]
    stand.script.link(ZOE, 2, Head(MY_LOG, 1))
    assert stand.parts()[2] == "your last: 1 of 2 have it (missing: ann)"
    stand.script.mesh.confirmed[ANN] = {MY_LOG: 1}
    assert stand.parts()[2] == "your last: all 2 have it"


def test_who_left_is_missing_for_a_while_and_then_no_longer() -> None:
    stand = Stand()
    stand.script.link(ANN, 1)
    stand.say()
    stand.script.link(ZOE, 2, Head(MY_LOG, 1))
    stand.script.do(LinkClosed(1, "gone"))
    stand.sightings.left(ANN, stand.now)
    stand.now += GONE_S - 1
    assert stand.parts()[2] == "your last: 1 of 2 have it (missing: ann)"
    stand.now += 1
    assert stand.parts()[2] == "your last: arrived"


def test_who_is_here_through_a_peer_is_waited_for_while_it_is_and_counted_for_good() -> None:
    stand = Stand()
    stand.script.link(ANN, 1)
    stand.say()
    stand.script.do(MessageReceived(1, Have((Head(MY_LOG, 1),))))
    assert stand.parts()[2] == "your last: arrived"
    stand.script.do(MessageReceived(1, Peers((Peer(ME, "", 0), Peer(ZOE, "", 0)))))
    assert stand.parts()[2] == "your last: 1 of 2 have it (missing: zoe)"
    stand.script.do(MessageReceived(1, Peers((Peer(ME, "", 0),))))
    assert stand.parts()[2] == "your last: arrived"
    stand.script.mesh.confirmed[ZOE] = {MY_LOG: 1}
    assert stand.parts()[2] == "your last: all 2 have it"


def test_of_many_who_miss_it_some_are_named() -> None:
    assert receipt(3, 2, "ann, zoe", linked=True) == (
        "your last: 3 of 5 have it (missing: ann, zoe)"
    )
    stand = Stand()
    assert stand.standing._named([ANN, ZOE, b"x" * 32, b"y" * 32, b"z" * 32]).endswith(
        " and 2 more"
    )


def test_what_is_still_to_come_is_counted_and_looked_at_again() -> None:
    stand = Stand()
    assert stand.standing.deadline() is None
    stand.script.link(ANN, 1, Head(BOB_LOG, 3))
    stand.now += LOOK_S
    assert stand.parts() == ["open", "1 linked", "catching up: 3 to come"]
    assert stand.standing.deadline() == stand.now + LOOK_S
    assert stand.standing.look(stand.now, "open", "searching").doing == "searching"
