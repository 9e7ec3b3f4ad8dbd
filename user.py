"""The user: one member on one node, and the wiring of everything.

    sockets, what is typed, deadlines --> Node --> what there is to show --> the output

    before the loop sleeps:  the node stores and sends, THEN the output is flushed

Lives here: `User`: what a person (or a program) does and sees, and the order in which
things are opened and closed. Never here: the command line, byte parsing, SQL, escape
codes, protocol decisions.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from random import SystemRandom
from typing import IO, TYPE_CHECKING, Any, ClassVar

import acquaintances
import addresses
import events
import facts
import invite
import net
import protocol
import terminal
from addresses import Address, BadAddress, Known
from archive import Author, posts_in, posts_of
from door import Door, Listener
from errands import Errand, Errands, finish
from feed import Feed
from folders import Folders
from invite import BadInvite, Invite
from journal import JournalError
from kept import SAVE_S, CantOpen, Kept
from link import Gate, Link
from output import JOURNAL_SIGNS, STDERR_SIGNS, Message, Output, PlainOutput, Posts, Signs
from protocol import Log
from reach import Reach
from rooms import RoomError, Rooms
from text import Names

if TYPE_CHECKING:
    from identity import Room
    from node import Node
    from status import Standing

DEFAULT_PORT = 5000
# So many changes of names are told in so long a time: anybody can have another one in each turn.
RENAMES, RENAMES_S = 8, 60.0
# A text of so many characters is no longer than a post may be, whatever they are.
SURE_CHARACTERS = protocol.MAX_POST_BYTES // 4
# At the end: what a reader that reads has not read by then stays in the journal.
SHUT_S = 5.0

Asker = Callable[[str, Callable[[bool], None]], None]

DONE, FAILED = 0, 1  # exit statuses that `run` returns by itself


class BadPost(ValueError):
    """A text that can't be a post; says why."""


class StartError(Exception):
    """selchat can't start; says why and what to do."""


