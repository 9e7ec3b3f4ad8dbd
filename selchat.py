"""selchat: a group chat that lives in your terminals. Start reading here.

The command: its words become a user and a session of it (session.py), and what hinders that becomes
one line.

Never here: what could as well be in another module, for Python compiles this one at each start, and
no other: a session in it took 2 ms. Nobody imports it but programs that want a `User`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from importlib.machinery import PathFinder
from pathlib import Path


def _find_packages() -> None:
    """Goes on with the Python of `make setup` when this one lacks what selchat needs."""
    if all(map(PathFinder.find_spec, ("cryptography", "rich"))):
        return
    own = Path(__file__).resolve().parent / ".venv"
    python = str(own / "bin" / "python")
    script = os.path.isfile(sys.argv[0])  # else there is nothing that could be run again
    if not script or Path(sys.prefix).resolve() == own or not os.access(python, os.X_OK):
        sys.exit("selchat: the packages rich and cryptography are missing: run `make setup`")
    os.execv(python, [python, *sys.argv])


if __name__ == "__main__":
    # Imports leave no garbage: not to look for any makes a start 5 % faster.
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until there is a loop, Ctrl-C ends the process at once, and without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
_find_packages()

import contextlib  # noqa: E402 (what is needed must be found before it is imported)
from typing import TYPE_CHECKING  # noqa: E402

import invite  # noqa: E402
from addresses import BadAddress  # noqa: E402
from arguments import parse  # noqa: E402
from journal import JournalError  # noqa: E402
from rooms import RoomError  # noqa: E402
from session import Session  # noqa: E402
from text import harmless  # noqa: E402
from user import (  # noqa: E402
    DONE,
    FAILED,
    BadPost,
    StartError,
    User,
    login_name,
    signs_on_stderr,
)

if TYPE_CHECKING:
    import argparse
    from typing import IO

__version__ = "0.1.0"
__all__ = ["BadPost", "StartError", "User", "main"]


def _private(path: str, flags: int) -> int:
    """Opens a file that, if it is new, is its owner's alone: it tells who talks to whom."""
    return os.open(path, flags, 0o600)


def _make_user(args: argparse.Namespace, debug: IO[str] | None) -> User:
    name = login_name() if args.name is None else args.name
    return User(args.host, args.port, name, data=args.data, room=args.room, debug=debug)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: else the next file that is opened would be taken for it
            os.open(os.devnull, os.O_RDWR)
    args = parse(arguments, __version__)
    debug = None
    try:
        if args.invite or any(isinstance(peer, invite.Invite) for peer in args.peers):
            import joining  # which few starts have to do with

            joining.join(args)
            if args.invite:
                joining.print_invite(args)
                return DONE
            if arguments is None:
                joining.hide(args)
        if args.debug:
            debug = open(args.debug, "w", encoding="utf-8", errors="replace", opener=_private)
        return Session(_make_user(args, debug), args).run()
    except (StartError, RoomError, BadAddress, JournalError) as error:
        text = str(error)
    except OSError as error:
        text = f"{error.filename or 'input/output'}: {error.strerror}"
    finally:
        if debug:
            with contextlib.suppress(OSError):  # a full disk: that was said already
                debug.close()
    said = harmless(invite.hide(text))
    os.write(2, f"{signs_on_stderr().error}{said}\n".encode(errors="replace"))
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
