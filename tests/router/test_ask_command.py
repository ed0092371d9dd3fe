"""`slmesh ask --stream` against a running router: what is printed while a request runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest
from typer.testing import CliRunner

from slmesh.cli.app import app
from slmesh.mesh.errors import MeshError

STREAM = ("ask", "--flow", "desk", "--stream")


@pytest.fixture
async def mesh(mesh, monkeypatch):
    """Let commands find the mesh."""
    for name, value in environment_of(mesh).items():
        monkeypatch.setenv(name, value)
    return mesh


def environment_of(mesh):
    address = f"127.0.0.1:{mesh.router.port}"
    return mesh.settings.to_environment() | {"SLMESH_ROUTER_ADDRESS": address}


async def ask(*arguments):
    """Run the command in a thread, as it has an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [*STREAM, *arguments])
    if isinstance(result.exception, MeshError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_signals_come_a_line_each_then_the_answer_once_then_the_decision(mesh):
    output = await ask("unsure, write to jo@example.com")
    lines = output.splitlines()
    assert lines[0].startswith("guard: email (guard 1.0/rules")
    assert {line.partition(":")[0] for line in lines[1:4]} == {"intent", "entities", "triage"}
    assert lines[4].strip() == "You wrote: unsure, write to jo@example.com"
    assert output.count("You wrote:") == 1
    assert lines[5].startswith("path escalated, answered by reasoner")
    assert "INTENT_UNCERTAIN" in output
    assert "paths not taken" in output


async def test_text_that_is_not_the_answer_is_followed_by_the_answer(mesh):
    assert "Later." in (await ask("unsure reasoner:cut")).splitlines()


async def test_json_is_one_event_a_line(mesh):
    events = [json.loads(line) for line in (await ask("unsure about this", "--json")).splitlines()]
    assert [next(iter(event)) for event in events[:4]] == ["signal"] * 4
    text = "".join(event.get("text_delta", "") for event in events)
    (decision,) = [event["decision"] for event in events if "decision" in event]
    assert events[-1] == {"decision": decision}
    assert text.strip() == decision["answer"]["text"] == "You wrote: unsure about this"


async def test_services_of_this_process_stream_too(mesh):
    output = await ask("when does my card arrive", "--local")
    assert output.splitlines()[4] == "It is on its way."


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(("x", "--flow", "disk"), "FLOW_NOT_FOUND", id="flow"),
        pytest.param(("",), "FIELD_REQUIRED", id="no-text"),
        pytest.param(("x", "--address", "127.0.0.1:1"), "SERVICE_UNAVAILABLE", id="mesh-is-down"),
    ],
)
async def test_a_mistake_is_told_as_by_every_command(mesh, arguments, reason):
    with pytest.raises(MeshError) as caught:
        await ask(*arguments)
    assert caught.value.reason == reason


async def test_lines_come_at_once_and_an_interrupt_cancels_the_call(mesh):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slmesh.cli", *STREAM, "unsure reasoner:hang", "--json",
        env=os.environ | environment_of(mesh),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # tests that run in the background ignore it, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    reasoner = mesh.ingress.model("reasoner")
    async with asyncio.timeout(45):  # before the reasoner's own time is over
        first = json.loads(await process.stdout.readline())
        while not reasoner.running:
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        while reasoner.running:
            await asyncio.sleep(0.02)
    assert first["signal"]["step"] == "guard"
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert reasoner.cancelled == 1
