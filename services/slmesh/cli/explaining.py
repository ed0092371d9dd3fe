"""A decision as people read it: what was said, by whom, when, and why it went this way and no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf.duration_pb2 import Duration
from rich.markup import escape

from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.cli.output import console, print_table
from slmesh.cli.policy import print_receipt
from slmesh.cli.rendering import answered_by, enum_word, money, signal_text
from slmesh.router.condition_values import written_values

__all__ = ["paths_not_taken", "print_explanation", "said_by", "waterfall"]

_BAR = 48
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_PATHS = (
    route_pb2.PATH_REFUSED,
    route_pb2.PATH_SMALL,
    route_pb2.PATH_ESCALATED,
    route_pb2.PATH_FALLBACK,
)


def print_explanation(explained: route_pb2.ExplainResponse, told: str = "") -> None:
    """Print a decision and everything that led to it.

    Args:
        explained: The decision.
        told: What was printed of its answer already; where it is the answer, that is not repeated.
    """
    decision = explained.decision
    _print_outcome(decision, told.strip())
    _print_steps(decision)
    console.print("[bold]time[/]")
    for line in waterfall(decision):
        console.print(f"  {escape(line)}", highlight=False, no_wrap=True)
    _print_conditions(explained)
    untaken = ((path, escape(why)) for path, why in paths_not_taken(explained))
    print_table("paths not taken", ("path", "why not"), untaken)
    _print_budget(decision)
    print_receipt(decision)
    console.print(
        f"[dim]decision {decision.decision_id}, flow {decision.flow} {decision.flow_revision}[/]",
        highlight=False,
    )


def waterfall(decision: route_pb2.Decision) -> list[str]:
    """Return when each step ran, as bars over the time of the whole decision, a step a line."""
    total_ms = _milliseconds(decision.latency)
    ran = [step for step in decision.steps if step.HasField("start_offset")]
    width = max((len(step.name) for step in decision.steps), default=0)
    lines = []
    for step in ran:
        start_ms, took_ms = _milliseconds(step.start_offset), _milliseconds(step.latency)
        bar = _bar(start_ms, start_ms + took_ms, max(total_ms, start_ms + took_ms))
        lines.append(f"{step.name:{width}} │{bar}│ {start_ms:7.1f} + {took_ms:.1f} ms")
    if ran:
        lines.append(f"{'':{width}} │{'':{_BAR}}│ {total_ms:7.1f} ms in all")
    return lines


def paths_not_taken(explained: route_pb2.ExplainResponse) -> list[tuple[str, str]]:
    """Return the paths a request did not take, each with why."""
    decision = explained.decision
    return [
        (enum_word(route_pb2.Path, "PATH_", path), _why_not(explained, path))
        for path in _PATHS
        if path != decision.path
    ]


def _why_not(explained: route_pb2.ExplainResponse, path: route_pb2.Path) -> str:
    decision = explained.decision
    if path == route_pb2.PATH_SMALL:
        codes = [reason.code for reason in decision.reasons]
        return ", ".join(codes) or "the small models gave no answer"
    if path == route_pb2.PATH_FALLBACK:
        return "there was an answer"
    conditions = [one for one in explained.conditions if one.path == path]
    held = [code for code in _codes(conditions) if _holds(conditions, code)]
    if not conditions:
        return "the flow declares no rule for it, or its steps had not ended"
    if held and path == route_pb2.PATH_ESCALATED:
        codes = [one.code for one in decision.degradations if one.code] or ["refused before"]
        return f"{', '.join(held)} asked for it, but {', '.join(codes)}"
    return "no rule held: " + "; ".join(
        f"{code} ({' and '.join(_compared(one) for one in conditions if one.code == code)})"
        for code in _codes(conditions)
    )


def _codes(conditions: Sequence[route_pb2.Condition]) -> list[str]:
    return list(dict.fromkeys(condition.code for condition in conditions))


def _holds(conditions: Sequence[route_pb2.Condition], code: str) -> bool:
    return all(condition.held for condition in conditions if condition.code == code)


def _compared(condition: route_pb2.Condition) -> str:
    text = condition.quantity
    if f"{condition.step}." not in text:  # an expression names its steps itself
        text = f"{condition.step} {text}"
    if condition.HasField("value"):
        text += f" {condition.value:.3f}"
    if condition.HasField("threshold"):
        text += f" against {condition.threshold:g}"
    return text if condition.HasField("value") else f"{text}: {'yes' if condition.held else 'no'}"


def _print_outcome(decision: route_pb2.Decision, told: str) -> None:
    path = enum_word(route_pb2.Path, "PATH_", decision.path)
    source = enum_word(route_pb2.AnswerSource, "ANSWER_SOURCE_", decision.answer.source)
    model = answered_by(decision.answer.provenance)
    if not told or told != decision.answer.text:
        text = escape(decision.answer.text) or "(signals only)"
        console.print(f"[bold]{text}[/]", highlight=False)
    console.print(
        f"path [bold]{path}[/], answered by {source}{f' ({model})' if model else ''},"
        f" {decision.latency.ToMilliseconds()} ms, {money(decision.cost.usd_micros)}"
        f" (all LLM: {money(decision.all_llm_cost.usd_micros)})",
        highlight=False,
    )
    if decision.cached_decision_id:
        console.print(
            f"  the answer of decision {decision.cached_decision_id}, which was asked the same",
            highlight=False,
        )
    for reason in decision.reasons:
        console.print(f"  because {reason.code}: {escape(reason.description)}", highlight=False)
    for degradation in decision.degradations:
        console.print(
            f"  [yellow]degraded[/] {degradation.code} {degradation.step}:"
            f" {escape(degradation.description)}",
            highlight=False,
        )


def _print_steps(decision: route_pb2.Decision) -> None:
    print_table(
        "steps",
        ("step", "service", "state", ">start ms", ">ms", "said", "by"),
        (
            (
                step.name,
                step.service,
                _state(step),
                step.start_offset.ToMilliseconds() if step.HasField("start_offset") else "-",
                step.latency.ToMilliseconds() if step.HasField("latency") else "-",
                escape(signal_text(step.signal) or step.error.message),
                said_by(step.signal) or "-",
            )
            for step in decision.steps
        ),
    )


def _state(step: route_pb2.Step) -> str:
    state = enum_word(route_pb2.StepState, "STEP_STATE_", step.state)
    if not step.HasField("hedge"):
        return state
    return f"{state}, hedged: {enum_word(route_pb2.HedgeOutcome, 'HEDGE_OUTCOME_', step.hedge.outcome)}"


def said_by(signal: signal_pb2.Signal) -> str:
    """Return which model made a signal, with the beginning of its digest."""
    kind = signal.WhichOneof("answer")
    if kind is None:
        return ""
    provenance = getattr(signal, kind).provenance
    digest = provenance.digest.removeprefix("sha256:")[:8]
    return " ".join(part for part in (answered_by(provenance), digest) if part)


def _print_conditions(explained: route_pb2.ExplainResponse) -> None:
    print_table(
        "conditions",
        ("condition", "step", "quantity", ">value", ">threshold", "held", "then", "declared in"),
        (
            (
                c.code,
                c.step,
                escape(": ".join(part for part in (c.quantity, written_values(c.values)) if part)),
                f"{c.value:.3f}" if c.HasField("value") else "-",
                f"{c.threshold:.3f}" if c.HasField("threshold") else "-",
                "yes" if c.held else "no",
                enum_word(route_pb2.Path, "PATH_", c.path) if c.path else "-",
                c.threshold_source or "-",
            )
            for c in explained.conditions
        ),
    )


def _print_budget(decision: route_pb2.Decision) -> None:
    if not decision.HasField("budget"):
        return
    state = decision.budget
    outcome = enum_word(route_pb2.BudgetOutcome, "BUDGET_OUTCOME_", state.outcome)
    why = f" by {state.scope}: too little {state.quantity}" if state.quantity else ""
    console.print(
        f"[bold]budget[/] {outcome}{why}; expected gain {state.expected_gain:.3f},"
        f" least gain {state.least_gain:.3f}",
        highlight=False,
    )
    print_table(
        "",
        ("budget", ">requests", ">tokens", ">money", "until"),
        (
            (
                budget.scope,
                _part(budget, "requests"),
                _part(budget, "tokens"),
                _part(budget, "usd_micros"),
                budget.reset_time.ToJsonString(),
            )
            for budget in state.budgets
        ),
    )


def _part(budget: route_pb2.Budget, what: str) -> str:
    used = getattr(budget, what)
    limit = getattr(budget, f"max_{what}") if budget.HasField(f"max_{what}") else None
    if what == "usd_micros":
        return f"{money(used)} of {money(limit)}" if limit is not None else money(used)
    return f"{used} of {limit}" if limit is not None else str(used)


def _bar(start: float, end: float, total: float) -> str:
    """Return a bar between two moments, in eighths of a character."""
    first, last = (round(moment / total * _BAR * 8) if total else 0 for moment in (start, end))
    last = max(last, first + 1)
    return "".join(_cells(first, last)).ljust(_BAR)[:_BAR]


def _cells(first: int, last: int) -> Iterator[str]:
    for cell in range(_BAR):
        low, high = cell * 8, cell * 8 + 8
        covered = min(last, high) - max(first, low)
        if covered <= 0:
            yield " "
        elif first > low and covered < 8:
            yield "▐"  # there is no block that begins later and is finer
        else:
            yield _EIGHTHS[covered]


def _milliseconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e6
