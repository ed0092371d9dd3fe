"""Puts the values back that a guard replaced by placeholders.

It is what a caller of the guard needs after the answer has come back: the guard sends no value
twice, so only the holder of the original segment can restore. It knows nothing of checks, kinds or
models, only the message that the guard returned.
"""

import re

from slmesh.api.guard.v1.guard_pb2 import RedactedSegment

__all__ = ["restore"]


def restore(text: str, segment_text: str, redacted: RedactedSegment) -> str:
    """Returns `text` with every placeholder of one segment replaced by its value.

    Placeholders of other segments, and text that only looks like a placeholder, stay as they are, so
    a text that quotes several segments is restored by one call for each of them.

    Args:
        text: Any text that may quote the placeholders: the redacted segment or an answer to it.
        segment_text: The segment as it was sent to the guard.
        redacted: What the guard returned for that segment.

    Returns:
        The text with values in place of placeholders.

    Raises:
        ValueError: A placeholder's span lies outside `segment_text`, so it belongs to another one.
    """
    values: dict[str, str] = {}
    for placeholder in redacted.placeholders:
        span = placeholder.original_span
        if not 0 <= span.start <= span.end <= len(segment_text):
            raise ValueError(
                f"placeholder {placeholder.token} covers [{span.start}, {span.end}) of a segment of "
                f"{len(segment_text)} code points; pass the segment the guard has redacted"
            )
        values[placeholder.token] = segment_text[span.start : span.end]
    if not values:
        return text
    # One pass: a value that happens to look like another placeholder is not replaced again.
    tokens = re.compile("|".join(re.escape(token) for token in values))
    return tokens.sub(lambda match: values[match.group()], text)
