"""Churn: a large room whose members come and go all the time, and is then left in peace.

A room of this size is no full mesh: what must hold is that its graph of links is one piece,
that nobody has too many links or too few, that news reach everybody over it and cost each
member a bounded number of messages, whoever leaves, and in whatever way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import contacts
import events
import mesh
from tests import invariants
from tests.simulator import Machine, Room

START_S = 20.0  # all that are there at first start within this
SECONDS_PER_POST = 2.0  # of the whole room
# Who was given only addresses of members that are gone by now is told another by its user.
LOST_S = 60.0
# A peer is found dead, another one is dialed, and if it is off power that takes longest.
PEACE_S = mesh.DEAD_S + 2 * contacts.BACKOFF_NAMED_S + mesh.HANDSHAKE_S
QUIET_S = 2.0  # for what is acknowledged and passed on late
FEWEST_LINKS = 4  # log10(1,000) + 1, as HyParView has it, or everybody there is


class Churn:
    """One run. `run` raises AssertionError where a promise is broken."""

    def __init__(self, seed: int, nodes: int, minutes: float, percent: float) -> None:
        """`percent` of `nodes` leave in each of the `minutes`, and as many start."""
        self.changes = round(nodes * minutes * percent / 100)
        self.room = Room(seed, nodes + (self.changes + 1) // 2)
        self.nodes, self.seconds = nodes, 60.0 * minutes
        self.sent: Counter[str] = Counter()  # messages by kind, and dials
        self.left: Counter[str] = Counter()  # how many, in which way
        self.posts = self.lost = 0
        self.most_links = 0
        self._chance = self.room.random
        self._fresh = list(reversed(self.room.machines))
        self._away: list[Machine] = []  # those that were here before
        self._alone_since: dict[Machine, float] = {}
        for machine in self.room.machines:
            machine.look_on = self._count

    def run(self, progress: Callable[[str], None] = lambda _: None) -> Churn:
        for second in self._trouble():
            self._look_after()
            if second % 10 == 0:
                progress(self.summary())
        room = self.room
        quiet_by = room.now + PEACE_S
        while not self._is_whole():
            assert room.now < quiet_by, f"the room does not come together: {self.summary()}"
            room.run(1.0)
            self._look_after()
        progress(self.summary())
        room.run(QUIET_S)
        invariants.at_rest(room)
        assert self.sent["SendEntries"] <= self._entries_bound(), "posts are sent too often"
        return self

    # ------------------------------------------------------------ what happens

    def _trouble(self) -> Iterator[int]:
        """Lets it all happen, a second at a time."""
        room, chance = self.room, self._chance
        for _ in range(self.nodes):
            room.at(chance.uniform(0.0, START_S), self._start_fresh)
        end = START_S + self.seconds
        for _ in range(self.changes):
            room.at(chance.uniform(START_S, end), self._leave)
            room.at(chance.uniform(START_S, end), self._start)
        for number in range(round(self.seconds / SECONDS_PER_POST)):
            room.at(START_S + number * SECONDS_PER_POST, self._post)
        for second in range(1, round(end) + 1):
            room.run(1.0)
            yield second

    def _start_fresh(self) -> None:
        machine = self._fresh.pop()
        machine.told = self._addresses()
        machine.start()

    def _addresses(self) -> list[tuple[str, int]]:
        """Those of one member that is up, and perhaps of one that was here earlier."""
        up, earlier = list(self.room.running), [*self.room.running, *self._away]
        told = [self._chance.choice(up)] if up else []
        if up and self._chance.random() < 0.5:
            told.append(self._chance.choice(earlier))
        return [machine.address for machine in told]

    def _start(self) -> None:
        if self._fresh and (not self._away or self._chance.random() < 0.5):
            self._start_fresh()
        elif self._away:
            self._away.pop(self._chance.randrange(len(self._away))).start()

    def _leave(self) -> None:
        machine = self._chance.choice(list(self.room.running))
        way = self._chance.choice((Machine.leave, Machine.kill, Machine.cut_power))
        way(machine)
        self.left[way.__name__] += 1
        self._away.append(machine)

    def _post(self) -> None:
        self._chance.choice(list(self.room.running)).say(f"post {self.posts}")
        self.posts += 1

    def _look_after(self) -> None:
        """What is to be true at any time; and users help those that find nobody."""
        for machine, links in self._links().items():
            invariants.memory_is_bounded(machine)
            assert links <= invariants.MOST_LINKS, f"{machine.name} has {links} links"
            self.most_links = max(self.most_links, links)
            if links:
                self._alone_since.pop(machine, None)
            elif self.room.now > self._alone_since.setdefault(machine, self.room.now) + LOST_S:
                del self._alone_since[machine]
                self.lost += 1
                machine.tell(self._addresses())

    def _count(self, actions: list[events.Action]) -> None:
        for action in actions:
            kind: type = type(action)
            if isinstance(action, events.SendMessage):
                kind = type(action.message)
            self.sent[kind.__name__] += 1

    # ------------------------------------------------------------ how it is

    def _links(self) -> dict[Machine, int]:
        return {m: len(m.node.mesh.members) for m in self.room.running if m.node}

    def _is_whole(self) -> bool:
        fewest = min(FEWEST_LINKS, len(self.room.running) - 1)
        links = self._links()
        return min(links.values()) >= fewest and self.pieces() == 1 and self.room.converged()

    def pieces(self) -> int:
        """Into how many parts, that don't hear of each other, the room has fallen."""
        by_member = {machine.member: machine for machine in self.room.running}
        unseen = dict.fromkeys(self.room.running)
        pieces = 0
        while unseen:
            pieces += 1
            reached = [unseen.popitem()[0]]
            while reached:
                node = reached.pop().node
                for member in node.mesh.members if node else ():
                    other = by_member.get(member)
                    if other in unseen:
                        del unseen[other]
                        reached.append(other)
        return pieces

    def _entries_bound(self) -> int:
        """Each entry once to each, and to who comes later; some twice, as two have it at once."""
        held = sum(seq for m in self.room.up() for seq in m.journal.frontier().values())
        return mesh.MAX_LINKS * (held + 1)

    def summary(self) -> str:
        links = self._links() or {self.room.machines[0]: 0}
        entries = self.sent["SendEntries"] / max(1, self.posts * self.nodes)
        known = max(
            (len(m.node.mesh.contacts.known) for m in self.room.running if m.node), default=0
        )
        few = sum(count < FEWEST_LINKS for count in links.values())
        sent = ", ".join(f"{kind} {self.sent[kind]:,}" for kind in sorted(self.sent))
        return (
            f"{self.room.now:5.0f} s: {len(self.room.running)} up in {self.pieces()} piece(s), "
            f"links {min(links.values())} to {max(links.values())}, mean "
            f"{sum(links.values()) / len(links):.1f}, {few} with few, up to {known} addresses; "
            f"{self.posts} posts, {entries:.2f} sendings a post and node; "
            f"left {dict(self.left)}, lost {self.lost}; {sent}"
        )
