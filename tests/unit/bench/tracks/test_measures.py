"""The measures of track memory on cases that are worked out by hand."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trackeval.metrics import Identity

from bench.tracks.assignment import assign
from bench.tracks.figure import Curve, figure
from bench.tracks.idf1 import Identities, boxes_of, identities, iou
from bench.tracks.quality import eer, spearman
from bench.tracks.vectors import Rows

HERE, THERE = (0.0, 0.0, 10.0, 20.0), (100.0, 0.0, 110.0, 20.0)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**31))
def test_the_assignment_is_the_best_of_all(rows: int, columns: int, seed: int) -> None:
    """Against every permutation, with many equal costs."""
    cost = np.random.default_rng(seed).integers(-3, 4, (rows, columns)).astype(float)
    found = assign(cost)
    assert len({row for row, _ in found}) == len({column for _, column in found}) == min(rows, columns)
    wide = cost if rows <= columns else cost.T
    best = min(
        sum(wide[i, j] for i, j in enumerate(order))
        for order in itertools.permutations(range(wide.shape[1]), len(wide))
    )
    assert sum(cost[pair] for pair in found) == best


def test_nobody_is_assigned_to_nobody() -> None:
    assert assign(np.zeros((0, 3))) == assign(np.zeros((3, 0))) == []


def test_idf1_counts_the_frames_with_the_right_identity() -> None:
    """One person in ten frames, whom the tracker calls 7 in six of them and 8 in three: IDF1 = 2 x 6 / (10 + 9)."""
    truth = [{1: HERE}] * 10
    given_boxes = [*[{7: HERE}] * 6, *[{8: HERE}] * 3, {}]
    assert identities(truth, given_boxes) == Identities(matching=6, true=10, given=9)
    assert identities(truth, given_boxes).idf1 == pytest.approx(12 / 19)


def test_two_people_who_are_swapped_keep_the_longer_part() -> None:
    """Six frames right, four swapped: 2 x 12 / 40. A box that overlaps too little matches nobody."""
    truth = [{1: HERE, 2: THERE}] * 10
    given_boxes = [*[{1: HERE, 2: THERE}] * 6, *[{1: THERE, 2: HERE}] * 4]
    assert identities(truth, given_boxes).idf1 == pytest.approx(12 / 20)
    aside = (6.0, 0.0, 16.0, 20.0)
    assert identities([{1: HERE}], [{1: aside}]).idf1 == 0.0


def test_clips_are_pooled_by_their_boxes() -> None:
    """A long clip counts more than a short one."""
    pooled = Identities.pooled(
        [Identities(matching=90, true=100, given=100), Identities(matching=0, true=10, given=10)]
    )
    assert pooled.idf1 == pytest.approx(180 / 220)


def rows(*angles: float) -> Rows:
    """Unit rows by their angle in degrees."""
    turned = np.radians(angles)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def test_the_equal_error_rate_is_where_both_errors_meet() -> None:
    """Nobody is confused: 0. All crops look like the other person's: nearly 1. One of three does: between."""
    people = np.array([1, 1, 2, 2])
    assert eer(rows(0, 10, 80, 90), people) == 0.0
    assert eer(rows(0, 90, 1, 91), people) > 0.8
    assert 0.2 < eer(rows(0, 2, 88, 90, 91, 1), np.array([1, 1, 1, 2, 2, 2])) < 0.6


def test_rank_correlation_knows_order_only() -> None:
    """Any rising function is 1, a falling one -1, and equal values share their ranks."""
    values = np.array([0.1, 0.2, 0.5, 0.9])
    assert spearman(values, values**3) == pytest.approx(1.0)
    assert spearman(values, -values) == pytest.approx(-1.0)
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(0.866, abs=1e-3)
    assert spearman(values, np.ones(4)) == 0.0


def test_the_figure_has_every_point_of_every_curve() -> None:
    """And is well-formed, with names that a reader sees."""
    curves = [Curve(name="a & b", points=[(0.02, 0.5), (1.0, 0.9)]), Curve(name="other", points=[(0.3, 0.7)])]
    drawn = ET.fromstring(figure("title", curves))  # noqa: S314 - our own
    names = [element.tag.rpartition("}")[2] for element in drawn.iter()]
    assert names.count("circle") == 3
    assert "a & b" in [element.text for element in drawn.iter()]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_idf1_is_that_of_trackeval(seed: int) -> None:
    """On people who wander, are missed, and change their names."""
    rng = np.random.default_rng(seed)
    truth, given_boxes = [], []
    for _ in range(12):
        boxes = {int(name): (x, 0.0, x + 10.0, 20.0) for name, x in enumerate(rng.uniform(0, 60, 4))}
        truth.append({name: box for name, box in boxes.items() if rng.random() < 0.8})
        moved = {name: (x1 + float(rng.uniform(-4, 4)), y1, x2, y2) for name, (x1, y1, x2, y2) in boxes.items()}
        given_boxes.append({name + int(rng.integers(3)) * 10: box for name, box in moved.items() if rng.random() < 0.8})
    sequence = {
        "num_gt_ids": 4,
        "num_tracker_ids": 24,
        "num_gt_dets": sum(map(len, truth)),
        "num_tracker_dets": sum(map(len, given_boxes)),
        "gt_ids": [np.array(list(frame), int) for frame in truth],
        "tracker_ids": [np.array(list(frame), int) for frame in given_boxes],
        "similarity_scores": [iou(boxes_of(a), boxes_of(b)) for a, b in zip(truth, given_boxes, strict=True)],
    }
    theirs = Identity({"PRINT_CONFIG": False}).eval_sequence(sequence)
    mine = identities(truth, given_boxes)
    assert mine.matching == theirs["IDTP"]
    assert mine.idf1 == pytest.approx(float(theirs["IDF1"]))
