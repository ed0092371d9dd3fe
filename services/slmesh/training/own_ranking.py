"""Fits how a user's own passages are ranked: meaning against words, calibration and thresholds.

Questions with the passages that answer them say how; nothing but a few numbers is trained. It knows
no file, and no bundle but the shape of one of passages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slmesh.slm.passages.lexical import LexicalIndex
from slmesh.tiers.calibration import expected_calibration_error, sigmoid
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training.ranking_data import Asked
from slmesh.training.ranking_figures import mrr, top_two

__all__ = ["Question", "RankingFit", "fit_ranking"]

WORDS_TRIED = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
_RIGHT_LOST = 0.05
_FORBIDDEN = -1.0


@dataclass(frozen=True)
class Question:
    """A question with the places of the passages that answer it.

    Attributes:
        text: The question.
        answers: In [0, N).
    """

    text: str
    answers: frozenset[int]


@dataclass(frozen=True)
class RankingFit:
    """What a bundle of passages needs of one tier.

    Attributes:
        words: Weight of the lexical score.
        line: ``score``, ``lead`` and ``bias`` of the logit of the first passage being right.
        least: ``probability`` and ``score`` below which the service abstains.
        metrics: Figures on the same questions.
    """

    words: float
    line: dict[str, float]
    least: dict[str, float]
    metrics: dict[str, Any]


def fit_ranking(
    entries: Sequence[Sequence[str]], questions: Sequence[Question], encoder: SentenceEncoder | None
) -> dict[str, RankingFit]:
    """Return the fit of each tier: ``lexical``, and ``encoder`` where there is one.

    Args:
        entries: For each passage what queries are compared with, (N,) of at least one each.
        questions: Validation questions, none of them among the entries.
        encoder: The compiled backbone, or None.
    """
    asked = _asked(entries, questions, encoder)
    fits = {"lexical": _fit(asked, 1.0)}
    if encoder is not None:
        best = max(WORDS_TRIED, key=lambda words: mrr(asked, words))
        tried = {str(words): mrr(asked, words) for words in WORDS_TRIED}
        fit = _fit(asked, best)
        fits["encoder"] = replace(fit, metrics=fit.metrics | {"mrr_10_by_words": tried})
    return fits


def _asked(
    entries: Sequence[Sequence[str]], questions: Sequence[Question], encoder: SentenceEncoder | None
) -> list[Asked]:
    flat = [entry for passage in entries for entry in passage]
    starts = np.cumsum([0, *(len(passage) for passage in entries)][:-1])
    index = LexicalIndex(flat)
    cosines = np.zeros((len(questions), len(flat)), np.float32)
    if encoder is not None:
        vectors = encoder.encode(flat)
        cosines = encoder.encode([question.text for question in questions]) @ vectors.T
    return [
        Asked("own", cosine, index.scores(question.text), starts, question.answers, 0)
        for question, cosine in zip(questions, cosines, strict=True)
    ]


def _fit(asked: Sequence[Asked], words: float) -> RankingFit:
    """Fit one tier: each question once with its passages, and once without, when nothing is right."""
    from sklearn.linear_model import LogisticRegression

    tops, right = [], []
    for question in asked:
        scores = question.scores(words)
        place, *inputs = top_two(scores)
        tops.append(inputs)
        right.append(place in question.answers)
    answered = np.array(right)
    for question in asked:
        scores = question.scores(words).copy()
        scores[list(question.answers)] = _FORBIDDEN
        tops.append(list(top_two(scores)[1:]))
    inputs_all, targets = np.array(tops), np.concatenate([answered, np.zeros(len(asked), bool)])
    line = {"score": 1.0, "lead": 0.0, "bias": 0.0}
    if answered.any():
        model = LogisticRegression(C=1e3, max_iter=500).fit(inputs_all, targets)
        line = {
            "score": float(model.coef_[0, 0]),
            "lead": float(model.coef_[0, 1]),
            "bias": float(model.intercept_[0]),
        }
    probability = sigmoid(inputs_all @ np.array([line["score"], line["lead"]]) + line["bias"])
    of_right = np.flatnonzero(targets)
    least = {"probability": 0.0, "score": 0.0}
    if len(of_right):
        least = {
            "probability": float(np.quantile(probability[of_right], _RIGHT_LOST)),
            "score": float(np.quantile(inputs_all[of_right, 0], _RIGHT_LOST)),
        }
    enough = probability >= least["probability"]
    metrics = {
        "n": len(asked),
        "mrr_10": mrr(asked, words),
        "right_first": float(answered.mean()),
        "answered": float(enough[: len(asked)].mean()),
        "right_of_answered": float(answered[enough[: len(asked)]].mean()) if enough.any() else 0.0,
        "answered_without_its_passage": float(enough[len(asked) :].mean()),
        "ece": expected_calibration_error(probability, targets),
    }
    return RankingFit(words, line, least, metrics)
