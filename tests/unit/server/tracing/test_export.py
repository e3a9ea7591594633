"""The queue of spans: bounded, counted, told of once in a while, and never waited for."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from typing_extensions import override

from reidstream_server.runtime.trace import FrameSpan, FrameTrace
from reidstream_server.tracing.export import ExportFigures, ExportQueue, SpanExporter
from tests.support.patience import HANG_S, wait_until


def span(frame_id: int = 1) -> FrameSpan:
    trace = FrameTrace(trace_id=1, span_id=frame_id, parent_id=0, tracestate="", received_ns=0)
    return FrameSpan(
        trace=trace,
        method="m",
        client="",
        camera_id="gate",
        frame_id=frame_id,
        boxes=1,
        outcome="answered",
        status="OK",
        times=None,
        ended_ns=1,
    )


class Exporter(SpanExporter):
    """Takes batches when it is let. `fails`: why; "raise": it raises."""

    def __init__(self, *, fails: str | None = None, waits: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.fails = fails
        self.begun = threading.Event()
        self.go = threading.Event()
        if not waits:
            self.go.set()

    @override
    def export(self, spans: Sequence[FrameSpan]) -> str | None:
        self.begun.set()
        self.go.wait(HANG_S)
        self.batches.append([one.frame_id for one in spans])
        if self.fails == "raise":
            raise ValueError("no such value")
        return self.fails

    @override
    def close(self) -> None:
        self.go.set()


def test_spans_go_out_in_order_in_batches() -> None:
    """As many as a batch holds, at once when it is full."""
    exporter = Exporter()
    queue = ExportQueue(exporter, batch_spans=4, delay_s=HANG_S)
    for frame_id in range(4):
        queue.put(span(frame_id))
    wait_until(lambda: queue.figures.exported == 4)
    queue.close()
    assert exporter.batches == [[0, 1, 2, 3]]


def test_a_span_waits_no_longer_than_the_delay() -> None:
    """Where nothing fills its batch; and a queue that was empty for a while goes on."""
    exporter = Exporter()
    queue = ExportQueue(exporter, delay_s=0.0)
    for count in (1, 2, 3):
        queue.put(span(count))
        wait_until(lambda count=count: queue.figures.exported == count)  # type: ignore[misc]
    queue.close()


def test_what_waits_at_the_end_is_sent() -> None:
    """`close` waits for it."""
    exporter = Exporter()
    queue = ExportQueue(exporter, delay_s=HANG_S)
    queue.put(span())
    queue.close(within_s=HANG_S)
    assert queue.figures == ExportFigures(exported=1)
    queue.put(span())
    queue.close()
    assert queue.figures == ExportFigures(exported=1, queue_full=1)


def test_a_queue_that_is_full_drops_and_close_ends_what_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for a collector that says nothing; the log and the figures have every span."""
    exporter = Exporter(waits=True, fails="cancelled")
    queue = ExportQueue(exporter, max_spans=8, batch_spans=4, delay_s=0.0)
    queue.put(span())
    assert exporter.begun.wait(HANG_S)
    for frame_id in range(20):
        queue.put(span(frame_id))
    assert queue.figures.queue_full == 12
    queue.close(within_s=0.01)
    wait_until(lambda: queue.figures.export_failed + queue.figures.queue_full == 21)
    assert queue.figures.exported == 0
    assert {record.msg for record in caplog.records} == {"traces_dropped"}


@pytest.mark.parametrize("fails", ["nobody answers", "raise"])
def test_a_failure_is_told_once_a_minute(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    """With how many spans were dropped since, and why; the queue goes on."""
    now = [0.0]
    exporter = Exporter(fails=fails)
    queue = ExportQueue(exporter, delay_s=0.0, clock=lambda: now[0])
    for at_s, failed in ((0.0, 1), (30.0, 2), (59.0, 3), (60.0, 4)):
        now[0] = at_s
        queue.put(span())
        wait_until(lambda failed=failed: queue.figures.export_failed == failed)  # type: ignore[misc]
    queue.close()
    told = [record.reidstream_fields for record in caplog.records]  # type: ignore[attr-defined]
    assert [fields["spans"] for fields in told] == [1, 3]
    assert told[0]["reason"] == ("ValueError: no such value" if fails == "raise" else fails)
