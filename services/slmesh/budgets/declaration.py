"""Which budgets there are: one YAML file, checked when it is read.

    tenants:
      acme: {requests: 5000, usd_micros: 2000000, concurrent: 4}
      "*": {requests: 100}
    flows:
      support: {window_s: 3600, tokens: 200000}

A tenant's budget is for all its flows together, ``*`` is the budget of each tenant that has none of
its own, and a flow's budget is for all tenants together. A tenant without any has no budget, and
the reasoner is not asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slmesh.budgets.amounts import Limit
from slmesh.mesh.declaration import read_declaration

__all__ = ["ANY_TENANT", "DEFAULT_BUDGETS", "Budgets", "read_budgets"]

ANY_TENANT = "*"

DEFAULT_BUDGETS = Path(__file__).with_name("default.yaml")
"""The budgets of a router whose settings name no file."""

_REASON = "INVALID_BUDGETS"
_LONGEST_WINDOW_S = 366 * 86_400
_LARGEST = 2**62
"""Amounts are kept as 64-bit integers, and two of them are added."""


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """The budgets of a mesh.

    Attributes:
        tenants: By tenant.
        flows: By flow.
    """

    tenants: Mapping[str, Limit] = field(default_factory=dict)
    flows: Mapping[str, Limit] = field(default_factory=dict)

    def of_tenant(self, tenant: str) -> Limit | None:
        """Return the budget of a tenant, or None: it may spend nothing."""
        return self.tenants.get(tenant, self.tenants.get(ANY_TENANT))

    def scopes(self, tenant: str, flow: str) -> dict[str, Limit] | None:
        """Return the budgets a request counts against, by scope, or None when it has none.

        Args:
            tenant: The tenant.
            flow: The flow.
        """
        own = self.of_tenant(tenant)
        if own is None:
            return None
        scopes = {f"tenant:{tenant}": own}
        if flow in self.flows:
            scopes[f"flow:{flow}"] = self.flows[flow]
        return scopes


def read_budgets(file: Path) -> Budgets:
    """Read a file of budgets.

    Raises:
        FailedPrecondition: It is wrong; the message starts with file and line.
    """
    declared = read_declaration(file, Budgets, reason=_REASON)
    for kind in ("tenants", "flows"):
        for name, limit in getattr(declared.value, kind).items():
            place = f"{kind}.{name}"
            if not 1 <= limit.window_s <= _LONGEST_WINDOW_S:
                raise declared.error(
                    f"{place}.window_s", f"window_s must be in [1, {_LONGEST_WINDOW_S}]"
                )
            for quantity in ("requests", "tokens", "usd_micros", "concurrent"):
                value = getattr(limit, quantity)
                if value is not None and not 0 <= value <= _LARGEST:
                    raise declared.error(
                        f"{place}.{quantity}", f"{quantity} must be in [0, {_LARGEST}]"
                    )
    return declared.value
