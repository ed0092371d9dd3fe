"""The figures of classifiers and scorers, from answers and what was expected. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slmesh.api.classify.v1.classify_pb2 import ClassifyResponse
from slmesh.api.score.v1.score_pb2 import ScaleScore, ScoreResponse
from slmesh.evaluation.cases import OUT_OF_SCOPE, Case, ExpectedLabel, ExpectedLevel
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.naming import suggestion
from slmesh.tiers.calibration import expected_calibration_error
from slmesh.training.evaluate import macro_f1

__all__ = ["label_figures", "level_figures", "rank_correlation"]


def label_figures(
    expected: Sequence[ExpectedLabel], responses: Sequence[ClassifyResponse]
) -> dict[str, Any]:
    """Return the figures of a classifier; those without rows are left out.

    Args:
        expected: At least one.
        responses: As many.

    Returns:
        ``accuracy`` over all rows, where out of scope an abstention is right; ``abstained``. In
        scope: ``in_scope_accuracy``, an abstention is wrong; ``in_scope_accuracy_forced``, the most
        probable label, abstained or not; ``ece`` of that label's probability, 15 bins (source: Guo
        et al., arXiv 1706.04599); ``macro_f1``, the mean over labels, forced. Out of scope:
        ``oos_recall``, the share that is abstained on (source: Larson et al., EMNLP 2019). Of both:
        ``oos_auroc``, how often a text in scope stands above one out of scope, a tie counting half;
        every answer stands above every abstention, answers by their probability and abstentions by
        their confidence, which is all that a caller sees.
    """
    truth = np.array([item.label for item in expected])
    inside = truth != OUT_OF_SCOPE
    abstained = np.array([response.HasField("abstention") for response in responses])
    tops = [list(response.labels.labels or response.nearest) for response in responses]
    forced = np.array([labels[0].name if labels else "" for labels in tops])
    confidences = np.array([labels[0].probability if labels else 0.0 for labels in tops])
    right = forced == truth
    figures: dict[str, Any] = {
        "accuracy": float(np.where(inside, right & ~abstained, abstained).mean())
    }
    if inside.any():
        figures["in_scope_accuracy"] = float((right & ~abstained)[inside].mean())
        figures["in_scope_accuracy_forced"] = float(right[inside].mean())
    if (~inside).any():
        figures["oos_recall"] = float(abstained[~inside].mean())
    if inside.any() and not inside.all():
        figures["oos_auroc"] = _area(np.array([_rank(r) for r in responses]), inside)
    if inside.any():
        figures["ece"] = expected_calibration_error(confidences[inside], right[inside])
        figures["macro_f1"] = macro_f1(truth[inside], forced[inside])
    figures["abstained"] = float(abstained.mean())
    return figures


def _rank(response: ClassifyResponse) -> float:
    """Return how much an answer speaks for a text in scope: above 1 unless it is an abstention."""
    if response.HasField("abstention"):
        return float(response.abstention.confidence)
    return 1.0 + float(response.labels.labels[0].probability)


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve (source: Hanley and McNeil, Radiology 143, 1982).

    Args:
        scores: (B,).
        positive: bool (B,), with at least one of either kind.
    """
    count = int(positive.sum())
    above = _ranks(scores)[positive].sum() - count * (count + 1) / 2.0
    return float(above / (count * (len(scores) - count)))


def level_figures(
    cases: Sequence[Case], expected: Sequence[ExpectedLevel], responses: Sequence[ScoreResponse]
) -> dict[str, Any]:
    """Return the figures of a scorer.

    Args:
        cases: At least one, to name the row of a level the service does not have.
        expected: As many, each with its scale.
        responses: As many, each for that scale alone.

    Returns:
        ``accuracy`` of the most probable level; ``ece`` of its probability, 15 bins; ``macro_f1``;
        ``spearman`` of the value with the right level's place (source: Spearman, The American
        Journal of Psychology 15, 1904). An abstention is wrong and counts in ``abstained``. Of
        several scales ``macro_f1``, ``ece`` and ``spearman`` are means, and ``by_scale`` has each.

    Raises:
        InvalidArgument: A row's level is none of the scale.
    """
    by_scale: dict[str, list[int]] = {}
    for place, item in enumerate(expected):
        by_scale.setdefault(item.scale, []).append(place)
    figures = {
        scale: _scale_figures(
            [cases[place] for place in places],
            [expected[place].level for place in places],
            [responses[place] for place in places],
        )
        for scale, places in sorted(by_scale.items())
    }
    if len(figures) == 1:
        return next(iter(figures.values()))
    weights = [len(by_scale[scale]) / len(expected) for scale in figures]
    total: dict[str, Any] = {
        "accuracy": _mean([row["accuracy"] for row in figures.values()], weights)
    }
    for name in ("ece", "macro_f1", "spearman"):
        total[name] = _mean([row[name] for row in figures.values()])
    total["abstained"] = _mean([row["abstained"] for row in figures.values()], weights)
    named = {scale: {"n": len(by_scale[scale])} | row for scale, row in figures.items()}
    return total | {"by_scale": named}


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties sharing their mean rank; 0 where one is constant.

    Args:
        left: (B,).
        right: (B,).
    """
    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2.0)[places]
    return mean_ranks


def _scale_figures(
    cases: Sequence[Case], levels: Sequence[str], responses: Sequence[ScoreResponse]
) -> dict[str, Any]:
    scored: list[tuple[ScaleScore, str]] = []
    for case, level, response in zip(cases, levels, responses, strict=True):
        if not response.HasField("scores"):
            continue
        score = response.scores.scores[0]
        names = [item.name for item in score.levels]
        if level not in names:
            raise InvalidArgument(
                f"{case.place}: the scale '{score.scale}' has no level '{level}'"
                f"{suggestion(level, names)}",
                reason="UNKNOWN_LEVEL",
            )
        scored.append((score, level))
    tops = [max(score.levels, key=lambda item: item.probability) for score, _ in scored]
    found = np.array([item.name for item in tops])
    truth = np.array([level for _, level in scored])
    places = np.array(
        [[item.name for item in score.levels].index(level) for score, level in scored]
    )
    right = found == truth
    return {
        "accuracy": float(right.sum() / len(levels)),
        "ece": expected_calibration_error(np.array([item.probability for item in tops]), right),
        "macro_f1": macro_f1(truth, found) if scored else 0.0,
        "spearman": rank_correlation(np.array([score.value for score, _ in scored]), places),
        "abstained": 1.0 - len(scored) / len(levels),
    }


def _mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    return float(np.average(values, weights=weights))
