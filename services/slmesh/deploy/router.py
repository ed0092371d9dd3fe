"""The router on Kubernetes: pods that stay up when the models do not, and a service in front.

Each pod has a volume of its own: decisions wait there for the database, and a pod that is killed finds
them again. So it is a StatefulSet.
"""

from __future__ import annotations

from slmesh.deploy.names import (
    MESH,
    ROUTER,
    ROUTER_METRICS_PORT,
    ROUTER_PORT,
    Object,
    metadata,
    selector,
)
from slmesh.deploy.options import DeployOptions
from slmesh.deploy.pods import (
    STATE,
    container_security,
    digest,
    pod_security,
    policy_mounts,
    policy_volumes,
    scratch_mounts,
    scratch_volumes,
    secret_variable,
    settings_source,
)
from slmesh.deploy.settings_map import TLS_DIR, settings_of

__all__ = ["COMMAND", "router_service", "router_set"]

COMMAND = ("python", "-m", "slmesh.router")
_RESTARTABLE = ("python", "/opt/slmesh/develop.py", "run", "--")
NAME = f"{MESH}-{ROUTER}"

_DRAIN_S = 30
_SETTLE_S = 10


def router_set(options: DeployOptions) -> Object:
    """Return the StatefulSet of the router."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(NAME, ROUTER, options),
        "spec": {
            "serviceName": NAME,
            "replicas": options.router_replicas,
            "selector": {"matchLabels": selector(ROUTER)},
            "podManagementPolicy": "Parallel",  # no router needs another
            "updateStrategy": {"type": "RollingUpdate"},  # one pod at a time
            # a new pod has its share of connections before the next one is replaced
            "minReadySeconds": _SETTLE_S,
            "volumeClaimTemplates": [_claim(options)],
            # a pod that was taken away may have left decisions that no database has yet
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Retain",
                "whenScaled": "Retain",
            },
            "template": {
                "metadata": {
                    "labels": selector(ROUTER),
                    "annotations": {
                        f"{MESH}/settings-digest": digest(
                            [settings_of(ROUTER, options), dict(options.policy_files)]
                        ),
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(ROUTER_METRICS_PORT),
                    },
                },
                "spec": _pod(options),
            },
        },
    }


def router_service(options: DeployOptions) -> Object:
    """Return the Service clients call.

    It balances connections, not calls, and a gRPC client keeps one connection; so it is headless,
    and a client that asks for `round_robin` spreads its calls over all pods.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(NAME, ROUTER, options),
        "spec": {
            "clusterIP": "None",
            "selector": selector(ROUTER),
            "ports": [
                {
                    "name": "grpc",
                    "port": ROUTER_PORT,
                    "targetPort": "grpc",
                    "protocol": "TCP",
                    "appProtocol": "grpc",
                }
            ],
        },
    }


def _pod(options: DeployOptions) -> Object:
    # the state is in the pod's own claim, under the same name
    volumes = [one for one in scratch_volumes() if one["name"] != STATE] + policy_volumes(options)
    mounts = scratch_mounts() + policy_mounts(options)
    if options.tls_secret:
        volumes.append({"name": "tls", "secret": {"secretName": options.tls_secret}})
        mounts.append({"name": "tls", "mountPath": TLS_DIR, "readOnly": True})
    return {
        "serviceAccountName": MESH,
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": _DRAIN_S + 5,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(ROUTER)},
            }
        ],
        "containers": [_container(mounts, options)],
        "volumes": volumes,
    }


def _claim(options: DeployOptions) -> Object:
    return {
        "metadata": {"name": STATE, "labels": selector(ROUTER)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": options.router_storage}},
            **({"storageClassName": options.storage_class} if options.storage_class else {}),
        },
    }


def _container(mounts: list[Object], options: DeployOptions) -> Object:
    secrets = [
        *secret_variable("SLMESH_CONSUL_TOKEN", options.consul_secret, "token"),
        *secret_variable("SLMESH_LEDGER_URL", options.ledger_secret, "url"),
    ]
    return {
        "name": ROUTER,
        "image": options.image,
        "command": list(_RESTARTABLE + COMMAND if options.development else COMMAND),
        "envFrom": settings_source(ROUTER),
        **({"env": secrets} if secrets else {}),
        "ports": [
            {"name": "grpc", "containerPort": ROUTER_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": ROUTER_METRICS_PORT, "protocol": "TCP"},
        ],
        "startupProbe": {**_check(options), "periodSeconds": 2, "failureThreshold": 30},
        "readinessProbe": {**_check(options), "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**_check(options), "periodSeconds": 10, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "250m", "memory": "256Mi"},
            "limits": {"cpu": "2", "memory": "512Mi"},
        },
        "securityContext": container_security(options),
        # Endpoints lose the pod first, then it stops: no new call meets a closed port.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "volumeMounts": mounts,
    }


def _check(options: DeployOptions) -> Object:
    # The health of the whole server (service ""): the router is ready without its models, because
    # it answers degraded. A kubelet speaks no TLS over gRPC, so it only knocks at a port with TLS.
    if options.tls_secret:
        return {"tcpSocket": {"port": "grpc"}, "timeoutSeconds": 2}
    return {"grpc": {"port": ROUTER_PORT}, "timeoutSeconds": 2}
