"""The passages service: orders passages by how well they answer a query.

The passages come with the request or from a collection that the manifest names. With the compiled
encoder it compares meaning and words; without, words alone. It abstains when no passage is likely
enough to answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from slmesh.api.rank.v1.rank_pb2 import RankedPassage, RankRequest, RankResponse
from slmesh.api.types.v1 import abstention_pb2
from slmesh.api.types.v1.abstention_pb2 import Abstention
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, MeshError, NotFound
from slmesh.mesh.naming import suggestion
from slmesh.mesh.service import Resources
from slmesh.slm.passages.collection import Collection, Passage, read_collection
from slmesh.slm.passages.heads import Heads, load_heads
from slmesh.slm.passages.lexical import LexicalIndex
from slmesh.slm.passages.scoring import Scorer, load_scorer
from slmesh.tiers.encoder import Encoded, SentenceEncoder, load_encoder

__all__ = ["Passages"]

_DEFAULT_TOP_K = 3
_MOST_TOP_K = 100
_REMEMBERED_TEXTS = 4096
"""Embeddings of candidates kept between requests; callers send the same ones again. 6 MiB."""


class Passages:
    """Answers the rank contract."""

    _bundle: Bundle
    _name: str
    _encoder: SentenceEncoder | None
    _scorer: Scorer
    _heads: Heads
    _collections: Mapping[str, Collection]

    def load(self, resources: Resources) -> None:
        """Load the scorer and index the collections.

        Raises:
            FailedPrecondition: A collection is missing or wrong.
        """
        self._bundle = resources.required_bundle()
        self._name = resources.manifest.name
        backbone = (self._bundle.backbone or {}).get("digest", "")
        self._encoder = load_encoder(resources.cache_dir, backbone, resources.threads)
        self._scorer = load_scorer(self._bundle, self._tier)
        self._heads = load_heads(self._bundle.tensors())
        self._remembered: dict[bytes, np.ndarray] = {}
        self._collections = {
            name: self._moved(read_collection(path, self._encoder, backbone, resources.cache_dir))
            for name, path in _declared(resources).items()
        }

    def check(self, request: RankRequest) -> None:
        """Refuse a request without passages to rank.

        Raises:
            InvalidArgument: No source, a repeated candidate id, or top_k outside its range.
            NotFound: The collection is unknown.
        """
        if request.HasField("top_k") and not 1 <= request.top_k <= _MOST_TOP_K:
            raise InvalidArgument(
                f"top_k is {request.top_k}, it must be in [1, {_MOST_TOP_K}]", field="top_k"
            )
        source = request.WhichOneof("source")
        if source is None:
            raise InvalidArgument(
                "the field 'source' is required: set candidates or collection",
                reason="FIELD_REQUIRED",
                field="source",
            )
        if source == "collection" and request.collection not in self._collections:
            raise NotFound(
                f"no collection '{request.collection}'"
                f"{suggestion(request.collection, self._collections)}",
                reason="COLLECTION_NOT_FOUND",
            )
        if source == "candidates":
            _check_candidates(request)

    def answer(self, requests: Sequence[RankRequest]) -> Sequence[RankResponse | MeshError]:
        """Answer each request; one bad request does not fail its neighbours."""
        answers: dict[int, RankResponse | MeshError] = {}
        good: list[int] = []
        for index, request in enumerate(requests):
            try:
                self.check(request)
                good.append(index)
            except MeshError as error:
                answers[index] = error
        encoded: Encoded | None = None
        if self._encoder is not None:
            encoded = self._encoder.encode_with_cuts([requests[index].query for index in good])
        vectors = self._heads.of_queries(encoded.embeddings) if encoded is not None else None
        for row, index in enumerate(good):
            vector = vectors[row] if vectors is not None else None
            response = self._rank(requests[index], vector)
            cut = encoded.truncated_at[row] if encoded is not None else None
            if cut is not None:
                response.truncated_at = cut
            answers[index] = response
        return [answers[index] for index in range(len(requests))]

    @property
    def _tier(self) -> str:
        return "lexical" if self._encoder is None else "encoder"

    def _rank(self, request: RankRequest, query: np.ndarray | None) -> RankResponse:
        response = RankResponse(provenance=self._bundle.provenance(self._name, self._tier))
        if request.WhichOneof("source") == "collection":
            collection = self._collections[request.collection]
            response.collection_revision = collection.revision
            passages: Sequence[Passage] = collection.passages
            starts, lexical, vectors = collection.starts, collection.lexical, collection.vectors
        else:
            candidates = request.candidates.candidates
            passages = [Passage(candidate.id, "", "") for candidate in candidates]
            indexed = [candidate.text for candidate in candidates]
            starts = np.arange(len(passages))
            lexical, vectors = LexicalIndex(indexed), self._candidate_vectors(indexed)
        if not any(character.isalnum() for character in request.query):
            response.abstention.reason = abstention_pb2.ABSTENTION_REASON_NO_CONTENT
            return response
        cosine = vectors @ query if vectors is not None and query is not None else None
        scores = self._scorer.scores(cosine, lexical.scores(request.query), starts)
        top = request.top_k if request.HasField("top_k") else _DEFAULT_TOP_K
        order = _best(scores, max(2, top))
        second = float(scores[order[1]]) if len(order) > 1 else None
        verdict = self._scorer.judge(float(scores[order[0]]), second, request.collection)
        best = [
            RankedPassage(
                id=passages[index].id,
                text=passages[index].text,
                score=_rounded(float(scores[index])),
            )
            for index in order[:top]
        ]
        if not verdict.answers:
            # Where nothing is calibrated there is no confidence to give, and it stays 0.
            response.abstention.CopyFrom(
                Abstention(
                    reason=abstention_pb2.ABSTENTION_REASON_LOW_CONFIDENCE,
                    confidence=_rounded(verdict.probability or 0.0),
                )
            )
            response.nearest.extend(best)
            return response
        if verdict.probability is not None:  # it is about the first one
            best[0].probability = _rounded(verdict.probability)
        response.ranking.passages.extend(best)
        return response

    def _moved(self, collection: Collection) -> Collection:
        """Return a collection with its vectors as the passages' head has them."""
        if collection.vectors is None:
            return collection
        return replace(collection, vectors=self._heads.of_passages(collection.vectors))

    def _candidate_vectors(self, texts: Sequence[str]) -> np.ndarray | None:
        if self._encoder is None:
            return None
        # Known by digest: a text may be long, and must not be kept for its sake.
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        unknown = {
            key: text for key, text in zip(keys, texts, strict=True) if key not in self._remembered
        }
        if len(self._remembered) + len(unknown) > _REMEMBERED_TEXTS:
            self._remembered = {}
            unknown = dict(zip(keys, texts, strict=True))
        made = self._heads.of_passages(self._encoder.encode(list(unknown.values())))
        self._remembered.update(zip(unknown, made, strict=True))
        return np.stack([self._remembered[key] for key in keys])


