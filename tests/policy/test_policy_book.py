"""Policies are read with everything that is wrong named by file and line."""

from __future__ import annotations

import pytest
from tests.services import settings_for

from slmesh.mesh.errors import FailedPrecondition
from slmesh.policy.cedar_text import policies_of
from slmesh.policy.policy_book import load_policies

CLOSED = '@id("closed")\nforbid (principal is Direct, action, resource);\n'


def book(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return load_policies(settings_for(tmp_path, policy_path=(tmp_path,)))


def test_the_shipped_policy_is_valid(tmp_path):
    found = load_policies(settings_for(tmp_path))
    assert {rule.name for rule in found.rules} == {
        "flows-inside", "flows-outside-redacted", "flows-public", "direct-calls-inside",
    }  # fmt: skip
    assert found.tenants is None


def test_a_file_of_another_name_is_added_to_the_shipped_policy(tmp_path):
    found = book(tmp_path, closed__cedar=CLOSED)
    assert found.rules[0].name == "closed"
    assert len(found.rules) == 5


def test_a_file_of_the_same_name_stands_in_place_of_the_shipped_one(tmp_path):
    found = book(tmp_path, default__cedar=CLOSED)
    assert [rule.name for rule in found.rules] == ["closed"]


def test_comments_change_no_revision_and_a_rule_does(tmp_path):
    first = book(tmp_path, default__cedar=CLOSED).revision
    assert book(tmp_path, default__cedar="// why\n" + CLOSED).revision == first
    assert book(tmp_path, default__cedar=CLOSED.replace("Direct", "Flow")).revision != first


def test_tenants_and_classes_are_part_of_the_revision(tmp_path):
    first = book(tmp_path, default__cedar=CLOSED).revision
    second = book(tmp_path, tenants__yaml="tenants:\n  - {name: acme}\n").revision
    third = book(tmp_path, classes__yaml="classes:\n  - {name: health}\n").revision
    assert len({first, second, third}) == 3


WRONG = [
    pytest.param("permit (principal, action, resource", "x.cedar:1: not a policy", id="open-end"),
    pytest.param(
        CLOSED + "\n// next\nperm (principal, action, resource);",
        "x.cedar:5: not a policy: invalid policy effect: perm",
        id="no-such-effect",
    ),
    pytest.param(
        CLOSED + 'permit (principal, action, resource) when { ";" == "//" + };',
        "x.cedar:3: not a policy",
        id="a-semicolon-in-a-text-ends-nothing",
    ),
    pytest.param(
        "permit (principal, action, resource);", r'x.cedar:1: .*@id\("its-name"\)', id="no-name"
    ),
    pytest.param(
        '@id("a b") permit (principal, action, resource);', "needs a name", id="odd-name"
    ),
    pytest.param(
        CLOSED + CLOSED, r"x.cedar:3: the id 'closed' is that of .*x.cedar:1 too", id="name-twice"
    ),
    pytest.param(
        '@id("t") permit (principal == ?principal, action, resource);', "no slots", id="template"
    ),
    pytest.param(
        CLOSED + '@id("z") permit (principal, action, resource) when { resource.zon == "x" };',
        "x.cedar:3: policy 'z' does not fit the schema: attribute `zon`",
        id="unknown-attribute",
    ),
    pytest.param(
        '@id("z") permit (principal, action, resource) when { context.class == "personal" };',
        "x.cedar:1: policy 'z' does not fit the schema: the types",
        id="wrong-type",
    ),
    pytest.param(
        '@id("z") permit (principal is Flw, action, resource);',
        "unrecognized entity type `Flw`",
        id="unknown-entity",
    ),
    pytest.param(
        '@id("z") permit (principal, action, resource)'
        ' when { context.class in DataClass::"persnal" };',
        "x.cedar:1: no class of data 'persnal'; did you mean 'personal'",
        id="unknown-class",
    ),
    pytest.param(
        '@id("z") permit (principal == Direct::"grpcurl", action, resource);',
        'direct calls are Direct::"direct"',
        id="unknown-caller",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_policy_is_refused_with_file_and_line(tmp_path, text, message):
    with pytest.raises(FailedPrecondition, match=message) as caught:
        book(tmp_path, x__cedar=text)
    assert caught.value.reason == "INVALID_POLICY"


DECLARED = [
    pytest.param("tenants.yaml", "tenants:\n  - {nam: a}\n", ":2: unknown key 'nam'", id="key"),
    pytest.param(
        "tenants.yaml", "tenants:\n  - {name: a}\n  - {name: a}\n", ":3: 'a' is there", id="twice"
    ),
    pytest.param("classes.yaml", "classes: [{name: public}]\n", "is there already", id="known"),
    pytest.param("classes.yaml", "classes:\n  - {name: 'a,b'}\n", "cannot be a name", id="comma"),
    pytest.param(
        "classes.yaml",
        "classes:\n  - {name: health, within: [persnal]}\n",
        ":2: no class 'persnal'; did you mean 'personal'",
        id="within-nothing",
    ),
    pytest.param(
        "classes.yaml",
        "classes:\n  - {name: a, within: [b]}\n  - {name: b, within: [a]}\n",
        ":1: classes are within each other",
        id="circle",
    ),
]


@pytest.mark.parametrize(("name", "text", "message"), DECLARED)
def test_wrong_declarations_are_refused_with_file_and_line(tmp_path, name, text, message):
    with pytest.raises(FailedPrecondition, match=message):
        book(tmp_path, **{name.replace(".", "__"): text})


def test_a_rule_names_declared_tenants_only(tmp_path):
    rule = '@id("z") permit (principal, action, resource) when { context.tenant == Tenant::"b" };'
    book(tmp_path, x__cedar=rule)  # nobody has declared any
    with pytest.raises(FailedPrecondition, match="no tenant 'b'"):
        book(tmp_path, tenants__yaml="tenants: [{name: a}]\n")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FailedPrecondition, match="SLMESH_POLICY_PATH names"):
        load_policies(settings_for(tmp_path, policy_path=(tmp_path / "nowhere",)))


def test_lines_are_those_of_the_policies():
    text = '// a; b\n\n@id("x") permit (principal, action, resource)\nwhen { true };\n// end\nrest'
    assert [line for line, _ in policies_of(text)] == [3, 6]
    assert list(policies_of("// nothing;\n")) == []
