"""The whereabouts: where a room's members are found, for those who are invited.

    whereabouts.txt     where this node was found in its last run, an address a line, best first

An invite leads to its writer, if anybody can call there, and to members who answered lately: for
the writer may be away, or behind a router.

Lives here: that file (mode 0600), and which addresses an invite holds. Never here: invites as text,
what is dialed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from addresses import (
    EVERYWHERE,
    PRIVATE,
    THIS_MACHINE,
    Address,
    AddressBook,
    BadAddress,
    Known,
    is_name,
    parse_address,
    scope_of,
)
from settings import replace_file

NAME = "whereabouts.txt"
MAX_FILE_BYTES = 4096  # a few addresses of at most 260 characters each
# What an invite tells of others: with one's own two or three it makes some 150 characters.
MAX_OTHERS = 3


def load(folder: Path) -> list[Address]:
    """What was saved; nothing where there is none, or no sense in it. Raises OSError."""
    try:
        with (folder / NAME).open("rb") as file:
            lines = file.read(MAX_FILE_BYTES).decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(BadAddress):  # cut off, or edited
            found.append(parse_address(line))
    return found


def save(folder: Path, own: Iterable[Address]) -> None:
    """Raises OSError."""
    replace_file(folder / NAME, "".join(f"{address}\n" for address in own))


def for_invite(own: Iterable[Address], known: Iterable[Known]) -> tuple[Address, ...]:
    """The addresses of an invite: one's own, then of those that answered the ones that reach
    furthest, the last ones first. Those of this machine only where there is nothing else: on
    another one they lead to nobody, or to somebody else."""
    answered = [each for each in known if each.answered and _reaches(each.address)]
    answered.sort(key=lambda each: each.answered or "", reverse=True)
    answered.sort(key=lambda each: _reaches(each.address) != EVERYWHERE)
    mine = dict.fromkeys(own)
    others = [each.address for each in answered if each.address not in mine]
    found = (*mine, *others[:MAX_OTHERS])
    return tuple(each for each in found if scope_of(each) != THIS_MACHINE) or found


def _reaches(address: Address) -> int | None:
    """How far. A name that a person gave does so everywhere, and stays when its host moves; but one
    without a dot is known in one network."""
    if is_name(address):
        return EVERYWHERE if "." in address.host else PRIVATE
    return scope_of(address)


def in_folders(folders: Iterable[Path]) -> tuple[Address, ...]:
    """The addresses of an invite by whoever has these folders. Raises OSError."""
    own: list[Address] = []
    known: list[Known] = []
    for folder in folders:
        own += load(folder)
        book = AddressBook(folder / "addresses.txt")
        book.load()
        known += book.entries()
    return for_invite(own, known)
