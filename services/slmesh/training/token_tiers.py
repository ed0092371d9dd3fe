"""Trains the tiers of an extractor from texts with marked fields, and measures them.

A linear tagger, where asked for, and a fine-tuned encoder, compiled as serving will run it. It knows
no data set and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmesh.mesh.bundle import digest_of
from slmesh.slm.entities.encoder_tagger import HEAD_PREFIX, EncoderTagger
from slmesh.slm.entities.extracting import ENCODER, LINEAR, LINEAR_PREFIX, PRECISIONS
from slmesh.slm.entities.tagger import LinearTagger, TaggedSpan
from slmesh.tiers.calibration import expected_calibration_error, fit_logistic
from slmesh.tiers.token_encoder import TokenEncoder
from slmesh.training.tagging import span_odds, trained
from slmesh.training.tagging_data import MarkedText
from slmesh.training.token_rows import SlotText, TaggerRows, common_words
from slmesh.weights.adapter import PREFIX
from slmesh.weights.compile import backbone_folder, compile_adapted
from slmesh.weights.fetch import Progress

if TYPE_CHECKING:
    from slmesh.training.token_finetune import TunedTagger

__all__ = ["TaggerTiers", "span_figures", "train_tagger_tiers"]

_MOST_LOST = 0.003
"""Span F1 that int8 may cost; above it the encoder is served in fp32."""

_LEAST_SPANS = 30
"""Spans a label needs for a calibration of its own."""

_COMMON_FROM = 4
"""Times a word must occur outside fields to count as everyday."""


@dataclass
class TaggerTiers:
    """What training made, as a bundle holds it.

    Attributes:
        tensors: Arrays by name.
        entries: ``tiers``, ``backbone``, ``calibration`` and ``parameters`` of the bundle.
        figures: Of each tier, see :func:`span_figures`; of the encoder with ``ece`` and, in ``fp32``,
            the span F1 before it was made int8.
        history: Of the fine-tuning, by epoch.
    """

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    entries: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()


def train_tagger_tiers(
    rows: TaggerRows,
    linear: Mapping[str, Any],
    encoder: Mapping[str, Any],
    seed: int,
    cache_dir: Path,
    progress: Progress,
    *,
    name: str,
    start: Mapping[str, np.ndarray] | None = None,
) -> TaggerTiers:
    """Train, compile, calibrate and measure.

    Args:
        rows: The rows; the validation rows calibrate and measure.
        linear: Numbers of the linear tagger, see ``tagging.FieldTrainer``; empty for none.
        encoder: ``backbone``, ``fine_tuning`` (see ``token_finetune.tune_tagger``) and ``values``,
            the kinds that read the value of each label; empty for no such tier.
        seed: Of everything random.
        cache_dir: The folder of everything fetched or compiled, and of checkpoints.
        progress: Told of each step.
        name: Of the model, with its version, for messages.
        start: An adapter to begin from, see ``token_finetune.tune_tagger``.

    Raises:
        FailedPrecondition: A digest is wrong, or what it takes is not installed.
    """
    made = TaggerTiers()
    tags = ("O", *(f"{part}-{label}" for label in rows.labels for part in "BI"))
    made.entries = {
        "tiers": [],
        "backbone": None,
        "calibration": {},
        "parameters": {"tags": list(tags)},
    }
    if linear:
        _add_linear(made, rows, linear, seed, tags, progress)
    if encoder:
        _add_encoder(made, rows, encoder, seed, cache_dir, progress, name, start)
    progress("measuring", 1.0)
    return made


def _add_linear(
    made: TaggerTiers,
    rows: TaggerRows,
    numbers: Mapping[str, Any],
    seed: int,
    tags: Sequence[str],
    progress: Progress,
) -> None:
    own = [row for row in rows.rows if row.source == rows.rows[0].source]
    texts = [MarkedText(row.text, row.spans, row.source) for row in own]
    common = common_words(own, _COMMON_FROM)
    tensors = trained(texts, common, {"numbers": numbers, "seed": seed}, progress, tags)
    tagger = LinearTagger(tags, tensors, _plain(rows.labels))
    found = tagger.tag([row.text for row in rows.held])
    made.tensors |= {LINEAR_PREFIX + key: array for key, array in tensors.items()}
    _add_measured(made, LINEAR, rows, found, span_figures(rows.held, found, rows.labels))


def _add_encoder(
    made: TaggerTiers,
    rows: TaggerRows,
    encoder: Mapping[str, Any],
    seed: int,
    cache_dir: Path,
    progress: Progress,
    name: str,
    start: Mapping[str, np.ndarray] | None,
) -> None:
    from slmesh.training.token_finetune import tune_tagger  # torch, which a linear tagger needs not

    backbone = backbone_folder(encoder["backbone"], cache_dir, progress)
    numbers = encoder["fine_tuning"]
    checkpoint = cache_dir / "training" / name.partition(" ")[0]
    tuned = tune_tagger(backbone, rows, numbers, seed, checkpoint, progress, start)
    compiled = compile_adapted(encoder["backbone"], tuned.adapter, cache_dir, progress, name=name)
    progress("measuring", 0.0)
    precision, found, figures = _measured(rows, tuned, numbers, compiled.folder)
    made.tensors |= {PREFIX + key: array for key, array in tuned.adapter.items()}
    made.tensors |= {HEAD_PREFIX + key: array for key, array in tuned.head.items()}
    made.entries["backbone"] = {
        "name": encoder["backbone"],
        "digest": digest_of(backbone / "model.safetensors"),
        "adapted": compiled.digest,
    }
    made.entries["parameters"] |= {
        "rules": list(numbers["rules"]),
        "asked": list(rows.asked),
        "values": dict(encoder["values"]),
        "precision": precision,
    }
    made.history = tuned.history
    _add_measured(made, ENCODER, rows, found, figures)


def _add_measured(
    made: TaggerTiers,
    tier: str,
    rows: TaggerRows,
    found: Sequence[Sequence[TaggedSpan]],
    figures: Mapping[str, Any],
) -> None:
    made.entries["tiers"].append(tier)
    made.entries["calibration"][tier] = _calibration(rows.held, found, rows.labels)
    ece = _half_and_half(rows.held, found, rows.labels)
    made.figures[tier] = dict(figures) | {"ece": ece}


def span_figures(
    rows: Sequence[SlotText], found: Sequence[Sequence[TaggedSpan]], labels: Sequence[str]
) -> dict[str, Any]:
    """Return ``n``, the texts; and ``spans`` and, by label, ``by_label``: precision, recall, F1, n."""
    counts: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for row, spans in zip(rows, found, strict=True):
        gold = set(row.spans)
        ours = {(span.label, span.start, span.end) for span in spans}
        for name, group in (("right", gold & ours), ("found", ours), ("gold", gold)):
            for label, _, _ in group:
                counts.setdefault(label, Counter())[name] += 1
    total = sum(counts.values(), Counter[str]())
    by_label = {label: _scores(count) for label, count in counts.items()}
    return {"n": len(rows), "spans": _scores(total), "by_label": by_label}


def _scores(count: Mapping[str, int]) -> dict[str, float]:
    precision = count["right"] / max(count["found"], 1)
    recall = count["right"] / max(count["gold"], 1)
    f1 = 2 * count["right"] / max(count["found"] + count["gold"], 1)
    return {"n": count["gold"], "precision": precision, "recall": recall, "f1": f1}


def _measured(
    rows: TaggerRows, tuned: TunedTagger, numbers: Mapping[str, Any], folder: Path
) -> tuple[str, list[list[TaggedSpan]], dict[str, Any]]:
    """Return the precision to serve in, and what it finds on the validation rows."""
    texts = [row.text for row in rows.held]
    # what a text had been asked for is part of the request, as in serving
    asked = [row.asked for row in rows.held]
    found, figures = {}, {}
    for precision, model_file in PRECISIONS.items():
        tagger = EncoderTagger(
            tuned.tags,
            tuned.head,
            _plain(rows.labels),
            TokenEncoder(folder, model_file=model_file),
            numbers["rules"],
            rows.asked,
        )
        found[precision] = tagger.tag(texts, asked)
        figures[precision] = span_figures(rows.held, found[precision], rows.labels)
    f1 = {precision: figures[precision]["spans"]["f1"] for precision in figures}
    precision = "fp32" if f1["fp32"] - f1["int8"] > _MOST_LOST else "int8"
    return precision, found[precision], figures[precision] | f1


def _plain(labels: Sequence[str]) -> dict[str, dict[str, float]]:
    return {label: {"slope": 1.0, "intercept": 0.0} for label in labels}


def _calibration(
    rows: Sequence[SlotText], found: Sequence[Sequence[TaggedSpan]], labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return for each label the curve of its spans, or of all where it has too few of its own."""
    odds, right = span_odds([row.spans for row in rows], found, labels)
    pooled = _curve(list(chain(*odds.values())), list(chain(*right.values())))
    return {
        label: _curve(odds[label], right[label]) if len(odds[label]) >= _LEAST_SPANS else pooled
        for label in odds
    }


def _curve(odds: Sequence[float], right: Sequence[bool]) -> dict[str, float]:
    if len(odds) < 2:
        return {"slope": 1.0, "intercept": 0.0}
    slope, intercept = fit_logistic(np.array(odds), np.array(right))
    return {"slope": slope, "intercept": intercept}


def _half_and_half(
    rows: Sequence[SlotText], found: Sequence[Sequence[TaggedSpan]], labels: Sequence[str]
) -> float:
    """Return the calibration error (ECE, 15 bins) on one half, the other half calibrating."""
    curves = _calibration(rows[::2], found[::2], labels)
    probabilities, right = [], []
    for row, spans in zip(rows[1::2], found[1::2], strict=True):
        for span in spans:
            clipped = min(max(span.probability, 1e-6), 1 - 1e-6)
            curve = curves[span.label]
            odds = curve["slope"] * np.log(clipped / (1 - clipped)) + curve["intercept"]
            probabilities.append(float(1 / (1 + np.exp(-odds))))
            right.append((span.label, span.start, span.end) in row.spans)
    return float(expected_calibration_error(np.array(probabilities), np.array(right)))
