"""The encoder as taggers use it: a vector for each piece of a text instead of one for all of it.

It reads the same compiled files as ``tiers.encoder``, and like there a vector does not depend on the
texts its own is batched with. This module knows no task, and does not compile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.encoder import INT8_FILE, MAX_TOKENS, SentenceEncoder

__all__ = ["MOST_PIECES", "Pieces", "TokenEncoder"]

MOST_PIECES = MAX_TOKENS - 2
"""Pieces read together, without the two that open and close a text."""

_OUTPUT = "vectors"


@dataclass(frozen=True)
class Pieces:
    """What the tokenizer makes of a text.

    Attributes:
        ids: The numbers of its pieces, without those that open and close a text.
        offsets: Of each piece, half-open, in code points.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


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
        framed = [[self._open, *row, self._close] for row in rows]
        made: list[np.ndarray] = [np.empty((0, self.dimensions), np.float32)] * len(rows)
        for places, found in self._run(framed, _OUTPUT):  # (B, T, D)
            for vectors, at in zip(found, places, strict=True):
                made[at] = vectors[1 : len(rows[at]) + 1]
        return made
