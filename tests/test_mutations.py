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
        3,
    ),
    Mutation(
        "an answer waits for its question",
        "journal.py",
        "                if log not in self._parted:\n                    return head\n",
        "                pass\n",
        1,
    ),
    Mutation(
        "what is held is not stored again",
        "journal.py",
        "new = [entry for entry in entries if entry.seq > state.seq]",
        "new = entries",
        1,
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
        39,
    ),
    Mutation(
        "what a disk gives back is compared",
        "journal.py",
        "if not rows.is_sound(row):",
        "if False:",
        2,
    ),
    Mutation(
        "an answer stands after its question, whatever the clocks say",
        "journal.py",
        "order = (time_ms if time_ms > stamp else stamp, rank + 1)",
        "order = (time_ms, rank + 1)",
        1,
    ),
    Mutation(
        "what was named as seen is not named again",
        "journal.py",
        "                named.append(log)\n",
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
        7,
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
        "            del link.deferred[log]\n            link.lacking.add(log)\n",
        "            del link.deferred[log]\n",
        4,
    ),
    Mutation(
        "what is new is sent to all",
        "mesh.py",
        "            link.lacking.add(event.log)\n",
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
        "            link.clogged = False\n            if self",
        "            if self",
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
        "link.py",
        "self._cipher += self._outgoing.read()",
        "self._cipher = bytearray(self._outgoing.read())",
        1,
    ),
    Mutation(
        "who is clogged is spared",
        "link.py",
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
        "            self._parts, self._size = [rest] if rest else [], len(rest)\n",
        "            self._parts, self._size = [], 0\n",
        2,
    ),
    Mutation(
        "no time is larger than a disk can hold",
        "protocol.py",
        "if time_ms > MAX_TIME_MS:",
        "if False:",
        1,
    ),
    Mutation(
        "the newest name in the room's order counts, whichever came last",
        "journal.py",
        "if newest is None or order >= newest[2:]:",
        "if True:",
        42,
    ),
    Mutation(
        "a proof of a fork is passed on",
        "mesh.py",
        "            link.telling.append(event.proof)\n            self._feed(link)\n",
        "            pass\n",
        39,
    ),
    Mutation(
        "of two links the one that the smaller id dialed stays",
        "mesh.py",
        "return theirs if self.me < new.member else mine",
        "return mine if self.me < new.member else theirs",
        1,
    ),
    Mutation(
        "a link of an earlier run is not kept",
        "mesh.py",
        "return old  # of an earlier run of theirs",
        "return new",
        3,
    ),
    Mutation(
        "nothing is sent to who has not told what it has",
        "mesh.py",
        "if not link.told_all or link.sent",
        "if link.sent",
        1,
    ),
    Mutation(
        "a later Have is not taken for a first frontier",
        "mesh.py",
        "if have.last and not link.told_all:",
        "if have.last:",
        5,
    ),
    Mutation(
        "a frontier is complete when it says so",
        "mesh.py",
        "if have.last and not link.told_all:",
        "if not link.told_all:",
        2,
    ),
    Mutation(
        "an address that is not proven is told to nobody",
        "contacts.py",
        "            if contact.proven and not contact.leads_to:",
        "            if contact.member and not contact.leads_to:",
        1,
    ),
    Mutation(
        "what the far end has is not sent to it",
        "mesh.py",
        "                if seq > before:\n",
        "                if False:\n",
        1,
    ),
    Mutation(
        "what comes from elsewhere in pieces is not sent as well, but is if nothing more comes",
        "mesh.py",
        "                link.deferred[log] = self._now + RELAY_S\n",
        "                link.deferred[log] = NEVER\n",
        67,
    ),
    Mutation(
        "who reads nothing is hung up on",
        "link.py",
        "if self.queued_bytes + len(frame) > MAX_QUEUED_BYTES:",
        "if False:",
        206,
    ),
    Mutation(
        "an address that was made up is let go",
        "contacts.py",
        "if hearsay and contact.failures >= HEARSAY_TRIES:",
        "if False:",
        13,
    ),
    Mutation(
        "no more addresses than fit are remembered",
        "contacts.py",
        "if len(self.known) >= MAX_ADDRESSES and not self._forget_some():",
        "if False:",
        3,
    ),
    Mutation(
        "a frame is no longer than it may be",
        "protocol.py",
        "if not 1 <= length <= MAX_FRAME_BYTES:",
        "if False:",
        49,
    ),
    Mutation(
        "a link at rest is asked whether it lives",
        "mesh.py",
        "        self._do(SendMessage(link.id, Ping()))",
        "        pass",
        1,
    ),
    Mutation(
        "a ping is answered",
        "mesh.py",
        "            self._do(SendMessage(link.id, Pong()))",
        "            pass",
        1,
    ),
    Mutation(
        "what others have from its source is not sent to them at once",
        "mesh.py",
        "if source is not None and source.member and link.is_linked_to(source.member):",
        "if False:",
        2,
    ),
    Mutation(
        "what is stored is acknowledged",
        "mesh.py",
        "                link.untold[event.log] = None\n",
        "                pass\n",
        1,
    ),
    Mutation(
        "nobody is listed as having more than there is",
        "receipts.py",
        "own[log] = max(self._believed(log, seq), own.get(log, 0))",
        "own[log] = max(seq, own.get(log, 0))",
        3,
    ),
    Mutation(
        "a receipt is shown",
        "receipts.py",
        "            self._do(ShowConfirmed(before, after, confirmed))",
        "            pass",
        1,
    ),
    Mutation(
        "what was missed is history",
        "mesh.py",
        "        known = self._history\n",
        "        return [False] * len(entries)\n",
        2,
    ),
    Mutation(
        "what is said now is live",
        "mesh.py",
        "        known = self._history\n",
        "        return [True] * len(entries)\n",
        1,
    ),
    Mutation(
        "what is hardly news is told all the same",
        "mesh.py",
        "min((link.tell_at for link in self.members.values()), default=NEVER)",
        "NEVER",
        1,
    ),
    Mutation(
        "what was acknowledged is not acknowledged again",
        "mesh.py",
        "        link.untold.clear()\n",
        "",
        1,
    ),
    Mutation(
        "who was clogged is told later what is on the platter",
        "mesh.py",
        "            if self.unsynced:\n"
        "                link.tell_at = self._now\n"
        "            else:\n"
        "                self._acknowledge(link)\n"
        "            self.receipts.drained(link, self._now)\n",
        "            self.receipts.drained(link, self._now)\n",
        2,
    ),
    Mutation(
        "who was clogged is told only what is on the platter",
        "mesh.py",
        "            if self.unsynced:\n"
        "                link.tell_at = self._now\n"
        "            else:\n"
        "                self._acknowledge(link)\n",
        "            self._acknowledge(link)\n",
        1,
    ),
    Mutation(
        "a newcomer gets the proofs of forks",
        "mesh.py",
        "        link.telling.extend(self.forks.values())\n",
        "",
        3,
    ),
    Mutation(
        "two branches of one length are found",
        "mesh.py",
        "if seq == held and NO_MARK != mark != self.marks.get(log, mark):",
        "if False:",
        379,
    ),
    Mutation(
        "two branches of two lengths are found",
        "mesh.py",
        "            self._show_ours(link, event.log, event.seq)\n\n    def _show_ours",
        "            pass\n\n    def _show_ours",
        39,
    ),
    Mutation(
        "no more callers stand at the door than may",
        "mesh.py",
        "if len(opening) > MAX_OPENING:",
        "if False:",
        51,
    ),
    Mutation(
        "no turn is all dials",
        "contacts.py",
        "elif self._begun >= DIALS_AT_ONCE:",
        "if False:",
        3,
    ),
    Mutation(
        "a proof of a fork is verified",
        "journal.py",
        "if not (self._verify(first) and self._verify(second)):",
        "if False:",
        1,
    ),
    Mutation(
        "heads are possible",
        "protocol.py",
        "if not 0 < head[1] < _SEQ_END:",
        "if False:",
        18,
    ),
    Mutation(
        "a seq is possible",
        "protocol.py",
        "if not 0 < seq < _SEQ_END or (seq == 1) != (previous == NO_PREVIOUS):",
        "if False:",
        3,
    ),
    Mutation(
        "a run is no longer than may be received",
        "journal.py",
        "if size > RUN_BYTES or len(run) == protocol.MAX_RUN:",
        "if size > RUN_BYTES:",
        2,
    ),
    Mutation(
        "a run is passed on up to a checked entry",
        "journal.py",
        "        return tuple(run[:checked])",
        "        return tuple(run)",
        28,
    ),
    Mutation(
        "what waited for this very entry is woken",
        "journal.py",
        "while waiting and waiting[0][0] <= seq:",
        "while waiting and waiting[0][0] < seq:",
        1,
    ),
    Mutation(
        "what waited goes on to wait after a start",
        "journal.py",
        "            self._advance(log)\n\n    def _load_summary",
        "            pass\n\n    def _load_summary",
        5,
    ),
    Mutation(
        "who leaves says so",
        "mesh.py",
        '                self._do(SendMessage(link.id, Bye("goodbye")))\n',
        "                pass\n",
        2,
    ),
    Mutation(
        "who says goodbye is believed",
        "mesh.py",
        "            self._link_closed_by(link, message.reason)\n        elif",
        "            pass\n        elif",
        4,
    ),
    Mutation(
        "nobody is listened to before its Hello",
        "mesh.py",
        "        elif not link.up:\n"
        '            self._fault(link, f"{type(message).__name__} before its Hello")\n',
        "",
        1,
    ),
    Mutation(
        "nobody greets twice",
        "mesh.py",
        "if link.hello is not None or member is None or hello.version < 1:",
        "if member is None or hello.version < 1:",
        4,
    ),
    Mutation(
        "who sends what is refused is hung up on",
        "mesh.py",
        "            self._fault(link, event.reason)\n\n    def _run_parted",
        "            pass\n\n    def _run_parted",
        1,
    ),
    Mutation(
        "strangers do not fill the screen",
        "mesh.py",
        "if self._now >= self._strangers_at + STRANGERS_S:",
        "if True:",
        2,
    ),
    Mutation(
        "what came over a link is not sent back",
        "mesh.py",
        "            source.sent[event.log] = max(event.seq, source.sent.get(event.log, 0))\n",
        "            pass\n",
        5,
    ),
    Mutation(
        "a link takes in no more in a turn than it may",
        "link.py",
        "while everything or not events or (size < TURN_BYTES and len(events) < TURN_MESSAGES):",
        "while True:",
        1,
    ),
    Mutation(
        "what is decrypted is looked at in the next turn",
        "net.py",
        "again = link.queued_bytes or self._drained or link.unread",
        "again = link.queued_bytes or self._drained",
        3,
    ),
    Mutation(
        "strangers do not get in",
        "link.py",
        "elif not self._gate.is_knock(self._challenge, bytes(got)):",
        "elif False:",
        19,
    ),
    Mutation(
        "of entries of one time the order is kept",
        "journal.py",
        "order = (time_ms if time_ms > stamp else stamp, rank + 1)",
        "order = (time_ms if time_ms > stamp else stamp, 1)",
        1,
    ),
    Mutation(
        "a long message over a slow line keeps its link alive",
        "mesh.py",
        "        if link is not None:\n            link.alive = self._now\n",
        "        pass\n",
        15,
    ),
    Mutation(
        "who leaves has acknowledged what it has",
        "node.py",
        "            self._sync_journal(events.SyncJournal())\n"
        "        self.dispatch(events.Left())",
        "            pass\n        self.dispatch(events.Left())",
        5,
    ),
    Mutation(
        "what waited for a forked log is woken",
        "journal.py",
        "woken = self._woken(log, 2**63)",
        "return []",
        39,
    ),
    Mutation(
        "rows that are gone are missed",
        "journal.py",
        "if _SUMMARY.unpack(value[: _SUMMARY.size]) != self._counts():",
        "if False:",
        379,
    ),
    Mutation(
        "no more logs are remembered for a link than may",
        "mesh.py",
        "if held or log in link.sent or len(link.sent) < MAX_LOGS_TOLD:",
        "if True:",
        14,
    ),
    Mutation(
        "a new name is told",
        "mesh.py",
        "if not self._named or not self.frontier.get(self.log):",
        "if not self.frontier.get(self.log):",
        17,
    ),
    Mutation(
        "what is put off to be synced is put off once",
        "mesh.py",
        "self._sync_at = min(self._sync_at, self._now + SYNC_S)",
        "self._sync_at = self._now + SYNC_S",
        1,
    ),
    Mutation(
        "no entry names its own log",
        "journal.py",
        "heads = tuple(Head(*tip) for tip in self._tips.items() if tip[0] != self._own)",
        "heads = tuple(Head(*tip) for tip in self._tips.items())",
        1,
    ),
    Mutation(
        "who reads nothing is told nothing that can wait",
        "mesh.py",
        "        if link.clogged:\n            return\n        heads",
        "        heads",
        1,
    ),
    Mutation(
        "an entry is no larger than it may be",
        "protocol.py",
        "if len(raw) > MAX_ENTRY_BYTES:",
        "if False:",
        21,
    ),
    Mutation(
        "a Have names no more logs than it may",
        "protocol.py",
        'count = _limited(reader.number(2), MAX_HAVE_LOGS, "logs")',
        "count = reader.number(2)",
        14,
    ),
    Mutation(
        "a Peers names no more members than it may",
        "protocol.py",
        'count = _limited(reader.number(2), MAX_PEERS, "peers")',
        "count = reader.number(2)",
        18,
    ),
    Mutation(
        "a run fits a frame",
        "journal.py",
        "if size > RUN_BYTES or",
        "if",
        1,
    ),
    Mutation(
        "members are told to one another",
        "mesh.py",
        "            for link in self.members.values():\n"
        "                self._do(SendMessage(link.id, peers))",
        "            pass",
        1,
    ),
    Mutation(
        "who finds a proof keeps it",
        "mesh.py",
        "            self._do(KeepFork(link.id, event.proof))",
        "            pass",
        13,
    ),
    Mutation(
        "who gives back what was lost counts as having it",
        "receipts.py",
        "            if log in self._frontier or log in own or len(own) < MAX_OWN_LOGS:\n",
        "            if log in self._frontier:\n",
        8,
    ),
    Mutation(
        "an entry names the one before it",
        "protocol.py",
        "        if previous != sha256(before).digest():\n",
        "        if False:\n",
        4,
    ),
    Mutation(
        "a receipt is signed",
        "node.py",
        "        if self._world.verify_receipt(action.receipt):\n",
        "        if True:\n",
        164,
    ),
    Mutation(
        "a receipt is for what is on the platter",
        "mesh.py",
        "        if self.receipts.at <= self._now and not self.unsynced:\n",
        "        if self.receipts.at <= self._now:\n",
        1,
    ),
    Mutation(
        "a receipt is passed on",
        "receipts.py",
        "            each.passing[receipt.member] = receipt  # in the place of an older one\n",
        "",
        5,
    ),
    Mutation(
        "a receipt is passed on once",
        "receipts.py",
        "if author is not link and seq > author.passed.get(receipt.member, {}).get(log, 0):",
        "if author is not link:",
        4,
    ),
    Mutation(
        "what moves on is told by another receipt",
        "receipts.py",
        "            self._moved[log] = None\n            self._soon(now)\n",
        "            pass\n",
        8,
    ),
    Mutation(
        "a run is of one log",
        "protocol.py",
        "if its_seq != seq or its_log != log:",
        "if its_seq != seq:",
        1,
    ),
    Mutation(
        "what waits for long is stored, told and passed on",
        "mesh.py",
        "            self._do(KeepRuns())\n",
        "            pass\n",
        2,
    ),
    Mutation(
        "what was held is told once it is stored",
        "node.py",
        "self.dispatch(events.RunStored(source, log, seq, (), self.journal.mark(log)))",
        "pass",
        1,
    ),
    Mutation(
        "what crosses what is held is taken in",
        "node.py",
        "            if isinstance(outcome, Crossed):\n",
        "            if False:\n",
        76,
    ),
    Mutation(
        "what is held is followed by what follows it",
        "journal.py",
        "follows = held == (entries[0].seq - 1, entries[0].previous)",
        "follows = True",
        5,
    ),
]

# What can be broken so that nobody is worse off for it: what was promised is seen to elsewhere.
NO_PROMISES = [
    (
        "a Have takes a log off the list of what was put off",
        "when its time comes nothing of it is lacking: it saves no more than a wake-up",
    ),
    (
        "each new log begins with a NAME",
        "it follows the older log in which the name stands, and nobody is shown it without that",
    ),
    (
        "a Connection flushes before it closes",
        "the end of the turn has flushed all that the turn has to do with, before it closes any",
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
