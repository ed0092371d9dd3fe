"""Loads the embedded model in 8 bits on ONNX Runtime: the fast way on a CPU, without torch.

The graph is built once into the model cache and checked against its digest at each load.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.reasoner.engines.engine import LoadedModel
from slmesh.reasoner.engines.in_turns import InTurns
from slmesh.reasoner.engines.local import LocalModel
from slmesh.reasoner.engines.tokens import ChatTokenizer, template_of_folder
from slmesh.weights.fetch import Progress, new_folder, silent
from slmesh.weights.gguf import ConvertedModel, convert

__all__ = ["OnnxDecoder", "compile_model", "load_onnx_model"]

_CONTEXT_TOKENS = 4096  # positions in the graph; the model itself knows 8192
_GRAPH = "model.int8.onnx"
_REVISION = "1"  # of the graph: a graph built by an older release is built anew


class OnnxDecoder:
    """A decoder graph of ``decoder_graph``.

    Args:
        graph: The graph's file.
        threads: Threads of one computation, >= 1.
    """

    def __init__(self, graph: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # a spinning thread takes the core that another service of the mesh needs
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        self.caches = [item for item in self.session.get_inputs() if item.name.startswith("past_")]

    def open(self) -> OnnxSequence:
        """Return a new empty sequence."""
        return OnnxSequence(self)


class OnnxSequence:
    """One sequence with its key-value cache, which stays in ONNX Runtime's memory."""

    def __init__(self, decoder: OnnxDecoder) -> None:
        self._decoder = decoder
        self._length = 0
        self._cache = [
            onnxruntime.OrtValue.ortvalue_from_numpy(
                np.zeros((1, cache.shape[1], 0, cache.shape[3]), dtype=np.float32)
            )
            for cache in decoder.caches
        ]

    def extend(self, tokens: Sequence[int]) -> np.ndarray:
        """Append tokens and return the logits (V,) of the next one."""
        length = self._length + len(tokens)
        binding = self._decoder.session.io_binding()
        binding.bind_cpu_input("tokens", np.array([tokens], dtype=np.int64))
        binding.bind_cpu_input("last_index", np.array([length - 1], dtype=np.int32))
        binding.bind_cpu_input("total", np.array(length, dtype=np.int32))
        for cache, value in zip(self._decoder.caches, self._cache, strict=True):
            binding.bind_ortvalue_input(cache.name, value)
        binding.bind_output("logits")
        for cache in self._decoder.caches:
            binding.bind_output(cache.name.removeprefix("past_"))
        self._decoder.session.run_with_iobinding(binding)
        logits, *self._cache = binding.get_outputs()
        self._length = length
        values: np.ndarray = logits.numpy()[0, -1]  # (V,)
        return values


def load_onnx_model(name: str, cache_dir: Path, threads: int) -> LocalModel:
    """Load the embedded model, converting and compiling it if need be.

    Args:
        name: The model's name in ``weights.sources``.
        cache_dir: The folder of everything fetched or compiled.
        threads: Threads that compute, for all answers together, >= 1.

    Raises:
        FailedPrecondition: A digest is wrong.
        Unavailable: The weights could not be downloaded.
    """
    model = convert(name, cache_dir)
    graph = compile_model(model)
    generation = json.loads((model.folder / "generation_config.json").read_text(encoding="utf-8"))
    tokenizer = ChatTokenizer(
        (model.folder / "tokenizer.json").read_text(encoding="utf-8"),
        template_of_folder(model.folder),
        generation["eos_token_id"],
    )
    loaded = LoadedModel(
        name=name,
        version="embedded",
        digest=model.digest,
        context_tokens=_CONTEXT_TOKENS,
        counts_exactly=True,
    )
    return LocalModel(InTurns(OnnxDecoder(graph, threads)), tokenizer, loaded)


def compile_model(model: ConvertedModel, progress: Progress = silent) -> Path:
    """Return the 8-bit graph of a converted model, building it if it is not there.

    Raises:
        FailedPrecondition: The graph was changed since it was built.
    """
    target = model.folder.with_name(f"{model.folder.name}.onnx-{_REVISION}")
    if not target.is_dir():
        from slmesh.reasoner.engines.decoder_graph import build_graph

        progress(f"compile {model.name}: quantising to 8 bits", 0.0)
        with new_folder(target) as folder:
            build_graph(model.folder, folder / _GRAPH, _CONTEXT_TOKENS)
            (folder / "digest").write_text(digest_of(folder / _GRAPH), encoding="utf-8")
        progress(f"compile {model.name}: done", 1.0)
    expected = (target / "digest").read_text(encoding="utf-8")
    found = digest_of(target / _GRAPH)
    if found != expected:
        raise FailedPrecondition(
            f"model '{model.name}': {target / _GRAPH}: expected {expected}, found {found};"
            f" delete {target} to compile it again",
            reason="DIGEST_MISMATCH",
        )
    return target / _GRAPH
