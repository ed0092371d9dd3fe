"""The one interface of all engines, and what goes in and out of it.

An engine turns chat messages into text. It knows nothing of signals, queues or transports.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from slmesh.api.reason.v1.reason_pb2 import FinishReason, Usage
from slmesh.reasoner.prompt import ChatMessage

__all__ = ["Ending", "Engine", "Generation", "GenerationEvent", "LoadedModel", "Piece"]


@dataclass(frozen=True)
class LoadedModel:
    """What an engine has loaded.

    Attributes:
        name: The model's name, for provenance.
        version: Its hub revision, "local" for a folder, "embedded", or "" where unknown.
        digest: ``sha256:`` and the digest of its weights; empty for a remote model.
        context_tokens: The longest prompt and answer together, or None where unknown.
        counts_exactly: Whether ``count_tokens`` uses the model's own tokenizer.
    """

    name: str
    version: str
    digest: str
    context_tokens: int | None
    counts_exactly: bool


@dataclass(frozen=True)
class Generation:
    """One answer to generate.

    Attributes:
        messages: The prompt.
        max_output_tokens: Limit of generated tokens, >= 1.
        temperature: In [0, 2]; 0 is greedy.
        output_schema: The JSON Schema the answer must match, or None for free text.
        whole: Whether nobody looks at the answer before its end, so that it may come in one piece.
    """

    messages: Sequence[ChatMessage]
    max_output_tokens: int
    temperature: float
    output_schema: Mapping[str, Any] | None = None
    whole: bool = False


@dataclass(frozen=True)
class Piece:
    """A piece of the answer, never empty."""

    text: str


@dataclass(frozen=True)
class Ending:
    """The end of an answer; ``usage`` is None where the provider tells none."""

    finish_reason: FinishReason
    usage: Usage | None


GenerationEvent = Piece | Ending


class Engine(Protocol):
    """What answers. Calls of ``generate`` may overlap."""

    def load(self) -> LoadedModel:
        """Load the model; blocking.

        Raises:
            MeshError: The model or a setting is missing or wrong.
        """

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return the length of a prompt in tokens."""

    def generate(self, generation: Generation) -> AsyncGenerator[GenerationEvent]:
        """Generate pieces and then one ending; closing the generator stops the model.

        Raises:
            MeshError: The model could not answer.
        """

    def close(self) -> None:
        """Let go of what ``load`` took; called from any thread."""
