"""What cameras get end to end, in stretches made for the purpose: boxes answered, not turns in a queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

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

from .simulator.outcome import Outcome
from .simulator.plan import MS, START_NS, ClientPlan, EnginePlan, FramePlan, ModelPlan, Name, Scenario
from .simulator.world import ALL_STEPS, World

NAME = Name(0)
MAX_BATCH, SLOTS, QUANTUM, AGING_NS = 8, 2, 8, 60 * MS
BATCH_NS, CROP_NS = 4 * MS, MS // 2  # a crop of a full batch costs what every crop is thought to cost at first
IN_HAND = 2 * MAX_BATCH * SLOTS  # running, and ready or being staged for the next batches, beside a last large frame
LONGEST_BATCH_NS = BATCH_NS * 5 // 4 + CROP_NS * MAX_BATCH


def a_camera(
    name: str,
    *,
    boxes: int,
    frames: int,
    interval_ns: int = 0,
    priority: Priority = Priority.NORMAL,
    policy: OverloadPolicy = OverloadPolicy.WAIT,
    window: int = 8,
) -> ClientPlan:
    """A camera whose frames are all alike. With an interval of 0 it has everything to send at once."""
    terms = SessionTerms(
        flow=Flow(client="client", camera_id=name),
        source="one for all",
        priority=priority,
        ordering=Ordering.IN_ORDER,
        overload_policy=policy,
        window=Window(frames=window, bytes=10**9),
        latency_budget_ns=None,
        models=frozenset(),
    )
    frame = FramePlan(
        frame_id=0,
        message_bytes=1,
        staged_bytes=1,
        answer_bytes=1,
        age_ns=0,
        staging_ns=MS // 2,
        declared_ns=0,
        crops=(NAME,) * boxes,
    )
    return ClientPlan(
        terms=terms,
        names=frozenset({NAME}),
        opens_ns=START_NS,
        interval_ns=interval_ns,
        read_ns=0,
        frames=tuple(replace(frame, frame_id=number) for number in range(frames)),
        floods=True,
    )


def run(*clients: ClientPlan) -> Outcome:
    """No faults, one model; every invariant is checked on the way."""
    limits = SchedulerLimits(
        staging_slots=4,
        cores=16,
        max_queue_boxes=1_000,
        max_queue_bytes=10**6,
        max_parked_bytes=10**6,
        max_staged_bytes=10**6,
        max_held_answer_bytes=10**6,
        heavy_boxes=1_000,
        heavy_staging_ns=10**9,
        slow_staging_ns=10**9,
        staging_timeout_ns=10**10,
        quantum_boxes=QUANTUM,
        max_source_turns=10**6,
        aging_ns=AGING_NS,
        high_at_once_ns=10**18,
        linger_ns=0,
        batch_timeout_ns=10**10,
        stall_timeout_ns=10**10,
    )
    terms = ModelTerms(name="osnet", max_batch=MAX_BATCH, slots=SLOTS, cores=1)
    model = ModelPlan(name=NAME, terms=terms, engine=EnginePlan(batch_ns=BATCH_NS, crop_ns=CROP_NS))
    scenario = Scenario(seed=1, limits=limits, models=(model,), clients=clients)
    outcome = World(scenario, trace_steps=ALL_STEPS).run()
    assert outcome.violation is None
    return outcome


def embedded(outcome: Outcome) -> list[tuple[int, int, int]]:
    """When, which client, how many boxes, in the order of the answers."""
    return [
        (step.at_ns, effect.payload.client.number, effect.payload.boxes)
        for step in outcome.trace
        for effect in step.effects
        if isinstance(effect, Answer) and effect.payload is not None and effect.fault is None
    ]


def test_a_greedy_camera_gets_no_more_than_the_others() -> None:
    """While all have frames waiting, boxes answered differ by a turn, the largest frames, and what is in hand."""
    small, large = 2, 16
    cameras = [a_camera(f"small{number}", boxes=small, frames=150) for number in range(5)]
    greedy = a_camera("greedy", boxes=large, frames=60)
    bound = QUANTUM + small + large + IN_HAND + large
    got: Counter[int] = Counter()
    for _, client, boxes in embedded(run(*cameras, greedy)):
        got[client] += boxes
        if any(got[number] > small * 140 for number in range(5)):
            break
        assert max(got.values()) - min(got[number] for number in range(6)) <= bound
    assert min(got.values()) > 2 * bound


def test_a_camera_of_low_priority_is_not_forgotten() -> None:
    """However much the others have, it gets a frame whenever it has waited for the aging time and its share is due.

    Its policy is to drop its oldest frame, so that what it has waiting is always younger than the aging time.
    """
    boxes = 4
    busy = [a_camera(f"busy{number}", boxes=boxes, frames=300, priority=Priority.HIGH) for number in range(4)]
    fresh = a_camera(
        "fresh",
        boxes=boxes,
        frames=100,
        interval_ns=10 * MS,
        priority=Priority.LOW,
        policy=OverloadPolicy.DROP_OLDEST,
        window=2,
    )
    answers = embedded(run(*busy, fresh))
    last = max(at_ns for at_ns, client, _ in answers if client < 4)
    times = [START_NS, *(at_ns for at_ns, client, _ in answers if client == 4 and at_ns < last)]
    batches = (8 * boxes + IN_HAND) // MAX_BATCH + 4  # its own share's turn twice over, frames and crops
    bound = AGING_NS + 2 * batches * LONGEST_BATCH_NS
    assert len(times) > 3
    assert max(after - before for before, after in pairwise(times)) <= bound
