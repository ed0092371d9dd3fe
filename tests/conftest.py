"""What every test may ask for: the one real mesh of the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.running_mesh import RunningMesh, run_mesh


@pytest.fixture(scope="session")
def running_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """Run the mesh; it is up when the first test that asks for it starts."""
    with run_mesh(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh
