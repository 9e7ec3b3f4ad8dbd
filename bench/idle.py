"""Idle links and idle nodes: what they cost while nobody says anything.

    python -m bench.idle [--fast] [--repetitions N]

A node gets 100, 500 and 1,000 links (wide.py: one as shipped would refuse that many callers), whose
far ends are one process. Its memory is what the kernel says (smaps_rollup); what a link needs is
how much that grows with each, by the line that fits best. Its time on the processor is taken over a
whole round of heartbeats. Beside it, what holds as many links over TLS and nothing else: a bare
program, and `ncat` where it is installed.

Then a room of 33 nodes, as shipped, in which nobody says anything.

Lives here: who is measured when. Never here: the far ends (far_ends.py).
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from subprocess import DEVNULL
from typing import NamedTuple

from bench.alone import main
from bench.figures import Figure, Plan
from bench.meshing import start_nodes, wait_full
from mesh import MAX_LINKS, PING_S
from tests.processes import ROOT, Crowd, Process, free_ports

LINKS, FAST_LINKS = (0, 100, 500, 1000), (0, 50)
NODES, FAST_NODES = 33, 5
# Memory hardly differs from one run to the next: the spread shows it.
REPETITIONS = 1
SETTLE_S, FAST_SETTLE_S = 2.0, 0.5  # until nobody tells anybody any more whom it is linked to
REST_S, FAST_REST_S = PING_S, 1.0  # a round of heartbeats; a part of one shows that it runs
BARE_SETTLE_S = 0.2  # there nobody tells anybody anything
PATIENCE_S = 120.0  # for five hundred handshakes, and keys, on a machine that is busy
MODULE = (sys.executable, "-m")

Start = Callable[[Crowd, str], tuple[Process, int]]  # who holds links, and on which port


@dataclass(frozen=True)
class Memory:
    """Of one process, KiB."""

    resident: int
    shared_out: int  # resident, what others have as well divided by how many have it
    private: int  # what it has written to: pages of files are private until somebody else runs


def memory_in(smaps_rollup: str) -> Memory:
    def kib(*fields: str) -> int:
        return sum(
            int(each)
            for each in re.findall(rf"^(?:{'|'.join(fields)}): +(\d+) kB", smaps_rollup, re.M)
        )

    return Memory(kib("Rss"), kib("Pss"), kib("Private_Dirty"))


def memory_of(process: Process) -> Memory:
    return memory_in(Path(f"/proc/{process.popen.pid}/smaps_rollup").read_text())


def slope(points: dict[int, float]) -> float:
    """What one more costs, by the line that fits best."""
    return linear_regression(list(points), list(points.values())).slope


def measure(plan: Plan) -> Iterator[Figure]:
    yield from _links(plan)
    yield from _nodes(plan)


def _settle_s(plan: Plan) -> float:
    return FAST_SETTLE_S if plan.fast else SETTLE_S


def _rest_s(plan: Plan) -> float:
    return FAST_REST_S if plan.fast else REST_S


# ---------------------------------------------------------------- many links


class Rest(NamedTuple):
    """What a node has needed while nobody said anything."""

    seconds: float
    cpu_us: float
    wakes: int
    memory: Memory


def _links(plan: Plan) -> Iterator[Figure]:
    repetitions = 1 if plan.fast else min(plan.repetitions, REPETITIONS)
    kib_a_link: dict[str, list[float]] = defaultdict(list)
    rests: dict[int, Rest] = {}  # of selchat, by the number of links
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        for repetition in range(repetitions):
            for who, start in _holders(plan).items():
                plan.say(f"idle links of {who}: {repetition + 1} of {repetitions}")
                is_ours = who == "selchat"
                holder, port = start(crowd, f"{who[:4]}-{repetition}")
                ends = _start_far_ends(crowd, "selchat" if is_ours else "tls", port)
                settle_s = _settle_s(plan) if is_ours else BARE_SETTLE_S
                looked = rests if is_ours and not repetition else None
                points = _grow(crowd, holder, ends, settle_s, plan, looked)
                kib_a_link[who].append(slope(points))
                _end(crowd, ends, holder)
    for who, values in kib_a_link.items():
        most = (FAST_LINKS if plan.fast else LINKS)[-1]
        yield Figure("c", f"a link, of up to {most:,}", who, "KiB", tuple(values), "private")
    yield from rest_figures(rests)


def _holders(plan: Plan) -> dict[str, Start]:
    holders: dict[str, Start] = {"selchat": _start_selchat, "bare": _start_bare}
    if shutil.which("ncat"):
        holders["ncat --ssl --broker"] = _start_ncat
    else:
        plan.say("no ncat here: idle links without it")
    return holders


def _grow(
    crowd: Crowd,
    holder: Process,
    ends: Process,
    settle_s: float,
    plan: Plan,
    rests: dict[int, Rest] | None,
) -> dict[int, float]:
    """Its memory, KiB, by the number of links. `rests`: where to keep what it needs at rest."""
    points = {}
    for links in FAST_LINKS if plan.fast else LINKS:  # first without any
        _open_links(crowd, ends, links)
        crowd.wait_s(settle_s)
        points[links] = float(memory_of(holder).private)
        if rests is not None and links:
            rests[links] = _rest(crowd, holder, _rest_s(plan))
    return points


def _rest(crowd: Crowd, node: Process, seconds: float) -> Rest:
    cpu_s, sleeps = node.cpu_s(), node.sleeps()
    crowd.wait_s(seconds)
    cpu_us, wakes = 1e6 * (node.cpu_s() - cpu_s), node.sleeps() - sleeps
    return Rest(seconds, cpu_us, wakes, memory_of(node))


def rest_figures(rests: dict[int, Rest]) -> Iterator[Figure]:
    """`rests`: by the number of links."""
    for links, rest in rests.items():
        for what, unit, value in (
            ("resident", "MiB", rest.memory.resident / 1024),
            ("CPU", "ms a second", rest.cpu_us / 1000 / rest.seconds),
            ("wake-ups", "a second", rest.wakes / rest.seconds),
        ):
            yield Figure("c", f"{links:,} idle links, {what}", "selchat", unit, (value,))
    # Where a whole round was looked at each link has had one.
    costs_us = {
        links: rest.cpu_us / links for links, rest in rests.items() if rest.seconds == REST_S
    }
    for links, cost_us in costs_us.items():
        yield Figure("c", f"{links:,} idle links, CPU a heartbeat", "selchat", "us", (cost_us,))
    if costs_us:
        least, most = min(costs_us), max(costs_us)
        what = f"CPU a heartbeat, {most:,} : {least:,} links"
        yield Figure("c", what, "selchat", "times", (costs_us[most] / costs_us[least],))


def _start_selchat(crowd: Crowd, name: str) -> tuple[Process, int]:
    node = crowd.start(
        *("--json", "--stay", "--data", crowd.folder / name, "0", "0", "node"),
        command=[*MODULE, "bench.wide"],
        environment={"PYTHONPATH": str(ROOT)},
        stdin=DEVNULL,
    ).wait_ready()
    return node, node.port


def _start_bare(crowd: Crowd, name: str) -> tuple[Process, int]:
    bare = crowd.start(
        crowd.folder / name,
        command=[*MODULE, "bench.bare_links"],
        environment={"PYTHONPATH": str(ROOT)},
        stdin=DEVNULL,
    )
    crowd.wait(lambda: bare.lines or bare.has_ended, "the bare program listens")
    return bare, int(bare.lines[0])


def _start_ncat(crowd: Crowd, name: str) -> tuple[Process, int]:
    (port,) = free_ports(1)
    ncat = crowd.start(
        *("--ssl", "--broker", "--listen", "--max-conns", 2 * LINKS[-1], "-v", "127.0.0.1", port),
        command=["ncat"],
        stdin=DEVNULL,
    )
    crowd.wait(lambda: b"Listening on" in ncat.stderr or ncat.has_ended, "ncat listens")
    return ncat, port


def _start_far_ends(crowd: Crowd, kind: str, port: int) -> Process:
    keys = crowd.folder / "keys"  # that are made once
    keys.mkdir(exist_ok=True)
    return crowd.start(
        *(kind, port, keys),
        command=[*MODULE, "bench.far_ends"],
        environment={"PYTHONPATH": str(ROOT)},
    )


def _open_links(crowd: Crowd, ends: Process, links: int) -> None:
    if links:
        ends.say(str(links))
        there = f"{links} links are up"
        crowd.wait(lambda: str(links) in ends.lines or ends.has_ended, there, PATIENCE_S)
        assert not ends.has_ended, ends.stderr.decode()


def _end(crowd: Crowd, *processes: Process) -> None:
    for process in processes:
        process.close()
        crowd.processes.remove(process)


# ---------------------------------------------------------------- many nodes


def _nodes(plan: Plan) -> Iterator[Figure]:
    count = FAST_NODES if plan.fast else NODES
    plan.say(f"{count} idle nodes")
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        nodes = start_nodes(crowd, count)
        wait_full(crowd, nodes, min(count - 1, MAX_LINKS))
        crowd.wait_s(_settle_s(plan))
        before = [(node.cpu_s(), node.sleeps()) for node in nodes]
        seconds = _rest_s(plan)
        crowd.wait_s(seconds)
        after = [(node.cpu_s(), node.sleeps()) for node in nodes]
        memory = [memory_of(node) for node in nodes]
        links = sum(len(node.linked()) for node in nodes) / count
    cpu_ms = [1000 * (now[0] - then[0]) / seconds for then, now in zip(before, after, strict=True)]
    wakes = [(now[1] - then[1]) / seconds for then, now in zip(before, after, strict=True)]
    note = f"one value for each node; {links:.0f} links each"
    for what, unit, values in (
        ("resident", "MiB", [each.resident / 1024 for each in memory]),
        ("shared fairly", "MiB", [each.shared_out / 1024 for each in memory]),
        ("CPU", "ms a second", cpu_ms),
        ("wake-ups", "a second", wakes),
    ):
        yield Figure("c", f"{count} idle nodes, {what}", "selchat", unit, tuple(values), note)


if __name__ == "__main__":
    sys.exit(main(measure))
