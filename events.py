"""What the mesh is told (events, in the past tense) and what it wants done (actions, in
the imperative). The one set of each, for the mesh, the user that performs them, the
simulator and the transcripts.

Lives here: their fields, and how a person reads them. Never here: what they lead to.
"""

from __future__ import annotations

import protocol
from protocol import Entry, Fork, Head, Log, Message, Receipt
from records import Record

Address = tuple[str, int]

# ---------------------------------------------------------------- events


class AddressLearned(Record):
    """A person named an address ("you"), or the address book did ("link", "hearsay").
    `member`: who answered there in an earlier run."""

    address: Address
    source: str
    member: bytes | None = None


class AddressDeleted(Record):
    """A person took it out of the address book."""

    address: Address


class NameLookedUp(Record):
    """LookUpName was done: the host of `address`, a name, has these addresses; or none, and why."""

    address: Address
    found: tuple[Address, ...]
    reason: str = ""


class LinkOpened(Record):
    """A link has begun: `address` is being dialed, or has called us."""

    link: int
    address: Address
    dialed: bool


class LinkSecured(Record):
    """TLS has proven that `member` is at the far end."""

    link: int
    member: bytes


class MessageReceived(Record):
    link: int
    message: Message


class LinkHeard(Record):
    """Bytes came over a link, but no whole message yet."""

    link: int


class LinkDrained(Record):
    """The outbox of a link that was clogged has room again."""

    link: int


class LinkClosed(Record):
    """A link has ended, not by us. `fault`: the far end broke the protocol."""

    link: int
    reason: str
    fault: bool = False


class CallersRefused(Record):
    """So many callers were no members; one of them called from `address`."""

    address: Address
    reason: str
    callers: int


class RunStored(Record):
    """The journal holds `log` up to `seq`, an entry with this mark; it came over `link`
    (None: we wrote it)."""

    link: int | None
    log: Log
    seq: int
    placed: tuple[Entry, ...] = ()
    mark: bytes = protocol.NO_MARK


class RunHeld(Record):
    """A run is sound, and waits in memory for entries that its authors had seen."""


class RunsKept(Record):
    """KeepRuns was done, and RunStored has told of it. `more`: others are still held."""

    more: bool


class RunRefused(Record):
    """What came over `link` was no valid run, or no valid proof or receipt."""

    link: int
    reason: str


class RunParted(Record):
    """A run over `link` does not follow our entry `seq` of `log`. `proof`: the two
    entries, where both were there and are signed themselves. `placed`: entries that had
    waited for more of this log, and wait no longer."""

    link: int
    log: Log
    seq: int
    proof: Fork | None
    placed: tuple[Entry, ...] = ()


class ForkKept(Record):
    """A fork is proven that was not, and marked in the journal. `proof`: None where that
    holds as many as it can. `placed`: what waited for more of the log, and need not now."""

    log: Log
    proof: Fork | None
    placed: tuple[Entry, ...] = ()


class ReceiptProven(Record):
    """The receipt that came over `link` is signed by its member."""

    link: int
    receipt: Receipt


class EntryFound(Record):
    """FindEntry was done: the entry was placed here as `number` (1, 2, 3, ...), or is not
    placed (Backlog)."""

    link: int
    log: Log
    number: int


class EntriesSent(Record):
    """SendEntries was done, up to `seq`. `clogged`: the link takes no more now. `next`: of the
    entry after that what FindEntry asks; 0 where it was not looked for."""

    link: int
    log: Log
    seq: int
    clogged: bool
    next: int = 0


class MessageSent(Record):
    """SendMessage was done, that asked for an answer. `clogged`: as in EntriesSent."""

    link: int
    clogged: bool


class JournalSynced(Record):
    """All that is stored is on the platter."""


class PostsTyped(Record):
    """The user's own posts, each within the limits, at `time_ms` of the wall clock."""

    texts: tuple[str, ...]
    time_ms: int


class NickTyped(Record):
    """The user wants another name, one within the limits."""

    name: str
    time_ms: int


class DisconnectAsked(Record):
    """The user wants no link to `member`, until naming an address of it (AddressLearned)."""

    member: bytes


class RoundTripsAsked(Record):
    """The user wants to know how far away each peer is now."""


class TimePassed(Record):
    """deadline() has come."""


class Left(Record):
    """The user goes."""


