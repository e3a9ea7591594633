"""The simulator finds faults: each of a list of small ones, planted in the core one at a time."""

from __future__ import annotations

import sys

import pytest

from reidstream_server import core

from .catalogue import MUTANTS
from .planting import CORE, Mutant, SnippetError, planted
from .simulator.run import run_seed

MOST_SEEDS = 200


def test_there_are_enough_of_them() -> None:
    """At least twenty, each of its own."""
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.module, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_found(mutant: Mutant) -> None:
    """It still applies to the source, exactly once, and some seed violates an invariant."""
    with planted(mutant) as run:
        found = any(run(seed).violation for seed in dict.fromkeys((mutant.found_by, *range(MOST_SEEDS))))
    assert found, f"{MOST_SEEDS} seeds did not find it"


def test_a_mutant_that_does_not_apply_is_an_error() -> None:
    """A snippet that is not there, or there twice, is no mutant."""
    for old in ("no such line", "self"):
        with pytest.raises(SnippetError), planted(Mutant(name="wrong", module="ledger", old=old, new="")):
            pass


def test_nothing_of_a_mutant_is_left_behind() -> None:
    """The modules are those from before, and the core is as it was."""
    before = {name: module for name, module in sys.modules.items() if name.startswith(CORE.room)}
    with planted(MUTANTS[0]) as run:
        assert run is not run_seed
        assert sys.modules[CORE.room] is not core
        assert run(0).violation is not None
    assert {name: module for name, module in sys.modules.items() if name.startswith(CORE.room)} == before
    assert sys.modules[CORE.room] is core
    assert run_seed(0).violation is None
