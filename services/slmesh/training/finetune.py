"""Fine-tunes the encoder of a classifier through low-rank adapters.

Training texts and columns in; a float16 adapter and a head of the serving shape out. Seeded, and
resumable: after each epoch everything needed to go on is written as safetensors and JSON. On a GPU
where there is one. Needs torch and transformers; it knows no data set, no bundle and no threshold.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmesh.training.column_groups import grouped_loss, nearest_in_group
from slmesh.training.fit import CENTRE_ROWS, drawn_of_each
from slmesh.training.lora import TunedClassifier, adapter_arrays
from slmesh.training.tuning_run import POOL, TuningRun, load_encoder
from slmesh.weights.fetch import Progress, silent

__all__ = ["FineTuned", "TuningRows", "fine_tune"]

_OUTSIDE = -1
_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class TuningRows:
    """What to fine-tune on, and what to watch.

    Attributes:
        texts: Training texts in scope.
        labels: int (B,) in [0, C).
        outside: Training texts out of scope.
        held_texts: Validation texts in scope, only watched.
        held_labels: int (V,).
        groups: int (C,), see ``column_groups``; empty for one group.
        weights: (C,) of a row by its column; empty for 1.
    """

    texts: Sequence[str]
    labels: np.ndarray
    outside: Sequence[str] = ()
    held_texts: Sequence[str] = ()
    held_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned encoder.

    Attributes:
        adapter: See ``training.lora.adapter_arrays``.
        weights: float32 (D, C), of the head on embeddings of length 1.
        bias: float32 (C,).
        history: Of each epoch: ``loss``, ``held_accuracy`` (of the averaged weights in fp32, without
            the linear tier) and ``seconds``.
    """

    adapter: dict[str, np.ndarray]
    weights: np.ndarray
    bias: np.ndarray
    history: tuple[dict[str, float], ...]


