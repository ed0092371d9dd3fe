"""Passes the RPCs of services on, unread, so that one port with TLS reaches every service.

The metadata key ``application`` names the service, as it does at Ray Serve's own ingress. What comes
back is the service's: its answer, or its error with the details intact. The edge adds what it alone
knows: that a name is not there, and which names are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Protocol, cast

from slmesh.mesh.boundary import Boundary
from slmesh.mesh.context import APPLICATION_KEY, RequestContext
from slmesh.mesh.contract import Rpc
from slmesh.mesh.errors import InvalidArgument, NotFound
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.naming import suggestion
from slmesh.router.admission import Admission

__all__ = ["Edge"]

RawMetadata = Iterable[tuple[str, str | bytes]]


class BytesTransport(Protocol):
    """Carries serialised messages."""

    async def unary_bytes(self, rpc: Rpc, payload: bytes, context: RequestContext) -> bytes:
        """Call a unary RPC."""

    def stream_bytes(
        self, rpc: Rpc, payload: bytes, context: RequestContext
    ) -> AsyncIterator[bytes]:
        """Call a server-streaming RPC."""


class Edge:
    """Passes RPCs on.

    Args:
        transport: What carries the calls to services.
        services: The services there are, by name. One that is not among them is passed on too:
            a cluster may have services whose manifests this process has not.
        boundary: What every call passes on its way.
        admission: The bound on requests in work.
    """

    def __init__(
        self,
        transport: BytesTransport,
        services: Mapping[str, Manifest],
        boundary: Boundary,
        admission: Admission,
    ) -> None:
        self._transport = transport
        self._services = services
        self._boundary = boundary
        self._admission = admission

    async def unary(
        self, rpc: Rpc, payload: bytes, metadata: RawMetadata, remaining_s: float | None
    ) -> bytes:
        """Pass a unary RPC on.

        Raises:
            MeshError: The service's error, or why there is none to pass it to.
        """

        async def send(context: RequestContext) -> bytes:
            with self._admission.one():
                target = self._target(rpc, context)
                try:
                    return await self._transport.unary_bytes(rpc, payload, target)
                except NotFound as error:
                    raise self._named(error, target.service) from None

        remaining_s = self._time(rpc, metadata, remaining_s)
        return await self._boundary.passed_on(rpc, metadata, remaining_s, send)

    async def stream(
        self, rpc: Rpc, payload: bytes, metadata: RawMetadata, remaining_s: float | None
    ) -> AsyncIterator[bytes]:
        """Pass a server-streaming RPC on; closing the iterator cancels the call."""

        async def send(context: RequestContext) -> AsyncIterator[bytes]:
            with self._admission.one():
                target = self._target(rpc, context)
                events = self._transport.stream_bytes(rpc, payload, target)
                try:
                    async with aclosing(cast("Any", events)):
                        async for event in events:
                            yield event
                except NotFound as error:
                    raise self._named(error, target.service) from None

        remaining_s = self._time(rpc, metadata, remaining_s)
        passed = self._boundary.passed_on_stream(rpc, metadata, remaining_s, send)
        async with aclosing(cast("Any", passed)):
            async for event in passed:
                yield event

    def _target(self, rpc: Rpc, context: RequestContext) -> RequestContext:
        if context.service:
            return context
        speaking = self._speaking(rpc)
        if len(speaking) == 1:
            return context.to_service(speaking[0])
        there = f"services that answer it: {', '.join(speaking)}" if speaking else "no service does"
        raise InvalidArgument(
            f"{rpc.name} needs the metadata key '{APPLICATION_KEY}' with the name of a service;"
            f" {there}",
            reason="SERVICE_NOT_NAMED",
            metadata={"key": APPLICATION_KEY},
        )

    def _named(self, error: NotFound, service: str) -> NotFound:
        if error.reason != "SERVICE_NOT_FOUND" or service in self._services:
            return error
        shown = service[:64]
        return NotFound(
            f"no service '{shown}'{suggestion(shown, self._services)}",
            reason=error.reason,
            metadata={"service": shown},
        )

    def _time(self, rpc: Rpc, metadata: RawMetadata, remaining_s: float | None) -> float | None:
        """Return the caller's time, or the service's own default where the caller set none."""
        context = RequestContext()
        if remaining_s is None:
            context = _readable(metadata)
        if remaining_s is not None or context.deadline is not None:
            return remaining_s
        speaking = self._speaking(rpc)
        name = context.service or (speaking[0] if len(speaking) == 1 else "")
        manifest = self._services.get(name)
        return manifest.timeout_ms / 1e3 if manifest is not None else None

    def _speaking(self, rpc: Rpc) -> list[str]:
        return sorted(
            name for name, manifest in self._services.items() if manifest.contract == rpc.contract
        )


def _readable(metadata: RawMetadata) -> RequestContext:
    try:
        return RequestContext.from_metadata(metadata)
    except InvalidArgument:
        return RequestContext()  # the boundary will tell the caller
