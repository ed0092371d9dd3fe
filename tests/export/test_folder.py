"""Exported folders of small bundles: what is in them, what they answer, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tiers.small_bundle import LABELS, NGRAMS, classifier_bundle, scorer_bundle
from tests.tiers.test_classifier import only_card_in_scope

from slmesh.export import export_service
from slmesh.export import folder as exporting
from slmesh.export.templates.example import Model
from slmesh.mesh.bundle import Bundle, digest_of
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings, load_settings
from slmesh.tiers.classifier import TwoTierClassifier
from slmesh.tiers.ngrams import NgramHasher
from slmesh.tiers.scales import ScaleScorer

ROOT = Path(__file__).parents[2]
LINEAR_ALONE = {"tiers": ["linear"], "backbone": None}
TEXTS = ["my card", "a loan for a house, please!", "ÄÖÜ transfer 😀", "zzz qqq", "card " * 300]


def settings_of(tmp_path: Path) -> Settings:
    return Settings(service_path=(tmp_path / "own",), cache_dir=tmp_path / "cache")


def manifest_of(contract: str = "classify", model: str = "small") -> Manifest:
    return Manifest(name="small", contract=contract, class_name="Small", model=model)


def bundle_in(tmp_path: Path, **changes) -> Bundle:
    folder = tmp_path / "own" / "models" / "small" / "0.1.0"
    return classifier_bundle(folder, **LINEAR_ALONE | changes)


def test_a_folder_answers_as_the_tier_that_serves(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path)
    made = export_service(manifest_of(), settings_of(tmp_path), tmp_path / "out")
    model = Model(tmp_path / "out")
    for text, expected in zip(
        TEXTS, TwoTierClassifier.from_bundle(bundle, None).predict(TEXTS), strict=True
    ):
        answer = model.answer(text)["label"]
        assert list(answer["probabilities"]) == LABELS
        found = list(answer["probabilities"].values())
        assert found == pytest.approx(expected.probabilities, abs=1e-6)
        assert answer["tier"] == "linear"
    assert made.tiers == ("linear",)
    assert made.largest_difference < 1e-6


def test_a_folder_abstains_where_the_tier_does(tmp_path: Path) -> None:
    thresholds = {"linear_scope": 0.5, "encoder_scope": 0.5, "switch": 0.0}
    bundle = bundle_in(tmp_path, calibration=only_card_in_scope(), thresholds=thresholds)
    export_service(manifest_of(), settings_of(tmp_path), tmp_path / "out")
    served = TwoTierClassifier.from_bundle(bundle, None).predict(TEXTS)
    model = Model(tmp_path / "out")
    found = [model.answer(text)["label"]["abstains"] for text in TEXTS]
    assert found == [prediction.abstains for prediction in served]
    assert {True, False} <= set(found)


def test_a_scorer_answers_on_every_scale(tmp_path: Path) -> None:
    folder = tmp_path / "own" / "models" / "small" / "0.1.0"
    content = json.loads((scorer_bundle(tmp_path / "two").folder / "bundle.json").read_text())
    bundle = classifier_bundle(
        folder,
        scorer_bundle(tmp_path / "two").tensors(),
        **{k: content[k] for k in ("calibration", "thresholds", "parameters", "label_set")},
        **LINEAR_ALONE,
        contract="score/v1",
    )
    export_service(manifest_of("score"), settings_of(tmp_path), tmp_path / "out")
    served = ScaleScorer(bundle, None).predict(["my loan"], ("size", "mood"))
    answers = Model(tmp_path / "out").answer("my loan")
    assert list(answers) == ["size", "mood"]
    for scale, answer in answers.items():
        found = list(answer["probabilities"].values())
        assert found == pytest.approx(served[scale][0].probabilities, abs=1e-6)


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_a_text_without_words_has_no_answer(text: str, tmp_path: Path) -> None:
    bundle_in(tmp_path)
    export_service(manifest_of(), settings_of(tmp_path), tmp_path / "out")
    assert Model(tmp_path / "out").answer(text) == {}


@given(st.text(max_size=60))
def test_the_example_hashes_any_text_as_the_service_does(text: str) -> None:
    model = Model.__new__(Model)  # no folder: only the rule of the n-grams is needed
    model.about = {"ngrams": {**NGRAMS, "read_code_points": 100_000}, "tokens": None}
    feed = model.inputs(text)
    expected = NgramHasher(**NGRAMS).transform([text])
    order = np.argsort(feed["buckets"])
    assert feed["buckets"][order].tolist() == expected.buckets.tolist()
    assert feed["counts"][order].tolist() == expected.counts.tolist()


def test_what_was_made_is_written_down_with_digests(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path)
    made = export_service(manifest_of(), settings_of(tmp_path), tmp_path / "out")
    about = json.loads((made.folder / "model.json").read_text())
    assert about["bundle"] == bundle.digest
    assert about["scales"][0]["labels"] == LABELS
    assert about["scales"][0]["calibration"]["linear"]["temperature"] == 0.5
    assert set(about["files"]) | {"model.json"} == {path.name for path in made.folder.iterdir()}
    for name, digest in about["files"].items():
        assert digest_of(made.folder / name) == digest
    assert "# small 0.1.0" in (made.folder / "README.md").read_text()


def test_the_examples_stay_short() -> None:
    templates = Path(exporting.__file__).parent / "templates"
    lines = {name: len((templates / name).read_text().splitlines()) for name in EXAMPLES}
    assert all(count <= 60 for count in lines.values()), lines


EXAMPLES = ("example.py", "example.mjs")


def test_a_contract_without_tiers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="speaks guard") as caught:
        export_service(manifest_of("guard"), settings_of(tmp_path), tmp_path / "out")
    assert caught.value.reason == "NOT_EXPORTABLE"


def test_a_service_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="names no model"):
        export_service(manifest_of(model=""), settings_of(tmp_path), tmp_path / "out")


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    bundle_in(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InvalidArgument, match="there already") as caught:
        export_service(manifest_of(), settings_of(tmp_path), tmp_path / "out")
    assert caught.value.field == "to"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    bundle_in(tmp_path)
    (tmp_path / "out").mkdir()
    export_service(manifest_of(), settings_of(tmp_path), tmp_path / "out")
    assert (tmp_path / "out" / "model.onnx").is_file()


def test_a_graph_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch) -> None:
    """Patched, because a right builder never disagrees."""
    bundle_in(tmp_path)
    build = exporting.build

    def wrong(*arguments):
        graph = build(*arguments)
        for tensor in graph.graph.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            if array.dtype == np.int8:
                tensor.CopyFrom(onnx.numpy_helper.from_array(array[:, ::-1].copy(), tensor.name))
        return graph

    monkeypatch.setattr(exporting, "build", wrong)
    with pytest.raises(FailedPrecondition, match="otherwise than the service") as caught:
        export_service(manifest_of(), settings_of(tmp_path), tmp_path / "out")
    assert caught.value.reason == "EXPORT_DISAGREES"
    assert not (tmp_path / "out").exists()


def test_the_encoder_in_a_graph_overflows_on_no_processor(tmp_path: Path) -> None:
    """Signed weights are exact with VNNI only; an exported folder may go anywhere."""
    settings = load_settings({"SLMESH_CACHE_DIR": str(ROOT / ".slmesh" / "cache")})
    made = export_service(discover(settings)["intent"], settings, tmp_path / "out")
    graph = onnx.load(made.folder / "model.onnx").graph
    (switch,) = (node for node in graph.node if node.op_type == "If")
    branch = next(a.g for a in switch.attribute if a.name == "else_branch")
    kinds = {tensor.name: tensor.data_type for tensor in branch.initializer}
    products = [node for node in branch.node if node.op_type == "MatMulInteger"]
    assert products
    assert {kinds[node.input[1]] for node in products} == {onnx.TensorProto.UINT8}
    assert "model.int8.onnx" not in {path.name for path in made.folder.iterdir()}
