"""Recognises dates, times, both together, date ranges and durations, with ISO 8601 values.

Joins what `days`, `clock`, `periods` and `durations` read; how an open date is settled is said in
`days` and `periods`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta

from slmesh.recognise.clock import Clock, clock_times, in_part
from slmesh.recognise.counted_days import CLOCK_UNITS, counted_from, moved
from slmesh.recognise.day import Day
from slmesh.recognise.days import days
from slmesh.recognise.durations import UNIT_SECONDS, durations, lengths
from slmesh.recognise.match import Match, match_at
from slmesh.recognise.periods import periods
from slmesh.recognise.reading import Reading

_DAY_THEN_TIME = re.compile(
    r"T|,?[ ]{1,2}(?:(?:early[ ]|late[ ])?(?:morning|afternoon|evening|night)[ ])?"
    r"(?:(?:at|@|around|about|by|before|after|from|for|-|\u2013)[ ]?)?"
    r"(?:(?:about|around)[ ])?",
    re.IGNORECASE,
)
_TIME_THEN_DAY = re.compile(r",?[ ]{1,2}(?:(?:on|of|for)[ ])?(?:the[ ])?", re.IGNORECASE)
_PART_BEHIND = re.compile(
    r"[ ](?:in[ ]the[ ])?(?P<part>morning|afternoon|evening|night)\b", re.IGNORECASE
)
_TIME_TO_TIME = re.compile(r"[ ]?(?:to|until|till|-|\u2013|and)[ ]?", re.IGNORECASE)
_ANY = re.compile(
    r"[0-9]|day|week|month|year|quarter|hour|minute|second|night|morning|evening|noon|fortnight"
    r"|tomorrow|tonite|tmrw?\b|2moro|decade|christmas|xmas|hallow|[ap][ ]?\.?[ ]?m\b|\bat\b|o'?clock"
    r"|past|\bto\b|min|easter|thanksgiving|valentine|patrick|juneteenth|mardi|pentecost|ties\b|thousand|nineteen"
    r"|centur|christi|\beod\b|half"
    r"|\b(?:on|by|until|till|from)[ ]the[ ](?:\w+[ -])?\w+(?:th|st|nd|rd)\b"
    r"|\b(?:mon|tue|wed|thu|fri|sat|sun)|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec",
    re.IGNORECASE,
)


def moments(reading: Reading) -> Iterator[Match]:
    """Find dates, times, date-times, date ranges and durations; overlaps are left to the caller."""
    if reading.writing.language == "en" and not _ANY.search(reading.text):
        return
    yield from durations(reading)
    found_days = reading.once(days)
    clocks = clock_times(reading.text)
    yield from _days(reading, found_days)
    yield from _clocks(reading, clocks)
    yield from _together(reading, found_days, clocks)
    yield from _counted(reading)
    yield from _ends_of_days(reading, found_days)
    yield from _machine_written(reading)
    for period in periods(reading, found_days):
        value = None
        if period.since is not None and period.until is not None:
            value = f"{period.since.isoformat()}/{period.until.isoformat()}"
        yield match_at("date_range", reading.text, period.start, period.end, value)


def _days(reading: Reading, found_days: list[Day]) -> Iterator[Match]:
    for day in found_days:
        value = day.value.isoformat() if day.value else None
        yield match_at("date", reading.text, day.start, day.end, value)


def _clocks(reading: Reading, clocks: list[Clock]) -> Iterator[Match]:
    for clock in clocks:
        yield match_at("time", reading.text, clock.start, clock.end, clock.value.isoformat())


def _together(reading: Reading, found_days: list[Day], clocks: list[Clock]) -> Iterator[Match]:
    """Join a day and the time next to it, in either order, and a time that the first runs to."""
    text = reading.text
    by_start = {clock.start: clock for clock in clocks}
    by_end = {clock.end: clock for clock in clocks}
    for day in found_days:
        gap = _DAY_THEN_TIME.match(text, day.end)
        after = by_start.get(gap.end()) if gap else None
        if after is not None:
            yield from _day_with_time(reading, day, after, by_start)
            continue
        before = _clock_before(text, day, by_end)
        if before is not None:
            part = _PART_BEHIND.match(text, day.end)
            if part is not None:  # "at 8 on thursday evening"
                day = replace(day, end=part.end(), part=part.group("part").lower())
            value = _iso(reading, day, before)
            yield match_at("date_time", text, before.start, day.end, value)


def _clock_before(text: str, day: Day, by_end: dict[int, Clock]) -> Clock | None:
    for width in range(1, 12):
        clock = by_end.get(day.start - width)
        if clock is not None and _TIME_THEN_DAY.fullmatch(text, clock.end, day.start):
            return clock
    return None


def _day_with_time(
    reading: Reading, day: Day, clock: Clock, by_start: dict[int, Clock]
) -> Iterator[Match]:
    text = reading.text
    since = _iso(reading, day, clock)
    yield match_at("date_time", text, day.start, clock.end, since)
    gap = _TIME_TO_TIME.match(text, clock.end)
    last = by_start.get(gap.end()) if gap else None
    if last is not None and day.value is not None:
        ends_next_day = last.value <= clock.value
        until_day = day.value + timedelta(days=1) if ends_next_day else day.value
        until = _at(reading, until_day, last.value)
        yield match_at("date_range", text, day.start, last.end, f"{since}/{until}")


def _iso(reading: Reading, day: Day, clock: Clock) -> str | None:
    """Return the local date and time with its offset; "8" next to "tonight" is 20:00."""
    if day.value is None:
        return None
    moment = clock.value
    if clock.either and day.part:
        moment = moment.replace(hour=in_part(moment.hour, day.part))
    return _at(reading, day.value, moment)


def _at(reading: Reading, day: date, moment: time) -> str:
    return datetime.combine(day, moment, reading.zone).isoformat()


_ISO = re.compile(
    r"(?<![\w.:/-])[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?(?![\w:])"
)


def _machine_written(reading: Reading) -> Iterator[Match]:
    """Read "2016-12-16T12:23:59Z"; without an offset it is the writer's time."""
    for found in _ISO.finditer(reading.text):
        try:
            moment = datetime.fromisoformat(found.group())
        except ValueError:
            continue
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=reading.zone)
        try:
            value = moment.astimezone(reading.zone).replace(microsecond=0).isoformat()
        except OverflowError:
            continue
        yield match_at("date_time", reading.text, *found.span(), value)


