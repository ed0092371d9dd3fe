"""The tagger's training on a handful of sentences written here."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the extra 'train'")

from slmesh.slm.entities.tagger import LinearTagger
from slmesh.training.tagging import TAGS, calibrated, sentence_tags, trained
from slmesh.training.tagging_data import (
    LABELS,
    MarkedText,
    bucket,
    filled,
    read_rows,
    split_names,
    wnut17,
)
from slmesh.training.tagging_report import calibration_error

_RECIPE = {
    "seed": 3,
    "numbers": {
        "bits": 12,
        "epochs": 6,
        "batch": 8,
        "rate": 0.3,
        "decay": 0.001,
        "dropped": 0.1,
        "outside_penalty": 0.0,
    },
}
_NAMES = {
    "first_names": ["Anna", "Omar", "Mei", "Lena", "Ravi"],
    "last_names": ["Smith", "Khan", "Costa", "Berg", "Rao"],
    "places": ["Paris", "Leeds", "Lima", "Oslo", "Cairo"],
    "organisations": ["Tesco", "Lidl", "Acme Ltd", "Shell", "Sky"],
}
_SENTENCES = [
    "please send it to {person}",
    "my name is {person}",
    "I live in {place}",
    "we flew to {place} last year",
    "I was charged by {organisation}",
    "cancel my {organisation} subscription",
    "where is my card",
]


def _texts(seed: int) -> list[MarkedText]:
    return list(filled(_SENTENCES, _NAMES, 12, random.Random(seed), "written"))


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return trained(_texts(1), [], _RECIPE)


def test_a_tagger_learns_the_sentences_it_is_shown(tensors):
    plain = {label: {"slope": 1.0, "intercept": 0.0} for label in LABELS}
    tagger = LinearTagger(TAGS, tensors, plain)
    texts = _texts(2)
    right = 0
    for marked, spans in zip(texts, tagger.tag([row.text for row in texts]), strict=True):
        right += {(s.label, s.start, s.end) for s in spans} == set(marked.spans)
    assert right / len(texts) > 0.9


def test_the_same_seed_trains_the_same_weights(tensors):
    again = trained(_texts(1), [], _RECIPE)
    assert all((again[name] == tensors[name]).all() for name in tensors)


def test_weights_are_stored_in_eight_bits(tensors):
    assert tensors["weights"].dtype == np.int8
    assert np.abs(tensors["weights"].astype(int)).max() == 127


def test_calibration_needs_right_and_wrong_spans(tensors):
    with pytest.raises(ValueError, match="one outcome only"):
        calibrated(tensors, [MarkedText("where is my card", (), "written")])


def test_calibrated_probabilities_match_the_share_of_right_spans(tensors):
    # Half of the texts are marked wrongly on purpose: certain spans are then right half the time.
    texts = [
        MarkedText(row.text, row.spans if index % 2 else (), row.source)
        for index, row in enumerate(_texts(4))
    ]
    tagger = LinearTagger(TAGS, tensors, calibrated(tensors, texts))
    assert calibration_error(tagger, texts) < 0.1


def test_tags_mark_the_first_token_of_a_span():
    text = "to Anna Smith in Leeds"
    marked = MarkedText(text, (("person", 3, 13), ("place", 17, 22)), "written")
    ((_, tags),) = sentence_tags(marked)
    assert [TAGS[tag] for tag in tags] == ["O", "B-person", "I-person", "O", "B-place"]


def test_filled_slots_are_marked_where_they_stand():
    texts = list(filled(["{first_name} {last_name} of {place}"], _NAMES, 5, random.Random(1), "x"))
    for marked in texts:
        (person, start, end), (place, first, last) = marked.spans
        assert (person, place) == ("person", "place")
        assert marked.text == f"{marked.text[start:end]} of {marked.text[first:last]}"


def test_names_for_validation_are_not_among_those_for_training():
    training, validation = split_names(_NAMES)
    for kind in _NAMES:
        assert set(training[kind]).isdisjoint(validation[kind])
        assert sorted(training[kind] + validation[kind]) == sorted(_NAMES[kind])


def test_the_bucket_of_a_text_ignores_case_and_spacing():
    assert bucket("Hello  There") == bucket("hello there\n")
    assert 0 <= bucket("x") <= 9


def test_a_broken_line_of_a_data_set_is_named(tmp_path):
    path = tmp_path / "all.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ValueError, match="line 2"):
        list(read_rows(path))


def test_tags_of_words_become_spans_of_the_joined_text(tmp_path):
    folder = tmp_path / "wnut17"
    folder.mkdir()
    row = {"tokens": ["in", "New", "York", "!"], "tags": ["O", "B-location", "I-location", "O"]}
    with gzip.open(folder / "train.jsonl.gz", "wt") as file:
        file.write(json.dumps(row) + "\n")
    (folder / "dev.jsonl").write_text("")
    ((place, marked),) = wnut17(tmp_path)
    assert place == 0
    assert [marked.text[start:end] for _, start, end in marked.spans] == ["New York"]
