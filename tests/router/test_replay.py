"""A recorded decision is decided anew with another version of its flow, and what changes is told."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.router.mesh_services import write_desk
from typer.testing import CliRunner

from slmesh.api.route.v1 import route_pb2
from slmesh.cli.app import app
from slmesh.cli.replay import differences
from slmesh.library import Mesh
from slmesh.mesh.errors import FailedPrecondition, MeshError, NotFound
from slmesh.mesh.settings import load_settings


@pytest.fixture
def recorded(mesh_settings, monkeypatch):
    """Return the recorded decision about a text, made by the flow ``desk``."""
    settings = mesh_settings.with_values(
        ledger_url=f"sqlite:///{mesh_settings.state_dir / 'ledger.sqlite3'}"
    )
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)

    async def decide(text):
        async with Mesh.local(settings=load_settings()) as mesh:
            response = await mesh.route(
                route_pb2.RouteRequest(flow="desk", text=text), timeout_s=30
            )
            return response.decision

    return lambda text: asyncio.run(decide(text))


def replay(*arguments):
    result = CliRunner().invoke(app, ["replay", *arguments])
    if isinstance(result.exception, MeshError):
        raise result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("kept", ["redacted", "full"])
def test_the_same_version_changes_nothing(recorded, monkeypatch, kept):
    monkeypatch.setenv("SLMESH_LEDGER_TEXT", kept)
    decision = recorded("arrive, it cost £5")
    assert "nothing changes" in replay(decision.decision_id)


def test_a_redacted_text_changes_what_is_said_of_its_values_only(recorded):
    decision = recorded("arrive, I am ann@x.org")
    changed = json.loads(replay(decision.decision_id, "--json"))["changed"]
    assert set(changed) == {"guard: said", "entities: said"}
    assert "ann" not in json.dumps(changed)


def test_another_version_of_the_flow_is_told_by_what_it_changes(recorded, tmp_path):
    decision = recorded("close")
    assert decision.path == route_pb2.PATH_SMALL
    folder = tmp_path / "other"
    write_desk(folder)
    file = folder / "desk.yaml"
    file.write_text(file.read_text().replace("probability_below: 0.6", "probability_below: 0.8"))
    told = json.loads(replay(decision.decision_id, "--flow-path", str(folder), "--json"))
    changed = told["changed"]
    assert changed["path"] == {"recorded": "small", "replayed": "escalated"}
    assert changed["because"]["replayed"] == "INTENT_UNCERTAIN"
    assert changed["INTENT_UNCERTAIN: intent probability"] == {
        "recorded": "0.700 against 0.6, did not hold",
        "replayed": "0.700 against 0.8, held",
    }
    assert not [what for what in changed if what.startswith("intent:")]
    shown = replay(decision.decision_id, "--flow-path", str(folder))
    assert "escalated" in shown
    assert "redacted text" in shown


def test_a_decision_nobody_recorded_is_not_found(recorded):
    recorded("arrive")
    with pytest.raises(NotFound):
        replay("nothing")


def test_a_decision_without_its_text_cannot_be_decided_anew(recorded, monkeypatch):
    monkeypatch.setenv("SLMESH_LEDGER_TEXT", "none")
    decision = recorded("arrive")
    with pytest.raises(FailedPrecondition) as caught:
        replay(decision.decision_id)
    assert caught.value.reason == "TEXT_NOT_KEPT"


def test_times_and_ids_are_no_difference():
    one, other = route_pb2.ExplainResponse(), route_pb2.ExplainResponse()
    one.decision.decision_id, other.decision.decision_id = "a", "b"
    one.decision.latency.FromMilliseconds(1)
    other.decision.latency.FromMilliseconds(2)
    assert differences(one, other) == []
    other.decision.answer.text = "No."
    assert differences(one, other) == [("answer", "-", "No.")]
