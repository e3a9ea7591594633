"""Intervals that cover the truth as often as they say, and a test that seldom sees what is not there.

The truth is known here: identities are drawn from a population whose mean is known, each with queries that succeed or
fail together. Seeds are fixed, so nothing is left to chance when these tests run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import FileError
from reidstream_client.evaluation.metrics.intervals import intervals, student
from reidstream_client.evaluation.metrics.paired import compare

Doubles = npt.NDArray[np.float64]
Population = Callable[[np.random.Generator, int], tuple[npt.NDArray[np.int64], Doubles]]

RUNS = 2000


def good_model(draw: np.random.Generator, identities: int) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Average precisions near 1 for most, and poor for some; 1 to 6 queries an identity that resemble each other."""
    return _queries(draw, draw.beta(4, 1, identities), spread=8)


def poor_model(draw: np.random.Generator, identities: int) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Around a third."""
    return _queries(draw, draw.beta(2, 4, identities), spread=8)


def hits(draw: np.random.Generator, identities: int) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Rank-1 of a good model: a query is right or wrong, and nine in ten are right."""
    who, chance = _queries(draw, draw.beta(9, 1, identities), spread=50)
    return who, (draw.random(len(who)) < chance).astype(np.float64)


def _queries(draw: np.random.Generator, ease: Doubles, *, spread: float) -> tuple[npt.NDArray[np.int64], Doubles]:
    times = draw.integers(1, 7, len(ease))
    who = np.repeat(np.arange(len(ease)), times)
    mean = np.clip(ease[who], 1e-3, 1 - 1e-3)
    return who.astype(np.int64), draw.beta(mean * spread, (1 - mean) * spread)


@pytest.mark.parametrize(
    ("population", "truth"), [(good_model, 0.8), (poor_model, 1 / 3), (hits, 0.9)], ids=["good", "poor", "hits"]
)
@pytest.mark.parametrize("identities", [40, 150])
def test_intervals_cover_the_truth_as_often_as_they_say(population: Population, truth: float, identities: int) -> None:
    """95 of a hundred, give or take two, with few identities and with many."""
    draw = np.random.default_rng(identities)
    covered = 0
    for seed in range(RUNS):
        who, values = population(draw, identities)
        figure = intervals(who, {"mAP": values}, draws=400, seed=seed)["mAP"]
        assert figure.low is not None
        assert figure.high is not None
        covered += figure.low <= truth <= figure.high
    assert 0.93 <= covered / RUNS <= 0.97


@pytest.mark.parametrize("population", [good_model, hits], ids=["precision", "hits"])
def test_two_runs_of_one_model_are_seldom_told_apart(population: Population) -> None:
    """Not more than five times in a hundred: the second run has the same population, and other luck."""
    draw = np.random.default_rng(5)
    alarms = 0
    for seed in range(RUNS):
        who, first = population(draw, 80)
        swap = draw.random(80)[who] < 0.5
        noise = draw.normal(0, 0.05, len(who))
        other = (
            np.clip(first + noise, 0, 1)
            if population is good_model
            else np.where(draw.random(len(who)) < 0.05, 1 - first, first)
        )
        one, two = np.where(swap, other, first), np.where(swap, first, other)
        alarms += compare(who, {"mAP": one}, {"mAP": two}, draws=400, seed=seed)["mAP"].distinguishable
    assert alarms / RUNS <= 0.06


def test_a_difference_that_is_there_is_found() -> None:
    """With its sign, its interval and words; and the other way round."""
    draw = np.random.default_rng(1)
    who, values = good_model(draw, 100)
    worse = np.clip(values - 0.05 - draw.normal(0, 0.02, len(values)), 0, 1)
    found = compare(who, {"mAP": worse}, {"mAP": values})["mAP"]
    assert found.distinguishable
    assert found.words() == "the second is better"
    assert found.low is not None
    assert found.high is not None
    assert 0.03 < found.low < found.value < found.high < 0.07
    assert compare(who, {"mAP": values}, {"mAP": worse})["mAP"].words() == "the first is better"


def test_the_same_run_twice_is_not_distinguishable() -> None:
    """And neither are two that differ in one query."""
    who, values = hits(np.random.default_rng(2), 60)
    same = compare(who, {"rank-1": values}, {"rank-1": values})["rank-1"]
    assert (same.value, same.p, same.words()) == (0, 1, "not distinguishable")
    other = values.copy()
    other[0] = 1 - other[0]
    assert not compare(who, {"rank-1": values}, {"rank-1": other})["rank-1"].distinguishable


def test_a_figure_without_a_failure_has_an_interval_all_the_same() -> None:
    """The exact one of a share: of 58 identities without a failure, one in twenty... could fail and go unseen."""
    who = np.arange(58)
    perfect = intervals(who, {"rank-1": np.ones(58)})["rank-1"]
    assert perfect.value == perfect.high == 1
    assert perfect.low == pytest.approx(0.025 ** (1 / 58))
    hopeless = intervals(who, {"rank-1": np.zeros(58)})["rank-1"]
    assert hopeless.low == 0
    assert hopeless.high == pytest.approx(1 - 0.025 ** (1 / 58))


def test_one_identity_says_nothing_of_others() -> None:
    """No interval, and no test."""
    figure = intervals(np.zeros(5, np.int64), {"mAP": np.linspace(0, 1, 5)})["mAP"]
    assert (figure.value, figure.low, figure.high) == (0.5, None, None)
    alone = compare(np.zeros(5, np.int64), {"mAP": np.zeros(5)}, {"mAP": np.ones(5)})["mAP"]
    assert (alone.low, alone.high, alone.words()) == (None, None, "not distinguishable")


def test_queries_of_one_identity_count_as_one() -> None:
    """Each query ten times gives the interval of the identities, and not a third of it."""
    who, values = good_model(np.random.default_rng(3), 50)
    once = intervals(who, {"mAP": values})["mAP"]
    often = intervals(np.repeat(who, 10), {"mAP": np.repeat(values, 10)})["mAP"]
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize(
    ("freedom", "share", "quantile"),
    [
        (1, 0.975, 12.7062),
        (2, 0.975, 4.30265),
        (3, 0.975, 3.18245),
        (5, 0.975, 2.57058),
        (10, 0.95, 1.81246),
        (30, 0.975, 2.04227),
        (500, 0.975, 1.96472),
    ],
)
def test_students_quantiles(freedom: int, share: float, quantile: float) -> None:
    """Those of printed tables, to one in a hundred."""
    assert student(share, freedom) == pytest.approx(quantile, rel=0.01)
    assert student(1 - share, freedom) == pytest.approx(-quantile, rel=0.01)
    assert math.isclose(student(share, 10**9), student(share, 10**8), rel_tol=1e-6)


def test_other_figures_are_refused() -> None:
    """They would be compared by their place."""
    with pytest.raises(FileError, match="different figures: mAP, and mINP"):
        compare(np.arange(3), {"mAP": np.ones(3)}, {"mINP": np.ones(3)})
