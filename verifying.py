"""The verifying: two people compare a number by voice, and that it was the same is kept.

    /verify bob          shows the safety number (identity.py) of us and bob, and asks
    /verify bob NUMBER   compares it with what bob has read out
    /verify              who is verified

Lives here: what a person is shown and asked about that. Never here: who is meant by a name
(roster.py), files (acquaintances.py).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import facts
from acquaintances import ID_DIGITS, MAX_VERIFIED
from identity import SAFETY_DIGITS, safety_number

if TYPE_CHECKING:
    from user import User

# A number as it is typed, in groups or not; what stands before it is a name, which may itself end
# with a few digits.
_WHOLE = re.compile(rf"(.*?)\s*((?:[0-9]\s*){{{SAFETY_DIGITS}}})", re.DOTALL)
_PART = re.compile(r"(.+?)\s+([0-9][0-9\s]*)", re.DOTALL)


def name_and_number(user: User, argument: str) -> tuple[str, str]:
    """The two parts of what was typed; the number is "" if there is none."""
    found = _WHOLE.fullmatch(argument)
    if not found and not user.roster.find(argument):
        found = _PART.fullmatch(argument)
    return (found[1], "".join(found[2].split())) if found else (argument, "")


def tell_who_is_verified(user: User) -> None:
    verified = user.kept.acquaintances.verified
    rows: list[tuple[str, ...]] = [
        (user.roster.label(bytes.fromhex(id)), id[:ID_DIGITS], since)
        for id, since in verified.items()
    ]
    if rows:
        user.output.table(("name", "id", "verified on"), rows)
    else:
        user.output.info(["nobody is verified yet; /verify NAME shows the number to compare"])


def compare(user: User, member: bytes, number: str) -> None:
    """With the number that the other one has read out, and our user typed."""
    right = safety_number(user.room.id, user.member, member)
    if number == right.replace(" ", ""):
        _keep(user, member)
    elif len(number) != SAFETY_DIGITS:
        user.output.error(
            f"a safety number has {SAFETY_DIGITS} digits, and that has {len(number)}; "
            "nothing is kept"
        )
    else:
        user.output.warning(
            f"that is NOT your safety number with {user.roster.label(member)}, which is {right}: "
            "a digit is wrong, or somebody stands between you; nothing is kept"
        )


def ask_to_compare(user: User, member: bytes) -> None:
    called, id = user.roster.label(member), member.hex()
    since = user.kept.acquaintances.verified.get(id)
    user.output.info(
        [
            f"your safety number with {called}:",
            f"    {safety_number(user.room.id, user.member, member)}",
            f"{called} gets one by /verify and your name. Read them to each other by voice, not "
            "in here: if they are the same, nobody stands between you.",
        ]
    )

    def answered(yes: bool) -> None:
        if yes:
            _keep(user, member)
        else:
            user.output.info([f"not verified; /verify {id[:ID_DIGITS]} NUMBER does it later"])

    if since is None:
        user.ask(f"does {called} see the same number?", answered)
    else:
        user.output.info([f"verified on {since}"])


def _keep(user: User, member: bytes) -> None:
    called, id = user.roster.label(member), member.hex()
    known = user.kept.acquaintances
    if len(known.verified) >= MAX_VERIFIED and id not in known.verified:
        user.output.error(f"{MAX_VERIFIED} members are verified; /unverify some of them first")
        return
    known.verify(id, facts.name_of(user.node, member), time.strftime("%Y-%m-%d"))
    user.output.info([f"{called} is verified: {id[:ID_DIGITS]} is the right key"])
    user.kept.save_acquaintances()


def take_back(user: User, name: str) -> bool:
    """Whether anybody called so was verified."""
    ids = user.roster.among(user.kept.acquaintances.verified, name)
    for id in ids:
        user.kept.acquaintances.unverify(id)
        user.output.info([f"{user.roster.label(bytes.fromhex(id))} is no longer verified"])
    user.kept.save_acquaintances()
    return bool(ids)
