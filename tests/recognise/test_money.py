"""Amounts of money in minor units."""

from __future__ import annotations

import pytest

from slmesh.recognise import Money


@pytest.mark.parametrize(
    ("text", "written", "currency", "minor_units"),
    [
        pytest.param("12 quid", "12 quid", "GBP", 1200, id="quid"),
        pytest.param("£1,250.50", "£1,250.50", "GBP", 125050, id="sign-and-decimals"),
        pytest.param("five hundred pounds", "five hundred pounds", "GBP", 50000, id="words"),
        pytest.param("20 bucks", "20 bucks", "USD", 2000, id="bucks"),
        pytest.param("€3k", "€3k", "EUR", 300000, id="thousand-letter"),
        pytest.param("2.5m USD", "2.5m USD", "USD", 250000000, id="million-letter"),
        pytest.param("GBP 20", "GBP 20", "GBP", 2000, id="code-before"),
        pytest.param("USD115.5", "USD115.5", "USD", 11550, id="code-glued"),
        pytest.param("US$ 12", "US$ 12", "USD", 1200, id="country-and-sign"),
        pytest.param("100€", "100€", "EUR", 10000, id="sign-after"),
        pytest.param("€1.250,50", "€1.250,50", "EUR", 125050, id="both-marks-turned"),
        pytest.param("¥5000", "¥5000", "JPY", 5000, id="no-minor-unit"),
        pytest.param("50p", "50p", "GBP", 50, id="pence"),
        pytest.param("£5 50p", "£5 50p", "GBP", 550, id="pounds-and-pence"),
        pytest.param("5 pounds and 20 pence", "5 pounds and 20 pence", "GBP", 520, id="and-pence"),
        pytest.param("15 dollars 50.", "15 dollars 50", "USD", 1550, id="fifty-unsaid"),
        pytest.param("-£20", "-£20", "GBP", -2000, id="negative"),
        pytest.param("half a million euros", "half a million euros", "EUR", 50000000, id="half"),
        pytest.param(
            "hk $ 10.05 billion", "hk $ 10.05 billion", "HKD", 10**12 + 5 * 10**9, id="apart"
        ),
        pytest.param("aud$ 15", "aud$ 15", "AUD", 1500, id="code-and-sign"),
        pytest.param("u.s $ 100", "u.s $ 100", "USD", 10000, id="dotted-country"),
        pytest.param("420 finnish markka", "420 finnish markka", "FIM", 42000, id="full-name"),
        pytest.param("100₾", "100₾", "GEL", 10000, id="sign-of-georgia"),
        pytest.param("75 USD million", "75 USD million", "USD", 75 * 10**8, id="scale-after"),
        pytest.param("48.5 MGBP", "48.5 MGBP", "GBP", 485 * 10**7, id="scale-in-code"),
        pytest.param("a dollar", "a dollar", "USD", 100, id="one"),
        pytest.param("half a pound", "half a pound", "GBP", 50, id="half-of-one"),
        pytest.param("a dollar fifty", "a dollar fifty", "USD", 150, id="one-and-pence"),
        pytest.param("five pounds fifty", "five pounds fifty", "GBP", 550, id="pence-unsaid"),
        pytest.param("5,50 €", "5,50 €", "EUR", 550, id="comma-before-the-pence"),
        pytest.param("€5,50", "€5,50", "EUR", 550, id="sign-and-comma"),
        pytest.param("5 korean won", "5 korean won", "KRW", 5, id="country-said-short"),
        pytest.param("5 israeli shekels", "5 israeli shekels", "ILS", 500, id="new-left-out"),
        pytest.param("5 lei", "5 lei", "RON", 500, id="unit-alone"),
        pytest.param("5 u.s. dollars", "5 u.s. dollars", "USD", 500, id="dotted-country-after"),
        pytest.param("RMB 5", "RMB 5", "CNY", 500, id="name-before"),
        pytest.param("5 hkd", "5 hkd", "HKD", 500, id="code-in-lower-case"),
        pytest.param("$5 m", "$5 m", "USD", 5 * 10**8, id="letter-apart"),
        pytest.param("$5.50 USD", "$5.50 USD", "USD", 550, id="code-repeated"),
        pytest.param("15 dollars and 50", "15 dollars and 50", "USD", 1550, id="and-fifty"),
        pytest.param("$ 10 dollars", "$ 10 dollars", "USD", 1000, id="said-twice"),
        pytest.param(
            "quarter million euros", "quarter million euros", "EUR", 25 * 10**6, id="part"
        ),
        pytest.param("35 lakh rupees", "35 lakh rupees", "INR", 350000000, id="lakh"),
    ],
)
def test_amounts_are_read_in_minor_units(find, text, written, currency, minor_units):
    assert find(text, "money") == [(written, Money(currency, minor_units))]


@pytest.mark.parametrize(
    ("text", "locale", "currency"),
    [
        pytest.param("$5", "en-CA", "CAD", id="dollar-in-canada"),
        pytest.param("$5", "en-GB", "USD", id="dollar-elsewhere"),
        pytest.param("50 kr", "nb-NO", "NOK", id="crown-in-norway"),
        pytest.param("50 kr", "sv-SE", "SEK", id="crown-in-sweden"),
    ],
)
def test_a_shared_sign_means_the_currency_of_the_region(find, text, locale, currency):
    assert [value.currency for _, value in find(text, "money", locale=locale)] == [currency]


def test_the_decimal_mark_follows_the_locale(find):
    assert find("1.250,50 € und 3,5 €", "money", locale="de-DE") == [
        ("1.250,50 €", Money("EUR", 125050)),
        ("3,5 €", Money("EUR", 350)),
    ]


def test_an_amount_without_currency_needs_a_default_and_words_of_money(find):
    assert find("transfer 500 to Anna", "money") == []
    assert find("transfer 500 to Anna", "money", default_currency="GBP") == [
        ("500", Money("GBP", 50000))
    ]
    assert find("I have 2 cards", "money", default_currency="GBP") == []


@pytest.mark.parametrize("text", ["$0.005", "99999999999999999999 GBP"])
def test_an_amount_that_minor_units_cannot_hold_has_no_value(find, text):
    assert find(text, "money") == [(text, None)]


@pytest.mark.parametrize(
    "text",
    [
        "a flight for under $300",
        "transfer $5",
        "for $1",
        "a $1 charge",
        "that ' s $ 5",
        "i'm $ 5 down",
    ],
)
def test_a_letter_before_a_sign_is_no_country(find, text):
    assert [value.currency for _, value in find(text, "money")] == ["USD"]


def test_the_next_amount_has_a_sign_of_its_own(find):
    assert find("10 $ 30 $", "money") == [
        ("10 $", Money("USD", 1000)),
        ("30 $", Money("USD", 3000)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "50 all",
        "5 top",
        "try 20",
        "10 cm",
        "ALL 5 answers",
        "2 real men",
        "the dollar 5 years ago",
        "make an alarm 6am",
    ],
)
def test_words_that_are_also_currency_codes_make_no_money(find, text):
    assert find(text, "money") == []
