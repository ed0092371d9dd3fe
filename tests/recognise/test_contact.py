"""E-mail addresses, telephone numbers, URLs and IP addresses."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("to Jo.B@Example.COM.", [("Jo.B@Example.COM", "Jo.B@example.com")], id="case"),
        pytest.param("a+b_c@mail.co.uk, x", [("a+b_c@mail.co.uk", "a+b_c@mail.co.uk")], id="tag"),
        pytest.param("<x@y.org>", [("x@y.org", "x@y.org")], id="brackets"),
        pytest.param("josé@exämple.de", [("josé@exämple.de", "josé@exämple.de")], id="accents"),
        pytest.param("地址test@test.com", [("test@test.com", "test@test.com")], id="after-han"),
        pytest.param("a@b and @c and d@", [], id="no-domain"),
        pytest.param("x.@y.org", [], id="dot-before-at"),
        pytest.param("j_9@[129.126.118.1]", [("j_9@[129.126.118.1]",) * 2], id="address-literal"),
    ],
)
def test_emails_are_found_with_a_lower_case_domain(find, text, expected):
    assert find(text, "email") == expected


@pytest.mark.parametrize(
    ("text", "locale", "expected"),
    [
        pytest.param("call 020 7183 8750", "en-GB", ["+442071838750"], id="national"),
        pytest.param("(020) 7183-8750 please", "en-GB", ["+442071838750"], id="brackets"),
        pytest.param("+44 7700 900123", "en-GB", ["+447700900123"], id="reserved-for-fiction"),
        pytest.param("07700 900123", "en-GB", ["+447700900123"], id="trunk-prefix"),
        pytest.param("0049 30 901820", "en-GB", ["+4930901820"], id="double-zero"),
        pytest.param("(415) 555-2671", "en-GB", ["+14155552671"], id="american-shape"),
        pytest.param("415-555-2671", "en-US", ["+14155552671"], id="american-region"),
        pytest.param("030 901820", "de-DE", ["+4930901820"], id="german-region"),
        pytest.param("my phone is 123456789012345", "en-GB", [None], id="announced-unknown"),
        pytest.param("(914)349-8600 04/21/2020", "en-US", ["+19143498600"], id="before-a-date"),
        pytest.param("phone 0176 12 34 56 78", "en-US", [None], id="of-another-country"),
        pytest.param("(0045) 33 12 34 56", "en-US", ["+4533123456"], id="double-zero-in-brackets"),
        pytest.param(
            "+86 20 61302222-8866", "en-US", ["+862061302222"], id="extension-behind-a-dash"
        ),
        pytest.param("(123) 456-7890", "en-US", ["+11234567890"], id="american-shape-not-in-use"),
        pytest.param("is(+45)33-12-34-56", "en-US", ["+4533123456"], id="bracket-after-a-letter"),
        pytest.param(
            "OFFICE-1(516)733-3989", "en-US", ["+15167333989"], id="after-a-word-and-dash"
        ),
        pytest.param("paid on 12.11.2021 10:30", "en-GB", [], id="date"),
        pytest.param("order 123456789", "en-GB", [], id="plain-digits"),
        pytest.param("0.000000012", "en-GB", [], id="decimal"),
        pytest.param("12345678901234567890123", "en-GB", [], id="too-long"),
    ],
)
def test_phones_are_found_by_region_prefix_or_cue(find, text, locale, expected):
    assert [value for _, value in find(text, "phone", locale=locale)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("HTTPS://Ab.com/Q?x=1.", "https://ab.com/Q?x=1", id="host-lowered"),
        pytest.param("(see www.Example.org)", "www.example.org", id="www"),
        pytest.param("bing.com/a,", "bing.com/a", id="bare-domain"),
        pytest.param("Ends.https://t.co/a", "https://t.co/a", id="after-a-full-stop"),
        pytest.param("http://a.de/x_(y)", "http://a.de/x_(y)", id="own-bracket"),
    ],
)
def test_urls_are_found_without_the_punctuation_around_them(find, text, expected):
    assert [value for _, value in find(text, "url")] == [expected]


@pytest.mark.parametrize("text", ["end of it.Then", "v1.2.3", "a@b.com", "e.g. this"])
def test_words_with_dots_are_no_urls(find, text):
    assert find(text, "url") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("from 192.168.0.1.", ["192.168.0.1"], id="v4"),
        pytest.param("2001:DB8:0:0:0:0:0:1", ["2001:db8::1"], id="v6-shortest"),
        pytest.param("256.1.1.1", [], id="v4-out-of-range"),
        pytest.param("1.2.3.4.5", [], id="five-parts"),
        pytest.param("at 10:30:00", [], id="time"),
    ],
)
def test_ip_addresses_are_found_in_their_shortest_form(find, text, expected):
    assert [value for _, value in find(text, "ip_address")] == expected
