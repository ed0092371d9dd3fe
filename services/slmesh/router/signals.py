"""Requests from a step's declaration, and signals from what the step's service said.

The one place that knows how the contracts differ. It reads and writes messages only; it does not
judge them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.api.types.v1 import provenance_pb2
from slmesh.mesh.contract import contract
from slmesh.mesh.naming import suggestion
from slmesh.mesh.redaction import restore
from slmesh.router.flow import REDACTED_TEXT, Step

__all__ = [
    "SIGNAL_FIELDS",
    "Texts",
    "abstention_of",
    "answer_of",
    "first_label",
    "input_problem",
    "labels_of",
    "provenance_of",
    "redactable",
    "request_of",
    "signal_of",
]

SIGNAL_FIELDS: Mapping[str, str] = {
    "classify": "classification",
    "extract": "extraction",
    "rank": "ranking",
    "guard": "screening",
    "score": "scoring",
}
"""The field of ``Signal.answer`` for the response of each contract."""

_TEXT_FIELDS: Mapping[str, str] = {
    "classify": "text",
    "extract": "text",
    "rank": "query",
    "guard": "segments",
    "score": "text",
}


@dataclass(frozen=True)
class Texts:
    """The texts of one request, as sent and as the guard has redacted them.

    Attributes:
        user: The user's text.
        documents: Texts of the request that the user did not write.
        redacted: The guard's segments, the user's text first; empty before the guard has answered.
    """

    user: str
    documents: tuple[str, ...] = ()
    redacted: tuple[guard_pb2.RedactedSegment, ...] = ()

    def chosen(self, name: str) -> str:
        """Return the user's text, or its redacted form.

        Raises:
            ValueError: There is no redacted text. Never fall back to the user's.
        """
        if name != REDACTED_TEXT:
            return self.user
        if not self.redacted:
            raise ValueError("the guard has not redacted this text")
        return self.redacted[0].text

    def for_reasoner(self, *, screened: bool) -> str:
        """Return the text and the documents as the reasoner gets them.

        Args:
            screened: Whether the flow has a guard; then only redacted texts are used.
        """
        if screened:
            user = self.chosen(REDACTED_TEXT)
            documents = [segment.text for segment in self.redacted[1:]]
        else:
            user, documents = self.user, list(self.documents)
        quoted = [f"Document {index}:\n{text}" for index, text in enumerate(documents, start=1)]
        return "\n\n".join([user, *quoted])

    def restored(self, text: str) -> str:
        """Return a text with the values in place of the guard's placeholders."""
        for original, segment in zip((self.user, *self.documents), self.redacted, strict=False):
            text = restore(text, original, segment)
        return text


def request_of(
    step: Step, spoken: str, request: route_pb2.RouteRequest, texts: Texts, received: Timestamp
) -> Message:
    """Return what a step sends to its service.

    Args:
        step: The step.
        spoken: The contract of its service.
        request: The request the flow runs for.
        texts: The request's texts.
        received: When the request was received; the reference time of one that names none.
    """
    message: Any = contract(spoken).single.request_type()
    if step.options:
        message.CopyFrom(_declared(step, message))
    if spoken == "guard":
        message.segments.add(text=texts.user, origin=guard_pb2.ORIGIN_USER)
        for document in texts.documents:
            message.segments.add(text=document, origin=guard_pb2.ORIGIN_DOCUMENT)
        message.redaction.SetInParent()
        return message  # type: ignore[no-any-return]
    setattr(message, _TEXT_FIELDS[spoken], texts.chosen(step.text))
    if isinstance(message, extract_pb2.ExtractRequest):
        for name in ("locale", "time_zone", "default_currency"):
            if name not in step.options or getattr(request, name):
                setattr(message, name, getattr(request, name))
        sent = request.HasField("reference_time")
        message.reference_time.CopyFrom(request.reference_time if sent else received)
    return message  # type: ignore[no-any-return]


def _declared(step: Step, message: Message) -> Message:
    """Return what a flow declares of a step's requests; read once."""
    declared = step.requests.get(type(message))
    if declared is None:
        declared = step.requests[type(message)] = json_format.ParseDict(
            step.options, type(message)()
        )
    return declared


def input_problem(step: Step, spoken: str) -> tuple[str, str] | None:
    """Return the key of a step's input that is wrong, and what is wrong with it."""
    request_type = contract(spoken).single.request_type
    valid = [field.name for field in request_type.DESCRIPTOR.fields]
    # what the flow may not set: the text is chosen by name, the time is the request's
    valid = [name for name in valid if name not in (_TEXT_FIELDS[spoken], "reference_time")]
    for key, value in step.options.items():
        if key not in valid:
            return key, f"contract '{spoken}' has no field '{key}' to set{suggestion(key, valid)}"
        try:
            json_format.ParseDict({key: value}, request_type())
        except json_format.ParseError as error:
            return key, f"'{key}' does not fit the contract '{spoken}': {error}"
    return None


def redactable(response: Message, segments: int) -> bool:
    """Return whether a guard's answer is complete: every check ran, every segment is redacted."""
    assert isinstance(response, guard_pb2.ScreenResponse)
    complete = response.coverage == guard_pb2.COVERAGE_COMPLETE
    ran = all(check.state == guard_pb2.CHECK_STATE_COMPLETED for check in response.checks)
    return complete and ran and len(response.redacted_segments) == segments


def signal_of(step: Step, spoken: str, response: Message) -> signal_pb2.Signal:
    """Return a service's answer as the signal of a step."""
    signal = signal_pb2.Signal(step=step.name)
    answer = getattr(signal, SIGNAL_FIELDS[spoken])
    answer.SetInParent()  # an answer with nothing in it is an answer
    answer.CopyFrom(response)
    return signal


def answer_of(signal: signal_pb2.Signal) -> Message:
    """Return the response of the contract that a signal holds."""
    answer: Message = getattr(signal, signal.WhichOneof("answer"))
    return answer


def abstention_of(signal: signal_pb2.Signal) -> bool:
    """Return whether the model of a signal abstained."""
    answer = answer_of(signal)
    return "abstention" in answer.DESCRIPTOR.fields_by_name and answer.HasField("abstention")


def labels_of(signal: signal_pb2.Signal) -> Sequence[classify_pb2.Label]:
    """Return the labels of a classification, most probable first; none for an abstention."""
    return signal.classification.labels.labels


def first_label(signal: signal_pb2.Signal | None) -> str:
    """Return the label a classifier answers with; empty when it did not answer."""
    if signal is None or not labels_of(signal):
        return ""
    return labels_of(signal)[0].name


def provenance_of(signal: signal_pb2.Signal) -> provenance_pb2.Provenance:
    """Return which model made a signal."""
    provenance: provenance_pb2.Provenance = answer_of(signal).provenance  # type: ignore[attr-defined]
    return provenance
