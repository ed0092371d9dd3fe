"""The guard's tagger of names and addresses, and the windows it looks through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmesh.mesh.bundle import load_bundle
from slmesh.slm.guard.personal import find_personal_data
from slmesh.slm.guard.tagger import TAGS, Tagger, decode, load_tagger
from slmesh.slm.guard.windows import windows

BUNDLE = Path(__file__).parents[2] / "models" / "guard" / "0.3.0"


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    """Return the shipped tagger."""
    return load_tagger(load_bundle(BUNDLE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "I sent 40 pounds to Ahmed Farouk yesterday.", [("person", "Ahmed Farouk")], id="name"
        ),
        pytest.param(
            "i live at 12 juniper lane bristol",
            [("address", "12 juniper lane bristol")],
            id="lower-case-address",
        ),
        pytest.param("Netflix took 12.99 twice in May.", [], id="company-and-month"),
        pytest.param("Status: done.", [], id="capital-at-the-start"),
    ],
)
def test_names_and_addresses_are_found_in_running_text(
    tagger: Tagger, text: str, expected: list[tuple[str, str]]
) -> None:
    found = find_personal_data(text, tagger)
    assert [(match.kind, text[match.start : match.end]) for match in found] == expected


@given(text=st.text(max_size=200))
def test_the_tagger_answers_any_text_with_spans_inside_it(tagger: Tagger, text: str) -> None:
    last = 0
    for match in tagger(text):
        assert last <= match.start < match.end <= len(text)
        assert text[match.start : match.end] == match.text
        last = match.end


def test_tags_of_a_long_text_do_not_depend_on_where_it_is_cut(tagger: Tagger) -> None:
    sentence = "My friend Anna Berg lives at 12 Oak Street in Leeds. "
    once = [(match.kind, match.text) for match in tagger(sentence)]
    assert [(match.kind, match.text) for match in tagger(sentence * 40)] == once * 40


def test_the_best_path_wins_over_the_best_single_tags() -> None:
    emissions = np.zeros((2, len(TAGS)), np.float32)
    emissions[0, 0], emissions[1, 2] = 1.0, 2.0
    transitions = np.zeros((len(TAGS) + 1, len(TAGS)), np.float32)
    transitions[0, 2] = -9.0
    assert decode(emissions, transitions) == [1, 2]


@given(st.text(max_size=300), st.sampled_from([0, 40]))
def test_windows_cover_all_but_white_space_without_overlap(text: str, grow_to: int) -> None:
    places = windows(text, grow_to)
    rest, last = "", 0
    for start, end in places:
        assert last <= start < end
        rest += text[last:start]
        last = end
    assert not (rest + text[last:]).strip()
