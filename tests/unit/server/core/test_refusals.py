"""Frames that find no room are counted, each once, for the bound that has none."""

from __future__ import annotations

import pytest

from reidstream_server.core.terms import Bound, OverloadPolicy, SessionKey

from .builders import Driver, a_model, some_limits, some_terms


def a_busy_driver(**limits: int) -> Driver:
    """One frame at a time is staged, and none of the others starts before it is done."""
    return Driver(some_limits(staging_slots=1, **limits), models=[a_model(max_batch=1)])


def refusals(driver: Driver) -> dict[Bound, int]:
    """Without the zeros."""
    found = driver.scheduler.statistics(driver.now).refusals
    assert set(found) == set(Bound)
    return {bound: count for bound, count in found.items() if count}


def with_one_frame(driver: Driver, **agreed: object) -> SessionKey:
    session = driver.open(some_terms(**agreed))  # type: ignore[arg-type] # passed through to be checked there
    driver.send(session, "first", 4)
    return session


@pytest.mark.parametrize("policy", list(OverloadPolicy))
@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        ({"queue_boxes": 8}, Bound.BOXES),
        ({"queue_bytes": 200}, Bound.BYTES),
        ({"answer_bytes": 32}, Bound.ANSWERS),
    ],
)
def test_a_frame_counts_for_the_bound_that_has_no_room(
    limits: dict[str, int], bound: Bound, policy: OverloadPolicy
) -> None:
    """Whatever its session's policy makes of it: it waits, is rejected, or takes another's place."""
    driver = a_busy_driver(**limits)
    session = with_one_frame(driver, policy=policy)
    assert refusals(driver) == {}
    driver.send(session, "second", 4)
    assert refusals(driver) == {bound: 1}
    driver.work_off()
    assert refusals(driver) == {bound: 1}


def test_a_frame_that_fits_may_have_to_wait_for_its_turn() -> None:
    """A larger one of its camera waits, and goes first."""
    driver = a_busy_driver(queue_boxes=20)
    first, second = driver.open(some_terms()), driver.open(some_terms())
    driver.send(first, "running", 5)
    driver.send(first, "large", 8)
    driver.send(second, "small", 1)
    assert refusals(driver) == {Bound.BOXES: 1, Bound.TURN: 1}


def test_a_frame_that_may_not_even_wait_counts_twice() -> None:
    """For the queue, and for what waits for it. Its answer says to come back later."""
    driver = a_busy_driver(queue_boxes=8, parked_bytes=50)
    session = with_one_frame(driver)
    driver.send(session, "second", 4)
    assert refusals(driver) == {Bound.BOXES: 1, Bound.PARKED: 1}


def test_a_frame_without_room_for_its_pixels_counts_once() -> None:
    """However often it is looked at, until there is room."""
    driver = Driver(some_limits(staged_bytes=150), models=[a_model(max_batch=1)])
    sessions = [driver.open(some_terms(f"camera{number}")) for number in range(2)]
    for number, session in enumerate(sessions):
        driver.send(session, f"frame {number}")
    third = driver.open(some_terms("camera3"))
    driver.send(third, "frame 3")
    assert refusals(driver) == {Bound.STAGED: 1}
    driver.work_off()
    assert refusals(driver)[Bound.STAGED] == 2
    assert len(driver.answered()) == 3


def test_all_windows_together() -> None:
    """Frames that are open, answers that nobody took, and who has no room for another frame."""
    driver = a_busy_driver()
    full, bytes_full = driver.open(some_terms("a", frames=2)), driver.open(some_terms("b", frames=8, window_bytes=100))
    driver.open(some_terms("c", frames=4))
    driver.send(full, "a1")
    driver.send(full, "a2")
    driver.send(bytes_full, "b1")
    driver.work_off()
    found = driver.scheduler.window_statistics()
    assert (found.window_limit, found.open_frames + found.unwritten_answers) == (14, found.window_frames)
    assert (found.window_frames, found.full_windows) == (3, 2)