Event = (
    AddressLearned
    | AddressDeleted
    | NameLookedUp
    | LinkOpened
    | LinkSecured
    | MessageReceived
    | LinkHeard
    | LinkDrained
    | LinkClosed
    | CallersRefused
    | RunStored
    | RunHeld
    | RunsKept
    | RunRefused
    | RunParted
    | ForkKept
    | ReceiptProven
    | EntriesSent
    | EntryFound
    | MessageSent
    | JournalSynced
    | PostsTyped
    | NickTyped
    | DisconnectAsked
    | RoundTripsAsked
    | TimePassed
    | Left
)


# ---------------------------------------------------------------- actions


class OpenLink(Record):
    address: Address


class LookUpName(Record):
    """Answered by NameLookedUp."""

    address: Address


class CloseLink(Record):
    """Flush what is queued, then close; no LinkClosed comes back for it."""

    link: int


class SendMessage(Record):
    """`answered`: by MessageSent, for it is one of many."""

    link: int
    message: Message
    answered: bool = False


class FindEntry(Record):
    """Where does entry `seq` of `log` stand among all? Answered by EntryFound."""

    link: int
    log: Log
    seq: int


class SendEntries(Record):
    """Send what follows entry `after` of `log`, one run; answered by EntriesSent. `window`:
    so far as it goes; of a Backlog."""

    link: int
    log: Log
    after: int
    window: int = 0


class StoreRun(Record):
    """Answered by RunStored, RunHeld, RunRefused or RunParted, or by nothing if nothing is new.
    Must be committed before any byte that is sent after it leaves."""

    link: int
    run: tuple[bytes, ...]


class KeepRuns(Record):
    """Store what is held, as much as a turn may; answered by RunStored and RunsKept."""


class WriteEntries(Record):
    """Write entries (kind, body) of our own; answered by RunStored. Must be on the
    platter before any byte that is sent after it leaves."""

    bodies: tuple[tuple[int, bytes], ...]
    time_ms: int


class SyncJournal(Record):
    """Answered by JournalSynced."""


class KeepFork(Record):
    """Answered by ForkKept if the proof is new, by RunRefused if it is none."""

    link: int
    proof: Fork


class SendReceipt(Record):
    """Sign that all of this is on the platter here, and send it over these links."""

    links: tuple[int, ...]
    heads: tuple[Head, ...]


class CheckReceipt(Record):
    """Answered by ReceiptProven, or by RunRefused if its member has not signed it."""

    link: int
    receipt: Receipt


class ForgetAddress(Record):
    """The address book needs it no longer."""

    address: Address


class RememberAddress(Record):
    """For the address book. `answered`: `member` was there just now."""

    address: Address
    source: str
    member: bytes | None
    answered: bool


class ShowPosts(Record):
    """Newly placed entries, in this order, and of each whether it is history: written
    before this node could have seen it live."""

    entries: tuple[Entry, ...]
    history: tuple[bool, ...]


class ShowLink(Record):
    """A member is linked now ("up"), or no longer ("down")."""

    state: str
    member: bytes
    name: str
    address: Address
    reason: str = ""


class ShowConfirmed(Record):
    """`confirmed` says up to which seq of our log each member has it on disk; what is
    new in that are the entries after+1..upto."""

    after: int
    upto: int
    confirmed: tuple[tuple[bytes, int], ...]


class ShowNotice(Record):
    text: str


Action = (
    OpenLink
    | LookUpName
    | CloseLink
    | SendMessage
    | FindEntry
    | SendEntries
    | StoreRun
    | KeepRuns
    | WriteEntries
    | SyncJournal
    | KeepFork
    | SendReceipt
    | CheckReceipt
    | RememberAddress
    | ForgetAddress
    | ShowPosts
    | ShowLink
    | ShowConfirmed
    | ShowNotice
)


def describe(thing: object) -> str:
    """An event or an action for a person to read: ids cut to 8 digits, nothing that was
    said, only how much."""
    if isinstance(thing, bytes):
        return thing.hex()[:8] if len(thing) <= protocol.LOG_BYTES else f"<{len(thing)} bytes>"
    if isinstance(thing, Entry):
        return f"Entry({describe(thing.log)}, {thing.seq}, kind {thing.kind})"
    if isinstance(thing, PostsTyped):
        return f"PostsTyped({len(thing.texts)} posts)"
    names = getattr(thing, "_fields", None)
    if names is not None:
        inside = (f"{name}={describe(getattr(thing, name))}" for name in names)
        return f"{type(thing).__name__}({', '.join(inside)})"
    if isinstance(thing, tuple):
        more = f", and {len(thing) - 4} more" if len(thing) > 4 else ""
        return f"({', '.join(map(describe, thing[:4]))}{more})"
    if isinstance(thing, frozenset):
        return f"<{len(thing)}>"
    return repr(thing)
