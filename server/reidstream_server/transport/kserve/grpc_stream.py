"""ModelStreamInfer: a stream of requests, each of which is answered, in order, also after the client has half-closed.

Each request is a call of its own: it is paid for, has a place and waits for room as a unary call does. What is wrong
with it is its answer, and the stream goes on. One stream has a bounded number of requests in progress, and of their
bytes: then it is not read.

Trap: the client may half-close with all its requests outstanding, and may leave at any moment. So whatever ends the
stream, no task of it is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, cast

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
from .inference import Inference

log = get_logger(__name__)

StreamContext: TypeAlias = "grpc.aio.ServicerContext[pb.ModelInferRequest, pb.ModelStreamInferResponse]"
Request: TypeAlias = Unparsed[pb.ModelInferRequest]
Answer: TypeAlias = pb.ModelStreamInferResponse

MOST_IN_PROGRESS = 32
"""Requests of one stream."""


class InferStream:
    """One call. `serve` once; event loop only. `most_bytes`: of requests in progress. `check_leaving`: raises GoingAway
    while the server stops. `stall_timeout_s`: for the client to take an answer.
    """

    def __init__(
        self,
        context: StreamContext,
        caller: Caller,
        inference: Inference,
        entrance: Entrance,
        *,
        observer: CallObserver,
        most_bytes: int,
        stall_timeout_s: float,
        check_leaving: Callable[[], None],
    ) -> None:
        self._context = context
        self._caller = caller
        self._inference = inference
        self._entrance = entrance
        self._observer = observer
        self._most_bytes = most_bytes
        self._stall_timeout_s = stall_timeout_s
        self._check_leaving = check_leaving
        self._bytes = 0
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._answers: asyncio.Queue[asyncio.Task[Answer] | Exception | None] = asyncio.Queue(MOST_IN_PROGRESS)

    async def serve(self) -> None:
        """Until every request is answered. Raises CallRefused."""
        reading = asyncio.create_task(self._read())
        try:
            context = cast(Writable, self._context)
            while (item := await self._answers.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                await written(context, await item, self._stall_timeout_s)
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
                await self._entrance.turns.wait(self._caller.source, CALL_NS)
                self._check_leaving()
                size = request.waiting_bytes
                task = self._begin(self._answer(request), size)
                del request
                await self._answers.put(task)
                while self._bytes > self._most_bytes:
                    self._room.clear()
                    await self._room.wait()
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

    def _begin(self, work: Coroutine[Any, Any, Answer], size: int) -> asyncio.Task[Answer]:
        task = asyncio.create_task(work)
        self._bytes += size
        self._tasks.add(task)

        def over(_: object) -> None:
            self._tasks.discard(task)
            self._bytes -= size
            self._room.set()

        task.add_done_callback(over)
        return task

    async def _answer(self, request: Request) -> Answer:
        """Of one request, whatever is wrong with it."""
        request_id = ""
        try:
            self._entrance.places.enter(self._caller.source)
            read = partial(asked_by, request)
            asked = (await self._entrance.apart.do_if(request.large, self._caller.source, read)).value
            request_id = asked.request_id
            inferred = await self._inference.infer(asked, self._caller)
            if not isinstance(inferred, FrameFault):
                return Answer(infer_response=response_of(inferred))
            why = inferred.message
        except CallRefused as error:
            self._observer.call_refused(error.refusal)
            why = str(error)
        except Exception as error:  # noqa: BLE001 - it is this request's, and the stream goes on
            log.failure("call_failed", error)
            why = "internal error; the server's log has the details"
        return Answer(error_message=why, infer_response=pb.ModelInferResponse(id=request_id))
