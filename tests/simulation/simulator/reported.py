"""The core's own statistics are right: they are compared with the sums of the books, and those with the limits.

Why: metrics, operators and tests believe these numbers. Trap: the books' sums must come from frames, batches and
clients, never from another number of the core.
"""

from __future__ import annotations

from collections import Counter

from reidstream_server.core.statistics import SessionStatistics, WindowStatistics
from reidstream_server.core.terms import ModelIndex

from .books import Books, ClientBook, Violation
from .tally import Tally

PASSED_PART = 6


def check_scheduler(books: Books, tally: Tally, now: int) -> None:
    """The numbers of everything, of each model, and of the timers."""
    limits = books.scenario.limits
    core = books.scheduler.statistics(now)
    paused = books.accounts.all_paused(now)
    known = [client for client in books.clients.values() if client.known]
    batches: Counter[ModelIndex] = Counter()
    crops: Counter[ModelIndex] = Counter()
    for batch in books.batches.values():
        batches[batch.model] += 1
        crops[batch.model] += len(batch.crops)
    counted = (
        len(known),
        tally.holding,
        tally.queue_boxes,
        tally.queue_bytes,
        tally.staged_bytes,
        tally.answer_bytes,
        tally.staging,
        tally.aside,
        tally.lost_stagings,
        len(tally.queued),
        tally.parked,
        tally.parked_bytes,
        len(paused),
        tuple(
            (
                index,
                tally.ready_crops[index] + tally.alone_crops[index],
                batches[index],
                crops[index],
                index in books.lost,
                model.retiring,
            )
            for index, model in books.there.items()
        ),
    )
    reported = (
        core.sessions,
        core.frames,
        core.queue_boxes,
        core.queue_bytes,
        core.staged_bytes,
        core.held_answer_bytes,
        core.staging_frames,
        core.aside_frames,
        core.lost_stagings,
        core.queued_frames,
        core.parked_frames,
        core.parked_bytes,
        core.paused_sources,
        tuple(
            (
                model.index,
                model.ready_crops,
                model.running_batches,
                model.running_crops,
                model.lost,
                model.retiring,
            )
            for model in core.models
        ),
    )
    if counted != reported:
        raise Violation("statistics", f"the core reports {reported}; it is {counted}")
    _check_windows(books, known)
    if tally.queue_boxes > limits.max_queue_boxes or tally.queue_bytes > limits.max_queue_bytes:
        raise Violation("bounds", f"{tally.queue_boxes} boxes, {tally.queue_bytes} bytes in the queue of {limits}")
    if tally.parked_bytes > limits.max_parked_bytes or tally.answer_bytes > limits.max_held_answer_bytes:
        raise Violation("bounds", f"{tally.parked_bytes} bytes parked, {tally.answer_bytes} of answers; {limits}")
    held = tally.queue_bytes + tally.parked_bytes + tally.staged_bytes + tally.answer_bytes
    bounds_sum = (
        limits.max_queue_bytes + limits.max_parked_bytes + limits.max_staged_bytes + limits.max_held_answer_bytes
    )
    if held > bounds_sum:
        raise Violation("sum of bounds", f"{held} bytes are held; all bounds together are {bounds_sum}")
    passed = (tally.passed_boxes, tally.passed_bytes, tally.passed_answers)
    bounds = (limits.max_queue_boxes, limits.max_queue_bytes, limits.max_held_answer_bytes)
    if any(PASSED_PART * held > most for held, most in zip(passed, bounds, strict=True)):
        raise Violation("passing", f"frames that passed others hold {passed} of {bounds}")
    timers = tally.budget_timers + len(tally.lingering) + len(paused) + (tally.watched > 0)
    timers += sum(now < batch.started_ns + limits.batch_timeout_ns for batch in books.batches.values())
    for client in known:
        timers += bool(client.unwritten) + (client.drain_ns is not None and now < client.drain_ns)
    if core.timers != timers:
        raise Violation("timers", f"{core.timers} timers; there is use for {timers}")


def _check_windows(books: Books, known: list[ClientBook]) -> None:
    """The numbers of all windows together."""
    windows = [(client, client.plan.terms.window) for client in known]
    expected = WindowStatistics(
        open_frames=sum(len(client.unanswered) for client in known),
        unwritten_answers=sum(len(client.unwritten) for client in known),
        window_frames=sum(client.window_frames for client in known),
        window_limit=sum(window.frames for _, window in windows),
        full_windows=sum(
            client.window_frames >= window.frames or client.window_bytes >= window.bytes for client, window in windows
        ),
    )
    reported = books.scheduler.window_statistics()
    if reported != expected:
        raise Violation("statistics", f"the core reports {reported} of all windows; it is {expected}")


def check_session(books: Books, client: ClientBook, *, readable: bool) -> None:
    """The numbers of one session; `readable`: whether it should be."""
    expected = SessionStatistics(
        open_frames=len(client.unanswered),
        unwritten_answers=len(client.unwritten),
        window_frames=client.window_frames,
        window_bytes=client.window_bytes,
        window=client.plan.terms.window,
        readable=readable,
        draining=client.drain_ns is not None,
    )
    reported = None if client.key is None else books.scheduler.session_statistics(client.key)
    if reported != expected:
        raise Violation("statistics", f"the core reports {reported} of {client}; it is {expected}")
