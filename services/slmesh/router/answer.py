"""Answers a request from the signals of small models, where the flow's declaration allows it.

Tries the flow's ways to answer in order, and says why each one that does not fit does not. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slmesh.api.rank.v1 import rank_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.router.flow import AnswerSource, Flow, PassageAnswer, TemplateAnswer
from slmesh.router.signals import first_label, labels_of, provenance_of
from slmesh.router.template import filled

__all__ = ["SmallAnswer", "small_answer"]


@dataclass(frozen=True)
class SmallAnswer:
    """The answer of the small models, or why there is none.

    Attributes:
        answer: The answer; None when no way to answer fits.
        missed: Why the ways before it, or all, do not fit.
        probability: The calibrated probability that it is right; 0 where nothing says so.
    """

    answer: route_pb2.Answer | None
    missed: tuple[route_pb2.PathReason, ...]
    probability: float = 0.0


def small_answer(flow: Flow, signals: Mapping[str, signal_pb2.Signal]) -> SmallAnswer:
    """Return the first way to answer that fits the signals."""
    missed: list[route_pb2.PathReason] = []
    for source in flow.answer:
        found = _tried(source, signals)
        if isinstance(found, route_pb2.Answer):
            return SmallAnswer(found, tuple(missed), _probability(source, signals))
        missed.append(found)
    if not flow.answer:
        why = "the flow declares no answer of the small models"
        missed.append(_reason("NO_ANSWER_DECLARED", "", why))
    return SmallAnswer(None, tuple(missed))


def _tried(
    source: AnswerSource, signals: Mapping[str, signal_pb2.Signal]
) -> route_pb2.Answer | route_pb2.PathReason:
    if source.passage is not None:
        return _passage(source.passage, signals)
    if source.template is not None:
        return _template(source.template, signals)
    return route_pb2.Answer(source=route_pb2.ANSWER_SOURCE_SIGNALS)


def _probability(source: AnswerSource, signals: Mapping[str, signal_pb2.Signal]) -> float:
    """Return the calibrated probability of what an answer rests on."""
    step = ""
    if source.template is not None:
        step = source.template.by
    elif source.passage is not None:
        step = source.passage.agrees_with
        if not step:
            return float(signals[source.passage.step].ranking.ranking.passages[0].probability)
    labels = labels_of(signals[step]) if step in signals else ()
    return labels[0].probability if labels else 0.0


def _passage(
    declared: PassageAnswer, signals: Mapping[str, signal_pb2.Signal]
) -> route_pb2.Answer | route_pb2.PathReason:
    signal = signals.get(declared.step)
    passages = signal.ranking.ranking.passages if signal is not None else ()
    if signal is None or not passages:
        return _reason("NO_PASSAGE", declared.step, f"{declared.step} found no passage")
    chosen: rank_pb2.RankedPassage | None = passages[0]
    if declared.agrees_with:
        label = first_label(signals.get(declared.agrees_with))
        wanted = declared.passages_of.get(label, ())
        chosen = next((passage for passage in passages if passage.id in wanted), None)
        if chosen is None:
            what = f"label {label}" if label else "missing label"
            return _reason(
                "SIGNALS_DISAGREE",
                declared.step,
                f"none of the {len(passages)} passages of {declared.step} belongs to the {what}"
                f" of {declared.agrees_with}",
            )
    assert chosen is not None
    limit = declared.probability_at_least
    if limit is not None and not (chosen.HasField("probability") and chosen.probability >= limit):
        said = f"{chosen.probability:.3f}" if chosen.HasField("probability") else "not known"
        return _reason(
            "PASSAGE_UNCERTAIN",
            declared.step,
            f"{declared.step}: the probability of passage {chosen.id} is {said}, not {limit:g}",
        )
    introductions = (filled(text, signals) for text in declared.introduction)
    introduction = next((text for text in introductions if text is not None), "")
    return route_pb2.Answer(
        source=route_pb2.ANSWER_SOURCE_PASSAGE,
        text=introduction + chosen.text,
        provenance=provenance_of(signal),
    )


def _template(
    declared: TemplateAnswer, signals: Mapping[str, signal_pb2.Signal]
) -> route_pb2.Answer | route_pb2.PathReason:
    selecting = signals.get(declared.by)
    label = first_label(selecting) if declared.by else ""
    if declared.by and not label:
        return _reason("NO_TEMPLATE", declared.by, f"{declared.by} gave no label")
    texts = declared.texts.get(label, declared.otherwise)
    for text in texts:
        answer = filled(text, signals)
        if answer is not None:
            provenance = provenance_of(selecting) if selecting is not None else None
            return route_pb2.Answer(
                source=route_pb2.ANSWER_SOURCE_TEMPLATE, text=answer, provenance=provenance
            )
    missing = "a field of it is missing" if texts else "the flow declares none"
    named = f"label {label}: " if label else ""
    return _reason("NO_TEMPLATE", declared.by, f"no template for {named}{missing}")


def _reason(code: str, step: str, description: str) -> route_pb2.PathReason:
    return route_pb2.PathReason(code=code, step=step, description=description)
