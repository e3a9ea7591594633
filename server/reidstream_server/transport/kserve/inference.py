"""A request for inference becomes rows: the one way for both wires.

The request waits for room as frames of a stream do, because clients of this protocol do not come back by themselves.
How many may wait is bounded by the calls in progress, and the bytes of those that wait by `max_parked_bytes`.
Tensors in shared memory are copied when the request is read, and from then on are as good as sent.

Traps: the bytes of a request are large. Whoever calls lets go of its message, and `Asked` of its inputs, before the
answer is waited for: from then on they are the job's, which is counted. And so are its vectors, until whoever wrote the
answer says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Self

from reidstream_proto.v1 import contract
from reidstream_server.core.faults import FrameFault
from reidstream_server.core.terms import OverloadPolicy
from reidstream_server.errors import CallRefused, InvalidCall, TooLarge, UnknownModel
from reidstream_server.identity.access import Caller
from reidstream_server.intake.ask import HeldAnswer, ask_held
from reidstream_server.intake.fields import check_model_name
from reidstream_server.intake.frames import FrameIntake
from reidstream_server.intake.limits import WindowLimits
from reidstream_server.intake.terms import PlainTerms, agree_on_call
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.models import ModelChoice, ModelTable, ServedModel
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.trace import FrameTracer
from reidstream_server.transport.entrance.apart import Apart, Turn

from .asked import VERSION, Asked
from .planning import Planned, Rows, plan, rows_of
from .reading import Reading
from .regions import CallerRegions, RegionRange
from .request_trace import RequestTrace, TracedCall, begun

CAMERA = "kserve"
"""Whose crops these are: the protocol knows no cameras, so all of a client's take turns as one."""

LARGE_BYTES = 2 * 2**20
"""Reading the tensors of a larger request is done apart: they may have to be converted."""

_NEWEST = "-1"  # as Triton understands it
_US_A_MS = 1000
_FRAME_ID = 0
_FLOAT_BYTES = 4


class Unwritten:
    """Rows that their client has not taken: its vectors are held, and its span is open. A `with` block is that time; it
    ends well when the answer is written. Event loop only.
    """

    def __init__(self, held: HeldAnswer, trace: RequestTrace | None) -> None:
        self._held = held
        self._trace = trace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.over(written=exc_type is None)

    def over(self, *, written: bool) -> None:
        """The answer was written, or never will be."""
        self._held.over(written=written)
        if self._trace is not None:
            if written:
                self._trace.answered(self._held.answer)
            else:
                self._trace.lost()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """`rows`: float32, little-endian, one for each crop or box. `placed`: they lie in shared memory, and are not to be
    sent. `final`: the client wants to be told that it is all.
    """

    request_id: str
    final: bool
    model: ServedModel
    rows: Rows
    placed: bool
    unwritten: Unwritten


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A request that was read. Reading took the event loop, or its thread, `spent_ns`. `room`: for its rows, if they go
    into shared memory. `trace`: if it is recorded.
    """

    request_id: str
    source: str
    final: bool
    room: RegionRange | None
    model: ServedModel
    agreement: Agreement
    planned: Planned
    spent_ns: int
    trace: RequestTrace | None


class Inference:
    """`max_tensor_bytes`: of a request's tensors. `tracer`: None where nothing is traced. Event loop only."""

    def __init__(
        self,
        runtime: Runtime,
        intake: FrameIntake,
        apart: Apart,
        window: WindowLimits,
        tracer: FrameTracer | None = None,
        *,
        max_tensor_bytes: int,
    ) -> None:
        self._runtime = runtime
        self._intake = intake
        self._apart = apart
        self._window = window
        self._tracer = tracer
        self._max_tensor_bytes = max_tensor_bytes

    @property
    def traces(self) -> bool:
        """Whether anything is traced: else nobody need say anything of traces."""
        return self._tracer is not None

    def reading(self, caller: Caller, *, turn: Turn | None = None, spent_ns: int = 0) -> Reading:
        """What a request is read in. `turn`: if it has one already, and was joined in `spent_ns`."""
        return Reading(self._apart, caller.source, self._runtime.charge, turn=turn, spent_ns=spent_ns)

    async def take(
        self, asked: Asked, caller: Caller, regions: CallerRegions, reading: Reading, call: TracedCall | None = None
    ) -> Taken:
        """Read a request: it is a job, or has a fault. Raises CallRefused."""
        model = find(self._runtime.models, asked.model, asked.version)
        terms = PlainTerms(
            client=caller.client,
            source=caller.source,
            camera_id=CAMERA,
            latency_budget_ms=_budget_ms(asked.timeout_us),
            choices=[ModelChoice(name=model.name)],
        )
        agreement = agree_on_call(terms, models=self._runtime.models, limits=self._window, policy=OverloadPolicy.WAIT)
        trace = begun(self._tracer, call, reading.began_ns, client=caller.client, camera_id=CAMERA)
        try:
            shared, room = self._shared(asked, regions), _room(asked, regions)
            size = sum(len(tensor.data) for tensor in asked.inputs) + sum(one.named.length for one in shared if one)
            read = partial(_read, asked, shared, agreement, model, self._intake)
            planned = await reading.do(read, large=size > LARGE_BYTES)
            if room is not None:
                _check_room(room, planned.rows, model)
        except BaseException as error:
            _end(trace, error)
            raise
        if trace is not None and not isinstance(planned.taken, FrameFault):
            _, job = planned.taken
            job.trace, trace.boxes = trace.trace, len(job.fates)
        return Taken(
            request_id=asked.request_id,
            source=caller.source,
            final=asked.wants_final,
            room=room,
            model=model,
            agreement=agreement,
            planned=planned,
            spent_ns=reading.spent_ns,
            trace=trace,
        )

    def found_no_place(self, taken: Taken, error: CallRefused) -> None:
        """A request that was read has no place. Its source pays for the reading, as for a frame that finds no room."""
        self._runtime.charge(taken.agreement.terms.source, taken.spent_ns)
        _end(taken.trace, error)

    async def answer(self, taken: Taken) -> Inferred | FrameFault:
        """The rows of a request that was read. Raises GoingAway, InvalidCall."""
        planned, model, trace, room = taken.planned, taken.model, taken.trace, taken.room
        try:
            held = await ask_held(self._runtime, taken.agreement, _FRAME_ID, planned.taken, spent_ns=taken.spent_ns)
        except BaseException as error:
            _end(trace, error)
            raise
        unwritten = Unwritten(held, trace)
        rows = rows_of(held.answer, model.spec.output.dim, may_lack=planned.rows_may_lack)
        if isinstance(rows, FrameFault):
            if trace is not None:
                trace.refused(rows, held.answer.times)
            unwritten.over(written=True)
            return rows
        if room is not None:
            write = partial(room.write, rows.tobytes())
            try:
                await self._apart.do_if(rows.nbytes > LARGE_BYTES, taken.source, write)
            except BaseException:
                unwritten.over(written=False)
                raise
        return Inferred(
            request_id=taken.request_id,
            final=taken.final,
            model=model,
            rows=rows,
            placed=room is not None,
            unwritten=unwritten,
        )

    def _shared(self, asked: Asked, regions: CallerRegions) -> Sequence[RegionRange | None]:
        """Where each input lies in shared memory; None for those in the message. Raises CallRefused."""
        found = [
            None if tensor.shared is None else regions.range_of(tensor.shared, f"input {tensor.name[:64]!r}")
            for tensor in asked.inputs
        ]
        size = sum(one.named.length for one in found if one is not None)
        if size > self._max_tensor_bytes:
            raise TooLarge(
                f"the inputs in shared memory have {size} bytes; the limit for a request is {self._max_tensor_bytes} "
                "(max_message_bytes); ask for less at a time"
            )
        return found


