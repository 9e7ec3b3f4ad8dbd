"""Whole rooms, simulated: what people are promised, whatever happens to nodes and network."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import pairwise, permutations
from pathlib import Path
from statistics import mean
from typing import cast

import pytest

import contacts
import events
import mesh
import protocol
from protocol import Log
from tests import simulate
from tests.churn import Churn
from tests.ordeal import Ordeal
from tests.simulator import (
    Database,
    Machine,
    Room,
    Socket,
    image_of,
)

SEEDS = 200  # some 30 s of two cores
HOUR_S = 3600.0
HEARTBEAT_S = mesh.PING_S - 1.0
CALM_S = 0.025  # the longest way of a short post: a latency, and a turn at its end
ROOT = Path(__file__).resolve().parent.parent


def started(seed: int, nodes: int) -> Room:
    """A room at rest, in which all were told of the first."""
    room = Room(seed, nodes)
    for node in room.machines:
        node.told = [room.machines[0].address]
        node.start()
    assert room.run_until(room.full_mesh, 3.0)
    room.run(1.0)
    return room


def texts(node: Machine) -> list[str]:
    entries = node.journal.history(10**9)
    return [text for entry in entries for text in protocol.texts_in(entry)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("gap_s", [0.0, 0.01, 2.0])
def test_three_nodes_started_in_any_order_are_all_linked(
    order: tuple[int, ...], gap_s: float
) -> None:
    room = Room(1, 3)
    for before, node in pairwise(room.machines):
        node.told = [before.address]
    for number in order:
        room.machines[number].start()
        room.run(gap_s)
    assert room.run_until(room.full_mesh, 5.0)


@pytest.mark.parametrize("shape", ["ring", "chain", "star"])
def test_eight_nodes_that_know_one_other_each_become_a_full_mesh_in_3_s(shape: str) -> None:
    for seed in range(4):
        room = Room(seed, 8)
        for number, node in enumerate(room.machines):
            other = 0 if shape == "star" else number - 1
            if number or shape == "ring":
                node.told = [room.machines[other].address]
            node.start()
        assert room.run_until(room.full_mesh, 3.0)
        room.run(60.0)
        links = 8 * 7 // 2
        assert room.dials <= 3 * links  # also in all the time after it
        assert room.full_mesh()


@pytest.mark.parametrize("holder", [1, 2])
def test_who_was_away_gets_everything_from_any_member_though_the_author_is_gone(
    holder: int,
) -> None:
    room = started(1, 4)
    author, away = room.machines[0], room.machines[3]
    author.skew_ms = away.skew_ms = 0  # what is live is told by the clocks
    away.leave()
    author.say("while you were away")
    room.run(1.0)
    author.leave()
    room.machines[3 - holder].leave()
    room.run(5.0)
    away.start()
    assert room.run_until(room.converged, 5.0)
    assert texts(away) == ["while you were away"]
    assert len(away.screen.history) == 2  # the author's name and the post: neither is live
    room.check()


def test_what_is_said_while_linked_is_live_on_every_screen() -> None:
    room = started(1, 4)
    for node in room.machines:
        node.say("hello")
        room.run(1.0)
    assert [node.screen.history for node in room.machines] == [[]] * 4
    room.check()


def test_each_entry_travels_once_to_each_member() -> None:
    room = started(1, 6)
    for node in room.machines:
        node.say("hello")
    room.run(3.0)
    assert room.runs == 6 * 5
    room.check()


def test_every_author_learns_who_has_its_posts_on_disk() -> None:
    room = started(1, 5)
    for node in room.machines:
        node.say("hello")
    room.run(1.0)
    assert [node.node.mesh.confirmed_by() for node in room.machines if node.node] == [4] * 5


def test_a_long_log_reaches_a_newcomer_over_links_that_clog() -> None:
    room = Room(1, 3)
    first, second, third = room.machines
    third.told = [first.address, second.address]
    second.told = [first.address]
    first.start()
    for number in range(200):
        first.say(*(f"{number}-{line} " + "x" * 500 for line in range(10)))
    second.start()
    third.start()
    assert room.run_until(room.converged, 10.0)
    room.check()
    assert len(texts(third)) == 2000


def test_the_order_of_the_history_holds_an_answer_after_its_question_by_any_clock() -> None:
    room = started(1, 2)
    early, late = sorted(room.machines, key=lambda node: node.skew_ms)
    for number in range(5):
        late.say(f"question {number}")
        room.run(0.5)
        early.say(f"answer {number}")
        room.run(0.5)
    wanted = [f"{kind} {number}" for number in range(5) for kind in ("question", "answer")]
    assert texts(early) == texts(late) == wanted


def test_who_starts_at_the_same_time_is_linked_soon_with_few_dials_and_few_words() -> None:
    room = Room(1, mesh.MAX_LINKS)
    sent: Counter[str] = Counter()

    def count(actions: list[events.Action]) -> None:
        messages = [action.message for action in actions if isinstance(action, events.SendMessage)]
        sent.update(type(message).__name__ for message in messages)

    first, *others = room.machines
    first.start()
    for node in others:
        node.look_on = count
        node.told = [first.address]
        room.at(room.random.uniform(0.0, 1.5), node.start)
    ends = len(room.machines) * (len(room.machines) - 1)  # of links, two each
    room.run(1.5)
    assert room.run_until(room.full_mesh, 1.0 + contacts.HEARSAY_S)
    assert room.dials <= 0.9 * ends, "one for each link, and those that need proof at once"
    assert sent["Peers"] <= 5 * ends
    room.run(contacts.PROOF_S + mesh.PEERS_LARGE_S)
    assert room.dials <= 1.05 * ends, "each has proven each"
    assert sent["Peers"] <= 7 * ends
    meshes = [node.node.mesh for node in room.machines if node.node]
    assert all(len(each.contacts.where(each.members)) == len(meshes) - 1 for each in meshes)


def test_a_room_at_rest_dials_nobody() -> None:
    room = started(1, 6)
    room.run(5.0 + contacts.PROOF_S)
    dials = room.dials
    room.run(300.0)
    assert room.dials == dials and room.full_mesh()


def test_a_room_that_was_parted_for_long_is_whole_again_soon() -> None:
    room = started(1, 6)
    room.part(room.machines[:3])
    room.run(20.0)
    for node in room.machines:
        node.say(f"{node.name} is still here")
    room.run(600.0)
    room.heal()
    assert room.run_until(room.converged, contacts.BACKOFF_NAMED_S + 1.0)
    assert room.run_until(room.full_mesh, 2 * contacts.BACKOFF_NAMED_S)
    room.check()


def test_two_halves_of_a_large_room_that_have_links_enough_find_each_other_again() -> None:
    room = Room(1, 2 * (mesh.MAX_LINKS + 4))
    for before, node in pairwise(room.machines):
        node.told = [before.address]
    for node in room.machines:
        node.start()
    room.run(5.0)
    half = room.machines[: mesh.MAX_LINKS + 4]
    room.part(half)
    room.run(mesh.DEAD_S + mesh.PING_S)
    meshes = [machine.node.mesh for machine in room.machines if machine.node]

    def content() -> bool:
        return all(len(each.members) >= mesh.MAX_LINKS for each in meshes)

    assert room.run_until(content, 120.0), "each half has links enough"
    for node in room.machines:
        node.say(f"{node.name} is still here")
    room.run(1.0)
    room.heal()
    assert room.run_until(room.converged, 1.5 * contacts.EXPLORE_S + mesh.HANDSHAKE_S)
    room.check()


class Talk:
    """What some nodes say, how long it takes to each other's screens, which links come and go
    meanwhile, and what is held for one who may not read."""

    def __init__(self, nodes: list[Machine], reader: Machine) -> None:
        self.said = 0
        self.delays: list[float] = []
        self.links: list[events.ShowLink] = []
        self.held: list[int] = []  # by one node, whenever something happened
        self._nodes, self._reader = nodes, reader
        self._shown: dict[tuple[Log, int], float] = {}
        for node in nodes:
            node.look_on = partial(self._look, node)

    def _look(self, node: Machine, actions: list[events.Action]) -> None:
        now = node.room.now
        for action in actions:
            if isinstance(action, events.ShowLink):
                self.links.append(action)
            elif isinstance(action, events.ShowPosts):
                for log, seq in ((entry.log, entry.seq) for entry in action.entries):
                    if log == node.log:
                        self._shown[log, seq] = now
                    else:
                        self.delays.append(now - self._shown[log, seq])
        self.held.append(held_for(self._reader, node))

    def go_on(self, seconds: float, pause_s: float, *posts: str) -> int:
        """All say `posts` again and again; the most that one held for the reader."""
        room, self.held = self._reader.room, [0]
        end = room.now + seconds
        while room.now < end:
            for node in self._nodes:
                node.say(*posts)
                self.said += len(posts)
            room.run(min(pause_s, end - room.now))
        return max(self.held)


def held_for(reader: Machine, node: Machine) -> int:
    """Bytes that `node` has for `reader`: queued, in the kernels of both, and in its books."""
    assert node.node is not None
    held = 0
    for connection in node.node.connections.values():
        sock = cast(Socket, connection._socket)
        if getattr(sock, "peer", sock).machine is reader:
            held += connection.link.queued_bytes + sock.in_flight
    for link in node.node.mesh.links.values():
        if link.member == reader.member:
            logs = len(link.sent) + len(link.lacking) + len(link.deferred) + len(link.untold)
            held += 100 * (logs + len(link.parted) + len(link.telling))
    return held


def stand_still(reader: Machine, seconds: float) -> None:
    """`reader` takes in nothing for so long, but says on each of its links that it is there."""
    room, node = reader.room, reader.node
    assert node is not None
    links = list(node.connections.values())
    reader.stopped_until = room.now + seconds

    def beat() -> None:
        if room.now < reader.stopped_until:
            for connection in links:
                connection.link.send(protocol.Ping())
                connection.flush()
            room.after(HEARTBEAT_S, beat)

    beat()


@pytest.mark.parametrize(
    ("posts", "pause_s", "later_pause_s"),
    [
        (("so it goes",) * 34, 0.1, 10.0),  # 1,020 posts a second by all; then 10
        (("x" * protocol.MAX_POST_BYTES,), 1.0, 60.0),
    ],
)
def test_who_is_there_and_reads_nothing_for_an_hour_costs_others_half_a_megabyte_and_no_time(
    posts: tuple[str, ...], pause_s: float, later_pause_s: float
) -> None:
    """A minute of much, and the rest of the hour less often: it is long enough, and what is
    held after a minute of much is held after twenty seconds of it."""
    calm, still = list[float](), list[float]()
    for delays in (calm, still):
        room = started(1, 4)
        *others, reader = room.machines
        talk = Talk(others, reader)
        if delays is still:
            stand_still(reader, HOUR_S + 1.0)
        soon = talk.go_on(20.0, pause_s, *posts)
        held = max(
            talk.go_on(40.0, pause_s, *posts), talk.go_on(HOUR_S - 60, later_pause_s, *posts)
        )
        delays += talk.delays
        assert not talk.links, "what is there is linked"
        if delays is still:
            assert texts(reader) == [], "it did not stand still"
            answers = HOUR_S / HEARTBEAT_S * len(protocol.encode(protocol.Pong()))
            entry = 512 + sum(1 + len(post) for post in posts)  # one more or less is in a run
            assert held <= soon + answers + entry
            assert held <= 512 * 1024
        assert room.run_until(room.converged, 5.0)
        assert len(texts(reader)) == talk.said
        room.check()
    assert len(still) == len(calm)
    assert mean(still) <= 1.05 * mean(calm)
    assert max(still) <= max(calm) + 0.001


def test_who_asks_without_end_and_reads_no_answer_loses_its_link_at_a_limit() -> None:
    room = started(1, 4)
    *others, reader = room.machines
    reader.honest = False
    assert reader.node is not None
    connection = next(iter(reader.node.connections.values()))
    talk, held = Talk(others, reader), 0
    reader.stopped_until = room.now + 30.0
    while not talk.links:
        for _ in range(1000):
            connection.link.send(protocol.Ping())
        connection.flush()
        held = max(held, talk.go_on(0.05, 0.05, "so it goes"))
    assert held <= 512 * 1024 + 2048  # the books of the mesh
    assert [link.reason.split(":")[0] for link in talk.links] == ["sent nothing back"]
    assert talk.go_on(30.0, 1.0, "and on") < 512 * 1024
    assert max(talk.delays) < CALM_S
    assert room.run_until(room.full_mesh, 5.0)
    room.check()
    assert texts(reader) == texts(others[0])


@pytest.mark.parametrize("number", [0, 3])
def test_a_process_that_is_stopped_for_an_hour_is_missed_and_gets_everything_when_it_goes_on(
    number: int,
) -> None:
    """The first is the one that all the others dial, for their users have named it."""
    room = started(1, 4)
    reader = room.machines[number]
    talk = Talk([node for node in room.machines if node is not reader], reader)
    reader.stopped_until = room.now + HOUR_S
    talk.go_on(mesh.DEAD_S + 1.0, 1.0, "is anybody not there?")
    ends = [(link.state, link.member, link.reason) for link in talk.links]
    assert ends == [("down", reader.member, "not heard for 12 s")] * 3
    held = talk.go_on(reader.stopped_until - room.now, 30.0, "somebody is not")
    assert held < 1024, "nothing but knocks"
    assert len(talk.links) == 3, "the others stay linked"
    assert max(talk.delays) < CALM_S
    assert room.run_until(room.full_mesh, 5.0)
    room.check()
    assert len(texts(reader)) == talk.said


def test_a_member_that_forks_its_log_is_found_out_and_what_others_say_goes_everywhere() -> None:
    room = Room(4, 4)
    forker, ann, zoe, clone = room.machines
    forker.told, ann.told, zoe.told = [], [forker.address, zoe.address], [forker.address]
    for node in (forker, ann, zoe):
        node.start()
    assert room.run_until(lambda: len(zoe.screen.linked) == 2, 5.0)
    forker.say("one thing")
    room.run(1.0)
    forker.leave()
    # A second machine from a copy of the disk that is too good: its seal fits.
    clone.member, clone.disk.seal = forker.member, forker.disk.seal
    clone.disk.replace(forker.disk.db.serialize())
    room.truth.forked[forker.log] = None
    clone.told = [zoe.address]
    room.part([zoe, clone])
    forker.told = [ann.address]
    forker.start()
    clone.start()
    room.run(30.0)
    forker.say("left")
    clone.say("right")  # after its name, which is another: this side is longer
    room.run(1.0)
    room.heal()
    room.run(60.0)
    ann.say("we go on")
    zoe.say("so we do")
    room.run(5.0)
    for node in (ann, zoe):
        assert list(node.journal.forks) == [forker.log] == [clone.log]
        assert sum("has forked its log" in notice for notice in node.notices) == 1
        frontier = node.journal.frontier()
        assert frontier[ann.log] == frontier[zoe.log] == 2
        assert node.screen.placed[ann.log] == node.screen.placed[zoe.log] == 2  # on the screens too
        assert {ann.member, zoe.member} - {node.member} <= set(node.screen.linked)


def test_a_room_larger_than_its_members_links_holds_the_same_everywhere() -> None:
    room = Room(1, mesh.MAX_LINKS + 8)
    for before, node in pairwise(room.machines):
        node.told = [before.address]
    for node in room.machines:
        node.start()
    room.run(5.0)
    for node in room.machines:
        assert node.node and len(node.node.mesh.members) >= mesh.MAX_LINKS
        node.say("hello")
    room.run(0.1)
    assert room.run_until(room.converged, 5.0)
    room.check()


def test_nothing_is_lost_doubled_or_out_of_order_whatever_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`make simulate` runs as many as one likes."""
    status = simulate.run(1, SEEDS, nodes=5, jobs=os.cpu_count() or 1)
    told = capsys.readouterr().out
    assert status == 0, told
    assert f"{SEEDS} seeds" in told and "no promise was broken" in told


