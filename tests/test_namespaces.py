"""The internet that tests make of namespaces is like the real one: tried with plain sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial

import pytest

from tests.internet import FILES, ROOT, SPACES, Host, Internet, Line, Space
from tests.processes import Crowd, Process

PORT = 5000
SILENCE_S = 0.5  # a thousand times as long as a packet takes here
DEADLINE_S = 10.0


@pytest.fixture
def internet() -> Iterator[Internet]:
    with Internet() as internet:
        yield internet


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(sockets: ExitStack, space: Space) -> socket.socket:
    """For callers, of both families where there are both."""
    with space.entered():
        both = "6" in space.families
        sock = socket.create_server(
            ("", PORT),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
        )
    sock.settimeout(DEADLINE_S)
    return sockets.enter_context(sock)


def dial(
    sockets: ExitStack, space: Space, address: str, timeout_s: float = DEADLINE_S
) -> socket.socket:
    with space.entered():
        sock = socket.create_connection((address, PORT), timeout_s)
    sock.settimeout(DEADLINE_S)
    return sockets.enter_context(sock)


def test_home_can_call_a_host_that_sees_the_address_of_its_router(
    internet: Internet, sockets: ExitStack
) -> None:
    host = internet.host("host", "46")
    listener = listen(sockets, host)
    seen = []
    homes = [internet.home("ada", "46"), internet.home("bob")]
    for home in homes:
        call = dial(sockets, home, host.ipv4)
        answer, (address, *_) = listener.accept()
        sockets.enter_context(answer).sendall(b"hi")
        assert call.recv(2) == b"hi"
        seen.append(address)
    dial(sockets, homes[0], host.ipv6)
    assert seen == [f"::ffff:{home.router.ipv4}" for home in homes]
    # IPv6 has no NAT: its address is the home's own.
    assert sockets.enter_context(listener.accept()[0]).getpeername()[0].startswith("2a0a:5601:")


@pytest.mark.parametrize("family", "46")
def test_nobody_can_call_a_home(internet: Internet, sockets: ExitStack, family: str) -> None:
    host, home = internet.host("host", "46"), internet.home("ada", "46")
    listener = listen(sockets, home)
    listener.settimeout(0)
    lan = f"2a0a:5601:{home.router.number}::2"
    for address in (home.router.ipv4,) if family == "4" else (home.router.ipv6, lan):
        with pytest.raises(TimeoutError):
            dial(sockets, host, address, SILENCE_S)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_host_of_one_family_has_nothing_of_the_other(
    internet: Internet, sockets: ExitStack
) -> None:
    old, new = internet.host("old", "4"), internet.host("new", "6")
    for address in (old.ipv4, "127.0.0.1"):
        with pytest.raises(OSError, match="unreachable"):
            dial(sockets, new, address, SILENCE_S)
    other = internet.host("other", "6")
    listener = listen(sockets, other)
    dial(sockets, new, other.ipv6)
    assert listener.accept()[1][0] == new.ipv6


def test_cable_that_is_unplugged_is_silent_and_what_was_sent_arrives_later(
    internet: Internet, sockets: ExitStack
) -> None:
    home, host = internet.home("ada"), internet.host("host")
    listener = listen(sockets, host)
    call = dial(sockets, home, host.ipv4)
    answer = sockets.enter_context(listener.accept()[0])
    host.unplug()
    call.sendall(b"hello?")
    answer.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        answer.recv(1)
    with pytest.raises(TimeoutError):
        dial(sockets, home, host.ipv4, SILENCE_S)
    host.plug()
    answer.settimeout(DEADLINE_S)
    assert answer.recv(6) == b"hello?"


def test_host_that_moves_is_silent_at_its_old_address_and_answers_at_its_new_one(
    internet: Internet, sockets: ExitStack
) -> None:
    home, host = internet.home("ada", "46"), internet.host("host", "46")
    listener = listen(sockets, host)
    old = host.ipv4, host.ipv6
    host.move()
    for address in old:
        with pytest.raises(TimeoutError):
            dial(sockets, home, address, SILENCE_S)
    for address in (host.ipv4, host.ipv6):
        dial(sockets, home, address)
        sockets.enter_context(listener.accept()[0])


def test_home_whose_router_moves_is_seen_at_another_address_and_its_calls_are_over(
    internet: Internet, sockets: ExitStack
) -> None:
    home, host = internet.home("ada"), internet.host("host")
    listener = listen(sockets, host)
    before = dial(sockets, home, host.ipv4)
    sockets.enter_context(listener.accept()[0])
    home.router.move()
    before.sendall(b"from where?")
    with pytest.raises(ConnectionResetError):
        before.recv(1)
    dial(sockets, home, host.ipv4)
    answer, (address, _) = listener.accept()
    sockets.enter_context(answer)
    assert address == home.router.ipv4 == f"5.6.{home.router.number}.3"


def test_name_means_another_address_for_a_process_that_runs_already(
    internet: Internet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host = internet.host("host")
    look_up = "for _ in sys.stdin: print(socket.gethostbyname('chat.example'), flush=True)"
    with Crowd(tmp_path_factory.mktemp("crowd")) as crowd:
        command = [sys.executable, "-c", f"import socket, sys\n{look_up}"]
        process = crowd.start(command=command, inside=host.inside, data=None)
        for asked, address in enumerate(("5.6.1.2", "5.6.7.8"), start=1):
            host.call({"chat.example": address})
            process.say("")
            crowd.wait(partial(_has_lines, process, asked), "it has looked it up")
            assert process.lines[-1] == address


def _has_lines(process: Process, count: int) -> bool:
    return len(process.lines) == count


def datagrams(sockets: ExitStack, sender: Host, receiver: Host) -> tuple[socket.socket, ...]:
    """A socket there that sends to one here."""
    with receiver.entered():
        here = sockets.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    here.bind((receiver.ipv4, PORT))
    here.settimeout(SILENCE_S)
    with sender.entered():
        there = sockets.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    there.connect((receiver.ipv4, PORT))
    return there, here


def receive_all(receiver: socket.socket) -> Iterator[bytes]:
    """What comes until nothing does."""
    with suppress(TimeoutError):
        while True:
            yield receiver.recv(2048)


def test_slow_line_delays_each_packet_and_loses_some_of_them(
    internet: Internet, sockets: ExitStack
) -> None:
    line = Line(delay_s=0.1, loss=0.05, bits_per_s=1_000_000)
    far = internet.host("far", line=line)
    sender, receiver = datagrams(sockets, far, internet.host("near"))
    sent, delays = 400, []
    for number in range(sent):
        sender.send(repr(time.monotonic()).encode())
        if number % 100 == 99:  # else the queue would be full, and drop some, too
            for sent_at in receive_all(receiver):
                delays.append(time.monotonic() - float(sent_at))
    assert min(delays) >= line.delay_s
    _, counts = internet.end_line(far.number)
    assert counts == {"passed": len(delays), "lost": sent - len(delays), "dropped": 0}
    assert 0.03 * sent < counts["lost"] < 0.07 * sent


def test_slow_line_is_no_faster_than_it_says_and_drops_what_it_has_no_room_for(
    internet: Internet, sockets: ExitStack
) -> None:
    line = Line(delay_s=0.05, loss=0.0, bits_per_s=1_000_000)
    far, near = internet.host("far", line=line), internet.host("near")
    listener = listen(sockets, near)
    call = dial(sockets, far, near.ipv4)
    answer = sockets.enter_context(listener.accept()[0])
    begin, size, got = time.monotonic(), 64 * 1024, 0
    call.sendall(bytes(size))
    while got < size:
        got += len(answer.recv(size))
    assert time.monotonic() - begin >= size * 8 / line.bits_per_s
    sender, receiver = datagrams(sockets, far, near)
    for _ in range(100):  # more than a second of the line, at once
        sender.send(bytes(1400))
    assert len(list(receive_all(receiver))) < 50
    assert internet.end_line(far.number)[1]["dropped"] > 50


MADE_AND_KILLED = """
import os, signal, sys
from tests.internet import Internet
with Internet() as internet:
    home = internet.home("ada")
    os.posix_spawnp("ip", [*home.inside, "sleep", "1000"], os.environ)
    print(os.getpid(), home.name, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_test_has_left_is_removed_by_the_next_one(internet: Internet) -> None:
    command = [sys.executable, "-c", MADE_AND_KILLED]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as killed:
        assert killed.stdout is not None
        owner, name = killed.stdout.readline().split()
        os.kill(int(owner), signal.SIGKILL)
    assert (SPACES / name).exists()
    with Internet():
        assert not list(SPACES.glob(f"selchat-{owner}-*"))
        assert not list(FILES.glob(f"selchat-{owner}-*"))
    with pytest.raises(FileNotFoundError), internet.host("host").entered():
        (SPACES / name).stat()


def test_nothing_is_left_after_a_test_even_one_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), Internet() as internet:
        names = [internet.home("ada", line=Line()).name, internet.host("host").name]
        raise ZeroDivisionError
    for name in names:
        assert not (SPACES / name).exists()
        assert not (FILES / name).exists()


def test_where_there_is_no_right_or_no_tool_it_is_skipped_with_the_reason_or_fails_if_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("SELCHAT_NAMESPACES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network namespaces: ip is missing"):
        Internet().__enter__()
    monkeypatch.setenv("SELCHAT_NAMESPACES", "required")
    with pytest.raises(pytest.fail.Exception, match="no network namespaces: ip is missing"):
        Internet().__enter__()
