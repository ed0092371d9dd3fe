"""The triage service: places a message on scales of urgency, sentiment and complexity.

All it decides comes from its bundle; how tiers work is in ``slmesh.tiers``.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.score.v1.score_pb2 import ScoreRequest, ScoreResponse
from slmesh.mesh.service import Resources
from slmesh.tiers.answering import Scoring

__all__ = ["Triage"]


class Triage:
    """Answers the score contract."""

    _scoring: Scoring

    def load(self, resources: Resources) -> None:
        """Load the bundle, and its encoder where it is compiled."""
        self._scoring = Scoring.load(resources)

    def check(self, request: ScoreRequest) -> None:
        """Refuse scales the service does not have.

        Raises:
            InvalidArgument: A scale is unknown, or named twice.
        """
        self._scoring.check(request)

    def answer(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Return one response for each request, in order."""
        return self._scoring.answer(requests)
