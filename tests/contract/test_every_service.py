"""What every service with a manifest must do, whoever wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2

import slmesh
from slmesh.mesh.catalog import discover, required_bundle
from slmesh.mesh.contract import contract
from slmesh.mesh.errors import InvalidArgument, MeshError
from slmesh.mesh.settings import load_settings

SETTINGS = load_settings({})
SERVICES = {
    name: manifest for name, manifest in discover(SETTINGS).items() if manifest.contract != "reason"
}

TEXTS = [
    "My card has not arrived and I paid £12.50 yesterday.",
    "What time is it in Tokyo?",
    "ok",
    "\x00",
    "   ",
    "مرحبا 👩‍👩‍👧‍👦 ሰላም",
    "word " * 3000,
]


def request_for(spoken: str, text: str):
    """Return a request of a contract about a text."""
    values = {
        "classify": {"text": text},
        "extract": {"text": text},
        "score": {"text": text},
        "guard": {"segments": [{"text": text, "origin": "ORIGIN_USER"}]},
        "rank": {
            "query": text,
            "candidates": {
                "candidates": [
                    {"id": "a", "text": "Cards arrive within ten days."},
                    {"id": "b", "text": "The branch opens at nine."},
                ]
            },
        },
    }
    return ParseDict(values[spoken], contract(spoken).single.request_type())


@pytest.fixture(scope="module")
def mesh():
    with slmesh.Blocking(slmesh.Mesh.local(settings=SETTINGS)) as mesh:
        yield mesh


def call(mesh, name, request, batch=False):
    spoken = contract(SERVICES[name].contract)
    return mesh.call((spoken.batch if batch else spoken.single).name, name, request, 60)


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_it_answers_any_text_and_names_its_model(mesh, name, text):
    response = call(mesh, name, request_for(SERVICES[name].contract, text))
    assert response.provenance.service == name
    assert response.provenance.tier
    bundle = required_bundle(SERVICES[name], SETTINGS)
    if bundle is not None:
        assert response.provenance.digest == bundle.digest
        assert response.provenance.label_set_revision == bundle.label_set_revision


@pytest.mark.parametrize("name", SERVICES)
def test_a_batch_gives_the_same_answers_as_single_calls(mesh, name):
    spoken = contract(SERVICES[name].contract)
    requests = [request_for(spoken.name, text) for text in TEXTS]
    single = [call(mesh, name, request) for request in requests]
    batch = call(mesh, name, spoken.batch.request_type(requests=requests), batch=True)
    together = [result.response for result in batch.results]
    assert [outcome(r) for r in together] == [outcome(r) for r in single]


@pytest.mark.parametrize("name", SERVICES)
def test_one_bad_item_of_a_batch_fails_alone(mesh, name):
    spoken = contract(SERVICES[name].contract)
    good, bad = request_for(spoken.name, TEXTS[0]), spoken.single.request_type()
    response = call(mesh, name, spoken.batch.request_type(requests=[good, bad, good]), batch=True)
    kinds = [result.WhichOneof("result") for result in response.results]
    assert kinds == ["response", "error", "response"]


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("text", ["", "x" * 100_001], ids=["missing", "too-long"])
def test_bad_text_is_refused_with_the_field_and_one_error_info(mesh, name, text):
    with pytest.raises(InvalidArgument) as caught:
        call(mesh, name, request_for(SERVICES[name].contract, text))
    assert caught.value.field
    details = caught.value.to_status().details
    assert sum(d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for d in details) == 1


@pytest.mark.parametrize("name", SERVICES)
def test_every_probability_lies_between_zero_and_one(mesh, name):
    for text in TEXTS:
        response = call(mesh, name, request_for(SERVICES[name].contract, text))
        assert all(0 <= p <= 1 for p in probabilities(response))


@pytest.mark.parametrize("name", SERVICES)
def test_every_span_lies_in_its_text(mesh, name):
    for text in TEXTS:
        response = call(mesh, name, request_for(SERVICES[name].contract, text))
        for found in getattr(response, "fields", getattr(response, "findings", ())):
            assert 0 <= found.span.start < found.span.end <= len(text)


@pytest.mark.parametrize("name", SERVICES)
def test_a_card_and_golden_rows_come_with_the_bundle(name):
    bundle = required_bundle(SERVICES[name], SETTINGS)
    if bundle is None:
        pytest.skip(f"{name} has no model")
    assert (bundle.folder / "card.md").read_text().startswith("# ")
    rows = (bundle.folder / "golden.jsonl").read_text().splitlines()
    assert len(rows) >= 20
    assert all(isinstance(json.loads(row), dict) for row in rows)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_two_files_with_at_most_four_methods(name):
    import ast

    manifest = SERVICES[name]
    tree = ast.parse((Path(manifest.folder) / "service.py").read_text())
    (found,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == manifest.class_name
    ]
    public = [
        node.name
        for node in found.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
    ]
    assert set(public) <= {"load", "answer", "check", "close"}


def outcome(response):
    """Return what a response says, without the digits that depend on the batch's shape."""
    copy = type(response)()
    copy.CopyFrom(response)
    text = str(copy)
    import re

    return re.sub(r"(\d+\.\d{3})\d*(e-\d+)?", r"\1", text)


def probabilities(message):
    """Return every probability in a message."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                yield from probabilities(item)
        elif field.name in ("probability", "confidence"):
            yield value


def test_unknown_services_are_suggested(mesh):
    with pytest.raises(MeshError, match="did you mean 'intent'"):
        mesh.call("Classify", "intnt", request_for("classify", "x"), 5)
