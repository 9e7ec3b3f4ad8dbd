"""Points in time as people write them.

    10:30  today  yesterday  monday  2026-11-20, each with a time after it or without
    30m  2h  3d  1w                              that long ago

Local time, of this machine's zone. Never here: clocks (now is handed in).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class BadWhen(ValueError):
    """A text that is no point in time; says what would be one."""


def moment(text: str, now: datetime) -> datetime:
    """The newest such moment that is not in the future, but for a day that is: then it is as
    it was written. Without a time zone, as is `now`. Raises BadWhen."""
    written = " ".join(text.lower().split())
    try:
        return _ago(written, now) or _on_a_day(written, now) or _at_a_time(written, now)
    except (ValueError, OverflowError):
        raise BadWhen(
            f"{text[:40]!a} is no time; these are: 10:30, yesterday, monday, 2026-11-20, "
            "2026-11-20 10:30, 30m, 2h, 3d"
        ) from None


def _ago(written: str, now: datetime) -> datetime | None:
    if not re.fullmatch(r"[0-9]{1,6}[smhdw]", written):
        return None
    # By seconds, not by the hands of the clock: they are moved twice a year.
    return datetime.fromtimestamp(now.timestamp() - int(written[:-1]) * _UNITS_S[written[-1]])


def _on_a_day(written: str, now: datetime) -> datetime | None:
    word, _, time = written.partition(" ")
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if word == "today":
        day = today
    elif word == "yesterday":
        day = today - timedelta(days=1)
    elif word in WEEKDAYS:
        day = today - timedelta(days=(now.weekday() - WEEKDAYS.index(word)) % 7)
    elif re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", word):
        day = datetime.strptime(word, "%Y-%m-%d")
    else:
        return None
    return _with_time(day, time) if time else day


def _at_a_time(written: str, now: datetime) -> datetime:
    at = _with_time(now, written)
    return at if at <= now else at - timedelta(days=1)


def _with_time(day: datetime, written: str) -> datetime:
    if not re.fullmatch(r"[0-9]{1,2}:[0-9]{2}", written):
        raise ValueError("no time of the day")
    hour, minute = map(int, written.split(":"))
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0)
