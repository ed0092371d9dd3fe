"""What the reasoner gets to see of a request: redacted text, and signals without the user's values.

A signal over the user's own text quotes it, so a field that lies where the guard has redacted is sent
with the placeholder in its place. Pure; whether the reasoner is asked at all is decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.reason.v1 import reason_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.router.flow import REDACTED_TEXT, Flow, Reasoner
from slmesh.router.signals import Texts

__all__ = ["reason_request"]


def reason_request(
    flow: Flow,
    reasoner: Reasoner,
    texts: Texts,
    signals: Mapping[str, signal_pb2.Signal],
    *,
    screened: bool,
    redacted_steps: Collection[str] = (),
) -> reason_pb2.ReasonRequest:
    """Return what the reasoner is asked.

    Args:
        flow: The flow.
        reasoner: How it uses the reasoner.
        texts: The texts of the request.
        signals: The signals, by step.
        screened: Whether the flow has a guard; then nothing that it has redacted is sent.
        redacted_steps: Steps that saw the redacted text because of the policy.
    """
    shown = []
    for step in flow.steps:
        wanted = reasoner.signals is None or step.name in reasoner.signals
        if step.name not in signals or not wanted:
            continue
        signal = signal_pb2.Signal()
        signal.CopyFrom(signals[step.name])
        if signal.WhichOneof("answer") == "screening":
            signal.screening.ClearField("redacted_segments")  # the text is sent already
        saw_original = step.text != REDACTED_TEXT and step.name not in redacted_steps
        if screened and saw_original and texts.redacted:
            for field in signal.extraction.fields:
                _redact(field, texts.redacted[0])
        shown.append(signal)
    return reason_pb2.ReasonRequest(
        instruction=reasoner.instruction,
        text=texts.for_reasoner(screened=screened),
        signals=shown,
        max_output_tokens=reasoner.max_output_tokens,
        output_schema=json.dumps(dict(reasoner.output_schema)) if reasoner.output_schema else "",
    )


def _redact(field: extract_pb2.Field, segment: guard_pb2.RedactedSegment) -> None:
    """Move a field of the original text into the redacted one."""
    start, end = field.span.start, field.span.end
    shift = 0
    for placeholder in segment.placeholders:
        original = placeholder.original_span
        if original.end <= start:
            shift = placeholder.redacted_span.end - original.end
        elif original.start < end:
            field.text = placeholder.token
            field.span.CopyFrom(placeholder.redacted_span)
            field.ClearField("value")
            return
    field.span.start, field.span.end = start + shift, end + shift
