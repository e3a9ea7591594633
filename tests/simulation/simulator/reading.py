"""How long reading takes in every third seed, and visitors: sources that come for one frame, leave and come back.

Why apart from the scenario: it was drawn before, and its draws must stay as they are. Trap: reading is paid for only
beyond what is free, 20 ms at once; so habits are bad enough for that, or nobody would ever pay.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from random import Random

from reidstream_server.core.terms import OverloadPolicy

from .plan import MS, START_NS, ClientPlan, EnginePlan, FramePlan, Scenario


class _Habit(Enum):
    """What a client's frames are like."""

    ORDINARY = "read as fast as most"
    SLOW = "read slowly, all of them"
    SOMETIMES = "a few are read slowly"
    EMPTY = "most have no boxes"


def with_reading(rng: Random, scenario: Scenario) -> Scenario:
    """The scenario with what reading its frames takes."""
    if scenario.seed % 3 != 1:
        return scenario
    clients = tuple(_reading(rng, client, rng.choice(list(_Habit))) for client in scenario.clients)
    visitors = [visit for number in range(rng.choice((0, 2, 3))) for visit in _visits(rng, number, clients)]
    scenario = replace(scenario, clients=(*clients, *visitors), remembered=rng.choice((1, 2, 1_024)))
    return _with_quick_engines(scenario) if rng.random() < 0.3 else scenario


def _with_quick_engines(scenario: Scenario) -> Scenario:
    """Frames that take longer to read than to embed."""
    quick = EnginePlan(batch_ns=MS // 20, crop_ns=MS // 50)
    return replace(scenario, models=tuple(replace(model, engine=quick) for model in scenario.models))


def _reading(rng: Random, client: ClientPlan, habit: _Habit) -> ClientPlan:
    return replace(client, frames=tuple(_frame(rng, frame, habit) for frame in client.frames))


def _frame(rng: Random, frame: FramePlan, habit: _Habit) -> FramePlan:
    quick = rng.randint(MS // 20, MS // 3)
    match habit:
        case _Habit.ORDINARY:
            return replace(frame, reading_ns=quick)
        case _Habit.SLOW:
            return replace(frame, reading_ns=rng.randint(MS, 8 * MS))
        case _Habit.SOMETIMES:
            return replace(frame, reading_ns=rng.randint(5, 30) * MS if rng.random() < 0.1 else quick)
        case _Habit.EMPTY:
            if rng.random() < 0.3:
                return replace(frame, reading_ns=quick)
            return replace(frame, reading_ns=rng.randint(quick, 4 * MS), crops=(), answer_bytes=0)


def _visits(rng: Random, number: int, clients: tuple[ClientPlan, ...]) -> list[ClientPlan]:
    """A source that opens a session for each of its frames. Some vanish before they are answered."""
    visits, like = [], rng.choice(clients)
    at, source = START_NS + rng.randint(0, 50) * MS, f"visitor {number}"
    for _ in range(rng.randint(4, 8)):
        frame = _frame(rng, rng.choice(like.frames), rng.choice((_Habit.SLOW, _Habit.SLOW, _Habit.EMPTY)))
        terms = replace(like.terms, source=source, overload_policy=rng.choice(list(OverloadPolicy)))
        vanishes = at + rng.randint(MS // 10, 6 * MS) if rng.random() < 0.4 else None
        visit = replace(like, terms=terms, opens_ns=at, interval_ns=0, read_ns=0, frames=(frame,), vanishes_ns=vanishes)
        visits.append(visit)
        at += rng.randint(2, 40) * MS
    return visits
