"""The tenants and the classes of data that a mesh declares beside its policies."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLASSES", "ClassesFile", "DeclaredClass", "DeclaredTenant", "TenantsFile"]

CLASSES = ("public", "internal", "confidential", "personal", "secret")
"""The classes there are without any declaration."""


@dataclass(frozen=True, kw_only=True)
class DeclaredTenant:
    """One tenant of ``tenants.yaml``.

    Attributes:
        name: The tenant's name, as it comes with a call.
        groups: The groups it belongs to, for policies: ``context.tenant in TenantGroup::"eu"``.
    """

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TenantsFile:
    """``tenants.yaml``: all tenants there are. Without such a file every tenant is served.

    Attributes:
        tenants: The tenants.
    """

    tenants: tuple[DeclaredTenant, ...]


@dataclass(frozen=True, kw_only=True)
class DeclaredClass:
    """One class of data of ``classes.yaml``.

    Attributes:
        name: The class.
        within: Classes it is a kind of: what is said of those with ``in`` holds for it.
    """

    name: str
    within: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClassesFile:
    """``classes.yaml``: classes of data beside :data:`CLASSES`.

    Attributes:
        classes: The classes.
    """

    classes: tuple[DeclaredClass, ...]
