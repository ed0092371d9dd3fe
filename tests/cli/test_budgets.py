"""What `slmesh budgets show` tells."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from slmesh.cli.app import app


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMESH_STATE_DIR", str(tmp_path / "state"))


def show(*arguments):
    return CliRunner().invoke(app, ["budgets", "show", *arguments])


def test_the_budgets_that_come_along_are_shown_with_the_prices():
    result = show()
    assert result.exit_code == 0, result.output
    assert "tenant:default" in result.output
    assert "$10.000000" in result.output
    assert "every other tenant has no budget" in result.output
    assert "$0.150000" in result.output


def test_a_file_of_ones_own_stands_in_their_place(tmp_path, monkeypatch):
    file = tmp_path / "budgets.yaml"
    file.write_text('tenants: {"*": {requests: 7}}\nflows: {support: {tokens: 1000}}')
    monkeypatch.setenv("SLMESH_BUDGETS", str(file))
    found = json.loads(show("--json").output)
    assert found["file"] == str(file)
    assert found["budgets"]["tenant:*"]["requests"] == 7
    assert found["budgets"]["flow:support"]["tokens"] == 1000
    assert found["prices"]["reasoner"]["output_usd_micros_per_mtok"] == 600_000
