"""The completion: what may stand where a person presses Tab.

Each function gets the user and what is typed of the argument. It says where in that the word
begins that it completes, and what may stand there; all of it harmless, as it is put into the line.

Lives here: candidates. Never here: the line editor, what commands do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from settings import BELLS
from text import harmless

if TYPE_CHECKING:
    from user import User

Candidates = tuple[int, list[str]]
Complete = Callable[["User", str], Candidates]

MAX_FILES = 4096  # of a folder, looked at: a few milliseconds
WHENS = ("today", "yesterday", "1h", "30m", "7d")  # when.py says what else may be typed
_AFTER_SINCE = re.compile(r"(?:\A| )since (\S*)\Z")
# A mention begins with @, after a space or at the start; a name in it may have spaces.
_MENTION = re.compile(r"(?:\A|(?<=\s))@([^@\n]{0,64})\Z")


def nothing(user: User, typed: str) -> Candidates:
    return 0, []


def names(user: User, typed: str) -> Candidates:
    labels = map(user.roster.label, user.roster.others())
    return 0, [label for label in labels if label.casefold().startswith(typed.casefold())]


def hidden_names(user: User, typed: str) -> Candidates:
    return _labels(user, user.kept.settings.hidden, typed)


def verified_names(user: User, typed: str) -> Candidates:
    return _labels(user, user.kept.acquaintances.verified, typed)


def _labels(user: User, ids: Iterable[str], typed: str) -> Candidates:
    labels = [user.roster.label(bytes.fromhex(member)) for member in ids]
    return 0, [label for label in labels if label.casefold().startswith(typed.casefold())]


def of_a_history(user: User, typed: str) -> Candidates:
    """The words of its usage, and what belongs after them."""
    since = _AFTER_SINCE.search(typed)
    if since:
        return since.start(1), [when for when in WHENS if when.startswith(since[1])]
    before, word, name = typed.rpartition("from ")
    if word and (not before or before.endswith(" ")):
        return len(before + word), names(user, name)[1]
    start = typed.rfind(" ") + 1
    return start, [f"{word} " for word in ("from", "since") if word.startswith(typed[start:])]


def bells(user: User, typed: str) -> Candidates:
    return 0, [bell for bell in BELLS if bell.startswith(typed)]


def addresses(user: User, typed: str) -> Candidates:
    known = [str(entry.address) for entry in user.kept.book.entries()]
    return 0, [address for address in known if address.startswith(typed)]


def files(user: User, typed: str) -> Candidates:
    """Those whose names can't be shown as they are can't be typed either."""
    folder, _, start = typed.rpartition("/")
    place = os.path.expanduser(folder or ("/" if typed.startswith("/") else "."))
    try:
        with os.scandir(place) as entries:
            found = [entry.name + "/" * entry.is_dir() for entry in islice(entries, MAX_FILES)]
    except (OSError, ValueError):  # no folder, or a name that can be none
        return 0, []
    fitting = [name for name in sorted(found) if name.startswith(start) and name == harmless(name)]
    shown = [name for name in fitting if start or not name.startswith(".")]
    return len(typed) - len(start), shown


def in_a_post(user: User, before: str) -> Candidates:
    """Names: after @, of the last word, and at the start, where one is addressed."""
    mention = _MENTION.search(before)
    if mention:
        return mention.start(), [f"@{label} " for label in names(user, mention[1])[1]]
    start = max(before.rfind(space) for space in " \n") + 1
    end = " " if start else ": "
    typed = before[start:]
    return start, [f"{label}{end}" for label in names(user, typed)[1]] if typed else []
