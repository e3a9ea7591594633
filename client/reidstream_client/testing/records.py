"""What a fake server received: the wire's messages as records, in the client's own words.

Why not the messages themselves: they are generated, and a test would have to know the contract. Trap: an image is kept
as it travelled. Nothing decodes a JPEG here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_client.choices import (
    BoxFilter,
    EmbeddingDtype,
    ModelChoice,
    Ordering,
    OverloadPolicy,
    Priority,
    TrackOptions,
)
from reidstream_client.frames.encoded_size import encoded_size
from reidstream_client.frames.orientation import exif_orientation, turned_size
from reidstream_client.track_terms import agreed_tracks
from reidstream_proto.v1 import frame_pb2, image_pb2, session_pb2

Corners: TypeAlias = tuple[float, float, float, float]
Format: TypeAlias = Literal["file", "bgr", "rgb", "gray", "nv12"]

_FORMATS: Final[Mapping[int, Format]] = {
    image_pb2.PIXEL_FORMAT_BGR: "bgr",
    image_pb2.PIXEL_FORMAT_RGB: "rgb",
    image_pb2.PIXEL_FORMAT_GRAY: "gray",
    image_pb2.PIXEL_FORMAT_NV12: "nv12",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedImage:
    """A picture as it travelled. `width`, `height`: 0 where the header of a file says nothing."""

    data: bytes = field(repr=False)
    format: Format
    width: int
    height: int
    stride: int = 0
    offset: int = 0

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(height, width, 3) of "bgr" and "rgb", (height, width) of "gray". Raises ValueError for the other two."""
        if self.format in {"file", "nv12"}:
            raise ValueError(f"a fake server decodes nothing, and this picture came as {self.format}; look at its data")
        channels = 1 if self.format == "gray" else 3
        row = self.width * channels
        shape, strides = (self.height, row), (self.stride or row, 1)
        rows: npt.NDArray[np.uint8] = np.ndarray(shape, np.uint8, self.data, self.offset, strides).copy()
        return rows if channels == 1 else rows.reshape(self.height, self.width, channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBox:
    """Box `index` of a frame, in its `image`: the frame's picture, or the crop's own.

    `xyxy`: None for a crop that came without. `inner_xyxy`: the part of a crop that is meant; None: all of it.
    """

    index: int
    image: ReceivedImage
    xyxy: Corners | None
    class_id: int | None
    score: float | None
    track_id: int | None
    is_crop: bool = False
    inner_xyxy: Corners | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedOptions:
    """The options of a client, as they came with a session or a single call."""

    camera_id: str
    models: tuple[ModelChoice, ...]
    priority: Priority
    latency_budget_s: float | None
    dtype: EmbeddingDtype
    box_filter: BoxFilter | None
    apply_exif_orientation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSession:
    """A stream that was opened. `window_frames`, `window_bytes`: what was asked for; 0 is as much as there is.

    `tracks`: None if none were asked for. `open_tracks`: the ids of those that it goes on with.
    """

    session_id: bytes
    epoch: int
    options: ReceivedOptions
    ordering: Ordering
    overload_policy: OverloadPolicy
    window_frames: int
    window_bytes: int
    asked_for_shared_memory: bool
    tracks: TrackOptions | None = None
    open_tracks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFrame:
    """A frame of a session, or of a single call (`session` is None). `image` is None for ready crops."""

    frame_id: int
    options: ReceivedOptions
    session: ReceivedSession | None
    image: ReceivedImage | None
    boxes: tuple[ReceivedBox, ...]
    age_s: float
    source_size: tuple[int, int] | None
    capture_unix_ns: int | None

    @property
    def xyxy(self) -> npt.NDArray[np.float32]:
        """(N, 4) corners; NaN for a crop that came without."""
        rows = [box.xyxy or (np.nan,) * 4 for box in self.boxes]
        return np.array(rows, np.float32).reshape(len(rows), 4)


def parse_options(message: session_pb2.EmbedOptions) -> ReceivedOptions:
    """From the wire."""
    return ReceivedOptions(
        camera_id=message.camera_id,
        models=tuple(
            ModelChoice(
                name=choice.name,
                class_ids=tuple(choice.class_ids),
                expected_space_id=choice.expected_space_id if choice.HasField("expected_space_id") else None,
            )
            for choice in message.models
        ),
        priority=Priority(message.priority),
        latency_budget_s=message.latency_budget_ms / 1000 if message.HasField("latency_budget_ms") else None,
        dtype=EmbeddingDtype(message.dtype),
        box_filter=_filter(message.box_filter) if message.HasField("box_filter") else None,
        apply_exif_orientation=message.apply_exif_orientation,
    )


def parse_session(message: session_pb2.SessionOpen) -> ReceivedSession:
    """From the wire."""
    return ReceivedSession(
        session_id=message.session_id,
        epoch=message.epoch,
        options=parse_options(message.options),
        ordering=Ordering(message.ordering),
        overload_policy=OverloadPolicy(message.overload_policy),
        window_frames=message.window.frames,
        window_bytes=message.window.bytes,
        asked_for_shared_memory=message.HasField("shared_memory"),
        tracks=agreed_tracks(message.track_options) if message.HasField("track_options") else None,
        open_tracks=tuple(track.track_id for track in message.track_options.open_tracks),
    )


def parse_frame(
    message: frame_pb2.Frame, *, options: ReceivedOptions, session: ReceivedSession | None
) -> ReceivedFrame:
    """From the wire."""
    image: ReceivedImage | None = None
    boxes: tuple[ReceivedBox, ...]
    upright = options.apply_exif_orientation
    if message.HasField("crops"):
        boxes = tuple(_crop(index, crop, upright) for index, crop in enumerate(message.crops.crops))
    else:
        image = _raw(message.raw) if message.HasField("raw") else _file(message.encoded, upright)
        boxes = tuple(_box(index, box, image) for index, box in enumerate(message.boxes))
    size = message.source_size
    return ReceivedFrame(
        frame_id=message.frame_id,
        options=options,
        session=session,
        image=image,
        boxes=boxes,
        age_s=message.age_ns / 1e9,
        source_size=(size.width, size.height) if message.HasField("source_size") else None,
        capture_unix_ns=message.capture_unix_ns if message.HasField("capture_unix_ns") else None,
    )


def _filter(message: session_pb2.BoxFilter) -> BoxFilter:
    return BoxFilter(
        min_width=message.min_width if message.HasField("min_width") else None,
        min_height=message.min_height if message.HasField("min_height") else None,
        max_width=message.max_width if message.HasField("max_width") else None,
        max_height=message.max_height if message.HasField("max_height") else None,
        min_score=message.min_score if message.HasField("min_score") else None,
        class_ids=tuple(message.class_ids),
    )


def _file(message: image_pb2.EncodedImage, upright: bool) -> ReceivedImage:  # noqa: FBT001 - private
    size = encoded_size(message.data) or (0, 0)
    width, height = turned_size(size, exif_orientation(message.data)) if upright else size
    return ReceivedImage(data=message.data, format="file", width=width, height=height)


def _raw(message: image_pb2.RawImage) -> ReceivedImage:
    return ReceivedImage(
        data=message.data,
        format=_FORMATS[message.format],
        width=message.width,
        height=message.height,
        stride=message.stride,
        offset=message.offset,
    )


def _crop(index: int, crop: image_pb2.Crop, upright: bool) -> ReceivedBox:  # noqa: FBT001 - private
    image = _raw(crop.raw) if crop.HasField("raw") else _file(crop.encoded, upright)
    inner = _corners(crop.inner_rect) if crop.HasField("inner_rect") else None
    return _box(index, crop.box, image, is_crop=True, inner_xyxy=inner)


def _box(
    index: int, box: image_pb2.Box, image: ReceivedImage, *, is_crop: bool = False, inner_xyxy: Corners | None = None
) -> ReceivedBox:
    return ReceivedBox(
        index=index,
        image=image,
        xyxy=_corners(box.rect) if box.HasField("rect") else None,
        class_id=box.class_id if box.HasField("class_id") else None,
        score=box.score if box.HasField("score") else None,
        track_id=box.track_id if box.HasField("track_id") else None,
        is_crop=is_crop,
        inner_xyxy=inner_xyxy,
    )


def _corners(rect: image_pb2.Rect) -> Corners:
    return rect.x1, rect.y1, rect.x2, rect.y2
