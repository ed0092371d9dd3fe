"""Commands about a mesh as a whole: start it, stop it, look at it, try it."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Annotated

import typer

from slmesh.cli.output import JsonOption, console, print_json, print_table, stderr
from slmesh.library import Mesh
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.logs import configure
from slmesh.mesh.settings import Settings, load_settings

if TYPE_CHECKING:
    from slmesh.cli.demo import Routed
    from slmesh.platform.mesh_status import MeshStatus
    from slmesh.platform.supervisor import Supervisor

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(_up)
    app.command("down")(_down)
    app.command("status")(_status)
    app.command("demo")(_demo)


def _up(
    service: Annotated[
        list[str] | None, typer.Option("--service", help="Only this service; may be repeated.")
    ] = None,
) -> None:
    """Start the mesh and keep it serving; Ctrl-C stops it."""
    _require_mesh_extra()
    from slmesh.cli.preparation import prepare
    from slmesh.cli.progress import StartDisplay
    from slmesh.platform.lifecycle import up

    settings = load_settings()
    configure(settings.log_level, settings.state_dir / "logs" / "supervisor.log")
    stderr.print("[bold]Models[/]")
    prepare(settings)
    stderr.print("[bold]Mesh[/]")
    display = StartDisplay()

    def settled(mesh: Supervisor) -> None:
        display.__exit__()
        _print_addresses(mesh)

    with display:
        up(settings, services=service, on_progress=display.show, on_settled=settled)
    stderr.print("stopped")


def _print_addresses(mesh: Supervisor) -> None:
    settings = mesh.settings
    failed = [name for name, state in mesh.services.items() if state["state"] == "failed"]
    tls = "TLS" if settings.tls_certificate else "plain text"
    console.print(
        f"\n[bold]Up[/] after {max(mesh.timings_s.values(), default=0):.1f} s.\n"
        f"  router (every contract, health, reflection; {tls})"
        f"  {settings.host}:{settings.router_port}\n"
        f"  services and reasoner directly, `application` names one  "
        f"{settings.host}:{settings.ingress_port}\n"
        f"  metrics, for Prometheus' file_sd  {mesh.state.targets_path}\n"
        f"  logs  {mesh.state.logs_dir}\n"
        'Try `slmesh ask "How do I change my PIN?"` and `slmesh status` in another terminal;'
        " Ctrl-C stops the mesh.",
        highlight=False,
        soft_wrap=True,
    )
    if failed:
        console.print(f"[red]failed[/]: {', '.join(failed)}; `slmesh status` says why")


def _down(as_json: JsonOption = False) -> None:
    """Stop the mesh of this folder, and clear what a killed one left behind."""
    from slmesh.platform.lifecycle import down

    ended = down(load_settings())
    if as_json:
        print_json({"was_up": ended.was_up, "killed": list(ended.killed), "took_s": ended.took_s})
    elif ended.was_up or ended.killed:
        left = f"; {len(ended.killed)} processes were left over" if ended.killed else ""
        console.print(f"stopped in {ended.took_s:.1f} s{left}", highlight=False)
    else:
        console.print("the mesh was not up")


def _status(as_json: JsonOption = False) -> None:
    """Show every service: state, replicas, model, requests, errors, latency."""
    from slmesh.platform.mesh_status import status

    found = status(load_settings())
    if as_json:
        print_json(found.as_json())
    else:
        _print_status(found)
    if not found.up:
        raise typer.Exit(1)


def _print_status(found: MeshStatus) -> None:
    if found.message:
        console.print(f"[yellow]{found.message}[/]", highlight=False)
    router = found.router
    print_table(
        f"router {router.address or '-'}, ingress {found.ingress}",
        ("service", "contract", "state", ">replicas", "model", "version", ">requests", ">errors",
         ">p50 ms", ">p99 ms", ">MiB"),
        [
            ("router", "route", router.state, "1" if router.state == "healthy" else "0", "", "",
             router.requests, router.errors, _ms(router.p50_ms), _ms(router.p99_ms), ""),
            *(
                (s.name, s.contract, s.state, f"{s.replicas}/{s.replicas_wanted}", s.model,
                 s.version, s.requests, s.errors, _ms(s.p50_ms), _ms(s.p99_ms),
                 f"{s.memory_mib:.0f}")
                for s in found.services
            ),
        ],
    )  # fmt: skip
    for problem in router.problems:
        console.print(f"  router: {problem}", highlight=False)
    for service in found.services:
        if service.message:
            console.print(f"  {service.name}: {service.message}", highlight=False)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _demo() -> None:
    """Start the mesh, route real messages through it, print what happened, stop it."""
    _require_mesh_extra()
    from slmesh.cli.demo import show
    from slmesh.cli.preparation import prepare
    from slmesh.cli.progress import StartDisplay
    from slmesh.platform.state import MeshState
    from slmesh.platform.supervisor import Supervisor

    settings = load_settings()
    configure(settings.log_level, settings.state_dir / "logs" / "supervisor.log")
    stderr.print("[bold]1. Models[/]: fetched weights, compiled encoders")
    prepare(settings)
    if MeshState(settings.state_dir).is_held():
        stderr.print("[bold]2. Mesh[/]: one is up already, using it and leaving it up")
        routed, seconds = _routed(settings)
        show(routed, seconds)
        return
    stderr.print("[bold]2. Mesh[/]: Ray, one application a service, the router")
    display = StartDisplay()
    with display, Supervisor(settings, on_progress=display.show):
        display.__exit__()
        stderr.print("[bold]3. Messages[/]")
        routed, seconds = _routed(settings)
        show(routed, seconds)
        stderr.print("[bold]4. Stopping[/]")
    stderr.print("Stopped; nothing is left running. `make up` keeps the mesh serving.")
    if any(row.decision is None for row in routed):
        raise typer.Exit(1)


def _routed(settings: Settings) -> tuple[list[Routed], float]:
    from slmesh.cli.demo import route_all

    async def work() -> tuple[list[Routed], float]:
        async with Mesh.connect(settings=settings) as mesh:
            return await route_all(mesh)

    return asyncio.run(work())


def _require_mesh_extra() -> None:
    if importlib.util.find_spec("ray") is None:
        raise FailedPrecondition(
            "this command runs a mesh and Ray is not installed: pip install"
            " 'slmesh[mesh,reasoner]'",
            reason="EXTRA_NOT_INSTALLED",
        )
