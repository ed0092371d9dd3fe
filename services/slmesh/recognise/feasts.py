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
    "christmas eve": (12, 24), "xmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25),
    "xmas day": (12, 25), "xmas": (12, 25), "boxing day": (12, 26), "st stephens day": (12, 26),
    "new years eve": (12, 31), "new year eve": (12, 31), "new years day": (1, 1), "new year": (1, 1),
    "new years": (1, 1), "twelfth night": (1, 5), "burns night": (1, 25),
    "australia day": (1, 26), "groundhog day": (2, 2), "valentines day": (2, 14),
    "valentine day": (2, 14), "st davids day": (3, 1), "international womens day": (3, 8),
    "womens day": (3, 8), "st patricks day": (3, 17), "saint patricks day": (3, 17),
    "paddys day": (3, 17), "april fools day": (4, 1), "april fools": (4, 1), "earth day": (4, 22),
    "st georges day": (4, 23), "saint georges day": (4, 23), "anzac day": (4, 25), "may day": (5, 1),
    "cinco de mayo": (5, 5), "flag day": (6, 14), "juneteenth": (6, 19),
    "canada day": (7, 1), "us independence day": (7, 4), "independence day": (7, 4),
    "bastille day": (7, 14), "halloween": (10, 31), "all hallows eve": (10, 31),
    "all saints day": (11, 1), "all souls day": (11, 2), "guy fawkes night": (11, 5),
    "guy fawkes day": (11, 5), "bonfire night": (11, 5),
    "veterans day": (11, 11), "remembrance day": (11, 11), "armistice day": (11, 11),
    "singles day": (11, 11), "st andrews day": (11, 30),
}  # fmt: skip
# Month, which one of its weekdays (-1: the last), weekday. Source: 5 U.S.C. 6103 and custom.
_BY_WEEKDAY = {
    "martin luther king day": (1, 3, 0), "martin luther king jr day": (1, 3, 0), "mlk day": (1, 3, 0),
    "presidents day": (2, 3, 0), "washingtons birthday": (2, 3, 0), "mothers day": (5, 2, 6),
    "memorial day": (5, -1, 0), "fathers day": (6, 3, 6), "labor day": (9, 1, 0),
    "labour day": (9, 1, 0), "columbus day": (10, 2, 0), "indigenous peoples day": (10, 2, 0),
    "thanksgiving day": (11, 4, 3), "thanksgiving": (11, 4, 3),
}  # fmt: skip
_BY_EASTER = {
    "mardi gras": -47, "shrove tuesday": -47, "pancake day": -47, "ash wednesday": -46,
    "mothering sunday": -21, "palm sunday": -7, "maundy thursday": -3, "good friday": -2,
    "holy saturday": -1, "easter saturday": -1, "easter sunday": 0, "easter monday": 1, "easter": 0,
    "ascension day": 39, "pentecost": 49, "whit sunday": 49, "whit monday": 50,
    "trinity sunday": 56, "corpus christi": 60,
}  # fmt: skip
_AFTER_THANKSGIVING = {"black friday": 1, "cyber monday": 4}
_ELSEWHERE = {("mothers day", region): "mothering sunday" for region in ("GB", "IE")}
"""Holidays of one name that other regions keep on another day."""
_NAMES = sorted([*_FIXED, *_BY_WEEKDAY, *_BY_EASTER, *_AFTER_THANKSGIVING], key=len, reverse=True)
_SPELT = (
    (r"s\ ", r"['\u2019]?s['\u2019]?[ ]"), (r"\ ", "[ ]"), ("st[ ]", r"s(?:ain)?t\.?[ ]"),
)  # fmt: skip
"""What people write in a name: apostrophes or none, "St." or "Saint"."""


def _pattern_of(name: str) -> str:
    pattern = re.escape(name)
    for plain, written in _SPELT:
        pattern = pattern.replace(plain, written)
    return pattern


_NAME = "|".join(map(_pattern_of, _NAMES))
FEAST = rf"(?:{_NAME})"
"""Pattern of a holiday's name, apostrophes optional."""
_FEAST = re.compile(
    rf"\b(?:(?P<which>this|next|last|previous|past|coming|following)[ ])?(?P<name>{FEAST})\b"
    r"(?:,?[ ](?:of[ ]|in[ ])?(?:(?P<year>(?:19|20)[0-9]{2})(?![\w:/])"
    r"|(?P<relative>this|next|last)[ ]year\b))?",
    re.IGNORECASE,
)


_OF_THE_MOON = ("chinese ", "lunar ")
"""Before "new year": a day that these tables do not know."""


def feasts(text: str, today: date, region: str) -> Iterator[Day]:
    """Find holidays; without a year it is the next one, after "last" the latest one."""
    for found in _FEAST.finditer(text):
        if text[max(0, found.start() - 8) : found.start()].lower().endswith(_OF_THE_MOON):
            continue
        name = feast_name(found.group("name"), region)
        relative = (found.group("relative") or "").lower()
        if found.group("year"):
            yield Day(*found.span(), feast_in(name, int(found.group("year"))))
        elif relative:
            yield Day(*found.span(), feast_in(name, today.year + SHIFTS[relative]))
        else:
            last = (found.group("which") or "").lower() in ("last", "previous", "past")
            value = latest_feast(name, today) if last else next_feast(name, today)
            every = "year" if name in _FIXED else "feast"
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
    if name in _FIXED:
        return date_of(year, *_FIXED[name])
    if name in _BY_WEEKDAY:
        month, number, weekday = _BY_WEEKDAY[name]
        return nth_weekday(year, month, number, weekday)
    if name in _BY_EASTER:
        return easter(year) + timedelta(days=_BY_EASTER[name])
    thanksgiving = nth_weekday(year, 11, 4, 3)
    after = _AFTER_THANKSGIVING.get(name)
    return thanksgiving + timedelta(days=after) if thanksgiving and after else None


def latest_feast(name: str, today: date) -> date | None:
    """Return the latest day of that name before today."""
    for year in (today.year, today.year - 1):
        value = feast_in(name, year)
        if value is not None and value < today:
            return value
    return None


def feast_name(written: str, region: str) -> str:
    """Return a holiday's name as the tables have it, for a region: a country code or ""."""
    name = _plain(written)
    return _ELSEWHERE.get((name, region), name)


def _plain(name: str) -> str:
    plain = re.sub(r"['\u2019.]", "", name.lower())
    return plain if plain in _NAMES else plain.replace("saint ", "st ")
