"""The rivals: other people's programs that carry lines from one to many.

Of a server the clients are sockets of this very process, which do the least that can be done: it
is measured as if its clients cost nothing. What knows no messages, or no group, is said.

Lives here: how each is started, what it makes of a line, whether it is installed. Never here: what
is measured.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from functools import cache

from bench.contestants import OURS, ROOT, await_listener, free_ports
from bench.crowd import READY_S, Contestant, Crowd, Output
from bench.figures import Plan

PYTHON = ROOT / ".venv-bench" / "bin" / "python"
HINT = "not installed: make bench-peers"
SERVER_NOTE = "a server; its clients are the benchmark's own sockets"


# ---------------------------------------------------------------- whether they are there


@cache
def program(name: str) -> str:
    """Where it is; servers are where only root's path leads."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") or ""


@cache
def package_version(name: str) -> str:
    """Of a package in the rivals' own venv; empty if it is not there."""
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    if not PYTHON.exists():
        return ""
    told = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    return told.stdout.strip()


@cache
def program_version(name: str, option: str) -> str:
    """The first number with a dot that it tells of itself."""
    if not program(name):
        return ""
    told = subprocess.run([program(name), option], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.[\d.]*\d", told.stdout + told.stderr)
    return found[0] if found else "?"


# ---------------------------------------------------------------- meshes


def zmq_mesh(crowd: Crowd, receivers: int) -> None:
    ports = free_ports(receivers + 1)
    for n, port in enumerate(ports):
        others = [other for other in ports if other != port]
        process = crowd.start(PYTHON, ROOT / "bench" / "zmq_mesh.py", port, *others)
        crowd.feed_to(process) if n == 0 else crowd.read_from(process)


def pyre_mesh(crowd: Crowd, receivers: int) -> None:
    (port,) = free_ports(1)
    for n in range(receivers + 1):
        process = crowd.start(PYTHON, ROOT / "bench" / "pyre_mesh.py", f"r{n}", port)
        crowd.feed_to(process) if n == 0 else crowd.read_from(process)


LICHEN_LINE = re.compile(rb"(?m)^\[room\] <sender> (.*\n)")


def lichen(crowd: Crowd, receivers: int) -> None:
    """A group of all, each with a port of its own; no relay, and nothing asked of the internet."""
    crowd.wrap = lambda lines: b"".join(b"/g room %b" % line for line in lines.splitlines(True))
    crowd.unwrap = lambda shown: b"".join(LICHEN_LINE.findall(shown))
    (crowd.folder / "lichen.yaml").write_text("stun: []\n")
    ports = free_ports(receivers + 1)
    names = ["sender", *(f"r{n}" for n in range(1, receivers + 1))]
    for n, (name, port) in enumerate(zip(names, ports, strict=True)):
        process = crowd.start(
            *(PYTHON.with_name("lichen"), "--ui", "cli", "--name", name),
            *("--host", "127.0.0.1", "--port", port, "--data", crowd.folder / name),
            *(("--bootstrap", f"127.0.0.1:{ports[0]}") if n else ()),
        )
        if n == 0:
            crowd.feed_to(process)
            assert process.stdout is not None
            crowd.unread.append(Output(process.stdout.fileno()))
            await_listener(crowd, port)
        else:
            crowd.read_from(process)
    for output in crowd.outputs:
        crowd.await_text(output, b"joined via")
    os.write(crowd.feed, f"/group create room {' '.join(names[1:])}\n".encode())
    for process, output in zip(crowd.processes[1:], crowd.outputs, strict=True):
        crowd.await_text(output, b"room")
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"/accept room\n")


# ---------------------------------------------------------------- servers


def ncat(crowd: Crowd, receivers: int) -> None:
    """Copies bytes from each client to all others; its clients are `ncat --ssl`."""
    crowd.note = "copies bytes, knows no messages"
    (port,) = free_ports(1)
    crowd.start(program("ncat"), "--listen", "--broker", "--ssl", "127.0.0.1", port)
    await_listener(crowd, port)
    for n in range(receivers + 1):
        process = crowd.start(program("ncat"), "--ssl", "127.0.0.1", port)
        crowd.feed_to(process) if n == 0 else crowd.read_from(process)


NGIRCD = """[Global]
Name = irc.bench.invalid
Info = bench
Listen = 127.0.0.1
Ports = {port}
ServerUID = {uid}
ServerGID = {gid}
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
"""


