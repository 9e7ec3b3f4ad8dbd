"""What is kept: all that a user has on disk, in one folder, opened together and saved together.

    key.pem, certificate-*.pem    who one is (identity.py)
    journal.db, search.index      what was said (journal.py, archive.py)
    addresses.txt                 where others are (addresses.py)
    whereabouts.txt               where this node is (whereabouts.py)
    members.json                  who others are (acquaintances.py)
    settings.json, typed.jsonl    what the person wants, and has typed (settings.py)

Lives here: the order in which these are opened, when they are saved, and what a person is told if
that fails. Never here: what is in them, deciding, looking at the clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import folders
import identity
import protocol
import whereabouts
from acquaintances import Acquaintances
from addresses import Address, AddressBook
from archive import Archive
from folders import Folders
from invite import is_invite
from journal import Journal, JournalDamaged, JournalError, JournalLocked
from link import Gate, Shared
from protocol import Entry, Receipt
from rooms import RoomError, Rooms
from settings import Settings, Typed

# The address book is written at the end, and at the latest this long after a change.
SAVE_S = 2.0
# Complaints about a broken address book that are shown; the others are counted.
MAX_COMPLAINTS = 5

Say = Callable[[str], None]


class CantOpen(Exception):
    """What is kept can't be used; says why and what to do."""


