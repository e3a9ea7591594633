"""From a seed to a scenario: at least 4 cameras, 200 frames and 3 kinds of faults.

Every dimension is drawn on its own, so that rare combinations come by themselves: a greedy camera at low priority that
drops its oldest frame, in a queue that just fits two, while an engine dies. Trap: bounds are drawn after the frames,
because the largest frame must fit.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from random import Random

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

from .costs import weighed
from .crowds import crowded
from .misfortune import with_faults
from .plan import MS, START_NS, ClientPlan, EnginePlan, FramePlan, ModelPlan, Name, Scenario
from .reading import with_reading
from .reloads import with_reloads

BATCH_TIMEOUT_NS = 600 * MS


class _Style(Enum):
    """What a seed is about. HUGE: some frames are much larger than all others, and so are the bounds."""

    MIXED = "mixed"
    HUGE = "huge"
    CONTEST = "cameras of mostly one priority, far too many frames, one engine"


def draw(seed: int) -> Scenario:
    """The scenario of a seed; the same one for ever."""
    rng = Random(seed)  # noqa: S311 - it must be repeatable
    machine = Random(f"machine {seed}")  # noqa: S311
    style = rng.choice((_Style.MIXED, _Style.MIXED, _Style.HUGE, _Style.CONTEST))
    terms = [
        ModelTerms(
            name=f"model-{number}",
            max_batch=rng.choice((1, 2, 4, 4, 8, 16)),
            slots=rng.choice((1, 2, 2, 3)),
            cores=machine.choice((0, 1, 1, 1, 2)),
        )
        for number in range(1 if style is _Style.CONTEST else rng.choice((1, 1, 2, 2, 3)))
    ]
    engines = [EnginePlan(batch_ns=rng.randint(MS, 5 * MS), crop_ns=rng.randint(MS // 20, MS // 2)) for _ in terms]
    models = tuple(
        ModelPlan(name=Name(number), terms=its, engine=engine)
        for number, (its, engine) in enumerate(zip(terms, engines, strict=True))
    )
    routes = _routes(rng, len(models))
    clients = [_client(rng, number, routes, style) for number in range(rng.randint(4, 12))]
    load = 5.0 if style is _Style.CONTEST else rng.choice((0.4, 0.8, 1.2, 2.0, 5.0))
    _spread(rng, clients, int(_work_ns(clients, models) / load))
    scenario = Scenario(
        seed=seed,
        limits=_limits(rng, clients, cores=machine.choice((1, 1, 2, 3, 4, 8))),
        models=models,
        clients=tuple(clients),
        timer_lag_ns=rng.choice((0, 0, 0, MS // 2, 3 * MS)),
        stops_when_engine_dies=rng.random() < 0.5,
    )
    scenario = weighed(Random(f"costs {seed}"), scenario)  # noqa: S311
    scenario = with_reading(Random(f"reading {seed}"), scenario)  # noqa: S311
    scenario = with_faults(rng, scenario, rng.randint(3, 7))
    scenario = with_reloads(Random(f"models {seed}"), scenario)  # noqa: S311
    return crowded(Random(f"crowds {seed}"), scenario)  # noqa: S311


def _routes(rng: Random, models: int) -> list[tuple[Name, ...]]:
    """The sets of models that sessions use, some more often."""
    every = tuple(Name(number) for number in range(models))
    return [(rng.choice(every),), (rng.choice(every),), every]


def _client(rng: Random, number: int, routes: list[tuple[Name, ...]], style: _Style) -> ClientPlan:
    """One session of a camera, without its place in time."""
    greedy = rng.random() < 0.2
    most = rng.randint(12, 24) if greedy else rng.choice((1, 2, 3, 5, 8))
    count = rng.randint(52, 62) if greedy else rng.randint(50, 56) if number < 4 else rng.randint(4, 24)
    message = rng.randint(1, 8) * 1_000  # round numbers: sums that just fit are where mistakes are
    route = rng.choice(routes)
    budget = rng.choice((None, rng.randint(8, 40) * MS, rng.randint(30, 200) * MS))
    contest = style is _Style.CONTEST
    heaviest = 2 * message
    window = Window(
        frames=rng.choice((1, 1, 8, 8) if contest else (1, 2, 3, 4, 8)),
        bytes=10**9 if contest else rng.choice((10**9, 10**9, heaviest * rng.randint(1, 3), message // 2)),
    )
    terms = SessionTerms(
        flow=Flow(client="client", camera_id=f"camera{number if number < 4 or rng.random() < 0.7 else number % 4}"),
        source="one for all",
        priority=rng.choice(
            (
                Priority.NORMAL,
                Priority.NORMAL,
                Priority.NORMAL,
                Priority.NORMAL if contest else Priority.HIGH,
                Priority.LOW,
            )
        ),
        ordering=rng.choice((Ordering.IN_ORDER, Ordering.IN_ORDER, Ordering.AS_COMPLETED)),
        overload_policy=rng.choice((*OverloadPolicy, OverloadPolicy.DROP_OLDEST) if contest else list(OverloadPolicy)),
        window=window,
        latency_budget_ns=None if contest else budget,
        models=frozenset(),
    )
    frames: list[FramePlan] = []
    frame_id = rng.choice((0, 1, 2**40))
    for _ in range(count):
        frames.append(_frame(rng, frame_id, message, most, route, style=style, greedy=greedy, budget=budget))
        chance = rng.random()
        frame_id += (
            0 if chance < 0.02 else -1 if chance < 0.03 and frame_id else 1 if chance < 0.9 else rng.randint(2, 9)
        )
    return ClientPlan(
        terms=terms,
        names=frozenset(route),
        opens_ns=0,
        interval_ns=0 if greedy else 1,
        read_ns=rng.choice((0, MS // 10, MS, 4 * MS)),
        frames=tuple(frames),
        floods=rng.random() < 0.15,
        leaves_on_drain=rng.random() < 0.8,
    )


def _frame(
    rng: Random,
    frame_id: int,
    message: int,
    most: int,
    route: tuple[Name, ...],
    *,
    style: _Style,
    greedy: bool,
    budget: int | None,
) -> FramePlan:
    boxes = rng.randint(most // 2, most) if greedy else rng.randint(rng.random() < 0.95, most)
    if style is _Style.HUGE and rng.random() < 0.02:
        boxes *= 4
    crops = tuple(rng.choice(route) for _ in range(boxes)) if len(route) > 1 else route * boxes
    late = budget is not None and rng.random() < 0.03
    return FramePlan(
        frame_id=frame_id,
        message_bytes=message // 2 * rng.randint(1, 4),
        staged_bytes=message * rng.randint(2, 6),
        answer_bytes=4 * boxes,
        age_ns=budget + rng.randint(0, MS) if late and budget is not None else rng.randint(0, 8 * MS),
        crops=crops,
        staging_ns=rng.randint(MS // 10, 3 * MS),
        declared_ns=0,
        refused=rng.random() < 0.02,
    )


def _work_ns(clients: list[ClientPlan], models: tuple[ModelPlan, ...]) -> int:
    """Roughly how long the busiest engine takes for everything."""
    crops = [0] * len(models)
    for client in clients:
        for frame in client.frames:
            for name in frame.crops:
                crops[name] += 1
    return max(
        count * (model.engine.crop_ns + 2 * model.engine.batch_ns // (model.terms.max_batch + 1)) // model.terms.slots
        for count, model in zip(crops, models, strict=True)
    )


def _spread(rng: Random, clients: list[ClientPlan], stretch: int) -> None:
    """Give clients their place in time, so that all is captured within a stretch of it."""
    for index, client in enumerate(clients):
        opens = START_NS + rng.choice((0, 0, rng.randint(0, stretch // 2 + 1)))
        interval = stretch // len(client.frames) if client.interval_ns else 0
        clients[index] = replace(client, opens_ns=opens, interval_ns=interval)


def _limits(rng: Random, clients: list[ClientPlan], *, cores: int) -> SchedulerLimits:
    """Bounds that just admit the largest frame, or are a few times as large."""
    frames = [frame for client in clients for frame in client.frames]
    boxes = max(len(frame.crops) for frame in frames)
    message = max(frame.message_bytes for frame in frames)
    staged = max(frame.staged_bytes for frame in frames)
    return SchedulerLimits(
        staging_slots=rng.randint(1, 4),
        cores=cores,
        max_queue_boxes=boxes * rng.choice((2, 2, 3, 6, 20)),
        max_queue_bytes=message * rng.choice((2, 3, 6, 20)),
        max_parked_bytes=10**9,
        max_staged_bytes=staged * rng.choice((1, 2, 3, 6, 20)),
        max_held_answer_bytes=10**9,
        heavy_boxes=10**6,
        heavy_staging_ns=10**12,
        slow_staging_ns=10**12,
        staging_timeout_ns=2 * 10**12,
        quantum_boxes=rng.choice((1, 2, 4, 8, 16)),
        max_source_turns=10**6,
        aging_ns=rng.choice((10, 30, 100)) * MS,
        high_at_once_ns=10**18,
        linger_ns=rng.choice((0, 0, 0, rng.randint(1, 8) * MS)),
        batch_timeout_ns=BATCH_TIMEOUT_NS,
        stall_timeout_ns=rng.randint(150, 400) * MS,
    )
