"""A rival: lines to all, over a mesh of pyzmq's PUB and SUB sockets.

    python bench/zmq_mesh.py PORT [PEER_PORT...]

One line is one message, as in any chat; many that have come are written at once. No queue has a
limit, for by default PUB throws away what is more than 1,000 messages.

Lives here: what a good pyzmq program for this looks like. Never here: selchat.
"""

import os
import sys

import zmq

READ_BYTES = 256 * 1024
WRITE_MESSAGES = 1000


def main(port: int, peers: list[int]) -> None:
    context = zmq.Context()
    publisher, subscriber = context.socket(zmq.PUB), context.socket(zmq.SUB)
    publisher.set_hwm(0)
    subscriber.set_hwm(0)
    subscriber.subscribe(b"")
    publisher.bind(f"tcp://127.0.0.1:{port}")
    for peer in peers:
        subscriber.connect(f"tcp://127.0.0.1:{peer}")
    poller = zmq.Poller()
    poller.register(0, zmq.POLLIN)
    poller.register(subscriber, zmq.POLLIN)
    rest = b""
    while True:
        ready = dict(poller.poll())
        if 0 in ready:
            data = os.read(0, READ_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                publisher.send(line)
        if subscriber in ready:
            messages: list[bytes] = []
            try:
                while len(messages) < WRITE_MESSAGES:
                    messages.append(subscriber.recv(zmq.NOBLOCK))
            except zmq.Again:
                pass
            text = memoryview(b"\n".join(messages) + b"\n")
            while text:
                text = text[os.write(1, text) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]])
