"""The sentences the guard's tagger learns from, and that it learns from them; without any data set."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from slmesh.slm.guard.tagger import Network, Tagger
from slmesh.slm.guard.words import FLAGS, Lexicon, hash_of
from slmesh.training.screening_lexicon import CommonWords, make_lexicon
from slmesh.training.screening_personal import (
    Answers,
    character_recall,
    chosen_leniency,
    figures,
)
from slmesh.training.screening_sentences import _filled as filled
from slmesh.training.screening_sentences import _refilled as refilled
from slmesh.training.screening_sentences import marked, read_lists, seen_values
from slmesh.training.screening_tagger import tagger_tensors, train_tagger
from slmesh.training.screening_values import Values, address_form

NAMES = Path(__file__).parents[2] / "models" / "guard" / "names.yaml"
LISTS = {
    "first": ["Ana", "Tom"],
    "last": ["Berg", "Okafor"],
    "city": ["Leeds"],
    "street": ["Oak Street"],
    "country": ["Norway"],
    "job": ["Baker"],
}
NUMBERS = {
    "bits": 8,
    "hidden": 24,
    "epochs": 12,
    "rate": 0.02,
    "dropout": 0.0,
    "dropped": 0.0,
    "unnamed": 0.0,
    "batch_words": 200,
}


def values(seed: int = 0) -> Values:
    """Return values of short lists."""
    return Values(LISTS, {}, random.Random(seed))


@pytest.mark.parametrize("seed", range(20))
def test_slots_are_filled_with_their_places(seed: int) -> None:
    text, places = filled("{full} lives at {address}, {job}, in {city}.", values(seed))
    assert [kind for kind, _, _ in places] == ["person", "address", "place"]
    assert all(0 <= start < end <= len(text) for _, start, end in places)
    assert text[places[2][1] :].lower() == "leeds."
    assert text[: places[0][2]][:3] in ("Ana", "Tom", "A. ", "T. ")


def test_a_row_is_refilled_with_values_of_the_same_form() -> None:
    text = "Ana of 12 Oak Street, Leeds"
    row = {
        "text": text,
        "spans": [
            {"label": "PERSON", "start": 0, "end": 3, "text": "Ana"},
            {"label": "STREET_ADDRESS", "start": 7, "end": 20, "text": "12 Oak Street"},
            {"label": "GPE", "start": 22, "end": 27, "text": "Leeds"},
        ],
    }
    assert marked(row) == [("person", 0, 3), ("address", 7, 20), ("place", 22, 27)]
    new, places = refilled(row, values(3), {"ana"})
    (_, start, end), (_, first, last), (_, at, to) = places
    assert new[start:end] in ("Ana", "Tom")
    assert any(character.isdigit() for character in new[first:last])
    assert new[end:first] == " of "
    assert new[at:to] in ("Leeds", "LEEDS", "Norway")


def test_a_title_by_itself_is_no_name() -> None:
    row = {
        "text": "Mr. Berg",
        "spans": [
            {"label": "PERSON", "start": 0, "end": 3, "text": "Mr."},
            {"label": "PERSON", "start": 4, "end": 8, "text": "Berg"},
        ],
    }
    assert marked(row) == [("person", 4, 8)]
    assert seen_values([row], {"ana"}) == {"last": ["Berg"]}


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("4411", "number"),
        ("Apt. 12", "unit"),
        ("12 Oak Street", "street"),
        ("Unit 1 Box 2\nAPO AE 09012", "address"),
        ("Oak Street", "other"),
    ],
)
def test_the_form_of_a_part_of_an_address_is_told(text: str, form: str) -> None:
    assert address_form(text) == form


def test_the_committed_lists_hold_names_of_every_form() -> None:
    lists = read_lists(NAMES)
    assert set(lists) >= set(LISTS)
    assert all(
        len(lists[form]) > 100 and len(set(lists[form])) == len(lists[form]) for form in LISTS
    )


def small_lexicon() -> Lexicon:
    """Return a table of a few words."""
    common = CommonWords(["meet", "the", "at"], np.array([[1, 0], [0, 1], [1, 1]], np.int8), 0.5)
    return make_lexicon(common, LISTS, {"full": ["Mei Lin Chen"]}, bits=8)


def test_words_are_looked_up_whatever_their_case() -> None:
    features = small_lexicon().features(["MEET", "Ana", "Chen", "Mei", "Lin"])
    known = [{FLAGS[i] for i in np.flatnonzero(row)} for row in features.flags]
    assert known == [{"common"}, {"first"}, {"last"}, {"first"}, {"unknown"}]
    assert features.vectors[0].tolist() == [0.5, 0.0]
    assert not features.vectors[1:].any()


def test_tables_that_do_not_fit_are_refused() -> None:
    key = np.array([hash_of("a")], np.uint32)
    with pytest.raises(ValueError, match="fit"):
        Lexicon(key, np.zeros((2, 2), np.int8), 1.0, key, np.zeros(1, np.uint8), 8)


def test_a_tagger_learns_where_names_stand_and_runs_from_its_tensors() -> None:
    draw = values(5)
    sentences = [filled("meet {full} at the {street}", draw) for _ in range(60)]
    sentences += [("meet the baker at the station", ())] * 30
    lexicon = small_lexicon()
    losses: list[str] = []
    network = train_tagger(sentences, lexicon, NUMBERS, 3, losses.append)
    assert len(losses) == NUMBERS["epochs"]
    tagger = Tagger(Network.from_tensors(network), lexicon)
    found = Counter(
        (match.kind, match.start, match.end) for text, _ in sentences[:60] for match in tagger(text)
    )
    wanted = Counter(place for _, places in sentences[:60] for place in places)
    assert (found & wanted).total() > 0.9 * wanted.total()
    assert tagger("meet the baker at the station") == []
    assert set(tagger_tensors(network, lexicon)) == {
        f"personal.{name}"
        for name in (
            *network,
            *("words.common", "words.vectors", "words.scale", "words.names", "words.flags"),
        )
    }


def test_leniency_covers_more() -> None:
    draw = values(6)
    sentences = [filled("meet {full}", draw) for _ in range(20)] + [("meet the baker", ())] * 20
    lexicon = small_lexicon()
    network = train_tagger(sentences, lexicon, NUMBERS, 3)
    tagger = Tagger(Network.from_tensors(network), lexicon)
    assert tagger("meet the baker") == []
    assert tagger("meet the baker", leniency=100.0) != []


def test_tensors_of_the_wrong_shape_or_with_nan_are_refused() -> None:
    network = train_tagger([filled("meet {full}", values())], small_lexicon(), NUMBERS, 1)
    with pytest.raises(ValueError, match="no number"):
        Network.from_tensors({**network, "out": np.full_like(network["out"], np.nan)})
    with pytest.raises(ValueError, match="fit"):
        Network.from_tensors({**network, "out": network["out"][:, :3]})


def test_figures_count_exact_spans_and_covered_characters() -> None:
    gold = {("person", 0, 4), ("card", 10, 14)}
    found = {("person", 0, 2), ("card", 10, 14)}
    given = Answers(["Anna has a 1234 now"], [gold], [found], 0.001)
    told = figures(given)
    assert told["all"] == {"n": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert told["kinds"]["person"]["f1"] == 0.0
    assert character_recall(given) == {"person": 0.5, "card": 1.0, "all": 0.75}
    assert told["character_recall"] == 0.75


def test_the_least_leniency_that_covers_enough_is_chosen() -> None:
    curve = [
        {"leniency": 0.0, "recall": 0.9, "in_vain": 0.0},
        {"leniency": 1.0, "recall": 0.98, "in_vain": 0.01},
        {"leniency": 2.0, "recall": 0.99, "in_vain": 0.02},
    ]
    assert chosen_leniency(curve, 0.97) == 1.0
    assert chosen_leniency(curve, 0.999) == 2.0
