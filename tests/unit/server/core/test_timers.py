"""Deadlines, earliest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reidstream_server.core.timers import Timer, TimerKind, Timers


def add(timers: Timers, at_ns: int, key: int = 0) -> Timer:
    return timers.add(at_ns, TimerKind.FRAME_BUDGET, key)


def due(timers: Timers, now: int) -> list[int]:
    keys = []
    while (timer := timers.pop_due(now)) is not None:
        keys.append(timer.key)
    return keys


def test_what_is_due_comes_in_order() -> None:
    """By time; of the same time, as they were added; nothing early."""
    timers = Timers()
    for key, at_ns in enumerate((30, 10, 20, 10)):
        add(timers, at_ns, key)
    assert timers.next_ns() == 10
    assert due(timers, 9) == []
    assert due(timers, 20) == [1, 3, 2]
    assert (timers.next_ns(), len(timers)) == (30, 1)


def test_a_cancelled_timer_is_never_due() -> None:
    """Nor counted, nor waited for; cancelling it again, or one that was due, changes nothing."""
    timers = Timers()
    first, second = add(timers, 10, 1), add(timers, 20, 2)
    timers.cancel(first)
    timers.cancel(first)
    timers.cancel(None)
    assert (len(timers), timers.next_ns()) == (1, 20)
    assert due(timers, 20) == [2]
    timers.cancel(second)
    assert (len(timers), timers.next_ns()) == (0, None)


def test_cancelled_timers_leave() -> None:
    """A thousand frames that were in time leave no thousand timers behind one that is far away."""
    timers = Timers()
    add(timers, 10**12)
    for at_ns in range(1, 1001):
        timers.cancel(add(timers, 10**9 + at_ns))
    assert len(timers) == 1
    assert len(timers._heap) < 200


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=300), st.integers(0, 60))
def test_against_a_sorted_list(plan: list[tuple[int, bool]], now: int) -> None:
    """Whatever is added and cancelled, what is due is what a sorted list says."""
    timers = Timers()
    added = [add(timers, at_ns, key) for key, (at_ns, _) in enumerate(plan)]
    for timer, (_, cancelled) in zip(added, plan, strict=True):
        if cancelled:
            timers.cancel(timer)
    left = sorted((timer.at_ns, made, timer.key) for made, timer in enumerate(added) if timer.live)
    assert len(timers) == len(left)
    assert due(timers, now) == [key for at_ns, _, key in left if at_ns <= now]
    assert timers.next_ns() == min((at_ns for at_ns, _, _ in left if at_ns > now), default=None)
