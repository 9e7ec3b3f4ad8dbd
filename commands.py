"""The slash commands, as a table: name, usage, help, function, completion.

A function gets the user and the rest of the line; what it answers goes to `user.output`. What
may take longer than a turn of the loop is an errand (errands.py).

Lives here: what each command means. Never here: sockets, SQL, styling.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import addresses
import completion
import facts
import invite
import qr
import search
import verifying
import when
from acquaintances import ID_DIGITS
from addresses import Address, BadAddress
from contacts import show
from doctor import CLOCK_S, ago, diagnose, entries, size, span
from errands import Errand
from feed import SHOW_BYTES, bytes_of
from records import Record
from rooms import RoomError
from settings import BELLS, MAX_HIDDEN
from text import digits_apart

if TYPE_CHECKING:
    from archive import Found
    from export import Target
    from facts import MemberFacts, PeerFacts
    from output import Message
    from user import User

# Members that are listed: two screenfuls. More would scroll away, and cost a read each.
MAX_MEMBERS = 40
# How long /peers and /net wait for answers: longer than to the far side of the world, twice.
ROUND_TRIPS_S = 1.0
PEER_HEADERS = ("name", "id", "address", "call", "round trip", "heard", "in / out", "is behind")
DEFAULT_HISTORY = 20  # about a screenful, as at the start
MAX_FOUND = 20  # by /search: about a screenful
ALL = 10**9  # more posts than there are; what is shown at once has a limit (archive.py)
RECALL_BYTES = SHOW_BYTES // 8  # of what is asked for, shown in one step of an errand
SHOWN_CHARACTERS = 40  # of what was mistyped
MAX_ARGUMENT = 1000  # characters; the longest name, and more than enough for a time or a number


class Command(Record):
    name: str
    usage: str
    help: str
    function: Callable[[User, str], None]
    complete: completion.Complete = completion.nothing


def _wrong(user: User, name: str) -> None:
    user.output.error("usage: " + COMMANDS[name].usage)


def _help(user: User, argument: str) -> None:
    wanted = argument.removeprefix("/").lower()
    shown = [c for c in COMMANDS.values() if wanted in ("", c.name)]
    if not shown:
        user.output.error(_unknown(wanted))
        return
    rows: list[tuple[str, ...]] = [(command.usage, command.help) for command in shown]
    if not wanted:
        rows.append(("//text", "a post that begins with a slash"))
    user.output.table(("command", "does"), rows)


# ---------------------------------------------------------------- members


def _shown(text: str) -> str:
    """What was mistyped, to be told; an invite, which may be anywhere by mistake, is not."""
    return invite.hide(text)[:SHOWN_CHARACTERS]


def _the_member(user: User, name: str, command: str) -> bytes | None:
    """The one who is called so; says so if there is none, or more than one, or it is us."""
    members = user.roster.find(name)
    if not name:
        _wrong(user, command)
    elif not members:
        user.output.error(f"nobody here is called {_shown(name)}; /who lists who is")
    elif len(members) > 1:
        ids = sorted(member.hex() for member in members)
        digits = max(ID_DIGITS, *(digits_apart(one, other) for one, other in pairwise(ids)))
        ways = ", ".join(f"/{command} {member.hex()[:digits]}" for member in members[:4])
        user.output.error(f"{len(members)} members are called so; say which by its id: {ways}")
    elif members[0] == user.member:
        user.output.error("that is you")
    else:
        return members[0]
    return None


def _who(user: User, argument: str) -> None:
    wall_ms = time.time_ns() // 1_000_000
    members, more = facts.of_members(
        user.node, user.names, user.sightings, user.now(), wall_ms, MAX_MEMBERS
    )
    rows: list[tuple[str, ...]] = [
        (member.label, member.member.hex()[:8], _presence(user, member), _said(member.said_s))
        for member in members
    ]
    user.output.table(("name", "id", "is", "last said something"), rows)
    if more:
        user.output.info([f"and {more:,} more, who spoke earlier"])


def _presence(user: User, member: MemberFacts) -> str:
    if member.own:
        return "you"
    id = member.member.hex()
    marks = ", verified" if id in user.kept.acquaintances.verified else ""
    marks += ", hidden by you" if id in user.kept.settings.hidden else ""
    if member.linked:
        return f"linked{marks}"
    if member.refused:
        return f"disconnected by you{marks}"
    if member.through:
        return f"here, through {member.through}{marks}"
    return ("away" if member.left_s is None else f"left {ago(member.left_s)}") + marks


def _said(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    # By its own clock: one that is a little ahead of ours shows nothing of interest.
    return ago(seconds) if seconds > -CLOCK_S else f"{span(-seconds)} ahead of your clock"


def _nick(user: User, argument: str) -> None:
    if argument:
        user.rename(argument)
    else:
        _wrong(user, "nick")


def _hide(user: User, argument: str) -> None:
    member = _the_member(user, argument, "hide")
    if member is None:
        return
    if len(user.kept.settings.hidden) >= MAX_HIDDEN:
        user.output.error(f"{MAX_HIDDEN} members are hidden; /unhide some of them first")
        return
    user.kept.settings.hidden[member.hex()] = None
    user.kept.save_settings()
    user.output.info([f"nothing of {user.roster.label(member)} is shown here any more"])


def _unhide(user: User, argument: str) -> None:
    hidden = user.kept.settings.hidden
    if not argument:
        user.output.info(
            [", ".join(user.roster.label(bytes.fromhex(id)) for id in hidden) or "nobody is hidden"]
        )
        return
    members = user.roster.among(hidden, argument)
    for id in members:
        del user.kept.settings.hidden[id]
        called = user.roster.label(bytes.fromhex(id))
        user.output.info([f"{called} is shown again; /history shows what was hidden"])
    if members:
        user.kept.save_settings()
    else:
        user.output.error(f"nobody called {_shown(argument)} is hidden; /unhide lists who is")


def _verify(user: User, argument: str) -> None:
    if not argument:
        verifying.tell_who_is_verified(user)
        return
    name, number = verifying.name_and_number(user, argument[:MAX_ARGUMENT])
    member = _the_member(user, name, "verify")
    if member is not None and number:
        verifying.compare(user, member, number)
    elif member is not None:
        verifying.ask_to_compare(user, member)


def _unverify(user: User, argument: str) -> None:
    if not argument:
        _wrong(user, "unverify")
    elif not verifying.take_back(user, argument):
        user.output.error(f"nobody called {_shown(argument)} is verified; /verify lists who is")


# ---------------------------------------------------------------- links


def _peers(user: User, argument: str) -> None:
    user.begin(_list_peers(user), "asking the peers")


def _list_peers(user: User) -> Errand[None]:
    yield from _round_trips(user)
    rows: list[tuple[str, ...]] = [
        (
            peer.label,
            peer.member.hex()[:8],
            show(peer.address),
            "we called" if peer.dialed else "called us",
            "?" if peer.round_trip_s is None else span(peer.round_trip_s),
            ago(peer.heard_s),
            f"{size(peer.received_bytes)} / {size(peer.sent_bytes)}",
            _behind(peer),
        )
        for peer in facts.of_peers(user.node, user.names, user.now())
    ]
    if rows:
        user.output.table(PEER_HEADERS, rows)
    else:
        user.output.info(["linked to nobody yet; /net says why"])


def _behind(peer: PeerFacts) -> str:
    sides = ((peer.lacks, "it"), (peer.ahead, "we"))
    return ", ".join(f"{who} by {entries(count)}" for count, who in sides if count) or "nobody"


def _net(user: User, argument: str) -> None:
    user.begin(_diagnose(user), "asking the peers")


def _diagnose(user: User) -> Errand[None]:
    yield from _round_trips(user)
    found = facts.of_net(user.node, user.names, user.sightings, user.now(), *user.listening)
    user.output.info(diagnose(found))


def _round_trips(user: User) -> Errand[None]:
    """Waits until all peers have answered, or for as long as a person likes to."""
    node = user.node
    node.ask_round_trips()
    end = user.now() + ROUND_TRIPS_S
    while user.now() < end and not user.leaving:
        if not any(link.pinged is not None for link in node.mesh.members.values()):
            return
        yield end


def _address_of(argument: str) -> Address | None:
    try:
        return addresses.parse_address(argument)
    except BadAddress:
        return None


def _invite(user: User, argument: str) -> None:
    try:
        given = [addresses.parse_address(argument)] if argument else []
        line = user.invite(*given)
    except (BadAddress, RoomError, OSError) as error:
        user.output.error(invite.hide(str(error)))
        return
    user.output.info([line])
    user.output.notice("who has this line can read the room, and all that was ever said in it")
    picture = qr.rows(line.upper())
    if picture:
        user.output.figure(picture, "its QR code needs a larger window: /invite shows it there")


def _connect(user: User, argument: str) -> None:
    address = _address_of(argument)
    there = facts.member_at(user.node, address) if address else None
    if not argument:
        _wrong(user, "connect")
    elif there is not None and there in user.node.mesh.members:
        user.output.info([f"linked to {user.roster.label(there)} already, who is there"])
    else:
        user.connect(argument)


def _disconnect(user: User, argument: str) -> None:
    address = _address_of(argument)
    there = facts.member_at(user.node, address) if address else None
    member = there or _the_member(user, argument, "disconnect")
    if member is not None:
        label = user.roster.label(member)
        user.node.disconnect(member)
        user.output.notice(
            f"no link to {label} from now on, until you /connect an address of it; "
            "what it says still comes through others"
        )


# ---------------------------------------------------------------- what was said

# A name may have spaces in it; who has " since " in the name can be given by the id.
_HISTORY = re.compile(r"([0-9]{1,9})? *(?:\bfrom (.+?))?(?: ?\bsince (.+))?", re.DOTALL)


def _history(user: User, argument: str) -> None:
    matched = _HISTORY.fullmatch(argument[:MAX_ARGUMENT])
    if not matched:
        _wrong(user, "history")
        return
    number, name, since = matched.groups()
    authors, since_ms = None, None
    if name is not None:
        authors = frozenset(user.roster.find(name.strip()))
        if not authors:
            user.output.error(f"nobody here is called {_shown(name.strip())}")
            return
    if since is not None:
        try:
            since_ms = int(when.moment(since, datetime.now()).timestamp() * 1000)
        except when.BadWhen as error:
            user.output.error(invite.hide(str(error)))
            return
    posts = int(number) if number else DEFAULT_HISTORY if since is None else ALL
    user.begin(recall_last(user, posts, authors, since_ms), "reading the history")


def recall_last(
    user: User, posts: int, authors: frozenset[bytes] | None = None, since_ms: int | None = None
) -> Errand[None]:
    """Shows the last `posts` posts, of these authors, since then, in the room's order."""
    found = yield from user.kept.archive.last(posts, authors=authors, since_ms=since_ms)
    yield from _recall(user, found)
    if found.more:
        count = len(found.messages)
        user.output.notice(f"only the last {count:,} posts: more are too much at once")
    elif not found.messages and (authors, since_ms) != (None, None):
        user.output.notice("nothing found")


