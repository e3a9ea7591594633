"""The files of TLS, read and checked once, before anything listens.

Why checked here: gRPC says "handshake failed" to each client and nothing to the operator when a key does not belong to
its certificate. Trap: a key with a password would make the library ask a terminal for it.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from reidstream_server.errors import StartupError


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. `certificate`: the server's, with the intermediate ones after it. `client_ca`: who signs clients'
    certificates; with it, a client without one cannot connect.
    """

    certificate: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsMaterial:
    """What the files hold, in PEM; certificate and key belong together."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


def read_tls(files: TlsFiles) -> TlsMaterial:
    """Read and check the files. Raises StartupError, with the setting, the path and what to do."""
    certificate = _pem("tls_cert_file", files.certificate)
    key = _pem("tls_key_file", files.key)
    client_ca = None if files.client_ca is None else _pem("tls_client_ca_file", files.client_ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key, password=b"")
    except (ssl.SSLError, ValueError) as error:
        raise StartupError(
            f"tls_cert_file {files.certificate} and tls_key_file {files.key}: {error}; they must be a certificate and "
            "its own key in PEM, without a password"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as error:
            raise StartupError(
                f"tls_client_ca_file {files.client_ca}: {error}; it must hold certificates in PEM"
            ) from error
    return TlsMaterial(certificate=certificate, key=key, client_ca=client_ca)


def _pem(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{setting} {path}: cannot be read: {error.strerror}") from error
