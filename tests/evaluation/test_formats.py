"""A file's format is told by its columns; what cannot be told is explained."""

from __future__ import annotations

import pytest
from tests.evaluation.samples import SAMPLES, sample_file, write_rows

from slmesh.evaluation.formats import FORMATS, open_file, split_of
from slmesh.evaluation.splits import OwnSplits, belongs, bucket
from slmesh.mesh.errors import InvalidArgument


def test_every_format_has_a_sample():
    assert SAMPLES.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_by_its_columns(tmp_path, name):
    assert open_file(sample_file(tmp_path, name)).format.name == name


def test_further_columns_do_no_harm(tmp_path):
    row = {**SAMPLES["banking77"][0], "note": "ours"}
    assert open_file(write_rows(tmp_path / "a.jsonl", [row])).format.name == "banking77"


def test_unknown_columns_are_named_with_the_nearest_format(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "x", "intents": "y", "domain": "z"}])
    with pytest.raises(InvalidArgument) as caught:
        open_file(path)
    message = caught.value.message
    assert "no known format has the columns domain, intents, text" in message
    assert "the nearest is clinc150, which also has intent" in message
    assert "--format, one of: clinc150, banking77" in message


def test_a_misspelt_format_suggests_the_nearest(tmp_path):
    with pytest.raises(InvalidArgument, match="did you mean 'banking77'"):
        open_file(sample_file(tmp_path, "banking77"), "banking")


def test_a_format_by_name_must_have_its_columns(tmp_path):
    with pytest.raises(InvalidArgument, match="here is no domain"):
        open_file(sample_file(tmp_path, "banking77"), "clinc150")


def test_a_format_by_name_stands_above_the_columns(tmp_path):
    assert open_file(sample_file(tmp_path, "snips"), "hwu64").format.name == "hwu64"


BUCKETS = [5, 1, 3]
"""Of three groups, worked out once."""


def groups(number: int, count: int = 3) -> list[str]:
    """Return groups of one bucket."""
    return [name for name in map(str, range(200)) if bucket(name) == number][:count]


@pytest.mark.parametrize(
    ("number", "own", "split"),
    [
        pytest.param(0, OwnSplits.NONE, "train", id="first"),
        pytest.param(6, OwnSplits.NONE, "train", id="last-of-train"),
        pytest.param(7, OwnSplits.NONE, "validation", id="validation"),
        pytest.param(8, OwnSplits.NONE, "test", id="test"),
        pytest.param(9, OwnSplits.NONE, "test", id="last"),
        pytest.param(7, OwnSplits.NO_VALIDATION, "validation", id="validation-of-train"),
        pytest.param(9, OwnSplits.NO_VALIDATION, "train", id="a-train-file-has-no-test"),
        pytest.param(0, OwnSplits.TEST_ONLY, "test", id="test-only"),
    ],
)
def test_a_group_is_in_one_split(number, own, split):
    for group in groups(number):
        found = [s for s in ("train", "validation", "test") if belongs(group, s, own)]
        assert found == [split]
        assert belongs(group, "all", own)


def test_rows_of_a_group_stay_together(tmp_path):
    row = SAMPLES["medquad"][0]
    rows = [row | {"focus": focus, "question": f"{n}?"} for focus in "abcdefghij" for n in range(3)]
    file = open_file(write_rows(tmp_path / "m.jsonl", rows))
    parts = [split_of(file, split) for split in ("train", "validation", "test")]
    focuses = [{row.values["focus"] for row in part} for part in parts]
    assert sum(map(len, parts)) == 30
    assert len(set.union(*focuses)) == sum(map(len, focuses))


def test_buckets_never_move():
    # rows seen in training must stay out of later evaluations
    assert [bucket(group) for group in ("0", "sprain", "how warm is it")] == BUCKETS


def test_a_row_that_names_its_split_is_believed(tmp_path):
    file = open_file(sample_file(tmp_path, "urgency"))
    assert [row.values["text"] for row in split_of(file, "validation")] == ["now!"]


def test_knowledge_belongs_to_every_split(tmp_path):
    file = open_file(sample_file(tmp_path, "dstc11_knowledge"))
    assert len(split_of(file, "validation")) == 3


@pytest.mark.parametrize(
    ("name", "split"), [("clinc150", "validation"), ("banking77", "test"), ("goemotions", "train")]
)
def test_a_split_that_has_a_file_of_its_own_is_not_cut_from_another(tmp_path, name, split):
    with pytest.raises(InvalidArgument, match=f"comes with a file for its {split} split"):
        split_of(open_file(sample_file(tmp_path, name)), split)
