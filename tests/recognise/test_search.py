"""Overlaps, offsets, unknown kinds and the time that hostile texts take."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmesh.recognise import KINDS, Context, Match, recognise, without_overlaps

CONTEXT = Context(reference_time=datetime(2026, 11, 24, 9, tzinfo=UTC))

_PIECES = st.sampled_from(
    [
        *(
            "£5",
            "tomorrow",
            "at 5pm",
            "a@b.com",
            "020 7183 8750",
            "4111 1111 1111 1111",
            "3 days ago",
        ),
        *("😀", "👩‍👩‍👧", "e\u0301", "שלום", "مرحبا", "١٢", "\u202e", "\x00", "\n", " ", "-", "五"),
        *("ﬁ", "İ"),
    ]
)


@settings(max_examples=60)
@given(st.lists(st.one_of(_PIECES, st.text(max_size=6)), max_size=12).map(" ".join))
def test_offsets_are_code_points_of_the_text_and_matches_do_not_overlap(text):
    end = 0
    for match in recognise(text, KINDS, CONTEXT):
        assert text[match.start : match.end] == match.text
        assert end <= match.start < match.end
        end = match.end


_WORDS = [
    "one",
    "ten",
    "twenty",
    "hundred",
    "thousand",
    "million",
    "dozen",
    "half",
    "a",
    "and",
    "point",
    "minus",
    "third",
    "31st",
    "29",
    "0",
    "1.5",
    "1,000",
    "5k",
    "£",
    "$",
    "GBP",
    "pounds",
    "p",
    "%",
    "per",
    "cent",
    "february",
    "may",
    "sun",
    "tues",
    "the",
    "of",
    "next",
    "last",
    "this",
    "in",
    "ago",
    "from",
    "now",
    "before",
    "after",
    "to",
    "until",
    "-",
    "/",
    ".",
    ",",
    ":",
    "am",
    "p.m.",
    "noon",
    "o'clock",
    "past",
    "quarter",
    "night",
    "morning",
    "tonight",
    "today",
    "tomorrow",
    "day",
    "weeks",
    "month",
    "years",
    "fortnight",
    "hour",
    "h",
    "christmas",
    "year",
    "2024",
    "12/12/2020",
    "29/02/2023",
    "2023-02-29",
    "99/99/9999",
    "24:00",
    "at",
    "@",
    "+",
    "00",
    "(",
    ")",
    "account",
    "number",
    "order",
    "#",
    "12-34-56",
    "12345678",
    "ssn",
    "people",
    "table",
    "for",
    "x",
    "ish",
    "since",
    "between",
    "few",
    "'",
]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(_WORDS), max_size=9).map(" ".join))
def test_every_mixture_of_known_words_is_read_without_an_error(text):
    for match in recognise(text, KINDS, CONTEXT):
        assert text[match.start : match.end] == match.text


def test_an_open_bracket_before_a_number_that_is_no_phone_is_read():
    assert [m.kind for m in recognise("( 99/99/9999", KINDS, CONTEXT)] == []


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_any_text_in_any_locale_is_read_without_an_error(text):
    for locale in ("en-US", "de-DE", "ja", "ar-EG"):
        recognise(text, KINDS, Context(locale, reference_time=CONTEXT.reference_time))


def test_an_email_inside_a_url_is_part_of_the_url():
    kinds = [match.kind for match in recognise("http://x.org/?m=a@b.com", KINDS, CONTEXT)]
    assert kinds == ["url"]


def test_a_date_stands_for_the_numbers_in_it():
    kinds = [match.kind for match in recognise("on 5/11/2018", {"date", "number"}, CONTEXT)]
    assert kinds == ["date"]


def test_a_joined_date_and_time_stands_for_its_parts():
    matches = recognise("tomorrow at 5pm", KINDS, CONTEXT)
    assert [match.kind for match in matches] == ["date_time"]


def test_a_proven_kind_beats_a_longer_one_that_is_not():
    weak = Match("phone", 0, 12, "x" * 12, None)
    proven = Match("card", 2, 6, "xxxx", "1")
    assert without_overlaps([weak, proven]) == [proven]


def test_of_equals_the_longer_match_stands():
    short, long = Match("date", 0, 3, "abc", None), Match("time", 2, 8, "cdefgh", None)
    assert without_overlaps([short, long]) == [long]


def test_only_the_kinds_asked_for_are_found():
    assert [m.kind for m in recognise("£5 tomorrow", {"money"}, CONTEXT)] == ["money"]


@pytest.mark.parametrize(
    ("kinds", "context", "message"),
    [
        pytest.param({"moneys"}, CONTEXT, "moneys", id="unknown-kind"),
        pytest.param({"phone"}, Context("xx-nowhere-!"), "locale", id="unknown-locale"),
        pytest.param(
            {"date"},
            Context(time_zone="Mars/Base", reference_time=CONTEXT.reference_time),
            "Mars/Base",
            id="unknown-time-zone",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(kinds, context, message):
    with pytest.raises(ValueError, match=message):
        recognise("call 020 7183 8750 tomorrow", kinds, context)


_HOSTILE = [
    *("a", "1", "1 ", "1,", "1.", "1-", "1:", "1/", "0 ", "+", "(", "-", "@", "a@", "a.", "#", "£"),
    *("£1 ", "$", "GB29 ", "4111 ", "order number ", "account ", "half a ", "one ", "five and "),
    *("point ", "monday ", "1 may ", "may ", "from 1st to ", "last week ", "in 2 days ", "at 5 "),
    *("20 to 7 ", "http://a ", "www.a.", "½", "😀", "\u0301", "\n", " ", "\x00", "١", "ssn "),
    *("+447911123456 ", "a@b.com ", "-a", "x_", "last 1 day 1 hour ", "1 hour ", "week 3 of "),
    *("a day ago monday ", "easter weekend ", "q1 ", "2019 to ", "1 1/2 ", "1e9", "2^2", "hk $ "),
    *("three twenty ", "two thirds of a ", "was charged, ", "3 may to ", "18 and ", "1 over 2 "),
    *("million ", "first week of ", "at five ", "3 . ", "nineteen ", "2019-", "$ 5 and fifty "),
]


@pytest.mark.parametrize("piece", _HOSTILE, ids=[repr(piece) for piece in _HOSTILE])
def test_a_hostile_text_takes_linear_time(piece):
    """A bound against patterns that backtrack, which take minutes; 0.05 to 0.3 s were measured."""
    text = (piece * 20_000)[:20_000]
    started = time.process_time()
    recognise(text, KINDS, CONTEXT)
    assert time.process_time() - started < 20


def test_a_hundred_thousand_code_points_take_linear_time():
    sentence = (
        "I paid £250 to Anna on 3 May at 5pm, the order number is 48213 and nothing has arrived"
        " since then although your colleague promised to call me back within two days. "
    )
    text = (sentence * 1000)[:100_000]
    started = time.process_time()
    assert len(recognise(text, KINDS, CONTEXT)) > 1000
    assert time.process_time() - started < 20
