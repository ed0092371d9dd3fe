"""Flows are read and checked at load: what is wrong is named with file and line."""

from __future__ import annotations

import textwrap

import pytest
from tests.services import settings_for

from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.router.flow_book import FlowBook, flow_source, load_flow, load_flows

CONTRACTS = {
    "guard": "guard",
    "intent": "classify",
    "assistant": "classify",
    "entities": "extract",
    "triage": "score",
    "passages": "rank",
    "reasoner": "reason",
}

GOOD = """\
name: desk
description: A flow.
owner: tests
data_classes: [personal]
latency_budget_ms: 3000
steps:
  - name: guard
    service: guard
    on_failure: degrade
  - name: intent
    service: intent
    after: [guard]
    input: {text: redacted_text, top_k: 3}
  - name: passages
    service: passages
    after: [guard, intent]
    input: {collection: bank_help}
refuse_when:
  - reason: INJECTION_FOUND
    when: [{step: guard, finding: injection}]
escalate_when:
  - reason: INTENT_UNCERTAIN
    when: [{step: intent, probability_below: 0.6}]
answer:
  - passage: {step: passages}
  - template: {by: intent, texts: {a: "For {intent.label}"}}
reasoner:
  service: reasoner
  instruction: Be brief.
refusal: No.
fallback: Later.
"""


def write(folder, text, name="desk"):
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def load(folder, text):
    return load_flow(write(folder, text), CONTRACTS)


def test_a_good_flow_is_read(tmp_path):
    flow = load(tmp_path, GOOD)
    assert [step.name for step in flow.steps] == ["guard", "intent", "passages"]
    assert flow.steps[1].text == "redacted_text"
    assert flow.steps[1].options == {"top_k": 3}
    assert flow.escalate_when[0].when[0].probability_below == 0.6
    assert flow.answer[1].template.texts["a"] == ("For {intent.label}",)


