"""ModelStreamInfer: a stream of requests, each of which is answered, in order, also after the client has half-closed.

Each request is a call of its own: it is paid for, has a place and waits for room as a unary call does. What is wrong
with it is its answer, and the stream goes on. One stream has a bounded number of requests in progress: then it is not
read. And a request is read when the one before it was taken, so the bytes of one alone are counted nowhere.

Traps: a request has its place until its answer is written, as a unary call has. A client that reads nothing would have
ever more answers held for it otherwise, on ever more streams. And the client may half-close with all its requests
outstanding, and may leave at any moment. So whatever ends the stream, no task of it is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, cast

import grpc

from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import CallRefused, InvalidCall
from reidstream_server.identity.access import Caller
from reidstream_server.logs import get_logger
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.entrance.turns import CALL_NS
from reidstream_server.transport.grpc_server.calls import CallObserver, Writable, written
from reidstream_server.transport.grpc_server.unparsable import NO_MESSAGE, Unparsed

from .grpc_messages import asked_by, response_of
from .inference import Inference, Taken
from .regions import CallerRegions

log = get_logger(__name__)

StreamContext: TypeAlias = "grpc.aio.ServicerContext[pb.ModelInferRequest, pb.ModelStreamInferResponse]"
Request: TypeAlias = Unparsed[pb.ModelInferRequest]
Answer: TypeAlias = pb.ModelStreamInferResponse

MOST_IN_PROGRESS = 32
"""Requests of one stream."""


@dataclass(slots=True, eq=False)
class _InProgress:
    """A request, from its turn until its answer is written."""

    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    written: asyncio.Event = field(default_factory=asyncio.Event)


class InferStream:
    """One call. `serve` once; event loop only. `regions`: of the caller. `check_leaving`: raises GoingAway while the
    server stops. `stall_timeout_s`: for the client to take an answer.
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
        stall_timeout_s: float,
        check_leaving: Callable[[], None],
    ) -> None:
        self._context = context
        self._regions = regions
        self._caller = caller
        self._inference = inference
        self._entrance = entrance
        self._observer = observer
        self._stall_timeout_s = stall_timeout_s
        self._check_leaving = check_leaving
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: asyncio.Queue[_InProgress | Exception | None] = asyncio.Queue(MOST_IN_PROGRESS)

    async def serve(self) -> None:
        """Until every request is answered. Raises CallRefused."""
        reading = asyncio.create_task(self._read())
        try:
            context = cast(Writable, self._context)
            while (item := await self._answers.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                await written(context, await item.answer, self._stall_timeout_s)
                item.written.set()
                del item  # its vectors may be large, and the next one may be long in coming
        finally:
            left = [reading, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _read(self) -> None:
        """Take requests, until the client has half-closed; what ends the stream comes after their answers."""
        end: Exception | None = None
        try:
            while (request := await self._next()) is not None:
                await self._entrance.turns.wait(self._caller.source, self._context.peer(), CALL_NS)
                self._check_leaving()
                one = self._begin(await self._take(request))
                del request
                await self._answers.put(one)
                del one
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            end = error
        await self._answers.put(end)

    async def _next(self) -> Request | None:
        message: object = await self._context.read()
        if message is grpc.aio.EOF:
            return None
        if not isinstance(message, Unparsed):
            raise InvalidCall(NO_MESSAGE)
        return message

    def _begin(self, taken: Taken | Answer) -> _InProgress:
        one = _InProgress()
        task = asyncio.create_task(self._carry_out(taken, one))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return one

    async def _carry_out(self, taken: Taken | Answer, one: _InProgress) -> None:
        """The request's task: it has the place of a call until it is over."""
        one.answer.set_result(await self._answer(taken))
        del taken
        await one.written.wait()

    async def _take(self, request: Request) -> Taken | Answer:
        """A request that was read, or the answer that says what is wrong with it."""
        request_id, source, apart = "", self._caller.source, self._entrance.apart
        try:
            asked = (await apart.do_if(request.large, source, partial(asked_by, request))).value
            request_id = asked.request_id
            return await self._inference.take(asked, self._caller, self._regions)
        except Exception as error:  # noqa: BLE001 - it is this request's, and the stream goes on
            return self._failed(request_id, error)

    async def _answer(self, taken: Taken | Answer) -> Answer:
        """Of one request, whatever is wrong with it."""
        if isinstance(taken, Answer):
            return taken
        try:
            self._entrance.places.enter(self._caller.source)
            inferred = await self._inference.answer(taken)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(taken.request_id, error)
        if isinstance(inferred, FrameFault):
            return _error(taken.request_id, inferred.message)
        return Answer(infer_response=response_of(inferred))

    def _failed(self, request_id: str, error: Exception) -> Answer:
        if isinstance(error, CallRefused):
            self._observer.call_refused(error.refusal)
            return _error(request_id, str(error))
        log.failure("call_failed", error)
        return _error(request_id, "internal error; the server's log has the details")


def _error(request_id: str, message: str) -> Answer:
    return Answer(error_message=message, infer_response=pb.ModelInferResponse(id=request_id))
