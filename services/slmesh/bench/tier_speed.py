"""How fast the tiers of a classifier are in one process, and what the cascade gives up for its speed.

One thread, no server. Texts are asked in groups of one size; the tiers take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from slmesh.bench.interleaved import median_seconds
from slmesh.bench.subjects import BenchSubject
from slmesh.evaluation.cases import OUT_OF_SCOPE
from slmesh.evaluation.label_figures import label_figures
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings
from slmesh.tiers.answering import Classifying
from slmesh.tiers.classifier import ENCODER, LINEAR, TIER_CHOICES, Prediction, TwoTierClassifier
from slmesh.tiers.encoder import SentenceEncoder, encoder_digest, load_encoder

__all__ = ["SHARES", "TARGETS", "linear_latency", "share_curve", "tier_figures"]

TARGETS = {
    "short_p50_ms": 0.3,
    "words_500_p50_ms": 10.0,
    "cascade_to_encoder": 3.0,
    "accuracy_loss_points": 0.2,
    "oos_recall_loss_points": 0.5,
}
"""What the project promises: at most, at most, at least, at most, at most."""

SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Points of the curve: the share of texts that the linear tier answers."""

_BATCH = 32
_SHORT_CALLS, _LONG_CALLS, _LONG_WORDS = 200, 20, 500
_TIMED_TEXTS = 640


def linear_latency(subject: BenchSubject, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of the linear tier for one short text and for one of 500 words."""
    classifier = TwoTierClassifier.from_bundle(subject.bundle, None)
    short = subject.texts_in_scope[:_SHORT_CALLS]
    words = " ".join(subject.texts).split() or ["word"]
    words *= -(-_LONG_WORDS // len(words))
    starts = range(0, len(words) - _LONG_WORDS + 1, _LONG_WORDS)
    long = [" ".join(words[i : i + _LONG_WORDS]) for i in starts][:_LONG_CALLS]
    times: dict[str, list[float]] = {"short": [], "long": []}
    for turn in range(rounds + 1):
        for name, texts in (("short", short), ("long", long)):
            each = [_milliseconds(lambda t=text: classifier.predict([t], LINEAR)) for text in texts]  # type: ignore[misc]
            if turn:
                times[name].append(statistics.median(each))
    return {
        "short_words": statistics.median(len(text.split()) for text in short),
        "short_p50_ms": statistics.median(times["short"]),
        "words_500_p50_ms": statistics.median(times["long"]),
    }


def tier_figures(subject: BenchSubject, settings: Settings, rounds: int) -> dict[str, Any]:
    """Return for each tier its figures on the texts and its texts a second at one batch size.

    Raises:
        FailedPrecondition: The encoder is not compiled here.
    """
    encoder = _encoder(subject, settings)
    answering = {
        choice: Classifying(subject.bundle, encoder, subject.manifest.name, choice)
        for choice in TIER_CHOICES
    }
    requests = subject.requests()
    rows: dict[str, Any] = {}
    for choice, serving in answering.items():
        responses = [a for group in _groups(requests) for a in serving.answer(group)]
        tiers = [response.provenance.tier for response in responses]
        figures = label_figures(subject.expected, responses)
        rows[choice] = {"linear_share": tiers.count(LINEAR) / len(tiers), **figures}
    # evenly spread, so that texts in and out of scope keep their shares
    timed = requests[:: -(-len(requests) // _TIMED_TEXTS)]

    def work(serving: Classifying) -> Callable[[], None]:
        def all_groups() -> None:
            for group in _groups(timed):
                serving.answer(group)

        return all_groups

    seconds = median_seconds({choice: work(s) for choice, s in answering.items()}, rounds)
    for choice, row in rows.items():
        row["texts_per_s"] = len(timed) / seconds[choice]
    return {
        "texts": len(requests),
        "batch": _BATCH,
        "tiers": rows,
        **_differences(rows),
    }


def _differences(rows: Mapping[str, Any]) -> dict[str, float]:
    cascade, encoder = rows["cascade"], rows[ENCODER]
    found = {"cascade_to_encoder": cascade["texts_per_s"] / encoder["texts_per_s"]}
    for name, key in (
        ("accuracy_loss_points", "in_scope_accuracy_forced"),
        ("oos_recall_loss_points", "oos_recall"),
    ):
        if key in cascade:
            found[name] = 100 * (encoder[key] - cascade[key])
    return found


def share_curve(subject: BenchSubject, settings: Settings) -> list[dict[str, float]]:
    """Return what the cascade's figures were, did the linear tier answer other shares of the texts.

    Its surest answers come first. A row has ``linear_share``, ``switch`` (the least confidence that
    is answered), ``accuracy`` (forced, in scope) and ``oos_recall``, where there are such texts.
    """
    classifier = TwoTierClassifier.from_bundle(subject.bundle, _encoder(subject, settings))
    texts = list(subject.texts)
    linear = classifier.predict(texts, LINEAR)
    encoder = classifier.predict(texts, ENCODER)
    truth = np.array([item.label for item in subject.expected])
    inside = truth != OUT_OF_SCOPE
    right = {tier: _right(subject, p, truth) for tier, p in ((LINEAR, linear), (ENCODER, encoder))}
    abstains = np.array([prediction.abstains for prediction in encoder])
    confidence = np.array([prediction.confidence for prediction in linear])
    order = np.argsort(-confidence, kind="stable")
    shipped = float((confidence >= subject.bundle.thresholds["switch"]).mean())
    rows = []
    for count in sorted({round(share * len(texts)) for share in (*SHARES, shipped)}):
        by_linear = np.zeros(len(texts), bool)
        by_linear[order[:count]] = True
        row = {
            "linear_share": count / len(texts),
            "switch": float(confidence[order[count - 1]]) if count else 1.0,
            "accuracy": float(np.where(by_linear, right[LINEAR], right[ENCODER])[inside].mean()),
        }
        if not inside.all():
            # a linear tier that is sure enough never abstains
            row["oos_recall"] = float((abstains & ~by_linear)[~inside].mean())
        rows.append(row)
    return rows


def _right(subject: BenchSubject, predictions: list[Prediction], truth: np.ndarray) -> np.ndarray:
    labels = subject.bundle.labels
    found = np.array([labels[prediction.top(1)[0]] for prediction in predictions])
    right: np.ndarray = found == truth
    return right


def _encoder(subject: BenchSubject, settings: Settings) -> SentenceEncoder:
    assert subject.bundle.backbone is not None
    encoder = load_encoder(settings.cache_dir, encoder_digest(subject.bundle.backbone))
    if encoder is None:
        raise FailedPrecondition(
            f"the encoder of '{subject.bundle.name}' is not compiled: run `slmesh models compile`",
            reason="ENCODER_NOT_COMPILED",
        )
    return encoder


def _groups(requests: list[Any]) -> list[list[Any]]:
    return [requests[i : i + _BATCH] for i in range(0, len(requests), _BATCH)]


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3
