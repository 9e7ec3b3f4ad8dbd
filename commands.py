"""The slash commands, as a table: name, usage, help, function.

A function gets the user and the rest of the line; what it answers goes to
`user.output`. Lives here: what each command means. Never here: sockets, SQL, styling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from user import User

DEFAULT_HISTORY = 20  # about a screenful, as at the start


@dataclass(frozen=True)
class Command:
    name: str
    usage: str
    help: str
    function: Callable[[User, str], None]


def _help(user: User, argument: str) -> None:
    wanted = argument.removeprefix("/")
    shown = [c for c in COMMANDS.values() if wanted in ("", c.name)]
    if not shown:
        user.output.error(f"there is no command /{wanted}; /help lists them")
        return
    width = max(len(command.usage) for command in shown)
    lines = [f"{command.usage:{width}}  {command.help}" for command in shown]
    if not wanted:
        lines.append(f"{'//text':{width}}  a post that begins with a slash")
    user.output.info(lines)


def _peers(user: User, argument: str) -> None:
    links = user.linked()
    if not links:
        user.output.info(["linked to nobody yet"])
    lines = [
        f"{name}  {address}  {member[:8]}  {'we called' if dialed else 'called us'}"
        for name, address, member, dialed in links
    ]
    user.output.info(lines)


def _connect(user: User, argument: str) -> None:
    if argument:
        user.connect(argument)
    else:
        user.output.error("usage: " + COMMANDS["connect"].usage)


def _history(user: User, argument: str) -> None:
    if not argument:
        user.show_history(DEFAULT_HISTORY)
    elif argument.isdecimal() and len(argument) < 10:
        user.show_history(int(argument))
    else:
        user.output.error("usage: " + COMMANDS["history"].usage)


def _quit(user: User, argument: str) -> None:
    user.leave("quit")


COMMANDS = {
    command.name: command
    for command in (
        Command("help", "/help [COMMAND]", "what can be typed here", _help),
        Command("peers", "/peers", "who is linked to this node", _peers),
        Command("connect", "/connect ADDRESS", "link to PORT or HOST:PORT as well", _connect),
        Command("history", "/history [N]", "the last N posts, in the room's order", _history),
        Command("quit", "/quit", "leave; what was posted is kept", _quit),
    )
}


def run(user: User, line: str) -> None:
    """Runs `line`, which begins with a slash. A mistyped command is never sent as a post."""
    name, _, argument = line[1:].partition(" ")
    command = COMMANDS.get(name.strip().lower())
    if command is None:
        user.output.error(f"there is no command /{name.strip()[:40]}; /help lists them")
    else:
        command.function(user, argument.strip())
