"""What the log says of a stream's session: that it began, and how it ended, with what became of its frames.

Why: who asks why a camera stopped has the log and nothing else, for metrics have no names. Trap: only answers that
were written count, and a client that leaves shows as a cancellation of the call, or as an error of the last write.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

import grpc

from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import FaultReason
from reidstream_server.core.terms import Flow
from reidstream_server.errors import CallRefused
from reidstream_server.logs import get_logger
from reidstream_server.runtime.session import JobAnswer

log = get_logger(__name__)

_GIVEN_UP = {FaultReason.DROPPED, FaultReason.WINDOW_FULL, FaultReason.QUEUE_FULL, FaultReason.OVER_BUDGET}


class SessionRecord:
    """Logs `session_opened` and `session_ended`; a `with` block is the session. Set `cause` before leaving it.

    `session_ended` has answers by their kind: `answered`, `given_up` (dropped, window or queue full, over budget),
    `failed`.
    """

    def __init__(self, flow: Flow, epoch: int) -> None:
        self.cause: EndCause | None = None
        self._flow = flow
        self._epoch = epoch
        self._begun_s = time.monotonic()
        self._answered = self._given_up = self._failed = 0

    def __enter__(self) -> Self:
        log.info("session_opened", client=self._flow.client, camera_id=self._flow.camera_id, epoch=self._epoch)
        return self

    def written(self, answer: JobAnswer) -> None:
        """An answer went to the client."""
        if answer.fault is None:
            self._answered += 1
        elif answer.fault.reason in _GIVEN_UP:
            self._given_up += 1
        else:
            self._failed += 1

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        log.info(
            "session_ended",
            client=self._flow.client,
            camera_id=self._flow.camera_id,
            epoch=self._epoch,
            cause=_cause_of(exc) if self.cause is None else self.cause.value,
            seconds=round(time.monotonic() - self._begun_s, 3),
            answered=self._answered,
            given_up=self._given_up,
            failed=self._failed,
        )


def _cause_of(error: BaseException | None) -> str:
    match error:
        case CallRefused():
            return error.refusal.value
        case asyncio.CancelledError() | grpc.aio.BaseError():
            return "vanished"
        case _:
            return "fault"
