"""Finds services and bundles: in the package, in the service path, and through entry points.

A service is found by its manifest, never by a list to edit. Nearer to the user wins: a service of
the service path stands above one of an entry point, and that above the package's own of the same
name. An entry point of the group ``slmesh.services`` names a package (or module) whose folder holds
service folders. Bundles lie in any of these folders, or in its folder ``models``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from slmesh.mesh.bundle import Bundle, find_bundle, load_bundle
from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.mesh.gate import Gate
from slmesh.mesh.manifest import Manifest, load_manifest
from slmesh.mesh.naming import suggestion
from slmesh.mesh.service import CallerOf, Resources, no_caller
from slmesh.mesh.settings import Settings
from slmesh.mesh.signature import check_signature

__all__ = ["bundle_folders", "discover", "find_manifest", "open_service", "required_bundle"]

_PACKAGE = Path(__file__).resolve().parent.parent
_GROUP = "slmesh.services"
_MANIFEST = "service.yaml"


def discover(settings: Settings) -> dict[str, Manifest]:
    """Return every service by name.

    Raises:
        FailedPrecondition: A manifest is wrong, or one folder has two services of one name.
    """
    found: dict[str, Manifest] = {}
    for folder in _service_folders(settings):
        found = _manifests(folder) | found
    overrides = settings.reasoner_options()
    placed = settings.reasoner_zone or settings.reasoner_region
    for name, manifest in found.items():
        if manifest.contract == "reason" and (overrides or placed):
            found[name] = replace(
                manifest,
                options={**manifest.options, **overrides},
                zone=settings.reasoner_zone or manifest.zone,
                region=settings.reasoner_region or manifest.region,
            )
    return dict(sorted(found.items()))


def find_manifest(name: str, settings: Settings) -> Manifest:
    """Return the manifest of one service.

    Raises:
        NotFound: There is none; the nearest name is suggested.
    """
    services = discover(settings)
    if name not in services:
        raise NotFound(
            f"no service '{name}'{suggestion(name, services)}", reason="SERVICE_NOT_FOUND"
        )
    return services[name]


def bundle_folders(settings: Settings) -> list[Path]:
    """Return the folders that may hold bundles, in order of precedence."""
    folders: list[Path] = []
    for folder in [*settings.service_path, *_entry_point_folders()]:
        folders += [folder, folder / "models"]
    # a wheel carries the bundles in the package; a checkout has them at its top
    folders += [_PACKAGE / "bundles", _PACKAGE.parent.parent / "models"]
    return [folder.resolve() for folder in folders if folder.is_dir()]


def required_bundle(manifest: Manifest, settings: Settings) -> Bundle | None:
    """Return the verified bundle a manifest names, or None when it names none.

    Raises:
        NotFound: There is no such bundle.
        FailedPrecondition: The bundle was changed, made for another contract, or is not signed by a
            trusted key where such keys are set.
    """
    if not manifest.model:
        return None
    bundle = load_bundle(find_bundle(manifest.model, bundle_folders(settings)))
    wanted = f"{manifest.contract}/v1"
    if bundle.contract != wanted:
        raise FailedPrecondition(
            f"bundle '{bundle.name}' {bundle.version} is made for the contract {bundle.contract},"
            f" service '{manifest.name}' speaks {wanted}",
            reason="CONTRACT_MISMATCH",
        )
    if settings.trusted_keys is not None:
        check_signature(bundle, settings.trusted_keys)
    return bundle


def open_service(
    manifest: Manifest,
    settings: Settings,
    *,
    caller_of: CallerOf = no_caller,
    gate: Gate | None = None,
) -> tuple[Any, Bundle | None]:
    """Import a service's class, make it and load it.

    Args:
        manifest: Which service.
        settings: The settings of the process.
        caller_of: Tells a service that calls others for whom it does.
        gate: Decides about those calls.

    Returns:
        The loaded service and its bundle.

    Raises:
        MeshError: What the service needs is missing or wrong.
    """
    bundle = required_bundle(manifest, settings)
    service = _import_class(manifest)()
    service.load(Resources(manifest, bundle, settings.cache_dir, manifest.threads, caller_of, gate))
    return service, bundle


def _manifests(folder: Path) -> dict[str, Manifest]:
    found: dict[str, Manifest] = {}
    for path in sorted(folder.glob(f"*/{_MANIFEST}")):
        manifest = load_manifest(path)
        if manifest.name in found:
            raise FailedPrecondition(
                f"{path}: {found[manifest.name].folder} has a service '{manifest.name}' too",
                reason="DUPLICATE_SERVICE",
            )
        found[manifest.name] = manifest
    return found


def _service_folders(settings: Settings) -> list[Path]:
    folders = [*settings.service_path, *_entry_point_folders(), _PACKAGE / "slm", _PACKAGE]
    unique = dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir())
    return list(unique)


def _entry_point_folders() -> list[Path]:
    folders = []
    places = tuple((place, _change_time_ns(Path(place))) for place in sys.path)
    for entry_point in _entry_points_at(places):
        spec = importlib.util.find_spec(entry_point.module)
        if spec is None:
            raise FailedPrecondition(
                f"entry point '{entry_point.name}' names the module '{entry_point.module}', which"
                " is not there",
                reason="ENTRY_POINT_BROKEN",
            )
        locations = spec.submodule_search_locations or [str(Path(spec.origin or "").parent)]
        folders += [Path(location) for location in locations]
    return folders


@functools.lru_cache(maxsize=1)
def _entry_points_at(_places: tuple[tuple[str, int], ...]) -> Sequence[EntryPoint]:
    """Return our entry points: each installed package is read, so only when a place has changed."""
    return tuple(entry_points(group=_GROUP))


def _change_time_ns(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def _import_class(manifest: Manifest) -> type:
    path = manifest.folder / "service.py"
    if not path.is_file():
        raise FailedPrecondition(
            f"service '{manifest.name}' has no service.py next to its manifest",
            reason="INVALID_SERVICE",
        )
    module = _import_module(manifest, path)
    found = getattr(module, manifest.class_name, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise FailedPrecondition(
            f"service '{manifest.name}': service.py has no class '{manifest.class_name}'"
            f"{suggestion(manifest.class_name, classes)}",
            reason="INVALID_SERVICE",
        )
    return found


def _import_module(manifest: Manifest, path: Path) -> ModuleType:
    if path.is_relative_to(_PACKAGE):
        parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
        return importlib.import_module(".".join(parts))
    name = f"slmesh_service_{manifest.name.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
