"""What every pod of a deployment shares: rights, folders, environment and digests.

It does not know what runs in a pod.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slmesh.deploy.names import POLICY, SETTINGS, Object
from slmesh.deploy.options import DeployOptions

__all__ = [
    "CACHE_DIR",
    "KEY_DIR",
    "POLICY_DIR",
    "STATE",
    "STATE_DIR",
    "USER_ID",
    "container_security",
    "digest",
    "environment",
    "pod_security",
    "policy_mounts",
    "policy_volumes",
    "scratch_mounts",
    "scratch_volumes",
    "secret_variable",
    "settings_source",
]

USER_ID = 10001
"""The user the image was built for; see infra/images/Dockerfile."""
CACHE_DIR = "/opt/slmesh/cache"
"""Where the image holds fetched weights and compiled models."""
STATE = "state"
STATE_DIR = "/var/lib/slmesh"
"""Where the volume `state` lies: gone with a pod of the models, kept for the next pod of a router."""

KEY_DIR = "/etc/slmesh/mesh-key"
"""Where the mesh's key is mounted, as the file `mesh.key`."""
POLICY_DIR = "/etc/slmesh/policy"
"""Where policies are mounted."""

_SCRATCH_MIB = 1024
_SCRATCH = {"tmp": "/tmp", STATE: STATE_DIR}  # folders of the pod alone


def pod_security() -> Object:
    """Return the security context of a pod: no root, and only system calls the runtime allows."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(options: DeployOptions) -> Object:
    """Return the security context of a container: no rights, and a file system it cannot change."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": not options.development,
        "capabilities": {"drop": ["ALL"]},
    }


def scratch_volumes() -> list[Object]:
    """Return the volumes a process may write to: Ray's session folder lies in one."""
    limit = f"{_SCRATCH_MIB}Mi"
    return [{"name": name, "emptyDir": {"sizeLimit": limit}} for name in _SCRATCH]


def scratch_mounts() -> list[Object]:
    """Return where those volumes lie in a container."""
    return [{"name": name, "mountPath": path} for name, path in _SCRATCH.items()]


def policy_volumes(options: DeployOptions) -> list[Object]:
    """Return the volumes with the mesh's key and, where there are some, its policies."""
    key = {"secretName": options.mesh_key_secret, "defaultMode": 0o440}
    volumes: list[Object] = [{"name": "mesh-key", "secret": key}]
    if options.policy_files:
        volumes.append({"name": "policy", "configMap": {"name": POLICY}})
    return volumes


def policy_mounts(options: DeployOptions) -> list[Object]:
    """Return where those volumes lie in a container."""
    paths = {"mesh-key": KEY_DIR} | ({"policy": POLICY_DIR} if options.policy_files else {})
    return [{"name": name, "mountPath": path, "readOnly": True} for name, path in paths.items()]


def environment(values: Mapping[str, str]) -> list[Object]:
    """Return variables in the form of a container."""
    return [{"name": name, "value": value} for name, value in values.items()]


def secret_variable(name: str, secret: str, key: str) -> list[Object]:
    """Return one variable that a secret holds, or nothing when no secret is named."""
    if not secret:
        return []
    return [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}]


def settings_source(component: str) -> list[Object]:
    """Return the reference to the settings of a component."""
    return [{"configMapRef": {"name": f"{SETTINGS}-{component}"}}]


def digest(value: Any) -> str:
    """Return a short digest of plain data; an annotation with it restarts pods when it changes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
