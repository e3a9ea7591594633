"""Boxes as callers hold them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import InvalidRequest, from_cxcywh, from_ltwh
from reidstream_client.frames.boxes import parse_boxes, parse_ids, parse_scores
from tests.unit.client.scripted_server import f32


class Found:
    """A detector's result."""

    xyxy = np.zeros((2, 4))


class Tensor:
    """Of a GPU."""

    def __array__(self, *_: object, **__: object) -> npt.NDArray[np.float32]:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_ltwh_and_centre_boxes_become_the_same_corners() -> None:
    """Two conventions of one rectangle; computed in double precision."""
    expected = f32([[10.1, 20.2, 40.4, 60.6]])
    np.testing.assert_array_equal(from_ltwh([[10.1, 20.2, 30.3, 40.4]]), expected)
    np.testing.assert_allclose(from_cxcywh([[25.25, 40.4, 30.3, 40.4]]), expected, rtol=1e-6)
    assert from_ltwh(np.zeros((0, 4))).shape == from_cxcywh([]).shape == (0, 4)


@pytest.mark.parametrize("empty", [[], np.zeros((0, 4)), np.zeros((0, 6)), np.array([])])
def test_no_boxes_are_no_boxes(empty: npt.ArrayLike) -> None:
    """Detectors give nothing in several shapes."""
    assert parse_boxes(empty).shape == (0, 4)


def test_wrong_values_are_left_to_the_server() -> None:
    """A box that is not finite gets its own outcome there."""
    boxes = parse_boxes(np.array([[np.nan, 0, np.inf, 1], [9, 9, 1, 1]]))
    assert np.isnan(boxes[0, 0])
    assert boxes.dtype == np.float32
    assert parse_boxes([[0, 0, 1e300, 1]])[0, 2] == np.inf


@pytest.mark.parametrize(
    ("boxes", "complaint"),
    [
        ([1, 2, 3, 4], r"shape \(4,\); one box is \[\[...\]\]"),
        (np.zeros((2, 5)), r"x1, y1, x2, y2, not shape \(2, 5\); give boxes\[:, :4\]"),
        (np.zeros((2, 6)), r"and the other columns by their names, such as scores=boxes\[:, 4\], class_ids=boxes"),
        (np.zeros((4, 9)), r"not shape \(4, 9\); give boxes\.T"),
        (np.zeros((1, 9, 4)), r"not shape \(1, 9, 4\); give boxes\[0\]"),
        (np.zeros((9, 2, 2)), r"give boxes\.reshape\(-1, 4\)"),
        (iter([[1, 2, 3, 4]]), r"not a list_iterator; give a list of them"),
        ("1,2,3,4", "not '1,2,3,4'"),
        (Found(), r"not a Found; give boxes\.xyxy"),
        (Tensor(), r"not a Tensor, which numpy cannot read: give boxes\.detach\(\)\.cpu\(\)\.numpy\(\) \(can't"),
        (np.zeros((1, 2, 4)), r"not shape \(1, 2, 4\)"),
        ([["a", "b", "c", "d"]], "not an array of <U1"),
        ([[1, 2, 3, 4], [1, 2]], "rows of different lengths"),
        (None, "not None"),
        ([[1, 2, 3, None]], r"not an array of objects \(is there a None among them\?\)"),
        ([[True, False, True, True]], "not an array of bool"),
    ],
)
def test_what_are_no_boxes_is_named(boxes: npt.ArrayLike, complaint: str) -> None:
    """Shape and dtype of what was given are in the message."""
    with pytest.raises(InvalidRequest, match=complaint):
        parse_boxes(boxes)


def test_ids_are_whole_numbers_of_their_range() -> None:
    """One per box; a list of none is as good as an array of none."""
    assert parse_ids(None, "class_ids", 2, 32) is None
    assert parse_ids(np.array([3, 2**32 - 1]), "class_ids", 2, 32) == [3, 2**32 - 1]
    assert parse_ids(np.array([2**64 - 1], np.uint64), "track_ids", 1, 64) == [2**64 - 1]
    assert parse_ids([], "class_ids", 0, 32) == []
    assert parse_ids(np.array([3.0, 0.0], np.float32), "class_ids", 2, 32) == [3, 0]
    assert parse_ids([2.0**63], "track_ids", 1, 64) == [2**63]
    with pytest.raises(InvalidRequest, match="class_ids must be integers, not float64, and some are not whole"):
        parse_ids([1.5], "class_ids", 1, 32)
    with pytest.raises(InvalidRequest, match="class_ids must be integers, not float64, and some are not whole"):
        parse_ids([math.nan], "class_ids", 1, 32)
    with pytest.raises(InvalidRequest, match="class_ids must be integers, not <U1; class_ids are numbers"):
        parse_ids(["3"], "class_ids", 1, 32)
    with pytest.raises(InvalidRequest, match="class_ids must lie in 0 to 4294967295, not -1 to 5; leave class_ids out"):
        parse_ids([5, -1], "class_ids", 2, 32)
    with pytest.raises(InvalidRequest, match=r"track_ids .*shape \(2,\), not \(2, 1\); give track_ids\.reshape\(-1\)"):
        parse_ids([[1], [2]], "track_ids", 2, 64)
    with pytest.raises(InvalidRequest, match=r"track_ids .*shape \(3,\), not \(2,\)"):
        parse_ids([1, 2], "track_ids", 3, 64)


def test_scores_are_numbers_one_per_box() -> None:
    """Integers are numbers, too."""
    assert parse_scores([1, 0], 2) == [1, 0]
    assert parse_scores(None, 2) is None
    with pytest.raises(InvalidRequest, match="scores must be numbers, not <U1"):
        parse_scores(["a"], 1)
    with pytest.raises(InvalidRequest, match=r"scores must have one entry per box, shape \(2,\), not \(1, 2\)"):
        parse_scores([[1, 2]], 2)
