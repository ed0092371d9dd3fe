"""A bundle that is there already, measured again and calibrated anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.factory.own_file import OUTSIDE, rows_of_topics, write_csv

from slmesh.factory.new_model import Order, make_service
from slmesh.factory.table import TableRow
from slmesh.mesh.bundle import load_bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, NotFound
from slmesh.training.shipped import calibrate, write_card_again
from slmesh.weights.fetch import silent

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models with a classifier and a scorer."""
    home = tmp_path_factory.mktemp("shipped")
    rows = [*rows_of_topics(), *((text, "none") for text in OUTSIDE)]
    file = write_csv(home / "my.csv", rows)
    for name, contract, values in (
        ("topics", "classify", {"outside_label": "none"}),
        ("mood", "score", {"levels": ("none", "account", "delivery", "refund", "praise")}),
    ):
        order = Order(name, contract, file, home / "services", backbone="", **values)
        make_service(order, home / "cache", silent, lambda findings: None)
    return home / "services" / "models"


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "models"))


@pytest.mark.parametrize("name", ["topics", "mood"])
def test_a_calibrated_bundle_is_the_next_version_with_the_same_weights(models, name, tmp_path):
    before = load_bundle(models / name / "0.1.0")
    after = calibrate(name, models, models, tmp_path / "cache")
    assert after.version == "0.1.1"
    assert (
        after.content["files"]["weights.safetensors"]
        == (before.content["files"]["weights.safetensors"])
    )
    assert "Calibrated anew" in (after.folder / "card.md").read_text()


def test_calibration_on_the_same_rows_changes_next_to_nothing(models, tmp_path):
    before = load_bundle(models / "topics" / "0.1.0")
    after = calibrate("topics", models, models, tmp_path / "cache")
    assert after.thresholds == pytest.approx(dict(before.thresholds), abs=0.02)
    assert after.calibration["linear"]["temperature"] == pytest.approx(
        before.calibration["linear"]["temperature"]
    )


def test_rows_of_ones_own_set_the_temperature(models, tmp_path):
    draw = np.random.default_rng(1)
    labels = ["delivery", "refund", "account", "praise"]
    rows = [
        TableRow(i, text, label if draw.random() < 0.6 else str(draw.choice(labels)))
        for i, (text, label) in enumerate(rows_of_topics())
    ]
    before = load_bundle(models / "topics" / "0.1.0")
    after = calibrate("topics", models, models, tmp_path / "cache", own=rows)
    hotter = after.calibration["linear"]["temperature"]
    assert hotter > 2 * before.calibration["linear"]["temperature"]


def test_a_row_with_a_label_the_model_does_not_know_is_named(models, tmp_path):
    own = [TableRow(7, "where is it", "delivry")]
    with pytest.raises(InvalidArgument, match=r"row 7.*did you mean 'delivery'"):
        calibrate("topics", models, models, tmp_path / "cache", own=own)


@pytest.mark.parametrize("name", ["topics", "mood"])
def test_a_card_is_written_again_as_it_was(models, name, tmp_path):
    folder = models / name / "0.1.0"
    before = (folder / "card.md").read_text().partition("| p50")[0]
    again = write_card_again(name, models, models, tmp_path / "cache")
    assert again.folder == folder
    assert (folder / "card.md").read_text().partition("| p50")[0] == before


def test_a_bundle_that_says_nothing_of_its_method_has_it_in_its_card(models, tmp_path):
    folder = models / "topics" / "0.1.0"
    text = (folder / "bundle.json").read_text()
    assert json.loads(text)["method"]
    content = load_bundle(folder)
    from slmesh.mesh.bundle import write_bundle

    older = {k: v for k, v in content.content.items() if k not in ("method", "files", "digest")}
    files = {n: (folder / n).read_text() for n in ("card.md", "golden.jsonl")}
    write_bundle(folder, older, content.tensors(), files)
    again = write_card_again("topics", models, models, tmp_path / "cache")
    assert again.content["method"] == json.loads(text)["method"]


def test_a_model_of_another_kind_is_refused(models, tmp_path):
    repository = Path(__file__).parents[2] / "models"
    shutil.copytree(repository / "entities", models / "entities")
    with pytest.raises(FailedPrecondition, match="slmesh train"):
        calibrate("entities", models, models, tmp_path / "cache")


def test_an_unknown_model_is_answered_with_the_nearest(models, tmp_path):
    with pytest.raises(NotFound, match="did you mean 'topics'"):
        write_card_again("topix", models, models, tmp_path / "cache")


@pytest.mark.parametrize("name", ["guard", "passages"])
def test_data_that_is_not_there_names_the_option(name: str, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="--data-dir"):
        write_card_again(name, Path(__file__).parents[2] / "models", tmp_path, tmp_path)
