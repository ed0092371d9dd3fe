"""Reads policies, tenants and classes of data; what is wrong is refused with file and line.

Nothing of a wrong policy is used: a mesh whose policy cannot be read does not start.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import cedarpy

from slmesh.mesh.declaration import Declaration, read_declaration
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.file_stamp import stamp_of
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings
from slmesh.policy.cedar_text import policies_of
from slmesh.policy.declared import CLASSES, ClassesFile, TenantsFile

__all__ = [
    "SCHEMA_FILE",
    "PolicyBook",
    "Rule",
    "load_policies",
    "policy_files",
    "policy_folders",
    "policy_stamps",
]

_HERE = Path(__file__).resolve().parent
_DEFAULT = _HERE / "default"
SCHEMA_FILE = _HERE / "schema.cedarschema"
"""What a policy may speak of."""

_REASON = "INVALID_POLICY"
_TENANTS, _CLASSES = "tenants.yaml", "classes.yaml"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Rule:
    """One policy, with its place.

    Attributes:
        name: Its ``@id``, which receipts name.
        file: The file it stands in.
        line: The line it starts on, from 1.
        text: Its text.
        effect: ``permit`` or ``forbid``.
        speaks_of: The entities it names, as (type, id).
    """

    name: str
    file: Path
    line: int
    text: str
    effect: str
    speaks_of: frozenset[tuple[str, str]]

    def error(self, message: str) -> FailedPrecondition:
        """Return the error for a rule that is wrong."""
        return _wrong(self.file, self.line, message)


@dataclass(frozen=True)
class PolicyBook:
    """The policy of a mesh.

    Attributes:
        rules: The policies, in the order of their files.
        revision: Digest of everything that decides: policies, schema, tenants and classes.
        tenants: The groups of every declared tenant; None when none are declared and all are served.
        classes: What each class of data is within.
        policies: The policies, parsed.
        schema: What they may speak of, parsed.
    """

    rules: tuple[Rule, ...]
    revision: str
    tenants: Mapping[str, tuple[str, ...]] | None
    classes: Mapping[str, tuple[str, ...]]
    policies: cedarpy.PolicySet
    schema: cedarpy.Schema


def load_policies(settings: Settings) -> PolicyBook:
    """Return the policy the settings name: the shipped one, and that of every folder of its path.

    Raises:
        FailedPrecondition: Something is wrong; the message starts with file and line.
    """
    files = _files(settings)
    schema_text = SCHEMA_FILE.read_text(encoding="utf-8")
    schema = cedarpy.Schema.from_str(schema_text)
    classes = _classes(files.get(_CLASSES))
    tenants = _tenants(files.get(_TENANTS))
    cedar = [file for name, file in files.items() if name.endswith(".cedar")]
    rules = tuple(rule for file in cedar for rule in _rules(file))
    _must_be_unique(rules)
    for rule in rules:
        _must_be_valid(rule, schema)
        _must_name_what_there_is(rule, classes, tenants)
    texts = [rule.text for rule in rules]
    digest = hashlib.sha256(
        json.dumps([schema_text, texts, classes, tenants], sort_keys=True).encode()
    )
    return PolicyBook(
        rules,
        "sha256:" + digest.hexdigest(),
        tenants,
        classes,
        cedarpy.PolicySet.from_str("\n".join(texts)),
        schema,
    )


def policy_files(settings: Settings) -> dict[str, str]:
    """Return the text of every file of the policy path by its name, for another machine to load.

    Raises:
        FailedPrecondition: The policy is wrong; the message starts with file and line.
    """
    load_policies(settings)
    return {
        name: file.read_text(encoding="utf-8")
        for name, file in _files(settings).items()
        if file.parent != _DEFAULT
    }


def policy_stamps(settings: Settings) -> object:
    """Return what the files of the policy path are told apart by from what they were before."""
    try:
        return tuple(map(stamp_of, _files(settings).values()))
    except FailedPrecondition as error:
        return error.message


def policy_folders(settings: Settings) -> list[Path]:
    """Return the folders of the policy path behind the shipped one: a later one stands above.

    Raises:
        FailedPrecondition: One is not there.
    """
    folders = [_DEFAULT]
    for folder in settings.policy_path:
        if not folder.is_dir():
            raise FailedPrecondition(
                f"SLMESH_POLICY_PATH names {folder}, which is not a folder", reason=_REASON
            )
        folders.append(folder)
    return folders


def _files(settings: Settings) -> dict[str, Path]:
    wanted = ("*.cedar", _TENANTS, _CLASSES)
    files = {
        file.name: file
        for folder in policy_folders(settings)
        for pattern in wanted
        for file in folder.glob(pattern)
    }
    return dict(sorted(files.items()))


def _rules(file: Path) -> Iterator[Rule]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"{file}: {error}", reason=_REASON) from None
    for line, policy in policies_of(text):
        try:
            parsed = json.loads(cedarpy.policies_to_json_str(policy))
        except ValueError as error:
            raise _wrong(file, line, f"not a policy: {error}") from None
        if parsed["templates"]:
            raise _wrong(
                file, line, "a policy has no slots here: name the principal and the resource"
            )
        (declared,) = parsed["staticPolicies"].values()
        name = declared.get("annotations", {}).get("id") or ""
        if not _ID.fullmatch(name):
            raise _wrong(
                file, line, 'a policy needs a name for receipts: put @id("its-name") before it'
            )
        speaks_of = frozenset(_entities(declared))
        yield Rule(name, file, line, policy, declared["effect"], speaks_of)


def _wrong(file: Path, line: int, message: str) -> FailedPrecondition:
    return FailedPrecondition(f"{file}:{line}: {message}", reason=_REASON)


def _entities(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        kind, name = node.get("type"), node.get("id")
        if isinstance(kind, str) and isinstance(name, str):
            yield kind, name
        for value in node.values():
            yield from _entities(value)
    elif isinstance(node, list):
        for value in node:
            yield from _entities(value)


def _must_be_unique(rules: tuple[Rule, ...]) -> None:
    seen: dict[str, Rule] = {}
    for rule in rules:
        other = seen.setdefault(rule.name, rule)
        if other is not rule:
            raise rule.error(f"the id '{rule.name}' is that of {other.file}:{other.line} too")


def _must_be_valid(rule: Rule, schema: cedarpy.Schema) -> None:
    result = cedarpy.validate_policies(rule.text, schema)
    if not result.validation_passed:
        said = "; ".join(one.error.replace("for policy `policy0`, ", "") for one in result.errors)
        raise rule.error(f"policy '{rule.name}' does not fit the schema: {said}")


def _must_name_what_there_is(
    rule: Rule, classes: Mapping[str, Any], tenants: Mapping[str, tuple[str, ...]] | None
) -> None:
    for kind, name in sorted(rule.speaks_of):
        if kind == "DataClass" and name not in classes:
            raise rule.error(f"no class of data '{name}'{suggestion(name, classes)}")
        if kind == "Direct" and name != "direct":
            raise rule.error(f"no caller '{name}': direct calls are Direct::\"direct\"")
        if kind == "Tenant" and tenants is not None and name not in tenants:
            raise rule.error(f"no tenant '{name}' in {_TENANTS}")


def _tenants(file: Path | None) -> dict[str, tuple[str, ...]] | None:
    if file is None:
        return None
    declared = read_declaration(file, TenantsFile, reason=_REASON)
    found: dict[str, tuple[str, ...]] = {}
    for index, tenant in enumerate(declared.value.tenants):
        _must_be_new(declared, f"tenants[{index}].name", tenant.name, found)
        found[tenant.name] = tenant.groups
    return found


def _classes(file: Path | None) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = dict.fromkeys(CLASSES, ())
    if file is None:
        return found
    declared = read_declaration(file, ClassesFile, reason=_REASON)
    for index, one in enumerate(declared.value.classes):
        _must_be_new(declared, f"classes[{index}].name", one.name, found)
        found[one.name] = one.within
    for index, one in enumerate(declared.value.classes):
        for position, name in enumerate(one.within):
            if name not in found:
                place = f"classes[{index}].within[{position}]"
                raise declared.error(place, f"no class '{name}'{suggestion(name, found)}")
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        raise declared.error(
            "classes", f"classes are within each other: {' -> '.join(error.args[1])}"
        ) from None
    return found


def _must_be_new(
    declared: Declaration[Any], place: str, name: str, found: Mapping[str, Any]
) -> None:
    if not name or "," in name:
        raise declared.error(place, f"'{name}' cannot be a name")
    if name in found:
        raise declared.error(place, f"'{name}' is there already")
