"""Cuts the text of a Cedar file into its policies, so that an error has a line.

Cedar's parser names no place, and its validator numbers policies by their order. A policy ends with
the semicolon outside of texts and comments; nothing else of the language is known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["policies_of"]

_TOKEN = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|;', re.DOTALL)
_BLANK = re.compile(r"(?:\s|//[^\n]*)*")


def policies_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield each policy of a file with the line it starts on, from 1.

    What stands behind the last semicolon is yielded too, when it is more than comments.
    """
    start = 0
    ends = [match.end() for match in _TOKEN.finditer(text) if match[0] == ";"]
    for end in (*ends, len(text)):
        blank = _BLANK.match(text, start, end)
        begin = blank.end() if blank is not None else start
        if begin < end:
            yield text.count("\n", 0, begin) + 1, text[begin:end]
        start = end
