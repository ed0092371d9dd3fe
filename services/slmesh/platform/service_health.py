"""Asks services for their health, by ``grpc.health.v1`` through the ingress, as any client would.

A service is healthy when its ingress says so, not when its process says so: the check takes the
path of a call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from slmesh.mesh.context import APPLICATION_KEY

__all__ = ["HealthChecks"]

_TIMEOUT_S = 2.0


class HealthChecks:
    """Health checks of services behind one address.

    Args:
        address: ``host:port`` of the ingress, or of a router.
        credentials: TLS of the channel; plain text when None.
    """

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        # an ingress that was not there yet is found within a second
        options = [("grpc.max_reconnect_backoff_ms", 1000)]
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=options)
        self._check = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    def run(self, services: Iterable[str]) -> dict[str, bool]:
        """Return for each service whether it serves; the checks run at the same time."""
        calls = {
            service: self._check.future(
                health_pb2.HealthCheckRequest(),
                metadata=((APPLICATION_KEY, service),) if service else (),
                timeout=_TIMEOUT_S,
            )
            for service in services
        }
        return {service: _status(call) == "SERVING" for service, call in calls.items()}

    def broken(self, parts: Iterable[str]) -> list[str]:
        """Return which parts of the process behind the address are told not to serve.

        Args:
            parts: Names of its own health service; one it does not know is not broken.
        """
        calls = {
            part: self._check.future(
                health_pb2.HealthCheckRequest(service=part), timeout=_TIMEOUT_S
            )
            for part in parts
        }
        return [part for part, call in calls.items() if _status(call) == "NOT_SERVING"]

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def _status(call: Any) -> str:
    """Return what a check has answered; "" when it failed, as for a name that is not known."""
    try:
        response = call.result()
    except grpc.RpcError:
        return ""
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))
