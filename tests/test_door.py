"""door.py: who waits there, who gets in, and what strangers cost."""

from __future__ import annotations

import contextlib
import errno
import select
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import door
import net
import protocol
from door import Door, Listener
from link import Failed, Link, Secured
from net import Connection, Loop
from tests import test_net
from tests.processes import ROOT, Crowd
from tests.test_net import CHALLENGE, OTHER_ROOM, ROOM, Member, run_until

members = test_net.members  # the fixture

HERE, THERE, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
DEADLINE_S = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class House:
    """A door, its listening socket, and those who were let in; the test makes its turns."""

    def __init__(self, member: Member, host: str = HERE) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.listener = Listener(self.loop, host, 0, lambda: None)
        self.inside: list[tuple[Connection, door.Address]] = []
        self.refusals: list[tuple[door.Address, str, int]] = []
        self.door = Door(
            self.loop,
            member.gate,
            Random(1),
            lambda connection, address: None,
            lambda connection, address: self.inside.append((connection, address)),
            lambda address, reason, count: self.refusals.append((address, reason, count)),
        )
        self.clients: list[socket.socket] = []
        self._waiting = cast(selectors.EpollSelector, self.door._selector)

    def turn(self) -> None:
        self.door.take_in(self.listener.accept())
        self.door._on_ready(net.READ)

    def until(self, done: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < end, "it never came"
            watched = [self.listener._socket.fileno(), self._waiting.fileno()]
            select.select(watched, [], [], 0.01)
            self.turn()

    def call(self, source: str = HERE) -> socket.socket:
        """Somebody who has come as far as the door."""
        client = self.dial(source)
        end = time.monotonic() + DEADLINE_S
        while not (accepted := self.listener.accept()):
            assert time.monotonic() < end, "nobody came"
        self.door.take_in(accepted)
        return client

    def until_inside(self, count: int) -> None:
        self.until(lambda: len(self.inside) == count)

    def dial(self, source: str = HERE) -> socket.socket:
        client = socket.socket()
        self.clients.append(client)
        client.settimeout(DEADLINE_S)
        client.bind((source, 0))
        client.connect(("127.0.0.1", self.listener.port))
        return client

    def count(self) -> int:
        """Callers at the door."""
        return len(self.door._callers)

    def refused(self) -> int:
        self.wait(door.REPORT_S)
        return sum(count for _, _, count in self.refusals)

    def wait(self, seconds: float) -> None:
        """As the loop does when so much time has passed."""
        self.clock.now += seconds
        due = self.door.deadline()
        if due is not None and due <= self.clock.now:
            self.door.pass_time()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for connection, _ in self.inside:
            connection.close()
        self.door.close()
        self.door.close()  # once more does no harm
        self.listener.close()


@pytest.fixture
def house(members: dict[str, Member]) -> Iterator[House]:
    house = House(members["alice"])
    yield house
    house.close()


def all_said(client: socket.socket) -> bytes:
    """What a client is sent until it is hung up on."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(1 << 16):
            said += data
    return said


def knock(client: socket.socket) -> None:
    client.sendall(ROOM.knock(client.recv(protocol.CHALLENGE_BYTES)))


def no_tls(*_: object, **__: object) -> None:
    raise AssertionError("TLS for a stranger")


# ---------------------------------------------------------------- strangers

WRONG_KNOCKS = {
    "a knock of another room": lambda challenge: OTHER_ROOM.knock(challenge),
    "a knock for another challenge": lambda challenge: ROOM.knock(CHALLENGE),
    "its challenge, twice": lambda challenge: challenge * 2,
    "the start of TLS": lambda challenge: bytes.fromhex("16030100f8010000f40303") + bytes(237),
    "a browser": lambda challenge: b"GET / HTTP/1.1\r\nHost: chat.example.com\r\n\r\n",
    "a megabyte": lambda challenge: bytes(1 << 20),
    "a knock with a bit turned": lambda challenge: (
        ROOM.knock(challenge)[:-1] + bytes([ROOM.knock(challenge)[-1] ^ 1])
    ),
    "a knock after a byte too many": lambda challenge: b"\0" + ROOM.knock(challenge),
}


@pytest.mark.parametrize("sends", WRONG_KNOCKS.values(), ids=WRONG_KNOCKS.keys())
def test_a_stranger_gets_a_challenge_and_not_one_byte_more(
    house: House, monkeypatch: pytest.MonkeyPatch, sends: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(Link, "_decrypt", no_tls)
    client = house.call()
    challenge = client.recv(100)
    assert len(challenge) == 16
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        client.sendall(sends(challenge))
    house.until(lambda: house.count() == 0)
    client.settimeout(DEADLINE_S)
    assert all_said(client) == b""
    assert house.inside == []
    ((address, reason, count),) = house.refusals
    assert (address[0], reason, count) == (HERE, "no knock of this room", 1)


def test_no_start_of_a_knock_gets_an_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Link, "_decrypt", no_tls)
    clients = []
    for length in range(protocol.KNOCK_BYTES):
        client = house.call()
        challenge = client.recv(100)
        client.sendall(ROOM.knock(challenge)[:length])
        house.turn()
        clients.append(client)
    assert house.count() == protocol.KNOCK_BYTES
    house.wait(door.KNOCK_S)
    assert [all_said(client) for client in clients] == [b""] * protocol.KNOCK_BYTES
    assert house.count() == 0 and house.inside == []
    assert house.refusals[0][1] == "no knock within 10 s"


def test_a_wrong_knock_that_comes_a_byte_a_second_is_hung_up_on_in_time(house: House) -> None:
    client = house.call()
    assert len(client.recv(100)) == 16
    for _ in range(int(door.KNOCK_S)):
        assert house.count() == 1
        client.sendall(b"k")
        house.turn()
        house.wait(1.0)
    assert house.count() == 0
    assert all_said(client) == b""


def test_every_challenge_is_another(house: House) -> None:
    challenges = {house.call().recv(100) for _ in range(100)}
    assert len(challenges) == 100 and {len(challenge) for challenge in challenges} == {16}


def test_strangers_are_told_of_at_once_and_then_once_a_second(house: House) -> None:
    def hangs_up() -> None:
        house.call().close()
        house.until(lambda: house.count() == 0)

    hangs_up()
    assert [(reason, count) for _, reason, count in house.refusals] == [(door.NO_KNOCK, 1)]
    assert house.door.deadline() is None
    for _ in range(5):
        hangs_up()
    assert len(house.refusals) == 1
    assert house.door.deadline() == house.clock.now + door.REPORT_S
    house.wait(door.REPORT_S)
    assert [count for _, _, count in house.refusals] == [1, 5]
    house.wait(10 * door.REPORT_S)
    assert len(house.refusals) == 2 and house.door.deadline() is None


def test_who_resets_or_is_gone_before_its_challenge_is_refused_like_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = house.call()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, door._RESET)
    client.close()
    house.until(lambda: house.count() == 0)
    one, other = socket.socketpair()
    other.close()
    house.door.take_in([(one, (HERE, 1))])
    assert one.fileno() < 0 and house.count() == 0
    one, other = socket.socketpair()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "too many watches")

    monkeypatch.setattr(house.door._selector, "register", full)
    house.door.take_in([(one, (HERE, 1))])
    assert one.fileno() < 0 and house.count() == 0
    other.close()
    assert house.refused() == 3
    assert {reason for _, reason, _ in house.refusals} == {door.NO_KNOCK}


def test_a_caller_that_is_found_ready_and_has_nothing_to_say_stays(house: House) -> None:
    client = house.call()
    (caller,) = house.door._callers.values()
    house.door._hear(caller)
    assert house.count() == 1
    knock(client)
    house.until(lambda: house.inside)


# ---------------------------------------------------------------- members


def test_who_knocks_is_let_in_with_what_comes_after_the_knock(
    house: House, members: dict[str, Member]
) -> None:
    """The knock and the start of TLS in one piece, as a dialer sends them."""
    client = house.call()
    link = Link(members["bob"].gate, dialed=True)
    link.receive(client.recv(16))
    client.sendall(link.outgoing())
    house.until(lambda: house.inside)
    ((connection, address),) = house.inside
    assert address == client.getsockname() and connection.link.knocked
    assert connection.link.sent_bytes == 16 and connection.link.received_bytes == 32
    assert house.count() == 0 and house.door.deadline() is None
    link.sent(len(link.outgoing()))
    heard: list[object] = []
    for _ in range(4):
        connection.flush()
        heard += connection.receive()
        connection.flush()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            link.receive(client.recv(1 << 16))
            sent = client.send(link.outgoing())
            link.sent(sent)
        select.select([client], [], [], 0.01)
    assert heard == [Secured(members["bob"].id)]


@pytest.mark.parametrize("piece", [1, 3, 31])
def test_a_knock_in_pieces_is_a_knock(house: House, piece: int) -> None:
    client = house.call()
    answer = ROOM.knock(client.recv(16))
    for start in range(0, len(answer), piece):
        assert house.inside == []
        client.sendall(answer[start : start + piece])
        house.turn()
    house.until(lambda: house.inside)


def test_two_members_link_up_through_a_door_in_one_loop(members: dict[str, Member]) -> None:
    loop = Loop()
    ends: list[Connection] = []
    heard: list[object] = []
    listener = Listener(loop, HERE, 0, lambda: doorway.take_in(listener.accept()))
    doorway = Door(
        loop,
        members["alice"].gate,
        Random(1),
        lambda connection, _: heard.extend(connection.receive()),
        lambda connection, _: ends.append(connection),
        lambda *_: None,
    )
    address = (HERE, listener.port)
    link = Link(members["bob"].gate, dialed=True)
    ends.append(Connection.dial(loop, address, link, lambda c: heard.extend(c.receive())))

    def flush() -> None:
        for end in ends:
            end.flush()

    run_until(loop, lambda: len(heard) == 2, flush)
    assert {event.member for event in heard if isinstance(event, Secured)} == {
        members["alice"].id,
        members["bob"].id,
    }
    for end in ends:
        end.close()
    doorway.close()
    listener.close()


# ---------------------------------------------------------------- the limits


def test_at_a_full_door_one_of_the_address_with_the_most_callers_has_to_go(house: House) -> None:
    honest = [house.call(THERE), *(house.call(ELSEWHERE) for _ in range(3))]
    for _ in range(door.MAX_CALLERS - 4):
        house.call()
    assert house.count() == door.MAX_CALLERS
    for _ in range(200):
        house.call()
    assert house.refused() == 200 and house.count() == door.MAX_CALLERS
    assert house.refusals[0][1] == "too many at once"
    honest.append(house.call(THERE))  # a newcomer finds room, too
    for number, client in enumerate(honest, 1):
        knock(client)
        house.until_inside(number)


def test_who_has_to_go_is_picked_at_random(house: House) -> None:
    """The oldest would be the honest one, who is slow only because it is far away."""
    for _ in range(door.MAX_CALLERS):
        house.call()
    order = list(house.door._callers.values())
    for _ in range(50):
        house.call()
    gone = [number for number, caller in enumerate(order) if caller.socket.fileno() < 0]
    assert 30 < len(gone) <= 50  # some of the fifty have gone again themselves
    in_order = sum(number < 50 for number in gone)
    assert in_order < 25  # ten, in the mean


def test_an_address_that_calls_too_often_is_hung_up_on_without_a_challenge(house: House) -> None:
    for _ in range(door.ATTEMPTS_PER_S):
        house.call().close()
        house.until(lambda: house.count() == 0)
    assert {reason for _, reason, _ in house.refusals} == {door.NO_KNOCK}
    hung_up_on = house.call()
    assert house.count() == 0 and all_said(hung_up_on) == b""
    assert len(house.call(THERE).recv(100)) == 16  # nobody else is any the worse for it
    house.clock.now += 1.5 / door.ATTEMPTS_PER_S
    assert len(house.call().recv(100)) == 16  # and a little later that address has another try
    assert all_said(house.call()) == b""
    house.clock.now += 1000.0
    assert len(house.call().recv(100)) == 16
    assert house.door._origins[HERE].allowance == door.ATTEMPTS_PER_S - 1  # nothing is saved up
    house.wait(0.0)  # the two who were given a challenge, long ago
    assert house.refused() == door.ATTEMPTS_PER_S + 2 + 2


def test_a_caller_that_gets_in_is_no_attempt(house: House) -> None:
    client = house.call()
    origin = house.door._origins[HERE]
    assert origin.allowance == door.ATTEMPTS_PER_S - 1
    knock(client)
    house.until(lambda: house.inside)
    assert origin.allowance == door.ATTEMPTS_PER_S


def test_where_a_member_has_come_from_everybody_is_given_a_challenge(house: House) -> None:
    client = house.call(THERE)
    knock(client)
    house.until(lambda: house.inside)
    house.door._origins[THERE].allowance = -1000.0
    another = house.call(THERE)
    knock(another)
    house.until(lambda: len(house.inside) == 2)


def test_a_newcomer_gets_in_although_others_at_its_address_never_stop(house: House) -> None:
    """By dialing again, as selchat does; the strangers call ten times as often as they may."""
    chance, tries = Random(3), 0
    house.call().close()
    house.door._origins[HERE].allowance = 0.0
    while not house.inside:
        tries += 1
        assert tries < 100
        place = chance.randrange(11)
        for number in range(11):
            client = house.call()
            if number == place:
                with contextlib.suppress(OSError):
                    knock(client)
            else:
                client.close()
            house.turn()
            house.clock.now += 0.1 / door.ATTEMPTS_PER_S
        house.until(lambda: house.count() == 0)
    assert tries > 1  # the strangers did make it harder


def pairs(house: House, addresses: list[str]) -> list[socket.socket]:
    """Callers from anywhere in the world, as sockets that need no network."""
    ends = []
    for number, address in enumerate(addresses):
        one, other = socket.socketpair()
        house.clients.append(other)
        ends.append(other)
        house.door.take_in([(one, (address, 1024 + number))])
    return ends


def test_of_ipv6_a_whole_network_counts_as_one_address(house: House) -> None:
    pairs(house, [f"2001:db8:0:1::{n:x}" for n in range(1, 50)] + ["fe80::1%lo", "10.1.2.3"])
    assert len(house.door._origins) == 3
    assert sorted(len(origin.callers) for origin in house.door._origins.values()) == [1, 1, 49]


def test_who_has_all_networks_of_a_site_of_ipv6_locks_nobody_out(house: House) -> None:
    honest = house.call()
    for number in range(3 * door.MAX_CALLERS):
        pairs(house, [f"2001:db8:0:{number:x}::1"])
    assert house.count() == door.MAX_CALLERS
    knock(honest)
    house.until_inside(1)


def test_of_a_crowd_from_everywhere_those_go_from_where_no_member_came_and_at_random(
    house: House,
) -> None:
    knock(house.call(THERE))
    house.until_inside(1)
    again, elsewhere = house.call(THERE), house.call(ELSEWHERE)
    order = list(house.door._callers.values())
    for number in range(door.MAX_CALLERS):
        pairs(house, [f"2001:db8:{number:x}::1"])
    assert order[1].socket.fileno() > 0, "picked at random, of 257 two times"
    for number in range(9 * door.MAX_CALLERS):
        pairs(house, [f"2001:db9:{number:x}::1"])
    assert order[1].socket.fileno() < 0
    elsewhere.close()
    knock(again)
    house.until_inside(2)


def test_strangers_of_many_networks_cost_a_bounded_memory(house: House) -> None:
    for number in range(door.MAX_ADDRESSES + 300):
        pairs(house, [f"2001:db8:{number:x}::1"])
        house.clients.pop().close()
        house.turn()
    pairs(house, [f"2001:db9:{number:x}::1" for number in range(door.MAX_CALLERS + 100)])
    assert house.count() == door.MAX_CALLERS
    assert len(house.door._origins) <= door.MAX_ADDRESSES
    waiting = [origin for origin in house.door._origins.values() if origin.callers]
    assert sum(len(origin.callers) for origin in waiting) == door.MAX_CALLERS
    assert sum(map(len, house.door._crowds.values())) == door.MAX_CALLERS


def test_of_friendly_addresses_the_last_ones_are_remembered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MAX_ADDRESSES", 2)
    for source in (HERE, THERE, HERE, ELSEWHERE):
        knock(house.call(source))
        house.until(lambda: house.count() == 0)
    assert list(house.door._friendly) == [HERE, ELSEWHERE]


def test_of_a_crowd_that_knocks_at_the_same_moment_a_turn_lets_in_only_some(house: House) -> None:
    for client in [house.call() for _ in range(3 * door.HEARD_PER_TURN)]:
        knock(client)
    for number in range(1, 4):
        house.door._on_ready(net.READ)
        assert len(house.inside) == number * door.HEARD_PER_TURN
    assert house.count() == 0


def test_a_door_that_is_closed_lets_go_of_all(house: House) -> None:
    clients = [house.call() for _ in range(3)]
    for client in clients:
        client.recv(100)
    house.door.close()
    assert [all_said(client) for client in clients] == [b""] * 3


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([HERE, THERE, "2001:db8::1"]), st.integers(0, 3)), max_size=40
    )
)
def test_whoever_comes_and_goes_the_books_are_right(
    members: dict[str, Member], steps: list[tuple[str, int]]
) -> None:
    house = House(members["alice"])
    door.MAX_CALLERS, before = 5, door.MAX_CALLERS
    try:
        for address, what in steps:
            clients = pairs(house, [address])
            if what == 1:
                clients[0].close()
            elif what == 2:
                with contextlib.suppress(BrokenPipeError):  # it was the one that had to go
                    clients[0].send(bytes(32))
            elif what == 3:
                house.wait(3.0)
            house.door._on_ready(net.READ)
            callers = house.door._callers
            assert len(callers) <= 5
            assert all(caller.socket.fileno() == number for number, caller in callers.items())
            by_origin = [c for o in house.door._origins.values() for c in o.callers.values()]
            assert sorted(map(id, by_origin)) == sorted(map(id, callers.values()))
            by_site = [c for crowd in house.door._crowds.values() for c in crowd.values()]
            assert sorted(map(id, by_site)) == sorted(map(id, callers.values()))
            assert all(house.door._crowds.values())
            assert set(house.door._selector.get_map()) == set(callers)
        told = house.refused()
        assert told + house.count() == len(steps)
    finally:
        door.MAX_CALLERS = before
        house.close()


# ---------------------------------------------------------------- what a stranger costs


def calls_of(do: Callable[[], None]) -> tuple[int, int]:
    """How many functions of Python, and of C, `do` calls."""
    counts = {"call": 0, "c_call": 0}

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event in counts:
            counts[event] += 1

    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
    return counts["call"], counts["c_call"]


def test_a_stranger_costs_few_calls_and_no_tls(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, where a time would tell more of the machine; a quarter more is a defect."""
    monkeypatch.setattr(Link, "_decrypt", no_tls)
    for number in range(door.ACCEPTS_PER_TURN):
        client = house.dial()
        client.sendall(b"k" * 32)
        if number % 2:
            client.close()
    house.until(lambda: select.select([house.listener._socket], [], [], 0)[0])
    python, c = calls_of(house.turn)
    house.until(lambda: house.refused() == door.ACCEPTS_PER_TURN)
    assert python / door.ACCEPTS_PER_TURN < 45 and c / door.ACCEPTS_PER_TURN < 36
    assert house.count() == 0


# ---------------------------------------------------------------- the listening socket


def can_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not can_ipv6(), reason="no IPv6 on this machine")


