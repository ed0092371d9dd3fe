"""A folder with one classifier several times, each held to a tier, for one mesh to serve them all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from slmesh.mesh.manifest import Manifest

__all__ = ["tier_service", "write_tier_services"]


def tier_service(service: str, tier: str) -> str:
    """Return the name of a service that is held to a tier."""
    return f"{service}-{tier}"


def write_tier_services(manifest: Manifest, tiers: Sequence[str], folder: Path) -> list[str]:
    """Write a service folder for each tier and return the services' names.

    Args:
        manifest: The classifier's own; model, class and batch size are kept.
        tiers: See ``tiers.classifier.TIER_CHOICES``.
        folder: Where to; made when missing.
    """
    names = []
    for tier in tiers:
        name = tier_service(manifest.name, tier)
        content = {
            "name": name,
            "contract": manifest.contract,
            "class": manifest.class_name,
            "model": manifest.model,
            "description": f"{manifest.name}, answered by its tier {tier}",
            "threads": manifest.threads,
            "max_batch_size": manifest.max_batch_size,
            "max_queue_items": manifest.max_queue_items,
            "timeout_ms": 60_000,  # a busy machine is to show in the figures, not to end them
            "options": {**manifest.options, "tier": tier},
        }
        target = folder / name
        target.mkdir(parents=True)
        (target / "service.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        shutil.copyfile(manifest.folder / "service.py", target / "service.py")
        names.append(name)
    return names
