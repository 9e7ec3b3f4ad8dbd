"""The roster: whom the names of a room belong to.

Lives here: from a member to what it is called, and back. Never here: tables, sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

import facts
from text import Names

if TYPE_CHECKING:
    from node import Node

# Of whom a name is looked for, and completed: who is linked, and those who spoke last. More
# would cost a read each, and a turn has 20 ms.
MAX_MEMBERS = 1000
# So many digits of an id that somebody has are meant as such, whatever others call themselves.
SURE_DIGITS = 8
# The start of an id that can stand for a name: as many digits as are shown where names clash.
_ID = "[0-9a-f]{4,64}"


class Roster:
    """Who is called what, on this node."""

    def __init__(self, node: Node, names: Names, once: Callable[[str], str]) -> None:
        """`names`: the same as wherever names are shown. `once`: what who has an id, and is not
        known by now, was called once."""
        self._node, self._names, self._once = node, names, once

    def label(self, member: bytes) -> str:
        """What a member is called wherever it is shown."""
        name = facts.name_of(self._node, member) or self._once(member.hex())
        return self._names.label_of(name, member.hex())

    def others(self) -> list[bytes]:
        """All but us; who is linked first, then who spoke last."""
        known = islice(facts.known_members(self._node), MAX_MEMBERS)
        return [member for member in known if member != self._node.mesh.me]

    def find(self, name: str) -> list[bytes]:
        """Whom a person may mean: by the label on screen, the name, or the start of the id."""
        members = [self._node.mesh.me, *self.others()]
        names = {member: facts.name_of(self._node, member) for member in members}
        for member in members:
            self.label(member)  # from here on those whose names clash are told apart
        folded, start = name.casefold(), name.lower()
        is_id = re.fullmatch(_ID, start) is not None
        by_id = [member for member in members if is_id and member.hex().startswith(start)]
        for found in (
            by_id if len(start) >= SURE_DIGITS else [],
            [member for member in members if self.label(member) == name],
            [member for member in members if names[member] == name],
            [member for member in members if names[member].casefold() == folded],
            by_id,
        ):
            if found:
                return found
        return []

    def among(self, ids: Iterable[str], name: str) -> list[str]:
        """Whom of these a person may mean, by the same means. Any of them may be unknown by now."""
        members = {id: bytes.fromhex(id) for id in ids}
        return [
            id
            for id, member in members.items()
            if name in (self.label(member), facts.name_of(self._node, member))
            or id.startswith(name.lower())
        ]