def called_from(listener: Listener, host: str) -> door.Address:
    """The address of a caller, as the listener has it."""
    with socket.create_connection((host, listener.port), DEADLINE_S) as client:
        end = time.monotonic() + DEADLINE_S
        while not (accepted := listener.accept()):
            assert time.monotonic() < end
        ((sock, address),) = accepted
        sock.close()
        assert address[1] == client.getsockname()[1]
    return address


@needs_ipv6
def test_a_listener_for_all_hears_both_families_each_under_its_plain_address() -> None:
    listener = Listener(Loop(), "::", 0, lambda: None)
    assert listener.host == "::"
    assert called_from(listener, "127.0.0.1")[0] == "127.0.0.1"
    assert called_from(listener, "::1")[0] == "::1"
    listener.close()


@needs_ipv6
def test_a_listener_for_one_ipv6_address_hears_ipv6_only() -> None:
    listener = Listener(Loop(), "::1", 0, lambda: None)
    assert listener._socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert called_from(listener, "::1")[0] == "::1"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", listener.port), DEADLINE_S)
    listener.close()


@pytest.mark.parametrize("missing", ["socket", "bind"])
def test_without_ipv6_a_listener_for_all_hears_ipv4(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    class NoIpv6(socket.socket):
        def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
            if family == socket.AF_INET6 and missing == "socket":
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *rest, **more)

        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET6 and missing == "bind":
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", NoIpv6)
    listener = Listener(Loop(), "::", 0, lambda: None)
    monkeypatch.undo()
    assert listener.host == "0.0.0.0"
    assert called_from(listener, "127.0.0.1")[0] == "127.0.0.1"
    listener.close()
    with pytest.raises(OSError) as error:  # only who listens to all takes what there is
        monkeypatch.setattr(socket, "socket", NoIpv6)
        Listener(Loop(), "::1", 0, lambda: None)
    assert error.value.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@needs_ipv6
