"""All objects of a deployment, in the order a cluster should take them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from slmesh.deploy.names import MESH, MODELS, ROUTER, Object, metadata, selector
from slmesh.deploy.network import network_policies
from slmesh.deploy.options import DeployOptions
from slmesh.deploy.ray_service import ray_service
from slmesh.deploy.router import router_service, router_set
from slmesh.deploy.settings_map import policy_map, settings_map
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import Manifest

__all__ = ["render", "to_yaml"]


def render(manifests: Iterable[Manifest], options: DeployOptions) -> list[Object]:
    """Return the Kubernetes objects of a mesh.

    Args:
        manifests: The services, in any order.
        options: What the deployment should look like.

    Returns:
        Plain dictionaries; the same for the same input.

    Raises:
        FailedPrecondition: There is no service, or two have the same name.
    """
    services = sorted(manifests, key=lambda manifest: manifest.name)
    if not services:
        raise FailedPrecondition("there is no service to deploy", reason="NO_SERVICES")
    counts = Counter(manifest.name for manifest in services)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise FailedPrecondition(
            f"several services are named {', '.join(repeated)}", reason="AMBIGUOUS_SERVICE"
        )
    return [
        _service_account(options),
        *(settings_map(component, options) for component in (MODELS, ROUTER)),
        *policy_map(options),
        *network_policies(options),
        ray_service(services, options),
        _disruption_budget(MODELS, {"ray.io/node-type": "worker"}, options),
        router_set(options),
        router_service(options),
        _disruption_budget(ROUTER, {}, options),
    ]


def to_yaml(objects: Sequence[Mapping[str, Any]]) -> str:
    """Return the objects as one YAML stream that `kubectl apply -f -` takes."""
    return yaml.dump_all(
        objects, Dumper=_Dumper, sort_keys=False, explicit_start=True, default_flow_style=False
    )


def _service_account(options: DeployOptions) -> Object:
    # No pod calls the Kubernetes API, so none gets a token for it.
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": MESH,
            "namespace": options.namespace,
            "labels": {"app.kubernetes.io/part-of": MESH},
        },
        "automountServiceAccountToken": False,
    }


def _disruption_budget(component: str, more: Mapping[str, str], options: DeployOptions) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(f"{MESH}-{component}", component, options),
        "spec": {
            # Not `minAvailable`: that would never let a node of a mesh with one pod be drained.
            "maxUnavailable": 1,
            "selector": {"matchLabels": {**selector(component), **more}},
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and no aliases, which people find hard to read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- the signature of PyYAML
        """Write repeated parts out."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
