"""What is recorded of each tenant's decisions, and for how long.

Settings say it for all; a file may say it for single tenants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from slmesh.api.ledger.v1 import record_pb2
from slmesh.mesh.declaration import read_declaration
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings

__all__ = ["Recording", "RecordingRules"]

_REASON = "INVALID_LEDGER_TENANTS"
_KEPT: Mapping[str, record_pb2.TextKept] = {
    "none": record_pb2.TEXT_KEPT_NONE,
    "redacted": record_pb2.TEXT_KEPT_REDACTED,
    "full": record_pb2.TEXT_KEPT_FULL,
}
_LONGEST_DAYS = 36_500


@dataclass(frozen=True)
class Recording:
    """What is recorded of one tenant.

    Attributes:
        text_kept: What a record holds of a text.
        retention_days: After how many days a record is deleted.
    """

    text_kept: record_pb2.TextKept
    retention_days: int


@dataclass(frozen=True, kw_only=True)
class _Tenant:
    text: Literal["none", "redacted", "full"] | None = None
    retention_days: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Tenants:
    tenants: Mapping[str, _Tenant] = field(default_factory=dict)


class RecordingRules:
    """What is recorded of whom.

    Args:
        everybody: What is recorded of a tenant without a rule of its own.
        tenants: Rules of single tenants.
    """

    def __init__(self, everybody: Recording, tenants: Mapping[str, Recording]) -> None:
        self._everybody = everybody
        self._tenants = dict(tenants)

    @classmethod
    def of(cls, settings: Settings) -> RecordingRules:
        """Return the rules that the settings state.

        Raises:
            FailedPrecondition: A setting or the file is wrong.
        """
        kept = _KEPT.get(settings.ledger_text)
        if kept is None:
            raise FailedPrecondition(
                f"setting SLMESH_LEDGER_TEXT must be none, redacted or full, is"
                f" '{settings.ledger_text}'{suggestion(settings.ledger_text, _KEPT)}",
                reason="INVALID_SETTING",
            )
        if not 1 <= settings.ledger_retention_days <= _LONGEST_DAYS:
            raise FailedPrecondition(
                f"setting SLMESH_LEDGER_RETENTION_DAYS must be from 1 to {_LONGEST_DAYS}, is"
                f" {settings.ledger_retention_days}",
                reason="INVALID_SETTING",
            )
        everybody = Recording(kept, settings.ledger_retention_days)
        if settings.ledger_tenants is None:
            return cls(everybody, {})
        return cls(everybody, _read(settings.ledger_tenants, everybody))

    def of_tenant(self, tenant: str) -> Recording:
        """Return what is recorded of a tenant."""
        return self._tenants.get(tenant, self._everybody)


def _read(file: Path, everybody: Recording) -> Mapping[str, Recording]:
    declared = read_declaration(file, _Tenants, reason=_REASON)
    found: dict[str, Recording] = {}
    for name, rule in declared.value.tenants.items():
        days = everybody.retention_days if rule.retention_days is None else rule.retention_days
        if not 1 <= days <= _LONGEST_DAYS:
            raise declared.error(
                f"tenants.{name}.retention_days", f"must be from 1 to {_LONGEST_DAYS}, is {days}"
            )
        kept = everybody.text_kept if rule.text is None else _KEPT[rule.text]
        found[name] = Recording(kept, days)
    return found
