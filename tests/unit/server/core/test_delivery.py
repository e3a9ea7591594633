"""Answers: in the agreed order, no more than the client takes."""

from __future__ import annotations

from reidstream_server.core.admission import Admission
from reidstream_server.core.delivery import Delivery
from reidstream_server.core.effects import Answer, Effect, End, EndCause, Readable
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.core.state import FrameState, SessionState
from reidstream_server.core.terms import Ordering, OverloadPolicy
from reidstream_server.core.timers import Timers

from .builders import MS, START_NS, a_frame, a_session, some_limits

STALL_NS = 1_000 * MS


class Desk:
    """The answers of some sessions, and what came out."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.delivery: Delivery[str] = Delivery(self.timers, Admission(some_limits()), stall_timeout_ns=STALL_NS)

    def decide(self, frame: FrameState[str], fault: FrameFault | None = None) -> None:
        frame.resolved, frame.fault = True, fault
        frame.outcomes = [CropOutcome.EMBEDDED for _ in frame.outcomes]
        frame.session.resolved.append(frame)
        self.delivery.touch(frame.session)

    def flush(self, now: int = START_NS) -> list[Effect[str]]:
        effects: list[Effect[str]] = []
        self.delivery.flush(now, effects)
        return effects


def ids(effects: list[Effect[str]]) -> list[int]:
    return [effect.frame_id for effect in effects if isinstance(effect, Answer)]


def hold_window(frame: FrameState[str]) -> None:
    frame.holds_window = True
    frame.session.window_frames += 1
    frame.session.window_bytes += frame.request.message_bytes


def three(session: SessionState[str]) -> list[FrameState[str]]:
    return [a_frame(session) for _ in range(3)]


def test_in_order_an_answer_waits_its_turn() -> None:
    """A drop's answer, too, waits until every older frame is answered."""
    desk, session = Desk(), a_session(ordering=Ordering.IN_ORDER)
    first, second, third = three(session)
    desk.decide(third, FrameFault(reason=FaultReason.DROPPED, message="dropped"))
    desk.decide(second)
    assert ids(desk.flush()) == []
    desk.decide(first)
    assert ids(desk.flush()) == [frame.request.frame_id for frame in (first, second, third)]
    assert ids(desk.flush()) == []


def test_as_completed_an_answer_waits_for_nobody() -> None:
    """It is handed out as soon as it is known."""
    desk, session = Desk(), a_session(ordering=Ordering.AS_COMPLETED)
    first, second, third = three(session)
    desk.decide(third)
    desk.decide(second)
    assert ids(desk.flush()) == [third.request.frame_id, second.request.frame_id]
    desk.decide(first)
    assert ids(desk.flush()) == [first.request.frame_id]


def test_an_answer_says_what_became_of_each_crop() -> None:
    """One outcome for each crop, or a fault and none."""
    desk, session = Desk(), a_session()
    good, bad = a_frame(session, 2), a_frame(session, 2)
    fault = FrameFault(reason=FaultReason.INVALID_IMAGE, message="not an image")
    desk.decide(good)
    desk.decide(bad, fault)
    first, second = desk.flush()
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.fault, first.outcomes) == (None, (CropOutcome.EMBEDDED,) * 2)
    assert (second.fault, second.outcomes) == (fault, ())


def test_the_window_is_free_when_the_client_has_taken_the_answer() -> None:
    """Not when the answer is known: a client that does not read stops its own stream."""
    desk, session = Desk(), a_session(frames=1)
    frame = a_frame(session)
    hold_window(frame)
    desk.decide(frame)
    desk.flush()
    assert (session.window_frames, session.readable) == (1, False)
    desk.delivery.written(session, START_NS)
    assert (session.window_frames, session.window_bytes, session.readable) == (0, 0, True)


def test_readability_is_announced_when_it_comes_back() -> None:
    """Once, and only after it was lost."""
    desk, session = Desk(), a_session(frames=1, policy=OverloadPolicy.WAIT)
    frame = a_frame(session)
    desk.delivery.touch(session)
    assert desk.flush() == []
    desk.decide(frame)
    desk.flush()
    desk.delivery.written(session, START_NS)
    desk.delivery.touch(session)
    assert desk.flush() == [Readable(session=session.key)]
    desk.delivery.touch(session)
    assert desk.flush() == []


def test_a_session_ends_after_its_last_answer_was_taken() -> None:
    """Half-closed, everything answered, and everything written."""
    desk, session = Desk(), a_session()
    frame = a_frame(session)
    session.half_closed = True
    desk.decide(frame)
    assert [type(effect) for effect in desk.flush()] == [Answer]
    desk.delivery.written(session, START_NS)
    desk.delivery.touch(session)
    assert desk.flush() == [End(session=session.key, cause=EndCause.FINISHED)]


def test_a_client_that_takes_nothing_has_stalled() -> None:
    """Counted from when the first answer could be taken, or from the last one that was."""
    desk, session = Desk(), a_session()
    first, second, _ = three(session)
    desk.decide(first)
    desk.decide(second)
    desk.flush(START_NS)
    assert desk.timers.next_ns() == START_NS + STALL_NS
    desk.delivery.written(session, START_NS + STALL_NS - 1)
    assert not desk.delivery.stalled(session, START_NS + STALL_NS)
    assert desk.delivery.stalled(session, START_NS + 2 * STALL_NS - 1)


def test_a_client_that_has_taken_everything_cannot_stall() -> None:
    """No timer is left, and one more `written` than there were answers is ignored."""
    desk, session = Desk(), a_session()
    desk.decide(a_frame(session))
    desk.flush()
    for _ in range(2):
        desk.delivery.written(session, START_NS)
    assert len(desk.timers) == 0
    assert not desk.delivery.stalled(session, START_NS + 9 * STALL_NS)


def test_nothing_is_handed_out_for_a_session_that_is_gone() -> None:
    """Its frames may be decided in the same step."""
    desk, session = Desk(), a_session()
    desk.decide(a_frame(session))
    session.gone = True
    assert desk.flush() == []
