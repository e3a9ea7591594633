"""Calls share a run when they come while one is on; nobody waits for company, and nobody is left waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from reidstream_engines.cuda.gathering import Gathering
from tests.support.patience import HANG_S


class Held:
    """Work that begins each run by saying so and waiting to be let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.failing: set[int] = set()
        self.error: BaseException = ValueError("broken")

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.begun.release()
        assert self.go.acquire(timeout=HANG_S)
        if self.failing & set(items):
            raise self.error
        return [item * 10 for item in items]


class Calls:
    """Callers in threads of their own, each known to wait before the next one comes."""

    def __init__(self, pool: ThreadPoolExecutor, work: Held, most: int) -> None:
        self.work = work
        self._pool = pool
        self._gathering = Gathering(work, most=most)
        self.futures: list[Future[int]] = []

    def lead(self, item: int) -> None:
        self._start(item)
        assert self.work.begun.acquire(timeout=HANG_S)

    def follow(self, item: int) -> None:
        waiting = len(self._gathering._waiting)
        self._start(item)
        arrived = threading.Event()
        while len(self._gathering._waiting) == waiting:
            arrived.wait(0.001)

    def _start(self, item: int) -> None:
        self.futures.append(self._pool.submit(self._gathering.run, item))


@pytest.fixture
def calls() -> Calls:
    return Calls(ThreadPoolExecutor(8), Held(), most=3)


def test_one_alone_does_not_wait(calls: Calls) -> None:
    """It runs at once, by itself."""
    calls.lead(1)
    calls.work.go.release()
    assert calls.futures[0].result(HANG_S) == 10
    assert calls.work.batches == [[1]]


def test_those_who_come_meanwhile_share_the_next_run(calls: Calls) -> None:
    """At most three, in the order in which they came; each gets its own result."""
    calls.lead(1)
    for item in (2, 3, 4, 5):
        calls.follow(item)
    calls.work.go.release(3)
    assert [future.result(HANG_S) for future in calls.futures] == [10, 20, 30, 40, 50]
    assert calls.work.batches == [[1], [2, 3, 4], [5]]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failure_reaches_its_batch_and_nobody_else(calls: Calls, error: BaseException) -> None:
    """Whatever it is; the next run goes on."""
    calls.work.error, calls.work.failing = error, {3}
    calls.lead(1)
    for item in (2, 3, 4, 5):
        calls.follow(item)
    calls.work.go.release(3)
    assert (calls.futures[0].result(HANG_S), calls.futures[4].result(HANG_S)) == (10, 50)
    for future in calls.futures[1:4]:
        assert future.exception(HANG_S) is error
