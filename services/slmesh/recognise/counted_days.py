"""Reads days that are counted from another one: "3 days ago", "a week after 3 May", "the 2nd from now".

A weekday beside such a day ("monday two weeks from now") is the one of that day's week, Monday to
Sunday; beside a number of months the first one from that day on. Words are English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from slmesh.recognise.day import Day, added, added_working
from slmesh.recognise.durations import Length, lengths
from slmesh.recognise.reading import Reading

CLOCK_UNITS = frozenset({"second", "minute", "hour"})
"""Units that a time of day is needed to count with."""
_AGO = re.compile(
    r"[ ](?:ago|earlier|before[ ]now|back|prior(?![ ](?:of|to)\b))\b"
    r"(?:[ ](?P<anchor>today|tomorrow|yesterday)\b)?",
    re.IGNORECASE,
)
_HENCE = re.compile(
    r"[ ](?:from[ ](?P<anchor>now|today|tomorrow|tmrw|yesterday)|hence|later)\b", re.IGNORECASE
)
_WEEK_TODAY = re.compile(r"[ ](?:from[ ])?(?P<anchor>today|tomorrow)\b", re.IGNORECASE)
_BESIDE = re.compile(r"[ ](?P<side>before|after|from|since|on)[ ](?:the[ ])?$", re.IGNORECASE)
_SINCE_YEAR = re.compile(
    r"[ ](?:since|after|from)[ ](?:the[ ]year[ ])?(?P<year>(?:19|20)[0-9]{2})(?![\w:/-]|[.,][0-9])",
    re.IGNORECASE,
)
_UNIT_BESIDE = re.compile(
    r"\bthe[ ](?P<unit>day|week|month|year)[ ](?P<side>before|after)[ ](?:the[ ])?$", re.IGNORECASE
)
_IN = re.compile(r"\b(?:in|within)[ ](?:about[ ]|around[ ]|exactly[ ])?$", re.IGNORECASE)
_TIME_OF = re.compile(r"(?:['\u2019]s?)?[ ]time\b", re.IGNORECASE)
_WEEKDAY_GAP = re.compile(r",?[ ](?:on[ ])?", re.IGNORECASE)
_WEEKDAY_GAP_BEFORE = re.compile(r",?[ ](?:on[ ])?$", re.IGNORECASE)


def counted_days(reading: Reading, today: date) -> Iterator[Day]:
    """Find "3 days ago", "in two weeks", "a month from tomorrow"."""
    for length in reading.once(lengths):
        if any(unit in CLOCK_UNITS for unit in (length.unit, *(unit for _, unit in length.parts))):
            continue
        start, end, sign, anchor = counted_from(reading.text, length)
        year = _SINCE_YEAR.match(reading.text, length.end)
        if year is not None:
            first = date(int(year.group("year")), 1, 1)
            yield Day(start, year.end(), moved(first, 1, length))
            continue
        if sign == 0 or _WITHIN.match(reading.text, start, length.start):
            continue  # "within 3 days" is a stretch of them
        shift = {"tomorrow": 1, "tmrw": 1, "yesterday": -1}.get(anchor, 0)
        yield Day(start, end, moved(today + timedelta(days=shift), sign, length))


def moved(day: date | None, sign: int, length: Length) -> date | None:
    """Return the day that far before or after; None when the length is no whole number of days."""
    if not length.parts:
        return None
    if length.working and length.count is not None and day is not None:
        whole = length.count == int(length.count)
        return added_working(day, sign * int(length.count)) if whole else None
    for count, unit in length.parts:
        if unit == "year" and count != int(count):
            count, unit = count * 12, "month"
        if day is None or count != int(count):
            return None
        day = added(day, sign * int(count), unit)
    return day


def beside_days(reading: Reading, found: Sequence[Day]) -> Iterator[Day]:
    """Find "two days before christmas", "a week after 3 May": a length, a side and a day."""
    ends = {length.end: length for length in reading.once(lengths)}
    for day in found:
        unit = _UNIT_BESIDE.search(reading.text, max(0, day.start - 24), day.start)
        if unit is not None and day.value is not None:
            sign = -1 if unit.group("side").lower() == "before" else 1
            value = added(day.value, sign, unit.group("unit").lower())
            yield Day(unit.start(), day.end, value)
            continue
        beside = _BESIDE.search(reading.text[max(0, day.start - 14) : day.start])
        if beside is None:
            continue
        length = ends.get(day.start - len(beside.group()))
        if beside.group("side").lower() == "on" and (length is None or length.unit != "week"):
            continue  # only "a week on monday" counts from a day
        if length is not None and length.unit == "night" and beside.group("side").lower() == "from":
            continue  # "3 nights from 7 April" is a stay
        if length is not None and length.unit not in CLOCK_UNITS:
            sign = -1 if beside.group("side").lower() == "before" else 1
            yield Day(length.start, day.end, moved(day.value, sign, length))


def with_weekdays(reading: Reading, counted: Sequence[Day], found: Sequence[Day]) -> Iterator[Day]:
    """Find a counted day with a weekday before or behind it.

    Args:
        reading: the text.
        counted: days that are counted from another one.
        found: all days; those that come back after a week are weekdays.
    """
    weekdays = [day for day in found if day.every == "week" and day.value is not None]
    by_start = {day.start: day for day in weekdays}
    by_end = {day.end: day for day in weekdays}
    months = {
        length.start for length in reading.once(lengths) if length.unit in ("month", "quarter")
    }
    for day in counted:
        behind = _WEEKDAY_GAP.match(reading.text, day.end)
        weekday = by_start.get(behind.end()) if behind else None
        before = _WEEKDAY_GAP_BEFORE.search(reading.text, max(0, day.start - 6), day.start)
        if weekday is None and before is not None:
            weekday = by_end.get(before.start())
        if weekday is None or weekday.value is None:
            continue
        number = weekday.value.weekday()
        value = None
        if day.value is not None and day.start in months:
            value = day.value + timedelta(days=(number - day.value.weekday()) % 7)
        elif day.value is not None:
            value = day.value + timedelta(days=number - day.value.weekday())
        yield Day(min(day.start, weekday.start), max(day.end, weekday.end), value)


_WITHIN = re.compile(r"\bwithin[ ]$", re.IGNORECASE)


def counted_from(text: str, length: Length) -> tuple[int, int, int, str]:
    """Return the span of "in", the length and "ago"; the direction (0: none); and what it is from."""
    ago = _AGO.match(text, length.end)
    if ago:
        return length.start, ago.end(), -1, (ago.group("anchor") or "now").lower()
    hence = _HENCE.match(text, length.end)
    if hence is None and length.unit == "week":
        hence = _WEEK_TODAY.match(text, length.end)
    if hence:
        return length.start, hence.end(), 1, (hence.group("anchor") or "now").lower()
    before = _IN.search(text[max(0, length.start - 8) : length.start])
    if before:
        start = length.start - len(before.group())
        more = _TIME_OF.match(text, length.end)
        return start, more.end() if more else length.end, 1, "now"
    return length.start, length.end, 0, ""
