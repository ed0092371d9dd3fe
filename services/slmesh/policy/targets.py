"""Where the model of a service runs, as policy sees it: told by its manifest."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.policy.question import INSIDE, Target

__all__ = ["UNKNOWN_REGION", "target_of", "targets_of"]

UNKNOWN_REGION = "unknown"
"""The region of a model outside of the mesh that declares none."""

_LOCAL_NAMES = ("localhost", "local", "internal", "svc", "cluster.local")


def targets_of(
    services: Mapping[str, Manifest], settings: Settings, *, in_process: bool = False
) -> dict[str, Target]:
    """Return the models of services as policy sees them, by service; see :func:`target_of`."""
    return {
        name: target_of(manifest, settings, in_process=in_process)
        for name, manifest in services.items()
    }


def target_of(manifest: Manifest, settings: Settings, *, in_process: bool = False) -> Target:
    """Return a service's model as policy sees it.

    Args:
        manifest: The service, with the settings laid over the reasoner's.
        settings: The settings; their region is that of models of the mesh.
        in_process: Whether services run in this process.
    """
    zone = manifest.zone or ("in-process" if in_process else "cluster")
    if not manifest.zone and manifest.contract == "reason" and _is_foreign(manifest):
        zone = "external"
    region = manifest.region or (settings.region if zone in INSIDE else UNKNOWN_REGION)
    model = str(manifest.options.get("model") or manifest.model)
    return Target(manifest.name, manifest.contract, zone, region, manifest.purpose, model)


def _is_foreign(manifest: Manifest) -> bool:
    base_url = str(manifest.options.get("base_url") or "")
    if not base_url:
        return manifest.options.get("engine") == "openai"  # the vendor's own address
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        single_label = bool(host) and "." not in host
        return not (single_label or host.endswith(tuple(f".{name}" for name in _LOCAL_NAMES)))
    return not (address.is_private or address.is_loopback or address.is_link_local)
