"""One text on its way through the recognisers, with what several of them need read only once.

Knows how to read lazily; knows no kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property
from typing import TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from slmesh.recognise.locales import Writing, writing
from slmesh.recognise.match import Context, Match
from slmesh.recognise.quantities import Quantity, quantities

T = TypeVar("T")


class Reading:
    """A text with its context; everything derived from them is computed at most once."""

    def __init__(self, text: str, context: Context) -> None:
        self.text = text
        self.context = context
        self._built: dict[object, object] = {}

    def once(self, build: Callable[[Reading], T]) -> T:
        """Return what `build` makes of this reading, made at most once."""
        if build not in self._built:
            self._built[build] = build(self)
        return cast(T, self._built[build])

    @cached_property
    def writing(self) -> Writing:
        """How the locale writes numbers and dates.

        Raises:
            ValueError: the locale is not known.
        """
        return writing(self.context.locale)

    @cached_property
    def quantities(self) -> list[Quantity]:
        """The numbers of the text."""
        return quantities(self.text, self.writing.decimal_mark)

    @cached_property
    def now(self) -> datetime:
        """The reference time in the writer's time zone.

        Raises:
            ValueError: the context has no reference time, or its time zone is not known.
        """
        reference = self.context.reference_time
        if reference is None or reference.tzinfo is None:
            raise ValueError("dates need a reference_time with an offset in the context")
        return reference.astimezone(self.zone)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The writer's time zone.

        Raises:
            ValueError: the name is not an IANA time zone.
        """
        try:
            return ZoneInfo(self.context.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            name = self.context.time_zone
            raise ValueError(f"time zone {name!r} is not an IANA time zone") from error


Recogniser = Callable[[Reading], Iterable[Match]]
"""Finds every match of its kinds in one text, in any order, overlaps among them allowed."""
