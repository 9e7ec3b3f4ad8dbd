"""Bytes from hell, in small: the corpus, bytes near it, and a node under fire."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import fuzz, hostile

# How many inputs near the corpus each target gets; those that draw or use the disk are slow.
TRIES = dict.fromkeys(fuzz.TARGETS, 60) | {"screen": 15, "database": 25, "address_book": 30}


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_what_was_found_once_does_no_harm_any_more(target: str) -> None:
    for data in fuzz.corpus_of(target):
        fuzz.TARGETS[target](data)


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_no_bytes_near_those_do_harm(target: str) -> None:
    tries = settings(
        max_examples=TRIES[target], deadline=None, suppress_health_check=list(HealthCheck)
    )
    tries(given(fuzz.near(fuzz.corpus_of(target)))(fuzz.TARGETS[target]))()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=4))
def test_pieces_are_the_whole(data: bytes, sizes: bytes) -> None:
    assert b"".join(fuzz.pieces(data, sizes)) == data


def test_the_corpus_is_small_and_each_folder_of_it_belongs_to_a_target() -> None:
    assert {folder.name for folder in fuzz.CORPUS.iterdir()} == set(fuzz.TARGETS)
    files = [file for folder in fuzz.CORPUS.iterdir() for file in folder.iterdir()]
    assert len(files) < 400
    assert sum(file.stat().st_size for file in files) < 300 * 1024


def test_a_node_under_fire_fails_nowhere_and_answers_an_honest_member() -> None:
    """A hundredth of what `python -m tests.fuzz live` sends."""
    said: list[str] = []
    verdict = hostile.fight(1_000_000, seed=1, say=said.append)
    print("\n".join(said))
    assert not verdict.failed
    assert verdict.sent >= 1_000_000
    # The limits of time are for an idle machine. Here other tests run, too, and it is enough to
    # tell what is bounded from what is not: that took half a second when there was such a turn.
    assert verdict.longest_ms <= 5 * hostile.TURN_LIMIT_MS
    assert verdict.memory_mib <= hostile.MEMORY_LIMIT_MIB
    assert verdict.slowest_answer_s <= hostile.PATIENCE_S
