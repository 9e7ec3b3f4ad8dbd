"""The acquaintances: who was first known here under each name, and who is verified.

    members.json   {"known": [{"name": "bob", "id": "1a2b...", "since": "2026-11-22",
                               "told": ["99f4...", ...]}, ...],
                    "verified": {"1a2b...": "2026-11-24", ...}}

Who comes first has a name, and all that look like it (lookalikes.py). `told`: those with other keys
who called themselves so later, and of whom our user was told. Who is verified takes the name from
who is not. A name is no proof of anything, and who was first may be the wrong one: that is what
verifying is for.

WHAT A FLOOD CAN DO. Anybody in the room can make keys and names without end. So one member is kept
under a few names only, of one name a few others are told, and so much in a minute. When all places
are taken, the name that was not met for longest is forgotten; never that of our user, or of who is
verified.

The file may be edited, or deleted, at any time. What is wrong in it is said and left out; a file
that can't be read at all is kept beside. It is not worth a sync.

Lives here: that file, and when there is something to say. Never here: links, entries, clocks (times
are handed in), what a person is asked.
"""

from __future__ import annotations

import json
import re
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from lookalikes import keys
from settings import is_id, replace_file
from text import digits_apart, short_name

MAX_KNOWN = 1024  # names; as many members as have receipts
MAX_NAMES_OF_ONE = 4  # a person has a nickname or two; a flood of names has one key
MAX_TOLD = 4  # of one name: who was told of so many knows what goes on
MAX_VERIFIED = 1024  # more than anybody has called
# So many warnings in so long: a large room that is seen for the first time has a few, and what
# comes then is told when it is met again. Not counted are those of verified and of own names.
WARNINGS, WARNINGS_S = 8, 60.0
ID_DIGITS = 8  # of an id, as in /who
# A name has at most 24 cells of 5 characters, each of which JSON writes in 12 bytes; with the ids
# that makes under 2 KB.
MAX_FILE_BYTES = 2 * 1024 * 1024
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


class Known:
    """A name, and who has it."""

    def __init__(self, name: str, id: str, since: str, told: list[str] | None = None) -> None:
        self.name = name  # as it is shown
        self.id = id
        self.since = since  # a date
        self.told = told or []  # ids of others