def _read(
    asked: Asked,
    shared: Sequence[RegionRange | None],
    agreement: Agreement,
    model: ServedModel,
    intake: FrameIntake,
) -> Planned:
    """A request with its tensors, whose inputs are taken. Any thread. Raises InvalidCall."""
    asked.inputs[:] = [
        tensor if place is None else replace(tensor, data=place.read())
        for tensor, place in zip(asked.inputs, shared, strict=True)
    ]
    return plan(asked, agreement, model, intake)


def _room(asked: Asked, regions: CallerRegions) -> RegionRange | None:
    """Where the rows go, if not into the answer. Raises CallRefused."""
    for output in asked.outputs:  # one at most
        if output.shared is not None:
            return regions.range_of(output.shared, f"output {output.name[:64]!r}")
    return None


def _check_room(room: RegionRange, rows: int, model: ServedModel) -> None:
    """Raises InvalidCall."""
    needed = rows * model.spec.output.dim * _FLOAT_BYTES
    if needed > room.named.length:
        raise InvalidCall(
            f"the output needs {needed} bytes for {rows} rows; shared_memory_byte_size is {room.named.length}"
        )


def _end(trace: RequestTrace | None, error: BaseException) -> None:
    """Of a request that ends with an exception."""
    match trace, error:
        case None, _:
            pass
        case RequestTrace(), CallRefused():
            trace.call_refused(error)
        case RequestTrace(), _:
            trace.lost()


def find(models: ModelTable, name: str, version: str) -> ServedModel:
    """A model by its name, and by its version if that is said. Raises UnknownModel, InvalidCall."""
    check_model_name("model name", name)
    model = models.find(name)
    if version not in ("", VERSION, _NEWEST):
        raise UnknownModel(f"model {model.name!r} has no version {version[:16]!r}; it has {VERSION!r}, or name none")
    return model


def _budget_ms(timeout_us: int | None) -> int | None:
    """A time-out as the budget of a call; 0 is none, as in the protocol."""
    if not timeout_us:
        return None
    return min(max(1, timeout_us // _US_A_MS), contract.MAX_LATENCY_BUDGET_MS)
