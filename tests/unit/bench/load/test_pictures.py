"""What the cameras of the load generator send."""

from __future__ import annotations

import pytest

from bench.load.pictures import BAND_ROWS, Content, Pictures, numbered
from reidstream_engines.headers import parse_encoded, parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat
from reidstream_proto.v1 import service_pb2


def _frame(content: Content, *, boxes: int = 3, frame_id: int = 7) -> service_pb2.EmbedStreamRequest:
    message = Pictures(content=content, boxes=boxes, count=1).messages()[0]
    return service_pb2.EmbedStreamRequest.FromString(numbered(message, frame_id))


@pytest.fixture(scope="module", params=[Content.FRAME, Content.BAND])
def whole(request: pytest.FixtureRequest) -> tuple[Content, service_pb2.EmbedStreamRequest]:
    return request.param, _frame(request.param)


def test_a_frame_is_a_1080p_jpeg_of_the_wanted_size(whole: tuple[Content, service_pb2.EmbedStreamRequest]) -> None:
    """1920 x 1080, and at most 350,000 bytes, of which at least nine tenths are used."""
    image = parse_encoded(whole[1].frame.encoded.data)
    assert (image.width, image.height) == (1920, 1080)
    assert 315_000 <= len(image.data) <= 350_000


def test_numbering_keeps_the_frame_and_adds_its_id(whole: tuple[Content, service_pb2.EmbedStreamRequest]) -> None:
    """The second message is merged into the first: picture, boxes and id are all there."""
    frame = whole[1].frame
    assert (frame.frame_id, len(frame.boxes), frame.WhichOneof("image")) == (7, 3, "encoded")


def test_boxes_lie_in_the_picture_and_those_of_a_band_in_few_rows(
    whole: tuple[Content, service_pb2.EmbedStreamRequest],
) -> None:
    """Nothing is clipped, so that every box costs a whole crop."""
    content, message = whole
    rects = [box.rect for box in message.frame.boxes]
    assert all(0 <= r.x1 < r.x2 <= 1920 and 0 <= r.y1 < r.y2 <= 1080 for r in rects)
    if content is Content.BAND:
        assert max(r.y2 for r in rects) - min(r.y1 for r in rects) <= BAND_ROWS


def test_ready_crops_are_raw_and_of_the_networks_size() -> None:
    """128 x 256 BGR pixels each, as long as they must be."""
    frame = _frame(Content.CROPS).frame
    assert len(frame.crops.crops) == 3
    for crop in frame.crops.crops:
        image = parse_raw(
            data=crop.raw.data,
            format=PixelFormat.BGR,
            width=crop.raw.width,
            height=crop.raw.height,
            stride=0,
            offset=0,
            chroma_stride=0,
            chroma_offset=0,
            color_matrix=ColorMatrix.BT601,
            color_range=ColorRange.LIMITED,
        )
        assert (image.width, image.height, len(image.data)) == (128, 256, 128 * 256 * 3)
