"""What reaches a language model outside of the mesh, byte by byte, on every row of the shared data.

The guard, the extractor and the reasoner are the shipped ones; the model behind the reasoner is a real
HTTP server that records what it is sent and answers with the text it was given.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict

import pytest
from aiohttp import web
from tests.reasoner.engines.chat_server import chunk, usage_chunk, whole
from tests.running_mesh import ROOT
from tests.services import settings_for

import slmesh
from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.settings import load_settings

DATA = ROOT.parent / "shared" / "data" / "presidio_pii"
FILES = ("synth_v2.jsonl", "generated_large.jsonl")
IN_FLIGHT = 32
SIGNALS = "\n\n<signals>\n"

FLOW = """\
name: outside
description: Hands everything to a reasoner outside of the mesh.
owner: tests
data_classes: [personal]
latency_budget_ms: 120000
steps:
  - {name: guard, service: guard, timeout_ms: 60000, on_failure: fail}
  - {name: entities, service: entities, after: [guard], timeout_ms: 60000, on_failure: fail}
reasoner:
  service: reasoner
  instruction: Repeat it.
  signals: [entities]
  timeout_ms: 60000
  on_failure: fail
fallback: Later.
"""


class Recorder:
    """Records the bytes of every request, and answers with the user's text as it came."""

    def __init__(self):
        self.bodies = []
        self.of_text = defaultdict(list)

    async def start(self):
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self.complete)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def complete(self, request):
        sent = await request.read()
        text = json.loads(sent)["messages"][-1]["content"].partition(SIGNALS)[0]
        # all but what HTTP itself counts and addresses by
        kept = {k: v for k, v in request.headers.items() if k not in ("Content-Length", "Host")}
        wire = f"{request.path_qs}\n{kept}\n".encode() + sent
        self.bodies.append(wire)
        self.of_text[text].append(wire)
        said = (chunk(text), chunk(finish="stop"), usage_chunk(1, 1))
        return web.json_response(whole(said))


@pytest.fixture
async def recorder():
    server = Recorder()
    await server.start()
    yield server
    await server.runner.cleanup()


@pytest.fixture
async def mesh(tmp_path, recorder):
    (tmp_path / "outside.yaml").write_text(FLOW)
    settings = settings_for(
        tmp_path,
        service_path=(),
        cache_dir=load_settings().cache_dir,
        flow_path=(tmp_path,),
        reasoner_engine="openai",
        reasoner_model="m",
        reasoner_base_url=recorder.base_url,
        reasoner_zone="external",
    )
    async with slmesh.Mesh.local(settings=settings) as opened:
        yield opened


def times(value, wire):
    """Return how often a value can be read in a request, as words of their own."""
    messages = json.loads(wire[wire.rindex(b"\n") :])["messages"]
    # the bytes as they are, and with the escapes of JSON undone
    text = wire.decode() + "\n" + "\n".join(message["content"] for message in messages)
    # the digits of a probability are no value
    before = r"(?<![\w.])" if value.isdigit() else r"(?<!\w)"
    return len(re.findall(rf"{before}{re.escape(value)}(?!\w)", text))


def texts():
    missing = [name for name in FILES if not (DATA / name).is_file()]
    if missing:
        pytest.skip(f"the shared data set presidio_pii is not at {DATA}")
    rows = [json.loads(line) for name in FILES for line in (DATA / name).read_text().splitlines()]
    return list(dict.fromkeys(row["text"] for row in rows if row["text"].strip()))


async def test_no_value_the_guard_has_found_reaches_the_wire(mesh, recorder):
    every = texts()
    room = asyncio.Semaphore(IN_FLIGHT)

    async def route(text):
        async with room:
            request = pb.RouteRequest(flow="outside", text=text)
            return (await mesh.route(request, timeout_s=110)).decision

    await route("0")
    own_words = recorder.bodies.pop()
    decisions = await asyncio.gather(*(route(text) for text in every))
    found, leaked = 0, []
    for text, decision in zip(every, decisions, strict=True):
        assert decision.path == pb.PATH_ESCALATED
        (hop,) = (one for one in decision.receipt.hops if one.step == "reasoner")
        assert (hop.zone, hop.redacted) == ("external", True)
        guard = next(step for step in decision.steps if step.name == "guard")
        (segment,) = guard.signal.screening.redacted_segments
        wires = recorder.of_text[segment.text]
        assert wires
        spans = [one.original_span for one in segment.placeholders]
        for value in {text[span.start : span.end] for span in spans}:
            found += 1
            # a guard may take a word for a name that the prompt has of its own
            if any(times(value, wire) > times(value, own_words) for wire in wires):
                leaked.append((value, segment.text))
        # the placeholders are reversible: the model's answer has the values again
        assert decision.answer.text == text.strip()
    assert len(recorder.bodies) == len(every) > 2500
    assert found > 2000
    assert leaked == []
