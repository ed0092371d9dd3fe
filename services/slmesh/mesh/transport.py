"""The seam between a client and what answers it: gRPC over a network, or services in this process.

Both transports take and return the same messages and raise the same errors, which is what makes the
library mode and the tests honest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message

from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import Rpc
from slmesh.mesh.errors import FailedPrecondition, Internal, MeshError
from slmesh.mesh.gate import Gate
from slmesh.mesh.tracing import SpanKind, Tracing
from slmesh.mesh.wire import mesh_error

__all__ = ["GrpcTransport", "Transport", "channel_credentials"]

Resolver = Callable[[str], str]
"""Returns the ``host:port`` to call a service at."""


class Transport(Protocol):
    """Carries RPCs to services."""

    async def unary(self, rpc: Rpc, request: Message, context: RequestContext) -> Message:
        """Call a unary RPC of the service that the context names.

        Raises:
            MeshError: The service's error, or the transport's own.
        """

    def stream(self, rpc: Rpc, request: Message, context: RequestContext) -> AsyncIterator[Message]:
        """Call a server-streaming RPC; closing the iterator cancels the call."""

    async def close(self) -> None:
        """Let connections and services go."""


class GrpcTransport:
    """Carries RPCs over gRPC, one channel per address.

    Args:
        resolve: Where a service is; called for every RPC, so it must be quick.
        credentials: TLS of the channels; plain text when None.
        max_message_bytes: The largest message either way.
        tracing: Where client spans go.
        services: The services that are known to belong to the mesh.
        gate: Decides about every call before it is sent; None sends all.
    """

    def __init__(
        self,
        resolve: Resolver,
        *,
        services: Collection[str] = (),
        gate: Gate | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        max_message_bytes: int,
        tracing: Tracing | None = None,
    ) -> None:
        self._resolve = resolve
        self._credentials = credentials
        self._tracing = tracing
        self._services = frozenset(services)
        self._gate = gate
        self._options = [
            ("grpc.max_send_message_length", 2 * max_message_bytes),
            ("grpc.max_receive_message_length", 2 * max_message_bytes),
            # a service that comes back is found again within a second, not after a long back-off
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls: dict[tuple[str, str], Any] = {}

    async def unary(self, rpc: Rpc, request: Message, context: RequestContext) -> Message:
        """See :class:`Transport`."""
        payload = await self.unary_bytes(rpc, request.SerializeToString(), context)
        return _parsed(rpc, payload)

    async def unary_bytes(self, rpc: Rpc, payload: bytes, context: RequestContext) -> bytes:
        """Call a unary RPC with a serialised request and return the serialised response."""
        return (await self._unary(rpc, payload, context))[0]

    async def unary_with_trailer(
        self, rpc: Rpc, request: Message, context: RequestContext
    ) -> tuple[Message, Mapping[str, str | bytes]]:
        """Call a unary RPC and return its response with the metadata that came behind it."""
        payload, call = await self._unary(rpc, request.SerializeToString(), context)
        return _parsed(rpc, payload), dict(await call.trailing_metadata() or ())

    async def _unary(self, rpc: Rpc, payload: bytes, context: RequestContext) -> tuple[bytes, Any]:
        with self._span(rpc, self._checked(context)) as inner:
            call = self._call(rpc, inner.service)(
                payload, metadata=inner.to_metadata(), timeout=_timeout(inner)
            )
            try:
                response: bytes = await call
            except grpc.aio.AioRpcError as error:
                raise self._mesh_error(error, inner.service) from None
        return response, call

    async def stream(
        self, rpc: Rpc, request: Message, context: RequestContext
    ) -> AsyncIterator[Message]:
        """See :class:`Transport`."""
        async for payload in self.stream_bytes(rpc, request.SerializeToString(), context):
            yield _parsed(rpc, payload)

    async def stream_bytes(
        self, rpc: Rpc, payload: bytes, context: RequestContext
    ) -> AsyncIterator[bytes]:
        """Call a server-streaming RPC with and for serialised messages."""
        with self._span(rpc, self._checked(context)) as inner:
            call = self._call(rpc, inner.service)(
                payload, metadata=inner.to_metadata(), timeout=_timeout(inner)
            )
            try:
                async for event in call:
                    yield event
            except grpc.aio.AioRpcError as error:
                raise self._mesh_error(error, inner.service) from None
            finally:
                call.cancel()

    async def close(self) -> None:
        """Close every channel."""
        channels, self._channels = self._channels, {}
        self._calls.clear()
        await asyncio.gather(*(channel.close() for channel in channels.values()))

    def _mesh_error(self, error: grpc.aio.AioRpcError, service: str) -> MeshError:
        return mesh_error(error, service, belongs=service in self._services)

    def _checked(self, context: RequestContext) -> RequestContext:
        return context if self._gate is None else self._gate.depart(context)

    def _span(self, rpc: Rpc, context: RequestContext) -> Any:
        if self._tracing is None:
            return nullcontext(context)
        attributes = {"slmesh.service": context.service}
        return self._tracing.span(f"call {rpc.name}", SpanKind.CLIENT, context, attributes)

    def _call(self, rpc: Rpc, service: str) -> Any:
        address = self._resolve(service)
        call = self._calls.get((address, rpc.path))
        if call is None:
            channel = self._channels.get(address)
            if channel is None:
                channel = self._channels[address] = self._open(address)
            # no (de)serialiser: a router passes bytes on unread
            make = channel.unary_stream if rpc.streaming else channel.unary_unary
            call = self._calls[address, rpc.path] = make(rpc.path)
        return call

    def _open(self, address: str) -> grpc.aio.Channel:
        if self._credentials is not None:
            return grpc.aio.secure_channel(address, self._credentials, options=self._options)
        return grpc.aio.insecure_channel(address, options=self._options)


def channel_credentials(tls_root: Path | None) -> grpc.ChannelCredentials | None:
    """Return credentials that trust the authorities of a PEM file, or None for plain text.

    Raises:
        FailedPrecondition: The file cannot be read.
    """
    if tls_root is None:
        return None
    try:
        return grpc.ssl_channel_credentials(root_certificates=tls_root.read_bytes())
    except OSError as error:
        raise FailedPrecondition(
            f"SLMESH_TLS_ROOT: {tls_root} cannot be read: {error.strerror}",
            reason="TLS_FILE_UNREADABLE",
        ) from None


def _timeout(context: RequestContext) -> float | None:
    remaining = context.remaining_s()
    return None if remaining is None else max(remaining, 0.0)


def _parsed(rpc: Rpc, payload: bytes) -> Message:
    message = rpc.response_type()
    try:
        message.ParseFromString(payload)
    except Exception:
        raise Internal(
            f"the answer to {rpc.name} is not of its contract: client and service are of"
            " versions that do not go together",
            reason="MALFORMED_RESPONSE",
        ) from None
    return message
