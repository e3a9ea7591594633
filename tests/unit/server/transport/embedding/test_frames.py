"""A frame becomes a job, or a fault that says what was wrong; no value that a message can hold does anything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.buffers import buffer_size
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_engines.image import ColorMatrix, ColorRange, EncodedImage, Image, PixelBox, RawImage
from reidstream_engines.image import PixelFormat as Pixels
from reidstream_proto.v1 import contract, frame_pb2, image_pb2, session_pb2
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import FrameRequest
from reidstream_server.identity.access import Caller
from reidstream_server.intake.frames import FrameIntake
from reidstream_server.intake.limits import FrameLimits, WindowLimits
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import BoxRefusal, CropPlan, FrameJob
from reidstream_server.transport.embedding.frames import FrameReader
from reidstream_server.transport.embedding.options import parse_session
from tests.support.harness import JPEG, box, encode, picture, raw_image
from tests.support.models import table_of

MODELS = table_of([FakeEngine(fake_spec("person", dim=4)), FakeEngine(fake_spec("vehicle", dim=8))])
LIMITS = FrameLimits(
    max_image_pixels=100_000, max_boxes=10, min_box_px=2, max_answer_bytes=1000, max_staged_bytes=400_000
)
INTAKE = FrameIntake(limits=LIMITS, stager=CpuStager(JpegDecoder(None)))
PNG = encode(picture(20, 30), ".png")


def agreement(**fields: object) -> Agreement:
    """A camera's; fields of EmbedOptions by name."""
    options = session_pb2.EmbedOptions(camera_id="c", **fields)  # type: ignore[arg-type]  # fields of many types
    message = session_pb2.SessionOpen(session_id=bytes(16), options=options)
    return parse_session(
        message,
        caller=Caller(client="", source="connection of the test"),
        models=MODELS,
        window=WindowLimits(max_frames=8, max_bytes=10**9, default_frames=8),
    )


PLAIN = agreement()


def frame(*boxes: image_pb2.Box, data: bytes = JPEG) -> frame_pb2.Frame:
    return frame_pb2.Frame(frame_id=7, encoded=image_pb2.EncodedImage(data=data), boxes=boxes)


def crops(*items: image_pb2.Crop) -> frame_pb2.Frame:
    return frame_pb2.Frame(frame_id=7, crops=frame_pb2.CropList(crops=items))


def crop(data: bytes = PNG, inner: image_pb2.Rect | None = None, box: image_pb2.Box | None = None) -> image_pb2.Crop:
    return image_pb2.Crop(encoded=image_pb2.EncodedImage(data=data), inner_rect=inner, box=box)


def parsed(
    message: frame_pb2.Frame, agreed: Agreement = PLAIN, intake: FrameIntake = INTAKE
) -> tuple[FrameRequest, FrameJob]:
    result = FrameReader(intake=intake).read(message, agreed)
    assert not isinstance(result, FrameFault), result
    return result


def cuts(job: FrameJob) -> list[CropPlan]:
    """Its crops, all of which are cut from pictures."""
    found = [crop for crop in job.crops if isinstance(crop, CropPlan)]
    assert len(found) == len(job.crops)
    return found


def fault(message: frame_pb2.Frame, agreed: Agreement = PLAIN, intake: FrameIntake = INTAKE) -> FrameFault:
    result = FrameReader(intake=intake).read(message, agreed)
    assert isinstance(result, FrameFault)
    return result


def test_a_frame_asks_for_what_it_will_hold() -> None:
    """Its id as sent, its age up to the largest, the bytes of its picture, of its pixels, and a model for each crop."""
    message = frame(box(0, 0, 10, 10), box(5, 5, 50, 90))
    message.age_ns = 2**64 - 1
    message.frame_id = 2**64 - 1
    request, job = parsed(message)
    assert (request.frame_id, request.age_ns) == (2**64 - 1, contract.MAX_FRAME_AGE_MS * 1_000_000)
    assert (request.message_bytes, request.staged_bytes) == (len(JPEG), buffer_size(320 * 240 * 3))
    assert (request.crops, job.ready_crops) == ((0, 0), False)
    assert [type(image) for image in job.images] == [EncodedImage]
    assert job.vectors[MODELS.default.index].shape == (2, 4)


def test_it_asks_for_what_its_crops_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes that are no crops need no pixels; ready crops have a picture each, whose own box is what counts."""
    asked: list[Sequence[PixelBox]] = []

    def staged_bytes(_: CpuStager, __: Image, boxes: Sequence[PixelBox]) -> int:
        asked.append(boxes)
        return 7

    monkeypatch.setattr(CpuStager, "staged_bytes", staged_bytes)
    request, _ = parsed(frame(box(0, 0, 10, 10), box(500, 500, 600, 600), box(5, 5, 50, 90)))
    assert request.staged_bytes == 7
    assert asked == [[PixelBox(x1=0, y1=0, x2=10, y2=10), PixelBox(x1=5, y1=5, x2=50, y2=90)]]
    asked.clear()
    request, _ = parsed(crops(crop(PNG), crop(PNG, inner=image_pb2.Rect(x1=3, y1=4, x2=9, y2=9))))
    assert request.staged_bytes == 14
    assert asked == [[PixelBox(x1=0, y1=0, x2=20, y2=30)], [PixelBox(x1=3, y1=4, x2=9, y2=9)]]


def test_a_frame_without_boxes_asks_for_nothing() -> None:
    """It has no crops and no vectors, and is no fault."""
    request, job = parsed(frame())
    assert (request.crops, list(job.fates), job.vectors) == ((), [], {})


def test_crops_have_pictures_of_their_own() -> None:
    """One that cannot be read is refused alone, and the others keep their pictures."""
    _, job = parsed(crops(crop(), crop(b"junk"), image_pb2.Crop(), image_pb2.Crop(raw=raw_image(picture(40, 50)))))
    assert list(job.fates) == [0, BoxRefusal.INVALID_IMAGE, BoxRefusal.INVALID_IMAGE, 1]
    assert [(plan.image, plan.box.width, plan.box.height) for plan in cuts(job)] == [(0, 20, 30), (1, 40, 50)]
    assert job.ready_crops


def test_the_inner_rectangle_of_a_crop_is_what_is_embedded() -> None:
    """In the crop's own pixels, clipped to it; the box in the source frame is not."""
    source = box(1000, 1000, 1100, 1200)
    _, job = parsed(crops(crop(inner=image_pb2.Rect(x1=2, y1=3, x2=12, y2=99), box=source)))
    pixels = cuts(job)[0].box
    assert (pixels.x1, pixels.y1, pixels.x2, pixels.y2) == (2, 3, 12, 30)


def test_sizes_are_filtered_in_the_source_frame() -> None:
    """A scaled frame's boxes count as large as they were; a crop's as large as the box that it came from."""
    wanted = agreement(box_filter=session_pb2.BoxFilter(min_width=100))
    message = frame(box(0, 0, 40, 40), box(0, 0, 60, 40))
    assert list(parsed(message, wanted)[1].fates) == [BoxRefusal.FILTERED, BoxRefusal.FILTERED]
    message.source_size.CopyFrom(image_pb2.ImageSize(width=640, height=480))
    assert list(parsed(message, wanted)[1].fates) == [BoxRefusal.FILTERED, 0]
    cut = crops(crop(box=box(0, 0, 150, 10)), crop(box=image_pb2.Box()), crop())
    assert list(parsed(cut, wanted)[1].fates) == [0, BoxRefusal.FILTERED, BoxRefusal.FILTERED]


FORMATS = (
    (image_pb2.PIXEL_FORMAT_BGR, Pixels.BGR),
    (image_pb2.PIXEL_FORMAT_RGB, Pixels.RGB),
    (image_pb2.PIXEL_FORMAT_GRAY, Pixels.GRAY),
    (image_pb2.PIXEL_FORMAT_NV12, Pixels.NV12),
)


def raw_of(message: frame_pb2.Frame) -> RawImage:
    (image,) = parsed(message)[1].images
    assert isinstance(image, RawImage)
    return image


def test_enums_of_raw_images_are_read_by_the_contract() -> None:
    """A matrix and a range that are not said are BT.601 and limited; a format must be said."""
    assert {pixels for _, pixels in FORMATS} == set(Pixels)
    message = frame_pb2.Frame(raw=image_pb2.RawImage(width=2, height=2, data=bytes(12)))
    for said, expected in FORMATS:
        message.raw.format = said
        image = raw_of(message)
        assert image.format is expected
        assert (image.color_matrix, image.color_range) == (ColorMatrix.BT601, ColorRange.LIMITED)
    message.raw.color_matrix = image_pb2.COLOR_MATRIX_BT709
    message.raw.color_range = image_pb2.COLOR_RANGE_FULL
    image = raw_of(message)
    assert (image.color_matrix, image.color_range) == (ColorMatrix.BT709, ColorRange.FULL)


def _raw(**fields: int) -> frame_pb2.Frame:
    image = raw_image(picture(16, 8))
    for name, value in fields.items():
        setattr(image, name, value)
    return frame_pb2.Frame(raw=image)


def _sized(width: int, height: int) -> frame_pb2.Frame:
    message = frame(box(0, 0, 9, 9))
    message.source_size.CopyFrom(image_pb2.ImageSize(width=width, height=height))
    return message


def _padded(data: bytes) -> frame_pb2.Frame:
    return frame_pb2.Frame(raw=image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=2, height=2, data=data))


BESIDE = crops(crop())
BESIDE.boxes.append(box(0, 0, 9, 9))
FAULTS: dict[str, tuple[frame_pb2.Frame, FaultReason, str]] = {
    "no image": (frame_pb2.Frame(), FaultReason.INVALID_IMAGE, "set one of encoded, raw, crops"),
    "garbage": (frame(data=b"garbage"), FaultReason.INVALID_IMAGE, "text, not a picture"),
    "gif": (frame(data=b"GIF89a"), FaultReason.UNSUPPORTED_IMAGE, "GIF"),
    "pixels": (frame(data=encode(picture(400, 300))), FaultReason.IMAGE_TOO_LARGE, "120000 pixels by the header"),
    "pixels of crops": (
        crops(*[crop(JPEG)] * 2),
        FaultReason.IMAGE_TOO_LARGE,
        "the limit is 100000 (max_image_pixels)",
    ),
    "bytes": (_padded(bytes(400_001)), FaultReason.IMAGE_TOO_LARGE, "held; the limit is 400000 (max_staged_bytes)"),
    "boxes": (frame(*[box(0, 0, 5, 5)] * 11), FaultReason.TOO_MANY_BOXES, "is 10 (max_boxes_per_frame)"),
    "crops": (crops(*[crop()] * 11), FaultReason.TOO_MANY_BOXES, "11 boxes"),
    "boxes beside crops": (BESIDE, FaultReason.INVALID_ARGUMENT, "1 boxes beside crops"),
    "source size": (_sized(0, 5), FaultReason.INVALID_ARGUMENT, "source_size is 0 x 5"),
    "format": (_raw(format=0), FaultReason.UNSUPPORTED_IMAGE, "format is 0; this server knows 1, 2, 3, 4"),
    "unknown format": (_raw(format=9), FaultReason.UNSUPPORTED_IMAGE, "format is 9"),
    "matrix": (_raw(color_matrix=-1), FaultReason.UNSUPPORTED_IMAGE, "color_matrix is -1"),
    "range": (_raw(color_range=3), FaultReason.UNSUPPORTED_IMAGE, "color_range is 3"),
    "huge raw": (_raw(width=2**32 - 1, height=2**32 - 1), FaultReason.INVALID_IMAGE, "bytes are needed"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_hopeless_frame_is_a_fault_with_its_value_and_its_limit(case: str) -> None:
    """Before anything is decoded."""
    message, reason, words = FAULTS[case]
    found = fault(message)
    assert found.reason is reason
    assert words in found.message


def test_vectors_that_would_not_fit_into_an_answer_are_not_computed() -> None:
    """float16 halves them; each model counts with its own dimension."""
    tight = replace(INTAKE, limits=replace(LIMITS, max_answer_bytes=32))
    boxes = [box(0, 0, 9, 9)] * 3
    found = fault(frame(*boxes), intake=tight)
    assert found.reason is FaultReason.ANSWER_TOO_LARGE
    assert "48 bytes; the limit is 32 (max_answer_bytes)" in found.message
    assert len(parsed(frame(*boxes[:2]), intake=tight)[0].crops) == 2
    half = agreement(dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT16)
    assert len(parsed(frame(*boxes), half, tight)[0].crops) == 3
    large = agreement(models=[session_pb2.ModelChoice(name="vehicle")])
    assert fault(frame(*boxes[:2]), large, tight).reason is FaultReason.ANSWER_TOO_LARGE


def test_a_frame_that_is_as_large_as_may_be_is_taken() -> None:
    """Limits are what is still allowed."""
    parsed(_padded(bytes(400_000)))
    parsed(frame(data=encode(picture(400, 250))))
    parsed(frame(*[box(0, 0, 9, 9)] * 10))


numbers = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 3.4e38, -3.4e38, 1e-45, -0.0, 0.5])
sizes = st.sampled_from([1, 2, 3, 2**31, 2**32 - 1])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    rects=st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=10),
    source=st.none() | st.tuples(sizes, sizes),
    bounds=st.none() | st.tuples(*[st.floats(0, 2.0**127, width=32)] * 4),
    score=st.none() | numbers,
)
def test_no_number_breaks_the_reader(
    rects: list[tuple[float, float, float, float]],
    source: tuple[int, int] | None,
    bounds: tuple[float, float, float, float] | None,
    score: float | None,
) -> None:
    """Every box is a crop inside the image with a quality of 0 to 1, or is refused; whole frames and crops alike."""
    boxes = [image_pb2.Box(rect=box(*rect).rect, score=score) for rect in rects]
    message = frame(*boxes)
    if source is not None:
        message.source_size.CopyFrom(image_pb2.ImageSize(width=source[0], height=source[1]))
    wanted = PLAIN
    if bounds is not None:
        least, most, low, high = bounds
        sizes_wanted = session_pb2.BoxFilter(min_width=least, max_width=most, min_height=low, max_height=high)
        wanted = agreement(box_filter=sizes_wanted)
    ready = crops(*[crop(inner=item.rect, box=item) for item in boxes])
    for request, job in (parsed(message, wanted), parsed(ready, wanted)):
        assert len(job.fates) == len(rects)
        kept = [item for item in job.fates if not isinstance(item, BoxRefusal)]
        assert kept == list(range(len(request.crops)))
        for plan in cuts(job):
            image = job.images[plan.image]
            assert 0 <= plan.box.x1 <= plan.box.x2 - 2 <= image.width - 2
            assert 0 <= plan.box.y1 <= plan.box.y2 - 2 <= image.height - 2
            assert 0 < plan.quality <= 1
