"""Reads numbers written in digits and in English words: the amounts that other kinds are made of.

Knows how a number is written ("1,250.50", "two and a half million", "half a dozen"); knows nothing
of what is counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from slmesh.recognise.number_tokens import LONGEST, Token, number_tokens


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


def quantities(text: str, decimal_mark: str) -> list[Quantity]:
    """Return the numbers of a text in order, with the longest reading of each.

    Args:
        text: any text.
        decimal_mark: "." or ",", as the locale writes it.
    """
    tokens = list(number_tokens(text, decimal_mark))
    found = []
    index = 0
    while index < len(tokens):
        quantity, used = _longest(text, tokens, index)
        if quantity is not None:
            found.append(quantity)
        index += max(used, 1)
    return found


_NO_NOUN = re.compile(
    r"[ ]{0,2}(?:$|[^\w\s-])|[ ](?:of|and|or|is|are|was|were|to|in|for|more|less|as|than|off|from|plus"
    r"|by|at|on|the|that|a|if|when|with|million|billion)\b",
    re.IGNORECASE,
)


class _Reader:
    """Reads one number from a row of tokens: how far it goes and what it is worth."""

    def __init__(self, text: str, tokens: Sequence[Token], index: int) -> None:
        self._text = text
        self._tokens = tokens
        self._index = index
        self.first = index
        self.total = Decimal(0)
        self.group: Decimal | None = None
        self.smallest_scale = Decimal(10) ** 15
        self.last_scaled = False
        self.before_and = Decimal(0)

    def peek(self, ahead: int = 0) -> Token | None:
        """Return the token ahead if nothing but a gap stands before it."""
        index = self._index + ahead
        if index >= len(self._tokens):
            return None
        if index > self.first:
            gap = self._text[self._tokens[index - 1].end : self._tokens[index].start]
            if len(gap) > 3 or gap.strip(" -\t") or not gap:
                return None
        return self._tokens[index]

    def take(self, count: int = 1) -> None:
        self._index += count

    def ends_at(self, token: Token) -> bool:
        """Tell that no noun follows the token, which would make an ordinal of it."""
        return _NO_NOUN.match(self._text, token.end) is not None

    def scales_on(self, digits: Token) -> bool:
        """Tell "2.12 hundred" after "3 hundred and", which is another number."""
        scale = self.peek(2)
        greater = scale is not None and scale.kind == "scale" and digits.kind == "digits"
        return greater and digits.value != int(digits.value)

    def may_add_digits(self, digits: Token) -> bool:
        """Tell whether digits go on a number: "4 thousand" + "3 hundred"."""
        scale = self.peek(1)
        return (
            self.last_scaled
            and self.group is None
            and scale is not None
            and scale.kind == "scale"
            and digits.value * scale.value < self.smallest_scale
        )

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

    def scale(self, token: Token) -> None:
        if token.value == 100:
            self.group = (self.group or Decimal(1)) * 100
        elif token.value == 12 and self.group is not None and self.group >= 100:
            # "three hundred and two dozens": only the last part is counted in dozens
            self.group += self.group % 100 * 11
        else:
            self.total += (self.group or Decimal(1)) * token.value
            self.group = None
            self.smallest_scale = token.value
        self.last_scaled = True
        self.take()

    def may_scale(self, token: Token) -> bool:
        if self.group is None:
            return False
        if token.value == 100:
            return abs(self.group) < 100
        return token.value < self.smallest_scale


def _longest(text: str, tokens: Sequence[Token], index: int) -> tuple[Quantity | None, int]:
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


def _negative(text: str, tokens: Sequence[Token], index: int) -> tuple[Quantity | None, int]:
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


def _joined(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether a word that could belong to the number stands next to it."""
    if index + 1 == len(tokens) or tokens[index + 1].kind == "digits":
        return False
    return tokens[index + 1].start - tokens[index].end <= 3


def _open(reader: _Reader, opening: Token) -> bool:
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
    if opening.kind == "a" and following is not None and following.kind in ("half", "part"):
        return _open_part(reader, following)
    if opening.kind == "part" and opening.value == 4 and following is not None:
        return _open_quarter(reader, following)
    scaled = opening.kind == "scale" and following is not None and following.kind == "scale"
    if scaled and following is not None and opening.value < following.value:
        reader.group = opening.value
        reader.take()
        return True
    if opening.kind == "half" and following is not None and following.kind in ("a", "scale"):
        scale = following if following.kind == "scale" else reader.peek(2)
        if scale is not None and scale.kind == "scale":
            reader.take(2 if following.kind == "scale" else 3)
            reader.group = scale.value / 2
            return True
    return False


def _open_part(reader: _Reader, part: Token) -> bool:
    """Take "a half", "a fifth" and "a quarter million"; "a third person" is none of them."""
    bottom = Decimal(2) if part.kind == "half" else part.value
    scale = reader.peek(2)
    if scale is not None and scale.kind == "scale" and bottom in (2, 4):
        reader.group = scale.value / bottom
        reader.take(3)
        return True
    if (part.kind == "part" and bottom <= 2) or not reader.ends_at(part):
        return False
    reader.group = 1 / bottom
    reader.take(2)
    return True


