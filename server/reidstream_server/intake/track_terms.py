"""What a call asks for about its tracks, and tracks that another server had: the rules, in plain values.

A door reads its wire into `TrackTerms` and `Snapshot`, and has them checked here. Trap: a snapshot comes from a client,
who may have changed it. What is wrong in it must not make a server fail later, when it adds to the track or ends it;
what is only untrue harms its own session alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np

from reidstream_proto.v1 import contract
from reidstream_server.core.terms import Ordering
from reidstream_server.errors import InvalidCall, NotOffered
from reidstream_server.runtime.models import ServedModel
from reidstream_server.tracks.room import TrackBounds
from reidstream_server.tracks.rows import LEAST_WEIGHT, MAX_KEPT, Vector
from reidstream_server.tracks.terms import AtIntervals, EveryFrame, Once, OnRisk, TrackTerms
from reidstream_server.tracks.track import Snapshot, Sum

_NS_A_MS = 1_000_000
_ROUNDING = 1e-6  # sums of float32 weights
_LENGTH_ROUNDING = 0.01  # of unit rows that were rounded to float16


def check_tracks_are_offered(bounds: TrackBounds) -> None:
    """Raises NotOffered where there is no memory of tracks."""
    if bounds.max_tracks == 0:
        raise NotOffered("track_options: this server has no tracks (max_tracks_per_session is 0); leave it out")


def check_track_ordering(ordering: Ordering) -> None:
    """Raises InvalidCall. A box may be promised a row that is on its way, which must come first."""
    if ordering is not Ordering.IN_ORDER:
        raise InvalidCall("ordering is AS_COMPLETED; a session with track_options must be IN_ORDER")


def check_track_terms(terms: TrackTerms) -> None:
    """Raises InvalidCall for what is out of its range."""
    _check_range("timeout_ms", terms.timeout_ns // _NS_A_MS, 1, contract.MAX_TRACK_TIMEOUT_MS)
    _check_range("representatives", terms.representatives, 0, contract.MAX_TRACK_REPRESENTATIVES)
    match terms.policy:
        case AtIntervals(frames=frames, interval_ns=interval_ns):
            if frames is None and interval_ns is None:
                raise InvalidCall("track_options.at_intervals is empty; set frames, milliseconds, or both")
            _check_range("at_intervals.frames", frames, 1, math.inf)
            _check_range("at_intervals.milliseconds", interval_ns, 1, math.inf)
        case OnRisk() as risk:
            _check_range("on_risk.max_overlap", risk.max_overlap, 0, 1)
            _check_range("on_risk.max_size_ratio", risk.max_size_ratio, 1, math.inf)
            if not (0 < risk.max_shift < math.inf):
                raise InvalidCall(f"track_options.on_risk.max_shift is {risk.max_shift}; it must be above 0")
            _check_range("on_risk.min_quality_gain", risk.min_quality_gain, 0, 1)
            _check_range("on_risk.max_age_ms", risk.max_age_ns, 1, math.inf)
        case EveryFrame() | Once():
            pass
        case _:
            assert_never(terms.policy)


def check_snapshot(field: str, snapshot: Snapshot, model: ServedModel | None) -> None:
    """`field`: names it in an error. `model`: of its rows, if it has any. Raises InvalidCall."""
    last, rows = snapshot.last, snapshot.rows
    if last is not None:
        x1, y1, x2, y2 = last.rect
        if not (all(map(math.isfinite, last.rect)) and x1 < x2 and y1 < y2):
            raise InvalidCall(f"{field}.last_box is {last.rect}; its corners must be finite and in order")
    if rows is not None and model is not None:
        _check_sum(field, rows, unit=model.spec.output.l2_normalize)


def _check_sum(field: str, rows: Sum, *, unit: bool) -> None:
    count, weight = rows.count, rows.weight
    if not count * LEAST_WEIGHT * (1 - _ROUNDING) <= weight <= count * (1 + _ROUNDING):  # nan is in no order
        raise InvalidCall(f"{field}.weight is {weight}; {count} embeddings weigh {LEAST_WEIGHT} to 1 each")
    if not rows.first_frame_id <= rows.last_frame_id:
        raise InvalidCall(f"{field}.first_frame_id is {rows.first_frame_id}, after last_frame_id {rows.last_frame_id}")
    latest = rows.latest
    if not 0 <= latest.quality <= 1:
        raise InvalidCall(f"{field}.latest_quality is {latest.quality}; it must be 0 to 1")
    for name, frame_id in (
        ("latest_frame_id", latest.frame_id),
        *(("kept_frame_ids", row.frame_id) for row in rows.kept),
    ):
        if not rows.first_frame_id <= frame_id <= rows.last_frame_id:
            raise InvalidCall(f"{field}.{name} has {frame_id}; it must lie between first_frame_id and last_frame_id")
    expected = min(count, MAX_KEPT)
    if len(rows.kept) != expected:
        raise InvalidCall(f"{field}.kept has {len(rows.kept)} rows; a track with {count} embeddings keeps {expected}")
    weights = [row.weight for row in rows.kept]
    if not all(LEAST_WEIGHT * (1 - _ROUNDING) <= one <= 1 for one in weights) or not sum(weights) <= weight * (
        1 + _ROUNDING
    ):
        raise InvalidCall(
            f"{field}.kept_weights are {weights}; each must be {LEAST_WEIGHT} to 1, and all at most weight"
        )
    _check_numbers(f"{field}.sum", rows.total, most=weight if unit else None)
    _check_numbers(f"{field}.latest", latest.vector, exactly=1.0 if unit else None)
    for row in rows.kept:
        _check_numbers(f"{field}.kept", row.vector, exactly=1.0 if unit else None)


def _check_numbers(field: str, vector: Vector, *, most: float | None = None, exactly: float | None = None) -> None:
    """Finite, and of a length that it can have."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(length):
        raise InvalidCall(f"{field} has a number that is not finite")
    if exactly is not None and abs(length - exactly) > _LENGTH_ROUNDING:
        raise InvalidCall(f"{field} has the length {length:.4g}; the model's rows have the length 1")
    if most is not None and length > most * (1 + _LENGTH_ROUNDING):
        raise InvalidCall(f"{field} has the length {length:.4g}, which is more than its weight, {most:.4g}")


def check_ids(snapshots: Sequence[Snapshot]) -> None:
    """Raises InvalidCall for a track that is there twice."""
    seen: set[int] = set()
    for snapshot in snapshots:
        if snapshot.track_id in seen:
            raise InvalidCall(f"track_options.open_tracks has the track {snapshot.track_id} twice")
        seen.add(snapshot.track_id)


def _check_range(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        bound = f"{least} to {most}" if math.isfinite(most) else f"at least {least}"
        raise InvalidCall(f"track_options.{name} is {value}; it must be {bound}")
