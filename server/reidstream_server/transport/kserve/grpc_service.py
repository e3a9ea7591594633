"""GRPCInferenceService, hosted on the gRPC port beside the stream.

Trap: clients ask whether the server is ready and may ignore the answer. So while it leaves, what they ask next fails
with UNAVAILABLE: a model's configuration, and inference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc

from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_proto.kserve import inference_pb2_grpc
from reidstream_proto.v1.contract import TRACEPARENT_HEADER, TRACESTATE_HEADER
from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import FrameFault
from reidstream_server.core.sharing import Pool
from reidstream_server.errors import InvalidCall, NotOffered, TooManySessions, UnknownModel
from reidstream_server.identity.access import Access
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.grpc_server.caller import Caller, header, presented_by
from reidstream_server.transport.grpc_server.calls import CallObserver, abort, abort_stalled, refuse, when_over
from reidstream_server.transport.grpc_server.hosting import HostedService
from reidstream_server.transport.grpc_server.stream_messages import JOINING_NS_PER_BYTE
from reidstream_server.transport.grpc_server.unparsable import Unparsed
from reidstream_server.transport.status import FRAMES

from .described import Described, described_region
from .grpc_messages import asked_by, response_of
from .grpc_stream import InferStream, StreamContext, StreamTimes
from .inference import Inference
from .offered import NOT_OFFERED
from .regions import CallerRegions, DoorRegions
from .request_trace import TracedCall

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Q = TypeVar("Q")
A = TypeVar("A")

MAX_QUESTION_BYTES = 2**16
"""Of a message that asks for no inference. A larger one is not parsed."""

_WHILE_LEAVING = frozenset(
    {
        *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelStatistics"),
        *("SystemSharedMemoryStatus", "SystemSharedMemoryUnregister", "CudaSharedMemoryUnregister"),
    }
)
_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
SERVICE = _SERVICE.full_name


class InferenceService(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """The service. Event loop only. `max_streams`: open ones. See `InferStream` for the others."""

    def __init__(
        self,
        inference: Inference,
        described: Described,
        entrance: Entrance,
        regions: DoorRegions,
        *,
        access: Access,
        observer: CallObserver,
        max_streams: int,
        times: StreamTimes,
        check_leaving: Callable[[], None],
    ) -> None:
        self._inference = inference
        self._described = described
        self._entrance = entrance
        self._regions = regions
        self._access = access
        self._observer = observer
        self._streams: Pool[str] = Pool(max_streams)
        self._times = times
        self._check_leaving = check_leaving

    @property
    def hosted(self) -> HostedService:
        """As the port takes it."""
        return HostedService(
            name=SERVICE,
            add=self._add,
            while_leaving=_WHILE_LEAVING,
        )

    def _add(self, server: grpc.aio.Server) -> None:
        inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, server)
        others: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(self._not_offered(name, instead))
            for name, instead in NOT_OFFERED.items()
            if name not in _SERVICE.methods_by_name
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, others),))

    # What the server and its models are.

    async def ServerLive(  # type: ignore[override]  # noqa: N802 - the protocol's name, and an unparsed request
        self, request: Unparsed[pb.ServerLiveRequest], context: Context
    ) -> pb.ServerLiveResponse:
        """It answers."""
        return await self._told(request, context, lambda _: pb.ServerLiveResponse(live=True))

    async def ServerReady(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.ServerReadyRequest], context: Context
    ) -> pb.ServerReadyResponse:
        """It takes new calls."""
        return await self._told(request, context, lambda _: pb.ServerReadyResponse(ready=self._described.ready))

    async def ModelReady(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.ModelReadyRequest], context: Context
    ) -> pb.ModelReadyResponse:
        """One that is not there is not ready."""

        def ready(asked: pb.ModelReadyRequest) -> bool:
            try:
                return self._described.model_ready(asked.name, asked.version)
            except UnknownModel:
                return False

        return await self._told(request, context, lambda asked: pb.ModelReadyResponse(ready=ready(asked)))

    async def ServerMetadata(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.ServerMetadataRequest], context: Context
    ) -> pb.ServerMetadataResponse:
        """Name, version and extensions."""
        return await self._told(request, context, lambda _: self._described.server())

    async def ModelMetadata(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.ModelMetadataRequest], context: Context
    ) -> pb.ModelMetadataResponse:
        """The tensors of a model."""
        return await self._told(request, context, lambda one: self._described.metadata(one.name, one.version))

    async def ModelConfig(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.ModelConfigRequest], context: Context
    ) -> pb.ModelConfigResponse:
        """The tensors of a model and the most crops of a request."""

        def config(asked: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
            return pb.ModelConfigResponse(config=self._described.config(asked.name, asked.version))

        return await self._told(request, context, config)

    async def ModelStatistics(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.ModelStatisticsRequest], context: Context
    ) -> pb.ModelStatisticsResponse:
        """What models did."""
        return await self._told(request, context, lambda one: self._described.statistics(one.name, one.version))

    async def RepositoryIndex(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.RepositoryIndexRequest], context: Context
    ) -> pb.RepositoryIndexResponse:
        """All models."""
        return await self._told(request, context, lambda asked: self._described.index(ready=asked.ready))

    # Shared memory.

    async def SystemSharedMemoryStatus(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.SystemSharedMemoryStatusRequest], context: Context
    ) -> pb.SystemSharedMemoryStatusResponse:
        """The regions of who calls."""

        def status(
            asked: pb.SystemSharedMemoryStatusRequest, mine: CallerRegions
        ) -> pb.SystemSharedMemoryStatusResponse:
            return pb.SystemSharedMemoryStatusResponse(
                regions={region.name: described_region(region) for region in mine.status(asked.name)}
            )

        return await self._of_regions(request, context, status)

    async def SystemSharedMemoryRegister(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.SystemSharedMemoryRegisterRequest], context: Context
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """One more."""

        def register(
            asked: pb.SystemSharedMemoryRegisterRequest, mine: CallerRegions
        ) -> pb.SystemSharedMemoryRegisterResponse:
            mine.register(asked.name, asked.key, asked.offset, asked.byte_size)
            return pb.SystemSharedMemoryRegisterResponse()

        return await self._of_regions(request, context, register)

    async def SystemSharedMemoryUnregister(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.SystemSharedMemoryUnregisterRequest], context: Context
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """One, or all of who calls."""

        def unregister(
            asked: pb.SystemSharedMemoryUnregisterRequest, mine: CallerRegions
        ) -> pb.SystemSharedMemoryUnregisterResponse:
            mine.unregister(asked.name)
            return pb.SystemSharedMemoryUnregisterResponse()

        return await self._of_regions(request, context, unregister)

    async def CudaSharedMemoryUnregister(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.CudaSharedMemoryUnregisterRequest], context: Context
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """There are none, so it is done."""

        def unregister(
            asked: pb.CudaSharedMemoryUnregisterRequest, mine: CallerRegions
        ) -> pb.CudaSharedMemoryUnregisterResponse:
            del asked
            mine.unregister_cuda()
            return pb.CudaSharedMemoryUnregisterResponse()

        return await self._of_regions(request, context, unregister)

    # Inference.

    async def ModelInfer(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[pb.ModelInferRequest], context: Context
    ) -> pb.ModelInferResponse:
        """A row for each crop."""
        try:
            caller = self._access.caller_of(presented_by(context))
            joining_ns = int(request.waiting_bytes * JOINING_NS_PER_BYTE)
            async with self._inference.reading(caller, spent_ns=joining_ns) as reading:
                asked = await reading.do(partial(asked_by, request), large=request.large)
                mine, traced = self._regions.of(caller, context.peer()), self._traced("ModelInfer", context)
                taken = await self._inference.take(asked, caller, mine, reading, traced)
            inferred = await self._inference.answer(taken)
            if isinstance(inferred, FrameFault):
                await _fault(context, inferred)
            over = inferred.unwritten.over
            when_over(lambda written: over(written=written))
            return response_of(inferred)
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    async def ModelStreamInfer(  # type: ignore[override]  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: StreamContext
    ) -> None:
        """Each request is answered, in order."""
        del request_iterator  # read through the context, when there is room for a message
        try:
            caller = self._access.caller_of(presented_by(context))
            with self._one_more(caller.source):
                cause = await InferStream(
                    context,
                    caller,
                    self._inference,
                    self._entrance,
                    regions=self._regions.of(caller, context.peer()),
                    observer=self._observer,
                    times=self._times,
                    check_leaving=self._check_leaving,
                    call=self._traced("ModelStreamInfer", context),
                ).serve()
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)
        if cause is EndCause.STALLED:
            await abort_stalled(context)

    @property
    def open_streams(self) -> int:
        """Calls of ModelStreamInfer."""
        return self._streams.taken

    def _traced(self, method: str, context: Caller) -> TracedCall | None:
        """What a call says of its trace."""
        if not self._inference.traces:
            return None
        headers = context.invocation_metadata()
        return TracedCall(
            method=f"{SERVICE}/{method}",
            traceparent=header(headers, TRACEPARENT_HEADER),
            tracestate=header(headers, TRACESTATE_HEADER),
        )

    async def _told(self, request: Unparsed[Q], context: Context, answer: Callable[[Q], A]) -> A:
        try:
            caller = self._access.caller_of(presented_by(context))
            joining_ns = int(request.waiting_bytes * JOINING_NS_PER_BYTE)
            async with self._inference.reading(caller, spent_ns=joining_ns):
                _check_question(request.waiting_bytes)
            return answer(request.read())
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    async def _of_regions(self, request: Unparsed[Q], context: Context, answer: Callable[[Q, CallerRegions], A]) -> A:
        try:
            caller = self._access.caller_of(presented_by(context))
            return answer(request.read(), self._regions.of(caller, context.peer()))
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    @contextmanager
    def _one_more(self, source: str) -> Iterator[None]:
        """Around a stream. Raises TooManySessions."""
        streams, mine = self._streams, self._streams.of(source)
        if streams.taken >= streams.most or (mine and not streams.fits(source, 1)):
            raise TooManySessions(
                f"{streams.taken} streams of requests are open, {mine} of them from this client; the limit is "
                f"{streams.most} (max_sessions), and one client gets at most half of it; send requests on one stream"
            )
        streams.take(source, 1)
        try:
            yield
        finally:
            streams.give_back(source, 1)

    def _not_offered(self, method: str, instead: str) -> Callable[[object, Context], Any]:
        """In the place of a method. The guard has let its caller in."""

        async def answer(request: object, context: Context) -> NoReturn:
            del request
            refusal = NotOffered(f"{method}: this server does not offer it; {instead}")
            await refuse(context, refusal, self._observer)

        return answer


def _check_question(size: int) -> None:
    """Raises InvalidCall."""
    if size > MAX_QUESTION_BYTES:
        raise InvalidCall(f"the message has {size} bytes; the limit is {MAX_QUESTION_BYTES}")


async def _fault(context: Context, fault: FrameFault) -> NoReturn:
    await abort(
        context,
        FRAMES[fault.reason].grpc,
        fault.message,
        reason=fault.reason.value,
        retry_after_ms=fault.retry_after_ms,
    )
