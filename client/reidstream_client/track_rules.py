"""What track options may be: the rules of `tracks`, in the client's own words and units.

Why here: a server refuses a wrong one by the field of the contract, and only when the session opens. Trap: times are
seconds here and whole milliseconds on the wire, so what would become 0 there is refused here.
"""

from __future__ import annotations

import math
from typing import Final

from reidstream_proto.v1.contract import MAX_TRACK_REPRESENTATIVES, MAX_TRACK_TIMEOUT_MS

from .checks import at_least_one, between, instance, member, number, shown
from .choices import (
    EmbedAtIntervals,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    EmbedPolicy,
    TrackOptions,
    TrackVector,
)
from .errors import InvalidRequest

_EXAMPLE: Final = "TrackOptions(embed=EmbedOnRisk())"
_POLICIES: Final = "EmbedEveryFrame(), EmbedAtIntervals(frames=5), EmbedOnRisk() or EmbedOnce()"
_MS: Final = 0.001
_LONGEST_TIMEOUT_S: Final = MAX_TRACK_TIMEOUT_MS / 1000
_LONGEST_S: Final = (2**32 - 1) // 1000
"""As the wire counts milliseconds."""


def track_options(name: str, value: object) -> TrackOptions:
    """Track options, each by its rule."""
    given = instance(TrackOptions, name, value, example=_EXAMPLE)
    return TrackOptions(
        embed=_policy(f"{name}.embed", given.embed),
        timeout_s=_time(f"{name}.timeout_s", given.timeout_s, _LONGEST_TIMEOUT_S),
        vector=member(TrackVector, f"{name}.vector", given.vector),
        representatives=between(f"{name}.representatives", given.representatives, 0, MAX_TRACK_REPRESENTATIVES),
    )


def _policy(name: str, value: object) -> EmbedPolicy:
    match value:
        case EmbedEveryFrame() | EmbedOnce():
            return value
        case EmbedAtIntervals():
            return _intervals(name, value)
        case EmbedOnRisk():
            return EmbedOnRisk(
                max_overlap=_share(f"{name}.max_overlap", value.max_overlap),
                max_size_ratio=_from(f"{name}.max_size_ratio", value.max_size_ratio, 1.0),
                max_shift=_above_zero(f"{name}.max_shift", value.max_shift),
                min_quality_gain=_share(f"{name}.min_quality_gain", value.min_quality_gain),
                max_age_s=None if value.max_age_s is None else _time(f"{name}.max_age_s", value.max_age_s),
            )
        case _:
            raise InvalidRequest(f"{name} must be one of {_POLICIES}, not {shown(value)}")


def _intervals(name: str, given: EmbedAtIntervals) -> EmbedAtIntervals:
    if given.frames is None and given.seconds is None:
        raise InvalidRequest(f"{name} must have frames=, seconds=, or both; EmbedEveryFrame() embeds every frame")
    return EmbedAtIntervals(
        frames=None if given.frames is None else at_least_one(f"{name}.frames", given.frames),
        seconds=None if given.seconds is None else _time(f"{name}.seconds", given.seconds),
    )


def _time(name: str, value: object, longest_s: float = _LONGEST_S) -> float:
    found = number(name, value)
    if not _MS <= found <= longest_s:
        raise InvalidRequest(f"{name} must be {_MS} to {longest_s:.0f} s, not {shown(value)}")
    return found


def _share(name: str, value: object) -> float | None:
    if value is None:
        return None
    found = number(name, value)
    if not 0 <= found <= 1:
        raise InvalidRequest(f"{name} must lie in 0 to 1, not {shown(value)}")
    return found


def _from(name: str, value: object, least: float) -> float | None:
    if value is None:
        return None
    found = number(name, value)
    if not least <= found < math.inf:
        raise InvalidRequest(f"{name} must be at least {least:g} and finite, not {shown(value)}")
    return found


def _above_zero(name: str, value: object) -> float | None:
    if value is None:
        return None
    found = number(name, value)
    if not 0 < found < math.inf:
        raise InvalidRequest(f"{name} must be above 0 and finite, not {shown(value)}")
    return found
