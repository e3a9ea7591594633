"""Rank-1 and mAP on rankings that are worked out by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from bench.accuracy.data import first_against_later
from bench.accuracy.retrieval import Flags, Floats, random_average_precision, retrieval


def floats(*rows: tuple[float, ...]) -> Floats:
    return np.array(rows, np.float32)


def flags(*rows: tuple[int, ...]) -> Flags:
    return np.array(rows, np.bool_)


def test_right_answers_at_ranks_one_and_three() -> None:
    """Precision there is 1/1 and 2/3: the average precision is 5/6, and the first rank is right."""
    found = retrieval("", floats((0.9, 0.8, 0.7, 0.1)), flags((1, 0, 1, 0)), flags((1, 1, 1, 1)))
    assert found.rank1 == 1.0
    assert found.mean_ap == pytest.approx(5 / 6)


def test_queries_are_averaged() -> None:
    """One query is right at once, another at rank two: rank-1 is 1/2, mAP (1 + 1/2) / 2."""
    found = retrieval("", floats((0.9, 0.1), (0.9, 0.1)), flags((1, 0), (0, 1)), flags((1, 1), (1, 1)))
    assert (found.queries, found.gallery) == (2, 2)
    assert found.rank1 == 0.5
    assert found.mean_ap == pytest.approx(0.75)


def test_what_a_query_may_not_find_is_not_in_its_ranking() -> None:
    """The nearest answers are its own camera's: without them the third is the first, and the gallery has two."""
    similarity, same = floats((1.0, 0.95, 0.9, 0.2)), flags((1, 0, 1, 0))
    found = retrieval("", similarity, same, flags((0, 0, 1, 1)))
    assert (found.rank1, found.mean_ap, found.gallery) == (1.0, 1.0, 2)
    assert found.rank1_chance == pytest.approx(0.5)


def test_of_equal_answers_the_first_in_the_gallery_ranks_first() -> None:
    """So that a model without any opinion gets no better figures by luck of the sort."""
    same = floats((0.5, 0.5, 0.5))
    assert retrieval("", same, flags((0, 0, 1)), flags((1, 1, 1))).rank1 == 0.0
    assert retrieval("", same, flags((1, 0, 0)), flags((1, 1, 1))).rank1 == 1.0


@pytest.mark.parametrize(("candidates", "hits"), [(5, 2), (4, 1), (4, 3), (3, 3)])
def test_chance_is_the_mean_over_all_rankings(candidates: int, hits: int) -> None:
    """The closed form equals the mean average precision of every order of the gallery."""
    similarity = floats(tuple(range(candidates, 0, -1)))
    right = (1,) * hits + (0,) * (candidates - hits)
    everything = flags((1,) * candidates)
    scored = [retrieval("", similarity, flags(order), everything).mean_ap for order in permutations(right)]
    assert random_average_precision(candidates, hits) == pytest.approx(np.mean(scored))
    assert retrieval("", similarity, flags(right), everything).mean_ap_chance == pytest.approx(np.mean(scored))


def test_the_first_crop_of_everybody_with_several_is_a_query() -> None:
    """Who has a single crop is in the gallery only."""
    split = first_against_later(["ann", "bob", "ann", "carl", "bob", "ann"])
    assert split.queries.tolist() == [0, 1]
    assert split.gallery.tolist() == [2, 3, 4, 5]
    assert split.same.tolist() == [[True, False, False, True], [False, False, True, False]]
