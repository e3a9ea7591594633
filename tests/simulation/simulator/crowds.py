"""Sources with more cameras than turns, and such that ask for high priority all the time.

Why apart from the scenario: it was drawn before there were such bounds, and its draws must stay as they are. Two of
three seeds are without, so that the other rules are seen without them.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from reidstream_server.core.terms import Priority

from .plan import MS, ClientPlan, Scenario


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
    return replace(scenario, limits=limits, clients=clients)


def _crowded(rng: Random, client: ClientPlan, important: float) -> ClientPlan:
    source = "crowd" if rng.random() < 0.6 else f"other {rng.randrange(3)}"
    priority = Priority.HIGH if rng.random() < important else Priority.NORMAL
    return replace(client, terms=replace(client.terms, source=source, priority=priority))
