"""Trains the heads of a ranker: linear changes to frozen embeddings, so that questions find answers.

A step draws some pools of each source, and asks that each right passage be likelier than all wrong
ones of its pool. Minutes on one core, because no text is encoded again. Needs torch; it knows no data
set and no bundle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from slmesh.slm.passages.heads import Heads
from slmesh.training.ranking_data import Pool
from slmesh.weights.fetch import Progress, silent

__all__ = ["train_heads"]

_WARM_STEPS = 50
_NEVER = -1e9
_TOLD = 20  # steps between two words on progress


@dataclass(frozen=True)
class _Lesson:
    """A pool of passages and its questions, embedded.

    Attributes:
        questions: The texts, which tell questions that are asked in several pools.
        queries: (Q, D).
        entries: (E, D).
        starts: Where the entries of each passage begin, int (N,).
        right: bool (Q, N).
    """

    questions: Sequence[str]
    queries: np.ndarray
    entries: np.ndarray
    starts: np.ndarray
    right: np.ndarray


def train_heads(
    pools: Sequence[Pool],
    vectors: Mapping[str, np.ndarray],
    numbers: Mapping[str, Any],
    seed: int,
    progress: Progress = silent,
) -> Heads:
    """Train both heads.

    Args:
        pools: Training pools of every source that ``numbers`` names.
        vectors: The embedding of every text, (D,).
        numbers: ``steps``, ``learning_rate``, ``weight_decay``, ``dropout`` (of what a head adds to),
            ``scale`` (of cosines in the loss), ``most_questions`` (of one lesson in a step), and
            ``sources``: for each its ``weight``, how many lessons are ``drawn`` in a step, and whether
            those are ``merged`` into one pool.
        seed: Of everything random.
        progress: Told of the steps.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the matrices are small: more threads wait for each other
    random = np.random.default_rng(seed)
    lessons = _lessons(pools, vectors)
    dimensions = len(next(iter(vectors.values())))
    changes = [torch.nn.Parameter(torch.zeros(dimensions, dimensions)) for _ in range(2)]
    optimiser = torch.optim.AdamW(changes, lr=0.0, weight_decay=numbers["weight_decay"])
    steps = int(numbers["steps"])
    for step in range(steps):
        rate = min(1.0, (step + 1) / _WARM_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = numbers["learning_rate"] * rate
        total = torch.zeros(())
        for source, plan in numbers["sources"].items():
            drawn = list(_drawn(lessons[source], plan, numbers["most_questions"], random))
            losses = [_loss(lesson, changes, numbers) for lesson in drawn]
            total = total + plan["weight"] * torch.stack(losses).mean()
        optimiser.zero_grad()
        torch.autograd.backward(total)
        optimiser.step()
        if step % _TOLD == 0 or step + 1 == steps:
            progress("training the heads", (step + 1) / steps)
    query, passage = (change.detach().numpy().astype(np.float16) for change in changes)
    return Heads(query.astype(np.float32), passage.astype(np.float32))


def _lessons(pools: Sequence[Pool], vectors: Mapping[str, np.ndarray]) -> dict[str, list[_Lesson]]:
    lessons: dict[str, list[_Lesson]] = {}
    for pool in pools:
        right = np.zeros((len(pool.questions), len(pool.passages)), bool)
        for row, (_, answers) in enumerate(pool.questions):
            right[row, list(answers)] = True
        questions = [question for question, _ in pool.questions]
        lessons.setdefault(pool.source, []).append(
            _Lesson(
                questions,
                np.stack([vectors[question] for question in questions]),
                np.stack([vectors[entry] for entry in pool.entries]),
                pool.starts,
                right,
            )
        )
    return lessons


def _drawn(
    lessons: Sequence[_Lesson], plan: Mapping[str, Any], most: int, random: np.random.Generator
) -> Iterator[_Lesson]:
    """Yield the lessons of one step, with no more questions each than wanted."""
    chosen = [lessons[i] for i in random.permutation(len(lessons))[: plan["drawn"]].tolist()]
    if plan.get("merged"):
        yield _merged(chosen)
        return
    for lesson in chosen:
        if len(lesson.questions) <= most:
            yield lesson
            continue
        rows = random.permutation(len(lesson.questions))[:most].tolist()
        yield _Lesson(
            [lesson.questions[i] for i in rows],
            lesson.queries[rows],
            lesson.entries,
            lesson.starts,
            lesson.right[rows],
        )


def _merged(lessons: Sequence[_Lesson]) -> _Lesson:
    """Return lessons as one; a question asked in several of them has the answers of all."""
    questions = [question for lesson in lessons for question in lesson.questions]
    right = np.zeros((len(questions), sum(len(lesson.starts) for lesson in lessons)), bool)
    starts, row, column, entry = [], 0, 0, 0
    for lesson in lessons:
        rows, columns = lesson.right.shape
        right[row : row + rows, column : column + columns] = lesson.right
        starts.append(lesson.starts + entry)
        row, column, entry = row + rows, column + columns, entry + len(lesson.entries)
    same = np.array([[one == other for other in questions] for one in questions])
    return _Lesson(
        questions,
        np.concatenate([lesson.queries for lesson in lessons]),
        np.concatenate([lesson.entries for lesson in lessons]),
        np.concatenate(starts),
        same.astype(np.float32) @ right > 0,
    )


def _loss(
    lesson: _Lesson, changes: Sequence[torch.Tensor], numbers: Mapping[str, Any]
) -> torch.Tensor:
    """Return how unlikely the right passages are, each against all wrong ones of its question.

    The log-loss of each right passage, the other right ones left out: with one right passage the usual
    contrastive loss. Source: van den Oord et al., arXiv 1807.03748; several right ones: Khosla et al.,
    Supervised Contrastive Learning, arXiv 2004.11362, equation 2 without the right ones below.
    """
    queries = _changed(torch.from_numpy(lesson.queries), changes[0], numbers["dropout"])
    entries = _changed(torch.from_numpy(lesson.entries), changes[1], numbers["dropout"])
    logits = numbers["scale"] * _best_entry(queries @ entries.T, lesson.starts)  # (Q, N)
    right = torch.from_numpy(lesson.right)
    # not minus infinity, whose gradient is undefined where every passage is right
    wrong = torch.logsumexp(logits.masked_fill(right, _NEVER), dim=1, keepdim=True)  # (Q, 1)
    missed = torch.nn.functional.softplus(wrong - logits)  # -log(p / (p + wrong))
    counts = right.sum(1)
    kept = counts > 0
    each = missed.masked_fill(~right, 0.0).sum(1)[kept] / counts[kept]
    return each.mean() if len(each) else torch.zeros(())


def _changed(rows: torch.Tensor, change: torch.Tensor, dropout: float) -> torch.Tensor:
    seen = torch.nn.functional.dropout(rows, dropout)
    return torch.nn.functional.normalize(rows + seen @ change, dim=1)


def _best_entry(cosines: torch.Tensor, starts: np.ndarray) -> torch.Tensor:
    """Return the similarity of each passage's best entry, (Q, E) to (Q, N)."""
    if len(starts) == cosines.shape[1]:
        return cosines
    sizes = np.diff([*starts.tolist(), cosines.shape[1]])
    passage = torch.from_numpy(np.repeat(np.arange(len(starts)), sizes)).expand(len(cosines), -1)
    nothing = torch.full((len(cosines), len(starts)), -torch.inf)
    return nothing.scatter_reduce(1, passage, cosines, "amax")
