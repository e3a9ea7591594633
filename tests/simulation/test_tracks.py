"""The memory of tracks under seeded clients, faults, cuts, drains and bounds; and its simulator finds faults."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.planting import Mutant, planted

from .tracks.catalogue import MUTANTS
from .tracks.simulator.outcome import Outcome
from .tracks.simulator.plan import Style
from .tracks.simulator.run import run_seed

SEEDS = 150
MOST_SEEDS = 400


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Every seed, run."""
    found = []
    for seed in range(SEEDS):
        outcome = run_seed(seed)
        if outcome.violation is not None:
            pytest.fail(
                f"seed {seed}: {outcome.violation}\nreplay: python -m tests.simulation.tracks --seed {seed}",
                pytrace=False,
            )
        found.append(outcome)
    return found


def test_every_invariant_holds(outcomes: list[Outcome]) -> None:
    """At every step of every seed."""
    assert sum(outcome.checks for outcome in outcomes) > 50 * SEEDS


def test_every_situation_occurs(outcomes: list[Outcome]) -> None:
    """An invariant about what never happens would hold for ever."""
    fates = Counter(
        fate for outcome in outcomes for one in outcome.verdicts for _, boxes in one.fates for fate in boxes
    )
    assert set(fates) == {"embedded", "cached", "failed", "source lost"}
    assert set().union(*(outcome.causes for outcome in outcomes)) == {
        *("client", "timeout", "session", "evicted", "model_changed"),
    }
    for style in Style:
        ran = [outcome for outcome in outcomes if outcome.scenario.style is style]
        assert sum(outcome.moves for outcome in ran) > 10, style
        assert len(ran) > 10, style


def test_there_are_enough_mutants() -> None:
    """At least 25, each of its own."""
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.module, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_found(mutant: Mutant) -> None:
    """Some seed violates an invariant."""
    with planted(mutant) as run:
        found = any(run(seed).violation for seed in dict.fromkeys((mutant.found_by, *range(MOST_SEEDS))))
    assert found, f"{MOST_SEEDS} seeds did not find it"
