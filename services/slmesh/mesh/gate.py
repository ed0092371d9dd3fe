"""The seam at which policy decides, on every hop: before data leaves, and when it arrives.

The runtime asks and obeys; what is allowed, and how a context is sealed so that it cannot be forged,
is not known here. A process without a gate checks nothing, which is for tests and for measuring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from slmesh.mesh.context import RequestContext
from slmesh.mesh.metrics import Metrics

__all__ = ["Admit", "Gate"]

Admit = Callable[[RequestContext], RequestContext]
"""Takes the context a call came with; returns what is proven of it, or raises ``PermissionDenied``."""


class Gate(Protocol):
    """Decides about the calls of one process."""

    async def start(
        self, metrics: Metrics, on_health: Callable[[bool], None] = lambda healthy: None
    ) -> None:
        """Begin to follow what the gate decides by, where that may change.

        Args:
            metrics: Where changes are counted.
            on_health: Is told whether the gate decides by what is written now.
        """

    async def close(self) -> None:
        """Follow no longer."""

    def arrival(self, service: str) -> Admit:
        """Return what decides about calls that arrive at a service of this process."""

    def served(self, context: RequestContext) -> RequestContext:
        """Check who is served, for calls that reach no model themselves.

        Raises:
            PermissionDenied: The tenant is not known.
        """

    def depart(self, context: RequestContext) -> RequestContext:
        """Decide about a call of ``context.service`` before anything is sent; returns what to send.

        Raises:
            PermissionDenied: The data must not reach that service.
        """
