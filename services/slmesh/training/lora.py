"""Low-rank adapters for fine-tuning: the model, and what is read out again as small arrays.

Every weight matrix of the encoder's layers gets a product of two thin matrices beside it; biases and
normalisation are trained as they are, and kept as differences. Needs torch. What merges an adapter
into a backbone needs numpy alone and is ``slmesh.weights.adapter``; this module knows no task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = [
    "LoraLinear",
    "TunedClassifier",
    "TunedEncoder",
    "adapter_arrays",
    "insert_adapters",
    "put_adapter",
]


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


class TunedEncoder(torch.nn.Module):
    """An encoder of which the last layers are tuned.

    Layers below them do not change, so what they make of each text is computed once.

    Args:
        encoder: A transformers encoder of BERT's build.
        layers: How many of its last layers are tuned; all of them where it has fewer.
    """

    def __init__(self, encoder: Any, layers: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.first = max(0, len(encoder.encoder.layer) - layers)

    def below(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the first tuned layer reads, (B, T, D)."""
        hidden = self.encoder.embeddings(input_ids=ids)
        return self._layers(hidden, mask, slice(0, self.first))

    def above(self, below: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the tuned layers make of it, (B, T, D)."""
        return self._layers(below, mask, slice(self.first, None))

    def _layers(self, hidden: torch.Tensor, mask: torch.Tensor, chosen: slice) -> torch.Tensor:
        unseen = torch.where(mask[:, None, None, :] > 0, 0.0, -1e9)  # (B, 1, 1, T), added to scores
        for layer in self.encoder.encoder.layer[chosen]:
            made = layer(hidden, unseen)
            hidden = made[0] if isinstance(made, tuple) else made
        return hidden


class TunedClassifier(TunedEncoder):
    """The layers that are tuned, mean pooling and head.

    Args:
        encoder: A transformers encoder of BERT's build.
        layers: How many of its last layers are tuned; all of them where it has fewer.
        weights: (D, C), what the head starts from.
    """

    def __init__(self, encoder: Any, layers: int, weights: torch.Tensor) -> None:
        super().__init__(encoder, layers)
        self.weights = torch.nn.Parameter(weights)  # (D, C)
        self.bias = torch.nn.Parameter(torch.zeros(weights.shape[1]))

    def embed(self, below: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return embeddings of length 1, (B, D)."""
        hidden = self.above(below, mask)
        weight = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        mean = (hidden * weight).sum(1) / weight.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)

    def forward(self, below: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C)."""
        logits: torch.Tensor = self.embed(below, mask) @ self.weights + self.bias
        return logits


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


def put_adapter(
    inserted: Mapping[str, torch.nn.Parameter], adapter: Mapping[str, np.ndarray]
) -> str:
    """Let adapters begin where another training ended, and return a digest of where that is.

    Args:
        inserted: What :func:`insert_adapters` returned.
        adapter: See :func:`adapter_arrays`.

    Raises:
        ValueError: It is of another rank or of other layers.
    """
    digest = hashlib.sha256()
    with torch.no_grad():
        for name, parameter in inserted.items():
            matrix = name.endswith((".a", ".b"))
            key = (
                f"{name[:-2]}.weight{name[-2:]}"
                if matrix
                else f"{name.replace('.base.', '.')}.delta"
            )
            if key not in adapter or adapter[key].shape != tuple(parameter.shape):
                found = adapter[key].shape if key in adapter else "not there"
                raise ValueError(
                    f"the adapter to begin from does not fit: '{key}' is {found}, expected"
                    f" {tuple(parameter.shape)}"
                )
            value = torch.tensor(adapter[key].astype(np.float32))
            parameter.copy_(value if matrix else parameter + value)
            digest.update(adapter[key].tobytes())
    return digest.hexdigest()


def adapter_arrays(
    trained: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor], strength: float
) -> dict[str, np.ndarray]:
    """Return a trained adapter as arrays, named after the backbone's own weights.

    Args:
        trained: Parameters by the names of :func:`insert_adapters`.
        before: The same parameters before training.
        strength: Share of the change that is kept, in (0, 1]. Less than all of it is often more
            accurate on new texts. Source: Wortsman et al., Robust Fine-Tuning of Zero-Shot Models,
            arXiv 2109.01903.

    Returns:
        float16: ``<weight>.a`` (rank, in) and ``<weight>.b`` (out, rank) of each matrix, and
        ``<name>.delta`` of each vector.
    """
    arrays: dict[str, Any] = {}
    for name, parameter in trained.items():
        value = parameter.detach().float().cpu()
        if name.endswith(".a"):
            arrays[f"{name[:-2]}.weight.a"] = value
        elif name.endswith(".b"):
            arrays[f"{name[:-2]}.weight.b"] = strength * value
        else:
            change = value - before[name].float().cpu()
            arrays[name.replace(".base.", ".") + ".delta"] = strength * change
    return {name: array.numpy().astype(np.float16) for name, array in arrays.items()}
