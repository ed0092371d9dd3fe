"""Low-rank adapters for fine-tuning: put into a torch model, and read out again as small arrays.

Every weight matrix of the encoder's layers gets a product of two thin matrices beside it; biases and
normalisation are trained as they are, and kept as differences. Needs torch. What merges an adapter
into a backbone needs numpy alone and is ``slmesh.weights.adapter``; this module knows no task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["LoraLinear", "adapter_arrays", "insert_adapters"]


class LoraLinear(torch.nn.Module):
    """A frozen linear layer plus ``dropout(x) a^T b^T``.

    Args:
        base: The layer; its weight stays, its bias is trained.
        rank: Of the product, >= 1.
        dropout: Share of the inputs the product does not see while training.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685.
    """

    def __init__(self, base: torch.nn.Linear, rank: int, dropout: float) -> None:
        super().__init__()
        self.base = base
        self.dropout = torch.nn.Dropout(dropout)
        self.a = torch.nn.Parameter(torch.empty(rank, base.in_features))
        self.b = torch.nn.Parameter(torch.zeros(base.out_features, rank))  # starts as no change
        torch.nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (B, T, out) from (B, T, in)."""
        linear = torch.nn.functional.linear
        changed: torch.Tensor = linear(linear(self.dropout(hidden), self.a), self.b)
        whole: torch.Tensor = self.base(hidden) + changed
        return whole


def insert_adapters(
    model: torch.nn.Module, within: tuple[str, ...], rank: int, dropout: float
) -> dict[str, torch.nn.Parameter]:
    """Freeze a model, put adapters beside linear layers of it, and name what trains.

    Args:
        model: A transformers encoder.
        within: What the names of the modules to tune begin with.
        rank: Of each adapter, >= 1.
        dropout: See :class:`LoraLinear`.

    Returns:
        The parameters to train by name.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name.startswith(within):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, LoraLinear(module, rank, dropout))
    for name, parameter in model.named_parameters():
        adapter = name.endswith((".a", ".b"))
        small = parameter.ndim == 1 and name.startswith(within)
        parameter.requires_grad_(adapter or small)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def adapter_arrays(
    trained: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Return a trained adapter as arrays, named after the backbone's own weights.

    Args:
        trained: Parameters by the names of :func:`insert_adapters`.
        before: The same parameters before training.

    Returns:
        float16: ``<weight>.a`` (rank, in) and ``<weight>.b`` (out, rank) of each matrix, and
        ``<name>.delta`` of each vector.
    """
    arrays: dict[str, Any] = {}
    for name, parameter in trained.items():
        value = parameter.detach().float().cpu()
        if name.endswith((".a", ".b")):
            arrays[f"{name[:-2]}.weight{name[-2:]}"] = value
        else:
            arrays[name.replace(".base.", ".") + ".delta"] = value - before[name].float().cpu()
    return {name: array.numpy().astype(np.float16) for name, array in arrays.items()}
