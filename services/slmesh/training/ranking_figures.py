"""Fits and measures how a ranker judges: weight of words, probability, thresholds, figures, plots.

Arrays of asked questions in, numbers out. It reads nothing and knows no bundle file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmesh.slm.passages.scoring import LONE_LEAD
from slmesh.tiers.calibration import expected_calibration_error, sigmoid
from slmesh.training.plots import reliability, risk_coverage
from slmesh.training.ranking_data import OWN, PUBLIC, UNRELATED, Asked

__all__ = [
    "TIERS",
    "Judge",
    "Tops",
    "choose_words",
    "fit_judge",
    "left_out_figures",
    "measure",
    "mrr",
    "top_two",
    "tops_of",
]

TIERS = ("encoder", "lexical")
_SOURCES = (*PUBLIC, OWN)


@dataclass(frozen=True)
class Judge:
    """When the first passage answers.

    Attributes:
        line: ``score``, ``lead`` and ``bias`` of the logit.
        least: ``probability`` and ``score`` below which the service abstains.
    """

    line: dict[str, float]
    least: dict[str, float]


@dataclass(frozen=True)
class Tops:
    """The first passage of each question.

    Attributes:
        inputs: (Q, 2): its score and its lead over the second.
        right: bool (Q,): whether it answers.
        sources: (Q,) names.
        first_half: bool (Q,): whether the question is one to fit on.
    """

    inputs: np.ndarray
    right: np.ndarray
    sources: np.ndarray
    first_half: np.ndarray


@dataclass(frozen=True)
class Measured:
    """Figures of one tier, and plots of its probability by file name."""

    figures: dict[str, Any]
    plots: dict[str, str]


def mrr(asked: Sequence[Asked], words: float) -> float:
    """Return the mean reciprocal rank of the first right passage among the first ten."""
    ranks = []
    for question in asked:
        order = np.argsort(-question.scores(words), kind="stable")[:10].tolist()
        right = [place for place, index in enumerate(order) if index in question.answers]
        ranks.append(1 / (right[0] + 1) if right else 0.0)
    return float(np.mean(ranks))


def choose_words(
    asked: Sequence[Asked], numbers: Mapping[str, Any]
) -> tuple[float, dict[str, dict[str, float]]]:
    """Return the weight with the best mean MRR@10 that costs no set more than allowed, and all."""
    of_source = {name: [q for q in asked if q.source == name] for name in _SOURCES}
    tried = {
        str(words): {source: mrr(of_source[source], words) for source in _SOURCES}
        for words in numbers["words_tried"]
    }
    plain = tried[str(0.0)]
    allowed = [
        words
        for words, row in tried.items()
        if all(row[source] >= plain[source] - numbers["most_lost"] for source in _SOURCES)
    ]
    return float(max(allowed, key=lambda words: sum(tried[words].values()))), tried


def top_two(scores: np.ndarray) -> tuple[int, float, float]:
    """Return the place of the best passage, its score, and its lead over the second."""
    order = np.argsort(-scores, kind="stable")[:2].tolist()
    best = float(scores[order[0]])
    return order[0], best, best - float(scores[order[1]]) if len(order) > 1 else LONE_LEAD


def tops_of(asked: Sequence[Asked], words: float) -> Tops:
    """Return the first passage of each question."""
    tops = [top_two(question.scores(words)) for question in asked]
    return Tops(
        np.array([top[1:] for top in tops]),
        np.array([top[0] in question.answers for top, question in zip(tops, asked, strict=True)]),
        np.array([question.source for question in asked]),
        np.array([question.half == 0 for question in asked]),
    )


def fit_judge(asked: Sequence[Asked], words: float, numbers: Mapping[str, Any]) -> Judge:
    """Fit on one half of the questions.

    The line is fitted on questions to the project's own collection and on unrelated ones. Lines over
    all sets were tried: what a score means differs too much between them.
    """
    from sklearn.linear_model import LogisticRegression

    tops = tops_of(asked, words)
    fitted = tops.first_half & np.isin(tops.sources, (OWN, UNRELATED))
    model = LogisticRegression(C=1e4, max_iter=500).fit(tops.inputs[fitted], tops.right[fitted])
    line = {
        "score": float(model.coef_[0, 0]),
        "lead": float(model.coef_[0, 1]),
        "bias": float(model.intercept_[0]),
    }
    probability = _probability(line, tops.inputs)
    unrelated = fitted & (tops.sources == UNRELATED)
    found = tops.first_half & tops.right
    least = {
        "probability": float(
            np.quantile(probability[unrelated], 1 - numbers["unrelated_answered"])
        ),
        "score": min(
            float(
                np.quantile(tops.inputs[found & (tops.sources == name), 0], numbers["right_lost"])
            )
            for name in PUBLIC
        ),
    }
    return Judge(line, least)


def left_out_figures(
    asked: Sequence[Asked], words: float, numbers: Mapping[str, Any]
) -> dict[str, float]:
    """Return figures of one source by heads that were trained without it.

    Returns:
        ``mrr_10``, and ``least_score``: below it are as many of the right first passages as may be
        lost, on the half to fit on.
    """
    tops = tops_of(asked, words)
    found = tops.inputs[tops.first_half & tops.right, 0]
    return {
        "mrr_10": mrr(asked, words),
        "least_score": float(np.quantile(found, numbers["right_lost"])),
    }


def measure(asked: Sequence[Asked], tier: str, content: Mapping[str, Any]) -> Measured:
    """Measure a tier on the other half of the questions.

    Args:
        asked: All questions.
        tier: One of :data:`TIERS`.
        content: What the bundle says: ``parameters``, ``calibration`` and ``thresholds``.
    """
    words = content["parameters"][tier]["words"]
    least = content["thresholds"][tier]
    tops = tops_of(asked, words)
    probability = _probability(content["calibration"][tier], tops.inputs)
    figures: dict[str, Any] = {
        "mrr_10": {name: mrr([q for q in asked if q.source == name], words) for name in _SOURCES}
    }
    for name in (OWN, UNRELATED, *PUBLIC):
        held = ~tops.first_half & (tops.sources == name)
        enough = probability >= least["probability"]
        if name in PUBLIC:
            enough = tops.inputs[:, 0] >= least["score"]
        figures[name] = {
            "n": int(held.sum()),
            "right_first": float(tops.right[held].mean()),
            "answered": float(enough[held].mean()),
            "right_of_answered": float(tops.right[held & enough].mean()),
        }
    both = ~tops.first_half & np.isin(tops.sources, (OWN, UNRELATED))
    figures["ece"] = expected_calibration_error(probability[both], tops.right[both])
    plots = {
        "reliability.svg": reliability(probability[both], tops.right[both]),
        "risk-coverage.svg": risk_coverage(probability[both], tops.right[both]),
    }
    return Measured(figures, plots)


def _probability(line: Mapping[str, float], inputs: np.ndarray) -> np.ndarray:
    return sigmoid(inputs @ np.array([line["score"], line["lead"]]) + line["bias"])