def _open_quarter(reader: _Reader, scale: Token) -> bool:
    """Take "quarter million"."""
    if scale.kind != "scale" or scale.value < 1000:
        return False
    reader.group = scale.value / 4
    reader.take(2)
    return True


def _continue(reader: _Reader) -> None:
    """Take every further token that belongs to the number."""
    while (token := reader.peek()) is not None:
        if token.kind == "small" and reader.may_add(token.value):
            reader.group = (reader.group or Decimal(0)) + token.value
            reader.last_scaled = False
            reader.take()
        elif token.kind == "scale" and reader.may_scale(token):
            reader.scale(token)
        elif token.kind == "digits" and reader.may_add_digits(token):
            reader.group = (reader.group or Decimal(0)) + token.value
            reader.last_scaled = False
            reader.take()
        elif _takes_compound_part(reader, token) or not _takes_more(reader, token):
            return


def _takes_more(reader: _Reader, token: Token) -> bool:
    """Take what a joining word brings; tell whether it brought anything."""
    if token.kind == "and":
        return _takes_and_parts(reader) or _takes_and(reader)
    if token.kind == "point":
        return _takes_fraction(reader)
    return token.kind in ("part", "parts") and _takes_parts(reader, token)


def _takes_parts(reader: _Reader, token: Token) -> bool:
    """Take "thirds" after "two": the number so far divided; "one" goes with the singular.

    A long numerator is divided as a whole ("one hundred and thirty fifths" is 26), but hundredths
    after "and" are a part of their own: "two hundred and four hundredths" is 200.04.
    """
    count = reader.total + (reader.group or Decimal(0))
    if reader.used == 0 or token.value <= 2 or (count == 1) != (token.kind == "part"):
        return False
    if count == 1 and not reader.ends_at(token):
        return False
    whole = reader.before_and if token.value >= 100 else Decimal(0)
    reader.total = whole + (count - whole) / token.value
    reader.group = None
    reader.take()
    _takes_scale_of(reader)
    return True


def _takes_scale_of(reader: _Reader) -> None:
    """Take "of a million" and "billion" after a fraction: "three quarters billion"."""
    for width, kinds in ((3, ("of", "a", "scale")), (1, ("scale",))):
        tokens = [reader.peek(ahead) for ahead in range(width)]
        scale = tokens[-1]
        if scale is None or scale.value < 1000:
            continue
        if tuple(token.kind for token in tokens if token is not None) == kinds:
            reader.total *= scale.value
            reader.take(width)
            return


def _takes_compound_part(reader: _Reader, tens: Token) -> bool:
    """Take "twenty-firsts" after "three"."""
    unit, count = reader.peek(1), reader.group
    if (
        tens.kind != "small"
        or unit is None
        or unit.kind not in ("part", "parts")
        or unit.value > 9
        or tens.value < 20
    ):
        return False
    if count is None or reader.total or count >= 100 or (count == 1) != (unit.kind == "part"):
        return False
    if count == 1 and not reader.ends_at(unit):
        return False
    reader.group = count / (tens.value + unit.value)
    reader.take(2)
    return True


def _takes_and_parts(reader: _Reader) -> bool:
    """Take "and a quarter" and "and two thirds" after a whole number."""
    count, part = reader.peek(1), reader.peek(2)
    if count is None or part is None or part.kind not in ("part", "parts"):
        return False
    if count.kind not in ("a", "small", "digits") or count.value >= part.value or part.value <= 2:
        return False
    if (count.value == 1) != (part.kind == "part"):
        return False
    scale = reader.peek(3)
    if scale is not None and scale.kind == "scale" and scale.value < reader.smallest_scale:
        reader.total += (reader.group or Decimal(0)) + scale.value * count.value / part.value
        reader.group = None
        reader.take(4)
        return True
    if reader.last_scaled and reader.group is None:
        # of the scale: "five billion and three quarters"
        reader.total += reader.smallest_scale * count.value / part.value
    else:
        reader.group = (reader.group or Decimal(0)) + count.value / part.value
    reader.take(3)
    return True


def _takes_and(reader: _Reader) -> bool:
    """Take "and five" after a scale, or "and a half" after anything."""
    following = reader.peek(1)
    if following is None:
        return False
    if following.kind in ("small", "digits") and reader.last_scaled and reader.smallest_scale != 12:
        if not reader.may_add(following.value) or reader.scales_on(following):
            return False
        reader.take()
        reader.before_and = reader.total + (reader.group or Decimal(0))
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
    reader.take(3 if following.kind == "a" else 2)
    return True


def _takes_fraction(reader: _Reader) -> bool:
    """Take "point two five" as .25."""
    written = reader.peek(1)
    if written is not None and written.kind == "digits" and written.value == int(written.value):
        digits_after = str(int(written.value))
        if reader.group is None or len(digits_after) != written.end - written.start:
            return False
        reader.group += Decimal(f"0.{digits_after}")
        reader.take(2)
        return True
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
    if not digits or len(digits) > LONGEST:
        return False
    reader.group = (reader.group or Decimal(0)) + Decimal("0." + "".join(digits))
    reader.take(1 + len(digits))
    return True
