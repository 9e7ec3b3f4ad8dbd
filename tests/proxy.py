"""A bad network on one machine: what nodes say to one another passes here, and suffers.

    python -m tests.proxy [--seed N] PORT...

A node listens on each PORT of 127.0.0.1. The proxy listens on the same port of FRONT,
another address of this machine, and calls the nodes from there. So whatever nodes find
out about each other's addresses ("it called from FRONT and says it listens on PORT")
leads through here again: a node that was told of FRONT alone never finds a way around.

Each line of standard input is the weather from now on: a JSON object with fields of
`Weather`. Each is answered on standard output with what was done to the calls so far. The
end of input ends the proxy.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random

# All of 127/8 is this machine, on Linux. Of it each test process has an address of its own: the
# proxy's calls take ports of it at random, which must not be those that another one listens on.
_TESTS = os.getppid() if __name__ == "__main__" else os.getpid()
FRONT = f"127.{1 + _TESTS // 250 % 250}.{1 + _TESTS % 250}.2"
READ_BYTES = 64 * 1024
# What waits here of one way of a call. A network holds some, too; then its sender waits.
HELD_BYTES = 256 * 1024
TICK_S = 0.005  # how exact latency and bandwidth are
SAVED_UP_S = 0.1  # a line that was idle is as much ahead of its bandwidth, not more
SLICES_PER_TICK = 20
NO_LINGER = struct.pack("ii", 1, 0)  # SO_LINGER: to close is to reset


@dataclass(frozen=True)
class Weather:
    """What calls suffer. The default is a good network."""

    latency_s: float = 0.0  # each way
    slice_bytes: int = 0  # what arrives, arrives in pieces of 1 up to so many; 0: whole
    bytes_per_s: int = 0  # each way of each call; 0: as fast as it goes
    resets_per_s: float = 0.0  # how often a call is reset, on average
    close_s: float = 0.0  # an end is passed on so much later
    hole: bool = False  # calls are taken, and nothing passes as long as the weather lasts
    forget: bool = False  # nothing ever passes again over the calls that are there now


@dataclass
class Counts:
    """What was done to calls, all in all."""

    calls: int = 0
    resets: int = 0
    forgotten: int = 0
    passed_bytes: int = 0


class Way:
    """One direction of a call."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.queue: deque[tuple[float, bytes]] = deque()  # (when it is due, it); b"": the end
        self.queued_bytes = 0
        self.allowed_bytes = 0.0
        self.watched = False
        self.ended = False  # nothing more comes
        self.done = False  # and that was passed on


class Call:
    """Two sockets, and what is on its way between them."""

    def __init__(self, caller: socket.socket, node: socket.socket) -> None:
        self.sockets = (caller, node)
        self.ways = (Way(caller, node), Way(node, caller))
        self.forgotten = False


