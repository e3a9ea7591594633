"""The files of TLS, read and checked once, before anything listens.

Why checked here: gRPC says "handshake failed" to each client and nothing to the operator when a key does not belong to
its certificate. Trap: a key with a password would make the library ask a terminal for it.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from reidstream_server.errors import StartupError

from .expiry import expires_s

_CERTIFICATE = re.compile(rb"^-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----", re.MULTILINE)
_KEY = re.compile(rb"^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----", re.MULTILINE)
_PASSWORD = re.compile(rb"^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_NAMES = {_CERTIFICATE: "certificates", _KEY: "a private key"}


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
    """What the files hold, in PEM; certificate and key belong together. `expires_s`: when the server's own certificate
    does, in seconds since 1970, if that can be read.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    expires_s: float | None


def read_tls(files: TlsFiles) -> TlsMaterial:
    """Read and check the files. Raises StartupError, with the setting, the path and what to do."""
    certificate = _pem("tls_cert_file", files.certificate, _CERTIFICATE)
    key = _pem("tls_key_file", files.key, _KEY)
    client_ca = None if files.client_ca is None else _pem("tls_client_ca_file", files.client_ca, _CERTIFICATE)
    if _PASSWORD.search(key):
        raise StartupError(
            f"tls_key_file {files.key}: the key has a password; write it without one: "
            f"openssl pkey -in {files.key} -out server.key"
        )
    server_context(files)
    return TlsMaterial(certificate=certificate, key=key, client_ca=client_ca, expires_s=expires_s(certificate))


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """The files as Python's own TLS takes them, for HTTP/1.1. Raises StartupError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=b"")
    except (OSError, ValueError) as error:
        raise StartupError(f"tls_cert_file {files.certificate} and tls_key_file {files.key}: {_why(error)}") from error
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as error:
            raise StartupError(
                f"tls_client_ca_file {files.client_ca}: a certificate in it is damaged ({error.reason}); write it again"
            ) from error
    return context


def _pem(setting: str, path: Path, expected: re.Pattern[bytes]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StartupError(f"{setting} {path}: cannot be read: {error.strerror}") from error
    if not expected.search(data):
        raise StartupError(
            f"{setting} {path}: must hold {_NAMES[expected]} in PEM, and no line of it begins one; openssl converts "
            "files of other forms"
        )
    return data


def _why(error: Exception) -> str:
    """Two files that cannot be used together, in words."""
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key belongs to another certificate; give the certificate and its own key"
    return f"one of them is damaged ({reason or error}); write it again"
