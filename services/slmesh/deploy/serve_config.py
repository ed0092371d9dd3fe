"""The configuration of Ray Serve: one application for each service manifest.

It knows what Serve must be told about a service, and nothing of Kubernetes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from slmesh.deploy.names import HTTP_PORT, INGRESS_PORT
from slmesh.mesh.manifest import Manifest
from slmesh.platform.serve_options import route_prefix, serve_options

__all__ = ["MIB", "RISK_LABEL", "grpc_options", "risk_class", "serve_config"]

APPLICATIONS = "slmesh.platform.applications:build"
SERVICERS = "slmesh.mesh.serve.add_contracts_to_server"
RISK_LABEL = "risk"
"""The label of a Ray node by which services of one risk class are kept together."""

MIB = 1024 * 1024

_BACKSTOP_S = 120


def risk_class(manifest: Manifest) -> str:
    """Return the group of nodes a service runs on.

    A reasoner takes many times the memory and time of a small model, so that it must not be able to
    take a node's memory from one. Pods are the memory limit here: what Serve is told about memory
    is used for placement only.
    """
    return "reasoner" if manifest.contract == "reason" else "small"


def grpc_options(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Return the options of Serve's gRPC ingress, which are frozen when Serve first starts.

    They name one function that registers every contract, so that a new service of a known contract
    needs no new cluster.
    """
    longest_s = math.ceil(max(manifest.timeout_ms for manifest in manifests) / 1000)
    return {
        "port": INGRESS_PORT,
        # A backstop for calls without a deadline of their own; it holds for all services.
        "request_timeout_s": max(_BACKSTOP_S, 2 * longest_s),
        "grpc_servicer_functions": [SERVICERS],
    }


def serve_config(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Return the value of `serveConfigV2`.

    Args:
        manifests: The services, at least one.
    """
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": HTTP_PORT},
        "grpc_options": grpc_options(manifests),
        # The boundary writes one event for each call; Serve's access log would double it.
        "logging_config": {"encoding": "JSON", "enable_access_log": False},
        "applications": [_application(manifest) for manifest in manifests],
    }


def _application(manifest: Manifest) -> dict[str, Any]:
    deployment = serve_options(manifest)
    deployment["ray_actor_options"] |= {
        "memory": manifest.memory_mib * MIB,
        "label_selector": {RISK_LABEL: risk_class(manifest)},
    }
    return {
        "name": manifest.name,
        "route_prefix": route_prefix(manifest.name),
        "import_path": APPLICATIONS,
        "args": {"service": manifest.name},
        "deployments": [{"name": manifest.name, **deployment}],
    }
