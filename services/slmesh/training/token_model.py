"""The encoder tagger in torch: tuned encoder, lexical features, head and conditional random field.

It knows no data set and no bundle. ``slmesh.slm.entities.encoder_tagger`` computes the same in numpy
from the arrays of :func:`head_arrays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from slmesh.slm.entities.tagger import transition_mask
from slmesh.training.lora import TunedEncoder

__all__ = ["Batch", "Field", "TokenTagger", "head_arrays"]

_FORBIDDEN = -1e4


@dataclass(frozen=True)
class Batch:
    """Texts of one step.

    Attributes:
        below: float32 (B, T, D), what the first tuned layer reads.
        mask: (B, T), 1 where there is a piece.
        spread: float32 (B, W, T), of each word the share of each of its pieces.
        features: int64 (B, W, F), rows of the lexical table; its last row, all zeros, pads.
        asked: float32 (B, A), 1 for each label that had been asked for.
        lengths: int64 (B,), words of each text.
        tags: int64 (B, W).
        kinds: int64 (B,), the kind of each text, -1 where it has none.
    """

    below: torch.Tensor
    mask: torch.Tensor
    spread: torch.Tensor
    features: torch.Tensor
    asked: torch.Tensor
    lengths: torch.Tensor
    tags: torch.Tensor
    kinds: torch.Tensor


class Field(torch.nn.Module):
    """A linear-chain conditional random field over tags of which I-x follows only B-x or I-x.

    Source: Lafferty, McCallum and Pereira, Conditional Random Fields, ICML 2001.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__()
        self.transitions = torch.nn.Parameter(torch.zeros(len(tags), len(tags)))
        self.opening = torch.nn.Parameter(torch.zeros(len(tags)))
        allowed = torch.tensor(transition_mask(tags))
        opens = torch.tensor([not tag.startswith("I-") for tag in tags])
        self.register_buffer("barred", torch.where(allowed, 0.0, _FORBIDDEN), persistent=False)
        self.register_buffer("barred_at_start", torch.where(opens, 0.0, _FORBIDDEN), False)

    def scores(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the score of the second tag after the first (K, K), and of the first tag (K,)."""
        barred: Any = self.barred
        at_start: Any = self.barred_at_start
        return self.transitions + barred, self.opening + at_start

    def forward(
        self, logits: torch.Tensor, tags: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Return the negative log likelihood of each row of tags, (B,)."""
        transitions, opening = self.scores()
        kernel = transitions.exp()  # (K, K)
        steps = logits.shape[1]
        inside = torch.arange(steps) < lengths.cpu()[:, None]  # (B, W)
        inside = inside.to(logits.device)
        gold = logits.gather(2, tags[:, :, None])[:, :, 0]
        gold = gold + torch.cat(
            [opening[tags[:, :1]], transitions[tags[:, :-1], tags[:, 1:]]], dim=1
        )
        current = opening + logits[:, 0]
        for at in range(1, steps):
            top = current.max(dim=1, keepdim=True).values
            # in the space of probabilities one product of matrices does a step
            summed = torch.log((current - top).exp() @ kernel + 1e-30) + top
            current = torch.where(inside[:, at, None], summed + logits[:, at], current)
        return torch.logsumexp(current, dim=1) - (gold * inside).sum(dim=1)


class TokenTagger(TunedEncoder):
    """Tuned layers, and a head that reads each word with its neighbours.

    Args:
        encoder: A transformers encoder of BERT's build.
        layers: How many of its last layers are tuned.
        tags: O, and B-x and I-x of each label.
        sizes: ``buckets`` and ``lexical`` (rows and columns of the table of lexical features),
            ``hidden`` (of the head), ``asked`` (labels that may have been asked for), ``kinds``
            (of texts, told beside the tags; only trained with).
        drops: Shares dropped while training: ``words`` of the head's input, ``features`` of the
            lexical features, ``asked`` of the texts' asked labels.
    """

    def __init__(
        self,
        encoder: Any,
        layers: int,
        tags: Sequence[str],
        sizes: dict[str, int],
        drops: dict[str, float],
    ) -> None:
        super().__init__(encoder, layers)
        self.drops = drops
        read = encoder.config.hidden_size + sizes["lexical"]
        self.lexical = torch.nn.Embedding(
            sizes["buckets"] + 1, sizes["lexical"], padding_idx=sizes["buckets"]
        )
        torch.nn.init.normal_(self.lexical.weight, std=0.1)
        with torch.no_grad():
            self.lexical.weight[-1] = 0
        self.mix = torch.nn.Linear(3 * read + sizes["asked"], sizes["hidden"])
        self.out = torch.nn.Linear(sizes["hidden"], len(tags))
        self.skip = torch.nn.Linear(read, len(tags), bias=False)
        self.kind = torch.nn.Linear(encoder.config.hidden_size, max(sizes["kinds"], 1))
        self.field = Field(tags)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the score of each tag of each word (B, W, K), and of each kind of text (B, C)."""
        drop = torch.nn.functional.dropout
        hidden = self.above(batch.below, batch.mask)
        of_words = batch.spread @ hidden  # (B, W, D)
        counts = batch.lengths[:, None].to(hidden.dtype)
        kinds = self.kind(of_words.sum(dim=1) / counts)
        features = self.lexical(batch.features)  # (B, W, F, L)
        if self.training:
            kept = torch.rand(features.shape[:3], device=features.device) >= self.drops["features"]
            features = features * (kept[..., None] / (1 - self.drops["features"]))
        lexical = features.sum(dim=2)
        read = torch.cat([of_words, lexical], dim=2)
        read = drop(read, self.drops["words"], self.training)
        before = torch.nn.functional.pad(read, (0, 0, 1, 0))[:, :-1]
        after = torch.nn.functional.pad(read, (0, 0, 0, 1))[:, 1:]
        asked = batch.asked
        if self.training:
            known = torch.rand(len(asked), 1, device=asked.device) >= self.drops["asked"]
            asked = asked * known
        asked = asked[:, None].expand(-1, read.shape[1], -1)
        mixed = torch.relu(self.mix(torch.cat([before, read, after, asked], dim=2)))
        mixed = drop(mixed, self.drops["words"], self.training)
        logits: torch.Tensor = self.out(mixed) + self.skip(read)
        return logits, kinds


def head_arrays(model: TokenTagger) -> dict[str, np.ndarray]:
    """Return the head as a bundle stores it.

    Returns:
        ``lexical`` int8 (buckets, L) with ``lexical_scales`` float32 (L,); float16 ``mix`` (3R + A,
        H), ``out`` (H, K) and ``skip`` (R, K); float32 ``mix_bias``, ``out_bias``, ``transitions``
        (K, K) and ``opening`` (K,).
    """
    with torch.no_grad():
        table = model.lexical.weight[:-1].cpu().numpy()
        scales = np.maximum(np.abs(table).max(axis=0), 1e-6) / 127
        transitions, opening = model.field.scores()
        arrays = {
            "mix": model.mix.weight.T,
            "out": model.out.weight.T,
            "skip": model.skip.weight.T,
        }
        exact = {
            "mix_bias": model.mix.bias,
            "out_bias": model.out.bias,
            "transitions": transitions,
            "opening": opening,
        }
        made = {name: value.cpu().numpy().astype(np.float16) for name, value in arrays.items()}
        made |= {name: value.cpu().numpy().astype(np.float32) for name, value in exact.items()}
    made["lexical"] = np.round(table / scales).astype(np.int8)
    made["lexical_scales"] = scales.astype(np.float32)
    return made
