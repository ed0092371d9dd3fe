"""Reads the fractions in a number's words: "two thirds", "a quarter of a million", "and one half"."""

from __future__ import annotations

from decimal import Decimal

from slmesh.recognise.number_reader import NumberReader
from slmesh.recognise.number_tokens import Token


def open_part(reader: NumberReader, part: Token) -> bool:
    """Take "a half", "a fifth" and "a quarter million"; "a third person" is none of them."""
    bottom = Decimal(2) if part.kind == "half" else part.value
    scale = reader.peek(2)
    if scale is not None and scale.kind == "scale" and bottom in (2, 4):
        reader.group = scale.value / bottom
        reader.take(3)
        return True
    if (part.kind == "part" and bottom <= 2) or not reader.ends_at(part):
        return False
    reader.total = 1 / bottom
    reader.take(2)
    _takes_scale_of(reader)
    return True


def open_quarter(reader: NumberReader, following: Token) -> bool:
    """Take "quarter million" and "quarter of a million"."""
    if following.kind == "of":
        reader.total = Decimal("0.25")
        reader.take()
        _takes_scale_of(reader)
        return reader.used > 1
    if following.kind != "scale" or following.value < 1000:
        return False
    reader.group = following.value / 4
    reader.take(2)
    return True


def takes_halves(reader: NumberReader, token: Token) -> bool:
    """Take "half" after "one" and "halves" after any other number."""
    count = reader.total + (reader.group or Decimal(0))
    if reader.used == 0 or reader.last_scaled or (count == 1) != (token.kind == "half"):
        return False
    reader.total, reader.group = count / 2, None
    reader.take()
    return True


def takes_parts(reader: NumberReader, token: Token) -> bool:
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


def _takes_scale_of(reader: NumberReader) -> None:
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


def takes_compound_part(reader: NumberReader, tens: Token) -> bool:
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


def takes_and_parts(reader: NumberReader) -> bool:
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
