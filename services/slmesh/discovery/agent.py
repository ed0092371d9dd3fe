"""Talks to one Consul agent through py-consul; the only module that knows either.

What the agent answers becomes our types, and whatever goes wrong becomes a ``MeshError`` without
addresses in it; the detail is in the log. It knows nothing of loops, of retries or of what is near.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import consul.aio
from consul import base, exceptions

from slmesh.discovery.resolution import Instance, parse_address
from slmesh.mesh.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)

__all__ = ["ConsulAgent", "GrpcCheck", "Registration", "TtlCheck"]

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_PREFIX = "slmesh-"
"""Before a service's name in Consul, so that a mesh shares an agent with others."""

_WAIT_JITTER = 1 / 16
"""What the agent adds to the wait of a blocking query at most. Source: Consul, Blocking Queries."""


@dataclass(frozen=True, kw_only=True)
class GrpcCheck:
    """The agent calls ``grpc.health.v1`` of the instance.

    Attributes:
        target: ``host:port`` as the agent reaches it, and ``/name`` to ask for one gRPC service.
        interval_s: Seconds between two calls.
        timeout_s: Seconds a call may take.
        tls: Whether the agent speaks TLS, verified against the agent's authorities.
    """

    target: str
    interval_s: float = 2.0
    timeout_s: float = 1.0
    tls: bool = False

    def definition(self) -> dict[str, Any]:
        """Return the check as Consul's HTTP API takes it."""
        check: dict[str, Any] = consul.Check.grpc(
            self.target, _duration(self.interval_s), timeout=_duration(self.timeout_s)
        )
        return check | {"GRPCUseTLS": self.tls}


@dataclass(frozen=True, kw_only=True)
class TtlCheck:
    """The instance fails when nobody vouched for it for a while.

    Attributes:
        ttl_s: Seconds that one word lasts.
        passing: The state to begin with.
    """

    ttl_s: float
    passing: bool

    def definition(self) -> dict[str, Any]:
        """Return the check as Consul's HTTP API takes it."""
        status = "passing" if self.passing else "critical"
        check: dict[str, Any] = consul.Check.ttl(_duration(self.ttl_s))
        return check | {"Status": status}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One instance as it is registered with the agent.

    Attributes:
        id: Unique on the agent; the check's id derives from it.
        service: The service's name in the mesh.
        host: The address others reach it at.
        port: The port others reach it at.
        metadata: What the instance says about itself. ``owner`` names whoever keeps it registered.
        check: How the agent learns whether it is healthy.
        deregister_after_s: Seconds of failing after which the agent forgets it; Consul's minimum
            is 60.
    """

    id: str
    service: str
    host: str
    port: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    check: GrpcCheck | TtlCheck
    deregister_after_s: float = 60.0

    @property
    def check_id(self) -> str:
        """The id of the instance's check."""
        return f"{self.id}.check"

    def same_as(self, entry: Mapping[str, Any]) -> bool:
        """Return whether the agent holds this registration already."""
        return (
            entry.get("Service") == _PREFIX + self.service
            and entry.get("Address") == self.host
            and entry.get("Port") == self.port
            and (entry.get("Meta") or {}) == dict(self.metadata)
        )


