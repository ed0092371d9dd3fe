"""Reads halves and quarters of years: "2019-Q1", "third quarter of last year", "2019's first half".

A grammar of two pieces in either order: the part ("q3", "the third quarter") and the year ("2018",
"last year"). Without a year a quarter is that of this year, and comes back every year. Words are
English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from slmesh.recognise.day import added
from slmesh.recognise.period import SHIFTS, Period

_NUMBERS = {
    "first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4,
    "last": 0, "final": 0,
}  # fmt: skip
_FOUR = r"(?:19|20)[0-9]{2}"
_PART = (
    r"(?:(?P<letter>q|h)(?P<number>[1-4])\b"
    rf"|(?:the[ ])?(?P<ordinal>{'|'.join(_NUMBERS)})[ -](?P<unit>quarter|qtr|half)\b)"
)
_YEAR = (
    rf"(?:(?P<year>{_FOUR})(?![\w:/])|(?:the[ ])?(?P<which>this|next|last|previous|current|coming)"
    r"[ ](?:calendar[ ])?year\b|(?P<the>the[ ]year)\b)"
)
_PART_FIRST = re.compile(
    rf"(?<![\w/.]){_PART}(?:(?:,?[ ](?:of[ ]|in[ ])?|-)(?:the[ ]year[ ])?{_YEAR})?",
    re.IGNORECASE,
)
_YEAR_FIRST = re.compile(
    rf"(?<![\w/.-])(?:(?P<year>{_FOUR})|(?P<which>this|next|last|previous)[ ]year|(?P<the>the[ ]year))"
    rf"(?:['\u2019]?s)?(?:,?[ ]|-)?{_PART}",
    re.IGNORECASE,
)


def parts_of_years(text: str, today: date) -> Iterator[Period]:
    """Find halves and quarters; "H2" and "the second half" without a year may be anything."""
    for pattern in (_YEAR_FIRST, _PART_FIRST):
        for found in pattern.finditer(text):
            groups = found.groupdict()
            settled = groups["year"] or groups["which"] or groups["the"]
            letter = (groups["letter"] or groups["unit"] or "").lower()[0]
            if not settled and (letter == "h" or groups["ordinal"]):
                continue
            year = int(groups["year"]) if groups["year"] else today.year
            year += SHIFTS[(groups["which"] or "this").lower()]
            every = "year" if not settled else ""
            since, until = _part(year, letter, groups["number"], groups["ordinal"])
            if since is not None:
                yield Period(*found.span(), since, until, every)


def _part(
    year: int, letter: str, number: str | None, ordinal: str | None
) -> tuple[date | None, date | None]:
    """Return the first day of a part of a year and the day after it; None where there is none."""
    months = 3 if letter == "q" else 6
    count = int(number) if number else _NUMBERS[(ordinal or "").lower()] or 12 // months
    if count > 12 // months:
        return None, None
    first = date(year, (count - 1) * months + 1, 1)
    return first, added(first, months, "month")
