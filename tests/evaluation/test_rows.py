"""Rows are read from plain and compressed files, and a wrong one is named."""

from __future__ import annotations

import gzip

import pytest
from tests.evaluation.samples import write_rows

from slmesh.evaluation.rows import Row, read_rows
from slmesh.mesh.errors import InvalidArgument


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_file_is_read_compressed_or_not(tmp_path, name):
    rows = read_rows(write_rows(tmp_path / name, [{"text": "günstig 😀"}, {"text": "two"}]))
    assert [(row.line, row.text("text")) for row in rows] == [(1, "günstig 😀"), (2, "two")]


def test_compression_is_told_by_the_content(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(gzip.compress(b'{"text": "one"}\n'))
    assert len(read_rows(path)) == 1


def test_empty_lines_keep_the_numbers_of_the_others(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert [row.line for row in read_rows(path)] == [1, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "has no rows", id="empty"),
        pytest.param(b'{"a": 1}\nnot json\n', "line 2: not JSON", id="not-json"),
        pytest.param(b'{"a": 1}\n[1]\n', "line 2: not a JSON object", id="not-an-object"),
        pytest.param(b'{"a": "\xff"}\n', "line 1: not UTF-8", id="latin-1"),
        pytest.param(b"\x1f\x8b\x08\x00rest", "cannot be read", id="damaged-gzip"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"\n", "line 1: not JSON", id="nested-deep"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=message) as caught:
        read_rows(path)
    assert str(path) in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"none\.jsonl cannot be read: No such file"):
        read_rows(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({}, "no column 'text'", id="missing"),
        pytest.param({"text": 7}, "must hold a text, it holds 7", id="number"),
        pytest.param({"text": None}, "must hold a text, it holds None", id="null"),
        pytest.param({"text": ""}, "'text' is empty", id="empty"),
    ],
)
def test_a_column_that_is_no_text_is_named_with_its_row(values, message):
    with pytest.raises(InvalidArgument, match=f"f.jsonl, line 4: .*{message}"):
        Row("f.jsonl", 4, values).text("text")
