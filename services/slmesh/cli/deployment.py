"""Commands for clusters: the Kubernetes manifests of this mesh."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from slmesh.deploy import DeployOptions, render, to_yaml
from slmesh.mesh.catalog import discover
from slmesh.mesh.settings import load_settings

__all__ = ["add_to"]

_DEFAULTS = DeployOptions(image="slmesh")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    deploy = typer.Typer(no_args_is_help=True, help="Kubernetes: render manifests.")
    deploy.command("render")(_render)
    deploy.callback()(lambda: None)
    app.add_typer(deploy, name="deploy")


def _render(
    image: Annotated[str, typer.Option(help="The image of all pods, with tag or digest.")],
    namespace: Annotated[str, typer.Option(help="Of all objects.")] = _DEFAULTS.namespace,
    router_replicas: Annotated[int, typer.Option(help="Pods of the router.")] = (
        _DEFAULTS.router_replicas
    ),
    router_storage: Annotated[str, typer.Option(help="Size of each router's volume.")] = (
        _DEFAULTS.router_storage
    ),
    storage_class: Annotated[str, typer.Option(help="Storage class of that volume.")] = "",
    ledger_secret: Annotated[
        str, typer.Option(help="Secret with the URL of a PostgreSQL database for decisions.")
    ] = "",
    ledger_port: Annotated[int, typer.Option(help="That database's port.")] = _DEFAULTS.ledger_port,
    tls_secret: Annotated[str, typer.Option(help="Secret with the router's certificate.")] = "",
    consul_address: Annotated[str, typer.Option(help="host:port of a Consul agent.")] = "",
    consul_secret: Annotated[str, typer.Option(help="Secret with Consul's ACL token.")] = "",
    region: Annotated[str, typer.Option(help="The region of this cluster.")] = _DEFAULTS.region,
    zone: Annotated[str, typer.Option(help="The zone of this cluster.")] = _DEFAULTS.zone,
    reasoner_base_url: Annotated[str, typer.Option(help="An OpenAI-compatible server.")] = "",
    reasoner_model: Annotated[str, typer.Option(help="The model to ask that server for.")] = "",
    reasoner_secret: Annotated[str, typer.Option(help="Secret with that server's key.")] = "",
    mesh_key_secret: Annotated[
        str, typer.Option(help="Secret with the key of the mesh, as mesh.key.")
    ] = _DEFAULTS.mesh_key_secret,
    monitoring_namespace: Annotated[str, typer.Option(help="May read metrics.")] = (
        _DEFAULTS.monitoring_namespace
    ),
    development: Annotated[
        bool, typer.Option(help="Sources can be replaced while it runs.")
    ] = False,
) -> None:
    """Print the Kubernetes manifests of every service found here, the router and the policies."""
    from slmesh.policy.policy_book import policy_files

    settings = load_settings()
    options = DeployOptions(
        image=image,
        namespace=namespace,
        router_replicas=router_replicas,
        router_storage=router_storage,
        storage_class=storage_class,
        ledger_secret=ledger_secret,
        ledger_port=ledger_port,
        tls_secret=tls_secret,
        consul_address=consul_address,
        consul_secret=consul_secret,
        region=region,
        zone=zone,
        reasoner_base_url=reasoner_base_url,
        reasoner_model=reasoner_model,
        reasoner_secret=reasoner_secret,
        mesh_key_secret=mesh_key_secret,
        policy_files=policy_files(settings),
        monitoring_namespace=monitoring_namespace,
        development=development,
    )
    manifests = discover(settings).values()
    sys.stdout.write(to_yaml(render(manifests, options)))
