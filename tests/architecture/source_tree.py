"""A Python file of the repository, with its import name and its syntax tree."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "services"


@dataclass(frozen=True)
class SourceModule:
    """One Python file of the mesh.

    Attributes:
        path: The file.
        root: The folder its import name starts from.
    """

    path: Path
    root: Path

    @property
    def place(self) -> str:
        """The path as a reader of the repository knows it."""
        inside = self.path.is_relative_to(REPOSITORY)
        return (self.path.relative_to(REPOSITORY) if inside else self.path).as_posix()

    @property
    def name(self) -> str:
        """The import name, "slmesh.mesh.errors"."""
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> tuple[str, ...]:
        """The parts of the name of the package that relative imports start from."""
        parts = tuple(self.name.split("."))
        return parts if self.path.name == "__init__.py" else parts[:-1]

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.path.read_text(encoding="utf-8"), filename=self.place)

    def imports(self) -> Iterator[tuple[str, int]]:
        """Yield every name that is imported anywhere in the module, and its line.

        `from a.b import c` yields "a.b.c", because c may be a module.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    above = self.package[: len(self.package) - node.level + 1]
                    base = ".".join((*above, *([node.module] if node.module else [])))
                yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def is_within(name: str, *packages: str) -> bool:
    """Return whether a module is one of the packages or lies below one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)
