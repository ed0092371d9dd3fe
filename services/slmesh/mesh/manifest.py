"""The manifest of a service: what ``service.yaml`` may say.

A manifest is the only thing the mesh needs to know to find, deploy, bind and test a service. This
module reads and checks it; it does not import the service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from slmesh.mesh.declaration import SAFE_LOADER
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.naming import suggestion

__all__ = ["CONTRACTS", "ZONES", "Manifest", "load_manifest"]

CONTRACTS = ("classify", "extract", "rank", "guard", "score", "reason")
"""The contracts a manifest may name."""

ZONES = ("in-process", "cluster", "partner", "external")
"""Where the model of a service runs, the nearest first; policy speaks of these."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_YAML_NAMES = {"class": "class_name"}  # `class` is a Python keyword


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One service, as its ``service.yaml`` declares it.

    Attributes:
        name: The service's name: a DNS label of at most 40 characters, unique in the mesh.
        contract: One of :data:`CONTRACTS`.
        class_name: The class in ``service.py`` next to the manifest (key ``class``).
        model: The bundle to load, ``name`` or ``name@version``; empty for a service without one.
        description: One line for people.
        replicas: Processes that serve it, >= 1.
        cpus: Cores that Ray reserves for a replica; a scheduling number, > 0.
        memory_mib: Resident memory a replica may take, in MiB. One that takes more is ended and
            started again, and its callers are told UNAVAILABLE.
        threads: Threads of a replica's inference, >= 1: of ONNX Runtime, BLAS, OpenMP and tokenisers.
        max_batch_size: Items computed in one call of ``answer``, >= 1.
        max_batch_wait_ms: How long an item waits for company when the service is idle; 0 answers
            at once, and batches form by themselves while the service is busy.
        max_queue_items: Items that may wait; one more is refused.
        timeout_ms: The time a request may take when its caller sets no deadline.
        zone: One of :data:`ZONES`: where data that the service is sent ends up. When left out, that
            is this mesh, or ``external`` for a reasoner whose server is somewhere else.
        region: The region the model runs in; the process's own when left out, and ``unknown`` for a
            model outside of the mesh.
        purpose: What the model may use the data for. ``inference`` is to answer, and to keep
            nothing.
        options: Free settings for the class.
        folder: Where the manifest lies; not a key of the file.
    """

    name: str
    contract: str
    class_name: str
    model: str = ""
    description: str = ""
    replicas: int = 1
    cpus: float = 0.1
    memory_mib: int = 450
    threads: int = 1
    max_batch_size: int = 32
    max_batch_wait_ms: float = 0
    max_queue_items: int = 1024
    timeout_ms: int = 2000
    zone: str = ""
    region: str = ""
    purpose: str = "inference"
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def __post_init__(self) -> None:
        """Check the values, so that a wrong manifest fails at start and says why."""
        problem = self._problem()
        if problem:
            raise FailedPrecondition(f"service '{self.name}': {problem}", reason="INVALID_MANIFEST")

    def _problem(self) -> str:
        if not _NAME.fullmatch(self.name):
            return "name must be a DNS label of at most 40 lower-case characters"
        if self.contract not in CONTRACTS:
            return f"unknown contract '{self.contract}'{suggestion(self.contract, CONTRACTS)}"
        if not self.class_name.isidentifier():
            return "class must be the name of a Python class"
        for name in ("replicas", "memory_mib", "threads", "max_batch_size", "max_queue_items"):
            if getattr(self, name) < 1:
                return f"{name} must be at least 1, is {getattr(self, name)}"
        if self.cpus <= 0 or self.timeout_ms <= 0:
            return "cpus and timeout_ms must be above 0"
        if self.zone and self.zone not in ZONES:
            return f"unknown zone '{self.zone}'{suggestion(self.zone, ZONES)}"
        if self.max_batch_wait_ms < 0:
            return "max_batch_wait_ms must not be negative"
        return ""


def load_manifest(path: Path) -> Manifest:
    """Read one ``service.yaml``.

    Raises:
        FailedPrecondition: The file cannot be read, holds an unknown key (the nearest valid one is
            named), lacks a required one, or has a value of the wrong type.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=SAFE_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FailedPrecondition(f"{path}: {error}", reason="INVALID_MANIFEST") from error
    if not isinstance(content, dict):
        raise FailedPrecondition(f"{path}: not a mapping", reason="INVALID_MANIFEST")
    known = {f.name: f for f in fields(Manifest) if f.name != "folder"}
    keys = {name: name for name in known} | _YAML_NAMES
    del keys["class_name"]
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in keys:
            raise FailedPrecondition(
                f"{path}: unknown key '{key}'{suggestion(str(key), keys)}",
                reason="INVALID_MANIFEST",
            )
        values[keys[key]] = _checked(path, key, value, known[keys[key]].type)
    for key, name in keys.items():
        spec = known[name]
        required = spec.default is MISSING and spec.default_factory is MISSING
        if required and name not in values:
            raise FailedPrecondition(
                f"{path}: the key '{key}' is missing", reason="INVALID_MANIFEST"
            )
    try:
        return Manifest(**values, folder=path.parent.resolve())
    except FailedPrecondition as error:
        raise FailedPrecondition(f"{path}: {error.message}", reason=error.reason) from None


_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "Mapping[str, Any]": (dict,),
}


def _checked(path: Path, key: str, value: Any, annotation: Any) -> Any:
    wanted = _TYPES[annotation]
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise FailedPrecondition(
            f"{path}: the key '{key}' must be {wanted[-1].__name__}, is {type(value).__name__}",
            reason="INVALID_MANIFEST",
        )
    return value
