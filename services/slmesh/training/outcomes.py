"""What a service made of labelled rows, row by row: the stuff of plots and reference statistics.

Figures over all rows are in ``slmesh.training.evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmesh.mesh.errors import MeshError
from slmesh.training.evaluate import Row
from slmesh.training.plots import confusion, reliability, risk_coverage

__all__ = ["Outcomes", "asked", "drawn", "label_outcomes", "level_outcomes"]

Answer = Callable[[Sequence[Any]], Sequence[Any]]

_BATCH = 32


@dataclass(frozen=True)
class Outcomes:
    """One value for each row, abstained or not.

    Attributes:
        truth: The right label.
        found: The most probable label; empty when the answer names none.
        confidences: float (B,): its probability, 0 when there is none.
    """

    truth: tuple[str, ...]
    found: tuple[str, ...]
    confidences: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether the most probable label is the right one, bool (B,)."""
        same: np.ndarray = np.array(self.truth) == np.array(self.found)
        return same


def asked(answer: Answer, requests: Sequence[Any]) -> list[Any]:
    """Return a service's responses, in order.

    Raises:
        MeshError: The first error among them.
    """
    responses: list[Any] = []
    for start in range(0, len(requests), _BATCH):
        responses.extend(answer(requests[start : start + _BATCH]))
    for response in responses:
        if isinstance(response, MeshError):
            raise response
    return responses


def label_outcomes(responses: Sequence[Any], rows: Sequence[Row]) -> Outcomes:
    """Return what a classifier made of rows that are in scope."""
    tops = [list(r.labels.labels or r.nearest)[:1] for r in responses]
    return Outcomes(
        tuple(row.label for row in rows),
        tuple(top[0].name if top else "" for top in tops),
        np.array([top[0].probability if top else 0.0 for top in tops]),
    )


def level_outcomes(responses: Sequence[Any], rows: Sequence[Row]) -> Outcomes:
    """Return what a scorer made of rows of the one scale it was asked for."""
    tops = [
        max(r.scores.scores[0].levels, key=lambda level: level.probability)
        if r.HasField("scores")
        else None
        for r in responses
    ]
    return Outcomes(
        tuple(row.label for row in rows),
        tuple(top.name if top is not None else "" for top in tops),
        np.array([top.probability if top is not None else 0.0 for top in tops]),
    )


def drawn(outcomes: Outcomes, prefix: str = "") -> dict[str, str]:
    """Return the plots of a card by file name."""
    confidences, right = outcomes.confidences, outcomes.right
    return {
        f"{prefix}reliability.svg": reliability(confidences, right),
        f"{prefix}risk-coverage.svg": risk_coverage(confidences, right),
        f"{prefix}confusion.svg": confusion(outcomes.truth, outcomes.found),
    }
