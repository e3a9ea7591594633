"""Spans on their way to a collector: a bounded queue, and a thread that sends them.

Why not OpenTelemetry's own processor: it does not tell how many spans it has dropped, and it builds spans where they
end, which is the event loop here. This one takes plain values and builds spans in the thread.

Traps: a collector may be away, slow or silent. So `put` never waits and drops what finds no room, and `close` waits for
a moment only; what was not sent by then is dropped too. The thread sleeps while there is nothing to send.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reidstream_server.logs import get_logger
from reidstream_server.runtime.trace import FrameSpan

log = get_logger(__name__)

MAX_SPANS = 2048
BATCH_SPANS = 512
DELAY_S = 5.0
"""From a span to its sending, where no batch becomes full. As the three before, OpenTelemetry's own."""

LAST_WORDS_S = 2.0
"""How long the end of the server waits for the last spans."""

TELL_S = 60.0
"""Between two lines of the log about spans that were dropped."""


class SpanExporter(Protocol):
    """Sends spans. `export` in the queue's thread, `close` in any."""

    __slots__ = ()

    @abstractmethod
    def export(self, spans: Sequence[FrameSpan]) -> str | None:
        """Send them, which may take seconds. Returns why it failed; None if it did not."""
        ...

    @abstractmethod
    def close(self) -> None:
        """End what is being sent. Nothing is sent after it. Does not wait."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFigures:
    """Spans so far. `exported`: a collector has them. `queue_full`: there was no room. `export_failed`: no collector
    took them.
    """

    exported: int = 0
    queue_full: int = 0
    export_failed: int = 0


class ExportQueue:
    """`put` on the event loop only. `clock`: monotonic seconds."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        max_spans: int = MAX_SPANS,
        batch_spans: int = BATCH_SPANS,
        delay_s: float = DELAY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exporter = exporter
        self._max_spans = max_spans
        self._batch_spans = batch_spans
        self._delay_s = delay_s
        self._clock = clock
        self._spans: deque[FrameSpan] = deque()
        self._some, self._now = threading.Event(), threading.Event()
        self._closing = False
        self._exported = self._failed = 0  # the thread's
        self._came = self._no_room = 0  # the event loop's
        self._told, self._told_s = 0, -TELL_S
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    @property
    def figures(self) -> ExportFigures:
        """Any thread."""
        return ExportFigures(exported=self._exported, queue_full=self._no_room, export_failed=self._failed)

    @property
    def unsent(self) -> int:
        """Spans that wait, or are being sent. Any thread."""
        return self._came - self._no_room - self._exported - self._failed

    def put(self, span: FrameSpan) -> None:
        """Have it sent, if there is room."""
        self._came += 1
        if self._closing or len(self._spans) >= self._max_spans:
            self._no_room += 1
            return
        self._spans.append(span)
        waiting = len(self._spans)
        if waiting == 1:
            self._some.set()
        elif waiting >= self._batch_spans:
            self._now.set()

    def close(self, within_s: float = LAST_WORDS_S) -> None:
        """Send what waits, for so long at most. Blocks. Harmless to repeat."""
        self._closing = True
        self._some.set()
        self._now.set()
        self._thread.join(within_s)
        self._exporter.close()
        self._thread.join(within_s / 4)
        self._failed += len(self._spans)
        self._spans.clear()
        self._tell("the server has ended", at_once=True)

    # In the thread.

    def _run(self) -> None:
        while not self._closing:
            self._some.wait()
            self._some.clear()
            if not self._closing:
                self._now.wait(self._delay_s)
                self._now.clear()
            while self._spans:
                self._send([self._spans.popleft() for _ in range(min(len(self._spans), self._batch_spans))])

    def _send(self, spans: Sequence[FrameSpan]) -> None:
        try:
            failure = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever the library does, the next spans are sent
            failure = f"{type(error).__name__}: {error}"
        if failure is None:
            self._exported += len(spans)
        else:
            self._failed += len(spans)
        self._tell(failure or "they came faster than the collector took them")

    def _tell(self, why: str, *, at_once: bool = False) -> None:
        dropped, now = self._no_room + self._failed, self._clock()
        if dropped > self._told and (at_once or now >= self._told_s + TELL_S):
            log.warning("traces_dropped", spans=dropped - self._told, reason=why)
            self._told, self._told_s = dropped, now
