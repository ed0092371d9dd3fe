"""Compiles a sentence encoder: safetensors to ONNX fp32, and from it an int8 model for serving.

Weights become int8 with one scale a column; activations become int8 with ranges fixed beforehand on
``sentences.CALIBRATION``. Ranges measured on the run, which is the usual way, would make a text's
embedding depend on the texts it shares a batch with (cosine down to 0.98, measured). A bundle's
adapter is merged into its backbone first. torch and transformers are needed to compile, never to
serve; this module knows no task.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle, digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.encoder import (
    COMPILED_FILE,
    FP32_FILE,
    INT8_FILE,
    TOKENIZER_FILE,
    SentenceEncoder,
    encoder_folder,
)
from slmesh.weights.adapter import adapted_digest, adapter_of, merge_adapter
from slmesh.weights.fetch import Progress, fetch, new_folder, silent
from slmesh.weights.sentences import CALIBRATION, CHECK

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
_RANGE_PERCENTILE = 90.0
"""Of each sentence's largest activation. 50, 80, 95 and 100 were tried: all within 0.001 cosine."""

_MIN_COSINE_FP32 = 0.9999
_MIN_COSINE_INT8 = 0.95
"""Measured: mean 0.992, least 0.968 on 200 texts. Less means that this processor saturates."""


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
        if not (encoder_folder(cache_dir, digest) / COMPILED_FILE).is_file():
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
    if (target / COMPILED_FILE).is_file():
        SentenceEncoder(target)  # verifies the files
        content = json.loads((target / COMPILED_FILE).read_text(encoding="utf-8"))
        progress(f"encoder {weights.name}: reusing {target}", 1.0)
        return Compiled(target, digest, True, content["agreement"])
    _require()
    with new_folder(target) as folder:
        copyfile(weights / "tokenizer.json", folder / TOKENIZER_FILE)
        progress(f"encoder {weights.name}: exporting to ONNX", 0.0)
        reference = _export(weights, folder)
        agreement = _quantise(folder, reference, progress, weights.name)
        _write_record(folder, digest, agreement)
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
            return mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-12)

    pooled = Pooled().eval()  # the exporter restores the mode it finds, dropout included
    rows = list(_token_rows(folder, CHECK))
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
            output_names=["embedding"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "embedding": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )
        outputs = [pooled(*(torch.tensor(array) for array in row.values())) for row in rows]
    return np.vstack([output.numpy() for output in outputs])


def _quantise(
    folder: Path, reference: np.ndarray, progress: Progress, name: str
) -> dict[str, float]:
    """Write the int8 model and return how both models agree with the reference."""
    agreement = {"fp32_min": float(_cosines(folder, FP32_FILE, reference).min())}
    if agreement["fp32_min"] < _MIN_COSINE_FP32:
        raise _disagrees(FP32_FILE, agreement["fp32_min"])
    progress(f"encoder {name}: measuring ranges", 0.4)
    for reduce_range in (False, True):  # processors without VNNI may saturate on full-range int8
        with _quiet_root_logger():
            _write_int8(folder, reduce_range)
        progress(f"encoder {name}: comparing int8 with fp32", 0.8)
        cosines = _cosines(folder, INT8_FILE, reference)
        agreement |= {"int8_mean": float(cosines.mean()), "int8_min": float(cosines.min())}
        if agreement["int8_min"] >= _MIN_COSINE_INT8:
            return agreement
    raise _disagrees(INT8_FILE, agreement["int8_min"])


def _write_int8(folder: Path, reduce_range: bool) -> None:
    """Quantise with ranges taken on the run, then put the measured ranges in their place."""
    import onnx
    from onnx import helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / INT8_FILE
    quantize_dynamic(
        folder / FP32_FILE,
        path,
        per_channel=True,
        reduce_range=reduce_range,
        weight_type=QuantType.QInt8,
        # Products of two activations stay in fp32: they are small, and sensitive.
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    model = onnx.load(path)
    dynamic = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]
    ranges = _activation_ranges(folder, {node.input[0] for node in dynamic})
    nodes = []
    for node in model.graph.node:
        if node.op_type != "DynamicQuantizeLinear":
            nodes.append(node)
            continue
        low, high = ranges[node.input[0]]
        scale = np.float32((high - low) / 255)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        for array, name in ((scale, node.output[1]), (zero, node.output[2])):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        inputs = [node.input[0], node.output[1], node.output[2]]
        nodes.append(helper.make_node("QuantizeLinear", inputs, [node.output[0]], name=node.name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def _activation_ranges(folder: Path, names: set[str]) -> dict[str, tuple[float, float]]:
    """Return (low <= 0, high > 0) of each named activation over the calibration sentences."""
    import onnx
    import onnxruntime
    from onnx import helper

    model = onnx.load(folder / FP32_FILE)
    ordered = sorted(names)
    for name in ordered:
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    with tempfile.TemporaryDirectory() as scratch:
        observed = Path(scratch) / "observed.onnx"
        onnx.save(model, observed)
        session = onnxruntime.InferenceSession(observed, providers=["CPUExecutionProvider"])
    lows, highs = [], []
    for row in _token_rows(folder, CALIBRATION):
        arrays = session.run(ordered, row)
        lows.append([array.min() for array in arrays])
        highs.append([array.max() for array in arrays])
    low = np.minimum(np.percentile(lows, 100 - _RANGE_PERCENTILE, axis=0), 0.0)
    high = np.maximum(np.percentile(highs, _RANGE_PERCENTILE, axis=0), 1e-6)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(ordered)}


def _token_rows(folder: Path, texts: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yield each text as a batch of one: input_ids and attention_mask, int64 (1, T)."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in texts:
        ids = np.asarray([tokenizer.encode(text).ids], np.int64)
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _cosines(folder: Path, model_file: str, reference: np.ndarray) -> np.ndarray:
    """Return the cosine of each CHECK embedding with the reference, (len(CHECK),)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / model_file, providers=["CPUExecutionProvider"])
    found = np.vstack([session.run(None, row)[0] for row in _token_rows(folder, CHECK)])
    cosines: np.ndarray = (found * reference).sum(axis=1)
    return cosines


def _disagrees(model_file: str, cosine: float) -> FailedPrecondition:
    return FailedPrecondition(
        f"{model_file} does not agree with the torch model on this machine: least cosine"
        f" {cosine:.4f}; check the versions of torch, transformers, onnx and onnxruntime",
        reason="COMPILATION_DISAGREES",
    )


def _write_record(folder: Path, digest: str, agreement: dict[str, float]) -> None:
    names = (INT8_FILE, FP32_FILE, TOKENIZER_FILE)
    content = {
        "format": 1,
        "backbone_digest": digest,
        "agreement": {key: round(value, 6) for key, value in agreement.items()},
        "files": {name: digest_of(folder / name) for name in names},
        "made_with": {
            name: version(name) for name in ("torch", "transformers", "onnx", "onnxruntime")
        },
    }
    text = json.dumps(content, indent=1, sort_keys=True)
    (folder / COMPILED_FILE).write_text(text + "\n", encoding="utf-8")


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Keep onnxruntime's advice off the root logger, which its first use would configure."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
