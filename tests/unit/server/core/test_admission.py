"""Who may come into the queue, and who waits for room."""

from __future__ import annotations

from reidstream_server.core.admission import Admission
from reidstream_server.core.state import FrameState, SessionState, Unwritten

from . import builders
from .builders import a_frame, some_limits


def a_session(camera: str = "camera", *, source: str = "", **agreed: object) -> SessionState[str]:
    """Each camera is one of another source, unless a test says more."""
    return builders.a_session(camera, source=source or camera, **agreed)


def of(boxes: int = 100, size: int = 10**6) -> Admission[str]:
    return Admission(some_limits(queue_boxes=boxes, queue_bytes=size))


def parked(admission: Admission[str], session: SessionState[str], boxes: int) -> FrameState[str]:
    frame = a_frame(session, boxes)
    assert not admission.admit(frame)
    admission.park(frame)
    return frame


def give_back(admission: Admission[str], frame: FrameState[str]) -> None:
    admission.release_bytes(frame)
    admission.release_boxes(frame)
    admission.release_answer(frame)


def test_a_greedy_camera_gets_half() -> None:
    """Each camera may hold as much as is still free: one alone half, and the next one half of the rest."""
    admission = of(boxes=100)
    greedy, newcomer = a_session("greedy"), a_session("newcomer")
    held = [a_frame(greedy, 10) for _ in range(7)]
    assert [admission.admit(frame) for frame in held] == [True] * 5 + [False] * 2
    assert [admission.admit(a_frame(newcomer, 5)) for _ in range(6)] == [True] * 5 + [False]
    assert admission.boxes == 75


def test_bytes_are_bounded_alike() -> None:
    """A few large messages fill the queue as many boxes do, until they are staged."""
    admission = of(size=1000)
    greedy, newcomer = a_session("greedy"), a_session("newcomer")
    first = a_frame(greedy, size=500)
    assert admission.admit(first)
    assert not admission.admit(a_frame(greedy, size=10))
    assert not admission.admit(a_frame(newcomer, size=501))
    admission.release_bytes(first)
    assert admission.bytes == 0
    assert admission.admit(a_frame(newcomer, size=1000))


def test_refusing_takes_nothing() -> None:
    """A frame that was not admitted holds nothing, and giving it back frees nothing."""
    admission = of(boxes=10)
    frame = a_frame(a_session(), 11)
    assert not admission.admit(frame)
    give_back(admission, frame)
    assert (admission.boxes, admission.bytes) == (0, 0)


def test_giving_back_twice_frees_once() -> None:
    """A frame can end in several ways at once; what it held comes back once, and its camera is forgotten."""
    admission = of()
    frame, other = a_frame(a_session("a"), 10), a_frame(a_session("b"), 10)
    assert admission.admit(frame)
    assert admission.admit(other)
    for _ in range(2):
        give_back(admission, frame)
    assert (admission.boxes, admission.bytes) == (10, other.request.message_bytes)
    held = [room.pool._by_holder for room in (admission._boxes, admission._bytes, admission._answers)]
    assert all(set(holders) == {other.session.terms.holder} for holders in held)


def test_who_waits_is_let_in_in_order() -> None:
    """As room comes back; a session waits with one frame, and no more once it was let in."""
    admission = of(boxes=16)
    held = a_frame(a_session("held"), 16)
    assert admission.admit(held)
    first, second = parked(admission, a_session("first"), 6), parked(admission, a_session("second"), 6)
    assert admission.next_admitted() is None
    give_back(admission, held)
    assert [admission.next_admitted() for _ in range(3)] == [first, second, None]
    assert (admission.parked, first.session.parked) == (0, None)


def test_a_large_frame_is_not_passed_for_ever() -> None:
    """While the first one that waits holds nothing, nobody else is let in until it fits, and not even newcomers, unless
    they are much smaller.
    """
    admission = of(boxes=24)
    small = [a_frame(a_session(f"small{number}"), 4) for number in range(3)]
    assert all(admission.admit(frame) for frame in small)
    large = parked(admission, a_session("large"), 14)
    newcomer = a_session("newcomer")
    for frame in small[:2]:
        assert not admission.admit(a_frame(newcomer, 4))
        give_back(admission, frame)
    assert admission.next_admitted() is large


def test_what_is_much_smaller_passes_a_large_frame_that_waits() -> None:
    """A small camera does not wait until there is room for a thousand boxes, if it came first or if it came later."""
    admission = of(boxes=1000)
    assert admission.admit(a_frame(a_session("greedy"), 400))
    large, small = parked(admission, a_session("large"), 400), a_frame(a_session("small"), 100)
    assert admission.admit(small)
    assert not admission.admit(a_frame(a_session("half"), 101))
    assert (admission.next_admitted(), large.session.parked) == (None, large)


def test_what_waits_behind_a_large_frame_and_is_much_smaller_passes_it() -> None:
    """When there is room for it, though there is none for the large one."""
    admission = of(boxes=1000)
    held = [a_frame(a_session(f"held{number}"), size) for number, size in enumerate((500, 240, 120, 60, 30))]
    assert [admission.admit(frame) for frame in held] == [True] * 5
    parked(admission, a_session("large"), 400)
    small = parked(admission, a_session("small"), 40)
    parked(admission, a_session("half"), 110)
    assert admission.next_admitted() is None
    give_back(admission, held[2])
    assert [admission.next_admitted() for _ in range(2)] == [small, None]


