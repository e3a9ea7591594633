"""No more threads compute than there are cores, and none waits for one that never returns."""

from __future__ import annotations

import threading

import pytest

from reidstream_server.runtime.core_permits import CorePermits
from tests.support.patience import HANG_S, wait_until


class Calls:
    """Threads that take a permit and keep it until the test lets them go, one by one."""

    def __init__(self, permits: CorePermits, count: int) -> None:
        self.inside = 0
        self._leave = threading.Semaphore(0)
        self._count = threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(permits,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def over(self) -> int:
        """Calls that have ended."""
        return sum(not thread.is_alive() for thread in self._threads)

    def end(self, count: int) -> None:
        """Let so many calls go."""
        self._leave.release(count)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(HANG_S)

    def _call(self, permits: CorePermits) -> None:
        with permits:
            with self._count:
                self.inside += 1
            self._leave.acquire(timeout=HANG_S)


def test_a_call_waits_until_another_ends() -> None:
    """And begins then without anybody's help."""
    calls = Calls(CorePermits(2), 3)
    wait_until(lambda: calls.inside == 2)
    calls.end(1)
    wait_until(lambda: calls.inside == 3)
    assert calls.over == 1
    calls.end(2)
    calls.join()


def test_nobody_waits_for_a_call_that_never_returns() -> None:
    """What it held is given to another."""
    permits = CorePermits(1)
    calls = Calls(permits, 2)
    wait_until(lambda: calls.inside == 1)
    permits.forget(1)
    wait_until(lambda: calls.inside == 2)
    assert calls.over == 0
    calls.end(2)
    calls.join()


def test_a_call_that_raises_gives_its_permit_back() -> None:
    """The next one has it."""
    permits = CorePermits(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), permits:
            1 / 0  # noqa: B018 - it raises
