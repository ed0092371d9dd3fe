"""What a recogniser finds, and what it has to know about the writer to find it.

This module knows no kind and no pattern: it holds the two records that every recogniser shares, and
how overlapping readings of one recogniser are settled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the smallest unit of its currency: 1250 and "GBP" for 12.50 pounds."""

    currency: str
    minor_units: int


Value = str | int | float | Money | None
"""What a match stands for; None when the text was recognised and its value could not be told."""


@dataclass(frozen=True, slots=True)
class Match:
    """One thing found in a text.

    `start` and `end` are half-open offsets in Unicode code points (Python's index), so
    `searched_text[start:end] == text` always holds.
    """

    kind: str
    start: int
    end: int
    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about the writer of a text.

    `locale` is a BCP 47 tag (order of day and month, decimal mark, telephone region).
    `time_zone` is an IANA name. `default_currency` is an ISO 4217 code for amounts that name no
    currency, or empty: then such an amount is a number, not money. `reference_time` is when the
    text was written, with an offset; only the kinds that count from it need it.
    """

    locale: str = "en-GB"
    time_zone: str = "UTC"
    default_currency: str = ""
    reference_time: datetime | None = None


def match_at(kind: str, text: str, start: int, end: int, value: Value) -> Match:
    """Return the match of text[start:end]."""
    return Match(kind, start, end, text[start:end], value)


class _Placed(Protocol):
    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


P = TypeVar("P", bound=_Placed)


def longest(found: Iterable[P]) -> list[P]:
    """Return what stands in a text in order, without overlaps: the longest, of equals the first."""
    kept: list[P] = []
    for item in sorted(found, key=lambda item: (item.start, -item.end)):
        if not kept or item.start >= kept[-1].end:
            kept.append(item)
        elif item.end - item.start > kept[-1].end - kept[-1].start:
            kept[-1] = item
    return kept
