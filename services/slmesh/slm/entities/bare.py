"""Reads an answer that is nothing but a number, when the question settles what it means.

"13" is a time to "When?" and a party to "How many?"; the one field that a request asks for is the
question.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import time

from slmesh.recognise import Match

_TIME = re.compile(r"\s*(?P<all>(?P<hour>[0-2]?[0-9])(?:[ .:]?(?P<minute>[0-5][0-9]))?)[.!]?\s*")
_COUNT = re.compile(r"\s*(?P<all>[0-9]{1,3})[.!]?\s*")


def bare_answer(text: str, kinds: Collection[str]) -> Match | None:
    """Return the time or the number of people that the whole text is, if just one is asked for."""
    if len(text) > 12 or len(kinds) != 1:
        return None
    kind = next(iter(kinds))
    if kind == "people" and (found := _COUNT.fullmatch(text)):
        return Match(kind, *found.span("all"), found.group("all"), float(found.group("all")))
    if kind == "time" and (found := _TIME.fullmatch(text)):
        hour, minute = int(found.group("hour")), int(found.group("minute") or 0)
        if hour < 24:
            written = time(hour, minute).isoformat()
            return Match(kind, *found.span("all"), found.group("all"), written)
    return None
