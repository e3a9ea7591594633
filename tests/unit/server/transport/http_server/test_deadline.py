"""The time that a connection has left, by a clock that the test turns on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from reidstream_server.transport.http_server.deadline import Deadline
from tests.support.clock import Clock


async def test_it_passes_once_when_the_last_time_that_was_given_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether that is earlier or later than the one before."""
    clock, passed = Clock(monkeypatch), list[int]()
    deadline = Deadline(asyncio.get_running_loop(), lambda: passed.append(1))
    deadline.within(1000)
    await clock.turn_on(900)
    deadline.within(1000)
    await clock.turn_on(900)
    assert not passed
    await clock.turn_on(200)
    assert len(passed) == 1
    await clock.turn_on(5000)
    assert len(passed) == 1
    deadline.within(1000)
    deadline.within(100)
    await clock.turn_on(200)
    assert len(passed) == 2


async def test_it_does_not_pass_when_it_is_off_or_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And may be set again after it was off."""
    clock, passed = Clock(monkeypatch), list[int]()
    deadline = Deadline(asyncio.get_running_loop(), lambda: passed.append(1))
    deadline.within(1000)
    deadline.off()
    await clock.turn_on(2000)
    assert not passed
    deadline.within(1000)
    await clock.turn_on(1500)
    assert len(passed) == 1
    deadline.within(1000)
    deadline.close()
    await clock.turn_on(2000)
    assert len(passed) == 1


async def test_a_time_that_moves_on_makes_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection moves it with every request."""
    loop = asyncio.get_running_loop()
    made, call_at = list[float](), loop.call_at

    def counted(when: float, act: Callable[[], object]) -> asyncio.TimerHandle:
        made.append(when)
        return call_at(when, act)

    monkeypatch.setattr(loop, "call_at", counted)
    deadline = Deadline(loop, lambda: None)
    for _ in range(1000):
        deadline.off()
        deadline.within(1000)
    assert len(made) == 1
    deadline.close()
