"""The node: a member's mesh, journal and links, and the one place that performs actions.

    links -----> messages ------+
    the user --> what was said -+--> mesh.handle(event, now) --> actions --+
    deadline -------------------+                                          |
       journal and links, one method each in `_PERFORM`; `show` the rest <-+

    at the end of a turn:  commit the journal, THEN flush the links

Clocks, sockets, disks, keys and random numbers are handed in: `User` hands in the real
ones, the simulator of the tests its own.

Lives here: performing actions, and the order of a turn. Never here: decisions of the
mesh, SQL, sockets, what people see.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import Any, ClassVar

import events
import net
import protocol
from events import Address
from journal import Journal
from link import Failed, Gate, Link, Secured
from mesh import Mesh
from outcomes import Conflict, Crossed, Gap, NoRoom, Stored, Waits
from protocol import Fork, Log, Receipt, RemoteError
from records import Record

MAX_RUNS = 4  # half a megabyte at most


class Surroundings(Record):
    """What a node reaches the world with."""

    now: Callable[[], float]  # seconds of a clock that only rises
    wall_ms: Callable[[], int]  # milliseconds since 1970, by a clock that may be wrong
    random: Random
    gate: Gate
    sign: Callable[[bytes], bytes]  # the bytes of an entry before its signature
    sign_receipt: Callable[[bytes], bytes]  # those of a receipt
    verify_receipt: Callable[[Receipt], bool]
    # Begins to connect, and calls `listen` when there is news. Raises OSError.
    dial: Callable[[Address, Link], net.Connection]
    show: Callable[[events.Action], None]  # what people see, and the address book
    # Finds the addresses of a host; calls back with them, or with none and why.
    look_up: Callable[[str, Callable[[list[str], str], None]], None] = lambda host, done: done(
        [], "no such host"
    )
    may_learn: Callable[[Address, Address | None], bool] = lambda address, over: True
    port_for: Callable[[Address], int] | None = None
    transcribe: Callable[[events.Event, list[events.Action]], None] | None = None


class Node:
    """One member's part of the room, while it runs. Raises JournalError from anywhere."""

    def __init__(
        self, name: str, port: int, log: Log, journal: Journal, surroundings: Surroundings
    ) -> None:
        """`port`: where it listens, 0 for nowhere. `log`: the one that it writes."""
        self.journal = journal
        self.connections: dict[int, net.Connection] = {}
        self._world = surroundings
        self._numbers = count(1)
        self._events: deque[events.Event] = deque()
        self._dispatching = False
        self._unflushed: dict[int, net.Connection] = {}  # those that a turn has to do with
        self._ending: list[net.Connection] = []
        self._said_full = False
        # What was read of the journal last, with its log and the seq before it: a burst goes to all
        # links, to some a little later. (To read it for each took a third of its author's time.)
        self._runs: deque[tuple[Log, int, protocol.Entries]] = deque(maxlen=MAX_RUNS)
        frontier = journal.frontier()
        self.mesh = Mesh(
            log=log,
            name=name,
            port=port,
            instance=surroundings.random.getrandbits(64),
            random=surroundings.random,
            frontier=frontier,
            marks={each: journal.mark(each) for each in frontier},
            forks={forked: Fork(*pair) for forked, pair in journal.forks.items()},
            named=journal.name_of(log[: protocol.MEMBER_BYTES]) == name,
            may_learn=surroundings.may_learn,
            port_for=surroundings.port_for,
            started=surroundings.now(),
            started_ms=surroundings.wall_ms(),
        )

    # ------------------------------------------------------------ what happens to it

    def learn(self, known: Iterable[tuple[Address, str, bytes | None]]) -> None:
        """Addresses, who told of them (AddressLearned), and who was there."""
        for address, source, member in known:
            self.dispatch(events.AddressLearned(address, source, member))

    def delete(self, addresses: Iterable[Address]) -> None:
        """Addresses that a person took out of the address book."""
        for address in addresses:
            self.dispatch(events.AddressDeleted(address))

    def accept(self, connection: net.Connection, address: Address) -> None:
        """Takes in a caller that has knocked, or is about to."""
        self._adopt(connection, address, dialed=False)
        self._unflushed[connection.id] = connection

    def refused(self, address: Address, reason: str, count: int) -> None:
        """So many callers did not get in; one of them called from `address`."""
        self.dispatch(events.CallersRefused(address, reason, count))

    def listen(self, connection: net.Connection) -> None:
        """Takes in what has come over a connection."""
        heard = connection.receive()
        self._unflushed[connection.id] = connection  # TLS may have something to say
        if not heard:
            self.dispatch(events.LinkHeard(connection.id))
        for event in heard:
            if isinstance(event, Failed):
                self.dispatch(events.LinkClosed(connection.id, event.reason, event.fault))
                self._ending.append(self.connections.pop(connection.id, connection))
            elif isinstance(event, Secured):
                self.dispatch(events.LinkSecured(connection.id, event.member))
            else:
                self.dispatch(events.MessageReceived(connection.id, event))
        if connection.take_drained():
            self.dispatch(events.LinkDrained(connection.id))

    def say(self, texts: Iterable[str]) -> None:
        """Posts, each within the limits."""
        self.dispatch(events.PostsTyped(tuple(texts), self._world.wall_ms()))

    def rename(self, name: str) -> None:
        """The user is called so from now on; within the limits."""
        self.dispatch(events.NickTyped(name, self._world.wall_ms()))

    def disconnect(self, member: bytes) -> None:
        """No link to `member`, until an address of it is learnt from "you"."""
        self.dispatch(events.DisconnectAsked(member))

    def ask_round_trips(self) -> None:
        """Asks each peer how far away it is; its link's `pinged` is None once that is known."""
        self.dispatch(events.RoundTripsAsked())

    def pass_time(self) -> None:
        """To be called when the mesh's deadline has come."""
        self.dispatch(events.TimePassed())

    def leave(self) -> None:
        """Says goodbye. `end_turn` and `close` are still to come."""
        while self.journal.holds:
            self._keep_runs(events.KeepRuns())
        if self.mesh.unsynced:
            # Who waits for our acknowledgement, waits for nothing once we are gone.
            self._sync_journal(events.SyncJournal())
        self.dispatch(events.Left())

    def end_turn(self) -> None:
        """Store, then send. What people see is to follow, too."""
        if self.journal.commit() and self.mesh.unsynced:
            self.dispatch(events.JournalSynced())
        for connection in self._unflushed.values():
            connection.flush()
        self._unflushed.clear()
        for connection in self._ending:
            connection.close()
        self._ending.clear()

    def dispatch(self, event: events.Event) -> None:
        """The one way to the mesh and back. Events that come of an action wait until all
        actions before them are done."""
        self._events.append(event)
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self._events:
                event = self._events.popleft()
                actions = self.mesh.handle(event, self._world.now())
                if self._world.transcribe:
                    self._world.transcribe(event, actions)
                for action in actions:
                    perform = self._PERFORM.get(type(action))
                    if perform:
                        perform(self, action)
                    else:
                        self._world.show(action)
        finally:
            self._dispatching = False

    # ------------------------------------------------------------ performing: links

    def _adopt(self, connection: net.Connection, address: Address, *, dialed: bool) -> None:
        connection.id = next(self._numbers)
        self.connections[connection.id] = connection
        self.dispatch(events.LinkOpened(connection.id, address, dialed))

    def _open_link(self, action: events.OpenLink) -> None:
        link = Link(self._world.gate, dialed=True)
        try:
            connection = self._world.dial(action.address, link)
        except OSError as error:
            number = next(self._numbers)
            self.dispatch(events.LinkOpened(number, action.address, dialed=True))
            self.dispatch(events.LinkClosed(number, (error.strerror or str(error)).lower()))
        else:
            self._adopt(connection, action.address, dialed=True)

    def _look_up_name(self, action: events.LookUpName) -> None:
        host, port = action.address

        def done(found: list[str], reason: str) -> None:
            addresses = tuple((each, port) for each in found)
            self.dispatch(events.NameLookedUp(action.address, addresses, reason))

        self._world.look_up(host, done)

    def _close_link(self, action: events.CloseLink) -> None:
        connection = self.connections.pop(action.link, None)
        if connection is not None:
            self._ending.append(connection)  # after the commit, as all that is sent

    def _send_message(self, action: events.SendMessage) -> None:
        room = self._send(action.link, action.message)
        if action.answered:
            self.dispatch(events.MessageSent(action.link, clogged=not room))

    def _send(self, link: int, message: protocol.Message) -> bool:
        """Whether the link has room for more."""
        connection = self.connections.get(link)
        if connection is None:
            return False
        self._unflushed[link] = connection
        try:
            connection.link.send(message)
        except RemoteError as error:
            self._ending.append(self.connections.pop(link))
            self.dispatch(events.LinkClosed(link, str(error), fault=True))
            return False
        return not connection.link.clogged

    def _send_entries(self, action: events.SendEntries) -> None:
        entries = self._run_after(action.log, action.after, action.window)
        room = self._send(action.link, entries) if entries.run else True
        upto = action.after + len(entries.run)
        more = action.window and upto < self.mesh.frontier[action.log]
        next = self.journal.number_of(action.log, upto + 1) if more else 0
        self.dispatch(events.EntriesSent(action.link, action.log, upto, not room, next))

    def _find_entry(self, action: events.FindEntry) -> None:
        number = self.journal.number_of(action.log, action.seq)
        self.dispatch(events.EntryFound(action.link, action.log, number))

    def _run_after(self, log: Log, after: int, window: int) -> protocol.Entries:
        """What is to be sent next; of what was sent before to another link, whatever is left of it:
        so links that are behind one another come to ask for the same."""
        for its_log, its_after, entries in self._runs:
            if its_log == log and its_after <= after < its_after + len(entries.run):
                sent = after - its_after
                return protocol.Entries(entries.run[sent:]) if sent else entries
        entries = protocol.Entries(self.journal.run(log, after, window))
        if entries.run:  # else there may be some later
            self._runs.append((log, after, entries))
        return entries

    def _send_receipt(self, action: events.SendReceipt) -> None:
        unsigned = protocol.unsigned_receipt(self.mesh.me, action.heads)
        receipt = protocol.parse_receipt(unsigned + self._world.sign_receipt(unsigned))
        for link in action.links:
            self._send(link, receipt)

    def _check_receipt(self, action: events.CheckReceipt) -> None:
        if self._world.verify_receipt(action.receipt):
            self.dispatch(events.ReceiptProven(action.link, action.receipt))
        else:
            self.dispatch(events.RunRefused(action.link, "a receipt that is not signed"))

    # ------------------------------------------------------------ performing: the journal

    def _store_run(self, action: events.StoreRun) -> None:
        try:
            outcome = self.journal.append(action.run, source=action.link)
            if isinstance(outcome, Crossed):
                self.journal.keep(outcome.log)
                self._tell_released()
                outcome = self.journal.append(action.run, source=action.link)
        except RemoteError as error:
            self.dispatch(events.RunRefused(action.link, str(error)))
            return
        if isinstance(outcome, Stored):
            placed = tuple(outcome.placed)
            mark = self.journal.mark(outcome.log)
            self.dispatch(events.RunStored(action.link, outcome.log, outcome.seq, placed, mark))
            self._tell_released()
        elif isinstance(outcome, Waits):
            self.dispatch(events.RunHeld())
        elif isinstance(outcome, Gap):
            self.dispatch(events.RunRefused(action.link, "entries with a gap before them"))
        elif isinstance(outcome, Conflict):
            ours, theirs = outcome.ours, outcome.theirs
            proof = Fork(ours, theirs) if theirs else None
            seq = protocol.parse_entry(ours).seq
            placed = outcome.placed
            self.dispatch(events.RunParted(action.link, outcome.log, seq, proof, placed))
            self._tell_released()
        elif isinstance(outcome, NoRoom) and not self._said_full:
            self._said_full = True
            text = "somebody writes more logs than fit here; theirs are left out"
            self._world.show(events.ShowNotice(text))

    def _tell_released(self) -> None:
        for log, seq, source in self.journal.take_released():
            self.dispatch(events.RunStored(source, log, seq, (), self.journal.mark(log)))

    def _keep_runs(self, _: events.KeepRuns) -> None:
        self.journal.keep()
        self._tell_released()
        self.dispatch(events.RunsKept(more=self.journal.holds))

    def _write_entries(self, action: events.WriteEntries) -> None:
        bodies = list(action.bodies)
        stored = self.journal.write(bodies, action.time_ms, self._world.sign)
        placed, mark = tuple(stored.placed), self.journal.mark(stored.log)
        self.dispatch(events.RunStored(None, stored.log, stored.seq, placed, mark))
        self._tell_released()

    def _sync_journal(self, action: events.SyncJournal) -> None:
        self.journal.sync()
        self.dispatch(events.JournalSynced())

    def _keep_fork(self, action: events.KeepFork) -> None:
        proof = action.proof
        try:
            placed = self.journal.add_fork(proof.one, proof.other)
            if placed is not None:
                log = protocol.parse_entry(proof.one).log
                kept = proof if log in self.journal.forks else None
                self.dispatch(events.ForkKept(log, kept, tuple(placed)))
                self._tell_released()
        except RemoteError as error:
            self.dispatch(events.RunRefused(action.link, str(error)))

    _PERFORM: ClassVar[dict[type, Callable[[Node, Any], None]]] = {
        events.OpenLink: _open_link,
        events.LookUpName: _look_up_name,
        events.CloseLink: _close_link,
        events.SendMessage: _send_message,
        events.SendEntries: _send_entries,
        events.FindEntry: _find_entry,
        events.StoreRun: _store_run,
        events.KeepRuns: _keep_runs,
        events.WriteEntries: _write_entries,
        events.SyncJournal: _sync_journal,
        events.KeepFork: _keep_fork,
        events.SendReceipt: _send_receipt,
        events.CheckReceipt: _check_receipt,
    }
