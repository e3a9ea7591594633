"""Tells the log who loses frames, once a minute each, and once that all is well again.

Why: metrics name no camera, and `session_ended` comes too late for whoever asks now. Why a look at all sessions once a
minute, and not a rule at each loss: it costs a frame nothing, and each event has the figures of a whole minute. Single
calls have no session that lasts, so theirs are counted by camera from one look to the next.

Trap: only answers that were written count, so a client that does not read shows no losses; it is told as stalled. And
frames that a client has given up by itself never came here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from reidstream_server.core.faults import DROPPED_BY_QUEUE, FaultReason, FrameFault
from reidstream_server.core.terms import Flow, SessionKey
from reidstream_server.logs import get_logger

from .session import Session
from .statistics import GIVEN_UP, losses

log = get_logger(__name__)

LOOK_S = 60.0
"""Between two looks; nobody is told of more often."""

_MOST_CALLERS = 1024  # names come from clients; those beyond are not told until the next look


@dataclass(slots=True, kw_only=True)
class _Figures:
    """Answers since a session began, or single calls since the last look."""

    answered: int = 0
    faults: Counter[FaultReason] = field(default_factory=Counter)
    dropped_by_queue: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a session had done at the last look, and whether it had lost frames by then and not recovered."""

    at_ns: int
    figures: _Figures = field(default_factory=_Figures)
    degraded: bool = False


class LossWatch:
    """Event loop only; the clock is given."""

    def __init__(self) -> None:
        self._seen: dict[SessionKey, _Seen] = {}
        self._calls: dict[Flow, _Figures] = {}
        self._degraded_calls: set[Flow] = set()

    def call_answered(self, flow: Flow, fault: FrameFault | None) -> None:
        """A single call has its answer."""
        figures = self._calls.get(flow)
        if figures is None:
            if len(self._calls) >= _MOST_CALLERS:
                return
            figures = self._calls[flow] = _Figures()
        if fault is None:
            figures.answered += 1
        else:
            figures.faults[fault.reason] += 1
            figures.dropped_by_queue += fault == DROPPED_BY_QUEUE

    def look(self, sessions: Iterable[Session], now_ns: int) -> None:
        """Log `session_degraded` for each that has lost frames since the last look, and `session_recovered` for each
        that had, and has answered frames and lost none since. Single calls of a camera are like a session.
        """
        self._seen = {session.key: self._look_at(session, now_ns) for session in sessions}
        calls, self._calls = self._calls, {}
        was_degraded, self._degraded_calls = self._degraded_calls, set()
        for flow, figures in calls.items():
            if _tell(flow, figures, LOOK_S, through="calls", was_degraded=flow in was_degraded):
                self._degraded_calls.add(flow)

    def _look_at(self, session: Session, now_ns: int) -> _Seen:
        counters = session.counters
        before = self._seen.get(session.key) or _Seen(at_ns=counters.began_ns)
        now = _Figures(
            answered=counters.answered,
            faults=counters.faults.copy(),
            dropped_by_queue=counters.dropped_by_queue,
        )
        since = _Figures(
            answered=now.answered - before.figures.answered,
            faults=now.faults - before.figures.faults,
            dropped_by_queue=now.dropped_by_queue - before.figures.dropped_by_queue,
        )
        seconds = round((now_ns - before.at_ns) / 1e9, 1)
        flow = session.agreement.terms.flow
        degraded = _tell(flow, since, seconds, through="stream", was_degraded=before.degraded)
        return replace(before, at_ns=now_ns, figures=now, degraded=degraded)


def _tell(flow: Flow, since: _Figures, seconds: float, *, through: str, was_degraded: bool) -> bool:
    """Log what there is to tell; returns whether it is degraded now."""
    del since.faults[FaultReason.SHUTTING_DOWN]  # the log has a word of its own for that
    fields: dict[str, str | float] = {
        "client": flow.client,
        "camera_id": flow.camera_id,
        "through": through,
        "seconds": seconds,
    }
    if since.faults:
        given_up = sum(count for reason, count in since.faults.items() if reason in GIVEN_UP)
        log.warning(
            "session_degraded",
            **fields,
            answered=since.answered,
            given_up=given_up,
            failed=since.faults.total() - given_up,
            **losses(since.faults, since.dropped_by_queue),
        )
        return True
    if was_degraded and since.answered:
        log.info("session_recovered", **fields, answered=since.answered)
        return False
    return was_degraded
