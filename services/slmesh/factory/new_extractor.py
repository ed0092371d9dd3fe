"""From a user's texts with marked spans to a service that extracts them.

A linear tagger is trained on them, and where asked for an encoder is fine-tuned besides; both are
calibrated and measured. It joins the parts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmesh.factory.inspection import Finding
from slmesh.factory.marked import InspectedSpans, inspect_spans, read_marked
from slmesh.factory.new_model import MODELS_FOLDER, Made, Order, next_version
from slmesh.factory.service_files import check_service, write_service
from slmesh.mesh.bundle import digest_of, write_bundle
from slmesh.mesh.drift import REFERENCE_FILE
from slmesh.mesh.errors import InvalidArgument
from slmesh.training.extract import drift_reference, method_of, tier_section
from slmesh.training.rows import bucket, normalised
from slmesh.training.tagging_data import MarkedText
from slmesh.training.token_rows import SlotText, TaggerRows
from slmesh.training.token_tiers import TaggerTiers, train_tagger_tiers
from slmesh.weights.fetch import Progress

__all__ = ["make_extractor"]

_VALIDATION = (7, 8)
_LEAST_VALIDATION = 10
_FEW_TEXTS = 3000
_GOLDEN_ROWS = 30
_SEED = 13

_NUMBERS = {
    "bits": 16,
    "batch": 16,
    "rate": 0.2,
    "decay": 0.001,
    "dropped": 0.2,
    "outside_penalty": 0.0,
}
_TUNING: dict[str, Any] = {
    "layers": 6,
    "rank": 16,
    "adapter_dropout": 0.0,
    "batch_size": 32,
    "learning_rate": 0.002,
    "head_learning_rate": 0.004,
    "weight_decay": 0.01,
    "averaging": 0.99,
    "bits": 14,
    "lexical": 48,
    "hidden": 256,
    "word_dropout": 0.2,
    "feature_dropout": 0.3,
    "asked_dropout": 0.0,
    "kind_weight": 0.0,
    "swap": 0.2,
    "rules": [],
    "max_tokens": 128,
    "common_from": 4,
}
"""What was best on the public sets, see models/LOG.md."""
_TUNING_STEPS = 400
"""2,000 rows: two minutes on two cores."""


def make_extractor(
    order: Order,
    cache_dir: Path,
    progress: Progress,
    on_findings: Callable[[tuple[Finding, ...]], None],
) -> Made:
    """Make a service of the extract contract from texts with marked spans.

    Raises:
        InvalidArgument: The file or its rows cannot be used; file, row and column are named.
        FailedPrecondition: The name cannot be used, or something that it takes is not installed.
    """
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
    version = next_version(order.folder / MODELS_FOLDER / order.name)
    made = train_tagger_tiers(
        TaggerRows(_slot_texts(train), _slot_texts(held), inspected.labels),
        _NUMBERS | {"epochs": 12 if len(train) < _FEW_TEXTS else 6},
        _encoder(order.backbone, len(train)),
        _SEED,
        cache_dir,
        progress,
        name=f"{order.name} {version}",
    )
    description = order.description or (
        f"Finds {len(inspected.labels)} kinds of fields, learnt from {order.file.name}"
    )
    texts = {
        "golden.jsonl": _golden(held),
        "card.md": _card(order, version, description, inspected, len(train), made),
        REFERENCE_FILE: drift_reference(_slot_texts(held), made.entries["tiers"]),
    }
    content = _content(order, version, inspected.labels, made)
    folder = order.folder / MODELS_FOLDER / order.name / version
    bundle = write_bundle(folder, content, made.tensors, texts)
    write_service(service_folder, "extract", description)
    return Made(bundle, service_folder, len(train), len(held), inspected.findings)


def _slot_texts(rows: Sequence[MarkedText]) -> list[SlotText]:
    return [SlotText(row.text, row.spans) for row in rows]


def _encoder(backbone: str, texts: int) -> dict[str, Any]:
    """Return the numbers of the encoder tier; none when no backbone is named."""
    if not backbone:
        return {}
    steps = math.ceil(texts / _TUNING["batch_size"])
    epochs = min(20, max(3, round(_TUNING_STEPS / steps)))
    return {"backbone": backbone, "values": {}, "fine_tuning": _TUNING | {"epochs": epochs}}


def _content(
    order: Order, version: str, labels: Sequence[str], made: TaggerTiers
) -> dict[str, Any]:
    return {
        "name": order.name,
        "version": version,
        "contract": "extract/v1",
        "label_set": {"labels": list(labels)},
        **made.entries,
        "metrics": made.figures,
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
    made: TaggerTiers,
) -> str:
    held = made.figures["linear"]["n"]
    lines = [f"# {order.name} {version}", "", f"{description}.", ""]
    lines += [
        f"Trained on {training:,} texts; {held:,} others (buckets 7 and 8 of 0 to 9 of the digest of"
        " their text) calibrated it and gave these figures: exact start, end and label.",
        "",
        *[f"- {sentence}" for sentence in method_of(_encoder(order.backbone, training), made)],
        "",
    ]
    for tier, figures in made.figures.items():
        lines += tier_section(f"## {tier}", figures)
    lines += [
        f"Data: {order.file.name}, {digest_of(order.file)}; licence {order.licence}.",
        "",
        "## Limits",
        "",
        "- Fields come as they are written, without a normalised value.",
        "- Golden rows are validation rows of the same file, not written for the purpose.",
        *[f"- Of the file: {finding.message}." for finding in inspected.findings],
    ]
    return "\n".join(lines) + "\n"
