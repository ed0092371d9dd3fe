"""Values are compared by their readings."""

from __future__ import annotations

from datetime import date

import pytest
from google.protobuf.json_format import ParseDict

from slmesh.api.extract.v1.extract_pb2 import Field
from slmesh.evaluation.field_values import golden_readings, nlupp_readings, recognizers_readings
from slmesh.evaluation.rows import Row
from slmesh.evaluation.values import UNRESOLVED, readings

ROW = Row("f.jsonl", 1, {})


def found(value, text="x") -> frozenset[str]:
    """Return the readings of a field with a value, without that of its text."""
    return readings(ParseDict({"value": value, "text": text}, Field())) - {f"written:{text}"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(
            {"money": {"currencyCode": "GBP", "minorUnits": "1250"}},
            {"money:GBP:1250", "amount:12.5", "minor:1250"},
            id="money",
        ),
        pytest.param(
            {"money": {"currencyCode": "JPY", "minorUnits": "500"}},
            {"money:JPY:500", "amount:500", "minor:500"},
            id="money-without-minor-unit",
        ),
        pytest.param({"date": "2026-05-03"}, {"date:2026-05-03"}, id="date"),
        pytest.param(
            {"dateTime": "2026-05-03T17:00:00+01:00"},
            {"date_time:2026-05-03T17:00:00", "date:2026-05-03", "time:17:00:00"},
            id="date-time-reads-as-both",
        ),
        pytest.param(
            {"interval": "2026-05-03/2026-05-08"},
            {"interval:2026-05-03/2026-05-08", "from:2026-05-03", "to:2026-05-07"},
            id="interval-without-its-end",
        ),
        pytest.param({"duration": "5400s"}, {"duration:5400"}, id="duration"),
        pytest.param({"number": 0.1}, {"number:0.1"}, id="number"),
        pytest.param({"ordinal": "3"}, {"ordinal:3"}, id="ordinal"),
        pytest.param({"email": "Ada@example.org"}, {"email:ada@example.org"}, id="email"),
        pytest.param({}, {UNRESOLVED}, id="no-value"),
    ],
)
def test_a_value_has_its_readings(value, expected):
    assert found(value) == expected


@pytest.mark.parametrize(
    ("slot", "given", "value"),
    [
        ("date", {"day": 3, "month": 5, "year": 2026}, {"date": "2026-05-03"}),
        (
            "date_to",
            {"day": 7, "month": 5, "year": 2026},
            {"interval": "2026-05-03/2026-05-08"},
        ),
        (
            "date_period",
            {
                "type": "absolute",
                "from": {"day": 3, "month": 5, "year": 2026},
                "to": {"day": 7, "month": 5, "year": 2026},
            },
            {"interval": "2026-05-03/2026-05-08"},
        ),
        ("time_from", {"hour": 9, "minute": 5}, {"time": "09:05:00"}),
        (
            "amount_of_money",
            {"amount": 400.0, "currency": "ambiguous"},
            {"money": {"currencyCode": "USD", "minorUnits": "40000"}},
        ),
        ("number", 6, {"number": 6.0}),
        ("person_name", "ada lovelace", {"person": "Ada Lovelace"}),
    ],
)
def test_a_value_of_nlupp_is_ours(slot, given, value):
    assert nlupp_readings(ROW, slot, given) & found(value)


def test_a_period_that_repeats_has_no_value_to_judge():
    assert not nlupp_readings(ROW, "date_period", {"type": "periodic"})


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ({"typeName": "number", "resolution": {"value": "7"}}, {"number": 7.0}),
        ({"typeName": "percentage", "resolution": {"value": "4.5%"}}, {"percentage": 4.5}),
        (
            {"typeName": "currency", "resolution": {"value": "12.5", "unit": "Dollar"}},
            {"money": {"currencyCode": "USD", "minorUnits": "1250"}},
        ),
        (
            {"typeName": "currency", "resolution": {"value": "470", "unit": "Pence"}},
            {"money": {"currencyCode": "GBP", "minorUnits": "470"}},
        ),
        (
            {"typeName": "currency", "resolution": {"value": "15", "isoCurrency": "JPY"}},
            {"money": {"currencyCode": "JPY", "minorUnits": "15"}},
        ),
        ({"typeName": "ip", "resolution": {"value": "0:0:0:0:0:0:0:0"}}, {"ipAddress": "::"}),
        (
            {
                "typeName": "datetimeV2.date",
                "resolution": {"values": [{"value": "2015-05-03"}, {"value": "2016-05-03"}]},
            },
            {"date": "2016-05-03"},
        ),
        (
            {
                "typeName": "datetimeV2.datetime",
                "resolution": {"values": [{"value": "2016-05-03 08:00:00"}]},
            },
            {"dateTime": "2016-05-03T08:00:00+00:00"},
        ),
        (
            {
                "typeName": "datetimeV2.duration",
                "resolution": {"values": [{"value": "10800"}]},
            },
            {"duration": "10800s"},
        ),
        (
            {"typeName": "datetimeV2.date", "resolution": {"values": [{"value": "not resolved"}]}},
            {},
        ),
    ],
)
def test_a_value_of_a_specification_is_ours(result, value):
    assert recognizers_readings({"text": "x", **result}) & found(value)


