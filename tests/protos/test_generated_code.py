"""The committed Python code of the contracts is what the contracts generate today."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COMMITTED = REPOSITORY / "services" / "slmesh" / "api"
ADVICE = "run `python protos/generate.py` and commit what it writes under services/slmesh/api"


def python_files(root: Path) -> dict[str, bytes]:
    """Read all Python and stub files under a folder, by relative path."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*.py*"))
        if path.suffix in {".py", ".pyi"}
    }


def test_the_committed_code_is_fresh(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(REPOSITORY / "protos" / "generate.py"), str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    generated = python_files(tmp_path / "slmesh" / "api")
    committed = python_files(COMMITTED)
    assert generated.keys() == committed.keys(), ADVICE
    stale = [name for name, content in generated.items() if committed[name] != content]
    assert not stale, f"stale: {', '.join(stale)}; {ADVICE}"


def test_every_contract_has_generated_code() -> None:
    protos = REPOSITORY / "protos" / "slmesh" / "api"
    missing = [
        proto.relative_to(protos).as_posix()
        for proto in protos.rglob("*.proto")
        if not (COMMITTED / proto.relative_to(protos).parent / f"{proto.stem}_pb2.py").exists()
    ]
    assert not missing, f"no code for {missing}; {ADVICE}"
