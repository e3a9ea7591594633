"""From a seed to a scenario: at least 4 cameras, 200 frames and 3 kinds of faults.

Every dimension is drawn on its own, so that rare combinations (a greedy camera at low priority that drops its oldest,
in a queue that just fits two frames, while an engine dies) turn up by themselves. Trap: bounds are drawn after the
frames, because they have to admit the largest one.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from reidstream_server.core.terms import (
    Flow,
    ModelIndex,
    ModelTerms,
    Ordering,
    OverloadPolicy,
    Priority,
    SchedulerLimits,
    SessionTerms,
    Window,
)

from .plan import MS, BatchFate, ClientPlan, DrainPlan, EnginePlan, Fault, FramePlan, Scenario

START_NS = 1_000 * MS
BATCH_TIMEOUT_NS = 600 * MS

_WEIGHTS = {
    Fault.ENGINE_RAISES: 12,
    Fault.POISON: 12,
    Fault.ENGINE_LOST: 2,
    Fault.BATCH_NEVER_RETURNS: 2,
    Fault.BATCH_RETURNS_LATE: 2,
    Fault.BATCH_SLOW: 6,
    Fault.STAGING_FAILS: 10,
    Fault.STAGING_SLOW: 6,
    Fault.CROPS_UNDECODABLE: 10,
    Fault.DEVICE_LOST: 1,
    Fault.CLIENT_VANISHES: 10,
    Fault.CLIENT_STALLS: 5,
    Fault.CLIENT_SLOW: 8,
    Fault.CLIENT_FLOODS: 8,
    Fault.DRAIN_ONE: 8,
    Fault.DRAIN_ALL: 5,
}


def draw(seed: int) -> Scenario:
    """The scenario of a seed; the same one for ever."""
    rng = Random(seed)
    models = [
        ModelTerms(max_batch=rng.choice((1, 2, 4, 4, 8, 16)), slots=rng.choice((1, 2, 2, 3)))
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))
    ]
    engines = [EnginePlan(batch_ns=rng.randint(MS, 5 * MS), crop_ns=rng.randint(MS // 20, MS // 2)) for _ in models]
    routes = _routes(rng, len(models))
    clients = [_client(rng, number, routes) for number in range(rng.randint(4, 12))]
    _spread(rng, clients, _work_ns(clients, engines, models))
    scenario = Scenario(
        seed=seed,
        limits=_limits(rng, models, clients),
        engines=tuple(engines),
        clients=tuple(clients),
        timer_lag_ns=rng.choice((0, 0, 0, MS // 2, 3 * MS)),
        stops_when_engine_dies=rng.random() < 0.5,
    )
    kinds = list(_WEIGHTS)
    wanted = rng.randint(3, 7)
    chosen: list[Fault] = []
    while len(chosen) < wanted:
        kind = rng.choices(kinds, weights=list(_WEIGHTS.values()))[0]
        if kind not in chosen:
            chosen.append(kind)
            scenario = _with_fault(rng, scenario, kind)
    return replace(scenario, faults=tuple(chosen))


def _routes(rng: Random, models: int) -> list[tuple[ModelIndex, ...]]:
    """The sets of models that sessions use, some more often."""
    every = tuple(ModelIndex(index) for index in range(models))
    return [(rng.choice(every),), (rng.choice(every),), every]


def _client(rng: Random, number: int, routes: list[tuple[ModelIndex, ...]]) -> ClientPlan:
    """One camera, without its place in time."""
    greedy = rng.random() < 0.2
    most = rng.randint(12, 24) if greedy else rng.choice((1, 2, 3, 5, 8))
    count = rng.randint(52, 62) if greedy else rng.randint(50, 56) if number < 4 else rng.randint(4, 24)
    message = rng.randint(1_000, 8_000)
    route = rng.choice(routes)
    budget = rng.choice((None, None, rng.randint(5, 40) * MS, rng.randint(40, 200) * MS))
    heaviest = 2 * message
    window = Window(
        frames=rng.choice((1, 2, 3, 4, 8)),
        bytes=rng.choice((10**9, 10**9, heaviest * rng.randint(1, 3), message // 2)),
    )
    terms = SessionTerms(
        # Some sessions are of the same camera.
        flow=Flow(client=f"client{rng.randint(0, 1)}", camera_id=f"camera{number if rng.random() < 0.85 else 0}"),
        priority=rng.choice((Priority.LOW, Priority.NORMAL, Priority.NORMAL, Priority.HIGH)),
        ordering=rng.choice((Ordering.IN_ORDER, Ordering.IN_ORDER, Ordering.AS_COMPLETED)),
        overload_policy=rng.choice(list(OverloadPolicy)),
        window=window,
        latency_budget_ns=budget,
    )
    frames: list[FramePlan] = []
    frame_id = rng.choice((0, 1, 2**40))
    for _ in range(count):
        frames.append(_frame(rng, frame_id, message, most, route, greedy=greedy, budget=budget))
        chance = rng.random()
        frame_id += (
            0 if chance < 0.02 else -1 if chance < 0.03 and frame_id else 1 if chance < 0.9 else rng.randint(2, 9)
        )
    return ClientPlan(
        terms=terms,
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
    route: tuple[ModelIndex, ...],
    *,
    greedy: bool,
    budget: int | None,
) -> FramePlan:
    boxes = rng.randint(most // 2, most) if greedy else rng.randint(0, most)
    if rng.random() < 0.02:
        boxes *= 4
    crops = tuple(rng.choice(route) for _ in range(boxes)) if len(route) > 1 else route * boxes
    late = budget is not None and rng.random() < 0.03
    return FramePlan(
        frame_id=frame_id,
        message_bytes=rng.randint(message // 2, 2 * message),
        staged_bytes=message * rng.randint(2, 6),
        age_ns=budget + rng.randint(0, MS) if late and budget is not None else rng.randint(0, 8 * MS),
        crops=crops,
        staging_ns=rng.randint(MS // 10, 3 * MS),
        refused=rng.random() < 0.02,
    )


def _work_ns(clients: list[ClientPlan], engines: list[EnginePlan], models: list[ModelTerms]) -> int:
    """Roughly how long the busiest engine takes for everything."""
    crops = [0] * len(engines)
    for client in clients:
        for frame in client.frames:
            for model in frame.crops:
                crops[model] += 1
    return max(
        count * (engine.crop_ns + 2 * engine.batch_ns // (terms.max_batch + 1)) // terms.slots
        for count, engine, terms in zip(crops, engines, models, strict=True)
    )


def _spread(rng: Random, clients: list[ClientPlan], work_ns: int) -> None:
    """Give clients their place in time, so that the engines are offered `load` times what they can do."""
    load = rng.choice((0.4, 0.8, 1.2, 2.0, 5.0))
    stretch = int(work_ns / load)
    for index, client in enumerate(clients):
        opens = START_NS + rng.choice((0, 0, rng.randint(0, stretch // 2 + 1)))
        interval = stretch // len(client.frames) if client.interval_ns else 0
        clients[index] = replace(client, opens_ns=opens, interval_ns=interval)


def _limits(rng: Random, models: list[ModelTerms], clients: list[ClientPlan]) -> SchedulerLimits:
    """Bounds that just admit the largest frame, or are a few times as large."""
    frames = [frame for client in clients for frame in client.frames]
    boxes = max(max(len(frame.crops) for frame in frames), 1)
    message = max(frame.message_bytes for frame in frames)
    staged = max(frame.staged_bytes for frame in frames)
    return SchedulerLimits(
        models=tuple(models),
        staging_slots=rng.randint(1, 4),
        max_queue_boxes=boxes * rng.choice((2, 2, 3, 6, 20)),
        max_queue_bytes=message * rng.choice((2, 3, 6, 20)),
        max_staged_bytes=staged * rng.choice((1, 1, 2, 6, 20)),
        quantum_boxes=rng.choice((1, 2, 4, 8, 16)),
        aging_ns=rng.choice((10, 30, 100)) * MS,
        linger_ns=rng.choice((0, 0, 0, rng.randint(1, 8) * MS)),
        batch_timeout_ns=BATCH_TIMEOUT_NS,
        stall_timeout_ns=rng.randint(150, 400) * MS,
    )


def _with_fault(rng: Random, scenario: Scenario, kind: Fault) -> Scenario:
    match kind:
        case (
            Fault.ENGINE_RAISES
            | Fault.ENGINE_LOST
            | Fault.BATCH_NEVER_RETURNS
            | Fault.BATCH_RETURNS_LATE
            | Fault.BATCH_SLOW
        ):
            return _with_batch_fault(rng, scenario, kind)
        case Fault.POISON | Fault.STAGING_FAILS | Fault.STAGING_SLOW | Fault.CROPS_UNDECODABLE:
            return _with_frame_faults(rng, scenario, kind)
        case Fault.CLIENT_VANISHES | Fault.CLIENT_STALLS | Fault.CLIENT_SLOW | Fault.CLIENT_FLOODS:
            return _with_client_fault(rng, scenario, kind)
        case Fault.DEVICE_LOST:
            return replace(scenario, device_lost_at=rng.randint(30, 150))
        case Fault.DRAIN_ONE | Fault.DRAIN_ALL:
            client = rng.randrange(len(scenario.clients)) if kind is Fault.DRAIN_ONE else None
            at = START_NS + (rng.randint(0, _last_capture(scenario)) if client is not None else _late(rng, scenario))
            allowed = rng.choice((0, rng.randint(1, 20) * MS, 300 * MS))
            drain = DrainPlan(at_ns=at, client=client, allowed_ns=allowed)
            return replace(scenario, drains=(*scenario.drains, drain))


def _last_capture(scenario: Scenario) -> int:
    return max(client.opens_ns - START_NS + client.interval_ns * len(client.frames) for client in scenario.clients)


def _late(rng: Random, scenario: Scenario) -> int:
    last = _last_capture(scenario)
    return rng.randint(last // 2, last)


def _with_batch_fault(rng: Random, scenario: Scenario, kind: Fault) -> Scenario:
    fates = {
        Fault.ENGINE_RAISES: BatchFate.RAISES,
        Fault.ENGINE_LOST: BatchFate.LOSES_ENGINE,
        Fault.BATCH_NEVER_RETURNS: BatchFate.NEVER_RETURNS,
        Fault.BATCH_RETURNS_LATE: BatchFate.RETURNS_LATE,
        Fault.BATCH_SLOW: BatchFate.SLOW,
    }
    fate = fates[kind]
    fatal = fate not in (BatchFate.RAISES, BatchFate.SLOW)
    numbers = [rng.randint(20, 120)] if fatal else [rng.randint(0, 100) for _ in range(rng.randint(1, 6))]
    engines = list(scenario.engines)
    index = rng.randrange(len(engines))
    engines[index] = replace(engines[index], fates=engines[index].fates | dict.fromkeys(numbers, fate))
    return replace(scenario, engines=tuple(engines))


def _with_frame_faults(rng: Random, scenario: Scenario, kind: Fault) -> Scenario:
    clients = list(scenario.clients)
    for _ in range(rng.randint(2, 8)):
        index = rng.randrange(len(clients))
        frames = list(clients[index].frames)
        place = rng.randrange(len(frames))
        frame = frames[place]
        boxes = len(frame.crops)
        some = frozenset(rng.sample(range(boxes), rng.choice((1, min(boxes, 2), boxes)))) if boxes else frozenset()
        match kind:
            case Fault.POISON:
                frame = replace(frame, poison=some)
            case Fault.STAGING_FAILS:
                frame = replace(frame, staging_fails=True)
            case Fault.STAGING_SLOW:
                frame = replace(frame, staging_ns=rng.randint(20, 200) * MS)
            case _:
                frame = replace(frame, undecodable=some)
        frames[place] = frame
        clients[index] = replace(clients[index], frames=tuple(frames))
    return replace(scenario, clients=tuple(clients))


def _with_client_fault(rng: Random, scenario: Scenario, kind: Fault) -> Scenario:
    clients = list(scenario.clients)
    for index in rng.sample(range(len(clients)), rng.randint(1, 3)):
        client = clients[index]
        match kind:
            case Fault.CLIENT_VANISHES:
                last = client.interval_ns * len(client.frames) + 30 * MS
                client = replace(client, vanishes_ns=client.opens_ns + rng.randint(0, last))
            case Fault.CLIENT_STALLS:
                client = replace(client, stalls_after=rng.randint(0, 20))
            case Fault.CLIENT_SLOW:
                client = replace(client, read_ns=rng.randint(10, 80) * MS)
            case _:
                client = replace(client, floods=True)
        clients[index] = client
    return replace(scenario, clients=tuple(clients))
