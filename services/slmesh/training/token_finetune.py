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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmesh.slm.entities.tagger import spans_of, viterbi
from slmesh.training.lora import adapter_arrays, insert_adapters, put_adapter
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
from slmesh.weights.fetch import Progress, silent

__all__ = ["TunedTagger", "tune_tagger"]

_POOL = 50  # batches sorted by length together, so that little of a batch is padding
_EVALUATION_BATCH = 64
_STATE = "state.safetensors"
_RECORD = "record.json"


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


class _Tuning:
    """One run: the model, its optimiser and the averaged weights."""

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
        import transformers

        self.rows, self.numbers, self.seed = rows, numbers, seed
        self.checkpoint, self.progress = checkpoint, progress
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._lay_out()
        torch.manual_seed(seed)
        encoder = transformers.AutoModel.from_pretrained(
            backbone, local_files_only=True, use_safetensors=True, add_pooling_layer=False
        )
        sizes = {
            "buckets": 1 << numbers["bits"],
            "lexical": numbers["lexical"],
            "hidden": numbers["hidden"],
            "asked": len(self.asked),
            "kinds": len(self.kinds),
        }
        drops = {name: numbers[f"{name[:-1]}_dropout"] for name in ("words", "features")}
        drops["asked"] = numbers["asked_dropout"]
        self.model = TokenTagger(encoder, numbers["layers"], self.tags, sizes, drops)
        tuned = range(self.model.first, len(encoder.encoder.layer))
        within = tuple(f"encoder.layer.{i}." for i in tuned)
        inserted = insert_adapters(encoder, within, numbers["rank"], numbers["adapter_dropout"])
        self.before = {name: p.detach().clone() for name, p in inserted.items()}
        self.start = put_adapter(inserted, start) if start else ""
        self.model.to(self.device)
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        self._set_optimiser()
        self.common = common_words(rows.rows, numbers["common_from"])
        self.preparer = Preparer(
            _tokenizer(backbone), self.columns, self.asked, self.kinds, numbers, self.common
        )
        self.values = values_of(rows.rows)
        held = list(rows.held)
        if numbers.get("watched", len(held)) < len(held):
            held = random.Random(1).sample(held, numbers["watched"])
        self.held = [self.preparer.example(row) for row in held]
        self.history: list[dict[str, float]] = []
        self.last = numbers.get("stop_after", numbers["epochs"])
        self.step = 0
        self.steps = self._first_step(numbers["epochs"])
        self.end = self._first_step(self.last - 1 + numbers.get("last_share", 1))

    def _first_step(self, epoch: float) -> int:
        """Return the number of steps before an epoch, or before a place within one."""
        batches: int = math.ceil(len(self.rows.rows) / self.numbers["batch_size"])
        return round(epoch * batches)

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

    def _set_optimiser(self) -> None:
        numbers = self.numbers
        adapters = [p for name, p in self.trained.items() if name.startswith("encoder.")]
        heads = [p for name, p in self.trained.items() if not name.startswith("encoder.")]
        self.rates = [numbers["learning_rate"], numbers["head_learning_rate"]]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in adapters if p.ndim > 1]},
            {"params": heads, "weight_decay": 0.0},
            {"params": [p for p in adapters if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=numbers["weight_decay"])

    def run(self) -> TunedTagger:
        self._resume()
        for epoch in range(len(self.history), self.last):
            self._epoch(epoch)
            self._save()
        self._put(self.average)
        encoder = {
            name.removeprefix("encoder."): value
            for name, value in self.average.items()
            if name.startswith("encoder.")
        }
        adapter = adapter_arrays(encoder, self.before, 1.0)
        head = head_arrays(self.model)
        for name in ("out", "skip", "out_bias", "transitions", "opening"):
            head[name] = head[name][..., : self.own]
        head["transitions"] = head["transitions"][: self.own]
        head["common"] = np.array(self.common, np.int64)
        return TunedTagger(adapter, head, tuple(self.tags[: self.own]), tuple(self.history))

    def _epoch(self, epoch: int) -> None:
        started = time.monotonic()
        torch.manual_seed(self.seed * 1000 + epoch)  # so that a resumed run draws the same
        self.model.train()
        total, count = 0.0, 0
        for examples in self._batches(random.Random(self.seed * 1000 + epoch)):
            if self.step == self.end:
                break
            self._set_rates()
            loss = self._loss(examples)
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
                "held_f1": round(self._held_f1(), 4),
                "seconds": round(time.monotonic() - started, 1),
            }
        )

    def _set_rates(self) -> None:
        warm = max(1, round(0.06 * self.steps))
        if self.step < warm:
            factor = (self.step + 1) / warm
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (self.step - warm) / (self.steps - warm)))
        if self.end < self.steps and len(self.history) + 1 == self.last:
            factor *= (self.end - self.step) / (self.end - self._first_step(self.last - 1))
        rates = (self.rates[0], self.rates[1], self.rates[0])
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * factor

    def _update_average(self) -> None:
        # Early weights are far off: the average starts short and grows to its length.
        decay = min(self.numbers["averaging"], (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            kept = list(self.average.values())
            torch._foreach_lerp_(kept, [p.detach() for p in self.trained.values()], 1 - decay)

    def _batches(self, draw: random.Random) -> Iterator[list[Example]]:
        size = self.numbers["batch_size"]
        rows = list(self.rows.rows)
        draw.shuffle(rows)
        whole: list[list[Example]] = []
        for start in range(0, len(rows), size * _POOL):
            pool = [
                self.preparer.example(swapped(row, self.values, self.numbers["swap"], draw))
                for row in rows[start : start + size * _POOL]
            ]
            pool.sort(key=lambda example: len(example.ids))
            batches = [pool[at : at + size] for at in range(0, len(pool), size)]
            draw.shuffle(batches)
            yield from batches
        del whole

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
    def _held_f1(self) -> float:
        if not self.held:
            return 0.0
        current = {name: p.detach().clone() for name, p in self.trained.items()}
        self._put(self.average)
        self.model.eval()
        transitions, opening = (array.cpu().numpy() for array in self.model.field.scores())
        order = sorted(range(len(self.held)), key=lambda i: len(self.held[i].ids))
        right = found = gold = 0
        for at in range(0, len(order), _EVALUATION_BATCH):
            chosen = [self.held[i] for i in order[at : at + _EVALUATION_BATCH]]
            batch, barred = self._batch(chosen)
            logits = (self.model(batch)[0] + barred).cpu().numpy()
            best = viterbi(
                logits, np.array([len(one.tags) for one in chosen]), transitions, opening
            )
            for one, row in zip(chosen, best, strict=True):
                ours = set(spans_of([self.tags[tag] for tag in row[: len(one.tags)]]))
                theirs = set(spans_of([self.tags[tag] for tag in one.tags]))
                right += len(ours & theirs)
                found, gold = found + len(ours), gold + len(theirs)
        self._put(current)
        return 2 * right / max(found + gold, 1)

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(values[name])

    def _fingerprint(self) -> str:
        rows = self.rows
        content = [dict(self.numbers), self.seed, list(rows.labels)]
        content += [[repr(row) for row in rows.rows], [repr(row) for row in rows.held]]
        content += [self.start] if self.start else []
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
            if f"first.{name}" in state:
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
            moments = self.optimiser.state.get(parameter)
            if moments:  # what no text has needed yet has none
                state[f"first.{name}"] = moments["exp_avg"]
                state[f"second.{name}"] = moments["exp_avg_sq"]
        name = f"{len(self.history)}.{_STATE}"
        save_file({key: value.contiguous() for key, value in state.items()}, self.checkpoint / name)
        record = {
            "made_for": self._fingerprint(),
            "state": name,
            "step": self.step,
            "finished": len(self.history) == self.last,
            "history": self.history,
        }
        unfinished = self.checkpoint / "record.part.json"
        unfinished.write_text(json.dumps(record), encoding="utf-8")
        unfinished.replace(self.checkpoint / _RECORD)  # the record last: it names a whole state
        for path in self.checkpoint.glob(f"*.{_STATE}"):
            if path.name != name:
                path.unlink()


def _tokenizer(backbone: Path) -> Any:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
