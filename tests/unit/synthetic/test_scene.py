"""A scene: repeatable to the pixel, with a truth that fits what is seen."""

from __future__ import annotations

import hashlib
from itertools import islice

import cv2
import numpy as np
import pytest

import reidstream_synthetic
from reidstream_synthetic import Frame, Scene, make_scene
from reidstream_synthetic.people.gait import Stance

PEOPLE, CAMERAS, FRAMES = 14, 3, 8
# Of where everybody is, and of what they wear: a change of these is another scene for the same seed.
GEOMETRY = "f9e5be1f2a466fc619f3f1727ba54bc20ba27facdcc14824d02da12ad439cf0d"


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(7, people=PEOPLE, cameras=CAMERAS, frames=FRAMES)


@pytest.fixture(scope="module")
def clips(scene: Scene) -> list[list[Frame]]:
    return [list(camera) for camera in scene.cameras]


def test_the_public_names_are_these() -> None:
    """What the package promises, and that it is there."""
    assert reidstream_synthetic.__all__ == [
        "Camera",
        "Detections",
        "DetectorNoise",
        "Frame",
        "Scene",
        "detect",
        "make_scene",
        "write_motchallenge",
    ]
    assert all(getattr(reidstream_synthetic, name).__doc__ for name in reidstream_synthetic.__all__)


def test_the_same_seed_draws_the_same_pixels(clips: list[list[Frame]]) -> None:
    """Another scene of the same arguments, and another iteration: equal pixels, boxes and truth."""
    again = make_scene(7, people=PEOPLE, cameras=CAMERAS, frames=FRAMES)
    for camera, before in zip(again.cameras, clips, strict=True):
        for _ in range(2):
            for new, old in zip(islice(camera, 2), before, strict=False):
                assert (new.camera, new.number) == (old.camera, old.number)
                for name in ("pixels", "people", "boxes", "visible_boxes", "detector_boxes", "visibility"):
                    np.testing.assert_array_equal(getattr(new, name), getattr(old, name), err_msg=name)


def test_the_geometry_of_a_seed_never_changes() -> None:
    """Who is where at which moment, and in which colours, as it was when this checksum was written down.

    Pixels depend on the versions of NumPy and OpenCV; where people stand does not.
    """
    told = []
    for camera in make_scene(7, people=PEOPLE, cameras=CAMERAS, frames=FRAMES).cameras:
        told.append(camera.name)
        told += [
            f"{one.top.colour} {one.top.pattern.value} {one.bottom.colour} {one.height_m:.4f}" for one in camera.people
        ]
        for number in (1, FRAMES):
            for index, stance in camera.stances(number).items():
                told.append(f"{number} {index} {stance.x:.4f} {stance.z:.4f} {stance.heading:.4f} {stance.walked:.4f}")
    assert hashlib.sha256("\n".join(told).encode()).hexdigest() == GEOMETRY


def test_another_seed_is_another_scene(scene: Scene) -> None:
    """Other people on other ways."""
    other = make_scene(8, people=PEOPLE, cameras=1, frames=FRAMES).cameras[0]
    assert not set(other.people) & set(scene.cameras[0].people)
    assert other.ways != scene.cameras[0].ways


def test_more_cameras_change_none_of_the_others(scene: Scene, clips: list[list[Frame]]) -> None:
    """The second camera of three draws what the second of two draws."""
    second = make_scene(7, people=PEOPLE, cameras=2, frames=FRAMES).cameras[1]
    assert second.name == scene.cameras[1].name == "c2"
    np.testing.assert_array_equal(next(iter(second)).pixels, clips[1][0].pixels)


