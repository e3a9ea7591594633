"""The ledger of a session: windows, order, local answers, drain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_client import FrameTooLarge, InvalidRequest, LedgerStatistics, Ordering, OverloadPolicy, ProtocolFault
from reidstream_client.session.ledger import Delivery, FrameLedger, LocalAnswer, Offer

Ledger = FrameLedger[str, str]


def ledger(
    policy: OverloadPolicy = OverloadPolicy.WAIT,
    *,
    frames: int = 2,
    size: int = 100,
    ordering: Ordering = Ordering.IN_ORDER,
) -> Ledger:
    return FrameLedger(max_frames=frames, max_bytes=size, ordering=ordering, policy=policy)


def offer(one: Ledger, frame_id: int, size: int = 10) -> Offer:
    one.check_id(frame_id)
    one.check_size(size)
    return one.offer(frame_id, size, f"frame {frame_id}")


def ids(deliveries: list[Delivery[str]]) -> list[int]:
    return [delivery.frame_id for delivery in deliveries]


def test_wait_takes_nothing_past_the_window_of_frames() -> None:
    """A frame that must wait was not taken: it can be offered again, and then goes."""
    one = ledger()
    assert [offer(one, i) for i in range(3)] == [Offer.SEND, Offer.SEND, Offer.WAIT]
    one.answered(0, "a")
    assert offer(one, 2) is Offer.SEND


def test_wait_takes_nothing_past_the_window_of_bytes() -> None:
    """Bytes count as frames do, and are given back."""
    one = ledger(frames=9)
    assert [offer(one, 0, 60), offer(one, 1, 41)] == [Offer.SEND, Offer.WAIT]
    assert offer(one, 1, 40) is Offer.SEND
    assert one.statistics() == LedgerStatistics(window_frames=2, window_bytes=100, held=0, undelivered=0)
    one.answered(0, "a")
    assert one.statistics().window_bytes == 40


def test_drop_oldest_keeps_the_newest_and_answers_the_one_it_replaces_in_its_place() -> None:
    """2 waits, 3 takes its place; 2's answer comes behind 0's and 1's."""
    one = ledger(OverloadPolicy.DROP_OLDEST)
    assert [offer(one, i) for i in range(4)] == [Offer.SEND, Offer.SEND, Offer.HELD, Offer.HELD]
    assert one.deliverable() == []
    one.answered(1, "b")
    assert one.release() == "frame 3"
    assert one.release() is None
    one.answered(0, "a")
    assert one.deliverable() == [
        Delivery(frame_id=0, answer="a"),
        Delivery(frame_id=1, answer="b"),
        Delivery(frame_id=2, answer=LocalAnswer.DROPPED),
    ]
    one.answered(3, "d")
    assert ids(one.deliverable()) == [3]


def test_a_held_frame_waits_until_its_bytes_fit() -> None:
    """Room for one frame is not room for a large one."""
    one = ledger(OverloadPolicy.DROP_OLDEST)
    offer(one, 0, 50)
    offer(one, 1, 50)
    assert offer(one, 2, 80) is Offer.HELD
    one.answered(0, "a")
    assert one.release() is None
    one.answered(1, "b")
    assert one.release() == "frame 2"


def test_a_smaller_frame_that_fits_replaces_the_held_one_and_goes() -> None:
    """Nothing overtakes: the held frame is dropped, not sent after a newer one."""
    one = ledger(OverloadPolicy.DROP_OLDEST, frames=3)
    offer(one, 0, 50)
    assert offer(one, 1, 80) is Offer.HELD
    assert offer(one, 2, 20) is Offer.SEND
    one.answered(0, "a")
    one.answered(2, "c")
    assert ids(one.deliverable()) == [0, 1, 2]


def test_reject_answers_the_new_frame_in_its_place() -> None:
    """The window is full: 2 is refused, and its answer waits for 0's and 1's."""
    one = ledger(OverloadPolicy.REJECT)
    assert [offer(one, i) for i in range(3)] == [Offer.SEND, Offer.SEND, Offer.ANSWERED]
    one.answered(0, "a")
    assert ids(one.deliverable()) == [0]
    one.answered(1, "b")
    assert one.deliverable()[1] == Delivery(frame_id=2, answer=LocalAnswer.WINDOW_FULL)


