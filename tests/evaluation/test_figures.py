"""Figures, on answers small enough to be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from slmesh.api.classify.v1.classify_pb2 import ClassifyResponse, Label, Labels
from slmesh.api.extract.v1.extract_pb2 import ExtractResponse, Field, Value
from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.rank.v1.rank_pb2 import RankedPassage, Ranking, RankResponse
from slmesh.api.score.v1.score_pb2 import Level, ScaleScore, ScoreResponse, Scores
from slmesh.api.types.v1.abstention_pb2 import Abstention
from slmesh.api.types.v1.span_pb2 import Span
from slmesh.evaluation.cases import (
    ExpectedField,
    ExpectedFields,
    ExpectedFindings,
    ExpectedLabel,
    ExpectedLevel,
    Pool,
    Question,
    RequestCase,
)
from slmesh.evaluation.field_figures import field_figures
from slmesh.evaluation.finding_figures import (
    finding_figures,
    interval,
    recall_at_false_positive_rate,
)
from slmesh.evaluation.label_figures import label_figures, level_figures, rank_correlation
from slmesh.evaluation.question_figures import question_figures
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument


def case(source="set") -> RequestCase:
    """Return a case that only says where it comes from."""
    return RequestCase(source, "f.jsonl, line 1", None, ())


def label(
    name: str, probability: float, *, abstains: bool = False, confidence: float = 0.0
) -> ClassifyResponse:
    labels = [Label(name=name, probability=probability)]
    if abstains:
        return ClassifyResponse(abstention=Abstention(confidence=confidence), nearest=labels)
    return ClassifyResponse(labels=Labels(labels=labels))


def test_abstention_is_wrong_in_scope_and_right_out_of_scope():
    figures = label_figures(
        [ExpectedLabel(name) for name in ("a", "a", "b", "b", "oos", "oos")],
        [
            label("a", 0.9),
            label("b", 0.6),
            label("b", 0.5, abstains=True),
            label("b", 0.8),
            label("a", 0.3, abstains=True),
            label("a", 0.7),
        ],
    )
    assert figures == {
        "accuracy": pytest.approx(3 / 6),
        "in_scope_accuracy": pytest.approx(2 / 4),
        "in_scope_accuracy_forced": pytest.approx(3 / 4),
        "oos_recall": pytest.approx(1 / 2),
        # of the four texts in scope .9 and .8 stand above both others, .6 above one, .5 ties with one
        "oos_auroc": pytest.approx((2 + 2 + 1 + 0.5) / 8),
        "ece": pytest.approx((0.1 + 0.6 + 0.5 + 0.2) / 4),
        "macro_f1": pytest.approx((2 / 3 + 4 / 5) / 2),
        "abstained": pytest.approx(2 / 6),
    }


def test_figures_without_rows_are_left_out():
    assert label_figures([ExpectedLabel("oos")], [label("a", 0.1, abstains=True)]) == {
        "accuracy": 1.0,
        "oos_recall": 1.0,
        "abstained": 1.0,
    }


def test_an_answer_out_of_scope_stands_above_every_abstention_in_scope():
    expected = [ExpectedLabel(name) for name in ("a", "a", "oos", "oos")]
    answers = [
        label("a", 0.5),
        label("a", 0.9, abstains=True, confidence=0.4),
        label("b", 0.4),
        label("b", 0.9, abstains=True, confidence=0.2),
    ]
    assert label_figures(expected, answers)["oos_auroc"] == pytest.approx((2 + 1) / 4)


def score(scale: str, value: float, **levels: float) -> ScoreResponse:
    made = [Level(name=name, probability=p) for name, p in levels.items()]
    return ScoreResponse(scores=Scores(scores=[ScaleScore(scale=scale, value=value, levels=made)]))


def test_a_scale_has_accuracy_calibration_and_order():
    figures = level_figures(
        [case()] * 3,
        [ExpectedLevel("heat", level) for level in ("low", "high", "high")],
        [
            score("heat", 0.2, low=0.8, high=0.2),
            score("heat", 0.4, low=0.6, high=0.4),
            score("heat", 0.9, low=0.1, high=0.9),
        ],
    )
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["macro_f1"] == pytest.approx(2 / 3)
    assert figures["ece"] == pytest.approx((0.2 + 0.6 + 0.1) / 3)
    assert figures["spearman"] == pytest.approx(0.8660254)
    assert figures["abstained"] == 0


def test_several_scales_have_figures_of_their_own():
    figures = level_figures(
        [case()] * 3,
        [ExpectedLevel("a", "x"), ExpectedLevel("a", "y"), ExpectedLevel("b", "x")],
        [score("a", 0, x=1, y=0), score("a", 0, x=1, y=0), score("b", 0, x=1, y=0)],
    )
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["by_scale"]["a"]["n"] == 2
    assert figures["by_scale"]["b"]["accuracy"] == 1


def test_a_level_the_scale_has_not_is_named_with_its_row():
    with pytest.raises(InvalidArgument, match="line 1: the scale 'a' has no level 'hihg'; did you"):
        level_figures([case()], [ExpectedLevel("a", "hihg")], [score("a", 1, low=0, high=1)])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1, 2, 3], [10, 20, 30], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 1, 2, 2], [1, 1, 2, 2], 1.0),
        ([1, 1, 1], [1, 2, 3], 0.0),
    ],
)
def test_rank_correlation_shares_ranks_of_ties(left, right, expected):
    assert rank_correlation(np.array(left), np.array(right)) == pytest.approx(expected)


def field(name: str, start: int, end: int, **value) -> Field:
    return Field(name=name, span=Span(start=start, end=end), text="x", value=Value(**value))


def test_spans_are_right_when_start_end_and_type_agree():
    expected = ExpectedFields((ExpectedField("a", 0, 2), ExpectedField("b", 5, 9)), ((10, 12),))
    response = ExtractResponse(
        fields=[field("a", 0, 2), field("b", 5, 8), field("b", 10, 11), field("a", 20, 22)]
    )
    figures = field_figures([expected], [[response]])
    assert figures["span_precision"] == pytest.approx(1 / 3)  # [10, 11) is not judged
    assert figures["span_recall"] == pytest.approx(1 / 2)
    assert figures["span_f1"] == pytest.approx(2 / 5)
    assert figures["span_f1_by_type"] == {"a": pytest.approx(2 / 3), "b": 0.0}
    assert "value_exact" not in figures


def test_a_missed_value_is_wrong_and_an_inexact_span_is_not():
    right = frozenset({"number:7"})
    expected = ExpectedFields(
        (ExpectedField("a", 0, 5, right), ExpectedField("a", 9, 12, right)), ()
    )
    response = ExtractResponse(fields=[field("a", 1, 5, number=7.0)])
    figures = field_figures([expected], [[response]])
    assert figures["value_exact"] == pytest.approx(1 / 2)
    assert figures["value_exact_by_type"] == {"a": pytest.approx(1 / 2)}
    assert figures["value_n_by_type"] == {"a": 2}


def test_a_value_of_another_field_counts_only_as_the_end_of_a_range():
    ends = ExpectedFields(
        (ExpectedField("date", 0, 3, frozenset({"date:2026-05-07", "to:2026-05-07"})),)
    )
    whole = ExpectedFields((ExpectedField("date", 0, 3, frozenset({"date:2026-05-03"})),))
    ranged = ExtractResponse(fields=[field("date_range", 0, 9, interval="2026-05-03/2026-05-08")])
    moment = ExtractResponse(fields=[field("date_time", 0, 9, date_time="2026-05-03T17:00:00")])
    assert field_figures([ends], [[ranged]])["value_exact"] == 1
    assert field_figures([whole], [[moment]])["value_exact"] == 0


def test_a_day_beside_a_time_is_told_by_both_together():
    day = ExpectedField("date", 0, 4, frozenset({"date:2026-05-03"}))
    clock = ExpectedField("time", 5, 9, frozenset({"time:17:00:00"}))
    moment = ExtractResponse(fields=[field("date_time", 0, 9, date_time="2026-05-03T17:00:00")])
    assert field_figures([ExpectedFields((day, clock))], [[moment]])["value_exact"] == 1
    late = ExtractResponse(fields=[field("date_time", 0, 9, date_time="2026-05-03T18:00:00")])
    assert field_figures([ExpectedFields((day, clock))], [[late]])["value_exact"] == 1 / 2


def test_what_the_narrow_request_finds_stands():
    expected = ExpectedFields((ExpectedField("time", 0, 1), ExpectedField("date", 4, 8)))
    wide = ExtractResponse(fields=[field("people", 0, 1), field("date", 4, 8)])
    narrow = ExtractResponse(fields=[field("time", 0, 1)])
    assert field_figures([expected], [[wide, narrow]])["span_f1"] == 1


def test_values_are_given_with_and_without_rows_of_an_engine():
    values = (ExpectedField("a", 0, 5, frozenset({"number:7"})),)
    answer = [ExtractResponse(fields=[field("a", 0, 5, number=7.0)])]
    figures = field_figures(
        [ExpectedFields(values), ExpectedFields(values, (), True)], [answer, [ExtractResponse()]]
    )
    assert figures["value_exact"] == pytest.approx(1 / 2)
    assert figures["value_exact_else"] == 1
    assert figures["engine_specific"] == pytest.approx(1 / 2)


def screened(*found: guard_pb2.Finding, complete: bool = True) -> guard_pb2.ScreenResponse:
    coverage = guard_pb2.COVERAGE_COMPLETE if complete else guard_pb2.COVERAGE_PARTIAL
    return guard_pb2.ScreenResponse(coverage=coverage, findings=found)


def personal(kind: str, start: int, end: int) -> guard_pb2.Finding:
    return guard_pb2.Finding(
        check=guard_pb2.CHECK_TYPE_PERSONAL_DATA, kind=kind, span=Span(start=start, end=end)
    )


def injected(probability: float) -> guard_pb2.Finding:
    return guard_pb2.Finding(
        check=guard_pb2.CHECK_TYPE_INJECTION, kind="injection", probability=probability
    )


def test_personal_data_are_judged_by_span_and_by_character():
    expected = ExpectedFindings(
        frozenset({("person", 0, 4), ("card", 10, 16)}), frozenset({"person", "card"})
    )
    answer = screened(personal("person", 0, 4), personal("card", 10, 13), personal("age", 20, 22))
    request = guard_pb2.ScreenRequest(
        segments=[guard_pb2.Segment(text="Anna, pay 411111 now or else")]
    )
    asked = RequestCase("set", "f.jsonl, line 1", expected, (request,))
    figures = finding_figures([asked], [expected], [answer])
    assert figures["token_f2"] == 1  # a part of the card is enough
    assert figures["span_precision"] == pytest.approx(1 / 2)  # ages are not marked here
    assert figures["span_recall"] == pytest.approx(1 / 2)
    assert figures["span_f1_by_type"] == {"card": 0.0, "person": 1.0}
    assert figures["character_recall"] == pytest.approx(7 / 10)


def test_what_redaction_replaces_is_told_by_kind_whatever_was_found():
    expected = ExpectedFindings(
        frozenset({("person", 0, 4), ("card", 10, 16)}), frozenset({"person", "card"})
    )
    answer = screened(personal("card", 10, 16))
    answer.redacted_segments.add(
        placeholders=[
            guard_pb2.Placeholder(kind="person", original_span=Span(start=2, end=4)),
            guard_pb2.Placeholder(kind="card", original_span=Span(start=10, end=16)),
        ]
    )
    request = guard_pb2.ScreenRequest(segments=[guard_pb2.Segment(text="Anna, pay 411111 now")])
    asked = RequestCase("set", "f.jsonl, line 1", expected, (request,))
    figures = finding_figures([asked], [expected], [answer])
    assert figures["redacted_by_kind"] == {"card": 1.0, "person": pytest.approx(1 / 2)}
    assert figures["span_recall"] == pytest.approx(1 / 2)


def test_injections_have_recall_and_false_positives_by_source():
    figures = finding_figures(
        [case("attacks"), case("attacks"), case("harmless"), case("harmless")],
        [ExpectedFindings(injection=truth) for truth in (True, True, False, False)],
        [screened(injected(0.95)), screened(injected(0.85)), screened(injected(0.9)), screened()],
    )
    assert figures["recall"] == 1
    assert figures["recall_at_1pct_fpr"] == pytest.approx(1 / 2)
    assert figures["false_positive_rate"] == pytest.approx(1 / 2)
    assert figures["by_source"]["attacks"]["flagged"] == 1
    assert figures["by_source"]["harmless"]["injections"] == 0


def test_harmless_texts_alone_have_false_positives_only():
    figures = finding_figures([case()], [ExpectedFindings(injection=False)], [screened()])
    assert set(figures) == {"false_positive_rate", "by_source"}


def test_recall_at_a_false_positive_rate_needs_negatives():
    with pytest.raises(InvalidArgument, match="recall_at_1pct_fpr cannot be told"):
        finding_figures([case()], [ExpectedFindings(injection=True)], [screened()])


def test_a_check_that_could_not_run_found_nothing_wrong_or_right():
    with pytest.raises(FailedPrecondition, match="line 1: a check of the service could not run"):
        finding_figures([case()], [ExpectedFindings(injection=False)], [screened(complete=False)])


@pytest.mark.parametrize(
    ("negatives", "expected"),
    [
        pytest.param([0.0] * 100, 0.75, id="below-the-rate-it-is-the-shipped-threshold"),
        pytest.param([0.99] + [0.0] * 99, 0.75, id="one-in-a-hundred-may-be-wrong"),
        pytest.param([0.99, 0.6] + [0.0] * 98, 0.5, id="the-second-may-not"),
        pytest.param([0.99] + [0.0] * 9, 0.0, id="of-ten-none-may-be"),
    ],
)
def test_recall_is_taken_where_few_negatives_are_flagged(negatives, expected):
    positives = np.array([0.95, 0.7, 0.55, 0.0])
    found = recall_at_false_positive_rate(positives, np.array(negatives), 0.01)
    assert found == pytest.approx(expected)


def test_the_interval_of_a_rate_is_wilsons():
    low, high = interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def ranking(*passages: tuple[str, float]) -> RankResponse:
    made = [RankedPassage(id=name, score=value) for name, value in passages]
    return RankResponse(ranking=Ranking(passages=made))


def question(*right: str, source: str = "set") -> Question:
    return Question(source, "f.jsonl, line 1", "what?", Pool("p", {}), frozenset(right))


def test_the_reciprocal_rank_is_that_of_the_first_right_passage():
    figures = question_figures(
        [question("a"), question("b", "c"), question("z"), question()],
        [
            [ranking(("a", 0.9))],
            [ranking(("a", 0.9), ("c", 0.8), ("b", 0.7))],
            [RankResponse(abstention=Abstention())],
            [RankResponse(abstention=Abstention())],
        ],
    )
    assert figures == {
        "accuracy": pytest.approx(2 / 4),
        "mrr_10": pytest.approx((1 + 1 / 2 + 0) / 3),
        "abstained": pytest.approx(2 / 4),
    }


def test_the_eleventh_passage_counts_nothing():
    long = ranking(*((str(place), 1 - place / 100) for place in range(11)))
    assert question_figures([question("10")], [[long]])["mrr_10"] == 0


def test_parts_of_a_pool_are_merged_by_score():
    parts = [ranking(("a", 0.5), ("b", 0.1)), ranking(("c", 0.7)), RankResponse()]
    assert question_figures([question("a")], [parts])["mrr_10"] == pytest.approx(1 / 2)


def test_several_sources_have_ranks_of_their_own():
    figures = question_figures(
        [question("a", source="one"), question("b", source="two")],
        [[ranking(("a", 0.5))], [ranking(("a", 0.5), ("b", 0.1))]],
    )
    assert figures["mrr_10_by_source"] == {"one": 1.0, "two": 0.5}
