"""IBANs, cards, sort codes, account numbers and social security numbers."""

from __future__ import annotations

import pytest

from slmesh.recognise.account import passes_luhn


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("GB29 NWBK 6016 1331 9268 19 ok", "GB29NWBK60161331926819", id="grouped"),
        pytest.param("gb29nwbk60161331926819", "GB29NWBK60161331926819", id="lower-case"),
        pytest.param("DE89-3704-0044-0532-0130-00", "DE89370400440532013000", id="dashes"),
        pytest.param("NO93 8601 1117 947", "NO9386011117947", id="shortest"),
    ],
)
def test_an_iban_with_right_check_digits_is_found(find, text, expected):
    assert [value for _, value in find(text, "iban")] == [expected]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("GB28 NWBK 6016 1331 9268 19", id="wrong-check-digits"),
        pytest.param("GB29 NWBK 6016 1331 9268 1", id="too-short"),
        pytest.param("GB29 NWBK 6016 1331 9268 19X", id="runs-on"),
        pytest.param("ZZ29 NWBK 6016 1331 9268 19", id="unknown-country"),
    ],
)
def test_anything_else_that_looks_like_an_iban_is_not(find, text):
    assert find(text, "iban") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("4111 1111 1111 1111", ["4111111111111111"], id="visa"),
        pytest.param("5500-0000-0000-0004", ["5500000000000004"], id="mastercard"),
        pytest.param("3782 822463 10005", ["378282246310005"], id="amex"),
        pytest.param("card 4111111111111111 12/27", ["4111111111111111"], id="expiry-follows"),
        pytest.param("4111 1111 1111 1111 123", ["4111111111111111"], id="code-follows"),
        pytest.param("4111 1111 1111 1112", [], id="wrong-luhn"),
        pytest.param("1234 5678 9012 3452", [], id="no-issuer"),
        pytest.param("14111111111111111", [], id="digit-glued-before"),
    ],
)
def test_a_card_of_a_known_issuer_with_a_right_check_digit_is_found(find, text, expected):
    assert [value for _, value in find(text, "card")] == expected


def test_the_luhn_check_accepts_its_textbook_example():
    assert passes_luhn("79927398713")
    assert not passes_luhn("79927398714")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        pytest.param("20-00-00", "sort_code", ["20-00-00"], id="sort-code-no-date"),
        pytest.param("24-11-26", "sort_code", [], id="could-be-a-date"),
        pytest.param("sort code 12-11-26", "sort_code", ["12-11-26"], id="announced"),
        pytest.param("sort code is 200000", "sort_code", ["20-00-00"], id="six-digits"),
        pytest.param("20-00-00 55779911", "account_number", ["55779911"], id="after-sort-code"),
        pytest.param("account no. 5577 9911", "account_number", ["55779911"], id="grouped"),
        pytest.param("my account has 3 cards", "account_number", [], id="count"),
        pytest.param("SSN 078-05-1120", "ssn", ["078-05-1120"], id="ssn"),
        pytest.param("my ssn is 078051120", "ssn", ["078-05-1120"], id="ssn-without-dashes"),
        pytest.param("000-12-3456 or 666-12-3456", "ssn", [], id="ssn-never-issued"),
    ],
)
def test_numbers_without_check_digits_need_their_form_or_a_cue(find, text, kind, expected):
    assert [value for _, value in find(text, kind)] == expected