def test_a_port_that_is_taken_is_no_reason_to_listen_elsewhere() -> None:
    loop = Loop()
    first = Listener(loop, "::", 0, lambda: None)
    with pytest.raises(OSError) as error:
        Listener(loop, "::", first.port, lambda: None)
    assert error.value.errno == errno.EADDRINUSE
    first.close()


def test_a_caller_on_one_wire_is_told_with_the_name_of_the_wire() -> None:
    index, name = socket.if_nameindex()[0]
    assert door._plain(("fe80::1", 5, 0, index)) == (f"fe80::1%{name}", 5)
    assert door._plain((f"fe80::1%{name}", 5, 0, index)) == (f"fe80::1%{name}", 5)
    assert door._plain(("fe80::1", 5, 0, 999_999)) == ("fe80::1", 5)  # it is unplugged by now
    assert door._plain(("2001:db8::1", 5, 0, 0)) == ("2001:db8::1", 5)
    assert door._plain(("::ffff:192.0.2.1", 5, 0, 0)) == ("192.0.2.1", 5)
    assert door._plain(("192.0.2.1", 5)) == ("192.0.2.1", 5)


# ---------------------------------------------------------------- dialing


def test_an_address_on_one_wire_is_dialed_there(members: dict[str, Member]) -> None:
    index, name = socket.if_nameindex()[0]
    assert net.in_full(("fe80::1%" + name, 5)) == ("fe80::1", 5, 0, index)
    assert net.in_full((f"fe80::1%{index}", 5)) == ("fe80::1", 5, 0, index)
    assert net.in_full(("192.0.2.1", 5)) == ("192.0.2.1", 5)
    link = Link(members["bob"].gate, dialed=True)
    for host in ("fe80::1%nowhere", "example.com", "localhost", "", "::1%nowhere", "1.2.3"):
        with pytest.raises(OSError):
            Connection.dial(Loop(), (host, 5), link, lambda _: None)


