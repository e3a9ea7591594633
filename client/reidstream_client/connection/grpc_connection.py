"""One channel to a server, and its calls with our errors instead of gRPC's.

Why not the generated stub: our requests are already bytes (`frames.framing`), and health is asked without the health
package's generated code, which an edge box would need for one enum.

Traps: a channel belongs to the event loop that first used it, so it is opened at the first call and not before. And a
process that has one cannot be forked well, so a channel without calls is closed before a fork (`forking`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import grpc
import grpc.aio
from typing_extensions import override

from reidstream_client.errors import (
    CLOSED,
    CallTimeout,
    InvalidRequest,
    ReidError,
    SessionEnded,
    WrongPlace,
    from_status,
)
from reidstream_client.process import Home
from reidstream_proto.v1 import service_pb2

from .credentials import TlsOptions, channel_credentials, token_headers
from .forking import Holder, check_grpc, closed, opened
from .protocols import SERVICE, Connection
from .stream_call import StreamCall
from .targets import check_target, hint, is_loopback

T = TypeVar("T")

MIN_KEEPALIVE_S: Final = 10.0
"""A server treats more frequent pings on an idle connection as abuse, and ends the connection."""

_GRACE_S: Final = 5.0
"""How long after its time-out a call may live. gRPC ends it then, unless gRPC does not work in this process."""

_MAX_KEEPALIVE_S: Final = 86_400.0
_KEEPALIVE_TIMEOUT_MS = 20_000
# A channel spreads its pauses by a fifth, and a call that waits for a server must find it within a second.
_FIRST_RECONNECT_MS, _MAX_RECONNECT_MS, _CONNECT_MS = 100, 800, 5_000


class GrpcConnection(Connection, Holder):
    """A lazily opened channel. One process and one event loop, those of the first call; closing twice is harmless.

    Raises InvalidRequest, FileError for a target, a token or files that cannot be used. Calls raise WrongPlace
    elsewhere.
    """

    def __init__(
        self,
        target: str,
        *,
        max_message_bytes: int,
        keepalive_s: float | None = None,
        tls: TlsOptions | None = None,
        token: str | None = None,
    ) -> None:
        check_target(target)
        self._target = target
        self._hint = hint(target, tls=tls is not None)
        self._headers = token_headers(token, target, tls)
        self._credentials = None if tls is None else channel_credentials(tls)
        server_name = None if tls is None else tls.server_name
        self._options = (
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),  # how long an attempt may take; no pause, despite its name
            ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
            # gRPC would send even 127.0.0.1 through the proxy that an environment names.
            ("grpc.enable_http_proxy", int(not is_loopback(target))),
            *((("grpc.ssl_target_name_override", server_name),) if server_name is not None else ()),
            *_keepalive(keepalive_s),
        )
        self._channel: grpc.aio.Channel | None = None
        self._home: tuple[Home, asyncio.AbstractEventLoop] | None = None
        self._calls: set[object] = set()
        self._closed = asyncio.Event()

    @property
    @override
    def target(self) -> str:
        return self._target

    @override
    async def unary(
        self,
        method: str,
        request: bytes,
        parse: Callable[[bytes], T],
        *,
        timeout_s: float,
        headers: Sequence[tuple[str, str]] = (),
    ) -> T:
        answer = await self._unary(method, request, parse, timeout_s, headers)
        if isinstance(answer, ReidError):
            raise answer  # here, where no frame of the traceback holds a call, which would hold its channel
        return answer

    async def _unary(
        self,
        method: str,
        request: bytes,
        parse: Callable[[bytes], T],
        timeout_s: float,
        headers: Sequence[tuple[str, str]],
    ) -> T | ReidError:
        start: grpc.aio.UnaryUnaryMultiCallable[bytes, T] = self._open().unary_unary(
            method, request_serializer=None, response_deserializer=parse
        )
        call = start(request, timeout=timeout_s, metadata=(*self._headers, *headers))
        self._calls.add(call)
        net = asyncio.get_running_loop().call_later(timeout_s + _GRACE_S, call.cancel)
        try:
            answer: T = await call
        except grpc.aio.AioRpcError as error:
            return from_status(error, target=self.target, hint=self._hint)
        except asyncio.CancelledError:
            if self._closed.is_set():  # closing the channel cancels its calls
                return SessionEnded(f"{self.target}: this client was closed")
            if call.cancelled() and net.when() <= asyncio.get_running_loop().time():
                return CallTimeout(f"{self.target}: gRPC itself did not end the call after {timeout_s} s")
            raise
        finally:
            net.cancel()
            self._calls.discard(call)
        return answer

    @override
    def stream(self) -> StreamCall:
        start: grpc.aio.StreamStreamMultiCallable[bytes, service_pb2.EmbedStreamResponse] = self._open().stream_stream(
            f"/{SERVICE}/EmbedStream",
            request_serializer=None,
            response_deserializer=service_pb2.EmbedStreamResponse.FromString,
        )
        call = start(metadata=self._headers)
        self._calls.add(call)
        return StreamCall(call, target=self.target, hint=self._hint, ended=self._calls.discard, closing=self._closed)

    @override
    async def close(self) -> None:
        if self._home is not None and not self._home[0].is_here:
            return
        self._check_home(closing=True)
        self._closed.set()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()
            closed()

    @property
    @override
    def loop(self) -> asyncio.AbstractEventLoop | None:
        return None if self._channel is None or self._home is None else self._home[1]

    @override
    def rest(self) -> None:
        if self._channel is None or self._calls:
            return
        closing = self._channel.close()
        self._channel = None
        with suppress(StopIteration):  # without calls there is nothing to wait for
            closing.send(None)
        closed()

    def _check_home(self, *, closing: bool = False) -> None:
        """Raises WrongPlace if another process or event loop made the first call."""
        home = Home() if self._home is None else self._home[0]
        home.check()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # asyncio has none in the child of a fork, even within a coroutine
            raise WrongPlace("no event loop runs in this process: start one by asyncio.run") from None
        if self._home is None:
            self._home = home, loop
        first_loop = self._home[1]
        if loop is not first_loop and not (closing and first_loop.is_closed()):
            raise WrongPlace(
                "an AsyncReidClient belongs to the event loop of its first call, and this is another one: make a "
                "client within each asyncio.run, or use ReidClient, which any thread may use"
            )

    def _open(self) -> grpc.aio.Channel:
        self._check_home()
        if self._closed.is_set():
            raise SessionEnded(CLOSED)
        if self._channel is None:
            check_grpc()
            opened(self)
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self.target, options=self._options)
            else:
                self._channel = grpc.aio.secure_channel(self.target, self._credentials, options=self._options)
        return self._channel


def check_keepalive(keepalive_s: float | None) -> None:
    """Raises InvalidRequest for pings more often than a server allows, or less often than once a day."""
    if keepalive_s is not None and not MIN_KEEPALIVE_S <= keepalive_s <= _MAX_KEEPALIVE_S:
        raise InvalidRequest(
            f"keepalive_s must be {MIN_KEEPALIVE_S:.0f} to {_MAX_KEEPALIVE_S:.0f} s, or None for no pings, "
            f"not {keepalive_s}; a server closes connections that ping more often"
        )


def _keepalive(seconds: float | None) -> Sequence[tuple[str, int]]:
    """Ping while a call is open, and never otherwise: a server treats those pings as abuse.

    Trap: by default gRPC stops after two pings without data (0 is no limit). An idle session would then lose its entry
    in the router after all.
    """
    if seconds is None:
        return ()
    return (
        ("grpc.keepalive_time_ms", round(seconds * 1000)),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
    )
