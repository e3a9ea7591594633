"""The spans of a session's frames: each begins in `send`, and ends when its answer may be taken.

Why apart: a session of one stream and one of many have the same. Trap: an answer may come before `send` returns, so a
frame is known here before it is handed on; and an id that is refused may be that of a frame that is still open.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Final

from typing_extensions import Self

from reidstream_client.connection.protocols import SERVICE
from reidstream_client.tracing import NO_TRACE, FrameFacts, FrameSpan, FrameTracing
from reidstream_client.types import FrameEmbeddings

STREAM: Final = f"{SERVICE}/EmbedStream"
EMBED: Final = f"{SERVICE}/Embed"


class FrameSpans:
    """One event loop. `tracing`: None, and then nothing here does anything."""

    def __init__(
        self, tracing: FrameTracing | None = None, *, method: str = STREAM, target: str = "", camera_id: str = ""
    ) -> None:
        self._tracing = tracing
        self._facts = FrameFacts(method=method, target=target, camera_id=camera_id)
        self._open: dict[int, FrameSpan] = {}

    def sending(self) -> Sending:
        """A `with` block in which a frame is prepared and handed over; what it raises ends the frame's span."""
        return Sending(None if self._tracing is None else self._tracing.begin(self._facts), self._open)

    def answered(self, answers: Iterable[FrameEmbeddings]) -> None:
        """These answers are the caller's."""
        if self._open:
            for answer in answers:
                span = self._open.pop(answer.frame_id, None)
                if span is not None:
                    span.answered(answer)

    def end(self, error: BaseException | None) -> None:
        """What is open has no answer."""
        while self._open:
            frame_id, span = self._open.popitem()
            span.failed(frame_id, error)


class Sending:
    """See `FrameSpans.sending`. `headers`: what the server is told."""

    __slots__ = ("_frame_id", "_open", "_span", "headers")

    def __init__(self, span: FrameSpan | None, spans: dict[int, FrameSpan]) -> None:
        self.headers = NO_TRACE if span is None else span.headers
        self._span = span
        self._open = spans
        self._frame_id: int | None = None

    def prepared(self, frame_id: int) -> None:
        """The frame is about to be handed over."""
        self._frame_id = frame_id
        if self._span is not None:
            self._open.setdefault(frame_id, self._span)

    def answered(self, answer: FrameEmbeddings) -> None:
        """The frame was the only one of its call, and this is its answer."""
        if self._span is not None:
            self._span.answered(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is None or self._span is None:
            return
        if self._frame_id is not None and self._open.get(self._frame_id) is self._span:
            del self._open[self._frame_id]
        self._span.failed(self._frame_id, exc)
