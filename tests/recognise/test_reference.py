"""Order, booking and reference numbers."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("my booking reference is QX7RT2", "QX7RT2", id="code"),
        pytest.param("booking ref: QKXZPT", "QKXZPT", id="letters-in-capitals"),
        pytest.param("order number 48213", "48213", id="digits"),
        pytest.param("order #48213.", "48213", id="hash"),
        pytest.param("see INV-20418", "INV-20418", id="shape"),
        pytest.param("case no. 0012-3456", "0012-3456", id="dash"),
    ],
)
def test_a_code_that_is_announced_or_shaped_is_found_as_written(find, text, expected):
    assert [value for _, value in find(text, "order_number")] == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "order 2 pizzas",
        "I want to order it today",
        "a transaction of 500 pounds",
        "in order to pay",
        "the booking is tomorrow",
        "my order is late",
        "booking for 10am",
    ],
)
def test_other_words_after_the_same_nouns_are_no_codes(find, text):
    assert find(text, "order_number") == []
