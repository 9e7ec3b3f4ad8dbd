"""resolver.py: names are looked up by children, while the loop goes on."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import net
import resolver
from resolver import Resolver
from tests.test_net import run_until

Answer = tuple[list[str], str]


def python(code: str, *more: str) -> tuple[str, ...]:
    """A child of the tests, in the place of the real one."""
    return (sys.executable, "-I", "-S", "-c", code, *more)


def shell(code: str, *more: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", code, *more)


class Asker:
    """A loop with a resolver, and what it has answered."""

    def __init__(self) -> None:
        self.loop = net.Loop()
        self.answers: dict[str, list[Answer]] = {}
        self.resolver = Resolver(self.loop)

    def with_child(self, command: tuple[str, ...]) -> Asker:
        self.resolver = Resolver(self.loop, command)
        return self

    def ask(self, *hosts: str) -> None:
        for host in hosts:
            answers = self.answers.setdefault(host, [])
            self.resolver.look_up(host, lambda *answer, answers=answers: answers.append(answer))

    def until(self, done: Callable[[], bool]) -> None:
        run_until(self.loop, done)

    def until_count(self, wanted: int, count: Callable[[], int]) -> None:
        self.until(lambda: count() == wanted)

    def answer(self, host: str) -> Answer:
        if host not in self.answers:
            self.ask(host)
        self.until(lambda: bool(self.answers[host]))
        (answer,) = self.answers[host]
        return answer


@pytest.fixture
def asker() -> Iterator[Asker]:
    asker = Asker()
    yield asker
    asker.resolver.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left, alive or dead


class Stuck:
    """A resolver that takes as long as the test wants: each child says that it has begun, then
    waits for a line."""

    def __init__(self, folder: Path, loop: net.Loop) -> None:
        self.folder = folder
        self.children: list[tuple[int, str]] = []  # processes and names, as they began
        self._began, self._go = (self._fifo(name) for name in ("began", "go"))
        loop.watch(self._began, net.READ, self._note)

    def _fifo(self, name: str) -> int:
        os.mkfifo(self.folder / name)
        return os.open(self.folder / name, os.O_RDWR)

    def _note(self, _: int) -> None:
        for line in os.read(self._began, select.PIPE_BUF).decode().splitlines():
            process, host = line.split()
            self.children.append((int(process), host))

    def command(self, before: str = "") -> tuple[str, ...]:
        """`before`: what it writes before it waits."""
        code = f'printf "{before}"; echo $$ $1 > "$0/began"; read line < "$0/go"; echo "$line"'
        return shell(code, str(self.folder))

    def answer(self, line: str) -> None:
        os.write(self._go, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._began)
        os.close(self._go)


@pytest.fixture
def stuck(tmp_path: Path, asker: Asker) -> Iterator[Stuck]:
    stuck = Stuck(tmp_path, asker.loop)
    asker.with_child(stuck.command())
    yield stuck
    stuck.close()


# ---------------------------------------------------------------- the real child


def test_the_name_of_this_machine_stands_for_loopback(asker: Asker) -> None:
    found, reason = asker.answer("localhost")
    assert set(found) <= {"127.0.0.1", "::1"} and found and reason == ""
    expected = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    assert found == list(dict.fromkeys(str(each[4][0]) for each in expected))


def test_numbers_stand_for_themselves_in_their_one_spelling(asker: Asker) -> None:
    assert asker.answer("127.0.0.1") == (["127.0.0.1"], "")
    assert asker.answer("2001:DB8:0::1") == (["2001:db8::1"], "")
    assert asker.answer("::ffff:192.0.2.7") == (["192.0.2.7"], "")


def test_a_link_local_address_keeps_its_zone(asker: Asker) -> None:
    _, interface = socket.if_nameindex()[0]
    assert asker.answer(f"fe80::1%{interface}") == ([f"fe80::1%{interface}"], "")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "-", "", "ä.example", "a b"])
def test_a_name_of_nobody_has_a_reason_in_words(asker: Asker, host: str) -> None:
    found, reason = asker.answer(host)
    assert found == [] and reason in (resolver.NO_SUCH_HOST, resolver.NO_ANSWER)


def test_what_can_be_no_name_is_answered_in_a_later_turn_too(asker: Asker) -> None:
    asker.ask("a\0b")
    assert asker.answers["a\0b"] == []
    assert asker.answer("a\0b") == ([], resolver.NO_CHILD)


def test_a_resolver_that_never_answers_is_ended_by_the_childs_own_alarm(asker: Asker) -> None:
    hangs = "import signal, socket\nsocket.getaddrinfo = lambda *_, **__: signal.pause()\n"
    asker.with_child(python(hangs + resolver.CODE, "0.05"))
    # Whoever has begun us may have the alarm ignored, or held back.
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    try:
        assert asker.answer("slow.example") == ([], resolver.NO_ANSWER)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("errno", "reason"),
    [("EAI_AGAIN", resolver.NO_ANSWER), ("EAI_NONAME", resolver.NO_SUCH_HOST)],
)
def test_the_resolvers_own_errors_are_told_in_words(asker: Asker, errno: str, reason: str) -> None:
    fails = (
        "import socket\ndef fail(*_, **__): raise socket.gaierror(socket.%s, 'x')\n"
        "socket.getaddrinfo = fail\n"
    )
    asker.with_child(python(fails % errno + resolver.CODE, "60"))
    assert asker.answer("some.example") == ([], reason)


def test_of_many_answers_the_first_few_count_in_the_resolvers_order(asker: Asker) -> None:
    many = (
        "import socket\nsocket.getaddrinfo = lambda *_, **__: "
        "[(2, 1, 6, '', (f'192.0.2.{n // 2}', 0)) for n in range(4000)]\n"
    )
    asker.with_child(python(many + resolver.CODE, "60"))
    assert asker.answer("cloud.example") == ([f"192.0.2.{n}" for n in range(4)], "")
    asker.with_child(shell("seq -f 192.0.2.%g 1 20"))
    found, _ = asker.answer("another.example")
    assert found == [f"192.0.2.{n}" for n in range(1, 9)]


def test_the_child_has_nothing_of_ours(asker: Asker, tmp_path: Path) -> None:
    """No descriptor but its own three, no terminal among them, and not our process group."""
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        tells = (
            "import os, socket\ndef tell(*_, **__):\n"
            " open = [n for n in range(100) if os.path.exists(f'/proc/self/fd/{n}')]\n"
            " own = os.getpgid(0) == os.getpid()\n"
            " null = [os.stat(n).st_rdev == os.stat('/dev/null').st_rdev for n in (0, 2)]\n"
            " return [(2, 1, 6, '', (f'{len(open)}.{own:d}.{null[0]:d}.{null[1]:d}', 0))]\n"
            "socket.getaddrinfo = tell\n"
        )
        asker.with_child(python(tells + resolver.CODE, "60"))
        assert asker.answer("some.example") == (["3.1.1.1"], "")


# ---------------------------------------------------------------- any child


def test_the_loop_goes_on_while_a_resolver_takes_its_time(asker: Asker, stuck: Stuck) -> None:
    asker.ask("slow.example")
    asker.until(lambda: len(stuck.children) == 1)
    turns = asker.loop.wakeups
    ticks = iter(range(1000))

    def tick() -> None:
        if next(ticks, None) is None:
            asker.loop.stop()

    asker.loop.run(lambda: 0.0, tick, lambda: None)
    assert asker.loop.wakeups == turns + 1001  # each tick a turn of its own, none waits
    assert asker.answers["slow.example"] == []
    stuck.answer("192.0.2.1")
    assert asker.answer("slow.example") == (["192.0.2.1"], "")


def test_a_child_that_has_nothing_to_say_yet_wakes_nobody(asker: Asker, stuck: Stuck) -> None:
    asker.ask("slow.example")
    asker.until(lambda: len(stuck.children) == 1)
    before, end = asker.loop.wakeups, asker.loop.now() + 0.05
    asker.loop.run(lambda: end, asker.loop.stop, lambda: None)
    assert asker.loop.wakeups == before + 1  # the deadline's turn


def test_all_who_ask_for_a_name_at_a_time_share_one_look_up(asker: Asker, stuck: Stuck) -> None:
    asker.ask(*["slow.example"] * 10)
    asker.until(lambda: len(stuck.children) == 1)
    stuck.answer("192.0.2.1")
    asker.until(lambda: len(asker.answers["slow.example"]) == 10)
    assert asker.answers["slow.example"] == [(["192.0.2.1"], "")] * 10
    found = [id(answer[0]) for answer in asker.answers["slow.example"]]
    assert len(set(found)) == 10  # what one does to its list is nothing to the others
    assert [host for _, host in stuck.children] == ["slow.example"]
    asker.ask("slow.example")  # later is another look-up
    asker.until(lambda: len(stuck.children) == 2)


def test_a_few_names_are_looked_up_at_once_and_the_others_wait_their_turn(
    asker: Asker, stuck: Stuck
) -> None:
    hosts = [f"h{number}.example" for number in range(resolver.MAX_CHILDREN + 3)]
    asker.ask(*hosts)
    for done in range(len(hosts)):
        running = min(len(hosts), done + resolver.MAX_CHILDREN)
        asker.until_count(running, lambda: len(stuck.children))
        stuck.answer(f"192.0.2.{done}")
        asker.until_count(done + 1, lambda: sum(map(len, asker.answers.values())))
    started = [host for _, host in stuck.children]
    assert sorted(started) == hosts and started[-1] == hosts[-1]
    assert all(len(answers) == 1 for answers in asker.answers.values())


def test_who_asks_when_too_many_wait_is_told_so_in_a_later_turn(asker: Asker, stuck: Stuck) -> None:
    asker.ask(*[f"h{number}.example" for number in range(resolver.MAX_WAITING)])
    asker.ask("one.example", "h1.example")
    assert not any(asker.answers.values())
    asker.until(lambda: bool(asker.answers["one.example"]) and bool(asker.answers["h1.example"]))
    assert asker.answers["one.example"] == [([], resolver.TOO_MANY)]
    assert asker.answers["h1.example"] == [([], resolver.TOO_MANY)]


def test_an_answer_may_ask_for_the_next_name(asker: Asker) -> None:
    asker.with_child(shell("echo 192.0.2.1"))
    got: list[str] = []

    def ask(number: int) -> None:
        def done(found: list[str], reason: str) -> None:
            got.extend(found)
            if number:
                ask(number - 1)

        asker.resolver.look_up("chain.example", done)

    ask(5)
    asker.until(lambda: len(got) == 6)


@pytest.mark.parametrize(
    "code",
    [
        "exit 3",
        "kill -9 $$",
        "kill -SEGV $$",
        "echo",
        "printf 192.0.2.1",  # cut off before its end: it could have been 192.0.2.17
        "echo example.com",
        "printf '\\377\\000\\033[2J\\n'",
        "cat /dev/zero",
        "yes 192.0.2.",
        "exec >&-; exec sleep 100",
    ],
)
def test_a_child_that_dies_or_writes_garbage_is_an_answer_too(asker: Asker, code: str) -> None:
    asker.with_child(shell(code))
    assert asker.answer("some.example") == ([], resolver.NO_CHILD)


def test_a_child_that_can_not_begin_is_an_answer_too(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.with_child(("/nowhere/at/all",))
    assert asker.answer("some.example") == ([], resolver.NO_CHILD)
    open_before = len(os.listdir("/proc/self/fd"))

    def full() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", full)
    assert asker.answer("another.example") == ([], resolver.NO_CHILD)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_an_answer_in_pieces_is_read_as_one(asker: Asker, stuck: Stuck) -> None:
    asker.with_child(stuck.command("192.0"))
    asker.ask("slow.example")
    asker.until(lambda: len(stuck.children) == 1)
    stuck.answer(".2.1")
    assert asker.answer("slow.example") == (["192.0.2.1"], "")


def test_a_resolver_that_is_closed_in_the_middle_ends_its_children_and_tells_nobody(
    asker: Asker, stuck: Stuck
) -> None:
    hosts = [f"h{number}.example" for number in range(resolver.MAX_CHILDREN + 3)]
    asker.ask(*hosts)
    asker.until(lambda: len(stuck.children) == resolver.MAX_CHILDREN)
    asker.resolver.close()
    for process, _ in stuck.children:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    asker.loop.run(lambda: 0.0, asker.loop.stop, lambda: None)
    assert not any(asker.answers.values())
    asker.resolver.close()  # once more does no harm


@pytest.mark.parametrize("answered", [False, True])
def test_a_resolver_that_is_closed_in_the_turn_of_an_answer_reads_nothing_more(
    asker: Asker, answered: bool
) -> None:
    asker.with_child(shell("echo 192.0.2.1"))
    for host in ("one.example", "two.example"):
        asker.resolver.look_up(host, lambda *_: asker.resolver.close())
    asker.loop.soon(lambda: None)
    children = list(asker.resolver._children.values())
    if answered:
        asker.until(lambda: not asker.resolver._children)
    else:
        asker.resolver.close()
    for child in children:
        asker.resolver._read(child, net.READ)  # as a loop that had found it ready would


def test_where_children_are_buried_by_the_system_an_answer_comes_all_the_same(
    asker: Asker,
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        asker.with_child(shell("echo 192.0.2.1"))
        assert asker.answer("some.example") == (["192.0.2.1"], "")
    finally:
        signal.signal(signal.SIGCHLD, before)


@given(st.binary(max_size=resolver.MAX_ANSWER_BYTES * 2))
def test_any_answer_is_read_as_addresses_or_as_none(answer: bytes) -> None:
    found, reason = resolver._parse(answer)
    assert bool(found) != bool(reason)
    for number in found:
        assert socket.getaddrinfo(number.partition("%")[0], None, flags=socket.AI_NUMERICHOST)
