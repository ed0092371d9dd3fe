"""The value that a flow declares for a step whose service fails, as the signal it stands in for.

Pure. It is marked in the signal's provenance: nobody has measured it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from slmesh.api.signal.v1 import signal_pb2
from slmesh.api.types.v1.provenance_pb2 import Provenance
from slmesh.router.flow import Step
from slmesh.router.signals import SIGNAL_FIELDS

__all__ = ["DECLARED", "declared_signal", "value_problems"]

DECLARED = "declared"
"""``Provenance.tier`` of a value that a flow declares."""

_FORMS = {
    "classify": "{label: NAME}",
    "score": "{SCALE: {LEVEL: PROBABILITY, ...}} with every level from the lowest to the highest",
    "extract": "{}, no fields",
}
"""What a value looks like for each contract that can have one."""


def declared_signal(step: Step, spoken: str) -> signal_pb2.Signal:
    """Return a step's declared value as its signal.

    What is declared counts as certain: a label has the probability 1, and a scale those of its levels.

    Args:
        step: A step with a value that is right.
        spoken: The contract of its service.
    """
    assert step.value is not None
    signal = signal_pb2.Signal(step=step.name)
    provenance = Provenance(service=step.service, tier=DECLARED)
    getattr(signal, SIGNAL_FIELDS[spoken]).provenance.CopyFrom(provenance)
    if spoken == "classify":
        signal.classification.labels.labels.add(name=step.value["label"], probability=1.0)
    if spoken == "score":
        for scale, levels in step.value.items():
            score = signal.scoring.scores.scores.add(scale=scale)
            for place, (level, probability) in enumerate(levels.items()):
                score.levels.add(name=level, probability=probability)
                score.value += probability * place / max(1, len(levels) - 1)
    return signal


def value_problems(step: Step, spoken: str) -> Iterator[str]:
    """Yield what is wrong with the value that a step declares.

    Args:
        step: A step with a value.
        spoken: The contract of its service.
    """
    if step.on_failure != "degrade":
        yield f"a value stands in with 'on_failure: degrade' only, not with '{step.on_failure}'"
    elif spoken not in _FORMS:
        yield f"a step of contract '{spoken}' cannot have a declared value"
    elif not _fits(step.value or {}, spoken):
        yield f"the value of a step of contract '{spoken}' is {_FORMS[spoken]}"


def _fits(value: Mapping[str, Any], spoken: str) -> bool:
    if spoken == "extract":
        return not value
    if spoken == "classify":
        label = value.get("label")
        return set(value) == {"label"} and isinstance(label, str) and label != ""
    return bool(value) and all(_is_scale(levels) for levels in value.values())


def _is_scale(levels: Any) -> bool:
    if not isinstance(levels, Mapping) or not levels:
        return False
    numbers = [
        p for p in levels.values() if isinstance(p, (int, float)) and not isinstance(p, bool)
    ]
    right = len(numbers) == len(levels) and all(0 <= number <= 1 for number in numbers)
    return right and math.isclose(sum(numbers), 1, abs_tol=1e-6)
