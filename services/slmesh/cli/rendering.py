"""What answers look like to people: one short line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.api.types.v1 import abstention_pb2, provenance_pb2

__all__ = [
    "DESCRIBE",
    "answered_by",
    "enum_word",
    "money",
    "signal_text",
    "signals_of",
    "value_text",
]


def enum_word(enum: Any, prefix: str, number: int) -> str:
    """Return an enum value as a word: ``out of scope``."""
    return str(enum.Name(number)).removeprefix(prefix).replace("_", " ").lower()


def money(usd_micros: int) -> str:
    """Return millionths of a US dollar as text; tiny amounts keep their digits."""
    return f"${usd_micros / 1e6:.6f}" if usd_micros else "$0"


def answered_by(provenance: provenance_pb2.Provenance) -> str:
    """Return who answered: model, version and tier."""
    if provenance.tier == "llm":
        return provenance.model
    return f"{provenance.model} {provenance.version}/{provenance.tier}".strip("/ ")


def value_text(value: extract_pb2.Value) -> str:
    """Return a normalised value as text."""
    kind = value.WhichOneof("kind")
    if kind is None:
        return "?"
    found = getattr(value, kind)
    if kind == "money":
        return f"{found.minor_units / 100:.2f} {found.currency_code}"
    if kind == "duration":
        return _duration(found.ToTimedelta())
    return str(found)


def _duration(length: timedelta) -> str:
    hours, seconds = divmod(length.seconds, 3600)
    parts = ((length.days, "d"), (hours, "h"), (seconds // 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _abstention(abstention: abstention_pb2.Abstention) -> str:
    reason = enum_word(abstention_pb2.AbstentionReason, "ABSTENTION_REASON_", abstention.reason)
    return f"abstains: {reason}"


def _classification(response: Any) -> str:
    if response.WhichOneof("outcome") == "labels":
        return ", ".join(
            f"{label.name} {label.probability:.2f}" for label in response.labels.labels
        )
    nearest = ", ".join(f"{label.name} {label.probability:.2f}" for label in response.nearest)
    return _abstention(response.abstention) + (f" (nearest {nearest})" if nearest else "")


def _extraction(response: Any) -> str:
    # a field may have no value: the model knows where it stands and not what it means
    shown = (
        f"{f.name}={value_text(f.value) if f.HasField('value') else f.text}"
        for f in response.fields
    )
    return "; ".join(shown) or "nothing found"


def _ranking(response: Any) -> str:
    if response.WhichOneof("outcome") != "ranking":
        return _abstention(response.abstention)
    return "; ".join(f"{p.id} {p.score:.2f}" for p in response.ranking.passages)


def _screening(response: Any) -> str:
    found = [f.kind for f in response.findings]
    counted = ", ".join(
        f"{kind}×{found.count(kind)}" if found.count(kind) > 1 else kind
        for kind in dict.fromkeys(found)
    )
    partial = response.coverage == guard_pb2.COVERAGE_PARTIAL
    return (counted or "nothing found") + (" (a check could not run)" if partial else "")


def _scoring(response: Any) -> str:
    if response.WhichOneof("outcome") != "scores":
        return _abstention(response.abstention)
    tops = [
        (score.scale, max(score.levels, key=lambda level: level.probability))
        for score in response.scores.scores
    ]
    return "; ".join(f"{scale} {top.name} {top.probability:.2f}" for scale, top in tops)


DESCRIBE: Mapping[str, Callable[[Any], str]] = {
    "classify": _classification,
    "extract": _extraction,
    "rank": _ranking,
    "guard": _screening,
    "score": _scoring,
}
"""One line for a response, by contract."""


_CONTRACTS: Mapping[str, str] = {
    "classification": "classify",
    "extraction": "extract",
    "ranking": "rank",
    "screening": "guard",
    "scoring": "score",
}


def signal_text(signal: signal_pb2.Signal) -> str:
    """Return one line for a signal, or an empty text when it says nothing."""
    kind = signal.WhichOneof("answer")
    return DESCRIBE[_CONTRACTS[kind]](getattr(signal, kind)) if kind else ""


def signals_of(decision: route_pb2.Decision) -> dict[str, Any]:
    """Return a decision's signals by the contract's name, the first of each."""
    found: dict[str, Any] = {}
    for step in decision.steps:
        kind = step.signal.WhichOneof("answer")
        if kind is not None:
            found.setdefault(_CONTRACTS[kind], getattr(step.signal, kind))
    return found
