"""The router's RPCs as gRPC handlers: bytes in, bytes out, errors as status with details.

Handlers get no deserialiser, so that malformed bytes are answered by the boundary. It knows neither
flows nor services.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import grpc

from slmesh.mesh.boundary import Boundary
from slmesh.mesh.contract import Rpc, rpcs
from slmesh.mesh.errors import MeshError
from slmesh.mesh.wire import grpc_code, trailing_metadata
from slmesh.router.edge import Edge

__all__ = ["RouterHandlers"]

_FOREVER_S = 10 * 365 * 86400.0


class RouterHandlers(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    """Finds the handler of an RPC by its path.

    Args:
        routing: Answers the router's own contract.
        edge: Passes every other contract on.
    """

    def __init__(self, routing: Boundary, edge: Edge) -> None:
        self._routing = routing
        self._edge = edge
        self._handlers = {rpc.path: self._handler(rpc) for rpc in rpcs().values()}

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call; None makes gRPC answer UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, rpc: Rpc) -> Any:
        if rpc.streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(rpc))
        return grpc.unary_unary_rpc_method_handler(self._unary(rpc))

    def _unary(self, rpc: Rpc) -> Any:
        own = rpc.contract == "route"

        async def answer(payload: bytes, call: Any) -> bytes:
            metadata, remaining_s = call.invocation_metadata() or (), _remaining_s(call)
            try:
                if own:
                    response = await self._routing.unary(rpc, payload, metadata, remaining_s)
                    return response.SerializeToString()
                return await self._edge.unary(rpc, payload, metadata, remaining_s)
            except MeshError as error:
                _refuse(call, error)
                return b""

        return answer

    def _stream(self, rpc: Rpc) -> Any:
        stream = self._own_stream if rpc.contract == "route" else self._edge.stream

        async def answer(payload: bytes, call: Any) -> AsyncIterator[bytes]:
            metadata, remaining_s = call.invocation_metadata() or (), _remaining_s(call)
            events = stream(rpc, payload, metadata, remaining_s)
            try:
                async with aclosing(cast("Any", events)):
                    async for event in events:
                        yield event
            except MeshError as error:
                _refuse(call, error)

        return answer

    async def _own_stream(
        self, rpc: Rpc, payload: bytes, metadata: Any, remaining_s: float | None
    ) -> AsyncIterator[bytes]:
        events = self._routing.stream(rpc, payload, metadata, remaining_s)
        async with aclosing(cast("Any", events)):
            async for event in events:
                yield event.SerializeToString()


def _remaining_s(call: Any) -> float | None:
    remaining: float | None = call.time_remaining()
    if remaining is None or remaining > _FOREVER_S:
        return None  # the caller set no deadline
    return remaining


def _refuse(call: Any, error: MeshError) -> None:
    """Set an error on a call; the handler then ends in order, without raising."""
    call.set_code(grpc_code(error))
    call.set_details(error.message)
    call.set_trailing_metadata(trailing_metadata(error))
