"""The request context, and the time that shrinks hop by hop."""

from __future__ import annotations

import time

from slmesh.mesh.context import RequestContext


def timeout_ms(context):
    return float(dict(context.to_metadata())["slmesh-timeout-ms"])


def test_a_context_survives_the_wire():
    sent = RequestContext(
        service="intent",
        tenant="acme",
        decision_id="d-1",
        data_classes=("personal", "internal"),
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    )
    assert RequestContext.from_metadata(sent.to_metadata()) == sent


def test_the_deadline_travels_by_value_and_shrinks():
    first = RequestContext().within(1.0)
    time.sleep(0.02)
    sent = first.to_metadata()
    second = RequestContext.from_metadata(sent)
    time.sleep(0.02)
    assert timeout_ms(second) < float(dict(sent)["slmesh-timeout-ms"]) - 15 < 970


def test_a_hop_can_shorten_a_deadline_and_never_lengthen_it():
    context = RequestContext().within(0.5)
    assert context.within(10.0).deadline == context.deadline
    assert context.within(0.1).deadline < context.deadline


def test_no_deadline_sends_no_timeout():
    assert "slmesh-timeout-ms" not in dict(RequestContext().to_metadata())


def test_binary_and_foreign_metadata_are_left_alone():
    context = RequestContext.from_metadata([("user-agent", "x"), ("some-bin", b"\xff")])
    assert context == RequestContext()
