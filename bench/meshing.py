"""Meshing: many nodes from nothing to a room in which everybody is linked to everybody.

    python -m bench.meshing [--fast] [--repetitions N]

All are started at once, each with the address of the first, as in a room that begins. The time is
from before the first start until each has told of its last link, in folders in which there is
nothing at all, not even a key. Dials are counted apart, in the transcripts that --debug writes,
which would take time: each is one connection over TCP that was begun, also if nobody was there.

A node links to no more than it is built for (MAX_LINKS): where that is less, a full mesh is one in
which each has so many.

Lives here: the nodes, and what is counted. Never here: why a node dials.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.alone import main
from bench.figures import Figure, Plan
from mesh import MAX_LINKS
from tests.processes import Crowd, Process, free_ports

NODES, FAST_NODES = 32, 8
PATIENCE_S = 60.0
SETTLE_S = 2.0  # until the last dials, of what was heard last, have come to nothing


def measure(plan: Plan) -> Iterator[Figure]:
    nodes = FAST_NODES if plan.fast else NODES
    links = min(nodes - 1, MAX_LINKS)
    seconds: list[float] = []
    repetitions = 1 if plan.fast else plan.repetitions
    for repetition in range(repetitions):
        plan.say(f"{nodes} nodes from nothing: {repetition + 1} of {repetitions}")
        with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
            began = time.perf_counter()
            wait_full(crowd, start_nodes(crowd, nodes), links)
            seconds.append(time.perf_counter() - began)
    note = "" if links == nodes - 1 else f"each linked to {links} or more, as many as it wants"
    yield Figure("h", f"{nodes} nodes from nothing", "selchat", "s", tuple(seconds), note)
    plan.say(f"{nodes} nodes: counting dials")
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder)) as crowd:
        ratio, note = _dials(crowd, nodes, links)
    yield Figure("h", "dials for each link that stays", "selchat", "dials", (ratio,), note)


def start_nodes(crowd: Crowd, nodes: int, *options: str) -> list[Process]:
    """All at once, each with the address of the first. `options`: with the number of the node for
    a {}."""
    ports = free_ports(nodes)
    return [
        crowd.start(
            *(option.format(number) for option in options),
            *("--stay", port, ports[0] if number else 0, f"node{number}"),
            data=f"node-{number}",
        )
        for number, port in enumerate(ports)
    ]


def wait_full(crowd: Crowd, nodes: list[Process], links: int) -> None:
    """Until each has so many links."""

    def is_full(process: Process) -> bool:
        # Most of what it looks at in vain costs no time: a link is told of in a line.
        return process.stdout.count(b'"state":"up"') >= links and len(process.linked()) >= links

    waiting = list(nodes)

    def all_are() -> bool:
        waiting[:] = [each for each in waiting if not is_full(each)]
        return not waiting and all(map(is_full, nodes))

    crowd.wait(all_are, f"each has {links} links", PATIENCE_S)


def _dials(crowd: Crowd, nodes: int, links: int) -> tuple[float, str]:
    """For each link that is there in the end; and what that is made of."""
    processes = start_nodes(crowd, nodes, "--debug", str(crowd.folder / "transcript-{}"))
    wait_full(crowd, processes, links)
    crowd.wait_s(SETTLE_S)
    there = sum(len(process.linked()) for process in processes) / 2
    for process in processes:
        process.popen.terminate()
    for process in processes:
        process.wait_end()
    transcripts = [crowd.folder / f"transcript-{number}" for number in range(nodes)]
    dials = sum(map(dials_in, transcripts))
    return dials / there, f"{dials} dials, {there:.0f} links"


def dials_in(transcript: Path) -> int:
    return transcript.read_text().count("<< OpenLink(")


if __name__ == "__main__":
    sys.exit(main(measure))
