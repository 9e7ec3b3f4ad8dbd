"""Members of one room in many places of an internet, as real processes: who said what, and who
has it.

Lives here: what the tests of rooms over the internet share. Never here: a scenario.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import invite
from addresses import parse_address
from invite import Invite
from tests.internet import Internet, Space
from tests.processes import Crowd, Process

PORT = 5000  # of those that listen
# From the start of two homes to the first post of each at the other: promised. A good network
# and an idle machine take a tenth of it, so a busy one has time.
PROMISED_S = 3.0
TALK_S = 10.0
# Until what has broken is found to be dead (12 s) and all is dialed again (15 s, at most).
HEAL_S = 45.0
PAUSE_S = 0.05  # between two posts of somebody who types very fast


class Member:
    """One member: its process, that may end and begin again, and all that it has said."""

    def __init__(self, name: str, space: Space, start: Callable[[], Process]) -> None:
        self.name, self.space = name, space
        self.said: list[str] = []
        self.processes: list[Process] = []
        self._start = start
        self.begin()

    def begin(self) -> None:
        """Starts it, or starts it again."""
        self.started_at = time.monotonic()
        self.processes.append(self._start())

    @property
    def process(self) -> Process:
        """The one that runs."""
        return self.processes[-1]

    @property
    def id(self) -> str:
        return self.processes[0].id

    def say(self, *texts: str) -> None:
        self.said += texts
        self.process.say(*texts)

    def has_all_of(self, other: Member) -> bool:
        """All that `other` has said, in its order, and each post once."""
        shown = [
            event["text"]
            for process in self.processes
            for event in process.events("message", id=other.id)
        ]
        return shown == other.said

    def has_its_receipts(self, there: set[str]) -> bool:
        """Whether it was told that each other member that is there has all that it has said,
        whether they are linked or not."""
        confirmed: dict[str, set[str]] = {}
        for process in self.processes:
            for event in process.events("confirmed"):
                confirmed.setdefault(event["ref"], set()).update(event["by"])
        own = [e["ref"] for process in self.processes for e in process.events("message", own=True)]
        return all(confirmed.get(ref, set()) >= there - {self.id} for ref in own)


class Gathering:
    """The members of one room, all processes of one crowd."""

    def __init__(self, crowd: Crowd, internet: Internet) -> None:
        self.crowd, self.internet = crowd, internet
        self.members: list[Member] = []
        self._secret = os.urandom(16)

    def invite(self, *addresses: str) -> Path:
        """A file with an invite to the room, at those addresses."""
        path = self.crowd.folder / f"invite-{len(list(self.crowd.folder.glob('invite-*')))}"
        whole = Invite("attic", self._secret, tuple(map(parse_address, addresses)))
        path.write_text(invite.write(whole) + "\n")
        return path

    def server(self, space: Space, name: str, *addresses: str) -> Member:
        """A member that listens there for everybody, and is ready."""
        host = "::" if "6" in space.families else "0.0.0.0"
        member = self._join(space, name, addresses, PORT, "--host", host)
        member.process.wait_ready()
        return member

    def join(self, space: Space, name: str, *addresses: str) -> Member:
        """A member that was invited with these addresses, and starts now."""
        # Where there is no IPv4 at all there is no 127.0.0.1, where others listen.
        options = () if "4" in space.families else ("--host", "::")
        return self._join(space, name, addresses, 0, *options)

    def _join(
        self, space: Space, name: str, addresses: tuple[str, ...], port: int, *options: str
    ) -> Member:
        invited = f"@{self.invite(*addresses)}"

        def start() -> Process:
            arguments = (port, invited, name, "--stay", *options)
            return self.crowd.start(*arguments, data=name, inside=space.inside)

        self.members.append(Member(name, space, start))
        return self.members[-1]

    # ------------------------------------------------------------ waiting

    def wait_linked(self, one: Member, other: Member, deadline_s: float = TALK_S) -> None:
        for member in (one, other):
            member.process.wait_ready()
        self.crowd.wait(
            lambda: other.id in one.process.linked() and one.id in other.process.linked(),
            f"{one.name} and {other.name} are linked",
            deadline_s,
        )

    def wait_posts(self, deadline_s: float = TALK_S) -> None:
        """Until everybody who is there has everything."""
        self.crowd.wait(
            lambda: all(
                member.has_all_of(author)
                for member in self._there()
                for author in self.members
                if member is not author
            ),
            "everybody has everything",
            deadline_s,
        )

    def wait_all(self, deadline_s: float = TALK_S) -> None:
        """Until everybody who is there has everything, and knows who else has."""
        self.wait_posts(deadline_s)
        there = {member.id for member in self._there()}
        self.crowd.wait(
            lambda: all(member.has_its_receipts(there) for member in self._there()),
            "everybody has its receipts",
            deadline_s,
        )

    def _there(self) -> list[Member]:
        return [member for member in self.members if not member.process.has_ended]

    def end(self) -> None:
        """Everybody leaves, and nobody was shown anything twice, nor out of order, up to then."""
        there = self._there()
        for member in there:
            member.process.popen.terminate()
        for member in there:
            assert member.process.wait_end() == 0
            assert member.process.errors() == []
            for author in self.members:
                assert author is member or member.has_all_of(author)


@contextmanager
def gathering(folder: Path) -> Iterator[Gathering]:
    """On an internet of its own."""
    with Internet() as internet, Crowd(folder) as crowd:
        yield Gathering(crowd, internet)


def report(scenario: str, **measured: object) -> None:
    """For whoever wants to know how far a promise is kept: pytest -s, or -rP."""
    shown = ", ".join(f"{name} {value}" for name, value in measured.items())
    print(f"{scenario}: {shown}")
