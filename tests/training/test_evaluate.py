"""Figures of services whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest, ClassifyResponse, Label, Labels
from slmesh.api.score.v1.score_pb2 import Level, ScaleScore, ScoreRequest, ScoreResponse, Scores
from slmesh.api.types.v1.abstention_pb2 import Abstention
from slmesh.api.types.v1.provenance_pb2 import Provenance
from slmesh.mesh.errors import InvalidArgument
from slmesh.training.evaluate import (
    OUT_OF_SCOPE,
    Row,
    evaluate_classifier,
    evaluate_scale,
    macro_f1,
)


def answer(requests: Sequence[ClassifyRequest]) -> list[ClassifyResponse]:
    """Take a text such as ``cat 0.8`` as the answer, and one with ``?`` as an abstention."""
    responses = []
    for request in requests:
        name, probability = request.text.rstrip("?").split()
        label = Label(name=name, probability=float(probability))
        provenance = Provenance(tier="linear")
        responses.append(
            ClassifyResponse(abstention=Abstention(), nearest=[label], provenance=provenance)
            if request.text.endswith("?")
            else ClassifyResponse(labels=Labels(labels=[label]), provenance=provenance)
        )
    return responses


ROWS = [
    Row("cat 1.0", "cat"),
    Row("dog 1.0", "cat"),
    Row("cat 1.0?", "cat"),
    Row("dog 1.0", "dog"),
    Row("cat 0.9?", OUT_OF_SCOPE),
    Row("cat 0.9", OUT_OF_SCOPE),
]


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("n", 6),
        ("accuracy", 3 / 6),
        ("in_scope_accuracy", 2 / 4),
        ("in_scope_accuracy_forced", 3 / 4),
        ("oos_recall", 1 / 2),
        ("abstained", 2 / 6),
        ("ece", 0.25),
        ("tiers", {"linear": 1.0}),
    ],
)
def test_the_figures_of_a_classifier(figure: str, value: object) -> None:
    assert evaluate_classifier(answer, ROWS)[figure] == pytest.approx(value)


def test_figures_without_rows_are_left_out() -> None:
    assert "oos_recall" not in evaluate_classifier(answer, ROWS[:2])
    assert "in_scope_accuracy" not in evaluate_classifier(answer, ROWS[4:])


def test_times_are_positive() -> None:
    figures = evaluate_classifier(answer, ROWS)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["texts_per_s"] > 0


def test_an_error_among_the_answers_is_raised() -> None:
    with pytest.raises(InvalidArgument):
        evaluate_classifier(lambda requests: [InvalidArgument("no")] * len(requests), ROWS)


def score(requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
    """Take a text such as ``0.2 0.8`` as the probabilities of low and high."""
    responses = []
    for request in requests:
        low, high = map(float, request.text.split())
        levels = [Level(name="low", probability=low), Level(name="high", probability=high)]
        scale = ScaleScore(scale=request.scales[0], value=high, levels=levels)
        responses.append(ScoreResponse(scores=Scores(scores=[scale])))
    return responses


def test_the_figures_of_a_scale() -> None:
    rows = [Row("1 0", "low"), Row("0.4 0.6", "high"), Row("0.3 0.7", "low"), Row("0 1", "high")]
    figures = evaluate_scale(score, "urgency", rows)
    assert figures["accuracy"] == pytest.approx(3 / 4)
    assert figures["spearman"] == pytest.approx(0.447, abs=0.001)
    assert figures["abstained"] == 0.0


def test_macro_f1_weighs_labels_alike() -> None:
    truth = np.array(["a"] * 8 + ["b"] * 2)
    found = np.array(["a"] * 10)
    assert macro_f1(truth, found) == pytest.approx((16 / 18 + 0) / 2)
