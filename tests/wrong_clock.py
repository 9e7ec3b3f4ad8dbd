"""selchat on a machine whose clock is wrong.

    python -m tests.wrong_clock SECONDS [selchat's own arguments]

The clock of the room's posts is so far ahead, or behind if that is less than 0. OpenSSL, which
looks at it for certificates, asks the system itself; of those test_identity.py says how long they
last.
"""

from __future__ import annotations

import sys
import time

import selchat

YEAR_S = 365 * 86_400


def main(arguments: list[str]) -> int:
    ahead_s = int(arguments[0])
    right_s, right_ns = time.time, time.time_ns
    time.time = lambda: right_s() + ahead_s
    time.time_ns = lambda: right_ns() + ahead_s * 10**9
    return selchat.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