BAD = [
    ("owner:", "ownr:", 3, "unknown key 'ownr'; did you mean 'owner'?", "unknown-key"),
    ("owner: tests\n", "", 1, "the key 'owner' is missing", "missing-key"),
    ("owner: tests", "owner: tests\nowner: me", 4, "'owner' is there twice", "key-twice"),
    ("owner: tests", "owner: yes", 3, "'owner' must be a text; put quotes around yes", "bool"),
    ("owner: tests", "owner: 2026-99-99", 3, "put quotes around", "no-date"),
    ("3000", "3 s", 5, "'latency_budget_ms' must be a whole number", "not-a-number"),
    ("3000", "0", 5, "must be above 0, is 0", "no-budget"),
    ("name: desk", "name: front", 1, "the flow 'front' must be in 'front.yaml'", "other-file"),
    ("[personal]", "[]", 4, "name at least one class of data", "no-data-class"),
    ("service: intent", "service: intnet", 11, "no service 'intnet'; did you mean", "service"),
    ("service: intent", "service: reasoner", 11, "name it under 'reasoner'", "reasoner-step"),
    ("- name: intent", "- name: Intent", 10, "'Intent' cannot be the name", "step-name"),
    ("- name: intent", "- name: reasoner", 10, "'reasoner' cannot be the name", "reserved"),
    ("- name: intent", "- name: guard", 10, "there are two steps 'guard'", "step-twice"),
    ("after: [guard]\n", "after: [gaurd]\n", 12, "no step 'gaurd'; did you mean", "after"),
    ("after: [guard]\n", "after: [passages]\n", 12, "wait for each other", "cycle"),
    ("after: [guard]\n", "after: [intent]\n", 12, "intent -> intent", "self-cycle"),
    ("after: [guard]\n", "timeout_ms: 9000\n", 12, "within the flow's 3000 ms", "timeout"),
    ("after: [guard]\n", "on_failure: explode\n", 12, "cannot be 'explode'", "on-failure"),
    ("after: [guard]\n", "timeout_ms: 10\n", 13, "only 'after' a guard step", "unscreened"),
    ("redacted_text", "redacted", 13, "no text 'redacted'; did you mean", "text"),
    ("top_k: 3", "topk: 3", 13, "no field 'topk' to set; did you mean 'top_k'?", "input-key"),
    ("top_k: 3", "top_k: many", 13, "'top_k' does not fit the contract", "input-type"),
    ("degrade", "skip", 9, "a guard step cannot 'skip'", "guard-skip"),
    ("degrade", "escalate", 9, "a guard step cannot 'escalate'", "guard-escalate"),
    ("INTENT_UNCERTAIN", "unsure", 22, "must be in UPPER_SNAKE_CASE", "reason"),
    ("probability_below: 0.6", "probability_below: 60", 23, "must be in [0, 1], is 60", "range"),
    ("probability_below: 0.6", "probability_below: .nan", 23, "must be a finite number", "nan"),
    ("probability_below: 0.6", "finding: a", 23, "'finding' does not fit contract", "test"),
    ("probability_below: 0.6", "scale: a", 23, "makes exactly one test, has none", "no-test"),
    ("probability_below: 0.6", "abstained: true, margin_below: 0.1", 23, "abstained and", "two"),
    ("probability_below: 0.6", "labels_at_least: 4", 23, "asks for 3 labels only", "labels"),
    ("{step: intent, prob", "{step: intnt, prob", 23, "no step 'intnt'", "condition-step"),
    ("finding: injection", "finding: a, probability_at_least: 2", 20, "must be in [0, 1]", "sure"),
    ("{step: passages}", "{step: intent}", 25, "this needs 'rank'", "passage-step"),
    ("{step: passages}", "{step: passages, agrees_with: intent}", 25, "go together", "agreement"),
    ("{intent.label}", "{intent}", 26, "write {step.field}", "template"),
    ("{intent.label}", "{intent.label.__class__}", 26, "write {step.field}", "attribute"),
    ("{intent.label}", "{intent.label!r}", 26, "write {step.field}", "conversion"),
    ("{intent.label}", "{nobody.label}", 26, "no step 'nobody'", "template-step"),
    ("{intent.label}", "{", 26, "not a template", "brace"),
    ("service: reasoner", "service: intent", 28, "no reasoner 'intent'", "reasoner"),
    ("instruction: Be brief.", "instruction: ''", 29, "needs an instruction", "instruction"),
    ("instruction: Be brief.", "instruction: Go.\n  signals: [a]", 30, "no step 'a'", "signals"),
    ("refusal: No.\n", "", 18, "needs the text of its 'refusal'", "refusal"),
    ("fallback: Later.\n", "", 1, "needs the text of one", "fallback"),
    ("after: [guard]\n", "after: [guard]\n    run_if: guard.findngs.size() > 0\n", 13,
     "ScreenResponse has no field 'findngs'; did you mean 'findings'? (column 6)", "run-if-field"),
    ("after: [guard]\n", "run_if: passages.ranking.passages.size() > 0\n", 12,
     "'passages' may not have ended before 'intent': add it to 'after'", "run-if-later"),
    ("after: [guard]\n", "after: [guard]\n    run_if: intent.nearest.size() > 0\n", 13,
     "'intent' may not have ended before 'intent'", "run-if-itself"),
    ("after: [guard]\n", "after: [guard]\n    run_if: guard.coverage\n", 13,
     "a condition is true or false, this is int", "run-if-no-condition"),
    ("degrade", "degrade\n    run_if: 'true'", 10, "every text is screened", "run-if-guard"),
    ("{step: intent, probability_below: 0.6}", "{cel: intent.label == ''}", 23,
     "ClassifyResponse has no field 'label'; did you mean 'labels'?", "cel-field"),
    ("{step: intent, probability_below: 0.6}", "{cel: intnt.nearest.size() > 0}", 23,
     "there is no 'intnt' to read; did you mean 'intent'?", "cel-step"),
    ("{step: intent, probability_below: 0.6}", "{step: intent, cel: 'true'}", 23,
     "an expression names its steps itself", "cel-and-step"),
    ("{step: intent, probability_below: 0.6}", "{cel: 'true', abstained: true}", 23,
     "makes exactly one test, has cel and abstained", "cel-and-test"),
    ("{step: intent, probability_below: 0.6}", "{probability_below: 0.6}", 23, "no step ''", "no-step"),
    ("probability_below: 0.6", "disagrees_with: intnt", 23, "no step 'intnt'; did you", "other-step"),
    ("probability_below: 0.6", "disagrees_with: guard", 23, "this needs 'classify'", "other-kind"),
    ("probability_below: 0.6", "disagrees_with: intent", 23, "cannot disagree with itself", "self"),
    ("probability_below: 0.6", "abstained: true, labels_of: {a: [b]}", 23,
     "does not go with 'abstained'", "labels-of"),
    ("probability_below: 0.6", "disagrees_wth: intent", 23, "did you mean 'disagrees_with'", "near"),
    ("after: [guard]\n", "value: {label: a}\n", 12, "with 'on_failure: degrade' only", "value"),
    ("after: [guard]\n", "on_failure: degrade\n    value: {lable: a}\n", 13,
     "the value of a step of contract 'classify' is {label: NAME}", "value-form"),
    ("degrade", "degrade\n    value: {}", 10, "of contract 'guard' cannot have", "value-guard"),
    ("owner: tests", "owner: &a tests\ndescription2: *a", 4, "unknown key", "alias-key"),
    ("[guard, intent]", "&x [*x]", 16, "anchors and aliases are not allowed", "alias-circle"),
    ("description: A flow.", "description: [", 4, "", "no-yaml"),
    ("description: A flow.", "\tdescription: x", 2, "", "tab"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "message"), [pytest.param(*case[:4], id=case[4]) for case in BAD]
)
def test_a_wrong_flow_is_refused_with_its_line(tmp_path, old, new, line, message):
    assert old in GOOD
    with pytest.raises(FailedPrecondition) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert f"desk.yaml:{line}:" in caught.value.message
    assert message in caught.value.message
    assert caught.value.reason == "INVALID_FLOW"


