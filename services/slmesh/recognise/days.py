"""Reads single days in a text and counts them from the day of the reference time.

How an open date is settled:
a bare weekday is the next one after today; "this friday" is the one of the current week (Monday to
Sunday), "next friday" the one of next week, "last friday" the latest one before today; a day and
month without a year is its next occurrence, where an earlier day of the current month is still this
year's ("on 1 March", written on 15 March); a day of the month alone is its next occurrence, today
included; with a weekday that contradicts the next occurrence, the next year or month where both agree.

Month and weekday names are English and those of the locale; everything else is English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from slmesh.recognise.day_names import DAY_WORDS, DayNames, names_of
from slmesh.recognise.durations import Length, lengths
from slmesh.recognise.locales import Writing
from slmesh.recognise.reading import Reading


@dataclass(frozen=True, slots=True)
class Day:
    """A day in a text; `value` is None for a day that no calendar has ("30 February").

    `every` is what an open day comes back after: "week", "month", "year", or "" for a fixed one.
    `part` is the part of the day that is named with it ("night" for "tonight").
    """

    start: int
    end: int
    value: date | None
    every: str = ""
    part: str = ""


_HOLIDAYS = {
    "christmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25), "xmas": (12, 25),
    "boxing day": (12, 26), "new year's eve": (12, 31), "new years eve": (12, 31),
    "new year's day": (1, 1), "new years day": (1, 1), "new year": (1, 1),
    "valentine's day": (2, 14), "valentines day": (2, 14), "halloween": (10, 31),
    "st patrick's day": (3, 17), "independence day": (7, 4),
}  # fmt: skip
_NUMERIC = re.compile(
    r"(?<![\w/.,:-])(?:(?P<first>[0-9]{1,4})(?P<mark>[/.-])(?P<second>[0-9]{1,2})(?P=mark)"
    r"(?P<third>[0-9]{4}|[0-9]{1,2}))(?:(?=T[0-9])|(?![\w/:-]|[.,][0-9]))"
)
_SHORT_NUMERIC = re.compile(
    r"(?:\b(?:on|by|for|from|until|till|since|before|after|to|of|between|and|due|dated)[ ]"
    r"|(?P<weekday>\b(?:(?:this|next)[ ])?"
    r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?[ ]))"
    r"(?P<first>[0-3]?[0-9])/(?P<second>[0-3]?[0-9])(?![\w/]|[.,][0-9])",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\b(?:(?P<after>(?:the[ ])?day[ ]after[ ]tomorrow)|(?P<before>(?:the[ ])?day[ ]before[ ]yesterday)"
    r"|(?P<tomorrow>tomorrow|tmrw|tomorow|2moro)|(?P<yesterday>yesterday)|(?P<today>today)"
    r"|(?P<night>tonight|tonite)|this[ ](?P<part>morning|afternoon|evening)"
    r"|(?P<last>last[ ]night))(?:[ ](?P<later>morning|afternoon|evening|night))?(?=s?\b)",
    re.IGNORECASE,
)
_HOLIDAY = re.compile(
    rf"\b(?P<name>{'|'.join(sorted(_HOLIDAYS, key=len, reverse=True))})\b"
    r"(?:[ ](?P<year>(?:19|20)[0-9]{2})(?![\w:/]))?".replace("'", "['\u2019]"),
    re.IGNORECASE,
)
_AGO = re.compile(r"[ ](?:ago|earlier|before[ ]now|back)\b", re.IGNORECASE)
_HENCE = re.compile(
    r"[ ](?:from[ ](?P<anchor>now|today|tomorrow|yesterday)|hence|later)\b", re.IGNORECASE
)
_BESIDE = re.compile(r"[ ](?P<side>before|after|from|since)[ ](?:the[ ])?$", re.IGNORECASE)
_IN = re.compile(r"\b(?:in|within)[ ]$", re.IGNORECASE)
_TIME_OF = re.compile(r"(?:['\u2019]s?)?[ ]time\b", re.IGNORECASE)
_ORDINAL_DAY = re.compile(
    r"(?:\b(?P<the>the|next|last)[ ]|(?P<cue>\b(?:from|to|till|until|on|by|between|and|since|for)[ ]))?"
    r"\b(?P<day>3[01]|[12][0-9]|0?[1-9])(?P<tail>st|nd|rd|th)?"
    r"(?:[ ](?:day[ ])?(?:of[ ])?(?P<month>this|next|last|the)[ ]month)?(?![\w:/%]|[.,-][0-9])",
    re.IGNORECASE,
)
_DAY_ENDS = re.compile(
    r"[ ]?(?:$|[.,;:!?)\n-]|(?:to|and|at|for|from|until|till|in|with|by|or|please|then|through|as|if"
    r"|is|was|around|about|we|i|between|before|after)\b)",
    re.IGNORECASE,
)


def days(reading: Reading) -> list[Day]:
    """Return the single days in the text in order, without overlaps, the longest reading of each."""
    today = reading.now.date()
    found: list[Day] = []
    for reader in _READERS:
        found.extend(reader(reading, today))
    found.extend(_beside_days(reading, found))
    found.sort(key=lambda day: (day.start, -day.end))
    kept: list[Day] = []
    for day in found:
        if not kept or day.start >= kept[-1].end:
            kept.append(day)
        elif day.end - day.start > kept[-1].end - kept[-1].start:
            kept[-1] = day
    return kept


def _numeric(reading: Reading, today: date) -> Iterator[Day]:
    place = reading.writing
    for found in _NUMERIC.finditer(reading.text):
        value = _numeric_value(found.group("first", "second", "third"), place)
        if value is not None:
            yield Day(*found.span(), value)
    for found in _SHORT_NUMERIC.finditer(reading.text):
        first, second = int(found.group("first")), int(found.group("second"))
        day, month = (
            (first, second)
            if place.date_order.index("d") < place.date_order.index("m")
            else (second, first)
        )
        if month > 12:
            day, month = month, day
        value = next_date(month, day, today)
        if value is not None:
            start = found.start("weekday") if found.group("weekday") else found.start("first")
            yield Day(start, found.end(), value, "year")
    for found in names_of(reading.context.locale).year_first.finditer(reading.text):
        month = names_of(reading.context.locale).months[found.group("month").lower()]
        year, day = int(found.group("year")), int(found.group("day"))
        yield Day(*found.span(), _date(year, month, day))


def _numeric_value(parts: tuple[str, ...], place: Writing) -> date | None:
    """Return the date of three numbers: the year first where it has four digits, else as written."""
    order = "ymd" if len(parts[0]) == 4 else place.date_order
    if len(parts[0]) == 3 or (len(parts[0]) < 4 and order == "ymd" and len(parts[2]) == 4):
        order = "dmy"
    named = dict(zip(order, parts, strict=True))
    year = int(named["y"])
    if len(named["y"]) < 4:
        if len(named["y"]) != 2:
            return None
        year += 2000 if year < 70 else 1900
    month, day = int(named["m"]), int(named["d"])
    if month > 12 and len(parts[0]) < 4:
        month, day = day, month
    return _date(year, month, day)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def next_date(month: int, day: int, today: date, weekday: int | None = None) -> date | None:
    """Return the next day with that month and day, and that weekday where some near year has it."""
    first = None
    for year in range(today.year, today.year + 9):
        value = _date(year, month, day)
        if value is None or (value < today and (value.year, month) != (today.year, today.month)):
            continue
        first = first or value
        if weekday is None or value.weekday() == weekday:
            return value
    return first


def _with_month(reading: Reading, today: date) -> Iterator[Day]:
    names = names_of(reading.context.locale)
    for pattern in (names.day_first, names.month_first):
        for found in pattern.finditer(reading.text):
            if not found.group("tail") and _is_verb(reading.text, found):
                continue
            yield _month_and_day(found, names, today)


_AUXILIARY = re.compile(r"[ ](?:be|have|not|need|i|we|you|also|want)\b", re.IGNORECASE)


def _is_verb(text: str, found: re.Match[str]) -> bool:
    """Tell "2 may be late" from "2 may"."""
    lowered = found.group("month") in ("may", "march", "mar")
    return lowered and _AUXILIARY.match(text, found.end()) is not None


def _month_and_day(found: re.Match[str], names: DayNames, today: date) -> Day:
    word = (found.group("word") or "").lower().replace("-", " ")
    day = DAY_WORDS.get(word) or int(found.group("day"))
    month = names.months[found.group("month").lower()]
    # "the" in front is no part of the date.
    start = min(
        found.start(name) for name in ("weekday", "day", "word", "month") if found.group(name)
    )
    year = found.group("year")
    if year:
        number = int(year.lstrip("'\u2019"))
        if number < 100:
            number += 2000 if number < 70 else 1900
        return Day(start, found.end(), _date(number, month, day))
    weekday = names.weekdays.get((found.group("weekday") or "").lower())
    return Day(start, found.end(), next_date(month, day, today, weekday), "year")


_SHORT_NAME = 4
_ON = re.compile(r"\b(?:on|by|until|till|from|to|for|since|before|after|every)[ ]$", re.IGNORECASE)


def _weekday(reading: Reading, today: date) -> Iterator[Day]:
    text, names = reading.text, names_of(reading.context.locale)
    for found in names.weekday.finditer(text):
        written = found.group("weekday")
        guided = (
            found.group("week")
            or found.group("which")
            or found.group("after")
            or found.group("day")
        )
        before = text[max(0, found.start() - 8) : found.start()]
        # "sun", "sat" and "wed" are words: they are days when written as names or after "on".
        is_word = len(written) <= _SHORT_NAME and written.islower()
        if is_word and not guided and not _ON.search(before):
            continue
        value = _weekday_value(found, names.weekdays[written.lower()], today)
        fixed = guided or found.group("weeks")
        yield Day(*found.span(), value, "" if fixed else "week")


def _weekday_value(found: re.Match[str], weekday: int, today: date) -> date | None:
    monday = today - timedelta(days=today.weekday())
    if found.group("day"):
        return _day_on_weekday(int(found.group("day")), weekday, today)
    week = (found.group("week") or found.group("after") or "").lower()
    if week:
        return monday + timedelta(days=weekday + 7 * {"next": 1, "this": 0, "last": -1}[week])
    which = (found.group("which") or "").lower()
    if which in ("next", "following"):
        return monday + timedelta(days=7 + weekday)
    if which == "this":
        return monday + timedelta(days=weekday)
    if which in ("last", "past", "previous"):
        return today - timedelta(days=(today.weekday() - weekday - 1) % 7 + 1)
    upcoming = today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)
    weeks = (found.group("weeks") or "").lower()
    if weeks:
        count = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4}.get(weeks)
        return upcoming + timedelta(weeks=count or int(weeks))
    return upcoming


def _day_on_weekday(day: int, weekday: int, today: date) -> date | None:
    """Return the next day of a month that falls on the weekday: "friday the 13th"."""
    for ahead in range(60):
        month = today.month - 1 + ahead
        value = _date(today.year + month // 12, month % 12 + 1, day)
        if value is not None and value >= today and value.weekday() == weekday:
            return value
    return None


def _named(reading: Reading, today: date) -> Iterator[Day]:
    for found in _NAMED.finditer(reading.text):
        groups = found.groupdict()
        shift = (
            2 if groups["after"] else -2 if groups["before"] else 1 if groups["tomorrow"]
            else -1 if groups["yesterday"] or groups["last"] else 0
        )  # fmt: skip
        part = groups["part"] or groups["later"] or ""
        if groups["night"] or groups["last"]:
            part = "night"
        yield Day(*found.span(), today + timedelta(days=shift), "", part.lower())
    for found in _HOLIDAY.finditer(reading.text):
        month, day = _HOLIDAYS[found.group("name").lower().replace("\u2019", "'")]
        if found.group("year"):
            yield Day(*found.span(), _date(int(found.group("year")), month, day))
        else:
            yield Day(*found.span(), next_date(month, day, today), "year")


def _counted(reading: Reading, today: date) -> Iterator[Day]:
    """Read "3 days ago", "in two weeks", "a month from tomorrow"."""
    for length in reading.once(lengths):
        if length.unit in ("second", "minute", "hour"):
            continue
        start, end, sign, anchor = counted_from(reading.text, length)
        if sign == 0:
            continue
        shift = {"tomorrow": 1, "yesterday": -1}.get(anchor, 0)
        yield Day(start, end, _moved(today + timedelta(days=shift), sign, length))


def _moved(day: date | None, sign: int, length: Length) -> date | None:
    """Return the day that far before or after; None when the length is no whole number of days."""
    if not length.parts:
        return None
    for count, unit in length.parts:
        if day is None or count != int(count):
            return None
        day = added(day, sign * int(count), unit)
    return day


def _beside_days(reading: Reading, found: list[Day]) -> Iterator[Day]:
    """Read "two days before christmas", "a week after 3 May": a length, a side and a day."""
    ends = {length.end: length for length in reading.once(lengths)}
    for day in found:
        beside = _BESIDE.search(reading.text[max(0, day.start - 14) : day.start])
        if beside is None:
            continue
        length = ends.get(day.start - len(beside.group()))
        if length is not None and length.unit not in ("second", "minute", "hour"):
            sign = -1 if beside.group("side").lower() == "before" else 1
            yield Day(length.start, day.end, _moved(day.value, sign, length))


def counted_from(text: str, length: Length) -> tuple[int, int, int, str]:
    """Return the span of "in", the length and "ago"; the direction (0: none); and what it is from."""
    ago = _AGO.match(text, length.end)
    if ago:
        return length.start, ago.end(), -1, "now"
    hence = _HENCE.match(text, length.end)
    if hence:
        return length.start, hence.end(), 1, (hence.group("anchor") or "now").lower()
    before = _IN.search(text[max(0, length.start - 8) : length.start])
    if before:
        start = length.start - len(before.group())
        more = _TIME_OF.match(text, length.end)
        return start, more.end() if more else length.end, 1, "now"
    return length.start, length.end, 0, ""


def added(day: date, count: int, unit: str) -> date | None:
    """Return the day `count` units later; the last day of the month where the month is shorter."""
    try:
        if unit in ("month", "quarter", "year", "decade"):
            months = count * {"month": 1, "quarter": 3, "year": 12, "decade": 120}[unit]
            index = day.year * 12 + day.month - 1 + months
            for last in range(day.day, 27, -1):
                value = _date(index // 12, index % 12 + 1, last)
                if value is not None:
                    return value
            return _date(index // 12, index % 12 + 1, day.day)
        factor = {"week": 7, "fortnight": 14}.get(unit, 1)
        return day + timedelta(days=count * factor)
    except (ValueError, OverflowError):
        return None


def _of_month(reading: Reading, today: date) -> Iterator[Day]:
    """Read a day of the month alone: "the 21st", "from 1st", "the 15th of next month"."""
    text = reading.text
    for found in _ORDINAL_DAY.finditer(text):
        the, month = (found.group("the") or "").lower(), (found.group("month") or "").lower()
        start = found.start("the") if the in ("next", "last") else found.start("day")
        day = int(found.group("day"))
        if month in ("this", "next", "last"):
            first = added(today.replace(day=1), {"this": 0, "next": 1, "last": -1}[month], "month")
            yield Day(start, found.end(), _date(first.year, first.month, day) if first else None)
        elif (
            found.group("tail")
            and (the or found.group("cue"))
            and _DAY_ENDS.match(text, found.end())
        ):
            yield Day(start, found.end(), _next_day_of_month(day, today, the), "month")


def _next_day_of_month(day: int, today: date, which: str) -> date | None:
    step = -1 if which == "last" else 1
    for ahead in range(13):
        month = today.month - 1 + ahead * step
        value = _date(today.year + month // 12, month % 12 + 1, day)
        if value is not None and (value < today if step < 0 else value >= today):
            return value
    return None


_READERS: tuple[Callable[[Reading, date], Iterator[Day]], ...] = (
    _numeric,
    _with_month,
    _weekday,
    _named,
    _counted,
    _of_month,
)
