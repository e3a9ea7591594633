"""What the log says of a stream's session: that it began, and how it ended, with what became of its frames.

Why: metrics have no names of cameras, so whoever asks why a camera stopped has the log. Trap: a client that leaves
shows as a cancellation of the call, or as an error of the last write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Self

import grpc

from reidstream_server.core.effects import EndCause
from reidstream_server.core.terms import Flow
from reidstream_server.errors import CallRefused
from reidstream_server.logs import get_logger
from reidstream_server.runtime.statistics import SessionFigures

log = get_logger(__name__)


class SessionRecord:
    """Logs `session_opened` and `session_ended`; a `with` block is the session. Set `cause` before leaving it.

    `session_ended` has the written answers by their kind: `answered`, `given_up` (dropped, window or queue full, over
    budget), `failed`; and then a field for each reason of the last two. `figures` is asked once, at the end.
    `trace`: the field that names a trace, if the client named one.
    """

    def __init__(
        self,
        flow: Flow,
        epoch: int,
        figures: Callable[[], SessionFigures],
        trace: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.cause: EndCause | None = None
        self._flow = flow
        self._epoch = epoch
        self._figures = figures
        self._trace = trace

    def __enter__(self) -> Self:
        flow = self._flow
        log.info("session_opened", client=flow.client, camera_id=flow.camera_id, epoch=self._epoch, **self._trace)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        total = self._figures()
        log.info(
            "session_ended",
            client=self._flow.client,
            camera_id=self._flow.camera_id,
            epoch=self._epoch,
            cause=_cause_of(exc) if self.cause is None else self.cause.value,
            seconds=round(total.seconds, 3),
            answered=total.answered,
            given_up=total.given_up,
            failed=total.failed,
            **total.losses,
            **self._trace,
        )


def _cause_of(error: BaseException | None) -> str:
    match error:
        case CallRefused():
            return error.refusal.value
        case asyncio.CancelledError() | grpc.aio.BaseError():
            return "vanished"
        case _:
            return "fault"