def test_frames_are_pictures_of_the_promised_size(scene: Scene, clips: list[list[Frame]]) -> None:
    """Numbered from 1, (720, 1280, 3) uint8, each camera with its name, no two frames alike; as JPEG the same size."""
    assert len({camera.name for camera in scene.cameras}) == CAMERAS
    for camera, clip in zip(scene.cameras, clips, strict=True):
        assert [frame.number for frame in clip] == list(range(1, FRAMES + 1))
        assert len(camera) == FRAMES == len({frame.pixels.tobytes() for frame in clip})
        for frame in clip:
            assert frame.camera == camera.name
            assert frame.pixels.shape == (camera.height, camera.width, 3) == (720, 1280, 3)
            assert frame.pixels.dtype == np.uint8
        decoded = cv2.imdecode(np.frombuffer(clip[0].jpeg(), np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert np.abs(decoded.astype(int) - clip[0].pixels).mean() < 4


def test_boxes_lie_in_the_picture_and_in_each_other(clips: list[list[Frame]]) -> None:
    """Whole boxes hold a pixel at least and stay inside; what is visible lies within; numbers ascend from 1."""
    for frame in (frame for clip in clips for frame in clip):
        count = len(frame.people)
        assert frame.boxes.shape == frame.visible_boxes.shape == frame.detector_boxes.shape == (count, 4)
        assert frame.visibility.shape == (count,)
        assert (np.diff(frame.people) > 0).all()
        assert ((frame.people >= 1) & (frame.people <= PEOPLE)).all()
        assert (frame.boxes[:, :2] >= 0).all()
        assert (frame.boxes[:, 2:] <= (1280, 720)).all()
        assert (frame.boxes[:, 2:] - frame.boxes[:, :2] >= 1).all()
        assert ((frame.visibility >= 0) & (frame.visibility <= 1)).all()
        seen = frame.visibility > 0
        assert (frame.visible_boxes[seen, :2] >= frame.boxes[seen, :2]).all()
        assert (frame.visible_boxes[seen, 2:] <= frame.boxes[seen, 2:]).all()
        assert (frame.visible_boxes[~seen] == 0).all()
        assert (np.abs(frame.detector_boxes - frame.visible_boxes) <= 2.5).all()


def test_people_hide_each_other(clips: list[list[Frame]]) -> None:
    """In each camera somebody is seen whole and somebody partly; who is partly hidden keeps a whole box."""
    for clip in clips:
        shares = np.concatenate([frame.visibility for frame in clip])
        assert shares.max() > 0.97
        assert shares.min() < 0.75
        smaller = [(frame.visible_boxes != frame.boxes).any(axis=1) for frame in clip]
        assert np.concatenate(smaller).any()


def test_who_left_comes_back() -> None:
    """In the last minute of a clip of five, everybody is in sight; who passes once may be gone or not there yet."""
    camera = make_scene(3, people=10, cameras=1, frames=4500).cameras[0]
    once = make_scene(3, people=10, cameras=1, frames=4500, returning=False).cameras[0]

    def near(stances: dict[int, Stance]) -> set[int]:
        return {index for index, stance in stances.items() if abs(stance.x) < 4}

    late = set().union(*(near(camera.stances(number)) for number in range(3600, 4500, 15)))
    assert late == set(range(10))
    gone = set().union(*(near(once.stances(number)) for number in range(1, 300, 15)))
    assert gone != set(range(10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed -1 is negative"),
        ({"people": 0}, "people 0 is not within 1 and 1000"),
        ({"people": 1001}, "people 1001 is not within 1 and 1000"),
        ({"cameras": 0}, "cameras 0 is not within 1 and 100"),
        ({"frames": 0}, "frames 0 is not within 1 and 999999"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, int], message: str) -> None:
    """The message names the value and its limits."""
    with pytest.raises(ValueError, match=message):
        make_scene(arguments.pop("seed", 0), **arguments)  # type: ignore[arg-type]


def test_one_person_before_one_camera() -> None:
    """The smallest scene has its frames, and an empty frame has empty arrays of the right shape."""
    camera = make_scene(0, people=1, cameras=1, frames=2, returning=False).cameras[0]
    frames = list(camera)
    assert len(frames) == 2
    assert all(frame.boxes.shape == (len(frame.people), 4) for frame in frames)
