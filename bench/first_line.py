"""The first line: from two who are not even started to a line of one that the other has shown.

What a start costs by itself is measured elsewhere (start.py); this is for comparing it with others,
who may start sooner and then take long to find one another.

Lives here: a part of measure f. Never here: who takes part, how they are started.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.crowd import Crowd, NotReady
from bench.figures import Figure, Plan
from bench.rivals import there

# A server that is there all the time is another thing than two who find one another.
WHO = ("selchat", "bare mesh, TLS", "pyzmq PUB/SUB", "zeromq-pyre", "lichen-chat")


def measure(plan: Plan) -> Iterator[Figure]:
    contestants = [contestant for contestant in there(plan) if contestant.who in WHO]
    seconds: dict[str, list[float]] = {contestant.who: [] for contestant in contestants}
    plan.say(f"   two from nothing: {', '.join(seconds)}")
    for _ in range(plan.repetitions):
        for contestant in contestants:
            crowd = Crowd(contestant.who)
            began = time.perf_counter()
            try:
                contestant.start(crowd, 1)
                crowd.wait_heard()
                seconds[contestant.who].append(time.perf_counter() - began)
            except (NotReady, OSError) as error:
                plan.failures.append(f"{contestant.who}: {error}")
            finally:
                crowd.close()
    for who, values in seconds.items():
        if values:
            yield Figure("f", "two from nothing to the first line", who, "s", tuple(values))
