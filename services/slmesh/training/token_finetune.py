"""Fine-tunes an encoder tagger through low-rank adapters.

Texts with marked fields in; a float16 adapter and the arrays of a head out. Seeded, and resumable:
after each epoch everything needed to go on is written as safetensors and JSON. On a GPU where there
is one. Needs torch and transformers; it knows no data set, no bundle and no threshold.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmesh.slm.entities.tagger import spans_of, viterbi
from slmesh.training.lora import adapter_arrays, put_adapter
from slmesh.training.token_model import Batch, TokenTagger, head_arrays
from slmesh.training.token_rows import (
    Example,
    Preparer,
    TaggerRows,
    common_words,
    padded,
    swapped,
    values_of,
)
from slmesh.training.tuning_run import POOL, TuningRun, load_encoder
from slmesh.weights.fetch import Progress, silent

__all__ = ["TunedTagger", "tune_tagger"]

_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class TunedTagger:
    """A fine-tuned tagger.

    Attributes:
        adapter: See ``training.lora.adapter_arrays``.
        head: See ``training.token_model.head_arrays``, with ``common``, the codes of everyday words.
        tags: Of the head's columns.
        history: Of each epoch: ``loss``, ``held_f1`` (of the averaged weights, in fp32) and
            ``seconds``.
    """

    adapter: dict[str, np.ndarray]
    head: dict[str, np.ndarray]
    tags: tuple[str, ...]
    history: tuple[dict[str, float], ...]


def tune_tagger(
    backbone: Path,
    rows: TaggerRows,
    numbers: Mapping[str, Any],
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress = silent,
    start: Mapping[str, np.ndarray] | None = None,
) -> TunedTagger:
    """Fine-tune.

    Args:
        backbone: A folder with ``model.safetensors``, ``config.json`` and ``tokenizer.json``.
        rows: The rows.
        numbers: ``layers`` (how many are tuned, from the last), ``rank``, ``adapter_dropout``,
            ``epochs``, ``batch_size``, ``learning_rate``, ``head_learning_rate``,
            ``weight_decay``, ``averaging`` (decay of the averaged weights), ``bits``, ``lexical``,
            ``hidden`` (see ``token_model.TokenTagger``), ``word_dropout``, ``feature_dropout``,
            ``asked_dropout``, ``kind_weight`` (of the loss of the kinds of texts), ``swap`` (share
            of the texts in which fields are exchanged, see ``token_rows.swapped``), ``rules``,
            ``max_tokens``, ``common_from`` (times a word must occur to count as everyday), and
            ``stop_after`` (epochs that are run, of a schedule of ``epochs``, the rate falling to
            nothing over the last; all when left out), ``last_share`` (of the last that is run) and
            ``watched`` (validation texts drawn to be watched; all when left out).
        seed: Of everything random.
        checkpoint: A folder to resume from and to write to; None for neither.
        progress: Told of each step.
        start: An adapter to begin from, of the same rank and layers; None for no change.
    """
    return _Tuning(backbone, rows, numbers, seed, checkpoint, progress, start or {}).run()


class _Tuning(TuningRun):
    """One run over a tagger."""

    watched = "held_f1"

    def __init__(
        self,
        backbone: Path,
        rows: TaggerRows,
        numbers: Mapping[str, Any],
        seed: int,
        checkpoint: Path | None,
        progress: Progress,
        start: Mapping[str, np.ndarray],
    ) -> None:
        super().__init__(numbers, seed, checkpoint, progress)
        self.rows = rows
        self._lay_out()
        torch.manual_seed(seed)
        encoder = load_encoder(backbone)
        sizes = {
            "buckets": 1 << numbers["bits"],
            "lexical": numbers["lexical"],
            "hidden": numbers["hidden"],
            "asked": len(self.asked),
            "kinds": len(self.kinds),
        }
        drops = {name: numbers[f"{name[:-1]}_dropout"] for name in ("words", "features")}
        drops["asked"] = numbers["asked_dropout"]
        model = TokenTagger(encoder, numbers["layers"], self.tags, sizes, drops)
        inserted = self._insert_adapters(model)
        self.start = put_adapter(inserted, start) if start else ""
        self._set_schedule(model)
        self.common = common_words(rows.rows, numbers["common_from"])
        self.preparer = Preparer(
            _tokenizer(backbone), self.columns, self.asked, self.kinds, numbers, self.common
        )
        self.values = values_of(rows.rows)
        held = list(rows.held)
        if numbers.get("watched", len(held)) < len(held):
            held = random.Random(1).sample(held, numbers["watched"])
        self.held = [self.preparer.example(row) for row in held]

    def _set_schedule(self, model: TokenTagger) -> None:
        numbers = self.numbers
        batches = math.ceil(len(self.rows.rows) / numbers["batch_size"])
        last: int = numbers.get("stop_after", numbers["epochs"])
        end = round((last - 1 + numbers.get("last_share", 1)) * batches)
        self._prepare(model, numbers["epochs"] * batches, last, end)

    def _lay_out(self) -> None:
        """Give each tag of each source a column: O first, then those the tagger is for."""
        own = self.rows.rows[0].source
        labels: dict[str, list[str]] = {own: list(self.rows.labels)}
        for row in self.rows.rows:
            known = labels.setdefault(row.source, [])
            known += [label for label, _, _ in row.spans if label not in known]
        self.tags = ["O"]
        self.columns: dict[str, dict[str, int]] = {}
        for source, names in labels.items():
            self.columns[source] = {"O": 0}
            for name in names:
                for part in "BI":
                    self.columns[source][f"{part}-{name}"] = len(self.tags)
                    # a label of two sources is two labels
                    self.tags.append(
                        f"{part}-{name}" if source == own else f"{part}-{source}/{name}"
                    )
        self.own = len(self.columns[own])
        barred = np.full((len(self.columns), len(self.tags)), -1e4, np.float32)
        for at, columns in enumerate(self.columns.values()):
            barred[at, list(columns.values())] = 0
        self.barred = torch.tensor(barred, device=self.device)
        self.asked = self.rows.asked
        self.kinds = sorted({row.kind for row in self.rows.rows if row.kind})

    def run(self) -> TunedTagger:
        self._train()
        self._put(self.average)
        adapter = adapter_arrays(self.averaged_encoder, self.before, 1.0)
        head = head_arrays(self.model)
        for name in ("out", "skip", "out_bias", "transitions", "opening"):
            head[name] = head[name][..., : self.own]
        head["transitions"] = head["transitions"][: self.own]
        head["common"] = np.array(self.common, np.int64)
        return TunedTagger(adapter, head, tuple(self.tags[: self.own]), tuple(self.history))

    def _batches(self, epoch: int) -> Iterator[list[Example]]:
        draw = random.Random(self.seed * 1000 + epoch)
        size = self.numbers["batch_size"]
        rows = list(self.rows.rows)
        draw.shuffle(rows)
        for start in range(0, len(rows), size * POOL):
            pool = [
                self.preparer.example(swapped(row, self.values, self.numbers["swap"], draw))
                for row in rows[start : start + size * POOL]
            ]
            pool.sort(key=lambda example: len(example.ids))
            batches = [pool[at : at + size] for at in range(0, len(pool), size)]
            draw.shuffle(batches)
            yield from batches

    def _batch(self, examples: Sequence[Example]) -> tuple[Batch, torch.Tensor]:
        arrays = padded(examples, 1 << self.numbers["bits"], len(self.asked))
        made = {name: torch.tensor(array, device=self.device) for name, array in arrays.items()}
        barred = self.barred[made.pop("sources")]  # (B, K)
        with torch.no_grad():
            below = self.model.below(made.pop("ids"), made["mask"])
        return Batch(below=below, **made), barred[:, None]

    def _loss(self, examples: Sequence[Example]) -> torch.Tensor:
        batch, barred = self._batch(examples)
        logits, kinds = self.model(batch)
        loss: torch.Tensor = self.model.field(logits + barred, batch.tags, batch.lengths).mean()
        told = batch.kinds >= 0
        if self.numbers["kind_weight"] and bool(told.any()):
            of_kinds = torch.nn.functional.cross_entropy(kinds[told], batch.kinds[told])
            loss = loss + self.numbers["kind_weight"] * of_kinds
        return loss

    @torch.no_grad()
    def _held_figure(self) -> float:
        if not self.held:
            return 0.0
        order = sorted(range(len(self.held)), key=lambda i: len(self.held[i].ids))
        right = found = gold = 0
        with self._averaged():
            transitions, opening = (array.cpu().numpy() for array in self.model.field.scores())
            for at in range(0, len(order), _EVALUATION_BATCH):
                chosen = [self.held[i] for i in order[at : at + _EVALUATION_BATCH]]
                batch, barred = self._batch(chosen)
                logits = (self.model(batch)[0] + barred).cpu().numpy()
                lengths = np.array([len(one.tags) for one in chosen])
                best = viterbi(logits, lengths, transitions, opening)
                for one, row in zip(chosen, best, strict=True):
                    ours = set(spans_of([self.tags[tag] for tag in row[: len(one.tags)]]))
                    theirs = set(spans_of([self.tags[tag] for tag in one.tags]))
                    right += len(ours & theirs)
                    found, gold = found + len(ours), gold + len(theirs)
        return 2 * right / max(found + gold, 1)

    def _made_for(self) -> str:
        rows = self.rows
        content = [dict(self.numbers), self.seed, list(rows.labels)]
        content += [[repr(row) for row in rows.rows], [repr(row) for row in rows.held]]
        content += [self.start] if self.start else []
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _tokenizer(backbone: Path) -> Any:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
