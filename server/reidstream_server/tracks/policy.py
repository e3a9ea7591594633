"""Whether a box of a track needs a row of its own, or is answered with the track's newest one.

    EveryFrame    always
    AtIntervals   the newest row's frame came `frames` frames before this one, or was taken `interval_ns` before it
    Once          never
    OnRisk        one of these, in this order; each is a reason to doubt the track id, or to hope for a better row:
        OVERLAP   overlap > max_overlap
        SIZE      max(w / w', w' / w, h / h', h' / h, a / a', a' / a) > max_size_ratio, a = w / h; ' is the last box
        SHIFT     |x - x'| > max_shift x w', or |y - y'| > max_shift x h', of the boxes' centres
        QUALITY   quality - the newest row's quality > min_quality_gain
        AGE       the newest row's frame was taken more than max_age_ns before this one

Each is asked only of a track that has a row, or one on its way: without one the answer is FIRST.

Trap: "the newest row" is that of the newest frame which was sent to be embedded, though its answer may still be on its
way. If that frame gets no row, whoever keeps the memory forgets the source, and the next box is FIRST again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from .sighting import Rect, Sighting
from .terms import AtIntervals, EmbedPolicy, EveryFrame, Once, OnRisk


class Reason(Enum):
    """Why a box needs a row of its own."""

    FIRST = "first"
    EVERY_FRAME = "every_frame"
    INTERVAL = "interval"
    OVERLAP = "overlap"
    SIZE = "size"
    SHIFT = "shift"
    QUALITY = "quality"
    AGE = "age"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """The box that a track's newest row comes from, or will come from.

    `frame`: the number of its frame among those that came; 0 or less for a frame of an earlier stream of the session.
    `taken_ns`: when that frame was taken. `quality`: of the box.
    """

    frame: int
    taken_ns: int
    quality: float


def needs_row(
    policy: EmbedPolicy, seen: Sighting, *, frame: int, taken_ns: int, last: Rect | None, source: RowSource | None
) -> Reason | None:
    """Why the box `seen` must be embedded; None: it may be answered with the row of `source`.

    `frame`: the number of its frame, as in RowSource. `last`: the track's box before this one, finite and not empty.
    `source`: None if no row of the track is there, or on its way.
    """
    if source is None:
        return Reason.FIRST
    match policy:
        case EveryFrame():
            return Reason.EVERY_FRAME
        case Once():
            return None
        case AtIntervals(frames=frames, interval_ns=interval_ns):
            due = frames is not None and frame - source.frame >= frames
            due = due or (interval_ns is not None and taken_ns - source.taken_ns >= interval_ns)
            return Reason.INTERVAL if due else None
        case OnRisk():
            return _risk(policy, seen, taken_ns=taken_ns, last=last, source=source)
        case _:
            assert_never(policy)


def _risk(policy: OnRisk, seen: Sighting, *, taken_ns: int, last: Rect | None, source: RowSource) -> Reason | None:
    if seen.overlap > policy.max_overlap:
        return Reason.OVERLAP
    if last is not None:
        if _size_ratio(seen.rect, last) > policy.max_size_ratio:
            return Reason.SIZE
        if _shift(seen.rect, last) > policy.max_shift:
            return Reason.SHIFT
    if seen.quality - source.quality > policy.min_quality_gain:
        return Reason.QUALITY
    if taken_ns - source.taken_ns > policy.max_age_ns:
        return Reason.AGE
    return None


def _size_ratio(rect: Rect, last: Rect) -> float:
    """By which factor the width, the height or their ratio has changed, up or down; at least 1."""
    wider = (rect[2] - rect[0]) / (last[2] - last[0])
    higher = (rect[3] - rect[1]) / (last[3] - last[1])
    return max(wider, 1 / wider, higher, 1 / higher, wider / higher, higher / wider)


def _shift(rect: Rect, last: Rect) -> float:
    """How far the centre has moved, in widths of the last box to the side, or in its heights up or down."""
    aside = abs(rect[0] + rect[2] - last[0] - last[2]) / 2
    along = abs(rect[1] + rect[3] - last[1] - last[3]) / 2
    return max(aside / (last[2] - last[0]), along / (last[3] - last[1]))
