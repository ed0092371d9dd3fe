"""Answers of a declared schema, by a reasoner over a real HTTP server that may not keep to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import json_format
from tests.reasoner.engines.chat_server import ChatServer, chunk, usage_chunk

import slmesh.reasoner
from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.errors import FailedPrecondition, Unavailable
from slmesh.mesh.manifest import load_manifest
from slmesh.router.flow_book import load_flow

FLOW = """\
name: form
description: Fills a form in.
owner: tests
data_classes: [personal]
latency_budget_ms: 20000
response_cache: none
steps:
  - {name: guard, service: guard, timeout_ms: 15000, on_failure: fail}
reasoner:
  service: reasoner
  instruction: Fill the form in.
  timeout_ms: 19000
  max_output_tokens: 50
  on_failure: fallback
  output_schema:
    type: object
    properties:
      to: {type: string}
      urgent: {type: boolean}
      pages: {type: integer}
    required: [to]
    additionalProperties: false
fallback: Later.
"""
WITHOUT = FLOW[: FLOW.index("  output_schema")] + "fallback: Later.\n"
GOOD = '{"to": "[EMAIL_1]", "urgent": true, "pages": 3}'
TEXT = "send it to ann@x.org"


def says(text, prompt=100, output=10, finish="stop"):
    return [chunk(text), chunk(finish=finish), usage_chunk(prompt, output)]


@pytest.fixture
async def server():
    server = ChatServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def manifests(manifests, server):
    """Return the services of the tests, with the shipped reasoner over the server."""
    own = load_manifest(Path(slmesh.reasoner.__file__).parent / "service.yaml")
    options = {"engine": "openai", "model": "m", "base_url": server.base_url}
    return manifests | {"reasoner": replace(own, options=options, zone="cluster")}


@pytest.fixture
async def start(start_mesh, mesh_settings):
    """Return a function that starts a mesh with the flow."""

    async def started(flow=FLOW, budget="{}"):
        folder = mesh_settings.flow_path[0]
        (folder / "form.yaml").write_text(flow)
        budgets = folder.parent / "budgets.yaml"
        budgets.write_text(f'tenants: {{"*": {budget}}}')
        return await start_mesh(budgets=budgets)

    return started


def routed(mesh, text=TEXT):
    return mesh.route(text, flow="form", timeout_s=25)


def spent(decision):
    (budget,) = decision.budget.budgets
    return budget.requests, budget.tokens


async def test_an_answer_that_matches_comes_as_a_value(start, server):
    mesh = await start()
    server.say(*says(GOOD))
    decision = await routed(mesh)
    assert decision.path == pb.PATH_ESCALATED
    value = {"to": "ann@x.org", "urgent": True, "pages": 3}
    assert json_format.MessageToDict(decision.answer.structured) == value
    assert json.loads(decision.answer.text) == value
    assert not decision.degradations
    (sent,) = server.requests
    asked_for = sent["response_format"]["json_schema"]["schema"]
    assert asked_for["properties"]["pages"] == {"type": "integer"}


async def test_a_flow_without_a_schema_has_no_value(start, server):
    mesh = await start(WITHOUT)
    server.say(*says("Sent."))
    decision = await routed(mesh)
    assert decision.answer.text == "Sent."
    assert not decision.answer.HasField("structured")
    assert "response_format" not in server.requests[0]


FIRST_TRIES = [
    pytest.param(says("Sure! Here it is"), "it is not JSON", id="no-json"),
    pytest.param(says('{"to": 7}'), "the rule 'type' is broken at $.to", id="wrong-type"),
    pytest.param(says('{"to": "x"', finish="length"), "it was cut after 10 tokens", id="cut"),
]


@pytest.mark.parametrize(("first", "problem"), FIRST_TRIES)
async def test_an_answer_that_does_not_match_is_asked_for_once_more(start, server, first, problem):
    mesh = await start()
    server.say_in_turn(first, says(GOOD, prompt=130, output=12))
    decision = await routed(mesh)
    assert json.loads(decision.answer.text)["to"] == "ann@x.org"
    assert not decision.degradations
    system, user = server.requests[1]["messages"]
    block = user["content"].partition("<signals>")[2].partition("</signals>")[0]
    assert json.loads(block)[-1]["earlier_answer_refused"] == problem
    assert problem not in system["content"]
    assert first[0]["choices"][0]["delta"]["content"] not in user["content"]


async def test_both_tries_are_counted_and_paid_for(start, server):
    mesh = await start(budget="{tokens: 100000}")
    server.say_in_turn(says("no"), says(GOOD, prompt=130, output=12), says(GOOD))
    decision = await routed(mesh)
    assert (decision.cost.prompt_tokens, decision.cost.output_tokens) == (230, 22)
    (hop,) = (hop for hop in decision.receipt.hops if hop.step == "reasoner")
    assert hop.attempts == 2
    again = await routed(mesh)
    assert spent(again) == (1, 252)


async def test_a_second_answer_that_does_not_match_leaves_the_fallback(start, server):
    mesh = await start(budget="{tokens: 100000}")
    server.say_in_turn(says("no"), says("no again"), says(GOOD))
    decision = await routed(mesh)
    assert decision.path == pb.PATH_FALLBACK
    assert decision.answer.text == "Later."
    assert not decision.answer.HasField("structured")
    assert [one.code for one in decision.degradations] == ["OUTPUT_SCHEMA_MISMATCH"]
    assert decision.cost.prompt_tokens == 200
    assert len(server.requests) == 2
    assert spent(await routed(mesh)) == (1, 220)


async def test_a_flow_that_fails_without_an_answer_pays_for_both_tries_too(start, server):
    mesh = await start(FLOW.replace("on_failure: fallback", "on_failure: fail"), "{tokens: 100000}")
    server.say_in_turn(says("no"), says("no again"), says(GOOD))
    with pytest.raises(Unavailable) as caught:
        await routed(mesh)
    assert caught.value.reason == "OUTPUT_SCHEMA_MISMATCH"
    assert spent(await routed(mesh)) == (1, 220)


async def test_a_reasoner_that_declines_is_not_asked_again(start, server):
    mesh = await start()
    server.say(*says("I cannot do that", finish="content_filter"))
    decision = await routed(mesh)
    assert [one.code for one in decision.degradations] == ["REASONER_DECLINED"]
    assert len(server.requests) == 1


async def test_room_for_both_tries_is_reserved(start, server):
    mesh = await start(budget="{tokens: 2500}")
    server.say(*says(GOOD))
    decision = await routed(mesh)
    assert decision.budget.outcome == pb.BUDGET_OUTCOME_EXHAUSTED
    assert decision.budget.quantity == "tokens"
    free = await start(WITHOUT, "{tokens: 2500}")
    assert (await routed(free)).budget.outcome == pb.BUDGET_OUTCOME_GRANTED


async def test_a_stream_tells_no_text_that_does_not_match(start, server):
    mesh = await start()
    server.say_in_turn(says("no"), says(GOOD))
    request = pb.RouteStreamRequest(request=pb.RouteRequest(flow="form", text=TEXT)).request
    events = [event async for event in mesh.client.route_stream(request, timeout_s=25)]
    assert [event.WhichOneof("event") for event in events] == ["signal", "text_delta", "decision"]
    assert events[1].text_delta == events[2].decision.answer.text


async def test_answers_that_do_not_match_open_no_breaker(start, server):
    mesh = await start()
    server.say(*says("no"))
    for _ in range(6):
        decision = await routed(mesh)
        assert [one.code for one in decision.degradations] == ["OUTPUT_SCHEMA_MISMATCH"]


async def test_a_value_that_breaks_json_is_put_back_whole(start, server):
    mesh = await start()
    server.say(*says(GOOD))
    decision = await routed(mesh, 'send it to "ann\\b"@x.org')
    assert json.loads(decision.answer.text)["to"] == '"ann\\b"@x.org'
    assert decision.answer.structured.struct_value["to"] == '"ann\\b"@x.org'


def test_what_is_no_schema_is_refused_with_its_line(tmp_path):
    file = tmp_path / "form.yaml"
    file.write_text(FLOW.replace("pages: {type: integer}", "pages: {type: whole}"))
    with pytest.raises(FailedPrecondition, match=r"form.yaml:15: not a JSON Schema: at \$"):
        load_flow(file, {"guard": "guard", "reasoner": "reason"})
