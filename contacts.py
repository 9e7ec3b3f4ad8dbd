"""The contacts: every address that the mesh knows of, and which of them is dialed when.

    told of an address --+                        +--> scheduled: dialed at `next_try`
    a member's own port -+--> known --> `failed`, |
    hearsay -------------+    `ended`, `lost` ----+--> spare: worth a dial, but not now

ENOUGH. While a node has fewer links than it wants (`max_links`), it dials all that it hears
of, those who failed with back-off. In a small room that ends in a full mesh. In a large one it
ends with enough links; what is heard of beyond them is a spare. Where links are missing, as
many spares are dialed, picked at random. So the graph of a room is a random one of bounded
degree, which stays in one piece whoever leaves (HyParView, Leitao 2007).

EXPLORING. A room whose network was cut in two for long may have enough links on both sides.
So from time to time a node with enough links and spares dials any of these all the same; if
it has many, the mesh ends another link for it: which also mixes the graph.

NAMES. The host of an address may be a name. To dial it is to look it up; what that leads to is
dialed like what a peer told of. As long as it leads to nobody who is linked, it is looked up again:
who is there may have moved.

AN END. What a user named is dialed until it answers, and as long as there are not enough links,
for ever, but ever more rarely. What nobody answers at for a day, while others can be reached, is
let go.

RUMOURS. What peers tell of is true, most of the time. But a member that lies could have a whole
room dial whatever port of whomever it likes. So of dials to where nobody was ever found there are
RUMOURS at first, and then one each RUMOUR_S: as long as they are in vain. And the peers take turns
in what is dialed of what they told, so that who tells many lies delays only what nobody else tells.

WHO COMES FIRST. What a user named is dialed at once, MAX_NAMED_DIALS of it. Then comes where a peer
has found somebody: half of the places are kept for that, so that a book full of dead addresses
keeps nobody waiting.

Lives here: what is known of addresses, back-off, whom to dial next. Never here: links,
messages, I/O, `time`, the global `random`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from random import Random

from addresses import is_name
from events import (
    Action,
    Address,
    ForgetAddress,
    LookUpName,
    OpenLink,
    RememberAddress,
    ShowNotice,
)

# Dialing again: doubling from the first to the second, a random half of it off. What a
# person named is worth asking four times a minute for an hour; what was only heard of is not.
BACKOFF_S = 0.25
BACKOFF_NAMED_S = 15.0
NAMED_TRIES = 300
BACKOFF_LATER_S = 120.0
BACKOFF_OTHERS_S = 600.0
# An address that nobody named, and that failed so often: for a day. It is let go, unless we are
# alone: then it may be our own network that is down.
LOST_TRIES = 200
# The smaller id dials a member it hears of; the larger one waits this long for that.
HEARSAY_S = 1.0
# Dials under way at once to addresses that no person named: a book full of black holes
# then takes minutes, but nobody's turn.
MAX_DIALS = 32
# Dials at once to addresses that a person named: half as many descriptors as strangers may have.
MAX_NAMED_DIALS = 128
# Of those, begun in so long a time: each costs a socket and a TLS object, a tenth of a
# millisecond, and one that is refused at once is no longer under way.
DIALS_AT_ONCE = 8
DIALS_WITHIN_S = 0.01
# Dials to what was only heard of, until somebody is found: twice the links that are wanted, so
# that an honest room has no use for more; and as rarely as nobody minds to be called.
RUMOURS = 64
RUMOUR_S = 1.0
# Who told of an address: more peers than so many make it no surer, nor dialed sooner.
MAX_TELLERS = 4
# Where a peer has found who calls us, others hear of it, and our own proof may wait so long at
# most: 32 nodes that come together had 992 dials to do at once, and have 700.
PROOF_S = 10.0
# Peers of whom is known when it was their turn: more than there are links.
MAX_TURNS = 128
# How often a node with enough links tries another: parted halves of a room hear of each other
# again within seconds, as each of their members tries one, and a room at rest stays quiet.
EXPLORE_S = 60.0
# An address that a peer says it listens on, and that never answered, is let go.
PROOF_TRIES = 4
# So is one that others only told of; it may be a lie. Its dials take a minute in all.
HEARSAY_TRIES = 8
# That an address does not answer is not said again if the user names it again within this time, as
# the address book and a command line do at a start.
SAID_S = 5.0
MAX_ADDRESSES = 1024  # as many as the address book keeps
NEVER = float("inf")
TRUST = ("hearsay", "link", "you")  # who told of an address: a peer, its member, our user


class Contact:
    """What is known of one address."""

    def __init__(self, address: Address, source: str, member: bytes | None = None) -> None:
        self.address = address
        self.source = source
        self.member = member  # who answered there, or is said to
        self.proven = False  # we dialed it and found that member
        self.proof = 0  # which one that was, of all that were found; the last one, if many
        self.answered = False  # we did, in this run or an earlier one
        self.is_self = False
        self.link: int | None = None  # being dialed (-1 until it has a number), or up
        self.vouched = False  # a peer says that it is linked to who is there
        self.tellers: tuple[bytes, ...] = ()  # the peers that said so
        self.exploring = False  # dialed though there are enough links
        self.via: Contact | None = None  # the name that was looked up to find it
        self.leads_to: tuple[Address, ...] = ()  # of a name: what was found
        self.said = False  # that it does not answer
        self.failures = 0
        self.failure = ""  # why the last dial that failed did, and when
        self.failed_at = 0.0
        self.next_try: float | None = None  # None: not to be dialed now

    @property
    def named(self) -> bool:
        return self.source == "you"

    @property
    def wanted(self) -> bool:
        """Whether our user named it, or a name that led there."""
        return self.named or (self.via is not None and self.via.named)


class Contacts:
    """All addresses that a node knows of. `now` is the same clock as the mesh's."""

    def __init__(
        self,
        members: Mapping[bytes, object],
        max_links: int,
        random: Random,
        may_learn: Callable[[Address, Address | None], bool],
        do: Callable[[Action], None],
        refused: Container[bytes] = (),
    ) -> None:
        """`members`: who is linked now, and `refused`: to whom our user wants no link, kept up
        to date by the mesh. `may_learn`: whether an address counts that a peer
        tells of, who is at that other address (None: the book does). `do` takes the actions."""
        self.known: dict[Address, Contact] = {}
        self._members = members
        self._refused = refused
        self._max_links = max_links
        self._random = random
        self._may_learn_from = may_learn
        self._do = do
        self._tries: dict[Address, Contact] = {}  # those with a next_try
        self._spares: dict[Address, Contact] = {}
        self._dialing: dict[Address, Contact] = {}  # begun, and neither up nor ended
        self._dialing_named: set[Address] = set()  # those of them that a person named
        self._proofs = 0
        self._begun = 0  # to what no person named, until _begun_end
        self._begun_end = -NEVER
        self._rumours = float(RUMOURS)  # that may be dialed
        self._rumours_at = -NEVER  # when that was so
        self._turns: dict[bytes, float] = {}  # when what a peer told of was dialed last
        self._explore_at = NEVER
        self._due_at: float | None = NEVER  # None: to be found anew
        self._leaving = False

    # ------------------------------------------------------------ learning

    def learn(self, address: Address, source: str, member: bytes | None, now: float) -> None:
        """A person named it, or the address book did. `member` answered there once."""
        if not (source == "you" or self._may_learn(address, None)):
            return
        contact = self._learn(address, source, member)
        if contact is not None:
            if contact.named and contact.link is None:
                contact.proven = False  # a person may know better who is there now
            contact.failures = 0
            contact.said = contact.said and now < contact.failed_at + SAID_S
            contact.answered = contact.answered or member is not None
            self._want(contact, now)
            # Of a whole book, read at the start, what can't be begun at once is not looked at.
            has_place = self._begun < DIALS_AT_ONCE or now >= self._begun_end
            if self._may_dial(contact) if contact.named else has_place:
                self.dial(now)

    def hear(
        self,
        told: Iterable[tuple[Address, bytes, float]],
        over: Address,
        teller: bytes,
        now: float,
    ) -> None:
        """The peer `teller`, who is at `over`, is linked to these members, and found each at that
        address. If links are missing, who is not linked here may be dialed in so many seconds."""
        self._turns.setdefault(teller, now)  # who is new begins at the end
        if len(self._turns) > MAX_TURNS:
            del self._turns[next(iter(self._turns))]
        missing = self._missing(now)
        for address, member, wait_s in told:
            if not self._may_learn(address, over):
                continue
            contact = self.known.get(address)
            if contact is None or contact.member != member:
                contact = self._learn(address, "hearsay", member)
            if contact is None:
                break  # no room, and to look for some again would take as long
            contact.vouched = True
            if teller not in contact.tellers:
                contact.tellers = (*contact.tellers, teller)[-MAX_TELLERS:]
            if self._is_out(member):
                continue
            if missing <= 0 and contact.next_try is None and not contact.named:
                self._put_aside(contact)
            else:
                # It is there, so it is worth asking, but not at each mention.
                self._want(contact, now + (BACKOFF_NAMED_S if contact.failures else wait_s))
                missing -= not contact.failures
        self.dial(now)

    def called_from(self, address: Address, member: bytes, now: float, apart_s: float) -> None:
        """`member` called, and says that it listens there. The others may be about to prove
        that at the same moment: so a random while apart."""
        known = self.known.get(address)
        is_told = known is not None and known.vouched and known.member == member
        learnt = self._may_learn(address, address)
        contact = self._learn(address, "link", member) if learnt else None
        if contact is not None:
            if is_told:
                self._drop(contact)  # it was about to be dialed for a link, and that is there
            wait_s = self.proof_s() if is_told else apart_s
            self._want(contact, now + self._random.uniform(0.0, wait_s))
            self.dial(now)

    def proof_s(self) -> float:
        """How long what others tell of may wait here: in a small room there is no rush."""
        return PROOF_S * min(1.0, len(self._members) / self._max_links)

    def looked_up(
        self, address: Address, found: tuple[Address, ...], reason: str, now: float
    ) -> None:
        """The name in `address` leads there; or nowhere, for that reason."""
        name = self.known.get(address)
        self._dial_ended(address)
        if name is None or self._leaving:
            return
        name.link = None
        if not found:
            name.failure, name.failed_at = reason, now
            self._failed(name, reason, now)
            return
        name.leads_to = found
        for each in found:
            contact = self._learn(each, "hearsay", None)
            if contact is None:
                break
            contact.via, contact.vouched = name, True
            self._want(contact, now)
        name.failures += 1  # until somebody answers there
        self._try_later(name, now)
        self.dial(now)

    def delete(self, address: Address, now: float) -> None:
        """A person took it out of the address book, so it is dialed no more. A link that there is
        stays, and a peer may tell of it again."""
        contact = self.known.get(address)
        if contact is None:
            return
        self._forget(contact)
        contact.source = "hearsay"  # what a name has led to is no longer wanted
        for found in contact.leads_to:
            led_to = self.known.get(found)
            if led_to is not None and led_to.via is contact and not led_to.answered:
                self._forget(led_to)
        self.dial(now)  # others may have been waiting for its place

    def _may_learn(self, address: Address, over: Address | None) -> bool:
        """Of what others say. To look at an address takes longer than all else with it."""
        return address in self.known or self._may_learn_from(address, over)

    def _learn(self, address: Address, source: str, member: bytes | None) -> Contact | None:
        contact = self.known.get(address)
        if contact is None:
            if len(self.known) >= MAX_ADDRESSES and not self._forget_some():
                return None
            contact = self.known[address] = Contact(address, source, member)
            if source != "hearsay":  # anybody may say anything: it is kept once it was found true
                self._do(RememberAddress(address, source, member, answered=False))
        elif TRUST.index(source) > TRUST.index(contact.source):
            contact.source = source
            self._do(RememberAddress(address, source, member, answered=False))
        # What others say must not shadow what a person, the member itself or a dial said.
        shadows = source == "hearsay" and (contact.source != "hearsay" or contact.answered)
        if member is not None and not contact.proven and not shadows:
            contact.member = member
        return contact

    def _forget_some(self) -> bool:
        """Makes room, for some more to come as well: the addresses that failed most, of
        those that no person named, and last those where a member is that is linked."""
        idle = [c for c in self.known.values() if not c.named and c.link is None]
        idle.sort(key=lambda contact: (self._settled(contact), -contact.failures))
        for contact in idle[: MAX_ADDRESSES // 8]:
            self._forget(contact)
        return bool(idle)

    def _forget(self, contact: Contact) -> None:
        self._drop(contact)
        del self.known[contact.address]

    # ------------------------------------------------------------ what comes of a dial

    def opened(self, address: Address, link: int) -> None:
        if address in self.known:
            self.known[address].link = link

    def proven(self, address: Address, link: int, member: bytes) -> tuple[Contact, bool]:
        """TLS has found `member` there; and whether that is news."""
        contact = self.known.setdefault(address, Contact(address, "hearsay"))
        if self._is_rumour(contact):
            self._rumours = min(self._rumours + 1, RUMOURS)
        news = (contact.member, contact.proven) != (member, True)
        contact.link, contact.member = link, member
        contact.proven = contact.answered = True
        self._proofs += 1
        contact.proof = self._proofs
        name = contact.via
        if name is not None:
            name.member, name.failures = member, 0
            name.proven = name.answered = True
            self._do(RememberAddress(name.address, name.source, member, answered=True))
        return contact, news

    def is_us(self, address: Address) -> bool:
        """It was ourselves that answered there; whether our user wants to know."""
        contact = self.known.setdefault(address, Contact(address, "hearsay"))
        for each in (contact, contact.via):
            if each is not None:
                each.is_self = True
                self._drop(each)
        return contact.wanted

    def is_up(self, address: Address) -> bool:
        """The dial has led to a link; whether it was begun though there were enough."""
        self._dial_ended(address)
        contact = self.known.get(address)
        return contact is not None and contact.exploring

    def ended(self, address: Address, link: int, now: float) -> None:
        """A link that was dialed has ended, whatever for."""
        self._dial_ended(address)
        contact = self.known.get(address)
        if contact is not None and contact.link == link:
            contact.link, contact.exploring = None, False
            if not (self._settled(contact) or contact.is_self):
                self._schedule(contact, now + HEARSAY_S)

    def failed(self, address: Address, reason: str, now: float, *, reached: bool) -> None:
        """A dial led to no link. `reached`: but to a member of the room."""
        contact = self.known.get(address)
        if contact is not None:
            contact.proven = contact.proven and reached
            contact.failure, contact.failed_at = reason, now
            if contact.via is not None:
                contact.via.failure, contact.via.failed_at = reason, now
                self._say_failed(contact.via, reason)
            self._failed(contact, reason, now)
            self._fill(now)

    def _failed(self, contact: Contact, reason: str, now: float) -> None:
        self._drop(contact)
        contact.link = None
        contact.failures += 1
        if self._settled(contact) or contact.is_self:
            return
        linked = contact.member in self._members
        if linked and contact.failures >= PROOF_TRIES and not contact.named:
            return  # its member called us and can't be called back
        hearsay = contact.source == "hearsay" and not contact.answered
        if hearsay and contact.failures >= HEARSAY_TRIES:
            self._forget(contact)
        elif contact.failures >= LOST_TRIES and self._members and not contact.named:
            self._forget(contact)
            self._do(ForgetAddress(contact.address))
        elif self._enough() and not linked and (contact.proven or not contact.named):
            self._put_aside(contact)
        else:
            self._say_failed(contact, reason)
            self._try_later(contact, now)

    def _say_failed(self, contact: Contact, reason: str) -> None:
        if contact.named and not contact.answered and not contact.said:
            contact.said = True
            if not self._is_another_family(contact, reason):
                text = f"{show(contact.address)} does not answer yet ({reason}); trying on"
                self._do(ShowNotice(text))

    def _is_another_family(self, contact: Contact, reason: str) -> bool:
        """Whether it fails because we have no IPv6, while the user named others, by IPv4: of a host
        with both an invite tells both."""
        if ":" not in contact.address[0] or reason != "network is unreachable":
            return False
        return any(other.named and ":" not in other.address[0] for other in self.known.values())

    def _try_later(self, contact: Contact, now: float) -> None:
        cap = BACKOFF_OTHERS_S
        if contact.named:
            cap = BACKOFF_NAMED_S if contact.failures < NAMED_TRIES else BACKOFF_LATER_S
        # The exponent is bounded only so that the power is; the cap comes much earlier.
        wait_s = min(cap, BACKOFF_S * 2.0 ** min(contact.failures, 30))
        self._schedule(contact, now + wait_s * self._random.uniform(0.5, 1.0))

    def lost(self, member: bytes, reason: str, now: float, *, was_good: bool) -> None:
        """`member` is not linked any more."""
        for contact in list(self.known.values()):
            if contact.member == member and contact.link is None and not self._leaving:
                contact.failures = 0 if was_good else contact.failures
                self._failed(contact, reason, now)
        self._fill(now)

    # ------------------------------------------------------------ whom to dial

    def dial(self, now: float) -> None:
        """Begins what is due."""
        if self._leaving:
            return
        self._due_at = None
        if now >= self._begun_end:
            self._begun_end, self._begun = now + DIALS_WITHIN_S, 0
        self._earn_rumours(now)
        self._explore(now)
        self._fill(now)
        for contact in self._in_order(self._due(now)):
            if contact.named:
                if self._may_dial(contact):
                    self._begin(contact)
            elif self._enough() and contact.member not in self._members:
                self._put_aside(contact)
            elif not self._may_dial(contact):
                return
            elif self._begun >= DIALS_AT_ONCE:
                self._schedule(contact, self._begun_end)
            elif self._is_rumour(contact) and self._rumours < 1:
                self._schedule(contact, now + RUMOUR_S)
            else:
                self._turns.update(dict.fromkeys(contact.tellers, now))
                self._begun += self._begin(contact)

    def _in_order(self, due: list[Contact]) -> list[Contact]:
        """What a person named comes first, and waits only for its like; then where somebody is, as
        a peer says; then what never failed; then the peers take turns in what they told of."""
        if len(due) > 1:
            self._random.shuffle(due)
        waiting: Counter[bytes] = Counter()
        places: dict[Address, tuple[int, float]] = {}
        for contact in due:
            queues = [(waiting[each], self._turns.get(each, 0.0), each) for each in contact.tellers]
            if queues:
                before, turn, teller = min(queues)
                places[contact.address] = before, turn
                waiting[teller] += 1

        def place(contact: Contact) -> tuple[bool, bool, int, int, float]:
            before, turn = places.get(contact.address, (0, 0.0))
            return not contact.named, not contact.vouched, contact.failures, before, turn

        return sorted(due, key=place)

    def _due(self, now: float) -> list[Contact]:
        tries = self._tries.values()
        return [c for c in tries if c.next_try is not None and c.next_try <= now]

    def _begin(self, contact: Contact) -> bool:
        self._drop(contact)
        if self._settled(contact):
            return False
        if self._is_rumour(contact):
            self._rumours -= 1
        contact.link = -1
        self._dialing[contact.address] = contact
        if contact.named:
            self._dialing_named.add(contact.address)
        dial = LookUpName if is_name(contact.address) else OpenLink
        self._do(dial(contact.address))
        return True

    def _dial_ended(self, address: Address) -> None:
        self._dialing.pop(address, None)
        self._dialing_named.discard(address)
        self._due_at = None  # there may be room for another dial

    def _is_rumour(self, contact: Contact) -> bool:
        """Whether a peer said so, and that is all. (What the user's names lead to is none.)"""
        return contact.source == "hearsay" and not contact.answered and contact.via is None

    def _earn_rumours(self, now: float) -> None:
        earned = max(0.0, now - self._rumours_at) / RUMOUR_S
        self._rumours, self._rumours_at = min(self._rumours + earned, RUMOURS), now

    def _fill(self, now: float) -> None:
        """Schedules spares, where links are missing that nothing under way may bring."""
        if self._spares and not self._leaving:
            for contact in self._pick(self._missing(now)):
                self._schedule(contact, now)

    def _missing(self, now: float) -> int:
        """How many links are, if all leads to one that is dialed, or about to be, where a peer
        says somebody is, and has not failed: black holes must keep nobody from others."""
        missing = self._max_links - len(self._members)
        if missing > 0:
            begun = (*self._dialing.values(), *self._due(now + HEARSAY_S))
            missing -= sum(
                each.vouched and not (each.failures or each.member in self._members)
                for each in begun
            )
        return missing

    def _pick(self, count: int) -> list[Contact]:
        """Spares at random, but first what a person named, then what never failed; and the peers
        take turns."""
        picked: list[Contact] = []
        if count > 0:
            spares = [c for c in self._spares.values() if not self._is_out(c.member)]
            named = [c for c in spares if c.named]
            fresh = [c for c in spares if not (c.named or c.failures)]
            failed = [c for c in spares if c.failures and not c.named]
            for some in (named, fresh, failed):
                if len(picked) < count:
                    picked += self._in_order(some)[: count - len(picked)]
        return picked

    def _explore(self, now: float) -> None:
        if not (self._spares and self._enough()):
            self._explore_at = NEVER
        elif self._explore_at == NEVER:
            self._explore_at = now + EXPLORE_S * self._random.uniform(0.5, 1.5)
        elif self._explore_at <= now:
            self._explore_at = now + EXPLORE_S * self._random.uniform(0.5, 1.5)
            spares = [c for c in self._spares.values() if not self._is_out(c.member)]
            if spares:  # any of them: what fails again and again must not hide the others
                contact = self._random.choice(spares)
                contact.exploring = self._begin(contact)

    def deadline(self) -> float:
        """When `dial` is to be called, at the latest, or NEVER."""
        if self._leaving:
            return NEVER
        if self._due_at is None:
            times = [
                contact.next_try
                for contact in self._tries.values()
                if contact.next_try is not None and self._may_dial(contact)
            ]
            self._due_at = min(times, default=NEVER)
            if self._enough():
                self._due_at = min(self._due_at, self._explore_at)
        return self._due_at

    def leave(self) -> None:
        """Nobody is dialed any more."""
        self._leaving = True

    # ------------------------------------------------------------ how it is

    def _enough(self) -> bool:
        return len(self._members) >= self._max_links

    def _may_dial(self, contact: Contact) -> bool:
        """Whether there is a place for it now: one of its own for what a person named; and half of
        the others are for those where somebody is, as a peer says."""
        named = len(self._dialing_named)
        if contact.named:
            return named < MAX_NAMED_DIALS
        return len(self._dialing) - named < (MAX_DIALS if contact.vouched else MAX_DIALS // 2)

    def _settled(self, contact: Contact) -> bool:
        """Nothing to be had from dialing it: proven, and linked to; or not wanted."""
        linked = contact.proven and contact.member in self._members
        return linked or contact.member in self._refused

    def _is_out(self, member: bytes | None) -> bool:
        """Whether `member` is linked already, or our user wants no link to it."""
        return member in self._members or member in self._refused

    def where(self, members: Iterable[bytes]) -> dict[bytes, Address]:
        """At which address we have found each of `members` ourselves, if we have."""
        found: dict[bytes | None, Contact] = {}
        for contact in self.known.values():
            # A name is for who typed it: it could lead others to anybody.
            if contact.proven and not contact.leads_to:
                other = found.get(contact.member)
                if other is None or self._freshness(contact) > self._freshness(other):
                    found[contact.member] = contact
        return {member: found[member].address for member in members if member in found}

    def _freshness(self, contact: Contact) -> tuple[bool, int]:
        """Of two addresses where we have found a member it is where a link is up; else, or if it
        has moved, and the old one is being dialed once more, where we have found it last."""
        is_up = contact.link is not None and contact.address not in self._dialing
        return is_up, contact.proof

    # ------------------------------------------------------------ the states

    def _want(self, contact: Contact, at: float) -> None:
        """To be dialed at `at` at the latest."""
        if not (contact.is_self or contact.link is not None or self._settled(contact)):
            next_try = contact.next_try
            self._schedule(contact, at if next_try is None else min(at, next_try))

    def _schedule(self, contact: Contact, at: float) -> None:
        self._spares.pop(contact.address, None)
        contact.next_try = at
        self._tries[contact.address] = contact
        self._due_at = None

    def _put_aside(self, contact: Contact) -> None:
        """It becomes a spare, unless it is being dialed, or ourselves."""
        if contact.link is None and not contact.is_self:
            self._drop(contact)
            self._spares[contact.address] = contact

    def _drop(self, contact: Contact) -> None:
        contact.next_try = None
        self._tries.pop(contact.address, None)
        self._spares.pop(contact.address, None)


def show(address: Address) -> str:
    """For a person to read."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
