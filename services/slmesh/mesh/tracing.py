"""Spans of the mesh, over OpenTelemetry, with the parent taken from the request context.

The context that travels is the truth about the parent, not a context variable, so that a span's
parent is right whatever task or thread the work runs in. Without an exporter there are no spans and
the caller's ``traceparent`` is passed on as it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from opentelemetry.trace import SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import FailedPrecondition, MeshError

__all__ = ["SpanKind", "Tracing", "open_tracing"]

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans with one tracer provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("slmesh")

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, context: RequestContext, attributes: Mapping[str, str]
    ) -> Iterator[RequestContext]:
        """Open a span as a child of the context's and yield the context for what it calls."""
        parent = _PROPAGATOR.extract({"traceparent": context.traceparent})
        span = self._tracer.start_span(name, parent, kind, attributes)
        own = span.get_span_context()
        traceparent = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
        try:
            yield replace(context, traceparent=traceparent)
        except MeshError as error:
            span.set_status(StatusCode.ERROR, error.reason)
            span.set_attribute("slmesh.reason", error.reason)
            raise
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Send what is waiting and stop."""
        shutdown = getattr(self._provider, "shutdown", None)
        if shutdown is not None:
            shutdown()


def open_tracing(exporter: str, process: str) -> Tracing | None:
    """Return tracing to an exporter, or None when there is none.

    Args:
        exporter: Empty, ``console``, or the endpoint of an OTLP gRPC collector.
        process: The name of this process, the resource's ``service.name``.

    Raises:
        FailedPrecondition: The OpenTelemetry SDK is not installed.
    """
    if not exporter:
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
        from opentelemetry.sdk.trace.export import (
            BatchSpanProcessor,
            ConsoleSpanExporter,
            SpanExporter,
        )
    except ImportError:
        raise FailedPrecondition(
            "SLMESH_TRACE_EXPORTER is set and the OpenTelemetry SDK is not installed:"
            " pip install 'slmesh[mesh]'",
            reason="EXTRA_NOT_INSTALLED",
        ) from None
    target: SpanExporter
    if exporter == "console":
        target = ConsoleSpanExporter()
    else:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        target = OTLPSpanExporter(endpoint=exporter, insecure=not exporter.startswith("https"))
    provider = SdkTracerProvider(resource=Resource.create({"service.name": f"slmesh-{process}"}))
    provider.add_span_processor(BatchSpanProcessor(target))
    return Tracing(provider)
