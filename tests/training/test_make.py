"""Training from a recipe to a served bundle, on a tiny random encoder and rows written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.weights.tiny_encoder import write_weights

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.mesh.bundle import Bundle, digest_of, load_bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.service import Resources
from slmesh.tiers.answering import Classifying, Scoring
from slmesh.tiers.encoder import load_encoder
from slmesh.training.make import train
from slmesh.weights.adapter import adapted_digest, adapter_of

pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("onnx")

WORDS = {"fruit": ["apple", "pear", "plum"], "tool": ["saw", "hammer", "drill"]}
INSIDE = [
    {"text": f"{verb} the {word} {place}", "topic": topic}
    for topic, words in WORDS.items()
    for word in words
    for verb in ("take", "buy", "find", "give me")
    for place in ("now", "later", "here", "there", "in the shop")
]
OUTSIDE = [{"text": f"zq{i} xv{i} jj{i * 7}", "topic": "none"} for i in range(60)]
NUMBERS = {
    "linear": {
        "bits": 16,
        "word_sizes": [1, 2],
        "char_sizes": [3],
        "min_count": 1,
        "max_features": 500,
        "inverse_regularisation": 1.0,
        "class_weight": "none",
    },
    "scope": {
        "most_right_answers_lost": 0.05,
        "most_accuracy_lost_by_switch": 0.0,
        "most_outside_let_in_by_switch": 0.0,
    },
}

ENCODER = {"tier": "encoder"}
TUNING = {
    "layers": 1,
    "rank": 4,
    "adapter_dropout": 0.0,
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.005,
    "head_learning_rate": 0.01,
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "outside_share": 0.2,
    "outside_weight": 0.5,
    "averaging": 0.9,
    "head_scale": 8.0,
    "max_tokens": 32,
    "strength": 1.0,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, an encoder, a cache and two recipes."""
    home = tmp_path_factory.mktemp("training")
    write_topics(home, "topics")
    levels = {'"fruit"': "fruit", '"tool"': "tool"}
    scale = file_entry(home, "inside") | {"kind": "hardness", "label": "topic", "levels": levels}
    scales = {"scales": {"hardness": ["fruit", "tool"]}}
    write_recipe(home, "hardness", "score", [scale], {"text": "buy the saw now"}, **scales)
    return home


def write_topics(home: Path, name: str) -> None:
    """Write an encoder, the data and a classifier's recipe into an empty folder."""
    write_weights(home / "encoder")
    (home / "data").mkdir()
    for file, rows in (("inside", INSIDE), ("outside", OUTSIDE)):
        lines = "\n".join(json.dumps(row) for row in rows)
        (home / "data" / f"{file}.jsonl").write_text(lines + "\n")
    inside = file_entry(home, "inside") | {"kind": "in_scope", "label": "topic"}
    outside = file_entry(home, "outside") | {"kind": "out_of_scope"}
    write_recipe(home, name, "classify", [inside, outside], {"text": "buy the saw now"})


def file_entry(home: Path, name: str) -> dict[str, Any]:
    digest = digest_of(home / "data" / f"{name}.jsonl").removeprefix("sha256:")
    return {"path": f"{name}.jsonl", "sha256": digest, "split": "bucket"}


def write_recipe(
    home: Path, name: str, contract: str, files: list[Any], golden: Any, **more: Any
) -> None:
    folder = home / "models" / name
    folder.mkdir(parents=True)
    recipe = {
        "name": name,
        "version": "0.1.0",
        "contract": contract,
        "seed": 1,
        "description": "Fruit or tool.",
        "encoder": {
            "backbone": str(home / "encoder"),
            "inverse_regularisation": 1.0,
            "class_weight": "none",
            "linear_shares": [0.0, 1.0],
        },
        "data": [
            {
                "name": "written",
                "source": "this test",
                "commit": "none",
                "licence": "Apache-2.0",
                "attribution": "this test",
                "files": files,
            }
        ],
        "limits": ["Knows six words."],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | NUMBERS | more))
    (folder / "golden.jsonl").write_text(json.dumps(golden) + "\n")


