"""The settings of the pods, as one ConfigMap for each component.

Names and meanings are those of `slmesh.mesh.settings`. Secrets are never in it: a container takes
them from a Secret by name.
"""

from __future__ import annotations

from slmesh.deploy.names import (
    INGRESS_PORT,
    MODELS_SERVICE,
    POLICY,
    ROUTER,
    ROUTER_METRICS_PORT,
    ROUTER_PORT,
    SETTINGS,
    Object,
    metadata,
)
from slmesh.deploy.options import DeployOptions
from slmesh.deploy.pods import CACHE_DIR, KEY_DIR, POLICY_DIR, STATE_DIR

__all__ = ["TLS_DIR", "policy_map", "settings_map", "settings_of"]

TLS_DIR = "/etc/slmesh/tls"
"""Where the router's certificate is mounted."""


def settings_map(component: str, options: DeployOptions) -> Object:
    """Return the ConfigMap of a component."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(f"{SETTINGS}-{component}", component, options),
        "data": settings_of(component, options),
    }


def policy_map(options: DeployOptions) -> list[Object]:
    """Return the ConfigMap with the policies, or nothing when only the shipped ones hold."""
    if not options.policy_files:
        return []
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(POLICY, POLICY, options),
            "data": dict(sorted(options.policy_files.items())),
        }
    ]


def settings_of(component: str, options: DeployOptions) -> dict[str, str]:
    """Return the environment variables of a component, without secrets."""
    shared = {
        "SLMESH_STATE_DIR": STATE_DIR,
        "SLMESH_CACHE_DIR": CACHE_DIR,
        "SLMESH_METRICS_HOST": "0.0.0.0",  # the network policy says who may read
        "SLMESH_REGION": options.region,
        "SLMESH_ZONE": options.zone,
        "SLMESH_MESH_KEY": f"{KEY_DIR}/mesh.key",
        # both sides of a call decide about it, so both must know where the reasoner is
        **_reasoner_settings(options),
    }
    if options.policy_files:
        shared["SLMESH_POLICY_PATH"] = POLICY_DIR
    return shared | (_router_settings(options) if component == ROUTER else {})


def _router_settings(options: DeployOptions) -> dict[str, str]:
    settings = {
        "SLMESH_HOST": "0.0.0.0",  # the network policy says who may call
        "SLMESH_ROUTER_PORT": str(ROUTER_PORT),
        "SLMESH_METRICS_PORT": str(ROUTER_METRICS_PORT),
        "SLMESH_INGRESS_ADDRESS": f"{MODELS_SERVICE}.{options.namespace}.svc:{INGRESS_PORT}",
    }
    if options.consul_address:
        settings["SLMESH_DISCOVERY"] = "consul"
        settings["SLMESH_CONSUL_ADDRESS"] = options.consul_address
    if options.tls_secret:
        settings["SLMESH_TLS_CERTIFICATE"] = f"{TLS_DIR}/tls.crt"
        settings["SLMESH_TLS_KEY"] = f"{TLS_DIR}/tls.key"
    return settings


def _reasoner_settings(options: DeployOptions) -> dict[str, str]:
    if not options.reasoner_base_url:
        return {}
    settings = {
        "SLMESH_REASONER_ENGINE": "openai",
        "SLMESH_REASONER_BASE_URL": options.reasoner_base_url,
    }
    if options.reasoner_model:
        settings["SLMESH_REASONER_MODEL"] = options.reasoner_model
    return settings