@needs_ipv6
def test_a_dial_with_a_wire_in_its_address_gets_through(members: dict[str, Member]) -> None:
    found = [name for _, name in socket.if_nameindex()]
    listener = Listener(Loop(), "::1", 0, lambda: None)
    link = Link(members["bob"].gate, dialed=True)
    address = (f"::1%{found[0]}", listener.port)
    dialed = Connection.dial(Loop(), address, link, lambda _: None)
    end = time.monotonic() + DEADLINE_S
    while not (accepted := listener.accept()):
        assert time.monotonic() < end
    accepted[0][0].close()
    dialed.close()
    listener.close()


@pytest.mark.parametrize(
    ("gets", "reason"),
    [
        (0, "hung up before the knock"),
        (15, "hung up before the knock"),
        (16, "refused the knock: another room?"),
        (20, "closed without a goodbye"),
    ],
)
def test_a_dialer_is_told_what_a_hang_up_may_mean(
    members: dict[str, Member], gets: int, reason: str
) -> None:
    link = Link(members["bob"].gate, dialed=True)
    assert link.receive((CHALLENGE + b"\x16\x03\x03\x00")[:gets]) == []
    assert link.ended("closed without a goodbye") == Failed(reason)
    listener = Link(members["bob"].gate, dialed=False, challenge=CHALLENGE)
    assert listener.ended("closed without a goodbye") == Failed("closed without a goodbye")


