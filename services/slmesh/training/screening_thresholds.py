"""Sets the thresholds of the injection check from scores of texts, and the line that calibrates them.

It trains nothing and knows no features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slmesh.training.screening_data import TRAIN, Example, Window

__all__ = ["best_of_texts", "fitted_line", "out_of_fold", "threshold"]

_OWN = ("written", "phrases")
"""Sources written to be hard: they train, and are reported, but set no threshold."""


def best_of_texts(
    examples: Sequence[Example], cuts: Sequence[Window], head: str, scores: np.ndarray
) -> dict[int, float]:
    """Return the highest score among the windows of each text of a head, by index of the text."""
    best: dict[int, float] = {}
    for window, score in zip(cuts, scores, strict=True):
        if examples[window.example].head == head:
            best[window.example] = max(best.get(window.example, -np.inf), float(score))
    return best


def fitted_line(examples: Sequence[Example], best: Mapping[int, float]) -> tuple[float, float]:
    """Return slope and offset that turn scores into logits, from out-of-fold and validation rows."""
    from sklearn.linear_model import LogisticRegression

    rows = [index for index, score in best.items() if np.isfinite(score)]
    labels = [examples[index].injected is not None for index in rows]
    scores = np.array([[best[index]] for index in rows])
    model = LogisticRegression(C=1e6).fit(scores, labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def threshold(examples: Sequence[Example], best: Mapping[int, float], rate: float) -> float:
    """Return the lowest score with at most `rate` of the texts of every benign source at or above.

    Validation rows count together with out-of-fold training rows: of few rows no rate can be told.
    """
    by_source: dict[str, list[float]] = {}
    for index, score in best.items():
        example = examples[index]
        if example.injected is None and not example.source.startswith(_OWN):
            by_source.setdefault(example.source, []).append(score)
    highest = max(
        sorted(scores, reverse=True)[_allowed(rate, len(scores))] for scores in by_source.values()
    )
    return float(np.nextafter(highest, np.inf)) + 1e-6


def _allowed(rate: float, count: int) -> int:
    """Return how many texts may be flagged; one is at most 1 % of a hundred, whatever the rate."""
    return max(int(rate * count), 1 if count >= 100 else 0)


def out_of_fold(
    examples: Sequence[Example], best: Mapping[int, float], lowest: float
) -> dict[str, float]:
    """Return the share of out-of-fold training texts at or above the threshold, by source."""
    flagged: dict[str, list[bool]] = {}
    for index, score in best.items():
        example = examples[index]
        if example.split == TRAIN:
            kind = "benign" if example.injected is None else "injections"
            flagged.setdefault(f"{example.source} ({kind})", []).append(score >= lowest)
    return {source: sum(hits) / len(hits) for source, hits in sorted(flagged.items())}
