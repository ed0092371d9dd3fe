"""Reads years in words: "nineteen seventy two", "two thousand and thirty two", "twenty twenty"."""

from __future__ import annotations

import re

_UNITS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9,
}  # fmt: skip
_TEENS = {
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15,
    "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_UNIT = "|".join(_UNITS)
_PAIR = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{_UNIT}))?|{'|'.join(_TEENS)}|(?:oh|o)[ -](?:{_UNIT}))"
YEAR_WORDS = (
    rf"(?:(?:eighteen|nineteen|twenty)[ -]{_PAIR}|(?:eighteen|nineteen)[ ]hundred"
    rf"|two[ ]thousand(?:[ ](?:and[ ])?(?:{_PAIR}|{_UNIT}))?)\b"
)
"""Pattern of a year from 1800 to 2099 in words."""


def year_of_words(words: str) -> int:
    """Return the year that words of `YEAR_WORDS` say."""
    parts = [part for part in re.split(r"[ -]", words.lower()) if part not in ("and", "oh", "o")]
    if parts[:2] == ["two", "thousand"]:
        return 2000 + sum(_worth(part) for part in parts[2:])
    if parts[1] == "hundred":
        return _worth(parts[0]) * 100
    return _worth(parts[0]) * 100 + sum(_worth(part) for part in parts[1:])


def _worth(word: str) -> int:
    return _UNITS.get(word) or _TEENS.get(word) or _TENS[word]
