"""What a policy is asked, and what it says: may data of these classes reach this model?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "DIRECT_CLASS",
    "INSIDE",
    "ClassRuling",
    "Question",
    "Ruling",
    "Target",
    "sorted_classes",
]

DIRECT_CLASS = "confidential"
"""The class of the data of a call that brings no policy context."""

INSIDE = ("in-process", "cluster")
"""The zones of the mesh itself."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model behind a service, as policy sees it.

    Attributes:
        service: The service's name.
        contract: The contract it speaks.
        zone: One of :data:`slmesh.mesh.manifest.ZONES`.
        region: Where the model runs; ``unknown`` when nobody has declared it.
        purpose: What the model may use the data for.
        model: The declared model; empty for a service without one.
    """

    service: str
    contract: str
    zone: str
    region: str
    purpose: str
    model: str = ""

    @property
    def inside(self) -> bool:
        """Whether the model runs where the mesh runs."""
        return self.zone in INSIDE


class Question(NamedTuple):
    """One hop.

    Attributes:
        flow: The flow the data belongs to; empty for a direct call.
        tenant: Who is served.
        classes: The classes of the data, sorted, at least one.
        service: The service that is called.
        redacted: Whether what the guard has found is replaced by placeholders.
    """

    flow: str
    tenant: str
    classes: tuple[str, ...]
    service: str
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ClassRuling:
    """What the policy says about one class.

    Attributes:
        data_class: The class.
        allowed: Whether data of it may go.
        rule: The id of the policy that says so; empty when none allows it.
    """

    data_class: str
    allowed: bool
    rule: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policy says about a hop.

    Attributes:
        allowed: Whether data of every class may go.
        by_class: The rulings, in the order of the question's classes.
    """

    allowed: bool
    by_class: tuple[ClassRuling, ...]


def sorted_classes(classes: Iterable[str]) -> tuple[str, ...]:
    """Return classes in the one order that questions and seals have them in."""
    return tuple(sorted(set(classes)))
