"""From a file of marked texts to a service that extracts fields."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import pytest
from tests.weights.tiny_encoder import write_weights

import slmesh
from slmesh.api.extract.v1.extract_pb2 import ExtractRequest
from slmesh.evaluation import manifest_of
from slmesh.factory.marked import inspect_spans, read_marked
from slmesh.factory.new_extractor import make_extractor
from slmesh.factory.new_model import Made, Order
from slmesh.factory.table import Columns
from slmesh.mesh.catalog import open_service
from slmesh.mesh.drift import DriftWatch
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import Settings
from slmesh.weights.fetch import silent

MARKED = [
    f"{verb} a [{size}](size) [{drink}](drink) {rest}"
    for verb, size, drink, rest in product(
        ["bring me", "i would like", "can i get", "order"],
        ["small", "large", "huge", "tiny"],
        ["coffee", "green tea", "apple juice", "water"],
        ["please", "to go", "now"],
    )
]


def marked_file(path: Path, texts: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    return path


def lines_file(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def made_from(folder: Path, file: Path) -> Made:
    order = Order("drinks", "extract", file, folder / "services", backbone="")
    return make_extractor(order, folder / "cache", silent, lambda findings: None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("extractor")


@pytest.fixture(scope="module")
def made(home: Path) -> Made:
    return made_from(home, marked_file(home / "orders.csv", [*MARKED, "", MARKED[0]]))


@pytest.fixture
def mesh(made: Made, home: Path):
    settings = Settings(service_path=(home / "services",), state_dir=home / "state")
    with slmesh.Blocking(slmesh.Mesh.local(settings=settings)) as mesh:
        yield mesh


def test_fields_are_found_where_they_stand(mesh) -> None:
    text = "☕ can i get a huge green tea now"
    fields = mesh.extract("drinks", ExtractRequest(text=text)).fields
    assert [(field.name, field.text) for field in fields] == [
        ("size", "huge"),
        ("drink", "green tea"),
    ]
    for field in fields:
        assert text[field.span.start : field.span.end] == field.text
        assert 0.5 < field.probability <= 1


def test_the_bundle_is_served_without_a_service_of_its_own(made: Made, home: Path) -> None:
    settings = Settings(service_path=(home / "services" / "models",), state_dir=home / "state")
    manifest = manifest_of("drinks", settings)
    service, bundle = open_service(manifest, settings)
    assert bundle == made.bundle
    (response,) = service.answer([ExtractRequest(text="order a tiny green tea now")])
    assert [(field.name, field.text) for field in response.fields] == [
        ("size", "tiny"),
        ("drink", "green tea"),
    ]
    assert response.provenance.tier == "linear"


def test_only_the_wanted_fields_are_given(mesh) -> None:
    request = ExtractRequest(text="order a small water now", fields=["drink"])
    assert [field.name for field in mesh.extract("drinks", request).fields] == ["drink"]


def test_a_field_the_model_does_not_know_is_refused(mesh) -> None:
    request = ExtractRequest(text="order a small water now", fields=["drnk"])
    with pytest.raises(InvalidArgument, match="did you mean 'drink'"):
        mesh.extract("drinks", request)


def test_the_bundle_is_measured_and_says_what_was_left_out(made: Made) -> None:
    assert made.bundle.metrics["linear"]["spans"]["f1"] > 0.9
    card = (made.bundle.folder / "card.md").read_text()
    assert "1 row with the text of an earlier row, left out: row 195" in card
    golden = (made.bundle.folder / "golden.jsonl").read_text().splitlines()
    assert len(golden) >= 20
    assert DriftWatch.of(made.bundle) is not None


def test_spans_of_json_lines_are_those_of_the_markup(tmp_path: Path) -> None:
    span = {"start": 8, "end": 11, "label": "drink"}
    lines = lines_file(tmp_path / "a.jsonl", [{"text": "order a tea", "spans": [span]}])
    marked = marked_file(tmp_path / "a.csv", ["order a [tea](drink)"])
    (one,), (other,) = (read_marked(path, Columns()) for path in (lines, marked))
    assert one.marked == other.marked


WRONG = [
    pytest.param(
        {"text": "tea", "spans": [{"start": 0, "end": 9, "label": "x"}]},
        "0 to 9 'x' is none of a text of 3",
        id="outside",
    ),
    pytest.param(
        {"text": "tea", "spans": [{"start": 0}]}, "must have start, end and label", id="no-end"
    ),
    pytest.param({"text": "tea", "spans": "many"}, "no JSON", id="no-json"),
    pytest.param({"text": "tea", "spans": {"a": 1}}, "no list", id="no-list"),
    pytest.param({"text": 7, "spans": []}, "holds no text", id="no-text"),
]


@pytest.mark.parametrize(("row", "message"), WRONG)
def test_a_wrong_span_is_refused_with_its_row(tmp_path, row, message):
    path = lines_file(tmp_path / "a.jsonl", [{"text": "fine", "spans": []}, row])
    with pytest.raises(InvalidArgument, match=f"row 2: .*{message}"):
        read_marked(path, Columns())


@pytest.mark.parametrize(
    ("texts", "kind", "numbers"),
    [
        pytest.param(["a [b](x)", "a [b](y)"], "conflicting-labels", (2, 3), id="torn"),
        pytest.param(["a [b](x)", "A  [b](x)"], "duplicates", (3,), id="duplicate"),
        pytest.param(["a [b](x)"], "few-rows", (2,), id="few"),
    ],
)
def test_what_is_found_names_its_rows(tmp_path, texts, kind, numbers):
    path = marked_file(tmp_path / "a.csv", [*texts, *MARKED])
    inspected = inspect_spans(read_marked(path, Columns()), path)
    (found,) = [finding for finding in inspected.findings if finding.kind == kind]
    assert found.rows == numbers


def test_spans_that_overlap_are_left_out(tmp_path):
    spans = [{"start": 0, "end": 5, "label": "a"}, {"start": 3, "end": 8, "label": "b"}]
    rows = [{"text": "overlaps", "spans": spans}, {"text": "fine", "spans": spans[:1][:0]}]
    rows.append({"text": "spans", "spans": [spans[0]]})
    path = lines_file(tmp_path / "a.jsonl", rows)
    inspected = inspect_spans(read_marked(path, Columns()), path)
    assert [finding.kind for finding in inspected.findings] == ["overlapping-spans", "few-rows"]


def test_texts_without_any_span_are_refused(tmp_path):
    path = marked_file(tmp_path / "a.csv", ["one", "two"])
    with pytest.raises(InvalidArgument, match="no usable row has a marked span"):
        inspect_spans(read_marked(path, Columns()), path)


def test_an_encoder_is_fine_tuned_as_a_second_tier_where_one_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("onnx")
    file = marked_file(tmp_path / "orders.csv", MARKED)
    weights = write_weights(tmp_path / "tiny")
    order = Order("drinks", "extract", file, tmp_path / "services", backbone=str(weights))
    made = make_extractor(order, tmp_path / "cache", silent, lambda findings: None)
    assert made.bundle.tiers == ("linear", "encoder")
    assert made.bundle.metrics["encoder"]["spans"]["f1"] > 0.9
    assert "layers fine-tuned through" in (made.bundle.folder / "card.md").read_text()
    settings = Settings(service_path=(tmp_path / "services",), cache_dir=tmp_path / "cache")
    service, _ = open_service(manifest_of("drinks", settings), settings)
    (response,) = service.answer([ExtractRequest(text="order a tiny green tea now")])
    assert [field.text for field in response.fields] == ["tiny", "green tea"]
    assert response.provenance.tier == "encoder"