class User:
    """One member on one node.

    `start_server`, then `start_client` for each address to link to, then `run`. Override
    `on_message` to be told of posts, call `post` to write one.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        name: str | None = None,
        *,
        data: Path | None = None,
        room: str | None = None,
        output: Output | None = None,
        loop: net.Loop | None = None,
        debug: IO[str] | None = None,
    ) -> None:
        """`port`: 0 for any free one. `name`: default the login name. `data`: the folder
        for everything this user keeps; default as the command's. `room`: its name; default the
        open one. Nothing is opened before the first `start_...`. Raises StartError."""
        self.host = host
        self.port = port
        self.name = _checked_name(login_name() if name is None else name)
        self.loop = loop or net.Loop()
        self.stdout = net.Outlet(self.loop, 1, self._output_broken)
        self.stderr = net.Outlet(self.loop, 2, lambda error: None)  # nowhere to say so
        self.names = Names()
        self._signs = signs_on_stderr()
        self.output = output or PlainOutput(
            self.stdout.write, self.stderr.write, datetime.fromtimestamp, self.names, self._signs
        )
        self.status = DONE
        # Nobody else wants posts one by one, which takes 2 us each.
        self._is_program = type(self).on_message is not User.on_message
        self.folders = Folders(data)
        self._room_name = room
        self._debug = debug
        self._random = SystemRandom()
        self._server: Listener | None = None
        self._door: Door | None = None
        self._node: Node | None = None
        self._typed: list[str] = []
        self._leaving: str | None = None
        self._feed: Feed | None = None
        self._standing: Standing | None = None
        self._asker: Asker | None = None
        self._renamed: deque[float] = deque(maxlen=RENAMES)  # when that was told
        self._save_at: float | None = None
        self._uncalled_at: float | None = None  # when to look whether somebody has called
        self.report_confirmed = self.report_status = False  # whether the output has a use for it
        self.sightings = facts.Sightings()
        self._errands = Errands(self.loop.now)

    def _dial(self, address: tuple[str, int], link: Link) -> net.Connection:
        ready = partial(self.listen_data, address=address)
        return net.Connection.dial(self.loop, address, link, ready)

    # ------------------------------------------------------------ the five verbs

    def start_server(self) -> None:
        """Listens on `host` and `port`. Raises StartError if the port can't be had (then no
        data was touched), or the data can't be used."""
        try:
            self._server = Listener(self.loop, self.host, self.port, self.accept_connection)
        except OSError as error:
            raise StartError(
                f"can't listen on {Address(self.host, self.port)}: {error.strerror}; "
                "choose another port, or 0 for any free one"
            ) from None
        self.host, self.port = self._server.host, self._server.port
        self._save()  # where this node is found: whoever waits for it may ask for an invite
        address = str(Address(self.host, self.port))
        self.output.ready(self.member.hex(), self.name, address, self.room.name)
        if self.kept.is_new_room:
            self.output.notice("this room is new: others get in with an /invite")
        # Callers can call, and what may be wrong was looked at: the rest takes 7 ms more.
        self.output.flush()
        node = self._start_node()
        listen, loop = self.listen_data, self.loop
        self._door = Door(loop, self._gate(), self._random, listen, node.accept, node.refused)

    def accept_connection(self) -> None:
        """Takes in the callers that wait at the listening socket: no further than the door."""
        assert self._server is not None and self._door is not None
        self._door.take_in(self._server.accept())

    def listen_data(self, conn: net.Connection, address: tuple[str, int]) -> None:
        """Takes in what has come over `conn` from `address`."""
        assert self._node is not None
        self._node.listen(conn)

    def start_client(self, ip: str, host_port: int) -> None:
        """Links to the node that listens there, as soon and as long as it is there. `ip`: a host's
        name will do, too. Raises BadAddress."""
        node = self._start_node()
        address = addresses.parse_address(str(Address(ip, host_port)))
        if self._room_name is None and not addresses.is_loopback(address):
            raise BadAddress(
                f"{address} is not on this machine, and the open room, which everybody could read, "
                "stays on it: go there in a room of your own (--room)"
            )
        node.learn([(address, "you", None)])

    def validate_msg(self, text: str) -> str:
        """`text`, as it can be posted. Raises BadPost."""
        text = text.encode(errors="replace").decode() if not text.isascii() else text
        if not text.strip():
            raise BadPost("an empty line is not sent")
        size = len(text.encode())
        if size > protocol.MAX_POST_BYTES:
            raise BadPost(
                f"that post is too long: one has at most {protocol.MAX_POST_BYTES} bytes; not sent"
            )
        return text

    # ------------------------------------------------------------ what a program does with it

    def on_message(self, message: Message) -> None:
        """Called for every post that is shown. To be overridden."""

    def post(self, text: str) -> None:
        """Says `text` to the room, at the end of this turn. Raises BadPost."""
        self._typed.append(self.validate_msg(text))

    def submit(self, line: str) -> None:
        """What a person typed: a post, or a command."""
        if line.startswith("/") and not line.startswith("//"):
            self._write_typed()
            try:
                import commands

                commands.run(self, line)
            except OSError as error:  # no descriptor left to read a module or a folder with, say
                self.output.error(f"that can't be done now: {error.strerror}")
        elif line.strip():
            self._say_or_ask(line[1:] if line.startswith("//") else line)

    def submit_all(self, lines: list[str]) -> None:
        """What was piped in: commands, and posts, which are taken together where all are posts.
        (To look at each line by itself takes a microsecond, ten times as long.)"""
        together = "\n".join(["", *lines])
        others = "\n/" in together or "" in lines or any(map(str.isspace, lines))
        if lines and not (others or self._asker) and max(map(len, lines)) <= SURE_CHARACTERS:
            self._typed += lines
        else:
            for line in lines:
                self.submit(line)

    def _say_or_ask(self, text: str) -> None:
        """An invite that a person has pasted as a post may be a slip, and can't be taken back."""
        if not (self._asker and invite.is_secret(text)):
            self.say(text)
            return

        def answered(yes: bool) -> None:
            if yes:
                self.say(text)
            else:
                self.output.error("not said")

        self.ask("that holds an invite into a room; say it to everybody here?", answered)

    def say(self, text: str) -> None:
        """Posts what a person typed; says so if it is no post."""
        try:
            self.post(text)
        except BadPost as error:
            self.output.error(str(error))

    def connect(self, text: str) -> None:
        """Links to an address, or those of an invite to this room, as a person writes them; says so
        if it is neither."""
        try:
            peer = invite.read_peer(text)
            if isinstance(peer, Invite):
                peers = Rooms(self.folders.rooms).addresses_in(peer, self._room_name)
            else:
                peers = (peer,)
            for address in peers:
                self.start_client(*address)
        except (BadAddress, BadInvite, RoomError, OSError) as error:
            self.output.error(str(error))

    def rename(self, name: str) -> None:
        """Calls this user `name` until its end."""
        name = name.encode(errors="replace").decode()
        if not name.strip():
            self.output.error("a name has at least one character")
        elif invite.is_secret(name):
            self.output.error("that is an invite, and no name: nobody was told")
        elif len(name.encode()) > protocol.MAX_NAME_BYTES:
            limit = protocol.MAX_NAME_BYTES
            self.output.error(f"that name is too long: it has at most {limit} bytes")
        else:
            self.name = name
            self._start_node().rename(name)
            self._meet(self.member, name)
            self.output.renamed(self.member.hex(), name)

    # ------------------------------------------------------------ what commands work with

    @property
    def node(self) -> Node:
        return self._start_node()

    def now(self) -> float:
        """Seconds of a clock that only rises."""
        return self.loop.now()

    @property
    def listening(self) -> tuple[str, int]:
        """Where this node does; port 0: nowhere."""
        return self.host, self.port if self._server else 0

    def begin(self, errand: Errand[None], doing: str) -> None:
        """Does what takes longer than a turn, a little in each. `doing`: what it is, in a word;
        "" if nobody waits for it."""
        if not self._errands.begin(errand, doing):
            self.output.error(f"{doing} has to wait: too much else is not done yet")

    def end_errands(self) -> bool:
        """Ends what is under way, before its end; whether anybody waited for that."""
        return self._errands.end()

    @property
    def is_busy(self) -> bool:
        """Whether something is under way that somebody waits for."""
        return bool(self._errands.doing)

    def show_history(self, posts: int) -> None:
        """Shows the last `posts` posts, in the room's order, at once."""
        self._start_node()
        found = finish(self.kept.archive.last(posts))
        self.output.recalled(found.messages)
        if found.more:
            count = len(found.messages)
            self.output.notice(f"only the last {count:,} posts: more are too much at once")

    def invite(self, *addresses: Address) -> str:
        """An invite to the room, with these addresses and those under which it is found now. Raises
        RoomError in the open room, OSError."""
        return self.kept.invite(addresses, self._own_addresses())

    # ------------------------------------------------------------ the end

    def _output_broken(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            self.leave("nobody reads the output")
        else:
            said = f"the output can't be written: {error.strerror}"
            self.stderr.write(f"{self._signs.error}{said}\n")
            self.leave("the output can't be written", FAILED)

    @property
    def leaving(self) -> bool:
        return self._leaving is not None

    def confirmed_by(self) -> int:
        """How many other members have every post of ours on disk."""
        return self._node.mesh.confirmed_by() if self._node and not self._typed else 0

    def leave(self, reason: str, status: int = DONE) -> None:
        """Says goodbye, and ends `run` after this turn."""
        if self._leaving is None:
            self._write_typed()
            self._leaving, self.status = reason, status
            self._errands.step()  # those that wait see that we leave
            if self._node:
                self._node.leave()
            self.loop.stop()

    def run(
        self,
        deadline: Callable[[], float | None] = lambda: None,
        on_deadline: Callable[[], None] = lambda: None,
        each_turn: Callable[[], None] = lambda: None,
    ) -> int:
        """Runs until `leave`; returns the exit status. A caller with a deadline of its own
        hands it in; `each_turn` is called before the loop sleeps."""

        node = self._start_node()
        self.output.flush()
        # Now, when all are told that we are ready, and not when there may be no descriptor left.
        import commands  # noqa: F401

        if not self.loop.watches_signals:
            self.loop.watch_signals(
                [signal.SIGINT, signal.SIGTERM], lambda _: self.leave("stopped")
            )

        def earliest() -> float | None:
            times = [deadline(), node.mesh.deadline(), self._save_at, self._uncalled_at]
            if self._typed or (self._is_behind() and not self.stdout.full):
                times.append(self.loop.now())
            times.append(self._errands.deadline())
            if self._door:
                times.append(self._door.deadline())
            if self.report_status and self._standing:
                times.append(self._standing.deadline())
            return min((at for at in times if at is not None), default=None)

        def passed() -> None:
            node.pass_time()
            if self._door:
                self._door.pass_time()
            if self._save_at is not None and self._save_at <= self.loop.now():
                self._save()
            if self._uncalled_at is not None and self._uncalled_at <= self.loop.now():
                self._look_who_called(node)
            on_deadline()

        def before_sleep() -> None:
            each_turn()
            self._end_turn()

        try:
            self.loop.run(earliest, passed, before_sleep)
        except JournalError as error:
            self.output.drop()  # what this turn would have shown is not on disk
            self.output.error(str(error))
            self.finish_output()
            return FAILED
        self.loop.release_signals()
        self._shut(node)
        return self.status

    # ------------------------------------------------------------ the turn

    def _end_turn(self) -> None:
        """Store, then send, then show."""
        self._write_typed()
        node = self._start_node()
        if self._feed:
            self._feed.turn()
        self._errands.step()
        node.end_turn()
        if self.report_status and self._standing:
            now, doing = self.loop.now(), self._errands.doing
            self.output.status(self._standing.look(now, self.room.name, doing))
        self.output.flush()

    def _is_behind(self) -> bool:
        return self._feed is not None and self._feed.behind

    # ------------------------------------------------------------ questions

    def ask_with(self, asker: Asker) -> None:
        """There is somebody to ask: `asker(question, answer)` calls `answer(yes)`."""
        self._asker = asker

    def ask(self, question: str, answer: Callable[[bool], None]) -> None:
        """Asks the person; where nobody can be asked, the answer is no."""
        if self._asker:
            self._asker(question, answer)
        else:
            answer(False)

    def _write_typed(self) -> None:
        if self._typed:
            texts, self._typed = self._typed, []
            self._start_node().say(texts)

    @cached_property
    def kept(self) -> Kept:
        """All that this user has on disk, opened when it is asked for. Raises StartError."""
        try:
            return Kept(
                self.folders,
                self.name,
                self.port,
                self._room_name,
                notice=lambda text: self.output.notice(text),
                error=lambda text: self.output.error(text),
            )
        except CantOpen as error:
            raise StartError(str(error)) from None

    @property
    def room(self) -> Room:
        return self.kept.room

    @property
    def member(self) -> bytes:
        return self.kept.member

    @cached_property
    def reach(self) -> Reach:
        """From where this node listens when this is first asked for."""
        return Reach(*self.listening, is_open=self._room_name is None)

    def _gate(self) -> Gate:
        try:
            return self.kept.gate
        except CantOpen as error:
            raise StartError(str(error)) from None

    def _start_node(self) -> Node:
        if self._node is not None:
            return self._node
        # Nobody who waits for `ready` waits for these: 2 ms.
        from node import Node, Surroundings
        from resolver import Resolver
        from roster import Roster
        from status import Standing

        kept, port = self.kept, self.listening[1]
        self._confirmed_from = kept.journal.frontier().get(kept.log, 0)
        self._resolver = Resolver(self.loop)
        surroundings = Surroundings(
            now=self.loop.now,
            wall_ms=lambda: time.time_ns() // 1_000_000,
            random=self._random,
            gate=self._gate(),
            sign=kept.sign,
            sign_receipt=kept.sign_receipt,
            verify_receipt=kept.verify_receipt,
            dial=self._dial,
            show=lambda action: self._SHOW[type(action)](self, action),
            look_up=self._resolver.look_up,
            may_learn=self.reach.may_learn,
            port_for=self.reach.port_for,
            transcribe=self._transcribe if self._debug else None,
        )
        self._node = Node(self.name, port, kept.log, kept.journal, surroundings)
        self._standing = Standing(self._node, self.names, kept.log, self.sightings)
        self.roster = Roster(self._node, self.names, kept.acquaintances.name_of)
        self._feed = Feed(
            kept.journal,
            is_full=lambda: self.stdout.full,
            are_history=self._node.mesh.are_history,
            unpack=partial(posts_in, author_of=self._author_of),
            show=self._show,
            is_quick=self.output.is_quick,
        )
        self._learn(self._node, kept.book.entries())
        # Of a journal that is older than the file: who was first in the room has a name.
        is_new = not kept.acquaintances
        self._meet(self.member, self.name)
        for member, name in kept.journal.names(acquaintances.MAX_KNOWN) if is_new else ():
            self._meet(member, name)
        return self._node

    def _learn(self, node: Node, entries: Iterable[Known]) -> None:
        """From the address book."""
        node.learn(
            (known.address, known.source, bytes.fromhex(known.member) if known.member else None)
            for known in entries
            if known.source == "you" or self.reach.may_learn(known.address, None)
        )

    def _transcribe(self, event: events.Event, actions: list[events.Action]) -> None:
        assert self._debug is not None
        stamp = f"{self.loop.now():.3f}"
        self._debug.write(f"{stamp} >> {events.describe(event)}\n")
        self._debug.writelines(f"{stamp} << {events.describe(action)}\n" for action in actions)
        self._debug.flush()

    def _shut(self, node: Node) -> None:
        if self._errands.doing:
            self.output.error(f"not finished: {self._errands.doing}")
        self._errands.end()
        self._resolver.close()
        if self._server:
            self._server.close()
        if self._door:
            self._door.close()
        for connection in node.connections.values():
            connection.close()
        self._save()
        end = self.loop.now() + SHUT_S
        while self._feed and self._feed.behind and self.stdout.finish(end):
            self._feed.turn()
            self.output.flush()
        try:
            self.kept.journal.close()
        except JournalError as error:
            self.output.error(str(error))
            self.status = FAILED
        self.output.bye(self._leaving or "")
        self.finish_output()

    def finish_output(self) -> None:
        """Shows what is left to show, at the end."""
        self.output.flush()
        end = self.loop.now() + net.FINISH_S
        self.stdout.finish(end)
        self.stderr.finish(end)

    def _save(self) -> None:
        self._save_at = None
        self.kept.save(self._own_addresses())

    def _own_addresses(self) -> list[Address]:
        return self.reach.own(self._node.mesh if self._node else None, net.local_hosts)

    def reload_book(self) -> None:
        """A person has edited the address book: what is new in it is dialed, and what is gone from
        it is not any more."""
        before = {known.address: known for known in self.kept.book.entries()}
        self._save()  # which merges that with what was learned
        after = {known.address: known for known in self.kept.book.entries()}
        gone = before.keys() - after.keys()
        news = [
            known
            for address, known in after.items()
            if address not in before or known.source != before[address].source
        ]
        self.node.delete(address for address in before if address in gone)
        self._learn(self.node, news)
        self._save()  # else it takes these for ours, and would keep them once they are deleted
        self.output.notice(f"read the address book again: {len(news)} new, {len(gone)} gone")

    # ------------------------------------------------------------ what there is to show

    def _remember_address(self, action: events.RememberAddress) -> None:
        member = action.member.hex() if action.member else None
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            address = Address(*action.address)
            self.kept.book.learn(address, action.source, member)
            if action.answered and member:
                self.kept.book.note_answered(address, member, now)
        except BadAddress:
            return  # a peer may say any host; only the book knows what is one
        self._save_soon()

    def _forget_address(self, action: events.ForgetAddress) -> None:
        self.kept.book.forget(Address(*action.address))
        self._save_soon()

    def _save_soon(self) -> None:
        if self._save_at is None and self.kept.is_unsaved:
            self._save_at = self.loop.now() + SAVE_S

    def _look_who_called(self, node: Node) -> None:
        text = self.reach.uncalled(node.mesh, self.loop.now())
        self._uncalled_at = self.reach.look_at(node.mesh)
        if text is not None:
            self.output.notice(text)

    def _show_posts(self, action: events.ShowPosts) -> None:
        self._note_clocks(action)
        self._note_names(action)
        assert self._feed
        self._feed.feed(action.entries, action.history)

    def _note_clocks(self, action: events.ShowPosts) -> None:
        """Of what comes live from who is linked: it was said just now, by another clock."""
        assert self._node is not None
        if all(action.history):
            return
        now_ms = time.time_ns() // 1_000_000
        for entry, history in zip(action.entries, action.history, strict=True):
            if not history and entry.author in self._node.mesh.members:
                self.sightings.said(entry.author, now_ms - entry.time_ms)

    def _note_names(self, action: events.ShowPosts) -> None:
        """Who calls itself otherwise while we look on, is told of: of a flood of names the last."""
        if protocol.NAME not in [entry.kind for entry in action.entries]:
            return
        last = {
            entry.author: (entry.body.decode(errors="replace"), history)
            for entry, history in zip(action.entries, action.history, strict=True)
            if entry.kind == protocol.NAME and entry.author != self.member
        }
        for author, (name, history) in last.items():
            self._meet(author, name)
            before = self.sightings.called(author, name)
            if before is not None and not history and author.hex() not in self.kept.settings.hidden:
                self._tell_rename(author, before, name)

    def _tell_rename(self, member: bytes, before: str, name: str) -> None:
        now = self.now()
        if len(self._renamed) < RENAMES or now >= self._renamed[0] + RENAMES_S:
            self._renamed.append(now)
            label, id = self.names.label_of, member.hex()
            self.output.notice(f"{label(before, id)} is called {label(name, id)} now")

    def _meet(self, member: bytes, name: str) -> None:
        """It calls itself so: whether that is who we know by that name."""
        today = time.strftime("%Y-%m-%d")
        warning = self.kept.acquaintances.meet(member.hex(), name, today, self.now())
        if warning:
            self.output.warning(warning)
        self._save_soon()

    def _show(self, many: Sequence[Posts]) -> None:
        self.output.posts(many)
        if self._is_program:
            for posts in many:
                for message in posts.messages():
                    self.on_message(message)

    def _author_of(self, log: Log) -> Author | None:
        member = log[: protocol.MEMBER_BYTES]
        if member.hex() in self.kept.settings.hidden:
            return None
        name = self.kept.journal.name_of(member)
        return Author(member.hex(), name or "", member == self.member)

    def _show_link(self, action: events.ShowLink) -> None:
        self.sightings.called(action.member, facts.name_of(self.node, action.member))
        reason = action.reason if action.state == "down" else None
        if action.state == "down":
            self.sightings.left(action.member, self.now())
        else:
            self._meet(action.member, action.name)
            self._uncalled_at = self.reach.look_at(self.node.mesh)
        if self._save_at is None:
            self._save_at = self.now() + SAVE_S  # where we are found may be known by then
        address = str(Address(*action.address))
        self.output.link(action.state, action.member.hex(), action.name, address, reason)

    def _show_confirmed(self, action: events.ShowConfirmed) -> None:
        if not self.report_confirmed:
            return
        after = max(action.after, self._confirmed_from)
        for entry in self.kept.journal.entries(self.kept.log, after, action.upto):
            by = [member.hex() for member, seq in action.confirmed if seq >= entry.seq]
            posts = posts_of(entry, None, history=False, own=True)
            for ref in posts.refs if posts else ():
                self.output.confirmed(ref, by)

    def _show_notice(self, action: events.ShowNotice) -> None:
        self.output.notice(action.text)

    _SHOW: ClassVar[dict[type, Callable[[User, Any], None]]] = {
        events.RememberAddress: _remember_address,
        events.ForgetAddress: _forget_address,
        events.ShowPosts: _show_posts,
        events.ShowLink: _show_link,
        events.ShowConfirmed: _show_confirmed,
        events.ShowNotice: _show_notice,
    }


def signs_on_stderr() -> Signs:
    """What lines on standard error begin with, as far as they are ours."""
    return JOURNAL_SIGNS if terminal.is_journal(os.environ, 2) else STDERR_SIGNS


def login_name() -> str:
    """Who is logged in here, or a name that says that nobody knows."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("LOGNAME") or "somebody"


def _checked_name(name: str) -> str:
    name = name.encode(errors="surrogateescape").decode(errors="replace")
    if len(name.encode()) > protocol.MAX_NAME_BYTES:
        raise StartError(f"that name is too long: it has at most {protocol.MAX_NAME_BYTES} bytes")
    return name
