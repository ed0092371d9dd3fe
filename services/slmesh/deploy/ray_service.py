"""The Ray cluster of the models, as a RayService of KubeRay 1.6 or newer.

One worker group for each risk class, and a head that runs no model. Sizes follow from the service
manifests. What the applications are is said in `serve_config`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import yaml

from slmesh.deploy.names import (
    DASHBOARD_AGENT_PORT,
    DASHBOARD_PORT,
    GCS_PORT,
    HAPROXY_METRICS_PORT,
    HTTP_PORT,
    INGRESS_PORT,
    MESH,
    MODELS,
    MODELS_SERVICE,
    Object,
    metadata,
    selector,
)
from slmesh.deploy.options import DeployOptions
from slmesh.deploy.pods import (
    container_security,
    digest,
    environment,
    pod_security,
    policy_mounts,
    policy_volumes,
    scratch_mounts,
    scratch_volumes,
    secret_variable,
    settings_source,
)
from slmesh.deploy.serve_config import MIB, RISK_LABEL, grpc_options, risk_class, serve_config
from slmesh.deploy.settings_map import settings_of
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.mesh.threads import thread_environment

__all__ = ["RAY_VERSION", "SERVE_FLAGS", "ray_service"]

RAY_VERSION = "2.60.0"
"""The version of Ray in the image; the operator compares it."""

# Above the mesh's own limit, so that the boundary refuses a large message, and says why.
_MESSAGE_BYTES = str(2 * Settings().max_message_bytes)

SERVE_FLAGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Services compute in a thread of their own, so user code may share the replica's event loop.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_PROXY_USE_GRPC": "1",
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": _MESSAGE_BYTES,
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": _MESSAGE_BYTES,
    "RAY_SERVE_HAPROXY_H2_FE_MAX_CONCURRENT_STREAMS": "1024",
    "RAY_SERVE_HAPROXY_H2_BE_MAX_CONCURRENT_STREAMS": "1024",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
    # Ray would set the CPUs of an actor, rounded down to 0; a service with more has its own.
    **thread_environment(1),
    # A loaded node is slow to start a proxy; the default of Ray gives up too early.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # A bad update stops, and the replicas that still answer stay.
    "RAY_SERVE_STOP_FAILED_ROLLING_UPDATES": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Nothing but the mounted folders can be written to.
    "HOME": "/tmp",
}
"""Flags that Ray reads when it is imported, so every container of the cluster needs all of them."""

_OBJECT_STORE_BYTES = 100 * MIB  # messages travel over gRPC, so next to nothing is stored
_NODE_MIB = 1024  # Ray's own processes on a node, its proxies and the object store
_HEAD_MIB = 4096
_SURGE = 2  # an update starts the new replica of a service before it stops the old one
_PROBE = {"periodSeconds": 10, "timeoutSeconds": 5}


def ray_service(manifests: Sequence[Manifest], options: DeployOptions) -> Object:
    """Return the RayService that serves all manifests.

    Args:
        manifests: The services, at least one.
        options: The deployment's options.
    """
    groups: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        groups.setdefault(risk_class(manifest), []).append(manifest)
    config = yaml.safe_dump(serve_config(manifests), sort_keys=False)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": metadata(MESH, MODELS, options),
        "spec": {
            # The incremental strategy moves HTTP traffic only; gRPC would stay behind.
            "upgradeStrategy": {"type": "NewCluster"},
            "excludeHeadPodFromServeSvc": True,
            "serveService": _serve_service(options),
            "serveConfigV2": config,
            "rayClusterConfig": {
                "rayVersion": RAY_VERSION,
                "headGroupSpec": _head(manifests, options),
                "workerGroupSpecs": [
                    _worker_group(name, members, manifests, options)
                    for name, members in groups.items()
                ],
            },
        },
    }


def _serve_service(options: DeployOptions) -> Object:
    ports = [
        {"name": "serve", "port": HTTP_PORT, "targetPort": HTTP_PORT, "protocol": "TCP"},
        {
            "name": "serve-grpc",  # the operator finds the port by this name
            "port": INGRESS_PORT,
            "targetPort": INGRESS_PORT,
            "protocol": "TCP",
            "appProtocol": "kubernetes.io/h2c",
        },
    ]
    return {"metadata": metadata(MODELS_SERVICE, MODELS, options), "spec": {"ports": ports}}


def _head(manifests: Sequence[Manifest], options: DeployOptions) -> Object:
    ports = {"gcs-server": GCS_PORT, "dashboard": DASHBOARD_PORT, **_serve_ports()}
    container = _container("ray-head", ports, options) | {
        "resources": {
            "requests": {"cpu": "500m", "memory": f"{_HEAD_MIB // 2}Mi"},
            "limits": {"cpu": "2", "memory": f"{_HEAD_MIB}Mi"},
        },
        "readinessProbe": {**_raylet_check(), **_PROBE},
    }
    return {
        # No CPUs to give: no replica is ever placed next to the control processes.
        "rayStartParams": {
            "num-cpus": "0",
            "dashboard-host": "0.0.0.0",  # the operator deploys through it
            "object-store-memory": str(_OBJECT_STORE_BYTES),
        },
        "template": _template(container, manifests, options),
    }


def _worker_group(
    name: str, members: Sequence[Manifest], manifests: Sequence[Manifest], options: DeployOptions
) -> Object:
    pods = max(manifest.replicas for manifest in members)
    # Replicas are spread by Ray as it likes, so each pod has room for its even share, rounded up.
    share = [(m, math.ceil(m.replicas / pods)) for m in members]
    cpus = sum(m.cpus * count for m, count in share)
    memory_mib = sum(m.memory_mib * count for m, count in share)
    cores = max(1, math.ceil(_SURGE * cpus), *(m.threads for m in members))
    container = _container("ray-worker", _serve_ports(), options) | {
        "resources": {
            "requests": {
                "cpu": f"{math.ceil(1000 * cpus)}m",
                "memory": f"{_NODE_MIB + memory_mib}Mi",
            },
            "limits": {"cpu": str(cores), "memory": f"{_NODE_MIB + _SURGE * memory_mib}Mi"},
        },
        # The proxy answers once it knows a healthy replica; the operator's own probe needs wget.
        "readinessProbe": {"httpGet": {"path": "/-/healthz", "port": HTTP_PORT}, **_PROBE},
        "lifecycle": {"preStop": {"exec": {"command": ["ray", "stop"]}}},
    }
    return {
        "groupName": name,
        "replicas": pods,
        "minReplicas": pods,
        "maxReplicas": pods,
        "labels": {RISK_LABEL: name},  # not in rayStartParams, where the operator refuses them
        "rayStartParams": {
            "num-cpus": str(cores),
            # Without it Ray would place by CPUs alone, and fill one pod beyond its memory.
            "memory": str(_SURGE * memory_mib * MIB),
            "object-store-memory": str(_OBJECT_STORE_BYTES),
        },
        "template": _template(container, manifests, options),
    }


def _serve_ports() -> dict[str, int]:
    # The operator reads these from the head too, even though it serves nothing.
    return {"serve": HTTP_PORT, "serve-grpc": INGRESS_PORT, "proxy-metrics": HAPROXY_METRICS_PORT}


def _raylet_check() -> Object:
    return {"httpGet": {"path": "/api/healthz", "port": DASHBOARD_AGENT_PORT}}


def _container(name: str, ports: dict[str, int], options: DeployOptions) -> Object:
    key = secret_variable("SLMESH_REASONER_API_KEY", options.reasoner_secret, "api-key")
    return {
        "name": name,
        "image": options.image,
        "envFrom": settings_source(MODELS),
        "env": [*environment(SERVE_FLAGS), *key],
        "ports": [
            {"name": port_name, "containerPort": number, "protocol": "TCP"}
            for port_name, number in ports.items()
        ],
        "livenessProbe": {
            **_raylet_check(),
            **_PROBE,
            "initialDelaySeconds": 30,
            "failureThreshold": 12,
        },
        "securityContext": container_security(options),
        "volumeMounts": scratch_mounts() + policy_mounts(options),
    }


def _template(container: Object, manifests: Sequence[Manifest], options: DeployOptions) -> Object:
    # Serve takes the list of gRPC services, and a process its environment, only when it starts. So
    # a change of one of these must change the pods, which makes the operator build a new cluster.
    settings, policy = settings_of(MODELS, options), dict(options.policy_files)
    frozen = [grpc_options(manifests), settings, policy]
    return {
        "metadata": {
            "labels": selector(MODELS),
            "annotations": {f"{MESH}/frozen-digest": digest(frozen)},
        },
        "spec": {
            "serviceAccountName": MESH,
            "automountServiceAccountToken": False,
            "securityContext": pod_security(),
            # Longer than the longest drain of a replica.
            "terminationGracePeriodSeconds": 120,
            "containers": [container],
            "volumes": scratch_volumes() + policy_volumes(options),
        },
    }
