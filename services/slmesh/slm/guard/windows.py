"""Cuts a text into the windows that the injection check reads one by one.

A window is a sentence, a line, or a part of a very long one, so that a finding says where the
instruction stands. What a user writes is read in larger windows: an attempt to take over often needs
several sentences to show. It knows no model.
"""

from __future__ import annotations

import re

__all__ = ["DOCUMENT_WINDOW", "USER_WINDOW", "windows"]

USER_WINDOW = 400
"""Code points that a window of a user's text grows to."""

DOCUMENT_WINDOW = 0
"""In documents and tool results a window never holds more than one sentence."""

_LONGEST = 600
"""Code points after which a sentence without an end is cut at a space."""

_END = re.compile(r"(?:[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]]*(?=\s)|\n)\s*")


def windows(text: str, grow_to: int) -> list[tuple[int, int]]:
    """Return the windows of a text as half-open ranges of code points, in order.

    White space around a window is left out, so the windows cover everything else.

    Args:
        text: Any length; the time taken is linear in it.
        grow_to: Neighbouring sentences share a window while it stays within so many code points; 0
            keeps each sentence by itself.
    """
    grown: list[tuple[int, int]] = []
    for start, end in _sentences(text):
        if grown and end - grown[-1][0] <= grow_to:
            grown[-1] = (grown[-1][0], end)
        else:
            grown.append((start, end))
    return grown


def _sentences(text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    start = 0
    for end in [match.end() for match in _END.finditer(text)] + [len(text)]:
        first, last = _trimmed(text, start, end)
        while last - first > _LONGEST:
            cut = text.rfind(" ", first + _LONGEST // 2, first + _LONGEST)
            cut = cut if cut > 0 else first + _LONGEST
            found.append(_trimmed(text, first, cut))
            first, _ = _trimmed(text, cut, last)
        if last > first:
            found.append((first, last))
        start = end
    return found


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    first = start + len(piece) - len(piece.lstrip())
    return first, max(first, start + len(piece.rstrip()))
