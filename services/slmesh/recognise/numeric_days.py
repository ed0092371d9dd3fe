"""Reads days written in numbers: "03/04/2027", "2016-10-16", "20161016", "on 3/4".

The order of day and month follows the locale, the year comes first where it has four digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from slmesh.recognise.day import Day, date_of, full_year, next_date
from slmesh.recognise.day_names import names_of
from slmesh.recognise.locales import Writing
from slmesh.recognise.reading import Reading

_NUMERIC = re.compile(
    r"(?:(?<![\w/.,:-])|(?<=/[0-9]{4}-)|(?<=/[0-9]{2}-)|(?<=^-)|(?<=[ \n]-))"
    r"(?:(?P<first>[0-9]{1,4})(?P<mark>[/.-]|[ ]/[ ])(?P<second>[0-9]{1,2})(?P=mark)"
    r"(?P<third>[0-9]{4}|[0-9]{1,2}))"
    r"(?:(?=T[0-9])|(?=-[0-9]{1,2}/[0-9]{1,2}/)|(?![\w/:]|[.,-][0-9]|-\w))"
)
_SHORT_NUMERIC = re.compile(
    r"(?:\b(?:on|by|for|from|until|till|since|before|after|to|of|between|and|due|dated|this|next)[ ]"
    r"|(?P<weekday>\b(?:(?:this|next)[ ])?"
    r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?[ ])"
    r"|(?P<ask>\b(?:date|day|when)\b[^\w\n]{1,3}))"
    r"(?P<first>[0-3]?[0-9])(?P<mark>/|(?<=on[ ][0-9])[.-]|(?<=on[ ][0-9]{2})[.-])"
    r"(?P<second>[0-3]?[0-9])"
    r"(?![\w/%]|[.,][0-9]|[ ]?(?:per|%))",
    re.IGNORECASE,
)
# nothing but the date, and a date before its time; "3/4" alone is a number
_ALONE = re.compile(
    r"(?:\A\s*|(?<![\w/.,:-])(?=[0-9/]{3,5}[ ]at[ ][0-9]))(?![1-9]/[2-8](?![0-9]))"
    r"(?P<first>[0-3]?[0-9])/(?P<second>[0-3]?[0-9])(?:\s*[.!?]?\s*\Z|(?=[ ]at[ ][0-9]))"
)
_BESIDE_TIME = re.compile(
    r"(?<![\w/.,:-])(?P<first>[0-3]?[0-9])/(?P<second>[0-3]?[0-9])(?![\w/%]|[.,-][0-9])"
    r"(?P<behind>,?[ ](?:at[ ])?[0-9]{1,2}(?::[0-9]{2})?[ ]?[ap]\.?m\b)?",
    re.IGNORECASE,
)
_TIME_BEFORE = re.compile(r"[0-9][ ]?[ap]\.?m\.?[ ]$", re.IGNORECASE)
_SHORT_RANGE = re.compile(
    r"(?<![\w/.,:-])(?P<first>[0-3]?[0-9]/[0-3]?[0-9])[ ]?[-\u2013~][ ]?"
    r"(?P<second>[0-3]?[0-9]/[0-3]?[0-9])"
    r"(?![\w/%:]|[.,-][0-9])"
)
_COMPACT = re.compile(
    r"(?<![\w.,:/#])(?<![\w)]-)(?P<year>(?:19|20)[0-9]{2})(?P<gap> ?)(?P<month>0[1-9]|1[0-2])(?P=gap)"
    r"(?P<day>0[1-9]|[12][0-9]|3[01])(?![\w:/%]|[.,][0-9]|[ ]?(?:-[0-9]|[0-9]))"
)


def numeric_days(reading: Reading, today: date) -> Iterator[Day]:
    """Find days written in numbers, with or without a year, and those with a month's name inside."""
    place = reading.writing
    for found in _NUMERIC.finditer(reading.text):
        value = _value(found.group("first", "second", "third"), place, today)
        if value is not None:
            yield Day(*found.span(), value)
    for found in _COMPACT.finditer(reading.text):
        year, month, day = (int(found.group(name)) for name in ("year", "month", "day"))
        value = date_of(year, month, day)
        if value is not None:
            yield Day(*found.span(), value)
    yield from _without_year(reading, today)
    yield from _with_month_inside(reading)


def _without_year(reading: Reading, today: date) -> Iterator[Day]:
    for found in _SHORT_NUMERIC.finditer(reading.text):
        value = _day_and_month(found.group("first"), found.group("second"), reading.writing, today)
        if value is not None:
            start = found.start("weekday") if found.group("weekday") else found.start("first")
            yield Day(start, found.end(), value, "year")
    for found in _ALONE.finditer(reading.text):
        value = _day_and_month(found.group("first"), found.group("second"), reading.writing, today)
        if value is not None:
            yield Day(found.start("first"), found.end("second"), value, "year")
    for found in _BESIDE_TIME.finditer(reading.text):
        if not found.group("behind") and not _TIME_BEFORE.search(
            reading.text, max(0, found.start() - 7), found.start()
        ):
            continue
        value = _day_and_month(found.group("first"), found.group("second"), reading.writing, today)
        if value is not None:
            yield Day(found.start("first"), found.end("second"), value, "year")
    for found in _SHORT_RANGE.finditer(reading.text):
        both = []
        for name in ("first", "second"):
            first, _, second = found.group(name).partition("/")
            value = _day_and_month(first, second, reading.writing, today)
            if value is not None:
                both.append(Day(*found.span(name), value, "year"))
        if len(both) == 2:
            yield from both


def _day_and_month(first: str, second: str, place: Writing, today: date) -> date | None:
    day, month = int(first), int(second)
    if place.date_order.index("d") > place.date_order.index("m"):
        day, month = month, day
    if month > 12:
        day, month = month, day
    return next_date(month, day, today) if 1 <= month <= 12 else None


def _with_month_inside(reading: Reading) -> Iterator[Day]:
    """Read "2016/Sep/23", "23-2020-September" and every other order of the three."""
    names = names_of(reading.context.locale)
    for found in names.any_order.finditer(reading.text):
        groups = found.groupdict()
        named = ("month", "second", "third", "fourth", "fifth", "sixth")
        month = next(filter(None, (groups[name] for name in named)))
        year = next(filter(None, (groups[name] for name in "aefik")))
        day = next(filter(None, (groups[name] for name in "bcdghj")))
        yield Day(*found.span(), date_of(int(year), names.months[month.lower()], int(day)))


def _value(parts: tuple[str, ...], place: Writing, today: date) -> date | None:
    """Return the date of three numbers: the year first where it has four digits, else as written."""
    order = "ymd" if len(parts[0]) == 4 else place.date_order
    if len(parts[0]) == 3 or (len(parts[0]) < 4 and order == "ymd" and len(parts[2]) == 4):
        order = "dmy"
    named = dict(zip(order, parts, strict=True))
    if len(named["y"]) not in (2, 4):
        return None
    month, day = int(named["m"]), int(named["d"])
    if month > 12 and len(parts[0]) < 4:
        month, day = day, month
    return date_of(full_year(named["y"], today), month, day)
