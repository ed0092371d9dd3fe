"""The mesh as users meet it: the client, with a router in the library mode.

This is the one place that puts the runtime and the router together; the runtime knows no service.
"""

from __future__ import annotations

from typing import Self

from slmesh.mesh.client import Mesh as Client
from slmesh.mesh.settings import Settings, load_settings
from slmesh.mesh.tracing import Tracing

__all__ = ["Mesh"]


class Mesh(Client):
    """A mesh of model services; see :class:`slmesh.mesh.client.Mesh` for its methods."""

    @classmethod
    def local(cls, *, settings: Settings | None = None, tracing: Tracing | None = None) -> Self:
        """Return a mesh in this process: no Ray, no ports; services load when first called.

        Flows run here too; a flow that needs the reasoner loads it, which takes the extra
        ``reasoner``, or ends as it does when the reasoner is away.
        """
        from slmesh.mesh.catalog import discover
        from slmesh.mesh.local import InProcessTransport
        from slmesh.policy import open_gate
        from slmesh.router.attach import attach_router

        settings = settings or load_settings()
        services = discover(settings)
        gate = open_gate(settings, services, in_process=True)
        transport = InProcessTransport(settings, services=services, tracing=tracing, gate=gate)
        attach_router(transport, settings, services=services, tracing=tracing, gate=gate)
        return cls(transport)
