"""Recognises lengths of time: "2 hours", "a day and a half", "1h30", "three weeks".

A month counts 30 days and a year 365. Words are English.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from slmesh.recognise.match import Match, match_at
from slmesh.recognise.reading import Reading

_DAY = 86_400
UNIT_SECONDS = {
    "second": 1, "minute": 60, "hour": 3600, "day": _DAY, "night": _DAY, "week": 7 * _DAY,
    "fortnight": 14 * _DAY, "month": 30 * _DAY, "quarter": 91 * _DAY, "year": 365 * _DAY,
    "decade": 3650 * _DAY, "weekend": 2 * _DAY,
}  # fmt: skip
_SHORT = {
    "sec": "second", "secs": "second", "s": "second", "min": "minute", "mins": "minute",
    "h": "hour", "hr": "hour", "hrs": "hour", "d": "day", "wk": "week", "wks": "week",
    "mo": "month", "mos": "month", "mth": "month", "mths": "month", "yr": "year", "yrs": "year",
    "y": "year",
}  # fmt: skip
_UNIT = re.compile(
    r"[ -]{0,2}(?:(?:more|additional|extra|further|full|whole|consecutive|straight)[ ])?"
    r"(?P<unit>(?:business[ -]|working[ -]|calendar[ -])?"
    rf"(?:{'|'.join(UNIT_SECONDS)})s?|{'|'.join(sorted(_SHORT, key=len, reverse=True))})(?![\w])",
    re.IGNORECASE,
)
_WORDED = re.compile(
    r"\b(?P<count>all[ ](?=(?:day|week|month|year)\b)|half[ ](?:an?[ ])?|quarter[ ](?=hour\b)"
    r"|an?[ ](?:half[ ]|quarter[ ]of[ ]an[ ])?|another[ ](?!day\b)"
    r"|(?:an?[ ]|the[ ])?(?:whole|full|entire)[ ]"
    r"|an?[ ](?:couple|pair)[ ](?:of[ ])?|couple[ ](?:of[ ])|(?:an?[ ])?few[ ]|several[ ]|some[ ])"
    rf"(?P<unit>(?:{'|'.join(UNIT_SECONDS)})s?|hr|min)\b(?!['\u2019](?!s\b))",
    re.IGNORECASE,
)
_GLUED = re.compile(
    r"(?<![\w.,:])(?P<hours>[0-9]{1,3})[ ]?h(?:rs?)?[ ]?(?P<minutes>[0-5]?[0-9])"
    r"(?:[ ]?(?:m|mins?|minutes?))?(?!\w)",
    re.IGNORECASE,
)
_PART_OF = re.compile(
    r"[ ](?:of[ ])?an?[ ](?P<unit>minute|hour|day|week|month|year)\b", re.IGNORECASE
)
_JOIN = re.compile(r"(?:,?[ ]and[ ]|,[ ]|[ ])")
_PART_MORE = re.compile(
    r"[ ]and[ ](?:an?[ ]|one[ ])?(?P<part>half|quarter)\b(?![ ](?:an?|of|hour|year)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Length:
    """A length of time in a text.

    `count` of `unit` ("day"); `seconds` is None when the count cannot be told ("a few days"), and
    then `count` is None too. A compound ("1 hour 30 minutes") has the unit of its first part and no
    count; `parts` holds the counts and units that it is made of. `working` tells that only working days
    count ("3 business days").
    """

    start: int
    end: int
    count: Decimal | None
    unit: str
    seconds: int | float | None
    parts: tuple[tuple[Decimal, str], ...] = ()
    working: bool = False


_NOUN_AFTER = re.compile(
    r" (?!(?:ago|after|and|at|before|for|if|later|or|please|to|when|while)\b)[a-z]", re.IGNORECASE
)


def lengths(reading: Reading) -> list[Length]:
    """Return the lengths of time in the text, in order, compounds joined."""
    found = sorted(_single(reading), key=lambda length: (length.start, -length.end))
    joined: list[Length] = []
    for length in found:
        previous = joined[-1] if joined else None
        if previous is not None and length.start < previous.end:
            continue
        if previous is not None and _continues(reading.text, found, previous, length):
            seconds = (previous.seconds or 0) + (length.seconds or 0)
            parts = previous.parts + length.parts
            joined[-1] = Length(previous.start, length.end, None, previous.unit, seconds, parts)
        else:
            joined.append(length)
    return joined


_LONGEST_COMPOUND = 8
"""As many lengths as there are units; a longer row is no compound."""


def _start(length: Length) -> int:
    return length.start


_LAST = re.compile(r"\b(?:last|past|previous|next|coming)[ ]$", re.IGNORECASE)
_AGO = re.compile(r"[ ](?:ago|later|from[ ]now)\b", re.IGNORECASE)


def _continues(text: str, found: Sequence[Length], first: Length, second: Length) -> bool:
    if first.seconds is None or second.seconds is None:
        return False
    finer = UNIT_SECONDS[second.unit] < UNIT_SECONDS[first.unit]
    if not finer or _JOIN.fullmatch(text, first.end, second.start) is None:
        return False
    if _LAST.search(text, max(0, first.start - 10), first.start) is None:
        return True
    # "the last 3 months, and 2 days ago": what is ago is no part of what is last
    last, at = second, bisect_right(found, second.start, key=_start)
    for length in found[at : at + _LONGEST_COMPOUND]:
        if not _JOIN.fullmatch(text, last.end, length.start):
            break
        last = length
    return _AGO.match(text, last.end) is None


def _single(reading: Reading) -> Iterator[Length]:
    text = reading.text
    for quantity in reading.quantities:
        part = _PART_OF.match(text, quantity.end) if 0 < quantity.value < 1 else None
        if part is not None:
            unit_of = part.group("unit").lower()
            yield _with_part(text, quantity.start, part.end(), quantity.value, unit_of)
            continue
        after = text[quantity.end : quantity.end + 2].lstrip(" -")
        unit = _UNIT.match(text, quantity.end) if after == "" or after[0].isalpha() else None
        if unit is None or quantity.value < 0 or quantity.suffixed:
            continue
        name = unit_name(unit.group("unit"))
        if unit.group().lower() == " s" and quantity.value >= 1000 and quantity.value % 10 == 0:
            continue  # "the 1990 s"
        if name == "night" and quantity.value != 1 and not unit.group("unit").endswith("s"):
            # "at 3 night" is a time.
            continue
        length = _with_part(text, quantity.start, unit.end(), quantity.value, name)
        working = unit.group("unit").lower().startswith(("business", "working"))
        yield replace(length, working=working)
    for found in _WORDED.finditer(text):
        name = unit_name(found.group("unit"))
        if found.group("unit").lower() == "second" and _NOUN_AFTER.match(text, found.end()):
            continue  # "a second card" is another one
        count = _worded_count(found.group("count").lower())
        if count is None:
            yield Length(found.start(), found.end(), None, name, None)
        else:
            yield _with_part(text, found.start(), found.end(), count, name)
    for found in _GLUED.finditer(text):
        seconds = int(found.group("hours")) * 3600 + int(found.group("minutes")) * 60
        yield Length(found.start(), found.end(), None, "hour", seconds)


def unit_name(written: str) -> str:
    """Return the unit's name in UNIT_SECONDS: "minute" for "mins"."""
    lowered = re.split(r"[ -]", written.lower())[-1]
    return _SHORT.get(lowered) or lowered.removesuffix("s")


