"""The reach: where a node can be found, and how far its room goes.

    listening on 127.0.0.1  -->  only nodes on this machine can call it
    listening beyond that   -->  who can, is known once somebody has done it

The open room, whose secret is public, stays on this machine. In any other room, what a peer says
about addresses counts as far as the peer itself is away: who is found over the internet can send
nobody into a home's network, and who is found there can send nobody to a port of this machine.

A node learns where it is found from peers that have called it there, and from the addresses of its
machine. At which host they see it when it calls them, they may say as they like: that is for people
to read. Where it can be called there, they do so at once.

Lives here: which addresses are ours, and which count. Never here: sockets, files, dialing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from addresses import THIS_LINK, THIS_MACHINE, Address, scope_of

if TYPE_CHECKING:
    from mesh import Link, Mesh

# Of where a node is found: a home has two families, and a network of its own.
MAX_OWN = 4
# Of those, where only peers say that they have found it, what most of them say: a router has an
# address of each family. Who lies fills no invite with them.
MAX_TOLD = 2
# After so long with a peer, it would have called back, if it could: it tries four times in 4 s.
UNCALLED_S = 30.0


class Reach:
    """How far a node on `host` and `port` reaches. `port` 0: it does not listen."""

    def __init__(self, host: str, port: int, *, is_open: bool) -> None:
        self._host, self._port, self._is_open = host, port, is_open
        self._scope = scope_of(Address(host, port or 1))  # None: on all addresses
        self._said = False

    @property
    def stays(self) -> bool:
        """Whether nobody beyond this machine can call."""
        return self._scope == THIS_MACHINE

    def may_learn(self, address: tuple[str, int], over: tuple[str, int] | None) -> bool:
        """Whether an address counts that somebody at `over` tells of; None: the address book."""
        scope = scope_of(Address(*address)) if 0 < address[1] < 65536 else None
        if scope is None or (over is not None and scope == THIS_LINK):
            return False  # another machine's link is another link
        if self._is_open:
            return scope == THIS_MACHINE
        told_from = scope if over is None else scope_of(Address(*over))
        return told_from is not None and told_from <= scope

    def port_for(self, far: tuple[str, int]) -> int:
        """Where whoever is at `far` can call us back, as far as we know; 0: nowhere."""
        return 0 if self.stays and scope_of(Address(*far)) != THIS_MACHINE else self._port

    def own(self, mesh: Mesh | None, local: Callable[[], Iterable[str]]) -> list[Address]:
        """Where this node is found, the surest first. `mesh`: None before there is one. `local`:
        the hosts of this machine."""
        if not self._port:
            return []
        if self._scope is not None:
            found = [Address(self._host, self._port)]
        else:
            found = [Address(host, self._port) for host in local()]
        found.sort(key=lambda address: -(scope_of(address) or 0))
        told = _told(mesh, self.may_learn) if mesh is not None else []
        beyond = [each for each in told if each not in found][:MAX_TOLD]
        proven = [each for each in told if each in found or each in beyond]
        counted = [each for each in (*proven, *found) if self.may_learn(each, None)]
        if self.stays:
            counted = [each for each in counted if scope_of(each) == THIS_MACHINE]
        else:
            counted = [each for each in counted if scope_of(each) != THIS_MACHINE] or counted
        return list(dict.fromkeys(counted))[:MAX_OWN]

    def look_at(self, mesh: Mesh) -> float | None:
        """When to ask for `uncalled`, since a link came up; None: not as things are. Who was called
        once can be called."""
        links = _beyond(mesh)
        self._said = self._said or any(not link.dialed or link.finds_us for link in links)
        return (
            min(link.up_since for link in links) + UNCALLED_S if links and not self._said else None
        )

    def uncalled(self, mesh: Mesh, now: float) -> str | None:
        """Once, if that is so: that nobody beyond this machine can call, and what to do."""
        due_at = self.look_at(mesh)
        if due_at is None or now < due_at:
            return None
        self._said = True
        fine = "that is fine as long as some member can be called, for posts come through that"
        if self.stays or not self._port:
            return (
                f"nobody on other machines can call this node, which listens on {self._host} only; "
                f"{fine}; with --host :: it can be one of those"
            )
        return (
            "nobody can call this node, because of a router or a firewall, it seems; "
            f"{fine}; to be one of those, let the router pass port {self._port} on to this machine"
        )


def _told(mesh: Mesh, counts: Callable[[Address, Address], bool]) -> list[Address]:
    """Where peers say that they have found us, as far as they are away; what most say first."""
    said = [
        Address(*link.finds_us)
        for link in mesh.members.values()
        if link.finds_us is not None and counts(Address(*link.finds_us), Address(*link.address))
    ]
    return [address for address, _ in Counter(said).most_common()]


def _beyond(mesh: Mesh) -> list[Link]:
    """The links to other machines."""
    links = mesh.members.values()
    return [link for link in links if (scope_of(Address(*link.address)) or 0) > THIS_MACHINE]
