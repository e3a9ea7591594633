"""Which boxes belong to tracks, and where they are in the source frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import Crops, FrameInput, InvalidRequest
from reidstream_client.frames.boxes import parse_track_ids
from reidstream_client.frames.doubts import BoxDoubts
from reidstream_client.frames.framing import prepare as prepare_frame
from reidstream_client.frames.tracked_boxes import TrackedBox
from reidstream_proto.v1 import service_pb2
from tests.support.harness import encode, picture
from tests.unit.client.samples import BOXES, IMAGE, prepare

BIG = 2**64 - 1


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ([7, 9], [7, 9]),
        ([7, None], [7, None]),
        ((-1, 9), [None, 9]),
        ([None, None], [None, None]),
        ([-1.0, 9.0], [None, 9]),
        ([-1, BIG], [None, BIG]),
        ([None, BIG - 1], [None, BIG - 1]),
        ([np.int64(-1), np.uint64(BIG)], [None, BIG]),
        (np.array([-1, 9]), [None, 9]),
        (np.array([-1, 9], np.float32), [None, 9]),
        (np.array([7, BIG], np.uint64), [7, BIG]),
        (None, None),
    ],
)
def test_a_box_may_have_no_track(given: npt.ArrayLike | None, ids: list[int | None] | None) -> None:
    """-1, as trackers write it, or None in a list; ids of 64 bits stay what they are beside it."""
    assert parse_track_ids(given, 2) == ids


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([7], r"one entry per box, shape \(2,\), not \(1,\)"),
        ([7, None, 9], r"one entry per box, shape \(2,\), not \(3,\)"),
        (np.array([[7], [9]]), r"not \(2, 1\); give track_ids\.reshape\(-1\)"),
        ([7, -2], "not -2 to 7; give -1 for a box without a track"),
        ([7, 1.5], "must be integers, not float64, and some are not whole"),
        (["7", None], "must be integers, not <U1; track_ids are numbers"),
        (7, r"give track_ids=\[\.\.\.\], one for each box"),
    ],
)
def test_what_are_no_track_ids_is_named(given: npt.ArrayLike, complaint: str) -> None:
    """With what to give instead."""
    with pytest.raises(InvalidRequest, match=complaint):
        parse_track_ids(given, 2)


def test_a_box_without_a_track_has_no_id_on_the_wire() -> None:
    """0 is an id."""
    frame = prepare(IMAGE, BOXES, captured_s=0.0, track_ids=[0, -1])
    sent = service_pb2.EmbedStreamRequest.FromString(frame.stream_message(1.0)).frame
    assert [box.HasField("track_id") for box in sent.boxes] == [True, False]
    assert frame.tracked == (TrackedBox(0, 0, (1, 2, 3, 4)),)


def test_boxes_are_kept_in_pixels_of_the_source_frame() -> None:
    """Where the next server measures them: of an array, and of a file."""
    small = picture(60, 40)
    for image in (small, encode(small)):
        frame = prepare(image, [[6, 4, 12, 8]], captured_s=0.0, track_ids=[5], source_size=(240, 120))
        assert frame.tracked == (TrackedBox(0, 5, (24, 12, 48, 24)),)


def test_a_turned_picture_has_the_size_that_it_is_seen_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its EXIF, if the server turns it."""
    monkeypatch.setattr("reidstream_client.frames.tracked_boxes.exif_orientation", lambda _: 6)
    given = FrameInput(image=encode(picture(60, 40)), boxes=[[4, 6, 8, 12]], track_ids=[5], source_size=(80, 120))
    for upright, rect in ((True, (8, 12, 16, 24)), (False, (4 * 80 / 60, 18, 8 * 80 / 60, 36))):
        frame = prepare_frame(given, frame_id=0, captured_s=0.0, doubts=BoxDoubts(upright=upright))
        assert frame.tracked == (TrackedBox(0, 5, rect),)


def test_ready_crops_are_where_they_were_in_the_source_frame() -> None:
    """Their boxes are in its pixels already; without boxes nobody knows where they were."""
    crops = Crops([IMAGE, IMAGE])
    frame = prepare(crops, BOXES, captured_s=0.0, track_ids=[5, -1], source_size=(240, 120))
    assert frame.tracked == (TrackedBox(0, 5, (1, 2, 3, 4)),)
    assert prepare(crops, None, captured_s=0.0, track_ids=[5, -1]).tracked == (TrackedBox(0, 5, None),)
