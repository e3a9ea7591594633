"""An inaccurate detector: repeatable, and wrong by as much as was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from reidstream_synthetic import DetectorNoise, Frame, detect

EXACT = DetectorNoise(jitter=0, miss_rate=0, false_positives=0, min_visibility=0)


def frame(number: int = 1, camera: str = "c1") -> Frame:
    """Forty people of 40 x 100 pixels, some of them hidden."""
    left = np.arange(40.0) * 30
    boxes = np.stack([left, left + 100, left + 40, left + 200], axis=1) % [1200, 400, 1200, 400] % 1200
    boxes[:, 2:] = boxes[:, :2] + (40, 100)
    return Frame(
        camera=camera,
        number=number,
        pixels=np.zeros((720, 1280, 3), np.uint8),
        people=np.arange(1, 41),
        boxes=boxes,
        visible_boxes=boxes,
        detector_boxes=boxes,
        visibility=np.linspace(0, 1, 40),
    )


def test_a_perfect_detector_finds_the_truth() -> None:
    """Without noise all boxes are there, none else, scores fall with visibility, and all lie within 0 to 1."""
    found = detect(frame(), EXACT)
    assert sorted(map(tuple, found.boxes.tolist())) == sorted(map(tuple, frame().boxes.tolist()))
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


def test_the_order_does_not_give_people_away() -> None:
    """The boxes of a frame do not come in the order of its people."""
    assert detect(frame(), EXACT).boxes.tolist() != frame().boxes.tolist()


def test_the_same_frame_is_detected_the_same_way() -> None:
    """Alone or among others; another frame, camera or seed is another draw."""
    noise = DetectorNoise(seed=3)
    once = detect(frame(9), noise)
    for number in range(1, 9):
        detect(frame(number), noise)
    np.testing.assert_array_equal(detect(frame(9), noise).boxes, once.boxes)
    others = (detect(frame(10), noise), detect(frame(9, "c2"), noise), detect(frame(9), DetectorNoise(seed=4)))
    assert all(other.boxes.tolist() != once.boxes.tolist() for other in others)


def test_misses_and_ghosts_come_as_often_as_asked() -> None:
    """Of 200 frames a fifth of the people is missed; two boxes a frame show nobody."""
    missing = DetectorNoise(jitter=0, miss_rate=0.2, false_positives=0, min_visibility=0)
    kept = sum(len(detect(frame(number), missing).boxes) for number in range(1, 201)) / (200 * 40)
    assert kept == pytest.approx(0.8, abs=0.02)
    ghosts = DetectorNoise(jitter=0, miss_rate=1.0, false_positives=2, min_visibility=0)
    shown = sum(len(detect(frame(number), ghosts).boxes) for number in range(1, 201)) / 200
    assert shown == pytest.approx(2.0, abs=0.3)


def test_jitter_moves_edges_by_a_share_of_the_box() -> None:
    """A tenth: 4 pixels across and 10 down, and no box leaves the picture."""
    moved = [detect(frame(n), DetectorNoise(jitter=0.1, miss_rate=0, false_positives=0)) for n in range(1, 101)]
    boxes = np.concatenate([one.boxes for one in moved])
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (1280, 720)).all()
    spread = (boxes[:, 2:] - boxes[:, :2]).std(axis=0)
    assert spread == pytest.approx(np.array([4, 10]) * 2**0.5, rel=0.2)


def test_who_is_hidden_is_not_found() -> None:
    """Below `min_visibility` there is no box."""
    found = detect(frame(), DetectorNoise(jitter=0, miss_rate=0, false_positives=0, min_visibility=0.5))
    assert len(found.boxes) == np.count_nonzero(frame().visibility >= 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jitter": -0.1}, "jitter -0.1 is not within 0 and 1"),
        ({"miss_rate": 1.5}, "miss_rate 1.5 is not within 0 and 1"),
        ({"min_visibility": float("nan")}, "min_visibility nan is not within"),
        ({"false_positives": -1}, "false_positives -1 is not within 0 and 1000"),
    ],
)
def test_impossible_noise_is_refused(arguments: dict[str, float], message: str) -> None:
    """The message names the value and its limits."""
    with pytest.raises(ValueError, match=message):
        DetectorNoise(**arguments)  # type: ignore[arg-type]
