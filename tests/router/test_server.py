"""The router's port: health, reflection, TLS, ports, and the end of the process."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.router.mesh_services import SERVICES

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.errors import FailedPrecondition, Unavailable

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ROUTE = "slmesh.api.route.v1.RouteService"


class Asked:
    """The health of a router, as a client sees it."""

    def __init__(self, mesh):
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{mesh.router.port}")
        self._stub = health_pb2_grpc.HealthStub(self._channel)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._channel.close()

    async def status(self, service=""):
        return (await self._stub.Check(health_pb2.HealthCheckRequest(service=service))).status

    async def until(self, service, status, timeout_s=20.0):
        async with asyncio.timeout(timeout_s):
            while await self.status(service) != status:
                await asyncio.sleep(0.02)

    def watch(self, service):
        return self._stub.Watch(health_pb2.HealthCheckRequest(service=service))


async def test_health_is_told_for_the_router_and_for_every_service(mesh):
    async with Asked(mesh) as health:
        assert await health.status() == SERVING
        assert await health.status(ROUTE) == SERVING
        for service in SERVICES:
            await health.until(service, SERVING)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.status("nobody")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_dead_ingress_leaves_the_router_up_and_it_recovers_by_itself(mesh):
    async with Asked(mesh) as health:
        await health.until("intent", SERVING)
        await mesh.ingress.stop()
        await health.until("intent", NOT_SERVING)
        assert await health.status() == SERVING
        decision = await mesh.route("arrive")
        assert decision.path == route_pb2.PATH_FALLBACK
        assert {d.code for d in decision.degradations} >= {"SERVICE_UNAVAILABLE"}
        assert "127.0.0.1" not in str(decision)
        await mesh.ingress.start()
        await health.until("intent", SERVING)
    assert (await mesh.route("arrive")).path == route_pb2.PATH_SMALL


async def test_one_service_that_is_gone_is_told_and_the_others_stay(mesh):
    async with Asked(mesh) as health:
        await health.until("triage", SERVING)
        gone = mesh.ingress.hosts.pop("triage")
        await health.until("triage", NOT_SERVING)
        assert await health.status("intent") == SERVING
        assert mesh.metrics.registry.get_sample_value("slmesh_ready", {"service": "triage"}) == 0
        mesh.ingress.hosts["triage"] = gone


async def test_every_contract_can_be_listed_by_reflection(mesh):
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.router.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([request]))
        response = await call.read()
        call.cancel()
    names = {service.name for service in response.list_services_response.service}
    tasks = ("Classify", "Extract", "Guard", "Rank", "Reason", "Route", "Score")
    contracts = {f"slmesh.api.{task.lower()}.v1.{task}Service" for task in tasks}
    assert contracts | {"grpc.health.v1.Health"} <= names


async def test_a_symbol_can_be_described_by_reflection(mesh):
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=ROUTE)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.router.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([request]))
        response = await call.read()
        call.cancel()
    assert response.file_descriptor_response.file_descriptor_proto


def write_certificate(folder):
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([local]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate_file, key_file = folder / "tls.crt", folder / "tls.key"
    certificate_file.write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return certificate_file, key_file


async def test_two_paths_switch_tls_on_for_flows_and_for_services(start_mesh, tmp_path):
    certificate, key = write_certificate(tmp_path)
    mesh = await start_mesh(tls_certificate=certificate, tls_key=key, tls_root=certificate)
    assert (await mesh.route("arrive")).path == route_pb2.PATH_SMALL
    request = classify_pb2.ClassifyRequest(text="arrive")
    answer = await mesh.client.classify("intent", request, timeout_s=20)
    assert answer.labels.labels[0].name == "card_arrival"


async def test_a_client_without_tls_gets_nothing_from_a_router_with_it(start_mesh, tmp_path):
    certificate, key = write_certificate(tmp_path)
    mesh = await start_mesh(tls_certificate=certificate, tls_key=key)
    with pytest.raises(Unavailable):
        await mesh.route("arrive", timeout_s=20)


@pytest.mark.parametrize(
    ("break_it", "reason", "message"),
    [
        pytest.param(
            lambda c, k: {"tls_certificate": c}, "TLS_INCOMPLETE", "set SLMESH_TLS_KEY", id="no-key"
        ),
        pytest.param(
            lambda c, k: {"tls_key": k},
            "TLS_INCOMPLETE",
            "set SLMESH_TLS_CERTIFICATE",
            id="no-certificate",
        ),
        pytest.param(
            lambda c, k: {"tls_certificate": c, "tls_key": k.with_name("nowhere")},
            "TLS_FILE_UNREADABLE",
            "SLMESH_TLS_KEY",
            id="not-there",
        ),
        pytest.param(
            lambda c, k: {"tls_certificate": k, "tls_key": c},
            "TLS_FILE_INVALID",
            "PEM",
            id="swapped",
        ),
    ],
)
async def test_tls_files_that_do_not_do_are_named(start_mesh, tmp_path, break_it, reason, message):
    certificate, key = write_certificate(tmp_path)
    with pytest.raises(FailedPrecondition, match=message) as caught:
        await start_mesh(**break_it(certificate, key))
    assert caught.value.reason == reason


async def test_a_busy_port_is_named_with_the_setting_that_changes_it(start_mesh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FailedPrecondition) as caught:
            await start_mesh(router_port=port)
    assert f"port {port} of 127.0.0.1: another process is using it" in caught.value.message
    assert "SLMESH_ROUTER_PORT" in caught.value.message


async def test_a_second_router_does_not_share_a_port_in_silence(start_mesh):
    first = await start_mesh()
    with pytest.raises(FailedPrecondition, match="another process is using it"):
        await start_mesh(router_port=first.router.port)


async def test_stopping_tells_health_first_and_lets_requests_end(mesh):
    async with Asked(mesh) as health:
        watch = health.watch("")
        assert (await watch.read()).status == SERVING
        call = asyncio.create_task(mesh.route("arrive triage:slow"))
        async with asyncio.timeout(20):
            while not mesh.ingress.calls_of("triage"):
                await asyncio.sleep(0.01)
        stopping = asyncio.create_task(mesh.router.stop(20))
        assert (await watch.read()).status == NOT_SERVING
        assert (await call).path == route_pb2.PATH_SMALL
        async with asyncio.timeout(20):
            await stopping  # the watcher does not hold it up
