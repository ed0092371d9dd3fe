"""Asks the policy about a hop, and remembers what it said.

Cedar decides each class by itself; a hop is allowed when every class is. A policy that fails while it
is evaluated would be left out by Cedar, a ``forbid`` too, so any such failure is a denial here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import cedarpy

from slmesh.mesh.errors import PermissionDenied
from slmesh.policy.policy_book import PolicyBook
from slmesh.policy.question import ClassRuling, Question, Ruling, Target

__all__ = ["Judge", "denied"]

_MOST_KEPT = 4096
_FAILED = "evaluation-failed"
"""What stands for a rule's name when one could not be evaluated."""


class Judge:
    """Decides under one revision of a policy.

    Args:
        book: The policy.
        targets: Every service that may be called, by name.
    """

    def __init__(self, book: PolicyBook, targets: Mapping[str, Target]) -> None:
        self.book = book
        self.targets = dict(targets)
        self._entities = cedarpy.Entities.from_json_str(
            json.dumps(list(_entities(book, targets.values()))), book.schema
        )
        self._kept: dict[Question, Ruling] = {}

    @property
    def revision(self) -> str:
        """The digest of the policy."""
        return self.book.revision

    def ruling(self, question: Question) -> Ruling:
        """Return what the policy says about a hop to one of the targets."""
        ruling = self._kept.get(question)
        if ruling is None:
            ruling = self.fresh_ruling(question)
            if len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[question] = ruling
        return ruling

    def fresh_ruling(self, question: Question) -> Ruling:
        """Return what the policy says, asked anew."""
        if not question.classes or question.service not in self.targets:
            return Ruling(False, tuple(ClassRuling(one, False, "") for one in question.classes))
        requests = [_request(question, data_class) for data_class in question.classes]
        results = cedarpy.is_authorized_batch(
            requests, self.book.policies, self._entities, self.book.schema
        )
        by_class = tuple(
            _class_ruling(data_class, result)
            for data_class, result in zip(question.classes, results, strict=True)
        )
        return Ruling(all(one.allowed for one in by_class), by_class)


def denied(service: str) -> PermissionDenied:
    """Return the error for a call that the policy does not allow; it tells no more than that."""
    return PermissionDenied(
        f"the policy of the mesh does not allow this call of service '{service}'",
        reason="POLICY_DENIED",
        metadata={"service": service},
    )


def _class_ruling(data_class: str, result: cedarpy.AuthzResult) -> ClassRuling:
    if result.diagnostics.errors:
        return ClassRuling(data_class, False, _FAILED)
    # several may permit: the first by name, so that the same question has the same receipt
    names = sorted(result.diagnostics.id_annotations_by_reason.values())
    return ClassRuling(data_class, result.allowed, names[0] if names else "")


def _request(question: Question, data_class: str) -> dict[str, Any]:
    principal = ("Flow", question.flow) if question.flow else ("Direct", "direct")
    return {
        "principal": _uid(*principal),
        "action": 'Action::"reach"',
        "resource": _uid("Model", question.service),
        "context": {
            "class": {"__entity": _uid("DataClass", data_class)},
            "classes": [{"__entity": _uid("DataClass", one)} for one in question.classes],
            "redacted": question.redacted,
            "tenant": {"__entity": _uid("Tenant", question.tenant)},
        },
    }


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _entities(book: PolicyBook, targets: Iterable[Target]) -> Iterable[dict[str, Any]]:
    for target in targets:
        yield _entity(
            "Model",
            target.service,
            contract=target.contract,
            zone=target.zone,
            region=target.region,
            purpose=target.purpose,
        )
    for name, within in book.classes.items():
        yield _entity("DataClass", name, *(_uid("DataClass", one) for one in within))
    for name, groups in (book.tenants or {}).items():
        yield _entity("Tenant", name, *(_uid("TenantGroup", one) for one in groups))


def _entity(kind: str, name: str, *parents: dict[str, str], **attributes: str) -> dict[str, Any]:
    return {"uid": _uid(kind, name), "attrs": attributes, "parents": list(parents)}
