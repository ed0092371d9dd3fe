"""How long services usually take, as far as anything was measured, to check budgets of flows.

Before the first call only the bundles know: they hold the median time of the model itself for one text,
measured on validation data when the bundle was made, on that machine. A service takes longer than its
model, so it is a lower bound, and a budget below it cannot be kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from slmesh.mesh.bundle import BUNDLE_FILE, find_bundle
from slmesh.mesh.catalog import bundle_folders
from slmesh.mesh.errors import NotFound
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings

__all__ = ["bundle_medians"]

_FIGURES = ("p50_ms", "rank_ms")
_PARTS = ("encoder", "linear", "rules")
"""Tiers that a cascade asks only for some texts; it has a figure of its own."""


def bundle_medians(services: Mapping[str, Manifest], settings: Settings) -> dict[str, float]:
    """Return the median time of each service's model in ms; a service without a figure is left out.

    Args:
        services: The services.
        settings: Where bundles are.
    """
    folders = bundle_folders(settings)
    found: dict[str, float] = {}
    for name, manifest in services.items():
        if not manifest.model:
            continue
        try:
            path = find_bundle(manifest.model, folders) / BUNDLE_FILE
            # not verified: no weight is used, and a bundle that was changed fails where it is
            metrics = json.loads(path.read_text(encoding="utf-8")).get("metrics") or {}
        except (NotFound, OSError, ValueError, AttributeError):
            continue
        # the parts of one answer are computed side by side from the same text
        longest = max(_medians(metrics), default=0.0)
        if longest > 0:
            found[name] = longest
    return found


def _medians(metrics: Any) -> Iterator[float]:
    if not isinstance(metrics, Mapping):
        return
    for key, value in metrics.items():
        if key in _FIGURES and isinstance(value, (int, float)):
            yield float(value)
        elif not (key in _PARTS and "cascade" in metrics):
            yield from _medians(value)
