"""Evaluates a service: its shipped bundle, through its shipped code, on any file of a known format.

The service runs in this process behind its boundary, or in a mesh; either way it is asked by the same
RPCs as by any client. This module joins reading, asking and judging, and does none of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slmesh.evaluation.asking import Asked, ask
from slmesh.evaluation.cases import Cases, Pool, Question
from slmesh.evaluation.field_figures import field_figures
from slmesh.evaluation.finding_figures import finding_figures
from slmesh.evaluation.label_figures import label_figures, level_figures
from slmesh.evaluation.question_figures import question_figures
from slmesh.evaluation.subject import Subject
from slmesh.mesh.client import Mesh
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.local import InProcessTransport
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings

__all__ = ["TIERS", "evaluate", "local_mesh", "with_tier"]

TIERS = ("cascade", "linear", "encoder")
"""Tiers a classifier or scorer may be held to."""

_TIERED = ("classify", "score")


async def evaluate(
    mesh: Mesh,
    subject: Subject,
    cases: Cases,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, Any]:
    """Ask a service all cases and return its figures.

    Args:
        mesh: Where the service is.
        subject: The service.
        cases: What to ask, see :func:`slmesh.evaluation.reading.read_cases`.
        advance: Called with the number of cases, whenever some are done.

    Returns:
        ``service``, ``version``, ``tier`` (the share of each tier), ``n``, the figures of the
        contract as fractions, ``p50_ms``, ``p99_ms``, ``texts_per_s``, and ``left_out`` (rows that
        were not asked, by reason) where there are some.

    Raises:
        MeshError: A call failed, or the cases do not allow a figure.
    """
    asked = await ask(mesh, subject, cases.cases, advance)
    tiers = [response.provenance.tier for answers in asked.answers for response in answers]
    figures: dict[str, Any] = {
        "service": subject.name,
        "version": asked.answers[0][0].provenance.version,
        "tier": {tier: tiers.count(tier) / len(tiers) for tier in sorted(set(tiers))},
        "n": len(cases.cases),
        **_figures(subject.contract, cases, asked),
        "p50_ms": asked.p50_ms,
        "p99_ms": asked.p99_ms,
        "texts_per_s": asked.texts_per_s,
    }
    if cases.left_out:
        figures["left_out"] = dict(cases.left_out)
    return figures


@contextmanager
def local_mesh(subject: Subject, cases: Cases, settings: Settings) -> Iterator[Mesh]:
    """Yield a mesh in this process with the service alone; the caller closes it.

    Pools too large to be sent along are collections of the service, indexed when it is loaded as those
    of its manifest are. Their files last as long as the context.
    """
    pools = {
        case.pool.collection: case.pool
        for case in cases.cases
        if isinstance(case, Question) and case.pool.collection and case.pool.passages
    }
    with TemporaryDirectory(prefix="slmesh-eval-") as folder:
        manifest = _with_collections(subject.manifest, pools, Path(folder))
        yield Mesh(InProcessTransport(settings, services={subject.name: manifest}))


def with_tier(manifest: Manifest, tier: str) -> Manifest:
    """Return the manifest of a service that one tier answers for.

    Raises:
        InvalidArgument: The tier is unknown, or the service's contract has no tiers to choose from.
    """
    if tier not in TIERS:
        raise InvalidArgument(f"no tier '{tier}'{suggestion(tier, TIERS)}", reason="USAGE")
    if manifest.contract not in _TIERED:
        raise InvalidArgument(
            f"--tier is for classifiers and scorers; '{manifest.name}' speaks {manifest.contract}",
            reason="USAGE",
        )
    return replace(manifest, options={**manifest.options, "tier": tier})


def _with_collections(manifest: Manifest, pools: Mapping[str, Pool], folder: Path) -> Manifest:
    files: dict[str, str] = {}
    for number, (name, pool) in enumerate(sorted(pools.items())):
        path = folder / f"{number}.jsonl"
        rows = [
            json.dumps({"id": key, "text": text}, ensure_ascii=False) + "\n"
            for key, text in pool.passages.items()
        ]
        path.write_text("".join(rows), encoding="utf-8")
        files[name] = str(path)
    if not files:
        return manifest
    collections = {**manifest.options.get("collections", {}), **files}
    return replace(manifest, options={**manifest.options, "collections": collections})


def _figures(contract: str, cases: Cases, asked: Asked) -> dict[str, Any]:
    items = cases.cases
    expected = [case.expected for case in items]
    first = [answers[0] for answers in asked.answers]
    if contract == "classify":
        return label_figures(expected, first)
    if contract == "score":
        return level_figures(items, expected, first)
    if contract == "extract":
        return field_figures(expected, asked.answers)
    if contract == "guard":
        return finding_figures(items, expected, first)
    questions = [case for case in items if isinstance(case, Question)]
    return question_figures(questions, asked.answers)
