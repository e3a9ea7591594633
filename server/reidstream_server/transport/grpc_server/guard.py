"""Stands in front of every hosted service: strangers are refused, and so are new calls while the server stops.

Trap: gRPC receives the whole message of a unary call before the method runs, so a stranger could make the server hold
as many bytes as a message may have. The guard refuses by the call's headers alone. Once per call: a stream's messages
do not pass through here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import grpc
from typing_extensions import override

from reidstream_server.errors import CallRefused, Unauthenticated
from reidstream_server.identity.access import Access, Presented
from reidstream_server.logs import get_logger

from .calls import CallObserver, refuse
from .hosting import HostedService

log = get_logger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")

_NAMES_IN_CERTIFICATES = ("x509_subject_alternative_name", "x509_common_name")


class Caller(Protocol):
    """What a gRPC context tells of a call before anything is read."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Its headers."""
        ...

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What its connection proved."""
        ...


class Guard(grpc.aio.ServerInterceptor):
    """Refuses before a message is read. `check_leaving` raises GoingAway while the server stops. Event loop only."""

    def __init__(
        self,
        services: Sequence[HostedService],
        access: Access,
        *,
        check_leaving: Callable[[], None],
        observer: CallObserver,
    ) -> None:
        self._services = {service.name: service for service in services}
        self._access = access
        self._check_leaving = check_leaving
        self._observer = observer

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q, A] | None:
        service, _, method = handler_call_details.method.removeprefix("/").rpartition("/")
        hosted = self._services.get(service)
        if hosted is not None:
            try:
                self._access.admit(authorization_of(handler_call_details.invocation_metadata))
                if method not in hosted.while_leaving:
                    self._check_leaving()
            except CallRefused as refused:
                return _refusal(refused, handler_call_details.method, self._observer)
        return await continuation(handler_call_details)


def presented_by(caller: Caller) -> Presented:
    """What a call shows of its caller."""
    proved = caller.auth_context()
    return Presented(
        authorization=authorization_of(caller.invocation_metadata()),
        certificate_names=[name for kind in _NAMES_IN_CERTIFICATES for name in proved.get(kind, ())],
    )


def authorization_of(headers: Iterable[tuple[str, str | bytes]] | None) -> Sequence[str | bytes]:
    """The values of all headers `authorization`."""
    return [value for name, value in headers or () if name == "authorization"]


def _refusal(refused: CallRefused, method: str, observer: CallObserver) -> grpc.RpcMethodHandler[Q, A]:
    """Ends a call of any kind: a handler of streams is the kind that reads nothing by itself."""

    async def answer(requests: object, context: grpc.aio.ServicerContext[Q, A]) -> None:
        del requests
        if isinstance(refused, Unauthenticated):
            log.warning("call_refused", method=method, peer=context.peer(), reason=str(refused))
        await refuse(context, refused, observer)

    return grpc.stream_stream_rpc_method_handler(answer)