def _recall(user: User, found: Found, words: tuple[str, ...] = ()) -> Errand[None]:
    """Shows what was found, as much in a step as a screen draws in 2 ms."""
    step: list[Message] = []
    room = RECALL_BYTES
    for message in found.messages:
        step.append(message)
        room -= bytes_of(message)
        if room <= 0:
            user.output.recalled(step, words)
            step, room = [], RECALL_BYTES
            yield None
            while user.stdout.full and not user.leaving:
                yield user.now() + 1.0  # sooner if the output takes something
    user.output.recalled(step, words)


def _search(user: User, argument: str) -> None:
    words = search.words_of(argument)
    if words:
        user.begin(_recall_found(user, words), "searching")
    else:
        _wrong(user, "search")


def _recall_found(user: User, words: tuple[str, ...]) -> Errand[None]:
    found = yield from user.kept.archive.search(words, MAX_FOUND)
    yield from _recall(user, found, words)
    if not found.messages:
        user.output.notice("nothing found")
    elif found.more:
        user.output.notice(f"only the last {len(found.messages)} of them; there are more")
    if not user.leaving:
        user.begin(user.kept.archive.catch_up(), "")


def _export(user: User, argument: str) -> None:
    import export  # with what it needs, 5 ms that no start should pay

    if not argument:
        _wrong(user, "export")
        return
    try:
        target = export.target_of(argument)
    except export.BadFile as error:
        user.output.error(str(error))
        return

    def answered(yes: bool) -> None:
        if yes:
            user.begin(_write(user, target), f"writing {target.path}")
        else:
            user.output.error(f"{target.path} exists; not overwritten")

    if target.exists:
        user.ask(f"{target.path} exists; overwrite it?", answered)
    else:
        answered(True)


