"""A client with many cameras: they share a bounded number of turns, and neither lose nor gain by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from itertools import permutations
from random import Random

import pytest

from reidstream_server.core import ring
from reidstream_server.core.fair_queue import FairQueue
from reidstream_server.core.lanes import Entry, Place, Source
from reidstream_server.core.rounds import skip_rounds
from reidstream_server.core.terms import Flow, Priority

from .builders import MS

AGING_NS = 100 * MS


def a_queue(most_turns: int, *, quantum: int = 1) -> FairQueue[str]:
    return FairQueue(quantum=quantum, aging_ns=AGING_NS, most_turns=most_turns)


def put(queue: FairQueue[str], item: str, *, cost: int = 1, now: int = 0) -> Entry[str]:
    """An item of `client camera number`, such as "a 1 7"."""
    client, camera, *_ = item.split()
    return queue.push(item, flow=Flow(client=client, camera_id=camera), priority=Priority.NORMAL, cost=cost, now=now)


def fill(queue: FairQueue[str], client: str, cameras: int, items: int, *, cost: int = 1) -> None:
    for number in range(items):
        for camera in range(cameras):
            put(queue, f"{client} {camera} {number}", cost=cost)


def fill_kind(queue: FairQueue[str], client: str, cameras: int, number: int, kind: str) -> None:
    for camera in range(cameras):
        put(queue, f"{client} {camera} {number}{kind}")


def take(queue: FairQueue[str], count: int, wanted: Callable[[str], bool] | None = None) -> list[str]:
    """The cameras that are served, in their order."""
    found = [queue.pop(0, wanted=wanted) for _ in range(count)]
    return [" ".join(item.split()[:2]) for item in found if item is not None]


def take_clients(queue: FairQueue[str], count: int, kind: str) -> str:
    """The clients that are served with items of this kind, a letter each."""
    return "".join(camera[0] for camera in take(queue, count, ends_with(kind)))


def ends_with(kind: str) -> Callable[[str], bool]:
    return lambda item: item.endswith(kind)


def take_kinds(queue: FairQueue[str], kinds: str) -> str:
    """One item for each letter, of that kind; `.`: of any. The cameras that are served, a letter each; `-` for none."""
    found = [queue.pop(0, wanted=None if kind == "." else ends_with(kind)) for kind in kinds]
    return "".join("-" if item is None else item.split()[1] for item in found)


def left(queue: FairQueue[str]) -> int:
    """How much the queue still keeps of cameras and clients."""
    return sum(len(level.lanes) + len(level._places) + len(level._sources) for level in queue._levels.values())


def test_a_client_with_many_cameras_has_no_more_turns_than_one_with_a_few() -> None:
    """50 cameras with 3 turns in each round have three times as much as the only camera of another client."""
    queue = a_queue(3)
    fill(queue, "many", 50, 10)
    fill(queue, "one", 1, 100)
    turns = take(queue, 400)
    assert turns.count("one 0") == 100
    assert [place for place, camera in enumerate(turns) if camera == "one 0"] == list(range(3, 403, 4))[:100]


def test_who_comes_waits_for_one_round() -> None:
    """However many cameras another client has, the first turn of a newcomer comes after that client's turns."""
    queue = a_queue(3)
    fill(queue, "many", 50, 10)
    take(queue, 70)
    put(queue, "new 0 0")
    assert "new 0" in take(queue, 3)


@pytest.mark.parametrize("quantum", [1, 4])
def test_the_cameras_of_a_client_share_its_turns(quantum: int) -> None:
    """One after the other, whatever they send."""
    queue = a_queue(2, quantum=quantum)
    for number in range(60):
        for camera in range(7):
            put(queue, f"many {camera} {number}", cost=1 + camera)
    got: Counter[str] = Counter()
    while (item := queue.pop(0)) is not None and len(got) <= 7:
        got[item.split()[1]] += 1 + int(item.split()[1])
        if max(got.values()) > 50:
            break
        if len(got) == 7:
            assert max(got.values()) - min(got.values()) <= quantum + 2 * 7
    assert len(got) == 7


def test_a_client_is_not_blocked_by_its_cameras_that_are_not_wanted() -> None:
    """Those that are take their places; and the client still has no more turns than it may."""
    queue = a_queue(2)
    for number in range(10):
        for camera in ("x1", "x2", "y1", "y2", "y3"):
            put(queue, f"many {camera} {number}")
        put(queue, f"one y {number}")
    served = take(queue, 9, lambda item: " y" in item)
    assert [place for place, camera in enumerate(served) if camera == "one y"] == [2, 5, 8]
    assert Counter(served) == {"many y1": 2, "many y2": 2, "many y3": 2, "one y": 3}


