"""The rules that the runtime relies on hold for every contract, read from the descriptors."""

import importlib
from collections import Counter
from pathlib import Path

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

SOURCES = Path(__file__).resolve().parents[2] / "services"
PROVENANCE = "slmesh.api.types.v1.Provenance"
# A contract that is missing here is one of a small model, and every rule for those holds for it.
NOT_A_SMALL_MODEL = {
    "slmesh.api.reason.v1.ReasonService": "streams, because its output grows while it is read",
    "slmesh.api.route.v1.RouteService": "runs flows and explains decisions; it is no model",
}
HEALTH_RPCS = {"Check", "Watch", "List"}
DECISIONS = {"route", "allow", "allowed", "block", "blocked", "action", "verdict", "threshold"}


def load_files() -> list[FileDescriptor]:
    """Import every generated module of messages and return its descriptor."""
    names = sorted(
        ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        for path in (SOURCES / "slmesh" / "api").rglob("*_pb2.py")
    )
    return [importlib.import_module(name).DESCRIPTOR for name in names]


FILES = load_files()
SERVICES: list[ServiceDescriptor] = [s for f in FILES for s in f.services_by_name.values()]
SMALL = [s for s in SERVICES if s.full_name not in NOT_A_SMALL_MODEL]
each_small = pytest.mark.parametrize("service", SMALL, ids=lambda s: s.full_name)
each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.full_name)


def single(service: ServiceDescriptor) -> MethodDescriptor:
    """Return the RPC that takes one item."""
    return next(m for m in service.methods if not m.name.startswith("Batch"))


def batch(service: ServiceDescriptor) -> MethodDescriptor:
    """Return the RPC that takes many items."""
    return next(m for m in service.methods if m.name.startswith("Batch"))


def messages_below(message: Descriptor, seen: set[str] | None = None) -> list[Descriptor]:
    """Return a message and all messages of the mesh that it contains, each once."""
    seen = set() if seen is None else seen
    if message.full_name in seen or not message.full_name.startswith("slmesh."):
        return []
    seen.add(message.full_name)
    inner = [f.message_type for f in message.fields if f.message_type is not None]
    return [message, *(found for child in inner for found in messages_below(child, seen))]


def test_contracts_are_found() -> None:
    assert {s.name for s in SMALL} >= {"ClassifyService", "ExtractService", "GuardService"}


def test_every_exception_is_still_a_contract() -> None:
    assert NOT_A_SMALL_MODEL.keys() <= {s.full_name for s in SERVICES}


@each_small
def test_a_contract_has_one_rpc_and_its_batch_twin(service: ServiceDescriptor) -> None:
    names = [method.name for method in service.methods]
    assert names == [single(service).name, f"Batch{single(service).name}"]


@each_small
def test_both_rpcs_are_unary(service: ServiceDescriptor) -> None:
    streaming = [m.name for m in service.methods if m.client_streaming or m.server_streaming]
    assert not streaming


@each_service
def test_requests_and_responses_are_named_after_their_rpc(service: ServiceDescriptor) -> None:
    for method in service.methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"


@each_small
def test_a_batch_request_holds_the_single_requests(service: ServiceDescriptor) -> None:
    fields = batch(service).input_type.fields
    assert [f.name for f in fields] == ["requests"]
    assert fields[0].is_repeated
    assert fields[0].message_type == single(service).input_type


@each_small
def test_a_batch_answers_a_response_or_an_error_for_each(service: ServiceDescriptor) -> None:
    results = batch(service).output_type.fields_by_name["results"]
    assert results.is_repeated
    assert [o.name for o in results.message_type.oneofs] == ["result"]
    choices = {f.name: f.message_type for f in results.message_type.oneofs[0].fields}
    assert choices.keys() == {"response", "error"}
    assert choices["response"] == single(service).output_type
    assert choices["error"].full_name == "google.rpc.Status"


@each_small
def test_every_answer_carries_its_provenance(service: ServiceDescriptor) -> None:
    field: FieldDescriptor = single(service).output_type.fields_by_name["provenance"]
    assert field.message_type.full_name == PROVENANCE


@each_small
def test_a_small_model_does_not_decide(service: ServiceDescriptor) -> None:
    deciding = [
        f"{message.full_name}.{field.name}"
        for message in messages_below(single(service).output_type)
        for field in message.fields
        if field.name in DECISIONS
    ]
    assert not deciding, "an SLM answers; decisions belong to the router and to policies"


@each_small
def test_a_small_model_can_speak_to_the_reasoner(service: ServiceDescriptor) -> None:
    signal = next(f for f in FILES if f.package == "slmesh.api.signal.v1")
    answers = signal.message_types_by_name["Signal"].oneofs_by_name["answer"].fields
    assert single(service).output_type in [field.message_type for field in answers]


def test_no_two_contracts_share_the_name_of_an_rpc() -> None:
    # Ray Serve finds the handler by the bare name of the RPC, without its service.
    counts = Counter(m.name for s in SERVICES for m in s.methods)
    assert not [name for name, count in counts.items() if count > 1]


def test_no_rpc_has_a_name_of_the_health_service() -> None:
    # For the same reason: one application serves its contract next to grpc.health.v1.
    assert not [m.full_name for s in SERVICES for m in s.methods if m.name in HEALTH_RPCS]


def test_every_package_is_version_one_and_matches_its_folder() -> None:
    for file in FILES:
        assert file.package.endswith(".v1")
        assert file.name.rsplit("/", 1)[0] == file.package.replace(".", "/")
