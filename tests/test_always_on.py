"""A member that is always on: it goes on without a terminal, is told things by signals, and tells
what happens to a journal. Real processes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

import invite
from tests.processes import SELCHAT, Crowd, Process, free_ports

# Its stderr, as systemd tells of it (systemd.exec(5)).
JOURNAL = 'JOURNAL_STREAM=$(stat --dereference --format=%d:%i /proc/self/fd/2) exec "$@"'
UNIT = Path(__file__).resolve().parent.parent / "contrib" / "selchat.service"
NOT_DIALED_S = 2.0  # what failed once is dialed again within 0.5 s, and then within 1 s


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd
        for process in crowd.processes:
            assert b"Traceback" not in process.stdout + process.stderr


def keeper(crowd: Crowd, *options: object) -> Process:
    started = crowd.start(0, 0, "keeper", "--stay", *options, stdin=DEVNULL, data="keeper")
    return started.wait_ready()


def notices(process: Process) -> list[str]:
    return [event["text"] for event in process.events("notice")]


def edit_book(crowd: Crowd, *lines: str) -> None:
    (crowd.folder / "keeper" / "addresses.txt").write_text("".join(f"{line}\n" for line in lines))


def reload(crowd: Crowd, process: Process, said: str) -> None:
    def times() -> int:
        return sum("read the address book again" in text for text in notices(process))

    before = times()
    process.signal(signal.SIGHUP)
    crowd.wait(lambda: times() > before, "it has read the address book again")
    assert f"read the address book again: {said}" == notices(process)[-1]


def test_an_address_that_is_written_into_the_book_is_dialed_after_sighup(crowd: Crowd) -> None:
    one = keeper(crowd)
    ann, bob = crowd.start(0, 0, "ann").wait_ready(), crowd.start(0, 0, "bob").wait_ready()
    edit_book(crowd, f"127.0.0.1:{ann.port}")
    reload(crowd, one, "1 new, 0 gone")
    crowd.wait_linked(one, ann)
    edit_book(crowd, f"127.0.0.1:{ann.port}", f"127.0.0.1:{bob.port}  # bob", "what?")
    reload(crowd, one, "1 new, 0 gone")
    crowd.wait_linked(one, ann, bob)
    crowd.wait(lambda: any("line 3" in text for text in notices(one)), "it complains")
    one.signal(signal.SIGTERM)
    assert one.wait_end() == 0


def test_an_address_that_is_deleted_from_the_book_is_not_dialed_after_sighup(crowd: Crowd) -> None:
    [port] = free_ports(1)
    one = keeper(crowd, "--peer", port)
    crowd.wait(lambda: any("does not answer yet" in text for text in notices(one)), "it failed")
    book = crowd.folder / "keeper" / "addresses.txt"
    crowd.wait(lambda: book.exists() and f":{port} " in book.read_text(), "it is in the book")
    edit_book(crowd)
    reload(crowd, one, "0 new, 1 gone")
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.setblocking(False)
        crowd.wait_s(NOT_DIALED_S)
        with pytest.raises(BlockingIOError):
            listener.accept()
        edit_book(crowd, f"127.0.0.1:{port}")
        reload(crowd, one, "1 new, 0 gone")
        listener.settimeout(10)
        listener.accept()[0].close()
        edit_book(crowd)
        reload(crowd, one, "0 new, 1 gone")
        listener.settimeout(NOT_DIALED_S)
        with pytest.raises(TimeoutError):
            while True:  # what was under way
                listener.accept()[0].close()


def test_a_book_that_can_not_be_read_changes_nothing(crowd: Crowd) -> None:
    one = keeper(crowd)
    (crowd.folder / "keeper" / "addresses.txt").unlink(missing_ok=True)
    (crowd.folder / "keeper" / "addresses.txt").mkdir()
    reload(crowd, one, "0 new, 0 gone")
    assert any("address book" in event["text"] for event in one.events("error"))


def test_where_nothing_says_that_it_stays_sighup_is_the_end(crowd: Crowd) -> None:
    ann = crowd.start(0, 0, "ann").wait_ready()
    ann.signal(signal.SIGHUP)
    assert ann.wait_end() == 0


@pytest.mark.parametrize("options", [("--stay",), ("--stay", "--plain")], ids=" ".join)
def test_on_a_terminal_sighup_says_that_it_is_gone_and_is_the_end(
    crowd: Crowd, options: tuple[str, ...]
) -> None:
    ann = crowd.start_on_terminal(0, 0, "ann", *options)
    crowd.wait(lambda: b"listening" in ann.stdout, "it is ready")
    ann.signal(signal.SIGHUP)
    assert ann.wait_end() == 0


def test_the_journal_of_systemd_gets_the_urgency_of_each_line(crowd: Crowd) -> None:
    shell = ["/bin/sh", "-c", JOURNAL, "sh", sys.executable, str(SELCHAT), "--plain"]
    data = ("--data", crowd.folder / "keeper")
    one = crowd.start(0, 0, "keeper", "--stay", *data, command=shell, stdin=DEVNULL)
    crowd.wait(lambda: one.error_lines, "it is ready")
    assert one.error_lines[0].startswith("<6>listening on 127.0.0.1:")
    other = crowd.run(0, 0, "other", *data, command=shell)
    assert other.wait_end() == 1 and other.error_lines[0].startswith("<3>")
    wrong = crowd.run("--what", command=shell)
    assert wrong.wait_end() == 2 and wrong.error_lines[0].startswith("<3>")
    one.signal(signal.SIGTERM)
    assert one.wait_end() == 0
    assert one.error_lines[-1] == "<6>stopped" and one.lines == []


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_the_unit_starts_a_member_whose_log_tells_who_comes_and_not_what_is_said(
    crowd: Crowd,
) -> None:
    ann = crowd.start(0, 0, "ann", "--room", "garden", data="ann").wait_ready()
    [line] = crowd.run("--room", "garden", "--invite", data="ann", json=False).lines
    nowhere = invite.write(invite.read(line).but(addresses=()))
    (crowd.folder / "invite").write_text(f"{line}\n")
    [port] = free_ports(1)
    [unit] = re.findall("^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    unit = unit.replace("%S", str(crowd.folder)).replace("%d", str(crowd.folder))
    _, _, *arguments = shlex.split(unit.replace(" 5000 ", f" {port} "))
    # All that systemd gives it; it is nobody in particular, and has no home.
    environment = ["env", "-i", f"PATH={os.defpath}", "HOME=/", "LANG=C.UTF-8"]
    shell = [*environment, "/bin/sh", "-c", JOURNAL, "sh", sys.executable, str(SELCHAT)]
    keeper = crowd.start(*arguments, command=shell, stdin=DEVNULL)
    crowd.wait(lambda: "<6>ann joined" in keeper.stderr.decode(), "the keeper is linked")
    assert keeper.error_lines[0].startswith(f"<6>listening on [::]:{port} as keeper")
    for host in ("127.0.0.1", "[::1]"):
        guest = crowd.start(0, nowhere, "guest", f"--peer={host}:{port}").wait_ready()
        crowd.wait(lambda guest=guest: guest.linked(), host)  # type: ignore[misc]
    ann.say("what nobody's log shall hold")
    crowd.wait(lambda: b"what nobody's" in keeper.stdout, "it has it")
    assert b"what nobody's" not in keeper.stderr
    assert all(re.match("<[346]>", line) for line in keeper.error_lines)
    keeper.signal(signal.SIGTERM)
    assert keeper.wait_end() == 0
    assert stat.S_IMODE((crowd.folder / "selchat").stat().st_mode) == 0o700


def test_a_variable_that_tells_of_another_file_is_no_journal(crowd: Crowd) -> None:
    one = crowd.start(
        *(0, 0, "keeper", "--plain"), json=False, environment={"JOURNAL_STREAM": "1:2"}
    )
    crowd.wait(lambda: one.error_lines, "it is ready")
    assert one.error_lines[0].startswith("selchat: listening on")
