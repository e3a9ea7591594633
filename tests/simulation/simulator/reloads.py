"""Models that come and go in a scenario: new ones take the place of old ones, and sessions open on both.

Why apart, with a random generator of its own: so a seed's cameras, bounds and faults are the same with and without.

    the newer model comes -> the older one retires, in the middle of something -> sessions open on the newer one

Traps: a model with many sessions is gone only when nearly everything is over. So some models come just before, get few
sessions, which may vanish, and retire again. And whatever a model waits for until it retires must be able to happen: an
engine that never fails has no crops that must run alone.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from reidstream_server.core.terms import Flow, ModelTerms

from .misfortune import last_capture_ns, vanishing
from .plan import MS, START_NS, BatchFate, ClientPlan, DrainPlan, EnginePlan, ModelPlan, Moment, Name, Scenario, Use

_CHANCE = 0.6
_MOST_FRAMES = 24


def with_reloads(rng: Random, scenario: Scenario) -> Scenario:
    """The scenario, in most cases with models that come and go."""
    if rng.random() >= _CHANCE:
        return scenario
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = START_NS + rng.randint(0, last_capture_ns(scenario))
        name = rng.choice(scenario.models).name
        match rng.choice(("replaced", "replaced", "visitor", "visitor", "taken away")):
            case "replaced":
                scenario = _replaced(rng, scenario, name, at)
                scenario = _with_sessions(rng, scenario, name, at, rng.randint(1, 3))
            case "visitor":  # it comes, gets a session or none, and goes
                scenario = _replaced(rng, scenario, name, at)
                scenario = _with_sessions(rng, scenario, name, at, rng.choice((0, 1, 1, 1)), fleeting=True)
                scenario = _replaced(rng, scenario, name, at + rng.randint(4, 30) * MS, soon=rng.random() < 0.6)
            case _:
                scenario = _retired(rng, scenario, name, at)
    return scenario


def _replaced(rng: Random, scenario: Scenario, name: Name, at: int, *, soon: bool = False) -> Scenario:
    """A newer model of the name comes, and the newest so far retires, at once or a little later. `soon`: whatever it
    is in the middle of.
    """
    terms = ModelTerms(
        name=f"model-{name}",
        max_batch=rng.choice((1, 2, 4, 8)),
        slots=rng.choice((1, 2, 3)),
        cores=rng.choice((0, 1, 1, 2)),
    )
    engine = EnginePlan(batch_ns=rng.randint(MS, 5 * MS), crop_ns=rng.randint(MS // 20, MS // 2))
    scenario = _retired(rng, scenario, name, at + rng.choice((0, 0, rng.randint(0, 30) * MS)), soon=soon)
    newer = ModelPlan(name=name, terms=terms, engine=engine, comes_ns=at)
    return replace(scenario, models=(*scenario.models, newer))


def _retired(rng: Random, scenario: Scenario, name: Name, at: int, *, soon: bool = False) -> Scenario:
    """The newest model of the name retires, in the middle of something."""
    models = list(scenario.models)
    place = max(place for place, model in enumerate(models) if model.name == name)
    if models[place].retires_ns is not None:
        return scenario
    use = None if soon else rng.choice((None, *Use, *(Use.LINGERING,) * (6 if scenario.limits.linger_ns else 0)))
    fate = {Use.ISOLATING: BatchFate.RAISES, Use.LOST: rng.choice((BatchFate.LOSES_ENGINE, BatchFate.NEVER_RETURNS))}
    engine = models[place].engine
    if use in fate and (use is Use.ISOLATING or rng.random() < 0.3):
        numbers = [rng.randint(0, 60)] if use is Use.LOST else range(rng.randint(0, 20), 100, 3)
        engine = replace(engine, fates=dict.fromkeys(numbers, fate[use]) | engine.fates)
    models[place] = replace(models[place], engine=engine, retires_ns=at, retires_when=use)
    # A batch that never returns keeps its frames' pixels, so nothing else may fit until the service ends.
    stops = scenario.stops_when_engine_dies or BatchFate.NEVER_RETURNS in engine.fates.values()
    scenario = replace(scenario, models=tuple(models), stops_when_engine_dies=stops)
    if use is Use.DRAINING:
        drain = DrainPlan(at_ns=at, client=rng.randrange(len(scenario.clients)), allowed_ns=300 * MS)
        scenario = replace(scenario, drains=(*scenario.drains, drain))
    return scenario


def _with_sessions(
    rng: Random, scenario: Scenario, name: Name, at: int, count: int, *, fleeting: bool = False
) -> Scenario:
    """Cameras that open one more session, or new ones, soon after the newer model has come. `fleeting`: most vanish."""
    users = [client for client in scenario.clients if name in client.names] or list(scenario.clients)
    clients = list(scenario.clients)
    for _ in range(count):
        client = _shorter(rng, rng.choice(users))
        if rng.random() < 0.5:
            flow = Flow(client="client", camera_id=f"camera{len(clients)}")
            client = replace(client, terms=replace(client.terms, flow=flow))
        client = replace(client, opens_ns=at + rng.randint(0, 3 if fleeting else 20) * MS, vanishes_ns=None)
        if fleeting and rng.random() < 0.7:
            when = rng.choice((None, None, *(Moment.STAGING,) * 4, Moment.RUNNING, *Moment))
            at_last = client.opens_ns + rng.randint(20, 200) * MS if when is None else None
            client = replace(client, vanishes_when=when, vanishes_after=rng.randint(0, 20), vanishes_ns=at_last)
        elif rng.random() < 0.3:
            client = vanishing(rng, client)
        clients.append(client)
    return replace(scenario, clients=tuple(clients))


def _shorter(rng: Random, client: ClientPlan) -> ClientPlan:
    return replace(client, frames=client.frames[: rng.randint(4, _MOST_FRAMES)])
