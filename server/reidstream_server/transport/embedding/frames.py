"""A frame from the wire: its pictures' headers and its boxes, as `intake` takes them.

What is here is this wire's: its enums, its ready crops with their boxes, its shared ranges. Boxes, bounds and rows are
`intake`'s. Trap: each look at a field of bytes copies all of them, and this runs for every frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from reidstream_engines.boxes import Rect
from reidstream_engines.errors import ImageError, InvalidImage, UnsupportedImage
from reidstream_engines.header_steps import HeaderSteps
from reidstream_engines.headers import parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, Image, PixelFormat
from reidstream_proto.v1 import frame_pb2, image_pb2
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.intake.frames import FrameIntake, FrameOrFault, SightedFrame, source_scale, too_many_steps
from reidstream_server.intake.plan import FramePlan
from reidstream_server.intake.sightings import NOWHERE, Sightings
from reidstream_server.logs import get_logger
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import BoxRefusal, Fetch, image_fault
from reidstream_server.runtime.trace import FrameTrace, trace_field

from .shared_segment import FrameRanges, Segment

log = get_logger(__name__)

V = TypeVar("V")

MANY_CROPS = 128
"""Ready crops, or boxes with tracks. Reading more takes longer than the event loop should do without a pause."""

_FORMATS: Mapping[int, PixelFormat] = {
    image_pb2.PIXEL_FORMAT_BGR: PixelFormat.BGR,
    image_pb2.PIXEL_FORMAT_RGB: PixelFormat.RGB,
    image_pb2.PIXEL_FORMAT_GRAY: PixelFormat.GRAY,
    image_pb2.PIXEL_FORMAT_NV12: PixelFormat.NV12,
}
_MATRICES: Mapping[int, ColorMatrix] = {
    image_pb2.COLOR_MATRIX_UNSPECIFIED: ColorMatrix.BT601,
    image_pb2.COLOR_MATRIX_BT601: ColorMatrix.BT601,
    image_pb2.COLOR_MATRIX_BT709: ColorMatrix.BT709,
}
_RANGES: Mapping[int, ColorRange] = {
    image_pb2.COLOR_RANGE_UNSPECIFIED: ColorRange.LIMITED,
    image_pb2.COLOR_RANGE_LIMITED: ColorRange.LIMITED,
    image_pb2.COLOR_RANGE_FULL: ColorRange.FULL,
}


def has_many_crops(frame: frame_pb2.Frame) -> bool:
    """Whether a frame's headers are to be read apart, however large it is."""
    return frame.HasField("crops") and len(frame.crops.crops) > MANY_CROPS


