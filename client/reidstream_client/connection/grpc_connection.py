"""One channel to a server, and its calls with our errors instead of gRPC's.

Why not the generated stub: our requests are already bytes (`framing`), and health is asked without the health
package's generated code, which an edge box would need for one enum. Trap: a channel belongs to the event loop that
first used it, so it is opened at the first call and not before.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, TypeVar

import grpc
import grpc.aio

from reidstream_client.errors import ServerUnavailable, SessionEnded, from_status
from reidstream_client.options import RetryPolicy
from reidstream_proto.v1 import service_pb2

from .credentials import TlsOptions, channel_credentials, token_headers
from .stream_call import StreamCall
from .targets import check_target, hint, is_loopback

T = TypeVar("T")

SERVICE: Final = "reidstream.v1.EmbeddingService"

# Servers that were not told otherwise take a ping on an idle connection for abuse, if it comes within five minutes.
_KEEPALIVE_MS = 300_000
_KEEPALIVE_TIMEOUT_MS = 20_000
_FIRST_RECONNECT_MS, _MAX_RECONNECT_MS, _CONNECT_MS = 100, 5_000, 5_000


class Health(Enum):
    """What `grpc.health.v1` says of a server; the values are its answers, byte by byte."""

    UNKNOWN = b""
    SERVING = b"\x08\x01"
    NOT_SERVING = b"\x08\x02"
    SERVICE_UNKNOWN = b"\x08\x03"


class Connection:
    """A lazily opened channel. One event loop; closing twice is harmless.

    Raises InvalidRequest, FileError for a target, a token or files that cannot be used.
    """

    def __init__(
        self, target: str, *, max_message_bytes: int, tls: TlsOptions | None = None, token: str | None = None
    ) -> None:
        check_target(target)
        self.target = target
        self._hint = hint(target, tls=tls is not None)
        self._headers = token_headers(token, target, tls)
        self._credentials = None if tls is None else channel_credentials(tls)
        server_name = None if tls is None else tls.server_name
        self._options = (
            *((("grpc.ssl_target_name_override", server_name),) if server_name is not None else ()),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            (
                "grpc.min_reconnect_backoff_ms",
                _CONNECT_MS,
            ),  # not a pause, whatever its name: how long an attempt may take
            ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
            # gRPC would send even 127.0.0.1 through the proxy that an environment names.
            ("grpc.enable_http_proxy", int(not is_loopback(target))),
        )
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    async def unary(self, method: str, request: bytes, parse: Callable[[bytes], T], *, timeout_s: float) -> T:
        """One call. `method` as "/package.Service/Name". Raises the error of its status."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, T] = self._open().unary_unary(
            method, request_serializer=None, response_deserializer=parse
        )
        try:
            answer: T = await call(request, timeout=timeout_s, metadata=self._headers)
        except grpc.aio.AioRpcError as error:
            raise from_status(error, target=self.target, hint=self._hint) from None
        except asyncio.CancelledError:
            if self._closed:  # closing the channel cancels its calls
                raise SessionEnded(f"{self.target}: this client was closed") from None
            raise
        return answer

    def stream(self) -> StreamCall:
        """Start an EmbedStream call."""
        start: grpc.aio.StreamStreamMultiCallable[bytes, service_pb2.EmbedStreamResponse] = self._open().stream_stream(
            f"/{SERVICE}/EmbedStream",
            request_serializer=None,
            response_deserializer=service_pb2.EmbedStreamResponse.FromString,
        )
        return StreamCall(start(metadata=self._headers), target=self.target, hint=self._hint)

    async def health(self, *, timeout_s: float) -> Health:
        """`grpc.health.v1.Health/Check` of the process, whose request has no fields set."""
        return await self.unary("/grpc.health.v1.Health/Check", b"", _parse_health, timeout_s=timeout_s)

    async def close(self) -> None:
        """Close the channel; calls that are open end."""
        self._closed = True
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _open(self) -> grpc.aio.Channel:
        if self._closed:
            raise SessionEnded("this client is closed")
        if self._channel is None:
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self.target, options=self._options)
            else:
                self._channel = grpc.aio.secure_channel(self.target, self._credentials, options=self._options)
        return self._channel


async def with_retries(attempt: Callable[[float], Awaitable[T]], policy: RetryPolicy, *, timeout_s: float) -> T:
    """Await `attempt(seconds left)`, again while it meets no ready server and policy and time allow."""
    deadline = time.monotonic() + timeout_s
    pause = policy.first_s
    tried = 0
    while True:
        try:
            return await attempt(deadline - time.monotonic())
        except ServerUnavailable:
            tried += 1
            if tried >= policy.attempts or deadline - time.monotonic() <= pause:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - only spreads clients out
        pause = min(policy.cap_s, 2 * pause)


def _parse_health(answer: bytes) -> Health:
    return Health(answer) if answer in {health.value for health in Health} else Health.UNKNOWN
