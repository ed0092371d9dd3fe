"""Compiles a sentence encoder: safetensors to ONNX fp32, and from it an int8 model for serving.

Weights become int8 with one scale a column; activations become int8 with ranges fixed beforehand on
``sentences.CALIBRATION``. Ranges measured on the run, which is the usual way, would make a text's
embedding depend on the texts it shares a batch with (cosine down to 0.98, measured). A bundle's
adapter is merged into its backbone first. torch and transformers are needed to compile, never to
serve; this module knows no task.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle, digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.encoder import (
    COMPILED_FILE,
    COMPILED_FORMAT,
    FP32_FILE,
    INT8_FILE,
    TOKENIZER_FILE,
    SentenceEncoder,
    encoder_folder,
    is_compiled,
)
from slmesh.weights.adapter import adapted_digest, adapter_of, merge_adapter
from slmesh.weights.fetch import Progress, fetch, new_folder, silent
from slmesh.weights.quantise import quantise, token_rows
from slmesh.weights.sentences import CHECK

__all__ = [
    "Compiled",
    "backbone_folder",
    "compile_adapted",
    "compile_backbone",
    "compile_bundle",
    "compile_encoder",
    "compile_weights",
]

_OPSET = 17


@dataclass(frozen=True)
class Compiled:
    """A compiled encoder.

    Attributes:
        folder: Where it lies.
        digest: ``sha256:`` and the digest of the weights it was made from.
        reused: Whether it was there already.
        agreement: Cosine with the torch model on ``sentences.CHECK``: ``fp32_min``, ``int8_mean``,
            ``int8_min``.
    """

    folder: Path
    digest: str
    reused: bool
    agreement: dict[str, float]


def compile_encoder(
    name: str, cache_dir: Path, progress: Progress = silent, *, local_dir: Path | None = None
) -> Compiled:
    """Fetch some weights and compile them; both are reused when they are there.

    Raises:
        FailedPrecondition: A digest is wrong, or what it takes to compile is not installed.
    """
    fetched = fetch(name, cache_dir, progress, local_dir=local_dir)
    return compile_weights(fetched.folder, cache_dir, progress)


def compile_backbone(reference: str, cache_dir: Path, progress: Progress = silent) -> Compiled:
    """Compile the encoder a recipe names: a folder of weights, or a name of ``sources.SOURCES``.

    Raises:
        NotFound: It is neither.
        FailedPrecondition: A digest is wrong, or what it takes to compile is not installed.
    """
    return compile_weights(backbone_folder(reference, cache_dir, progress), cache_dir, progress)


def backbone_folder(reference: str, cache_dir: Path, progress: Progress = silent) -> Path:
    """Return the weights a recipe names, fetched: a folder, or a name of ``sources.SOURCES``.

    Raises:
        NotFound: It is neither.
        FailedPrecondition: A digest is wrong.
    """
    if Path(reference).is_dir():
        return Path(reference)
    return fetch(reference, cache_dir, progress).folder


def compile_bundle(bundle: Bundle, cache_dir: Path, progress: Progress = silent) -> Compiled | None:
    """Compile the fine-tuned encoder of a bundle; None when it has no adapter.

    Raises:
        NotFound: Its backbone is not known here.
        FailedPrecondition: See :func:`compile_adapted`.
    """
    backbone = bundle.backbone
    if backbone is None or "adapted" not in backbone:
        return None
    adapter = adapter_of(bundle.tensors())
    found = adapted_digest(backbone["digest"], adapter)
    if found != backbone["adapted"]:
        raise FailedPrecondition(
            f"bundle '{bundle.name}': its adapter gives {found}, it was made for"
            f" {backbone['adapted']}",
            reason="INVALID_BUNDLE",
        )
    name = f"{bundle.name} {bundle.version}"
    return compile_adapted(backbone["name"], adapter, cache_dir, progress, name=name)


def compile_adapted(
    reference: str,
    adapter: Mapping[str, np.ndarray],
    cache_dir: Path,
    progress: Progress = silent,
    *,
    name: str,
) -> Compiled:
    """Merge an adapter into a backbone and compile the result; reused when it is there.

    Args:
        reference: The backbone, see :func:`backbone_folder`.
        adapter: See ``weights.adapter``.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.
        name: What to call it in messages.

    Raises:
        NotFound: There is no such backbone.
        FailedPrecondition: The adapter does not fit, what it takes to compile is not installed, or
            the result does not agree with the torch model.
    """
    backbone = backbone_folder(reference, cache_dir, progress)
    digest = adapted_digest(digest_of(backbone / "model.safetensors"), adapter)
    with tempfile.TemporaryDirectory() as scratch:
        merged = Path(scratch) / name
        if not is_compiled(encoder_folder(cache_dir, digest)):
            merged.mkdir()
            merge_adapter(backbone, adapter, merged)
        return compile_weights(merged, cache_dir, progress, digest=digest)


def compile_weights(
    weights: Path, cache_dir: Path, progress: Progress = silent, *, digest: str = ""
) -> Compiled:
    """Compile the encoder in a folder.

    Args:
        weights: A folder with ``model.safetensors``, ``config.json`` and ``tokenizer.json``.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.
        digest: What to keep it under; "" for the digest of the weights.

    Raises:
        FailedPrecondition: What it takes is not installed, or the result does not agree with the
            torch model.
    """
    digest = digest or digest_of(weights / "model.safetensors")
    target = encoder_folder(cache_dir, digest)
    if is_compiled(target):
        SentenceEncoder(target)  # verifies the files
        content = json.loads((target / COMPILED_FILE).read_text(encoding="utf-8"))
        progress(f"encoder {weights.name}: reusing {target}", 1.0)
        return Compiled(target, digest, True, content["agreement"])
    _require()
    shutil.rmtree(target, ignore_errors=True)  # of an older format
    with new_folder(target) as folder:
        shutil.copyfile(weights / "tokenizer.json", folder / TOKENIZER_FILE)
        progress(f"encoder {weights.name}: exporting to ONNX", 0.0)
        reference = _export(weights, folder)
        agreement, probe = quantise(folder, reference, progress, weights.name)
        _write_record(folder, digest, agreement, probe)
    progress(f"encoder {weights.name}: compiled", 1.0)
    return Compiled(target, digest, False, agreement)


def _require() -> None:
    missing = []
    for module in ("torch", "transformers", "onnx"):
        try:
            __import__(module)
        except ImportError:
            missing.append(module)
    if missing:
        raise FailedPrecondition(
            f"compiling an encoder needs {', '.join(missing)}: pip install 'slmesh[mesh]'",
            reason="EXTRA_NOT_INSTALLED",
        )


def _export(weights: Path, folder: Path) -> np.ndarray:
    """Write the fp32 model and return the torch model's embeddings of CHECK, (len(CHECK), D)."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = transformers.AutoModel.from_pretrained(
        weights, attn_implementation="eager", local_files_only=True, use_safetensors=True
    ).eval()

    class Pooled(torch.nn.Module):
        """The encoder with mean pooling and normalisation inside the graph."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.model(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state  # (B, T, D)
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)  # (B, D)
            return mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-12), hidden

    pooled = Pooled().eval()  # the exporter restores the mode it finds, dropout included
    rows = list(token_rows(folder, CHECK))
    # The example must hold padding: a mask of ones alone is traced as no mask at all.
    example = torch.tensor(np.repeat(rows[0]["input_ids"], 2, axis=0))
    example[1, -1] = 0
    axes = {0: "batch", 1: "tokens"}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracing exporter, and of tracing a mask
        torch.onnx.export(
            pooled,
            (example, (example != 0).long()),
            folder / FP32_FILE,
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding", "vectors"],  # of the text, and of its tokens
            dynamic_axes={
                "input_ids": axes,
                "attention_mask": axes,
                "embedding": {0: "batch"},
                "vectors": axes,
            },
            opset_version=_OPSET,
            dynamo=False,
        )
        outputs = [pooled(*(torch.tensor(array) for array in row.values()))[0] for row in rows]
    return np.vstack([output.numpy() for output in outputs])


def _write_record(
    folder: Path, digest: str, agreement: dict[str, float], probe: np.ndarray
) -> None:
    names = (INT8_FILE, FP32_FILE, TOKENIZER_FILE)
    content = {
        "format": COMPILED_FORMAT,
        "backbone_digest": digest,
        "agreement": {key: round(value, 6) for key, value in agreement.items()},
        "probe": {"text": CHECK[0], "embedding": [round(float(x), 4) for x in probe]},
        "files": {name: digest_of(folder / name) for name in names},
        "made_with": {
            name: version(name) for name in ("torch", "transformers", "onnx", "onnxruntime")
        },
    }
    text = json.dumps(content, indent=1, sort_keys=True)
    (folder / COMPILED_FILE).write_text(text + "\n", encoding="utf-8")