class Kept:
    """What the user `name`, listening on `port`, has kept of a room."""

    def __init__(
        self, where: Folders, name: str, port: int, room: str | None, notice: Say, error: Say
    ) -> None:
        """`room`: None for the open one. `notice` and `error` tell the person. Raises CantOpen."""
        self._notice, self._error = notice, error
        self._where = where
        self.is_open_room = room is None
        self.is_new_room = False
        self._may_remember = True
        self._own: list[Address] = []  # where this node is found, as it was last saved
        try:
            self.room = self._open_room(room)
            self.folder = self._open_folder(name, port, room)
            self._open_files()
        except (JournalError, identity.BadKey, RoomError) as error_:
            raise CantOpen(str(error_)) from None
        except OSError as error_:
            raise self._unusable(error_) from None

    def _unusable(self, error: OSError) -> CantOpen:
        where = error.filename or self._where.given
        return CantOpen(f"{where}: {error.strerror}; choose a folder with --data")

    def _open_room(self, name: str | None) -> identity.Room:
        if name is None:
            return identity.open_room()
        rooms = Rooms(self._where.rooms)
        self.is_new_room = not rooms.has(name)
        return rooms.open(name)

    def _open_folder(self, name: str, port: int, room: str | None) -> Path:
        """Opens the journal in the first folder where nobody else has it open."""
        for folder in self._where.of_user(name, port, room):
            try:
                folders.make(folder)
                self.journal = self._open_journal(folder / "journal.db")
            except JournalLocked:
                if self._where.given:
                    raise
            else:
                return folder
        raise CantOpen(f"all profiles of {name!a} are in use; give it a --data")

    def _open_journal(self, path: Path) -> Journal:
        try:
            return Journal(path, self.verify)
        except JournalDamaged:
            from rescue import rescue

            rescued = rescue(path, self.verify)
            where = f" (the old file is {rescued.moved.name})" if rescued.moved else ""
            self._notice(
                f"the journal was damaged{where}: {rescued.entries} entries could be kept, "
                "others come back from those who have them"
            )
            return Journal(path, self.verify)

    def _open_files(self) -> None:
        folder = self.folder
        self._identity = identity.Identity(folder, self.room)
        self.member = self._identity.member
        self._identity.certify()
        self.book = AddressBook(folder / "addresses.txt")
        self._complain(self.book.load())
        self.settings = Settings(folder / "settings.json")
        self._complain(self.settings.load())
        self._typed = Typed(folder / "typed.jsonl")
        rooms = [] if self.is_open_room else [self._where.rooms]
        self._complain(folders.exposed(folder, *rooms))
        self.acquaintances = Acquaintances(folder / "members.json", self.member.hex())
        self._complain(self.acquaintances.load())
        self.archive = Archive(
            self.journal, folder / "search.index", self.member, self.settings.hidden
        )
        self.log = self.journal.own_log(self.member, os.urandom(8))

    @cached_property
    def gate(self) -> Gate:
        """Made when it is asked for, as that takes 4 ms. Raises CantOpen."""
        try:
            contexts = self._identity.tls_contexts()
        except OSError as error:
            raise self._unusable(error) from None
        return Gate(self.room.knock, self.room.is_knock, *contexts, identity.member_of, Shared())

    def _complain(self, complaints: list[str]) -> None:
        for complaint in complaints[:MAX_COMPLAINTS]:
            self._notice(complaint)
        if len(complaints) > MAX_COMPLAINTS:
            more = len(complaints) - MAX_COMPLAINTS
            self._notice(f"and {more} more such lines in the address book")

    # ------------------------------------------------------------ signatures

    def sign(self, unsigned: bytes) -> bytes:
        """The signature of an entry, by its bytes before that."""
        return self._identity.sign(protocol.signed_bytes(self.room.id, unsigned))

    def verify(self, entry: Entry) -> bool:
        unsigned = entry.raw[: -protocol.SIGNATURE_BYTES]
        signed = protocol.signed_bytes(self.room.id, unsigned)
        return identity.verify(entry.author, entry.signature, signed)

    def sign_receipt(self, unsigned: bytes) -> bytes:
        return self._identity.sign(protocol.signed_receipt_bytes(self.room.id, unsigned))

    def verify_receipt(self, receipt: Receipt) -> bool:
        signed = protocol.signed_receipt_bytes(self.room.id, receipt.unsigned)
        return identity.verify(receipt.member, receipt.signature, signed)

    # ------------------------------------------------------------ others, and where they are

    @property
    def is_unsaved(self) -> bool:
        return self.book.changed or self.acquaintances.changed

    def save(self, own: Iterable[Address]) -> None:
        """All that is not saved by itself. `own`: where this node is found now."""
        self.save_acquaintances()
        try:
            self._complain(self.book.save())
            found = [] if self.is_open_room else list(own)
            if found and found != self._own:
                whereabouts.save(self.folder, found)
                self._own = found
        except OSError as error:
            self._error(f"the address book can't be written: {error.strerror}")

    def save_acquaintances(self) -> None:
        try:
            if self.acquaintances.changed:
                self.acquaintances.save()
        except OSError as error:
            self._error(f"whom you know here can't be kept ({error.strerror})")

    def invite(self, first: Iterable[Address], own: Iterable[Address]) -> str:
        """An invite to the room, to these addresses and where it is found. Raises RoomError in the
        open room, OSError."""
        if self.is_open_room:
            raise RoomError("the open room needs no invite: it is for everybody on this machine")
        found = dict.fromkeys([*first, *whereabouts.for_invite(own, self.book.entries())])
        return Rooms(self._where.rooms).invite(self.room.name, [*found])

    # ------------------------------------------------------------ what the person wants

    def save_settings(self) -> None:
        try:
            self.settings.save()
        except OSError as error:
            self._error(f"this holds until you leave: it can't be kept ({error.strerror})")

    def typed_before(self) -> list[str]:
        """What was typed in earlier runs, the oldest first."""
        from editor import HISTORY_LINES  # only who has a terminal has an editor

        try:
            return self._typed.load(HISTORY_LINES)
        except OSError as error:
            self._notice(f"what was typed before can't be read: {error.strerror}")
            return []

    def remember_typed(self, text: str) -> None:
        """For the arrow keys of later runs; but no invite."""
        if text.startswith("/") and is_invite(text):
            return
        if text.strip() and self._may_remember:
            try:
                self._typed.add([text])
            except OSError as error:
                self._may_remember = False  # to say so once is enough
                self._notice(f"what is typed is not kept: {error.strerror}")
