"""Reads numbers written in digits and in English words: the amounts that other kinds are made of.

Knows how a number is written ("1,250.50", "two and a half million", "half a dozen"); knows nothing
of what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from slmesh.recognise.number_parts import (
    open_part,
    open_quarter,
    takes_and_parts,
    takes_compound_part,
    takes_halves,
    takes_parts,
)
from slmesh.recognise.number_reader import NumberReader
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


def _longest(text: str, tokens: Sequence[Token], index: int) -> tuple[Quantity | None, int]:
    """Return the longest number that starts at the token, and how many tokens it takes."""
    opening = tokens[index]
    if opening.kind == "minus":
        return _negative(text, tokens, index)
    if opening.kind == "digits" and not _joined(tokens, index):
        value = opening.value
        return Quantity(opening.start, opening.end, value, suffixed=opening.suffixed), 1
    reader = NumberReader(text, tokens, index)
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


def _open(reader: NumberReader, opening: Token) -> bool:
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
        return open_part(reader, following)
    if opening.kind == "part" and opening.value == 4 and following is not None:
        return open_quarter(reader, following)
    scaled = opening.kind == "scale" and following is not None and following.kind == "scale"
    if scaled and following is not None and opening.value < following.value:
        reader.group = opening.value
        reader.take()
        return True
    return opening.kind == "half" and _open_half(reader)


def _open_half(reader: NumberReader) -> bool:
    """Take "half a million", "half of a million" and "half dozen"."""
    for kinds in (("scale",), ("a", "scale"), ("of", "a", "scale")):
        tokens = [reader.peek(ahead) for ahead in range(1, len(kinds) + 1)]
        scale = tokens[-1]
        if scale is None or tuple(token.kind for token in tokens if token is not None) != kinds:
            continue
        reader.take(1 + len(kinds))
        reader.group = scale.value / 2
        return True
    return False


def _continue(reader: NumberReader) -> None:
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
        elif takes_compound_part(reader, token) or not _takes_more(reader, token):
            return


def _takes_more(reader: NumberReader, token: Token) -> bool:
    """Take what a joining word brings; tell whether it brought anything."""
    if token.kind == "and":
        return takes_and_parts(reader) or _takes_and(reader)
    if token.kind == "point":
        return _takes_fraction(reader)
    if token.kind in ("half", "halves"):
        return takes_halves(reader, token)
    return token.kind in ("part", "parts") and takes_parts(reader, token)


def _takes_and(reader: NumberReader) -> bool:
    """Take "and five" after a scale, or "and a half", "and one half" and "and ½" after anything."""
    following = reader.peek(1)
    if following is None:
        return False
    article = following
    if following.kind == "a" or (following.kind == "small" and following.value == 1):
        article = reader.peek(2) or following
    if following.kind == "digits" and 0 < following.value < 1 and not reader.last_scaled:
        reader.group = (reader.group or Decimal(0)) + following.value
        reader.take(2)
        return True
    if (
        article.kind != "half"
        and following.kind in ("small", "digits")
        and reader.last_scaled
        and reader.smallest_scale != 12
    ):
        if not reader.may_add(following.value) or reader.scales_on(following):
            return False
        reader.take()
        reader.before_and = reader.total + (reader.group or Decimal(0))
        reader.group = (reader.group or Decimal(0)) + following.value
        reader.last_scaled = False
        reader.take()
        return True
    if article.kind != "half":
        return False
    if reader.last_scaled and reader.group is None:
        reader.total += reader.smallest_scale / 2
    else:
        reader.group = (reader.group or Decimal(0)) + Decimal("0.5")
    reader.take(2 if following is article else 3)
    return True


def _takes_fraction(reader: NumberReader) -> bool:
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
