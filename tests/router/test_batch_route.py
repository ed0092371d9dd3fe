"""BatchRoute: many texts in one call, gathered calls to services, one result or error for each."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import InvalidArgument, MeshError, Unavailable
from slmesh.router.gathering import GatheringTransport


async def batch(mesh, *texts, flow="desk", **fields):
    requests = [pb.RouteRequest(flow=flow, text=text, **fields) for text in texts]
    response = await mesh.client.batch_route(pb.BatchRouteRequest(requests=requests), timeout_s=20)
    return response.results


async def test_each_text_gets_its_decision_in_order(mesh):
    results = await batch(mesh, "when does my card arrive", "unsure about this", "inject this")
    decisions = [result.response.decision for result in results]
    assert decisions[0].answer.text == "It is on its way."
    assert decisions[1].answer.text == "You wrote: unsure about this"
    assert len({decision.decision_id for decision in decisions}) == 3


async def test_one_that_fails_does_not_affect_the_others(mesh):
    results = await batch(mesh, "when does my card arrive", "", "when does my card arrive")
    assert results[0].HasField("response")
    assert results[2].HasField("response")
    error = MeshError.from_status(results[1].error)
    assert isinstance(error, InvalidArgument)
    assert error.field == "requests[1].text"


async def test_a_batch_over_the_limit_is_refused(mesh):
    with pytest.raises(InvalidArgument, match="512"):
        await batch(mesh, *["hello"] * 513)


async def test_many_texts_need_few_calls(mesh):
    results = await batch(mesh, *["when does my card arrive"] * 100)
    assert all(result.response.decision.path == pb.PATH_SMALL for result in results)
    labels = {"service": "intent", "method": "BatchClassify", "code": "OK"}
    calls = mesh.ingress.metrics.registry.get_sample_value("slmesh_requests_total", labels)
    assert 1 <= calls <= 10


async def test_every_decision_can_be_explained(mesh):
    (result,) = await batch(mesh, "when does my card arrive")
    decision = result.response.decision
    request = pb.ExplainRequest(decision_id=decision.decision_id)
    assert (await mesh.client.explain(request)).decision == decision


class Counted:
    """Answers batches, and counts what it is asked."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failure: MeshError | None = None

    async def unary(self, rpc, request, context):
        self.calls[rpc.name] += 1
        await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        response = classify_pb2.BatchClassifyResponse()
        for index, item in enumerate(request.requests):
            result = response.results.add()
            if item.text == "bad":
                error = InvalidArgument("no", field=f"requests[{index}].text")
                result.error.CopyFrom(error.to_status())
            else:
                result.response.labels.labels.add(name=item.text)
        return response


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def gathering(counted) -> GatheringTransport:
    return GatheringTransport(counted)


async def classify(gathering, text, **context):
    request = classify_pb2.ClassifyRequest(text=text)
    return await gathering.unary(
        rpcs()["Classify"], request, RequestContext(service="intent", **context)
    )


async def test_calls_at_the_same_time_travel_together(gathering, counted):
    answers = await asyncio.gather(*(classify(gathering, f"t{n}") for n in range(40)))
    assert [answer.labels.labels[0].name for answer in answers] == [f"t{n}" for n in range(40)]
    assert counted.calls == {"BatchClassify": 1}


async def test_what_a_policy_tells_apart_travels_apart(gathering, counted):
    await asyncio.gather(
        classify(gathering, "a", tenant="one"),
        classify(gathering, "b", tenant="two"),
        classify(gathering, "c", tenant="one", data_classes=("personal",)),
    )
    assert counted.calls == {"BatchClassify": 3}


async def test_an_item_has_its_own_error_and_its_own_field(gathering):
    good, bad = await asyncio.gather(
        classify(gathering, "good"), classify(gathering, "bad"), return_exceptions=True
    )
    assert good.labels.labels[0].name == "good"
    assert isinstance(bad, InvalidArgument)
    assert bad.field == "text"


async def test_a_batch_that_fails_fails_all_its_calls(gathering, counted):
    counted.failure = Unavailable("down")
    outcomes = await asyncio.gather(
        classify(gathering, "a"), classify(gathering, "b"), return_exceptions=True
    )
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)


async def test_more_than_a_batch_holds_are_several(gathering, counted):
    await asyncio.gather(*(classify(gathering, "t") for _ in range(600)))
    assert counted.calls == {"BatchClassify": 3}


async def test_a_call_that_was_given_up_does_not_hold_the_others(gathering):
    given_up = asyncio.create_task(classify(gathering, "a"))
    other = asyncio.create_task(classify(gathering, "b"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await other).labels.labels[0].name == "b"
