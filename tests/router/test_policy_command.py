"""`slmesh policy explain` of a decision of a running router."""

from __future__ import annotations

import asyncio
import json

from typer.testing import CliRunner

from slmesh.cli.app import app


async def invoke(mesh, *arguments):
    """Run a command in a thread, as it has an event loop of its own."""
    address = f"127.0.0.1:{mesh.router.port}"
    command = [*arguments, "--address", address]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def test_policy_explain_tells_rule_and_text_of_the_rule(mesh, monkeypatch, tmp_path):
    monkeypatch.setenv("SLMESH_STATE_DIR", str(tmp_path / "client"))
    decision = await mesh.route("unsure me@example.org")
    result = await invoke(mesh, "policy", "explain", decision.decision_id)
    assert result.exit_code == 0, result.output
    assert "flows-inside" in result.output
    assert "default.cedar:" in result.output
    assert "permit (principal is Flow" in result.output
    as_json = await invoke(mesh, "policy", "explain", decision.decision_id, "--json")
    receipt = json.loads(as_json.stdout)
    assert [hop["step"] for hop in receipt["hops"]][-1] == "reasoner"
    assert receipt["hops"][-1]["redacted"] is True


async def test_explain_shows_the_receipt_too(mesh, monkeypatch, tmp_path):
    monkeypatch.setenv("SLMESH_STATE_DIR", str(tmp_path / "client"))
    decision = await mesh.route("arrive")
    result = await invoke(mesh, "explain", decision.decision_id)
    assert result.exit_code == 0, result.output
    assert "data, under policy" in result.output
    assert "flows-inside" in result.output


async def test_another_policy_than_the_decisions_is_told(mesh, monkeypatch, tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "x.cedar").write_text(
        '@id("x") forbid (principal is Direct, action, resource);'
    )
    monkeypatch.setenv("SLMESH_POLICY_PATH", str(tmp_path / "policy"))
    decision = await mesh.route("arrive")
    result = await invoke(mesh, "policy", "explain", decision.decision_id)
    assert "the policy of this folder is another one" in result.output
