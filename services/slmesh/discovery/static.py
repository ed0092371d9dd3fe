"""Discovery from a mapping: the embedded default, where the local mesh is all there is.

Nobody checks the instances here: each counts as healthy, and a call finds out. It knows nothing of
files; whoever reads a new mapping from somewhere hands it to ``replace``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from slmesh.discovery.resolution import (
    Instance,
    Resolution,
    no_healthy_instance,
    parse_address,
    unknown_service,
)

__all__ = ["StaticDiscovery"]


class StaticDiscovery:
    """Answers with fixed addresses.

    Args:
        addresses: The addresses of each service, preferred first; a service with an empty
            sequence is known and has no instance.
        default_address: Where every other service answers: the ingress of the local mesh. None
            when there is no such place.
        known: The services that answer at the default address; any name does when None.
        zone: The zone of this process, given to every instance.
        region: The region of this process, given to every instance.

    Raises:
        InvalidArgument: An address is not ``host:port``.
    """

    def __init__(
        self,
        addresses: Mapping[str, Sequence[str]] | None = None,
        *,
        default_address: str | None = None,
        known: Iterable[str] | None = None,
        zone: str = "",
        region: str = "",
    ) -> None:
        self._zone = zone
        self._region = region
        self._default = parse_address(default_address) if default_address else None
        self._known = None if known is None else frozenset(known)
        self._instances: Mapping[str, tuple[Instance, ...]] = {}
        self.replace(addresses or {})

    async def start(self) -> None:
        """Do nothing: the mapping is here already."""

    def resolve(self, service: str) -> Resolution:
        """Return the addresses of a service; see ``Discovery.resolve``."""
        instances = self._instances.get(service)
        if instances is None:
            instances = self._at_default(service)
        if not instances:
            raise no_healthy_instance(service, 0)
        return Resolution(service=service, instances=instances, source="static")

    def services(self) -> tuple[str, ...]:
        """Return the names given, sorted."""
        return tuple(sorted({*self._instances, *(self._known or ())}))

    async def close(self) -> None:
        """Do nothing: there is nothing to stop."""

    def replace(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Take a new mapping as a whole, or leave the old one when an address is wrong.

        Raises:
            InvalidArgument: An address is not ``host:port``.
        """
        self._instances = {
            service: tuple(self._instance(service, parse_address(item)) for item in items)
            for service, items in addresses.items()
        }

    def _at_default(self, service: str) -> tuple[Instance, ...]:
        if self._default is None or (self._known is not None and service not in self._known):
            raise unknown_service(service, self.services())
        return (self._instance(service, self._default),)

    def _instance(self, service: str, address: tuple[str, int]) -> Instance:
        host, port = address
        return Instance(
            service=service,
            host=host,
            port=port,
            zone=self._zone,
            region=self._region,
            metadata={"application": service},
        )
