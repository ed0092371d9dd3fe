"""Time is split by what services took lately; what can be left out is left out first."""

from __future__ import annotations

import time

import pytest
from tests.router.mesh_services import write_desk

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import DeadlineExceeded
from slmesh.mesh.local import InProcessTransport
from slmesh.policy import open_gate
from slmesh.router.cost import CostEstimator, Price, Prices
from slmesh.router.engine import Engine
from slmesh.router.flow import Flow, Step
from slmesh.router.flow_book import load_flows
from slmesh.router.latencies import Latencies, needed_after
from slmesh.router.request_run import Clock


def slow(latencies: Latencies, service: str, seconds: float, calls: int = 20) -> None:
    for _ in range(calls):
        latencies.observe(service, seconds, time.monotonic())


def test_a_quantile_of_the_recent_calls():
    latencies = Latencies()
    assert latencies.quantile("intent", 0.5) == 0.0
    for place in range(300):
        latencies.observe("intent", place / 1e3, 0.0)
    assert latencies.quantile("intent", 0.5) == pytest.approx(0.2)
    assert latencies.quantile("intent", 1.0) == pytest.approx(0.299)


def test_a_service_is_too_slow_until_nobody_has_asked_it_for_ten_times_its_time():
    latencies = Latencies()
    assert not latencies.too_slow("intent", 0.95, 0.1, 100.0)
    for _ in range(20):
        latencies.observe("intent", 0.5, 100.0)
    assert latencies.too_slow("intent", 0.95, 0.1, 104.9)
    assert not latencies.too_slow("intent", 0.95, 0.6, 104.9)
    assert not latencies.too_slow("intent", 0.95, 0.1, 105.1)
    assert latencies.quantile("intent", 0.95) == 0.0, "what was known is forgotten"


def test_the_longest_chain_of_required_steps_counts():
    steps = (
        Step(name="a", service="a"),
        Step(name="b", service="b", after=("a",)),
        Step(name="c", service="c", after=("b",), on_failure="skip"),
        Step(name="d", service="d", after=("a",)),
    )
    flow = Flow(
        name="f",
        description="d",
        owner="o",
        data_classes=("public",),
        latency_budget_ms=1,
        steps=steps,
    )
    latencies = Latencies()
    for service, seconds in (("b", 0.2), ("c", 5.0), ("d", 0.3)):
        slow(latencies, service, seconds)
    assert needed_after(steps[0], flow, latencies) == pytest.approx(0.3)
    assert needed_after(steps[1], flow, latencies) == 0.0


@pytest.fixture
async def run(mesh_settings, manifests):
    """Return a function that runs the flow ``desk`` in this process, and what it knows of times."""
    transport = InProcessTransport(mesh_settings, services=manifests)
    latencies = Latencies()
    gate = open_gate(mesh_settings, manifests, in_process=True)
    engine = Engine(
        transport,
        {name: manifest.contract for name, manifest in manifests.items()},
        judge=lambda: gate.judge,
        estimator=CostEstimator(Prices({"reasoner": Price(0, 0)})),
        clock=Clock(),
        prepare=transport.host,
        latencies=latencies,
    )

    async def decide(text, timeout_s, **on_failure):
        write_desk(mesh_settings.flow_path[0], **on_failure)
        flow = load_flows(mesh_settings, manifests)["desk"]
        request = pb.RouteRequest(flow="desk", text=text)
        context = RequestContext().within(timeout_s)
        explained = await engine.run(flow, request, context, decision_id="d", request_id="r")
        return explained.decision

    await decide("when does my card arrive", 10)  # loads the services
    yield decide, latencies
    await transport.close()


async def test_a_step_that_can_be_missed_is_left_out_when_time_is_short(run):
    decide, latencies = run
    slow(latencies, "entities", 9.0)
    decision = await decide("when does my card arrive", 5)
    assert decision.path == pb.PATH_SMALL
    assert [(one.code, one.step) for one in decision.degradations] == [("NO_TIME", "entities")]
    states = {step.name: step.state for step in decision.steps}
    assert states["entities"] == pb.STEP_STATE_SKIPPED
    assert states["triage"] == pb.STEP_STATE_SUCCEEDED


async def test_the_reasoner_is_not_asked_when_it_would_be_late(run):
    decide, latencies = run
    slow(latencies, "reasoner", 9.0)
    decision = await decide("unsure about this", 5)
    assert [one.code for one in decision.degradations] == ["NO_TIME_FOR_REASONER"]
    assert decision.path == pb.PATH_SMALL
    assert decision.answer.text == "It is on its way."


async def test_a_flow_that_must_have_it_fails_at_once(run):
    decide, latencies = run
    slow(latencies, "reasoner", 9.0)
    with pytest.raises(DeadlineExceeded) as caught:
        await decide("unsure about this", 5, reasoner="fail")
    assert caught.value.reason == "NO_TIME_FOR_REASONER"


async def test_a_step_that_was_slow_is_asked_again_after_a_while(run):
    decide, latencies = run
    for _ in range(20):
        latencies.observe("entities", 9.0, time.monotonic() - 100)
    decision = await decide("when does my card arrive", 5)
    assert not decision.degradations
    assert {step.state for step in decision.steps} == {pb.STEP_STATE_SUCCEEDED}
