"""How long a stream of requests may say nothing."""

from __future__ import annotations

import asyncio

import pytest

from reidstream_server.errors import InvalidCall, TooSlow
from reidstream_server.transport.kserve.silence import Silence


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def silence(clock: Clock, idle_timeout_s: float = 100.0) -> Silence:
    return Silence(open_timeout_s=10.0, idle_timeout_s=idle_timeout_s, clock=clock)


async def is_over(one: Silence) -> bool:
    """Whether waiting for the next message ends at once, with a refusal."""
    coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(one.wait_for(coming))
    await asyncio.sleep(0)
    if not waiting.done():
        waiting.cancel()
        return False
    assert isinstance(waiting.exception(), InvalidCall | TooSlow)
    return True


async def test_a_stream_has_a_while_for_its_first_request() -> None:
    """However long it may be idle later."""
    clock = Clock()
    one = silence(clock, idle_timeout_s=0.0)
    clock.now_s = 9.0
    assert one.left_s == 1.0
    assert not await is_over(one)
    clock.now_s = 10.0
    with pytest.raises(InvalidCall, match="no request came within 10 s; send the first one at once"):
        await one.wait_for(asyncio.get_running_loop().create_future())


async def test_it_is_idle_when_nothing_is_in_progress_and_nothing_came_for_long() -> None:
    """While a request waits for its answer it is not; the time begins when the answer is taken."""
    clock = Clock()
    one = silence(clock)
    one.came()
    one.came()
    clock.now_s = 1000.0
    assert one.left_s == 100.0
    one.answered()
    assert not await is_over(one)
    one.answered()
    clock.now_s = 1099.0
    assert not await is_over(one)
    clock.now_s = 1100.0
    with pytest.raises(TooSlow, match=r"no request came for 100 s \(idle_timeout_s\)"):
        await one.wait_for(asyncio.get_running_loop().create_future())


async def test_without_a_time_out_it_may_be_idle_for_ever() -> None:
    """As 0 means everywhere."""
    clock = Clock()
    one = silence(clock, idle_timeout_s=0.0)
    one.came()
    one.answered()
    clock.now_s = 1e9
    assert one.left_s is None
    assert not await is_over(one)


async def test_what_comes_in_time_ends_the_waiting() -> None:
    """At once."""
    one = silence(Clock())
    coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(one.wait_for(coming))
    await asyncio.sleep(0)
    coming.set_result(None)
    await waiting
