"""Frames on their way to the wire: every kind of image, and the copies that are made of it."""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_client import (
    ColorMatrix,
    ColorRange,
    Crops,
    FrameInput,
    FrameTooLarge,
    InvalidRequest,
    Nv12,
    PixelFormat,
    RawFrame,
)
from reidstream_client.frames.framing import captured_at, check_message_size, varint
from reidstream_client.frames.payloads import parse_picture
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from tests.unit.client.samples import prepare

BOXES: npt.ArrayLike = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.5, 8.0]]
Pixels = npt.NDArray[np.uint8]


def picture(height: int = 6, width: int = 8, channels: int | None = 3) -> Pixels:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def sent(image: object, boxes: npt.ArrayLike | None = BOXES, **columns: object) -> frame_pb2.Frame:
    """The frame as the server would parse it."""
    prepared = prepare(image, boxes, frame_id=7, **{"captured_s": 10.0, **columns})  # type: ignore[arg-type] # tests pass every kind
    message = prepared.stream_message(now_s=10.0)
    assert len(message) <= prepared.max_bytes
    return service_pb2.EmbedStreamRequest.FromString(message).frame


def pixels(raw: image_pb2.RawImage) -> Pixels:
    """What the server would see, by the contract's own words."""
    channels = 3 if raw.format == image_pb2.PIXEL_FORMAT_BGR else 1
    row = raw.width * channels
    stride = raw.stride or row
    rows = [raw.data[raw.offset + y * stride :][:row] for y in range(raw.height)]
    flat = np.frombuffer(b"".join(rows), np.uint8)
    return flat.reshape((raw.height, raw.width, 3) if channels == 3 else (raw.height, raw.width))


def test_a_file_is_sent_as_it_is() -> None:
    """Its bytes, the boxes, and everything that belongs to them."""
    frame = sent(
        b"\xff\xd8 a JPEG",
        class_ids=[1, 0],
        scores=[0.5, 0.25],
        track_ids=[2**40, 3],
        source_size=(1920, 1080),
        capture_unix_ns=123,
        captured_s=9.5,
    )
    assert frame == frame_pb2.Frame(
        frame_id=7,
        encoded=image_pb2.EncodedImage(data=b"\xff\xd8 a JPEG"),
        boxes=[
            image_pb2.Box(rect=image_pb2.Rect(x1=1, y1=2, x2=3, y2=4), class_id=1, score=0.5, track_id=2**40),
            image_pb2.Box(rect=image_pb2.Rect(x1=5, y1=6, x2=7.5, y2=8), class_id=0, score=0.25, track_id=3),
        ],
        source_size=image_pb2.ImageSize(width=1920, height=1080),
        capture_unix_ns=123,
        age_ns=500_000_000,
    )


def test_what_is_not_given_is_absent() -> None:
    """No class is not class 0; a frame that goes out at once has no age."""
    frame = sent(b"x")
    assert not frame.boxes[0].HasField("class_id")
    assert not frame.boxes[0].HasField("score")
    assert not frame.HasField("capture_unix_ns")
    assert frame.age_ns == 0


@pytest.mark.parametrize("data", [bytearray(b"a file"), memoryview(b"a file"), memoryview(b"a- -f-i-l-e")[::2]])
def test_any_buffer_is_a_file(data: bytearray | memoryview) -> None:
    """Also one whose bytes do not lie together."""
    assert sent(data).encoded.data == b"a file"


@pytest.mark.parametrize("channels", [3, None])
def test_an_array_is_sent_as_raw_pixels_without_a_copy(channels: int | None) -> None:
    """Colour as BGR, grey as GRAY; only the join that makes the message copies."""
    image = picture(channels=channels)
    payload = parse_picture(image)
    assert payload.borrowed
    assert np.shares_memory(np.frombuffer(payload.data, np.uint8), image)
    raw = sent(image).raw
    assert raw.format == (image_pb2.PIXEL_FORMAT_BGR if channels else image_pb2.PIXEL_FORMAT_GRAY)
    assert raw.stride == 0
    np.testing.assert_array_equal(pixels(raw), image)


