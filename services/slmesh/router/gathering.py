"""Gathers calls that are made at the same time into batch RPCs.

The flows of a batch run side by side and know nothing of each other; the calls they make to one
service within a millisecond travel as one. Each call gets its own answer or its own error, and each
keeps its own time: a batch is given the time of the call that has most.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.message import Message

from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import Rpc, contract
from slmesh.mesh.errors import Internal, MeshError
from slmesh.mesh.transport import Transport

__all__ = ["GatheringTransport"]

_WAIT_S = 0.001
_LARGEST = 256
"""Calls of one batch; below the limit of every service."""

_LARGEST_BYTES = 4 << 20

_PLACE = re.compile(r"^requests\[\d+\]\.?")
"""How a batch names the item a field belongs to."""


@dataclass(slots=True)
class _Call:
    request: Message
    context: RequestContext
    answer: asyncio.Future[Message]


class GatheringTransport:
    """Carries single calls as batches where the contract has a batch RPC.

    Args:
        transport: What carries the batches, and all other calls.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._waiting: dict[tuple[Any, ...], list[_Call]] = {}
        self._bytes: dict[tuple[Any, ...], int] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def unary(self, rpc: Rpc, request: Message, context: RequestContext) -> Message:
        """See :class:`slmesh.mesh.transport.Transport`."""
        batch = contract(rpc.contract).batch
        if batch is None or rpc.batch:
            return await self._transport.unary(rpc, request, context)
        # what a policy decides on is the same for all calls of a batch
        key = (
            batch,
            context.service,
            context.tenant,
            context.flow,
            context.data_classes,
            context.redacted,
        )
        loop = asyncio.get_running_loop()
        call = _Call(request, context, loop.create_future())
        calls = self._waiting.setdefault(key, [])
        calls.append(call)
        size = self._bytes.get(key, 0) + request.ByteSize()
        self._bytes[key] = size
        if len(calls) >= _LARGEST or size >= _LARGEST_BYTES:
            self._flush(key)
        elif len(calls) == 1:
            loop.call_later(_WAIT_S, self._flush, key, calls)
        return await call.answer

    def stream(self, rpc: Rpc, request: Message, context: RequestContext) -> AsyncIterator[Message]:
        """See :class:`slmesh.mesh.transport.Transport`."""
        return self._transport.stream(rpc, request, context)

    async def close(self) -> None:
        """Wait for what is under way; the transport below belongs to somebody else."""
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _flush(self, key: tuple[Any, ...], expected: list[_Call] | None = None) -> None:
        if expected is not None and self._waiting.get(key) is not expected:
            return  # it was full before its time
        calls = [call for call in self._waiting.pop(key, ()) if not call.answer.done()]
        self._bytes.pop(key, None)
        if calls:
            task = asyncio.get_running_loop().create_task(self._send(key[0], calls))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, batch: Rpc, calls: list[_Call]) -> None:
        try:
            request: Any = batch.request_type()
            for call in calls:
                request.requests.add().CopyFrom(call.request)
            response: Any = await self._transport.unary(batch, request, _longest(calls))
            if len(response.results) != len(calls):
                raise Internal("a batch came back with another number of results")
        except MeshError as error:
            _settle(calls, [error] * len(calls))
            return
        except Exception:
            _settle(calls, [Internal.with_id()] * len(calls))
            raise
        _settle(calls, [_outcome(result) for result in response.results])


def _longest(calls: list[_Call]) -> RequestContext:
    deadlines = [call.context.deadline for call in calls]
    known = [deadline for deadline in deadlines if deadline is not None]
    longest = max(known) if len(known) == len(calls) else None
    return replace(calls[0].context, deadline=longest)


def _outcome(result: Any) -> Message | MeshError:
    if result.HasField("error"):
        error = MeshError.from_status(result.error)
        # the caller knows nothing of a batch
        error.field = _PLACE.sub("", error.field) if error.field else None
        return error
    return result.response  # type: ignore[no-any-return]


def _settle(calls: list[_Call], outcomes: list[Any]) -> None:
    for call, outcome in zip(calls, outcomes, strict=True):
        if call.answer.done():
            continue  # its time was over, or its caller went away
        if isinstance(outcome, MeshError):
            call.answer.set_exception(outcome)
        else:
            call.answer.set_result(outcome)
