"""An ordeal: a room that talks while everything goes wrong, and is then left in peace.

A seed makes a plan: steps, each of which has a time, a fault and a seed of its own, so that a
plan with steps left out is a plan, too, and a failure can be shrunk to the few that matter.
Each plan uses only some of the faults, and these more or less often than the table says:
so each fault also comes without what would hide its effects (Groce et al., Swarm Testing,
ISSTA 2012).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple

import contacts
import journal
import link as links
import mesh
import protocol
from protocol import Entries, Fork, Have, Head, Peer, Peers, Ping
from tests import callers, invariants
from tests.simulator import Machine, Room, sign

TROUBLE_S = 8.0
# After the last fault: a peer is found dead, its address is dialed at the longest back-off,
# the dial is found to lead nowhere, and is tried again.
PEACE_S = mesh.DEAD_S + 2 * contacts.BACKOFF_NAMED_S + mesh.HANDSHAKE_S
QUIET_S = 12.0  # two heartbeats long
LIARS = 0.3  # of the plans have one member that lies
TIGHT = 0.3  # of the ordeals have limits that are met
YEAR_MS = 365 * 24 * 3600 * 1000


class Step(NamedTuple):
    when: float
    fault: str
    seed: int


Plan = list[Step]
Act = Callable[[Room, Random], None]


class Fault(NamedTuple):
    per_s: float
    act: Act


# ---------------------------------------------------------------- people


def _running(room: Room, chance: Random) -> Machine | None:
    machines = [machine for machine in room.running if machine.honest]
    return chance.choice(machines) if machines else None


def _say(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine:
        lines, size = chance.choice(((1, 10), (1, 10), (1, 10), (40, 10), (3, 40_000)))
        machine.say(*(f"{room.now} {line} ".ljust(size, "x") for line in range(lines)))


def _start(room: Room, chance: Random) -> None:
    down = [machine for machine in room.machines if not machine.node]
    if down:
        chance.choice(down).start()


def _leave(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine and machine.stopped_until <= room.now:
        machine.leave()


def _rename(room: Room, chance: Random) -> None:
    for machine in [m for m in room.running if m.honest and m.stopped_until <= room.now]:
        if chance.random() < 0.5:
            machine.leave()
            machine.name = f"{machine.name.split(',')[0]}, called {chance.randrange(100)}"
            machine.start()


def _name_an_address(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine and machine.node:
        for _ in range(chance.choice((1, 1, 5))):
            machine.node.learn([(chance.choice(room.machines).address, "you", None)])
        machine.wake()


# ---------------------------------------------------------------- processes and clocks


def _kill(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine:
        machine.kill()


def _cut_power(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine:
        machine.cut_power()


def _stop(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine:
        machine.stopped_until = room.now + chance.choice((0.1, 1.0, 5.0, 14.0))


def _set_clock(room: Room, chance: Random) -> None:
    machine = chance.choice(room.machines)
    machine.skew_ms += chance.choice((-YEAR_MS, -60_000, -1000, 1000, 60_000, YEAR_MS))


# ---------------------------------------------------------------- the network


def _reset(room: Room, chance: Random) -> None:
    ends = [sock for m in room.running for sock in m.sockets.values() if sock.connected]
    if ends:
        chance.choice(ends).reset()


def _part(room: Room, chance: Random) -> None:
    room.part(chance.sample(room.machines, chance.randrange(len(room.machines))))


def _block_one_way(room: Room, chance: Random) -> None:
    sources = chance.sample(room.machines, chance.randrange(1, len(room.machines)))
    room.block(sources, [machine for machine in room.machines if machine not in sources])


def _keep_apart(room: Room, chance: Random) -> None:
    one, other = chance.sample(room.machines, 2)
    room.keep_apart(one, other)


def _heal(room: Room, chance: Random) -> None:
    room.heal()


def _slow(room: Room, chance: Random) -> None:
    source, target = chance.sample(room.machines, 2)
    room.slow(source, target, chance.choice((2_000, 20_000, 200_000)))


def _cut_bytes(room: Room, chance: Random) -> None:
    room.cuts = not room.cuts


def _crowd(room: Room, chance: Random) -> None:
    machines = [machine for machine in room.running if machine.honest]
    if len(machines) > 1:
        source, target = chance.sample(machines, 2)
        callers.crowd(source, target, chance)


# ---------------------------------------------------------------- disks


def _fill_disk(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine:
        (used,) = machine.disk.db.execute("PRAGMA page_count").fetchone()
        machine.disk.limit(used + chance.randrange(4))


def _fail_disk(room: Room, chance: Random) -> None:
    machine = _running(room, chance)
    if machine:
        machine.disk.fails = True


def _mend_disks(room: Room, chance: Random) -> None:
    for machine in room.machines:
        machine.disk.fails = False
        machine.disk.limit(None)


def _back_up(room: Room, chance: Random) -> None:
    machine = chance.choice(room.machines)
    machine.disk.copy = machine.disk.platter


def _restore(room: Room, chance: Random) -> None:
    machine = chance.choice([m for m in room.machines if m.honest])
    if machine.disk.copy:
        _replace_disk(machine, machine.disk.copy)


def _lose_journal(room: Room, chance: Random) -> None:
    _replace_disk(chance.choice([m for m in room.machines if m.honest]), b"")


def _begin_anew(room: Room, chance: Random) -> None:
    """Its journal is lost, and it talks, under another name, before it has its log again."""
    machine = chance.choice([m for m in room.machines if m.honest])
    _replace_disk(machine, b"")
    machine.name = f"{machine.name.split(',')[0]}, called {chance.randrange(100)}"
    machine.start()
    if machine.node:
        machine.say(f"{machine.name} is new")


def _flip_bits(room: Room, chance: Random) -> None:
    machine = chance.choice([m for m in room.machines if m.honest])
    platter = bytearray(machine.disk.platter)
    if platter:
        for _ in range(chance.choice((1, 1, 10))):
            platter[chance.randrange(len(platter))] ^= 1 << chance.randrange(8)
        _spoil(machine, bytes(platter))


def _lose_rows(room: Room, chance: Random) -> None:
    """What is left is right, each row of it; some are gone."""
    machine = chance.choice([m for m in room.machines if m.honest])
    if machine.disk.platter:
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as image:
            image.deserialize(machine.disk.platter)
            query = "DELETE FROM entries WHERE rowid > (SELECT MAX(rowid) FROM entries) - ?"
            with contextlib.suppress(sqlite3.DatabaseError):  # spoiled already
                gone = image.execute(query, (chance.choice((1, 1, 5)),)).rowcount
                _spoil(machine, image.serialize())
                machine.disk.short = gone > 0


def _spoil(machine: Machine, platter: bytes) -> None:
    seal = machine.disk.seal  # what rots changes no file's time
    _replace_disk(machine, platter)
    machine.disk.seal = seal


def _replace_disk(machine: Machine, platter: bytes) -> None:
    if machine.node:
        machine.kill()
    invariants.excuse(machine)
    machine.disk.seal = None  # it names the file that was there
    machine.disk.short = False
    machine.disk.replace(platter)


# ---------------------------------------------------------------- liars


class Evil:
    """What a member that has the keys can send: a log of its own, entries in it."""

    def __init__(self, machine: Machine, chance: Random) -> None:
        self.machine, self._chance = machine, chance
        self.log = machine.member + chance.randbytes(8)
        machine.room.truth.whispered[self.log] = None

    def links(self) -> list[int]:
        node = self.machine.node
        return [link.id for link in node.mesh.members.values()] if node else []

    def entry(
        self,
        seq: int = 1,
        heads: tuple[Head, ...] = (),
        author: bytes = b"",
        more: int = 0,
        after: bytes = b"",
    ) -> bytes:
        log = author + self.log[32:] if author else self.log
        body = protocol.pack_posts([f"believe me: {self._chance.random()}"])
        previous = bytes(32) if seq == 1 else self._chance.randbytes(32)
        if after:
            previous = protocol.parse_entry(after).hash
        time_ms = self._chance.choice((0, self.machine.wall_ms(), 2**64 - 1))
        unsigned = protocol.unsigned_entry(
            Head(log, seq), previous, time_ms, heads, protocol.POSTS, body
        )
        if more:
            size = (len(body) + more).to_bytes(4, "big")
            unsigned = unsigned[: -len(body) - 4] + size + body + bytes(more)
        return unsigned + sign(self.machine.member, unsigned)

    def branch(self, length: int) -> Entries:
        """So many entries that follow one another, others each time."""
        run = [self.entry()]
        for seq in range(2, length + 1):
            run.append(self.entry(seq, after=run[-1]))
        return Entries(tuple(run))

    def forged_from(self, raw: bytes) -> bytes:
        """In the place of `raw`, as if its author had signed it."""
        entry = protocol.parse_entry(raw)
        body = protocol.pack_posts(["I have never said this"])
        unsigned = protocol.unsigned_entry(
            Head(entry.log, entry.seq), entry.previous, entry.time_ms, (), protocol.POSTS, body
        )
        return unsigned + sign(self.machine.member, unsigned)

    def send(self, link: int, *messages: protocol.Message) -> None:
        assert self.machine.node is not None
        connection = self.machine.node.connections[link]
        for message in messages:
            if not connection.link.clogged:
                connection.link.send(message)
        connection.flush()

    def send_frame(self, link: int, frame: bytes) -> None:
        """Whatever is queued already, and whatever the frame says of itself."""
        assert self.machine.node is not None
        connection = self.machine.node.connections[link]
        connection.link._plain.append(frame)
        connection.flush()


def _evil(act: Callable[[Room, Evil, Random, list[int]], None]) -> Act:
    """What a liar does that has links, as a fault."""

    def fault(room: Room, chance: Random) -> None:
        for machine in room.running:
            evil = Evil(machine, chance)
            if not machine.honest and evil.links():
                act(room, evil, chance, evil.links())
                return

    return fault


def _forge(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    raw = evil.entry(author=chance.choice(room.machines).member)
    if raw[:32] != evil.machine.member:
        room.truth.forged[raw] = None
        evil.send(chance.choice(links), Entries((raw,)))


def _forge_a_receipt(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """As if another one had all that the others have written."""
    member = chance.choice([*room.machines, evil.machine]).member
    heads = tuple(Head(m.log, chance.choice((1, 2**64 - 1))) for m in room.machines if m.node)
    unsigned = protocol.unsigned_receipt(member, heads[: protocol.MAX_RECEIPT_LOGS])
    signature = sign(evil.machine.member, unsigned)
    evil.send(chance.choice(links), protocol.parse_receipt(unsigned + signature))


def _fork(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    room.truth.forked[evil.log] = None
    for link in links:
        evil.send(link, evil.branch(chance.choice((1, 1, 2, 3))))


def _sign_seldom(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """Runs of which only the last entry is signed, which vouches for the others."""
    link, before = chance.choice(links), b""
    for start in (1, 4):
        run = []
        for seq in range(start, start + 3):
            before = evil.entry(seq, after=before)
            if seq < start + 2:
                before = before[: -protocol.SIGNATURE_BYTES] + bytes(protocol.SIGNATURE_BYTES)
            run.append(before)
        evil.send(link, Entries(tuple(run)))


def _doubt(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """Says again and again that it has another branch of what is forked already."""
    link = chance.choice(links)
    forked = [
        head for head in evil.machine.journal.frontier().items() if head[0] in room.truth.forked
    ]
    for _ in range(3):
        for log, seq in forked[: protocol.MAX_HAVE_LOGS]:
            evil.send(link, Have((Head(log, seq, b"another."),)))


def _prove(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """A fork of which only one member gets both branches, and nobody else either."""
    room.truth.forked[evil.log] = None
    evil.send(chance.choice(links), Fork(evil.entry(), evil.entry()))


def _accuse(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """What proves nothing against somebody honest: of another seq, one and the same, or
    signed by who was not asked."""
    victim = chance.choice([m for m in room.machines if m.honest])
    said = [raw for (log, _), raw in room.truth.shown.items() if log.startswith(victim.member)]
    one = chance.choice(said) if said else evil.entry(author=victim.member)
    other = chance.choice((one, chance.choice(said or [one]), evil.forged_from(one)))
    evil.send(chance.choice(links), Fork(one, other))


def _send_the_future(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    evil.send(chance.choice(links), Entries((evil.entry(seq=chance.choice((2, 9, 2**63 - 1))),)))


def _withhold(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    room.truth.withheld = True
    never = Head(evil.machine.member + chance.randbytes(8), 3)
    evil.send(chance.choice(links), Entries((evil.entry(heads=(never,)),)))


def _boast(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    link, most = chance.choice(links), protocol.MAX_HAVE_LOGS
    for start in range(0, mesh.MAX_LOGS_TOLD + most, most)[:10]:
        numbers = range(start, start + most)
        heads = [Head(number.to_bytes(40, "big"), 2**64 - 1) for number in numbers]
        evil.send_frame(link, protocol.encode(Have(tuple(heads))))
    logs = [machine.log for machine in room.up()]
    evil.send(link, Have(tuple(Head(log, 2**64 - 1) for log in logs[:most])))


def _lie_about_addresses(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    peers = [Peer(chance.choice(room.machines).member, *m.address) for m in room.machines]
    peers += [Peer(chance.randbytes(32), f"10.9.9.{n}", 5000) for n in range(20)]
    evil.send(chance.choice(links), Peers(tuple(peers)))


def _flood(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    evil.send(chance.choice(links), *(Ping() for _ in range(200)))
    run = tuple(Evil(evil.machine, chance).entry() for _ in range(20))
    evil.send(chance.choice(links), *(Entries((raw,)) for raw in run))


def _say_the_impossible(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """Entries whose numbers nobody can have written."""
    logs = [chance.choice([*evil.machine.journal.frontier(), evil.log]), chance.randbytes(40)]
    wrong: tuple[tuple[int, tuple[Head, ...]], ...] = (
        (1, (Head(logs[0], 0),)),
        (1, (Head(logs[1], 2**63),)),
        (1, (Head(logs[0], 1), Head(logs[0], 2))),
        (0, ()),
        (2**63, ()),
    )
    evil.send(chance.choice(links), Entries((evil.entry(*chance.choice(wrong)),)))


def _break_the_chain(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """A run whose last entry is signed, and does not follow the one before it, or is of
    another log."""
    first, other = evil.entry(), Evil(evil.machine, chance)
    second = chance.choice((evil.entry(seq=2), other.entry(seq=2, after=first)))
    evil.send(chance.choice(links), Entries((first, second)))


def _exceed(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """One more of everything than there may be."""
    head, peer = bytes(40 + 8 + 8), bytes(32 + 2 + 1)
    run = (4).to_bytes(4, "big") + bytes(4)
    entry = evil.entry(more=protocol.MAX_ENTRY_BYTES + 1 - len(evil.entry()))
    frames = (
        (3, b"\1" + (protocol.MAX_HAVE_LOGS + 1).to_bytes(2, "big"), head, protocol.MAX_HAVE_LOGS),
        (2, (protocol.MAX_PEERS + 1).to_bytes(2, "big"), peer, protocol.MAX_PEERS),
        (4, b"", run, protocol.MAX_RUN),
        (4, len(entry).to_bytes(4, "big"), entry, 0),
        (5, b"", b"", -1),  # of no bytes at all
    )
    kind, start, each, count = chance.choice(frames)
    body = start + each * (count + 1)
    length = (len(body) + (count >= 0)).to_bytes(4, "big")
    evil.send_frame(chance.choice(links), length + bytes([kind]) + body)


def _never_end(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    """A frame that is longer than there are bytes."""
    evil.send_frame(chance.choice(links), b"\xff" * 4 + bytes(invariants.UNREAD_BYTES + 1))


def _be_rude(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    target = _running(room, chance)
    if target:
        callers.rude(room, evil.machine, target, chance, evil.entry())


def _read_nothing(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    target = _running(room, chance)
    if target:
        callers.deaf(evil.machine, target, chance)


def _babble(room: Room, evil: Evil, chance: Random, links: list[int]) -> None:
    body = chance.randbytes(chance.choice((0, 1, 10, 1000)))
    frame = (len(body) + 1).to_bytes(4, "big") + bytes([chance.randrange(12)]) + body
    evil.send_frame(chance.choice(links), frame)


# The one table of faults: how often each happens, in a second of trouble.
FAULTS = {
    "say": Fault(4.0, _say),
    "start": Fault(2.0, _start),
    "leave": Fault(0.2, _leave),
    "rename": Fault(0.1, _rename),
    "name an address": Fault(0.3, _name_an_address),
    "kill": Fault(0.4, _kill),
    "cut power": Fault(0.3, _cut_power),
    "stop": Fault(0.2, _stop),
    "set clock": Fault(0.3, _set_clock),
    "reset": Fault(0.5, _reset),
    "part": Fault(0.2, _part),
    "block one way": Fault(0.2, _block_one_way),
    "heal": Fault(0.4, _heal),
    "slow": Fault(0.4, _slow),
    "cut bytes": Fault(0.1, _cut_bytes),
    "fill disk": Fault(0.1, _fill_disk),
    "fail disk": Fault(0.1, _fail_disk),
    "mend disks": Fault(0.3, _mend_disks),
    "back up": Fault(0.2, _back_up),
    "restore": Fault(0.1, _restore),
    "lose journal": Fault(0.1, _lose_journal),
    "flip bits": Fault(0.2, _flip_bits),
    "forge": Fault(0.5, _evil(_forge)),
    "fork": Fault(0.3, _evil(_fork)),
    "send the future": Fault(0.3, _evil(_send_the_future)),
    "withhold": Fault(0.3, _evil(_withhold)),
    "boast": Fault(0.2, _evil(_boast)),
    "lie about addresses": Fault(0.3, _evil(_lie_about_addresses)),
    "flood": Fault(0.2, _evil(_flood)),
    "babble": Fault(0.5, _evil(_babble)),
    "crowd": Fault(0.05, _crowd),
    "be rude": Fault(0.5, _evil(_be_rude)),
    "begin anew": Fault(0.05, _begin_anew),
    "read nothing": Fault(0.1, _evil(_read_nothing)),
    "sign seldom": Fault(0.3, _evil(_sign_seldom)),
    "doubt": Fault(0.2, _evil(_doubt)),
    "lose rows": Fault(0.05, _lose_rows),
    "break the chain": Fault(0.3, _evil(_break_the_chain)),
    "prove": Fault(0.2, _evil(_prove)),
    "accuse": Fault(0.3, _evil(_accuse)),
    "say the impossible": Fault(0.6, _evil(_say_the_impossible)),
    "exceed": Fault(0.3, _evil(_exceed)),
    "never end": Fault(0.1, _evil(_never_end)),
    "keep apart": Fault(0.4, _keep_apart),
    "forge a receipt": Fault(1.0, _evil(_forge_a_receipt)),
}
ALWAYS = ("say", "start", "heal", "mend disks")  # or there is little to go wrong


# ---------------------------------------------------------------- the run


def plan_of(seed: int) -> Plan:
    """The steps of an ordeal, in order of time."""
    chance = Random(seed)
    liar = chance.random() < LIARS
    plan = []
    for name, fault in FAULTS.items():
        evil = fault.act.__qualname__.startswith("_evil")
        if (evil and not liar) or (name not in ALWAYS and chance.random() < 0.5):
            continue
        per_s, when = fault.per_s * 10 ** chance.uniform(-0.5, 0.5), 0.0
        while (when := when + chance.expovariate(per_s)) < TROUBLE_S:
            plan.append(Step(when, name, chance.getrandbits(32)))
    return sorted(plan)


# Limits that five members never meet are made so small for some that they do.
SMALL = (
    (protocol, "MAX_RUN", 4),
    (protocol, "MAX_HAVE_LOGS", 3),
    (contacts, "MAX_ADDRESSES", 24),
    (journal, "RUN_BYTES", 64 * 1024),  # one entry always fits
    (links, "HIGH_WATER_BYTES", 1024),
    (links, "MAX_QUEUED_BYTES", 80 * 1024),
)
# How some of them end: with one machine gone for good, or for a while, or on a slow line.
ENDS = (
    (0.2, invariants.the_dead_are_missed),
    (0.2, invariants.who_was_away_is_told_so),
    (0.05, invariants.a_slow_line_is_no_dead_one),
    (0.2, invariants.the_parted_have_receipts),
)


class Ordeal:
    """One run of a plan. `run` raises AssertionError where a promise is broken, and whatever
    else a bug raises; `room` and `faults` tell what happened up to then."""

    def __init__(self, seed: int, nodes: int = 5, plan: Plan | None = None) -> None:
        self.plan = plan_of(seed) if plan is None else plan
        self.room = Room(seed, nodes)
        self._tight = Random(f"limits of {seed}").random() < TIGHT
        self.faults: Counter[str] = Counter()

    def run(self) -> Ordeal:
        with contextlib.ExitStack() as undo:
            if self._tight:
                for module, name, limit in SMALL:
                    undo.callback(setattr, module, name, getattr(module, name))
                    setattr(module, name, limit)
            self._run()
        return self

    def _run(self) -> None:
        room = self.room
        machines = room.machines
        machines[-1].honest = not any(step.fault in _EVIL for step in self.plan)
        for before, machine in zip([machines[-1], *machines], machines, strict=False):
            machine.told = [before.address]
            room.at(room.random.uniform(0.0, 2.0), self._first_start, machine)
        for step in self.plan:
            room.at(step.when, self._strike, step)
        room.run(TROUBLE_S + 1.0)
        self._make_peace()
        assert room.run_until(self._is_whole, PEACE_S), "the room does not come together again"
        for machine in room.machines:
            machine.read_all()
        assert room.run_until(self._is_whole, PEACE_S), "not whole again after the last rescue"
        spoiled = self.faults["flip bits"] + self.faults["lose rows"] > 0
        assert spoiled or not room.rescues, "damage is found where there is none"
        room.check()
        settled = partial(invariants.nobody_is_left_to_dial, room)
        assert room.run_until(settled, PEACE_S), "somebody is dialed without end"
        room.run(contacts.PROOF_S + invariants.REST_S)  # others are told of what was found
        invariants.silence(room, QUIET_S)
        invariants.talk_is_live(room)
        if self.faults["lie about addresses"]:
            invariants.lies_are_let_go(room)
        end = room.random.random()
        for share, come_true in ENDS:
            if 0.0 <= end < share:
                come_true(room)
            end -= share

    @staticmethod
    def _first_start(machine: Machine) -> None:
        if not machine.node:
            machine.start()

    def _strike(self, step: Step) -> None:
        self.faults[step.fault] += 1
        FAULTS[step.fault].act(self.room, Random(step.seed))
        for machine in self.room.up():
            invariants.memory_is_bounded(machine)

    def _make_peace(self) -> None:
        room = self.room
        room.heal()
        room.cuts = False
        _mend_disks(room, room.random)
        for machine in room.machines:
            machine.stopped_until = min(machine.stopped_until, room.now)
            machine.wake()

    def _is_whole(self) -> bool:
        room = self.room
        if len(room.running) < len(room.machines):  # one found damage, and ended
            for machine in room.machines:
                if not machine.node:
                    machine.start()
            return False
        linked = room.full_mesh() if len(room.machines) <= mesh.MAX_LINKS + 1 else True
        return linked and room.converged() and invariants.proven(room.up())


_EVIL = [name for name, fault in FAULTS.items() if fault.act.__qualname__.startswith("_evil")]


def fails(seed: int, nodes: int, plan: Plan) -> BaseException | None:
    """What goes wrong with that plan."""
    try:
        Ordeal(seed, nodes, plan).run()
    except Exception as error:  # a bug may raise anything
        return error
    return None


def shrink(seed: int, nodes: int, runs: int = 400) -> Plan:
    """A plan, as short as can be found in so many runs, that still fails: first the shortest
    failing beginning, then without whatever else can be left out of that."""
    plan = plan_of(seed)
    low, high = 0, len(plan)
    while low < high:
        middle = (low + high) // 2
        runs -= 1
        if fails(seed, nodes, plan[:middle]):
            high = middle
        else:
            low = middle + 1
    plan = plan[:high]
    size = len(plan) // 2
    while size and runs > 0:
        start = 0
        while start < len(plan) and runs > 0:
            shorter = plan[:start] + plan[start + size :]
            runs -= 1
            if fails(seed, nodes, shorter):
                plan = shorter
            else:
                start += size
        size //= 2
    return plan
