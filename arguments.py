"""The arguments: the words of a command line, each checked, and what they are together.

    parse(words) -> the options of the help, and `peers` (addresses and invites)

Whoever has made a mistake is told in one line what is wrong and what to do; never a word of that is
part of an invite.

Lives here: what may be said on a command line, and where an invite is read from. Never here: what
comes of it.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import NoReturn

import addresses
import invite
import net
import rooms
import terminal
from addresses import Address, BadAddress
from invite import BadInvite, CutOffInvite, Invite
from rooms import RoomError
from text import harmless
from user import DEFAULT_PORT, signs_on_stderr

DEFAULT_LINGER_S = 10.0
WRONG_USAGE = 2  # an exit status
CLASSIC_COLUMNS = 80  # of help that goes where nobody knows how wide it is


def parse(words: list[str] | None, version: str) -> argparse.Namespace:
    """`words`: None for those of this process. Ends the process if something is wrong with them.
    What is in the answer: see the help; and `peers`, addresses and invites."""
    args = _parser(version).parse_intermixed_args(words)
    args.peers = [peer for peer in (args.peer, *args.more_peers) if peer]
    args.data = Path(args.data) if args.data else None
    if args.room is None and not any(isinstance(peer, Invite) for peer in args.peers):
        _check_reach(args)
    return args


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        fail(message)


def fail(message: str) -> NoReturn:
    """One line that says what is wrong and what to do."""
    sign, said = signs_on_stderr().error, harmless(invite.hide(message))
    os.write(2, f"{sign}{said}; see selchat.py --help\n".encode(errors="replace"))
    raise SystemExit(WRONG_USAGE)


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 7:
        port = int(text)
        if port == 0 or 1024 <= port <= 65535:
            return port
    if invite.is_invite(text):
        raise argparse.ArgumentTypeError(
            "an invite comes second: selchat.py 0 INVITE (0 is for any free port to listen on)"
        )
    raise argparse.ArgumentTypeError(
        f"{text[:40]!a} is no port to listen on: take 1024 to 65535, or 0 for any free one"
    )


def _peer(text: str) -> Address | Invite | None:
    """An address, an invite, or where one of them is to be read: @FILE, or - for what is typed or
    piped in first."""
    if text == "0":
        return None
    try:
        if text == "-":
            text = _first_invite(0)
            if not text:
                raise argparse.ArgumentTypeError("standard input ended before an invite came")
            return invite.read_peer(text)
        return invite.read_peer(_text_in(text[1:]) if text.startswith("@") else text)
    except (BadAddress, BadInvite) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _text_in(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(invite.MAX_TEXT_CHARACTERS).decode(errors="replace").strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path[:200]!a}: {error.strerror}") from None


def _first_invite(descriptor: int) -> str:
    """The first line, or as many as an invite was broken into. Byte by byte: what follows is what
    is said. (There is no loop yet that could wait instead.)"""
    if os.isatty(descriptor):
        os.write(2, b"paste the invite here, and press Enter:\n")
    data = bytearray()
    while len(data) < invite.MAX_TEXT_CHARACTERS:
        try:
            byte = os.read(descriptor, 1)
        except BlockingIOError:
            net.wait_to_read(descriptor)
            continue
        except OSError as error:
            raise argparse.ArgumentTypeError(f"standard input: {error.strerror}") from None
        data += byte
        if not byte or byte == b"\n":
            text = data.decode(errors="replace").strip()
            if not byte or (text and not _is_cut_off(text)):
                return text
    return data.decode(errors="replace")


def _is_cut_off(text: str) -> bool:
    try:
        invite.read(text)
    except CutOffInvite:
        return True
    except BadInvite:
        return False
    return False


def _name(text: str) -> str:
    if invite.is_secret(text):
        raise argparse.ArgumentTypeError(
            "that is an invite, which nobody should see: it comes second, selchat.py 0 INVITE NAME"
        )
    return text


def _room(text: str) -> str:
    try:
        return rooms.checked_name(text)
    except RoomError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _host(text: str) -> str:
    try:
        address = addresses.parse_address(f"[{text}]:1" if ":" in text else f"{text}:1")
    except BadAddress:
        raise argparse.ArgumentTypeError(f"{text[:60]!a} is no address to listen on") from None
    if addresses.is_name(address):
        raise argparse.ArgumentTypeError(
            f"{text[:60]!a} is a name: give an address of this machine, or :: for all of them"
        )
    return address.host


def _amount(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!a} is no number from 0 on")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e9:  # NaN is refused too
        raise argparse.ArgumentTypeError(f"{text[:40]!a} is no number of seconds")
    return seconds


def _parser(version: str) -> _Parser:
    # Else argparse would import `shutil` to ask for that, 2 ms, as it takes the first argument.
    width = (terminal.size()[0] or CLASSIC_COLUMNS) - 2
    parser = _Parser(
        prog="selchat.py",
        usage="%(prog)s [LISTEN_PORT] [PEER] [NAME] [options]",  # half a millisecond, made of all
        description="A group chat that lives in your terminals. No server, no account.",
        epilog="One line is one post; /help lists the commands that can be typed.",
        formatter_class=partial(argparse.HelpFormatter, width=width),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("port", metavar="LISTEN_PORT", nargs="?", type=_port, default=DEFAULT_PORT,
        help="1024 to 65535, or 0 for any free one (default 5000)")  # fmt: skip
    add("peer", metavar="PEER", nargs="?", type=_peer,
        help="PORT, HOST:PORT or [IPv6]:PORT of a member to link to, an invite, @FILE that holds "
        "one, - for one from standard input; 0: nobody yet")  # fmt: skip
    add("name", metavar="NAME", nargs="?", type=_name, help="any text (default: the login name)")
    add("--peer", dest="more_peers", metavar="ADDRESS", action="append", type=_peer, default=[],
        help="one more member to link to; can be repeated")  # fmt: skip
    add("--host", metavar="ADDRESS", type=_host, default="127.0.0.1",
        help="listen there (default 127.0.0.1; :: for all, in a room)")  # fmt: skip
    add("--room", metavar="NAME", type=_room,
        help="a room of your own, its secret made at first use and kept")  # fmt: skip
    add(
        "--invite",
        action="store_true",
        help="print an invite to that room, and end; each PEER is an address that it leads to",
    )
    add("--data", metavar="DIR", help="where to keep everything of this user (default: "
        "$SELCHAT_DATA, else $XDG_DATA_HOME/selchat/<profile>)")  # fmt: skip
    add("--json", action="store_true", help="events as JSON lines on standard output")
    add("--plain", action="store_true", help="no terminal features")
    add("--stay", action="store_true", help="keep running when standard input ends")
    add("--confirm", metavar="N", type=_amount,
        help="when standard input ends, wait until N members have each post on disk")  # fmt: skip
    add("--linger", metavar="SECONDS", type=_seconds, default=DEFAULT_LINGER_S,
        help="how long to wait for that at most (default 10)")  # fmt: skip
    add("--history", metavar="N", type=_amount,
        help="show the last N posts at the start (default: 20 in a terminal, else 0)")  # fmt: skip
    add("--debug", metavar="FILE", help="write a transcript of all events and actions there")
    add("--version", action="version", version=f"selchat {version}")
    return parser


def _check_reach(args: argparse.Namespace) -> None:
    """The open room's secret is public, so it stays on this machine."""
    for address in args.peers:
        if not addresses.is_loopback(address):
            fail(
                f"{address} is not on this machine, and the open room, which everybody could "
                "read, stays on it: go there with --room NAME, or with an invite"
            )
    if not addresses.is_loopback(Address(args.host, 1)):
        fail(
            f"{args.host} is not on this machine only, and everybody out there could read the "
            "open room: listen there with --room NAME, or with an invite"
        )
    if args.invite:
        fail("the open room needs no invite: say which room with --room NAME")
