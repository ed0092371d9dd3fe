"""What discovery answers: the instances of a service, nearest first, and how old the answer is.

Here are the types every kind of discovery shares and the rule of what is near. It knows nothing of
Consul, of sockets or of time: whoever answers measures the age.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from slmesh.mesh.errors import InvalidArgument, NotFound, Unavailable
from slmesh.mesh.naming import suggestion

__all__ = [
    "CLUSTER_SERVICE",
    "ELSEWHERE",
    "SAME_REGION",
    "SAME_ZONE",
    "Discovery",
    "Instance",
    "Resolution",
    "by_distance",
    "no_healthy_instance",
    "parse_address",
    "unknown_service",
]

CLUSTER_SERVICE = "ray-cluster"
"""The service name under which whole clusters are found; no manifest may use it."""

SAME_ZONE = 0
SAME_REGION = 1
ELSEWHERE = 2

_RETRY_DELAY_S = 1.0
"""Checks run every 1-2 s, so an earlier retry meets the same answer."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One place where a service answers.

    Attributes:
        service: The service's name in the mesh: ``intent``, ``router``.
        host: A host name or an IP address, without brackets.
        port: The gRPC port, 1 to 65535.
        zone: The zone it runs in; empty when it does not say.
        region: The region it runs in; empty when it does not say.
        metadata: What it says about itself: ``application``, ``version``, ``contract``,
            ``cluster``.
        healthy: Whether every check of it passes.
        check_output: What the first failing check said; empty when healthy or silent.
        distance: ``SAME_ZONE``, ``SAME_REGION`` or ``ELSEWHERE``, seen from whoever resolved it.
    """

    service: str
    host: str
    port: int
    zone: str = ""
    region: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    healthy: bool = True
    check_output: str = ""
    distance: int = SAME_ZONE

    @property
    def target(self) -> str:
        """The address as gRPC takes it: ``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The instances of one service, as known now.

    Attributes:
        service: The service asked for.
        instances: The healthy instances, nearest first; never empty.
        failing: Instances that are registered but fail a check, nearest first.
        age_s: Seconds since the source last confirmed this answer. While all is well it stays
            below the length of a blocking query.
        stale: Whether the answer is older than the source promises: use it, but say so.
        source: ``static`` or ``consul``.
        error: Why the source's last query failed; empty when it did not.
    """

    service: str
    instances: tuple[Instance, ...]
    failing: tuple[Instance, ...] = ()
    age_s: float = 0.0
    stale: bool = False
    source: str
    error: str = ""

    @property
    def nearest(self) -> tuple[Instance, ...]:
        """The healthy instances that share the least distance: spread calls over these."""
        least = self.instances[0].distance
        return tuple(item for item in self.instances if item.distance == least)

    def within(
        self, *, zone: str | None = None, region: str | None = None, cluster: str | None = None
    ) -> Resolution:
        """Return the answer narrowed to one zone, region or cluster; None leaves it open.

        Raises:
            Unavailable: No healthy instance is there.
        """

        def matches(item: Instance) -> bool:
            return (
                (zone is None or item.zone == zone)
                and (region is None or item.region == region)
                and (cluster is None or item.metadata.get("cluster") == cluster)
            )

        healthy = tuple(filter(matches, self.instances))
        failing = tuple(filter(matches, self.failing))
        if not healthy:
            raise no_healthy_instance(self.service, len(failing))
        return replace(self, instances=healthy, failing=failing)


class Discovery(Protocol):
    """Finds the instances of services. Implementations answer from memory and never block."""

    async def start(self) -> None:
        """Begin to follow the source. A source that is away is no error: it is followed on."""

    def resolve(self, service: str) -> Resolution:
        """Return where a service answers.

        Raises:
            NotFound: The source has never named this service.
            Unavailable: The source has not answered yet, or no instance is healthy.
        """

    def services(self) -> tuple[str, ...]:
        """Return the names of the services known so far, sorted."""

    async def close(self) -> None:
        """Stop to follow the source. Does nothing the second time."""


def by_distance(
    instances: Iterable[Instance], *, zone: str, region: str, salt: str = ""
) -> tuple[Instance, ...]:
    """Return the instances with their distance set, nearest first.

    A zone counts only inside its region, because zone names repeat between regions.

    Args:
        instances: The instances to order.
        zone: The zone of whoever asks.
        region: The region of whoever asks.
        salt: Decides the order among equally near instances: different for each process, so that
            routers do not all prefer the same one; the same over time, so that channels are kept.
    """

    def placed(item: Instance) -> Instance:
        distance = ELSEWHERE
        if item.region == region:
            distance = SAME_ZONE if item.zone == zone else SAME_REGION
        return replace(item, distance=distance)

    def rank(item: Instance) -> tuple[int, bytes]:
        digest = hashlib.blake2b(f"{salt}/{item.target}".encode(), digest_size=8).digest()
        return item.distance, digest

    return tuple(sorted(map(placed, instances), key=rank))


def unknown_service(service: str, known: Sequence[str]) -> NotFound:
    """Return the error for a service the source has never named."""
    return NotFound(
        f"no service '{service}'{suggestion(service, known)}",
        reason="SERVICE_NOT_FOUND",
        metadata={"service": service},
    )


def no_healthy_instance(service: str, failing: int) -> Unavailable:
    """Return the error for a known service none of whose instances is healthy."""
    found = f"{failing} registered, all failing" if failing else "none registered"
    return Unavailable(
        f"service '{service}' has no healthy instance ({found})",
        reason="NO_HEALTHY_INSTANCE",
        metadata={"service": service},
        retry_delay_s=_RETRY_DELAY_S,
    )


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[IPv6]:port``.

    Raises:
        InvalidArgument: The text is no address with a port from 1 to 65535.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    proper_host = bool(bare) and (bracketed or ":" not in bare) and not set(bare) & set("/[]@ ")
    if not proper_host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise InvalidArgument(
            f"'{text}' is no address: write host:port or [IPv6]:port, the port from 1 to 65535",
            reason="INVALID_ADDRESS",
        )
    return bare, int(port)
