"""What the mesh relies on in Ray Serve, seen in 2.60: when one of these fails, read the design again.

Serve runs here without the mesh, beside the mesh of the session and on paths of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.platform.ray_facts import DETAILS
from tests.ports import free_ports

from slmesh.mesh.settings import Settings, child_environment
from slmesh.platform.ports import pick_serve_ports
from slmesh.platform.processes import end_processes
from slmesh.platform.serve_flags import cluster_environment

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Serve with HAProxy and applications of its own."""
    port, http_port = free_ports(2)
    settings = Settings(ingress_port=port)
    with tempfile.TemporaryDirectory(prefix="slmesh-f-", dir="/tmp") as folder:
        flags = cluster_environment(settings, pick_serve_ports(), Path(folder), haproxy=True)
        paths = f"{REPOSITORY}:{REPOSITORY / 'services'}"
        environment = child_environment(settings, flags | {"PYTHONPATH": paths})
        command = [sys.executable, "-m", "tests.platform.ray_facts", folder, str(port)]
        log_path = tmp_path_factory.mktemp("facts") / "log"
        with log_path.open("w") as log:
            process = subprocess.Popen(
                [*command, str(http_port)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            line = process.stdout.readline()
            assert line, log_path.read_text()[-3000:]
            yield json.loads(line) | {"address": f"127.0.0.1:{port}", "folder": Path(folder)}
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            end_processes(process.pid, grace_s=1)
            process.wait()
            process.stdout.close()


@pytest.fixture
async def channel(serve: dict[str, Any]) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to that Serve."""
    async with grpc.aio.insecure_channel(serve["address"]) as opened:
        yield opened


def call(channel, method: str, payload: bytes = b"x", app: str | None = "open", **options):
    metadata = (("application", app),) if app else ()
    return channel.unary_unary(method)(
        payload, metadata=metadata, timeout=options.get("timeout", 10)
    )


async def failure(made) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """Return the code, text and trailing metadata of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await made
    error = caught.value
    return error.code(), error.details(), dict(error.trailing_metadata() or ())


def test_this_is_the_ray_that_was_looked_at():
    assert version("ray").startswith("2.60.")


@pytest.fixture(scope="module")
def source() -> str:
    """The source of Serve's constants and of what reads flags of its own."""
    spec = importlib.util.find_spec("ray")  # found, not imported: it warns
    folder = Path(spec.origin).parent / "serve" / "_private"
    return "".join(path.read_text() for path in folder.glob("*.py"))


def test_every_flag_we_set_is_one_that_serve_reads(source):
    flags = cluster_environment(Settings(), pick_serve_ports(), Path("/x"), haproxy=True)
    ours = {name for name in flags if name.startswith("RAY_SERVE_")}
    assert {name for name in ours if f'"{name}"' not in source} == set()


def test_a_proxy_has_5_seconds_to_be_ready_unless_told_otherwise(source):
    assert re.search(r'"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", 5\.0', source)


async def test_a_request_without_a_deserialiser_arrives_as_bytes(channel):
    assert await call(channel, "/test.Facts/Plain", b"\xff\xfe") == b"\xff\xfe"


async def test_the_application_key_picks_the_application(channel):
    assert await call(channel, "/test.Facts/Plain", app="narrow") == b"x"


@pytest.mark.parametrize("app", ["nobody", None])
async def test_an_unknown_application_is_not_found_without_details(channel, app):
    code, text, trailing = await failure(call(channel, "/test.Facts/Plain", app=app))
    assert (code, DETAILS in trailing) == (grpc.StatusCode.NOT_FOUND, False)
    assert "ListApplications" in text


async def test_an_application_without_a_route_prefix_cannot_be_reached(channel):
    code, _, _ = await failure(call(channel, "/test.Facts/Plain", app="hidden"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_two_applications_cannot_have_one_route_prefix(serve):
    assert "Prefix /open is being used" in serve["same_prefix"]


async def test_the_list_of_services_is_frozen_when_serve_first_starts(channel):
    code, _, _ = await failure(call(channel, "/test.Late/Plain"))
    assert code == grpc.StatusCode.UNIMPLEMENTED


async def test_a_method_is_found_by_its_bare_name(channel):
    assert await call(channel, "/test.Twin/Plain", b"same method") == b"same method"


async def test_status_and_trailing_metadata_arrive_when_the_method_returns(channel):
    code, text, trailing = await failure(call(channel, "/test.Facts/Returns"))
    assert (code, text) == (grpc.StatusCode.FAILED_PRECONDITION, "set and returned")
    assert trailing[DETAILS] == b"details"


async def test_a_raised_exception_leaks_its_text_and_drops_the_details(channel):
    code, text, trailing = await failure(call(channel, "/test.Facts/Raises"))
    assert (code, DETAILS in trailing) == (grpc.StatusCode.INTERNAL, False)
    assert "a secret from the inside" in text


async def test_a_deadline_arrives_as_a_cancellation_without_its_value(channel, serve):
    code, _, _ = await failure(call(channel, "/test.Facts/Slow", b"deadline", timeout=2))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    seen = await mark_of(serve["folder"] / "deadline")
    assert seen["time_remaining"] is False
    assert "grpc-timeout" not in seen["keys"]


async def test_a_cancelled_call_arrives_as_a_cancellation(channel, serve):
    made = call(channel, "/test.Facts/Slow", b"cancelled")
    await mark_of(serve["folder"] / "cancelled.begun")
    made.cancel()
    await mark_of(serve["folder"] / "cancelled")


async def mark_of(path: Path) -> dict[str, Any]:
    """Return what a method has written about its cancellation."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return json.loads(path.read_text())


async def test_a_full_queue_of_serve_is_resource_exhausted_without_details(channel):
    calls = [call(channel, "/test.Facts/Slow", b"full", app="narrow", timeout=90) for _ in range(5)]
    deadline = time.monotonic() + 60
    while sum(made.done() for made in calls) < 3 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    refused = [made for made in calls if made.done()]
    codes = {await made.code() for made in refused}
    for made in calls:
        made.cancel()
    assert (len(refused), codes) == (3, {grpc.StatusCode.RESOURCE_EXHAUSTED})
    trailing = [dict(await made.trailing_metadata()) for made in refused]
    assert all(DETAILS not in metadata for metadata in trailing)


async def test_both_directions_stream(channel):
    stream = channel.stream_stream("/test.Facts/Both")(metadata=(("application", "open"),))
    answers = []
    for word in (b"one", b"two"):
        await stream.write(word)
        answers.append(await stream.read())  # the answer comes before the next request goes
    await stream.done_writing()
    assert answers == [b"ONE", b"TWO"]


async def test_reflection_names_what_was_registered(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    made = stub.ServerReflectionInfo(iter([asked]), metadata=(("application", "open"),))
    answer = await made.read()
    made.cancel()
    names = {service.name for service in answer.list_services_response.service}
    assert {"test.Facts", "test.Twin"} <= names