def test_a_large_room_whose_members_come_and_go_stays_one_room() -> None:
    """`make simulate NODES=... MINUTES=... CHURN=...` is the same at length."""
    Churn(1, nodes=25, minutes=0.5, percent=20.0).run()


def test_a_simulated_power_cut_leaves_what_was_synced_to_the_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sync, same = Database.sync, []

    def compared(db: Database) -> None:
        sync(db)
        same.append(image_of(db.platter()) == image_of(db))

    monkeypatch.setattr(Database, "sync", compared)
    Ordeal(3).run()
    assert len(same) > 50 and all(same)


def test_one_seed_is_one_run_to_the_byte() -> None:
    traces = [Ordeal(seed).run().room.trace() for seed in (1, 1, 2)]
    assert traces[0] == traces[1] != traces[2]


def trace_under(python: str, hash_seed: str) -> str | None:
    """Of some seeds. None where that Python can't be run: a machine need not have them all."""
    command = [python, "-m", "tests.simulate", "--seeds", "4", "--jobs", "1"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    traces = re.findall(r"trace ([0-9a-f]+)$", ran.stdout, re.MULTILINE)
    return traces[0] if ran.returncode == 0 else None


def test_one_seed_is_one_run_under_any_python_and_any_hash_seed() -> None:
    found = {trace_under(sys.executable, "1"), trace_under(sys.executable, "2")}
    assert None not in found
    others = [which for minor in range(11, 15) if (which := shutil.which(f"python3.{minor}"))]
    found |= {trace_under(python, "3") for python in others}
    assert len(found - {None}) == 1
