"""What the frames of a scenario cost and are thought to cost, who pays for them, and the bounds of that.

Why apart from the scenario: it was drawn before costs were, and its draws must stay as they are. Every second seed is
without heavy frames and refusals that cost anything, and every fourth without all of this, so that the other rules are
seen without them.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .plan import MS, ClientPlan, FramePlan, Scenario


def weighed(rng: Random, scenario: Scenario) -> Scenario:
    """The scenario with estimates of its stagings, sources, and bounds of both."""
    if scenario.seed % 4 == 3:
        return scenario
    sources = [f"source {number}" for number in range(rng.choice((1, 2, 3, 12)))]
    costly = rng.random() < 0.5
    told = rng.choice((0.0, 1.0, 1.0))
    clients = tuple(_weighed(rng, client, rng.choice(sources), told=told, costly=costly) for client in scenario.clients)
    frames = [frame for client in clients for frame in client.frames]
    message, answer = max(frame.message_bytes for frame in frames), max(frame.answer_bytes for frame in frames)
    most = max(len(frame.crops) for frame in frames)
    limits = replace(
        scenario.limits,
        max_parked_bytes=message * rng.choice((2, 3, 6, 10**6)),
        max_held_answer_bytes=answer * rng.choice((2, 4, 8, 10**6)),
        heavy_boxes=rng.choice((most // 2, 10**6)) if costly else 10**6,
        heavy_staging_ns=rng.choice((2 * MS, 3 * MS, 10**12)) if costly else 10**12,
        slow_staging_ns=rng.randint(10, 60) * MS,
        staging_timeout_ns=rng.randint(150, 300) * MS,
    )
    return replace(scenario, clients=clients, limits=limits)


def _weighed(rng: Random, client: ClientPlan, source: str, *, told: float, costly: bool) -> ClientPlan:
    frames = tuple(_frame(rng, frame, told=told, costly=costly) for frame in client.frames)
    return replace(client, terms=replace(client.terms, source=source), frames=frames)


def _frame(rng: Random, frame: FramePlan, *, told: float, costly: bool) -> FramePlan:
    declared = int(frame.staging_ns * told * rng.uniform(0.5, 2.0))
    reading = rng.choice((MS // 20, MS // 4, 3 * MS)) if costly else 0
    return replace(frame, declared_ns=declared, reading_ns=reading)
