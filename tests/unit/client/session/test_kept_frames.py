"""What a session that resumes keeps, gives up and forgets, and in which order it answers."""

from __future__ import annotations

import pytest

from reidstream_client import Ordering, OverloadPolicy
from reidstream_client.choices import EmbeddingDtype, Priority
from reidstream_client.frames.framing import PreparedFrame
from reidstream_client.frames.results import without_vectors
from reidstream_client.models import AgreedModel, parse_limits
from reidstream_client.session.kept_frames import KeptFrames
from reidstream_client.session.local_answers import Budget
from reidstream_client.session.opening import SessionInfo
from reidstream_client.types import FrameEmbeddings, Timing
from reidstream_proto.v1 import model_pb2
from tests.unit.client.samples import BOX, prepare


def opened(
    policy: OverloadPolicy = OverloadPolicy.DROP_OLDEST,
    *,
    ordering: Ordering = Ordering.IN_ORDER,
    frames: int = 3,
    size: int = 1 << 20,
) -> SessionInfo:
    return SessionInfo(
        session_id=b"",
        models=(AgreedModel(name="m", version="", dim=2, space_id="1:"),),
        window_frames=frames,
        window_bytes=size,
        limits=parse_limits(model_pb2.Limits()),
        priority=Priority.NORMAL,
        ordering=ordering,
        overload_policy=policy,
        dtype=EmbeddingDtype.FLOAT32,
        latency_budget_s=10.0,
    )


def frame(frame_id: int, captured_s: float = 0.0) -> PreparedFrame:
    return prepare(b"x" * 100, BOX, captured_s=captured_s, frame_id=frame_id)


def answer(frame_id: int) -> FrameEmbeddings:
    return without_vectors(frame_id, 1, (), error=None, timing=Timing())


def kept(info: SessionInfo, count: int) -> KeptFrames:
    one = KeptFrames(info)
    for frame_id in range(count):
        one.take(frame(frame_id))
    return one


def test_answers_come_in_order_and_once() -> None:
    """2's answer waits for 1's; a second answer to a frame is nobody's."""
    one = kept(opened(), 3)
    assert [a.frame_id for a in one.answered(answer(0)) or ()] == [0]
    assert one.answered(answer(2)) == []
    assert one.answered(answer(2)) is None
    assert (one.unanswered, len(one)) == ((1,), 2)
    assert [a.frame_id for a in one.answered(answer(1)) or ()] == [1, 2]
    assert (one.unanswered, len(one), one.next_unsent()) == ((), 0, None)


def test_completed_frames_come_as_they_are_done() -> None:
    """Each at once."""
    one = kept(opened(ordering=Ordering.AS_COMPLETED), 2)
    assert [a.frame_id for a in one.answered(answer(1)) or ()] == [1]
    assert len(one) == 1


@pytest.mark.parametrize(("policy", "given_up"), [(OverloadPolicy.DROP_OLDEST, 1), (OverloadPolicy.REJECT, 4)])
def test_the_policy_gives_up_what_no_stream_has_yet(policy: OverloadPolicy, given_up: int) -> None:
    """0 is on its way; of the four others one is too many, and when it is answered none is."""
    one = kept(opened(policy), 1)
    first = one.next_unsent()
    assert first is not None
    one.sent(first)
    for frame_id in range(1, 5):
        assert one.too_many() is None
        one.take(frame(frame_id))
    excess = one.too_many()
    assert excess is not None
    assert excess.frame_id == given_up
    one.answered(answer(given_up))
    assert one.too_many() is None


def test_a_new_stream_gets_every_frame_that_has_no_answer() -> None:
    """In order, also those that the stream before had."""
    one = kept(opened(), 3)
    while (waiting := one.next_unsent()) is not None:
        one.sent(waiting)
    one.answered(answer(1))
    one.start_over(opened())
    again = []
    while (waiting := one.next_unsent()) is not None:
        again.append(waiting.frame_id)
        one.sent(waiting)
    assert again == [0, 2]


def test_room_is_a_window_of_frames_and_of_bytes() -> None:
    """A frame larger than the window has room where nothing else is kept: its pixels may be shared."""
    assert not kept(opened(), 3).has_room(frame(3))
    size = frame(0).max_bytes + frame(1).max_bytes
    assert kept(opened(size=size), 1).has_room(frame(1))
    assert not kept(opened(size=size - 1), 1).has_room(frame(1))
    assert kept(opened(size=1), 0).has_room(frame(0))


def test_frames_are_late_one_by_one() -> None:
    """By their own time, whatever their order."""
    one = KeptFrames(opened())
    budget = Budget(opened(), 5.0)
    for frame_id, captured_s in enumerate((3.0, 1.0, 2.0)):
        one.take(frame(frame_id, captured_s))
    assert one.next_late_s(budget) == 16.0
    assert [late.frame_id for late in one.late(budget, 15.9)] == []
    assert [late.frame_id for late in one.late(budget, 17.0)] == [1, 2]
    one.answered(answer(1))
    assert one.next_late_s(budget) == 17.0
