"""Tells the log which session loses frames, once a minute each, and once that all is well again.

Why: metrics name no camera, and `session_ended` comes too late for whoever asks now. Why a look at all sessions once a
minute, and not a rule at each loss: it costs a frame nothing, and each event has the figures of a whole minute.

Trap: only answers that were written count, so a client that does not read shows no losses; it is told as stalled. And
frames that a client has given up by itself never came here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from reidstream_server.core.faults import FaultReason
from reidstream_server.core.terms import SessionKey
from reidstream_server.logs import get_logger

from .session import Session
from .statistics import GIVEN_UP, losses

log = get_logger(__name__)

LOOK_S = 60.0
"""Between two looks; a session is told of at most so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A session's counters at the last look, and whether it had lost frames then."""

    at_ns: int
    answered: int = 0
    faults: Counter[FaultReason] = field(default_factory=Counter)
    dropped_by_queue: int = 0
    degraded: bool = False


class LossWatch:
    """Event loop only; the clock is given."""

    def __init__(self) -> None:
        self._seen: dict[SessionKey, _Seen] = {}

    def look(self, sessions: Iterable[Session], now_ns: int) -> None:
        """Log `session_degraded` for each session that has lost frames since the last look, and `session_recovered`
        for one that had, and has answered frames and lost none since.
        """
        self._seen = {session.key: self._look_at(session, now_ns) for session in sessions}

    def _look_at(self, session: Session, now_ns: int) -> _Seen:
        counters, flow = session.counters, session.agreement.terms.flow
        before = self._seen.get(session.key) or _Seen(at_ns=counters.began_ns)
        faults = counters.faults - before.faults
        del faults[FaultReason.SHUTTING_DOWN]  # the log has a word of its own for that
        answered = counters.answered - before.answered
        seconds = round((now_ns - before.at_ns) / 1e9, 1)
        if faults:
            given_up = sum(count for reason, count in faults.items() if reason in GIVEN_UP)
            log.warning(
                "session_degraded",
                client=flow.client,
                camera_id=flow.camera_id,
                seconds=seconds,
                answered=answered,
                given_up=given_up,
                failed=faults.total() - given_up,
                **losses(faults, counters.dropped_by_queue - before.dropped_by_queue),
            )
        recovered = before.degraded and not faults and answered > 0
        if recovered:
            log.info(
                "session_recovered",
                client=flow.client,
                camera_id=flow.camera_id,
                seconds=seconds,
                answered=answered,
            )
        return _Seen(
            at_ns=now_ns,
            answered=counters.answered,
            faults=counters.faults.copy(),
            dropped_by_queue=counters.dropped_by_queue,
            degraded=bool(faults) or (before.degraded and not recovered),
        )


async def watch_losses(sessions: Callable[[], Iterable[Session]]) -> None:
    """Look every minute, until cancelled."""
    watch = LossWatch()
    while True:
        await asyncio.sleep(LOOK_S)
        watch.look(sessions(), time.monotonic_ns())
