"""Finds and holds the flows of a router: its own, and those of every folder of the flow path.

A flow of the flow path stands above one of the package of the same name. A flow that is wrong refuses
to load and says where; nothing of it is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from slmesh.mesh.catalog import discover
from slmesh.mesh.declaration import read_declaration
from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings
from slmesh.router.flow import Flow
from slmesh.router.flow_checks import problems_of
from slmesh.router.medians import bundle_medians

__all__ = ["FlowBook", "flow_files", "flow_source", "load_flow", "load_flows"]

_REASON = "INVALID_FLOW"
_SHOWN = 64
"""Code points of an unknown name that a message repeats."""


class FlowBook:
    """The flows a router serves.

    Args:
        flows: The flows by name.
    """

    def __init__(self, flows: Mapping[str, Flow]) -> None:
        self._flows = dict(flows)

    def __iter__(self) -> Iterator[Flow]:
        """Iterate over the flows in order of their names."""
        return iter(sorted(self._flows.values(), key=lambda flow: flow.name))

    def flow(self, name: str) -> Flow:
        """Return a flow.

        Raises:
            NotFound: There is none of this name; the nearest name is suggested.
        """
        flow = self._flows.get(name)
        if flow is None:
            raise _not_found(name, self._flows)
        return flow

    def put(self, flow: Flow) -> bool:
        """Serve a flow from now on; returns whether it is another version than before."""
        before = self._flows.get(flow.name)
        self._flows[flow.name] = flow
        return before is None or before.revision != flow.revision

    def remove(self, name: str) -> None:
        """Serve a flow no longer; requests that began with it go on."""
        self._flows.pop(name, None)


def load_flows(
    settings: Settings, services: Mapping[str, Manifest] | None = None
) -> dict[str, Flow]:
    """Return every flow the settings name, by name.

    Args:
        settings: The settings; ``flow_path`` names folders of flows beside the package's own.
        services: The services of the mesh; those that the settings find when None.

    Raises:
        FailedPrecondition: A flow is wrong; the message starts with its file and line.
    """
    found = discover(settings) if services is None else services
    contracts = {name: manifest.contract for name, manifest in found.items()}
    medians_ms = bundle_medians(found, settings)
    return {
        name: load_flow(file, contracts, medians_ms) for name, file in flow_files(settings).items()
    }


def flow_source(name: str, settings: Settings) -> str:
    """Return the declaration of a flow as it is written.

    Raises:
        NotFound: There is none of this name; the nearest name is suggested.
    """
    files = flow_files(settings)
    if name not in files:
        raise _not_found(name, files)
    return files[name].read_text(encoding="utf-8")


def load_flow(
    file: Path, contracts: Mapping[str, str], medians_ms: Mapping[str, float] | None = None
) -> Flow:
    """Read and check one flow.

    Args:
        file: The file.
        contracts: The contract of every service, by name.
        medians_ms: How long services usually take, as far as that is known.

    Raises:
        FailedPrecondition: It is wrong; the message starts with file and line.
    """
    declared = read_declaration(file, Flow, reason=_REASON)
    flow = declared.value
    if flow.name != file.stem:
        raise declared.error("name", f"the flow '{flow.name}' must be in '{flow.name}.yaml'")
    for place, message in problems_of(flow, contracts, medians_ms):
        raise declared.error(place, message)
    return flow


def flow_files(settings: Settings) -> dict[str, Path]:
    """Return the file of every flow, by name.

    Raises:
        FailedPrecondition: A folder of the flow path is none.
    """
    folders = [Path(__file__).resolve().parent / "flows"]
    for folder in settings.flow_path:
        if not folder.is_dir():
            raise FailedPrecondition(
                f"SLMESH_FLOW_PATH names {folder}, which is not a folder", reason=_REASON
            )
        folders.append(folder)
    # a later folder stands above an earlier one
    files = {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
    return dict(sorted(files.items()))


def _not_found(name: str, flows: Iterable[str]) -> NotFound:
    shown = name[:_SHOWN]
    return NotFound(
        f"no flow '{shown}'{suggestion(shown, flows)}",
        reason="FLOW_NOT_FOUND",
        metadata={"flow": shown},
    )
