"""Sightings: who overlaps whom, who hides whom, and what a crop is worth by that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_server.tracks.sighting import Rect, geometry, sighting, single

WIDTH, HEIGHT = 400.0, 300.0

edges = st.floats(-200, 600, width=32)
rects = st.tuples(edges, edges, edges, edges)


def there(rect: Rect) -> bool:
    return all(math.isfinite(edge) for edge in rect) and area(rect) > 0 and area(in_picture(rect)) > 0


def area(rect: Rect) -> float:
    return max(0.0, rect[2] - rect[0]) * max(0.0, rect[3] - rect[1])


def seen_area(rect: Rect) -> float:
    return area(in_picture(rect))


def common(one: Rect, other: Rect) -> float:
    """In the picture."""
    return seen_area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def in_picture(rect: Rect) -> Rect:
    return (
        min(max(rect[0], 0.0), WIDTH),
        min(max(rect[1], 0.0), HEIGHT),
        min(max(rect[2], 0.0), WIDTH),
        min(max(rect[3], 0.0), HEIGHT),
    )


def overlap_of(index: int, boxes: list[Rect]) -> float:
    """The same, box by box."""
    one = boxes[index]
    others = [other for j, other in enumerate(boxes) if j != index and there(other)]
    if not there(one) or not others:
        return 0.0
    return max(common(one, other) / (seen_area(one) + seen_area(other) - common(one, other)) for other in others)


def hidden_of(index: int, boxes: list[Rect]) -> float:
    """The same, box by box."""
    one = boxes[index]
    if not there(one):
        return 0.0
    seen = 1.0
    for other in boxes:
        if there(other) and (other[3] > one[3] or (other[3] == one[3] and area(other) > area(one))):
            seen *= 1 - common(one, other) / seen_area(one)
    return 1 - seen


@settings(deadline=None)
@given(st.lists(rects, max_size=8))
def test_all_boxes_at_once_give_what_each_gives_alone(boxes: list[Rect]) -> None:
    """The formulas of the module's docstring, said a second time with loops."""
    found = geometry(boxes, width=WIDTH, height=HEIGHT)
    assert found.overlap == pytest.approx([overlap_of(i, boxes) for i in range(len(boxes))], abs=1e-9)
    assert found.hidden == pytest.approx([hidden_of(i, boxes) for i in range(len(boxes))], abs=1e-9)
    assert ((found.overlap >= 0) & (found.overlap <= 1) & (found.hidden >= 0) & (found.hidden <= 1)).all()


@settings(deadline=None)
@given(
    st.lists(st.tuples(edges, edges, st.floats(1, 300, width=32), st.floats(1, 300, width=32)), max_size=6), st.data()
)
def test_the_order_of_the_boxes_does_not_matter(places: list[Rect], data: st.DataObject) -> None:
    """A detector lists its boxes as it likes."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in places]).reshape(-1, 4)
    order = np.array(data.draw(st.permutations(range(len(boxes)))), int)
    straight = geometry(boxes, width=WIDTH, height=HEIGHT)
    mixed = geometry(boxes[order], width=WIDTH, height=HEIGHT)
    assert mixed.overlap == pytest.approx(straight.overlap[order])
    assert mixed.hidden == pytest.approx(straight.hidden[order])


def test_the_lower_box_hides_the_other_one() -> None:
    """The camera looks down on the floor: whose feet are lower in the picture is nearer."""
    back, front = (0.0, 0.0, 100.0, 200.0), (50.0, 50.0, 150.0, 250.0)
    found = geometry([back, front], width=WIDTH, height=HEIGHT)
    assert found.hidden.tolist() == [pytest.approx(50 * 150 / (100 * 200)), 0.0]
    assert found.overlap == pytest.approx([7500 / 32500] * 2)


def test_of_two_people_cut_off_by_the_picture_the_larger_one_is_in_front() -> None:
    """Both boxes end at the picture's edge, so their feet say nothing."""
    small, large = (100.0, 200.0, 150.0, 300.0), (120.0, 100.0, 220.0, 300.0)
    found = geometry([small, large], width=WIDTH, height=HEIGHT)
    assert found.hidden.tolist() == [pytest.approx(0.6), 0.0]


def test_a_box_that_was_found_twice_hides_neither_copy() -> None:
    """Nobody can say which one is in front; but the overlap tells that something is wrong."""
    found = geometry([(10, 10, 60, 110)] * 2, width=WIDTH, height=HEIGHT)
    assert found.hidden.tolist() == [0.0, 0.0]
    assert found.overlap.tolist() == [1.0, 1.0]


def test_only_the_part_in_the_picture_can_be_hidden() -> None:
    """Half of a person is outside; what is left of him is wholly hidden, so nothing of him is seen."""
    half_outside, front = (-50.0, 100.0, 50.0, 200.0), (0.0, 90.0, 60.0, 210.0)
    found = geometry([half_outside, front], width=WIDTH, height=HEIGHT)
    assert found.hidden[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "absent",
    [
        (math.nan, 0, 10, 10),
        (0, 0, math.inf, 10),
        (0, -math.inf, 10, 10),
        (10, 0, 10, 10),
        (0, 20, 10, 10),
        (-30, 0, -5, 250),
        (0, 300, 100, 400),
    ],
)
def test_a_box_that_is_none_counts_as_absent(absent: Rect) -> None:
    """Its outcome is INVALID_BOX; the others are seen as without it."""
    others = [(0.0, 0.0, 100.0, 200.0), (50.0, 50.0, 150.0, 250.0)]
    alone, beside = (geometry(boxes, width=WIDTH, height=HEIGHT) for boxes in (others, [others[0], absent, others[1]]))
    assert beside.overlap.tolist() == [alone.overlap[0], 0.0, alone.overlap[1]]
    assert beside.hidden.tolist() == [alone.hidden[0], 0.0, alone.hidden[1]]


def test_many_boxes_are_compared_in_parts_and_give_the_same() -> None:
    """More boxes than are looked at together; two neighbours in a row overlap, in whichever part they are."""
    boxes = [(30.0 * i, 0.0, 30.0 * i + 40, 100.0 + i) for i in range(300)]
    found = geometry(boxes, width=10_000, height=HEIGHT)
    for index in (0, 126, 127, 128, 129, 255, 256, 299):
        near = [(30.0 * i, 0.0, 30.0 * i + 40, 100.0 + i) for i in range(max(0, index - 1), min(300, index + 2))]
        place = min(index, 1)
        alone = geometry(near, width=10_000, height=HEIGHT)
        assert found.overlap[index] == alone.overlap[place]
        assert found.hidden[index] == alone.hidden[place]
    assert (found.overlap > 0).all()


def test_no_box_and_one_box_are_nothing_special() -> None:
    """An empty frame has nobody to hide."""
    assert geometry([], width=WIDTH, height=HEIGHT).overlap.shape == (0,)
    alone = geometry([(0, 0, 10, 10)], width=WIDTH, height=HEIGHT)
    assert (alone.overlap.tolist(), alone.hidden.tolist()) == ([0.0], [0.0])


def test_a_sighting_has_the_numbers_that_a_snapshot_has() -> None:
    """Another server goes on with numbers that were floats of 32 bits; so these are, from the start."""
    seen = sighting(7, (0.1, 0.2, 100.3, 1e39), crop_quality=0.9, overlap=0.25, hidden=1 / 3)
    numbers = np.array([*seen.rect, seen.quality])
    assert np.isfinite(numbers).all()
    assert (numbers == numbers.astype(np.float32)).all()
    assert seen.quality == pytest.approx(0.6)
    assert single(seen.quality) == seen.quality
