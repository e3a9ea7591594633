"""No client's share depends on another's misbehaviour: what honest cameras get beside one that misbehaves is what they
get beside one that behaves, within 5 %.

Each way to misbehave is compared with the same camera behaving: it asks for as much, but what it sends is understood,
costs what it says, is as large as the others' frames, and its answers are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from reidstream_server.core.effects import Answer
from reidstream_server.core.terms import (
    Flow,
    ModelTerms,
    Ordering,
    OverloadPolicy,
    Priority,
    SchedulerLimits,
    SessionTerms,
    Window,
)

from .simulator.plan import MS, START_NS, ClientPlan, EnginePlan, FramePlan, ModelPlan, Name, Scenario
from .simulator.world import ALL_STEPS, World

NAME = Name(0)
HONEST = 4
STRETCH_NS = 2_000 * MS
FRAME = FramePlan(
    frame_id=0,
    message_bytes=1_000,
    staged_bytes=1_000,
    answer_bytes=100,
    age_ns=0,
    crops=(NAME,) * 4,
    staging_ns=4 * MS,
    declared_ns=4 * MS,
)
MODEL = ModelPlan(
    name=NAME,
    terms=ModelTerms(name="osnet", max_batch=8, slots=2, cores=1),
    engine=EnginePlan(batch_ns=4 * MS, crop_ns=MS // 2),
)
LIMITS = SchedulerLimits(
    staging_slots=2,
    cores=2,
    max_queue_boxes=400,
    max_queue_bytes=400_000,
    max_parked_bytes=100_000,
    max_staged_bytes=100_000,
    max_held_answer_bytes=40_000,
    heavy_boxes=40,
    heavy_staging_ns=30 * MS,
    slow_staging_ns=100 * MS,
    staging_timeout_ns=1_000 * MS,
    quantum_boxes=8,
    max_source_turns=10**6,
    aging_ns=1_000 * MS,
    high_at_once_ns=10**18,
    linger_ns=0,
    batch_timeout_ns=10**10,
    stall_timeout_ns=10**12,
)


def a_camera(number: int, *, frames: int = 1_000, source: str = "") -> ClientPlan:
    """It always has something to send."""
    terms = SessionTerms(
        flow=Flow(client="client", camera_id=f"camera{number}"),
        source=source or f"source {number}",
        priority=Priority.NORMAL,
        ordering=Ordering.IN_ORDER,
        overload_policy=OverloadPolicy.WAIT,
        window=Window(frames=8, bytes=10**9),
        latency_budget_ns=None,
        models=frozenset(),
    )
    return ClientPlan(
        terms=terms,
        names=frozenset({NAME}),
        opens_ns=START_NS,
        interval_ns=0,
        read_ns=0,
        frames=tuple(replace(FRAME, frame_id=frame_id) for frame_id in range(frames)),
    )


def boxes_of_honest(others: tuple[ClientPlan, ...]) -> int:
    """What the honest cameras have got after the stretch, beside the others."""
    honest = [a_camera(number) for number in range(HONEST)]
    scenario = Scenario(seed=1, limits=LIMITS, models=(MODEL,), clients=(*honest, *others))
    world = World(scenario, trace_steps=ALL_STEPS)
    outcome = world.run(until_ns=START_NS + STRETCH_NS)
    assert outcome.violation is None
    got: Counter[int] = Counter()
    for step in outcome.trace:
        for effect in step.effects:
            if isinstance(effect, Answer) and effect.payload is not None and effect.fault is None:
                got[effect.payload.client.number] += effect.payload.boxes
    return sum(got[number] for number in range(HONEST))


def every_frame(**changes: object) -> Callable[[ClientPlan], ClientPlan]:
    """A camera all of whose frames are so."""
    return lambda client: replace(
        client,
        frames=tuple(replace(frame, **changes) for frame in client.frames),  # type: ignore[arg-type]
    )


def with_terms(client: ClientPlan, **changes: object) -> ClientPlan:
    """The camera under other terms."""
    return replace(client, terms=replace(client.terms, **changes))  # type: ignore[arg-type]


MISBEHAVIOURS: dict[str, Callable[[ClientPlan], ClientPlan]] = {
    "its frames are refused, and reading them takes long": every_frame(refused=True, reading_ns=5 * MS),
    "its frames cost ten times what their headers say": every_frame(staging_ns=40 * MS),
    "its frames are slow, and say nothing of it": every_frame(staging_ns=150 * MS, declared_ns=MS),
    "its frames take as long as a hundred others": every_frame(staging_ns=400 * MS, declared_ns=400 * MS),
    "its frames have as many boxes as fifty others": every_frame(crops=(NAME,) * 200, answer_bytes=5_000),
    "its messages are as large as a hundred others": every_frame(message_bytes=100_000),
    "its decoders never end": every_frame(staging_ns=3_000 * MS),
    "it does not read its answers": lambda client: replace(client, stalls_after=0),
    "it ignores its window": lambda client: replace(client, floods=True),
    "its frames have no boxes, and reading them takes long": every_frame(crops=(), answer_bytes=0, reading_ns=40 * MS),
    "reading its frames takes ten times as long as their work": every_frame(reading_ns=80 * MS),
    "its frames are too late, and reading them takes long": lambda client: with_terms(
        every_frame(age_ns=2 * MS, reading_ns=40 * MS)(client), latency_budget_ns=MS
    ),
    "its frames are dropped, and reading them takes long": lambda client: with_terms(
        replace(every_frame(reading_ns=10 * MS)(client), floods=True),
        overload_policy=OverloadPolicy.DROP_OLDEST,
        window=Window(frames=1, bytes=10**9),
    ),
    "its frames find no room, and reading them takes long": lambda client: with_terms(
        replace(every_frame(reading_ns=10 * MS)(client), floods=True),
        overload_policy=OverloadPolicy.REJECT,
        window=Window(frames=1, bytes=10**9),
    ),
}


def beside(sessions: int) -> tuple[ClientPlan, ...]:
    """Cameras of one source that behave."""
    return tuple(a_camera(HONEST + number, source="other") for number in range(sessions))


@cache
def boxes_beside_honest_ones(sessions: int) -> int:
    """What each misbehaviour is compared with."""
    return boxes_of_honest(beside(sessions))


@pytest.mark.parametrize("how", MISBEHAVIOURS)
@pytest.mark.parametrize("sessions", [1, 6])
def test_honest_cameras_get_what_they_get_beside_honest_ones(how: str, sessions: int) -> None:
    """One that misbehaves, or six of one source."""
    misbehaved = boxes_of_honest(tuple(map(MISBEHAVIOURS[how], beside(sessions))))
    assert misbehaved >= 0.95 * boxes_beside_honest_ones(sessions)
