"""backlog.py: whose turn it is."""

from __future__ import annotations

from random import Random

import backlog
import protocol
from backlog import Backlog, is_share

LOGS = [bytes([65 + number]) * 40 for number in range(4)]


def of(*logs: bytes) -> Backlog:
    found = Backlog()
    for log in logs:
        found.add(log)
    return found


def test_a_log_alone_is_in_step_with_itself_wherever_it_stands() -> None:
    one = of(LOGS[0], LOGS[0])
    assert (one.next(), one.window, len(one)) == ((LOGS[0], False), 0, 1)


def test_of_several_logs_each_is_found_and_then_the_oldest_goes_first() -> None:
    logs = of(*LOGS[:3])
    for log, number in zip(LOGS, (7, 5, 9), strict=False):
        assert logs.next() == (log, True)
        logs.stands(log, number)
    assert logs.next() == (LOGS[1], False)
    logs.stands(LOGS[1], 8)
    assert logs.next() == (LOGS[0], False)
    logs.drop(LOGS[0])
    assert logs.next() == (LOGS[1], False)
    logs.add(LOGS[0])
    assert logs.next() == (LOGS[0], True)
    logs.stands(LOGS[3], 1)  # of which nothing is lacking
    assert list(logs) == [LOGS[1], LOGS[2], LOGS[0]]


def test_something_is_sent_before_all_of_very_many_are_found() -> None:
    logs = of(*(number.to_bytes(40, "big") for number in range(1000)))
    steps = []
    for number in range(200):
        log, is_to_be_found = logs.next()
        steps.append(is_to_be_found)
        if is_to_be_found:
            logs.stands(log, 1000 - number)
        else:
            logs.drop(log)
    assert steps == ([True] * backlog.MAX_FINDS + [False]) * 6 + [True, True]


def test_who_is_told_where_nothing_stands_sends_all_the_same() -> None:
    logs = of(*LOGS)
    for _ in range(backlog.MAX_FINDS):
        assert logs.next()[1]
    assert logs.next() == (LOGS[0], False)


def test_a_window_grows_with_the_logs_up_to_a_limit() -> None:
    assert of(*LOGS[:2]).window == 2 * protocol.MAX_RUN
    many = of(*(number.to_bytes(40, "big") for number in range(1000)))
    assert many.window == backlog.MAX_WINDOW


def test_logs_that_come_and_go_leave_nothing_behind() -> None:
    random, logs = Random(1), Backlog()
    for number in range(10_000):
        log = random.choice(LOGS)
        if random.random() < 0.5:
            logs.add(log)
            logs.stands(log, 10_000 - number)
        else:
            logs.drop(log)
        if logs:
            assert logs.next()[0] in logs
    assert len(logs._turns[True]) <= 2 * len(LOGS) + backlog.MAX_FINDS


def test_ones_own_share_goes_before_that_of_others() -> None:
    logs = of(*LOGS[:2])
    for log, number, is_ours in ((LOGS[0], 1, False), (LOGS[1], 9, True)):
        logs.next()
        logs.stands(log, number, is_ours=is_ours)
    assert logs.next() == (LOGS[1], False)
    logs.stands(LOGS[1], 10, is_ours=False)
    assert logs.next() == (LOGS[0], False)


def test_each_log_is_one_senders_share_and_that_of_its_author_if_it_sends() -> None:
    senders = [bytes([65 + number]) * 32 for number in range(3)]
    counts = dict.fromkeys(senders, 0)
    for number in range(300):
        log = number.to_bytes(40, "big")
        (mine,) = [me for me in senders if is_share(log, me, frozenset(senders) - {me})]
        counts[mine] += 1
    assert min(counts.values()) > 70
    for author in senders:
        log = author + b"12345678"
        assert [me for me in senders if is_share(log, me, frozenset(senders))] == [author]
    assert is_share(senders[0] + b"12345678", senders[1], frozenset())


def test_who_is_far_ahead_with_its_share_helps_others_with_theirs() -> None:
    logs = of(*LOGS[:2])
    logs.stands(LOGS[0], 100, is_ours=False)
    ahead = 2 * backlog.MAX_AHEAD_OF_ONE
    logs.stands(LOGS[1], 100 + ahead)
    assert logs.next() == (LOGS[1], False)
    logs.stands(LOGS[1], 101 + ahead)
    assert logs.next() == (LOGS[0], False)
    logs.moved(LOGS[0])
    logs.moved(LOGS[2])  # of which nothing is lacking
    assert logs.next() == (LOGS[0], True)
    logs.stands(LOGS[0], 9000, is_ours=False)
    assert logs.next() == (LOGS[1], False) and len(logs) == 2
