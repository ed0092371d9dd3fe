"""The boundary every RPC passes, whatever the transport.

In: metadata becomes a context, bytes become a checked message, the deadline starts to run. Out: a
response, or a :class:`MeshError` and nothing else; an unknown exception becomes INTERNAL with an id
that the log has the traceback under. One log event, one span and one set of metrics per RPC are
written here, and by no service.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import Message
from google.rpc import code_pb2

from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import Rpc
from slmesh.mesh.errors import Cancelled, DeadlineExceeded, Internal, MeshError, Unimplemented
from slmesh.mesh.gate import Admit
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.mesh.tracing import SpanKind, Tracing
from slmesh.mesh.validation import Limits, parse, validate

__all__ = ["Boundary", "Instruments", "UnaryHandler", "limits_of"]

_log = logging.getLogger(__name__)

RawMetadata = Iterable[tuple[str, str | bytes]]
UnaryHandler = Callable[[Any, RequestContext], Awaitable[Message]]
StreamHandler = Callable[[Any, RequestContext], AsyncIterator[Message]]


@dataclass(frozen=True)
class Instruments:
    """What a boundary writes to. Spans are made only when ``tracing`` is set."""

    metrics: Metrics
    tracing: Tracing | None = None


def limits_of(settings: Settings) -> Limits:
    """Return the request limits that the settings state."""
    return Limits(
        text_code_points=settings.max_text_code_points,
        items=settings.max_batch_items,
        message_bytes=settings.max_message_bytes,
    )


class Boundary:
    """The boundary of one service.

    Args:
        service: The service's name, for logs and metrics.
        unary: Handlers of unary RPCs by bare name.
        streams: Handlers of server-streaming RPCs by bare name.
        limits: The largest request.
        default_timeout_s: The time a request has when its caller sets no deadline.
        instruments: Metrics and spans; None switches them and the log event off, to measure them.
        admit: Decides whether policy allows the call; None decides nothing.
    """

    def __init__(
        self,
        service: str,
        *,
        unary: Mapping[str, UnaryHandler] | None = None,
        streams: Mapping[str, StreamHandler] | None = None,
        limits: Limits,
        default_timeout_s: float,
        instruments: Instruments | None,
        admit: Admit | None = None,
    ) -> None:
        self._service = service
        self._unary = dict(unary or {})
        self._streams = dict(streams or {})
        self._limits = limits
        self._default_timeout_s = default_timeout_s
        self._instruments = instruments
        self._admit = admit
        if instruments is not None:
            self._in_flight = instruments.metrics.in_flight.labels(service)
        self._seconds: dict[str, Any] = {}
        self._codes: dict[tuple[str, int], Any] = {}

    async def unary(
        self,
        rpc: Rpc,
        payload: bytes | Message,
        metadata: RawMetadata,
        transport_remaining_s: float | None = None,
    ) -> Message:
        """Answer one unary RPC.

        Args:
            rpc: Which RPC.
            payload: The request, serialised or (in-process) as a message.
            metadata: The caller's metadata.
            transport_remaining_s: The time the transport itself gives, where it is known.

        Raises:
            MeshError: The only thing it raises, but for the cancellation of its task.
        """
        with self._rpc(rpc.name, metadata, transport_remaining_s) as context:
            handler = self._unary.get(rpc.name)
            if handler is None:
                raise self._unimplemented(rpc)
            request = self._request(rpc, payload)
            async with asyncio.timeout(context.remaining_s()):
                return await handler(request, context)

    async def stream(
        self,
        rpc: Rpc,
        payload: bytes | Message,
        metadata: RawMetadata,
        transport_remaining_s: float | None = None,
    ) -> AsyncIterator[Message]:
        """Answer one server-streaming RPC; like :meth:`unary`, event by event."""
        with self._rpc(rpc.name, metadata, transport_remaining_s) as context:
            handler = self._streams.get(rpc.name)
            if handler is None:
                raise self._unimplemented(rpc)
            events = handler(self._request(rpc, payload), context)
            try:
                while True:
                    async with asyncio.timeout(context.remaining_s()):
                        event = await anext(events, None)
                    if event is None:
                        return
                    yield event
            finally:
                close = getattr(events, "aclose", None)
                if close is not None:
                    await close()

    async def passed_on(
        self,
        rpc: Rpc,
        metadata: RawMetadata,
        transport_remaining_s: float | None,
        send: Callable[[RequestContext], Awaitable[bytes]],
    ) -> bytes:
        """Pass one unary RPC on unread: the service it is for has a boundary of its own."""
        with self._rpc(rpc.name, metadata, transport_remaining_s) as context:
            async with asyncio.timeout(context.remaining_s()):
                return await send(context)

    async def passed_on_stream(
        self,
        rpc: Rpc,
        metadata: RawMetadata,
        transport_remaining_s: float | None,
        send: Callable[[RequestContext], AsyncIterator[bytes]],
    ) -> AsyncIterator[bytes]:
        """Pass one server-streaming RPC on unread; like :meth:`passed_on`, event by event."""
        with self._rpc(rpc.name, metadata, transport_remaining_s) as context:
            async with contextlib.aclosing(cast("Any", send(context))) as events:
                while True:
                    async with asyncio.timeout(context.remaining_s()):
                        event = await anext(events, None)
                    if event is None:
                        return
                    yield event

    def _request(self, rpc: Rpc, payload: bytes | Message) -> Message:
        if isinstance(payload, Message):
            request = payload
        else:
            request = parse(rpc.request_type, payload, self._limits)
        validate(request, self._limits, items=not rpc.batch)
        return request

    def _unimplemented(self, rpc: Rpc) -> Unimplemented:
        return Unimplemented(
            f"service '{self._service}' does not answer {rpc.name}; it answers"
            f" {', '.join(sorted({*self._unary, *self._streams}))}",
            reason="METHOD_NOT_SERVED",
            metadata={"service": self._service},
        )

    @contextlib.contextmanager
    def _rpc(
        self, method: str, metadata: RawMetadata, transport_remaining_s: float | None
    ) -> Iterator[RequestContext]:
        started = time.perf_counter()
        context = RequestContext()
        failure: MeshError | None = None
        if self._instruments is not None:
            self._in_flight.inc()
        try:
            context = RequestContext.from_metadata(metadata).within(transport_remaining_s)
            if context.deadline is None:
                context = context.within(self._default_timeout_s)
            if context.expired():
                raise DeadlineExceeded("the deadline had passed when the request arrived")
            if self._admit is not None:
                context = self._admit(context)
            with self._span(method, context) as inner:
                yield inner
        except MeshError as error:
            failure = error
            raise
        except TimeoutError:
            failure = DeadlineExceeded("the request was not answered before its deadline")
            raise failure from None
        except (asyncio.CancelledError, GeneratorExit):
            failure = Cancelled("the caller went away")
            raise
        except Exception as error:
            failure = Internal.with_id()
            _log.error(
                "unexpected error",
                exc_info=error,
                extra={
                    "service": self._service,
                    "method": method,
                    "error_id": failure.metadata["errorId"],
                },
            )
            raise failure from None
        finally:
            if self._instruments is not None:
                self._in_flight.dec()
                self._record(method, context, time.perf_counter() - started, failure)

    @contextlib.contextmanager
    def _span(self, method: str, context: RequestContext) -> Iterator[RequestContext]:
        if self._instruments is None or self._instruments.tracing is None:
            yield context
            return
        attributes = {"slmesh.service": self._service, "slmesh.tenant": context.tenant}
        if context.decision_id:
            attributes["slmesh.decision_id"] = context.decision_id
        name = f"{self._service}/{method}"
        with self._instruments.tracing.span(name, SpanKind.SERVER, context, attributes) as inner:
            yield inner

    def _record(
        self, method: str, context: RequestContext, seconds: float, failure: MeshError | None
    ) -> None:
        assert self._instruments is not None
        metrics = self._instruments.metrics
        code = failure.code if failure else code_pb2.OK
        counter = self._codes.get((method, code))
        if counter is None:
            # label look-ups are kept: they cost more than the increment
            name = code_pb2.Code.Name(code)
            counter = metrics.requests.labels(self._service, method, name)
            self._codes[method, code] = counter
            self._seconds[method] = metrics.request_seconds.labels(self._service, method)
        counter.inc()
        self._seconds[method].observe(seconds)
        if _log.isEnabledFor(logging.INFO):
            fields = {
                "service": self._service,
                "method": method,
                "code": code_pb2.Code.Name(code),
                "duration_ms": round(seconds * 1e3, 3),
                "tenant": context.tenant,
            }
            if failure:
                fields["reason"] = failure.reason
            if context.decision_id:
                fields["decision_id"] = context.decision_id
            if context.traceparent:
                fields["trace_id"] = context.traceparent[3:35]
            _log.info("rpc", extra=fields)
