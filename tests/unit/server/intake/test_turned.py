"""Pictures with an EXIF orientation: turned if it was agreed, and pointed out if it was not."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from reidstream_engines.image import EncodedImage, Orientation, PixelBox
from reidstream_proto.v1 import frame_pb2, image_pb2
from reidstream_server.core.faults import FrameFault
from reidstream_server.core.terms import Flow
from reidstream_server.intake.turned import MOST_CAMERAS, TurnedPictures
from reidstream_server.runtime.job import BoxRefusal, FrameJob
from reidstream_server.transport.embedding import answers
from reidstream_server.transport.embedding.frames import FrameReader
from tests.support.harness import box
from tests.unit.engines.test_exif import EXIF, jpeg, record
from tests.unit.server.transport.embedding.test_answers import agree
from tests.unit.server.transport.embedding.test_frames import INTAKE, agreement, crop

TURNED = jpeg(EXIF + record(6))  # 50 x 30 as it is stored, 30 x 50 as it is meant
LOW = box(2, 32, 20, 48)


def read(message: frame_pb2.Frame, *, upright: bool) -> FrameJob:
    found = FrameReader(intake=INTAKE).read(message, agreement(apply_exif_orientation=upright))
    assert not isinstance(found, FrameFault), found
    return found[1]


def whole(*boxes: image_pb2.Box) -> frame_pb2.Frame:
    return frame_pb2.Frame(frame_id=7, encoded=image_pb2.EncodedImage(data=TURNED), boxes=boxes)


def test_a_box_lies_in_the_turned_picture_if_that_was_agreed() -> None:
    """Else it lies in the stored one, and here outside of it."""
    job = read(whole(LOW), upright=True)
    (image,) = job.images
    assert isinstance(image, EncodedImage)
    assert image.turn is Orientation.TURN_RIGHT
    assert job.cuts == [[PixelBox(x1=2, y1=32, x2=20, y2=48)]]
    assert read(whole(LOW), upright=False).fates == [BoxRefusal.OUTSIDE_FRAME]


def test_the_source_frame_is_the_turned_one() -> None:
    """A picture at half the camera's size: filters measure what was turned."""
    message = whole(box(0, 0, 10, 40))
    message.source_size.width, message.source_size.height = 60, 100
    message.boxes.append(box(0, 0, 4, 40))
    terms = agreement(apply_exif_orientation=True, box_filter={"min_width": 15, "min_height": 60})
    found = FrameReader(intake=INTAKE).read(message, terms)
    assert not isinstance(found, FrameFault)
    assert found[1].fates == [0, BoxRefusal.FILTERED]


def test_ready_crops_are_turned_too() -> None:
    """Each by its own tag; an inner rectangle lies in the turned crop."""
    inner = image_pb2.Rect(x1=2, y1=32, x2=20, y2=48)
    message = frame_pb2.Frame(frame_id=7, crops=frame_pb2.CropList(crops=[crop(TURNED), crop(TURNED, inner=inner)]))
    job = read(message, upright=True)
    assert job.cuts == [[PixelBox(x1=0, y1=0, x2=30, y2=50)], [PixelBox(x1=2, y1=32, x2=20, y2=48)]]


@pytest.mark.parametrize("upright", [False, True])
def test_the_client_is_told_what_was_agreed(upright: bool) -> None:  # noqa: FBT001 - a case
    """So it notices a server that does not know the field."""
    asked, agreed = agree(apply_exif_orientation=upright)
    assert agreed.upright is upright
    assert answers.session_opened(asked, agreed, limits=None).apply_exif_orientation is upright  # type: ignore[arg-type]


def test_it_is_pointed_out_once_for_each_camera(caplog: pytest.LogCaptureFixture) -> None:
    """With who, which camera, and what to do; not where pictures are turned."""
    caplog.set_level(logging.INFO)
    reader = FrameReader(intake=replace(INTAKE, turned=TurnedPictures()))
    for _ in range(3):
        reader.read(whole(LOW), agreement())
        reader.read(whole(LOW), agreement(apply_exif_orientation=True))
    (line,) = [one for one in caplog.records if one.msg == "exif_orientation_ignored"]
    assert line.levelno == logging.WARNING
    said = str(vars(line))
    for part in ("'camera_id': 'c'", "'orientation': 6", "apply_exif_orientation"):
        assert part in said


def test_a_thousand_cameras_are_enough_for_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """A client may name as many as it likes."""
    turned = TurnedPictures()
    for index in range(MOST_CAMERAS + 50):
        turned.notice(Flow(client="", camera_id=str(index)), Orientation.FLIP)
    assert len(caplog.records) == MOST_CAMERAS
