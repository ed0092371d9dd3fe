"""Generate the Python code of the contracts into a source root (default: ``services``).

Run with the oldest grpcio-tools that pyproject.toml allows (the ``dev`` extra pins it), because
generated code works with the protobuf runtime that made it and with newer ones, never with older.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent


def generate(destination: Path) -> list[Path]:
    """Write ``*_pb2.py``, ``*_pb2.pyi`` and ``*_pb2_grpc.py`` for every contract.

    Args:
        destination: The source root; code lands in ``destination/slmesh/api``.

    Returns:
        The package folders that were written.

    Raises:
        SystemExit: A contract does not compile; protoc has printed why.
    """
    sources = sorted(PROTOS.glob("slmesh/**/*.proto"))
    arguments = [
        "protoc",
        f"--proto_path={PROTOS}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--python_out={destination}",
        f"--pyi_out={destination}",
    ]
    with_service = [source for source in sources if "\nservice " in source.read_text()]
    for extra, chosen in (([], sources), ([f"--grpc_python_out={destination}"], with_service)):
        if protoc.main([*arguments, *extra, *map(str, chosen)]) != 0:
            raise SystemExit("protoc failed; its message stands above")
    root = destination / "slmesh" / "api"
    packages = {root, *(p.parent for p in root.rglob("*_pb2.py"))}
    packages |= {package.parent for package in packages if package != root}
    for package in packages:
        (package / "__init__.py").touch()
    return sorted(packages)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PROTOS.parent / "services"
    target.mkdir(parents=True, exist_ok=True)
    print(f"{len(generate(target))} packages written under {target / 'slmesh' / 'api'}")
