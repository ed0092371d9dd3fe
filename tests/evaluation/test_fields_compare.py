"""Our rules and other libraries are given the same spans."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import pytest

from slmesh.evaluation.fields_compare import MANIFEST, Span, main, readers
from slmesh.mesh.manifest import load_manifest

_NOON = datetime(2016, 11, 7, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def by_name():
    manifest = load_manifest(MANIFEST)
    return {reader.name: reader for reader in readers(manifest.options)}


@pytest.mark.parametrize(
    ("name", "kind", "text", "reading"),
    [
        ("slmesh", "date", "next friday", "date:2016-11-18"),
        ("slmesh", "number", "2 1/4", "number:2.25"),
        ("slmesh", "phone", "call +44 20 7183 8750", "written:+44 20 7183 8750"),
        ("babel", "number", "1,234.5", "number:1234.5"),
        ("babel", "number", "twelve", "unresolved"),
        ("phonenumbers", "phone", "call +44 20 7183 8750", "written:+44 20 7183 8750"),
    ],
)
def test_a_reader_says_what_a_span_is_worth(by_name, name, kind, text, reading):
    span = Span(kind, text, _NOON, frozenset(), engine_specific=False)
    assert reading in by_name[name].read(span)


def test_the_command_prints_the_share_of_exact_values(tmp_path, monkeypatch, capsys):
    rows = [
        {"id": str(number), "model": "NumberModel", "text": text, "reference_datetime": None}
        | {"results": [{"text": text, "start": 0, "end": len(text) - 1, "typeName": "number"}]}
        for number, text in enumerate(("twelve", "1,234.5"))
    ]
    for row, value in zip(rows, ("12", "1234.5"), strict=True):
        row["results"][0]["resolution"] = {"value": value}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["compare", "--data", str(path), "--split", "all"])
    main()
    printed = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert ["slmesh", "number", "2", "1.000"] in printed
    assert ["babel", "number", "2", "0.500"] in printed
