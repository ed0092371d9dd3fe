"""Reads weekdays in a text: "monday", "friday next week", "two fridays ago", "the monday after easter".

Which day an open weekday means is said in `days`. Weekday names are English and those of the locale;
everything else is English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache

from slmesh.recognise.day import Day, date_of
from slmesh.recognise.day_names import DAY_WORDS, any_of, names_of
from slmesh.recognise.period import SHIFTS
from slmesh.recognise.reading import Reading

_WORDS = frozenset({"sun", "sat", "wed", "mon"})
"""English short names that are words too."""
_ENGLISH = frozenset({"tue", "thu", "fri", "tues", "thur", "weds"})
_SHORT_NAME = 4
_ON = re.compile(r"\b(?:on|by|until|till|from|to|for|since|before|after|every)[ ]$", re.IGNORECASE)


def weekdays(reading: Reading, today: date) -> Iterator[Day]:
    """Find single weekdays, with the week or the day of the month that is said with them."""
    yield from _counted(reading, today)
    text, names = reading.text, names_of(reading.context.locale)
    for found in names.weekday.finditer(text):
        written = found.group("weekday")
        guided = (
            found.group("week")
            or found.group("which")
            or found.group("after")
            or found.group("day")
            or found.group("word")
            or found.group("bare")
            or found.group("later")
        )
        before = text[max(0, found.start() - 8) : found.start()]
        # "sun", "sat" and "wed" are words: they are days when written as names or after "on".
        lowered = written.lower()
        is_word = lowered in _WORDS or (len(written) <= _SHORT_NAME and lowered not in _ENGLISH)
        is_word = is_word and written.islower()
        if is_word and not guided and not _ON.search(before):
            continue
        value = _weekday_value(found, names.weekdays[written.lower()], today)
        every = "" if guided or found.group("weeks") else "week"
        yield Day(*found.span(), value, "match" if _numbered_day(found) else every)


def _numbered_day(found: re.Match[str]) -> int:
    """Return the day of the month beside a weekday, or 0."""
    word = (found.group("word") or "").lower().replace("-", " ")
    return DAY_WORDS.get(word) or int(found.group("day") or found.group("bare") or 0)


def _weekday_value(found: re.Match[str], weekday: int, today: date) -> date | None:
    monday = today - timedelta(days=today.weekday())
    day = _numbered_day(found)
    if day:
        return day_on_weekday(day, weekday, today)
    week = (found.group("week") or found.group("after") or "").lower()
    if week:
        return monday + timedelta(days=weekday + 7 * SHIFTS[week])
    which = (found.group("which") or "").lower()
    if which in ("next", "following"):
        return monday + timedelta(days=7 + weekday)
    if which == "this":
        return monday + timedelta(days=weekday)
    if which == "previous":
        return monday + timedelta(days=weekday - 7)
    if which in ("last", "past"):
        return today - timedelta(days=(today.weekday() - weekday - 1) % 7 + 1)
    upcoming = today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)
    later = (found.group("later") or "").lower()
    if later.endswith("next week"):
        return monday + timedelta(days=14 + weekday)
    if later:
        return upcoming + timedelta(weeks=2 if later == "fortnight" else 1)
    weeks = (found.group("weeks") or "").lower()
    if weeks:
        count = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4}.get(weeks)
        return upcoming + timedelta(weeks=count or int(weeks))
    return upcoming


def day_on_weekday(day: int, weekday: int, today: date, *, ahead: bool = True) -> date | None:
    """Return the day of a month that falls on the weekday, "friday the 13th".

    The next one within a year, today included, else the latest before; the latest alone when not
    looking ahead.
    """
    this = today.month - 1
    coming = range(this, this + 13) if ahead else ()
    for months, sign in ((coming, 1), (range(this, this - 24, -1), -1)):
        for month in months:
            value = date_of(today.year + month // 12, month % 12 + 1, day)
            if value is None or value.weekday() != weekday:
                continue
            if (value >= today) == (sign > 0):
                return value
    return None


_NUMBERS = {
    "a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "first": 1, "second": 2,
    "third": 3, "fourth": 4, "1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "last": 1,
    "next": 1,
}  # fmt: skip


@lru_cache(maxsize=64)
def _counted_pattern(locale: str) -> re.Pattern[str]:
    weekday = any_of(names_of(locale).weekdays)
    return re.compile(
        rf"\b(?P<count>one|two|three|four|five|six|[1-6])[ ](?P<weekday>{weekday})s?[ ]"
        r"(?P<side>ago|back|from[ ]now|from[ ]today|hence|later)\b"
        rf"|\b(?P<name>{weekday})[ ]before[ ]last\b",
        re.IGNORECASE,
    )


def _counted(reading: Reading, today: date) -> Iterator[Day]:
    """Read "two fridays ago", "three mondays from now" and "the friday before last"."""
    names = names_of(reading.context.locale)
    for found in _counted_pattern(reading.context.locale).finditer(reading.text):
        weekday = names.weekdays[(found.group("weekday") or found.group("name")).lower()]
        written = (found.group("count") or "two").lower()
        count = _NUMBERS.get(written) or int(written)
        back = found.group("name") or found.group("side").lower() in ("ago", "back")
        yield Day(*found.span(), _nth_beside(today, weekday, -count if back else count))


def _nth_beside(day: date, weekday: int, count: int) -> date:
    """Return the first (1), second, ... such weekday after a day, or before it (-1, -2, ...)."""
    if count > 0:
        return day + timedelta(days=(weekday - day.weekday() - 1) % 7 + 1 + 7 * (count - 1))
    return day - timedelta(days=(day.weekday() - weekday - 1) % 7 + 1 + 7 * (-count - 1))


@lru_cache(maxsize=64)
def _beside_pattern(locale: str) -> re.Pattern[str]:
    weekday = any_of(names_of(locale).weekdays)
    return re.compile(
        r"\b(?:the[ ])?(?:(?P<count>next|last|first|second|third|fourth|1st|2nd|3rd|4th)[ ])?"
        rf"(?P<weekday>{weekday})[ ]"
        r"(?:(?:right|immediately|just)[ ])?(?P<side>after|following|before|preceding)[ ](?:the[ ])?$",
        re.IGNORECASE,
    )


def weekdays_beside(reading: Reading, found: Sequence[Day]) -> Iterator[Day]:
    """Find weekdays counted from another day: "the second tuesday after christmas 2014".

    Args:
        reading: the text.
        found: all days of it.
    """
    names = names_of(reading.context.locale)
    for day in found:
        if day.value is None:
            continue
        before = _beside_pattern(reading.context.locale).search(
            reading.text, max(0, day.start - 48), day.start
        )
        if before is None:
            continue
        count = _NUMBERS[(before.group("count") or "a").lower()]
        back = before.group("side").lower() in ("before", "preceding")
        weekday = names.weekdays[before.group("weekday").lower()]
        yield Day(
            before.start(), day.end, _nth_beside(day.value, weekday, -count if back else count)
        )
