"""Counts what a drill saw, and holds it against what the project promises. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmesh.bench.drill.calls import Call, Outcome
from slmesh.bench.quantiles import quantile

__all__ = ["P99_RATIO", "Hit", "quantile_ms", "report"]

P99_RATIO = 1.5
"""How much longer 99 of 100 calls of an untouched service may take, at most, against no fault."""

_GIVEN = (Outcome.CORRECT, Outcome.DEGRADED, Outcome.WRONG)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One fault of one service.

    Attributes:
        fault: The fault's name.
        service: The service it was done to.
        calls: Every call from the fault until enough were made and the service was back.
        recovered_s: Seconds until its first success; None when there was none.
        problem: Why the fault did not do what it should; empty when it did.
    """

    fault: str
    service: str
    calls: Sequence[Call]
    recovered_s: float | None
    problem: str = ""


def quantile_ms(calls: Iterable[Call], share: float) -> float | None:
    """Return the milliseconds that a share of the answered calls took at most; None without one."""
    times_ms = [call.ms for call in calls if call.outcome in _GIVEN]
    return quantile(times_ms, share) if times_ms else None


def report(
    undisturbed: Sequence[Call],
    hits: Sequence[Hit],
    *,
    flow: str,
    recorded: frozenset[str],
) -> dict[str, Any]:
    """Return the figures of a drill and which promises it kept.

    Args:
        undisturbed: Calls without any fault.
        hits: What was done.
        flow: The name of the flow's stream; all others are services.
        recorded: The decisions that the ledger has.
    """
    quiet = _by_stream(undisturbed)
    others = [row for fault in _faults(hits) for row in _other_rows(fault, hits, quiet, flow)]
    flows = [_flow_row("none", "", quiet.get(flow, []), recorded)]
    flows += [
        _flow_row(hit.fault, hit.service, _by_stream(hit.calls).get(flow, []), recorded)
        for hit in hits
    ]
    recoveries = [
        {
            "fault": hit.fault,
            "service": hit.service,
            "recovered_s": None if hit.recovered_s is None else round(hit.recovered_s, 2),
            "problem": hit.problem,
        }
        for hit in hits
    ]
    return {
        "undisturbed": {name: _figures(calls) for name, calls in sorted(quiet.items())},
        "others": others,
        "recoveries": recoveries,
        "flows": flows,
        "targets": _targets(others, flows, hits),
    }


def _targets(
    others: Sequence[Mapping[str, Any]],
    flows: Sequence[Mapping[str, Any]],
    hits: Sequence[Hit],
) -> list[dict[str, Any]]:
    slower = [row["p99_ratio"] for row in others if row["p99_ratio"] is not None]
    worst = max(slower, default=None)
    successes = min((row["success"] for row in others), default=None)
    away = [f"{hit.fault} of {hit.service}" for hit in hits if hit.recovered_s is None]
    problems = [hit.problem for hit in hits if hit.problem]

    def none_of(name: str) -> tuple[int, bool]:
        found = sum(row[name] for row in flows)
        return found, found == 0

    rows = [
        ("calls of the other services that succeed", "100 %", successes, successes == 1.0),
        (f"their p99 against no fault, at most {P99_RATIO:g}x", f"{P99_RATIO:g}", worst,
         worst is not None and len(slower) == len(others) and worst <= P99_RATIO),
        ("flow answers neither correct nor marked degraded", "0", *none_of("wrong")),
        ("requests of the flow that got an error", "0", *none_of("errors")),
        ("requests without an answer or an error", "0", *none_of("lost")),
        ("decisions answered and not in the ledger", "0", *none_of("unrecorded")),
        ("services that did not come back", "0", ", ".join(away) or 0, not away),
        ("faults that did not do what they should", "0", "; ".join(problems) or 0, not problems),
    ]  # fmt: skip
    return [
        {"target": target, "wanted": wanted, "found": found, "kept": bool(kept)}
        for target, wanted, found, kept in rows
    ]


def _other_rows(
    fault: str, hits: Sequence[Hit], quiet: Mapping[str, Sequence[Call]], flow: str
) -> list[dict[str, Any]]:
    """Return a row for each service, over the hits of the other ones."""
    found: dict[str, list[Call]] = {}
    for hit in hits:
        if hit.fault == fault:
            for name, calls in _by_stream(hit.calls).items():
                if name not in (flow, hit.service):
                    found.setdefault(name, []).extend(calls)
    return [
        {"fault": fault, "service": name, **_shifted(calls, quiet.get(name, []))}
        for name, calls in sorted(found.items())
    ]


def _shifted(calls: Sequence[Call], quiet: Sequence[Call]) -> dict[str, Any]:
    figures = _figures(calls)
    before, after = quantile_ms(quiet, 0.99), quantile_ms(calls, 0.99)
    ratio = round(after / before, 2) if before and after else None
    return {**figures, "p99_ratio": ratio}


def _figures(calls: Sequence[Call]) -> dict[str, Any]:
    succeeded = sum(call.outcome is Outcome.CORRECT for call in calls)
    p50, p99 = quantile_ms(calls, 0.5), quantile_ms(calls, 0.99)
    failures = Counter(call.reason or str(call.outcome) for call in calls) - Counter(
        {str(Outcome.CORRECT): len(calls)}
    )
    return {
        "calls": len(calls),
        "success": succeeded / len(calls) if calls else 0.0,
        "p50_ms": None if p50 is None else round(p50, 2),
        "p99_ms": None if p99 is None else round(p99, 2),
        "failures": dict(failures),
    }


def _flow_row(
    fault: str, service: str, calls: Sequence[Call], recorded: frozenset[str]
) -> dict[str, Any]:
    outcomes = Counter(call.outcome for call in calls)
    answered = [call.decision_id for call in calls if call.outcome in _GIVEN]
    return {
        "fault": fault,
        "service": service,
        "requests": len(calls),
        "correct": outcomes[Outcome.CORRECT],
        "degraded": outcomes[Outcome.DEGRADED],
        "wrong": outcomes[Outcome.WRONG],
        "errors": outcomes[Outcome.ERROR],
        "lost": outcomes[Outcome.LOST],
        "unrecorded": sum(decision not in recorded for decision in answered),
        "reasons": dict(Counter(call.reason for call in calls if call.reason)),
    }


def _faults(hits: Sequence[Hit]) -> list[str]:
    return list(dict.fromkeys(hit.fault for hit in hits))


def _by_stream(calls: Iterable[Call]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in calls:
        found.setdefault(call.stream, []).append(call)
    return found
