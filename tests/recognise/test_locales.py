"""What a locale says about writing."""

from __future__ import annotations

import pytest

from slmesh.recognise import writing


@pytest.mark.parametrize(
    ("locale", "region", "decimal_mark", "date_order"),
    [
        ("en-GB", "GB", ".", "dmy"),
        ("en-US", "US", ".", "mdy"),
        ("en", "US", ".", "mdy"),
        ("de-DE", "DE", ",", "dmy"),
        ("ja", "JP", ".", "ymd"),
        ("pt_BR", "BR", ",", "dmy"),
    ],
)
def test_a_locale_is_read_from_cldr(locale, region, decimal_mark, date_order):
    found = writing(locale)
    assert (found.region, found.decimal_mark, found.date_order) == (
        region,
        decimal_mark,
        date_order,
    )


@pytest.mark.parametrize("locale", ["", "xx", "english", "en-GB-!!", "e" * 500, "\x00"])
def test_an_unknown_locale_is_refused(locale):
    with pytest.raises(ValueError, match="locale"):
        writing(locale)
