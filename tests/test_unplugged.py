"""The network unplugged for a minute in the middle of a burst. A real minute: so a file of its
own, which runs beside the others."""

from __future__ import annotations

import time
from pathlib import Path

from tests.gathering import HEAL_S, gathering, report
from tests.test_internet import at, begin_talk

UNPLUGGED_S = 60.0
POSTS = 5000


def test_burst_goes_on_where_it_was_after_a_minute_without_network(tmp_path: Path) -> None:
    with gathering(tmp_path) as room:
        host, home = room.internet.host("host"), room.internet.home("ada")
        cyd = room.server(host, "cyd")
        ada = room.join(home, "ada", at(host.ipv4))
        bob = room.join(room.internet.home("bob"), "bob", at(host.ipv4))
        begin_talk(room, ada, bob)
        ada.say(*(f"{number} of a burst" for number in range(POSTS)))
        room.crowd.wait(lambda: len(bob.process.texts()) > POSTS // 10, "the burst has begun")
        home.router.unplug()
        there = len(bob.process.texts())
        assert there < POSTS
        bob.say("can you hear me?")
        room.crowd.wait_s(UNPLUGGED_S / 2)
        ada.say("no")
        room.crowd.wait_s(UNPLUGGED_S / 2)
        # Meanwhile those that were there have found out who can be called, and said so once.
        uncalled = [sum("can call" in text for text in m.process.notices()) for m in (cyd, bob)]
        assert uncalled == [0, 1]
        home.router.plug()
        plugged_at = time.monotonic()
        room.wait_all(HEAL_S)
        healed_s = round(time.monotonic() - plugged_at, 2)
        report("a minute unplugged", there_before=there, posts=POSTS, all_there_s=healed_s)
        room.end()
