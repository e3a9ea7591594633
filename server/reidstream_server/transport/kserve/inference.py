"""A request for inference becomes rows: the one way for both wires.

The request waits for room as frames of a stream do, because clients of this protocol do not come back by themselves.
How many may wait is bounded by the calls in progress, and the bytes of those that wait by `max_parked_bytes`.

Trap: the bytes of a request are large. Whoever calls lets go of its message, and `Asked` of its inputs, before the
answer is waited for: from then on they are the job's, which is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from reidstream_proto.v1 import contract
from reidstream_server.core.faults import FrameFault
from reidstream_server.core.terms import OverloadPolicy
from reidstream_server.errors import UnknownModel
from reidstream_server.identity.access import Caller
from reidstream_server.intake.ask import ask
from reidstream_server.intake.fields import check_model_name
from reidstream_server.intake.frames import FrameIntake
from reidstream_server.intake.limits import WindowLimits
from reidstream_server.intake.terms import PlainTerms, agree_on_call
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.models import ModelChoice, ModelTable, ServedModel
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.transport.entrance.apart import Apart

from .asked import VERSION, Asked
from .planning import Planned, Rows, plan, rows_of

CAMERA = "kserve"
"""Whose crops these are: the protocol knows no cameras, so all of a client's take turns as one."""

LARGE_BYTES = 2 * 2**20
"""Reading the tensors of a larger request is done apart: they may have to be converted."""

_NEWEST = "-1"  # as Triton understands it
_US_A_MS = 1000
_FRAME_ID = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """`rows`: float32, little-endian, one for each crop or box. `final`: the client wants to be told that it is all."""

    request_id: str
    final: bool
    model: ServedModel
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A request that was read. Reading took the event loop, or its thread, `spent_ns`."""

    request_id: str
    final: bool
    model: ServedModel
    agreement: Agreement
    planned: Planned
    spent_ns: int


class Inference:
    """Event loop only."""

    def __init__(self, runtime: Runtime, intake: FrameIntake, apart: Apart, window: WindowLimits) -> None:
        self._runtime = runtime
        self._intake = intake
        self._apart = apart
        self._window = window

    async def infer(self, asked: Asked, caller: Caller) -> Inferred | FrameFault:
        """The rows of a request, or why there are none. Raises CallRefused."""
        return await self.answer(await self.take(asked, caller))

    async def take(self, asked: Asked, caller: Caller) -> Taken:
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
        large = sum(len(tensor.data) for tensor in asked.inputs) > LARGE_BYTES
        read = partial(plan, asked, agreement, model, self._intake)
        done = await self._apart.do_if(large, caller.source, read)
        return Taken(
            request_id=asked.request_id,
            final=asked.wants_final,
            model=model,
            agreement=agreement,
            planned=done.value,
            spent_ns=done.spent_ns,
        )

    async def answer(self, taken: Taken) -> Inferred | FrameFault:
        """The rows of a request that was read. Raises GoingAway."""
        planned, model = taken.planned, taken.model
        answer = await ask(self._runtime, taken.agreement, _FRAME_ID, planned.taken, spent_ns=taken.spent_ns)
        rows = rows_of(answer, model.spec.output.dim, may_lack=planned.rows_may_lack)
        if isinstance(rows, FrameFault):
            return rows
        return Inferred(request_id=taken.request_id, final=taken.final, model=model, rows=rows)


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
