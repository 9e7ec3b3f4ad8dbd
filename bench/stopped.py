"""Stopped: what happens when one of eight readers reads nothing while much is said.

First a part of it with all of them reading, for comparison; then 20 MB, and nobody reads what the
last receiver writes; then it is read again, for as long as something comes. (Of the slower ones less
than 20 MB: as much as they deliver in a few seconds.) How much a process has grown is its peak
during the 20 MB, which the kernel keeps, over what it had before.

Of selchat once more with a receiver that is stopped as a whole (SIGSTOP), and goes on later.

Lives here: measure d. Never here: who takes part, how they are started.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.contestants import OURS
from bench.crowd import LINE_BYTES, Contestant, Crowd, Flow, NotReady, forget_peak, memory_kib
from bench.figures import Figure, Plan
from bench.rivals import RIVALS
from bench.throughput import enough_lines, ready

RECEIVERS = 8
STOPPED_BYTES, FAST_STOPPED_BYTES = 20_000_000, 4_000_000
RIVAL_S, FAST_RIVAL_S = 2.0, 0.5  # that a rival gets for it: mosquitto would need ten, pyre a minute
COMPARED = 0.25  # of the lines are said with all reading, for comparison
FEW = 100  # lines, that the slowest are tried with: lichen-chat needs some seconds for them


@dataclass
class _Found:
    """In all repetitions."""

    pace: list[float] = field(default_factory=list)  # of the others, as a share of the usual
    lost: list[float] = field(default_factory=list)  # of its lines, that it never got
    grown_mib: list[float] = field(default_factory=list)  # of the process that grew most
