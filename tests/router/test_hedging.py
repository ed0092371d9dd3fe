"""Late calls are sent a second time: over gRPC to two replicas, and the rules without any."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from tests.ingress import Ingress
from tests.router import conftest

from slmesh.api.classify.v1.classify_pb2 import ClassifyResponse
from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import FailedPrecondition, Unavailable
from slmesh.mesh.host import ServiceHost
from slmesh.mesh.metrics import Metrics
from slmesh.router.flow import Hedge, Step
from slmesh.router.flow_book import load_flow
from slmesh.router.hedging import Hedging
from slmesh.router.latencies import Latencies
from slmesh.router.protection import ProtectedTransport, Protection

FLOW = """\
name: late
description: Asks one service.
owner: tests
data_classes: [internal]
latency_budget_ms: 20000
steps:
  - {name: triage, service: triage, timeout_ms: 15000, on_failure: fail, hedge: {after_ms: 40}}
answer:
  - signals: true
"""


class TwoReplicas(Ingress):
    """An ingress that hands the calls of one service to two replicas in turn."""

    def __init__(self, settings, manifests, tracing=None, gate=None):
        super().__init__(settings, manifests, tracing, gate)
        (manifest,) = (one for one in manifests if one.name == "triage")
        self.second = ServiceHost(manifest, settings, Metrics(), None, gate)
        self.turn = 0

    async def start(self):
        await super().start()
        await self.second.start()

    async def close(self):
        await super().close()
        await self.second.close()

    async def _host(self, call, *, count=True):
        host = await super()._host(call, count=count)
        if not count or host.manifest.name != "triage":
            return host
        self.turn += 1
        return host if self.turn % 2 else self.second

    def replicas(self):
        """Return the two objects that answer."""
        return self.model("triage"), self.second._service


@pytest.fixture
async def mesh(start_mesh, mesh_settings, monkeypatch):
    monkeypatch.setattr(conftest, "Ingress", TwoReplicas)  # the fixture's own choice otherwise
    (mesh_settings.flow_path[0] / "late.yaml").write_text(FLOW)
    return await start_mesh()


@pytest.fixture
def gate():
    """Return an event that stuck replicas wait for."""
    event = threading.Event()
    yield event
    event.set()


def stick(replica, gate):
    """Let a replica answer only when the gate is open."""
    answer = replica.one

    def stuck(request):
        gate.wait(15)
        return answer(request)

    replica.one = stuck


async def routed(mesh):
    decision = await mesh.route("hello", flow="late", timeout_s=20)
    (step,) = decision.steps
    return decision, step


def hedges(mesh, outcome):
    labels = {"service": "triage", "outcome": outcome}
    return mesh.metrics.registry.get_sample_value("slmesh_hedges_total", labels)


async def test_a_second_call_answers_in_the_place_of_a_late_one(mesh, gate):
    first, _ = mesh.ingress.replicas()
    stick(first, gate)
    decision, step = await routed(mesh)
    assert step.state == pb.STEP_STATE_SUCCEEDED
    assert step.hedge.outcome == pb.HEDGE_OUTCOME_SECOND_WON
    assert step.hedge.start_offset.ToNanoseconds() >= step.start_offset.ToNanoseconds() + 40_000_000
    (hop,) = decision.receipt.hops
    assert hop.attempts == 2
    assert len(set(hop.rulings[0].fields)) == len(hop.rulings[0].fields)
    calls = mesh.ingress.calls_of("triage")
    assert [bool(call["slmesh-policy-context"]) for call in calls] == [True, True]
    assert {call["slmesh-decision-id"] for call in calls} == {decision.decision_id}
    assert hedges(mesh, "second_won") == 1
    labels = {"service": "triage", "method": "Score", "code": "CANCELLED"}
    read = mesh.ingress.metrics.registry.get_sample_value
    for _ in range(100):
        if read("slmesh_requests_total", labels):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the late call was not cancelled")


async def test_a_late_call_may_still_be_the_first_to_answer(mesh, gate):
    first, second = mesh.ingress.replicas()
    opened = threading.Event()
    stick(first, opened)
    stick(second, gate)
    running = asyncio.create_task(routed(mesh))
    while len(mesh.ingress.calls_of("triage")) < 2:
        await asyncio.sleep(0.01)
    opened.set()
    _, step = await running
    assert step.hedge.outcome == pb.HEDGE_OUTCOME_FIRST_WON
    assert hedges(mesh, "first_won") == 1


async def test_hedges_draw_on_the_retries_of_the_service(mesh):
    for replica in mesh.ingress.replicas():
        answer = replica.one
        replica.one = lambda request, answer=answer: (time.sleep(0.2), answer(request))[1]
    outcomes = [(await routed(mesh))[1].hedge.outcome for _ in range(8)]
    refused = outcomes.count(pb.HEDGE_OUTCOME_REFUSED)
    assert outcomes[4] == pb.HEDGE_OUTCOME_REFUSED  # 3 and a tenth of the calls are allowed
    assert 3 <= refused <= 4
    assert hedges(mesh, "refused") == refused


# what follows needs no mesh


def step(**hedge):
    return Step(name="intent", service="intent", hedge=Hedge(**hedge) if hedge else None)


class Calls:
    """Makes calls that a test answers by hand."""

    def __init__(self):
        self.made = []

    async def send(self):
        future = asyncio.get_running_loop().create_future()
        self.made.append(future)
        return await future

    async def until(self, count):
        while len(self.made) < count:
            await asyncio.sleep(0)


def hedging(allowed=True, latencies=None):
    return Hedging(latencies or Latencies(), lambda context: allowed, Metrics())


ANSWER, OTHER = ClassifyResponse(), ClassifyResponse()


@pytest.fixture
def calls():
    return Calls()


def begin(calls, hedge, told, declared):
    answering = hedge.answer(declared, RequestContext(), calls.send, told.append)
    return asyncio.create_task(answering)


@pytest.mark.parametrize(
    "declared",
    [
        pytest.param(step(), id="not-declared"),
        pytest.param(step(after_ms=60_000), id="not-late"),
        pytest.param(step(after_quantile=0.95), id="nothing-known-of-the-service"),
    ],
)
async def test_a_call_is_sent_once(calls, declared):
    told = []
    running = begin(calls, hedging(), told, declared)
    await calls.until(1)
    calls.made[0].set_result(ANSWER)
    assert await running is ANSWER
    assert (len(calls.made), told) == (1, [])


async def test_recent_calls_tell_what_is_late(calls):
    latencies = Latencies()
    for _ in range(20):
        latencies.observe("intent", 0.005, 0.0)
    running = begin(calls, hedging(latencies=latencies), [], step(after_quantile=0.95))
    await calls.until(2)
    calls.made[1].set_result(OTHER)
    assert await running is OTHER


async def test_an_error_of_one_call_waits_for_the_other(calls):
    for failing, answering in ((0, 1), (1, 0)):
        calls.made.clear()
        told = []
        running = begin(calls, hedging(), told, step(after_ms=1))
        await calls.until(2)
        calls.made[failing].set_exception(Unavailable("away"))
        await asyncio.sleep(0)
        calls.made[answering].set_result(ANSWER)
        assert await running is ANSWER
        won = (pb.HEDGE_OUTCOME_FIRST_WON, pb.HEDGE_OUTCOME_SECOND_WON)[answering]
        assert told == [pb.HEDGE_OUTCOME_BOTH_FAILED, won]


async def test_an_error_before_the_time_is_not_hedged(calls):
    running = begin(calls, hedging(), [], step(after_ms=60_000))
    await calls.until(1)
    calls.made[0].set_exception(Unavailable("away"))
    with pytest.raises(Unavailable):
        await running
    assert len(calls.made) == 1


async def test_two_errors_are_one(calls):
    told = []
    running = begin(calls, hedging(), told, step(after_ms=1))
    await calls.until(2)
    for call in calls.made:
        call.set_exception(Unavailable("away"))
    with pytest.raises(Unavailable):
        await running
    assert told[-1] == pb.HEDGE_OUTCOME_BOTH_FAILED


async def test_a_caller_that_goes_away_cancels_both(calls):
    running = begin(calls, hedging(), [], step(after_ms=1))
    await calls.until(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [call.cancelled() for call in calls.made] == [True, True]


async def test_without_an_allowance_the_late_call_is_waited_for(calls):
    told = []
    running = begin(calls, hedging(allowed=False), told, step(after_ms=1))
    await asyncio.sleep(0.05)
    calls.made[0].set_result(ANSWER)
    assert await running is ANSWER
    assert told == [pb.HEDGE_OUTCOME_REFUSED]


class Failing:
    """A transport behind which nothing answers."""

    async def unary(self, rpc, request, context):
        raise Unavailable("away", retry_delay_s=1)


async def test_a_service_whose_breaker_is_open_is_not_hedged():
    protected = ProtectedTransport(Failing(), Protection(fewest=1, retries=1.0))
    context = RequestContext(service="intent")
    assert protected.may_hedge(context)
    with pytest.raises(Unavailable):
        await protected.unary(None, None, context)
    assert not protected.may_hedge(context)


WRONG = [
    pytest.param("{after_ms: 0}", "above 0 and below the step's 15000 ms", id="zero"),
    pytest.param("{after_ms: 15000}", "below the step's 15000 ms, is 15000", id="after-the-end"),
    pytest.param("{after_quantile: 1.0}", r"must be in \[0.5, 1\), is 1", id="quantile"),
    pytest.param("{}", "exactly one of after_ms and after_quantile", id="nothing"),
    pytest.param("{after_ms: 1, after_quantile: 0.9}", "exactly one of", id="both"),
    pytest.param("{after: 1}", "unknown key 'after'.*after_ms", id="unknown"),
]


@pytest.mark.parametrize(("hedge", "words"), WRONG)
def test_a_wrong_hedge_is_refused_with_its_line(tmp_path, hedge, words):
    file = tmp_path / "late.yaml"
    file.write_text(FLOW.replace("{after_ms: 40}", hedge))
    with pytest.raises(FailedPrecondition, match=r"late.yaml:7: .*" + words):
        load_flow(file, {"triage": "score"})


def test_the_reasoner_cannot_be_hedged(tmp_path):
    file = tmp_path / "late.yaml"
    file.write_text(FLOW + "reasoner: {service: r, instruction: i, hedge: {after_ms: 5}}\n")
    with pytest.raises(
        FailedPrecondition, match=r"late.yaml:10: unknown key 'hedge' in 'reasoner'"
    ):
        load_flow(file, {"triage": "score", "r": "reason"})