class Proxy:
    """All fronts and calls, in one loop."""

    def __init__(self, ports: list[int], random: Random) -> None:
        self.weather = Weather()
        self.counts = Counts()
        self._random = random
        self._calls: dict[int, Call] = {}
        self._selector = selectors.DefaultSelector()
        self._then = time.monotonic()
        for port in ports:
            front = socket.create_server((FRONT, port), backlog=128)
            front.setblocking(False)
            self.watch(front.fileno(), self._taker(front, port))

    def watch(self, descriptor: int, ready: Callable[[], object]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, ready)

    def _taker(self, front: socket.socket, port: int) -> Callable[[], None]:
        def take() -> None:
            try:
                caller, _ = front.accept()
            except BlockingIOError:
                return  # gone again
            node = socket.socket()
            node.bind((FRONT, 0))
            for sock in (caller, node):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            node.connect_ex(("127.0.0.1", port))  # whether it answers shows at the first read
            call = Call(caller, node)
            self._calls[id(call)] = call
            self.counts.calls += 1

        return take

    def change(self, weather: Weather) -> None:
        self.weather = weather
        if weather.forget:
            for call in self._calls.values():
                self.counts.forgotten += not call.forgotten
                call.forgotten = True

    def turn(self) -> None:
        """Waits for something to do, and does it."""
        for call in self._calls.values():
            for way in call.ways:
                self._watch_if_wanted(call, way)
        waiting = any(way.queue for call in self._calls.values() for way in call.ways)
        busy = waiting or self.weather.resets_per_s
        for key, _ in self._selector.select(TICK_S if busy else None):
            key.data()
        now = time.monotonic()
        passed_s, self._then = now - self._then, now
        for call in list(self._calls.values()):
            try:
                if self._random.random() < self.weather.resets_per_s * passed_s:
                    raise ConnectionResetError
                self._pass_on(call, now, passed_s)
            except OSError:
                self._reset(call)

    def _watch_if_wanted(self, call: Call, way: Way) -> None:
        stopped = call.forgotten or self.weather.hole or way.ended
        wanted = not stopped and way.queued_bytes < HELD_BYTES
        if wanted and not way.watched:
            self.watch(way.source.fileno(), lambda: self._take(call, way))
        elif way.watched and not wanted:
            self._selector.unregister(way.source.fileno())
        way.watched = wanted

    def _take(self, call: Call, way: Way) -> None:
        if id(call) not in self._calls:
            return  # reset earlier in this turn
        try:
            data = way.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._reset(call)
            return
        way.ended = not data
        way.queued_bytes += len(data)
        late_s = self.weather.latency_s + (self.weather.close_s if way.ended else 0.0)
        way.queue.append((time.monotonic() + late_s, data))

    def _pass_on(self, call: Call, now: float, passed_s: float) -> None:
        if call.forgotten or self.weather.hole:
            return
        for way in call.ways:
            rate = self.weather.bytes_per_s
            way.allowed_bytes = min(way.allowed_bytes + rate * passed_s, rate * SAVED_UP_S)
            for _ in range(SLICES_PER_TICK):
                if not way.queue or way.queue[0][0] > now or not self._pass_slice(way):
                    break
        if all(way.done for way in call.ways):
            self._forget(call)

    def _pass_slice(self, way: Way) -> bool:
        """Whether the target took it."""
        due, data = way.queue[0]
        if not data:
            way.queue.popleft()
            way.done = True
            way.target.shutdown(socket.SHUT_WR)
            return True
        size = len(data)
        if self.weather.slice_bytes:
            size = min(size, self._random.randint(1, self.weather.slice_bytes))
        if self.weather.bytes_per_s:
            size = min(size, int(way.allowed_bytes))
        if not size:
            return False
        try:
            sent = way.target.send(data[:size])
        except BlockingIOError:
            return False
        way.queue.popleft()
        way.queued_bytes -= sent
        way.allowed_bytes -= sent
        self.counts.passed_bytes += sent
        if sent < len(data):
            way.queue.appendleft((due, data[sent:]))
        return True

    def _reset(self, call: Call) -> None:
        self.counts.resets += 1
        for sock in call.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._forget(call)

    def _forget(self, call: Call) -> None:
        if self._calls.pop(id(call), None) is None:
            return
        for way in call.ways:
            if way.watched:
                self._selector.unregister(way.source.fileno())
        for sock in call.sockets:
            sock.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.proxy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("ports", metavar="PORT", type=int, nargs="+")
    arguments = parser.parse_args()
    proxy = Proxy(arguments.ports, Random(arguments.seed))
    lines = bytearray()
    ended = False

    def read() -> None:
        nonlocal ended
        data = os.read(0, READ_BYTES)
        ended = not data
        lines.extend(data)
        while (end := lines.find(b"\n")) >= 0:
            proxy.change(Weather(**json.loads(lines[:end])))
            del lines[: end + 1]
            say("weather")

    def say(event: str) -> None:
        print(json.dumps({"event": event, **asdict(proxy.counts)}), flush=True)

    proxy.watch(0, read)
    say("ready")
    while not ended:
        proxy.turn()


if __name__ == "__main__":
    main()
