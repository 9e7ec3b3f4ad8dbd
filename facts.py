"""The facts: what a person may ask about members, peers and addresses, gathered when asked.

    node, sightings --> facts (here) --> tables (commands.py), sentences (doctor.py)

Each function looks, and changes nothing. `now` is the clock of the node's mesh.

Lives here: looking, and the little that somebody has to note down meanwhile (`Sightings`).
Never here: sentences, layout, clocks (times are handed in), actions.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import addresses
import protocol
from records import Record
from text import Names

if TYPE_CHECKING:
    from contacts import Contact
    from events import Address
    from mesh import Link, Mesh
    from node import Node

# Members of whom is noted what was seen of them: as many as the mesh keeps receipts of. Any
# more are only listed without it.
MAX_SIGHTINGS = 1024
# Posts by which a clock is judged: enough that one of them was hardly delayed, and few enough
# that a clock that is put right is soon believed.
CLOCK_POSTS = 8
# Who has left us has left the others, too, most of the time. They say so a second later at the
# latest (PEERS_LARGE_S of mesh.py).
NEWS_S = 2.0


class PeerFacts(Record):
    """One link."""

    member: bytes
    label: str
    address: Address  # where its member listens, as far as it has said
    dialed: bool  # by us
    round_trip_s: float | None
    heard_s: float  # so long ago
    received_bytes: int
    sent_bytes: int
    lacks: int  # entries that we hold, and have not sent to it yet
    ahead: int  # entries that it holds, and we have not got yet
    finds_us: Address | None  # where it has called us itself
    sees_us: str  # at which host; "" if it does not say


class MemberFacts(Record):
    """One member of the room. Times are in seconds ago; None: not known."""

    member: bytes
    label: str
    own: bool
    linked: bool
    refused: bool  # our user wants no link to it
    left_s: float | None  # the end of its last link with us, since we run
    said_s: float | None  # its last entry, by its own clock: it may lie in the future
    through: str  # the label of a peer that says it is linked to it, where we are not; "": nobody


class DialFacts(Record):
    """An address that is of no use yet."""

    address: Address
    named: bool  # by a person
    label: str  # of who is there, or is said to be; "" if nobody knows
    linked: bool  # its member is all the same: it has called us
    is_self: bool
    failures: int  # in a row
    failure: str  # the reason of the last one
    failed_s: float  # so long ago


class ClockFacts(Record):
    """By how much a member's clock is behind ours; less than 0: ahead of it."""

    label: str
    behind_s: float


class NetFacts(Record):
    """All that tells how well this node is connected."""

    host: str
    port: int  # 0: it does not listen
    was_called: bool  # by any member, since it runs
    peers: tuple[PeerFacts, ...]
    dials: tuple[DialFacts, ...]
    clocks: tuple[ClockFacts, ...]
    refused: tuple[str, ...]  # the labels of those to whom our user wants no link
    missing: int  # entries that peers have, and we have not


class _Last(Record):
    """The last entry of an author."""

    order: tuple[int, int]  # in the room
    log: bytes
    seq: int


class Sightings:
    """What was seen of members since we run, and is written nowhere else."""

    def __init__(self) -> None:
        self._left: dict[bytes, float] = {}
        self._behind_ms: dict[bytes, deque[int]] = {}
        self._called: dict[bytes, str] = {}

    def called(self, member: bytes, name: str) -> str | None:
        """It calls itself so from here on; what it did before, if that is known and another."""
        before = self._called.pop(member, None)
        self._called[member] = name
        if len(self._called) > MAX_SIGHTINGS:
            del self._called[next(iter(self._called))]
        return None if before == name else before

    def left(self, member: bytes, now: float) -> None:
        """Its link has ended."""
        self._left.pop(member, None)
        self._left[member] = now
        if len(self._left) > MAX_SIGHTINGS:
            del self._left[next(iter(self._left))]

    def said(self, author: bytes, behind_ms: int) -> None:
        """An entry came from its linked author, live, dated so far behind our clock."""
        posts = self._behind_ms.pop(author, deque(maxlen=CLOCK_POSTS))
        posts.append(behind_ms)
        self._behind_ms[author] = posts
        if len(self._behind_ms) > MAX_SIGHTINGS:
            del self._behind_ms[next(iter(self._behind_ms))]

    def left_at(self, member: bytes) -> float | None:
        return self._left.get(member)

    def clocks_s(self) -> dict[bytes, float]:
        """How far each clock is behind ours. What delays a post makes that larger, never
        smaller, so the least delayed one is right."""
        return {author: min(posts) / 1000 for author, posts in self._behind_ms.items()}


# ---------------------------------------------------------------- names


def name_of(node: Node, member: bytes) -> str:
    """What a member calls itself: in the room, or else to us."""
    if member == node.mesh.me:
        return node.mesh.name
    name = node.journal.name_of(member)
    return node.mesh.called.get(member, "") if name is None else name


def labels(node: Node, names: Names, members: list[bytes]) -> dict[bytes, str]:
    """What each is called on screen. `names`: the same as wherever names are shown, so that who
    is told apart there from somebody else is so here as well."""
    called = [(member, name_of(node, member)) for member in members]
    for member, name in called:
        names.label_of(name, member.hex())
    return {member: names.label_of(name, member.hex()) for member, name in called}


# ---------------------------------------------------------------- members


def known_members(node: Node) -> list[bytes]:
    """Us, who is linked, who is linked to one of those, then all others that have ever said
    anything or been linked since we run; who spoke last comes first."""
    return _known(node, _last_entries(node))


def _last_entries(node: Node) -> dict[bytes, _Last]:
    last: dict[bytes, _Last] = {}
    for log, seq in node.mesh.frontier.items():
        author = log[: protocol.MEMBER_BYTES]
        found = _Last(node.journal.last_order(log), log, seq)
        last[author] = max(found, last.get(author, found))
    return last


