"""when.py: what people write for a point in time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from when import BadWhen, moment

NOW = datetime(2026, 11, 25, 11, 30, 20, 500)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10:30", "2026-11-25 10:30"),
        ("9:05", "2026-11-25 09:05"),
        ("11:30", "2026-11-25 11:30"),
        ("11:31", "2026-11-24 11:31"),
        ("23:59", "2026-11-24 23:59"),
        ("today", "2026-11-25 00:00"),
        (" Today  10:00 ", "2026-11-25 10:00"),
        ("yesterday", "2026-11-24 00:00"),
        ("yesterday 22:15", "2026-11-24 22:15"),
        ("monday", "2026-11-23 00:00"),
        ("Wednesday", "2026-11-25 00:00"),
        ("thursday", "2026-11-19 00:00"),
        ("sunday 8:00", "2026-11-22 08:00"),
        ("2026-11-20", "2026-11-20 00:00"),
        ("2026-11-20 10:30", "2026-11-20 10:30"),
        ("2024-02-29", "2024-02-29 00:00"),
        ("2030-01-01", "2030-01-01 00:00"),
    ],
)
def test_days_and_times_are_the_newest_that_are_not_in_the_future(text: str, expected: str) -> None:
    assert moment(text, NOW) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("20s", timedelta(seconds=20)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("3D", timedelta(days=3)),
        ("1w", timedelta(days=7)),
        ("0h", timedelta(0)),
    ],
)
def test_so_long_ago_is_counted_back_from_now(text: str, ago: timedelta) -> None:
    assert NOW.timestamp() - moment(text, NOW).timestamp() == ago.total_seconds()


@pytest.mark.parametrize(
    "text",
    ["", "soon", "24:00", "10:60", "1030", "2026-02-30", "2026-13-01", "2026-1-1", "monday 25:00",
     "2h ago", "-2h", "1000000d", "999999w", "2026-11-20T10:30", "١٠:٣٠", "yesterday yesterday",
     "\x1b[2J", "today 10"],
)  # fmt: skip
def test_what_is_no_time_is_told_in_one_sentence_with_examples(text: str) -> None:
    with pytest.raises(BadWhen) as caught:
        moment(text, NOW)
    said = str(caught.value)
    assert "is no time" in said and "yesterday" in said and said.isascii() and said.isprintable()


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,7}[smhdw]|[0-9]{4}-[0-9]{2}-[0-9]{2}"))
def test_any_text_is_a_moment_or_told_to_be_none(text: str) -> None:
    try:
        assert moment(text, NOW).timestamp() < 10**12
    except BadWhen as error:
        assert len(str(error)) < 500