def make(home: Path, name: str) -> Bundle:
    return train(name, home / "models", home / "data", home / "cache")


@pytest.fixture(scope="module")
def topics(home: Path) -> Bundle:
    return make(home, "topics")


@pytest.mark.parametrize("choice", ["cascade", "linear", "encoder"])
def test_a_trained_classifier_serves(topics: Bundle, home: Path, choice: str) -> None:
    encoder = load_encoder(home / "cache", topics.backbone["digest"])
    serving = Classifying(topics, encoder, "topics", choice)
    responses = serving.answer([ClassifyRequest(text=row["text"]) for row in INSIDE])
    right = [
        bool(response.labels.labels) and response.labels.labels[0].name == row["topic"]
        for response, row in zip(responses, INSIDE, strict=True)
    ]
    assert sum(right) > 0.85 * len(right)


def test_a_trained_classifier_abstains_on_what_is_out_of_scope(topics: Bundle) -> None:
    serving = Classifying(topics, None, "topics")
    responses = serving.answer([ClassifyRequest(text=row["text"]) for row in OUTSIDE])
    assert sum(response.HasField("abstention") for response in responses) > 0.9 * len(OUTSIDE)


def test_the_bundle_says_what_it_was_made_from(topics: Bundle, home: Path) -> None:
    assert topics.contract == "classify/v1"
    assert topics.labels == ("fruit", "tool")
    assert topics.content["recipe_digest"] == digest_of(home / "models/topics/recipe.yaml")
    assert topics.content["data"][0]["licence"] == "Apache-2.0"
    assert topics.metrics["cascade"]["n"] > 0


def test_the_card_holds_measured_figures_and_limits(topics: Bundle) -> None:
    card = (topics.folder / "card.md").read_text()
    accuracy = topics.metrics["encoder"]["in_scope_accuracy_forced"]
    assert f"{accuracy:.2%}" in card
    assert "Knows six words." in card
    assert "Apache-2.0" in card


def test_the_card_shows_plots_of_the_measured_run(topics: Bundle) -> None:
    card = (topics.folder / "card.md").read_text()
    for name in ("reliability.svg", "risk-coverage.svg", "confusion.svg"):
        assert f"({name})" in card
        assert name in topics.content["files"]
        assert (topics.folder / name).stat().st_size < 20_000


def test_a_recipe_without_an_encoder_makes_a_linear_bundle(topics: Bundle, home: Path) -> None:
    recipe = yaml.safe_load((home / "models/topics/recipe.yaml").read_text())
    folder = home / "models" / "plain"
    folder.mkdir()
    (folder / "golden.jsonl").write_text('{"text": "buy the saw now"}\n')
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"name": "plain", "encoder": {}}))
    bundle = make(home, "plain")
    assert bundle.tiers == ("linear",)
    assert bundle.backbone is None
    (response,) = Classifying(bundle, None, "plain").answer([ClassifyRequest(text="buy the saw")])
    assert response.labels.labels[0].name == "tool"
    assert list(bundle.metrics) == ["linear"]


@pytest.fixture(scope="module")
def tuned(topics: Bundle, home: Path) -> Bundle:
    """Return the bundle of the same recipe with a fine-tuned encoder."""
    recipe = yaml.safe_load((home / "models/topics/recipe.yaml").read_text())
    recipe["encoder"]["fine_tuning"] = TUNING
    folder = home / "models" / "tuned"
    folder.mkdir()
    (folder / "golden.jsonl").write_text('{"text": "buy the saw now"}\n')
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"name": "tuned"}))
    return make(home, "tuned")


