"""Ask a gRPC server for its health and exit with 0 only if it serves.

Used by the image's health check. It speaks `grpc.health.v1` without TLS and knows nothing of what
is served.
"""

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 2.0


def check(address: str, service: str = "") -> int:
    """Return the exit status for one server.

    Args:
        address: `host:port` of the server.
        service: The service to ask for; the whole server when empty.
    """
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            sys.stderr.write(f"{address}: {error.code().name}\n")
            return 1
    sys.stderr.write(
        f"{address}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}\n"
    )
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


def main(arguments: Sequence[str]) -> int:
    """Check the server named on the command line."""
    return check(*arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
