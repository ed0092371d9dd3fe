"""The entities service with its shipped bundle, and the tagger by itself."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from slmesh.api.extract.v1.extract_pb2 import (
    FIELD_SOURCE_MODEL,
    FIELD_SOURCE_RULE,
    ExtractRequest,
    ExtractResponse,
    Field,
)
from slmesh.mesh.bundle import find_bundle, load_bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, MeshError
from slmesh.mesh.manifest import load_manifest
from slmesh.mesh.service import Resources
from slmesh.slm.entities import service as entities_module
from slmesh.slm.entities.features import sequences, shape, tokens
from slmesh.slm.entities.fields import FieldSets
from slmesh.slm.entities.service import Entities
from slmesh.slm.entities.tagger import LinearTagger, marginal, spans_of, viterbi

_MODELS = Path(__file__).parents[2] / "models"
_FOLDER = Path(entities_module.__file__).parent


@pytest.fixture(scope="module")
def entities(tmp_path_factory) -> Entities:
    """The service as it is shipped."""
    manifest = load_manifest(_FOLDER / "service.yaml")
    bundle = load_bundle(find_bundle("entities", [_MODELS]))
    service = Entities()
    service.load(Resources(manifest, bundle, tmp_path_factory.mktemp("cache"), 1))
    return service


def _request(text: str, **values: object) -> ExtractRequest:
    reference = str(values.pop("reference_time", "2026-11-24T09:00:00Z"))
    request = ExtractRequest(text=text, **values)
    request.reference_time.FromJsonString(reference)
    return request


def _answer(service: Entities, text: str, **values: object) -> ExtractResponse:
    (response,) = service.answer([_request(text, **values)])
    assert isinstance(response, ExtractResponse), response
    return response


def _found(response: ExtractResponse) -> list[tuple[str, str]]:
    return [(field.name, field.text) for field in response.fields]


def _golden() -> list[dict]:
    path = find_bundle("entities", [_MODELS]) / "golden.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("row", _golden(), ids=lambda row: row["text"][:40])
def test_a_golden_text_gives_its_fields_spans_and_values(entities, row):
    keys = ("field_set", "fields", "locale", "time_zone", "default_currency", "reference_time")
    response = _answer(entities, row["text"], **{key: row[key] for key in keys if key in row})
    found = [_as_written(field) for field in response.fields]
    assert found == row["expected"]


def _as_written(field: Field) -> dict:
    span = {"name": field.name, "start": field.span.start, "end": field.span.end}
    value = {"value": MessageToDict(field.value)} if field.HasField("value") else {}
    return span | {"text": field.text} | value


def test_rules_have_no_probability_and_names_have_one(entities):
    response = _answer(entities, "I paid £5 to my landlord Anna Kowalski")
    by_name = {field.name: field for field in response.fields}
    assert by_name["amount"].source == FIELD_SOURCE_RULE
    assert not by_name["amount"].HasField("probability")
    assert by_name["person"].source == FIELD_SOURCE_MODEL
    assert 0.0 < by_name["person"].probability <= 1.0


def test_the_answer_names_the_model_and_its_tier(entities):
    provenance = _answer(entities, "£5").provenance
    assert (provenance.service, provenance.model, provenance.tier) == (
        "entities",
        "entities",
        "linear",
    )
    assert provenance.digest.startswith("sha256:")


def test_asking_for_some_fields_is_a_choice_among_all(entities):
    text = "Send £20 to Grace Okafor by 3 May, order number 48213"
    every = _found(_answer(entities, text))
    some = _found(_answer(entities, text, fields=["amount", "order_number"]))
    assert some == [pair for pair in every if pair[0] in ("amount", "order_number")]
    assert len(some) == 2


def test_a_joined_field_makes_way_for_its_parts_when_they_alone_are_wanted(entities):
    text = "tomorrow at 5pm"
    assert _found(_answer(entities, text)) == [("date_time", "tomorrow at 5pm")]
    assert _found(_answer(entities, text, fields=["date", "time"])) == [
        ("date", "tomorrow"),
        ("time", "5pm"),
    ]


def test_a_name_beats_the_number_in_it_and_an_address_beats_a_name(entities):
    response = _answer(entities, "write to anna.smith@example.com")
    assert _found(response) == [("email", "anna.smith@example.com")]


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        pytest.param("13", "time", {"time": "13:00:00"}, id="hour"),
        pytest.param("1415", "time", {"time": "14:15:00"}, id="hour-and-minute"),
        pytest.param(" 13. ", "people", {"number": 13.0}, id="party"),
    ],
)
def test_a_bare_number_answers_the_one_field_that_is_asked_for(entities, text, field, value):
    response = _answer(entities, text, field_set="reservation", fields=[field])
    assert [MessageToDict(found.value) for found in response.fields] == [value]


@pytest.mark.parametrize("text", ["", " ", "\n", "hello", "\x00\x01", "🙂", "?" * 1000])
def test_a_text_without_fields_gives_an_empty_list(entities, text):
    assert _found(_answer(entities, text)) == []


_PIECES = st.sampled_from(
    [
        *(
            "£5",
            "tomorrow at 5pm",
            "Anna Smith",
            "London",
            "a@b.com",
            "Barclays",
            "4111 1111 1111 1111",
        ),
        *(
            "😀",
            "👩‍👩‍👧",
            "e\u0301",
            "שלום",
            "مرحبا بك",
            "\u202e",
            "\x00",
            "\n",
            "-",
            "五",
            "İ",
            "ﬁ",
        ),
        "...",
    ]
)


@settings(max_examples=60)
@given(st.lists(st.one_of(_PIECES, st.text(max_size=8)), max_size=10).map(" ".join))
def test_spans_are_code_points_of_the_text(entities, text):
    # Lone surrogates cannot be in a protobuf string.
    text = text.encode("utf-8", "ignore").decode()
    for field in _answer(entities, text).fields:
        assert text[field.span.start : field.span.end] == field.text


@settings(max_examples=20)
@given(st.lists(st.lists(_PIECES, max_size=6).map(" ".join), min_size=1, max_size=8))
def test_a_batch_answers_as_its_texts_do_alone(entities, texts):
    requests = [_request(text) for text in texts]
    together = entities.answer(requests)
    for request, response in zip(requests, together, strict=True):
        (alone,) = entities.answer([request])
        assert _found(alone) == _found(response)
        assert [f.probability for f in alone.fields] == pytest.approx(
            [f.probability for f in response.fields], abs=1e-4
        )


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        pytest.param({"field_set": "bankin"}, "field_set", "banking", id="field-set"),
        pytest.param({"fields": ["date", "amonut"]}, "fields[1]", "amount", id="field"),
        pytest.param({"locale": "xx-YY"}, "locale", "xx-YY", id="locale"),
        pytest.param({"time_zone": "Mars/Base"}, "time_zone", "IANA", id="time-zone"),
        pytest.param({"time_zone": "../etc/passwd"}, "time_zone", "IANA", id="path-as-zone"),
        pytest.param({"default_currency": "QQQ"}, "default_currency", "ISO 4217", id="currency"),
        pytest.param(
            {"reference_time": "0001-01-01T00:00:00Z"}, "reference_time", "1900", id="reference"
        ),
    ],
)
def test_a_wrong_request_is_refused_by_field(entities, values, field, words):
    request = _request("£5 tomorrow", **values)
    with pytest.raises(InvalidArgument, match=words) as refused:
        entities.check(request)
    assert refused.value.field == field


def test_a_wrong_request_in_a_batch_does_not_fail_its_neighbours(entities):
    wrong, right = _request("£5", locale="xx-YY"), _request("£5")
    first, second = entities.answer([wrong, right])
    assert isinstance(first, MeshError)
    assert isinstance(second, ExtractResponse)


def test_without_a_reference_time_dates_count_from_now(entities):
    (response,) = entities.answer([ExtractRequest(text="today")])
    assert response.fields[0].value.WhichOneof("kind") == "date"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({}, "at least one", id="none"),
        pytest.param({"field_sets": {"a": {}}}, "declares no field", id="empty-set"),
        pytest.param({"field_sets": {"a": {"x": "mony"}}}, "money", id="unknown-kind"),
        pytest.param(
            {"field_sets": {"a": {"x": "money"}}, "default_field_set": "b"}, "'b'", id="default"
        ),
    ],
)
def test_wrong_options_are_refused_at_start(options, words):
    with pytest.raises(FailedPrecondition, match=words):
        FieldSets(options)


def test_one_kind_may_fill_two_fields():
    sets = FieldSets({"field_sets": {"a": {"price": "money", "fee": "money"}}})
    wanted = sets.wanted(ExtractRequest(text="£5"))
    assert wanted.fields == {"money": ("price", "fee")}


def test_tokens_have_exact_offsets_and_cover_every_letter():
    text = "O'Neill's café, e\u0301t\u0301 5x! 👋🏽שלום"
    assert all(text[token.start : token.end] == token.text for token in tokens(text))
    covered = "".join(token.text for token in tokens(text))
    assert [c for c in text if c.isalpha()] == [c for c in covered if c.isalpha()]


def test_a_long_line_is_cut_into_sequences_of_bounded_length():
    assert [len(part) for part in sequences("a " * 150)] == [64, 64, 22]
    assert [len(part) for part in sequences("One. Two!\nThree")] == [2, 2, 1]


@pytest.mark.parametrize(
    ("word", "expected"), [("McKay7", "XxXx9"), ("éÉ", "xX"), ("don't", "x'x"), ("2026", "9")]
)
def test_the_shape_of_a_word_shortens_runs(word, expected):
    assert shape(word) == expected


_TAGS = ("O", "B-person", "I-person")


def _toy_tensors(**changes: np.ndarray) -> dict[str, np.ndarray]:
    tensors = {
        "weights": np.zeros((8, 3), dtype=np.int8),
        "scales": np.ones(3, dtype=np.float32),
        "transitions": np.zeros((3, 3), dtype=np.float32),
        "opening": np.zeros(3, dtype=np.float32),
        "common": np.zeros(1, dtype=np.int64),
    }
    return tensors | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"weights": np.zeros((8, 2), dtype=np.int8)}, "3 tags", id="columns"),
        pytest.param({"weights": np.zeros((7, 3), dtype=np.int8)}, "power of two", id="buckets"),
        pytest.param(
            {"scales": np.array([1, np.nan, 1], dtype=np.float32)}, "scales", id="not-a-number"
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        LinearTagger(_TAGS, _toy_tensors(**changes), {})


def test_decoding_never_continues_a_span_that_did_not_begin():
    generator = np.random.default_rng(3)
    scores = generator.normal(size=(5, 9, 3)).astype(np.float32) * 3
    lengths = np.array([9, 1, 4, 7, 2])
    mask = np.array([[0, 0, -np.inf], [0, 0, 0], [0, 0, 0]])
    best = viterbi(scores, lengths, mask, np.array([0, 0, -np.inf]))
    for row, length in zip(best, lengths, strict=True):
        tags = [_TAGS[tag] for tag in row[:length]]
        assert tags[0] != "I-person"
        assert all(before != "O" for before, tag in pairwise(tags) if tag[0] == "I")


def test_padding_changes_neither_the_best_tags_nor_their_probabilities():
    generator = np.random.default_rng(5)
    scores = generator.normal(size=(2, 8, 3)).astype(np.float32)
    flat, opening = np.zeros((3, 3)), np.zeros(3)
    lengths = np.array([8, 3])
    alone = np.array([3])
    padded = marginal(scores, lengths, flat, opening)[1, :3]
    np.testing.assert_allclose(padded, marginal(scores[1:, :3], alone, flat, opening)[0], rtol=1e-5)
    best = viterbi(scores, lengths, flat, opening)[1, :3]
    assert (best == viterbi(scores[1:, :3], alone, flat, opening)[0]).all()


def test_marginals_are_probabilities():
    scores = np.random.default_rng(7).normal(size=(4, 6, 3)).astype(np.float32) * 20
    found = marginal(scores, np.array([6, 6, 6, 6]), np.zeros((3, 3)), np.zeros(3))
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)


def test_spans_are_read_from_tags():
    tags = ["B-person", "I-person", "O", "B-place", "B-place", "I-place"]
    assert spans_of(tags) == [("person", 0, 2), ("place", 3, 4), ("place", 4, 6)]
