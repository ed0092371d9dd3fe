"""Who may import whom: the runtime knows no service, and services meet only through the wire."""

from tests.architecture.source_tree import SourceModule, is_within

from slmesh.mesh.catalog import discover
from slmesh.mesh.settings import Settings

SHARED = ("slmesh.api", "slmesh.mesh")
PARTS = (
    "slmesh.tiers",
    "slmesh.recognise",
    "slmesh.weights",
    "slmesh.discovery",
    "slmesh.policy",
    "slmesh.ledger",
    "slmesh.budgets",
)
"""Packages below the services: model parts, how instances are found, and what a mesh keeps."""
OTHER_SERVICES = ("slmesh.router", "slmesh.reasoner")
DOMAIN_FOLDERS = (
    "slmesh.tiers",
    "slmesh.recognise",
    "slmesh.slm",
    "slmesh.policy",
    "slmesh.budgets",
)
DOMAIN_NAMES = {
    "answer",
    "budget",
    "calibration",
    "cascade",
    "condition",
    "conditions",
    "cost",
    "flow",
    "flows",
    "parity",
    "policy",
    "prompt",
    "templates",
    "thresholds",
}
"""Modules of these names decide something, wherever they lie; so they must run without a server."""
EDGES = ("grpc", "grpc_status", "grpc_health", "grpc_reflection", "ray")


def service_of(name: str) -> str | None:
    """Return the service a module belongs to, "slmesh.slm.intent", or None."""
    parts = name.split(".")
    if parts[:2] == ["slmesh", "slm"] and len(parts) > 2:
        return ".".join(parts[:3])
    return next((service for service in OTHER_SERVICES if is_within(name, service)), None)


def offences(module: SourceModule, allowed: tuple[str, ...]) -> list[str]:
    """Return what a module imports from the mesh beyond the packages it may import."""
    return [
        f"{module.place}:{line} imports {name}"
        for name, line in module.imports()
        if is_within(name, "slmesh")
        and name.count(".")
        and not is_within(name, *allowed)
        # `from slmesh import __version__` names no module
        and not name.startswith("slmesh.__")
    ]


def test_the_runtime_imports_no_service(mesh_modules: list[SourceModule]) -> None:
    found = [
        offence
        for module in mesh_modules
        if is_within(module.name, "slmesh.mesh")
        for offence in offences(module, SHARED)
    ]
    assert not found, "slmesh.mesh may import slmesh.api only:\n" + "\n".join(found)


def test_model_parts_import_no_service(mesh_modules: list[SourceModule]) -> None:
    found = [
        offence
        for module in mesh_modules
        if is_within(module.name, *PARTS)
        for offence in offences(module, (*SHARED, *PARTS))
    ]
    assert not found, "a part may import slmesh.api, slmesh.mesh and parts:\n" + "\n".join(found)


def test_services_meet_only_through_contracts(mesh_modules: list[SourceModule]) -> None:
    found = [
        offence
        for module in mesh_modules
        if (service := service_of(module.name))
        for offence in offences(module, (*SHARED, *PARTS, service))
    ]
    assert not found, (
        "a service may import slmesh.api, slmesh.mesh, model parts and itself:\n" + "\n".join(found)
    )


def is_domain(module: SourceModule) -> bool:
    """Return whether a module decides something and must not know how requests arrive."""
    return is_within(module.name, *DOMAIN_FOLDERS) or module.path.stem in DOMAIN_NAMES


def test_domain_code_imports_neither_ray_nor_grpc(mesh_modules: list[SourceModule]) -> None:
    found = [
        f"{module.place}:{line} imports {name}"
        for module in mesh_modules
        if is_domain(module)
        for name, line in module.imports()
        if is_within(name, *EDGES) or name.split(".")[-1].endswith("_pb2_grpc")
    ]
    assert not found, "domain code must run without Ray and grpc:\n" + "\n".join(found)


def test_only_the_edge_imports_ray(mesh_modules: list[SourceModule]) -> None:
    edges = ("slmesh.platform", "slmesh.mesh.serve", "slmesh.bench")
    found = [
        f"{module.place}:{line} imports {name}"
        for module in mesh_modules
        if not is_within(module.name, *edges)
        for name, line in module.imports()
        if is_within(name, "ray")
    ]
    assert not found, f"only {', '.join(edges)} may know Ray:\n" + "\n".join(found)


def test_the_rules_see_every_service_the_mesh_finds(mesh_modules: list[SourceModule]) -> None:
    found = discover(Settings(service_path=())).values()
    seen = {m.path.parent: service_of(m.name) for m in mesh_modules}
    assert all(seen[manifest.folder] for manifest in found)
