"""Measures a model by the code that serves it, and writes its bundle with card and plots.

The same for a model just trained, calibrated anew, or only measured again. It fits nothing.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.mesh.bundle import Bundle, write_bundle
from slmesh.mesh.drift import REFERENCE_FILE, Sketch, signs_of
from slmesh.tiers.answering import Classifying, Scoring
from slmesh.tiers.classifier import LINEAR, TIER_CHOICES
from slmesh.tiers.encoder import encoder_digest, load_encoder
from slmesh.training.card import write_card
from slmesh.training.evaluate import Row, evaluate_classifier, evaluate_scale
from slmesh.training.outcomes import asked, drawn, label_outcomes, level_outcomes
from slmesh.training.recipe import Recipe
from slmesh.weights.fetch import Progress

__all__ = [
    "Draft",
    "Measured",
    "bare_content",
    "classifier_measured",
    "golden_rows",
    "publish",
    "scorer_measured",
]

_CASCADE = TIER_CHOICES[0]
_FILLED_IN = ("format", "files", "digest")
"""What writing a bundle adds to its content."""


@dataclass(frozen=True)
class Draft:
    """A model that is complete but for what measuring tells.

    Attributes:
        recipe: What it is made from; the bundle is written beside it.
        content: What ``bundle.json`` says, without metrics.
        tensors: Its arrays.
        method: Sentences on how it was made, for the card.
        golden: The golden rows, as JSON Lines.
    """

    recipe: Recipe
    content: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]
    method: Sequence[str]
    golden: str


@dataclass(frozen=True)
class Measured:
    """What measuring tells of a model.

    Attributes:
        metrics: Figures, as the bundle keeps them.
        tables: Figures by the card's table and column.
        plots: SVG by file name.
        reference: What drift is told against, by what answered.
    """

    metrics: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Mapping[str, Any]]]
    plots: Mapping[str, str]
    reference: Mapping[str, Sketch]


def bare_content(bundle: Bundle) -> dict[str, Any]:
    """Return a copy of what a bundle says, without what writing it fills in."""
    bare = {key: value for key, value in bundle.content.items() if key not in _FILLED_IN}
    return copy.deepcopy(bare)


def golden_rows(bundle: Bundle) -> str:
    """Return the golden rows of a bundle, as JSON Lines."""
    return (bundle.folder / "golden.jsonl").read_text(encoding="utf-8")


def publish(
    draft: Draft, measure: Callable[[Bundle], Measured], folder: Path, progress: Progress
) -> Bundle:
    """Write a bundle with its card, measured.

    Args:
        draft: The model.
        measure: Measures a bundle of it, by the code that serves.
        folder: Where to.
        progress: Told of each step.
    """
    progress("measuring", 0.0)
    texts = {"golden.jsonl": draft.golden}
    with tempfile.TemporaryDirectory() as scratch:
        unmeasured = write_bundle(Path(scratch), draft.content, draft.tensors, texts)
        measured = measure(unmeasured)
        size_bytes = (Path(scratch) / "weights.safetensors").stat().st_size
    card = write_card(
        draft.recipe,
        draft.method,
        measured.tables,
        draft.content["thresholds"],
        size_bytes,
        plots=tuple(measured.plots),
    )
    progress("measuring", 1.0)
    content = dict(draft.content) | {
        "metrics": measured.metrics,
        # also in the bundle, so that a card can be written again without training
        "method": list(draft.method),
    }
    reference = {tier: sketch.content() for tier, sketch in measured.reference.items()}
    texts |= {"card.md": card, **measured.plots, REFERENCE_FILE: json.dumps(reference) + "\n"}
    return write_bundle(folder, content, draft.tensors, texts)


def classifier_measured(
    bundle: Bundle, inside: Sequence[Row], outside: Sequence[Row], cache_dir: Path
) -> Measured:
    """Measure a classifier on validation rows, by tier.

    Args:
        bundle: The bundle.
        inside: Rows in scope.
        outside: Rows out of scope.
        cache_dir: The folder of everything fetched or compiled.
    """
    serving = _by_tier(bundle, cache_dir, Classifying)
    figures = {
        choice: evaluate_classifier(answer, [*inside, *outside], time.process_time)
        for choice, answer in serving.items()
    }
    requests = [ClassifyRequest(text=row.text, top_k=1) for row in inside]
    responses = {choice: asked(serving[choice], requests) for choice in _references(serving)}
    outcomes = label_outcomes(responses[next(iter(serving))], inside)
    reference = {choice: _sketch(requests, found) for choice, found in responses.items()}
    return Measured(figures, {"By tier": figures}, drawn(outcomes), reference)


def scorer_measured(bundle: Bundle, held: Mapping[str, Sequence[Row]], cache_dir: Path) -> Measured:
    """Measure a scorer on the validation rows of each of its scales, by tier."""
    serving = _by_tier(bundle, cache_dir, Scoring)
    figures = {
        scale: {
            choice: evaluate_scale(answer, scale, rows, time.process_time)
            for choice, answer in serving.items()
        }
        for scale, rows in held.items()
    }
    first = next(iter(serving.values()))
    plots: dict[str, str] = {}
    for scale, rows in held.items():
        responses = asked(first, [ScoreRequest(text=row.text, scales=[scale]) for row in rows])
        plots |= drawn(level_outcomes(responses, rows), f"{scale}-")
    texts = dict.fromkeys(row.text for rows in held.values() for row in rows)
    requests = [ScoreRequest(text=text) for text in texts]
    reference = {
        choice: _sketch(requests, asked(serving[choice], requests))
        for choice in _references(serving)
    }
    return Measured(figures, figures, plots, reference)


def _references(serving: Mapping[str, Any]) -> list[str]:
    """Return what drift is told against: the whole service, and the linear tier alone."""
    return [choice for choice in (_CASCADE, LINEAR) if choice in serving]


def _sketch(requests: Sequence[Any], responses: Sequence[Any]) -> Sketch:
    return Sketch.over(map(signs_of, requests, responses))


def _by_tier(bundle: Bundle, cache_dir: Path, serving: Any) -> dict[str, Callable[..., Any]]:
    """Return what answers, for each choice of tiers the bundle has; the whole service first."""
    if bundle.backbone is None:
        return {LINEAR: serving(bundle, None, bundle.name, LINEAR).answer}
    encoder = load_encoder(cache_dir, encoder_digest(bundle.backbone))
    return {choice: serving(bundle, encoder, bundle.name, choice).answer for choice in TIER_CHOICES}
