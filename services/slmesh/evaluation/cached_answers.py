"""Reads questions with what a weak and a strong model made of each, as RouteLLM's cache holds them.

Source: Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmesh.evaluation.rows import read_rows
from slmesh.evaluation.splits import normalised

__all__ = ["CachedAnswers", "read_cached_answers"]

_CONTAMINATED = "contaminated"
"""Questions too like the data that RouteLLM's routers were trained on; RouteLLM leaves them out."""


@dataclass(frozen=True)
class CachedAnswers:
    """Questions, and who was right.

    Attributes:
        prompts: What the models were asked.
        groups: What must not be separated: prompts that differ in case or spaces alone have one.
        weak: float (B,): 1 where the weak model was right.
        strong: float (B,): 1 where the strong model was right.
    """

    prompts: list[str]
    groups: list[str]
    weak: np.ndarray
    strong: np.ndarray

    @property
    def gains(self) -> np.ndarray:
        """What asking the strong model gains over the weak one, in {-1, 0, 1}, (B,)."""
        difference: np.ndarray = self.strong - self.weak
        return difference


def read_cached_answers(files: Sequence[Path]) -> CachedAnswers:
    """Return the rows of files with ``prompt``, ``weak_correct`` and ``strong_correct``.

    Rows that say ``contaminated: true`` are left out.

    Raises:
        InvalidArgument: A file or a row is wrong; file and line are named.
    """
    rows = [row for file in files for row in read_rows(file)]
    kept = [row for row in rows if not row.values.get(_CONTAMINATED)]
    prompts = [row.text("prompt") for row in kept]
    return CachedAnswers(
        prompts,
        [normalised(prompt) for prompt in prompts],
        np.array([row.truth("weak_correct") for row in kept], float),
        np.array([row.truth("strong_correct") for row in kept], float),
    )
