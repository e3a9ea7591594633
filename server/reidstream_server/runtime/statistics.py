"""What a session did so far, and does now: one record for the log, for an admin call and for tests.

Why not metrics: a label per camera would grow without bound, so Prometheus has none. Whoever asks why one camera is
slow asks here. Trap: an answer counts when its door has written it, not when the core hands it out; a client that does
not read has no answers.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import DROPPED_BY_QUEUE, FaultReason, FrameFault
from reidstream_server.core.terms import Flow, Window

GIVEN_UP = frozenset({FaultReason.DROPPED, FaultReason.WINDOW_FULL, FaultReason.QUEUE_FULL, FaultReason.OVER_BUDGET})
"""Faults of load: the frame was good, and the server or the session had no room or time for it."""

NEWEST_ANSWERS = 256
"""How many answers a rate and an age are of. A ring of this size takes 4 KiB of a session."""

RECENT_NS = 60_000_000_000
"""No age is of an older answer: a camera that stood still says nothing of now."""


class NewestAnswers:
    """When the newest answers were written, and how old their frames were then. An answer costs two numbers in a ring;
    whatever is computed of them is computed when somebody asks. Event loop only.
    """

    __slots__ = ("_ages", "_next", "_written")

    def __init__(self) -> None:
        self._written = array("q")
        self._ages = array("q")
        self._next = 0

    def add(self, written_ns: int, age_ns: int) -> None:
        """An answer was written."""
        at = self._next
        if len(self._written) < NEWEST_ANSWERS:
            self._written.append(written_ns)
            self._ages.append(age_ns)
        else:
            self._written[at] = written_ns
            self._ages[at] = age_ns
        self._next = (at + 1) % NEWEST_ANSWERS

    @property
    def newest_ns(self) -> int | None:
        """When the newest was written; None if there is none."""
        return self._written[self._next - 1] if self._written else None

    def rate_fps(self, now_ns: int) -> float:
        """Answers a second since the oldest of them; it falls while none is written."""
        count = len(self._written)
        if count < 2:  # noqa: PLR2004 - one answer has no rate
            return 0.0
        oldest = self._written[self._next if count == NEWEST_ANSWERS else 0]
        return (count - 1) * 1e9 / max(now_ns - oldest, 1)

    def ages(self, now_ns: int) -> Ages | None:
        """Of those that are recent; None if none is."""
        since = now_ns - RECENT_NS
        ages = sorted(age for written, age in zip(self._written, self._ages, strict=True) if written >= since)
        return Ages(p50_ns=_percentile(ages, 50), p99_ns=_percentile(ages, 99)) if ages else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """How old frames were when their answers were written. Each is the age of a frame: nothing is interpolated."""

    p50_ns: int
    p99_ns: int


def _percentile(ascending: list[int], percent: int) -> int:
    """The least value that so many percent of them do not exceed."""
    return ascending[-(-len(ascending) * percent // 100) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFigures:
    """A snapshot of one session, open or just over. Seconds, bytes of pixels as they came, frames a second.

    `answered`: frames with vectors. `faults`: the others, by reason. `dropped_by_queue`: those of the dropped ones for
    which the server's queue had no room, and not the window. `rate_fps`: of the newest answers, up to now. `ages`: of
    the recent ones; None if there are none. `window_frames` and `window_bytes`: held of `window` now.
    """

    flow: Flow
    seconds: float
    frames: int
    bytes: int
    answered: int
    faults: dict[FaultReason, int]
    dropped_by_queue: int
    rate_fps: float
    ages: Ages | None
    window: Window
    window_frames: int
    window_bytes: int

    @property
    def given_up(self) -> int:
        """Frames that load has cost."""
        return sum(count for reason, count in self.faults.items() if reason in GIVEN_UP)

    @property
    def failed(self) -> int:
        """Frames with any other fault."""
        return sum(self.faults.values()) - self.given_up

    @property
    def losses(self) -> dict[str, int]:
        """Frames without vectors, by the words of `losses`."""
        return losses(self.faults, self.dropped_by_queue)


def losses(faults: Mapping[FaultReason, int], dropped_by_queue: int) -> dict[str, int]:
    """Lost frames by reason, as the log has them: a frame is dropped by the window or by the queue. No zeros."""
    found = {reason.value: count for reason, count in faults.items() if reason is not FaultReason.DROPPED}
    found["dropped_by_window"] = faults.get(FaultReason.DROPPED, 0) - dropped_by_queue
    found["dropped_by_queue"] = dropped_by_queue
    return {name: count for name, count in found.items() if count}


class SessionCounters:
    """Counts as frames come and answers go: a few additions each. Event loop only; the clock is given."""

    __slots__ = ("answered", "began_ns", "bytes", "dropped_by_queue", "faults", "frames", "newest")

    def __init__(self, now_ns: int | None = None) -> None:
        self.began_ns = time.monotonic_ns() if now_ns is None else now_ns
        self.frames = self.bytes = self.answered = self.dropped_by_queue = 0
        self.faults: Counter[FaultReason] = Counter()
        self.newest = NewestAnswers()

    def came(self, message_bytes: int) -> None:
        """A frame was read."""
        self.frames += 1
        self.bytes += message_bytes

    def written(self, fault: FrameFault | None, times: FrameTimes, now_ns: int) -> None:
        """An answer went to the client."""
        if fault is None:
            self.answered += 1
        else:
            self.faults[fault.reason] += 1
            self.dropped_by_queue += fault == DROPPED_BY_QUEUE
        self.newest.add(now_ns, times.age_ns + now_ns - times.arrived_ns)

    @property
    def quiet_since_ns(self) -> int:
        """When the newest answer was written, or the session began: since then it is idle, if no frame is open."""
        newest = self.newest.newest_ns
        return self.began_ns if newest is None else newest
