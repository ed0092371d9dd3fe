"""A stretch of days in a text, and the calendar's own stretches: weeks, months, quarters, years."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from slmesh.recognise.day import added


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of days in a text; `until` is the first day after it. Both None: not to be told.

    `every` is "year" where the year is not written, so that another year may be meant. A weak period
    ("the year", "q1" in "q1-2019") stands only as a part of another one.
    """

    start: int
    end: int
    since: date | None
    until: date | None
    every: str = ""
    weak: bool = False


SHIFTS = {
    "next": 1, "coming": 1, "following": 1, "upcoming": 1, "last": -1, "past": -1, "previous": -1,
    "this": 0, "current": 0, "the": 0, "that": 0,
}  # fmt: skip
"""How many units from the present one a word leads."""


def unit_around(today: date, unit: str, shift: int) -> tuple[date | None, date | None]:
    """Return the first day of the calendar unit `shift` units from today's, and of the next one."""
    if unit in ("week", "weekend"):
        since = today - timedelta(days=today.weekday()) + timedelta(weeks=shift)
        return (since + timedelta(days=5 if unit == "weekend" else 0)), since + timedelta(days=7)
    if unit in ("decade", "century"):
        length = {"decade": 10, "century": 100}[unit]
        year = today.year // length * length + shift * length
        if not 1 <= year < 9999 - length:
            return None, None
        return date(year, 1, 1), date(year + length, 1, 1)
    month = {"month": today.month, "quarter": (today.month - 1) // 3 * 3 + 1, "year": 1}[unit]
    first = added(date(today.year, month, 1), shift, unit)
    return first, added(first, 1, unit) if first else None


def first_week_of(since: date) -> date:
    """Return the Monday of the first week whose Thursday is not before a day.

    Of a year's or a month's first day it is its first week. Source: ISO 8601, week date.
    """
    monday = since - timedelta(days=since.weekday())
    return monday if monday + timedelta(days=3) >= since else monday + timedelta(days=7)
