"""The receipts: who has our posts on disk, also where there is no link between us.

    a peer's Have ---------------------------> confirmed --> audience, ShowConfirmed
    a Receipt that a peer passes on to us --/
    what we have of who is linked to a peer of ours, and not to us --> SendReceipt
    a peer's Receipt, of logs of others that are linked to us -------> passed on to those

Members that can't be linked (both at home behind NAT) talk through peers that are linked to
both. A Have acknowledges over a link alone, so such a member signs a Receipt: no peer can claim
that it has what it has not. It goes one peer far, to authors alone, and so never in circles.

TWO WAYS. A receipt goes over the first RELAYS of the peers that are linked to the author, so that
one that dies loses nothing. What those have not heard of an author (they, or it, have just come)
they are told of all its logs. A receipt has all logs of its authors that fit, not only what is
new: the newest one says all.

LARGE ROOMS have none: there each of thousands would sign for each. So who has more peers than a
small room has members signs none and passes none on. What a peer lies there turns off no more
than its own part in this.

Lives here: what receipts say, who is told, and when. Never here: keys, links, messages of other
kinds, I/O, `time`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import protocol
from events import Action, CheckReceipt, SendReceipt, ShowConfirmed
from protocol import Fork, Frontier, Head, Log, Receipt

if TYPE_CHECKING:  # not covered: for its type alone
    from mesh import Link

# A person sees no difference, and a member of a small room signs 4 times a second at most.
RECEIPT_S = 0.25
# Peers that an author is told through: the second one for when the first one dies.
RELAYS = 2
# Members of whom we remember which of our posts they have on disk, though they are away.
MAX_RECEIPTS = 1024
# Logs of ours that a member may say it has, 100 bytes each, and we have not: far more than a
# disk that broke can have lost.
MAX_OWN_LOGS = 4096
# Members whose receipts one link is told: twice as many as there are in a small room. The last
# one of each is remembered.
MAX_PASSED = 64
NEVER = float("inf")


class Receipts:
    """What members have on disk: of ours, and what we have of theirs. `now` is the same clock as
    the mesh's."""

    def __init__(
        self,
        log: Log,
        frontier: Frontier,
        forks: Mapping[Log, Fork],
        members: Mapping[bytes, Link],
        max_links: int,
        do: Callable[[Action], None],
    ) -> None:
        """`log`: the one we write. `frontier`, `forks` and `members` (who is linked now) are kept
        up to date by the mesh. `do` takes the actions."""
        self.confirmed: dict[bytes, Frontier] = {}  # member -> our own logs it has on disk
        self.at = NEVER  # when `send` is due, if all is on the platter then
        self._last = -NEVER
        self._moved: dict[Log, None] = {}  # of which more is stored than authors were told
        self._log, self._me = log, log[: protocol.MEMBER_BYTES]
        self._frontier = frontier
        self._forks = forks
        self._members = members
        self._max_links = max_links
        self._do = do

    # ------------------------------------------------------------ what others have of ours

    def confirm(self, member: bytes, heads: Iterable[Head]) -> None:
        """`member` says that it has these logs of ours on disk."""
        own = self.confirmed.setdefault(member, {})
        before = own.get(self._log, 0)
        for log, seq, _ in heads:
            # What we have lost of older logs they may be about to give back.
            if log in self._frontier or log in own or len(own) < MAX_OWN_LOGS:
                own[log] = max(self._believed(log, seq), own.get(log, 0))
        after = own.get(self._log, 0)
        if after > before:
            confirmed = tuple((m, logs.get(self._log, 0)) for m, logs in self.confirmed.items())
            self._do(ShowConfirmed(before, after, confirmed))

    def _believed(self, log: Log, seq: int) -> int:
        """Nobody has more of the log that we write than there is."""
        return min(seq, self._frontier.get(log, 0)) if log == self._log else seq

    def audience(self) -> dict[bytes, bool]:
        """Who is here, or has been linked since we run; of each whether it has every entry of
        ours on disk."""
        mine = [(log, seq) for log, seq in self._frontier.items() if log.startswith(self._me)]
        members = dict.fromkeys([*self.confirmed, *sorted(self.relayed())])
        return {
            member: all(self.confirmed.get(member, {}).get(log, 0) >= seq for log, seq in mine)
            for member in members
        }

    def relayed(self) -> frozenset[bytes]:
        """Who is here, not linked to us, and can be told through a peer."""
        linked = frozenset[bytes]().union(*(link.linked for link in self._relays()))
        return linked - self._members.keys() - {self._me}

    # ------------------------------------------------------------ links that come and go

    def told_peers(self, link: Link, now: float) -> None:
        """`link.linked` is news."""
        if link.reported:
            link.reported &= frozenset(link.linked)
        unheard = frozenset(link.linked) - link.reported - self._members.keys() - {self._me}
        if unheard and len(link.linked) <= self._max_links:
            self._soon(now + RECEIPT_S)  # most often a link to them comes before

    def gone(self, member: bytes, now: float) -> None:
        """Its link has ended: what was not acknowledged over that may find another way."""
        receipts = self.confirmed.pop(member, None)
        if receipts is not None:
            # Without those for what we don't hold.
            held = {log: seq for log, seq in receipts.items() if log in self._frontier}
            self.confirmed[member] = held
        self._forget()
        for link in self._members.values():
            if member in link.reported:
                link.reported -= {member}
            if link.is_linked_to(member):
                self._soon(now + RECEIPT_S)

    def _forget(self) -> None:
        """All of who has been away longest, where there are too many (anybody in the room can
        make members without end)."""
        if len(self.confirmed) > MAX_RECEIPTS:
            del self.confirmed[next(m for m in self.confirmed if m not in self._members)]

    # ------------------------------------------------------------ what we have of others

    def stored(self, log: Log, now: float) -> None:
        """More of a log of another one."""
        author = _author(log)
        if author in self._members or author == self._me or log in self._forks:
            return
        if any(link.is_linked_to(author) for link in self._relays()):
            self._moved[log] = None
            self._soon(now)

    def drained(self, link: Link, now: float) -> None:
        """It takes more again."""
        if self._moved:
            self._soon(now)
        self.told_peers(link, now)

    def _soon(self, at: float) -> None:
        self.at = min(self.at, max(at, self._last + RECEIPT_S))

    def send(self, now: float) -> None:
        """What authors have to be told. All that is stored must be on the platter."""
        self.at, self._last = NEVER, now
        ways = self._ways()
        self._moved = {log: None for log in self._moved if _author(log) in ways}
        moved = {_author(log) for log in self._moved}
        links: dict[bytes, list[int]] = {}  # that each author is told through
        due: dict[bytes, bool] = {}  # and whether to tell of all its logs
        for author, relays in ways.items():
            for link in relays:
                unheard = author not in link.reported
                if unheard or author in moved:
                    links.setdefault(author, []).append(link.id)
                    due[author] = unheard or due.get(author, False)
                    link.reported |= {author}
        heads = self._heads_of(due)
        if heads:
            authors = dict.fromkeys(_author(log) for log, _, _ in heads)  # others have said nothing
            needed = dict.fromkeys(link for author in authors for link in links[author])
            self._do(SendReceipt(tuple(needed), heads))
        if any(_author(log) in due for log in self._moved):
            self._soon(now)  # there was no room for those

    def _heads_of(self, due: dict[bytes, bool]) -> tuple[Head, ...]:
        """First what is news, then as many others as fit."""
        logs = [log for log in self._frontier if _author(log) in due] if due else []
        self._moved |= {log: None for log in logs if due[_author(log)]}
        news = [log for log in self._moved if _author(log) in due]
        first = dict.fromkeys([*news, *logs])
        told = [log for log in first if log not in self._forks][: protocol.MAX_RECEIPT_LOGS]
        done = {*told, *self._forks}
        self._moved = {log: None for log in self._moved if log not in done}
        return tuple(Head(log, self._frontier[log]) for log in told)

    def _relays(self) -> list[Link]:
        """Peers that pass receipts on: in a large room nobody is to."""
        if len(self._members) > self._max_links:
            return []
        return [link for link in self._members.values() if len(link.linked) <= self._max_links]

    def _ways(self) -> dict[bytes, list[Link]]:
        """The authors that are here and not linked to us, and the peers that they are told
        through; no peers where all have enough to read already."""
        ways: dict[bytes, list[Link]] = {author: [] for author in sorted(self.relayed())}
        for link in self._relays():
            for author, relays in ways.items():
                if link.is_linked_to(author) and len(relays) < RELAYS and not link.clogged:
                    relays.append(link)
        return ways

    # ------------------------------------------------------------ receipts of others

    def received(self, link: Link, receipt: Receipt) -> None:
        """Nobody pays for the signature of one that changes nothing."""
        if self._is_news(link, receipt) or self._to_tell(link, receipt):
            self._do(CheckReceipt(link.id, receipt))

    def proven(self, link: Link, receipt: Receipt) -> list[Link]:
        """It is signed. Returns the links that have something to pass on."""
        if self._is_news(link, receipt):
            self.confirm(receipt.member, self._own(receipt))
            self._forget()
        told = self._to_tell(link, receipt)
        for each in told:
            each.passing[receipt.member] = receipt  # in the place of an older one
            each.passed.pop(receipt.member, None)
            each.passed[receipt.member] = {
                log: seq for log, seq, _ in receipt.heads if _author(log) == each.member
            }
            if len(each.passed) > MAX_PASSED:
                forgotten = next(iter(each.passed))
                del each.passed[forgotten]
                each.passing.pop(forgotten, None)
        return told

    def _own(self, receipt: Receipt) -> list[Head]:
        return [head for head in receipt.heads if head.log.startswith(self._me)]

    def _is_news(self, link: Link, receipt: Receipt) -> bool:
        """For us: of who is linked to the peer alone, as that says itself. Of any other there is
        a better source."""
        member = receipt.member
        if member in self._members or member == self._me or not link.is_linked_to(member):
            return False
        own = self.confirmed.get(member, {})
        return any(self._believed(log, seq) > own.get(log, 0) for log, seq, _ in self._own(receipt))

    def _to_tell(self, link: Link, receipt: Receipt) -> list[Link]:
        """The links of the authors to whom it is news, if it comes from its very member."""
        if receipt.member != link.member or len(self._members) > self._max_links:
            return []
        found: dict[int, Link] = {}
        for log, seq, _ in receipt.heads:
            author = self._members.get(_author(log), link)
            if author is not link and seq > author.passed.get(receipt.member, {}).get(log, 0):
                found[author.id] = author
        return list(found.values())


def _author(log: Log) -> bytes:
    return log[: protocol.MEMBER_BYTES]
