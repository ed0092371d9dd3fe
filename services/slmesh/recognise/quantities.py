"""Reads numbers written in digits and in English words: the amounts that other kinds are made of.

Knows how a number is written ("1,250.50", "two and a half million", "half a dozen"); knows nothing
of what is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

_UNITS = {
    "zero": 0, "nil": 0, "nought": 0, "naught": 0, "one": 1, "two": 2, "three": 3, "four": 4,
    "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
}  # fmt: skip
_TEENS = {
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15,
    "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60,
    "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "grand": 10**3, "lakh": 10**5, "million": 10**6,
    "crore": 10**7, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_SUFFIXES = {"k": 10**3, "m": 10**6, "mn": 10**6, "mln": 10**6, "bn": 10**9, "b": 10**9}

_PARTS = {
    "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip

_WORDS = _UNITS | _TEENS | _TENS
_WORD_PATTERN = "|".join(sorted([*_WORDS, *_SCALES], key=len, reverse=True))
_MARKED = {
    ".": r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])"
    r"|[0-9]{1,3}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?(?![0-9])"
    r"|[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]{1,2}(?![0-9])"
    r"|[1-9][0-9]{0,2}(?:[ \u00a0\u202f][0-9]{3})+(?:\.[0-9]+)?(?![\w/-])|[0-9]+(?:\.[0-9]+)?|\.[0-9]+",
    ",": r"[0-9]{1,3}(?:[.'\u00a0\u202f ][0-9]{3})+(?:,[0-9]+)?(?![0-9])"
    r"|[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]{1,2}(?![0-9])|[0-9]+(?:,[0-9]+)?|,[0-9]+",
}
_AFTER_CODE = "|".join(rf"(?<=\b{code})" for code in ("usd", "gbp", "eur", "chf", "cad", "aud"))
_LONGEST = 40
"""Digits in the longest number that is read; a longer run is not a quantity."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in a text.

    `start` and `end` are code point offsets; `worded` tells that it is written in words only;
    `suffixed` that it ends in a letter that stands for a scale ("3k"), which only money may use
    freely. `value` is exact.
    """

    start: int
    end: int
    value: Decimal
    worded: bool = False
    suffixed: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # digits, small, scale, minus, and, a, half, point, part, parts
    start: int
    end: int
    value: Decimal
    suffixed: bool = False


def quantities(text: str, decimal_mark: str) -> list[Quantity]:
    """Return the numbers of a text in order, with the longest reading of each.

    Args:
        text: any text.
        decimal_mark: "." or ",", as the locale writes it.
    """
    tokens = list(_tokens(text, decimal_mark))
    found = []
    index = 0
    while index < len(tokens):
        quantity, used = _longest(text, tokens, index)
        if quantity is not None:
            found.append(quantity)
        index += max(used, 1)
    return found


@lru_cache(maxsize=2)
def _pattern(decimal_mark: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:(?<![\w])|{_AFTER_CODE})(?P<digits>(?<![0-9][.:/]){_sign()}(?:{_MARKED[decimal_mark]}))"
        r"(?P<suffix>(?:k|mn|mln|m|bn|b)(?![\w]))?"
        rf"|\b(?P<word>{_WORD_PATTERN})(?P<plural>s)?\b"
        r"|\b(?P<minus>minus|negative)\b"
        rf"|\b(?P<part>{'|'.join(_PARTS)})(?P<parts>s)?\b"
        r"|\b(?P<joint>and|an?|half|point)\b",
        re.IGNORECASE,
    )


def _sign() -> str:
    return r"(?:(?<![\w)])[-\u2212](?=[0-9.,]))?"


def _tokens(text: str, decimal_mark: str) -> Iterator[_Token]:
    for found in _pattern(decimal_mark).finditer(text):
        if found.lastgroup in ("digits", "suffix"):
            value = _decimal(found.group("digits"), decimal_mark)
            if value is None:
                continue
            suffix = (found.group("suffix") or "").lower()
            scale = _SUFFIXES.get(suffix, 1)
            yield _Token("digits", found.start(), found.end(), value * scale, bool(suffix))
        elif found.group("minus"):
            yield _Token("minus", found.start(), found.end(), Decimal(-1))
        elif found.group("word"):
            word = found.group("word").lower()
            if word in _WORDS and not found.group("plural"):
                yield _Token("small", found.start(), found.end(), Decimal(_WORDS[word]))
            elif word in _SCALES:
                yield _Token("scale", found.start(), found.end(), Decimal(_SCALES[word]))
        elif found.group("part"):
            kind = "parts" if found.group("parts") else "part"
            value = Decimal(_PARTS[found.group("part").lower()])
            yield _Token(kind, found.start(), found.end(), value)
        else:
            joint = found.group("joint").lower()
            kind = "a" if joint == "an" else joint
            yield _Token(kind, found.start(), found.end(), Decimal(1))


def _decimal(digits: str, decimal_mark: str) -> Decimal | None:
    if len(digits) > _LONGEST:
        return None
    if digits.isdigit():
        return Decimal(digits)
    plain = digits.replace("\u2212", "-")
    dot, comma = plain.rfind("."), plain.rfind(",")
    if dot >= 0 and comma >= 0:
        decimal_mark = "." if dot > comma else ","
    group = "," if decimal_mark == "." else "."
    for mark in (group, "'", "\u00a0", "\u202f", " "):
        plain = plain.replace(mark, "")
    return Decimal(plain.replace(",", "."))


class _Reader:
    """Reads one number from a row of tokens: how far it goes and what it is worth."""

    def __init__(self, text: str, tokens: Sequence[_Token], index: int) -> None:
        self._text = text
        self._tokens = tokens
        self._index = index
        self.first = index
        self.total = Decimal(0)
        self.group: Decimal | None = None
        self.smallest_scale = Decimal(10) ** 15
        self.last_scaled = False

    def peek(self, ahead: int = 0) -> _Token | None:
        """Return the token ahead if nothing but a gap stands before it."""
        index = self._index + ahead
        if index >= len(self._tokens):
            return None
        if index > self.first:
            gap = self._text[self._tokens[index - 1].end : self._tokens[index].start]
            if len(gap) > 3 or gap.strip(" -\t") or not gap:
                return None
        return self._tokens[index]

    def take(self) -> None:
        self._index += 1

    @property
    def used(self) -> int:
        return self._index - self.first

    def may_add(self, value: Decimal) -> bool:
        """Tell whether a small number continues the group: "twenty" + "five", not "five" + "two".

        A group written in digits takes none: its last token is no word.
        """
        if self.group is None:
            return True
        previous = self._tokens[self._index - 1]
        if self.last_scaled:
            return self.group % 100 == 0 and value < 100
        return previous.kind == "small" and value < 10 <= 20 <= self.group and self.group % 10 == 0

    def scale(self, token: _Token) -> None:
        if token.value == 100:
            self.group = (self.group or Decimal(1)) * 100
        else:
            self.total += (self.group or Decimal(1)) * token.value
            self.group = None
            self.smallest_scale = token.value
        self.last_scaled = True
        self.take()

    def may_scale(self, token: _Token) -> bool:
        if self.group is None:
            return False
        if token.value == 100:
            return abs(self.group) < 100
        return token.value < self.smallest_scale


def _longest(text: str, tokens: Sequence[_Token], index: int) -> tuple[Quantity | None, int]:
    """Return the longest number that starts at the token, and how many tokens it takes."""
    opening = tokens[index]
    if opening.kind == "minus":
        return _negative(text, tokens, index)
    if opening.kind == "digits" and not _joined(tokens, index):
        value = opening.value
        return Quantity(opening.start, opening.end, value, suffixed=opening.suffixed), 1
    reader = _Reader(text, tokens, index)
    if not _open(reader, opening):
        return None, 1
    _continue(reader)
    value = reader.total + (reader.group or Decimal(0))
    last = tokens[reader.first + reader.used - 1]
    span = tokens[reader.first : reader.first + reader.used]
    worded = all(token.kind != "digits" for token in span)
    suffixed = last.suffixed
    return Quantity(opening.start, last.end, value, worded, suffixed), reader.used


def _negative(text: str, tokens: Sequence[_Token], index: int) -> tuple[Quantity | None, int]:
    """Read "minus five": the number after the word, turned."""
    if index + 1 == len(tokens) or tokens[index + 1].kind == "minus":
        return None, 1
    if text[tokens[index].end : tokens[index + 1].start] != " ":
        return None, 1
    positive, used = _longest(text, tokens, index + 1)
    if positive is None:
        return None, 1
    start, worded = tokens[index].start, positive.worded
    return Quantity(start, positive.end, -positive.value, worded, positive.suffixed), used + 1


def _joined(tokens: Sequence[_Token], index: int) -> bool:
    """Tell whether a word that could belong to the number stands next to it."""
    if index + 1 == len(tokens) or tokens[index + 1].kind == "digits":
        return False
    return tokens[index + 1].start - tokens[index].end <= 3


def _open(reader: _Reader, opening: _Token) -> bool:
    """Take the first tokens of a number; tell whether one starts here."""
    following = reader.peek(1)
    if opening.kind in ("digits", "small"):
        reader.group = opening.value
        reader.take()
        return True
    if opening.kind == "a" and following is not None and following.kind == "scale":
        reader.group = Decimal(1)
        reader.take()
        return True
    scaled = opening.kind == "scale" and following is not None and following.kind == "scale"
    if scaled and following is not None and opening.value < following.value:
        reader.group = opening.value
        reader.take()
        return True
    if opening.kind == "half" and following is not None and following.kind in ("a", "scale"):
        scale = following if following.kind == "scale" else reader.peek(2)
        if scale is not None and scale.kind == "scale":
            for _ in range(2 if following.kind == "scale" else 3):
                reader.take()
            reader.group = scale.value / 2
            return True
    return False


def _continue(reader: _Reader) -> None:
    """Take every further token that belongs to the number."""
    while (token := reader.peek()) is not None:
        if token.kind == "small" and reader.may_add(token.value):
            reader.group = (reader.group or Decimal(0)) + token.value
            reader.last_scaled = False
            reader.take()
        elif token.kind == "scale" and reader.may_scale(token):
            reader.scale(token)
        elif not _takes_more(reader, token):
            return


def _takes_more(reader: _Reader, token: _Token) -> bool:
    """Take what a joining word brings; tell whether it brought anything."""
    if token.kind == "and":
        return _takes_and_parts(reader) or _takes_and(reader)
    if token.kind == "point":
        return _takes_fraction(reader)
    return token.kind in ("part", "parts") and _takes_parts(reader, token)


def _takes_parts(reader: _Reader, token: _Token) -> bool:
    """Take "thirds" after "two": the number so far divided; "one" goes with the singular."""
    count = reader.group
    if count is None or reader.total or count >= 100 or (count == 1) != (token.kind == "part"):
        return False
    reader.group = count / token.value
    reader.take()
    return True


def _takes_and_parts(reader: _Reader) -> bool:
    """Take "and a quarter" and "and two thirds" after a whole number."""
    count, part = reader.peek(1), reader.peek(2)
    if count is None or part is None or part.kind not in ("part", "parts"):
        return False
    if count.kind not in ("a", "small", "digits") or count.value >= part.value:
        return False
    if (count.value == 1) != (part.kind == "part"):
        return False
    if reader.last_scaled and reader.group is None:
        reader.total += count.value / part.value
    else:
        reader.group = (reader.group or Decimal(0)) + count.value / part.value
    for _ in range(3):
        reader.take()
    return True


def _takes_and(reader: _Reader) -> bool:
    """Take "and five" after a scale, or "and a half" after anything."""
    following = reader.peek(1)
    if following is None:
        return False
    if following.kind in ("small", "digits") and reader.last_scaled and reader.smallest_scale != 12:
        if not reader.may_add(following.value):
            return False
        reader.take()
        reader.group = (reader.group or Decimal(0)) + following.value
        reader.last_scaled = False
        reader.take()
        return True
    article = reader.peek(2) if following.kind == "a" else following
    if article is None or article.kind != "half":
        return False
    if reader.last_scaled and reader.group is None:
        reader.total += reader.smallest_scale / 2
    else:
        reader.group = (reader.group or Decimal(0)) + Decimal("0.5")
    for _ in range(3 if following.kind == "a" else 2):
        reader.take()
    return True


def _takes_fraction(reader: _Reader) -> bool:
    """Take "point two five" as .25."""
    digits: list[str] = []
    while (token := reader.peek(1 + len(digits))) is not None:
        if token.kind != "small" or (token.value > 9 and digits):
            break
        digits.append(str(token.value))
        if token.value > 19 and (unit := reader.peek(2)) is not None and unit.kind == "small":
            # "point seventy-one": two words for two digits.
            if unit.value < 10:
                digits = [str(token.value)[0], str(unit.value)]
            break
    if not digits or len(digits) > _LONGEST:
        return False
    reader.group = (reader.group or Decimal(0)) + Decimal("0." + "".join(digits))
    for _ in range(1 + len(digits)):
        reader.take()
    return True