class ConsulAgent:
    """A connection to one agent. Made on first use, inside the event loop that uses it.

    Args:
        address: ``host:port``, with ``http://`` or ``https://`` before it where it matters.
        token: ACL token; the agent's own default when empty.
        timeout_s: Seconds an answer may take, on top of the wait of a blocking query.
        ca_file: PEM file with the authorities of an ``https`` agent; the system's when None.

    Raises:
        InvalidArgument: The address cannot be read.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8500",
        *,
        token: str = "",
        timeout_s: float = 2.0,
        ca_file: Path | None = None,
    ) -> None:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme not in ("http", "https") or parts.path.strip("/"):
            raise InvalidArgument(
                "the setting consul_address must be host:port, http://host:port or "
                f"https://host:port, is '{address}'",
                reason="INVALID_ADDRESS",
            )
        self._scheme = parts.scheme
        self._host, self._port = parse_address(parts.netloc)
        self._token = token
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._connected: _Client | None = None

    async def names(self, index: int, wait_s: float) -> tuple[int, frozenset[str]]:
        """Return the names of the mesh's services, once they changed after ``index``.

        Args:
            index: Where the last answer stood; 0 asks for the state now.
            wait_s: Seconds to wait for a change.

        Returns:
            The index of the answer, and the names without our prefix.
        """
        call = self._client().catalog.services(index=index or None, wait=_duration(wait_s))
        position, found = await self._ask(call, wait_s)
        with _reading():
            ours = (name for name in found or {} if name.startswith(_PREFIX))
            return int(position), frozenset(name.removeprefix(_PREFIX) for name in ours)

    async def instances(
        self, service: str, index: int, wait_s: float
    ) -> tuple[int, tuple[Instance, ...]]:
        """Return all instances of a service, once one changed after ``index``; see ``names``."""
        call = self._client().health.service(
            _PREFIX + service, index=index or None, wait=_duration(wait_s)
        )
        position, rows = await self._ask(call, wait_s)
        with _reading():
            return int(position), tuple(_instance(service, row) for row in rows or ())

    async def registered(self, owner: str) -> dict[str, dict[str, Any]]:
        """Return what this agent itself holds for an owner, by id, as Consul words it."""
        entries = await self._ask(self._client().agent.services())
        with _reading():
            return {
                key: entry
                for key, entry in (entries or {}).items()
                if (entry.get("Meta") or {}).get("owner") == owner
            }

    async def register(self, item: Registration) -> None:
        """Register an instance, or change one registered under the same id."""
        check = item.check.definition() | {
            "CheckID": item.check_id,
            "Name": f"{item.service} health",
            "DeregisterCriticalServiceAfter": _duration(item.deregister_after_s),
        }
        labels = (item.metadata.get(key, "") for key in ("region", "zone", "version"))
        await self._ask(
            self._client().agent.service.register(
                _PREFIX + item.service,
                service_id=item.id,
                address=item.host,
                port=item.port,
                tags=[label for label in labels if label],
                meta=dict(item.metadata),
                check=check,
            )
        )

    async def deregister(self, registration_id: str) -> None:
        """Forget an instance; an unknown id is no error."""
        await self._ask(self._client().agent.service.deregister(registration_id))

    async def vouch(self, item: Registration, *, healthy: bool, note: str) -> bool:
        """Pass or fail the TTL check of an instance.

        Args:
            item: An instance with a ``TtlCheck``.
            healthy: Whether it answers.
            note: Why, for whoever reads Consul's own pages.

        Returns:
            Whether the agent knows the check.
        """
        checks = self._client().agent.check
        say = checks.ttl_pass if healthy else checks.ttl_fail
        try:
            return bool(await self._ask(say(item.check_id, notes=note)))
        except Unavailable as error:
            if error.reason == "CONSUL_ERROR":  # older agents answer 500 for an unknown check
                return False
            raise

    async def close(self) -> None:
        """Close the connections."""
        client, self._connected = self._connected, None
        if client is not None:
            await client.close()

    def _client(self) -> _Client:
        if self._connected is None:
            verify: bool | str = str(self._ca_file) if self._ca_file else True
            host = f"[{self._host}]" if ":" in self._host else self._host
            try:
                client = _Client(host=host, port=self._port, scheme=self._scheme, verify=verify)
            except OSError as error:
                raise FailedPrecondition(
                    "the file with Consul's certificate authorities cannot be read",
                    reason="CONSUL_CA_UNREADABLE",
                ) from error
            # py-consul prefers CONSUL_HTTP_TOKEN over its argument; ours comes from the settings.
            client.token = self._token or None
            self._connected = client
        return self._connected

    async def _ask(self, call: Awaitable[_Answer], wait_s: float = 0.0) -> _Answer:
        try:
            async with asyncio.timeout(wait_s * (1 + _WAIT_JITTER) + self._timeout_s):
                return await call
        except (exceptions.ACLPermissionDenied, exceptions.ACLDisabled) as error:
            raise PermissionDenied(
                "Consul refused the token: set consul_token to one that may read and write "
                f"services named {_PREFIX}*",
                reason="CONSUL_TOKEN_REFUSED",
            ) from error
        except exceptions.BadRequest as error:
            _log.warning("discovery.refused", extra={"error": str(error)})
            raise InvalidArgument(
                "Consul refused the request as malformed", reason="CONSUL_BAD_REQUEST"
            ) from error
        except exceptions.ConsulException as error:
            _log.debug("discovery.agent_error", extra={"error": str(error)})
            raise Unavailable(
                "Consul answered with an error", reason="CONSUL_ERROR", retry_delay_s=1.0
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError) as error:
            _log.debug("discovery.agent_unreachable", extra={"error": repr(error)})
            raise Unavailable(
                f"the Consul agent does not answer ({type(error).__name__})",
                reason="CONSUL_UNREACHABLE",
                retry_delay_s=1.0,
            ) from error


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn the errors of reading a malformed answer into ours."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable("Consul's answer cannot be read", reason="CONSUL_ERROR") from error


class _HttpClient(consul.aio.HTTPClient):  # type: ignore[misc]
    """py-consul's client with its session made without deprecated arguments of aiohttp.

    py-consul 1.8 passes ``ssl_context`` and ``verify_ssl``, which aiohttp 3 warns about on every
    connection.
    """

    def __init__(
        self, host: str, port: int, scheme: str, verify: bool | str, cert: str | None
    ) -> None:
        base.HTTPClient.__init__(self, host, port, scheme, verify=verify, cert=cert)
        ca_file = verify if isinstance(verify, str) else None
        context = ssl.create_default_context(cafile=ca_file) if scheme == "https" else True
        # A blocking query holds a connection for each service, so the pool has no limit; each call
        # has its own time limit, so the session has none.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )


class _Client(consul.aio.Consul):  # type: ignore[misc]
    def http_connect(
        self,
        host: str,
        port: int,
        scheme: str,
        verify: bool | str = True,
        cert: str | None = None,
    ) -> _HttpClient:
        """Return the client py-consul sends its requests through."""
        return _HttpClient(host, port, scheme, verify, cert)


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _instance(service: str, row: Mapping[str, Any]) -> Instance:
    entry = row["Service"]
    metadata = dict(entry.get("Meta") or {})
    failing = [check for check in row["Checks"] if check["Status"] != "passing"]
    return Instance(
        service=service,
        host=entry.get("Address") or row["Node"]["Address"],
        port=int(entry["Port"]),
        zone=metadata.pop("zone", ""),
        region=metadata.pop("region", ""),
        metadata=metadata,
        healthy=not failing,
        check_output=failing[0].get("Output", "") if failing else "",
    )
