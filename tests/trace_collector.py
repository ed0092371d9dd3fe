"""A real OpenTelemetry collector over gRPC that keeps what it is sent."""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


@dataclass(frozen=True)
class Span:
    """One span, with ids as hexadecimal text."""

    name: str
    process: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]


class TraceCollector(service.TraceServiceServicer):
    """Listens on a free port; use it as a context manager."""

    def __init__(self) -> None:
        self._spans: dict[str, list[Span]] = defaultdict(list)
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(2))
        service.add_TraceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> TraceCollector:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop(0).wait()

    @property
    def endpoint(self) -> str:
        """What ``SLMESH_TRACE_EXPORTER`` is set to."""
        return f"http://127.0.0.1:{self.port}"

    def spans(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace that have arrived so far."""
        with self._lock:
            return list(self._spans[trace_id])

    def Export(  # noqa: N802
        self, request: messages.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> messages.ExportTraceServiceResponse:
        """Keep the spans of one export."""
        for resource in request.resource_spans:
            named = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    kept = Span(
                        span.name,
                        named.get("service.name", ""),
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        {a.key: a.value.string_value for a in span.attributes},
                    )
                    with self._lock:
                        self._spans[kept.trace_id].append(kept)
        return messages.ExportTraceServiceResponse()
