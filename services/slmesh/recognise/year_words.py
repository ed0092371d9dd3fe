"""Reads years in words: "nineteen seventy two", "two thousand and thirty two", "twenty twenty"."""

from __future__ import annotations

import re

from slmesh.recognise.number_words import DIGITS, TEENS, TENS

_WORTH = DIGITS | TEENS | TENS
_UNIT = "|".join(DIGITS)
_PAIR = rf"(?:(?:{'|'.join(TENS)})(?:[ -](?:{_UNIT}))?|{'|'.join(TEENS)}|(?:oh|o)[ -](?:{_UNIT}))"
YEAR_WORDS = (
    rf"(?:(?:eighteen|nineteen|twenty)[ -]{_PAIR}|(?:eighteen|nineteen)[ ]hundred"
    rf"|two[ ]thousand(?:[ ](?:and[ ])?(?:{_PAIR}|{_UNIT}))?)\b"
)
"""Pattern of a year from 1800 to 2099 in words."""


def year_of_words(words: str) -> int:
    """Return the year that words of `YEAR_WORDS` say."""
    parts = [part for part in re.split(r"[ -]", words.lower()) if part not in ("and", "oh", "o")]
    if parts[:2] == ["two", "thousand"]:
        return 2000 + sum(_WORTH[part] for part in parts[2:])
    if parts[1] == "hundred":
        return _WORTH[parts[0]] * 100
    return _WORTH[parts[0]] * 100 + sum(_WORTH[part] for part in parts[1:])