def has_many_boxes(frame: frame_pb2.Frame) -> bool:
    """The same in a session with tracks: each of a frame's boxes is compared with each other one."""
    return len(frame.boxes) > MANY_CROPS or has_many_crops(frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReader:
    """Reads messages for `intake`, on the event loop or apart. Any thread, but one at a time for each segment: so a
    session reads its next message when the last one was taken.
    """

    intake: FrameIntake

    def read(
        self,
        message: frame_pb2.Frame,
        agreement: Agreement,
        segment: Segment | None = None,
        trace: FrameTrace | None = None,
    ) -> FrameOrFault:
        """The frame as a job and what it asks of the scheduler; or why it has no embeddings. Never raises.

        `segment`: where the session's shared ranges are looked up. `trace`: of a frame that is recorded.
        """

        def read() -> FrameOrFault:
            plan = self._plan(message, agreement, segment, None)
            if isinstance(plan, FrameFault):
                return plan
            return self.intake.finish(plan, frame_id=message.frame_id, age_ns=message.age_ns)

        taken = _careful(read, trace)
        if trace is not None and not isinstance(taken, FrameFault):
            taken[1].trace = trace
        return taken

    def sight(
        self,
        message: frame_pb2.Frame,
        agreement: Agreement,
        segment: Segment | None = None,
        trace: FrameTrace | None = None,
    ) -> SightedFrame | FrameFault:
        """The same for a session with tracks, which decides about its boxes when the frame is taken."""

        def read() -> SightedFrame | FrameFault:
            sightings = Sightings()
            plan = self._plan(message, agreement, segment, sightings)
            if isinstance(plan, FrameFault):
                return plan
            return self.intake.sighted(plan, sightings, frame_id=message.frame_id, age_ns=message.age_ns)

        taken = _careful(read, trace)
        if isinstance(taken, SightedFrame):
            taken.trace = trace
        return taken

    def _plan(
        self, message: frame_pb2.Frame, agreement: Agreement, segment: Segment | None, sightings: Sightings | None
    ) -> FramePlan | FrameFault:
        """`sightings`: collects where the boxes are. Raises ImageError."""
        ready_crops = message.HasField("crops")
        count = len(message.crops.crops) if ready_crops else len(message.boxes)
        plan = self.intake.begin(agreement, count, ready_crops=ready_crops)
        if isinstance(plan, FrameFault):
            return plan
        if ready_crops and message.boxes:
            beside = f"{len(message.boxes)} boxes beside crops; a crop carries its own box"
            return FrameFault(reason=FaultReason.INVALID_ARGUMENT, message=beside)
        ranges = FrameRanges(segment)
        match message.WhichOneof("image"):
            case "encoded":
                image = self.intake.encoded(agreement, message.encoded.data)
                fault = self._whole(plan, image, None, message, sightings)
            case "raw":
                fault = self._whole(plan, *_raw(message.raw, ranges), message, sightings)
            case "crops":
                fault = self._crops(plan, message, ranges, sightings)
            case _:
                fault = FrameFault(reason=FaultReason.INVALID_IMAGE, message="no image: set one of encoded, raw, crops")
        return fault or plan

    def _whole(
        self,
        plan: FramePlan,
        image: Image,
        fetch: Fetch | None,
        message: frame_pb2.Frame,
        sightings: Sightings | None,
    ) -> FrameFault | None:
        """One picture, many boxes."""
        picture = self.intake.picture(plan, image, fetch)
        if isinstance(picture, FrameFault):
            return picture
        source = message.source_size
        size = (source.width, source.height) if message.HasField("source_size") else None
        scale = source_scale(image, size)
        if isinstance(scale, FrameFault):
            return scale
        scale_x, scale_y = scale
        scored = plan.agreement.box_filter is not None  # nobody else looks at scores, and reading them costs time
        if sightings is not None:
            sightings.width, sightings.height, sightings.scale = image.width, image.height, scale
        for box in message.boxes:
            class_id = box.class_id if box.HasField("class_id") else None
            score = box.score if scored and box.HasField("score") else None
            if box.HasField("rect"):
                rect = box.rect
                x1, y1, x2, y2 = where = (rect.x1, rect.y1, rect.x2, rect.y2)
                source_size = ((x2 - x1) * scale_x, (y2 - y1) * scale_y)
                plan.add(picture, where, source_size, class_id=class_id, score=score)
            else:
                where = NOWHERE
                plan.add(picture, None, (0.0, 0.0), class_id=class_id, score=score)
            if sightings is not None:
                sightings.rects.append(where)
                sightings.track_ids.append(box.track_id if box.HasField("track_id") else None)
        return None

    def _crops(
        self, plan: FramePlan, message: frame_pb2.Frame, ranges: FrameRanges, sightings: Sightings | None
    ) -> FrameFault | None:
        """Many pictures, one crop each; a bad one harms no other."""
        scored = plan.agreement.box_filter is not None
        steps = HeaderSteps(len(message.crops.crops))
        for crop in message.crops.crops:
            fault = too_many_steps(steps)
            if fault is not None:
                return fault
            if sightings is not None:
                sightings.rects.append(_where(crop.box))
                sightings.track_ids.append(crop.box.track_id if crop.box.HasField("track_id") else None)
            try:
                if crop.HasField("raw"):
                    image, fetch = _raw(crop.raw, ranges)
                else:
                    image, fetch = self.intake.encoded(plan.agreement, crop.encoded.data, steps), None
            except ImageError:
                plan.refuse(BoxRefusal.INVALID_IMAGE)
                continue
            picture = self.intake.picture(plan, image, fetch)
            if isinstance(picture, FrameFault):
                return picture
            box, rect = crop.box, (0.0, 0.0, float(image.width), float(image.height))
            if crop.HasField("inner_rect"):
                inner = crop.inner_rect
                rect = (inner.x1, inner.y1, inner.x2, inner.y2)
            size = (rect[2] - rect[0], rect[3] - rect[1])
            if box.HasField("rect"):
                source = box.rect
                size = (source.x2 - source.x1, source.y2 - source.y1)
            plan.add(
                picture,
                rect,
                size,
                class_id=box.class_id if box.HasField("class_id") else None,
                score=box.score if scored and box.HasField("score") else None,
            )
        return None


def _where(box: image_pb2.Box) -> Rect:
    """Where a ready crop was in its source frame, as far as that can be used."""
    rect = (box.rect.x1, box.rect.y1, box.rect.x2, box.rect.y2)
    finite = all(map(math.isfinite, rect))
    return rect if finite and rect[0] < rect[2] and rect[1] < rect[3] else NOWHERE


def _careful(read: Callable[[], V], trace: FrameTrace | None) -> V | FrameFault:
    """What is read, or why it cannot be: whatever it is, it is this frame's, and the stream goes on."""
    try:
        return read()
    except ImageError as error:
        return image_fault(error)
    except Exception as error:  # noqa: BLE001 - see above
        log.failure("frame_not_parsed", error, **trace_field(trace))
        return FrameFault(reason=FaultReason.INTERNAL, message="the frame could not be read: internal error")


def _raw(message: image_pb2.RawImage, ranges: FrameRanges) -> tuple[Image, Fetch | None]:
    """The layout of raw pixels, and how they are fetched if they are not there. Raises ImageError."""
    data: bytes | memoryview = message.data
    fetch: Fetch | None = None
    if message.HasField("shared") == bool(data):
        fault = "both data and shared are set" if data else "neither data nor shared is set"
        raise InvalidImage(f"raw image: {fault}; set exactly one")
    pixel_format, matrix, color_range = _coding(message.format, message.color_matrix, message.color_range)
    if not data:
        pixels = ranges.pixels(message.shared)
        data, fetch = pixels.view, pixels.fetch
    image = parse_raw(
        data=data,
        format=pixel_format,
        width=message.width,
        height=message.height,
        stride=message.stride,
        offset=message.offset,
        chroma_stride=message.chroma_stride,
        chroma_offset=message.chroma_offset,
        color_matrix=matrix,
        color_range=color_range,
    )
    return image, fetch


@cache
def _coding(pixel_format: int, matrix: int, color_range: int) -> tuple[PixelFormat, ColorMatrix, ColorRange]:
    """Kept for the few combinations that there are; one that is refused is not kept."""
    return (
        _known("format", pixel_format, _FORMATS),
        _known("color_matrix", matrix, _MATRICES),
        _known("color_range", color_range, _RANGES),
    )


def _known(field: str, number: int, table: Mapping[int, V]) -> V:
    known = table.get(number)
    if known is None:
        raise UnsupportedImage(
            f"raw image: {field} is {number}; this server knows {', '.join(map(str, sorted(table)))}"
        )
    return known