def _write(user: User, target: Target) -> Errand[None]:
    import export

    source = export.Source(user.kept.archive, user.room.name, datetime.fromtimestamp)
    try:
        content = yield from export.write(target, source)
    except export.BadFile as error:
        user.output.error(str(error))
    except OSError as error:
        user.output.error(f"{target.path} can't be written: {error.strerror}")
    else:
        user.output.notice(f"wrote {target.path} ({content})")


# ---------------------------------------------------------------- the rest


def _me(user: User, argument: str) -> None:
    if argument:
        user.say(f"/me {argument}")
    else:
        _wrong(user, "me")


def _bell(user: User, argument: str) -> None:
    if argument in BELLS:
        user.kept.settings.bell = argument
        user.kept.save_settings()
    elif argument:
        _wrong(user, "bell")
        return
    user.output.info([f"the bell rings for: {user.kept.settings.bell}"])


def _clear(user: User, argument: str) -> None:
    user.output.clear()


def _quit(user: User, argument: str) -> None:
    user.leave("quit")


def _commands(user: User, typed: str) -> completion.Candidates:
    return 0, [name for name in COMMANDS if name.startswith(typed.removeprefix("/"))]


COMMANDS = {
    name: Command(name, usage, help, function, complete)
    for name, usage, help, function, complete in (
        ("help", "/help [COMMAND]", "what can be typed here", _help, _commands),
        ("who", "/who", "the members of the room that are known", _who, completion.nothing),
        ("verify", "/verify [NAME [NUMBER]]",
            "compare a number with NAME by voice, and keep that it is the right one", _verify,
            completion.names),
        ("unverify", "/unverify NAME", "NAME may be somebody else after all", _unverify,
            completion.verified_names),
        ("peers", "/peers", "who is linked to this node, and how well", _peers,
            completion.nothing),
        ("net", "/net", "what is right and what is wrong with the links, and why", _net,
            completion.nothing),
        ("invite", "/invite [ADDRESS]", "a line to give to whoever is to join this room", _invite,
            completion.nothing),
        ("connect", "/connect ADDRESS", "link to PORT or HOST:PORT as well", _connect,
            completion.addresses),
        ("disconnect", "/disconnect NAME-or-ADDRESS", "end a link, until you /connect again",
            _disconnect, completion.names),
        ("nick", "/nick NAME", "another name, until you leave", _nick, completion.nothing),
        ("history", "/history [N] [from NAME] [since WHEN]",
            "the last N posts; WHEN is 10:30, yesterday, monday, 2026-11-20, 2h, ...",
            _history, completion.of_a_history),
        ("search", "/search TEXT", 'the last posts with all words, or with "all of this"',
            _search, completion.nothing),
        ("export", "/export FILE", "all that was said, as .txt, .json, .jsonl, .html or .svg",
            _export, completion.files),
        ("me", "/me TEXT", 'say what you do: "bob waves"', _me, completion.in_a_post),
        ("bell", "/bell [off|mentions|all]", "when the bell rings; kept", _bell,
            completion.bells),
        ("hide", "/hide NAME", "show nothing of NAME here any more; kept", _hide,
            completion.names),
        ("unhide", "/unhide [NAME]", "show NAME again", _unhide, completion.hidden_names),
        ("clear", "/clear", "clear the screen; the scroll-back stays", _clear,
            completion.nothing),
        ("quit", "/quit", "leave; what was posted is kept", _quit, completion.nothing),
    )
}  # fmt: skip


