"""The bounds of calls and frames, and the record of all bounds that doors publish.

Trap: a bound is kept in one place, published in another and named in the error of a third. `bounds.py` fills all three
from the configuration, so they are the same number.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLimits:
    """The bounds of one frame: pixels by its headers, boxes, a box's smallest side, bytes of vectors, bytes held."""

    max_image_pixels: int
    max_boxes: int
    min_box_px: int
    max_answer_bytes: int
    max_staged_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """The largest window, and the frames of one that names none."""

    max_frames: int
    max_bytes: int
    default_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLimits:
    """What clients are told, by the names of the settings. Each door renders it in its own words."""

    max_message_bytes: int
    max_image_pixels: int
    max_boxes_per_frame: int
    min_box_px: int
    max_window_frames: int
    max_window_bytes: int
    max_queue_boxes: int
    max_queue_bytes: int
    max_parked_bytes: int
    max_staged_bytes: int
    max_held_answer_bytes: int
    max_answer_bytes: int
    max_sessions: int
    max_shared_memory_bytes: int
    max_sessions_per_client: int
    max_calls: int
    max_receiving_bytes: int
    max_tracks_per_session: int
    max_track_bytes: int
