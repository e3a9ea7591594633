"""What the two cameras deliver: reproducible frames, boxes that fit them, people who hide each other."""

from __future__ import annotations

import math
from itertools import islice

import cv2
import numpy as np
import pytest

from demo.clips import Clip, number_tracks
from demo.drawing.brush import Canvas, Light
from demo.drawing.cameras import cameras
from demo.drawing.figure import paint_person, silhouette
from demo.drawing.gait import Joint, Stance, pose
from demo.drawing.optics import View
from demo.drawing.places import HEIGHT, WIDTH
from demo.drawing.shots import MIN_HEIGHT, MIN_VISIBLE, Shot, shots
from demo.drawing.wardrobe import PEOPLE, cast

VIEW = View(width=320, height=400, height_m=2.5, pitch=0.15, focal=700)
LIGHT = Light(direction=(-0.6, 0.5, 0.62), ambient=0.6, diffuse=0.5)


def test_the_same_seed_draws_the_same_bytes(clips: tuple[Clip, Clip]) -> None:
    """Both cameras repeat themselves exactly: pixels, boxes and truth."""
    for camera, clip in zip(cameras(0), clips, strict=True):
        for again, before in zip(islice(shots(camera, cast(0), len(clip.shots)), 2), clip.shots, strict=False):
            assert again.jpeg == before.jpeg
            np.testing.assert_array_equal(again.boxes, before.boxes)
            assert again.people == before.people
            assert again.visible == before.visible


def test_another_seed_is_another_crowd() -> None:
    """Nobody of one seed's cast is in another's, and the ways are dealt anew."""
    assert not set(cast(0)) & set(cast(1))
    assert [camera.ways for camera in cameras(0)] != [camera.ways for camera in cameras(1)]


def test_ten_people_are_dressed_differently() -> None:
    """No two people of a cast wear the same top, nor the same hat, trousers and luggage together."""
    for seed in range(5):
        people = cast(seed)
        assert len(people) == PEOPLE
        assert len({person.top.colour for person in people}) == PEOPLE
        assert len({(person.hat_colour, person.bottom.colour, person.luggage_colour) for person in people}) == PEOPLE


def test_frames_are_jpegs_of_the_promised_size(clips: tuple[Clip, Clip]) -> None:
    """Every frame decodes to 1280 x 720 colour pixels, and the frames of a clip differ."""
    for clip in clips:
        for shot in clip.shots:
            decoded = cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert decoded is not None
            assert decoded.shape == (HEIGHT, WIDTH, 3)
        assert len({shot.jpeg for shot in clip.shots}) == len(clip.shots)


def test_boxes_lie_in_the_frame_and_hold_somebody(clips: tuple[Clip, Clip]) -> None:
    """Boxes are finite, ordered, inside the frame, tall enough, and each person has at most one."""
    for clip in clips:
        for shot in clip.shots:
            assert len(shot.boxes) == len(shot.people) == len(shot.visible) == len(set(shot.people))
            x1, y1, x2, y2 = shot.boxes.T
            assert (x1 >= 0).all()
            assert (y1 >= 0).all()
            assert (x2 <= WIDTH).all()
            assert (y2 <= HEIGHT).all()
            assert (x2 - x1 >= 1).all()
            assert (y2 - y1 >= MIN_HEIGHT).all()
            assert all(MIN_VISIBLE <= share <= 1 for share in shot.visible)


def test_people_are_partly_hidden(clips: tuple[Clip, Clip]) -> None:
    """In both cameras some boxes show somebody whole and some a person behind something."""
    for clip in clips:
        shares = [share for shot in clip.shots for share in shot.visible]
        assert max(shares) > 0.97
        assert min(shares) < 0.75


def test_somebody_in_front_takes_pixels_from_somebody_behind() -> None:
    """The same person on the same spot has fewer pixels once another one stands nearer on the same line of sight."""
    behind, front = cast(0)[:2]
    canvas = Canvas(pixels=np.zeros((400, 320, 3), np.uint8), owner=np.zeros((400, 320), np.uint8))
    paint_person(canvas, 1, behind, Stance(x=0, z=8, heading=math.pi, walked=0), view=VIEW, light=LIGHT)
    alone = np.count_nonzero(canvas.owner == 1)
    paint_person(canvas, 2, front, Stance(x=0, z=7, heading=math.pi, walked=0), view=VIEW, light=LIGHT)
    assert 0 < np.count_nonzero(canvas.owner == 1) < alone


@pytest.mark.parametrize("heading", [0.0, math.pi / 2, math.pi, -2.5])
def test_the_silhouette_holds_what_is_painted(heading: float) -> None:
    """From every side, all of a person's pixels lie in (or within twelve pixels of) the extent foretold for it."""
    for index, person in enumerate(cast(2)):
        canvas = Canvas(pixels=np.zeros((400, 320, 3), np.uint8), owner=np.zeros((400, 320), np.uint8))
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


def test_tracks_count_in_order_of_entry_and_then_from_the_left() -> None:
    """Numbers follow the first frame somebody is seen in; people of one frame are numbered from left to right."""

    def shot(seen: dict[int, float]) -> Shot:
        boxes = np.array([(x, 0, x + 10, 50) for x in seen.values()], np.float32).reshape(-1, 4)
        return Shot(jpeg=b"", boxes=boxes, people=tuple(seen), visible=(1.0,) * len(seen))

    drawn = (shot({}), shot({4: 300.0, 2: 20.0}), shot({7: 0.0, 4: 310.0}))
    assert number_tracks(drawn) == (2, 4, 7)
    clip = Clip(name="A", shots=drawn, order=number_tracks(drawn))
    assert clip.tracks(drawn[2]).tolist() == [2, 1]
    assert clip.label(0) == "A1"


def test_the_cameras_number_the_same_people_differently(clips: tuple[Clip, Clip]) -> None:
    """A track's number does not give away who it is."""
    first, second = clips
    assert sum(a == b for a, b in zip(first.order, second.order, strict=False)) < PEOPLE // 2
