"""Scales that are tuned together: their levels are compared within a scale alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from slmesh.training.column_groups import balanced_weights, grouped_loss, nearest_in_group

GROUPS = np.array([0, 0, 1, 1, 1])
ONES = np.ones(5, np.float32)


def test_the_loss_is_that_of_each_group_by_its_share_of_rows() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    columns = torch.tensor([1, 2, 4])
    expected = (
        torch.nn.functional.cross_entropy(logits[:1, :2], torch.tensor([1]))
        + torch.nn.functional.cross_entropy(logits[1:, 2:], torch.tensor([0, 2])) * 2
    ) / 3
    assert grouped_loss(logits, columns, GROUPS, ONES, 0.0).item() == pytest.approx(expected.item())


def test_logits_of_another_group_change_nothing() -> None:
    logits = torch.zeros(2, 5)
    other = logits.clone()
    other[:, 2:] = 9.0
    columns = torch.tensor([0, 1])
    first, second = (grouped_loss(rows, columns, GROUPS, ONES, 0.1) for rows in (logits, other))
    assert first.item() == second.item()


def test_one_group_is_the_usual_loss() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    columns = torch.tensor([0, 3, 4, 1])
    usual = torch.nn.functional.cross_entropy(logits, columns, label_smoothing=0.1)
    assert grouped_loss(logits, columns, np.zeros(5, int), ONES, 0.1).item() == pytest.approx(
        usual.item()
    )


def test_the_likeliest_level_is_one_of_the_rows_scale() -> None:
    logits = np.array([[1.0, 2.0, 9.0, 0.0, 0.0], [9.0, 0.0, 1.0, 0.0, 3.0]])
    assert nearest_in_group(logits, np.array([0, 2]), GROUPS).tolist() == [1, 4]


def test_levels_weigh_alike_whatever_their_rows() -> None:
    counts = [10, 30, 5, 5, 20]
    weighed = np.array(counts) * balanced_weights(counts, GROUPS)
    assert weighed.tolist() == pytest.approx([20, 20, 10, 10, 10])