_END_OF = re.compile(r"\b(?:the[ ])?end[ ]of[ ](?:the[ ])?$", re.IGNORECASE)
_END_OF_DAY = re.compile(r"\b(?:the[ ])?end[ ]of[ ](?:the[ ])?day\b|\bEOD\b", re.IGNORECASE)
_LAST_SECOND = time(23, 59, 59)


def _ends_of_days(reading: Reading, found_days: list[Day]) -> Iterator[Match]:
    """Read "end of day" and "the end of sunday": the last second of the day."""
    text = reading.text
    for found in _END_OF_DAY.finditer(text):
        value = _at(reading, reading.now.date(), _LAST_SECOND)
        yield match_at("date_time", text, *found.span(), value)
    for day in found_days:
        before = _END_OF.search(text, max(0, day.start - 16), day.start)
        if before is not None and day.value is not None:
            value = _at(reading, day.value, _LAST_SECOND)
            yield match_at("date_time", text, before.start(), day.end, value)


def _counted(reading: Reading) -> Iterator[Match]:
    """Read "in 2 hours", "30 minutes ago" and "2 days and 3 hours ago"."""
    for length in reading.once(lengths):
        if length.unit not in CLOCK_UNITS and not any(
            unit in CLOCK_UNITS for _, unit in length.parts
        ):
            continue
        start, end, sign, anchor = counted_from(reading.text, length)
        if sign == 0 or anchor not in ("now", ""):
            continue
        value = None
        if length.seconds is not None:
            days = tuple(part for part in length.parts if part[1] not in CLOCK_UNITS)
            day = moved(reading.now.date(), sign, replace(length, parts=days)) if days else None
            rest = length.seconds - sum(float(count) * UNIT_SECONDS[unit] for count, unit in days)
            moment = datetime.combine(day, reading.now.time(), reading.zone) if day else reading.now
            value = _shifted(moment, sign * rest)
        yield match_at("date_time", reading.text, start, end, value)


def _shifted(moment: datetime, seconds: float) -> str | None:
    """Return the moment that many seconds later, counted in elapsed time."""
    try:
        elapsed = datetime.fromtimestamp(moment.timestamp() + seconds, moment.tzinfo)
    except (ValueError, OverflowError, OSError):
        return None
    return elapsed.replace(microsecond=0).isoformat()