def _known(node: Node, last: dict[bytes, _Last]) -> list[bytes]:
    through = _through(node)
    others = sorted(last, key=last.__getitem__, reverse=True)
    here = [member for member in others if member in through]
    mesh = node.mesh
    order = [mesh.me, *mesh.members, *here, *sorted(through), *others, *mesh.confirmed]
    return list(dict.fromkeys(order))


def _through(node: Node) -> dict[bytes, bytes]:
    """Who is here, though not linked to us: a peer says it is linked to it."""
    return {
        member: peer
        for peer, link in node.mesh.members.items()
        for member in link.linked
        if member != node.mesh.me and member not in node.mesh.members
    }


def of_members(
    node: Node, names: Names, sightings: Sightings, now: float, wall_ms: int, limit: int
) -> tuple[list[MemberFacts], int]:
    """The first `limit` of the known members, and how many more there are."""
    last = _last_entries(node)
    members = _known(node, last)
    shown = members[:limit]
    through = _through(node)
    called = labels(node, names, list(dict.fromkeys([*shown, *through.values()])))
    found = []
    for member in shown:
        left = sightings.left_at(member)
        peer = through.get(member) if left is None or now - left >= NEWS_S else None
        said_s = None
        if member in last:
            _, log, seq = last[member]
            (entry,) = node.journal.entries(log, seq - 1, seq)
            said_s = (wall_ms - entry.time_ms) / 1000
        found.append(
            MemberFacts(
                member,
                called[member],
                own=member == node.mesh.me,
                linked=member in node.mesh.members,
                refused=member in node.mesh.refused,
                left_s=None if left is None else now - left,
                said_s=said_s,
                through=called[peer] if peer else "",
            )
        )
    return found, len(members) - len(shown)


def member_at(node: Node, address: Address) -> bytes | None:
    """Who is there, as far as we know: a member that is linked first."""
    for member, link in node.mesh.members.items():
        if address in (link.address, link.listening):
            return member
    contact = node.mesh.contacts.known.get(address)
    return None if contact is None else contact.member


# ---------------------------------------------------------------- links


def of_peers(node: Node, names: Names, now: float) -> list[PeerFacts]:
    called = labels(node, names, list(node.mesh.members))
    found = []
    for member, link in node.mesh.members.items():
        lacks, ahead = behind(node.mesh, link)
        wire = node.connections[link.id].link
        found.append(
            PeerFacts(
                member,
                called[member],
                link.listening,
                link.dialed,
                link.round_trip_s,
                now - link.alive,
                wire.received_bytes,
                wire.sent_bytes,
                lacks,
                ahead,
                link.finds_us if link.finds_us and _is_host(link.finds_us[0]) else None,
                link.hello.seen if link.hello and _is_host(link.hello.seen) else "",
            )
        )
    return found


def _is_host(said: str) -> bool:
    """Whether what a peer says is a number at all: it may say anything, and a person reads it."""
    return addresses.scope_of(addresses.Address(said, 1)) is not None


def behind(mesh: Mesh, link: Link) -> tuple[int, int]:
    """How many entries the far end lacks that were not sent to it yet, and how many we lack
    of what it has."""
    unsent = {*link.lacking, *link.deferred}
    lacks = sum(max(0, mesh.frontier.get(log, 0) - link.sent.get(log, 0)) for log in unsent)
    return lacks, sum(_ahead(mesh, link).values())


def _ahead(mesh: Mesh, link: Link) -> dict[bytes, int]:
    """Of each log how many entries it has and we have not: but for forked ones, of which it
    may hold a branch that we never take."""
    return {
        log: seq - mesh.frontier.get(log, 0)
        for log, seq in link.ahead.items()
        if log not in mesh.forks
    }


def missing(mesh: Mesh) -> int:
    """How many entries peers say that there are, and we have not got yet."""
    most: dict[bytes, int] = {}
    for link in mesh.members.values():
        for log, count in _ahead(mesh, link).items():
            most[log] = max(count, most.get(log, 0))
    return sum(most.values())


# ---------------------------------------------------------------- the whole


def of_net(
    node: Node, names: Names, sightings: Sightings, now: float, host: str, port: int
) -> NetFacts:
    """`host` and `port`: where this node listens; port 0: nowhere."""
    mesh = node.mesh
    clocks = sightings.clocks_s()
    contacts = [contact for contact in mesh.contacts.known.values() if _fails(mesh, contact)]
    there = [contact.member for contact in contacts if contact.member is not None]
    everybody = list(dict.fromkeys([*mesh.members, *clocks, *mesh.refused, *there]))
    called = labels(node, names, everybody)
    return NetFacts(
        host,
        port,
        mesh.was_called,
        tuple(of_peers(node, names, now)),
        tuple(_of_dial(mesh, contact, called, now) for contact in contacts),
        tuple(ClockFacts(called[author], behind_s) for author, behind_s in clocks.items()),
        tuple(called[member] for member in mesh.refused),
        missing(mesh),
    )


def _fails(mesh: Mesh, contact: Contact) -> bool:
    """Whether there is something to say about an address: we dial it in vain."""
    if contact.is_self:
        return contact.named
    if contact.proven and contact.member in mesh.members:
        return False
    return contact.failures > 0 and bool(contact.failure) and contact.member not in mesh.refused


def _of_dial(mesh: Mesh, contact: Contact, called: dict[bytes, str], now: float) -> DialFacts:
    return DialFacts(
        contact.address,
        contact.named,
        called[contact.member] if contact.member is not None else "",
        contact.member in mesh.members,
        contact.is_self,
        contact.failures,
        contact.failure,
        now - contact.failed_at,
    )
