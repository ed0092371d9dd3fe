"""Manifests to render: the mesh as it is, and one made up to reach every branch."""

from pathlib import Path

import pytest

from slmesh.mesh.catalog import discover
from slmesh.mesh.manifest import Manifest, load_manifest
from slmesh.mesh.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def service_files() -> list[Path]:
    """The manifest of every service of the mesh."""
    found = discover(Settings(service_path=())).values()
    return [manifest.folder / "service.yaml" for manifest in found]


@pytest.fixture(scope="session")
def real_manifests(service_files: list[Path]) -> list[Manifest]:
    """Every service of the mesh."""
    return [load_manifest(path) for path in service_files]


@pytest.fixture(scope="session")
def manifests() -> list[Manifest]:
    """A mesh of three services: a plain one, one with two replicas and a slow, large one."""
    return [
        Manifest(name="intent", contract="classify", class_name="Intent"),
        Manifest(name="guard", contract="guard", class_name="Guard", replicas=2, cpus=0.5),
        Manifest(
            name="reasoner",
            contract="reason",
            class_name="Reasoner",
            cpus=1,
            threads=2,
            memory_mib=1500,
            max_queue_items=16,
            timeout_ms=90_000,
        ),
    ]
