"""The figures of rankers, from answers and what was expected. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slmesh.api.rank.v1.rank_pb2 import RankResponse
from slmesh.evaluation.cases import Question

__all__ = ["MRR_DEPTH", "merged", "question_figures", "reciprocal_rank"]

MRR_DEPTH = 10


def question_figures(
    cases: Sequence[Question], answers: Sequence[Sequence[RankResponse]]
) -> dict[str, Any]:
    """Return the figures of a ranker.

    Args:
        cases: At least one.
        answers: As many; several responses are to parts of one pool.

    Returns:
        ``accuracy``, the share of questions whose first passage is right, or that are abstained on
        where no passage is; ``mrr_10`` over the questions that have an answer, see
        :func:`reciprocal_rank`, by the order alone, abstained or not; ``abstained``; of several
        sources ``mrr_10_by_source``; and, where rows with the same question share their answers,
        ``mrr_10_own_answer`` by source, in which only the row's own answer is right.
    """
    orders = [merged(responses) for responses in answers]
    ranks = [
        reciprocal_rank(order, case.expected) for order, case in zip(orders, cases, strict=True)
    ]
    abstained = [
        not any(response.HasField("ranking") for response in responses) for responses in answers
    ]
    first_right = [
        away if not case.expected else not away and order[0] in case.expected
        for order, away, case in zip(orders, abstained, cases, strict=True)
    ]
    figures: dict[str, Any] = {"accuracy": sum(first_right) / len(cases)}
    by_source: dict[str, list[float]] = {}
    for case, rank in zip(cases, ranks, strict=True):
        if case.expected:
            by_source.setdefault(case.source, []).append(rank)
    answered = [rank for source in by_source.values() for rank in source]
    if answered:
        figures["mrr_10"] = sum(answered) / len(answered)
    figures["abstained"] = sum(abstained) / len(cases)
    own: dict[str, list[float]] = {}
    for case, order in zip(cases, orders, strict=True):
        if case.own:
            own.setdefault(case.source, []).append(reciprocal_rank(order, case.own))
    if own:
        figures["mrr_10_own_answer"] = {name: sum(rs) / len(rs) for name, rs in sorted(own.items())}
    if len(by_source) > 1:
        figures["mrr_10_by_source"] = {
            source: sum(found) / len(found) for source, found in sorted(by_source.items())
        }
    return figures


def merged(responses: Sequence[RankResponse]) -> list[str]:
    """Return the ids of the best passages of all parts of a pool, best first, abstained or not.

    Scores of one model version can be compared, so the parts' rankings are merged by score. How rare
    a word is the model learns from each part by itself, which makes the scores of parts differ a
    little from those of the whole.
    """
    passages = [
        passage
        for response in responses
        for passage in (*response.ranking.passages, *response.nearest)
    ]
    passages.sort(key=lambda passage: -passage.score)
    return [passage.id for passage in passages[:MRR_DEPTH]]


def reciprocal_rank(order: Sequence[str], right: frozenset[str]) -> float:
    """Return one over the place of the first right passage among the first ten, else 0.

    Source: Voorhees, The TREC-8 Question Answering Track Report, 1999; cut at ten as by MS MARCO.
    """
    for place, name in enumerate(order[:MRR_DEPTH], start=1):
        if name in right:
            return 1 / place
    return 0.0
