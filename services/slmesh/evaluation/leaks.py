"""What redaction lets through, in characters: the measure that counts for a text that leaves.

A value that is found by half is half a leak, which neither precision nor recall of spans tells. The
redacted text is what the guard returns; nothing is sent anywhere.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from slmesh.api.guard.v1 import guard_pb2
from slmesh.evaluation.cases import Cases, ExpectedFindings
from slmesh.mesh.client import Mesh

__all__ = ["FREE_KINDS", "leak_figures"]

FREE_KINDS = frozenset({"person", "address"})
"""Kinds that have no pattern of their own: names and addresses."""

_IN_FLIGHT = 16
_TIMEOUT_S = 60.0


@dataclass
class _Left:
    characters: int = 0
    left: int = 0
    values: int = 0
    whole: int = 0

    def add(self, characters: int, left: int) -> None:
        self.characters += characters
        self.left += left
        self.values += 1
        self.whole += left == characters

    def figures(self) -> dict[str, Any]:
        share = self.left / self.characters if self.characters else 0.0
        return {**vars(self), "share": share}


async def leak_figures(
    mesh: Mesh,
    service: str,
    cases: Cases,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, Any]:
    """Redact every text and count what is left of the marked values.

    Args:
        mesh: Where the guard is.
        service: The guard.
        cases: Texts with marked personal data.
        advance: Called with the number of texts, whenever some are done.

    Returns:
        ``texts``; ``groups`` (``patterned``, ``free``) and ``kinds``, each with the marked
        ``characters`` without white space, how many of them are ``left``, their ``share``, the
        marked ``values`` and how many stand there ``whole``; ``found``, the values the guard found,
        and ``found_left``, how many of these can still be read in its redacted text.

    Raises:
        MeshError: A call failed.
    """
    marked = [
        (case.requests()[0].segments[0].text, case.expected.personal)  # type: ignore[attr-defined]
        for case in cases.cases
        if isinstance(case.expected, ExpectedFindings) and case.expected.personal is not None
    ]
    segments = await _redacted(mesh, service, [text for text, _ in marked], advance)
    kinds: dict[str, _Left] = defaultdict(_Left)
    groups = {"patterned": _Left(), "free": _Left()}
    found = found_left = 0
    for (text, personal), segment in zip(marked, segments, strict=True):
        covered = _covered(text, segment)
        for kind, start, end in personal:
            places = [place for place in range(start, end) if not text[place].isspace()]
            left = sum(not covered[place] for place in places)
            kinds[kind].add(len(places), left)
            groups["free" if kind in FREE_KINDS else "patterned"].add(len(places), left)
        values = _values(text, segment)
        found += len(values)
        found_left += sum(value in segment.text for value in values)
    return {
        "texts": len(marked),
        "groups": {name: one.figures() for name, one in groups.items()},
        "kinds": {name: kinds[name].figures() for name in sorted(kinds)},
        "found": found,
        "found_left": found_left,
    }


async def _redacted(
    mesh: Mesh, service: str, texts: Sequence[str], advance: Callable[[int], object]
) -> list[guard_pb2.RedactedSegment]:
    """Return every text as the guard redacts it."""
    room = asyncio.Semaphore(_IN_FLIGHT)

    async def one(text: str) -> guard_pb2.RedactedSegment:
        request = guard_pb2.ScreenRequest()
        request.segments.add(text=text, origin=guard_pb2.ORIGIN_USER)
        request.redaction.SetInParent()
        async with room:
            response = await mesh.screen(service, request, timeout_s=_TIMEOUT_S)
        advance(1)
        return response.redacted_segments[0]

    return list(await asyncio.gather(*(one(text) for text in texts)))


def _covered(text: str, segment: guard_pb2.RedactedSegment) -> list[bool]:
    covered = [False] * len(text)
    for placeholder in segment.placeholders:
        span = placeholder.original_span
        covered[span.start : span.end] = [True] * (span.end - span.start)
    return covered


def _values(text: str, segment: guard_pb2.RedactedSegment) -> set[str]:
    spans: Iterable[Any] = (one.original_span for one in segment.placeholders)
    return {text[span.start : span.end] for span in spans}