def test_as_completed_gives_answers_as_they_come() -> None:
    """Local answers do not wait either."""
    one = ledger(OverloadPolicy.REJECT, ordering=Ordering.AS_COMPLETED)
    for i in range(3):
        offer(one, i)
    one.answered(1, "b")
    one.answered(0, "a")
    assert ids(one.deliverable()) == [2, 1, 0]
    assert one.deliverable() == []


def test_ids_must_increase_and_may_leave_gaps() -> None:
    """Also an id that was refused for its size leaves the next one free."""
    one = ledger()
    offer(one, 7)
    assert one.next_id == 8
    with pytest.raises(InvalidRequest, match="7 came after 7"):
        one.check_id(7)
    offer(one, 100)
    assert one.next_id == 101


def test_a_frame_over_the_whole_window_is_refused_at_once() -> None:
    """It could never be sent; waiting for room would be for ever. Both numbers are named."""
    with pytest.raises(FrameTooLarge, match=r"101 bytes.*window 100"):
        ledger().check_size(101)


@pytest.mark.parametrize("frame_id", [0, 2, 5])
def test_an_answer_that_nobody_waits_for_is_a_fault(frame_id: int) -> None:
    """0 was answered, 2 is held, 5 was never sent."""
    one = ledger(OverloadPolicy.DROP_OLDEST, frames=1)
    offer(one, 0)
    one.answered(0, "a")
    offer(one, 1)
    offer(one, 2)
    with pytest.raises(ProtocolFault, match=f"frame {frame_id}"):
        one.answered(frame_id, "again")


def test_drain_returns_what_was_not_accepted_and_still_awaits_the_rest() -> None:
    """1 was not accepted and 2 is held: both go elsewhere; 0 is still answered, and frees the window."""
    one = ledger(OverloadPolicy.DROP_OLDEST)
    for i in range(3):
        offer(one, i)
    assert one.drain(0) == [1, 2]
    assert not one.holds
    one.answered(0, "a")
    assert ids(one.deliverable()) == [0]
    assert one.close() == ([], (1, 2))


def test_drain_without_an_accepted_frame_returns_all() -> None:
    """The server had read nothing."""
    one = ledger()
    offer(one, 0)
    assert one.drain(None) == [0]
    assert one.statistics().window_frames == 0


@pytest.mark.parametrize("ordering", Ordering)
def test_close_delivers_what_is_known_and_names_the_rest(ordering: Ordering) -> None:
    """1 was answered while 0 was not: its answer is not lost with the stream."""
    one = ledger(ordering=ordering, frames=3)
    for i in range(3):
        offer(one, i)
    one.answered(1, "b")
    last, unanswered = one.close()
    assert (ids(last), unanswered) == ([1], (0, 2))
    assert one.statistics() == LedgerStatistics(window_frames=0, window_bytes=0, held=0, undelivered=0)


class Play:
    """A camera, a server and a clock around a ledger. `server`: what the server has and has not answered."""

    def __init__(self, one: Ledger) -> None:
        self.ledger = one
        self.taken: list[int] = []
        self.server: list[int] = []
        self.drained = False

    def offer(self, number: int) -> None:
        frame_id = self.ledger.next_id + number % 3
        if self.drained or (offered := offer(self.ledger, frame_id, number or 1)) is Offer.WAIT:
            return
        self.taken.append(frame_id)
        if offered is Offer.SEND:
            self.server.append(frame_id)

    def answer(self, number: int) -> None:
        if not self.server:
            return
        frame_id = self.server.pop(number % len(self.server))
        if not self.ledger.drop_late(frame_id):
            self.ledger.answered(frame_id, "yes")
        released = self.ledger.release()
        if released is not None:
            self.server.append(int(released.split()[1]))

    def drain(self, number: int) -> None:
        if not self.server:
            return
        last = self.server[number % len(self.server)]
        self.ledger.drain(last)
        for frame_id in [i for i in self.server if i > last]:
            self.ledger.drop_late(frame_id)
            self.server.remove(frame_id)
        self.drained = True

    def too_late(self, number: int) -> None:
        waiting = [frame_id for frame_id in self.taken if self.ledger.waits(frame_id)]
        if waiting:
            frame_id = waiting[number % len(waiting)]
            self.ledger.give_up(frame_id, "late", sent=frame_id in self.server)


