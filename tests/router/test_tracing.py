"""One request is one trace: from the client through the router to every service it asked."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from slmesh.api.classify.v1 import classify_pb2
from slmesh.mesh.tracing import Tracing


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Tracing(provider)
    provider.shutdown()


def edges(spans):
    """Return parent and child names of every span of a trace, with their number."""
    names = {span.context.span_id: span.name for span in spans}
    parents = ((span.parent.span_id if span.parent else 0, span.name) for span in spans)
    return Counter((names.get(parent, ""), name) for parent, name in parents)


async def test_a_flow_is_one_trace_of_the_shape_of_its_calls(start_mesh, tracing, exporter):
    mesh = await start_mesh(tracing)
    decision = await mesh.route("unsure")
    spans = exporter.get_finished_spans()
    assert len({span.context.trace_id for span in spans}) == 1
    assert edges(spans) == {
        ("", "call Route"): 1,
        ("call Route", "router/Route"): 1,
        ("router/Route", "call Screen"): 1,
        ("call Screen", "guard/Screen"): 1,
        ("router/Route", "call Classify"): 1,
        ("call Classify", "intent/Classify"): 1,
        ("router/Route", "call Extract"): 1,
        ("call Extract", "entities/Extract"): 1,
        ("router/Route", "call Score"): 1,
        ("call Score", "triage/Score"): 1,
        ("router/Route", "call Reason"): 1,
        ("call Reason", "reasoner/Reason"): 1,
    }
    reasoner = next(span for span in spans if span.name == "reasoner/Reason")
    assert reasoner.attributes["slmesh.decision_id"] == decision.decision_id


async def test_a_call_that_is_passed_on_is_one_trace(start_mesh, tracing, exporter):
    mesh = await start_mesh(tracing)
    await mesh.client.classify("intent", classify_pb2.ClassifyRequest(text="lost"), timeout_s=30)
    assert edges(exporter.get_finished_spans()) == {
        ("", "call Classify"): 1,
        ("call Classify", "router/Classify"): 1,
        ("router/Classify", "call Classify"): 1,
        ("call Classify", "intent/Classify"): 1,
    }


async def test_health_checks_make_no_spans(start_mesh, tracing, exporter):
    await start_mesh(tracing)
    assert not exporter.get_finished_spans()
