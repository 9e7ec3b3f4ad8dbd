"""A slow and bad line between two network namespaces, as a real kernel's TCP sees it.

    python -m tests.slow_line DEVICE DEVICE [--delay-s S] [--loss P] [--bits-per-s N] [--seed N]

It makes two TUN devices and passes the packets of each to the other: late, some of them
never, and no faster than the line is. What waits for the line waits in a queue of bounded
length, as in a modem, and what finds it full is dropped. Who has started it moves the devices
to where they belong. `ready` on standard output says that they are there; the end of standard
input ends them, and a JSON object then says what became of the packets.

(Some kernels have this built in, as tc's netem; many have not.)
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import selectors
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from random import Random

TUN = "/dev/net/tun"
# From linux/if_tun.h: a device of packets (IFF_TUN), with nothing before each (IFF_NO_PI).
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MAX_PACKET_BYTES = 2048  # the devices' MTU is 1500


@dataclass
class Counts:
    """What became of the packets of one direction."""

    passed: int = 0
    lost: int = 0  # by chance
    dropped: int = 0  # since the queue was full


class Way:
    """One direction of the line."""

    def __init__(self, target: int, delay_s: float, loss: float, bits_per_s: int, seed: int):
        self.counts = Counts()
        self._target = target
        self._delay_s, self._loss, self._bits_per_s = delay_s, loss, bits_per_s
        self._random = Random(seed)
        self._queue: deque[tuple[float, bytes]] = deque()  # (when it is there, the packet)
        self._free_at = 0.0  # when the line has taken what is queued
        # As much as is under way within a round trip, as the rule for such queues goes.
        self._queue_s = max(2 * delay_s, 0.05)

    def take(self, packet: bytes, now: float) -> None:
        start = max(now, self._free_at)
        if start > now + self._queue_s:
            self.counts.dropped += 1
            return
        self._free_at = start + len(packet) * 8 / self._bits_per_s
        if self._random.random() < self._loss:
            self.counts.lost += 1  # on the way: it has had its time of the line
            return
        self._queue.append((self._free_at + self._delay_s, packet))

    def give(self, now: float) -> None:
        """Delivers what is there by now."""
        while self._queue and self._queue[0][0] <= now:
            try:
                os.write(self._target, self._queue.popleft()[1])
                self.counts.passed += 1
            except OSError:  # the far device is not up (yet, or any more), or has no room
                self.counts.dropped += 1

    @property
    def deadline(self) -> float:
        return self._queue[0][0] if self._queue else float("inf")


def make_device(name: str) -> int:
    """A TUN device of that name, in the namespace that we are in."""
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def run(ways: dict[int, Way]) -> None:
    """Passes packets until the end of standard input. `ways`: by the device they begin at."""
    selector = selectors.DefaultSelector()
    for descriptor in (0, *ways):
        selector.register(descriptor, selectors.EVENT_READ)
    while True:
        due = min(way.deadline for way in ways.values())
        timeout_s = None if due == float("inf") else max(0.0, due - time.monotonic())
        for key, _ in selector.select(timeout_s):
            if key.fd == 0:
                if not os.read(0, 64):
                    return
                continue
            try:
                packet = os.read(key.fd, MAX_PACKET_BYTES)
            except OSError:  # nothing there after all; or the device is not up
                continue
            ways[key.fd].take(packet, time.monotonic())
        for way in ways.values():
            way.give(time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("devices", nargs=2)
    parser.add_argument("--delay-s", type=float, default=0.0, help="each way")
    parser.add_argument("--loss", type=float, default=0.0, help="how many of 1 get lost")
    parser.add_argument("--bits-per-s", type=int, default=1_000_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    one, other = map(make_device, args.devices)
    line = (args.delay_s, args.loss, args.bits_per_s)
    ways = {one: Way(other, *line, args.seed), other: Way(one, *line, args.seed + 1)}
    print("ready", flush=True)
    run(ways)
    json.dump([asdict(way.counts) for way in ways.values()], sys.stdout)


if __name__ == "__main__":
    main()
