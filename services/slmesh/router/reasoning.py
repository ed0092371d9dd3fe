"""Asks the reasoner and collects its stream into one answer.

The stream ends with usage and finish reason; one that ends without them has failed, whatever text it
gave, because an answer that may be cut in the middle is not an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from slmesh.api.reason.v1 import reason_pb2
from slmesh.api.types.v1 import provenance_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    MeshError,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from slmesh.mesh.transport import Transport

__all__ = ["Asked", "ReasonedAnswer", "ask"]


@dataclass(frozen=True)
class ReasonedAnswer:
    """An answer of the reasoner.

    Attributes:
        text: The answer, as generated.
        usage: The tokens it took.
        provenance: The model that answered.
        shortfall: Why it is less than it should be, as code and sentence; None when it is whole.
        structured: Whether it is JSON that matches the flow's output schema.
    """

    text: str
    usage: reason_pb2.Usage
    provenance: provenance_pb2.Provenance
    shortfall: tuple[str, str] | None = None
    structured: bool = False

    @property
    def declined(self) -> bool:
        """Whether the model or its provider declined to answer."""
        return self.shortfall is not None and self.shortfall[0] == _DECLINED


_UNUSED = (FailedPrecondition, InvalidArgument, PermissionDenied, ResourceExhausted, Unavailable)
"""Errors of a reasoner that has not begun to answer, so that nothing was spent."""

_MAYBE_SPENT = frozenset({"PROVIDER_BROKE_OFF", "PROVIDER_TIMEOUT"})
"""Reasons of such errors that leave open whether the provider has begun."""

_DECLINED = "REASONER_DECLINED"


@dataclass(frozen=True)
class Asked:
    """What came of asking the reasoner, once or twice.

    Attributes:
        outcome: The answer, or why there is none.
        usage: The tokens of all tries; None when nobody knows.
    """

    outcome: ReasonedAnswer | MeshError
    usage: reason_pb2.Usage | None

    @classmethod
    def of(cls, outcome: ReasonedAnswer | MeshError) -> Asked:
        """Return what came of one try."""
        if isinstance(outcome, ReasonedAnswer):
            return cls(outcome, outcome.usage)
        told = outcome.metadata
        counts = [told.get(name, "") for name in ("promptTokens", "outputTokens")]
        if all(count.isdecimal() for count in counts):
            prompt, output = map(int, counts)
            return cls(outcome, reason_pb2.Usage(prompt_tokens=prompt, output_tokens=output))
        unused = isinstance(outcome, _UNUSED) and outcome.reason not in _MAYBE_SPENT
        return cls(outcome, reason_pb2.Usage() if unused else None)

    @property
    def unused(self) -> bool:
        """Whether the reasoner has not begun to answer, so that nothing was spent."""
        return isinstance(self.outcome, MeshError) and self.usage == reason_pb2.Usage()

    def after(self, first: Asked) -> Asked:
        """Return this try with the tokens of the one before it."""
        if self.usage is None or first.usage is None:
            return Asked(self.outcome, None)
        total = reason_pb2.Usage(
            prompt_tokens=first.usage.prompt_tokens + self.usage.prompt_tokens,
            output_tokens=first.usage.output_tokens + self.usage.output_tokens,
        )
        return Asked(self.outcome, total)


async def ask(
    transport: Transport,
    request: reason_pb2.ReasonRequest,
    context: RequestContext,
    on_text: Callable[[str], object] = lambda delta: None,
) -> ReasonedAnswer:
    """Return the reasoner's answer.

    Args:
        transport: What carries the call.
        request: What to ask.
        context: Names the service, and the time there is.
        on_text: Is called with each piece of the answer.

    Raises:
        MeshError: The reasoner failed, did not end in time, or gave no text.
    """
    parts: list[str] = []
    completion: reason_pb2.Completion | None = None
    stream = transport.stream(rpcs()["Reason"], request, context)
    try:
        async with asyncio.timeout(context.remaining_s()), aclosing(cast("Any", stream)) as events:
            async for event in events:
                if event.HasField("text_delta"):
                    parts.append(event.text_delta)
                    on_text(event.text_delta)
                elif event.HasField("completion"):
                    completion = event.completion
    except TimeoutError:
        raise DeadlineExceeded(
            "the reasoner did not end its answer in time", metadata={"service": context.service}
        ) from None
    text = "".join(parts).strip()
    if completion is None:
        raise Internal("the reasoner's stream ended early", reason="REASONER_STREAM_CUT")
    if not text:
        raise Internal("the reasoner gave an empty answer", reason="REASONER_EMPTY_ANSWER")
    return ReasonedAnswer(text, completion.usage, completion.provenance, _shortfall(completion))


def _shortfall(completion: reason_pb2.Completion) -> tuple[str, str] | None:
    if completion.finish_reason == reason_pb2.FINISH_REASON_LENGTH:
        tokens = completion.usage.output_tokens
        return "ANSWER_CUT", f"the reasoner's answer was cut after {tokens} tokens"
    if completion.finish_reason == reason_pb2.FINISH_REASON_REFUSAL:
        return _DECLINED, "the reasoner declined to answer"
    return None