@given(
    policy=st.sampled_from(OverloadPolicy),
    ordering=st.sampled_from(Ordering),
    frames=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.sampled_from(["offer"] * 3 + ["answer", "too_late"] * 2 + ["drain"]), st.integers(0, 100)),
        max_size=60,
    ),
)
def test_every_frame_leaves_exactly_once_and_the_window_holds(
    policy: OverloadPolicy, ordering: Ordering, frames: int, steps: list[tuple[str, int]]
) -> None:
    """Whatever camera and server do: offers, answers in any order and too late, drains, and an end at any time."""
    play = Play(ledger(policy, frames=frames, ordering=ordering))
    delivered: list[int] = []
    for action, number in steps:
        getattr(play, action)(number)
        delivered += ids(play.ledger.deliverable())
        now = play.ledger.statistics()
        assert now.window_frames == len(play.server) <= frames
        assert now.window_bytes <= 100
        assert now.held <= (policy is OverloadPolicy.DROP_OLDEST)
    last_deliveries, unanswered = play.ledger.close()
    delivered += ids(last_deliveries)
    assert sorted([*delivered, *unanswered]) == play.taken
    if ordering is Ordering.IN_ORDER:
        assert delivered == sorted(delivered)


def test_a_frame_that_was_sent_and_given_up_is_answered_once_and_keeps_its_place() -> None:
    """The server may still have it; its late answer frees the place and is nobody's."""
    one = ledger()
    assert [offer(one, 0, 60), offer(one, 1, 40)] == [Offer.SEND, Offer.SEND]
    one.give_up(0, "late", sent=True)
    assert one.deliverable() == [Delivery(frame_id=0, answer="late")]
    assert (one.owed, one.waits(0), one.waits(1), offer(one, 2, 1)) == (True, False, True, Offer.WAIT)
    assert one.statistics() == LedgerStatistics(window_frames=2, window_bytes=100, held=0, undelivered=0)
    assert one.drop_late(0)
    assert not one.drop_late(0)
    assert not one.owed
    assert offer(one, 2, 60) is Offer.SEND
    assert not one.drop_late(1)
    one.answered(1, "b")
    assert ids(one.deliverable()) == [1]


@pytest.mark.parametrize("held", [False, True])
def test_a_frame_that_was_never_sent_and_is_given_up_takes_no_place(held: bool) -> None:  # noqa: FBT001
    """Neither in the window nor behind it."""
    one = ledger(OverloadPolicy.DROP_OLDEST, frames=1)
    assert offer(one, 0) is Offer.SEND
    if held:
        assert offer(one, 1) is Offer.HELD
    one.give_up(int(held), "late", sent=False)
    assert (one.holds, one.owed) == (False, False)
    assert one.release() is None
    assert one.statistics().window_frames == int(held)
    if held:
        one.answered(0, "a")
    assert one.deliverable()[-1] == Delivery(frame_id=int(held), answer="late")
    assert one.all_answered


def test_a_frame_may_be_answered_before_it_is_offered() -> None:
    """It was taken, in its turn, and took no place."""
    one = ledger()
    offer(one, 0)
    one.check_id(1)
    one.refuse(1, "too old")
    assert one.deliverable() == []
    with pytest.raises(InvalidRequest):
        one.check_id(1)
    one.answered(0, "a")
    assert ids(one.deliverable()) == [0, 1]
    assert one.statistics().window_frames == 0


def test_a_late_frame_is_no_frame_without_an_answer() -> None:
    """At the end, and when the server leaves."""
    one = ledger(frames=3)
    for frame_id in range(3):
        offer(one, frame_id)
    one.give_up(2, "late", sent=True)
    assert one.drain(0) == [1]
    assert one.drop_late(2)
    assert one.close() == ([Delivery(frame_id=2, answer="late")], (0, 1))
    assert not one.owed
