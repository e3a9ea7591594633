"""The messages of a stream, one at a time; a large one is joined, parsed and read when it is its turn (`apart`).

A message comes in two steps: gRPC has received it whole, and gRPC joins its parts. The second takes the event loop 20
to 80 ms for 60 MiB, in one go, so it must be possible to wait between the two. A stream that has sent a large message,
or has sent nothing while others of its source have, is taken for one that sends large ones: gRPC joins those when it is
their turn. The next message is read when one was taken, so they stay in order.

Traps: a message is parsed when it is its source's turn, not when it comes (see `unparsable`). What a read returns that
is no message and not the end of the stream is none of ours. And gRPC lets go of a message that is whole only when it is
joined: one that nobody wants any more must be joined all the same, or its bytes stay for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import grpc

from reidstream_server.errors import InvalidCall
from reidstream_server.transport.entrance.apart import Apart, Turn

from .unparsable import NO_MESSAGE, Unparsed

M = TypeVar("M")
T = TypeVar("T")

JOINING_NS_PER_BYTE = 0.5
"""What gRPC takes to join a large message, before anybody here can look at the clock."""


class Readable(Protocol):
    """What is needed of a gRPC context."""

    def read(self) -> Any:  # noqa: ANN401 - a coroutine of gRPC's
        """The next message, or `grpc.aio.EOF`."""
        ...


class Arriving(Generic[M]):
    """The next message of a stream. Await it, and it is whole; then `joined`, once."""

    __slots__ = ("_steps", "is_joined")

    def __init__(self, context: Readable) -> None:
        self._steps: Generator[Any, Any, object] = context.read().__await__()
        self.is_joined = False

    def __await__(self) -> Generator[object, None, None]:
        """The first step: what gRPC waits for is the message."""
        try:
            waited_for = self._steps.send(None)
        except StopIteration as end:
            self._steps = _returning(end.value)
            return
        try:
            yield waited_for
        except BaseException as error:  # its call is over, perhaps; it has brought nothing
            self.is_joined = True
            self._steps.throw(error)
            raise

    async def joined(self) -> Unparsed[M] | None:
        """The message; None when the client has half-closed. It comes at once. Raises InvalidCall."""
        self.is_joined = True
        return unparsed(await _Rest(self._steps))


class _Rest:
    """What is left to do of a coroutine."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[Any, Any, object]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, object]:
        return (yield from self._steps)


def _returning(value: object) -> Generator[Any, Any, object]:
    """What is left of a coroutine that had nothing to wait for."""
    yield from ()
    return value


def unparsed(message: object) -> Unparsed[Any] | None:
    """What a read has returned; None for the end of the stream. Raises InvalidCall."""
    if message is grpc.aio.EOF:
        return None
    if not isinstance(message, Unparsed):
        raise InvalidCall(NO_MESSAGE)
    return message


@dataclass(frozen=True, slots=True)
class Large(Generic[T]):
    """A large message was read; `value`: what came of it."""

    value: T


Came: TypeAlias = "Unparsed[M] | Large[T] | None"


class StreamMessages(Generic[M, T]):
    """Event loop only.

    `may_read`: waits until the source may be read. Awaited for each message, so what came meanwhile is not parsed all
    at once. `take`: reads a large message in its turn.
    """

    def __init__(
        self,
        apart: Apart,
        source: str,
        *,
        may_read: Callable[[], Awaitable[None]],
        take: Callable[[Unparsed[M], Turn], Awaitable[T]],
    ) -> None:
        self._apart = apart
        self._source = source
        self._may_read = may_read
        self._take = take
        self._large: bool | None = None  # whether it sends large messages; None: it has sent nothing

    async def come(self, arriving: Arriving[M]) -> Came[M, T]:
        """The message that is whole now: a small one, to be read here and now, or what came of a large one. None when
        the client has half-closed. Raises InvalidCall, and what `may_read` and `take` raise.
        """
        if self._large or (self._large is None and self._apart.sends_large(self._source)):
            came = await self._join_apart(arriving)
        else:
            came = await self._join(arriving)
        self._large = self._large or isinstance(came, Large)
        return came

    async def _join(self, arriving: Arriving[M]) -> Came[M, T]:
        """One that is probably small."""
        message = await arriving.joined()
        if message is None:
            return None
        await self._may_read()
        if not message.large:
            return message
        self._apart.notice_large(self._source)
        async with self._apart.turn(self._source) as turn:
            return Large(await self._take(message, turn))

    async def _join_apart(self, arriving: Arriving[M]) -> Came[M, T]:
        """One that is probably large: when it is its turn among those."""
        try:
            await self._may_read()
            async with self._apart.turn(self._source) as turn:
                with turn.spends():
                    message = await arriving.joined()
                if message is None or not message.large:
                    return message
                return Large(await self._take(message, turn))
        finally:
            if not arriving.is_joined:
                self._apart.let_go(self._source, arriving.joined)
