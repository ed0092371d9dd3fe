"""Makes the int8 model of a compiled encoder, and checks it against the torch model.

Weights become int8 with one scale a column; activations become int8 with ranges fixed beforehand on
``sentences.CALIBRATION``, see ``weights.compile``.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.encoder import FP32_FILE, INT8_FILE, TOKENIZER_FILE
from slmesh.weights.fetch import Progress
from slmesh.weights.sentences import CALIBRATION, CHECK

__all__ = ["quantise", "store_unsigned", "token_rows"]

_RANGE_PERCENTILE = 90.0
"""Of each sentence's largest activation. 50, 80, 95 and 100 were tried: all within 0.001 cosine."""

_MIN_COSINE_FP32 = 0.9999
_MIN_COSINE_INT8 = 0.95
"""Measured: mean 0.992, least 0.968 on 200 texts."""
_SAME = 1e-4
"""Largest difference of a component between two ways to compute the same numbers."""


def quantise(
    folder: Path, reference: np.ndarray, progress: Progress, name: str
) -> tuple[dict[str, float], np.ndarray]:
    """Write the int8 model; return how both models agree with the reference, and a probe.

    The probe is the int8 embedding of the first sentence of CHECK, (D,).
    """
    fp32 = (_embeddings(folder, FP32_FILE) * reference).sum(axis=1)
    agreement = {"fp32_min": float(fp32.min())}
    if agreement["fp32_min"] < _MIN_COSINE_FP32:
        raise _disagrees(FP32_FILE, agreement["fp32_min"])
    progress(f"encoder {name}: measuring ranges", 0.4)
    with _quiet_root_logger():
        _write_int8(folder)
    progress(f"encoder {name}: comparing int8 with fp32", 0.8)
    signed = _embeddings(folder, INT8_FILE)
    shutil.copyfile(folder / INT8_FILE, signed_file := folder / "signed.onnx")
    store_unsigned(folder / INT8_FILE)
    exact = _embeddings(folder, INT8_FILE)
    if np.abs(signed - exact).max() <= _SAME:
        signed_file.replace(folder / INT8_FILE)
    signed_file.unlink(missing_ok=True)
    cosines = (exact * reference).sum(axis=1)
    agreement |= {"int8_mean": float(cosines.mean()), "int8_min": float(cosines.min())}
    if agreement["int8_min"] < _MIN_COSINE_INT8:
        raise _disagrees(INT8_FILE, agreement["int8_min"])
    return agreement, exact[0]


def store_unsigned(path: Path) -> None:
    """Store each int8 weight w as the byte w + 128 with a zero point of 128: the same numbers.

    Processors without VNNI add pairs of byte products in 16 bits, which overflows when one side is
    signed; for two unsigned sides onnxruntime widens first. Processors with VNNI are exact, and
    faster, on signed weights.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "MatMulInteger":
            continue
        for name in (node.input[1], node.input[3]):  # the weights and their zero point
            weights = numpy_helper.to_array(tensors[name])
            if weights.dtype == np.int8:
                moved = (weights.astype(np.int16) + 128).astype(np.uint8)
                tensors[name].CopyFrom(numpy_helper.from_array(moved, name))
    onnx.save(model, path)


def _write_int8(folder: Path) -> None:
    """Quantise with ranges taken on the run, then put the measured ranges in their place."""
    import onnx
    from onnx import helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / INT8_FILE
    quantize_dynamic(
        folder / FP32_FILE,
        path,
        per_channel=True,
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
    for row in token_rows(folder, CALIBRATION):
        arrays = session.run(ordered, row)
        lows.append([array.min() for array in arrays])
        highs.append([array.max() for array in arrays])
    low = np.minimum(np.percentile(lows, 100 - _RANGE_PERCENTILE, axis=0), 0.0)
    high = np.maximum(np.percentile(highs, _RANGE_PERCENTILE, axis=0), 1e-6)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(ordered)}


def token_rows(folder: Path, texts: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yield each text as a batch of one: input_ids and attention_mask, int64 (1, T)."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in texts:
        ids = np.asarray([tokenizer.encode(text).ids], np.int64)
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _embeddings(folder: Path, model_file: str) -> np.ndarray:
    """Return what a model makes of CHECK, (len(CHECK), D)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / model_file, providers=["CPUExecutionProvider"])
    return np.vstack([session.run(None, row)[0] for row in token_rows(folder, CHECK)])


def _disagrees(model_file: str, cosine: float) -> FailedPrecondition:
    return FailedPrecondition(
        f"{model_file} does not agree with the torch model on this machine: least cosine"
        f" {cosine:.4f}; check the versions of torch, transformers, onnx and onnxruntime",
        reason="COMPILATION_DISAGREES",
    )


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Keep onnxruntime's advice off the root logger, which its first use would configure."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
