"""The JSON Schema says what the reader of flows says."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.router.mesh_services import write_desk

import slmesh.router
from slmesh.router.flow_schema import flow_schema

SHIPPED = sorted((Path(slmesh.router.__file__).parent / "flows").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = flow_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def desk(tmp_path):
    write_desk(tmp_path)
    return yaml.safe_load((tmp_path / "desk.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_flows_are_valid(validator, file):
    validator.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"fallbak": "x"}, "fallbak", id="unknown-key"),
        pytest.param({"latency_budget_ms": "fast"}, "not of type", id="wrong-type"),
        pytest.param({"steps": [{"service": "intent"}]}, "'name' is a required", id="missing"),
        pytest.param(
            {"steps": [{"name": "a", "service": "b", "on_failure": "explode"}]},
            "not one of",
            id="no-such-choice",
        ),
    ],
)
def test_a_wrong_flow_is_not(validator, desk, change, message):
    errors = [error.message for error in validator.iter_errors(desk | change)]
    assert any(message in error for error in errors)


def test_keys_are_described_and_have_their_defaults():
    definitions = flow_schema()["$defs"]
    timeout = definitions["Step"]["properties"]["timeout_ms"]
    assert timeout["default"] == 1000
    assert timeout["description"].startswith("The time the call may take")
    described = definitions["Flow"]["properties"]
    assert all("description" in spec for spec in described.values())
