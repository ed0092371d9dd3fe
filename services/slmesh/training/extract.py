"""Trains an extractor from its recipe: texts with marked fields in, a bundle with its card out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest, ExtractResponse
from slmesh.mesh.bundle import Bundle, find_bundle, load_bundle, write_bundle
from slmesh.mesh.drift import REFERENCE_FILE, Sketch, signs_of
from slmesh.training.card import data_table
from slmesh.training.classify import data_entries
from slmesh.training.recipe import Recipe
from slmesh.training.token_data import read_slot_texts
from slmesh.training.token_rows import SlotText, TaggerRows
from slmesh.training.token_tiers import TaggerTiers, train_tagger_tiers
from slmesh.weights.adapter import adapter_of
from slmesh.weights.fetch import Progress, silent

__all__ = ["drift_reference", "method_of", "tier_section", "train_extractor"]


def train_extractor(
    recipe: Recipe, data_dir: Path, cache_dir: Path, progress: Progress = silent
) -> Bundle:
    """Train, compile, calibrate and measure, and write the bundle beside the recipe.

    Args:
        recipe: ``linear`` and ``encoder`` as ``token_tiers.train_tagger_tiers`` takes them;
            ``encoder.start`` may name a bundle beside it, whose adapter is where tuning begins.
        data_dir: The folder of all data sets.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.

    Raises:
        FailedPrecondition: The recipe or a data file is not as expected.
    """
    train, held = read_slot_texts(recipe, data_dir)
    own = [row for row in train if row.source == train[0].source]
    labels = sorted({label for row in own for label, _, _ in row.spans})
    rows = TaggerRows(train, _known(held, labels), labels)
    made = train_tagger_tiers(
        rows,
        recipe.linear,
        recipe.encoder,
        recipe.seed,
        cache_dir,
        progress,
        name=f"{recipe.name} {recipe.version}",
        start=_start(recipe),
    )
    content = {
        "name": recipe.name,
        "version": recipe.version,
        "contract": "extract/v1",
        "label_set": {"labels": labels},
        **made.entries,
        "metrics": made.figures,
        "data": data_entries(recipe),
        "recipe_digest": recipe.digest,
    }
    texts = {
        "card.md": _card(recipe, len(own), len(train) - len(own), made),
        "golden.jsonl": (recipe.folder / "golden.jsonl").read_text(encoding="utf-8"),
        REFERENCE_FILE: drift_reference(held, made.entries["tiers"]),
    }
    return write_bundle(recipe.folder / recipe.version, content, made.tensors, texts)


def _start(recipe: Recipe) -> dict[str, np.ndarray] | None:
    """Return the adapter of the bundle that the recipe names with ``encoder.start``."""
    reference = recipe.encoder.get("start")
    if not reference:
        return None
    bundle = load_bundle(find_bundle(reference, [recipe.folder.parent]))
    return adapter_of(bundle.tensors())


def _known(rows: Sequence[SlotText], labels: Sequence[str]) -> list[SlotText]:
    """Return validation texts without fields that no training text has, which nobody could learn."""
    known = set(labels)
    return [
        replace(row, spans=tuple(span for span in row.spans if span[0] in known)) for row in rows
    ]


def drift_reference(rows: Sequence[SlotText], tiers: Sequence[str]) -> str:
    """Return what drift of the texts is told against, for each tier: the validation texts."""
    asked = [signs_of(ExtractRequest(text=row.text), ExtractResponse()) for row in rows]
    known = {"linear", *tiers}  # the first is what drift is told against where a tier has none
    return json.dumps({tier: Sketch.over(iter(asked)).content() for tier in sorted(known)}) + "\n"


def tier_section(title: str, figures: Mapping[str, Any]) -> list[str]:
    """Return the section of a card on one tier: a row for each field, and the calibration error."""
    lines = [title, "", "| field | spans | precision | recall | F1 |", "|---|---|---|---|---|"]
    for label, row in [("all", figures["spans"]), *figures["by_label"].items()]:
        lines.append(
            f"| {label} | {row['n']:.0f} | {row['precision']:.3f} | {row['recall']:.3f}"
            f" | {row['f1']:.3f} |"
        )
    lines += [
        "",
        "Calibration error (ECE, 15 bins), one half calibrating, the other measured:"
        f" {figures['ece']:.3f}.",
        "",
    ]
    return lines


def method_of(encoder: Mapping[str, Any], made: TaggerTiers) -> list[str]:
    """Return sentences on how the tiers were made."""
    sentences = []
    if "linear" in made.figures:
        sentences.append("linear: a linear-chain conditional random field over hashed features.")
    if "encoder" not in made.figures:
        return sentences
    numbers, figures = encoder["fine_tuning"], made.figures["encoder"]
    if sentences:
        sentences[0] += " It answers where the encoder is not compiled."
    rules = ", ".join(numbers["rules"]) or "none"
    sentences += [
        f"encoder: {encoder['backbone']}, its last {numbers['layers']} layers fine-tuned through"
        f" adapters of rank {numbers['rank']} for {_epochs(numbers)} (weights averaged). A word"
        " is the mean of its pieces and the sum of its hashed lexical features; a hidden layer reads"
        " it with its neighbours, a conditional random field labels the row. Rules whose finds are"
        f" features: {rules}.",
        f"Served in {made.entries['parameters']['precision']}: validation span F1"
        f" {figures['int8']:.4f} in int8, {figures['fp32']:.4f} in fp32.",
    ]
    return sentences


def _epochs(numbers: Mapping[str, Any]) -> str:
    """Say how long was tuned, which may be less than the schedule."""
    whole = numbers["epochs"]
    run = numbers.get("stop_after", whole) - 1 + numbers.get("last_share", 1)
    return f"{run:g} epochs" if run == whole else f"{run:g} epochs of a schedule of {whole}"


def _card(recipe: Recipe, own: int, beside: int, made: TaggerTiers) -> str:
    lines = [f"# {recipe.name} {recipe.version}", "", recipe.description.strip(), ""]
    lines += ["## Data", "", *data_table(recipe), "", "## Method", ""]
    lines.append(f"- {own:,} training texts; {beside:,} of other sets learnt beside.")
    lines += [f"- {sentence}" for sentence in method_of(recipe.encoder, made)]
    lines += ["", "## Figures on validation texts", ""]
    lines += [
        "Exact start, end and label, micro. These texts also calibrated the model and were watched"
        " while it was made, so the figures flatter it a little. Test texts were not read.",
        "",
    ]
    for tier, figures in made.figures.items():
        lines += tier_section(f"### {tier}, {figures['n']:,} texts", figures)
    if made.history:
        lines += ["### Fine-tuning", "", "| epoch | loss | validation F1, fp32 |", "|---|---|---|"]
        lines += [
            f"| {at} | {row['loss']:.3f} | {row['held_f1']:.4f} |"
            for at, row in enumerate(made.history, 1)
        ]
        lines.append("")
    lines += ["## Limits", "", *[f"- {limit}" for limit in recipe.limits], ""]
    size = sum(array.nbytes for array in made.tensors.values())
    lines += ["## Size", "", f"Weights in this bundle: {size / 1e6:.2f} MB.", ""]
    return "\n".join(lines)
