"""From a user's file of questions and the passages that answer them to a service that ranks.

The passages become a collection beside the service, each with its training questions as examples of
what it answers; the other questions choose and calibrate. It knows no details of ranking.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.api.rank.v1.rank_pb2 import RankRequest, RankResponse
from slmesh.factory.inspection import Finding, found_rows
from slmesh.factory.new_model import MODELS_FOLDER, Made, Order, next_version
from slmesh.factory.service_files import check_service, write_service
from slmesh.factory.table import TableRow, read_table
from slmesh.mesh.bundle import digest_of, write_bundle
from slmesh.mesh.drift import REFERENCE_FILE, Sketch, signs_of
from slmesh.mesh.errors import InvalidArgument
from slmesh.tiers.encoder import load_encoder
from slmesh.training.own_ranking import Question, RankingFit, fit_ranking
from slmesh.training.rows import bucket, normalised
from slmesh.weights.compile import compile_backbone
from slmesh.weights.fetch import Progress

__all__ = ["make_ranking"]

_VALIDATION = (7, 8)
_LEAST_VALIDATION = 10
_GOLDEN_ROWS = 30


@dataclass(frozen=True)
class _Collected:
    """Passages, and questions by what they are for.

    Attributes:
        passages: Each once.
        training: For each passage its training questions.
        validation: Questions to choose by.
        findings: What was found in the file.
    """

    passages: tuple[str, ...]
    training: Mapping[int, Sequence[str]]
    validation: tuple[Question, ...]
    findings: tuple[Finding, ...]

    def entries(self) -> list[list[str]]:
        """Return what queries are compared with, by passage."""
        return [[text, *self.training.get(i, ())] for i, text in enumerate(self.passages)]


def make_ranking(
    order: Order,
    cache_dir: Path,
    progress: Progress,
    on_findings: Callable[[tuple[Finding, ...]], None],
) -> Made:
    """Make a service of the rank contract from questions (text) and passages (label).

    Raises:
        InvalidArgument: The file or its rows cannot be used; file, row and column are named.
        FailedPrecondition: The name cannot be used, or something that it takes is not installed.
    """
    service_folder = order.folder / order.name
    check_service(service_folder, "rank")
    collected = _collected(read_table(order.file, order.columns, order.encoding), order.file)
    on_findings(collected.findings)
    encoder, backbone = None, None
    if order.backbone:
        digest = compile_backbone(order.backbone, cache_dir, progress).digest
        backbone = {"name": order.backbone, "digest": digest}
        encoder = load_encoder(cache_dir, digest)
    progress("asking the validation questions", 0.0)
    fits = fit_ranking(collected.entries(), collected.validation, encoder)
    progress("asking the validation questions", 1.0)
    model_folder = order.folder / MODELS_FOLDER / order.name
    version = next_version(model_folder)
    description = order.description or (
        f"Orders {len(collected.passages)} passages by how well they answer, from {order.file.name}"
    )
    content = _content(order, version, fits, backbone)
    asked = (signs_of(RankRequest(query=q.text), RankResponse()) for q in collected.validation)
    texts = {
        "golden.jsonl": _golden(order.name, collected),
        "card.md": _card(order, version, description, collected, fits),
        REFERENCE_FILE: json.dumps({"linear": Sketch.over(asked).content()}) + "\n",
    }
    tensors = {
        f"{tier}.line": np.array(list(f.line.values()), np.float32) for tier, f in fits.items()
    }
    bundle = write_bundle(model_folder / version, content, tensors, texts)
    extra = {"options": {"collections": {order.name: f"{order.name}.jsonl"}}}
    write_service(service_folder, "rank", description, extra)
    (service_folder / f"{order.name}.jsonl").write_text(_collection(collected), encoding="utf-8")
    training = sum(map(len, collected.training.values()))
    return Made(bundle, service_folder, training, len(collected.validation), collected.findings)


def _collected(rows: Sequence[TableRow], file: Path) -> _Collected:
    """Check rows, collect the passages and split the questions."""
    findings: list[Finding] = []
    for kind, what, wrong in (
        ("empty-text", "without a question, left out", [r for r in rows if not r.text.strip()]),
        ("no-label", "without a passage, left out", [r for r in rows if not r.label]),
    ):
        if wrong:
            findings.append(found_rows(kind, what, wrong))
    usable = [row for row in rows if row.text.strip() and row.label]
    places: dict[str, int] = {}
    passages: list[str] = []
    answers: dict[str, set[int]] = defaultdict(set)
    asked: dict[str, str] = {}
    repeated = []
    for row in usable:
        passage, question = normalised(row.label), normalised(row.text)
        if passage not in places:
            places[passage] = len(passages)
            passages.append(row.label)
        if places[passage] in answers[question]:
            repeated.append(row)
        answers[question].add(places[passage])
        asked.setdefault(question, row.text)
    if repeated:
        findings.append(found_rows("duplicates", "that repeat a pair, left out", repeated))
    if len(passages) < 2:
        raise InvalidArgument(
            f"{file}: two passages or more are needed, found {len(passages)}",
            reason="ONE_CLASS_ONLY",
        )
    training: dict[int, list[str]] = defaultdict(list)
    validation = []
    for question, right in answers.items():
        if bucket(question) in _VALIDATION:
            validation.append(Question(asked[question], frozenset(right)))
        else:
            for place in right:
                training[place].append(asked[question])
    if len(validation) < _LEAST_VALIDATION:
        raise InvalidArgument(
            f"{file}: {len(answers)} different questions leave {len(validation)} to choose by, and"
            f" {_LEAST_VALIDATION} are the least; give more",
            reason="TOO_FEW_ROWS",
        )
    return _Collected(tuple(passages), training, tuple(validation), tuple(findings))


def _content(
    order: Order,
    version: str,
    fits: Mapping[str, RankingFit],
    backbone: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {
        "name": order.name,
        "version": version,
        "contract": "rank/v1",
        "label_set": {"labels": ["answers"]},
        "tiers": list(fits),
        "backbone": backbone,
        "calibration": {"collections": [order.name]} | {t: fit.line for t, fit in fits.items()},
        "thresholds": {tier: fit.least for tier, fit in fits.items()},
        "parameters": {tier: {"words": fit.words} for tier, fit in fits.items()},
        "metrics": {tier: fit.metrics for tier, fit in fits.items()},
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


def _collection(collected: _Collected) -> str:
    rows = [
        {"id": f"p{place}", "text": text, "questions": list(collected.training.get(place, ()))}
        for place, text in enumerate(collected.passages)
    ]
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def _golden(name: str, collected: _Collected) -> str:
    rows = [
        {"query": question.text, "collection": name, "id": f"p{min(question.answers)}"}
        for question in collected.validation[:_GOLDEN_ROWS]
    ]
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def _card(
    order: Order,
    version: str,
    description: str,
    collected: _Collected,
    fits: Mapping[str, RankingFit],
) -> str:
    training = sum(map(len, collected.training.values()))
    lines = [
        f"# {order.name} {version}",
        "",
        f"{description}.",
        "",
        f"{len(collected.passages):,} passages; {training:,} questions are indexed with the passage"
        f" that answers them, {len(collected.validation):,} others (buckets 7 and 8 of 0 to 9 of the"
        " digest of their text) chose the weight of words, the calibration and the thresholds, and"
        " gave these figures, which that flatters. A right first passage is abstained from in one"
        " question of twenty.",
        "",
        "| | " + " | ".join(fits) + " |",
        "|---|" + "---|" * len(fits),
    ]
    for key, shown in (
        ("mrr_10", "MRR@10"),
        ("right_first", "first passage is right"),
        ("answered", "answered"),
        ("right_of_answered", "right of answered"),
        ("answered_without_its_passage", "answered although the right passage was taken away"),
        ("ece", "calibration error (ECE, 15 bins)"),
    ):
        values = " | ".join(f"{fit.metrics[key]:.3f}" for fit in fits.values())
        lines.append(f"| {shown} | {values} |")
    words = {tier: fit.words for tier, fit in fits.items()}
    lines += ["", "Weight of words: " + ", ".join(f"{t} {w:g}" for t, w in words.items()) + ".", ""]
    lines += [f"Data: {order.file.name}, {digest_of(order.file)}; licence {order.licence}.", ""]
    lines += ["## Limits", "", *[f"- Of the file: {f.message}." for f in collected.findings]]
    lines.append("- The probability belongs to the first passage of this collection.")
    return "\n".join(lines) + "\n"
