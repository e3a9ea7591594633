"""Who may call, and who it is: TLS for the port, tokens and certificates for the calls.

A caller's identity is the name of its token, else the name in its certificate, else "". It is a part of the flow, so
that cameras of two clients never share one, and it is logged; it is never a label of a metric.

Traps: gRPC receives the whole message of a unary call before the method runs, so that a stranger could make the server
hold as many bytes as a message may have; the door in front of the methods refuses by the call's headers alone. And it
guards one service, by name: health and reflection are everybody's.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import grpc

from reidstream_server.errors import StartupError, Unauthenticated
from reidstream_server.logs import get_logger

from .calls import CallObserver, refuse
from .tokens import TokenFile

log = get_logger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")

_NAMES_IN_CERTIFICATES = ("x509_subject_alternative_name", "x509_common_name")
_BEARER = "bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. `certificate`: the server's, with the intermediate ones after it. `client_ca`: who signs clients'
    certificates; with it, a client without one cannot connect.
    """

    certificate: Path
    key: Path
    client_ca: Path | None


class Caller(Protocol):
    """What a gRPC context tells of a call before anything is read."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Its headers."""
        ...

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What its connection proved."""
        ...


class Access:
    """Tells who calls, and refuses strangers. `certificates`: whether every client has shown one. Event loop only."""

    def __init__(self, *, tokens: TokenFile | None = None, certificates: bool = False) -> None:
        self._tokens = tokens
        self._certificates = certificates

    def client_of(self, caller: Caller) -> str:
        """The caller's identity; "" where nothing tells it. Raises Unauthenticated."""
        if self._tokens is not None:
            return _by_token(self._tokens, caller.invocation_metadata())
        return _by_certificate(caller.auth_context()) if self._certificates else ""

    def doors(self, service: str, observer: CallObserver) -> Sequence[grpc.aio.ServerInterceptor]:
        """What the server has to put in front of a service, by its full name."""
        return [] if self._tokens is None else [_Door(self._tokens, f"/{service}/", observer)]


class _Door(grpc.aio.ServerInterceptor):
    """Refuses before a message is read. Once per call; a stream's messages do not pass through here."""

    def __init__(self, tokens: TokenFile, prefix: str, observer: CallObserver) -> None:
        self._observer = observer
        self._tokens = tokens
        self._prefix = prefix

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q, A] | None:
        """See grpc.aio.ServerInterceptor."""
        if handler_call_details.method.startswith(self._prefix):
            try:
                _by_token(self._tokens, handler_call_details.invocation_metadata)
            except Unauthenticated as refused:
                return _refusal(refused, handler_call_details.method, self._observer)
        return await continuation(handler_call_details)


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """For the port. Raises StartupError where the files cannot serve."""
    certificate = _pem("tls_cert_file", files.certificate)
    key = _pem("tls_key_file", files.key)
    client_ca = None if files.client_ca is None else _pem("tls_client_ca_file", files.client_ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key, password=b"")  # a password would be asked of a terminal
    except (ssl.SSLError, ValueError) as error:
        raise StartupError(
            f"tls_cert_file {files.certificate} and tls_key_file {files.key}: {error}; they must be a certificate and "
            "its own key in PEM, without a password"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as error:
            raise StartupError(f"tls_client_ca_file {files.client_ca}: {error}; must be certificates in PEM") from error
    return grpc.ssl_server_credentials([(key, certificate)], client_ca, require_client_auth=client_ca is not None)


def _pem(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{name} {path}: cannot be read: {error.strerror}") from error


def _by_token(tokens: TokenFile, headers: Iterable[tuple[str, str | bytes]] | None) -> str:
    given = [value for name, value in headers or () if name == "authorization"]
    scheme, _, token = given[0].partition(" ") if len(given) == 1 and isinstance(given[0], str) else ("", "", "")
    if scheme.lower() != _BEARER:
        raise Unauthenticated("this server needs a token: one header 'authorization: Bearer TOKEN'")
    client = tokens.client_of(token.strip())
    if client is None:
        raise Unauthenticated("the token is not one that this server knows")
    return client


def _by_certificate(proved: Mapping[str, Iterable[bytes]]) -> str:
    """The first alternative name, else the common name."""
    for kind in _NAMES_IN_CERTIFICATES:
        for name in proved.get(kind, ()):
            return name.decode(errors="backslashreplace")
    return ""


def _refusal(refused: Unauthenticated, method: str, observer: CallObserver) -> grpc.RpcMethodHandler[Q, A]:
    """Ends a call of any kind: a handler of streams is the kind that reads nothing by itself."""

    async def answer(requests: object, context: grpc.aio.ServicerContext[Q, A]) -> None:
        del requests
        log.warning("call_refused", method=method, peer=context.peer(), reason=str(refused))
        await refuse(context, refused, observer)

    return grpc.stream_stream_rpc_method_handler(answer)
