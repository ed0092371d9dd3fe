"""What kind of question a prompt is, told by its form."""

from __future__ import annotations

import numpy as np
import pytest

from slmesh.training.question_features import LENGTHS, options_of, question_features

CHOICE = "Which number is NOT even?\nA. 2\nB. 3\nC. 4\nD. 6\nAnswer:"


def test_a_prompt_is_taken_apart_into_question_and_options():
    assert options_of(CHOICE) == ("Which number is NOT even?", ["2", "3", "4", "6"])
    assert options_of("How many are left?") == ("How many are left?", [])


def test_every_prompt_has_as_many_finite_features():
    prompts = [CHOICE, "How many are left?", " ", "?", "1", "\nA. \nB. ", "ß²\u2028 x" * 500]
    features = question_features(prompts)
    assert features.shape[0] == len(prompts)
    assert np.isfinite(features).all()


def test_the_first_columns_are_length_alone():
    features = question_features(["abc d", "d abc", "longer than both"])
    assert features[0, :LENGTHS].tolist() == features[1, :LENGTHS].tolist()
    assert features[2, 0] == pytest.approx(np.log(16))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(CHOICE.replace("NOT", "now"), id="negation"),
        pytest.param(CHOICE.replace("C. 4", "C. x"), id="an-option-that-is-no-number"),
        pytest.param(CHOICE.replace("A. 2", "A. 5"), id="options-out-of-order"),
        pytest.param(CHOICE.replace("?", "."), id="no-question-mark"),
        pytest.param(CHOICE.replace("D. 6", "D. I"), id="roman-numeral"),
    ],
)
def test_questions_of_one_length_differ_by_their_form(changed):
    one, other = question_features([CHOICE, changed])
    assert one[0] == other[0]
    assert (one != other).any()
