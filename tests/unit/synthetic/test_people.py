"""People: dressed differently, walking on the ground, painted where they are foretold to be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reidstream_synthetic.painting.brush import Canvas, Light
from reidstream_synthetic.painting.optics import View
from reidstream_synthetic.people.cast import MAX_PEOPLE, cast, look
from reidstream_synthetic.people.figure import paint_person, silhouette
from reidstream_synthetic.people.gait import Joint, Stance, pose

VIEW = View(width=320, height=400, height_m=2.5, pitch=0.15, focal=700)
LIGHT = Light(direction=(-0.6, 0.5, 0.62), ambient=0.6, diffuse=0.5)


def empty_canvas() -> Canvas:
    return Canvas(pixels=np.zeros((400, 320, 3), np.uint8), owner=np.zeros((400, 320), np.uint16))


def test_another_seed_is_another_crowd() -> None:
    """Nobody of one seed's cast is in another's."""
    assert not set(cast(0, 30)) & set(cast(1, 30))


def test_the_first_ten_share_no_top() -> None:
    """No two of them wear the same top, nor the same hat, trousers and luggage together."""
    for seed in range(5):
        people = cast(seed)
        assert len(people) == 10
        assert len({person.top.colour for person in people}) == 10
        assert len({(person.hat_colour, person.bottom.colour, person.luggage_colour) for person in people}) == 10


def test_no_two_people_of_the_largest_cast_look_the_same() -> None:
    """A thousand people: top and trousers together tell each from all others."""
    people = cast(3, MAX_PEOPLE)
    assert len(people) == MAX_PEOPLE == len({look(person) for person in people})


def test_a_larger_cast_begins_with_the_smaller_one() -> None:
    """Person i is the same whoever comes after."""
    assert cast(5, 40)[:3] == cast(5, 3)
    assert cast(5, 40)[:25] == cast(5, 25)


def test_somebody_in_front_takes_pixels_from_somebody_behind() -> None:
    """The same person on the same spot has fewer pixels once another one stands nearer on the same line of sight."""
    behind, front = cast(0)[:2]
    canvas = empty_canvas()
    paint_person(canvas, 1, behind, Stance(x=0, z=8, heading=math.pi, walked=0), view=VIEW, light=LIGHT)
    alone = np.count_nonzero(canvas.owner == 1)
    paint_person(canvas, 2, front, Stance(x=0, z=7, heading=math.pi, walked=0), view=VIEW, light=LIGHT)
    assert 0 < np.count_nonzero(canvas.owner == 1) < alone


@pytest.mark.parametrize("heading", [0.0, math.pi / 2, math.pi, -2.5])
def test_the_silhouette_holds_what_is_painted(heading: float) -> None:
    """From every side, all of a person's pixels lie in (or within twelve pixels of) the extent foretold for it."""
    for index, person in enumerate(cast(2, 14)):
        canvas = empty_canvas()
        stance = Stance(x=0, z=7.5, heading=heading, walked=0.2 * index)
        paint_person(canvas, 1, person, stance, view=VIEW, light=LIGHT)
        ys, xs = np.nonzero(canvas.owner)
        x1, y1, x2, y2 = silhouette(person, stance, VIEW)
        assert len(xs) > 1000
        assert x1 - 12 <= xs.min()
        assert xs.max() <= x2 + 12
        assert y1 - 12 <= ys.min()
        assert ys.max() <= y2 + 12


def test_a_walker_stands_on_the_ground() -> None:
    """At every moment of the walk a foot is on the ground, no joint is below it, and the head is where a head is."""
    person = cast(0)[0]
    for walked in np.linspace(0, 3, 50):
        joints = pose(person, Stance(x=1, z=9, heading=0.7, walked=float(walked)))
        feet = joints[[Joint.ANKLE_L, Joint.ANKLE_R, Joint.TOE_L, Joint.TOE_R], 1]
        assert 0 < feet.min() < 0.04 * person.height_m
        assert joints[:, 1].min() == feet.min()
        assert joints[:, 1].argmax() == Joint.HEAD
        assert joints[Joint.HEAD, 1] == pytest.approx(0.93 * person.height_m, rel=0.05)


def test_a_walker_leans_where_it_is_heading() -> None:
    """Toes point along the heading: 0 away from the camera, pi/2 to its right."""
    person = cast(0)[0]
    for heading, direction in ((0.0, (0, 1)), (math.pi / 2, (1, 0)), (math.pi, (0, -1))):
        joints = pose(person, Stance(x=0, z=9, heading=heading, walked=0))
        foot = joints[Joint.TOE_L] - joints[Joint.ANKLE_L]
        assert foot[0] * direction[0] + foot[2] * direction[1] > 0.1


def test_the_ground_under_a_pixel_projects_onto_it() -> None:
    """`ground` is the inverse of `project` below the horizon, and infinite above it."""
    x, z = VIEW.ground()
    row, column = 300, 40
    point = np.array([x[row, column], 0, z[row, column]], np.float32)
    pixel, _ = VIEW.project(point)
    np.testing.assert_allclose(pixel, [column + 0.5, row + 0.5], atol=1e-2)
    assert np.isinf(z[0]).all()
