"""What the compiled encoder is worth: its speed against transformers, and what int8 costs.

Both sides have one thread, read the same texts and give sentence embeddings; tokenising counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.bench.interleaved import median_seconds
from slmesh.bench.subjects import BenchSubject
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings
from slmesh.tiers.classifier import ENCODER, TwoTierClassifier
from slmesh.tiers.encoder import FP32_FILE, SentenceEncoder, encoder_digest, encoder_folder

__all__ = ["TARGETS", "encoder_speed", "int8_loss"]

TARGETS = {"batch_1": 3.0, "batch_32": 2.0, "int8_loss_points": 0.3}
"""What the project promises: at least times transformers fp32 eager, at least, and at most."""

_TOKENS = 16
_TEXT = "i was charged twice for the same ticket last week can you help please"
_CALLS = {1: 40, 32: 4}
"""Calls of one round, by batch size: long enough to time, short enough to take turns."""


def encoder_speed(settings: Settings, rounds: int) -> dict[str, Any]:
    """Return milliseconds of a batch of texts of 16 tokens, and the ratio to transformers.

    Raises:
        FailedPrecondition: The encoder is not compiled here, or torch is not installed.
    """
    from slmesh.weights.compile import backbone_folder
    from slmesh.weights.sources import MINILM, SOURCES

    (weights,) = (f for f in SOURCES[MINILM].files if f.name == "model.safetensors")
    compiled = encoder_folder(settings.cache_dir, weights.sha256)
    ours = SentenceEncoder(compiled)
    theirs = _transformers(backbone_folder(MINILM, settings.cache_dir))
    figures: dict[str, Any] = {"tokens": _TOKENS}
    for size, calls in _CALLS.items():
        texts = [_TEXT] * size
        cosine = (ours.encode(texts) * theirs(texts)).sum(axis=1).min()

        def repeat(encode: Any, texts: Sequence[str] = texts, calls: int = calls) -> None:
            for _ in range(calls):
                encode(texts)

        seconds = median_seconds(
            {"ours": lambda: repeat(ours.encode), "transformers": lambda: repeat(theirs)}, rounds
        )
        figures[f"batch_{size}"] = {
            "ours_ms": seconds["ours"] / calls * 1e3,
            "transformers_ms": seconds["transformers"] / calls * 1e3,
            "times": seconds["transformers"] / seconds["ours"],
            "cosine": float(cosine),
        }
    return figures


def _transformers(weights: Path) -> Any:
    """Return a function from texts to embeddings: transformers in fp32, eager, on one thread."""
    try:
        import torch
        import transformers
    except ImportError:
        raise FailedPrecondition(
            "the encoder is compared with transformers: pip install 'slmesh[mesh]'",
            reason="EXTRA_NOT_INSTALLED",
        ) from None
    torch.set_num_threads(1)
    file = str(weights / "tokenizer.json")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=file)  # type: ignore[no-untyped-call]
    tokenizer.pad_token = "[PAD]"
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = transformers.AutoModel.from_pretrained(
        weights, attn_implementation="eager", local_files_only=True, use_safetensors=True
    ).eval()

    def encode(texts: Sequence[str]) -> np.ndarray:
        inputs = tokenizer(list(texts), padding=True, truncation=False, return_tensors="pt")
        if inputs["input_ids"].shape[1] != _TOKENS:
            raise FailedPrecondition(f"the text has {inputs['input_ids'].shape[1]} tokens")
        with torch.inference_mode():
            hidden = model(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            mean = (hidden * mask).sum(1) / mask.sum(1)
            embeddings: np.ndarray = torch.nn.functional.normalize(mean, dim=1).numpy()
        return embeddings

    return encode


def int8_loss(subject: BenchSubject, settings: Settings) -> dict[str, float]:
    """Return the forced accuracy of the encoder tier in fp32 and int8, and what is lost, in points."""
    bundle = subject.bundle
    assert bundle.backbone is not None
    folder = encoder_folder(settings.cache_dir, encoder_digest(bundle.backbone))
    encoders = {
        "fp32": SentenceEncoder(folder, model_file=FP32_FILE),
        "int8": SentenceEncoder(folder),
    }
    accuracy = {}
    for name, encoder in encoders.items():
        classifier = TwoTierClassifier.from_bundle(bundle, encoder)
        predictions = classifier.predict(subject.texts_in_scope, ENCODER)
        found = [bundle.labels[prediction.top(1)[0]] for prediction in predictions]
        right = [a == b for a, b in zip(found, subject.labels_in_scope, strict=True)]
        accuracy[name] = float(np.mean(right))
    return {
        "texts": len(subject.texts_in_scope),
        **{f"{name}_accuracy": value for name, value in accuracy.items()},
        "loss_points": 100 * (accuracy["fp32"] - accuracy["int8"]),
    }