def test_a_fine_tuned_bundle_holds_its_adapter_and_names_its_encoder(tuned: Bundle) -> None:
    adapter = adapter_of(tuned.tensors())
    assert adapter
    assert tuned.backbone["adapted"] == adapted_digest(tuned.backbone["digest"], adapter)
    assert "fine-tuned through adapters of rank 4" in (tuned.folder / "card.md").read_text()


def test_a_fine_tuned_classifier_serves_with_the_encoder_of_its_own(
    tuned: Bundle, home: Path
) -> None:
    manifest = Manifest(name="tuned", contract="classify", class_name="X", options=ENCODER)
    serving = Classifying.load(Resources(manifest, tuned, home / "cache", 1))
    responses = serving.answer([ClassifyRequest(text=row["text"]) for row in INSIDE])
    assert {response.provenance.tier for response in responses} == {"encoder"}
    tops = [(r.labels.labels or r.nearest)[0].name for r in responses]
    right = [top == row["topic"] for top, row in zip(tops, INSIDE, strict=True)]
    assert sum(right) > 0.9 * len(right)


def test_a_fine_tuned_classifier_without_its_encoder_serves_the_linear_tier(
    tuned: Bundle, tmp_path: Path
) -> None:
    manifest = Manifest(name="tuned", contract="classify", class_name="X")
    serving = Classifying.load(Resources(manifest, tuned, tmp_path, 1))
    (response,) = serving.answer([ClassifyRequest(text="buy the saw now")])
    assert response.provenance.tier == "linear"


def test_the_same_recipe_gives_the_same_weights(topics: Bundle, home: Path) -> None:
    before = topics.content["files"]["weights.safetensors"]
    assert make(home, "topics").content["files"]["weights.safetensors"] == before


def test_a_trained_scorer_serves(home: Path) -> None:
    bundle = load_bundle(make(home, "hardness").folder)
    (response,) = Scoring(bundle, None, "hardness").answer([ScoreRequest(text="buy the saw now")])
    assert response.scores.scores[0].value > 0.5


def test_a_scorer_tunes_one_encoder_for_all_of_its_scales(topics: Bundle, home: Path) -> None:
    recipe = yaml.safe_load((home / "models/hardness/recipe.yaml").read_text())
    (entry,) = recipe["data"][0]["files"]
    levels = {'"fruit"': "sweet", '"tool"': "bitter"}
    recipe["data"][0]["files"].append(entry | {"kind": "taste", "levels": levels})
    recipe["scales"]["taste"] = ["bitter", "sweet"]
    recipe["encoder"]["fine_tuning"] = TUNING | {"most_rows": 90, "repeats": {"taste": 2}}
    folder = home / "models" / "tuned-scales"
    folder.mkdir()
    (folder / "golden.jsonl").write_text('{"text": "buy the saw now"}\n')
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"name": "tuned-scales"}))
    bundle = make(home, "tuned-scales")
    assert adapter_of(bundle.tensors())
    manifest = Manifest(name="tuned-scales", contract="score", class_name="X", options=ENCODER)
    serving = Scoring.load(Resources(manifest, bundle, home / "cache", 1))
    responses = serving.answer([ScoreRequest(text=row["text"]) for row in INSIDE])
    found = [{s.scale: s.value for s in r.scores.scores} for r in responses]
    tool = [row["topic"] == "tool" for row in INSIDE]
    assert np.mean([(f["hardness"] > 0.5) == t for f, t in zip(found, tool, strict=True)]) > 0.9
    assert np.mean([(f["taste"] < 0.5) == t for f, t in zip(found, tool, strict=True)]) > 0.9
    assert "fine-tuned on all scales together" in (bundle.folder / "card.md").read_text()


def test_a_level_without_rows_is_named(home: Path) -> None:
    path = home / "models" / "hardness" / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["scales"]["hardness"].append("stone")
    folder = home / "models" / "broken"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(FailedPrecondition, match="no training row of level 'stone'"):
        make(home, "broken")
