"""Names, labels and ports that several objects of one deployment must agree on."""

from __future__ import annotations

from typing import Any

from slmesh.deploy.options import DeployOptions

__all__ = [
    "DASHBOARD_AGENT_PORT",
    "DASHBOARD_PORT",
    "GCS_PORT",
    "HAPROXY_METRICS_PORT",
    "HTTP_PORT",
    "INGRESS_PORT",
    "MESH",
    "MODELS",
    "MODELS_SERVICE",
    "POLICY",
    "RAY_METRICS_PORT",
    "ROUTER",
    "ROUTER_METRICS_PORT",
    "ROUTER_PORT",
    "SETTINGS",
    "Object",
    "metadata",
    "selector",
]

Object = dict[str, Any]
"""One Kubernetes object, or a part of one."""

MESH = "slmesh"
MODELS = "models"
ROUTER = "router"
SETTINGS = f"{MESH}-settings"
POLICY = f"{MESH}-policy"
MODELS_SERVICE = f"{MESH}-{MODELS}"

ROUTER_PORT = 50051
ROUTER_METRICS_PORT = 9464
INGRESS_PORT = 9000
HTTP_PORT = 8000
GCS_PORT = 6379
DASHBOARD_PORT = 8265
DASHBOARD_AGENT_PORT = 52365
RAY_METRICS_PORT = 8080
HAPROXY_METRICS_PORT = 9101


def selector(component: str) -> dict[str, str]:
    """Return the labels by which the pods of a component are found."""
    return {"app.kubernetes.io/part-of": MESH, "app.kubernetes.io/component": component}


def metadata(name: str, component: str, options: DeployOptions) -> Object:
    """Return the metadata of an object."""
    return {"name": name, "namespace": options.namespace, "labels": selector(component)}
