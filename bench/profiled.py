"""A selchat that can be profiled: `python -m bench.profiled FILE ...`, the rest as for selchat.

It is the command as shipped. SIGUSR1 begins a profile, SIGUSR2 ends it and writes it to FILE: so
neither the start nor the end is in it.

Lives here: the profiler around the command. Never here: what is made of the profile.
"""

from __future__ import annotations

import cProfile
import os
import signal
import sys

import selchat


def main() -> int:
    path = sys.argv.pop(1)
    profile = cProfile.Profile()

    def end(*_: object) -> None:
        profile.disable()
        profile.dump_stats(f"{path}.part")
        os.rename(f"{path}.part", path)  # who waits for it finds it whole

    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    signal.signal(signal.SIGUSR2, end)
    return selchat.main()


if __name__ == "__main__":
    sys.exit(main())