def test_those_that_pass_hold_a_sixth_at_most() -> None:
    """So the large one gets in, however many small ones come; and when they are done, others may pass."""
    admission = of(boxes=400)
    held = a_frame(a_session("greedy"), 150)
    assert admission.admit(held)
    large = parked(admission, a_session("large"), 200)
    passed = [a_frame(a_session(f"small{number}"), 20) for number in range(4)]
    assert [admission.admit(frame) for frame in passed] == [True, True, True, False]
    give_back(admission, passed[0])
    assert admission.admit(a_frame(a_session("small"), 20))
    give_back(admission, held)
    assert admission.next_admitted() is large


def test_what_waits_is_bounded_by_source() -> None:
    """The messages of one source that wait may be half of all, and then those of another still find room."""
    admission = Admission[str](some_limits(queue_boxes=10, parked_bytes=1000))
    assert admission.admit(a_frame(a_session("held"), 10))
    waiting = [a_frame(a_session(f"camera{number}", source="greedy"), 10, size=100) for number in range(5)]
    for frame in waiting:
        assert admission.may_park(frame)
        admission.park(frame)
    assert not admission.may_park(a_frame(a_session("more", source="greedy"), 10, size=100))
    assert admission.may_park(a_frame(a_session("camera", source="other"), 10, size=100))
    admission.unpark(waiting[0].session)
    assert admission.parked_bytes == 400


def test_vectors_are_bounded_until_their_answers_are_written() -> None:
    """A client that does not read its answers stops itself, and nobody else."""
    admission = Admission[str](some_limits(answer_bytes=100))  # a box has 4 bytes
    silent, other = a_session("silent"), a_session("other")
    first = a_frame(silent, 12)
    assert admission.admit(first)
    admission.release_boxes(first)
    assert not admission.admit(a_frame(silent, 3))
    assert admission.admit(a_frame(other, 3))
    admission.answer_written(silent, Unwritten(window_frames=1, window_bytes=0, answer_bytes=48, passed=False))
    assert (admission.answer_bytes, admission.admit(a_frame(silent, 3))) == (12, True)


def test_who_holds_vectors_alone_does_not_go_first() -> None:
    """A camera whose answers are not written does not let everybody wait until they are."""
    admission = Admission[str](some_limits(answer_bytes=100))
    silent = a_session("silent")
    first = a_frame(silent, 12)
    assert admission.admit(first)
    admission.release_boxes(first)
    parked(admission, silent, 12)
    assert admission.admit(a_frame(a_session("other"), 6))


def test_who_waits_for_its_own_frames_blocks_nobody() -> None:
    """A camera that holds its share already waits until those are done; others come in meanwhile."""
    admission = of(boxes=20)
    greedy = a_session("greedy")
    assert admission.admit(a_frame(greedy, 10))
    parked(admission, greedy, 10)
    assert admission.admit(a_frame(a_session("newcomer"), 5))
    assert admission.next_admitted() is None


def test_sessions_of_one_camera_take_turns() -> None:
    """A session that always has small frames does not keep a large one of its own camera waiting for ever."""
    admission = of(boxes=20)
    busy, patient = a_session("camera"), a_session("camera")
    held = a_frame(busy, 2)
    assert admission.admit(held)
    large = parked(admission, patient, 18)
    later = parked(admission, busy, 1)
    assert admission.next_admitted() is None
    give_back(admission, held)
    assert admission.next_admitted() is large
    assert admission.next_admitted() is None
    give_back(admission, large)
    assert admission.next_admitted() is later


def test_a_newer_frame_takes_the_place_of_the_parked_one() -> None:
    """The session keeps its place among those that wait."""
    admission = of(boxes=10)
    held = a_frame(a_session("held"), 10)
    assert admission.admit(held)
    patient = a_session("patient")
    parked(admission, patient, 10)
    parked(admission, a_session("other"), 10)
    newer = a_frame(patient, 10)
    admission.park(newer)
    assert admission.parked == 2
    give_back(admission, held)
    assert admission.next_admitted() is newer


def test_who_gives_up_waiting_makes_way() -> None:
    """A session that is gone does not keep others out."""
    admission = of(boxes=10)
    assert admission.admit(a_frame(a_session("held"), 1))
    gone = a_session("gone")
    parked(admission, gone, 8)
    small = a_frame(a_session("small"), 3)
    assert not admission.admit(small)
    admission.unpark(gone)
    assert admission.admit(small)


def test_a_camera_of_another_source_shares_nothing_but_its_name() -> None:
    """Where nothing tells clients apart, anybody may name any camera: a frame that waits holds up none of theirs."""
    admission = of(boxes=100)
    first, second = (a_session("gate", source=source) for source in ("connection 1", "connection 2"))
    assert admission.admit(a_frame(first, 40))
    parked(admission, first, 40)
    assert admission.admit(a_frame(second, 5))
