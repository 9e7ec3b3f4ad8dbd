"""The rooms: which ones this user is in, by name, each with its secret.

    NAME.room     an invite (invite.py) to nowhere: the room's name and secret, without addresses

A room is made at its first use: a secret of 128 bits, always generated, never chosen. Or it is
joined, with an invite. The name is only a label: two rooms of one name are two rooms, and whoever
is in both calls one of them otherwise.

Lives here: these files (mode 0600). Never here: what the secret is used for (identity.py).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import folders
import invite
from addresses import Address
from identity import OPEN_ROOM, Room
from invite import BadInvite, Invite

SECRET_BYTES = invite.MIN_SECRET_BYTES  # enough for ever, and the shortest invites
MAX_FILE_BYTES = 4096  # an invite without addresses has about 200


class RoomError(Exception):
    """The room can't be had; says why and what to do."""


class Rooms:
    """The rooms whose secrets are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        """Whether there is a room of this name already."""
        return self._path(name).exists()

    def open(self, name: str) -> Room:
        """The room of this name, made now if there is none. Raises RoomError, OSError."""
        return Room(checked_name(name), self._secret_of(name))

    def join(self, invited: Invite, name: str | None = None) -> Room:
        """The room that somebody was invited to, called `name` here, else as in the invite. Raises
        RoomError if another room is called so here, OSError."""
        name = checked_name(invited.room if name is None else name)
        secret = self._secret(name) or self._keep(name, invited.secret)
        if secret != invited.secret:
            raise RoomError(
                f"that invite is to another room than the one that is called {name!a} here: "
                "choose a name of your own for it with --room"
            )
        return Room(name, secret)

    def addresses_in(self, invited: Invite, name: str | None) -> tuple[Address, ...]:
        """Where an invite to the room of this name leads. Raises RoomError if it is to another
        one, OSError."""
        if name is None or self._secret(name) != invited.secret:
            raise RoomError(
                "that invite is to another room: leave this one, and start with the invite"
            )
        return invited.addresses

    def invite(self, name: str, addresses: Sequence[Address]) -> str:
        """An invite to the room of this name. Raises RoomError, OSError."""
        secret = self._secret_of(name)
        return invite.write(Invite(name, secret, tuple(addresses)))

    def _path(self, name: str) -> Path:
        return self._folder / f"{folders.safe(name)}.room"

    def _secret_of(self, name: str) -> bytes:
        return self._secret(name) or self._keep(name, secrets.token_bytes(SECRET_BYTES))

    def _secret(self, name: str) -> bytes | None:
        """None: there is no such room yet."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                kept = invite.read(file.read(MAX_FILE_BYTES).decode(errors="replace"))
        except FileNotFoundError:
            return None
        except BadInvite as error:
            raise RoomError(
                f"{path} does not tell the room's secret: {error}; "
                "put its copy back, or move it away and ask for a new invite"
            ) from None
        return kept.secret

    def _keep(self, name: str, secret: bytes) -> bytes:
        """Keeps the secret, and returns the one that is kept: of two that begin a room at the same
        moment only one has made it."""
        folders.make(self._folder)
        path = self._path(name)
        draft = path.with_suffix(f".{os.getpid()}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(invite.write(Invite(name, secret, ())) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            return self._secret(name) or secret
        finally:
            draft.unlink()
        _sync(self._folder)
        return secret


def checked_name(name: str) -> str:
    """`name`, as a room may be called. Raises RoomError."""
    fault = invite.room_fault(name)
    if name.casefold() == OPEN_ROOM:
        fault = f"is {name}: that is the one without a secret, where you are without --room"
    if invite.is_secret(name):
        fault = "is an invite: give that as a PEER, selchat.py 0 INVITE"
    if fault:
        raise RoomError(f"the room's name {fault}")
    return name


def _sync(folder: Path) -> None:
    """The name of a file in it is on the platter only with this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
