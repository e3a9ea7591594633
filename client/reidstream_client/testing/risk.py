"""Whether a fake server embeds a box of a track, or answers it with the track's newest row.

The same rules as a server's, but for quality: every box has the same one here. Trap: a track without a row has its box
embedded whatever the policy says; that is decided by whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from typing_extensions import assert_never

from reidstream_client.choices import EmbedAtIntervals, EmbedEveryFrame, EmbedOnce, EmbedOnRisk, EmbedPolicy

from .records import Corners

ON_RISK: Final = EmbedOnRisk(max_overlap=0.5, max_size_ratio=2.0, max_shift=1.0, min_quality_gain=0.1, max_age_s=1.0)
"""What a fake server fills in: the defaults of a server of today. Another one may have others, and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """The frame of a track's newest row: its number among those that came, and when it was taken."""

    number: int
    taken_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A box of a track: its corners, those of the frame's other boxes, and its frame as in RowSource."""

    corners: Corners
    others: Sequence[Corners]
    number: int
    taken_s: float


def with_defaults(policy: EmbedPolicy) -> EmbedPolicy:
    """The policy as it holds."""
    if not isinstance(policy, EmbedOnRisk):
        return policy
    return EmbedOnRisk(
        **{
            name: default if (given := getattr(policy, name)) is None else given
            for name in EmbedOnRisk.__slots__
            if (default := getattr(ON_RISK, name)) is not None
        }
    )


def needs_row(policy: EmbedPolicy, seen: Seen, *, last: Corners | None, source: RowSource) -> bool:
    """Whether the box is embedded. `last`: the track's box before it, if it is known."""
    match policy:
        case EmbedEveryFrame():
            return True
        case EmbedOnce():
            return False
        case EmbedAtIntervals():
            due = policy.frames is not None and seen.number - source.number >= policy.frames
            return due or (policy.seconds is not None and seen.taken_s - source.taken_s >= policy.seconds)
        case EmbedOnRisk():
            return _at_risk(policy, seen, last, source)
        case _:
            assert_never(policy)


def _at_risk(policy: EmbedOnRisk, seen: Seen, last: Corners | None, source: RowSource) -> bool:
    """`policy` has every default filled in."""
    if any(_overlap(seen.corners, other) > (policy.max_overlap or 0) for other in seen.others):
        return True
    if last is not None:
        x1, y1, x2, y2 = seen.corners
        left, top, right, bottom = last
        width, height = right - left, bottom - top
        wider, higher = (x2 - x1) / width, (y2 - y1) / height
        if max(wider, 1 / wider, higher, 1 / higher, wider / higher, higher / wider) > (policy.max_size_ratio or 1):
            return True
        aside, along = abs(x1 + x2 - left - right) / 2, abs(y1 + y2 - top - bottom) / 2
        if max(aside / width, along / height) > (policy.max_shift or 0):
            return True
    return seen.taken_s - source.taken_s > (policy.max_age_s or 0)


def _overlap(one: Corners, other: Corners) -> float:
    """Intersection over union; of all of both, also where they leave the picture."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other))
    return common / (areas - common) if common else 0.0
