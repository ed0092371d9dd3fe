"""Reading a user's file: formats, columns, and errors that say where."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from slmesh.factory.table import Columns, read_table
from slmesh.mesh.errors import InvalidArgument


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


READABLE = [
    pytest.param("a.csv", 'text,label\n"one, two",x\nthree,y\n', id="csv-quoted"),
    pytest.param("a.csv", "label;message\nx;one, two\ny;three\n", id="semicolons-other-order"),
    pytest.param("a.tsv", "utterance\tintent\tid\none, two\tx\t1\nthree\ty\t2\n", id="tabs"),
    pytest.param("a.csv", "\ufefftext,label\r\n\"one, two\",x\r\nthree,y\r\n", id="bom-and-crlf"),
    pytest.param("a.csv", "Text,what it is\n\"one, two\",x\nthree,y\n", id="one-known-of-two"),
    pytest.param(
        "a.jsonl", '{"text": "one, two", "label": "x"}\n{"text": "three", "label": "y"}\n', id="json"
    ),
    pytest.param(
        "rows", '{"query": "one, two", "category": "x"}\n{"query": "three", "category": "y"}\n',
        id="json-by-its-first-character",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), READABLE)
def test_a_file_is_read_whatever_its_form(tmp_path, name, content):
    rows = read_table(written(tmp_path, name, content), Columns())
    assert [(row.text, row.label) for row in rows] == [("one, two", "x"), ("three", "y")]


def test_a_gzip_file_is_read(tmp_path):
    path = written(tmp_path, "a.csv.gz", gzip.compress(b"text,label\none,x\n"))
    assert read_table(path, Columns())[0].text == "one"


def test_rows_have_the_numbers_a_spreadsheet_shows(tmp_path):
    path = written(tmp_path, "a.csv", 'text,label\n"one\ntwo",x\n\nthree,y\n')
    assert [row.number for row in read_table(path, Columns())] == [2, 4]


def test_columns_can_be_named(tmp_path):
    path = written(tmp_path, "a.csv", "a,b,c,d\none,x,train,9\n")
    (row,) = read_table(path, Columns("a", "b", "c"))
    assert (row.text, row.label, row.split) == ("one", "x", "train")


def test_another_encoding_can_be_named(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\ncafé,x\n".encode("latin-1"))
    assert read_table(path, Columns(), "latin-1")[0].text == "café"


WRONG = [
    pytest.param(
        "a.csv", "a,b,c\n1,2,3\n", "which column is the text.*--text-column", id="unguessable"
    ),
    pytest.param("a.csv", "text,b,c\n1,2,3\n", "which column is the label", id="no-label"),
    pytest.param(
        "a.csv", "text,label\na,x\nb,y,z\n", "row 3: 3 columns where the header has 2", id="shape"
    ),
    pytest.param("a.csv", "text,label,text\na,x,b\n", "has the column 'text' twice", id="twice"),
    pytest.param(
        "a.csv", 'text,label\na,x\n"b,y\n', "row 3: unexpected end of data", id="open-quote"
    ),
    pytest.param("a.csv", "text,label\n", "has no rows", id="header-only"),
    pytest.param("a.csv", "", "has no rows", id="empty"),
    pytest.param(
        "a.csv", b"text,label\na,x\ncaf\xe9,y\n", "line 3: byte 0xe9 is not UTF-8", id="latin"
    ),
    pytest.param("a.csv", "text,label\na,x\n".encode("utf-16"), "is UTF-16", id="utf-16"),
    pytest.param("a.csv", b"PK\x03\x04rest", "is a spreadsheet", id="xlsx"),
    pytest.param("a.csv", "text,label\na\0b,x\n", "line 2: a zero byte", id="zero-byte"),
    pytest.param(
        "a.jsonl", '{"text": "a", "label": "x"}\n{"text": \n', "row 2: not JSON", id="json"
    ),
    pytest.param("a.jsonl", "[1]\n", "row 1: not an object", id="json-list"),
    pytest.param(
        "a.jsonl",
        '{"text": "a", "label": "x"}\n{"text": "b"}\n',
        "row 2: no column 'label'",
        id="json-column",
    ),
    pytest.param(
        "a.jsonl",
        '{"text": 1, "label": "x"}\n',
        "row 1: column 'text' holds no text but 1",
        id="number",
    ),
    pytest.param(
        "a.jsonl", '{"text": "a", "label": ["x"]}\n', "row 1: .* several labels", id="labels"
    ),
    pytest.param("a.csv.gz", b"text,label\n", "cannot be read", id="no-gzip"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, name, content, message):
    path = written(tmp_path, name, content)
    with pytest.raises(InvalidArgument, match=message) as caught:
        read_table(path, Columns())
    assert str(path) in caught.value.message


def test_a_misspelt_column_is_answered_with_the_nearest(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\na,x\n")
    with pytest.raises(InvalidArgument, match="did you mean 'label'"):
        read_table(path, Columns(label="lable"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"none\.csv cannot be read"):
        read_table(tmp_path / "none.csv", Columns())
