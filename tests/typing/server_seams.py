"""The seams that wings stand on: closed unions that must be handled to the last, and Protocols that must be kept."""

from __future__ import annotations

from typing import assert_never, assert_type

from typing_extensions import override

from reidstream_server.core.faults import FrameFault
from reidstream_server.intake.ask import ask
from reidstream_server.intake.frames import FrameIntake, FrameOrFault
from reidstream_server.intake.plan import FramePlan
from reidstream_server.intake.terms import CallTerms, PlainTerms
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import BoxFate, BoxRefusal, CachedRow
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import JobAnswer, Outgoing
from reidstream_server.tracks.track import TrackEnded
from reidstream_server.transport.door import Door


def has_vector_already(fate: BoxFate) -> bool:
    """A crop, a cached row, or a refusal."""
    match fate:
        case int():
            return False
        case CachedRow():
            return True
        case BoxRefusal():
            return False
        case _:
            assert_never(fate)


def forgets_cached_rows(fate: BoxFate) -> bool:
    """A set that is not matched to its end."""
    match fate:
        case int():
            return True
        case BoxRefusal():
            return False
        case _:
            assert_never(fate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def an_event_is_no_answer(item: Outgoing) -> None:
    """What goes out is looked at before it is used."""
    if isinstance(item, TrackEnded):
        assert_type(item, TrackEnded)
        _ = item.frame_id  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def a_door(runtime: Runtime, intake: FrameIntake, agreement: Agreement) -> None:
    """A plan may be a fault, and only what was finished is asked for."""
    plan = intake.begin(agreement, 1)
    plan.refuse(BoxRefusal.FILTERED)  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(plan, FrameFault):
        return
    assert_type(plan, FramePlan)
    taken = intake.finish(plan, frame_id=1, age_ns=0)
    assert_type(taken, FrameOrFault)
    assert_type(await ask(runtime, agreement, 1, taken), JobAnswer)

    await ask(runtime, agreement, 1, plan)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def plain_terms_are_terms() -> CallTerms:
    """A door that knows its terms already needs no class of its own."""
    return PlainTerms(client="", source="connection toy", camera_id="gate")


class HalfADoor(Door):
    """It cannot stop, so it cannot be made."""

    @override
    async def listen(self) -> int:
        return 0

    @override
    async def serve(self) -> None: ...

    @override
    async def set_serving(self, *, serving: bool) -> None: ...


HalfADoor()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
