"""Turns between cameras, and between priorities."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from reidstream_server.core.fair_queue import AGED_SHARE, FairQueue
from reidstream_server.core.lanes import Entry
from reidstream_server.core.terms import Priority

from .builders import MS, a_flow

AGING_NS = 100 * MS
LARGE, SMALL = a_flow("large"), a_flow("small")


def a_queue(quantum: int = 4) -> FairQueue[str]:
    return FairQueue(quantum=quantum, aging_ns=AGING_NS, most_turns=8)


def put(
    queue: FairQueue[str],
    item: str,
    *,
    cost: int = 1,
    camera: str | None = None,
    priority: Priority = Priority.NORMAL,
    now: int = 0,
) -> Entry[str]:
    """An item of the camera that its name begins with."""
    return queue.push(item, flow=a_flow(camera or item[0]), priority=priority, cost=cost, now=now)


def take_all(queue: FairQueue[str], now: int = 0) -> list[str]:
    items = []
    while (item := queue.pop(now)) is not None:
        items.append(item)
    return items


def test_a_turn_is_worth_a_quantum_of_boxes() -> None:
    """Cameras take turns, each for as many boxes as the quantum, whatever the size of their frames."""
    queue = a_queue(quantum=4)
    for number in range(4):
        put(queue, f"a{number}", cost=4)
    for number in range(8):
        put(queue, f"b{number}", cost=2)
    assert take_all(queue) == ["a0", "b0", "b1", "a1", "b2", "b3", "a2", "b4", "b5", "a3", "b6", "b7"]


def test_large_frames_earn_their_turn() -> None:
    """A frame that costs more than a turn waits for several, and camera shares stay within the bound all the while."""
    queue = a_queue(quantum=2)
    for number in range(30):
        put(queue, f"a{number}", cost=7)
    for number in range(210):
        put(queue, f"b{number}")
    boxes: Counter[str] = Counter()
    for _ in range(150):
        item = queue.pop(0)
        assert item is not None
        boxes[item[0]] += 7 if item[0] == "a" else 1
        assert abs(boxes["a"] - boxes["b"]) <= 2 + 7 + 1
    assert min(boxes.values()) > 60


def test_who_comes_back_goes_to_the_end() -> None:
    """A camera whose queue ran empty has saved nothing up, and waits for the others' turns."""
    queue = a_queue(quantum=8)
    put(queue, "a0")
    put(queue, "b0")
    put(queue, "c0")
    assert queue.pop(0) == "a0"
    put(queue, "a1")
    assert take_all(queue) == ["b0", "c0", "a1"]


def test_priorities_are_strict_until_somebody_ages() -> None:
    """Before the aging time, nothing of a lower priority is taken while there is anything of a higher one."""
    queue = a_queue()
    put(queue, "low", priority=Priority.LOW)
    put(queue, "normal")
    for number in range(20):
        put(queue, f"high{number}", priority=Priority.HIGH)
    items = take_all(queue, AGING_NS - 1)
    assert items[20:] == ["normal", "low"]


def test_an_aged_camera_gets_its_share_in_boxes() -> None:
    """After an aged frame of 10 boxes, seven times as many of the higher priority go before the next one."""
    queue = a_queue()
    for number in range(3):
        put(queue, f"low{number}", cost=10, priority=Priority.LOW)
    for number in range(200):
        put(queue, f"high{number}", priority=Priority.HIGH, now=AGING_NS)
    items = take_all(queue, AGING_NS)
    places = [items.index(f"low{number}") for number in range(3)]
    between = (AGED_SHARE - 1) * 10
    assert places == [0, between + 1, 2 * between + 2]


def test_a_camera_that_replaces_its_frame_keeps_its_turn() -> None:
    """Dropping the oldest frame for a newer one does not send a camera to the end, time after time."""
    queue = a_queue(quantum=1)
    fresh = put(queue, "f0")
    for number in range(5):
        put(queue, f"a{number}")
        put(queue, f"b{number}")
    for number in range(1, 4):
        queue.cancel(fresh)
        fresh = put(queue, f"f{number}", now=number)
        if number == 2:
            assert queue.pop(3) == "f2"
            fresh = put(queue, "f-", now=3)
    assert take_all(queue, 4).index("f3") == 2


