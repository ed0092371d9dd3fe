"""Reads the names of holidays: "christmas eve", "easter 2018", "labor day".

Knows when the usual holidays of English-speaking countries fall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

from slmesh.recognise.day import Day, date_of, easter, nth_weekday
from slmesh.recognise.period import SHIFTS

_FIXED = {
    "christmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25), "xmas": (12, 25),
    "boxing day": (12, 26), "new year's eve": (12, 31), "new year's day": (1, 1),
    "new year": (1, 1), "valentine's day": (2, 14), "halloween": (10, 31),
    "st patrick's day": (3, 17), "st. patrick's day": (3, 17), "saint patrick's day": (3, 17),
    "independence day": (7, 4), "groundhog day": (2, 2), "april fools day": (4, 1),
    "april fool's day": (4, 1), "earth day": (4, 22), "juneteenth": (6, 19),
    "veterans day": (11, 11), "remembrance day": (11, 11), "xmas eve": (12, 24),
    "all saints day": (11, 1), "guy fawkes night": (11, 5), "cinco de mayo": (5, 5),
    "may day": (5, 1),
}  # fmt: skip
# Month, which one of its weekdays (-1: the last), weekday. Source: 5 U.S.C. 6103 and custom.
_BY_WEEKDAY = {
    "martin luther king day": (1, 3, 0), "mlk day": (1, 3, 0), "presidents day": (2, 3, 0),
    "memorial day": (5, -1, 0), "father's day": (6, 3, 6),
    "labor day": (9, 1, 0), "columbus day": (10, 2, 0),
    "thanksgiving day": (11, 4, 3), "thanksgiving": (11, 4, 3),
}  # fmt: skip
_BY_EASTER = {
    "mardi gras": -47, "ash wednesday": -46, "palm sunday": -7, "maundy thursday": -3,
    "good friday": -2, "easter sunday": 0, "easter monday": 1, "easter": 0, "pentecost": 49,
}  # fmt: skip
_NAMES = sorted([*_FIXED, *_BY_WEEKDAY, *_BY_EASTER, "black friday", "cyber monday"], key=len)
_NAME = "|".join(re.escape(name).replace("'", "['\u2019]?") for name in reversed(_NAMES))
FEAST = rf"(?:{_NAME})"
"""Pattern of a holiday's name, apostrophes optional."""
_FEAST = re.compile(
    rf"\b(?:(?P<which>this|next|last|previous|past|coming|following)[ ])?(?P<name>{_NAME})\b"
    r"(?:,?[ ](?:of[ ]|in[ ])?(?:(?P<year>(?:19|20)[0-9]{2})(?![\w:/])"
    r"|(?P<relative>this|next|last)[ ]year\b))?",
    re.IGNORECASE,
)


def feasts(text: str, today: date) -> Iterator[Day]:
    """Find holidays; without a year it is the next one, after "last" the latest one."""
    for found in _FEAST.finditer(text):
        name = _plain(found.group("name"))
        relative = (found.group("relative") or "").lower()
        if found.group("year"):
            yield Day(*found.span(), feast_in(name, int(found.group("year"))))
        elif relative:
            yield Day(*found.span(), feast_in(name, today.year + SHIFTS[relative]))
        else:
            last = (found.group("which") or "").lower() in ("last", "previous", "past")
            value = latest_feast(name, today) if last else next_feast(name, today)
            every = "year" if name in _PLAIN_FIXED else "feast"
            every = "" if found.group("which") else every
            yield Day(*found.span(), value, every)


def next_feast(name: str, today: date) -> date | None:
    """Return the next day of that name; an earlier day of the current month is still this year's."""
    for year in (today.year, today.year + 1):
        value = feast_in(name, year)
        if value is None:
            continue
        if value >= today or (value.year, value.month) == (today.year, today.month):
            return value
    return None


def feast_in(name: str, year: int) -> date | None:
    """Return the day of a holiday in a year; the name in any spelling that `FEAST` takes."""
    name = _plain(name)
    if name in _PLAIN_FIXED:
        return date_of(year, *_PLAIN_FIXED[name])
    if name in _PLAIN_WEEKDAY:
        month, number, weekday = _PLAIN_WEEKDAY[name]
        return nth_weekday(year, month, number, weekday)
    if name in _BY_EASTER:
        return easter(year) + timedelta(days=_BY_EASTER[name])
    thanksgiving = nth_weekday(year, 11, 4, 3)
    after = {"black friday": 1, "cyber monday": 4}.get(name)
    return thanksgiving + timedelta(days=after) if thanksgiving and after else None


def latest_feast(name: str, today: date) -> date | None:
    """Return the latest day of that name before today."""
    for year in (today.year, today.year - 1):
        value = feast_in(name, year)
        if value is not None and value < today:
            return value
    return None


def _plain(name: str) -> str:
    return name.lower().replace("\u2019", "").replace("'", "")


_PLAIN_FIXED = {_plain(name): day for name, day in _FIXED.items()}
_PLAIN_WEEKDAY = {_plain(name): day for name, day in _BY_WEEKDAY.items()}