def fine_tune(
    backbone: Path,
    rows: TuningRows,
    numbers: Mapping[str, Any],
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> FineTuned:
    """Fine-tune.

    Args:
        backbone: A folder with ``model.safetensors``, ``config.json`` and ``tokenizer.json``.
        rows: The rows.
        numbers: ``layers`` (how many are tuned, from the last), ``rank``, ``adapter_dropout``,
            ``epochs``, ``batch_size``, ``learning_rate``, ``head_learning_rate``,
            ``weight_decay``, ``label_smoothing``, ``outside_share`` (of a batch),
            ``outside_weight``, ``averaging`` (decay of the averaged weights), ``head_scale`` (of
            the first weights of the head), ``max_tokens``, ``strength`` (see
            ``training.lora.adapter_arrays``; not part of the training).
        seed: Of everything random.
        checkpoint: A folder to resume from and to write to; None for neither.
        progress: Told of each step.
    """
    return _Tuning(backbone, rows, numbers, seed, checkpoint, progress).run()


class _Tuning(TuningRun):
    """One run over a classifier."""

    def __init__(
        self,
        backbone: Path,
        rows: TuningRows,
        numbers: Mapping[str, Any],
        seed: int,
        checkpoint: Path | None,
        progress: Progress,
    ) -> None:
        super().__init__(numbers, seed, checkpoint, progress)
        torch.set_num_threads(os.cpu_count() or 1)
        self.rows = rows
        self.tokenize = _tokenizer(backbone, numbers["max_tokens"])
        encoder = load_encoder(backbone)
        classes = int(rows.labels.max()) + 1
        self.groups = rows.groups if len(rows.groups) else np.zeros(classes, int)
        self.weights = rows.weights if len(rows.weights) else np.ones(classes, np.float32)
        head = torch.zeros(encoder.config.hidden_size, classes)
        self.model = TunedClassifier(encoder, numbers["layers"], head).to(self.device)
        self.inside: list[np.ndarray] = []
        self.outside: list[np.ndarray] = []
        self.held: list[np.ndarray] = []
        if self._record().get("finished") is not True:  # what is finished reads no text again
            self.inside, self.outside, self.held = map(
                self._below, (rows.texts, rows.outside, rows.held_texts)
            )
            self._set_head()
        torch.manual_seed(seed)
        self._insert_adapters(self.model)
        epochs: int = numbers["epochs"]
        steps = epochs * math.ceil(len(rows.texts) / self._inside_size)
        self._prepare(self.model, steps, epochs)

    @property
    def _inside_size(self) -> int:
        share = self.numbers["outside_share"] if self.rows.outside else 0.0
        size: int = max(1, round(self.numbers["batch_size"] * (1 - share)))
        return size

    def run(self) -> FineTuned:
        self._train()
        with torch.no_grad():
            return FineTuned(
                adapter_arrays(self.averaged_encoder, self.before, self.numbers["strength"]),
                self.average["weights"].float().cpu().numpy(),
                self.average["bias"].float().cpu().numpy(),
                tuple(self.history),
            )

    def _batches(self, epoch: int) -> Iterator[list[tuple[np.ndarray, int]]]:
        """Yield batches of (what the first tuned layer reads, column); -1 is out of scope."""
        random = np.random.default_rng((self.seed, epoch))
        size = self._inside_size
        order = random.permutation(len(self.inside))
        whole: list[list[int]] = []
        for start in range(0, len(order), size * POOL):
            pool = order[start : start + size * POOL].tolist()
            pool.sort(key=lambda i: len(self.inside[i]))
            whole += [pool[at : at + size] for at in range(0, len(pool), size)]
        outside = self.numbers["batch_size"] - size
        for place in random.permutation(len(whole)).tolist():
            batch = [(self.inside[i], int(self.rows.labels[i])) for i in whole[place]]
            if outside:
                drawn = random.integers(0, len(self.outside), outside).tolist()
                batch += [(self.outside[i], _OUTSIDE) for i in drawn]
            yield batch

    def _loss(self, batch: Sequence[tuple[np.ndarray, int]]) -> torch.Tensor:
        below, mask = self._padded([row for row, _ in batch])
        columns = torch.tensor([column for _, column in batch], device=self.device)
        logits = self.model(below, mask)
        inside, smoothing = columns != _OUTSIDE, self.numbers["label_smoothing"]
        loss = grouped_loss(logits[inside], columns[inside], self.groups, self.weights, smoothing)
        if not bool(inside.all()):
            # Outlier exposure (Hendrycks et al., arXiv 1812.04606): no label is likelier.
            flat = -torch.log_softmax(logits[~inside], dim=1).mean()
            loss = loss + self.numbers["outside_weight"] * flat
        return loss

    def _padded(self, rows: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows (T, D) as one batch, float32 (B, T, D), and its mask, (B, T)."""
        lengths = [len(row) for row in rows]
        below = np.zeros((len(rows), max(lengths), rows[0].shape[1]), np.float32)
        mask = np.zeros(below.shape[:2], np.int64)
        for i, row in enumerate(rows):
            below[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return torch.tensor(below, device=self.device), torch.tensor(mask, device=self.device)

    @torch.no_grad()
    def _below(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return what the first tuned layer reads of each text, float16 (T, D)."""
        self.model.eval()
        tokens = self.tokenize(texts)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        rows: list[np.ndarray] = [np.zeros(0)] * len(tokens)
        for at in range(0, len(order), _EVALUATION_BATCH):
            chosen = order[at : at + _EVALUATION_BATCH]
            ids = np.zeros((len(chosen), len(tokens[chosen[-1]])), np.int64)
            for place, i in enumerate(chosen):
                ids[place, : len(tokens[i])] = tokens[i]
            mask = np.arange(ids.shape[1]) < np.array([[len(tokens[i])] for i in chosen])
            tensors = [torch.tensor(array, device=self.device) for array in (ids, mask.astype(int))]
            made = self.model.below(*tensors).cpu().numpy().astype(np.float16)
            for place, i in enumerate(chosen):
                rows[i] = made[place, : len(tokens[i])]
            self.progress(f"reading {len(texts)} texts", (at + len(chosen)) / len(texts))
        return rows

    @torch.no_grad()
    def _set_head(self) -> None:
        """Start the head from the centre of each class in the untuned encoder."""
        drawn = drawn_of_each(self.rows.labels, CENTRE_ROWS, np.random.default_rng(self.seed))
        embeddings = self._embedded([self.inside[i] for i in drawn.tolist()])
        labels = torch.tensor(self.rows.labels[drawn], device=self.device)
        centres = torch.stack(
            [embeddings[labels == c].mean(0) for c in range(self.model.weights.shape[1])]
        )
        scale = self.numbers["head_scale"]
        self.model.weights.copy_(scale * torch.nn.functional.normalize(centres, dim=1).T)

    @torch.no_grad()
    def _embedded(self, rows: Sequence[np.ndarray]) -> torch.Tensor:
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        parts = [
            self.model.embed(*self._padded([rows[i] for i in order[at : at + _EVALUATION_BATCH]]))
            for at in range(0, len(order), _EVALUATION_BATCH)
        ]
        embeddings = torch.empty_like(torch.cat(parts))
        embeddings[order] = torch.cat(parts)
        return embeddings

    @torch.no_grad()
    def _held_figure(self) -> float:
        if not self.held:
            return 0.0
        with self._averaged():
            embeddings = self._embedded(self.held)
            logits = (embeddings @ self.model.weights + self.model.bias).cpu().numpy()
        found = nearest_in_group(logits, self.rows.held_labels, self.groups)
        return float((found == self.rows.held_labels).mean())

    def _made_for(self) -> str:
        rows = self.rows
        trained_by = {key: value for key, value in self.numbers.items() if key != "strength"}
        content = [trained_by, self.seed, list(rows.texts), list(rows.outside)]
        content += [rows.labels.tolist(), list(rows.held_texts)]
        content += [array.tolist() for array in (rows.groups, rows.weights) if len(array)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _tokenizer(backbone: Path, max_tokens: int) -> Any:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return lambda texts: [e.ids for e in tokenizer.encode_batch(list(texts))]
