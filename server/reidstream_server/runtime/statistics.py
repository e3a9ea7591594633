"""What a session did so far, and does now: one record for the log, for an admin call and for tests.

Why not metrics: a label per camera would grow without bound, so Prometheus has none. Whoever asks why one camera is
slow asks here. Trap: an answer counts when its door has written it, not when the core hands it out; a client that does
not read has no answers.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import DROPPED_BY_QUEUE, FaultReason, FrameFault
from reidstream_server.core.terms import Flow, Window

GIVEN_UP = frozenset({FaultReason.DROPPED, FaultReason.WINDOW_FULL, FaultReason.QUEUE_FULL, FaultReason.OVER_BUDGET})
"""Faults of load: the frame was good, and the server or the session had no room or time for it."""

_NEWEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFigures:
    """A snapshot of one session, open or just over. Seconds, bytes of pixels as they came, frames a second.

    `answered`: frames with vectors. `faults`: the others, by reason. `dropped_by_queue`: those of the dropped ones for
    which the server's queue had no room, and not the window. `rate_fps`: of the newest answers, up to now. `age_s`: the
    mean age of the newest answers when they were written; None before the first. `window_frames` and `window_bytes`:
    held of `window` now.
    """

    flow: Flow
    seconds: float
    frames: int
    bytes: int
    answered: int
    faults: dict[FaultReason, int]
    dropped_by_queue: int
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

    __slots__ = ("_newest", "answered", "began_ns", "bytes", "dropped_by_queue", "faults", "frames")

    def __init__(self, now_ns: int | None = None) -> None:
        self.began_ns = time.monotonic_ns() if now_ns is None else now_ns
        self.frames = self.bytes = self.answered = self.dropped_by_queue = 0
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
            self.dropped_by_queue += fault == DROPPED_BY_QUEUE
        self._newest.append((now_ns, times.age_ns + now_ns - times.arrived_ns))

    @property
    def quiet_since_ns(self) -> int:
        """When the newest answer was written, or the session began: since then it is idle, if no frame is open."""
        return self._newest[-1][0] if self._newest else self.began_ns

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
