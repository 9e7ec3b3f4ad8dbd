"""Rooms over the internet: homes behind NAT, hosts that die or move, and bad lines, with real
processes on networks made of namespaces."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gathering import (
    HEAL_S,
    PAUSE_S,
    PORT,
    PROMISED_S,
    TALK_S,
    Gathering,
    Member,
    gathering,
    report,
)
from tests.internet import Line
from tests.processes import TerminalProcess

NOBODYS_ADDRESS = "5.6.99.2"  # what is sent there is lost
ROUTER_FORGETS_S = 8  # more than a link is silent (PING_S of mesh.py) and a busy machine late


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Gathering]:
    with gathering(tmp_path) as room:
        yield room


def at(address: str) -> str:
    """Where a server listens that has this address."""
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


def begin_talk(room: Gathering, ada: Member, bob: Member, deadline_s: float = TALK_S) -> float:
    """Both say something at their start, and each hears the other; after how long."""
    ada.say("hi from ada")
    bob.say("hi from bob")
    room.crowd.wait(
        lambda: ada.process.texts() and bob.process.texts(),
        "each has heard the other",
        deadline_s,
    )
    return time.monotonic() - min(ada.started_at, bob.started_at)


def talk(room: Gathering, *members: Member, posts: int = 50) -> None:
    """All say so many posts, one after the other."""
    for number in range(posts):
        for member in members:
            member.say(f"{number} of {member.name}")
        room.crowd.wait_s(PAUSE_S)


def test_two_homes_talk_through_a_host_that_both_can_reach(room: Gathering) -> None:
    host = room.internet.host("host")
    room.server(host, "cyd")
    ada = room.join(room.internet.home("ada"), "ada", at(host.ipv4))
    bob = room.join(room.internet.home("bob"), "bob", at(host.ipv4))
    begun_s = begin_talk(room, ada, bob)
    assert begun_s <= PROMISED_S
    talk(room, ada, bob)
    room.wait_all()
    assert ada.id not in bob.process.linked()
    ada.process.say("/who")
    room.crowd.wait(
        lambda: b"here, through cyd" in ada.process.stdout,
        "ada is told that bob is here",
    )
    room.end()
    report("two homes, one host", first_post_s=round(begun_s, 2), posts=len(ada.said + bob.said))


def test_invite_that_is_copied_from_a_screen_and_pasted_at_another_leads_into_the_room(
    room: Gathering,
) -> None:
    host, home = room.internet.host("host", "46"), room.internet.home("ada")
    crowd = room.crowd

    def wait_for(seen: str, process: TerminalProcess) -> None:
        crowd.wait(lambda: any(seen in row for row in process.rows), f"it shows {seen}")

    options = ("--room", "attic", "--host", "::")
    cyd = crowd.start_on_terminal(PORT, 0, "cyd", *options, inside=host.inside)
    wait_for("cyd ›", cyd)
    cyd.write("/invite\r")
    wait_for("who has this line", cyd)
    rows = cyd.rows
    begin = next(n for n, row in enumerate(rows) if row.startswith("selchat1"))
    end = next(n for n, row in enumerate(rows) if "who has this line" in row)
    assert end > begin + 1, "it has more than a row"
    ada = crowd.start_on_terminal(0, "-", "ada", inside=home.inside)
    wait_for("paste the invite here", ada)
    ada.write("\n".join(rows[begin:end]) + "\n")
    wait_for("cyd joined", ada)
    ada.write("hello from home\r")
    wait_for("ada: hello from home", cyd)


def test_home_knows_that_another_home_has_its_posts_which_only_a_host_can_reach(
    room: Gathering,
) -> None:
    host = room.internet.host("host")
    room.server(host, "cyd")
    invited = f"@{room.invite(at(host.ipv4))}"
    bob = room.join(room.internet.home("bob"), "bob", at(host.ipv4))
    bob.process.wait_ready()
    space = room.internet.home("ada")
    arguments = (0, invited, "ada", "--confirm", "2", "--linger", str(TALK_S))
    ada = room.crowd.start(*arguments, data="ada", inside=space.inside)
    ada.say("hi", "anybody there?")
    ada.end_input()
    assert ada.wait_end() == 0
    own = [event["ref"] for event in ada.events("message", own=True)]
    confirmed = {event["ref"]: set(event["by"]) for event in ada.events("confirmed")}
    assert len(own) == 2 and all(bob.id in confirmed[ref] for ref in own)
    assert bob.id not in {event["id"] for event in ada.events("link")}
    room.crowd.wait(lambda: len(bob.process.texts()) == 2, "bob has both")


def test_second_host_that_is_known_by_hearsay_takes_over_when_the_first_one_dies(
    room: Gathering,
) -> None:
    first, second = room.internet.host("first"), room.internet.host("second")
    cyd = room.server(first, "cyd")
    dan = room.server(second, "dan", at(first.ipv4))
    ada = room.join(room.internet.home("ada"), "ada", at(first.ipv4))
    bob = room.join(room.internet.home("bob"), "bob", at(first.ipv4))
    begin_talk(room, ada, bob)
    for member in (ada, bob):
        room.wait_linked(member, dan)
    talk(room, ada, bob, posts=20)
    first.unplug()  # nobody is told: no end, no reset
    cyd.process.kill()
    talk(room, ada, bob, posts=20)
    died_at = time.monotonic()
    room.wait_posts(PROMISED_S)
    report("first host dies", all_there_s=round(time.monotonic() - died_at, 2))
    room.wait_all(HEAL_S)  # it is waited for as long as nobody knows that it is dead
    # Its address was in no invite of theirs, and is in their books.
    ada.process.popen.terminate()
    assert ada.process.wait_end() == 0
    bob.say("while ada was away")
    ada.begin()
    ada.say("ada is back")
    room.wait_all(HEAL_S)
    report("a home returns", all_there_s=round(time.monotonic() - ada.started_at, 2))
    room.end()


def test_where_there_is_ipv6_alone_all_is_the_same(room: Gathering) -> None:
    host = room.internet.host("host", "6")
    room.server(host, "cyd")
    ada = room.join(room.internet.home("ada", "6"), "ada", at(host.ipv6))
    bob = room.join(room.internet.home("bob", "6"), "bob", at(host.ipv6))
    begun_s = begin_talk(room, ada, bob)
    assert begun_s <= PROMISED_S
    talk(room, ada, bob)
    room.wait_all()
    room.end()
    report("IPv6 alone", first_post_s=round(begun_s, 2), posts=len(ada.said + bob.said))


def test_homes_of_two_families_talk_through_a_host_that_has_both(room: Gathering) -> None:
    host = room.internet.host("host", "46")
    host.set(ipv6__bindv6only=1)  # as on some systems: "::" would not mean both by itself
    homes = room.internet.home("ada", "4"), room.internet.home("bob", "6")
    cyd = room.server(host, "cyd")
    ada = room.join(homes[0], "ada", at(host.ipv4), at(host.ipv6))
    bob = room.join(homes[1], "bob", at(host.ipv4), at(host.ipv6))
    begun_s = begin_talk(room, ada, bob)
    assert begun_s <= PROMISED_S
    assert {_caller(cyd, ada), _caller(cyd, bob)} == {homes[0].router.ipv4, homes[1].ipv6}
    talk(room, ada, bob, posts=20)
    room.wait_all()
    room.end()
    report("IPv4 and IPv6", first_post_s=round(begun_s, 2), posts=len(ada.said + bob.said))


def _caller(member: Member, other: Member) -> str:
    """The address that `other` has called `member` from, as that says."""
    (link,) = member.process.events("link", id=other.id)
    host, _, _ = link["address"].rpartition(":")
    return str(host.strip("[]"))


def test_host_that_is_known_by_name_is_found_again_at_another_address(room: Gathering) -> None:
    host = room.internet.host("host")
    homes = room.internet.home("ada"), room.internet.home("bob")

    def call() -> None:
        for home in homes:
            home.call({"chat.example": host.ipv4})

    call()
    room.server(host, "cyd")
    ada = room.join(homes[0], "ada", at("chat.example"))
    bob = room.join(homes[1], "bob", at("chat.example"))
    begun_s = begin_talk(room, ada, bob)
    host.move()
    moved_at = time.monotonic()
    talk(room, ada, bob, posts=20)
    call()
    room.wait_all(HEAL_S)
    room.end()
    healed_s = round(time.monotonic() - moved_at, 2)
    report("a name moves", first_post_s=round(begun_s, 2), all_there_s=healed_s)


def test_name_server_that_never_answers_delays_nobody(room: Gathering) -> None:
    host, home = room.internet.host("host"), room.internet.home("ada")
    home.ask(NOBODYS_ADDRESS)
    room.server(host, "cyd")
    ada = room.join(home, "ada", at("chat.example"), at(host.ipv4))
    bob = room.join(room.internet.home("bob"), "bob", at(host.ipv4))
    begun_s = begin_talk(room, ada, bob)
    assert begun_s <= PROMISED_S
    talk(room, ada, bob, posts=20)
    room.wait_all()
    pid = ada.process.popen.pid
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text(), "it still looks the name up"
    room.end()
    report("a name server that is silent", first_post_s=round(begun_s, 2))


def test_router_that_forgets_calls_that_are_silent_forgets_none_of_ours(room: Gathering) -> None:
    host, home = room.internet.host("host"), room.internet.home("ada")
    # Routers keep in mind what was silent for minutes, at least. Ours has less patience, so that
    # this takes no minutes.
    home.router.set(netfilter__nf_conntrack_tcp_timeout_established=ROUTER_FORGETS_S)
    room.server(host, "cyd")
    ada = room.join(home, "ada", at(host.ipv4))
    bob = room.join(room.internet.home("bob"), "bob", at(host.ipv4))
    begin_talk(room, ada, bob)
    room.crowd.wait_s(ROUTER_FORGETS_S + 1.0)
    bob.say("still there?")  # from outside to inside: a router that has forgotten drops it
    room.wait_all(PROMISED_S)
    room.end()


def test_line_that_is_slow_and_loses_packets_loses_no_post(room: Gathering) -> None:
    host = room.internet.host("host")
    far = room.internet.home("ada", line=Line(delay_s=0.2, loss=0.05, bits_per_s=1_000_000))
    room.server(host, "cyd")
    ada = room.join(far, "ada", at(host.ipv4))
    bob = room.join(room.internet.home("bob"), "bob", at(host.ipv4))
    begun_s = begin_talk(room, ada, bob, HEAL_S)
    burst_at = time.monotonic()
    ada.say(*(f"{number} of a burst from far away {'.' * 1000}" for number in range(300)))
    talk(room, bob)
    room.wait_all(HEAL_S)
    room.end()
    all_s = round(time.monotonic() - burst_at, 2)
    there, back = room.internet.end_line(far.router.number)
    lost = there["lost"] + back["lost"], there["passed"] + back["passed"]
    report(
        "200 ms each way, 5 % loss, 1 Mbit/s",
        first_post_s=round(begun_s, 2),
        posts=len(ada.said + bob.said),
        all_there_s=all_s,
        packets_lost="{} of {}".format(*lost),
    )


def test_home_that_gets_another_address_in_the_middle_of_a_talk_goes_on(room: Gathering) -> None:
    host = room.internet.host("host")
    moving = room.internet.home("ada")
    room.server(host, "cyd")
    ada = room.join(moving, "ada", at(host.ipv4))
    bob = room.join(room.internet.home("bob"), "bob", at(host.ipv4))
    begin_talk(room, ada, bob)
    talk(room, ada, bob, posts=10)
    moving.router.move()
    moved_at = time.monotonic()
    talk(room, ada, bob, posts=10)
    room.wait_all(HEAL_S)
    room.end()
    report("a home's address changes", all_there_s=round(time.monotonic() - moved_at, 2))


def test_host_that_gets_another_address_is_found_again_through_the_others(
    room: Gathering,
) -> None:
    moving, staying = room.internet.host("moving"), room.internet.host("staying")
    cyd = room.server(moving, "cyd")
    dan = room.server(staying, "dan", at(moving.ipv4))
    ada = room.join(room.internet.home("ada"), "ada", at(moving.ipv4))
    bob = room.join(room.internet.home("bob"), "bob", at(moving.ipv4))
    begin_talk(room, ada, bob)
    for member in (ada, bob):
        room.wait_linked(member, dan)
    moving.move()
    moved_at = time.monotonic()
    talk(room, cyd, ada, bob, posts=10)
    room.wait_all(HEAL_S)
    report("a host's address changes", all_there_s=round(time.monotonic() - moved_at, 2))
    # Those who can't be called have called it, where it is now.
    room.crowd.wait(
        lambda: all(_links(member, cyd, moving.ipv4) for member in (ada, bob)),
        "both homes are linked to where it is now",
        HEAL_S,
    )
    report("it is called there", after_s=round(time.monotonic() - moved_at, 2))
    dan.process.signal(signal.SIGTERM)
    assert dan.process.wait_end() == 0
    talk(room, ada, bob, posts=1)
    room.wait_all(HEAL_S)
    room.end()


def _links(member: Member, other: Member, address: str) -> bool:
    """Whether it is linked to it, and that there."""
    links = member.process.events("link", id=other.id)
    return bool(links) and links[-1]["state"] == "up" and links[-1]["address"] == at(address)
