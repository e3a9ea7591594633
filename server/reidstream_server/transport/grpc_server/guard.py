"""Stands in front of every hosted service: strangers are refused, and so are new calls while the server stops.

Trap: gRPC receives the whole message of a unary call before the method runs, so a stranger could make the server hold
as many bytes as a message may have. The guard refuses by the call's headers alone. Once per call: a stream's messages
do not pass through here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
from typing_extensions import override

from reidstream_server.errors import CallRefused, Unauthenticated
from reidstream_server.identity.access import Access
from reidstream_server.logs import get_logger

from .caller import authorization_of
from .calls import CallObserver, refuse
from .hosting import HostedService

log = get_logger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")


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
        service, _, method = handler_call_details.method.removeprefix("/").partition("/")
        hosted = self._services.get(service)
        if hosted is None:
            return await continuation(handler_call_details)
        try:
            self._access.admit(authorization_of(handler_call_details.invocation_metadata))
            handler = await continuation(handler_call_details)
            if handler is not None and method not in hosted.while_leaving:
                self._check_leaving()
        except CallRefused as refused:
            return _refusal(refused, handler_call_details.method, self._observer)
        return handler


def _refusal(refused: CallRefused, method: str, observer: CallObserver) -> grpc.RpcMethodHandler[Q, A]:
    """Ends a call of any kind: a handler of streams is the kind that reads nothing by itself."""

    async def answer(requests: object, context: grpc.aio.ServicerContext[Q, A]) -> None:
        del requests
        if isinstance(refused, Unauthenticated):
            log.warning("call_refused", method=method, peer=context.peer(), reason=str(refused))
        await refuse(context, refused, observer)

    return grpc.stream_stream_rpc_method_handler(answer)