def test_a_condition_may_read_a_step_that_has_ended_by_another(tmp_path):
    run_if = "    after: [intent]\n    run_if: guard.findings.size() == 0\n"
    flow = load(tmp_path, GOOD.replace("    after: [guard, intent]\n", run_if))
    assert flow.earlier("passages") == {"guard", "intent"}


MEDIANS_MS = {"guard": 900.0, "intent": 1200.0, "passages": 950.0, "entities": 9000.0}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "latency_budget_ms: 3000", "latency_budget_ms: 3049",
            "3049 ms are less than the 3050.0 ms that its required steps usually take:"
            " guard -> intent -> passages", id="the-longest-path",
        ),
        pytest.param("latency_budget_ms: 3000", "latency_budget_ms: 3050", "", id="just-enough"),
        pytest.param(
            "after: [guard, intent]", "after: [guard]\n    on_failure: skip", "",
            id="an-optional-step-does-not-count",
        ),
        pytest.param("after: [guard, intent]", "after: [guard]", "", id="side-by-side"),
    ],
)  # fmt: skip
def test_a_budget_below_the_medians_of_the_required_steps_is_refused(tmp_path, old, new, message):
    file = write(tmp_path, GOOD.replace(old, new))
    if not message:
        assert load_flow(file, CONTRACTS, MEDIANS_MS)
        return
    with pytest.raises(FailedPrecondition) as caught:
        load_flow(file, CONTRACTS, MEDIANS_MS)
    assert f"desk.yaml:5: {message}" in caught.value.message
    assert load_flow(file, CONTRACTS, {})  # nothing was measured, so nothing is known


def test_a_step_cannot_be_called_request_where_an_expression_reads_the_request(tmp_path):
    text = GOOD.replace("name: passages", "name: request").replace(
        "step: passages", "step: request"
    )
    assert load(tmp_path, text).steps[2].name == "request"
    text = text.replace("{step: intent, probability_below: 0.6}", "{cel: request.tenant == ''}")
    with pytest.raises(FailedPrecondition, match=r"desk.yaml:14: .* 'request' is the request"):
        load(tmp_path, text)


def test_personal_data_reaches_the_reasoner_only_through_a_guard(tmp_path):
    text = textwrap.dedent(
        """\
        name: desk
        description: A flow.
        owner: tests
        data_classes: [personal]
        latency_budget_ms: 3000
        steps: [{name: intent, service: intent}]
        reasoner: {service: reasoner, instruction: Go.}
        fallback: Later.
        """
    )
    with pytest.raises(FailedPrecondition, match=r"desk.yaml:7: .* only through a guard step"):
        load(tmp_path, text)
    assert load(tmp_path, text.replace("personal", "public")).reasoner is not None


@pytest.mark.parametrize("content", ["", "[1, 2]", "just a text"], ids=["empty", "list", "text"])
def test_a_file_that_declares_no_mapping_is_refused(tmp_path, content):
    with pytest.raises(FailedPrecondition, match=r"desk.yaml:1: "):
        load(tmp_path, content)


def test_the_revision_changes_with_the_meaning_only(tmp_path):
    revision = load(tmp_path, GOOD).revision
    reordered = GOOD.replace("owner: tests\n", "") + "owner: tests # who\n"
    assert load(tmp_path, reordered).revision == revision
    assert load(tmp_path, GOOD.replace("0.6", "0.7")).revision != revision


def test_an_unknown_flow_is_not_found_with_the_nearest_name(tmp_path):
    book = FlowBook({"desk": load(tmp_path, GOOD)})
    with pytest.raises(NotFound, match="no flow 'desc'; did you mean 'desk'"):
        book.flow("desc")


def test_a_flow_of_the_path_stands_above_one_of_the_package(tmp_path):
    write(tmp_path, GOOD.replace("name: desk", "name: support"), "support")
    settings = settings_for(tmp_path, flow_path=(tmp_path,))
    assert "description: A flow." in flow_source("support", settings)
    with pytest.raises(NotFound, match="did you mean 'support'"):
        flow_source("suport", settings)


def test_a_flow_path_that_is_not_there_is_named(tmp_path):
    settings = settings_for(tmp_path, flow_path=(tmp_path / "nowhere",))
    with pytest.raises(FailedPrecondition, match="SLMESH_FLOW_PATH names"):
        load_flows(settings, {})


def test_the_flows_of_the_package_are_right(mesh_settings, manifests):
    flows = load_flows(mesh_settings, manifests)
    assert {"general", "support"} <= flows.keys()
