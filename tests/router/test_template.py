"""Templates fill in fields of signals, in a form for people, and nothing else."""

from __future__ import annotations

import pytest

from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.signal.v1.signal_pb2 import Signal
from slmesh.router.template import filled


def field(name, text="as written", **value):
    return Signal(
        step="e",
        extraction=extract_pb2.ExtractResponse(
            fields=[extract_pb2.Field(name=name, text=text, value=extract_pb2.Value(**value))]
        ),
    )


@pytest.mark.parametrize(
    ("signal", "text"),
    [
        pytest.param(
            field("x", money={"currency_code": "GBP", "minor_units": 123456}),
            "1,234.56 GBP",
            id="money",
        ),
        pytest.param(
            field("x", money={"currency_code": "JPY", "minor_units": 500}), "500 JPY", id="yen"
        ),
        pytest.param(
            field("x", money={"currency_code": "KWD", "minor_units": 1500}), "1.500 KWD", id="dinar"
        ),
        pytest.param(field("x", date="2026-11-04"), "4 November 2026", id="date"),
        pytest.param(field("x", date="2026-02-29"), "as written", id="no-date"),
        pytest.param(field("x", person="Ada"), "as written", id="person"),
    ],
)
def test_a_field_is_written_for_people(signal, text):
    assert filled("<{e.x}>", {"e": signal}) == f"<{text}>"


@pytest.mark.parametrize("text", ["{e.y}", "{f.x}"], ids=["no-field", "no-signal"])
def test_a_text_with_a_missing_field_is_not_used(text):
    assert filled(text, {"e": field("x")}) is None


def test_braces_can_be_written():
    assert filled("{{a}}", {}) == "{a}"


def test_what_a_field_holds_is_not_read_as_a_template():
    assert filled("{e.x}", {"e": field("x", text="{e.y}{0}")}) == "{e.y}{0}"
