"""Runs seeds: the only entry that the command, the tests and the mutants use."""

from __future__ import annotations

from dataclasses import replace

from .books import Violation
from .outcome import Outcome
from .plan import Style
from .scenario import draw
from .world import World


def run_seed(seed: int) -> Outcome:
    """Let the seed's scenario happen. A calm one ends as it ends without cuts and drains: each track with the same
    numbers, to the bit, and each box with the same fate.
    """
    scenario = draw(seed)
    outcome = World(scenario).run()
    if scenario.style is not Style.CALM or not outcome.moves or outcome.violation is not None:
        return outcome
    unbroken = World(scenario.unbroken()).run()
    if unbroken.violation is not None:
        return unbroken
    for broken, whole in zip(outcome.verdicts, unbroken.verdicts, strict=True):
        if broken.fates != whole.fates:
            first = next(pair for pair in zip(broken.fates, whole.fates, strict=True) if pair[0] != pair[1])
            return replace(outcome, violation=Violation("as unbroken", f"fates {first[0]}, not {first[1]}"))
        if sorted(map(repr, broken.endings)) != sorted(map(repr, whole.endings)):
            odd = set(broken.endings) ^ set(whole.endings)
            return replace(outcome, violation=Violation("as unbroken", f"{len(odd)} endings differ: {list(odd)[:2]}"))
    return outcome
