"""A frame from the wire: its pictures' headers are read, its boxes become pixel boxes, and it becomes a job, or a
fault.

Everything about a frame that can be wrong without decoding it is found here, so a hopeless frame costs neither a
decode nor an inference. Trap: sizes are what headers *claim*; the stager refuses a picture that decodes to another
size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from reidstream_engines.errors import ImageError, InvalidImage, UnsupportedImage
from reidstream_engines.headers import parse_encoded, parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, Image, PixelFormat
from reidstream_engines.protocol import Stager
from reidstream_proto.v1 import frame_pb2, image_pb2
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import FrameRequest
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import BoxRefusal, FrameJob
from reidstream_server.runtime.models import ModelTable

from .plan import FramePlan
from .shared_segment import FrameRanges, Segment

V = TypeVar("V")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLimits:
    """The bounds of one frame."""

    max_image_pixels: int
    max_boxes: int
    min_box_px: int
    max_answer_bytes: int
    max_staged_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameParser:
    """Turns messages into jobs. Stateless; event loop only."""

    limits: FrameLimits
    models: ModelTable
    stager: Stager

    def parse(
        self, message: frame_pb2.Frame, agreement: Agreement, segment: Segment | None = None
    ) -> tuple[FrameRequest, FrameJob] | FrameFault:
        """The frame as a job and what it asks of the scheduler; or why it has no embeddings. `segment`: where the
        session's shared ranges are looked up.
        """
        count = len(message.crops.crops) if message.HasField("crops") else len(message.boxes)
        if count > self.limits.max_boxes:
            return _over(FaultReason.TOO_MANY_BOXES, f"{count} boxes", "max_boxes_per_frame", self.limits.max_boxes)
        if message.HasField("crops") and message.boxes:
            return _fault(FaultReason.INVALID_ARGUMENT, f"{len(message.boxes)} boxes beside crops, which carry them")
        plan = FramePlan(self.models, agreement, self.limits.min_box_px)
        ranges = FrameRanges(segment)
        try:
            match message.WhichOneof("image"):
                case "encoded":
                    fault = self._whole(plan, parse_encoded(message.encoded.data), message)
                case "raw":
                    fault = self._whole(plan, _raw(message.raw, ranges), message)
                case "crops":
                    fault = self._crops(plan, message, ranges)
                case _:
                    fault = _fault(FaultReason.INVALID_IMAGE, "no image: set one of encoded, raw, crops")
        except ImageError as error:
            unsupported = isinstance(error, UnsupportedImage)
            return _fault(FaultReason.UNSUPPORTED_IMAGE if unsupported else FaultReason.INVALID_IMAGE, str(error))
        fault = fault or self._answer_fault(plan, agreement)
        if fault is not None:
            return fault
        staged_bytes = sum(map(self.stager.staged_bytes, plan.images, plan.cuts))
        if staged_bytes > self.limits.max_staged_bytes:  # it would wait for ever, and everybody behind it
            what, limit = f"{staged_bytes} bytes to be held", self.limits.max_staged_bytes
            return _over(FaultReason.IMAGE_TOO_LARGE, what, "max_staged_bytes", limit)
        request = FrameRequest(
            frame_id=message.frame_id,
            # Of the pictures, which are all but a thousandth of it; ByteSize() would serialise the whole message. Views
            # are of the client's own memory.
            message_bytes=sum(len(image.data) for image in plan.images if isinstance(image.data, bytes)),
            staged_bytes=staged_bytes,
            age_ns=message.age_ns,
            crops=tuple(crop.model for crop in plan.crops),
        )
        return request, plan.job(ready_crops=message.HasField("crops"))

    def _whole(self, plan: FramePlan, image: Image, message: frame_pb2.Frame) -> FrameFault | None:
        """One picture, many boxes."""
        if (fault := self._too_large(image.width * image.height)) is not None:
            return fault
        scale_x = scale_y = 1.0
        if message.HasField("source_size"):
            source = message.source_size
            if not (source.width and source.height):
                return _fault(FaultReason.INVALID_ARGUMENT, f"source_size is {source.width} x {source.height}")
            scale_x, scale_y = source.width / image.width, source.height / image.height
        picture = plan.picture(image)
        for box in message.boxes:
            if box.HasField("rect"):
                rect = box.rect
                x1, y1, x2, y2 = rect.x1, rect.y1, rect.x2, rect.y2
                plan.add(box, picture, image, (x1, y1, x2, y2), ((x2 - x1) * scale_x, (y2 - y1) * scale_y))
            else:
                plan.add(box, picture, image, None, (0.0, 0.0))
        return None

    def _crops(self, plan: FramePlan, message: frame_pb2.Frame, ranges: FrameRanges) -> FrameFault | None:
        """Many pictures, one crop each; a bad one harms no other."""
        pixels = 0
        for crop in message.crops.crops:
            try:
                image = _raw(crop.raw, ranges) if crop.HasField("raw") else parse_encoded(crop.encoded.data)
            except ImageError:
                plan.boxes.append(BoxRefusal.INVALID_IMAGE)
                continue
            pixels += image.width * image.height
            if (fault := self._too_large(pixels)) is not None:
                return fault
            box, rect = crop.box, (0.0, 0.0, float(image.width), float(image.height))
            if crop.HasField("inner_rect"):
                inner = crop.inner_rect
                rect = (inner.x1, inner.y1, inner.x2, inner.y2)
            size = (rect[2] - rect[0], rect[3] - rect[1])
            if box.HasField("rect"):
                source = box.rect
                size = (source.x2 - source.x1, source.y2 - source.y1)
            plan.add(box, plan.picture(image), image, rect, size)
        return None

    def _too_large(self, pixels: int) -> FrameFault | None:
        if pixels <= self.limits.max_image_pixels:
            return None
        what, limit = f"{pixels} pixels by the header", self.limits.max_image_pixels
        return _over(FaultReason.IMAGE_TOO_LARGE, what, "max_image_pixels", limit)

    def _answer_fault(self, plan: FramePlan, agreement: Agreement) -> FrameFault | None:
        width = int(agreement.dtype.value[-1])
        total = width * sum(self.models[model].spec.output.dim * rows for model, rows in plan.rows.items())
        if total <= self.limits.max_answer_bytes:
            return None
        what, limit = f"the embeddings would have {total} bytes", self.limits.max_answer_bytes
        return _over(FaultReason.ANSWER_TOO_LARGE, what, "max_answer_bytes", limit)


def _raw(message: image_pb2.RawImage, ranges: FrameRanges) -> Image:
    """The layout of raw pixels. Raises ImageError. Trap: each look at a field of bytes copies all of them."""
    data: bytes | memoryview = message.data
    if message.HasField("shared") == bool(data):
        both = "both" if data else "neither"
        raise InvalidImage(f"raw image: {both} of data and shared set; set exactly one")
    pixel_format, matrix, color_range = _coding(message.format, message.color_matrix, message.color_range)
    return parse_raw(
        data=data or ranges.pixels(message.shared),
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


def _over(reason: FaultReason, what: str, setting: str, limit: int) -> FrameFault:
    """Over a limit, with the setting's name, which is the published limit's too."""
    return _fault(reason, f"{what}; the limit is {limit} ({setting})")


def _fault(reason: FaultReason, message: str) -> FrameFault:
    return FrameFault(reason=reason, message=message)
