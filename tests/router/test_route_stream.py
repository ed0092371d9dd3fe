"""RouteStream: signals as they arrive, then text, then the decision, over sockets."""

from __future__ import annotations

import asyncio
import itertools
import uuid

import pytest

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.errors import DeadlineExceeded, InvalidArgument, NotFound
from slmesh.router.events import Restorer


async def stream(mesh, text, flow="desk", **fields):
    request = pb.RouteRequest(flow=flow, text=text, **fields)
    return [event async for event in mesh.client.route_stream(request, timeout_s=60)]


def kinds(events):
    return [event.WhichOneof("event") for event in events]


async def test_signals_come_first_then_text_then_the_decision(mesh):
    events = await stream(mesh, "unsure about this")
    order = [kind for kind, _ in itertools.groupby(kinds(events))]
    assert order == ["signal", "text_delta", "decision"]
    assert events[0].signal.step == "guard"
    decision = events[-1].decision
    text = "".join(event.text_delta for event in events)
    assert text.strip() == decision.answer.text == "You wrote: unsure about this"
    assert decision.path == pb.PATH_ESCALATED


async def test_small_models_answer_without_text_before_the_decision(mesh):
    events = await stream(mesh, "when does my card arrive")
    assert kinds(events) == ["signal"] * 4 + ["decision"]
    assert events[-1].decision.answer.text == "It is on its way."


async def test_values_are_back_in_the_text(mesh):
    events = await stream(mesh, "unsure, write to jo@example.com")
    text = "".join(event.text_delta for event in events)
    assert "jo@example.com" in text
    assert text.strip() == events[-1].decision.answer.text


async def test_text_of_a_reasoner_that_fails_is_followed_by_the_fallback(mesh):
    events = await stream(mesh, "unsure reasoner:cut")
    decision = events[-1].decision
    assert decision.path == pb.PATH_FALLBACK
    assert decision.answer.text == "Later."


async def test_a_repeat_gets_the_decision_alone(mesh):
    request_id = str(uuid.uuid4())
    first = await stream(mesh, "unsure about this", request_id=request_id)
    again = await stream(mesh, "unsure about this", request_id=request_id)
    assert kinds(again) == ["decision"]
    assert again[0].decision == first[-1].decision


@pytest.mark.parametrize(
    ("text", "flow", "error"),
    [
        pytest.param("", "desk", InvalidArgument, id="empty-text"),
        pytest.param("hello", "disk", NotFound, id="unknown-flow"),
    ],
)
async def test_a_wrong_request_is_refused(mesh, text, flow, error):
    with pytest.raises(error):
        await stream(mesh, text, flow)


async def test_a_text_over_the_limit_is_refused_with_its_field(mesh):
    with pytest.raises(InvalidArgument) as caught:
        await stream(mesh, "x" * 100_001)
    assert "text" in (caught.value.field or "")


async def test_a_caller_that_goes_away_stops_the_run(mesh):
    request = pb.RouteRequest(flow="desk", text="unsure reasoner:hang")
    events = mesh.client.route_stream(request, timeout_s=60)
    async for event in events:
        if event.HasField("signal"):
            break
    await events.aclose()
    async with asyncio.timeout(20):
        while mesh.metrics.registry.get_sample_value("slmesh_in_flight", {"service": "router"}):
            await asyncio.sleep(0.05)


async def test_the_deadline_ends_a_stream(start_mesh):
    mesh = await start_mesh(on_failure={"reasoner": "fail"})
    request = pb.RouteRequest(flow="desk", text="unsure reasoner:hang")
    with pytest.raises(DeadlineExceeded):
        async for _ in mesh.client.route_stream(request, timeout_s=0.7):
            pass


def restored(pieces, values):
    told = []

    def restore(text):
        for token, value in values.items():
            text = text.replace(token, value)
        return text

    restorer = Restorer(restore, told.append)
    for piece in pieces:
        restorer.push(piece)
    restorer.end()
    return told


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_placeholder_in_two_pieces_is_restored(cut):
    text = "Dear [NAME_1], hello [x"
    told = restored([text[:cut], text[cut:]], {"[NAME_1]": "Jo"})
    assert "".join(told) == "Dear Jo, hello [x"


def test_a_bracket_that_is_no_placeholder_does_not_hold_the_text_back():
    told = restored(["a [ long list", " of words that goes on and on and on", " and on"], {})
    assert told[1].startswith("[ long list of words")