def _worded_count(words: str) -> Decimal | None:
    if "half" in words:
        return Decimal("0.5")
    if "quarter" in words:
        return Decimal("0.25")
    if "couple" in words or "pair" in words:
        return Decimal(2)
    return Decimal(1) if words.split()[-1] in _ONE_UNIT else None


_ONE_UNIT = frozenset({"a", "an", "all", "another", "whole", "full", "entire"})


def _with_part(text: str, start: int, end: int, count: Decimal, unit: str) -> Length:
    more = _PART_MORE.match(text, end)
    if more:
        part = Decimal("0.5") if more.group("part").lower() == "half" else Decimal("0.25")
        count, end = count + part, more.end()
    exact = count * UNIT_SECONDS[unit]
    seconds = int(exact) if exact == int(exact) else float(exact)
    # A google.protobuf.Duration holds at most 315,576,000,000 seconds.
    known = seconds <= 315_576_000_000
    if not known:
        return Length(start, end, None, unit, None)
    return Length(start, end, count, unit, seconds, ((count, unit),))


def durations(reading: Reading) -> Iterator[Match]:
    """Find lengths of time; the value is in seconds, unset for "a few days"."""
    for length in reading.once(lengths):
        yield match_at("duration", reading.text, length.start, length.end, length.seconds)
