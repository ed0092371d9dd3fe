"""A table of what a policy should allow and deny, and what it does.

One YAML file, ``expected.yaml`` beside the policies, so that a change of a rule shows which hops it
changes before any data takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from slmesh.mesh.declaration import Declaration, read_declaration
from slmesh.mesh.manifest import CONTRACTS, ZONES
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings
from slmesh.policy.judge import Judge
from slmesh.policy.policy_book import PolicyBook, policy_folders
from slmesh.policy.question import Question, Ruling, Target, sorted_classes

__all__ = ["Expectation", "ExpectationsFile", "Outcome", "expectations_file", "outcomes"]

_NAME = "expected.yaml"
_MADE_UP = "expected"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One hop and what the policy should say about it.

    Attributes:
        expect: ``allow`` or ``deny``.
        classes: The classes of the data.
        flow: The flow; a direct call when left out.
        tenant: Who is served.
        redacted: Whether the text is redacted.
        service: A service of the mesh. Without one the model is made up of the next four:
        contract: The contract it speaks.
        zone: Where it runs.
        region: Its region.
        purpose: What it may use data for.
        rule: The id of the rule that must decide the first class the outcome rests on: the first
            one denied, or else the first one.
    """

    expect: Literal["allow", "deny"]
    classes: tuple[str, ...]
    flow: str = ""
    tenant: str = "default"
    redacted: bool = False
    service: str = ""
    contract: str = "classify"
    zone: str = "cluster"
    region: str = "local"
    purpose: str = "inference"
    rule: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExpectationsFile:
    """``expected.yaml``.

    Attributes:
        cases: The hops.
    """

    cases: tuple[Expectation, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Outcome:
    """What a policy says about one expected hop.

    Attributes:
        line: The line of the case in its file.
        expected: The case.
        ruling: What the policy says.
        rule: The rule it rests on; empty when none allows it.
        problem: How the two differ; empty when they do not.
    """

    line: int
    expected: Expectation
    ruling: Ruling
    rule: str
    problem: str


def expectations_file(settings: Settings) -> Path:
    """Return the table that belongs to a policy: the path's last one, or the shipped one."""
    files = [folder / _NAME for folder in policy_folders(settings)]
    return next(file for file in reversed(files) if file.is_file())


def outcomes(file: Path, book: PolicyBook, targets: Mapping[str, Target]) -> Iterator[Outcome]:
    """Yield the outcome of every case of a table.

    Args:
        file: The table.
        book: The policy.
        targets: The services of the mesh, by name.

    Raises:
        FailedPrecondition: The table is wrong; the message starts with file and line.
    """
    declared = read_declaration(file, ExpectationsFile, reason="INVALID_POLICY")
    for index, case in enumerate(declared.value.cases):
        place = f"cases[{index}]"
        target = _target(declared, place, case, targets)
        judge = Judge(book, {target.service: target})
        classes = sorted_classes(case.classes)
        question = Question(case.flow, case.tenant, classes, target.service, case.redacted)
        ruling = judge.fresh_ruling(question)
        deciding = next((one for one in ruling.by_class if not one.allowed), None)
        rule = (deciding or ruling.by_class[0]).rule
        yield Outcome(declared.lines[place], case, ruling, rule, _problem(case, ruling, rule))


def _target(
    declared: Declaration[ExpectationsFile],
    place: str,
    case: Expectation,
    targets: Mapping[str, Target],
) -> Target:
    if not case.classes:
        raise declared.error(f"{place}.classes", "name at least one class of data")
    if case.service:
        if case.service not in targets:
            raise declared.error(
                f"{place}.service",
                f"no service '{case.service}'{suggestion(case.service, targets)}",
            )
        return targets[case.service]
    for key, valid in (("zone", ZONES), ("contract", CONTRACTS)):
        value = getattr(case, key)
        if value not in valid:
            raise declared.error(f"{place}.{key}", f"no {key} '{value}'{suggestion(value, valid)}")
    return Target(_MADE_UP, case.contract, case.zone, case.region, case.purpose)


def _problem(case: Expectation, ruling: Ruling, rule: str) -> str:
    said = "allow" if ruling.allowed else "deny"
    if said != case.expect:
        return f"expected {case.expect}, the policy says {said} ({rule or 'no rule allows it'})"
    if case.rule is not None and case.rule != rule:
        return f"expected rule '{case.rule}', it was {repr(rule) if rule else 'none'}"
    return ""
