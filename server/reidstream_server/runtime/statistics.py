"""What a session did so far, and does now: one record for the log, for an admin call and for tests.

Why not metrics: a label per camera would grow without bound, so Prometheus has none. Whoever asks why one camera is
slow asks here. Trap: an answer counts when its door has written it, not when the core hands it out; a client that does
not read has no answers.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass

from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import Flow, Window

GIVEN_UP = frozenset({FaultReason.DROPPED, FaultReason.WINDOW_FULL, FaultReason.QUEUE_FULL, FaultReason.OVER_BUDGET})
"""Faults of load: the frame was good, and the server or the session had no room or time for it."""

_NEWEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFigures:
    """A snapshot of one session, open or just over. Seconds, bytes of pixels as they came, frames a second.

    `answered`: frames with vectors. `faults`: the others, by reason. `rate_fps`: of the newest answers, up to now.
    `age_s`: the mean age of the newest answers when they were written; None before the first. `window_frames` and
    `window_bytes`: held of `window` now.
    """

    flow: Flow
    seconds: float
    frames: int
    bytes: int
    answered: int
    faults: dict[FaultReason, int]
    rate_fps: float
    age_s: float | None
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


class SessionCounters:
    """Counts as frames come and answers go: a few additions each. Event loop only; the clock is given."""

    __slots__ = ("_newest", "answered", "began_ns", "bytes", "faults", "frames")

    def __init__(self, now_ns: int | None = None) -> None:
        self.began_ns = time.monotonic_ns() if now_ns is None else now_ns
        self.frames = self.bytes = self.answered = 0
        self.faults: Counter[FaultReason] = Counter()
        self._newest: deque[tuple[int, int]] = deque(maxlen=_NEWEST)  # (written, age then)

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
        self._newest.append((now_ns, times.age_ns + now_ns - times.arrived_ns))

    def rate_fps(self, now_ns: int) -> float:
        """Answers a second since the oldest of the newest ones; it falls while none is written."""
        if len(self._newest) < 2:  # noqa: PLR2004 - one answer has no rate
            return 0.0
        return (len(self._newest) - 1) * 1e9 / max(now_ns - self._newest[0][0], 1)

    def age_s(self) -> float | None:
        """Mean age of the newest answers."""
        if not self._newest:
            return None
        return sum(age for _, age in self._newest) / len(self._newest) / 1e9
