"""The two interfaces of a service: what an author writes, and what the runtime hands over.

A service is a plain class with at most four methods. It never sees metadata, deadlines or
transports; the boundary does that for every service alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from google.protobuf.message import Message

from slmesh.mesh.bundle import Bundle
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import MeshError
from slmesh.mesh.gate import Gate
from slmesh.mesh.manifest import Manifest

__all__ = ["AnsweringService", "CallerOf", "Resources", "StreamingService", "no_caller"]

CallerOf = Callable[[Message], RequestContext]
"""Returns the context of a request that is being answered."""


def no_caller(_: Message) -> RequestContext:
    """Return the context of a request nobody knows the caller of: that of a direct call."""
    return RequestContext()


@dataclass(frozen=True)
class Resources:
    """What a service may use.

    Attributes:
        manifest: The service's own manifest.
        bundle: The verified bundle the manifest names, or None when it names none.
        cache_dir: Where compiled models lie.
        threads: Threads of inference, >= 1.
        caller_of: Returns the context of a request while it is answered. A service that calls
            another passes it on, so that the data is judged as what it is on that hop too.
        gate: For the client of such a service: ``Mesh.connect(..., gate=resources.gate)``.
    """

    manifest: Manifest
    bundle: Bundle | None
    cache_dir: Path
    threads: int
    caller_of: CallerOf = no_caller
    gate: Gate | None = None

    def required_bundle(self) -> Bundle:
        """Return the bundle of a service that cannot be without one.

        Raises:
            ValueError: The manifest names no model.
        """
        if self.bundle is None:
            raise ValueError(f"service '{self.manifest.name}' names no model")
        return self.bundle


class AnsweringService(Protocol):
    """A service of one of the unary contracts. ``check`` and ``close`` may be left out."""

    def load(self, resources: Resources) -> None:
        """Load models. Called once, before the service is ready; an exception refuses to start."""

    def answer(self, requests: Sequence[Any]) -> Sequence[Message | MeshError]:
        """Answer a batch, in order, one response or error value for each request.

        Called from one worker thread at a time with 1 to ``max_batch_size`` checked requests.
        """

    def check(self, request: Any) -> None:
        """Raise a :class:`MeshError` for a request that is not worth a place in the queue."""

    def close(self) -> None:
        """Let go of what ``load`` took."""


class StreamingService(Protocol):
    """A service of the ``reason`` contract. ``check`` and ``close`` may be left out."""

    def load(self, resources: Resources) -> None:
        """Load models. Called once, before the service is ready; an exception refuses to start."""

    def stream(self, request: Any) -> AsyncIterator[Message]:
        """Answer one request as a stream; closed early when the caller goes away."""

    def check(self, request: Any) -> None:
        """Raise a :class:`MeshError` for a request that is not worth a place in the queue."""

    def close(self) -> None:
        """Let go of what ``load`` took."""
