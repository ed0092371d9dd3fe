"""``slmesh eval`` as a user runs it."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from tests.evaluation.samples import write_rows
from tests.services import run_slmesh, write_service

REPOSITORY = Path(__file__).parents[2]
ROWS = [{"text": "refund please", "label": "refund"}, {"text": "why", "label": "card"}]


@pytest.fixture
def slmesh(tmp_path):
    write_service(tmp_path / "services", "echo")
    write_rows(tmp_path / "a.jsonl.gz", ROWS)
    write_rows(tmp_path / "b.jsonl", ROWS[:1])

    services = str(tmp_path / "services")
    return partial(run_slmesh, "eval", folder=tmp_path, SLMESH_SERVICE_PATH=services)


def test_json_is_one_object_alone_on_standard_output(slmesh):
    done = slmesh("echo", "--data", "a.jsonl.gz", "--data", "b.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert figures["n"] == 3
    assert figures["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_people_get_a_table(slmesh):
    done = slmesh("echo", "--data", "a.jsonl.gz", "b.jsonl")
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert "0.6667" in done.stdout


def test_a_model_that_no_service_uses_is_measured_too(slmesh, tmp_path):
    shipped = max((REPOSITORY / "models" / "intent").glob("*/bundle.json"))
    shutil.copytree(shipped.parent, tmp_path / "services" / "topics" / "0.1.0")
    golden = str(shipped.parent / "golden.jsonl")
    done = slmesh("topics", "--data", golden, "--tier", "linear", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["service"] == "topics"
    assert figures["accuracy"] > 0.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("ecko", "--data", "b.jsonl"), "did you mean 'echo'", id="service"),
        pytest.param(("echo", "--data", "c.jsonl"), "c.jsonl cannot be read", id="file"),
        pytest.param(
            ("echo", "--data", "b.jsonl", "--address", "x:1", "--local"),
            "--address goes with neither",
            id="two-places",
        ),
        pytest.param(
            ("echo", "--data", "b.jsonl", "--address", "127.0.0.1:1"), "Is the mesh up?", id="down"
        ),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(slmesh, arguments, message):
    done = slmesh(*arguments)
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_mesh_that_is_down_has_no_memory_to_measure(tmp_path):
    done = run_slmesh("bench", "memory", "--json", folder=tmp_path)
    assert done.returncode == 1
    assert "no mesh is up to measure" in done.stderr
