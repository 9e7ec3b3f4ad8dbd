"""The contestants that need nothing but this repository: selchat as shipped, and the limit.

Lives here: how they are started, and what they make of a line. Never here: other people's programs
(rivals.py), what is measured.
"""

from __future__ import annotations

import platform
import re
import socket
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from bench.crowd import READY_S, Contestant, Crowd

ROOT = Path(__file__).resolve().parent.parent
NAME = "sender"
STAMP = re.compile(rb"\d\d:\d\d:\d\d")
TEXT = re.compile(rb'"text":"([^"]*)"')
DAY_S = 24 * 3600
POLL_S = 0.01


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def selchat(crowd: Crowd, receivers: int, option: str = "--plain") -> None:
    """One that is fed, and others that know its address, on their way to a full mesh."""
    (port,) = free_ports(1)
    for n in range(receivers + 1):
        ports = (port, 0, NAME) if n == 0 else (0, port, f"r{n}")
        process = crowd.start(
            *(sys.executable, ROOT / "selchat.py", "--data", crowd.folder / str(n)),
            *(option, *ports),
        )
        if n:
            crowd.read_from(process)
        else:
            crowd.feed_to(process)
            await_listener(crowd, port)  # as others must: they dial only once
    crowd.unwrap = from_json if option == "--json" else from_plain


def selchat_json(crowd: Crowd, receivers: int) -> None:
    selchat(crowd, receivers, "--json")


def from_plain(shown: bytes) -> bytes:
    """Without the time and the name, for each second from the first line to the last: a regular
    expression over all lines takes ten times as long."""
    first, last = shown[:8], shown[shown.rfind(b"\n", 0, -1) + 1 :][:8]
    if not (STAMP.fullmatch(first) and STAMP.fullmatch(last)):
        return shown  # a line that is cut, or none
    for second in range((_second(last) - _second(first)) % DAY_S + 1):
        hours, rest = divmod((_second(first) + second) % DAY_S, 3600)
        stamp = b"%02d:%02d:%02d" % (hours, *divmod(rest, 60))
        shown = shown.replace(b"%b %b: " % (stamp, NAME.encode()), b"")
    return shown


def _second(stamp: bytes) -> int:
    hours, minutes, seconds = map(int, stamp.split(b":"))
    return 3600 * hours + 60 * minutes + seconds


def from_json(shown: bytes) -> bytes:
    return b"".join(b"%b\n" % text for text in TEXT.findall(shown))


def bare(crowd: Crowd, receivers: int, *, tls: bool = False, disk: bool = False) -> None:
    if tls:
        write_certificate(crowd.folder / "link.pem")
    ports = free_ports(receivers + 1)
    for n, port in enumerate(ports):
        process = crowd.start(
            *(sys.executable, ROOT / "bench" / "bare.py", port, *ports[:n]),
            *(("--tls", "link.pem") if tls else ()),
            *(("--disk", f"log-{n}") if disk else ()),
        )
        crowd.feed_to(process) if n == 0 else crowd.read_from(process)
        await_listener(crowd, port)


def bare_tls(crowd: Crowd, receivers: int) -> None:
    bare(crowd, receivers, tls=True)


def bare_disk(crowd: Crowd, receivers: int) -> None:
    bare(crowd, receivers, tls=True, disk=True)


def await_listener(crowd: Crowd, port: int) -> None:
    """Until somebody listens there."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end and crowd.processes[-1].poll() is None:
        with socket.socket() as sock:
            if not sock.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(POLL_S)
    raise crowd.fail(f"nobody listens on port {port}")


def write_certificate(path: Path) -> None:
    """A key, and what a TLS library wants to see of it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2000, 1, 1))
        .not_valid_after(datetime(9999, 12, 31))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))


def _selchat_version() -> str:
    import selchat

    return selchat.__version__


def _python_version() -> str:
    return f"Python {platform.python_version()}"


OURS = [
    Contestant("selchat", selchat, "TLS, signed, on disk", _selchat_version),
    Contestant(
        "selchat, --json",
        selchat_json,
        "TLS, signed, on disk",
        _selchat_version,
        most=8,
        extra=True,
    ),
    Contestant(
        "bare mesh, TLS, disk", bare_disk, "copies bytes", _python_version, most=8, extra=True
    ),
    Contestant("bare mesh, TLS", bare_tls, "copies bytes", _python_version),
    Contestant("bare mesh", bare, "copies bytes", _python_version, extra=True),
]
