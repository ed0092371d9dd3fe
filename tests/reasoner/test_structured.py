"""JSON Schemas from callers, and answers checked against them."""

from __future__ import annotations

import json

import pytest

from slmesh.mesh.errors import Internal, InvalidArgument
from slmesh.reasoner.structured import check_answer, parse_schema

SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "integer"}},
    "required": ["amount"],
}


def test_no_schema_means_free_text() -> None:
    assert parse_schema("") is None


def test_a_schema_is_returned_as_it_is() -> None:
    assert parse_schema(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "not JSON", id="broken-json"),
        pytest.param("true", "JSON object", id="not-an-object"),
        pytest.param("[]", "JSON object", id="a-list"),
        pytest.param('{"type": "text"}', r"\$\.type", id="unknown-type"),
        pytest.param('{"properties": {"a": {"minLength": -1}}}', "minLength", id="bad-keyword"),
        pytest.param("[" * 200_000, "nested too deeply", id="deep-nesting"),
    ],
)
def test_what_is_no_schema_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        parse_schema(text)
    assert caught.value.field == "output_schema"


def test_an_answer_that_matches_passes() -> None:
    check_answer(SCHEMA, '{"amount": 3}')


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param('{"amount": "secret"}', r"'type' is broken at \$\.amount", id="wrong-type"),
        pytest.param("{}", r"'required' is broken at \$", id="missing-property"),
        pytest.param("Sure! {}", "not JSON", id="text-around"),
    ],
)
def test_an_answer_that_does_not_match_is_an_error_without_its_text(
    answer: str, words: str
) -> None:
    with pytest.raises(Internal, match=words) as caught:
        check_answer(SCHEMA, answer)
    assert caught.value.reason == "OUTPUT_SCHEMA_MISMATCH"
    assert "secret" not in caught.value.message


def test_nothing_a_schema_refers_to_is_fetched() -> None:
    with pytest.raises(InvalidArgument, match="outside itself"):
        check_answer({"$ref": "http://127.0.0.1:9/schema.json"}, "{}")
