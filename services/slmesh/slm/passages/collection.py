"""Collections of passages: read from JSON Lines, indexed once, their vectors kept between starts.

A collection is content, not part of a model: it is named in the manifest and known by the digest of
its file. This module does not rank.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.slm.passages.lexical import LexicalIndex
from slmesh.tiers.encoder import SentenceEncoder

__all__ = ["Collection", "Passage", "parse_passages", "read_collection"]


@dataclass(frozen=True)
class Passage:
    """One passage of a collection.

    Attributes:
        id: Unique in the collection.
        title: A heading; indexed with the text, not returned.
        text: What is returned.
        questions: Examples of what it answers; indexed, not returned.
    """

    id: str
    title: str
    text: str
    questions: tuple[str, ...] = ()

    @property
    def indexed(self) -> tuple[str, ...]:
        """What queries are compared with; the passage scores as its best entry."""
        return (f"{self.title}. {self.text}" if self.title else self.text, *self.questions)


@dataclass(frozen=True)
class Collection:
    """An indexed collection.

    Attributes:
        revision: ``sha256:`` and the digest of its file.
        passages: At least one.
        starts: int64 (N,): where the entries of each passage begin, among the E entries of all.
        lexical: The index of the entries by words.
        vectors: float32 (E, D), rows of length 1, or None without an encoder.
    """

    revision: str
    passages: tuple[Passage, ...]
    starts: np.ndarray
    lexical: LexicalIndex
    vectors: np.ndarray | None


def read_collection(
    path: Path, encoder: SentenceEncoder | None, backbone: str, cache_dir: Path
) -> Collection:
    """Read and index a collection.

    Args:
        path: A JSON Lines file with ``id``, ``text`` and optionally ``title`` and ``questions``.
        encoder: Makes the vectors; None leaves them out.
        backbone: The encoder's digest, part of the key of cached vectors.
        cache_dir: Where vectors are kept.

    Raises:
        FailedPrecondition: The file is missing, empty, or has a row without id or text, or two rows
            with one id; the row is named.
    """
    passages = parse_passages(path)
    revision = digest_of(path)
    texts = [entry for passage in passages for entry in passage.indexed]
    sizes = [len(passage.indexed) for passage in passages]
    starts = np.cumsum([0, *sizes[:-1]])
    vectors = None
    if encoder is not None:
        key = f"{revision.removeprefix('sha256:')[:16]}-{backbone.removeprefix('sha256:')[:16]}"
        vectors = _vectors(cache_dir / "passages" / f"{key}.npy", texts, encoder)
    return Collection(revision, passages, starts, LexicalIndex(texts), vectors)


def parse_passages(path: Path) -> tuple[Passage, ...]:
    """Read the passages of a collection.

    Raises:
        FailedPrecondition: As for :func:`read_collection`.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"{path}: {error}", reason="INVALID_COLLECTION") from error
    passages: dict[str, Passage] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            questions = tuple(row.get("questions", ()))
            passage = Passage(row["id"], row.get("title", ""), row["text"], questions)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _refused(path, number, "must be an object with id and text") from None
        values = (passage.id, passage.title, passage.text, *passage.questions)
        if not all(isinstance(value, str) for value in values):
            raise _refused(path, number, "id, title, text and questions must be strings")
        if not passage.id or not passage.text.strip():
            raise _refused(path, number, "id and text must not be empty")
        if passage.id in passages:
            raise _refused(path, number, f"repeats the id '{passage.id}'")
        passages[passage.id] = passage
    if not passages:
        raise FailedPrecondition(f"{path} holds no passage", reason="INVALID_COLLECTION")
    return tuple(passages.values())


def _refused(path: Path, number: int, problem: str) -> FailedPrecondition:
    return FailedPrecondition(f"{path}, line {number}: {problem}", reason="INVALID_COLLECTION")


def _vectors(path: Path, texts: Sequence[str], encoder: SentenceEncoder) -> np.ndarray:
    """Return the vectors of the texts, from the cache when it holds them."""
    try:
        kept = np.load(path, allow_pickle=False)
        if kept.shape == (len(texts), encoder.dimensions) and np.isfinite(kept).all():
            vectors: np.ndarray = kept.astype(np.float32)
            return vectors
    except (OSError, ValueError, EOFError):
        pass  # not kept yet, or damaged: made anew below
    made = encoder.encode(texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several replicas may start at once; each writes a file of its own and renames it.
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as file:
        np.save(file, made.astype(np.float32), allow_pickle=False)
    Path(name).replace(path)
    return made
