"""From a user's texts with marked spans to a service that extracts them.

A linear tagger is trained on them, calibrated and measured. It joins the parts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest, ExtractResponse
from slmesh.factory.inspection import Finding
from slmesh.factory.marked import InspectedSpans, inspect_spans, read_marked
from slmesh.factory.new_model import MODELS_FOLDER, Made, Order, next_version
from slmesh.factory.service_files import check_service, write_service
from slmesh.mesh.bundle import digest_of, write_bundle
from slmesh.mesh.drift import REFERENCE_FILE, Sketch, signs_of
from slmesh.mesh.errors import InvalidArgument
from slmesh.slm.entities.features import tokens, word_code
from slmesh.slm.entities.tagger import LinearTagger
from slmesh.training.rows import bucket, normalised
from slmesh.training.tagging import span_odds, trained
from slmesh.training.tagging_data import MarkedText
from slmesh.training.tagging_report import calibration_error
from slmesh.weights.fetch import Progress

__all__ = ["make_extractor"]

_VALIDATION = (7, 8)
_LEAST_VALIDATION = 10
_FEW_TEXTS = 3000
_GOLDEN_ROWS = 30
_COMMON_FROM = 4
"""Times a word must occur to count as everyday."""

_NUMBERS = {
    "bits": 16,
    "batch": 16,
    "rate": 0.2,
    "decay": 0.001,
    "dropped": 0.2,
    "outside_penalty": 0.0,
}


def make_extractor(
    order: Order,
    cache_dir: object,
    progress: Progress,
    on_findings: Callable[[tuple[Finding, ...]], None],
) -> Made:
    """Make a service of the extract contract from texts with marked spans.

    Raises:
        InvalidArgument: The file or its rows cannot be used; file, row and column are named.
        FailedPrecondition: The name cannot be used, or something that it takes is not installed.
    """
    del cache_dir  # nothing is compiled
    service_folder = order.folder / order.name
    check_service(service_folder, "extract")
    inspected = inspect_spans(read_marked(order.file, order.columns, order.encoding), order.file)
    on_findings(inspected.findings)
    held = [row for row in inspected.texts if bucket(normalised(row.text)) in _VALIDATION]
    train = [row for row in inspected.texts if bucket(normalised(row.text)) not in _VALIDATION]
    if len(held) < _LEAST_VALIDATION:
        raise InvalidArgument(
            f"{order.file}: {len(inspected.texts)} usable rows leave {len(held)} to validate on, and"
            f" {_LEAST_VALIDATION} are the least; give more",
            reason="TOO_FEW_ROWS",
        )
    tags = ("O", *(f"{part}-{label}" for label in inspected.labels for part in "BI"))
    numbers = _NUMBERS | {"epochs": 12 if len(train) < _FEW_TEXTS else 6}
    tensors = trained(train, _common(train), {"numbers": numbers, "seed": 13}, progress, tags)
    calibration = _calibration(tensors, held, tags)
    metrics = _measured(LinearTagger(tags, tensors, calibration), held, inspected.labels)
    half = LinearTagger(tags, tensors, _calibration(tensors, held[::2], tags))
    metrics["ece"] = calibration_error(half, held[1::2])
    version = next_version(order.folder / MODELS_FOLDER / order.name)
    description = order.description or (
        f"Finds {len(inspected.labels)} kinds of fields, learnt from {order.file.name}"
    )
    content = _content(order, version, inspected.labels, tags, calibration, metrics)
    card = _card(order, version, description, inspected, len(train), metrics)
    folder = order.folder / MODELS_FOLDER / order.name / version
    asked = (signs_of(ExtractRequest(text=row.text), ExtractResponse()) for row in held)
    reference = json.dumps({"linear": Sketch.over(asked).content()}) + "\n"
    texts = {"golden.jsonl": _golden(held), "card.md": card, REFERENCE_FILE: reference}
    bundle = write_bundle(folder, content, tensors, texts)
    write_service(service_folder, "extract", description)
    return Made(bundle, service_folder, len(train), len(held), inspected.findings)


def _common(texts: Sequence[MarkedText]) -> list[int]:
    """Return the codes of words that stand outside spans often."""
    counts: Counter[str] = Counter()
    for row in texts:
        for token in tokens(row.text):
            if not any(start <= token.start < end for _, start, end in row.spans):
                counts[token.text.lower()] += 1
    return sorted({word_code(word) for word, count in counts.items() if count >= _COMMON_FROM})


def _calibration(
    tensors: Mapping[str, np.ndarray], held: Sequence[MarkedText], tags: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return for each label the curve of its spans, or of all where it has too few of its own."""
    odds, right = span_odds(tensors, held, tags)
    pooled = _curve(list(chain(*odds.values())), list(chain(*right.values())))
    return {
        label: _curve(odds[label], right[label]) if len(odds[label]) >= 30 else pooled
        for label in odds
    }


