"""The status: how things stand, for one line.

Lives here: what that line says of a node. Never here: how it is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import facts
from output import Status
from text import Names

if TYPE_CHECKING:
    from mesh import Mesh
    from node import Node

# What has to look at each log is looked at so often: a person sees no more.
LOOK_S = 0.25
# Who left so long ago is no longer waited for: whoever looked in once would be missing for good.
GONE_S = 600.0
NAMED = 3  # so many of those who lack something are named: it is one line


def receipt(have: int, missing: int, named: str, linked: bool) -> str:
    """Who has the newest post of one's own: so many, and so many not, who are `named`."""
    if not have:
        return "your last: on its way" if linked else "your last: kept here"
    if not missing:
        return f"your last: all {have} have it" if have > 1 else "your last: arrived"
    return f"your last: {have} of {have + missing} have it (missing: {named})"


class Standing:
    """How a node stands, looked at once a turn."""

    def __init__(self, node: Node, names: Names, log: bytes, sightings: facts.Sightings) -> None:
        """`log`: the one that it writes; what is in it already is no news. `names`: the same as
        wherever names are shown."""
        self._node, self._names, self._log, self._sightings = node, names, log, sightings
        self._before = node.mesh.frontier.get(log, 0)
        self._missing, self._look_at = 0, 0.0

    def deadline(self) -> float | None:
        """When to look again, though nothing more happens."""
        return self._look_at if self._missing else None

    def look(self, now: float, room: str, doing: str) -> Status:
        mesh = self._node.mesh
        if now >= self._look_at:
            self._missing, self._look_at = facts.missing(mesh), now + LOOK_S
        catching_up = f"catching up: {self._missing:,} to come" if self._missing else ""
        behind = [member for member, link in mesh.members.items() if link.lacking]
        return Status(
            room,
            len(mesh.members),
            self._named(behind),
            doing or catching_up,
            self._receipt(mesh, now),
        )

    def _receipt(self, mesh: Mesh, now: float) -> str:
        """Who has what was said in this run, and who of those that are here (through a peer,
        too), or left just now, has not."""
        newest = mesh.frontier.get(self._log, 0)
        if newest <= self._before:
            return ""
        has = {m: mesh.confirmed.get(m, {}).get(self._log, 0) >= newest for m in mesh.audience()}
        here = mesh.receipts.relayed().union(mesh.members)
        missing = [m for m in has if not has[m] and (m in here or not self._is_gone(m, now))]
        have = sum(has.values())
        return receipt(have, len(missing), self._named(missing), bool(mesh.members))

    def _is_gone(self, member: bytes, now: float) -> bool:
        left_at = self._sightings.left_at(member)
        return left_at is None or now >= left_at + GONE_S

    def _named(self, members: list[bytes]) -> str:
        called = facts.labels(self._node, self._names, members[:NAMED])
        more = len(members) - NAMED
        return ", ".join(called.values()) + (f" and {more} more" if more > 0 else "")