def test_a_camera_that_replaces_its_frame_ages() -> None:
    """At a low priority, too: it is the camera that has waited, not the frame."""
    queue = a_queue()
    put(queue, "high", priority=Priority.HIGH)
    fresh = put(queue, "low0", priority=Priority.LOW, now=0)
    for number in range(1, 11):
        queue.cancel(fresh)
        fresh = put(queue, f"low{number}", priority=Priority.LOW, now=number * AGING_NS // 10)
    assert queue.oldest_ns() == 0
    assert queue.pop(AGING_NS) == "low10"


def test_how_long_somebody_has_waited_is_known_at_all_times() -> None:
    """Also when the camera that has waited longest comes back with something newer."""
    queue = a_queue()
    entry = put(queue, "a0", now=1)
    put(queue, "b0", now=5)
    queue.cancel(entry)
    assert queue.oldest_ns() == 5
    put(queue, "a1", now=9)
    assert queue.oldest_ns() == 1


def test_cameras_that_left_are_forgotten() -> None:
    """Their names come and go for ever; the next turn that is theirs is the end of them."""
    queue = a_queue()
    for number in range(100):
        queue.cancel(put(queue, "left", camera=f"left{number}"))
        put(queue, "a0")
        queue.cancel(put(queue, "left too", camera=f"left too {number}"))
        put(queue, "b0")
        assert (queue.pop(0), queue.pop(0)) == ("a0", "b0")
    assert sum(len(level.lanes) for level in queue._levels.values()) == 0
    put(queue, "a0")
    for number in range(100):
        queue.cancel(put(queue, "left", camera=f"left{number}"))
    put(queue, "b0")
    put(queue, "c0")
    assert (queue.pop(0), queue.pop(0)) == ("a0", "b0")
    assert sum(len(level.lanes) for level in queue._levels.values()) == 1


def test_cancelling() -> None:
    """What was cancelled, or taken, is out; cancelling it again changes nothing."""
    queue = a_queue()
    first, second, third = put(queue, "a0", now=1), put(queue, "a1", now=2), put(queue, "b0", now=3)
    queue.cancel(second)
    queue.cancel(second)
    assert (len(queue), queue.oldest_ns()) == (2, 1)
    assert queue.pop(9) == "a0"
    queue.cancel(first)
    assert (len(queue), queue.oldest_ns()) == (1, 3)
    queue.cancel(third)
    assert (len(queue), queue.oldest_ns(), queue.pop(9)) == (0, None, None)


def test_what_is_out_is_let_go() -> None:
    """A queue that nobody takes from keeps no image that was cancelled, although its camera keeps its place."""

    class Image:
        pass

    queue: FairQueue[Image] = FairQueue(quantum=1, aging_ns=AGING_NS, most_turns=8)
    queue.push(Image(), flow=SMALL, priority=Priority.HIGH, cost=1, now=0)
    image = Image()
    alive = weakref.ref(image)
    entry = queue.push(image, flow=LARGE, priority=Priority.LOW, cost=1, now=0)
    queue.cancel(entry)
    gc.disable()
    try:
        del image, entry
        assert alive() is None
    finally:
        gc.enable()


def test_a_camera_whose_engine_is_busy_is_passed_over_and_keeps_its_turn() -> None:
    """What is not wanted is left where it is; once it is wanted, its camera has the rest of its turn."""
    queue = a_queue(quantum=2)
    for number in range(3):
        put(queue, f"a{number}")
        put(queue, f"b{number}")
    assert queue.pop(0) == "a0"
    assert [queue.pop(0, wanted=lambda item: item[0] == "b") for _ in range(4)] == ["b0", "b1", "b2", None]
    put(queue, "c0")
    assert take_all(queue) == ["a1", "c0", "a2"]


def test_a_frame_that_does_not_fit_is_waited_for() -> None:
    """Smaller frames do not go past it, or it would wait for ever; if it is given up, the next one goes."""
    queue = a_queue(quantum=9)
    large = put(queue, "a0", cost=9)
    put(queue, "b0")

    def fits(item: str) -> bool:
        return item != "a0"

    assert [queue.pop(0, fits=fits) for _ in range(3)] == [None, None, None]
    assert len(queue) == 2
    queue.cancel(large)
    assert queue.pop(0, fits=fits) == "b0"


class FairQueueMachine(RuleBasedStateMachine):
    """The queue against lists: one for each camera and priority, oldest first.

    A camera whose items were all cancelled may have lost its place meanwhile, or not: then `earliest` and `latest`,
    since when it may have waited, differ.
    """

    entries: Bundle[Entry[int]] = Bundle("entries")

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(quantum=3, aging_ns=50, most_turns=2)
        self.lanes: dict[tuple[Priority, str], list[Entry[int]]] = {}
        self.earliest: dict[tuple[Priority, str], int] = {}
        self.latest: dict[tuple[Priority, str], int] = {}
        self.now = 0
        self.made = 0

    @rule(
        target=entries,
        camera=st.sampled_from("abc"),
        priority=st.sampled_from(Priority),
        cost=st.integers(1, 7),
        later=st.integers(0, 30),
    )
    def push(self, camera: str, priority: Priority, cost: int, later: int) -> Entry[int]:
        self.now += later
        self.made += 1
        lane = (priority, camera)
        entry = self.queue.push(self.made, flow=a_flow(camera), priority=priority, cost=cost, now=self.now)
        self.earliest.setdefault(lane, self.now)
        if not self.lanes.setdefault(lane, []):
            self.latest[lane] = self.now
        self.lanes[lane].append(entry)
        return entry

    @rule(entry=consumes(entries))
    def cancel(self, entry: Entry[int]) -> None:
        self.queue.cancel(entry)
        for lane in self.lanes.values():
            if entry in lane:
                lane.remove(entry)
        self.forget_places()

    @precondition(lambda self: any(self.lanes.values()))
    @rule(later=st.integers(0, 30))
    def pop(self, later: int) -> None:
        self.now += later
        waiting = [level for (level, _), items in self.lanes.items() if items]
        item = self.queue.pop(self.now)
        lane, entry = next((lane, items[0]) for lane, items in self.lanes.items() if items and items[0].item == item)
        if any(level.value > lane[0].value for level in waiting):
            since = min(since for (level, _), since in self.earliest.items() if level is lane[0])
            assert self.now - since >= 50, "taken before a higher priority, and not aged"
        self.lanes[lane].remove(entry)
        del self.earliest[lane], self.latest[lane]
        if self.lanes[lane]:
            self.earliest[lane] = self.latest[lane] = self.lanes[lane][0].since_ns
        self.forget_places()

    def forget_places(self) -> None:
        if not any(self.lanes.values()):
            self.earliest.clear()
            self.latest.clear()

    @invariant()
    def counts(self) -> None:
        assert len(self.queue) == sum(map(len, self.lanes.values()))
        oldest = self.queue.oldest_ns()
        waiting = [lane for lane, items in self.lanes.items() if items]
        if oldest is None:
            assert not waiting
        else:
            assert min(self.earliest[lane] for lane in waiting) <= oldest <= min(self.latest[lane] for lane in waiting)

    def teardown(self) -> None:
        """Whatever is left comes out, each once."""
        left = sorted(entry.item for items in self.lanes.values() for entry in items)
        taken = []
        while (item := self.queue.pop(self.now)) is not None:
            taken.append(item)
        assert sorted(taken) == left
        assert len(self.queue) == 0


FairQueueMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestFairQueueAgainstLists = FairQueueMachine.TestCase


@pytest.mark.parametrize("seed", range(30))
def test_boxes_of_an_item_come_as_if_each_were_an_item(seed: int) -> None:
    """Whatever the cameras, priorities, ages and batch sizes."""
    rng = Random(seed)  # noqa: S311 - it must be repeatable
    quantum, most_turns = rng.choice((1, 3, 4)), rng.choice((2, 8))
    whole: FairQueue[str] = FairQueue(quantum=quantum, aging_ns=20, most_turns=most_turns)
    single: FairQueue[str] = FairQueue(quantum=quantum, aging_ns=20, most_turns=most_turns)
    entries = []
    for now in range(200):
        for _ in range(rng.choice((0, 0, 1, 2))):
            camera, priority, boxes = f"camera{rng.randrange(3)}", rng.choice(list(Priority)), rng.randint(1, 9)
            name = f"{now} {camera}"
            entry = whole.push(name, flow=a_flow(camera), priority=priority, cost=boxes, now=now)
            ones = [single.push(name, flow=a_flow(camera), priority=priority, cost=1, now=now) for _ in range(boxes)]
            entries.append((entry, ones))
        if rng.random() < 0.1 and entries:
            entry, ones = entries.pop(rng.randrange(len(entries)))
            whole.cancel(entry)
            for one in ones:
                single.cancel(one)
        most = rng.randint(0, 7)
        together: list[str] = []
        while len(together) < most and (found := whole.pop_boxes(now, most - len(together))) is not None:
            together += [found[0]] * found[1]
        assert together == [item for item in (single.pop(now) for _ in range(most)) if item is not None]
        assert whole.boxes == single.boxes == len(single)
