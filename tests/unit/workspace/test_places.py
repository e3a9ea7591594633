"""The order of the tests names modules that are there."""

from __future__ import annotations

from pathlib import Path

from tests.support.places import APART, LONGEST, place_of, unit_of

ROOT = Path(__file__).parents[3]


def test_the_longest_modules_are_there() -> None:
    """One that was moved would begin last, and nobody would notice."""
    assert [module for module in LONGEST if not (ROOT / module).is_file()] == []


def test_a_long_module_begins_before_all_others() -> None:
    """By its module's place; only where nothing is shared is a test given out alone."""
    assert place_of(f"{LONGEST[0]}::test_a[x::y]") == 0
    assert place_of("tests/other.py::test_b") == len(LONGEST)
    assert unit_of(f"{APART[0]}::test_a[x]") == f"{APART[0]}::test_a[x]"
    assert unit_of("tests/other.py::TestC::test_d") == "tests/other.py"
