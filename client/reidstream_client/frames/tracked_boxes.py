"""The boxes of a frame that belong to tracks, as the server measures them: in pixels of the source frame.

Why the client keeps them: the server remembers nothing of a session without a stream. Another one goes on with a track
only if it is told where the track's last box was, and that box need not have been embedded. Trap: what is sent is in
pixels of the picture, which may be a scaled and a turned one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reidstream_proto.v1 import image_pb2

from .boxes import BoxArray
from .encoded_size import encoded_size
from .orientation import exif_orientation, turned_size
from .payloads import Payload

Rect: TypeAlias = tuple[float, float, float, float]

_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class TrackedBox:
    """Box `index` of a frame: x1, y1, x2, y2 in pixels of the source frame; None for a ready crop without a box."""

    index: int
    track_id: int
    rect: Rect | None


def tracked_boxes(
    tracks: Sequence[int | None] | None, corners: BoxArray | None, scale: tuple[float, float]
) -> tuple[TrackedBox, ...]:
    """Those that have a track. `scale`: how much larger the source frame is than the picture, in x and y."""
    across, down = scale
    rects: list[Rect | None] = [None] * len(tracks or ())
    if tracks is not None and corners is not None:
        rects = [(x1 * across, y1 * down, x2 * across, y2 * down) for x1, y1, x2, y2 in corners.tolist()]
    return tuple(
        TrackedBox(index, track_id, rect)
        for index, (track_id, rect) in enumerate(zip(tracks or (), rects, strict=True))
        if track_id is not None
    )


def source_scale(payload: Payload, source: image_pb2.ImageSize | None, *, upright: bool) -> tuple[float, float]:
    """How much larger the source frame is than the picture, in x and y; 1, 1 where nobody says so."""
    size = None if source is None else picture_size(payload)
    if source is None or size is None or not all(size):
        return 1.0, 1.0
    if upright and payload.raw is None:
        size = turned_size(size, exif_orientation(payload.data))
    return source.width / size[0], source.height / size[1]


def picture_size(payload: Payload) -> tuple[int, int] | None:
    """(width, height) in pixels as the picture is stored; None for a file whose header does not say it."""
    if payload.raw is not None:
        return payload.raw.width, payload.raw.height
    return encoded_size(bytes(payload.data[:_HEADER_BYTES]))
