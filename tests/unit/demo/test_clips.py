"""What the two cameras deliver: JPEGs, boxes of a detector, and track numbers that say nothing about people."""

from __future__ import annotations

import cv2
import numpy as np

from demo.clips import MIN_HEIGHT, MIN_VISIBLE, PEOPLE, Clip, Shot, draw_clips, number_tracks

WIDTH, HEIGHT = 1280, 720


def test_the_same_seed_draws_the_same_bytes(clips: tuple[Clip, Clip]) -> None:
    """Both cameras repeat themselves exactly: JPEGs, boxes and truth."""
    for again, before in zip(draw_clips(0, len(clips[0].shots), lambda: None), clips, strict=True):
        for new, old in zip(again.shots, before.shots, strict=True):
            assert new.jpeg == old.jpeg
            np.testing.assert_array_equal(new.boxes, old.boxes)
            assert (new.people, new.visible) == (old.people, old.visible)


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
