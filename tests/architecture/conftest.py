"""The source tree, read once for all rules."""

import pytest
from tests.architecture.source_tree import REPOSITORY, SOURCES, SourceModule


@pytest.fixture(scope="session")
def mesh_modules() -> list[SourceModule]:
    """Every module below services/, without the generated code."""
    generated = SOURCES / "slmesh" / "api"
    return [
        SourceModule(path, SOURCES)
        for path in sorted(SOURCES.rglob("*.py"))
        if generated not in path.parents
    ]


@pytest.fixture(scope="session")
def own_modules(mesh_modules: list[SourceModule]) -> list[SourceModule]:
    """Every Python file written by hand: the mesh, its tests, its recipes and its tools."""
    folders = [REPOSITORY / name for name in ("tests", "models", "protos", "infra")]
    others = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [*mesh_modules, *(SourceModule(path, REPOSITORY) for path in others)]
