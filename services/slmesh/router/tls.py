"""The router's TLS credentials, checked before gRPC would only say that a port cannot be opened."""

from __future__ import annotations

import ssl

import grpc

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings

__all__ = ["server_credentials"]


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Return the TLS credentials the settings name, or None for plain text.

    Raises:
        FailedPrecondition: Only one of the two files is named, or they cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "SLMESH_TLS_KEY" if key is None else "SLMESH_TLS_CERTIFICATE"
        raise FailedPrecondition(
            f"TLS needs a certificate and a key: set {missing} too", reason="TLS_INCOMPLETE"
        )
    pems = []
    for name, path in (("SLMESH_TLS_CERTIFICATE", certificate), ("SLMESH_TLS_KEY", key)):
        try:
            pems.append(path.read_bytes())
        except OSError as error:
            raise FailedPrecondition(
                f"{name}: {path} cannot be read: {error.strerror}", reason="TLS_FILE_UNREADABLE"
            ) from None
    try:
        # gRPC would only say that the port cannot be opened
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise FailedPrecondition(
            f"SLMESH_TLS_CERTIFICATE and SLMESH_TLS_KEY: {certificate} and {key} are no PEM"
            f" certificate with its key: {getattr(error, 'reason', None) or error}",
            reason="TLS_FILE_INVALID",
        ) from None
    return grpc.ssl_server_credentials([(pems[1], pems[0])])
