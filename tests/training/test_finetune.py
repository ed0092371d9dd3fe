"""Fine-tuning a tiny random encoder: it learns, repeats itself, and goes on after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.weights.tiny_encoder import write_weights

pytest.importorskip("torch")
pytest.importorskip("transformers")

from slmesh.training.finetune import FineTuned, TuningRows, fine_tune

TEXTS = [f"{verb} {noun}" for noun in ("apple", "saw") for verb in ("buy", "take", "find", "cut")]
ROWS = TuningRows(
    TEXTS,
    np.repeat([0, 1], 4),
    ["zz qq", "what is x"],
    ["see the apple", "a saw"],
    np.array([0, 1]),
)
NUMBERS: dict[str, Any] = {
    "layers": 1,
    "rank": 4,
    "adapter_dropout": 0.0,
    "epochs": 8,
    "batch_size": 4,
    "learning_rate": 0.01,
    "head_learning_rate": 0.01,
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "outside_share": 0.25,
    "outside_weight": 0.5,
    "averaging": 0.9,
    "head_scale": 8.0,
    "max_tokens": 32,
    "strength": 1.0,
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny")


def tuned(backbone: Path, checkpoint: Path | None = None, **more: Any) -> FineTuned:
    return fine_tune(backbone, ROWS, NUMBERS | more, 5, checkpoint)


def test_the_loss_falls_and_only_the_chosen_layers_change(backbone: Path) -> None:
    made = tuned(backbone)
    assert made.history[-1]["loss"] < made.history[0]["loss"]
    assert made.weights.shape == (32, 2)
    assert all(name.startswith("encoder.layer.1.") for name in made.adapter)
    assert {array.dtype for array in made.adapter.values()} == {np.dtype(np.float16)}
    assert any(np.abs(a).max() > 0 for n, a in made.adapter.items() if n.endswith(".b"))


def test_half_the_strength_keeps_half_of_every_change(backbone: Path) -> None:
    whole, half = tuned(backbone, epochs=2), tuned(backbone, epochs=2, strength=0.5)
    for name, array in whole.adapter.items():
        share = 1.0 if name.endswith(".a") else 0.5
        np.testing.assert_allclose(half.adapter[name], share * array, atol=1e-3)


def test_the_same_seed_gives_the_same_adapter(backbone: Path) -> None:
    first, second = tuned(backbone, epochs=2), tuned(backbone, epochs=2)
    for name, array in first.adapter.items():
        np.testing.assert_array_equal(array, second.adapter[name])


def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(backbone: Path, tmp_path: Path) -> None:
    class Ended(Exception):
        """Stands for a process that is ended in its fourth epoch."""

    def end(step: str, fraction: float) -> None:
        if "epoch 4" in step:
            raise Ended

    whole = tuned(backbone)
    with pytest.raises(Ended):
        fine_tune(backbone, ROWS, NUMBERS, 5, tmp_path, end)
    resumed = tuned(backbone, tmp_path)
    assert [h["loss"] for h in resumed.history] == [h["loss"] for h in whole.history]
    for name, array in whole.adapter.items():
        np.testing.assert_allclose(resumed.adapter[name], array, atol=1e-3)


def test_a_checkpoint_of_other_numbers_is_not_gone_on_from(backbone: Path, tmp_path: Path) -> None:
    tuned(backbone, tmp_path, epochs=1)
    assert len(tuned(backbone, tmp_path, epochs=2).history) == 2
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_columns_of_different_groups_do_not_compete(backbone: Path) -> None:
    labels = np.concatenate([ROWS.labels, 2 + np.arange(8) % 2])
    two = TuningRows(
        TEXTS * 2,
        labels,
        held_texts=["see the apple", "see the apple"],
        held_labels=np.array([0, 3]),
        groups=np.array([0, 0, 1, 1]),
        weights=np.ones(4, np.float32),
    )
    made = fine_tune(backbone, two, NUMBERS | {"epochs": 12}, 5)
    # each text has a column in both groups, so one softmax over all four could not fall this far
    assert made.history[-1]["loss"] < 0.45
    assert made.weights.shape == (32, 4)
    assert made.history[-1]["held_accuracy"] >= 0.5
