"""What one source with many cameras leaves to a camera of another."""

from __future__ import annotations

import pytest

from reidstream_server.core.terms import OverloadPolicy

from .builders import Driver, a_model, some_limits, some_terms

CAMERAS, QUEUE = 255, 256


def a_full_queue(policy: OverloadPolicy) -> Driver:
    """A source with so many cameras has as much of the queue as it can get, and more that waits or was refused."""
    driver = Driver(some_limits(queue_boxes=QUEUE), models=(a_model(max_batch=8, slots=2),))
    cameras = [driver.open(some_terms(f"{number}", source="greedy", policy=policy)) for number in range(CAMERAS)]
    for camera in cameras + cameras:
        if driver.scheduler.readable(camera):
            driver.send(camera, f"greedy {driver.next_id()}")
    return driver


@pytest.mark.parametrize("greedy", [OverloadPolicy.WAIT, OverloadPolicy.REJECT])
@pytest.mark.parametrize("policy", list(OverloadPolicy))
def test_a_camera_of_another_source_is_admitted(policy: OverloadPolicy, greedy: OverloadPolicy) -> None:
    """At once, also its next frame, whoever waits already."""
    driver = a_full_queue(greedy)
    was = driver.scheduler.statistics(driver.now)
    victim = driver.open(some_terms("victim", source="another", policy=policy))
    for number in range(3):
        driver.send(victim, f"victim {number}", 8)
    now = driver.scheduler.statistics(driver.now)
    assert now.queue_boxes == was.queue_boxes + 3 * 8
    assert now.parked_frames == was.parked_frames


def test_a_source_has_two_thirds_of_the_queue() -> None:
    """At most, however many cameras it has."""
    driver = a_full_queue(OverloadPolicy.WAIT)
    assert QUEUE * 2 // 3 - 3 < driver.scheduler.statistics(driver.now).queue_boxes <= QUEUE * 2 // 3


def test_a_camera_leaves_room_for_others_of_its_source() -> None:
    """However greedy it is, and whatever its source has."""
    driver = Driver(some_limits(queue_boxes=QUEUE))
    for number in range(4):
        camera = driver.open(some_terms(f"{number}", policy=OverloadPolicy.REJECT, frames=1000))
        was = driver.scheduler.statistics(driver.now).queue_boxes
        for _ in range(QUEUE):
            driver.send(camera, f"{number} {driver.next_id()}")
        assert driver.scheduler.statistics(driver.now).queue_boxes > was


def test_a_source_that_holds_less_goes_first() -> None:
    """A large frame of a source that holds much makes only those wait that hold as much; and its own cameras."""
    driver = Driver(some_limits(queue_boxes=100))
    much, little = driver.open(some_terms("much", source="one")), driver.open(some_terms("little", source="other"))
    driver.send(much, "much", 30)
    driver.send(little, "little", 10)
    driver.send(driver.open(some_terms("large", source="one")), "large", 30)
    assert driver.scheduler.statistics(driver.now).parked_frames == 1
    driver.send(little, "more", 10)
    assert driver.scheduler.statistics(driver.now).parked_frames == 1
    driver.send(much, "much more", 10)
    assert driver.scheduler.statistics(driver.now).parked_frames == 2