def test_padded_rows_are_sent_with_their_stride_without_a_copy() -> None:
    """Decoders align their rows; the padding costs less than a copy."""
    image = picture(6, 68)[:, :64]
    payload = parse_picture(image)
    assert np.shares_memory(np.frombuffer(payload.data, np.uint8), image)
    raw = sent(image).raw
    assert raw.stride == 68 * 3
    np.testing.assert_array_equal(pixels(raw), image)


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[2:5, 10:20],
        lambda image: image[:, ::2],
        lambda image: image[..., ::-1],
        lambda image: image[::-1],
        lambda image: image.transpose(1, 0, 2),
        np.asfortranarray,
        lambda image: np.broadcast_to(image[:1], image.shape),
        lambda image: image[:1, :3],
    ],
    ids=["cut-out", "columns", "rgb", "upside-down", "transposed", "fortran", "broadcast", "one-row"],
)
def test_other_views_are_packed(view: object) -> None:
    """The right pixels arrive, and none that lie around them in memory."""
    image = view(picture(8, 64))  # type: ignore[operator] # a lambda from the table
    raw = sent(image).raw
    assert raw.stride == 0
    assert len(raw.data) == image.size
    np.testing.assert_array_equal(pixels(raw), image)


def test_a_borrowed_frame_can_be_made_independent() -> None:
    """A camera's buffer is filled again while a frame waits for room."""
    image = picture()
    before = image.copy()
    owned = prepare(image, BOXES, frame_id=1, captured_s=10.0).owned()
    image[:] = 0
    frame = service_pb2.EmbedStreamRequest.FromString(owned.stream_message(0)).frame
    np.testing.assert_array_equal(pixels(frame.raw), before)
    assert owned.owned() is owned


def test_typed_raw_frames_keep_their_layout() -> None:
    """RGB with a stride and an offset, and NV12 with both planes described."""
    raw = sent(RawFrame(data=b"#" * 70, width=4, height=4, format=PixelFormat.RGB, stride=16, offset=2)).raw
    assert raw == image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_RGB, width=4, height=4, data=b"#" * 70, stride=16, offset=2
    )
    nv12 = Nv12(
        data=memoryview(b"#" * 30),
        width=4,
        height=4,
        stride=5,
        chroma_stride=4,
        chroma_offset=20,
        matrix=ColorMatrix.BT709,
        range=ColorRange.FULL,
    )
    assert sent(nv12).raw == image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_NV12,
        width=4,
        height=4,
        data=b"#" * 30,
        stride=5,
        chroma_stride=4,
        chroma_offset=20,
        color_matrix=image_pb2.COLOR_MATRIX_BT709,
        color_range=image_pb2.COLOR_RANGE_FULL,
    )


def test_ready_crops_carry_their_own_boxes() -> None:
    """An image each, where it came from, the part to use, and its class."""
    crops = Crops([b"file", picture(2, 2)], inner_boxes=[[0, 0, 1, 1], [0, 0, 2, 2]])
    frame = sent(crops, BOXES, class_ids=[4, 5])
    assert not frame.boxes
    first, second = frame.crops.crops
    assert first.encoded.data == b"file"
    assert first.inner_rect == image_pb2.Rect(x2=1, y2=1)
    assert first.box == image_pb2.Box(rect=image_pb2.Rect(x1=1, y1=2, x2=3, y2=4), class_id=4)
    np.testing.assert_array_equal(pixels(second.raw), picture(2, 2))
    assert second.box.class_id == 5


def test_crops_need_no_boxes() -> None:
    """N is the number of crops; also of none."""
    prepared = prepare(Crops([b"a", b"b", b"c"]), None, frame_id=1, captured_s=10.0)
    assert prepared.boxes == 3
    assert not sent(Crops([b"a"]), None).crops.crops[0].box.HasField("rect")
    assert sent(Crops([]), None).WhichOneof("image") == "crops"


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((4, 4, 3), np.float32), r"not float32 of shape \(4, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"not uint8 of shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"of shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"of shape \(4,\)"),
        ("frame.jpg", r"'frame\.jpg' is no image; give Path\(image\)\.read_bytes\(\)"),
        (RawFrame(data=b"", width=0, height=1), "width must be 1 to 2147483647, not 0"),
        (Nv12(data=b"", width=2, height=-2), "height must be 1 to 2147483647, not -2"),
        (RawFrame(data=b"xxx", width=1, height=1, stride=-3), "stride must lie in 0 to .* not -3"),
        (RawFrame(data=b"xxx", width=1, height=1, offset=2**32), "offset must lie in 0 to .* not 4294967296"),
        (Nv12(data=b"", width=2, height=2, chroma_stride=-1), "chroma_stride must lie in 0 to .* not -1"),
        (Nv12(data=b"", width=2, height=2, chroma_offset=-1), "chroma_offset must lie in 0 to .* not -1"),
    ],
)
def test_what_is_no_image_is_named(image: object, complaint: str) -> None:
    """Shape and type of what was given are in the message."""
    with pytest.raises(InvalidRequest, match=complaint):
        sent(image)


