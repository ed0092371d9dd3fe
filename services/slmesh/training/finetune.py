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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmesh.training.column_groups import grouped_loss, nearest_in_group
from slmesh.training.lora import TunedClassifier, adapter_arrays, insert_adapters
from slmesh.weights.fetch import Progress, silent

__all__ = ["FineTuned", "TuningRows", "fine_tune"]

_OUTSIDE = -1
_POOL = 50  # batches sorted by length together, so that little of a batch is padding
_EVALUATION_BATCH = 64
_STATE = "state.safetensors"
_RECORD = "record.json"


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


class _Tuning:
    """One run: the model, its optimiser and the averaged weights."""

    def __init__(
        self,
        backbone: Path,
        rows: TuningRows,
        numbers: Mapping[str, Any],
        seed: int,
        checkpoint: Path | None,
        progress: Progress,
    ) -> None:
        import transformers

        torch.set_num_threads(os.cpu_count() or 1)
        self.rows, self.numbers, self.seed = rows, numbers, seed
        self.checkpoint, self.progress = checkpoint, progress
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenize = _tokenizer(backbone, numbers["max_tokens"])
        encoder = transformers.AutoModel.from_pretrained(
            backbone, local_files_only=True, use_safetensors=True, add_pooling_layer=False
        )
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
        tuned = range(self.model.first, len(encoder.encoder.layer))
        within = tuple(f"encoder.layer.{i}." for i in tuned)
        inserted = insert_adapters(encoder, within, numbers["rank"], numbers["adapter_dropout"])
        self.before = {name: p.detach().clone() for name, p in inserted.items()}
        self.model.to(self.device)
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        heads = [self.model.weights, self.model.bias]
        adapters = [p for name, p in self.trained.items() if name.startswith("encoder.")]
        self.rates = [numbers["learning_rate"], numbers["head_learning_rate"]]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in adapters if p.ndim > 1]},
            {"params": heads, "weight_decay": 0.0},
            {"params": [p for p in adapters if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=numbers["weight_decay"])
        self.history: list[dict[str, float]] = []
        self.step = 0
        self.steps = numbers["epochs"] * math.ceil(len(rows.texts) / self._inside_size)

    @property
    def _inside_size(self) -> int:
        share = self.numbers["outside_share"] if self.rows.outside else 0.0
        size: int = max(1, round(self.numbers["batch_size"] * (1 - share)))
        return size

    def run(self) -> FineTuned:
        self._resume()
        for epoch in range(len(self.history), self.numbers["epochs"]):
            self._epoch(epoch)
            self._save()
        with torch.no_grad():
            encoder = {
                name.removeprefix("encoder."): value
                for name, value in self.average.items()
                if name.startswith("encoder.")
            }
            return FineTuned(
                adapter_arrays(encoder, self.before, self.numbers["strength"]),
                self.average["weights"].float().cpu().numpy(),
                self.average["bias"].float().cpu().numpy(),
                tuple(self.history),
            )

    def _epoch(self, epoch: int) -> None:
        started = time.monotonic()
        torch.manual_seed(self.seed * 1000 + epoch)  # so that a resumed run draws the same
        random = np.random.default_rng((self.seed, epoch))
        self.model.train()
        total, count = 0.0, 0
        batches = list(self._batches(random))
        for batch in batches:
            self._set_rates()
            loss = self._loss(batch)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
            self.optimiser.step()
            self.step += 1
            self._update_average()
            total, count = total + loss.item(), count + 1
            spent = time.monotonic() - started
            left = (self.steps - self.step) * spent / count
            self.progress(
                f"fine-tuning: epoch {epoch + 1} of {self.numbers['epochs']},"
                f" {left / 60:.0f} min left",
                self.step / self.steps,
            )
        self.history.append(
            {
                "loss": round(total / count, 4),
                "held_accuracy": round(self._held_accuracy(), 4),
                "seconds": round(time.monotonic() - started, 1),
            }
        )

    def _set_rates(self) -> None:
        warm = max(1, round(0.06 * self.steps))
        if self.step < warm:
            factor = (self.step + 1) / warm
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (self.step - warm) / (self.steps - warm)))
        rates = (self.rates[0], self.rates[1], self.rates[0])
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * factor

    def _update_average(self) -> None:
        # Early weights are far off: the average starts short and grows to its length.
        decay = min(self.numbers["averaging"], (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            kept = list(self.average.values())
            torch._foreach_lerp_(kept, [p.detach() for p in self.trained.values()], 1 - decay)

    def _batches(self, random: np.random.Generator) -> Iterator[list[tuple[np.ndarray, int]]]:
        """Yield batches of (what the first tuned layer reads, column); -1 is out of scope."""
        size = self._inside_size
        order = random.permutation(len(self.inside))
        whole: list[list[int]] = []
        for start in range(0, len(order), size * _POOL):
            pool = order[start : start + size * _POOL].tolist()
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
        embeddings = self._embedded(self.inside)
        labels = torch.tensor(self.rows.labels, device=self.device)
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
    def _held_accuracy(self) -> float:
        if not self.held:
            return 0.0
        current = {name: p.detach().clone() for name, p in self.trained.items()}
        self._put(self.average)
        self.model.eval()
        embeddings = self._embedded(self.held)
        logits = (embeddings @ self.model.weights + self.model.bias).cpu().numpy()
        found = nearest_in_group(logits, self.rows.held_labels, self.groups)
        self._put(current)
        return float((found == self.rows.held_labels).mean())

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(values[name])

    def _fingerprint(self) -> str:
        rows = self.rows
        trained_by = {key: value for key, value in self.numbers.items() if key != "strength"}
        content = [trained_by, self.seed, list(rows.texts), list(rows.outside)]
        content += [rows.labels.tolist(), list(rows.held_texts)]
        content += [array.tolist() for array in (rows.groups, rows.weights) if len(array)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _record(self) -> dict[str, Any]:
        """Return what the checkpoint says; nothing when it is of another run."""
        if self.checkpoint is None or not (self.checkpoint / _RECORD).is_file():
            return {}
        record: dict[str, Any] = json.loads((self.checkpoint / _RECORD).read_text(encoding="utf-8"))
        return record if record["made_for"] == self._fingerprint() else {}

    def _resume(self) -> None:
        record = self._record()
        if self.checkpoint is None or not record:
            return
        from safetensors.torch import load_file

        state = load_file(self.checkpoint / record["state"])
        self.history, self.step = record["history"], record["step"]
        self._put({name: state[f"now.{name}"] for name in self.trained})
        self.average = {n: state[f"average.{n}"].to(self.device) for n in self.trained}
        for name, parameter in self.trained.items():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(self.step)),
                "exp_avg": state[f"first.{name}"].to(self.device),
                "exp_avg_sq": state[f"second.{name}"].to(self.device),
            }
        self.progress(f"fine-tuning: going on after epoch {len(self.history)}", 0.0)

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        from safetensors.torch import save_file

        self.checkpoint.mkdir(parents=True, exist_ok=True)
        state = {f"now.{name}": p.detach() for name, p in self.trained.items()}
        state |= {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in self.trained.items():
            moments = self.optimiser.state[parameter]
            state[f"first.{name}"] = moments["exp_avg"]
            state[f"second.{name}"] = moments["exp_avg_sq"]
        name = f"{len(self.history)}.{_STATE}"
        save_file({key: value.contiguous() for key, value in state.items()}, self.checkpoint / name)
        record = {
            "made_for": self._fingerprint(),
            "state": name,
            "step": self.step,
            "finished": len(self.history) == self.numbers["epochs"],
            "history": self.history,
        }
        unfinished = self.checkpoint / "record.part.json"
        unfinished.write_text(json.dumps(record), encoding="utf-8")
        unfinished.replace(self.checkpoint / _RECORD)  # the record last: it names a whole state
        for path in self.checkpoint.glob(f"*.{_STATE}"):
            if path.name != name:
                path.unlink()


def _tokenizer(backbone: Path, max_tokens: int) -> Any:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return lambda texts: [e.ids for e in tokenizer.encode_batch(list(texts))]
