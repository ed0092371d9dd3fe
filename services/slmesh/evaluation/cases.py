"""What is asked of a service, and what its answer should be.

A case becomes one request, or several where one does not hold it. Nothing here reads files or calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from google.protobuf.message import Message

from slmesh.api.rank.v1.rank_pb2 import Candidate, Candidates, RankRequest

__all__ = [
    "OUT_OF_SCOPE",
    "Case",
    "Cases",
    "ExpectedField",
    "ExpectedFields",
    "ExpectedFindings",
    "ExpectedLabel",
    "ExpectedLevel",
    "Pool",
    "Question",
    "RequestCase",
]

OUT_OF_SCOPE = "oos"
"""The label of a text that has none of the service's labels; the name it has in CLINC150."""


class Case(Protocol):
    """One thing to ask, with what is expected."""

    @property
    def source(self) -> str:
        """The format the case was read from."""

    @property
    def place(self) -> str:
        """The file and line, for messages."""

    @property
    def expected(self) -> Any:
        """What the answer should be; its type belongs to the contract."""

    def requests(self) -> Sequence[Message]:
        """Return what to ask, at least one request."""


@dataclass(frozen=True)
class RequestCase:
    """A case whose requests are made when its row is read."""

    source: str
    place: str
    expected: Any
    asked: tuple[Message, ...]

    def requests(self) -> Sequence[Message]:
        """See :class:`Case`."""
        return self.asked


@dataclass(frozen=True)
class ExpectedLabel:
    """Of a classifier: the right label, or :data:`OUT_OF_SCOPE`."""

    label: str


@dataclass(frozen=True)
class ExpectedLevel:
    """Of a scorer: the right level of a scale."""

    scale: str
    level: str


@dataclass(frozen=True)
class ExpectedField:
    """One field that a text holds.

    Attributes:
        name: Our field name.
        start: Of the half-open range, in code points.
        end: Of the half-open range, in code points.
        values: Readings any of which is right, see :mod:`slmesh.evaluation.values`; empty where the
            set gives no value.
    """

    name: str
    start: int
    end: int
    values: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ExpectedFields:
    """Of an extractor.

    Attributes:
        fields: What the text holds.
        unjudged: Ranges the set marks with labels that have no field of ours; what is found there
            is neither right nor wrong.
        engine_specific: Whether the row holds a convention of the engine it was written for, by the
            committed rule; it counts, and the figures without such rows are given too.
    """

    fields: tuple[ExpectedField, ...]
    unjudged: tuple[tuple[int, int], ...] = ()
    engine_specific: bool = False


@dataclass(frozen=True)
class ExpectedFindings:
    """Of a guard.

    Attributes:
        personal: Kind, start and end of every piece of personal data; None where the set does not
            mark any, so that what is found cannot be judged.
        kinds: The kinds the set marks; findings of others are not judged. None for all.
        injection: Whether an instruction is injected; None where the set does not say.
    """

    personal: frozenset[tuple[str, int, int]] | None = None
    kinds: frozenset[str] | None = None
    injection: bool | None = None


@dataclass(frozen=True)
class Pool:
    """Passages that questions are asked of.

    Attributes:
        name: Unique in a run.
        passages: Text by id, in their order.
        collection: The collection the passages are indexed under, or empty to send them along.
        most_candidates: The most passages of one request; more are sent in parts.
    """

    name: str
    passages: Mapping[str, str]
    collection: str = ""
    most_candidates: int = 512

    @cached_property
    def parts(self) -> tuple[Candidates, ...]:
        """The passages as messages."""
        items = [Candidate(id=name, text=text) for name, text in self.passages.items()]
        step = self.most_candidates
        return tuple(
            Candidates(candidates=items[start : start + step])
            for start in range(0, len(items), step)
        )


@dataclass(frozen=True)
class Question:
    """A query to a ranker; its requests are made when they are sent, because pools are large.

    Attributes:
        source: See :class:`Case`.
        place: See :class:`Case`.
        query: The query.
        pool: What it is asked of.
        expected: Ids of the passages that answer it; empty when none does.
        top_k: How many passages to ask for.
        own: Ids of the passages that its own row names, where rows with the same question share
            their answers; empty where they are all of ``expected``.
    """

    source: str
    place: str
    query: str
    pool: Pool
    expected: frozenset[str]
    top_k: int = 10
    own: frozenset[str] = frozenset()

    def requests(self) -> Sequence[Message]:
        """See :class:`Case`."""
        if self.pool.collection:
            return [
                RankRequest(query=self.query, collection=self.pool.collection, top_k=self.top_k)
            ]
        return [
            RankRequest(query=self.query, candidates=part, top_k=self.top_k)
            for part in self.pool.parts
        ]


@dataclass(frozen=True)
class Cases:
    """Everything a run asks.

    Attributes:
        cases: At least one.
        left_out: How many rows are not asked, by reason.
        notes: How the data were understood, for people.
    """

    cases: tuple[Case, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
