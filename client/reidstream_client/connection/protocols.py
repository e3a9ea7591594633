"""What the rest of the client asks of a connection. gRPC is one answer, `reidstream_client.testing` another.

Why: sessions, their resumption and every test of them need bytes out and messages in, and nothing else of gRPC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeAlias, TypeVar

from reidstream_proto.v1 import service_pb2

T = TypeVar("T")

SERVICE: Final = "reidstream.v1.EmbeddingService"
HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"


class Health(Enum):
    """What `grpc.health.v1` says of a server; the values are its answers, byte by byte."""

    UNKNOWN = b""
    SERVING = b"\x08\x01"
    NOT_SERVING = b"\x08\x02"
    SERVICE_UNKNOWN = b"\x08\x03"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A server that answered. `round_trip_s`: how long the health check took, without connecting."""

    health: Health
    round_trip_s: float


class Call(Protocol):
    """An EmbedStream call below a session. A task may write while another one reads; cancelling either of them leaves
    the call in no defined state.
    """

    __slots__ = ()

    @property
    def target(self) -> str:
        """The server, for messages."""
        ...

    async def write(self, message: bytes) -> bool:
        """Send an EmbedStreamRequest; False where the call has ended, and reading tells how."""
        ...

    async def done_writing(self) -> None:
        """Half-close; harmless where the call has ended."""
        ...

    async def read(self) -> service_pb2.EmbedStreamResponse | None:
        """The next message; None when the server ended the call with OK. Raises the error of any other status."""
        ...

    def cancel(self) -> None:
        """End the call and let go of it; harmless where it has ended."""
        ...


class Connection(Protocol):
    """Calls to one server. Opens nothing before the first call. One event loop."""

    __slots__ = ()

    @property
    def target(self) -> str:
        """The server, for messages."""
        ...

    async def unary(
        self,
        method: str,
        request: bytes,
        parse: Callable[[bytes], T],
        *,
        timeout_s: float,
        headers: Sequence[tuple[str, str]] = (),
    ) -> T:
        """One call. `method` as "/package.Service/Name". Raises the error of its status. `headers`: leading metadata
        of this call; given only if there is any.
        """
        ...

    def stream(self) -> Call:
        """Start an EmbedStream call."""
        ...

    async def close(self) -> None:
        """Close the connection; open calls end. Closing twice is harmless."""
        ...


Connect: TypeAlias = Callable[[str], Connection]
"""Makes the connection to a target."""


async def ask_health(connection: Connection, *, timeout_s: float) -> Health:
    """The health of the whole process; the request has no fields set."""
    return await connection.unary(HEALTH_CHECK, b"", _parse_health, timeout_s=timeout_s)


def _parse_health(answer: bytes) -> Health:
    return Health(answer) if answer in {health.value for health in Health} else Health.UNKNOWN
