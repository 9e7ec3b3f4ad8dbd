"""The joining: from an invite to a room that is kept, and from a room to an invite.

An invite on a command line is to be seen by whoever lists the processes of the machine. So once the
room is kept, selchat goes on as another one, whose command line only names it.

Lives here: what the command does with invites before, or in place of, a conversation. Never here:
invites as text, the files of rooms, options.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

import invite
import terminal
from folders import Folders
from invite import BadInvite, Invite
from rooms import Rooms
from user import signs_on_stderr


def join(args: argparse.Namespace) -> None:
    """Takes the invites among the peers: keeps the room's secret, and goes to its addresses. Raises
    RoomError, OSError."""
    kept = Rooms(Folders(args.data).rooms)
    args.invites = [peer for peer in args.peers if isinstance(peer, Invite)]
    for each in args.invites:
        args.room = kept.join(each, args.room).name
    given = (peer.addresses if isinstance(peer, Invite) else (peer,) for peer in args.peers)
    args.peers = [address for some in given for address in some]


def hide(args: argparse.Namespace) -> None:
    """Goes on without the invites on the command line, after `join`; returns where there are none,
    or it can't."""
    if not args.invites:
        return
    given = sys.argv[1:]
    shown = [_without_invite(word, args.invites) for word in given]
    if shown == given:
        return
    if args.name != "-":  # what was read from standard input is not there any more
        shown = [{"-": "0", "--peer=-": "--peer=0"}.get(word, word) for word in shown]
    before = sys.orig_argv[: len(sys.orig_argv) - len(given)]
    peers = (f"--peer={address}" for address in args.peers)
    with contextlib.suppress(OSError):  # no memory: the invite stays to be seen
        os.execv(sys.executable, [*before, f"--room={args.room}", *peers, *shown])


def _without_invite(word: str, invites: list[Invite]) -> str:
    option = "--peer=" if word.startswith("--peer=") else ""
    try:
        found = invite.read(word.removeprefix(option))
    except BadInvite:
        return word
    return f"{option}0" if found in invites else word


def print_invite(args: argparse.Namespace) -> None:
    """An invite to the room as its last run here has left it. Raises RoomError, OSError."""
    import whereabouts

    kept = Folders(args.data)
    found = dict.fromkeys([*args.peers, *whereabouts.in_folders(kept.in_use(args.room))])
    is_new = not Rooms(kept.rooms).has(args.room)
    line = Rooms(kept.rooms).invite(args.room, [*found])
    os.write(1, f"{line}\n{_picture(line)}".encode())
    if is_new or not found:
        why = "this room is new" if is_new else "nobody of this room has been up here yet"
        leads = "" if found else ", so the invite leads to no address"
        os.write(2, f"{signs_on_stderr().notice}{why}{leads}\n".encode())


def _picture(line: str) -> str:
    """The QR code of an invite, where there is a terminal that has room for it; else ""."""
    import qr

    rows = qr.rows(line.upper()) if os.isatty(1) else None
    if rows is None or len(rows[0]) > terminal.size()[0]:
        return ""
    import look  # with rich, for which no other start should wait
    import paint

    painted = paint.Paint(os.environ)
    return "".join(f"{painted.text(look.figure(row))}\n" for row in rows)
