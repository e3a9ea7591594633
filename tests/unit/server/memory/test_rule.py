"""What the watch decides, with made-up numbers: whom nobody is blamed for, and when free memory goes back."""

from __future__ import annotations

from reidstream_server.memory.rule import (
    FIRST_PAUSE_S,
    GIVEN_BACK_FOR_S,
    HELD_PAUSE_S,
    MUCH_BYTES,
    WORKING_PAUSE_S,
    Act,
    Measured,
    WatchRule,
)

MIB = 2**20
BASE, BOUND, IDLE = 100 * MIB, 512 * MIB, 50 * MIB


class Watched:
    """A rule and what it is told. `free`: a part of `extra` that giving back returns."""

    def __init__(self) -> None:
        self.rule = WatchRule(base_bytes=BASE, bound_bytes=BOUND, idle_bytes=IDLE)
        self.now = 1000.0
        self.extra = self.free = self.counted = 0

    def measured(self) -> Measured:
        """A look now."""
        return Measured(now_s=self.now, private_bytes=BASE + self.extra, counted_bytes=IDLE + self.counted)

    def look(self) -> Act:
        """Decide, and do what is decided about free memory."""
        measured = self.measured()
        act = self.rule.decide(measured)
        if act is Act.GIVE_BACK:
            self.extra -= self.free
            self.free = 0
            self.rule.gave_back(measured, BASE + self.extra)
        return act

    def looks(self, seconds: float) -> list[Act]:
        """What is done within so many seconds, ten looks a second."""
        found = []
        for _ in range(int(seconds * 10)):
            self.now += 0.1
            found.append(self.look())
        return found


def test_a_server_that_holds_little_is_left_alone() -> None:
    """Not even accounts are asked for."""
    watched = Watched()
    watched.extra = MUCH_BYTES
    assert not watched.rule.needs_accounts(BASE + watched.extra)
    assert set(watched.looks(100)) == {Act.NOTHING}


def test_calls_are_ended_when_more_than_the_bound_is_held_and_none_of_it_is_free() -> None:
    """First what is free is given back; that brings nothing, so somebody is blamed."""
    watched = Watched()
    watched.extra = BOUND + IDLE + 1
    assert watched.look() is Act.GIVE_BACK
    assert watched.look() is Act.END_CALLS


def test_nobody_is_blamed_for_free_memory() -> None:
    """Gigabytes that the C library has kept are no reason to end a call."""
    watched = Watched()
    watched.extra = watched.free = 4 * BOUND
    assert watched.look() is Act.GIVE_BACK
    assert Act.END_CALLS not in watched.looks(100)


def test_nobody_is_blamed_for_what_is_counted() -> None:
    """A full queue has a bound of its own."""
    watched = Watched()
    watched.counted = 4 * BOUND
    watched.extra = watched.counted + BOUND // 4
    assert Act.END_CALLS not in watched.looks(100)


def test_after_calls_were_ended_free_memory_is_given_back_before_anybody_else_is_blamed() -> None:
    """What they held is free now, and still private."""
    watched = Watched()
    watched.extra = 2 * BOUND + IDLE
    assert [watched.look(), watched.look()] == [Act.GIVE_BACK, Act.END_CALLS]
    watched.rule.ended_calls()
    watched.free = BOUND + MIB
    assert watched.look() is Act.GIVE_BACK
    assert Act.END_CALLS not in watched.looks(10)


def test_having_given_back_does_not_count_for_long() -> None:
    """What has become free since then must be given back first."""
    watched = Watched()
    watched.extra = BOUND + IDLE + 1
    assert watched.look() is Act.GIVE_BACK
    watched.now += GIVEN_BACK_FOR_S
    assert watched.look() is Act.GIVE_BACK


def test_what_becomes_free_goes_back() -> None:
    """After a burst is over and was answered."""
    watched = Watched()
    watched.counted = watched.extra = 200 * MIB
    assert set(watched.looks(10)) == {Act.NOTHING}
    watched.free, watched.counted = 200 * MIB, 0
    assert Act.GIVE_BACK in watched.looks(0.2)
    assert watched.extra == 0


def test_what_somebody_holds_for_long_goes_back_soon_after_he_has_let_go() -> None:
    """Nothing tells when that is, so it is tried every few seconds."""
    watched = Watched()
    watched.extra = BOUND // 2
    acts = watched.looks(600)
    assert 600 / HELD_PAUSE_S - 5 < acts.count(Act.GIVE_BACK) < 600 / HELD_PAUSE_S + 5
    watched.free = watched.extra
    assert Act.GIVE_BACK in watched.looks(HELD_PAUSE_S + 0.2)
    assert watched.extra == 0


def work(watched: Watched, seconds: int) -> int:
    """Frames need 100 MiB again and again, of which 20 are counted at any time. How often it is given back."""
    tries = 0
    watched.counted = 20 * MIB
    for _ in range(seconds * 10):
        watched.now += 0.1
        watched.free = max(watched.free, 100 * MIB)
        watched.extra = max(watched.extra, 120 * MIB)
        tries += watched.look() is Act.GIVE_BACK
    return tries


def test_memory_that_frames_need_again_at_once_is_given_back_rarely() -> None:
    """Each time costs page faults; and after an attack it is soon as rare again."""
    watched = Watched()
    work(watched, 60)
    assert work(watched, 600) <= 600 / WORKING_PAUSE_S + 1
    watched.extra = watched.free = BOUND // 2
    assert watched.looks(WORKING_PAUSE_S).count(Act.GIVE_BACK) == 1
    assert watched.extra == 0
    work(watched, 60)
    assert work(watched, 600) <= 600 / WORKING_PAUSE_S + 1


def test_what_much_work_needed_goes_back_soon_when_little_is_left() -> None:
    """Not half a minute later."""
    watched = Watched()
    work(watched, 600)
    while not work(watched, 1):  # until it was given back just now
        pass
    watched.counted = MIB
    watched.extra = watched.free = 100 * MIB
    assert Act.GIVE_BACK in watched.looks(HELD_PAUSE_S + 0.2)
    assert watched.extra == 0


def test_memory_that_grows_is_looked_at_soon() -> None:
    """However rare it was before; and not more than once a second."""
    watched = Watched()
    watched.extra = BOUND // 8
    watched.looks(600)
    watched.extra = BOUND // 2
    assert Act.GIVE_BACK in watched.looks(FIRST_PAUSE_S + 0.1)
    watched.extra = BOUND
    assert watched.looks(FIRST_PAUSE_S * 2).count(Act.GIVE_BACK) <= 2


def test_looks_come_sooner_near_the_bound() -> None:
    """From half of it on."""
    rule = Watched().rule
    assert not rule.near(BASE + BOUND // 2)
    assert rule.near(BASE + BOUND // 2 + 1)
