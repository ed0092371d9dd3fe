"""What an evaluation has to know of the service it evaluates, to ask it what it can answer.

All of it comes from the service's manifest and bundle; nothing is loaded or called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slmesh.mesh.bundle import find_bundle, load_bundle
from slmesh.mesh.catalog import bundle_folders, discover, required_bundle
from slmesh.mesh.errors import NotFound
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings

__all__ = ["Subject", "manifest_of", "subject_of"]

_BY_BUNDLE_ALONE = {"intent": "", "triage": "", "entities": "Extractor"}
"""Services with code of which the bundle decides everything, so that any bundle of their contract can
run; and the class, where it is not the service's own."""


@dataclass(frozen=True)
class Subject:
    """A service as an evaluation sees it.

    Attributes:
        manifest: Its manifest.
        labels: The labels of its bundle; empty when it has none, so that any label may be right.
        field_sets: Names of the fields by declared field set; empty when it declares none.
        tokenizer: The file of its backbone's tokenizer, or None when it is not compiled here.
        most_candidates: The most passages of one request to a ranker.
        indexes: Whether a collection may be added to its manifest.
    """

    manifest: Manifest
    labels: frozenset[str] = frozenset()
    field_sets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tokenizer: Path | None = None
    most_candidates: int = 512
    indexes: bool = False

    @property
    def name(self) -> str:
        """The service's name."""
        return self.manifest.name

    @property
    def contract(self) -> str:
        """The contract it speaks."""
        return self.manifest.contract


def manifest_of(name: str, settings: Settings) -> Manifest:
    """Return the manifest of a service, or of one made for a model that no service uses.

    Args:
        name: Of the service, or of the model when there is no such service.
        settings: Where services and bundles are.

    Raises:
        NotFound: There is neither; the nearest service is suggested.
    """
    services = discover(settings)
    if name in services:
        return services[name]
    try:
        bundle = load_bundle(find_bundle(name, bundle_folders(settings)))
    except NotFound:
        bundle = None
    for known, class_name in _BY_BUNDLE_ALONE.items():
        code = services.get(known)
        if code and bundle is not None and bundle.contract == f"{code.contract}/v1":
            class_name = class_name or code.class_name
            return replace(
                code, name=name, model=name, description="", class_name=class_name, options={}
            )
    raise NotFound(f"no service '{name}'{suggestion(name, services)}", reason="SERVICE_NOT_FOUND")


def subject_of(manifest: Manifest, settings: Settings, *, local: bool) -> Subject:
    """Return what is known of a service.

    Args:
        manifest: Its manifest.
        settings: Where its bundle and the compiled backbones are, and the limits.
        local: Whether it will run in this process, where a collection can be added to it.

    Raises:
        MeshError: Its bundle is missing or damaged.
    """
    bundle = required_bundle(manifest, settings)
    backbone = (bundle.backbone or {}) if bundle is not None else {}
    return Subject(
        manifest,
        frozenset(bundle.labels) if bundle is not None else frozenset(),
        _field_sets(manifest.options),
        _tokenizer(settings.cache_dir, backbone.get("digest", "")),
        settings.max_batch_items,
        local and isinstance(manifest.options.get("collections"), Mapping),
    )


def _field_sets(options: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    declared = options.get("field_sets")
    if not isinstance(declared, Mapping):
        return {}
    return {str(name): frozenset(map(str, fields)) for name, fields in declared.items()}


def _tokenizer(cache_dir: Path, digest: str) -> Path | None:
    from slmesh.tiers.encoder import TOKENIZER_FILE, encoder_folder

    path = encoder_folder(cache_dir, digest) / TOKENIZER_FILE
    return path if digest and path.is_file() else None
