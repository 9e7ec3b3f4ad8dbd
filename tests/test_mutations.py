"""Each promise broken on purpose: the simulator must notice.

A row says what is broken, where, and how; the text that it changes must be there exactly once,
so that the table can't rot. `seed` is one that caught it: tried first, because that is quick;
if the world has changed since, any of SEEDS may. What is in no row, nobody has shown to be
checked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
SEEDS = 1000
WORK = """
import sys
from tests.simulate import work
seed, count = map(int, sys.argv[1:])
print(work([seed, *range(1, 1 + count)], 5).failed)
"""


class Mutation(NamedTuple):
    broken: str
    file: str
    old: str
    new: str
    seed: int


MUTATIONS = [
    Mutation(
        "a turn is committed before anything of it is sent",
        "node.py",
        '"""Store, then send. What people see is to follow, too."""\n',
        '"""Sends, then stores."""\n'
        "        for connection in self._unflushed.values():\n"
        "            connection.flush()\n",
        1,
    ),
    Mutation(
        "a socket that becomes writable takes nothing of a turn that is not over",
        "net.py",
        "self.flush(mid_turn=True)",
        "self.flush()",
        13,
    ),
    Mutation(
        "a turn is committed before it is shown",
        "node.py",
        "if self.journal.commit() and self.mesh.unsynced:",
        "if self.mesh.unsynced and self.journal.commit():",
        1,
    ),
    Mutation(
        "what is acknowledged was synced",
        "node.py",
        "        self.journal.sync()\n",
        "",
        3,
    ),
    Mutation(
        "a commit is a commit",
        "journal.py",
        'self._save_summary()\n                self._db.execute("COMMIT")',
        "self._save_summary()",
        1,
    ),
    Mutation(
        "what is one's own is synced by its commit",
        "journal.py",
        "self._begin(full=True)\n            return",
        "self._begin(full=False)\n            return",
        1,
    ),
    Mutation(
        "a commit without a sync is not taken for one",
        "journal.py",
        "self._synced = self._full",
        "self._synced = True",
        3,
    ),
    Mutation(
        "a log is continued only under a seal",
        "journal.py",
        "own = sealed if continued and sealed is not None else author + fresh",
        "own = next((log for log in self._logs if log.startswith(author)), author + fresh)",
        9,
    ),
    Mutation(
        "an answer waits for its question",
        "journal.py",
        "                return head\n",
        "                continue\n",
        1,
    ),
    Mutation(
        "what is held is not stored again",
        "journal.py",
        "new = [entry for entry in entries if entry.seq > state.seq]",
        "new = entries",
        3,
    ),
    Mutation(
        "nothing is taken in with a gap before it",
        "journal.py",
        "if entries[0].seq > state.seq + 1:",
        "if False:",
        3,
    ),
    Mutation(
        "signatures are verified",
        "journal.py",
        "if not verify(entries[-1]):",
        "if False:",
        4,
    ),
    Mutation(
        "what does not follow is refused",
        "journal.py",
        "            if conflict:\n",
        "            if False:\n",
        18,
    ),
    Mutation(
        "what a disk gives back is compared",
        "journal.py",
        "if _checksum(row.raw, columns[:6]) != row.checksum:",
        "if False:",
        2,
    ),
    Mutation(
        "an answer stands after its question, whatever the clocks say",
        "journal.py",
        "stamp = max(entry.time_ms, *stamps)",
        "stamp = entry.time_ms",
        1,
    ),
    Mutation(
        "what was named as seen is not named again",
        "journal.py",
        "                del self._tips[head.log]\n",
        "                pass\n",
        1,
    ),
    Mutation(
        "what waited is woken",
        "journal.py",
        "for waiting in self._woken(log, state.placed) if placed else ():",
        "for waiting in ():",
        1,
    ),
    Mutation(
        "who does not answer is dialed less and less",
        "contacts.py",
        "wait_s = min(cap, BACKOFF_S * 2.0 ** min(contact.failures, 30))",
        "wait_s = 0.0",
        1,
    ),
    Mutation(
        "who does not answer is dialed again",
        "contacts.py",
        "self._schedule(contact, now + wait_s * self._random.uniform(0.5, 1.0))",
        "pass",
        4,
    ),
    Mutation(
        "a link that is dead is closed",
        "mesh.py",
        "if self._now >= link.alive + DEAD_S:",
        "if False:",
        8,
    ),
    Mutation(
        "a handshake that stands still is given up",
        "mesh.py",
        "if self._now >= link.opened + HANDSHAKE_S:",
        "if False:",
        4,
    ),
    Mutation(
        "what was put off is sent after all",
        "mesh.py",
        "            del link.deferred[log]\n            link.lacking[log] = None\n",
        "            del link.deferred[log]\n",
        1,
    ),
    Mutation(
        "what is new is sent to all",
        "mesh.py",
        "            link.lacking[event.log] = None\n",
        "",
        1,
    ),
    Mutation(
        "a newcomer gets what it lacks",
        "mesh.py",
        "if link.sent.get(log, 0) < seq:\n",
        "if False:\n",
        1,
    ),
    Mutation(
        "a frontier is told once it is on the platter",
        "mesh.py",
        "        if self.unsynced:\n            self._do(SyncJournal())  #",
        "        if False:\n            self._do(SyncJournal())  #",
        3,
    ),
    Mutation(
        "a member that changes links has not come twice",
        "mesh.py",
        "        if not swapped:\n",
        "        if True:\n",
        3,
    ),
    Mutation(
        "who is at rest is silent",
        "mesh.py",
        "            self._do(SendMessage(link.id, Pong()))\n",
        "            self._do(SendMessage(link.id, Pong()))\n            self._tell_peers()\n",
        1,
    ),
    Mutation(
        "a feed goes on when a piece of it is sent",
        "mesh.py",
        "        link.feeding, link.clogged = False, event.clogged\n        if event.seq",
        "        link.clogged = event.clogged\n        if event.seq",
        1,
    ),
    Mutation(
        "a feed goes on when the line is free again",
        "mesh.py",
        "            link.clogged = False\n            if not",
        "            if not",
        1,
    ),
    Mutation(
        "only what is held is acknowledged",
        "mesh.py",
        "Head(log, self.frontier[log],",
        "Head(log, self.frontier[log] + 1,",
        1,
    ),
    Mutation(
        "what is stored is acknowledged in time",
        "mesh.py",
        "            self._sync_at = NEVER\n            self._do(SyncJournal())\n",
        "            self._sync_at = NEVER\n",
        1,
    ),
    Mutation(
        "who hears of a member dials it",
        "contacts.py",
        "self._want(contact, now + (BACKOFF_NAMED_S if contact.failures else wait_s))",
        "pass",
        1,
    ),
    Mutation(
        "what a socket did not take is sent again",
        "net.py",
        "            self.link.sent(count)\n",
        "            self.link.sent(len(outgoing))\n",
        5,
    ),
    Mutation(
        "what waits for the socket is not overwritten",
        "net.py",
        "self._cipher += self._outgoing.read()",
        "self._cipher = bytearray(self._outgoing.read())",
        1,
    ),
    Mutation(
        "who is clogged is spared",
        "net.py",
        "return self.queued_bytes > HIGH_WATER_BYTES",
        "return False",
        8,
    ),
    Mutation(
        "a line that is free again says so",
        "net.py",
        "drained, self._drained = self._drained, False",
        "drained, self._drained = False, False",
        1,
    ),
    Mutation(
        "a frame may come in pieces",
        "protocol.py",
        "            del self._buffer[:start]\n",
        "            self._buffer.clear()\n",
        2,
    ),
    Mutation(
        "no time is larger than a disk can hold",
        "protocol.py",
        "min(time_ms, MAX_TIME_MS)",
        "time_ms",
        1,
    ),
]


def copy_of_the_tree(path: Path) -> Path:
    (path / "tests").mkdir()
    harness = (file for file in ROOT.glob("tests/*.py") if not file.name.startswith("test_"))
    for source in (*ROOT.glob("*.py"), *harness):
        shutil.copy(source, path / source.relative_to(ROOT))
    return path


def first_failure(tree: Path, seed: int, count: int) -> str:
    """The first of the seeds that fails, or "None": `seed`, then 1, 2, ..., `count`."""
    arguments = (sys.executable, "-c", WORK, str(seed), str(count))
    done = subprocess.run(arguments, cwd=tree, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nothing_is_noticed_where_nothing_is_broken(tmp_path: Path) -> None:
    assert first_failure(copy_of_the_tree(tmp_path), 1, 8) == "None"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.broken)
def test_a_broken_promise_is_noticed(tmp_path: Path, mutation: Mutation) -> None:
    file = copy_of_the_tree(tmp_path) / mutation.file
    text = file.read_text()
    assert text.count(mutation.old) == 1, "the table is not of this code any more"
    file.write_text(text.replace(mutation.old, mutation.new))
    assert first_failure(tmp_path, mutation.seed, SEEDS) != "None", "it goes unnoticed"
