"""What a person decides about a deployment; everything else follows from the service manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from slmesh.mesh.errors import InvalidArgument

__all__ = ["DeployOptions"]

_ADDRESS = re.compile(r"[^\s:]+:[0-9]{1,5}")
_SIZE = re.compile(r"[1-9][0-9]*(Mi|Gi|Ti)")
_SECRETS = ("tls_secret", "consul_secret", "ledger_secret", "reasoner_secret", "mesh_key_secret")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """The options of `slmesh deploy render`.

    Attributes:
        image: The image of all pods, with its tag or digest. It holds the package, the weights and
            the compiled models, so pods start without a network.
        namespace: The namespace of all objects.
        router_replicas: Pods of the router, >= 1. Two by default: a node may go away at any time.
        router_storage: Size of a router's volume: the spool (512 MiB unless set) and, without a
            `ledger_secret`, the SQLite file with all its decisions.
        storage_class: The storage class of that volume; the cluster's default if empty.
        ledger_secret: A secret whose key `url` holds the URL of a PostgreSQL database for decisions
            and budgets. Without it each router has a file of its own, so that a repeat that meets
            another router runs again.
        ledger_port: The port of that database, which routers may call.
        tls_secret: A `kubernetes.io/tls` secret with the router's certificate; plain text if empty.
        consul_address: `host:port` of a Consul agent; the cluster's own DNS finds the models if
            empty.
        consul_secret: A secret whose key `token` holds the ACL token for Consul; none if empty.
        region: The region of this cluster, as discovery compares it.
        zone: The zone of this cluster.
        reasoner_base_url: Base URL of an OpenAI-compatible server that reasons instead of the
            embedded engine.
        reasoner_model: The model to ask that server for.
        reasoner_secret: A secret whose key `api-key` holds that server's API key; none if empty.
        mesh_key_secret: A secret whose key `mesh.key` holds the key of the mesh: 64 random hex
            digits, the same for all pods. Without it no pod would trust another's calls.
        policy_files: The text of every policy file by its name, beside those that are shipped.
        monitoring_namespace: The namespace whose pods may read metrics.
        development: Whether sources can be replaced in running containers, which then can write
            to their own file system. The image is the stage `development` of the Dockerfile.
    """

    image: str
    namespace: str = "slmesh"
    router_replicas: int = 2
    router_storage: str = "4Gi"
    storage_class: str = ""
    ledger_secret: str = ""
    ledger_port: int = 5432
    tls_secret: str = ""
    consul_address: str = ""
    consul_secret: str = ""
    region: str = "local"
    zone: str = "local"
    reasoner_base_url: str = ""
    reasoner_model: str = ""
    reasoner_secret: str = ""
    mesh_key_secret: str = "slmesh-mesh-key"
    policy_files: Mapping[str, str] = field(default_factory=dict)
    monitoring_namespace: str = "monitoring"
    development: bool = False

    def __post_init__(self) -> None:
        """Refuse what a cluster would refuse later, and say which option it is."""
        if not self.image or self.image != self.image.strip():
            raise InvalidArgument(f"image '{self.image}' is no image name", field="image")
        if self.router_replicas < 1:
            raise InvalidArgument(
                f"router_replicas must be at least 1, is {self.router_replicas}",
                field="router_replicas",
            )
        if not _SIZE.fullmatch(self.router_storage):
            raise InvalidArgument(
                f"router_storage '{self.router_storage}' is no size such as 4Gi",
                field="router_storage",
            )
        if self.consul_address and not _ADDRESS.fullmatch(self.consul_address):
            raise InvalidArgument(
                f"consul_address '{self.consul_address}' is not host:port", field="consul_address"
            )
        for name in ("namespace", "monitoring_namespace"):
            if not _LABEL.fullmatch(getattr(self, name)):
                raise InvalidArgument(
                    f"{name} '{getattr(self, name)}' is no namespace: lower-case letters, digits "
                    "and hyphens, at most 63",
                    field=name,
                )
        for name in _SECRETS:
            value = getattr(self, name)
            if value and not _LABEL.fullmatch(value):
                raise InvalidArgument(f"{name} '{value}' is no name of a secret", field=name)
        if not self.mesh_key_secret:
            raise InvalidArgument(
                "mesh_key_secret must name a secret: all pods need one key", field="mesh_key_secret"
            )