def test_who_gave_way_goes_first() -> None:
    """It had the place, and was only not wanted: when it is, it goes before the others of its client, in its order."""
    queue = a_queue(2)
    for number in range(10):
        for camera in ("x1", "x2", "y1", "y2", "y3", "x3"):
            put(queue, f"many {camera} {number}")
    assert Counter(take(queue, 6, lambda item: " y" in item)) == {"many y1": 2, "many y2": 2, "many y3": 2}
    assert take(queue, 2, lambda item: " x" in item) == ["many x1", "many x2"]


def test_nobody_has_two_turns_in_a_round() -> None:
    """The only camera of a client that is wanted has one turn, and not those of the others."""
    queue = a_queue(3)
    for number in range(10):
        for camera in ("x1", "x2", "x3", "x4", "y"):
            put(queue, f"many {camera} {number}")
        put(queue, f"one y {number}")
    served = take(queue, 10, lambda item: " y" in item)
    assert Counter(served) == {"many y": 5, "one y": 5}


def test_whose_turn_is_next_has_it_although_others_could_have_an_earlier_place() -> None:
    """`b` has had its turn in one place, and `c` is not wanted in the other, which comes first. It is the turn of `a`,
    whose place comes later; and not of `b`, which waits for one.
    """
    queue = a_queue(2, quantum=2)
    for number in range(9):
        for camera, kind in ("ax", "bx", "cy", "dy"):
            put(queue, f"many {camera} {number}{kind}")
    assert take_kinds(queue, "xx..xxxx") == "aabbaabb"


def test_who_comes_back_does_not_interrupt_a_turn() -> None:
    """`a` and `b` are wanted at the same times. However often `c` goes between, they have their turns alternately, and
    whoever was passed over in its turn goes on with it first.
    """
    queue = a_queue(1, quantum=2)
    for number in range(9):
        for camera, kind in ("ax", "bx", "cy"):
            put(queue, f"many {camera} {number}{kind}")
    assert take_kinds(queue, "yx...yyx.xx") == "caabbccaabb"
    assert take_kinds(queue, "xyxyyx") == "acaccb"


def test_a_client_loses_nothing_when_its_cameras_are_passed_over() -> None:
    """`a` and `b` share one turn, and each goes on with its own later. What a round brought, and they did not use, is
    used in the next one: in four rounds both clients have four turns.
    """
    queue = a_queue(1, quantum=4)
    for number in range(30):
        for camera, kind in ("ax", "by"):
            put(queue, f"many {camera} {number}{kind}")
        put(queue, f"one o {number}x")
    assert take_kinds(queue, "xyyy" + 28 * ".") == "abbb oooo aaa oooo baaaa oooo bbbb oooo".replace(" ", "")


