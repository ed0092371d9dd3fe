"""A replica as Ray Serve holds it, without Ray: what it answers, and how it fails to load."""

from __future__ import annotations

import asyncio
import json
import logging

import grpc
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2
from tests.services import write_service

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.score.v1 import score_pb2
from slmesh.mesh import serve
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import FailedPrecondition, PermissionDenied
from slmesh.mesh.replica_record import failures, read_records
from slmesh.mesh.serve import Replica, add_contracts_to_server, service_rpcs
from slmesh.mesh.wire import DETAILS_KEY

FLAKY = '''
"""Loads when a file says so."""
import pathlib
from slmesh.mesh.errors import FailedPrecondition

class Flaky:
    """Needs a file."""

    def load(self, resources):
        if not pathlib.Path(resources.manifest.options["file"]).exists():
            raise FailedPrecondition("the model is not compiled", reason="MODEL_NOT_COMPILED")

    def answer(self, requests):
        from slmesh.api.classify.v1 import classify_pb2
        return [classify_pb2.ClassifyResponse() for _ in requests]
'''


class Context:
    """What Serve gives a method beside the request."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata
        self.code = None
        self.details = ""
        self.trailing: dict[str, bytes] = {}

    def invocation_metadata(self):
        return self._metadata

    def set_code(self, code):
        self.code = code

    def set_details(self, details):
        self.details = details

    def set_trailing_metadata(self, metadata):
        self.trailing = dict(metadata)


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The state folder of replicas in this process."""
    monkeypatch.setenv("SLMESH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SLMESH_SERVICE_PATH", str(tmp_path))
    logger = logging.getLogger("slmesh")
    before = (logger.handlers[:], logger.level, logger.propagate)
    write_service(tmp_path, "echo")
    write_service(tmp_path, "flaky", FLAKY, "Flaky", options=f"{{file: {tmp_path / 'compiled'}}}")
    yield tmp_path / "state"
    for handler in logger.handlers:
        if handler not in before[0]:
            handler.close()
    logger.handlers[:], logger.level, logger.propagate = before


async def open_replica(service: str, *gate) -> Replica:
    """Make a replica as Serve does."""
    replica = Replica.__new__(Replica)
    await replica.__init__(service, *gate)
    return replica


@pytest.fixture
async def replica(state):
    opened = await open_replica("echo")
    yield opened
    await close(opened)


async def close(replica: Replica) -> None:
    """Let a replica go as Serve does."""
    await replica.__del__()
    for handler in logging.getLogger("slmesh").handlers:
        handler.close()


def text(value: str) -> bytes:
    return classify_pb2.ClassifyRequest(text=value).SerializeToString()


async def test_a_replica_answers_with_something_that_serialises_itself(replica):
    context = Context()
    answer = await replica.Classify(text("hello"), context)
    response = classify_pb2.ClassifyResponse.FromString(answer.SerializeToString())
    assert (response.labels.labels[0].name, context.code) == ("hello", None)


async def test_an_error_is_set_and_not_raised(replica):
    context = Context()
    answer = await replica.Classify(text(""), context)
    status = status_pb2.Status.FromString(context.trailing[DETAILS_KEY])
    assert answer.SerializeToString() == b""
    assert context.code == grpc.StatusCode.INVALID_ARGUMENT
    assert (context.details, len(status.details)) == (status.message, 2)


async def test_an_unexpected_exception_shows_nothing_but_an_id(replica):
    context = Context()
    await replica.Classify(text("crash"), context)
    assert context.code == grpc.StatusCode.INTERNAL
    assert context.details.startswith("internal error ")
    assert "passwd" not in str(context.trailing)


def test_a_replica_has_a_method_for_every_rpc_of_every_service():
    names = {rpc.name for rpc in rpcs().values() if rpc.contract != "route"}
    assert {rpc.name for rpc in service_rpcs()} == names
    assert all(callable(getattr(Replica, name)) for name in names)


async def test_another_contracts_rpc_is_unimplemented(replica):
    context = Context()
    await replica.Score(score_pb2.ScoreRequest(text="x").SerializeToString(), context)
    assert context.code == grpc.StatusCode.UNIMPLEMENTED


async def test_another_contracts_stream_is_unimplemented(replica):
    context = Context()
    assert [event async for event in replica.Reason(b"", context)] == []
    assert context.code == grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_for_another_service_is_not_answered(replica):
    context = Context(("application", "nobody"))
    await replica.Classify(text("hello"), context)
    assert (context.code, context.details) == (
        grpc.StatusCode.NOT_FOUND, "service 'nobody' is not deployed",
    )  # fmt: skip


