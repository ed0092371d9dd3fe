"""Print the requirements of a project and some of its extras, one on a line.

An image installs them in a layer of their own, so that a change of the sources does not install
them again. It knows nothing but pyproject.toml and runs before any package is installed.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def requirements(project_file: Path, extras: Sequence[str]) -> list[str]:
    """Return the requirements, each once, in alphabetical order.

    Args:
        project_file: A pyproject.toml.
        extras: Names of optional dependencies.

    Raises:
        KeyError: The project has no such extra.
    """
    project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
    optional = project.get("optional-dependencies", {})
    chosen = [*project.get("dependencies", ()), *(r for extra in extras for r in optional[extra])]
    return sorted(set(chosen))


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])) + "\n")
