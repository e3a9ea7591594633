"""What a session did and does: counted when an answer is written, whatever became of the frame."""

from __future__ import annotations

import pytest

from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import (
    DROPPED_BY_QUEUE,
    DROPPED_BY_WINDOW,
    FaultReason,
    FrameFault,
    invalid_frame_id,
)
from reidstream_server.core.terms import Flow, Window
from reidstream_server.runtime.statistics import (
    GIVEN_UP,
    NEWEST_ANSWERS,
    RECENT_NS,
    Ages,
    NewestAnswers,
    SessionCounters,
    SessionFigures,
    losses,
)
from tests.support.harness import frame, serving, stream_to, until

S = 1_000_000_000


def arrived(at_ns: int, age_ns: int = 0) -> FrameTimes:
    return FrameTimes(
        arrived_ns=at_ns,
        age_ns=age_ns,
        staging_ns=0,
        decoded_ns=0,
        first_batch_ns=0,
        last_batch_ns=0,
        batch_sizes=(),
    )


def test_the_rate_is_of_the_newest_answers_and_falls_when_none_comes() -> None:
    """Ten a second for a hundred frames; ten seconds later less than ten a second, and not zero."""
    counters = SessionCounters(0)
    newest = counters.newest
    assert (newest.rate_fps(S), newest.ages(S)) == (0.0, None)
    for number in range(100):
        now = number * S // 10
        counters.came(1000)
        counters.written(None, arrived(now - S // 20, S // 2), now)
    assert newest.rate_fps(99 * S // 10) == pytest.approx(10.0)
    assert 0 < newest.rate_fps(199 * S // 10) < 5
    assert newest.ages(99 * S // 10) == Ages(p50_ns=55 * S // 100, p99_ns=55 * S // 100)
    assert (counters.frames, counters.bytes, counters.answered) == (100, 100_000, 100)


def test_one_answer_has_an_age_and_no_rate() -> None:
    """Two make a rate."""
    counters = SessionCounters(0)
    counters.written(None, arrived(0), S)
    assert (counters.newest.rate_fps(2 * S), counters.newest.ages(2 * S)) == (0.0, Ages(p50_ns=S, p99_ns=S))


def test_ages_are_those_of_frames_and_nothing_between_them() -> None:
    """The least age that half, or 99 of a hundred, do not exceed."""
    newest = NewestAnswers()
    for age in range(200, 0, -1):
        newest.add(S, age)
    assert newest.ages(S) == Ages(p50_ns=100, p99_ns=198)


def test_ages_are_of_the_last_minute() -> None:
    """A camera that stands still says nothing of now, and its rate goes towards zero."""
    newest = NewestAnswers()
    newest.add(S, 7)
    newest.add(2 * S, 3)
    assert newest.ages(RECENT_NS + S) == Ages(p50_ns=3, p99_ns=7)
    assert newest.ages(RECENT_NS + S + 1) == Ages(p50_ns=3, p99_ns=3)
    assert newest.ages(RECENT_NS + 2 * S + 1) is None
    assert 0 < newest.rate_fps(RECENT_NS + 2 * S) < 0.02


@pytest.mark.parametrize("more", [0, 1, NEWEST_ANSWERS - 1, NEWEST_ANSWERS, 1000])
def test_the_newest_answers_are_of_a_fixed_number(more: int) -> None:
    """Whatever came before them counts no more: neither in the rate, nor among the ages, nor as the newest."""
    newest = NewestAnswers()
    for number in range(NEWEST_ANSWERS + more):
        newest.add(number * S // 100, number)
    last = NEWEST_ANSWERS + more - 1
    now = last * S // 100
    assert newest.newest_ns == now
    assert newest.rate_fps(now) == pytest.approx(100.0)
    assert newest.ages(now) == Ages(p50_ns=last - NEWEST_ANSWERS // 2, p99_ns=last - 2)


@pytest.mark.parametrize("reason", FaultReason)
def test_a_fault_is_given_up_or_failed(reason: FaultReason) -> None:
    """Load has cost the frame, or something else has."""
    counters = SessionCounters(0)
    counters.written(FrameFault(reason=reason, message=""), arrived(0), S)
    found = SessionFigures(
        flow=Flow(client="", camera_id="c"),
        seconds=1.0,
        frames=1,
        bytes=0,
        answered=counters.answered,
        faults=dict(counters.faults),
        dropped_by_queue=counters.dropped_by_queue,
        rate_fps=0.0,
        ages=None,
        window=Window(frames=1, bytes=1),
        window_frames=0,
        window_bytes=0,
    )
    assert found.answered == 0
    assert (found.given_up, found.failed) == ((1, 0) if reason in GIVEN_UP else (0, 1))


def test_a_dropped_frame_had_no_room_in_the_window_or_in_the_queue() -> None:
    """The first is the camera's, the second the server's; what did not happen is not named."""
    counters = SessionCounters(0)
    for fault in (DROPPED_BY_WINDOW, DROPPED_BY_QUEUE, DROPPED_BY_QUEUE, DROPPED_BY_QUEUE, invalid_frame_id(1, 1)):
        counters.written(fault, arrived(0), S)
    expected = {"dropped_by_window": 1, "dropped_by_queue": 3, "invalid_frame_id": 1}
    assert losses(counters.faults, counters.dropped_by_queue) == expected
    assert losses({}, 0) == {}


async def test_the_runtime_tells_of_every_open_session() -> None:
    """By a real stream: what came, what was answered, what failed, and the window that is held now."""
    async with serving() as server, stream_to(server) as stream:
        opened = await stream.open(camera_id="gate")
        await stream.call.write(frame(1))
        await stream.call.write(frame(1))  # its id does not rise
        await stream.call.write(frame(2, image=b"junk"))
        for _ in range(3):
            await stream.result()
        (session,) = server.runtime.sessions()
        await until(lambda: session.counters.answered + session.counters.faults.total() == 3)  # as the server sees it
        found = server.runtime.session_figures(session)
        assert (found.flow.camera_id, found.frames, found.answered) == ("gate", 3, 1)
        assert found.faults == {FaultReason.INVALID_FRAME_ID: 1, FaultReason.INVALID_IMAGE: 1}
        assert (found.window.frames, found.window_bytes) == (opened.window.frames, 0)
        assert found.bytes > 2000
        assert found.ages is not None
        assert 0 < found.ages.p50_ns <= found.ages.p99_ns
        assert found.rate_fps > 0
    await until(lambda: not server.runtime.sessions())