def ngircd(crowd: Crowd, receivers: int) -> None:
    crowd.note = SERVER_NOTE
    (port,) = free_ports(1)
    path = crowd.folder / "ngircd.conf"
    path.write_text(NGIRCD.format(port=port, uid=os.getuid(), gid=os.getgid()))
    crowd.start(program("ngircd"), "--nodaemon", "--config", path)
    await_listener(crowd, port)
    for n in range(receivers + 1):
        sock = _connect(crowd, port)
        sock.sendall(f"NICK n{n}\r\nUSER n{n} 0 * :n{n}\r\nJOIN #bench\r\n".encode())
        _expect(crowd, sock, b" 366 ")
        _use(crowd, sock, feed=n == 0)
    crowd.wrap = lambda lines: b"".join(
        b"PRIVMSG #bench :%b\r\n" % line for line in lines.splitlines()
    )
    crowd.unwrap = _without_irc


def _without_irc(shown: bytes) -> bytes:
    start = shown.find(b":n0!")
    prefix = shown[start : shown.find(b"PRIVMSG #bench :", start) + len(b"PRIVMSG #bench :")]
    return shown[start:].replace(prefix, b"").replace(b"\r", b"") if prefix else b""


MOSQUITTO = """listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_type none
set_tcp_nodelay true
max_queued_messages 0
"""
MQTT_CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04%04d"
MQTT_SUBSCRIBE = b"\x82\x06\x00\x01\x00\x01t\x00"
MQTT_SUBSCRIBED = b"\x90\x03\x00\x01\x00"


def mosquitto(crowd: Crowd, receivers: int) -> None:
    crowd.note = SERVER_NOTE
    (port,) = free_ports(1)
    path = crowd.folder / "mosquitto.conf"
    path.write_text(MOSQUITTO.format(port=port))
    crowd.start(program("mosquitto"), "-c", path)
    await_listener(crowd, port)
    for n in range(receivers + 1):
        sock = _connect(crowd, port)
        sock.sendall(MQTT_CONNECT % n)
        _expect(crowd, sock, b"\x20\x02\x00\x00")
        if n:
            sock.sendall(MQTT_SUBSCRIBE)
            _expect(crowd, sock, MQTT_SUBSCRIBED)
        _use(crowd, sock, feed=n == 0)
    crowd.wrap = lambda lines: b"".join(
        b"\x30%c\x00\x01t%b" % (len(line) + 3, line) for line in lines.splitlines(True)
    )
    crowd.unwrap = lambda shown: re.sub(rb"\x30.\x00\x01t", b"", shown)


def _connect(crowd: Crowd, port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=READY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    crowd.at_end(sock.close)
    return sock


def _expect(crowd: Crowd, sock: socket.socket, wanted: bytes) -> None:
    heard = b""
    end = time.monotonic() + READY_S
    while wanted not in heard:
        data = sock.recv(4096)
        heard += data
        if not data or time.monotonic() > end:
            raise crowd.fail(f"said {heard[-200:]!r}")


def _use(crowd: Crowd, sock: socket.socket, *, feed: bool) -> None:
    sock.setblocking(False)
    if feed:
        crowd.feed = sock.fileno()
        # Read as well, by another number: a selector knows each only once.
        copy = os.dup(sock.fileno())
        crowd.at_end(lambda: os.close(copy))
        crowd.unread.append(Output(copy))
    else:
        crowd.outputs.append(Output(sock.fileno()))


def _zmq_version() -> str:
    return package_version("pyzmq")


def _pyre_version() -> str:
    return package_version("zeromq-pyre")


def _lichen_version() -> str:
    return package_version("lichen-chat")


def there(plan: Plan) -> list[Contestant]:
    """Who takes part: who is installed, and has a place in a run of this size."""
    everybody = [*OURS, *RIVALS]
    return [each for each in everybody if each.version() and not (plan.fast and each.extra)]


RIVALS = [
    Contestant("pyzmq PUB/SUB", zmq_mesh, "no TLS, no disk", _zmq_version),
    Contestant(
        "ngircd",
        ngircd,
        "a server; no TLS, no disk",
        lambda: program_version("ngircd", "--version"),
    ),
    Contestant(
        "mosquitto",
        mosquitto,
        "a server; no TLS, no disk",
        lambda: program_version("mosquitto", "-h"),
    ),
    Contestant(
        "ncat --broker --ssl",
        ncat,
        "a server; TLS, copies bytes",
        lambda: program_version("ncat", "--version"),
    ),
    Contestant("zeromq-pyre", pyre_mesh, "no TLS, no disk", _pyre_version, slow=True),
    # Of 32 that were started at once some had not joined after a minute.
    Contestant(
        "lichen-chat", lichen, "encrypted, signed, on disk", _lichen_version, most=8, slow=True
    ),
]
