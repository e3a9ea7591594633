"""High priority is for the few: whoever asks for it all the time does not have it."""

from __future__ import annotations

import pytest

from reidstream_server.core.fleet import Fleet
from reidstream_server.core.precedence import HIGH_PART, MOST_SOURCES, Precedence
from reidstream_server.core.terms import Priority

from .builders import MS, START_NS, Driver, a_frame, a_model, a_session, some_limits, some_terms

AT_ONCE_NS = 20 * MS
HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW


class Queue:
    """What asks for the priority of each frame, on a machine of one core. A box costs a millisecond."""

    def __init__(self, *, cores: int = 1, model_cores: int = 1, slots: int = 1) -> None:
        limits = some_limits(cores=cores, high_at_once_ns=AT_ONCE_NS)
        fleet: Fleet[str] = Fleet(limits)
        fleet.add(a_model(cores=model_cores, slots=slots))
        self.precedence: Precedence[str] = Precedence(limits, fleet)
        self.now = START_NS

    def ask(self, boxes: int, *, source: str = "source", priority: Priority = HIGH) -> Priority:
        frame = a_frame(a_session(source=source, priority=priority), boxes)
        return self.precedence.of(frame, self.now)

    def granted(self, boxes: int, *, after_ms: float) -> list[Priority]:
        """Of 200 frames, so long one after the other."""
        priorities = []
        for _ in range(200):
            priorities.append(self.ask(boxes))
            self.now += int(after_ms * MS)
        return priorities


def test_who_asks_for_little_has_it() -> None:
    """Frames that take less than a quarter of the time have high priority, for ever."""
    assert set(Queue().granted(10, after_ms=10 * HIGH_PART)) == {HIGH}


def test_who_asks_for_more_than_a_quarter_has_it_at_first_and_then_never() -> None:
    """Its frames have normal priority as long as it goes on, and are not served in turns of both."""
    priorities = Queue().granted(10, after_ms=10 * HIGH_PART - 8)
    first = priorities.index(NORMAL)
    assert first > 2
    assert set(priorities[first:]) == {NORMAL}


def test_who_has_rested_has_it_again() -> None:
    """When a quarter of the time has paid for what may be had at once, however much was asked for beyond."""
    queue = Queue()
    assert [queue.ask(10) for _ in range(100)] == [HIGH] * 3 + [NORMAL] * 97
    queue.now += 30 * HIGH_PART * MS - 1
    assert queue.ask(1) is NORMAL
    queue.now += HIGH_PART * MS + 1
    assert queue.ask(1) is HIGH


def test_a_frame_of_any_size_goes_first_once() -> None:
    """A source that has rested pays for all of it afterwards."""
    queue = Queue()
    assert queue.ask(100) is HIGH
    queue.now += 100 * HIGH_PART * MS - 1
    assert queue.ask(1) is NORMAL
    queue.now += MS
    assert queue.ask(1) is NORMAL
    queue.now += 2 * HIGH_PART * MS
    assert queue.ask(1) is HIGH


def test_each_source_has_a_part_of_its_own() -> None:
    """What one takes costs no other one anything; lower priorities cost nothing, and are what they are."""
    queue = Queue()
    assert [queue.ask(30, source="one") for _ in range(2)] == [HIGH, NORMAL]
    assert queue.ask(30, source="other") is HIGH
    assert {queue.ask(30, source="third", priority=LOW) for _ in range(9)} == {LOW}
    assert {queue.ask(30, source="third", priority=NORMAL) for _ in range(9)} == {NORMAL}
    assert queue.ask(30, source="third") is HIGH


@pytest.mark.parametrize(
    ("queue", "times"),
    [(Queue(cores=4), 4), (Queue(cores=16, model_cores=0, slots=2), 2), (Queue(cores=4, model_cores=4), 4)],
)
def test_it_is_a_part_of_the_whole_machine(queue: Queue, times: int) -> None:
    """On so many cores it may have so many times as much; on a device, as many times as that has slots."""
    assert [queue.ask(10) for _ in range(3 * times)] == [HIGH] * (2 * times + 1) + [NORMAL] * (times - 1)


def test_a_source_that_has_paid_is_forgotten_and_no_other() -> None:
    """There is no end of names; and nobody gets rid of his debt with a new session."""
    queue = Queue()
    for number in range(100):
        queue.ask(1, source=f"source {number}")
    assert len(queue.precedence) == 100
    assert [queue.ask(30, source="greedy"), queue.ask(1, source="greedy")] == [HIGH, NORMAL]
    queue.now += 10 * HIGH_PART * MS
    queue.ask(1, source="new")
    assert len(queue.precedence) == 2
    assert queue.ask(1, source="greedy") is NORMAL
    for number in range(2 * MOST_SOURCES):
        queue.ask(1, source=f"source {number}")
    assert len(queue.precedence) <= MOST_SOURCES + 1


def test_a_frame_that_is_not_granted_high_priority_is_not_staged_first() -> None:
    """It waits its turn behind a frame of normal priority that came earlier."""
    driver = Driver(some_limits(staging_slots=1, high_at_once_ns=MS), models=(a_model(),))
    other = driver.open(some_terms("other", source="other"))
    important = driver.open(some_terms("important", source="one", priority=HIGH))
    driver.send(important, "granted", boxes=32)
    driver.send(other, "normal")
    driver.send(important, "not granted")
    driver.stage("granted")
    for _ in range(8):
        driver.finish()
    assert list(driver.staging) == ["normal"]


def test_crops_of_a_frame_that_is_not_granted_high_priority_do_not_go_first() -> None:
    """They wait their turn behind those of normal priority that were ready earlier."""
    driver = Driver(some_limits(staging_slots=4, high_at_once_ns=MS), models=(a_model(max_batch=1),))
    other = driver.open(some_terms("other", source="other"))
    important = driver.open(some_terms("important", source="one", priority=HIGH))
    for name, session in (("granted", important), ("normal", other), ("not granted", important)):
        driver.send(session, name, boxes=32 if name == "granted" else 1)
    for name in ("granted", "normal", "not granted"):
        driver.stage(name)
    driver.work_off()
    answered = [name for name, _ in driver.answered() if name != "granted"]
    assert answered == ["normal", "not granted"]


def test_granted_frames_go_first() -> None:
    """Before a frame of normal priority that came earlier."""
    driver = Driver(some_limits(staging_slots=1, high_at_once_ns=50 * MS), models=(a_model(max_batch=1, slots=1),))
    other = driver.open(some_terms("other", source="other"))
    important = driver.open(some_terms("important", source="one", priority=HIGH))
    for number in range(4):
        driver.send(other, f"normal {number}", boxes=2)
    driver.send(important, "important", boxes=2)
    driver.work_off()
    names = [name for name, _ in driver.answered()]
    assert names.index("important") <= 2