async def test_a_cancelled_call_is_cancelled_inside(replica, state):
    task = asyncio.create_task(replica.Classify(text("sleep 0.2"), Context()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_deadline_is_taken_from_our_own_key(replica):
    context = Context(("slmesh-timeout-ms", "50"))
    await replica.Classify(text("sleep 0.2"), context)
    assert context.code == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_ready_replica_is_healthy(replica):
    answer = await replica.Check(health_pb2.HealthCheckRequest().SerializeToString(), Context())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    replica.check_health()


async def test_a_replica_tells_where_it_is(replica, state):
    (record,) = read_records(state)
    assert (record.service, record.contract) == ("echo", "classify")
    assert record.metrics_address.startswith("127.0.0.1:")


async def test_a_closed_replica_leaves_no_file(state):
    await close(await open_replica("echo"))
    assert read_records(state) == []


async def test_a_service_that_never_ran_is_refused_with_its_reason(state):
    with pytest.raises(RuntimeError, match="the model is not compiled"):
        await open_replica("flaky")
    why = failures(state)["flaky"]
    assert (why["reason"], why["attempts"]) == ("MODEL_NOT_COMPILED", 1)


@pytest.fixture
async def ailing(state, tmp_path, monkeypatch):
    """A replica of a service that has run before and does not load now."""
    (tmp_path / "compiled").touch()
    await close(await open_replica("flaky"))
    (tmp_path / "compiled").unlink()
    monkeypatch.setattr(serve, "FIRST_RETRY_S", 0.05)
    opened = await open_replica("flaky")
    yield opened
    await close(opened)


async def test_a_service_that_has_run_before_stays_and_says_why(ailing, state):
    context = Context()
    await ailing.Classify(text("hello"), context)
    assert (context.code, context.details) == (
        grpc.StatusCode.FAILED_PRECONDITION, "the model is not compiled",
    )  # fmt: skip
    ailing.check_health()  # or Serve would start one after the other
    answer = await ailing.Check(b"", Context())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_service_that_stays_loads_again_by_itself(ailing, state, tmp_path):
    (tmp_path / "compiled").touch()
    for _ in range(100):
        await asyncio.sleep(0.02)
        if not failures(state):
            break
    context = Context()
    await ailing.Classify(text("hello"), context)
    assert (context.code, failures(state)) == (None, {})


class Server:
    """Serve's server, as far as a function that registers services sees it."""

    def __init__(self) -> None:
        self.methods: dict[str, grpc.RpcMethodHandler] = {}

    def add_generic_rpc_handlers(self, handlers):
        self.methods |= handlers[0]._method_handlers


class Servicer:
    """Has every method."""

    def __getattr__(self, name):
        return lambda *_: None


def test_one_function_registers_every_contract_and_the_health_check():
    server = Server()
    add_contracts_to_server(Servicer(), server)
    paths = {rpc.path for rpc in service_rpcs()} | {"/grpc.health.v1.Health/Check"}
    assert set(server.methods) == paths


def test_requests_are_registered_to_stay_bytes():
    server = Server()
    add_contracts_to_server(Servicer(), server)
    assert {handler.request_deserializer for handler in server.methods.values()} == {None}


def test_no_contract_has_a_method_of_the_health_service():
    assert {"Check", "Watch"}.isdisjoint(rpcs())


def test_a_record_is_json(replica, state):
    path = next((state / "run" / "replicas").glob("echo-*.json"))
    assert json.loads(path.read_text())["service"] == "echo"


class ClosedGate:
    """Denies every call that arrives."""

    def __init__(self):
        self.following = False

    async def start(self, metrics):
        self.following = True

    async def close(self):
        self.following = False

    def arrival(self, service):
        def admit(context):
            raise PermissionDenied("no", reason="POLICY_DENIED", metadata={"service": service})

        return admit


async def test_a_replica_asks_its_gate_before_its_model(state):
    gate = ClosedGate()
    replica = await open_replica("echo", lambda settings, services: gate)
    try:
        assert gate.following
        context = Context()
        rpc = rpcs()["Classify"]
        request = classify_pb2.ClassifyRequest(text="hello")
        await replica.unary(rpc, request.SerializeToString(), context)
        assert context.code == grpc.StatusCode.PERMISSION_DENIED
        assert replica._host._service.sizes == [1]  # the warm-up's
    finally:
        await close(replica)
    assert not gate.following


async def test_a_replica_does_not_serve_without_a_policy_it_can_read(state):
    def broken(settings, services):
        raise FailedPrecondition("x.cedar:3: not a policy", reason="INVALID_POLICY")

    with pytest.raises(RuntimeError, match=r"x\.cedar:3"):
        await open_replica("echo", broken)


async def test_a_replica_that_has_run_waits_for_a_policy_it_can_read(state, monkeypatch):
    replica = await open_replica("echo")
    await close(replica)
    monkeypatch.setattr(serve, "FIRST_RETRY_S", 0.01)
    problems = [FailedPrecondition("x.cedar:3: not a policy", reason="INVALID_POLICY")]

    def mended(settings, services):
        if problems:
            raise problems.pop()

    replica = await open_replica("echo", mended)
    try:
        rpc, request = rpcs()["Classify"], classify_pb2.ClassifyRequest(text="hello")
        context = Context()
        await replica.unary(rpc, request.SerializeToString(), context)
        assert context.code == grpc.StatusCode.FAILED_PRECONDITION
        async with asyncio.timeout(5):
            while replica._problem is not None:
                await asyncio.sleep(0.01)
        context = Context()
        answer = await replica.unary(rpc, request.SerializeToString(), context)
        assert context.code is None
        assert answer.labels.labels[0].name == "hello"
    finally:
        await close(replica)


async def test_a_replica_at_its_memory_limit_tells_its_callers_why(state):
    limits = []
    replica = await open_replica("echo", None, lambda *limit: limits.append(limit))
    try:
        ((limit_mib, reached),) = limits
        assert limit_mib == 450
        under_way, late = Context(), Context()
        call = asyncio.create_task(replica.Classify(text("sleep 0.3"), under_way))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(reached)
        await call
        await replica.Classify(text("hello"), late)
        assert {under_way.code, late.code} == {grpc.StatusCode.UNAVAILABLE}
        assert "450 MiB" in late.details
        assert failures(state)["echo"]["reason"] == "MEMORY_LIMIT"
    finally:
        await close(replica)
