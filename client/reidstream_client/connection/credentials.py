"""How a client proves who it is, and how it knows the server: TLS files and a token.

Traps: without TLS everybody can read a token, so it leaves this machine inside TLS only. And no error may contain it.
"""

from __future__ import annotations

import os
import pkgutil
import re
import ssl
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import grpc

from reidstream_client.checks import text
from reidstream_client.errors import FileError, InvalidRequest

from .targets import is_loopback

FilePath: TypeAlias = "str | PathLike[str]"

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """TLS, with files in PEM; `TlsOptions()` trusts the authorities that gRPC comes with.

    ca_file      the authorities that may sign the server's certificate, instead of gRPC's
    cert_file    this client's own certificate and its key, if the server asks for one; both or neither
    key_file
    server_name  the name in the server's certificate, if it is not the target's
    """

    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        for name, file in (("ca_file", self.ca_file), ("cert_file", self.cert_file), ("key_file", self.key_file)):
            if not isinstance(file, str | PathLike | None):
                raise InvalidRequest(f"{name} of TlsOptions must be the path of a file, not {type(file).__name__}")
        if self.server_name is not None:
            text("server_name of TlsOptions", self.server_name)
        if (self.cert_file is None) != (self.key_file is None):
            raise InvalidRequest("cert_file and key_file of TlsOptions must be given together")


def channel_credentials(tls: TlsOptions) -> grpc.ChannelCredentials:
    """Read the files. Raises FileError; gRPC would only fail to connect later."""
    ca, cert, key = (None if file is None else _read(file) for file in (tls.ca_file, tls.cert_file, tls.key_file))
    _with_files(tls)
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def same_trust(tls: TlsOptions) -> ssl.SSLContext:
    """What has Python trust whom gRPC trusts with these options. gRPC says only that a handshake failed; Python says
    why. Raises FileError.
    """
    context = _with_files(tls)
    if tls.ca_file is None:
        named = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
        roots = _read(named) if named else pkgutil.get_data("grpc", "_cython/_credentials/roots.pem")
        if roots:
            context.load_verify_locations(cadata=roots.decode("ascii", "ignore"))
    return context


def _with_files(tls: TlsOptions) -> ssl.SSLContext:
    """The files, read and found good. Raises FileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca_file is not None:
            context.load_verify_locations(tls.ca_file)
    except ssl.SSLError as error:
        raise FileError(f"{tls.ca_file} must be certificates in PEM: {error}") from None
    try:
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file, password=b"")  # a terminal would be asked for one
    except (ssl.SSLError, ValueError) as error:
        raise FileError(
            f"{tls.cert_file} and {tls.key_file} must be a certificate and its own key in PEM, without a password: "
            f"{error}"
        ) from None
    return context


def token_headers(token: str | None, target: str, tls: TlsOptions | None) -> tuple[tuple[str, str], ...]:
    """The headers with the token. Raises InvalidRequest if it must not or cannot be sent."""
    if token is None:
        return ()
    if not _TOKEN.fullmatch(token):
        raise InvalidRequest("token must be 1 to 4096 letters, digits, and . _ ~ + / - with = at its end")
    if tls is None and not is_loopback(target):
        raise InvalidRequest(
            f"the token would go to {target} without TLS, so that others could read it; give tls=TlsOptions()"
        )
    return (("authorization", f"Bearer {token}"),)


def read_token(path: FilePath) -> str:
    """The token in a file, without white space around it. Raises FileError.

    Trap: people give the token itself where its file is asked for, so no error has a name that is no file's.
    """
    try:
        token = Path(path).read_bytes().decode("ascii", errors="replace").strip()
    except OSError as error:
        raise FileError(
            f"the token file cannot be read: {error.strerror}; give the path of a file, not the token itself"
        ) from None
    if not _TOKEN.fullmatch(token):
        raise FileError(f"{path} must contain one token and nothing else")
    return token


def _read(path: FilePath) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # no name of any file
        raise FileError(f"{path!r} cannot be read: {error}") from None
