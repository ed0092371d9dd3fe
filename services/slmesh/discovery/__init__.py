"""Where services answer: fixed addresses, or what a Consul agent knows; and how to be found there.

``StaticDiscovery`` is the embedded default. Consul needs the extra packages of ``slmesh[mesh]``, so
its parts are imported from their own modules: ``slmesh.discovery.consul`` (``ConsulDiscovery``),
``slmesh.discovery.registration`` and ``slmesh.discovery.registrar``.
"""

from slmesh.discovery.resolution import (
    CLUSTER_SERVICE,
    Discovery,
    Instance,
    Resolution,
)
from slmesh.discovery.static import StaticDiscovery

__all__ = ["CLUSTER_SERVICE", "Discovery", "Instance", "Resolution", "StaticDiscovery"]
