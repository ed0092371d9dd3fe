"""What every fine-tuning through low-rank adapters shares: its schedule, averaged weights and state.

After each epoch everything needed to go on is written as safetensors and JSON. A run adds the model,
the batches, the loss and what it watches; this module knows none of them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from slmesh.training.lora import insert_adapters
from slmesh.weights.fetch import Progress

__all__ = ["POOL", "TuningRun", "load_encoder"]

POOL = 50
"""Batches sorted by length together, so that little of a batch is padding."""

_STATE = "state.safetensors"
_RECORD = "record.json"


def load_encoder(backbone: Path) -> Any:
    """Return the encoder of a folder of weights, for fine-tuning."""
    import transformers

    return transformers.AutoModel.from_pretrained(
        backbone, local_files_only=True, use_safetensors=True, add_pooling_layer=False
    )


class TuningRun:
    """One run: the model, its optimiser and the averaged weights.

    Args:
        numbers: ``rank``, ``adapter_dropout``, ``epochs``, ``learning_rate``,
            ``head_learning_rate``, ``weight_decay`` and ``averaging`` are read here.
        seed: Of everything random.
        checkpoint: A folder to resume from and to write to; None for neither.
        progress: Told of each step.
    """

    watched = "held_accuracy"
    """What the figure of :meth:`_held_figure` is called in the history."""

    def __init__(
        self,
        numbers: Mapping[str, Any],
        seed: int,
        checkpoint: Path | None,
        progress: Progress,
    ) -> None:
        self.numbers, self.seed = numbers, seed
        self.checkpoint, self.progress = checkpoint, progress
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.history: list[dict[str, float]] = []
        self.step = 0

    def _insert_adapters(self, model: Any) -> dict[str, Any]:
        """Put adapters into the tuned layers of ``model.encoder``; returns them by name.

        Args:
            model: Has ``encoder`` and ``first``, the first layer that is tuned.
        """
        tuned = range(model.first, len(model.encoder.encoder.layer))
        within = tuple(f"encoder.layer.{i}." for i in tuned)
        numbers = self.numbers
        inserted = insert_adapters(
            model.encoder, within, numbers["rank"], numbers["adapter_dropout"]
        )
        self.before = {name: p.detach().clone() for name, p in inserted.items()}
        return inserted

    def _prepare(self, model: Any, steps: int, epochs: int, end: int | None = None) -> None:
        """Set the optimiser and the averaged weights up.

        Args:
            model: The model, adapters inserted; what is not its ``encoder`` is the head.
            steps: Of the whole schedule.
            epochs: That are run.
            end: The step before which the run ends; ``steps`` when None.
        """
        self.model = model.to(self.device)
        self.steps, self.last = steps, epochs
        self.end = steps if end is None else end
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        adapters = [p for name, p in self.trained.items() if name.startswith("encoder.")]
        heads = [p for name, p in self.trained.items() if not name.startswith("encoder.")]
        numbers = self.numbers
        self.rates = [numbers["learning_rate"], numbers["head_learning_rate"]]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in adapters if p.ndim > 1]},
            {"params": heads, "weight_decay": 0.0},
            {"params": [p for p in adapters if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=numbers["weight_decay"])

    def _train(self) -> None:
        """Run every epoch that has not been run."""
        self._resume()
        for epoch in range(len(self.history), self.last):
            self._epoch(epoch)
            self._save()

    @property
    def averaged_encoder(self) -> dict[str, torch.Tensor]:
        """The averaged adapters, by their names in the encoder."""
        return {
            name.removeprefix("encoder."): value
            for name, value in self.average.items()
            if name.startswith("encoder.")
        }

    def _batches(self, epoch: int) -> Iterable[Any]:
        raise NotImplementedError

    def _loss(self, batch: Any) -> torch.Tensor:
        raise NotImplementedError

    def _held_figure(self) -> float:
        raise NotImplementedError

    def _made_for(self) -> str:
        """Return a digest of everything the training depends on."""
        raise NotImplementedError

    def _epoch(self, epoch: int) -> None:
        started = time.monotonic()
        torch.manual_seed(self.seed * 1000 + epoch)  # so that a resumed run draws the same
        self.model.train()
        total, count = 0.0, 0
        for batch in self._batches(epoch):
            if self.step == self.end:
                break
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
                self.watched: round(self._held_figure(), 4),
                "seconds": round(time.monotonic() - started, 1),
            }
        )

    def _first_step(self, epoch: float) -> int:
        """Return the number of steps before an epoch, or before a place within one."""
        epochs: int = self.numbers["epochs"]
        return round(epoch * self.steps / epochs)

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

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the averaged weights into the model meanwhile, to be looked at."""
        current = {name: p.detach().clone() for name, p in self.trained.items()}
        self._put(self.average)
        self.model.eval()
        yield
        self._put(current)

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(values[name])

    @cached_property
    def _fingerprint(self) -> str:
        return self._made_for()

    def _record(self) -> dict[str, Any]:
        """Return what the checkpoint says; nothing when it is of another run."""
        if self.checkpoint is None or not (self.checkpoint / _RECORD).is_file():
            return {}
        record: dict[str, Any] = json.loads((self.checkpoint / _RECORD).read_text(encoding="utf-8"))
        return record if record["made_for"] == self._fingerprint else {}

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
            "made_for": self._fingerprint,
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
