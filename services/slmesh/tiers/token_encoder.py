"""The encoder as taggers use it: a vector for each piece of a text instead of one for all of it.

It reads the same compiled files as ``tiers.encoder``, and like there a vector does not depend on the
texts its own is batched with. This module knows no task, and does not compile.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.encoder import (
    INT8_FILE,
    MAX_TOKENS,
    SentenceEncoder,
    encoder_folder,
    is_compiled,
)

__all__ = ["MOST_PIECES", "Pieces", "TokenEncoder", "load_token_encoder"]

_log = logging.getLogger(__name__)

MOST_PIECES = MAX_TOKENS - 2
"""Pieces read together, without the two that open and close a text."""

_OUTPUT = "vectors"
_BATCH_TOKENS = 256
"""Of one run, see ``tiers.encoder``."""


@dataclass(frozen=True)
class Pieces:
    """What the tokenizer makes of a text.

    Attributes:
        ids: The numbers of its pieces, without those that open and close a text.
        offsets: Of each piece, half-open, in code points.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


def load_token_encoder(
    cache_dir: Path, digest: str, threads: int = 1, model_file: str = INT8_FILE
) -> TokenEncoder | None:
    """Return the encoder of a bundle, or None when it is not compiled on this machine.

    Args:
        cache_dir: The folder of everything fetched or compiled.
        digest: The encoder's, see ``tiers.encoder.encoder_digest``.
        threads: Threads of one inference, >= 1.
        model_file: The int8 model or the fp32 one.

    Raises:
        FailedPrecondition: The compiled files are there, and damaged.
    """
    folder = encoder_folder(cache_dir, digest)
    if is_compiled(folder):
        return TokenEncoder(folder, threads, model_file)
    _log.warning(
        "the encoder is not compiled on this machine: cheaper and weaker tiers answer alone;"
        " `slmesh models compile` mends it"
    )
    return None


class TokenEncoder(SentenceEncoder):
    """Turns pieces of texts into vectors; arguments and errors are those of its base."""

    def __init__(self, model_dir: Path, threads: int = 1, model_file: str = INT8_FILE) -> None:
        super().__init__(model_dir, threads, model_file)
        if _OUTPUT not in {output.name for output in self._session.get_outputs()}:
            raise FailedPrecondition(
                f"the encoder in {model_dir} was compiled by an older version, for whole texts only:"
                " delete the folder and run `slmesh models compile`",
                reason="ENCODER_NOT_COMPILED",
            )
        frame = self._tokenizer.encode("").ids
        self._open, self._close = frame[0], frame[-1]

    def pieces(self, text: str) -> Pieces:
        """Return the pieces of a text, however long."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return Pieces(encoding.ids, encoding.offsets)

    def vectors(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Return of each row of at most MOST_PIECES pieces their vectors, float32 (T, D)."""
        made: list[np.ndarray] = [np.empty((0, self.dimensions), np.float32)] * len(rows)
        # Rows of like length share a batch, so that little of it is padding.
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        start = 0
        while start < len(order):
            end = start + 1
            while (
                end < len(order)
                and (end + 1 - start) * (len(rows[order[end]]) + 2) <= _BATCH_TOKENS
            ):
                end += 1
            chosen = order[start:end]
            found = self._vectors([rows[at] for at in chosen])
            for place, at in enumerate(chosen):
                made[at] = found[place, 1 : len(rows[at]) + 1]
            start = end
        return made

    def _vectors(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        longest = max(len(row) for row in rows) + 2
        ids = np.zeros((len(rows), longest), np.int64)  # (B, T)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row) + 2] = [self._open, *row, self._close]
            mask[at, : len(row) + 2] = 1
        made = self._session.run([_OUTPUT], {"input_ids": ids, "attention_mask": mask})
        vectors: np.ndarray = made[0]  # (B, T, D)
        return vectors
