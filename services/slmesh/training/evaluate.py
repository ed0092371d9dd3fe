"""Measures a service on labelled rows, by its own answers.

It calls whatever answers the contract: the class in this process or a mesh over the wire. Figures
are fractions, not percent; times are of the call, by the clock given. It trains nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest, ClassifyResponse
from slmesh.api.score.v1.score_pb2 import ScoreRequest, ScoreResponse
from slmesh.mesh.errors import MeshError
from slmesh.tiers.calibration import expected_calibration_error

__all__ = [
    "OUT_OF_SCOPE",
    "Row",
    "Timed",
    "evaluate_classifier",
    "evaluate_scale",
    "macro_f1",
    "timed",
]

OUT_OF_SCOPE = "oos"
"""The label of a row that has none of the service's labels."""

Clock = Callable[[], float]

_BATCH = 32
_SINGLES = 200


@dataclass(frozen=True)
class Row:
    """A text and its right label, or :data:`OUT_OF_SCOPE`."""

    text: str
    label: str


@dataclass(frozen=True)
class Timed:
    """Answers and how long they took.

    Attributes:
        answers: One for each request, in order.
        p50_ms: Median time of a call with one text.
        p99_ms: The time that 99 % of such calls keep.
        texts_per_s: Throughput in calls of 32 texts.
    """

    answers: list[Any]
    p50_ms: float
    p99_ms: float
    texts_per_s: float


def timed(
    answer: Callable[[Sequence[Any]], Sequence[Any]],
    requests: Sequence[Any],
    clock: Clock = time.perf_counter,
) -> Timed:
    """Ask for all requests in batches, and for some of them one at a time.

    Args:
        answer: Answers a batch of requests, in order.
        requests: At least one.
        clock: Gives seconds. Wall-clock measures a service over the wire; the processor time of
            this process measures a model on a machine that does other work.

    Raises:
        MeshError: The first error among the answers.
    """
    started = clock()
    answers: list[Any] = []
    for start in range(0, len(requests), _BATCH):
        answers.extend(answer(requests[start : start + _BATCH]))
    seconds = clock() - started
    for item in answers:
        if isinstance(item, MeshError):
            raise item
    step = max(1, len(requests) // _SINGLES)
    times_ms = []
    for request in requests[::step]:
        single = clock()
        answer([request])
        times_ms.append((clock() - single) * 1e3)
    p50, p99 = np.percentile(times_ms, [50, 99])
    return Timed(answers, float(p50), float(p99), len(requests) / seconds)


def evaluate_classifier(
    answer: Callable[[Sequence[ClassifyRequest]], Sequence[ClassifyResponse | MeshError]],
    rows: Sequence[Row],
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Return the figures of a classifier.

    Args:
        answer: Answers a batch of requests, in order.
        rows: At least one; rows labelled :data:`OUT_OF_SCOPE` are out of scope.
        clock: See :func:`timed`.

    Returns:
        ``n``; ``in_scope_accuracy`` (an abstention is wrong) and ``in_scope_accuracy_forced`` (the
        most probable label, abstained or not); ``accuracy`` over all rows, where out of scope an
        abstention is right; ``oos_recall``; ``ece`` of the top label, 15 bins, in scope, before
        rejection; ``macro_f1`` (forced); ``abstained``; ``tiers`` (share of answers by tier);
        ``p50_ms``, ``p99_ms``, ``texts_per_s``. Figures without rows are left out.
    """
    measured = timed(answer, [ClassifyRequest(text=row.text, top_k=1) for row in rows], clock)
    responses: list[ClassifyResponse] = measured.answers
    truth = np.array([row.label for row in rows])
    inside = truth != OUT_OF_SCOPE
    abstained = np.array([response.HasField("abstention") for response in responses])
    tops = [list(response.labels.labels or response.nearest) for response in responses]
    forced = np.array([labels[0].name if labels else "" for labels in tops])
    confidences = np.array([labels[0].probability if labels else 0.0 for labels in tops])
    right = forced == truth
    figures: dict[str, Any] = {"n": len(rows)}
    figures["accuracy"] = float(np.where(inside, right & ~abstained, abstained).mean())
    if inside.any():
        figures["in_scope_accuracy"] = float((right & ~abstained)[inside].mean())
        figures["in_scope_accuracy_forced"] = float(right[inside].mean())
        figures["ece"] = expected_calibration_error(confidences[inside], right[inside])
        figures["macro_f1"] = macro_f1(truth[inside], forced[inside])
    if (~inside).any():
        figures["oos_recall"] = float(abstained[~inside].mean())
    figures["abstained"] = float(abstained.mean())
    return figures | _tiers(responses) | _times(measured)


def evaluate_scale(
    answer: Callable[[Sequence[ScoreRequest]], Sequence[ScoreResponse | MeshError]],
    scale: str,
    rows: Sequence[Row],
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Return the figures of one scale of a scorer.

    Args:
        answer: Answers a batch of requests, in order.
        scale: The scale.
        rows: At least one; each label is a level of the scale.
        clock: See :func:`timed`.

    Returns:
        ``n``, ``accuracy``, ``macro_f1``, ``ece``, ``spearman`` (of the value with the right
        level's place), ``abstained``, ``tiers``, ``p50_ms``, ``p99_ms``, ``texts_per_s``.
    """
    measured = timed(answer, [ScoreRequest(text=row.text, scales=[scale]) for row in rows], clock)
    responses: list[ScoreResponse] = measured.answers
    scored = [
        (response.scores.scores[0], row.label)
        for response, row in zip(responses, rows, strict=True)
        if response.HasField("scores")
    ]
    tops = [max(score.levels, key=lambda level: level.probability) for score, _ in scored]
    names = [level.name for level in scored[0][0].levels] if scored else []
    found = np.array([level.name for level in tops])
    truth = np.array([label for _, label in scored])
    places = np.array([names.index(label) for label in truth], float)
    values = np.array([score.value for score, _ in scored])
    confidences = np.array([level.probability for level in tops])
    return {
        "n": len(rows),
        "accuracy": float((found == truth).mean()),
        "macro_f1": macro_f1(truth, found),
        "ece": expected_calibration_error(confidences, found == truth),
        "spearman": _spearman(values, places),
        "abstained": 1.0 - len(scored) / len(rows),
        **_tiers(responses),
        **_times(measured),
    }


def macro_f1(truth: np.ndarray, found: np.ndarray) -> float:
    """Return the mean F1 over the labels that occur in the truth."""
    scores = []
    for label in np.unique(truth):
        both = int(((truth == label) & (found == label)).sum())
        either = int((truth == label).sum()) + int((found == label).sum())
        scores.append(2 * both / either)
    return float(np.mean(scores))


def _spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Return the rank correlation, ties sharing their mean rank."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        mean_ranks: np.ndarray = (ends - (counts - 1) / 2.0)[places]
        return mean_ranks

    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(ranks(left), ranks(right))[0, 1])


def _tiers(responses: Sequence[Any]) -> dict[str, Any]:
    tiers = [response.provenance.tier for response in responses]
    return {"tiers": {tier: tiers.count(tier) / len(tiers) for tier in sorted(set(tiers))}}


def _times(measured: Timed) -> dict[str, float]:
    return {
        "p50_ms": measured.p50_ms,
        "p99_ms": measured.p99_ms,
        "texts_per_s": measured.texts_per_s,
    }
