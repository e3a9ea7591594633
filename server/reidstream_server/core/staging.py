"""Frames that are being staged, and what those that are staged hold of the memory.

Light frames are staged on the cores that all share. A heavy one would keep such a core for a long time, and everybody
would wait: so it is staged aside, by a thread that gives way to all others. Nobody knows before whether a frame is
heavy; its headers say so, and they may be wrong. So a frame that is staged for too long is set aside then, and one that
takes far too long is given up: it is answered, another decoder takes the place of its own, and its source pays.

Traps: what was given up is still being written to, so it goes on holding its memory until its decoder ends. And a part
of the memory is kept free of heavy frames; but one of them may always be staged, or the largest never would be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from .fleet import Fleet
from .state import FrameState
from .terms import FrameKey, SchedulerLimits
from .timers import Timer, TimerKind, Timers

P = TypeVar("P")

RESERVE_PART = 4
"""One part in so many of the memory is kept free of heavy frames."""

SET_ASIDE = 2
"""So many times as many frames as there are slots may be aside, with those that turned out to be heavy."""

MOST_LOST = 4
"""So many decoders for each slot may be lost. Then something is broken, and the process must end."""


class Staging(Generic[P]):
    """Not thread-safe. `frames`: on the cores that all share. `aside_frames`: beside them. `lost`: given up, and not
    over yet. `bytes`: of frames that are being staged or are staged. `refusals`: frames that found no room for their
    pixels when it was their turn, so far.
    """

    def __init__(self, limits: SchedulerLimits, fleet: Fleet[P], timers: Timers) -> None:
        self.frames = 0
        self.aside_frames = 0
        self.lost = 0
        self.bytes = 0
        self.refusals = 0
        self._aside_bytes = 0
        self._limits = limits
        self._batchers = fleet.batchers
        self._timers = timers
        self._timer: Timer | None = None
        self._at_work: dict[FrameKey, FrameState[P]] = {}  # the oldest first

    @property
    def broken(self) -> bool:
        """Whether too many decoders are lost."""
        return self.lost > MOST_LOST * self._limits.staging_slots

    def takes(self, *, aside: bool) -> bool:
        """Whether a slot is free."""
        return (self.aside_frames if aside else self.frames) < self._limits.staging_slots

    def has_room(self, frame: FrameState[P]) -> bool:
        """Whether its pixels may be held. A frame for which they may not is counted, once."""
        free = self._limits.max_staged_bytes - self.bytes - frame.request.staged_bytes
        if frame.seems_heavy and self._aside_bytes:
            free -= self._limits.max_staged_bytes // RESERVE_PART
        if free < 0 and not frame.lacked_room:
            frame.lacked_room = True
            self.refusals += 1
        return free >= 0

    def begin(self, frame: FrameState[P], now: int) -> None:
        """A slot and room are there."""
        frame.aside = frame.heavy
        frame.being_staged = frame.holds_staged_bytes = True
        frame.staging_ns = now
        self._count(frame, 1)
        self.bytes += frame.request.staged_bytes
        if frame.heavy:
            self._aside_bytes += frame.request.staged_bytes
        self._at_work[frame.key] = frame
        if self._timer is None or self._due_ns(frame, now) < self._timer.at_ns:
            self._watch(now)

    def end(self, frame: FrameState[P]) -> bool:
        """Its decoder has come back; False if nobody waited for that."""
        if not frame.being_staged:
            return False
        frame.being_staged = False
        del self._at_work[frame.key]
        if frame.given_up:
            self.lost -= 1
        else:
            self._count(frame, -1)
        if len(self._at_work) == self.lost:  # nothing to look after
            self._timers.cancel(self._timer)
            self._timer = None
        return True

    def let_go(self, frame: FrameState[P]) -> None:
        """Nobody needs its pixels any more."""
        if frame.holds_staged_bytes:
            frame.holds_staged_bytes = False
            self.bytes -= frame.request.staged_bytes
            if frame.heavy:
                self._aside_bytes -= frame.request.staged_bytes

    def look(self, now: int) -> Iterator[FrameState[P]]:
        """Every frame that was set aside just now, or given up. Called when the timer is due, and when a place aside is
        free again.
        """
        limits = self._limits
        waiting = [frame for frame in self._at_work.values() if not frame.given_up]
        for frame in waiting:
            if now >= frame.staging_ns + limits.staging_timeout_ns:
                self._count(frame, -1)
                frame.given_up = True
                self.lost += 1
                yield frame
        for frame in waiting:
            slow = not (frame.aside or frame.given_up) and now >= frame.staging_ns + limits.slow_staging_ns
            if slow and self.aside_frames < SET_ASIDE * limits.staging_slots:
                self._count(frame, -1)
                frame.aside = True
                self._count(frame, 1)
                yield frame
        self._watch(now)

    def _due_ns(self, frame: FrameState[P], now: int) -> int:
        """When to look again: as soon as it is slow; and if it is, when it is to be given up."""
        slow_ns = frame.staging_ns + self._limits.slow_staging_ns
        return frame.staging_ns + self._limits.staging_timeout_ns if frame.aside or slow_ns <= now else slow_ns

    def _watch(self, now: int) -> None:
        """Set the timer for what is due next. One timer: most frames are staged long before."""
        self._timers.cancel(self._timer)
        dues = [self._due_ns(frame, now) for frame in self._at_work.values() if not frame.given_up]
        self._timer = self._timers.add(min(dues), TimerKind.STAGING, 0) if dues else None

    def _count(self, frame: FrameState[P], change: int) -> None:
        """A frame takes a slot, or gives it back; its engines see it, or do not."""
        if frame.aside:
            self.aside_frames += change
        else:
            self.frames += change
        for model in frame.models:
            crops = frame.request.crops.count(model)
            batcher = self._batchers[model]
            if change > 0:
                batcher.staging_begins(crops, aside=frame.aside)
            else:
                batcher.staging_ends(crops, aside=frame.aside)