def run(user: User, line: str) -> None:
    """Runs `line`, which begins with a slash. A mistyped command is never sent as a post."""
    name, _, argument = line[1:].partition(" ")
    command = COMMANDS.get(name.strip().lower())
    if command is None:
        user.output.error(_unknown(name.strip()))
    elif argument.strip() and " " not in command.usage:
        _wrong(user, command.name)
    else:
        command.function(user, argument.strip())


def _unknown(name: str) -> str:
    from difflib import get_close_matches  # 5 ms that no start should pay

    typed = name.lower()[:SHOWN_CHARACTERS]
    begun = [command for command in COMMANDS if typed and command.startswith(typed)]
    near = begun or get_close_matches(typed, COMMANDS, 1)
    if near:
        hint = "did you mean " + " or ".join(f"/{command}" for command in near) + "?"
    else:
        hint = "/help lists them, and a post that begins with / is typed with //"
    return f"there is no command /{_shown(name)}; {hint}"


def complete(user: User, before: str) -> completion.Candidates:
    """Where the word begins that stands before the cursor, and what may stand in its place."""
    if not before.startswith("/") or before.startswith("//"):
        return completion.in_a_post(user, before)
    name, space, rest = before[1:].partition(" ")
    if not space:
        return 0, [f"/{command} " for command in COMMANDS if command.startswith(name.lower())]
    command = COMMANDS.get(name.lower())
    start, candidates = command.complete(user, rest) if command else (0, [])
    return len(before) - len(rest) + start, candidates
