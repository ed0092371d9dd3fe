"""One day in a text, and how days are counted. Knows the calendar, and no words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True)
class Day:
    """A day in a text; `value` is None for a day that no calendar has ("30 February").

    `every` is what an open day comes back after: "week", "month", "year", "match" where a day of the
    month has to fall on a weekday again, "dated" where a day of a month does, "feast" for a
    holiday that moves, or "" for a fixed one.
    `part` is the part of the day that is named with it ("night" for "tonight").
    """

    start: int
    end: int
    value: date | None
    every: str = ""
    part: str = ""


def date_of(year: int, month: int, day: int) -> date | None:
    """Return the date, or None when no calendar has it."""
    try:
        return date(year, month, day)
    except ValueError:
        return None


def full_year(written: str, today: date) -> int:
    """Return the year of two or four digits.

    Two digits are the year of that ending between 80 years before today and 20 years after it.
    Source: Unicode Technical Standard 35, part 4, two-digit years.
    """
    year = int(written)
    if len(written) > 2:
        return year
    first = today.year - 80
    return first + (year - first) % 100


def added(day: date, count: int, unit: str) -> date | None:
    """Return the day `count` units later; the last day of the month where the month is shorter."""
    try:
        months = {"month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200}.get(unit)
        if months is not None:
            index = day.year * 12 + day.month - 1 + count * months
            for last in range(day.day, 27, -1):
                value = date_of(index // 12, index % 12 + 1, last)
                if value is not None:
                    return value
            return date_of(index // 12, index % 12 + 1, day.day)
        factor = {"week": 7, "fortnight": 14}.get(unit, 1)
        return day + timedelta(days=count * factor)
    except (ValueError, OverflowError):
        return None


def added_working(day: date, count: int) -> date | None:
    """Return the day so many working days, Monday to Friday, later or earlier; at most 1,000."""
    if abs(count) > 1000:
        return None
    step, left = timedelta(days=1 if count > 0 else -1), abs(count)
    while left:
        day += step
        left -= day.weekday() < 5
    return day


def next_date(month: int, day: int, today: date, weekday: int | None = None) -> date | None:
    """Return the next day with that month and day.

    An earlier day of the current month is still this year's. Where a weekday is given and the next
    day does not fall on it, it is the latest one if that does, else the next that does.
    """
    coming = (
        value
        for year in range(today.year, today.year + 9)
        if (value := date_of(year, month, day)) is not None
        and (value >= today or (value.year, value.month) == (today.year, today.month))
    )
    following = next(coming, None)
    if following is None or weekday is None or following.weekday() == weekday:
        return following
    latest = last_date(month, day, today)
    if latest is not None and latest.weekday() == weekday:
        return latest
    return next((value for value in coming if value.weekday() == weekday), following)


def last_date(month: int, day: int, today: date) -> date | None:
    """Return the latest day with that month and day that is not after today."""
    for year in range(today.year, today.year - 9, -1):
        value = date_of(year, month, day)
        if value is not None and value <= today:
            return value
    return None


def nth_weekday(year: int, month: int, number: int, weekday: int) -> date | None:
    """Return the first (1), second, ... or last (-1) such weekday of a month; Monday is 0."""
    if number > 0:
        first = date(year, month, 1)
        value = first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))
    else:
        last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        value = last - timedelta(days=(last.weekday() - weekday) % 7 - 7 * (number + 1))
    return value if value.month == month else None


def easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar.

    Source: Meeus, Astronomical Algorithms, chapter 8 (Butcher's rule).
    """
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    f = (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)
