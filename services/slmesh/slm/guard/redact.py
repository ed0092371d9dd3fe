"""Replaces findings by placeholders that the caller can restore.

A placeholder is "[CARD_1]": the kind and a number, the same for the same value in all segments of a
request. It knows spans and kinds, not how they were found.
"""

import re
from collections.abc import Iterable, Sequence

from slmesh.api.guard.v1.guard_pb2 import Finding, Placeholder, RedactedSegment
from slmesh.api.types.v1.span_pb2 import Span

__all__ = ["redact"]

_LOOKS_LIKE_TOKEN = re.compile(r"\[[A-Z][A-Z_]*_[0-9]+\]")


def redact(texts: Sequence[str], findings: Iterable[Finding]) -> list[RedactedSegment]:
    """Returns one redacted segment for each text.

    Findings that overlap are replaced together, under the kind of the one that starts first (the
    longer one when both start together): a value must not leak because two rules disagree about its
    edge.

    Args:
        texts: The segments of the request.
        findings: What to replace; empty spans are left out.

    Returns:
        As many redacted segments as texts, with exact spans in code points.
    """
    spans: list[list[tuple[int, int, str]]] = [[] for _ in texts]
    for finding in findings:
        if finding.span.end > finding.span.start:
            spans[finding.segment_index].append(
                (finding.span.start, finding.span.end, finding.kind)
            )
    tokens = _Tokens(texts)
    return [
        _redact_one(text, _merged(places), tokens)
        for text, places in zip(texts, spans, strict=True)
    ]


class _Tokens:
    """Hands out one token for each value of a request, and none that the user has written."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._taken = {token for text in texts for token in _LOOKS_LIKE_TOKEN.findall(text)}
        self._of_value: dict[tuple[str, str], str] = {}
        self._count: dict[str, int] = {}

    def token(self, kind: str, value: str) -> str:
        known = self._of_value.get((kind, value))
        if known is not None:
            return known
        while True:
            self._count[kind] = self._count.get(kind, 0) + 1
            token = f"[{kind.upper()}_{self._count[kind]}]"
            if token not in self._taken:
                self._of_value[kind, value] = token
                return token


def _merged(places: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    merged: list[tuple[int, int, str]] = []
    for start, end, kind in sorted(places, key=lambda place: (place[0], -place[1])):
        if merged and start < merged[-1][1]:
            first_start, first_end, first_kind = merged[-1]
            merged[-1] = (first_start, max(first_end, end), first_kind)
        else:
            merged.append((start, end, kind))
    return merged


def _redact_one(text: str, places: list[tuple[int, int, str]], tokens: _Tokens) -> RedactedSegment:
    pieces: list[str] = []
    placeholders: list[Placeholder] = []
    read = written = 0
    for start, end, kind in places:
        token = tokens.token(kind, text[start:end])
        pieces += [text[read:start], token]
        written += start - read
        placeholders.append(
            Placeholder(
                token=token,
                kind=kind,
                original_span=Span(start=start, end=end),
                redacted_span=Span(start=written, end=written + len(token)),
            )
        )
        written += len(token)
        read = end
    pieces.append(text[read:])
    return RedactedSegment(text="".join(pieces), placeholders=placeholders)
