"""A recipe with neighbours: its bundle holds the training texts, and they vote when it serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.training.test_make import INSIDE, make, write_topics

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.mesh.bundle import Bundle
from slmesh.tiers.answering import Classifying
from slmesh.tiers.encoder import load_encoder
from slmesh.training.rows import validates
from slmesh.training.shipped import calibrate

pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("voting")
    write_topics(home, "voting")
    path = home / "models" / "voting" / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["encoder"]["neighbours"] = {"width": 0.03, "share": 0.5}
    path.write_text(yaml.safe_dump(recipe))
    return home


@pytest.fixture(scope="module")
def voting(home: Path) -> Bundle:
    return make(home, "voting")


def test_every_training_text_is_in_the_bundle_under_its_label(voting: Bundle) -> None:
    tensors = voting.tensors()
    trained = [row["topic"] for row in INSIDE if not validates(row["text"])]
    counts = [trained.count(label) for label in voting.labels]
    assert tensors["encoder.neighbour_counts"].tolist() == counts
    assert tensors["encoder.neighbours"].shape[1] == len(trained)
    assert tensors["encoder.neighbours"].dtype == np.int8
    assert "0.5 times the votes of the training texts" in (voting.folder / "card.md").read_text()


def test_the_votes_change_what_the_encoder_answers(voting: Bundle, home: Path) -> None:
    requests = [ClassifyRequest(text=row["text"]) for row in INSIDE]
    encoder = load_encoder(home / "cache", voting.backbone["digest"])
    found = Classifying(voting, encoder, "voting", "encoder").answer(requests)
    numbers = dict(voting.calibration)
    numbers["encoder"] = numbers["encoder"] | {"neighbour_share": 0.0}
    silent = replace(voting, content={**voting.content, "calibration": numbers})
    without = Classifying(silent, encoder, "voting", "encoder").answer(requests)
    assert all(a != b for a, b in zip(found, without, strict=True))


def test_a_calibrated_bundle_keeps_its_neighbours(voting: Bundle, home: Path) -> None:
    again = calibrate("voting", home / "models", home / "data", home / "cache")
    for name in ("neighbour_width", "neighbour_share"):
        assert again.calibration["encoder"][name] == voting.calibration["encoder"][name]
    before, after = voting.tensors(), again.tensors()
    np.testing.assert_array_equal(after["encoder.neighbours"], before["encoder.neighbours"])