@pytest.mark.parametrize("who", ["mallory", "bob"])
def test_a_dialer_of_another_room_hears_that_its_knock_was_refused(
    house: House, members: dict[str, Member], who: str
) -> None:
    loop, heard = Loop(), list[object]()
    link = Link(members[who].gate, dialed=True)
    address = (HERE, house.listener.port)
    dialed = Connection.dial(loop, address, link, lambda c: heard.extend(c.receive()))

    def turn() -> None:
        dialed.flush()
        house.turn()
        loop.soon(lambda: None)  # the house is in no loop here

    run_until(loop, lambda: bool(heard) or bool(house.inside), turn)
    if who == "mallory":
        assert heard == [Failed("refused the knock: another room?")]
        assert house.inside == []
    else:
        assert heard == []
    dialed.close()


# ---------------------------------------------------------------- a flood, and real processes


def start_flood(crowd: Crowd, port: int, kind: str, source: str, rate: int) -> None:
    crowd.start(
        *("--attack", port, kind, source, "--rate", rate, "--seconds", 60),
        command=[sys.executable, "-m", "bench.strangers"],
        environment={"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("source", ["127.0.0.1", "127.9.9.9", "many"])
def test_members_get_in_and_talk_whatever_flood_of_strangers_there_is(
    tmp_path: Path, source: str
) -> None:
    """From the address of the members, from another, and from very many."""
    with Crowd(tmp_path) as crowd:
        node = crowd.start(0, 0, "node").wait_ready()
        friend = crowd.start(0, node.port, "friend")
        crowd.wait_linked(node, friend)
        start_flood(crowd, node.port, "stay", source, 800)  # that alone would fill the door
        start_flood(crowd, node.port, "knock", source, 800)
        crowd.wait(node.notices, "the strangers are there")
        crowd.wait_s(1.0)
        newcomers = [crowd.start(0, node.port, f"newcomer {n}") for n in range(4)]
        crowd.wait_linked(node, friend, *newcomers)
        for process in (friend, *newcomers):
            process.say(f"hello from {process.id}")
        crowd.wait(lambda: len(node.texts()) == 5, "the node hears all of them")
        crowd.wait(lambda: all(len(p.texts()) == 4 for p in newcomers), "and so do they")
        for process in (node, friend, *newcomers):
            assert process.events("link", state="down") == []
            process.end_input()
        assert [process.wait_end() for process in (node, friend, *newcomers)] == [0] * 6
        assert len(node.notices()) <= 3  # one in ten seconds
        assert "did not get in" in node.notices()[0]


def test_a_newcomer_gets_in_while_strangers_flood_from_elsewhere(tmp_path: Path) -> None:
    """From an address from where no member has ever come."""
    with Crowd(tmp_path) as crowd:
        node = crowd.start(0, 0, "node").wait_ready()
        start_flood(crowd, node.port, "stay", "127.9.9.9", 800)
        start_flood(crowd, node.port, "silent", "127.9.9.8", 800)
        crowd.wait(node.notices, "the strangers are there")
        crowd.wait_s(1.0)
        crowd.wait_linked(node, crowd.start(0, node.port, "newcomer"))
