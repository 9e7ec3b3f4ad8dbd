"""A rival: lines to all, through zeromq-pyre, whose nodes find one another by themselves.

    python bench/pyre_mesh.py NAME BEACON_PORT

One line is one shout in one group. Its beacons go to the loopback network, not to that of whoever
runs this.

Lives here: what a good pyre program for this looks like. Never here: selchat.
"""

import ipaddress
import os
import sys

import zmq
from pyre import Pyre
from pyre.zbeacon import ZBeacon

READ_BYTES = 256 * 1024
WRITE_MESSAGES = 1000
GROUP = "bench"


def stay_on_loopback(beacon: ZBeacon) -> None:
    beacon.address = ipaddress.IPv4Address("127.0.0.1")
    beacon.network_address = ipaddress.IPv4Address("127.0.0.0")
    beacon.broadcast_address = ipaddress.IPv4Address("127.255.255.255")
    beacon.interface_name = "lo"


def main(name: str, beacon_port: int) -> None:
    ZBeacon._prepare_socket = stay_on_loopback
    node = Pyre(name)
    node.set_port(str(beacon_port).encode())  # it wants bytes, whatever it says
    node.join(GROUP)
    node.start()
    inbox = node.socket()
    poller = zmq.Poller()
    poller.register(0, zmq.POLLIN)
    poller.register(inbox, zmq.POLLIN)
    rest = b""
    while True:
        ready = dict(poller.poll())
        if 0 in ready:
            data = os.read(0, READ_BYTES)
            if not data:
                node.stop()
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                node.shout(GROUP, [line])
        if inbox in ready:
            messages: list[bytes] = []
            try:
                while len(messages) < WRITE_MESSAGES:
                    kind, *parts = inbox.recv_multipart(zmq.NOBLOCK)
                    if kind == b"SHOUT":
                        messages.append(parts[3])
            except zmq.Again:
                pass
            text = memoryview(b"".join(message + b"\n" for message in messages))
            while text:
                text = text[os.write(1, text) :]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
