"""Faults for a scenario, drawn like everything else.

Trap: what ends things early (an engine lost, everybody drained) is rare and comes late. Otherwise most seeds would have
little left to check.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .plan import MS, START_NS, BatchFate, ClientPlan, DrainPlan, Fault, Moment, Scenario

_WEIGHTS = {
    Fault.ENGINE_RAISES: 14,
    Fault.POISON: 14,
    Fault.ENGINE_LOST: 4,
    Fault.BATCH_NEVER_RETURNS: 3,
    Fault.BATCH_RETURNS_LATE: 4,
    Fault.BATCH_SLOW: 6,
    Fault.STAGING_FAILS: 10,
    Fault.STAGING_SLOW: 6,
    Fault.STAGING_HANGS: 8,
    Fault.STAGING_UNTOLD: 5,
    Fault.CROPS_UNDECODABLE: 10,
    Fault.DEVICE_LOST: 3,
    Fault.CLIENT_VANISHES: 10,
    Fault.CLIENT_STALLS: 5,
    Fault.CLIENT_SLOW: 8,
    Fault.CLIENT_FLOODS: 8,
    Fault.DRAIN_ONE: 8,
    Fault.DRAIN_ALL: 6,
}


def with_faults(rng: Random, scenario: Scenario, count: int) -> Scenario:
    """The scenario with so many kinds of faults in it."""
    chosen: list[Fault] = []
    while len(chosen) < count:
        kind = rng.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))[0]
        if kind not in chosen:
            chosen.append(kind)
            scenario = _with_fault(rng, scenario, kind)
    return replace(scenario, faults=tuple(chosen))


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
        case (
            Fault.POISON
            | Fault.STAGING_FAILS
            | Fault.STAGING_SLOW
            | Fault.STAGING_HANGS
            | Fault.STAGING_UNTOLD
            | Fault.CROPS_UNDECODABLE
        ):
            return _with_frame_faults(rng, scenario, kind)
        case Fault.CLIENT_VANISHES | Fault.CLIENT_STALLS | Fault.CLIENT_SLOW | Fault.CLIENT_FLOODS:
            return _with_client_fault(rng, scenario, kind)
        case Fault.DEVICE_LOST:
            return replace(scenario, device_lost_at=rng.randint(30, 150))
        case Fault.DRAIN_ONE | Fault.DRAIN_ALL:
            client = rng.randrange(len(scenario.clients)) if kind is Fault.DRAIN_ONE else None
            at = START_NS + (rng.randint(0, last_capture_ns(scenario)) if client is not None else _late(rng, scenario))
            allowed = rng.choice((0, rng.randint(1, 20) * MS, 300 * MS))
            drains = [DrainPlan(at_ns=at, client=client, allowed_ns=allowed)]
            if client is None and rng.random() < 0.5:  # one of them was asked to leave before, with more time
                early = at - rng.randint(0, 20) * MS
                drains.append(DrainPlan(at_ns=early, client=rng.randrange(len(scenario.clients)), allowed_ns=500 * MS))
            return replace(scenario, drains=(*scenario.drains, *drains))


def last_capture_ns(scenario: Scenario) -> int:
    """When the last frame is captured, from the start."""
    return max(client.opens_ns - START_NS + client.interval_ns * len(client.frames) for client in scenario.clients)


def _late(rng: Random, scenario: Scenario) -> int:
    last = last_capture_ns(scenario)
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
    numbers = [rng.randint(20, 120)] if fatal else [rng.randint(0, 100) for _ in range(rng.randint(2, 12))]
    models = list(scenario.models)
    index = rng.randrange(len(models))
    engine = models[index].engine
    engine = replace(engine, fates=engine.fates | dict.fromkeys(numbers, fate))
    models[index] = replace(models[index], engine=engine)
    # A batch that never returns keeps its frames' pixels, so nothing else may fit until the service ends.
    stops = scenario.stops_when_engine_dies or fate is BatchFate.NEVER_RETURNS
    return replace(scenario, models=tuple(models), stops_when_engine_dies=stops)


def _with_frame_faults(rng: Random, scenario: Scenario, kind: Fault) -> Scenario:
    clients = list(scenario.clients)
    without_end = kind is Fault.STAGING_HANGS and rng.random() < 0.5
    for _ in range(300 if without_end else rng.randint(4, 12)):
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
            case Fault.STAGING_HANGS:
                timeout = scenario.limits.staging_timeout_ns
                longer = 20 * timeout if without_end else rng.randint(-50, 300) * MS
                frame = replace(frame, staging_ns=timeout + longer)
            case Fault.STAGING_UNTOLD:
                slow = scenario.limits.slow_staging_ns
                frame = replace(frame, staging_ns=slow + rng.randint(-2, 40) * MS, declared_ns=rng.randint(1, MS))
            case _:
                frame = replace(frame, undecodable=some)
        frames[place] = frame
        clients[index] = replace(clients[index], frames=tuple(frames))
    limits = scenario.limits
    if without_end:  # there is memory for many of them, or it would be full before too many decoders are lost
        limits = replace(limits, max_staged_bytes=20 * limits.max_staged_bytes, staging_slots=rng.choice((1, 1, 2)))
    return replace(scenario, clients=tuple(clients), limits=limits)


def _with_client_fault(rng: Random, scenario: Scenario, kind: Fault) -> Scenario:
    clients = list(scenario.clients)
    for index in rng.sample(range(len(clients)), rng.randint(1, 3)):
        client = clients[index]
        match kind:
            case Fault.CLIENT_VANISHES:
                client = vanishing(rng, client)
            case Fault.CLIENT_STALLS:
                client = replace(client, stalls_after=rng.randint(0, 20))
            case Fault.CLIENT_SLOW:
                client = replace(client, read_ns=rng.randint(10, 80) * MS)
            case _:
                client = replace(client, floods=True)
        clients[index] = client
    return replace(scenario, clients=tuple(clients))


def vanishing(rng: Random, client: ClientPlan) -> ClientPlan:
    """The client, but it vanishes at some time, or when a frame of its own has come so far."""
    if rng.random() < 0.6:
        moment = rng.choice(list(Moment))
        if moment is Moment.ISOLATING:
            poison = frozenset({0})
            frames = tuple(replace(frame, poison=poison) if len(frame.crops) > 1 else frame for frame in client.frames)
            client = replace(client, frames=frames)
        return replace(client, vanishes_when=moment, vanishes_after=rng.randint(0, 20))
    last = client.interval_ns * len(client.frames) + 30 * MS
    return replace(client, vanishes_ns=client.opens_ns + rng.randint(0, last))
