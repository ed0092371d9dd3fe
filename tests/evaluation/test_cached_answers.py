"""Cached answers are read as RouteLLM's evaluation reads them."""

from __future__ import annotations

import pytest
from tests.evaluation.samples import write_rows

from slmesh.evaluation.cached_answers import read_cached_answers
from slmesh.mesh.errors import InvalidArgument

ROW = {"prompt": "How many?", "weak_correct": False, "strong_correct": True}


def test_contaminated_questions_are_left_out(tmp_path):
    rows = [ROW | {"contaminated": False}, ROW | {"contaminated": True}, ROW | {"prompt": "Who?"}]
    write_rows(tmp_path / "a.jsonl", rows)
    write_rows(tmp_path / "b.jsonl.gz", [ROW | {"weak_correct": True, "strong_correct": False}])
    found = read_cached_answers([tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"])
    assert found.prompts == ["How many?", "Who?", "How many?"]
    assert found.gains.tolist() == [1.0, 1.0, -1.0]


def test_prompts_that_differ_in_spaces_and_case_belong_together(tmp_path):
    write_rows(tmp_path / "a.jsonl", [ROW, ROW | {"prompt": "how  MANY?"}])
    first, second = read_cached_answers([tmp_path / "a.jsonl"]).groups
    assert first == second


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"prompt": ""}, "line 2: the column 'prompt' is empty", id="empty"),
        pytest.param({"weak_correct": 1}, "line 2: .*'weak_correct' must hold true", id="number"),
        pytest.param({"strong_correct": None}, "line 2: .*'strong_correct'", id="null"),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path, change, problem):
    write_rows(tmp_path / "a.jsonl", [ROW, ROW | change])
    with pytest.raises(InvalidArgument, match=problem):
        read_cached_answers([tmp_path / "a.jsonl"])