@pytest.mark.parametrize("most_turns", [1, 2])
def test_passed_over_cameras_of_a_client_do_not_add_up_to_more_turns(most_turns: int) -> None:
    """Each of 40 cameras begins its turn, and its second frame is not wanted. Its client has its turns nevertheless,
    and no more: after each, the other client has one. So it is when their second frames are wanted, too.
    """
    queue = a_queue(most_turns, quantum=4)
    for number in range(2):
        fill_kind(queue, "m", 40, number, "xy"[number])
    for number in range(200):
        put(queue, f"o o {number}x")
    expected = ("m" * 4 * most_turns + "oooo") * (8 // most_turns)
    assert take_clients(queue, len(expected), "x") == expected
    for number in range(200):
        put(queue, f"o y {number}y")
    seconds = take_clients(queue, 40, "y")
    longest = max(map(len, seconds.split("o")))
    assert longest <= 4 * most_turns + 1
    assert seconds.count("m") >= 15


@pytest.mark.parametrize("seed", range(60))
def test_shares_of_cameras_and_of_clients_part_no_further_than_deficit_round_robin_lets_them(seed: int) -> None:
    """Whatever is wanted, and what it costs. All cameras always have something waiting, each of one kind."""
    rng = Random(seed)  # noqa: S311
    quantum, most, largest = rng.choice((1, 3, 8)), rng.choice((1, 2, 3)), rng.choice((1, 4, 20))
    queue = a_queue(most, quantum=quantum)
    cameras = {f"m {number}": rng.choice("xy") for number in range(rng.randint(most + 1, 9))} | {"o 0": "x"}
    got: Counter[str] = Counter()
    lowest: dict[tuple[str, str], int] = {}
    made = 0

    def push(camera: str) -> None:
        nonlocal made
        made += 1
        cost = rng.randint(1, largest)
        put(queue, f"{camera} {made} {cost} {cameras[camera]}", cost=cost)

    for camera in cameras:
        push(camera)
        push(camera)
    stretch, kind = 0, ""
    for _ in range(1_500):
        if not stretch:
            stretch, kind = rng.choice((1, 1, 2, 5, 40)), rng.choice(("", *set(cameras.values())))
        stretch -= 1
        item = queue.pop(0, wanted=ends_with(kind))
        assert item is not None
        client, number, _, cost, of_kind = item.split()
        got[f"{client} {number}"] += int(cost)
        got[f"{client} of {of_kind}"] += int(cost)
        push(f"{client} {number}")
        for one, other in permutations(cameras, 2):
            if one[0] == "m" and cameras[one] == cameras[other]:
                ahead = got[one] - got[other]
                turns = 1 if other[0] == "m" else 2  # `o` may be in the middle of a turn when another one begins
                assert ahead - lowest.setdefault((one, other), 0) <= turns * quantum + 2 * largest
                lowest[one, other] = min(lowest[one, other], ahead)
        ahead = got["m of x"] - most * got["o 0"]
        saved = largest * (len(cameras) - 1)
        assert ahead - lowest.setdefault(("m", "o"), 0) <= most * (largest + 2 * quantum) + saved + quantum
        lowest["m", "o"] = min(lowest["m", "o"], ahead)
    assert min(got[camera] for camera in cameras) > 0


def test_a_camera_that_replaces_its_frame_keeps_its_place_in_the_line() -> None:
    """Among the cameras of its client that wait for a turn; and it waits since it came."""
    queue = a_queue(1)
    fill(queue, "many", 3, 5)
    fresh = put(queue, "many fresh 0", now=0)
    put(queue, "many last 0")
    for number in range(1, 4):
        queue.cancel(fresh)
        fresh = put(queue, f"many fresh {number}", now=number)
    assert take(queue, 5) == ["many 0", "many 1", "many 2", "many fresh", "many last"]


def test_cameras_that_left_the_line_are_forgotten() -> None:
    """With their clients."""
    queue = a_queue(2)
    keep = put(queue, "other 0 0")
    for number in range(100):
        entries = [put(queue, f"many left{number}-{camera} 0") for camera in range(9)]
        put(queue, "many here 0")
        for entry in entries:
            queue.cancel(entry)
        assert take(queue, 1, lambda item: "here" in item) == ["many here"]
    assert take(queue, 2) == ["other 0"]
    assert not queue.cancel(keep)
    assert left(queue) == 0


@pytest.mark.parametrize("seed", range(30))
def test_with_few_cameras_it_is_the_usual_deficit_round_robin(seed: int) -> None:
    """Written out: one ring of all cameras, whoever their clients are; those that are not wanted are passed over."""
    rng = Random(seed)  # noqa: S311
    quantum = rng.choice((1, 4, 9))
    queue = a_queue(4, quantum=quantum)
    ring_of_all: dict[str, list[str]] = {}
    deficits: Counter[str] = Counter()
    in_turn: set[str] = set()

    def pop(kind: str) -> str | None:
        while camera := next((each for each, items in ring_of_all.items() if items[0].endswith(kind)), None):
            items = ring_of_all[camera]
            if camera not in in_turn:
                in_turn.add(camera)
                deficits[camera] += quantum
            if int(items[0].split()[2]) <= deficits[camera]:
                deficits[camera] -= int(items[0].split()[2])
                first = items.pop(0)
                if not items:
                    in_turn.discard(camera)
                    del ring_of_all[camera], deficits[camera]
                return first
            in_turn.discard(camera)
            ring_of_all[camera] = ring_of_all.pop(camera)
        return None

    for number in range(400):
        for _ in range(rng.choice((0, 1, 2))):
            camera, cost = f"{rng.choice('abc')} {rng.randrange(4)}", rng.randint(1, 20)
            item = f"{camera} {cost} {number}{rng.choice('xy')}"
            put(queue, item, cost=cost)
            ring_of_all.setdefault(camera, []).append(item)
        kind = rng.choice(("x", "y", ""))
        assert queue.pop(0, wanted=ends_with(kind)) == pop(kind)


@pytest.mark.parametrize("seed", range(20))
def test_with_few_cameras_nothing_is_different(seed: int) -> None:
    """Clients with as many cameras as they have turns are served as if there were no bound."""
    rng = Random(seed)  # noqa: S311 - it must be repeatable
    bounded, free = a_queue(3, quantum=2), a_queue(10**6, quantum=2)
    entries = []
    for number in range(300):
        if rng.random() < 0.6:
            item, cost = f"{rng.choice('abc')} {rng.randrange(3)} {number}{rng.choice('xyz')}", rng.randint(1, 9)
            entries.append((put(bounded, item, cost=cost), put(free, item, cost=cost)))
        if entries and rng.random() < 0.1:
            for entry, queue in zip(entries.pop(rng.randrange(len(entries))), (bounded, free), strict=True):
                queue.cancel(entry)
        kind = rng.choice(("x", "y", ""))
        assert bounded.pop(0, wanted=ends_with(kind)) == free.pop(0, wanted=ends_with(kind))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("most_turns", [1, 2, 3])
def test_rounds_that_are_skipped_change_nothing(seed: int, most_turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs of many turns, of clients with more cameras than turns and with fewer; whatever is wanted."""
    rng = Random(seed)  # noqa: S311
    items = [
        (f"{client} {camera} {number}{rng.choice('xyz')}", rng.randint(1, rng.choice((3, 60))))
        for number in range(6)
        for client, cameras in (("a", 7), ("b", 4), ("c", 1))
        for camera in range(cameras)
        if rng.random() < 0.8
    ]
    rng.shuffle(items)
    kinds = "".join(rng.choice("xyz...") for _ in range(2 * len(items)))
    skips = []

    def counted(places: Collection[Place[str]], sources: Collection[Source[str]], *rest: object) -> None:
        before = [source.purse for source in sources]
        skip_rounds(places, sources, *rest)  # type: ignore[arg-type] # passed through
        skips.append(before != [source.purse for source in sources])

    orders = []
    for replacement in (counted, lambda *_: None):
        monkeypatch.setattr(ring, "skip_rounds", replacement)
        queue = a_queue(most_turns)
        for item, cost in items:
            put(queue, item, cost=cost)
        orders.append(take_kinds(queue, kinds))
    assert orders[0] == orders[1]
    assert any(skips)


@pytest.mark.parametrize("seed", range(30))
def test_every_camera_has_one_place_and_every_item_comes_out(seed: int) -> None:
    """Whatever comes, is cancelled, and is wanted: a camera sits in the ring or waits in one line, and a client's
    places are all taken while its cameras wait.
    """
    rng = Random(seed)  # noqa: S311
    queue, most = a_queue(2, quantum=rng.choice((1, 5))), 2
    entries: dict[str, Entry[str]] = {}
    for number in range(400):
        if rng.random() < 0.55:
            item = f"{rng.choice('aab')} {rng.randrange(6)} {number}{rng.choice('xyz')}"
            entries[item] = put(queue, item, cost=rng.randint(1, 12), now=number)
        if entries and rng.random() < 0.15:
            assert queue.cancel(entries.pop(rng.choice(list(entries))))
        kind = rng.choice(("x", "y", "z", ""))
        found = queue.pop(number, wanted=ends_with(kind))
        if found is not None:
            del entries[found]
        for level in queue._levels.values():
            for source in level._sources.values():
                places = [place for place in level._places if place.source is source]
                lanes = list(source.line.values())
                assert len(places) == source.places == min(most, len(lanes))
                assert all(place.lane.place is place for place in places if place.lane is not None)
                assert sum(lane.place is not None for lane in lanes) == sum(place.lane is not None for place in places)
                in_turn = [lane for lane in lanes if lane.in_turn]
                assert source.begun == sum(lane.deficit for lane in in_turn if lane.place is not None)
                assert source.broken_off == sum(lane.deficit for lane in in_turn if lane.place is None)
                assert source.saved == sum(lane.deficit for lane in lanes if not lane.in_turn)
                assert source.purse >= 0
            lined = [lane for source in level._sources.values() for lane in source.line.values()]
            assert sorted(map(id, lined)) == sorted(map(id, level.lanes.values()))
    rest = []
    while (last := queue.pop(10**9)) is not None:
        rest.append(last)
    assert sorted(rest) == sorted(entries)
    assert left(queue) == 0
