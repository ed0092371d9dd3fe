"""A scorer that does no model work, to measure what the mesh itself costs."""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.score.v1 import score_pb2
from slmesh.mesh.service import Resources

__all__ = ["Echo"]


class Echo:
    """Answers every text with the same place on one scale."""

    def load(self, resources: Resources) -> None:
        """Make the one answer."""
        level = score_pb2.Level(name="only", probability=1.0)
        scale = score_pb2.ScaleScore(scale=resources.manifest.name, value=0.0, levels=[level])
        self._response = score_pb2.ScoreResponse(scores=score_pb2.Scores(scores=[scale]))

    def answer(self, requests: Sequence[score_pb2.ScoreRequest]) -> list[score_pb2.ScoreResponse]:
        """Return the answer once for each request."""
        return [self._response] * len(requests)
