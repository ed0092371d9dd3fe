"""`slmesh policy`: check it, try it against a table, explain a decision, measure what leaks."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from slmesh.cli.app import app
from slmesh.mesh.errors import FailedPrecondition

CLOSED = '@id("no-direct-calls")\nforbid (principal is Direct, action, resource);\n'


@pytest.fixture
def policy_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMESH_POLICY_PATH", str(tmp_path))
    monkeypatch.setenv("SLMESH_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["policy", *arguments])


def test_validate_lists_the_rules_with_their_places(policy_folder):
    (policy_folder / "closed.cedar").write_text("// one line\n" + CLOSED)
    result = run("validate", "--json")
    assert result.exit_code == 0, result.output
    rules = [json.loads(line) for line in result.stdout.splitlines()]
    assert {
        "rule": "no-direct-calls",
        "file": str(policy_folder / "closed.cedar"),
        "line": 2,
    } in rules
    shown = run("validate")
    assert "forbid" in shown.output
    assert "every tenant is served" in shown.output


def test_validate_tells_what_the_policy_means_for_the_flows(policy_folder, monkeypatch):
    monkeypatch.setenv("SLMESH_REASONER_BASE_URL", "https://models.example/v1")
    monkeypatch.setenv("SLMESH_REASONER_MODEL", "m")
    rows = [line.split() for line in run("validate").output.splitlines()]
    support = {row[3]: row[5:] for row in rows if row[:1] == ["support"]}
    assert support["intent"] == ["cluster", "as", "it", "is"]
    assert support["reasoner"] == ["external", "redacted"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("permit (", r"x\.cedar:1: not a policy", id="syntax"),
        pytest.param(
            '@id("a")\nforbid (principal == Flow::"suport", action, resource);',
            r"x\.cedar:1: no flow 'suport' here; did you mean 'support'",
            id="flow",
        ),
        pytest.param(
            CLOSED + '@id("a") forbid (principal, action, resource == Model::"reasonr");',
            r"x\.cedar:3: no service 'reasonr' here; did you mean 'reasoner'",
            id="service",
        ),
    ],
)
def test_validate_refuses_what_guards_nothing(policy_folder, text, message):
    (policy_folder / "x.cedar").write_text(text)
    result = run("validate")
    assert result.exit_code != 0
    assert isinstance(result.exception, FailedPrecondition)
    assert re.search(message, result.exception.message)


def test_the_shipped_table_holds(policy_folder):
    result = run("test", "--json")
    assert result.exit_code == 0, result.output
    assert all(not json.loads(line)["problem"] for line in result.stdout.splitlines())


def test_a_rule_that_changes_an_outcome_fails_the_table(policy_folder):
    (policy_folder / "closed.cedar").write_text(CLOSED)
    result = run("test", "--json")
    assert result.exit_code == 1
    wrong = [row for row in map(json.loads, result.stdout.splitlines()) if row["problem"]]
    assert [(row["caller"], row["rule"]) for row in wrong] == [("direct", "no-direct-calls")]


def test_a_table_that_names_no_case_is_no_test(policy_folder):
    (policy_folder / "empty.yaml").write_text("cases: []\n")
    assert run("test", str(policy_folder / "empty.yaml")).exit_code == 1


def test_a_wrong_table_is_refused_with_file_and_line(policy_folder):
    table = policy_folder / "t.yaml"
    table.write_text("cases:\n  - {classes: [public], zone: moon, expect: allow}\n")
    result = run("test", str(table))
    assert isinstance(result.exception, FailedPrecondition)
    assert "t.yaml:2: no zone 'moon'" in result.exception.message


def test_leaks_counts_the_characters_that_stay(policy_folder):
    data = policy_folder / "marked.jsonl"
    text = "Mail amelia@example.com or see Zzyx."
    spans = [
        {"label": "EMAIL_ADDRESS", "start": 5, "end": 23, "text": "amelia@example.com"},
        {"label": "PERSON", "start": 31, "end": 35, "text": "Zzyx"},
    ]
    row = {"id": "1", "text": text, "masked": "", "template_id": 1, "spans": spans}
    data.write_text(json.dumps(row) + "\n")
    result = run("leaks", str(data), "--split", "all", "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["groups"]["patterned"] == {
        "characters": 18, "left": 0, "values": 1, "whole": 0, "share": 0.0,
    }  # fmt: skip
    assert figures["kinds"]["person"]["characters"] == 4
    assert figures["found_left"] == 0


def test_the_bench_prints_what_a_hop_costs(policy_folder):
    result = CliRunner().invoke(app, ["bench", "policy", "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert 0 < figures["departure_us"] < figures["hop_us"]
    assert figures["target_us"] == 50.0
