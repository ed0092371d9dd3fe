"""The command line, run as a user runs it: in a process, with services in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.services import run_slmesh, write_service


@pytest.fixture
def slmesh(tmp_path: Path):
    write_service(tmp_path / "services", "echo")

    def run(*arguments: str, text: str | None = None, **environment: str):
        environment = {
            "SLMESH_SERVICE_PATH": str(tmp_path / "services"),
            "SLMESH_STATE_DIR": str(tmp_path / "state"),
            "SLMESH_ROUTER_ADDRESS": "127.0.0.1:1",
            "SLMESH_ROUTER_PORT": "1",
            "SLMESH_INGRESS_PORT": "1",
        } | environment
        return run_slmesh(*arguments, folder=tmp_path, text=text, **environment)

    return run


def test_one_text_is_answered_locally(slmesh):
    done = slmesh("classify", "echo", "hello there", "--local")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hello 1.00")


def test_json_is_one_object_with_the_names_of_the_contract(slmesh):
    done = slmesh("classify", "echo", "hello there", "--local", "--json")
    answer = json.loads(done.stdout)
    assert answer["labels"]["labels"][0] == {"name": "hello", "probability": 1.0}
    assert answer["provenance"]["service"] == "echo"


def test_a_text_can_come_from_standard_input(slmesh):
    assert slmesh("classify", "echo", "-", "--local", text="piped in\n").stdout.startswith("piped")


def test_a_file_is_answered_in_order_with_errors_in_their_place(slmesh, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "one"}\n{"text": "refuse"}\n\n{"text": "three", "top_k": 1}\n')
    done = slmesh("classify", "echo", "--file", str(rows), "--local", "--json")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [next(iter(result)) for result in results] == ["response", "error", "response"]
    assert done.returncode == 1
    assert "3 texts" in done.stderr
    assert "1 failed" in done.stderr


WRONG = [
    pytest.param(("clasify", "echo", "x"), 2, "Did you mean 'classify'", id="command"),
    pytest.param(("classify", "ecko", "x", "--local"), 1, "did you mean 'echo'", id="service"),
    pytest.param(("extract", "echo", "x"), 1, "use `slmesh classify echo`", id="contract"),
    pytest.param(("classify", "echo", "--local"), 1, "no text", id="no-text"),
    pytest.param(("classify", "echo", "x"), 1, "Is the mesh up?", id="mesh-is-down"),
    pytest.param(("models", "verify", "intnt"), 1, "did you mean 'intent'", id="model"),
    pytest.param(("flows", "show", "suport"), 1, "did you mean 'support'", id="flow"),
    pytest.param(("eval", "ecko", "--data", "x.jsonl"), 1, "did you mean 'echo'", id="eval"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), WRONG)
def test_a_mistake_is_explained_without_a_traceback(slmesh, arguments, status, message):
    done = slmesh(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json\n", "line 1"),
        ('{"text": "a"}\n[1]\n', "line 2: not an object"),
        ("", "has no rows"),
        ('{"text": "a", "top_k": "many"}\n', "row 1"),
    ],
)
def test_a_bad_file_is_explained_with_its_line(slmesh, tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    done = slmesh("classify", "echo", "--file", str(path), "--local")
    assert done.returncode == 1
    assert message in done.stderr


def test_a_misspelt_setting_is_explained(slmesh):
    done = slmesh("classify", "echo", "x", "--local", SLMESH_ROUTER_PRT="1")
    assert done.returncode == 1
    assert "did you mean 'SLMESH_ROUTER_PORT'" in done.stderr


def test_status_of_a_mesh_that_is_down_says_so(slmesh):
    done = slmesh("status", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["up"] is False
    assert {service["state"] for service in found["services"]} == {"down"}


def test_the_models_that_ship_are_intact(slmesh):
    done = slmesh("models", "verify", "--json")
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {"intent", "assistant", "entities", "guard", "passages", "triage"} <= {
        outcome["model"] for outcome in outcomes
    }


def test_a_changed_model_is_refused_with_both_digests(slmesh, tmp_path):
    import shutil

    from slmesh.mesh.bundle import find_bundle
    from slmesh.mesh.catalog import bundle_folders
    from slmesh.mesh.settings import load_settings

    source = find_bundle("intent", bundle_folders(load_settings({})))
    target = tmp_path / "services" / "intent" / source.name
    shutil.copytree(source, target)
    (target / "card.md").write_text("changed")
    done = slmesh("models", "verify", "intent")
    assert done.returncode == 1
    assert "card.md was changed: expected sha256:" in done.stdout.replace("\n", "")


def test_the_flows_are_listed(slmesh):
    done = slmesh("flows", "list", "--json")
    assert {json.loads(line)["flow"] for line in done.stdout.splitlines()} >= {"support", "general"}
