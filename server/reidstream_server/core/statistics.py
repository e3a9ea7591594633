"""Snapshots of the scheduler, and how fast it serves.

Why one snapshot: metrics, tests and the simulator read the same numbers, so a test can assert on state instead of
waiting for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .terms import Bound, ModelIndex, Window

_MEASURE_NS = 250_000_000
_NEWEST_WEIGHT = 0.3
_MIN_RETRY_MS, _MAX_RETRY_MS = 10, 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """One model's crops and batches. `ready_crops` wait for a slot. A `retiring` model takes no new sessions."""

    index: ModelIndex
    name: str
    ready_crops: int
    running_batches: int
    running_crops: int
    lost: bool
    retiring: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatistics:
    """One session. `open_frames` are not answered yet; `unwritten_answers` were handed out, and the transport has not
    taken them. `window_frames` and `window_bytes` are what of `window` is used. `readable`: whether its next message
    may be read.
    """

    open_frames: int
    unwritten_answers: int
    window_frames: int
    window_bytes: int
    window: Window
    readable: bool
    draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStatistics:
    """`frames`: those with pixels to give back, or whose answer is not known. `parked_frames`: those that wait for room
    in the queue. `queued_frames`: those that wait to be staged. `refusals`: frames that found no room, so far.
    `models`: those that are there, in the order in which they were added.
    """

    sessions: int
    frames: int
    queue_boxes: int
    queue_bytes: int
    staged_bytes: int
    held_answer_bytes: int
    staging_frames: int
    aside_frames: int
    lost_stagings: int
    queued_frames: int
    parked_frames: int
    parked_bytes: int
    paused_sources: int
    oldest_waiting_s: float
    timers: int
    refusals: Mapping[Bound, int]
    models: tuple[ModelStatistics, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStatistics:
    """All sessions together. `open_frames` and `unwritten_answers`: as of a session. `window_frames`: used of their
    windows, which are `window_limit` in all. `full_windows`: sessions whose window has no room for another frame.
    """

    open_frames: int
    unwritten_answers: int
    window_frames: int
    window_limit: int
    full_windows: int


class ServiceRate:
    """Crops a second, smoothed; tells a rejected client when to come back."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._count = 0
        self._since_ns: int | None = None

    def served(self, crops: int, now: int) -> None:
        """A batch has ended."""
        if self._since_ns is None:
            self._since_ns = now
        self._count += crops
        passed = now - self._since_ns
        if passed >= _MEASURE_NS:
            measured = self._count * 1e9 / passed
            self._rate = measured if not self._rate else self._rate + _NEWEST_WEIGHT * (measured - self._rate)
            self._count, self._since_ns = 0, now

    def milliseconds_for(self, crops: int) -> int:
        """How long so many crops take at this rate, within 10 ms and 5 s."""
        if not self._rate:
            return _MIN_RETRY_MS
        return int(min(max(crops * 1e3 / self._rate, _MIN_RETRY_MS), _MAX_RETRY_MS))
