"""Members with clocks years apart talk as always: real processes, each with a clock of its own."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import pytest

from tests.processes import ROOT, Crowd, Process
from tests.wrong_clock import YEAR_S

TEN_YEARS_S = 10 * YEAR_S


def start(crowd: Crowd, ahead_s: int, name: str, *arguments: object) -> Process:
    """Its folder is kept for another start."""
    return crowd.start(
        *(ahead_s, "--json", "--data", crowd.folder / name, 0, arguments[0], name, *arguments[1:]),
        command=[sys.executable, "-m", "tests.wrong_clock"],
        environment={"PYTHONPATH": str(ROOT)},
    ).wait_ready()


def talk(crowd: Crowd, *speakers: Process) -> list[str]:
    """Each answers what it has just read, twice; what was said."""
    numbers = count(len(speakers[0].texts()) + len(speakers[0].texts(own=True)))
    said: list[str] = []
    for speaker in speakers * 2:
        said.append(f"post {next(numbers)} of {speaker.id[:4]}")
        speaker.say(said[-1])
        for each in speakers:
            crowd.wait(lambda p=each: p.events("message", text=said[-1]), "all have read it")  # type: ignore[misc]
    return said


def history(crowd: Crowd, process: Process, posts: int) -> list[str]:
    """What /history shows: the room's own order."""
    before = len(process.events("message"))
    process.say(f"/history {posts}")
    crowd.wait(lambda: len(process.events("message")) == before + posts, "the history is shown")
    return [event["text"] for event in process.events("message")[before:]]


@pytest.mark.parametrize("ahead_s", [TEN_YEARS_S, -TEN_YEARS_S])
def test_two_whose_clocks_are_ten_years_apart_talk_as_always(tmp_path: Path, ahead_s: int) -> None:
    with Crowd(tmp_path) as crowd:
        ann = start(crowd, 0, "ann", 0)
        bob = start(crowd, ahead_s, "bob", ann.port)
        crowd.wait_linked(ann, bob)
        said = talk(crowd, ann, bob)
        years = {event["id"]: event["time"][:4] for event in ann.events("message")}
        assert abs(int(years[ann.id]) - int(years[bob.id])) in (9, 10)
        for each in (ann, bob):
            shown = each.events("message")
            assert [event["text"] for event in shown] == said
            assert not any(event["history"] for event in shown)
            assert each.errors() == []
            crowd.wait(
                lambda p=each: len(p.events("confirmed")) >= len(p.texts(own=True)),  # type: ignore[misc]
                "what it has said has arrived",
            )
            assert history(crowd, each, len(said)) == said


def test_who_was_away_gets_the_same_order_and_a_clock_that_is_put_right_loses_nothing(
    tmp_path: Path,
) -> None:
    with Crowd(tmp_path) as crowd:
        ann = start(crowd, 0, "ann", 0)
        bob = start(crowd, TEN_YEARS_S, "bob", ann.port)
        cyd = start(crowd, -TEN_YEARS_S, "cyd", ann.port)
        crowd.wait_linked(ann, bob, cyd)
        said = talk(crowd, cyd, bob, ann)
        bob.end_input()
        assert bob.wait_end() == 0
        ann.say("meanwhile")
        crowd.wait(lambda: "meanwhile" in cyd.texts(), "cyd has read it")
        said.append("meanwhile")

        bob = start(crowd, 0, "bob", ann.port)  # with a clock that is right by now
        crowd.wait(lambda: bob.texts() == ["meanwhile"], "bob has caught up")
        bob.say("back again")
        crowd.wait(lambda: "back again" in cyd.texts(), "bob is heard as before")
        said.append("back again")

        late = start(crowd, -2 * TEN_YEARS_S, "late", cyd.port)
        crowd.wait(lambda: len(late.texts()) == len(said), "a newcomer gets all of it")
        orders = [history(crowd, each, len(said)) for each in (ann, bob, cyd, late)]
        assert orders == [said] * 4
        assert [each.errors() for each in (ann, bob, cyd, late)] == [[]] * 4
