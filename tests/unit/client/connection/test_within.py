"""A time limit that loses no cancellation."""

from __future__ import annotations

import asyncio

import pytest

from reidstream_client.connection.within import within

ENOUGH_S = 3600.0


async def test_the_result_and_the_error_are_those_of_the_coroutine() -> None:
    """As if there were no limit."""

    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("nobody")

    assert await within(ENOUGH_S, seven()) == 7
    with pytest.raises(LookupError, match="nobody"):
        await within(ENOUGH_S, fails())


async def test_what_takes_too_long_is_cancelled_and_has_ended() -> None:
    """Before the caller hears of it."""
    ended = False

    async def endless() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, endless())
    assert ended


@pytest.mark.parametrize("error", [None, LookupError("nobody")])
async def test_a_cancellation_that_comes_with_the_result_is_not_lost(error: Exception | None) -> None:
    """The caller ends, although the coroutine was done first."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        await release.wait()
        if error is not None:
            raise error
        return "done"

    caller = asyncio.ensure_future(within(ENOUGH_S, work()))
    await begun.wait()
    inner = next(task for task in asyncio.all_tasks() if task.get_coro().__name__ == "work")  # type: ignore[union-attr]
    inner.add_done_callback(lambda _: caller.cancel())  # before the caller has heard of it
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_who_is_cancelled_cancels_the_coroutine() -> None:
    """It does not go on by itself."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.ensure_future(within(ENOUGH_S, endless()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await ended.wait()
