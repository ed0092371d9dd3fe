"""``slmesh escalation`` as a user runs it."""

from __future__ import annotations

import json
from functools import partial
from xml.etree import ElementTree

import pytest
from tests.evaluation.samples import write_rows
from tests.services import run_slmesh, write_service


@pytest.fixture
def escalation(tmp_path):
    write_service(tmp_path / "services", "echo")
    rows = [
        {"text": f"refund number {i}", "label": "refund" if i % 9 else "card"} for i in range(90)
    ]
    write_rows(tmp_path / "validation.jsonl", rows)
    write_rows(tmp_path / "traffic_test.jsonl", rows[:40])

    services = str(tmp_path / "services")
    return partial(run_slmesh, "escalation", folder=tmp_path, SLMESH_SERVICE_PATH=services)


SAVED = ("saved", "echo", "--data", "traffic_test.jsonl", "--validation")


def test_what_is_chosen_on_one_file_is_measured_on_the_other(escalation, tmp_path):
    chosen = ("validation.jsonl", "--validation-split", "all", "--target-precision", "0.7")
    done = escalation(*SAVED, *chosen, "--plot", "curve.svg", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    (row,) = figures["rows"]
    assert figures["n"] == {"validation": 90, "test": 40}
    assert row["validation"]["precision"] == pytest.approx(80 / 90)
    assert row["test"]["removed"] == 1.0
    assert row["test"]["precision"] == pytest.approx(35 / 40)
    assert row["test"]["least_precision"] < row["test"]["precision"]
    ElementTree.parse(tmp_path / "curve.svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("traffic_test.jsonl",), "marked as test data", id="chosen-on-test-data"),
        pytest.param(
            ("validation.jsonl", "--validation-split", "all", "--target-precision", "0.99"),
            "no threshold reaches a precision of 0.99",
            id="out-of-reach",
        ),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(escalation, arguments, message):
    done = escalation(*SAVED, *arguments)
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_cached_answers_without_their_columns_are_named(escalation):
    done = escalation("difficulty", "--data", "validation.jsonl")
    assert done.returncode == 1
    assert "line 1: there is no column 'prompt'" in done.stderr.replace("\n", " ")