def test_a_currency_that_is_given_is_compared():
    given = {"text": "$15", "typeName": "currency"}
    given["resolution"] = {"value": "15", "unit": "Australian dollar", "isoCurrency": "AUD"}
    american = found({"money": {"currencyCode": "USD", "minorUnits": "1500"}})
    assert not recognizers_readings(given) & american


@pytest.mark.parametrize(
    ("text", "timex", "start", "end", "interval"),
    [
        pytest.param(
            "May 3-7", "(XXXX-05-03,XXXX-05-07,P4D)", "2026-05-03", "2026-05-07",
            "2026-05-03/2026-05-08", id="days",
        ),
        pytest.param(
            "from March to May", "(2026-03-01,2026-05-01,P2M)", "2026-03-01", "2026-05-01",
            "2026-03-01/2026-06-01", id="months",
        ),
        pytest.param(
            "2014~2018", "(2014-01-01,2018-01-01,P4Y)", "2014-01-01", "2018-01-01",
            "2014-01-01/2019-01-01", id="years",
        ),
        pytest.param(
            "2017-q1 to 2018-q1", "(2017-01-01,2018-01-01,P12M)", "2017-01-01", "2018-01-01",
            "2017-01-01/2018-04-01", id="quarters",
        ),
        pytest.param(
            "next 3 days", "(2026-05-03,2026-05-06,P3D)", "2026-05-03", "2026-05-06",
            "2026-05-03/2026-05-06", id="counted",
        ),
        pytest.param(
            "2019-H2", "2019-H2", "2019-07-01", "2020-01-01", "2019-07-01/2020-01-01", id="half",
        ),
    ],
)  # fmt: skip
def test_the_last_point_that_a_range_names_belongs_to_it(text, timex, start, end, interval):
    item = {"timex": timex, "start": start, "end": end}
    result = {"text": text, "typeName": "datetimeV2.daterange", "resolution": {"values": [item]}}
    assert f"interval:{interval}" in recognizers_readings(result)


def test_today_belongs_to_a_range_up_to_now():
    item = {"timex": "(2026-04-30,2026-05-03,P3D)", "start": "2026-04-30", "end": "2026-05-03"}
    result = {"text": "last 3 days", "typeName": "datetimeV2.daterange"}
    result["resolution"] = {"values": [item]}
    ours = recognizers_readings(result, date(2026, 5, 3))
    assert ours == {"interval:2026-04-30/2026-05-04"}
    assert recognizers_readings(result, date(2026, 6, 3)) == {"interval:2026-04-30/2026-05-03"}


def test_a_slot_whose_value_is_ambiguous_is_not_judged():
    assert not nlupp_readings(ROW, "date", "ambiguous")


def test_a_telephone_number_is_compared_as_written():
    result = {"typeName": "phonenumber", "text": "020 7183 8750", "resolution": {}}
    field = ParseDict({"text": "020 7183 8750", "value": {"phone": "+442071838750"}}, Field())
    assert recognizers_readings(result) & readings(field)


def test_a_golden_value_is_the_whole_value():
    moment = {"name": "a", "value": {"dateTime": "2026-05-03T17:00:00+00:00"}}
    assert golden_readings(ROW, moment) == {"date_time:2026-05-03T17:00:00"}


def test_a_golden_field_without_a_value_is_not_judged():
    assert not golden_readings(ROW, {"name": "a"})
