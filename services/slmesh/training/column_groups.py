"""Columns of one head that do not compete with each other: the scales of a scorer, tuned together.

A row belongs to the group of its column, and only columns of that group are compared for it. Needs
torch; it knows no scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["balanced_weights", "grouped_loss", "nearest_in_group"]


def grouped_loss(
    logits: torch.Tensor,
    columns: torch.Tensor,
    groups: np.ndarray,
    weights: np.ndarray,
    smoothing: float,
) -> torch.Tensor:
    """Return the mean log-loss of rows, each among the columns of its group.

    Args:
        logits: (B, C).
        columns: int (B,) in [0, C).
        groups: int (C,).
        weights: (C,): how much a row of each column counts; a group's are relative to each other.
        smoothing: Label smoothing, in [0, 1).
    """
    total = logits.new_zeros(())
    group_of = torch.from_numpy(groups).to(columns.device)[columns]  # (B,)
    for group in np.unique(groups).tolist():
        rows = group_of == group
        if not bool(rows.any()):
            continue
        first, last = np.flatnonzero(groups == group)[[0, -1]].tolist()
        loss = torch.nn.functional.cross_entropy(
            logits[rows, first : last + 1],
            columns[rows] - first,
            weight=torch.from_numpy(weights[first : last + 1]).to(logits),
            label_smoothing=smoothing,
        )
        total = total + rows.float().mean() * loss
    return total


def nearest_in_group(logits: np.ndarray, columns: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the likeliest column of the group of each row's column, int (B,).

    Args:
        logits: (B, C).
        columns: int (B,).
        groups: int (C,).
    """
    masked = np.where(groups[None, :] == groups[columns][:, None], logits, -np.inf)
    found: np.ndarray = masked.argmax(axis=1)
    return found


def balanced_weights(counts: Sequence[int], groups: np.ndarray) -> np.ndarray:
    """Return weights that let every column of a group count the same, (C,) float32, mean 1 a row."""
    rows = np.asarray(counts, float)
    weights = np.empty(len(rows), np.float32)
    for group in np.unique(groups):
        chosen = groups == group
        weights[chosen] = rows[chosen].mean() / rows[chosen]
    return weights
