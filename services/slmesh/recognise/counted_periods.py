"""Reads stretches that are counted: "the last 3 months", "first week of 2019", "3 days from monday".

The last 3 days start three days ago and end with today, the next 3 days start tomorrow; quarters and
decades are those of the calendar. A week belongs to the month and the year that its Thursday is
in. Words are English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from slmesh.recognise.counted_days import CLOCK_UNITS, moved
from slmesh.recognise.day import Day, added, added_working
from slmesh.recognise.day_names import DAY_WORD, DAY_WORDS
from slmesh.recognise.durations import Length, lengths
from slmesh.recognise.feasts import FEAST, feast_in, next_feast
from slmesh.recognise.period import SHIFTS, Period, first_week_of, unit_around
from slmesh.recognise.reading import Reading

_BEFORE_LENGTH = re.compile(
    r"\b(?P<which>last|past|previous|next|coming|following|upcoming|within)[ ]$", re.IGNORECASE
)
_INSIDE = re.compile(
    r"\b(?P<count>[0-9]{1,3}|two|three|four|five|six|seven|eight|nine|ten|couple(?:[ ]of)?)[ ]"
    r"(?P<which>last|past|previous|next|coming|following|upcoming)[ ]"
    r"(?P<unit>day|week|month|quarter|year)s\b"
    r"|\b(?P<first>last|past|previous|next|coming|following)[ ]couple[ ](?:of[ ])?"
    r"(?P<units>day|week|month|quarter|year)s\b"
    r"|\b(?P<leading>last|past|previous|next|coming|following|upcoming)[ ]"
    r"(?P<number>[1-9]|two|three|four|five|six|seven|eight|nine)[ ](?P<quarters>quarter)s\b",
    re.IGNORECASE,
)
_COUNTS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "couple": 2, "couple of": 2,
}  # fmt: skip
_NUMBERED = re.compile(
    rf"\b(?:the[ ])?(?P<ordinal>last|{DAY_WORD}|[0-9]{{1,2}}(?:st|nd|rd|th))[ ]"
    r"(?:(?P<count>[1-9]|two|three|four|five|six)[ ])?(?P<unit>day|week|month|quarter|weekend)s?"
    r"[ ](?:of|in)[ ](?:the[ ])?$",
    re.IGNORECASE,
)
_WEEK_NUMBER = re.compile(
    r"\b(?:week|wk)[ ]?(?:number[ ]|no\.?[ ])?(?P<number>5[0-3]|[1-4][0-9]|0?[1-9])\b"
    r"(?![:.,]?[0-9]|[ ]?[%/])",
    re.IGNORECASE,
)
_OF = re.compile(r"[ ](?:of|in)[ ](?:the[ ])?", re.IGNORECASE)
_WEEK_OF = re.compile(
    r"\b(?:(?:the[ ])?week[ ](?:of|beginning|starting|commencing)(?:[ ]on)?|w/c)[ ](?:the[ ])?$",
    re.IGNORECASE,
)
_STARTING = re.compile(
    r",?[ ](?:starting|beginning|commencing|from)(?:[ ](?:on|from))?[ ](?:the[ ])?", re.IGNORECASE
)
_LESS_THAN = re.compile(r"\b(?:less|fewer|no[ ]more)[ ]than[ ]$", re.IGNORECASE)
_AFTER = re.compile(r"[ ](?:after|from)[ ]", re.IGNORECASE)
_FOR = re.compile(r"\bfor[ ]$", re.IGNORECASE)
_FREE_DAYS = re.compile(
    rf"\b(?:(?P<name>{FEAST})(?:,?[ ](?P<year>20[0-9]{{2}}))?[ ]weekend\b"
    rf"(?:[ ](?P<behind>20[0-9]{{2}})\b)?"
    rf"|(?:the[ ])?weekend[ ]of[ ](?:the[ ])?(?P<of>{FEAST})\b(?:,?[ ](?P<its>20[0-9]{{2}})\b)?)",
    re.IGNORECASE,
)


def lengths_from_now(reading: Reading, today: date) -> Iterator[Period]:
    """Find "the last 3 months", "next two weeks", "2 next days", "the next couple weeks"."""
    for length in reading.once(lengths):
        if length.unit in CLOCK_UNITS or length.unit == "weekend":
            continue
        before = _BEFORE_LENGTH.search(reading.text[max(0, length.start - 12) : length.start])
        if not before:
            continue
        start = length.start - len(before.group())
        back = SHIFTS.get(before.group("which").lower(), 1) < 0
        since, until = _from_now(today, length, back=back)
        if length.working and length.count is not None:
            since, until = _working_days(today, int(length.count), back=back)
        yield Period(start, length.end, since, until)
    for found in _INSIDE.finditer(reading.text):
        groups = found.groupdict()
        written = (groups["count"] or groups["number"] or "couple").lower()
        count = _COUNTS.get(written) or int(written)
        unit = (groups["unit"] or groups["units"] or groups["quarters"]).lower()
        which = groups["which"] or groups["first"] or groups["leading"]
        back = SHIFTS[which.lower()] < 0
        yield Period(*found.span(), *_counted(today, count, unit, back=back))


def _from_now(today: date, length: Length, *, back: bool) -> tuple[date | None, date | None]:
    if length.count is not None and length.count == int(length.count):
        return _counted(today, int(length.count), length.unit, back=back)
    tomorrow = today + timedelta(days=1)
    if back:
        since = moved(today, -1, length)
        return (since, tomorrow) if since else (None, None)
    until = moved(tomorrow, 1, length)
    return (tomorrow, until) if until else (None, None)


def _counted(today: date, count: int, unit: str, *, back: bool) -> tuple[date | None, date | None]:
    if unit in ("quarter", "decade"):
        this, following = unit_around(today, unit, 0)
        if this is None or following is None:
            return None, None
        since = added(this, -count, unit) if back else following
        until = this if back else added(following, count, unit)
    else:
        tomorrow = today + timedelta(days=1)
        since = added(today, -count, unit) if back else tomorrow
        until = tomorrow if back else added(tomorrow, count, unit)
    return (since, until) if since is not None and until is not None else (None, None)


def _working_days(today: date, count: int, *, back: bool) -> tuple[date | None, date | None]:
    """Return the stretch of so many days from Monday to Friday before or after today."""
    last = added_working(today, -count if back else count)
    if last is None:
        return None, None
    return (last, today) if back else (today + timedelta(days=1), last + timedelta(days=1))


def parts_of_periods(text: str, wholes: Sequence[Period], today: date) -> Iterator[Period]:
    """Find "first week of 2019", "the last 3 weeks of this year", "week 27 of last year"."""
    for whole in wholes:
        if whole.since is None or whole.until is None:
            continue
        numbered = _NUMBERED.search(text, max(0, whole.start - 40), whole.start)
        if numbered is None or (
            numbered.group("unit").lower() == "day" and not numbered.group("count")
        ):
            continue  # "the 15th day of may" is a day
        since, until = _numbered(numbered, whole.since, whole.until)
        yield Period(numbered.start(), whole.end, since, until)
    by_start = {whole.start: whole for whole in wholes}
    for found in _WEEK_NUMBER.finditer(text):
        of = _OF.match(text, found.end())
        year, end = today.year, found.end()
        whole_year = by_start.get(of.end()) if of is not None else None
        if whole_year is not None and whole_year.since is not None:
            year, end = whole_year.since.year, whole_year.end
        since = first_week_of(date(year, 1, 1)) + timedelta(weeks=int(found.group("number")) - 1)
        yield Period(found.start(), end, since, since + timedelta(days=7))


def _numbered(found: re.Match[str], since: date, until: date) -> tuple[date | None, date | None]:
    """Return the part of a stretch of days: the nth unit of it, or the first or last few."""
    unit, ordinal = found.group("unit").lower(), found.group("ordinal").lower().replace("-", " ")
    written = found.group("count") or "1"
    count = _COUNTS.get(written.lower()) or int(written)
    number = DAY_WORDS.get(ordinal) or (0 if ordinal == "last" else int(ordinal[:-2]))
    if unit == "weekend":
        saturday = since + timedelta(days=(5 - since.weekday()) % 7 + 7 * (max(number, 1) - 1))
        return saturday, saturday + timedelta(days=2)
    if unit == "week":
        first, end = first_week_of(since), first_week_of(until)
    else:
        first, end = since, until
    if number == 0:
        start = added(end, -count, unit)
        return start, end
    start = added(first, (number - 1) * count, unit)
    stop = added(start, count, unit) if start else None
    if start is None or stop is None or start >= end:
        return None, None
    return start, stop


def from_days(reading: Reading, found_days: Sequence[Day]) -> Iterator[Period]:
    """Find "week of the 18th", "3 days starting from next monday", "for a week from 20 May"."""
    text = reading.text
    by_start = {day.start: day for day in found_days}
    for day in found_days:
        week = _WEEK_OF.search(text, max(0, day.start - 32), day.start)
        if week is not None and day.value is not None:
            monday = day.value - timedelta(days=day.value.weekday())
            yield Period(week.start(), day.end, monday, monday + timedelta(days=7))
    for length in reading.once(lengths):
        under = _LESS_THAN.search(text, max(0, length.start - 16), length.start)
        counted = by_start.get(length.start) if under and _AFTER.match(text, length.end) else None
        if under is not None and counted is not None and counted.value is not None:
            since = moved(counted.value, -1, length)
            yield Period(under.start(), counted.end, since, counted.value)
        joint = _STARTING.match(text, length.end)
        if joint is None or length.unit in CLOCK_UNITS:
            continue
        lasting = _FOR.search(text, max(0, length.start - 5), length.start)
        first = by_start.get(joint.end())
        if first is None and lasting:
            # "for 3 days from today": the day was read as counted from today
            whole = by_start.get(length.start)
            shift = (
                {"today": 0, "tomorrow": 1}.get(text[joint.end() : whole.end].lower())
                if whole
                else None
            )
            if whole is not None and shift is not None:
                start = reading.now.date() + timedelta(days=shift)
                yield Period(lasting.start(), whole.end, start, moved(start, 1, length))
            continue
        from_day = "from" in joint.group().lower() and "starting" not in joint.group().lower()
        from_day = from_day and length.unit != "night"
        if first is None or first.value is None or (from_day and not lasting):
            continue
        begin = lasting.start() if lasting else length.start
        yield Period(begin, first.end, first.value, moved(first.value, 1, length))


def free_days(text: str, today: date) -> Iterator[Period]:
    """Find "labor day weekend", "the weekend of halloween": the weekend with the holiday beside it.

    A holiday on a Friday or Monday makes it longer, one on a Thursday takes the Friday in; any other
    means the nearest weekend.
    """
    if "weekend" not in text.lower():
        return  # the names are many
    for found in _FREE_DAYS.finditer(text):
        name = found.group("name") or found.group("of")
        year = found.group("year") or found.group("behind") or found.group("its")
        day = feast_in(name, int(year)) if year else next_feast(name, today)
        if day is not None:
            yield Period(*found.span(), *_around(day))


def _around(day: date) -> tuple[date, date]:
    weekday = day.weekday()
    if weekday in (3, 4):
        return day, day + timedelta(days=7 - weekday)
    saturday = day - timedelta(days=(weekday - 5) % 7)
    if weekday == 2:
        saturday += timedelta(days=7)
    return saturday, saturday + timedelta(days=3 if weekday == 0 else 2)