def _curve(odds: Sequence[float], right: Sequence[bool]) -> dict[str, float]:
    from slmesh.tiers.calibration import fit_logistic

    if len(odds) < 2:
        return {"slope": 1.0, "intercept": 0.0}
    slope, intercept = fit_logistic(np.array(odds), np.array(right))
    return {"slope": slope, "intercept": intercept}


def _measured(
    tagger: LinearTagger, held: Sequence[MarkedText], labels: Sequence[str]
) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for row, spans in zip(held, tagger.tag([row.text for row in held]), strict=True):
        gold = set(row.spans)
        ours = {(span.label, span.start, span.end) for span in spans}
        for name, group in (("right", gold & ours), ("found", ours), ("gold", gold)):
            for label, _, _ in group:
                counts[label][name] += 1
    total = sum(counts.values(), Counter())
    return {"n": len(held), "spans": _scores(total)} | {
        "by_label": {label: _scores(count) for label, count in counts.items()}
    }


def _scores(count: Mapping[str, int]) -> dict[str, float]:
    precision = count["right"] / max(count["found"], 1)
    recall = count["right"] / max(count["gold"], 1)
    f1 = 2 * count["right"] / max(count["found"] + count["gold"], 1)
    return {"n": count["gold"], "precision": precision, "recall": recall, "f1": f1}


def _content(
    order: Order,
    version: str,
    labels: Sequence[str],
    tags: Sequence[str],
    calibration: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "name": order.name,
        "version": version,
        "contract": "extract/v1",
        "label_set": {"labels": list(labels)},
        "tiers": ["linear"],
        "backbone": None,
        "calibration": calibration,
        "metrics": {"linear": metrics},
        "parameters": {"tags": list(tags)},
        "data": [
            {
                "name": order.name,
                "source": order.file.name,
                "commit": digest_of(order.file),
                "licence": order.licence,
                "attribution": "the owner of the file",
            }
        ],
    }


def _golden(held: Sequence[MarkedText]) -> str:
    chosen = [row for row in held if row.spans][:_GOLDEN_ROWS]
    rows = [
        {
            "text": row.text,
            "expected": [
                {"name": label, "start": start, "end": end, "text": row.text[start:end]}
                for label, start, end in row.spans
            ],
        }
        for row in chosen
    ]
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def _card(
    order: Order,
    version: str,
    description: str,
    inspected: InspectedSpans,
    training: int,
    metrics: Mapping[str, Any],
) -> str:
    lines = [
        f"# {order.name} {version}",
        "",
        f"{description}.",
        "",
        f"A linear-chain conditional random field over hashed features, trained on {training:,} texts;"
        f" {metrics['n']:,} others (buckets 7 and 8 of 0 to 9 of the digest of their text) calibrated"
        " it and gave these figures: exact start, end and label.",
        "",
        "| field | spans | precision | recall | F1 |",
        "|---|---|---|---|---|",
    ]
    for label, row in [("all", metrics["spans"]), *metrics["by_label"].items()]:
        lines.append(
            f"| {label} | {row['n']:.0f} | {row['precision']:.3f} | {row['recall']:.3f}"
            f" | {row['f1']:.3f} |"
        )
    lines += [
        "",
        f"Calibration error (ECE, 15 bins), one half calibrating, the other measured:"
        f" {metrics['ece']:.3f}.",
        "",
        f"Data: {order.file.name}, {digest_of(order.file)}; licence {order.licence}.",
        "",
        "## Limits",
        "",
        "- Fields come as they are written, without a normalised value.",
        "- Golden rows are validation rows of the same file, not written for the purpose.",
        *[f"- Of the file: {finding.message}." for finding in inspected.findings],
    ]
    return "\n".join(lines) + "\n"