class Acquaintances:
    """Whom a user knows in a room. Ids are hexadecimal."""

    def __init__(self, path: Path, own: str) -> None:
        self.verified: dict[str, str] = {}  # since when
        self.changed = False  # since it was saved
        self._path, self._own = path, own
        self._known: dict[str, Known] = {}  # by name, who was met last at the end
        self._by_key: dict[str, Known] = {}  # by what a name looks like
        self._names_of: dict[str, list[Known]] = {}
        self._warned: deque[float] = deque(maxlen=WARNINGS)  # when

    def __len__(self) -> int:
        return len(self._known)

    def name_of(self, id: str) -> str:
        """What somebody was called here last; "" if that is not known."""
        return self._names_of[id][-1].name if id in self._names_of else ""

    # ------------------------------------------------------------ the file

    def load(self) -> list[str]:
        """Complaints, one for each kind of thing that is wrong."""
        name = self._path.name
        try:
            with self._path.open("rb") as file:
                kept = json.loads(file.read(MAX_FILE_BYTES + 1))
        except FileNotFoundError:
            return []
        except OSError as error:
            return [f"{name} can't be read ({error.strerror}): who was known is not known now"]
        except (ValueError, RecursionError):
            kept = None
        if not isinstance(kept, dict):
            with suppress(OSError):  # then it is lost with the next save, as it was said to be
                self._path.replace(self._path.with_name(f"{name}.broken"))
            return [f"{name} can't be read: who was known is not known now ({name}.broken)"]
        return self._load_verified(kept.get("verified")) + self._load_known(kept.get("known"))

    def _load_verified(self, kept: Any) -> list[str]:
        found = kept if isinstance(kept, dict) else {}
        dated = {id: since for id, since in found.items() if is_id(id) and _is_date(since)}
        self.verified = dict(list(dated.items())[:MAX_VERIFIED])
        wrong = len(found) - len(dated) if isinstance(kept, dict | None) else 1
        return [f"{self._path.name}: {wrong} of verified: not an id and a date"] if wrong else []

    def _load_known(self, kept: Any) -> list[str]:
        found = kept if isinstance(kept, list) else []
        named = [known for known in map(_known_in, found) if known is not None]
        for known in named[-MAX_KNOWN:]:
            self._add(known)
        wrong = len(found) - len(named) if isinstance(kept, list | None) else 1
        return [f"{self._path.name}: {wrong} of known: not a name, an id and a date"] * bool(wrong)

    def save(self) -> None:
        """Raises OSError."""
        self.changed = False  # if it can't be written now, it is with the next change
        known = ",\n".join(json.dumps(vars(known)) for known in self._known.values())
        verified = json.dumps(self.verified, indent=1)
        replace_file(self._path, f'{{"known": [\n{known}\n],\n"verified": {verified}}}\n')

    # ------------------------------------------------------------ who is who

    def meet(self, id: str, name: str, today: str, now: float) -> str:
        """Somebody calls themselves so; a warning, if that is not who is known by that name."""
        shown = short_name(name)
        if not shown:
            return ""  # shown with the id anyway
        alike = self._alike(shown)
        if not alike:
            self._add(Known(shown, id, today))
            self.changed = True
        for known in alike:
            if known.id == id:
                self._known[known.name] = self._known.pop(known.name)
            elif id != self._own and (warning := self._tell(known, id, shown, now)):
                return warning
        return ""

    def verify(self, id: str, name: str, today: str) -> None:
        """Our user has compared the number with `id`, who is called so."""
        self.changed = True
        self.verified.pop(id, None)
        self.verified[id] = today
        told: list[str] = []  # of the others our user knows by now
        for known in self._alike(short_name(name)):
            if known.id != id and self._is_safe(known):
                known.told = [*known.told, id][-MAX_TOLD:]
            else:
                self._forget(known)
                told += [known.id, *known.told]
        others = [each for each in dict.fromkeys(told) if each != id]
        if short_name(name):
            self._add(Known(short_name(name), id, today, others[:MAX_TOLD]))

    def unverify(self, id: str) -> None:
        del self.verified[id]
        self.changed = True

    def _alike(self, shown: str) -> list[Known]:
        found = {known.name: known for key in keys(shown) if (known := self._by_key.get(key))}
        return list(found.values())

    def _is_safe(self, known: Known) -> bool:
        """Whether a name is never forgotten."""
        return known.id == self._own or known.id in self.verified

    def _add(self, known: Known) -> None:
        """Keeps it, if none that is kept looks like it; forgets others for that."""
        if self._alike(known.name):
            return
        if len(self._names_of.get(known.id, ())) >= MAX_NAMES_OF_ONE:
            self._forget(self._names_of[known.id][0])
        if len(self._known) >= MAX_KNOWN:
            unsafe = (each for each in self._known.values() if not self._is_safe(each))
            oldest = next(unsafe, None)
            if oldest is None:
                return
            self._forget(oldest)
        self._known[known.name] = known
        self._names_of.setdefault(known.id, []).append(known)
        self._by_key.update(dict.fromkeys(keys(known.name), known))

    def _forget(self, known: Known) -> None:
        del self._known[known.name]
        for key in keys(known.name):
            del self._by_key[key]
        self._names_of[known.id].remove(known)
        if not self._names_of[known.id]:
            del self._names_of[known.id]

    # ------------------------------------------------------------ what there is to say

    def _tell(self, known: Known, id: str, shown: str, now: float) -> str:
        if id in known.told or len(known.told) >= MAX_TOLD:
            return ""
        if not self._is_safe(known):
            if len(self._warned) == WARNINGS and now < self._warned[0] + WARNINGS_S:
                return ""
            self._warned.append(now)
        known.told.append(id)
        self.changed = True
        more = "; of any more you are not told" if len(known.told) == MAX_TOLD else ""
        return self._sentence(known, id, shown) + more

    def _sentence(self, known: Known, id: str, shown: str) -> str:
        digits = max(ID_DIGITS, digits_apart(known.id, id))
        is_verified = ", verified by you" if id in self.verified else ""
        who = f"calls themselves {shown} (id {id[:digits]}{is_verified})"
        is_same = shown == known.name
        its = f"id {known.id[:digits]}"
        if known.id == self._own:
            not_who = f"as you do ({its})" if is_same else f"which looks like your {known.name}"
        elif known.id in self.verified:
            looks = "" if is_same else "looks like, but is "
            return (
                f"SOMEBODY ELSE {who}: {looks}NOT the {known.name} whom you have verified ({its})"
            )
        else:
            looks = "not the" if is_same else "which looks like the"
            not_who = f"{looks} {known.name} known here since {known.since} ({its})"
        return f"ANOTHER KEY: somebody else {who}, {not_who}; /verify tells who is who"


def _is_date(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(_DATE, value) is not None


def _known_in(kept: Any) -> Known | None:
    """One of the file; None for what is none."""
    if not isinstance(kept, dict):
        return None
    name, told = kept.get("name"), kept.get("told", [])
    if not isinstance(name, str) or not is_id(kept.get("id")) or not _is_date(kept.get("since")):
        return None
    if not isinstance(told, list) or not all(map(is_id, told)) or not short_name(name):
        return None
    return Known(short_name(name), kept["id"], kept["since"], told[:MAX_TOLD])
