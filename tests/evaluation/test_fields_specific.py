"""The committed rule for rows of Recognizers-Text that are specific to its engine."""

from __future__ import annotations

import pytest

from slmesh.evaluation.fields_specific import is_engine_specific
from slmesh.evaluation.label_maps import label_map


def _result(kind: str, text: str, **resolution: object) -> dict[str, object]:
    return {"typeName": kind, "text": text, "resolution": resolution}


def _moment(kind: str, text: str, **item: object) -> dict[str, object]:
    return _result(f"datetimeV2.{kind}", text, values=[item])


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param(_moment("daterange", "since august", Mod="since"), True, id="open"),
        pytest.param(_moment("daterange", "summer", value="not resolved"), True, id="unresolved"),
        pytest.param(_moment("datetime", "now", timex="PRESENT_REF"), True, id="present"),
        pytest.param(_moment("duration", "a few hours", value="10800"), True, id="vague"),
        pytest.param(_moment("duration", "3 hours", value="10800"), False, id="counted"),
        pytest.param(_moment("daterange", "later this week", start="x"), True, id="shifted"),
        pytest.param(_moment("daterange", "this week", start="x"), False, id="plain-range"),
        pytest.param(_moment("daterange", "the week", start="x"), True, id="article-alone"),
        pytest.param(_moment("date", "the day before", value="x"), True, id="no-anchor"),
        pytest.param(_result("currency", "6 btc", unit="Bitcoin", value="6"), True, id="no-iso"),
        pytest.param(
            _result("currency", "dollar", unit="Dollar", value=None), True, id="no-number"
        ),
        pytest.param(
            _result("currency", "14.27 cents", unit="Cent", value="14.27"), True, id="cent"
        ),
        pytest.param(
            _result("currency", "1.5 yen", unit="Yen", isoCurrency="JPY", value="1.5"),
            True,
            id="finer-than-the-smallest-unit",
        ),
        pytest.param(_result("currency", "$2.75", unit="Dollar", value="2.75"), False, id="money"),
        pytest.param(_result("percentage", "%", value=None), True, id="percent-alone"),
        pytest.param(_result("percentage", "5%", value="5%"), False, id="percent"),
        pytest.param(
            _result("number", "one hundred thirty fifths", value="2.857"), True, id="long-fraction"
        ),
        pytest.param(_result("number", "hundred thousand", value="100000"), False, id="thousand"),
        pytest.param(_result("number", "a hundredth", value="0.01"), False, id="hundredth"),
    ],
)
def test_a_row_is_specific_by_what_it_says(result, expected):
    rule = label_map("extract", "recognizers_text")["engine_specific"]
    assert is_engine_specific(rule, [result]) is expected
