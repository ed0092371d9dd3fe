"""From predictions to messages: labels, abstentions, scores, and requests that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tiers.small_bundle import SURE, WordEncoder, classifier_bundle, scorer_bundle
from tests.tiers.test_classifier import only_card_in_scope

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.api.types.v1 import abstention_pb2
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.service import Resources
from slmesh.tiers.answering import Classifying, Scoring, check_top_k

STRICT = {"linear_scope": 0.5, "encoder_scope": 0.5, "switch": 1.01}


def resources(bundle: Bundle, folder: Path, **options: str) -> Resources:
    manifest = Manifest(name="small", contract="classify", class_name="Small", options=options)
    return Resources(manifest, bundle, folder / "cache", threads=1)


def test_an_answer_names_labels_and_where_it_came_from(tmp_path: Path) -> None:
    bundle = classifier_bundle(tmp_path)
    (response,) = Classifying(bundle, None, "svc").answer([ClassifyRequest(text="my card")])
    assert response.labels.labels[0].name == "card"
    assert len(response.labels.labels) == 3
    assert response.provenance == bundle.provenance("svc", "linear")
    assert not response.HasField("truncated_at")


def test_top_k_limits_the_labels(tmp_path: Path) -> None:
    serving = Classifying(classifier_bundle(tmp_path), None, "svc")
    responses = serving.answer([ClassifyRequest(text="my card", top_k=k) for k in (1, 2, 100)])
    assert [len(response.labels.labels) for response in responses] == [1, 2, 3]


@pytest.mark.parametrize("top_k", [0, -1, 101])
def test_a_top_k_outside_its_range_is_refused(top_k: int) -> None:
    with pytest.raises(InvalidArgument, match=r"\[1, 100\]") as caught:
        check_top_k(ClassifyRequest(text="x", top_k=top_k))
    assert caught.value.field == "top_k"


def test_an_unset_top_k_is_fine() -> None:
    check_top_k(ClassifyRequest(text="x"))


def test_an_abstention_names_the_nearest_labels(tmp_path: Path) -> None:
    bundle = classifier_bundle(tmp_path, thresholds=STRICT, calibration=only_card_in_scope())
    (response,) = Classifying(bundle, WordEncoder(), "svc").answer([ClassifyRequest(text="zzz")])
    assert response.abstention.reason == abstention_pb2.ABSTENTION_REASON_OUT_OF_SCOPE
    assert 0.0 <= response.abstention.confidence < 0.5
    assert len(response.nearest) == 3
    assert response.provenance.tier == "encoder"


def test_white_space_is_no_content_rather_than_out_of_scope(tmp_path: Path) -> None:
    serving = Classifying(classifier_bundle(tmp_path), None, "svc")
    (response,) = serving.answer([ClassifyRequest(text=" \n ")])
    assert response.abstention.reason == abstention_pb2.ABSTENTION_REASON_NO_CONTENT
    assert not response.nearest


def test_a_long_text_says_where_reading_stopped(tmp_path: Path) -> None:
    bundle = classifier_bundle(tmp_path, thresholds={**SURE, "switch": 1.01})
    (response,) = Classifying(bundle, WordEncoder(), "svc").answer(
        [ClassifyRequest(text="card " * 60)]
    )
    assert response.truncated_at == 9


def test_a_service_serves_its_linear_tier_where_nothing_is_compiled(tmp_path: Path) -> None:
    serving = Classifying.load(resources(classifier_bundle(tmp_path / "b"), tmp_path))
    (response,) = serving.answer([ClassifyRequest(text="my card")])
    assert response.provenance.tier == "linear"


def test_a_bundle_of_another_contract_is_refused(tmp_path: Path) -> None:
    bundle = scorer_bundle(tmp_path / "b")
    with pytest.raises(FailedPrecondition, match=r"classify/v1.*score/v1"):
        Classifying.load(resources(bundle, tmp_path))


def test_an_unknown_tier_names_the_nearest(tmp_path: Path) -> None:
    bundle = classifier_bundle(tmp_path / "b")
    with pytest.raises(FailedPrecondition, match="did you mean 'encoder'"):
        Classifying.load(resources(bundle, tmp_path, tier="encodr"))


def test_scores_come_in_the_order_asked_for(tmp_path: Path) -> None:
    serving = Scoring(scorer_bundle(tmp_path), WordEncoder(), "svc")
    both, one, default = serving.answer(
        [
            ScoreRequest(text="my card", scales=["mood", "size"]),
            ScoreRequest(text="my card", scales=["size"]),
            ScoreRequest(text="my card"),
        ]
    )
    assert [score.scale for score in both.scores.scores] == ["mood", "size"]
    assert [score.scale for score in one.scores.scores] == ["size"]
    assert [score.scale for score in default.scores.scores] == ["size", "mood"]


def test_the_levels_of_a_scale_add_up_to_one(tmp_path: Path) -> None:
    (response,) = Scoring(scorer_bundle(tmp_path), None, "svc").answer([ScoreRequest(text="card")])
    for score in response.scores.scores:
        assert [level.name for level in score.levels] == ["card", "loan", "transfer"]
        assert sum(level.probability for level in score.levels) == pytest.approx(1.0, abs=1e-5)
        assert 0.0 <= score.value <= 1.0


def test_a_scorer_has_nothing_to_say_about_white_space(tmp_path: Path) -> None:
    (response,) = Scoring(scorer_bundle(tmp_path), None, "svc").answer([ScoreRequest(text="  ")])
    assert response.abstention.reason == abstention_pb2.ABSTENTION_REASON_NO_CONTENT


@pytest.mark.parametrize(
    ("scales", "message", "field"),
    [
        pytest.param(["size", "mod"], "did you mean 'mood'", "scales[1]", id="unknown"),
        pytest.param(["size", "size"], "named twice", "scales[1]", id="twice"),
    ],
)
def test_wrong_scales_are_refused(tmp_path: Path, scales, message: str, field: str) -> None:
    serving = Scoring(scorer_bundle(tmp_path), None, "svc")
    with pytest.raises(InvalidArgument, match=message) as caught:
        serving.check(ScoreRequest(text="x", scales=scales))
    assert caught.value.field == field
