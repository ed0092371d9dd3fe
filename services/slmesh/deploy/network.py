"""Who may talk to whom: everything that is not listed here is refused, in and out.

Text that passes the router may hold personal data, so a pod that was taken over must not be able to
send it anywhere.
"""

from __future__ import annotations

from slmesh.deploy.names import (
    DASHBOARD_PORT,
    HAPROXY_METRICS_PORT,
    HTTP_PORT,
    INGRESS_PORT,
    MESH,
    MODELS,
    RAY_METRICS_PORT,
    ROUTER,
    ROUTER_METRICS_PORT,
    ROUTER_PORT,
    Object,
    metadata,
    selector,
)
from slmesh.deploy.options import DeployOptions

__all__ = ["network_policies"]

_OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}


def network_policies(options: DeployOptions) -> list[Object]:
    """Return one policy for each component."""
    return [_router_policy(options), _models_policy(options)]


def _router_policy(options: DeployOptions) -> Object:
    egress = [_dns(), {"to": [_pods(MODELS)], "ports": _ports(INGRESS_PORT)}]
    if options.consul_address:
        egress.append({"ports": _ports(int(options.consul_address.rpartition(":")[2]))})
    if options.ledger_secret:
        egress.append({"ports": _ports(options.ledger_port)})
    ingress = [
        # Any pod of the cluster may call the router; who may do what is the router's decision.
        {"from": [{"namespaceSelector": {}}], "ports": _ports(ROUTER_PORT)},
        {"from": [_monitoring(options)], "ports": _ports(ROUTER_METRICS_PORT)},
    ]
    return _policy(ROUTER, ingress, egress, options)


def _models_policy(options: DeployOptions) -> Object:
    ingress = [
        # Ray's processes find free ports for themselves, so nodes of the cluster are not limited.
        {"from": [_pods(MODELS)]},
        {"from": [_pods(ROUTER)], "ports": _ports(INGRESS_PORT)},
        {"from": [_operator()], "ports": _ports(DASHBOARD_PORT, HTTP_PORT)},
        {
            "from": [_monitoring(options)],
            "ports": _ports(RAY_METRICS_PORT, HAPROXY_METRICS_PORT),
        },
    ]
    egress = [_dns(), {"to": [_pods(MODELS)]}]
    if options.reasoner_base_url:
        egress.append({"ports": _ports(_port_of(options.reasoner_base_url))})
    return _policy(MODELS, ingress, egress, options)


def _policy(
    component: str, ingress: list[Object], egress: list[Object], options: DeployOptions
) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"{MESH}-{component}", component, options),
        "spec": {
            "podSelector": {"matchLabels": selector(component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _ports(*numbers: int) -> list[Object]:
    return [{"protocol": "TCP", "port": number} for number in numbers]


def _pods(component: str) -> Object:
    return {"podSelector": {"matchLabels": selector(component)}}


def _operator() -> Object:
    return {"namespaceSelector": {}, "podSelector": {"matchLabels": _OPERATOR}}


def _monitoring(options: DeployOptions) -> Object:
    namespace = {"kubernetes.io/metadata.name": options.monitoring_namespace}
    return {"namespaceSelector": {"matchLabels": namespace}}


def _dns() -> Object:
    return {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def _port_of(url: str) -> int:
    scheme, _, rest = url.partition("://")
    _, colon, port = rest.partition("/")[0].rpartition(":")
    return int(port) if colon and port.isdigit() else {"http": 80}.get(scheme, 443)
