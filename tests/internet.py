"""An internet in network namespaces, for tests: hosts, homes behind NAT, lines that fail.

    host ---------- backbone ---------- router ---------- home
       5.6.N.0/24               5.6.N.0/24     192.168.1.0/24
       2a0a:5600:N::/64   2a0a:5600:N::/64     2a0a:5601:N::/64

Each cable to the backbone has a number N, and the addresses that belong to it; they look
global, as those that are meant for documentation do not. A router masks its home's IPv4
(NAT), and lets nobody in who was not called from there, IPv6 included, as home routers do.
A cable that is unplugged is silent, and so is an address where nobody is: no packet tells
anybody that the other end is gone. All is gone when the test ends, and what a killed test
has left is removed by the next one.

SELCHAT_NAMESPACES=required makes a test fail, in place of being skipped, where there is no
right to make all this.

Lives here: namespaces, cables, addresses, names. Never here: selchat.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest

from tests import slow_line

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "selchat-"  # of the names of all our namespaces; after it comes the test's process id
SPACES = Path("/run/netns")  # where ip(8) keeps them
FILES = Path("/etc/netns")  # and the files that stand for those in /etc inside them
CLONE_NEWNET = 0x40000000  # from linux/sched.h
DEADLINE_S = 10.0  # generous: a busy machine is no reason to fail
# Of cables that come later. Else IPv6 looks for a second or two whether somebody else has our
# address before it uses it, and asks for routers, which would be counted with our packets.
QUIET = {
    "ipv6__conf__default__accept_dad": 0,
    "ipv6__conf__default__router_solicitations": 0,
}
FORWARDING = {"ipv4__ip_forward": 1, "ipv6__conf__all__forwarding": 1}

_BACKBONE_RULES = """
table inet cables {
    set cut { type ifname; }
    chain between { type filter hook forward priority 0; iifname @cut drop; oifname @cut drop; }
    chain in { type filter hook input priority 0; iifname @cut drop; }
    chain out {
        type filter hook output priority 0; oifname @cut drop;
        icmp type destination-unreachable drop
        icmpv6 type destination-unreachable drop
    }
}
"""
_ROUTER_RULES = """
table ip nat {
    chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }
}
table inet firewall {
    chain between {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "lan" accept
    }
    chain in {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname { "lan", "lo" } accept
        meta l4proto { icmp, ipv6-icmp } accept
    }
}
"""


@dataclass(frozen=True)
class Line:
    """What a cable is like that is no good one; see slow_line.py."""

    delay_s: float = 0.2  # each way
    loss: float = 0.05
    bits_per_s: int = 1_000_000
    seed: int = 1


class Unavailable(Exception):
    """There is no right, or nothing, to make namespaces with. The text says what."""


def _run(*command: str, text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable(f"{command[0]} is missing ({error.strerror})") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()[:300]}")
    return done.stdout


class Space:
    """One namespace: a machine with a network of its own."""

    def __init__(self, name: str, families: str) -> None:
        """`families`: the versions of IP that it speaks: "4", "6" or "46"."""
        self.name, self.families = name, families
        self.folder = FILES / name
        _run("ip", "netns", "add", name)
        self.folder.mkdir(parents=True)
        self.call({})
        self.ask("")  # nobody else is asked for names
        self.set(**QUIET)
        # Loopback has it from the start.
        without = [] if "4" in families else ["addr del 127.0.0.1/8 dev lo"]
        self.ip("link set lo up", *without)

    @property
    def inside(self) -> list[str]:
        """What to put before a command that is to run there. It stays the same process."""
        return [shutil.which("ip") or "ip", "netns", "exec", self.name]

    def ip(self, *commands: str) -> None:
        _run("ip", "-n", self.name, "-batch", "-", text="\n".join(commands))

    def nft(self, rules: str) -> None:
        _run(*self.inside, "nft", "-f", "-", text=rules)

    def set(self, **settings: int) -> None:
        """Settings of its kernel's network, such as ipv4__ip_forward=1."""
        with self.entered():
            for name, value in settings.items():
                Path("/proc/sys/net", *name.split("__")).write_text(str(value))

    def call(self, names: dict[str, str]) -> None:
        """From here on these names have these addresses there, for who runs already, too."""
        lines = "".join(f"{address} {name}\n" for name, address in names.items())
        # Written over and not replaced: inside, this very file is mounted on /etc/hosts.
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{lines}")

    def ask(self, name_server: str) -> None:
        """From here on names that it does not know are asked there, or nowhere."""
        (self.folder / "resolv.conf").write_text(name_server and f"nameserver {name_server}\n")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that are made meanwhile are there, and stay there."""
        with open("/proc/thread-self/ns/net") as here, open(SPACES / self.name) as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Host(Space):
    """A machine on a cable of the backbone. `ipv4`, `ipv6`: its addresses, "" for none."""

    def __init__(self, name: str, families: str, backbone: Space, number: int) -> None:
        super().__init__(name, families)
        self.number = number
        self.ipv4 = self.ipv6 = ""
        self._backbone = backbone
        self._places = itertools.count(2)  # 1 is the backbone

    def move(self) -> None:
        """To addresses that it never had. Nobody who runs there is asked."""
        place, number = next(self._places), self.number
        if self.ipv4 or self.ipv6:
            self.ip("addr flush dev wan scope global")  # and with the addresses all routes
        if "4" in self.families:
            self.ipv4 = f"5.6.{number}.{place}"
            self.ip(
                f"addr add {self.ipv4}/24 dev wan",
                f"route replace default via 5.6.{number}.1 dev wan",
            )
        if "6" in self.families:
            self.ipv6 = f"2a0a:5600:{number}::{place}"
            self.ip(
                f"addr add {self.ipv6}/64 dev wan",
                f"route replace default via 2a0a:5600:{number}::1 dev wan",
            )
            lan = f"2a0a:5601:{number}::/64"
            self._backbone.ip(f"route replace {lan} via {self.ipv6} dev to-{number}")

    def unplug(self) -> None:
        """Nothing passes its cable any more, and nobody is told."""
        self._backbone.nft(f'add element inet cables cut {{ "to-{self.number}" }}')

    def plug(self) -> None:
        self._backbone.nft(f'delete element inet cables cut {{ "to-{self.number}" }}')


class Home(Space):
    """A machine behind a router. `router`: that, with the public addresses. `ipv6`: its own."""

    def __init__(self, name: str, router: Host) -> None:
        super().__init__(name, router.families)
        self.router = router
        self.ipv6 = ""
        _run(*f"ip link add lan netns {router.name} type veth peer lan netns {name}".split())
        router.ip("link set lan up")
        self.ip("link set lan up")
        if "4" in self.families:
            router.ip("addr add 192.168.1.1/24 dev lan")
            self.ip("addr add 192.168.1.2/24 dev lan", "route add default via 192.168.1.1")
        if "6" in self.families:
            lan = f"2a0a:5601:{router.number}"
            self.ipv6 = f"{lan}::2"
            router.ip(f"addr add {lan}::1/64 dev lan")
            self.ip(f"addr add {self.ipv6}/64 dev lan", f"route add default via {lan}::1")
        router.nft(_ROUTER_RULES)
        router.set(**FORWARDING)


class Internet:
    """All of it, for one test, which is skipped, or fails, where it can't be made."""

    _made: ClassVar = itertools.count()  # namespaces of this process

    def __init__(self) -> None:
        self._spaces: list[str] = []
        self._lines: dict[int, subprocess.Popen[str]] = {}  # by the number of the cable
        self._numbers = itertools.count(1)

    def __enter__(self) -> Internet:
        try:
            _remove_leftovers()
            self._backbone = Space(self._name("backbone"), "46")
            self._backbone.nft(_BACKBONE_RULES)
            self._backbone.set(**FORWARDING)
            self.home("trial")
        except (OSError, Unavailable) as error:
            self.__exit__()
            _give_up(f"no network namespaces: {error}")
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._lines):
            self.end_line(number)
        for name in self._spaces:
            _remove(name)

    def host(self, name: str, families: str = "4", line: Line | None = None) -> Host:
        """A machine with public addresses of these families."""
        number = next(self._numbers)
        host = Host(self._name(name), families, self._backbone, number)
        near = f"to-{number}"
        if line is None:
            cable = f"ip link add {near} netns {self._backbone.name} type veth peer wan netns"
            _run(*cable.split(), host.name)
        else:
            self._lines[number] = self._begin_line(number, line)
            self._backbone.ip(f"link set far-{number} netns {host.name}")
            host.ip(f"link set far-{number} name wan")
        host.ip("link set wan up")
        self._backbone.ip(
            f"link set {near} up",
            f"addr add 5.6.{number}.1/24 dev {near}",
            f"addr add 2a0a:5600:{number}::1/64 dev {near}",
        )
        host.move()
        return host

    def home(self, name: str, families: str = "4", line: Line | None = None) -> Home:
        """A machine behind a home router of its own."""
        router = self.host(f"{name}-router", families, line)
        return Home(self._name(name), router)

    def _name(self, name: str) -> str:
        self._spaces.append(f"{PREFIX}{os.getpid()}-{next(self._made)}-{name}")
        return self._spaces[-1]

    def _begin_line(self, number: int, line: Line) -> subprocess.Popen[str]:
        if not os.access(slow_line.TUN, os.R_OK | os.W_OK):
            _give_up(f"no slow line: {slow_line.TUN} is missing, or not for us")
        options = f"--delay-s {line.delay_s} --loss {line.loss} --bits-per-s {line.bits_per_s}"
        command = [sys.executable, "-m", "tests.slow_line", f"to-{number}", f"far-{number}"]
        process = subprocess.Popen(
            [*self._backbone.inside, *command, *options.split(), f"--seed={line.seed}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def end_line(self, number: int) -> list[dict[str, int]]:
        """What became of the packets of a slow line: those to the host, those from it."""
        output, _ = self._lines.pop(number).communicate(timeout=DEADLINE_S)
        counts: list[dict[str, int]] = json.loads(output)
        return counts


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("SELCHAT_NAMESPACES") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def _remove_leftovers() -> None:
    """Of tests that were killed."""
    for path in [*SPACES.glob(f"{PREFIX}*"), *FILES.glob(f"{PREFIX}*")]:
        owner = path.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            _remove(path.name)


def _remove(name: str) -> None:
    """A namespace, all that runs in it, and its files; what is gone already is no matter."""
    with contextlib.suppress(Unavailable):
        for process in _run("ip", "netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        _run("ip", "netns", "delete", name)
    shutil.rmtree(FILES / name, ignore_errors=True)
