"""The scheduler under seeded cameras, engines, decoders and faults: every invariant, at every event."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from .planting import Mutant, planted
from .simulator.books import Violation
from .simulator.report import Total, describe_failure, trace_lines
from .simulator.run import run_seed
from .simulator.scenario import draw
from .simulator.world import ALL_STEPS

SEEDS = 80
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def total() -> Total:
    """Every seed, run."""
    total = Total()
    for seed in range(SEEDS):
        outcome = run_seed(seed)
        if outcome.violation is not None:
            pytest.fail(describe_failure(outcome), pytrace=False)
        total.add(outcome)
    return total


def test_every_invariant_holds(total: Total) -> None:
    """At every event of every seed; a seed that fails is reported with the command that replays it."""
    assert total.seeds == SEEDS
    assert total.checks > 10_000 * SEEDS


def test_every_situation_occurs(total: Total) -> None:
    """Each kind of fault and each action of a policy: an invariant about what never happens would hold for ever."""
    assert [situation.value for situation in total.never_seen()] == []


def test_a_seed_is_large_enough() -> None:
    """At least 4 cameras, 200 frames and 3 kinds of faults each."""
    for seed in range(SEEDS):
        scenario = draw(seed)
        assert len({client.terms.flow for client in scenario.clients}) >= 4, seed
        assert scenario.frames >= 200, seed
        assert len(set(scenario.faults)) >= 3, seed


@pytest.mark.parametrize("seed", [0, 3])
def test_a_seed_replays_exactly(seed: int) -> None:
    """Event for event, in another process with other hashes too; with models that come and go, and without."""
    trace = "\n".join(line for step in run_seed(seed, trace_steps=ALL_STEPS).trace for line in trace_lines(step))
    assert ("Retired" in trace) is (seed == 0)
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--trace"]
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    replayed = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert replayed.stdout.startswith(trace + "\n")


def test_a_failure_says_how_to_see_it_again() -> None:
    """With the invariant, the command, and the last events."""
    outcome = replace(run_seed(5), violation=Violation("order", "frame 2 before frame 1"))
    report = describe_failure(outcome)
    assert "seed 5: order: frame 2 before frame 1" in report
    assert "python -m tests.simulation --seed 5 --trace" in report
    assert report.count(" ms  ") == len(outcome.trace) == 40


def test_a_crash_of_the_core_is_a_failure() -> None:
    """Whatever it raises is caught, and the seed with it."""
    crash = Mutant(
        name="crash", module="ledger", old="        session = frame.session\n", new="        raise KeyError(1)\n"
    )
    with planted(crash) as run:
        violation = run(0).violation
    assert violation is not None
    assert str(violation) == "crash: KeyError(1)"
