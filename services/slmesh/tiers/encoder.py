"""The encoder tier: a sentence encoder compiled to ONNX, on onnxruntime and tokenizers alone.

A text's embedding does not depend on the texts it is batched with: the activation ranges of the
int8 file are fixed, and padding is masked. This module knows no task, and does not compile.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

__all__ = [
    "COMPILED_FILE",
    "COMPILED_FORMAT",
    "FP32_FILE",
    "INT8_FILE",
    "TOKENIZER_FILE",
    "Encoded",
    "SentenceEncoder",
    "encoder_digest",
    "encoder_folder",
    "is_compiled",
    "load_encoder",
]

_log = logging.getLogger(__name__)

COMPILED_FILE = "compiled.json"
INT8_FILE = "model.int8.onnx"
FP32_FILE = "model.fp32.onnx"
TOKENIZER_FILE = "tokenizer.json"

COMPILED_FORMAT = 2
"""Of ``COMPILED_FILE``. Files of format 1 could have been right on some processors only."""

MAX_TOKENS = 256
"""Tokens read of a text. Source: max_seq_length of all-MiniLM-L6-v2."""

_READ_CODE_POINTS = 32 * MAX_TOKENS  # of longer texts the tokenizer never sees the rest
_BATCH_TOKENS = 256  # of one run: 2048 was measured a third slower and takes 150 MiB more

_EMBEDDING = "embedding"
"""What the compiled model calls its output for a whole text."""

_MIN_PROBE_COSINE = 0.995
"""With the embedding that was right where the model was compiled; overflows gave 0.98 and less."""


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of some texts.

    Attributes:
        embeddings: float32 (B, D), each row of length 1.
        truncated_at: For each text the offset in code points from which it was not read, or None.
    """

    embeddings: np.ndarray
    truncated_at: tuple[int | None, ...]


def encoder_folder(cache_dir: Path, digest: str) -> Path:
    """Return where the compiled files of a backbone lie, whether they are there or not.

    Args:
        cache_dir: The folder of everything fetched or compiled.
        digest: The encoder's digest, see :func:`encoder_digest`, with or without ``sha256:``.
    """
    return cache_dir / "encoders" / digest.removeprefix("sha256:")


def encoder_digest(backbone: Mapping[str, str]) -> str:
    """Return what the encoder of a bundle is compiled under.

    Args:
        backbone: What the bundle says of it: ``digest``, and ``adapted`` when it is fine-tuned.
    """
    return backbone.get("adapted", backbone["digest"])