def _best(scores: np.ndarray, count: int) -> list[int]:
    """Return the places of the highest scores, best first; ties in their given order."""
    places = np.argpartition(-scores, min(count, len(scores) - 1))[:count]
    order = np.lexsort((places, -scores[places]))
    return [int(place) for place in places[order]]


def _rounded(value: float) -> float:
    """Return a value without the digits in which a batch may differ from a single request."""
    return round(value, 4)


def _declared(resources: Resources) -> dict[str, Path]:
    """Return the file of each collection: next to the manifest, or in the bundle."""
    declared = resources.manifest.options.get("collections", {})
    if not isinstance(declared, Mapping):
        raise FailedPrecondition(
            "options.collections must map a name to a file", reason="INVALID_MANIFEST"
        )
    paths: dict[str, Path] = {}
    for name, file in declared.items():
        near = resources.manifest.folder / str(file)
        inside = resources.required_bundle().folder / str(file)
        paths[str(name)] = near if near.exists() or not inside.exists() else inside
    return paths


def _check_candidates(request: RankRequest) -> None:
    candidates = request.candidates.candidates
    if not candidates:
        raise InvalidArgument(
            "the field 'candidates.candidates' is required",
            reason="FIELD_REQUIRED",
            field="candidates.candidates",
        )
    seen: set[str] = set()
    for index, candidate in enumerate(candidates):
        if candidate.id in seen:
            raise InvalidArgument(
                f"the candidate id '{candidate.id[:64]}' is used twice",
                reason="DUPLICATE_ID",
                field=f"candidates.candidates[{index}].id",
            )
        seen.add(candidate.id)
