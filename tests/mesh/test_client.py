"""The client in both modes, and its blocking proxy."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tests.services import settings_for, write_service

import slmesh
from slmesh.api.classify.v1 import classify_pb2 as pb
from slmesh.mesh.errors import NotFound, Unavailable


@pytest.fixture
def settings(tmp_path):
    write_service(tmp_path, "echo")
    return settings_for(tmp_path)


def test_the_public_names_are_these():
    assert slmesh.__all__ == [
        "Blocking", "Mesh", "MeshError", "RequestContext", "Settings", "__version__",
    ]  # fmt: skip
    assert all(hasattr(slmesh, name) for name in slmesh.__all__)


async def test_a_local_mesh_answers(settings):
    async with slmesh.Mesh.local(settings=settings) as mesh:
        response = await mesh.classify("echo", pb.ClassifyRequest(text="hello you"))
    assert response.labels.labels[0].name == "hello"


async def test_a_service_is_loaded_once_however_many_ask(settings):
    async with slmesh.Mesh.local(settings=settings) as mesh:
        await asyncio.gather(
            *(mesh.classify("echo", pb.ClassifyRequest(text="x")) for _ in range(20))
        )
        host = await mesh.transport.host("echo")
        assert sum(host._service.sizes) == 21  # the warm-up and the calls


async def test_an_unknown_service_is_not_found(settings):
    async with slmesh.Mesh.local(settings=settings) as mesh:
        with pytest.raises(NotFound, match="did you mean 'echo'"):
            await mesh.classify("ekho", pb.ClassifyRequest(text="x"))


async def test_a_router_that_is_not_there_is_unavailable_without_its_address():
    async with slmesh.Mesh.connect("127.0.0.1:1") as mesh:
        with pytest.raises(Unavailable) as caught:
            await mesh.classify("echo", pb.ClassifyRequest(text="x"), timeout_s=2)
    assert "127.0.0.1" not in str(caught.value)


def test_the_blocking_proxy_answers_and_raises_the_same(settings):
    with slmesh.Blocking(slmesh.Mesh.local(settings=settings)) as mesh:
        assert mesh.classify("echo", pb.ClassifyRequest(text="a b")).labels.labels[0].name == "a"
        with pytest.raises(slmesh.MeshError):
            mesh.classify("echo", pb.ClassifyRequest(text=""))


def test_the_way_to_a_local_answer_imports_no_heavy_package(settings, tmp_path):
    code = f"""
import asyncio, sys, slmesh
from pathlib import Path
from slmesh.api.classify.v1 import classify_pb2 as pb
from slmesh.mesh.settings import load_settings

async def main():
    settings = load_settings({{}}, service_path=(Path({str(tmp_path)!r}),))
    async with slmesh.Mesh.local(settings=settings) as mesh:
        await mesh.classify("echo", pb.ClassifyRequest(text="x"))

asyncio.run(main())
heavy = {{"torch", "ray", "transformers", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


async def test_a_request_of_another_kind_is_a_mistake_of_the_program(settings):
    async with slmesh.Mesh.local(settings=settings) as mesh:
        with pytest.raises(TypeError, match="Classify takes a ClassifyRequest, got str"):
            await mesh.classify("echo", "hello")