def is_compiled(folder: Path) -> bool:
    """Return whether a folder holds a compiled encoder that this version can read."""
    try:
        compiled = json.loads((folder / COMPILED_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(compiled.get("format") == COMPILED_FORMAT)


def load_encoder(cache_dir: Path, digest: str, threads: int = 1) -> SentenceEncoder | None:
    """Return the encoder of a backbone, or None when it is not compiled on this machine.

    Raises:
        FailedPrecondition: The compiled files are there, and damaged.
    """
    return SentenceEncoder.if_compiled(cache_dir, digest, threads)


class SentenceEncoder:
    """Turns texts into embeddings of length 1, mean-pooled over tokens.

    Args:
        model_dir: A folder made by ``slmesh.weights.compile``.
        threads: Threads of one inference, >= 1.
        model_file: The int8 model, or the fp32 one to compare with.

    Raises:
        FailedPrecondition: A file is missing, or differs from what was compiled.
    """

    def __init__(self, model_dir: Path, threads: int = 1, model_file: str = INT8_FILE) -> None:
        import onnxruntime
        import tokenizers

        compiled = _verify(model_dir, (model_file, TOKENIZER_FILE))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads that spin take the core from the other services of this machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The arena would keep the memory of the largest batch ever seen.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
            model_dir / model_file, options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer: tokenizers.Tokenizer = tokenizers.Tokenizer.from_file(
            str(model_dir / TOKENIZER_FILE)
        )
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.dimensions: int = self._session.get_outputs()[0].shape[1]
        if model_file == INT8_FILE:
            self._check_processor(compiled["probe"], model_dir)

    @classmethod
    def if_compiled(
        cls, cache_dir: Path, digest: str, threads: int = 1, model_file: str = INT8_FILE
    ) -> Self | None:
        """Return the encoder kept under a digest, or None when it is not compiled on this machine.

        Args:
            cache_dir: The folder of everything fetched or compiled.
            digest: See :func:`encoder_digest`.
            threads: Threads of one inference, >= 1.
            model_file: The int8 model or the fp32 one.

        Raises:
            FailedPrecondition: The compiled files are there, and damaged.
        """
        folder = encoder_folder(cache_dir, digest)
        if is_compiled(folder):
            return cls(folder, threads, model_file)
        _log.warning(
            "the encoder is not compiled on this machine: cheaper and weaker tiers answer alone;"
            " `slmesh models compile` mends it"
        )
        return None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return embeddings, float32 (B, D), each row of length 1."""
        return self.encode_with_cuts(texts).embeddings

    def encode_with_cuts(self, texts: Sequence[str]) -> Encoded:
        """Return embeddings, and for each text where reading stopped."""
        rows: list[list[int]] = []
        cuts: list[int | None] = []
        for text in texts:
            ids, cut = self._tokens(text)
            rows.append(ids)
            cuts.append(cut)
        embeddings = np.empty((len(rows), self.dimensions), np.float32)
        for places, made in self._run(rows, _EMBEDDING):
            embeddings[places] = made
        return Encoded(embeddings, tuple(cuts))

    def _check_processor(self, probe: Mapping[str, Any], model_dir: Path) -> None:
        """Refuse a model that another kind of processor computes otherwise, such as in an image."""
        found = self.encode_with_cuts([probe["text"]]).embeddings[0]
        cosine = float(found @ np.asarray(probe["embedding"]))
        if cosine < _MIN_PROBE_COSINE:
            raise FailedPrecondition(
                f"the encoder in {model_dir} was compiled for another kind of processor (cosine"
                f" {cosine:.3f} with what it gave there): delete the folder and run `slmesh models"
                " compile` here",
                reason="ENCODER_FOR_OTHER_PROCESSOR",
            )

    def _tokens(self, text: str) -> tuple[list[int], int | None]:
        encoding = self._tokenizer.encode(text[:_READ_CODE_POINTS])
        ids: list[int] = encoding.ids
        if len(ids) > MAX_TOKENS:  # the last of the ids closes the sequence
            return ids[: MAX_TOKENS - 1] + ids[-1:], encoding.offsets[MAX_TOKENS - 1][0]
        return ids, _READ_CODE_POINTS if len(text) > _READ_CODE_POINTS else None

    def _run(self, rows: list[list[int]], output: str) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yield the places of some rows and what the model makes of them, (B, ...), batch by batch."""
        # Rows of like length share a batch, so that little of it is padding.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        start = 0
        while start < len(order):
            end = start + 1
            # Rising lengths: the last row of a batch is its longest.
            while end < len(order) and (end + 1 - start) * len(rows[order[end]]) <= _BATCH_TOKENS:
                end += 1
            chosen = order[start:end]
            ids = np.zeros((len(chosen), len(rows[chosen[-1]])), np.int64)  # (B, T)
            mask = np.zeros_like(ids)
            for i, place in enumerate(chosen):
                ids[i, : len(rows[place])] = rows[place]
                mask[i, : len(rows[place])] = 1
            made = self._session.run([output], {"input_ids": ids, "attention_mask": mask})
            yield chosen, made[0]
            start = end


def _verify(model_dir: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the record of the compiled files once each named file is what it says."""
    try:
        compiled: dict[str, Any] = json.loads(
            (model_dir / COMPILED_FILE).read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        raise FailedPrecondition(
            f"no compiled encoder in {model_dir}: run `slmesh models compile`",
            reason="ENCODER_NOT_COMPILED",
        ) from None
    for name in names:
        path = model_dir / name
        expected = compiled["files"].get(name)
        found = digest_of(path) if path.is_file() else "no file"
        if expected != found:
            raise FailedPrecondition(
                f"{path} was changed: expected {expected}, found {found}; delete {model_dir}"
                " and run `slmesh models compile`",
                reason="DIGEST_MISMATCH",
                metadata={"file": name, "expected": str(expected), "found": found},
            )
    return compiled
