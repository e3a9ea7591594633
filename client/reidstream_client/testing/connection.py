"""A connection and its calls to a fake server in the same process.

Requests and answers pass as bytes, as through gRPC, so that every test runs the client's own framing and parsing. Trap:
any thread may tell the server what to do, but a call belongs to the event loop of its client. So everything for a call
is posted into that loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import grpc
from typing_extensions import override

from reidstream_client.connection.protocols import Call, Connection
from reidstream_client.connection.within import within
from reidstream_client.errors import ReidError, SessionEnded, error_of
from reidstream_proto.v1 import service_pb2

T = TypeVar("T")


class Reply:
    """The answer to a single call, when it comes. `give` and `fail` from any thread; the first one counts."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[bytes] = self._loop.create_future()

    def give(self, answer: bytes) -> None:
        """The call has succeeded."""
        self._post(lambda: self.answer.set_result(answer))

    def fail(self, error: ReidError) -> None:
        """The call has failed."""
        self._post(lambda: self.answer.set_exception(error))

    def _post(self, settle: Callable[[], None]) -> None:
        def once() -> None:
            if not self.answer.done():
                settle()

        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(once)


class Backend(Protocol):
    """What a connection asks of the server. Called in the client's event loop."""

    def call(self, method: str, request: bytes, reply: Reply) -> None:
        """A single call has come."""
        ...

    def message(self, call: FakeCall, request: service_pb2.EmbedStreamRequest) -> None:
        """A message of a stream has come."""
        ...

    def half_closed(self, call: FakeCall) -> None:
        """The client of a stream has half-closed."""
        ...

    def cancelled(self, call: FakeCall) -> None:
        """The client of a stream is gone."""
        ...


class FakeCall(Call):
    """One EmbedStream call. `post` and `end` from any thread."""

    def __init__(self, backend: Backend, target: str) -> None:
        self._backend = backend
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[bytes | ReidError | None] = asyncio.Queue()
        self._ended = False

    @property
    @override
    def target(self) -> str:
        return self._target

    @override
    async def write(self, message: bytes) -> bool:
        if self._ended:
            return False
        self._backend.message(self, service_pb2.EmbedStreamRequest.FromString(message))
        return True

    @override
    async def done_writing(self) -> None:
        if not self._ended:
            self._backend.half_closed(self)

    @override
    async def read(self) -> service_pb2.EmbedStreamResponse | None:
        message = await self._messages.get()
        if isinstance(message, bytes):
            return service_pb2.EmbedStreamResponse.FromString(message)
        self._messages.put_nowait(message)  # whoever reads again learns the same
        if message is None:
            return None
        raise message.with_traceback(None)

    @override
    def cancel(self) -> None:
        if not self._ended:
            self._ended = True
            self._messages.put_nowait(SessionEnded(f"{self.target}: the call was cancelled"))
            self._backend.cancelled(self)

    def post(self, answer: service_pb2.EmbedStreamResponse) -> None:
        """A message of the server."""
        self._put(answer.SerializeToString())

    def end(self, error: ReidError | None) -> None:
        """The server has ended the call; None: with OK."""
        self._ended = True
        self._put(error)

    def _put(self, item: bytes | ReidError | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody reads
            self._loop.call_soon_threadsafe(self._messages.put_nowait, item)


class FakeConnection(Connection):
    """Calls of one client to a fake server."""

    def __init__(self, backend: Backend, target: str) -> None:
        self._backend = backend
        self._target = target
        self._open: weakref.WeakSet[FakeCall | Reply] = weakref.WeakSet()
        self._closed = False

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
        self._check_open()
        reply = Reply()
        self._open.add(reply)
        try:
            self._backend.call(method, request, reply)
            return parse(await within(timeout_s, reply.answer))
        except asyncio.TimeoutError:
            status = grpc.StatusCode.DEADLINE_EXCEEDED
            raise error_of(status, "Deadline Exceeded", {}, target=self.target, hint="") from None
        finally:
            self._open.discard(reply)

    @override
    def stream(self) -> FakeCall:
        self._check_open()
        call = FakeCall(self._backend, self.target)
        self._open.add(call)
        return call

    @override
    async def close(self) -> None:
        self._closed = True
        for one in tuple(self._open):
            if isinstance(one, FakeCall):
                one.cancel()
            else:
                one.fail(SessionEnded(f"{self.target}: this client was closed"))
        self._open.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise SessionEnded("this client is closed")
