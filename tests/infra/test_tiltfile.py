"""The Tiltfile is evaluated with stand-ins for Tilt's functions that note each call."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import starlark
import yaml

from slmesh.deploy import DeployOptions, render, to_yaml
from slmesh.mesh.manifest import Manifest

REPOSITORY = Path(__file__).resolve().parents[2]
TILTFILE = REPOSITORY / "Tiltfile"
NOTED = (
    "blob",
    "docker_build",
    "fall_back_on",
    "k8s_kind",
    "k8s_resource",
    "k8s_yaml",
    "local",
    "local_resource",
    "port_forward",
    "run",
    "sync",
)
PRELUDE = """
os = struct(path=struct(exists=path_exists))
TRIGGER_MODE_MANUAL = "manual"
"""
Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class Tilt:
    """What Tilt would have been asked to do.

    Attributes:
        root: The folder the Tiltfile lies in.
        rendered: What the rendering command prints.
        calls: The calls of each function, in order.
    """

    root: Path
    rendered: str
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    def evaluate(self, source: str) -> None:
        """Run a Tiltfile."""
        module = starlark.Module()
        for name in NOTED:
            module.add_callable(name, self._noting(name))
        module.add_callable("path_exists", lambda path: (self.root / path).exists())
        module.add_callable("listdir", self._listdir)
        module.add_callable("read_yaml", lambda path: yaml.safe_load(Path(path).read_text()))
        extensions = [starlark.LibraryExtension.StructType]
        available = starlark.Globals.extended_by(extensions)
        for name, text in (("prelude", PRELUDE), ("Tiltfile", source)):
            dialect = starlark.Dialect.extended()
            dialect.enable_top_level_stmt = True
            starlark.eval(module, starlark.parse(name, text, dialect), available)

    def _noting(self, name: str) -> Any:
        def noted(*arguments: Any, **named: Any) -> str:
            self.calls[name].append((arguments, named))
            return {"local": self.rendered, "blob": str(arguments[0])}.get(name, name)

        return noted

    def _listdir(self, folder: str, *, recursive: bool = False) -> list[str]:
        root = self.root / folder
        return [str(path) for path in (root.rglob("*") if recursive else root.iterdir())]


def evaluated(root: Path, manifests: list[Manifest]) -> Tilt:
    """Evaluate the project's Tiltfile over a folder of services."""
    rendered = to_yaml(render(manifests, DeployOptions(image="slmesh", development=True)))
    tilt = Tilt(root, rendered)
    tilt.evaluate(TILTFILE.read_text(encoding="utf-8"))
    return tilt


@pytest.fixture
def tilt(manifests: list[Manifest]) -> Tilt:
    """The Tiltfile, evaluated over the project's own services."""
    return evaluated(REPOSITORY, manifests)


def test_every_service_has_a_resource_that_watches_its_folder(
    tilt: Tilt, service_files: list[Path]
) -> None:
    resources = {arguments[0]: named for arguments, named in tilt.calls["local_resource"]}
    names = {yaml.safe_load(path.read_text())["name"]: path.parent for path in service_files}
    assert resources.keys() == {*names, "test"}
    for name, folder in names.items():
        assert str(folder) in resources[name]["deps"]


def test_a_new_service_appears_without_an_edit(tmp_path: Path, manifests: list[Manifest]) -> None:
    folder = tmp_path / "services" / "slmesh" / "slm" / "topics"
    folder.mkdir(parents=True)
    (folder / "service.yaml").write_text(
        "name: topics\ncontract: classify\nclass: Topics\nmodel: topics@0.1.0\n"
    )
    tilt = evaluated(tmp_path, manifests)
    resources = {arguments[0]: named for arguments, named in tilt.calls["local_resource"]}
    assert resources.keys() == {"topics", "test"}
    assert resources["topics"]["deps"] == [str(folder), "models/topics"]


def test_the_tiltfile_names_no_service(service_files: list[Path]) -> None:
    lines = TILTFILE.read_text(encoding="utf-8").splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    names = {yaml.safe_load(path.read_text())["name"] for path in service_files}
    assert not names.intersection(re.findall(r"[a-z0-9-]+", code))


def test_the_image_that_is_built_is_the_image_that_is_rendered(tilt: Tilt) -> None:
    ((image, context), build) = tilt.calls["docker_build"][0]
    command = tilt.calls["local"][0][0][0]
    assert command[1:3] == ["deploy", "render"]
    assert command[command.index("--image") + 1] == image
    assert context == "."
    assert build["target"] == "development"
    assert (REPOSITORY / build["dockerfile"]).exists()


def test_the_namespace_exists_before_its_objects(tilt: Tilt) -> None:
    (namespace,), _ = tilt.calls["k8s_yaml"][0]
    command = tilt.calls["local"][0][0][0]
    content = yaml.safe_load(namespace)
    assert content["kind"] == "Namespace"
    assert command[command.index("--namespace") + 1] == content["metadata"]["name"]


def test_what_the_builder_gets_is_what_the_dockerfile_copies(tilt: Tilt) -> None:
    _, build = tilt.calls["docker_build"][0]
    assert all((REPOSITORY / path).exists() for path in build["only"])
    assert {"services", "models", "pyproject.toml", "infra/images"} <= set(build["only"])


def test_sources_are_copied_to_where_the_image_has_them(tilt: Tilt) -> None:
    (source, target), _ = tilt.calls["sync"][0]
    dockerfile = (REPOSITORY / tilt.calls["docker_build"][0][1]["dockerfile"]).read_text()
    assert (REPOSITORY / source / "__init__.py").exists()
    assert f"chown -R 10001:10001 {target}" in dockerfile


def test_the_program_that_reloads_is_in_the_image(tilt: Tilt) -> None:
    (command,), _ = tilt.calls["run"][0]
    _, program, action = command.split()
    dockerfile = (REPOSITORY / tilt.calls["docker_build"][0][1]["dockerfile"]).read_text()
    assert f"COPY infra/images/{Path(program).name} {Path(program).parent}/" in dockerfile
    assert action == "reload"


def test_every_resource_is_an_object_that_is_rendered(
    tilt: Tilt, manifests: list[Manifest]
) -> None:
    workloads = {
        item["metadata"]["name"]
        for item in yaml.safe_load_all(tilt.rendered)
        if item["kind"] in {"StatefulSet", "RayService"}
    }
    assert {arguments[0] for arguments, _ in tilt.calls["k8s_resource"]} == workloads


def test_the_router_is_forwarded_to_its_usual_port(tilt: Tilt) -> None:
    (arguments, _) = tilt.calls["port_forward"][0]
    assert arguments == (50051, 50051)


def test_tilt_finds_the_images_of_a_ray_service(tilt: Tilt) -> None:
    (kind,), named = tilt.calls["k8s_kind"][0]
    service = next(o for o in yaml.safe_load_all(tilt.rendered) if o["kind"] == kind)
    for path in named["image_json_path"]:
        assert images_at(service, path)


def images_at(node: Any, path: str) -> list[str]:
    """Follow a path of the form {.a.b[*].c} through an object."""
    found = [node]
    for step in path.strip("{}").strip(".").split("."):
        found = [item[step.removesuffix("[*]")] for item in found]
        if step.endswith("[*]"):
            found = [element for item in found for element in item]
    return found


def test_the_tests_can_be_run_from_tilt(tilt: Tilt) -> None:
    resources = {arguments[0]: named for arguments, named in tilt.calls["local_resource"]}
    assert resources["test"]["cmd"] == ["make", "test"]
    assert resources["test"]["auto_init"] is False
