"""Sources with more cameras than turns, and such that ask for high priority all the time.

Why apart from the scenario: it was drawn before there were such bounds, and its draws must stay as they are. Two of
three seeds are without, so that the other rules are seen without them. In half of the others all cameras have
something waiting for most of the time: only then they can be compared.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from reidstream_server.core.terms import OverloadPolicy, Priority, Window

from .plan import MS, ClientPlan, Scenario

PLENTY = 10**9


def crowded(rng: Random, scenario: Scenario) -> Scenario:
    """The scenario with a source that has most of the cameras."""
    if scenario.seed % 3 != 1:
        return scenario
    important = rng.choice((0.0, 0.5, 0.8))
    limits = replace(
        scenario.limits,
        max_source_turns=rng.choice((1, 1, 2, 3)),
        high_at_once_ns=rng.choice((2, 10, 40)) * MS if important else 10**18,
    )
    clients = tuple(_crowded(rng, client, important) for client in scenario.clients)
    if scenario.seed % 2:
        limits = replace(limits, quantum_boxes=rng.choice((1, 1, 2, 4)), max_queue_boxes=PLENTY, max_queue_bytes=PLENTY)
        clients = tuple(_busy(client) for client in clients)
    return replace(scenario, limits=limits, clients=clients)


def _crowded(rng: Random, client: ClientPlan, important: float) -> ClientPlan:
    source = "crowd" if rng.random() < 0.6 else f"other {rng.randrange(3)}"
    priority = Priority.HIGH if rng.random() < important else Priority.NORMAL
    return replace(client, terms=replace(client.terms, source=source, priority=priority))


def _busy(client: ClientPlan) -> ClientPlan:
    """The client, but it has everything to send at once, and nothing of it is dropped or refused."""
    terms = replace(
        client.terms,
        overload_policy=OverloadPolicy.WAIT,
        window=Window(frames=8, bytes=PLENTY),
        latency_budget_ns=None,
    )
    frames = tuple(replace(frame, refused=False, reading_ns=0) for frame in client.frames)
    return replace(client, terms=terms, frames=frames, interval_ns=0, read_ns=0)
