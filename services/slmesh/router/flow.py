"""A flow as it is declared: steps over services, rules over their signals, and the answer.

One YAML file declares one flow; the fields of these classes are the keys it may have. Nothing here
runs a flow, reads a file or knows a transport; ``flow_checks`` tells what is wrong with one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

__all__ = [
    "REASONER_STEP",
    "REDACTED_TEXT",
    "TEXT_KEY",
    "USER_TEXT",
    "AnswerSource",
    "Condition",
    "Flow",
    "Hedge",
    "OnFailure",
    "PassageAnswer",
    "Reasoner",
    "Rule",
    "Step",
    "TemplateAnswer",
]

REASONER_STEP = "reasoner"
"""The name under which a decision lists the call of the reasoner; no step may have it."""

TEXT_KEY = "text"
USER_TEXT = "user_text"
REDACTED_TEXT = "redacted_text"

OnFailure = Literal["fail", "skip", "escalate", "degrade"]


@dataclass(frozen=True, kw_only=True)
class Hedge:
    """When a call is late, and is sent a second time; exactly one of its fields is set.

    The first answer is taken and the other call is cancelled. It draws on the retries that the
    service is allowed. In batches, and in a mesh of one process, calls are sent once.

    Attributes:
        after_ms: After so many milliseconds.
        after_quantile: After the time that this share of the service's recent calls kept, in
            [0.5, 1).
    """

    after_ms: int | None = None
    after_quantile: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of one service.

    Attributes:
        name: The step's name, unique in the flow: lower case, digits and ``_``.
        service: The service it calls.
        input: What the service is sent. ``text`` says which text: ``user_text`` (when left out) or
            ``redacted_text``; every other key is a field of the contract's request with its value.
        after: Steps that must have ended before this one starts. Others run in parallel.
        run_if: A condition in CEL over the steps it runs after; the step is skipped when it is
            false, and later steps and rules see no signal of it. One that cannot be evaluated is a
            failure of the step.
        timeout_ms: The time the call may take, within what is left of the request's.
        on_failure: ``fail``: the request fails. ``skip``: the flow goes on without the signal.
            ``escalate``: the reasoner answers. ``degrade``: the flow goes on without the signal and
            without the reasoner, which is all a guard step may do beside ``fail``; or with the
            declared ``value``, as if the service had said it.
        value: What stands in for the answer of a service that failed, with ``on_failure: degrade``.
            Of a step that classifies: ``{label: NAME}``. Of one that scores: every level of every
            scale in its order, with its probability: ``{urgency: {low: 0, high: 1}}``. Of one that
            extracts: ``{}``, no fields.
        hedge: When a call is late, and is sent a second time; never when left out.
    """

    name: str
    service: str
    input: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    run_if: str = ""
    timeout_ms: int = 1000
    on_failure: OnFailure = "fail"
    value: Mapping[str, Any] | None = None
    hedge: Hedge | None = None

    @cached_property
    def text(self) -> str:
        """Which text the step is sent: ``user_text`` or ``redacted_text``."""
        return str(self.input.get(TEXT_KEY, USER_TEXT))

    @cached_property
    def options(self) -> dict[str, Any]:
        """The other fields of the request."""
        return {key: value for key, value in self.input.items() if key != TEXT_KEY}

    @cached_property
    def requests(self) -> dict[type, Any]:
        """Requests with these fields set, by their class, once somebody has made them."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One comparison with the signal of one step. Exactly one of the tests is set.

    Attributes:
        step: The step whose signal is compared; left out with ``cel``, which names its own.
        cel: Test: this expression of the Common Expression Language is true. It reads the responses
            of the contracts by the names of the steps, and ``request``.
        abstained: Test: whether the model abstained is this.
        probability_below: Test: the calibrated probability of the first label or passage is lower.
            An abstention is below everything.
        margin_below: Test: the first label's lead over the second, in probability, is smaller. An
            abstention is below everything.
        label_in: Test: the first label is one of these.
        labels_at_least: Test: so many labels reach ``probability_at_least``: several intents.
        finding: Test: the guard found something of this kind. A finding without a probability was
            made by a rule and counts as certain.
        field_found: Test: the extractor found this field.
        level_at_least: Test: the text is at this level of ``scale`` or above, with a probability
            of ``probability_at_least``.
        level_at_most: Test: the text is at this level of ``scale`` or below, likewise.
        truncated: Test: whether the model read only a part of the text is this.
        disagrees_with: Test: this step's first label is another one. An abstention of either is a
            disagreement.
        labels_of: For ``disagrees_with``: the labels of that step which agree with each label of
            ``step``. A label that is left out agrees with the one of its own name.
        scale: The scale of a level.
        probability_at_least: How sure it must be, in [0, 1]; 0.5 when left out.
    """

    step: str = ""
    cel: str | None = None
    abstained: bool | None = None
    probability_below: float | None = None
    margin_below: float | None = None
    label_in: tuple[str, ...] | None = None
    labels_at_least: int | None = None
    finding: str | None = None
    field_found: str | None = None
    level_at_least: str | None = None
    level_at_most: str | None = None
    truncated: bool | None = None
    disagrees_with: str | None = None
    labels_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scale: str | None = None
    probability_at_least: float | None = None

    @property
    def certainty(self) -> float:
        """``probability_at_least`` or its default."""
        return 0.5 if self.probability_at_least is None else self.probability_at_least


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A reason to refuse or to escalate: it holds when all its conditions hold.

    Attributes:
        reason: The code of the reason, in UPPER_SNAKE_CASE.
        when: The conditions, at least one.
    """

    reason: str
    when: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class PassageAnswer:
    """A passage of a ranking as the answer.

    Attributes:
        step: The step that ranks.
        probability_at_least: The calibrated probability the passage must reach.
        agrees_with: A step that classifies: the passage must be one of those of its first label.
            Two models that agree are better evidence than one.
        passages_of: The ids of the passages of each label, for ``agrees_with``.
        introduction: Texts with fields of signals to put before the passage; the first one whose
            fields are all there is taken, and none where there is no such text.
    """

    step: str
    probability_at_least: float | None = None
    agrees_with: str = ""
    passages_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    introduction: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TemplateAnswer:
    """A text with fields of signals as the answer.

    Of several texts the first one is taken whose fields are all there.

    Attributes:
        by: The step that classifies and whose first label selects the texts; one list for all when
            left out.
        texts: The texts of each label.
        otherwise: The texts for every other label, or for all.
    """

    by: str = ""
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnswerSource:
    """One way to answer without the reasoner; exactly one of its fields is set.

    Attributes:
        passage: A passage of a ranking.
        template: A text with fields of signals.
        signals: The signals are the answer, and it has no text.
    """

    passage: PassageAnswer | None = None
    template: TemplateAnswer | None = None
    signals: bool = False


@dataclass(frozen=True, kw_only=True)
class Reasoner:
    """How the flow uses the reasoner.

    Attributes:
        service: The service of the contract ``reason``.
        instruction: What to do; written by the flow's owner, never by a user.
        signals: The steps whose signals it is sent; all when left out. A small model is helped by
            few, and what is not sent costs no tokens.
        max_output_tokens: The longest answer.
        expected_output_tokens: How long an answer is, to estimate the cost of sending everything
            to the reasoner before this router has seen answers of it.
        output_schema: A JSON Schema that the answer must match; free text when left out. An answer
            that does not is asked for once more, with what is wrong with it; then the reasoner has
            failed. Both tries are paid for.
        timeout_ms: The time an answer may take, a second try included, within what is left of the
            request's.
        on_failure: ``fallback``: the flow's fallback answers, marked degraded. ``fail``: the
            request fails as UNAVAILABLE and says when to try again.
        on_no_budget: When a budget is used up. ``degrade``: the small models' answer, where they
            have one, or the flow's fallback, marked degraded. ``fail``: the request fails as
            RESOURCE_EXHAUSTED and says when to try again.
        quality_floor: While a budget drains too fast, the reasoner is kept for the requests that
            gain most by it; an answer of the small models with a lower probability than this is
            never let stand for that, in [0, 1].
    """

    service: str
    instruction: str
    signals: tuple[str, ...] | None = None
    max_output_tokens: int = 256
    expected_output_tokens: int = 128
    output_schema: Mapping[str, Any] = field(default_factory=dict)
    timeout_ms: int = 15_000
    on_failure: Literal["fallback", "fail"] = "fallback"
    on_no_budget: Literal["degrade", "fail"] = "degrade"
    quality_floor: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One flow.

    Attributes:
        name: The flow's name, which is its file's.
        description: What it is for, in a sentence.
        owner: The team that answers for it.
        data_classes: The classes of the data in its input: ``public``, ``internal``,
            ``confidential``, ``personal``, ``secret``, or the user's own.
        latency_budget_ms: The time a request may take, whatever its caller allows.
        throughput_per_s: The requests a second its owner counts on, in batches; 0 when it declares
            none. It is measured, not enforced.
        steps: The steps; a graph by their ``after``.
        refuse_when: Reasons not to answer; looked at as soon as their steps have ended.
        escalate_when: Reasons to hand the request to the reasoner.
        answer: Ways to answer without the reasoner, the preferred one first. When none fits, the
            reasoner is asked.
        reasoner: How to use the reasoner; without it the flow never escalates, and the fallback
            answers instead.
        refusal: The answer to a refused request.
        fallback: The answer when nothing else can be given.
        response_cache: Which answers an exact repeat of a request is given again, while flow,
            models and policy are the same. ``none``: none. ``escalated``: those of the reasoner;
            small models are quick enough to answer anew. ``all``: those of the small models too.
            An answer that is degraded, refused or not recorded is never given again.
        unrecorded: What becomes of a decision that cannot be recorded, because the disk is full or
            the database is away for too long. ``refuse``: the request fails as UNAVAILABLE.
            ``allow``: the answer is given, marked as not recorded.
    """

    name: str
    description: str
    owner: str
    data_classes: tuple[str, ...]
    latency_budget_ms: int
    steps: tuple[Step, ...]
    throughput_per_s: int = 0
    refuse_when: tuple[Rule, ...] = ()
    escalate_when: tuple[Rule, ...] = ()
    answer: tuple[AnswerSource, ...] = ()
    reasoner: Reasoner | None = None
    refusal: str = ""
    fallback: str = ""
    response_cache: Literal["none", "escalated", "all"] = "escalated"
    unrecorded: Literal["refuse", "allow"] = "refuse"

    @cached_property
    def revision(self) -> str:
        """The digest of the declaration; comments and the order of keys do not change it."""
        canonical = json.dumps(_plain(self), sort_keys=True, ensure_ascii=False, default=str)
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def earlier(self, step: str) -> frozenset[str]:
        """Return the steps that must have ended before a step starts, directly or by others."""
        after = {one.name: one.after for one in self.steps}
        found: set[str] = set()
        waiting = list(after.get(step, ()))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(after.get(name, ()))
        return frozenset(found)

    def expressions(self) -> list[str]:
        """Return the conditions of steps and rules that are written in CEL."""
        rules = (*self.refuse_when, *self.escalate_when)
        found = [condition.cel for rule in rules for condition in rule.when]
        return [one for one in (*(step.run_if for step in self.steps), *found) if one]

    def guards(self, contracts: Mapping[str, str]) -> list[str]:
        """Return the names of the steps that screen the text.

        Args:
            contracts: The contract of every service, by name.
        """
        return [step.name for step in self.steps if contracts.get(step.service) == "guard"]

    @cached_property
    def followers(self) -> Mapping[str, tuple[Step, ...]]:
        """The steps that wait for each step, by its name."""
        return {
            step.name: tuple(one for one in self.steps if step.name in one.after)
            for step in self.steps
        }

    def step(self, name: str) -> Step:
        """Return the step of a name.

        Raises:
            KeyError: There is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        # a default that is left out and one that is written are the same declaration
        return {spec.name: _plain(getattr(value, spec.name)) for spec in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
