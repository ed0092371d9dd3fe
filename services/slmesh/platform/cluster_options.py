"""What the supervisor tells the process that runs Ray, apart from settings and Ray's own flags."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClusterOptions"]


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """The command line of ``slmesh.platform.cluster``, as JSON.

    Attributes:
        services: The services to deploy.
        short_dir: Ray's folder.
        http_port: Serve's HTTP port.
        supervisor: The process whose end is this one's too.
    """

    services: list[str]
    short_dir: str
    http_port: int
    supervisor: int
