"""The intent service: names the intent of a message, out of the bundle's label set, or abstains.

All it decides comes from its bundle; how tiers and abstention work is in ``slmesh.tiers``.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest, ClassifyResponse
from slmesh.mesh.service import Resources
from slmesh.tiers.answering import Classifying, check_top_k

__all__ = ["Intent"]


class Intent:
    """Answers the classify contract."""

    _classifying: Classifying

    def load(self, resources: Resources) -> None:
        """Load the bundle, and its encoder where it is compiled."""
        self._classifying = Classifying.load(resources)

    def check(self, request: ClassifyRequest) -> None:
        """Refuse a number of labels outside [1, 100].

        Raises:
            InvalidArgument: It is outside.
        """
        check_top_k(request)

    def answer(self, requests: Sequence[ClassifyRequest]) -> list[ClassifyResponse]:
        """Return one response for each request, in order."""
        return self._classifying.answer(requests)
