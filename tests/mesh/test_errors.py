"""The error tree and its form on the wire."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2

from slmesh.mesh import errors, wire
from slmesh.mesh.errors import MeshError

KINDS = [
    value
    for name in errors.__all__
    if isinstance(value := getattr(errors, name), type) and value is not MeshError
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_survives_the_wire(kind):
    sent = kind(
        "what happened", metadata={"someKey": "v"}, field="requests[0].text", retry_delay_s=1.5
    )
    got = MeshError.from_status(sent.to_status())
    assert type(got) is kind
    assert vars(got) == vars(sent)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_grpc_code_and_a_reason(kind):
    error = kind("x")
    assert wire.grpc_code(error) is not grpc.StatusCode.OK
    assert error.reason.isupper()


@pytest.mark.parametrize("code", list(grpc.StatusCode)[1:], ids=lambda code: code.name)
def test_a_bare_code_gets_one_error_info_and_loses_its_text(code):
    bare = grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="ipv4:10.0.0.1: /usr/lib/x.py"
    )
    status = wire.mesh_error(bare, "intent").to_status()
    infos = [d for d in status.details if d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    assert "10.0.0.1" not in str(status)
    assert "/usr" not in str(status)


def test_a_service_of_the_mesh_that_its_ingress_does_not_know_yet_is_unavailable():
    bare = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata())
    assert isinstance(wire.mesh_error(bare, "intent"), errors.NotFound)
    known = wire.mesh_error(bare, "intent", belongs=True)
    assert isinstance(known, errors.Unavailable)
    assert known.retry_delay_s == 1.0


def test_a_status_without_details_keeps_code_and_message():
    error = MeshError.from_status(
        errors.NotFound("gone").to_status().__class__(code=5, message="m")
    )
    assert isinstance(error, errors.NotFound)
    assert error.message == "m"