@pytest.mark.parametrize(
    ("image", "boxes", "columns", "complaint"),
    [
        (b"x", None, {}, r"boxes are missing; for a whole picture send Crops\(\[image\]\)"),
        (Crops([b"x"]), BOXES, {}, "boxes must have one entry per crop, 1, not 2"),
        (Crops([b"x"], inner_boxes=BOXES), None, {}, "inner_boxes must have one entry per crop, 1, not 2"),
        (Crops(picture()), None, {}, r"a list of pictures: Crops\(\[image\]\)"),  # type: ignore[arg-type]
        (b"x", BOXES, {"source_size": (-1, 5)}, "source_size must lie in 0 to .* not -1"),
        (b"x", BOXES, {"capture_unix_ns": -1}, "capture_unix_ns must lie in 0 to .* not -1"),
        (b"x", BOXES, {"class_ids": [1]}, r"class_ids must have one entry per box, shape \(2,\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    image: object, boxes: npt.ArrayLike | None, columns: dict[str, object], complaint: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequest, match=complaint):
        sent(image, boxes, **columns)


def test_a_capture_time_of_another_clock_is_refused() -> None:
    """With it every frame would be new, whatever its latency budget; a moment ahead is taken for now."""
    with pytest.raises(InvalidRequest, match=r"not from time\.time\(\)"):
        prepare(b"x", BOXES, frame_id=7, captured_s=time.monotonic() + 1e9)
    assert sent(b"x", captured_s=time.monotonic() + 1).age_ns == 0


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf])
def test_a_capture_time_that_is_no_moment_is_refused(moment: float) -> None:
    """It would end the session later, in the midst of sending."""
    with pytest.raises(InvalidRequest, match=r"s from now; read it from time\.monotonic"):
        prepare(b"x", BOXES, frame_id=7, captured_s=moment)
    assert sent(b"x", captured_s=-1e30).age_ns == 2**64 - 1


@pytest.mark.parametrize("age_s", [-0.001, math.nan, math.inf])
def test_an_age_that_is_none_is_refused(age_s: float) -> None:
    """A negative one would be a frame that is always new."""
    with pytest.raises(InvalidRequest, match="age_s must be 0 or more, not "):
        captured_at(FrameInput(image=b"x", age_s=age_s))


@pytest.mark.parametrize("frame_id", [-1, 2**64])
def test_frame_ids_are_64_bits(frame_id: int) -> None:
    """Said here, and not by a broken message."""
    with pytest.raises(InvalidRequest, match="frame_id"):
        prepare(b"x", BOXES, frame_id=frame_id, captured_s=10.0)


def test_a_frame_over_a_message_is_refused_with_both_numbers() -> None:
    """GRPC's own error comes later and says less."""
    frame = prepare(np.zeros((100, 100, 3), np.uint8), BOXES, frame_id=1, captured_s=10.0)
    check_message_size(frame, 31_000)
    with pytest.raises(FrameTooLarge, match=r"30\d\d\d bytes, and at most 30000"):
        check_message_size(frame, 30_000)


def test_a_single_call_is_the_options_and_the_frame() -> None:
    """The frame has the same field number in both requests, so their bytes can stand behind each other."""
    options = service_pb2.EmbedRequest(options=session_pb2.EmbedOptions(camera_id="door"))
    prepared = prepare(b"x", BOXES, frame_id=7, captured_s=10.0)
    request = service_pb2.EmbedRequest.FromString(prepared.embed_message(options.SerializeToString(), 0))
    assert request.options.camera_id == "door"
    assert request.frame == sent(b"x")


@given(st.integers(0, 2**64 - 1))
def test_varints_are_protobufs(value: int) -> None:
    """Compared with what the generated message writes."""
    encoded = frame_pb2.Frame(frame_id=value).SerializeToString()
    assert encoded == (b"\x08" + varint(value) if value else b"")
