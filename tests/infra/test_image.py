"""The image can be built from what is in the repository, and its small programs work.

There is no container engine here, so the Dockerfile is read, not run.
"""

import fnmatch
import importlib.util
import re
import shlex
import tomllib
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tests.infra.loading import load_program

from slmesh.deploy.pods import CACHE_DIR, STATE_DIR, USER_ID
from slmesh.deploy.router import COMMAND
from slmesh.mesh.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = REPOSITORY / "infra" / "images"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile."""

    keyword: str
    arguments: str


def instructions() -> list[Instruction]:
    """Read the Dockerfile: comments dropped, continued lines joined."""
    text = (IMAGES / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    pairs = [line.strip().split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(keyword, rest) for keyword, rest in pairs]


def stages() -> dict[str, list[Instruction]]:
    """Return the instructions of every stage by its name; the last is named "final"."""
    found: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for instruction in instructions():
        if instruction.keyword == "FROM":
            _, _, name = instruction.arguments.partition(" AS ")
            current = found.setdefault(name or "final", [])
        current.append(instruction)
    return found


def values(stage: str, keyword: str) -> list[str]:
    """Return the arguments of every instruction of a kind in a stage."""
    return [item.arguments for item in stages()[stage] if item.keyword == keyword]


def environment(stage: str) -> dict[str, str]:
    """Return the variables that a stage sets."""
    pairs = [pair for text in values(stage, "ENV") for pair in shlex.split(text)]
    return dict(pair.split("=", 1) for pair in pairs)


def copied_sources() -> list[str]:
    """Return every path that is copied out of the repository."""
    copies = [i.arguments for i in instructions() if i.keyword == "COPY"]
    return [
        source
        for arguments in copies
        if not arguments.startswith("--from=")
        for source in arguments.split()[:-1]
    ]


def reaches_the_builder(path: str) -> bool:
    """Return whether .dockerignore lets a path through; the last rule that matches counts."""
    allowed = True
    for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        rule = pattern.removeprefix("!")
        parents = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
        if any(fnmatch.fnmatch(parent, rule) for parent in parents):
            allowed = pattern.startswith("!")
    return allowed


def test_everything_that_is_copied_exists() -> None:
    missing = [source for source in copied_sources() if not (REPOSITORY / source).exists()]
    assert not missing


def test_everything_that_is_copied_reaches_the_builder() -> None:
    hidden = [source for source in copied_sources() if not reaches_the_builder(source)]
    assert not hidden, f".dockerignore hides {hidden}"


@pytest.mark.parametrize("path", [".git/config", ".venv/bin/python", ".slmesh/cache", "tests"])
def test_nothing_private_reaches_the_builder(path: str) -> None:
    assert not reaches_the_builder(path)


def test_every_stage_that_is_copied_from_exists_earlier() -> None:
    seen: list[str] = []
    for name, stage in stages().items():
        for item in stage:
            match = re.match(r"--from=(\S+)", item.arguments)
            if item.keyword == "COPY" and match:
                assert match.group(1) in seen, f"stage {name} copies from {match.group(1)}"
        seen.append(name)


def test_the_default_stage_is_the_one_for_production() -> None:
    assert list(stages())[-1] == "final"
    assert values("final", "FROM") == ["runtime"]


@pytest.mark.parametrize("stage", ["runtime", "development"])
def test_the_image_runs_as_the_user_the_pods_name(stage: str) -> None:
    assert values(stage, "USER")[-1] == f"{USER_ID}:{USER_ID}"


def test_the_image_and_the_pods_agree_on_folders() -> None:
    variables = environment("runtime")
    assert variables["SLMESH_CACHE_DIR"] == CACHE_DIR == environment("models")["SLMESH_CACHE_DIR"]
    assert variables["SLMESH_STATE_DIR"] == STATE_DIR


@pytest.mark.parametrize("stage", ["models", "runtime"])
def test_the_image_sets_only_settings_the_mesh_reads(stage: str) -> None:
    load_settings(environment(stage))


def test_models_are_fetched_and_compiled_at_build_time() -> None:
    assert "slmesh models fetch && slmesh models compile" in values("models", "RUN")
    assert environment("runtime")["HF_HUB_OFFLINE"] == "1"


def test_the_image_pins_the_torch_that_the_project_pins() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pins = {r for extra in project["optional-dependencies"].values() for r in extra}
    version = next(v for v in values("packages", "ARG") if v.startswith("TORCH_VERSION="))
    assert f"torch=={version.partition('=')[2]}" in pins


def test_the_image_starts_what_the_router_pods_start() -> None:
    assert values("runtime", "CMD") == [str(list(COMMAND)).replace("'", '"')]


def test_the_entry_point_of_the_image_exists() -> None:
    assert COMMAND[:2] == ("python", "-m")
    assert importlib.util.find_spec(COMMAND[2] + ".__main__")


def test_requirements_are_those_of_the_project_and_its_extras(tmp_path: Path) -> None:
    program = load_program("requirements_of")
    project = tmp_path / "pyproject.toml"
    project.write_text(
        "[project]\ndependencies=['b>=1', 'a']\n"
        "[project.optional-dependencies]\nx=['c', 'a']\ny=['d']\n"
    )
    assert program.requirements(project, ["x"]) == ["a", "b>=1", "c"]
    with pytest.raises(KeyError):
        program.requirements(project, ["z"])


def test_the_extras_of_the_image_exist() -> None:
    program = load_program("requirements_of")
    command = next(run for run in values("packages", "RUN") if "requirements_of" in run)
    extras = command.partition("pyproject.toml ")[2].partition(" >")[0].split()
    found = program.requirements(REPOSITORY / "pyproject.toml", extras)
    assert any(requirement.startswith("ray[serve]==") for requirement in found)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(health_pb2.HealthCheckResponse.SERVING, 0, id="serving"),
        pytest.param(health_pb2.HealthCheckResponse.NOT_SERVING, 1, id="not-serving"),
    ],
)
def test_the_health_check_repeats_what_the_server_says(status: int, expected: int) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    servicer.set("", status)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert load_program("check_health").main([f"127.0.0.1:{port}"]) == expected
    finally:
        server.stop(None).wait()


def test_the_health_check_fails_when_nobody_listens() -> None:
    assert load_program("check_health").main(["127.0.0.1:1"]) == 1
