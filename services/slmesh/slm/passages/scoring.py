"""Turns similarities into an order, and judges whether the first passage answers at all.

Meaning (the cosine of embeddings) and words (BM25) are mixed by one weight. For collections that the
bundle was calibrated on, the probability that the first passage answers is a logistic function of its
score and its lead over the second; for other passages there is a threshold on the score and no
probability. All numbers come from the bundle.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from slmesh.mesh.bundle import Bundle

__all__ = ["LONE_LEAD", "Scorer", "Verdict", "load_scorer", "mixed"]

LONE_LEAD = 0.5
"""The lead of a passage without a rival."""


@dataclass(frozen=True)
class Verdict:
    """Whether the first passage is likely enough to answer.

    Attributes:
        answers: False to abstain.
        probability: In [0, 1] and calibrated, or None.
    """

    answers: bool
    probability: float | None


@dataclass(frozen=True)
class Scorer:
    """One tier's way to score.

    Attributes:
        words: Weight of the lexical score, in [0, 1]; the cosine has the rest.
        score_weight: Of the best score, in the logit of the probability.
        lead_weight: Of its lead over the second.
        bias: Of the logit.
        calibrated: Names of the collections the probability holds for.
        least_probability: Below it the service abstains, in [0, 1].
        least_score: The same where there is no probability, in [-1, 1].
    """

    words: float
    score_weight: float
    lead_weight: float
    bias: float
    calibrated: Collection[str]
    least_probability: float
    least_score: float

    def scores(
        self, cosine: np.ndarray | None, lexical: np.ndarray, starts: np.ndarray
    ) -> np.ndarray:
        """Return the score of each passage, that of its best entry, (N,), in [-1, 1].

        Args:
            cosine: Of each entry, (E,), or None without an encoder.
            lexical: Of each entry, (E,).
            starts: Where the entries of each passage begin, (N,).
        """
        entries = lexical if cosine is None else mixed(cosine, lexical, self.words)
        best: np.ndarray = np.maximum.reduceat(entries, starts)
        return best

    def judge(self, best: float, second: float | None, collection: str) -> Verdict:
        """Judge the passage with the best score, given the second and where they come from."""
        if collection not in self.calibrated:
            return Verdict(best >= self.least_score, None)
        lead = LONE_LEAD if second is None else best - second
        logit = self.score_weight * best + self.lead_weight * lead + self.bias
        probability = float(1 / (1 + np.exp(-logit)))
        return Verdict(probability >= self.least_probability, probability)


def mixed(cosine: np.ndarray, lexical: np.ndarray, words: float) -> np.ndarray:
    """Return cosine and lexical score mixed, in [-1, 1]."""
    scores: np.ndarray = np.clip((1 - words) * cosine + words * lexical, -1, 1)
    return scores


def load_scorer(bundle: Bundle, tier: str) -> Scorer:
    """Return the scorer of a tier: ``encoder`` or ``lexical``."""
    line, least = bundle.calibration[tier], bundle.thresholds[tier]
    return Scorer(
        words=float(bundle.parameters[tier]["words"]),
        score_weight=float(line["score"]),
        lead_weight=float(line["lead"]),
        bias=float(line["bias"]),
        calibrated=frozenset(bundle.calibration["collections"]),
        least_probability=float(least["probability"]),
        least_score=float(least["score"]),
    )
