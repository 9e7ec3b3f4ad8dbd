"""The mesh: whom to link to, what to send to whom, what to store and what to show.

    handle(event, now) -> [action]      deadline() -> the next `now` at which to be asked

It does nothing itself: `Node` performs the actions, and tells what came of them with further
events. Time and random numbers are handed in, so the same events give the
same actions, to the byte.

LINKS. Which addresses are dialed, and when, is up to `Contacts`. When TLS has proven which
member is there, the dialer says Hello, unless it is linked to that member already, or to as
many as it wants: then it only came to prove the address, and closes. Of two links between two
nodes, the one dialed by the smaller id stays; a link of an earlier run of the other node
(another `instance`) never. Who is linked to as many as it can answers a Hello with its Peers,
so that the caller knows where else to go, and a Bye.

COPIES. Two nodes may have one key: somebody runs a copy of a data folder. Each writes a log of its
own, so nothing is lost. But of two instances that take turns only the later one is linked to, and
the other one is told why.

ADDRESSES TRAVEL. A Hello tells the port to call back on. Every node tells its peers whom
it is linked to, with the addresses that it has itself dialed and found right. (So only a member
that lies can have others dial where nobody is, and that is bounded: RUMOURS in contacts.py.) Who
hears of a member it isn't linked to dials it: the smaller id at once, the larger one only if that
did not happen.

ENTRIES. A fresh link exchanges frontiers (Have). Each end then streams what the other
lacks, oldest first (`Backlog`), as fast as the link takes it: the journal is the queue. A new entry
goes at once to every link, but for those peers that are linked to the one it came from:
they have it from there, and get it from us only if they have not said so in time. In a
large room some links, at random, get it at once, and the others in the same way.
A Have is sent for what is on the platter, so it also acknowledges: at once to the author, who
waits for that, and to all others a little later, many entries at a time. Where there is no link, a
signed Receipt does, that a peer passes on (`Receipts`).

THE USER may end a link. Then its member is neither dialed nor let in, until the user names an
address of it again; what it says still comes through others.

Lives here: decisions and what they need to remember. Never here: sockets, files, `time`,
the global `random`, iterating over a set.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, ClassVar

import protocol
from addresses import site_of
from backlog import Backlog, is_share
from contacts import HEARSAY_S, NEVER, Contacts, show
from events import (
    Action,
    Address,
    AddressDeleted,
    AddressLearned,
    CallersRefused,
    CloseLink,
    DisconnectAsked,
    EntriesSent,
    EntryFound,
    Event,
    FindEntry,
    ForkKept,
    JournalSynced,
    KeepFork,
    KeepRuns,
    Left,
    LinkClosed,
    LinkDrained,
    LinkHeard,
    LinkOpened,
    LinkSecured,
    MessageReceived,
    MessageSent,
    NameLookedUp,
    NickTyped,
    PostsTyped,
    ReceiptProven,
    RememberAddress,
    RoundTripsAsked,
    RunHeld,
    RunParted,
    RunRefused,
    RunsKept,
    RunStored,
    SendEntries,
    SendMessage,
    ShowLink,
    ShowNotice,
    ShowPosts,
    StoreRun,
    SyncJournal,
    TimePassed,
    WriteEntries,
)
from protocol import (
    COPIED,
    NO_MARK,
    Bye,
    Entries,
    Entry,
    Fork,
    Frontier,
    Have,
    Head,
    Hello,
    Log,
    Peer,
    Peers,
    Ping,
    Pong,
    Receipt,
)
from receipts import Receipts

# A full mesh up to here: 32 nodes that start at once on two processors are linked, all to all, in
# 4 s, half of which are their starts; 31 idle links cost a node 1 MB and six heartbeats a second.
# Twice as many would take four times as long. Above it, a node dials until it has this many: a
# random graph that stays connected (HyParView, Leitao 2007, needs log10(n) + 1).
MAX_LINKS = 32
# How many times that a node is linked to at most. If all of a growing room dial MAX_LINKS, each
# has twice as many in the mean; with as many again, newcomers find most of them with room.
MAX_LINKS_FACTOR = 3
# To so many an entry of others is passed on at once, in a large room: of those that this
# leaves out by chance (0.03 %, e^-8), each has it RELAY_S later.
EAGER = 8
# Ten times what a handshake takes over a slow satellite link.
HANDSHAKE_S = 10.0
# Members of whom a Peers tells: of all, unless somebody has raised these limits.
MAX_TOLD = MAX_LINKS_FACTOR * MAX_LINKS
# Half-open links of callers that have knocked: these hold the secret. (Others wait at the door.)
# A full one makes room by dropping the oldest of the largest crowd.
MAX_OPENING = 64
# A link over which no message came is asked each PING_S; one over which not a byte came is
# dead at DEAD_S: within the 15 s promised. (A long message over a slow line takes longer.)
PING_S = 5.0
DEAD_S = 12.0
# Where one is asked, so are all whose time comes this soon: to look at each link takes 1 us, and at
# 1,000 of them, whenever one was due, a third of a processor.
PINGS_S = 1.0
# Entries of others are synced, and acknowledged, in groups: at the latest after this.
SYNC_S = 0.1
# So long what is sound, but can't be shown before something else comes, is held in memory only;
# then it is stored as it is, told and passed on. In step (Backlog) what it waits for comes sooner,
# and who is caught up pays for the 5,000 entries that are held once a second.
KEEP_S = 1.0
# Links come in bursts: one Peers message tells of all of a burst.
PEERS_S = 0.05
# In a full one each of these takes a quarter of a millisecond, and each tells each: so they grow
# rarer as there are more, with the square, that it costs no more than in a room of ten. (While 32
# came together there were 7,600 of them with PEERS_S, and are 2,600: a third of all their work.)
PEERS_FULL_S = 0.5
# In a large room somebody comes or goes all the time, and nobody needs to know at once.
PEERS_LARGE_S = 1.0
# What its author has just sent us is no news to our other peers, most of which it has sent it, too.
# That we have it they are told so rarely. (With SYNC_S this was half of the work of 33 nodes.)
NEWS_S = 0.5
# Longer than SYNC_S, NEWS_S and a round trip: a peer that has an entry has said so by then.
RELAY_S = 1.0
# What was said this long before a link came up, to a node that was there, is live: it is
# what somebody says who starts, says it, and finds us, in one breath.
LIVE_S = 2.0
# A link that lived this long was a good one: its address starts again without back-off.
GOOD_LINK_S = 5.0
# What a peer may have us remember about logs, 100 bytes each. A room with more of them
# sends some entries once more than needed; nothing is lost.
MAX_LOGS_TOLD = 4096
# Members of whom we remember what they are called, though they are away: as many as are
# remembered by the receipts.
MAX_CALLED = 1024
# Members of whom one copy of the id is kept, of those that peers tell of: a room of thousands.
MAX_IDS = 8192
# Members to whom our user wants no link: more than a person names. The first ones are forgotten.
MAX_REFUSED = 256
# Members of whom we remember an instance that another one has taken the place of.
MAX_REPLACED = 256
# One notice about strangers in so long a time, with a count of the others.
STRANGERS_S = 10.0

# So many notices in so long about what members do wrong, a screenful: each can do it without end.
BLAMES, BLAMES_S = 20, 60.0

_NO_HISTORY = (0, range(0))
_NOBODY: frozenset[bytes] = frozenset()  # one for all: each has 0.2 KB

_COPY = (
    "a copy of your data folder must not run beside it; stop one of them, or give it a folder of "
    "its own with --data"
)

# ---------------------------------------------------------------- state


class Link:
    """What is known of one link."""

    def __init__(self, id: int, address: Address, dialed: bool, opened: float) -> None:
        self.id = id
        self.address = address  # that was dialed, or that the call came from
        self.dialed = dialed
        self.opened = opened
        self.member: bytes | None = None  # once TLS is through
        self.greeted = False  # we have said Hello
        self.hello: Hello | None = None  # theirs; with both, the link is up
        self.up_since = 0.0
        self.heard = 0.0  # a message; or when it was last asked for one
        self.alive = 0.0  # a byte
        self.told_all = False  # their first frontier is complete
        self.linked: tuple[bytes, ...] = ()  # members they say they are linked to, in order
        self.finds_us: Address | None = None  # where they have called us themselves, as they say
        self.pinged: float | None = None  # when it was asked for the Pong that is to come
        self.round_trip_s: float | None = None  # of the last Pong
        self.sent: Frontier = {}  # what they have or were sent
        self.ahead: Frontier = {}  # what they have, and we have not
        self.lacking = Backlog()  # logs to stream
        self.deferred: dict[Log, float] = {}  # logs they have from others
        self.untold: dict[Log, None] = {}  # to acknowledge at the next sync after `tell_at`
        self.tell_at = NEVER
        self.parted: dict[Log, None] = {}  # forks shown to them
        self.telling: list[Have | Fork] = []  # first frontier, proofs (a deque is 0.8 KB)
        self.reported = _NOBODY  # authors linked to them, told our receipts
        self.passing: dict[bytes, Receipt] = {}  # of others, to pass on to them
        self.passed: dict[bytes, Frontier] = {}  # what each of those said
        self.feeding = False  # a SendEntries, or an answered SendMessage, is being performed
        self.clogged = False

    @property
    def up(self) -> bool:
        return self.hello is not None and self.greeted

    @property
    def listening(self) -> Address:
        """Where its member can be called, as far as it has said."""
        if self.dialed or self.hello is None or not self.hello.port:
            return self.address
        return (self.address[0], self.hello.port)

    def is_linked_to(self, member: bytes) -> bool:
        """As they say. (A set of 32 has 2 KB, and this takes 0.15 us more.)"""
        at = bisect_left(self.linked, member)
        return at < len(self.linked) and self.linked[at] == member

    def deadline(self) -> float:
        if not self.up:
            return self.opened + HANDSHAKE_S
        due = min(self.heard + PING_S, self.alive + DEAD_S)
        return min(due, *self.deferred.values()) if self.deferred else due


class Mesh:
    """One node's part of the mesh. All its state is here."""

    def __init__(
        self,
        log: Log,
        name: str,
        port: int,
        instance: int,
        random: Random,
        frontier: Frontier,
        forks: dict[Log, Fork],
        named: bool,
        started: float,
        started_ms: int,
        marks: dict[Log, bytes] | None = None,
        max_links: int = MAX_LINKS,
        may_learn: Callable[[Address, Address | None], bool] = lambda address, over: True,
        port_for: Callable[[Address], int] | None = None,
    ) -> None:
        """`log`: the one we write, 40 bytes. `named`: our latest NAME entry says `name`.
        `frontier`, its `marks` and `forks`: of the journal, at the start. `started`,
        `started_ms`: the start, by the clock of `handle` (s) and by the wall clock (ms since
        1970). `may_learn`: see Contacts. `port_for`: on which port who is there can call us back;
        if not given, everybody can on `port`."""
        self.me = log[: protocol.MEMBER_BYTES]
        self.log = log
        self.name = name
        self.port = port
        self.frontier = dict(frontier)
        self.marks = dict(marks or {})  # of the last entry of each log
        self.forks = dict(forks)
        self.links: dict[int, Link] = {}
        self.members: dict[bytes, Link] = {}  # links that are up, by who is there
        self.refused: dict[bytes, None] = {}  # to whom our user wants no link
        self.contacts = Contacts(self.members, max_links, random, may_learn, self._do, self.refused)
        self.was_called = False  # by a member, so we can be reached
        self.receipts = Receipts(log, self.frontier, self.forks, self.members, max_links, self._do)
        self.confirmed = self.receipts.confirmed  # member -> our own logs it has on disk
        self.called: dict[bytes, str] = {}  # what each member said in its last Hello
        self._instance = instance
        self._replaced: dict[bytes, int] = {}  # the instance of a member before the one it has
        # By whom it was said that another node uses our key: by a peer, which may lie, or by it.
        self._copy_told = self._copy_met = False
        self._port_for = port_for or (lambda address: port)
        self._random = random
        self._named = named
        self._max_links = max_links
        self._started, self._started_ms = started, started_ms
        # Entries up to a seq are history, unless their time (ms) is in a range.
        self._history = {log: (seq, range(0)) for log, seq in frontier.items()}
        self._sync_at = self._keep_at = self._peers_at = self._news_at = NEVER
        self._blamed: deque[float] = deque(maxlen=BLAMES)  # when
        self._unblamed = 0  # of which nothing was said
        self._ids: dict[bytes, bytes] = {}  # of members that peers have told of
        self._strangers = 0
        self._strangers_at = float("-inf")
        self._actions: list[Action] = []
        self._now = 0.0
        self._links_at = NEVER  # no link is due before; raised only when that time has come

    # ------------------------------------------------------------ the two entrances

    def handle(self, event: Event, now: float) -> list[Action]:
        """What to do about `event`, in order. `now`: seconds of a clock that only rises."""
        self._now = now
        self._HANDLERS[type(event)](self, event)
        actions, self._actions = self._actions, []
        return actions

    def deadline(self) -> float | None:
        """When TimePassed is due, at the latest. What is heard puts much off and changes
        nothing here: then TimePassed comes early, and finds nothing to do."""
        at = min(self._links_at, self._sync_at, self._keep_at, self._peers_at)
        at = min(at, self.contacts.deadline())
        if not self.unsynced:  # else they have to wait for that
            at = min(at, self.receipts.at, self._news_at)
        return None if at == NEVER else at

    @property
    def unsynced(self) -> bool:
        """Whether JournalSynced would be news."""
        return self._sync_at != NEVER

    def audience(self) -> dict[bytes, bool]:
        """See Receipts."""
        return self.receipts.audience()

    def confirmed_by(self) -> int:
        """How many members have every entry of ours on disk."""
        return sum(self.audience().values())

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    # ------------------------------------------------------------ addresses

    def _address_learned(self, event: AddressLearned) -> None:
        contact = self.contacts.known.get(event.address)
        if event.source == "you" and contact is not None and contact.member is not None:
            self.refused.pop(contact.member, None)
        self.contacts.learn(event.address, event.source, event.member, self._now)

    def _address_deleted(self, event: AddressDeleted) -> None:
        self.contacts.delete(event.address, self._now)

    def _name_looked_up(self, event: NameLookedUp) -> None:
        self.contacts.looked_up(event.address, event.found, event.reason, self._now)

    # ------------------------------------------------------------ links

    def _link_opened(self, event: LinkOpened) -> None:
        link = Link(event.link, event.address, event.dialed, self._now)
        self.links[link.id] = link
        self._links_at = min(self._links_at, link.deadline())
        if event.dialed:
            self.contacts.opened(event.address, link.id)
            return
        opening = [other for other in self.links.values() if not (other.dialed or other.up)]
        if len(opening) > MAX_OPENING:
            sites = Counter(site_of(other.address[0]) for other in opening)
            most = max(sites.values())
            oldest = next(each for each in opening if sites[site_of(each.address[0])] == most)
            self._strangers_came(oldest.address, "too many at once")
            self._close(oldest)

    def _link_secured(self, event: LinkSecured) -> None:
        link = self.links.get(event.link)
        if link is None:
            return
        link.member = event.member
        if not link.dialed:
            self.was_called = self.was_called or event.member != self.me
            return  # the dialer speaks first, or has only come to prove our address
        if event.member == self.me:
            self._greet(link)  # is it us, or a copy of us?
            return
        contact, news = self.contacts.proven(link.address, link.id, event.member)
        self._do(RememberAddress(link.address, contact.source, event.member, answered=True))
        if news:
            self._tell_peers(in_haste=not contact.vouched)
        if event.member in self.refused:
            if contact.wanted:
                self._notice(f"{show(link.address)} is a member that you have disconnected")
            self._refuse(link)
            return
        greeted = any(other.greeted for other in self._links_to(event.member))
        if greeted or not (contact.wanted or contact.exploring or self._wants_more()):
            self._close(link)
        else:
            self._greet(link)

    def _wants_more(self) -> bool:
        """Whether there are fewer links than are wanted, with those that are about to be."""
        return sum(link.up or link.greeted for link in self.links.values()) < self._max_links

    def _links_to(self, member: bytes) -> list[Link]:
        return [link for link in self.links.values() if link.member == member]

    def _greet(self, link: Link) -> None:
        link.greeted = True
        port = self._port_for(link.address)
        hello = Hello(self.name, port, self._instance, seen=link.address[0])
        self._do(SendMessage(link.id, hello))

    def _on_hello(self, link: Link, hello: Hello) -> None:
        member = link.member
        if link.hello is not None or member is None or hello.version < 1:
            self._fault(link, "a hello out of place")
            return
        if member == self.me:
            self._on_own_hello(link, hello)
            return
        if member in self.refused:
            self._refuse(link)
            return
        if member in self.members and self._replaced.get(member) == hello.instance:
            self._refuse_copy(link, hello)
            return
        link.hello = hello
        for other in self._links_to(member):
            if other is not link and other.greeted:
                loser = self._loser(other, link)
                self._close(loser, swap=True)
                if loser is link:
                    return
        if member not in self.members and not self._has_room(link):
            self._do(SendMessage(link.id, self._peers()))
            self._do(SendMessage(link.id, Bye("full: linked to as many as it can")))
            self._close(link)
            if link.dialed:
                self.contacts.failed(link.address, "full", self._now, reached=True)
            return
        if not link.greeted:
            self._greet(link)
        self._is_up(link, member, hello)

    def _on_own_hello(self, link: Link, hello: Hello) -> None:
        """Who is there has our key: it is us, or a copy."""
        is_copy = hello.instance != self._instance
        if is_copy:
            if not self._copy_met:
                self._notice(f"another node at {show(link.address)} uses your key: {_COPY}")
            self._copy_met = True
        if not link.dialed and link.greeted:
            self._fault(link, "a second hello")
        elif not link.dialed:
            self._greet(link)  # so the dialer knows, too, and closes
        else:
            self._close(link)
            if is_copy:
                self.contacts.failed(link.address, COPIED, self._now, reached=True)
            elif self.contacts.is_us(link.address):
                self._notice(f"{show(link.address)} is this very node")

    def _is_told_of_copy(self, link: Link) -> None:
        if not (self._copy_told or self._copy_met):
            self._notice(f"{show(link.address)} says that another node uses your key: {_COPY}")
        self._copy_told = True

    def _refuse_copy(self, link: Link, hello: Hello) -> None:
        """Two instances of a member take turns: both are alive."""
        self._blame(
            f"{_called(hello, link)} is not let in: another node uses the same key, and is "
            "linked already; somebody runs a copy of a data folder"
        )
        self._do(SendMessage(link.id, Bye(COPIED)))
        self._close(link)
        if link.dialed:
            self.contacts.failed(link.address, COPIED, self._now, reached=True)

    def _disconnect_asked(self, event: DisconnectAsked) -> None:
        self.refused[event.member] = None
        if len(self.refused) > MAX_REFUSED:
            del self.refused[next(iter(self.refused))]
        for link in self._links_to(event.member):
            self._refuse(link)

    def _refuse(self, link: Link) -> None:
        self._do(SendMessage(link.id, Bye("its user has ended the link")))
        self._close(link, "disconnected")

    def _has_room(self, link: Link) -> bool:
        """Whether one more member may be linked. One whom our user named always may: the
        newest of those whom nobody named goes instead. For one whom we have dialed the newest
        caller goes: callers alone must not decide whom a node is linked to. And for one who calls
        the newest of a larger crowd: a member can have as many keys as there are places."""
        if len(self.members) < MAX_LINKS_FACTOR * self._max_links:
            return True
        named = self._is_named(link)
        anybody = named or link.dialed
        crowd = None if anybody else self._larger_crowd(link)
        for other in reversed(self.members.values()):
            may_go = not self._is_named(other) and (named or not other.dialed)
            if may_go and (anybody or site_of(other.address[0]) == crowd):
                self._make_room(other)
                return True
        return False

    def _larger_crowd(self, link: Link) -> str | None:
        """Whence most callers are linked, if that are more than with `link` come from its site."""
        sites = Counter(
            site_of(each.address[0]) for each in self.members.values() if not each.dialed
        )
        crowds = sites.most_common(1)
        site = crowds[0][0] if crowds else None
        return (
            site if site is not None and sites[site] > sites[site_of(link.address[0])] + 1 else None
        )

    def _make_room(self, link: Link) -> None:
        self._do(SendMessage(link.id, Bye("full: it has to make room")))
        self._close(link, "had to make room")

    def _exchange_for(self, link: Link) -> None:
        """`link` came of exploring: another one, that was dialed as well, goes for it. Where
        there are not many, all stay: a room that is hardly large comes to rest."""
        others = [
            other
            for other in self.members.values()
            if other is not link and other.dialed and not self._is_named(other)
        ]
        if others and len(self.members) > self._max_links * 3 // 2:
            self._make_room(self._random.choice(others))

    def _is_named(self, link: Link) -> bool:
        """By what is proven: any caller can claim to listen where our user's friend does."""
        contact = self.contacts.known.get(link.listening)
        if contact is None or not contact.wanted:
            return False
        return link.dialed or (contact.proven and contact.member == link.member)

    def _loser(self, old: Link, new: Link) -> Link:
        assert new.hello is not None and new.member is not None
        if old.hello is not None and old.hello.instance != new.hello.instance:
            self._replaced.pop(new.member, None)
            self._replaced[new.member] = old.hello.instance
            if len(self._replaced) > MAX_REPLACED:
                del self._replaced[next(iter(self._replaced))]
            return old  # of an earlier run of theirs
        if old.dialed == new.dialed:
            return old
        mine, theirs = (old, new) if old.dialed else (new, old)
        return theirs if self.me < new.member else mine

    def _is_up(self, link: Link, member: bytes, hello: Hello) -> None:
        swapped = member in self.members
        self.members[member] = link
        link.up_since = link.heard = link.alive = self._now
        self._links_at = min(self._links_at, link.deadline())
        self._is_called(member, hello.name)
        if not swapped:
            self._do(ShowLink("up", member, hello.name, link.listening))
        if self.unsynced:
            self._do(SyncJournal())  # for what the frontier acknowledges
        link.telling.extend(_first_haves(self._heads(self.frontier)))
        link.telling.extend(self.forks.values())
        self._feed(link)
        if self._is_large():  # the others are told later
            self._do(SendMessage(link.id, self._peers()))
        self._tell_peers()
        if link.dialed:
            if self.contacts.is_up(link.address):
                self._exchange_for(link)
        elif hello.port:
            self.contacts.called_from((link.address[0], hello.port), member, self._now, PEERS_S)

    def _is_called(self, member: bytes, name: str) -> None:
        self.called.pop(member, None)
        self.called[member] = name
        if len(self.called) > MAX_CALLED:
            del self.called[next(other for other in self.called if other not in self.members)]

    def _close(self, link: Link, reason: str = "", *, swap: bool = False) -> None:
        self._do(CloseLink(link.id))
        self._gone(link, reason, swap=swap)

    def _gone(self, link: Link, reason: str, *, swap: bool = False) -> None:
        """`swap`: another link to the same member takes its place."""
        del self.links[link.id]
        if not self.links:
            self._links_at = NEVER
        if link.dialed:
            self.contacts.ended(link.address, link.id, self._now)
        if link.member is None or self.members.get(link.member) is not link or swap:
            return
        del self.members[link.member]
        self.receipts.gone(link.member, self._now)
        assert link.hello is not None
        self._do(ShowLink("down", link.member, link.hello.name, link.listening, reason))
        self._tell_peers()
        good = self._now - link.up_since >= GOOD_LINK_S
        self.contacts.lost(link.member, reason, self._now, was_good=good)

    def _link_closed(self, event: LinkClosed) -> None:
        link = self.links.get(event.link)
        if link is None:
            return
        if event.fault and link.up:
            self._fault(link, event.reason)
            return
        was_up = link.up
        if not was_up and not link.dialed and (event.fault or link.member is None):
            self._strangers_came(link.address, event.reason)
        self._gone(link, event.reason)
        if link.dialed and not was_up:
            reached = link.member is not None
            self.contacts.failed(link.address, event.reason, self._now, reached=reached)

    def _fault(self, link: Link, reason: str) -> None:
        """The far end broke the protocol: one notice, and the link ends."""
        self._blame(f"{_called(link.hello, link)} sent {reason}; link closed")
        self._do(SendMessage(link.id, Bye(f"you sent {reason}")))
        was_up = link.up
        self._close(link, f"sent {reason}")
        if link.dialed and not was_up:
            self.contacts.failed(link.address, reason, self._now, reached=link.member is not None)

    def _callers_refused(self, event: CallersRefused) -> None:
        self._strangers_came(event.address, event.reason, event.callers)

    def _strangers_came(self, address: Address, reason: str, count: int = 1) -> None:
        """`address`, `reason`: of one of them."""
        self._strangers += count
        if self._now >= self._strangers_at + STRANGERS_S:
            more = self._strangers - 1
            others = f" (and {more} other{'s' * (more > 1)})" if more else ""
            self._notice(f"a caller from {address[0]} did not get in: {reason}{others}")
            self._strangers, self._strangers_at = 0, self._now

    # ------------------------------------------------------------ messages

    def _message_received(self, event: MessageReceived) -> None:
        link = self.links.get(event.link)
        if link is None:
            return
        link.heard = link.alive = self._now
        message = event.message
        if isinstance(message, Hello):
            self._on_hello(link, message)
        elif isinstance(message, Bye):
            if message.reason == COPIED:
                self._is_told_of_copy(link)
            self._link_closed_by(link, message.reason)
        elif isinstance(message, Peers) and link.dialed and link.greeted:
            self._on_peers(link, message)  # also where that and a Bye are all that it answers
        elif not link.up:
            self._fault(link, f"{type(message).__name__} before its Hello")
        elif isinstance(message, Entries):
            self._do(StoreRun(link.id, message.run))
        elif isinstance(message, Have):
            self._on_have(link, message)
        elif isinstance(message, Peers):
            self._on_peers(link, message)
        elif isinstance(message, Ping):
            self._do(SendMessage(link.id, Pong()))
        elif isinstance(message, Fork):
            self._do(KeepFork(link.id, message))
        elif isinstance(message, Receipt):
            self.receipts.received(link, message)
        elif link.pinged is not None:  # a Pong; nobody has asked for any other
            link.round_trip_s, link.pinged = self._now - link.pinged, None

    def _link_heard(self, event: LinkHeard) -> None:
        link = self.links.get(event.link)
        if link is not None:
            link.alive = self._now

    def _link_closed_by(self, link: Link, reason: str) -> None:
        self._do(CloseLink(link.id))
        self._link_closed(LinkClosed(link.id, reason))

    def _on_have(self, link: Link, have: Have) -> None:
        assert link.member is not None
        own: list[Head] = []
        for log, seq, mark in have.heads:
            held = self.frontier.get(log, 0)
            if seq == held and NO_MARK != mark != self.marks.get(log, mark):
                self._show_ours(link, log, seq)
                continue
            if seq > held and not link.told_all and len(self._history) < MAX_LOGS_TOLD:
                self._history[log] = (seq, self._just_now_ms())
            before = link.sent.get(log, 0)
            if held or log in link.sent or len(link.sent) < MAX_LOGS_TOLD:
                if seq > held:
                    link.ahead[log] = max(seq, link.ahead.get(log, 0))
                if seq > before:
                    link.sent[log] = seq
                    link.lacking.moved(log)
            if seq >= held:
                link.deferred.pop(log, None)
            elif seq > before and log in link.deferred:
                # It comes from elsewhere, and has not all come yet. (In a flood each of eight
                # peers was sent everything almost three times.)
                link.deferred[log] = self._now + RELAY_S
            if log.startswith(self.me):
                own.append(Head(log, seq))
        self.receipts.confirm(link.member, own)
        if have.last and not link.told_all:
            link.told_all = True
            for log, seq in self.frontier.items():
                if link.sent.get(log, 0) < seq:
                    link.lacking.add(log)
            self._feed(link)

    def _on_peers(self, link: Link, peers: Peers) -> None:
        link.linked = tuple(sorted({self._one_copy(peer.member) for peer in peers.peers}))
        self.receipts.told_peers(link, self._now)
        ours = (peer[1:] for peer in peers.peers if peer.member == self.me and peer.host)
        link.finds_us = next(ours, None)
        told = [
            ((host, port), member, 0.0 if self.me < member else HEARSAY_S)
            for member, host, port in peers.peers
            if host and port and member != self.me
        ]
        assert link.member is not None
        self.contacts.hear(told, link.address, link.member, self._now)

    def _heads(self, logs: Iterable[Log]) -> list[Head]:
        return [Head(log, self.frontier[log], self.marks.get(log, NO_MARK)) for log in logs]

    def _one_copy(self, member: bytes) -> bytes:
        """The same id, and the same object each time: in a large room a thousand peers tell of the
        same members, 96 each, which would be 6 KB for each peer."""
        if len(self._ids) >= MAX_IDS:
            self._ids.clear()
        return self._ids.setdefault(member, member)

    def _is_large(self) -> bool:
        return len(self.members) > self._max_links

    def _tell_peers(self, *, in_haste: bool = True) -> None:
        """`in_haste`: else most know it already, from somebody else."""
        wait_s = max(PEERS_S, PEERS_FULL_S * (len(self.members) / self._max_links) ** 2)
        if self._is_large():
            wait_s = PEERS_LARGE_S
        patience_s = 0.0 if in_haste else self.contacts.proof_s()
        self._peers_at = min(self._peers_at, self._now + max(wait_s, patience_s))

    def _peers(self) -> Peers:
        linked = list(self.members)[:MAX_TOLD]
        where = self.contacts.where(linked)
        return Peers(tuple(Peer(member, *where.get(member, ("", 0))) for member in linked))

    # ------------------------------------------------------------ entries

    def _posts_typed(self, event: PostsTyped) -> None:
        bodies = []
        if not self._named or not self.frontier.get(self.log):
            bodies.append((protocol.NAME, self.name.encode()))
            self._named = True
        bodies += protocol.pack_bursts(event.texts)
        self._do(WriteEntries(tuple(bodies), event.time_ms))

    def _nick_typed(self, event: NickTyped) -> None:
        self.name, self._named = event.name, True
        self._do(WriteEntries(((protocol.NAME, event.name.encode()),), event.time_ms))

    def _run_stored(self, event: RunStored) -> None:
        source = self.links.get(event.link) if event.link is not None else None
        self.frontier[event.log] = event.seq
        self.marks[event.log] = event.mark
        if event.placed:
            self._show(event.placed)
        if event.link is not None:
            self._sync_at = min(self._sync_at, self._now + SYNC_S)
            self._news_at = min(self._news_at, self._now)
        self.receipts.stored(event.log, self._now)
        if source is not None:
            source.sent[event.log] = max(event.seq, source.sent.get(event.log, 0))
        tell_at = self._now + NEWS_S * self._is_said_now(source, event)
        lack: list[Link] = []  # it, and not about to get it from its source
        for link in self.members.values():
            if link.ahead.get(event.log, 0) <= event.seq:
                link.ahead.pop(event.log, None)
            if event.link is not None:
                link.untold[event.log] = None
                link.tell_at = min(link.tell_at, self._now if link is source else tell_at)
            if not link.told_all or link.sent.get(event.log, 0) >= event.seq:
                continue
            if source is not None and source.member and link.is_linked_to(source.member):
                self._defer(link, event.log)
            else:
                lack.append(link)
        if source is not None and len(lack) > EAGER:
            self._random.shuffle(lack)
            while len(lack) > EAGER:
                self._defer(lack.pop(), event.log)
        for link in lack:
            link.lacking.add(event.log)
            self._feed(link)

    def _is_said_now(self, source: Link | None, event: RunStored) -> bool:
        """Its author has sent it as it was said. (Of what somebody catches up with, all who send
        it have to know at once, or they would send the same.)"""
        return (
            source is not None
            and event.log[: protocol.MEMBER_BYTES] == source.member
            and event.seq > self._history.get(event.log, _NO_HISTORY)[0]
        )

    def _run_held(self, event: RunHeld) -> None:
        self._keep_at = min(self._keep_at, self._now + KEEP_S)

    def _runs_kept(self, event: RunsKept) -> None:
        if event.more:
            self._keep_at = self._now

    def _defer(self, link: Link, log: Log) -> None:
        at = link.deferred.setdefault(log, self._now + RELAY_S)
        self._links_at = min(self._links_at, at)

    def _show(self, placed: tuple[Entry, ...]) -> None:
        self._do(ShowPosts(placed, tuple(self.are_history(placed))))

    def _just_now_ms(self) -> range:
        """What a new peer has from a time in here is live, though it was there before the
        link was. A wrong clock can only make it history, and what is pushed over a link
        that is up is live by any clock."""
        now_ms = self._started_ms + int((self._now - self._started) * 1000)
        live_ms = int(LIVE_S * 1000)
        return range(max(self._started_ms, now_ms - live_ms), now_ms + live_ms)

    def are_history(self, entries: Sequence[Entry]) -> list[bool]:
        """Of each, whether it was written before this node could have seen it live."""
        known = self._history
        return [
            entry.seq <= (told := known.get(entry.log, _NO_HISTORY))[0]
            and entry.time_ms not in told[1]
            for entry in entries
        ]

    def _feed(self, link: Link) -> None:
        """Sends the next piece of what is long, if `link` can take one now: of the first
        frontier, of the proofs of forks, of others' receipts, of the entries that it lacks."""
        if link.feeding or link.clogged:
            return
        if link.telling:
            message = link.telling.pop(0)
            # The last Have needs no answer: the outbox has room for it and a run as well.
            link.feeding = bool(link.telling) or isinstance(message, Fork)
            self._do(SendMessage(link.id, message, answered=link.feeding))
        if link.passing and not link.feeding:
            receipt = link.passing.pop(next(iter(link.passing)))
            link.feeding = True
            self._do(SendMessage(link.id, receipt, answered=True))
        while link.lacking and not (link.feeding or link.clogged):
            log, is_to_be_found = link.lacking.next()
            sent = link.sent.get(log, 0)
            if sent >= self.frontier[log]:
                link.lacking.drop(log)
                continue
            link.feeding = True
            if is_to_be_found:
                self._do(FindEntry(link.id, log, sent + 1))
            else:
                self._do(SendEntries(link.id, log, sent, link.lacking.window))

    def _stands(self, link: Link, log: Log, number: int) -> None:
        is_ours = is_share(log, self.me, link.linked)
        link.lacking.stands(log, number, is_ours=is_ours)

    def _entry_found(self, event: EntryFound) -> None:
        link = self.links.get(event.link)
        if link is not None:
            link.feeding = False
            self._stands(link, event.log, event.number)
            self._feed(link)

    def _entries_sent(self, event: EntriesSent) -> None:
        link = self.links.get(event.link)
        if link is None:
            return
        link.feeding, link.clogged = False, event.clogged
        if event.seq <= link.sent.get(event.log, 0):
            link.lacking.drop(event.log)  # nothing left that we may pass on
        link.sent[event.log] = max(event.seq, link.sent.get(event.log, 0))
        if event.next:
            self._stands(link, event.log, event.next)
        self._feed(link)

    def _message_sent(self, event: MessageSent) -> None:
        link = self.links.get(event.link)
        if link is not None:
            link.feeding, link.clogged = False, event.clogged
            self._feed(link)

    def _link_drained(self, event: LinkDrained) -> None:
        link = self.links.get(event.link)
        if link is not None:
            link.clogged = False
            if self.unsynced:
                link.tell_at = self._now
            else:
                self._acknowledge(link)
            self.receipts.drained(link, self._now)
            self._feed(link)

    def _receipt_proven(self, event: ReceiptProven) -> None:
        link = self.links.get(event.link)
        if link is not None:
            for told in self.receipts.proven(link, event.receipt):
                self._feed(told)

    def _run_refused(self, event: RunRefused) -> None:
        link = self.links.get(event.link)
        if link is not None:
            self._fault(link, event.reason)

    def _run_parted(self, event: RunParted) -> None:
        if event.placed:
            self._show(event.placed)
        link = self.links.get(event.link)
        if link is None or event.log in self.forks:
            return
        if event.proof is not None:
            self._do(KeepFork(link.id, event.proof))
        else:
            self._show_ours(link, event.log, event.seq)

    def _show_ours(self, link: Link, log: Log, seq: int) -> None:
        """Theirs has, or follows, another entry `seq` than ours: with ours they have proof."""
        if log in link.parted or log in self.forks:
            return
        link.parted[log] = None
        link.sent[log] = seq - 1
        link.lacking.add(log)
        self._feed(link)

    def _fork_kept(self, event: ForkKept) -> None:
        if event.placed:
            self._show(event.placed)
        if event.proof is None:
            return
        self.forks[event.log] = event.proof
        author = event.log[:4].hex()
        self._notice(f"member {author}... has forked its log: it has said two things as one")
        for link in self.members.values():
            link.telling.append(event.proof)
            self._feed(link)

    def _journal_synced(self, event: JournalSynced) -> None:
        self._sync_at = NEVER
        self._tell_news()
        self._send_receipts()

    def _tell_news(self) -> None:
        """To those whose time has come. All must be on the platter."""
        for link in self.members.values():
            if link.tell_at <= self._now:
                self._acknowledge(link)
        self._news_at = min((link.tell_at for link in self.members.values()), default=NEVER)

    def _send_receipts(self) -> None:
        if self.receipts.at <= self._now and not self.unsynced:
            self.receipts.send(self._now)

    def _acknowledge(self, link: Link) -> None:
        """Tells what is on the platter. A link that is clogged is told once it drains, and
        all at once: else who never reads would be queued a Have for each turn."""
        link.tell_at = NEVER
        if link.clogged:
            return
        heads = self._heads(link.untold)
        link.untold.clear()
        haves = [
            Have(tuple(heads[start : start + protocol.MAX_HAVE_LOGS]))
            for start in range(0, len(heads), protocol.MAX_HAVE_LOGS)
        ]
        if len(haves) > 1:  # more than an outbox holds, perhaps: as fast as the link takes it
            link.telling.extend(haves)
            self._feed(link)
        elif haves:
            self._do(SendMessage(link.id, haves[0]))

    # ------------------------------------------------------------ time, and the end

    def _time_passed(self, event: TimePassed) -> None:
        if self._links_at <= self._now:
            is_asking = any(self._now >= link.heard + PING_S for link in self.members.values())
            for link in list(self.links.values()):
                self._check(link, self._now + PINGS_S * is_asking)
            self._links_at = min((link.deadline() for link in self.links.values()), default=NEVER)
        if self._keep_at <= self._now:
            self._keep_at = NEVER
            self._do(KeepRuns())
        if self._sync_at <= self._now:
            self._news_at = NEVER  # until JournalSynced comes
            self._sync_at = NEVER
            self._do(SyncJournal())
        elif self._news_at <= self._now and not self.unsynced:
            self._tell_news()
        if self._peers_at <= self._now:
            self._peers_at = NEVER
            peers = self._peers()
            for link in self.members.values():
                self._do(SendMessage(link.id, peers))
        self._send_receipts()
        self.contacts.dial(self._now)

    def _check(self, link: Link, ask_by: float) -> None:
        """`ask_by`: which Pings, due by then, go out now."""
        for log in _due(link.deferred, self._now):
            del link.deferred[log]
            link.lacking.add(log)
        if not link.up:
            if self._now >= link.opened + HANDSHAKE_S:
                self._do(CloseLink(link.id))
                reason = f"did not finish the handshake in {HANDSHAKE_S:.0f} s"
                self._link_closed(LinkClosed(link.id, reason))
            return
        self._feed(link)
        if self._now >= link.alive + DEAD_S:
            self._close(link, f"not heard for {DEAD_S:.0f} s")
        elif ask_by >= link.heard + PING_S:
            link.heard = self._now
            self._ping(link)

    def _ping(self, link: Link) -> None:
        if link.pinged is None:  # else the next Pong answers the Ping before this one
            link.pinged = self._now
        self._do(SendMessage(link.id, Ping()))

    def _round_trips_asked(self, event: RoundTripsAsked) -> None:
        for link in self.members.values():
            if link.pinged is None:
                self._ping(link)

    def _left(self, event: Left) -> None:
        self.contacts.leave()
        if not self.unsynced:
            self.receipts.send(self._now)
        for link in list(self.links.values()):
            if link.up:
                self._do(SendMessage(link.id, Bye("goodbye")))
            self._do(CloseLink(link.id))
            del self.links[link.id]
        self.members.clear()

    def _notice(self, text: str) -> None:
        self._do(ShowNotice(text))

    def _blame(self, text: str) -> None:
        """A notice about what a member did, unless there were too many of them just now."""
        if len(self._blamed) == BLAMES and self._now < self._blamed[0] + BLAMES_S:
            self._unblamed += 1
            return
        more = f" ({self._unblamed:,} more such things were not told)" if self._unblamed else ""
        self._unblamed = 0
        self._blamed.append(self._now)
        self._notice(f"{text}{more}")

    _HANDLERS: ClassVar[dict[type, Callable[[Mesh, Any], None]]] = {
        AddressLearned: _address_learned,
        AddressDeleted: _address_deleted,
        NameLookedUp: _name_looked_up,
        LinkOpened: _link_opened,
        LinkSecured: _link_secured,
        MessageReceived: _message_received,
        LinkHeard: _link_heard,
        LinkDrained: _link_drained,
        LinkClosed: _link_closed,
        CallersRefused: _callers_refused,
        RunStored: _run_stored,
        RunHeld: _run_held,
        RunsKept: _runs_kept,
        RunRefused: _run_refused,
        RunParted: _run_parted,
        ForkKept: _fork_kept,
        ReceiptProven: _receipt_proven,
        EntryFound: _entry_found,
        EntriesSent: _entries_sent,
        MessageSent: _message_sent,
        JournalSynced: _journal_synced,
        PostsTyped: _posts_typed,
        NickTyped: _nick_typed,
        DisconnectAsked: _disconnect_asked,
        RoundTripsAsked: _round_trips_asked,
        TimePassed: _time_passed,
        Left: _left,
    }


def _called(hello: Hello | None, link: Link) -> str:
    """Who is at the far end, in a notice: with the id, since anybody can have any name."""
    id = f" (id {link.member[:4].hex()})" if link.member is not None else ""
    return f"{hello.name[:40] if hello else 'a node'}{id} at {show(link.address)}"


def _first_haves(heads: list[Head]) -> Iterator[Have]:
    """A whole frontier, in as many messages as it takes, at least one."""
    for start in range(0, max(1, len(heads)), protocol.MAX_HAVE_LOGS):
        end = start + protocol.MAX_HAVE_LOGS
        yield Have(tuple(heads[start:end]), last=end >= len(heads))


def _due(times: dict[Log, float], now: float) -> list[Log]:
    return [log for log, at in times.items() if at <= now]
