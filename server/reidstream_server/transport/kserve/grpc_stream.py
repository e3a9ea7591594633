"""ModelStreamInfer: a stream of requests, each of which is answered, in order, also after the client has half-closed.

Each request is a call of its own: it is paid for, has a place and waits for room as a unary call does. What is wrong
with it is its answer, and the stream goes on. One stream has a bounded number of requests in progress: then it is not
read. A large request is joined, parsed and planned in one turn (`stream_messages`), and the next one is read when it
was: so of each stream there is one message that no account knows, and gRPC has it in parts.

Traps: a request has its place, and its vectors are held, until its answer is written, as with a unary call. A client
that reads nothing would have ever more answers held for it otherwise, on ever more streams. A stream that says nothing,
or does not read, is ended as a camera's is. And the client may half-close with all its requests outstanding, and may
leave at any moment. So whatever ends the stream, no task of it is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import grpc

from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import CallRefused
from reidstream_server.identity.access import Caller
from reidstream_server.logs import get_logger
from reidstream_server.transport.entrance.apart import Turn
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.entrance.turns import CALL_NS
from reidstream_server.transport.grpc_server.calls import CallObserver, is_taken
from reidstream_server.transport.grpc_server.stream_messages import JOINING_NS_PER_BYTE, Arriving, Large, StreamMessages
from reidstream_server.transport.grpc_server.unparsable import Unparsed

from .grpc_messages import asked_by, response_of
from .inference import CAMERA, Inference, Taken, Unwritten
from .regions import CallerRegions
from .request_trace import TracedCall
from .silence import Silence

log = get_logger(__name__)

StreamContext: TypeAlias = "grpc.aio.ServicerContext[pb.ModelInferRequest, pb.ModelStreamInferResponse]"
Request: TypeAlias = Unparsed[pb.ModelInferRequest]
Answer: TypeAlias = pb.ModelStreamInferResponse

MOST_IN_PROGRESS = 32
"""Requests of one stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """`stall_timeout_s`: for the client to take an answer. For the others see `Silence`."""

    stall_timeout_s: float
    open_timeout_s: float
    idle_timeout_s: float


@dataclass(slots=True, eq=False)
class _InProgress:
    """A request, from its turn until its answer is written."""

    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    written: asyncio.Event = field(default_factory=asyncio.Event)


class InferStream:
    """One call. `serve` once; event loop only. `regions`: of the caller. `check_leaving`: raises GoingAway while the
    server stops. `call`: what it says of its trace.
    """

    def __init__(
        self,
        context: StreamContext,
        caller: Caller,
        inference: Inference,
        entrance: Entrance,
        *,
        regions: CallerRegions,
        observer: CallObserver,
        times: StreamTimes,
        check_leaving: Callable[[], None],
        call: TracedCall | None = None,
    ) -> None:
        self._context = context
        self._regions = regions
        self._caller = caller
        self._inference = inference
        self._entrance = entrance
        self._observer = observer
        self._stall_timeout_s = times.stall_timeout_s
        self._check_leaving = check_leaving
        self._call = call
        self._silence = Silence(open_timeout_s=times.open_timeout_s, idle_timeout_s=times.idle_timeout_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MOST_IN_PROGRESS)
        self._answers: asyncio.Queue[_InProgress | Exception | None] = asyncio.Queue()

    async def serve(self) -> EndCause:
        """Until every request is answered. Raises CallRefused."""
        reading = asyncio.create_task(self._read())
        try:
            while (item := await self._answers.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                if not await is_taken(self._context, await item.answer, self._stall_timeout_s):
                    log.warning("session_stalled", client=self._caller.client, camera_id=CAMERA)
                    return EndCause.STALLED
                item.written.set()
                self._silence.answered()
                self._room.release()
                del item  # its vectors may be large, and the next one may be long in coming
            return EndCause.FINISHED
        finally:
            left = [reading, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _read(self) -> None:
        """Take requests, until the client has half-closed; what ends the stream comes after their answers."""
        messages: StreamMessages[pb.ModelInferRequest, Taken | Answer] = StreamMessages(
            self._entrance.apart, self._caller.source, may_read=self._turn, take=self._take_large
        )
        end: Exception | None = None
        try:
            while True:
                await self._room.acquire()
                came = await messages.come(await self._next())
                if came is None:
                    break
                one = self._begin(came.value if isinstance(came, Large) else await self._take(came))
                del came
                self._answers.put_nowait(one)
                del one
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            end = error
        self._answers.put_nowait(end)

    async def _next(self) -> Arriving[pb.ModelInferRequest]:
        """A message that is whole. Raises CallRefused if none comes for too long."""
        arriving: Arriving[pb.ModelInferRequest] = Arriving(self._context)
        coming = asyncio.ensure_future(arriving)
        try:
            await self._silence.wait_for(coming)
            coming.result()
        finally:
            coming.cancel()  # it ends with its call
        return arriving

    async def _turn(self) -> None:
        """Until the source may be read, for which it is charged as for a call. Raises TooManyCalls, GoingAway."""
        await self._entrance.turns.wait(self._caller.source, self._context.peer(), CALL_NS)
        self._check_leaving()

    def _begin(self, taken: Taken | Answer) -> _InProgress:
        one = _InProgress()
        self._silence.came()
        task = asyncio.create_task(self._carry_out(taken, one))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return one

    async def _carry_out(self, taken: Taken | Answer, one: _InProgress) -> None:
        """The request's task: it has the place of a call until it is over."""
        answer, unwritten = (taken, None) if isinstance(taken, Answer) else await self._answer(taken)
        del taken
        with unwritten or nullcontext():
            if not one.answer.cancelled():  # its stream may have ended just now
                one.answer.set_result(answer)
            del answer
            await one.written.wait()

    async def _take_large(self, request: Request, turn: Turn) -> Taken | Answer:
        joining_ns = int(request.waiting_bytes * JOINING_NS_PER_BYTE)
        return await self._take(request, turn, joining_ns)

    async def _take(self, request: Request, turn: Turn | None = None, spent_ns: int = 0) -> Taken | Answer:
        """A request that was read, or the answer that says what is wrong with it."""
        request_id, caller = "", self._caller
        try:
            async with self._inference.reading(caller, turn=turn, spent_ns=spent_ns) as reading:
                asked = await reading.do(partial(asked_by, request), large=request.large)
                del request
                request_id = asked.request_id
                return await self._inference.take(asked, caller, self._regions, reading, self._call)
        except Exception as error:  # noqa: BLE001 - it is this request's, and the stream goes on
            return self._failed(request_id, error)

    async def _answer(self, taken: Taken) -> tuple[Answer, Unwritten | None]:
        """Of one request, whatever is wrong with it."""
        request_id = taken.request_id
        try:
            self._entrance.places.enter(self._caller.source)
        except CallRefused as error:
            self._inference.found_no_place(taken, error)
            return self._failed(request_id, error), None
        try:
            inferred = await self._inference.answer(taken)
        except Exception as error:  # noqa: BLE001 - it is this request's, and the stream goes on
            return self._failed(request_id, error), None
        if isinstance(inferred, FrameFault):
            return _error(request_id, inferred.message), None
        return Answer(infer_response=response_of(inferred)), inferred.unwritten

    def _failed(self, request_id: str, error: Exception) -> Answer:
        if isinstance(error, CallRefused):
            self._observer.call_refused(error.refusal)
            return _error(request_id, str(error))
        log.failure("call_failed", error)
        return _error(request_id, "internal error; the server's log has the details")


def _error(request_id: str, message: str) -> Answer:
    return Answer(error_message=message, infer_response=pb.ModelInferResponse(id=request_id))
