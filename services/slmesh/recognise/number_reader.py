"""Reads one number from the tokens of a text: where it stands, and what its parts add up to.

Knows how groups and scales make a number; which tokens belong to it is decided by those who ask.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from slmesh.recognise.number_tokens import Token

_NO_NOUN = re.compile(
    r"[ ]{0,2}(?:$|[^\w\s-])|[ ](?:of|and|or|is|are|was|were|to|in|for|more|less|as|than|off|from|plus"
    r"|by|at|on|the|that|a|if|when|with|million|billion)\b",
    re.IGNORECASE,
)


class NumberReader:
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
            if len(gap) > 3 or not gap:
                return None
            if gap.strip(" -\t") and not (gap == ", " and self._goes_down_at(index)):
                return None
        return self._tokens[index]

    def _goes_down_at(self, index: int) -> bool:
        """Tell "one thousand, two hundred" from a list of numbers: the next scale is smaller."""
        scales = [token for token in self._tokens[index : index + 4] if token.kind == "scale"]
        before = self._tokens[index - 1]
        return (
            before.kind == "scale"
            and before.value >= 1000
            and self._tokens[index].kind == "small"
            and bool(scales)
            and scales[0].value < before.value
        )

    def take(self, count: int = 1) -> None:
        """Go on behind so many tokens."""
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
        """How many tokens were taken."""
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
        """Take a scale: "hundred" multiplies the group, a greater one closes it."""
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
        """Tell whether a scale goes on the number: scales get smaller."""
        if self.group is None:
            return False
        if token.value == 100:
            return abs(self.group) < 100
        return token.value < self.smallest_scale
