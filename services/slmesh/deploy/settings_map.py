"""The settings of the pods, as one ConfigMap for each component.

Names and meanings are those of `slmesh.mesh.settings`. Secrets are never in it: a container takes
them from a Secret by name.
"""

from __future__ import annotations

from slmesh.deploy.names import (
    INGRESS_PORT,
    MODELS,
    MODELS_SERVICE,
    ROUTER,
    ROUTER_METRICS_PORT,
    ROUTER_PORT,
    SETTINGS,
    Object,
    metadata,
)
from slmesh.deploy.options import DeployOptions
from slmesh.deploy.pods import CACHE_DIR, STATE_DIR

__all__ = ["TLS_DIR", "settings_map", "settings_of"]

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


def settings_of(component: str, options: DeployOptions) -> dict[str, str]:
    """Return the environment variables of a component, without secrets."""
    shared = {
        "SLMESH_STATE_DIR": STATE_DIR,
        "SLMESH_CACHE_DIR": CACHE_DIR,
        "SLMESH_METRICS_HOST": "0.0.0.0",  # the network policy says who may read
        "SLMESH_REGION": options.region,
        "SLMESH_ZONE": options.zone,
    }
    own = {ROUTER: _router_settings, MODELS: _models_settings}[component]
    return shared | own(options)


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


def _models_settings(options: DeployOptions) -> dict[str, str]:
    if not options.reasoner_base_url:
        return {}
    settings = {
        "SLMESH_REASONER_ENGINE": "openai",
        "SLMESH_REASONER_BASE_URL": options.reasoner_base_url,
    }
    if options.reasoner_model:
        settings["SLMESH_REASONER_MODEL"] = options.reasoner_model
    return settings
