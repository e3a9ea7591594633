"""What an attack is told, and how it counts what became of its attempts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import grpc

from reidstream_proto.v1 import service_pb2

EMBED_STREAM: Final = "/reidstream.v1.EmbeddingService/EmbedStream"
EMBED: Final = "/reidstream.v1.EmbeddingService/Embed"
LIST_MODELS: Final = "/reidstream.v1.EmbeddingService/ListModels"
LIST_SESSIONS: Final = "/reidstream.admin.v1.AdminService/ListSessions"
GET_SESSION: Final = "/reidstream.admin.v1.AdminService/GetSession"
HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
HEALTH_WATCH: Final = "/grpc.health.v1.Health/Watch"

PAUSE_S: Final = 0.02
"""How long an attacker waits after it was refused. Without it, it would only measure how fast it can ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server under attack, on this machine."""

    host: str
    port: int
    metrics_port: int
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of every call that is made by hand, such as a token."""
    became: Counter[str] = field(default_factory=Counter)
    """What became of the attempts so far, in the attacker's own words."""
    gave_up: asyncio.Event = field(default_factory=asyncio.Event)
    """The attack is over, which none should be before it is ended."""

    @property
    def address(self) -> str:
        """As gRPC wants it."""
        return f"{self.host}:{self.port}"


Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, service_pb2.EmbedStreamResponse]"
Attack: TypeAlias = Callable[[Target], Awaitable[None]]
"""Attacks until it is cancelled, and goes on whatever it is answered."""


@asynccontextmanager
async def channel_to(target: Target) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own, which takes and gives messages of any size."""
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with grpc.aio.insecure_channel(target.address, options=options) as channel:
        yield channel


def stream_on(channel: grpc.aio.Channel) -> Call:
    """An EmbedStream call that is given ready bytes."""
    return channel.stream_stream(EMBED_STREAM, response_deserializer=service_pb2.EmbedStreamResponse.FromString)()


async def answer_of(call: Call) -> service_pb2.EmbedStreamResponse | None:
    """The next answer; None at the end of the stream. Raises AioRpcError."""
    answer: object = await call.read()
    return answer if isinstance(answer, service_pb2.EmbedStreamResponse) else None


async def again(target: Target, attempt: Callable[[], Awaitable[None]]) -> None:
    """Attempt it for ever; what ends an attempt is counted."""
    while True:
        try:
            await attempt()
        except grpc.aio.AioRpcError as error:
            target.became[f"{error.code().name}: {(error.details() or '')[:60]}"] += 1
        except OSError as error:
            target.became[str(error)[:80] or type(error).__name__] += 1
        except (asyncio.InvalidStateError, grpc.aio.UsageError):
            target.became["the call had ended"] += 1
        await asyncio.sleep(PAUSE_S)


async def together(count: int, attack: Callable[[int], Awaitable[None]]) -> None:
    """`count` attackers at once, by number."""
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(_awaited(attack(number)))


async def _awaited(work: Awaitable[None]) -> None:
    await work
