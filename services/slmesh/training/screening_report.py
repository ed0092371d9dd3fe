"""Measures the guard's bundle on validation rows and writes it with its card and plots.

It judges texts by the code that serves them. It does not train, and reads no test row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle, write_bundle
from slmesh.slm.guard.injection import HEADS, InjectionModel
from slmesh.slm.guard.tagger import load_tagger
from slmesh.tiers.calibration import expected_calibration_error
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training.plots import curves, reliability
from slmesh.training.screening_card import card
from slmesh.training.screening_data import VALIDATION, Example
from slmesh.training.screening_personal import personal_metrics

__all__ = ["interval", "publish"]

_MOST_FALSE_POSITIVES = 0.05
"""Where the curve of recall over false positives ends."""


def publish(
    folder: Path,
    content: dict[str, Any],
    tensors: Mapping[str, np.ndarray],
    golden: str,
    examples: Sequence[Example],
    encoder: SentenceEncoder,
    data_dir: Path,
) -> Bundle:
    """Write a bundle, measure it through the code that serves it, and write it with what was found.

    Args:
        folder: Where the bundle is written.
        content: What ``bundle.json`` says; its ``metrics`` hold what only training can tell.
        tensors: The weights.
        golden: The golden rows.
        examples: Of the injection check; validation rows are measured.
        encoder: The backbone.
        data_dir: The folder of all data sets.
    """
    with tempfile.TemporaryDirectory() as scratch:
        bundle = write_bundle(Path(scratch), content, tensors, {"golden.jsonl": golden})
        models = {
            "linear": InjectionModel(bundle, None),
            "encoder": InjectionModel(bundle, encoder),
        }
        tagger = load_tagger(bundle)
    held = [example for example in examples if example.split == VALIDATION]
    told = {
        tier: {head: _judged(model, held, head) for head in HEADS} for tier, model in models.items()
    }
    leniency = float(bundle.thresholds["personal"]["redaction_leniency"])
    content["metrics"] = {
        **content["metrics"],
        "injection": {tier: _injection_metrics(by_head, held) for tier, by_head in told.items()},
        "personal_data": personal_metrics(data_dir, range(7, 8), lambda _: tagger, leniency),
    }
    plots = _plots(content, held, told["encoder"])
    files = {"golden.jsonl": golden, "card.md": card(content, sorted(plots)), **plots}
    return write_bundle(folder, content, tensors, files)


@dataclass(frozen=True)
class _Judged:
    """What a model says of the texts of one head.

    Attributes:
        probabilities: float (N,), of the most likely window of each text.
        flagged: bool (N,): at least one window reached its threshold.
    """

    probabilities: np.ndarray
    flagged: np.ndarray


def _judged(model: InjectionModel, examples: Sequence[Example], head: str) -> _Judged:
    """Return what a model says of the examples of a head, in their order."""
    texts = [example.text for example in examples if example.head == head]
    return _Judged(
        np.array([model.probability(text, head) for text in texts]),
        np.array([bool(model.find(text, head)) for text in texts]),
    )


def _injection_metrics(told: Mapping[str, _Judged], examples: Sequence[Example]) -> dict[str, Any]:
    """Return the rate of flagged texts by head and source, and the calibration error."""
    measured: dict[str, Any] = {}
    for head, answers in told.items():
        rows = [example for example in examples if example.head == head]
        truth = np.array([example.injected is not None for example in rows])
        names = np.array([_named(row) for row in rows])
        sources: dict[str, Any] = {}
        for name in sorted(set(names.tolist())):
            hits = answers.flagged[names == name]
            low, high = interval(int(hits.sum()), len(hits))
            flagged = float(hits.mean())
            sources[name] = {"n": len(hits), "flagged": flagged, "low": low, "high": high}
        measured[head] = {
            "sources": sources,
            "ece": expected_calibration_error(answers.probabilities, truth),
        }
    return measured


def _named(row: Example) -> str:
    return f"{row.source} ({'benign' if row.injected is None else 'injections'})"


def interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a rate. Source: Wilson, JASA 22, 1927."""
    z = 1.96
    rate = hits / count
    middle = rate + z * z / (2 * count)
    half = z * sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _plots(
    content: Mapping[str, Any],
    examples: Sequence[Example],
    told: Mapping[str, _Judged],
) -> dict[str, str]:
    """Return the plots by file name."""
    drawn: dict[str, str] = {}
    for head in HEADS:
        rows = [example for example in examples if example.head == head]
        truth = np.array([example.injected is not None for example in rows])
        probabilities = told[head].probabilities
        sure = np.maximum(probabilities, 1 - probabilities)
        drawn[f"{head}-reliability.svg"] = reliability(sure, (probabilities >= 0.5) == truth)
        drawn[f"{head}-recall.svg"] = curves(
            f"Recall over false positives, {head}",
            "share of all benign texts flagged",
            "recall",
            _recall_lines(rows, probabilities),
            right=_MOST_FALSE_POSITIVES,
        )
    points = content["metrics"]["redaction_curve"]
    drawn["redaction.svg"] = curves(
        "Redaction of names and addresses, cross-validated",
        "share of other characters covered in vain",
        "share of characters covered",
        {"rising leniency": [(point["in_vain"], point["recall"]) for point in points]},
        right=max(0.01, max(point["in_vain"] for point in points)),
    )
    return drawn


def _recall_lines(
    rows: Sequence[Example], probabilities: np.ndarray
) -> dict[str, list[tuple[float, float]]]:
    """Return recall by source of injections over the rate of all benign texts flagged."""
    benign = np.sort(
        [p for row, p in zip(rows, probabilities, strict=True) if row.injected is None]
    )[::-1]
    lines: dict[str, list[tuple[float, float]]] = {}
    for source in sorted({row.source for row in rows if row.injected is not None}):
        mine = np.array(
            [
                p
                for row, p in zip(rows, probabilities, strict=True)
                if row.source == source and row.injected is not None
            ]
        )
        most = int(_MOST_FALSE_POSITIVES * len(benign))
        lines[source] = [
            (at / len(benign), float((mine > benign[at]).mean())) for at in range(most + 1)
        ]
    return lines
