"""Who receives its message next, and that a message which is here waits for a place like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from reidstream_server.errors import TooManyCalls, TooSlow
from reidstream_server.transport.entrance.receiving import Reception
from tests.support.clock import Clock, settle

TIMEOUT_S, PATIENCE_S = 100.0, 1000.0


class Message:
    """Comes when the test says so."""

    def __init__(self) -> None:
        self.came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read(self) -> str:
        return await self.came


def receiving(reception: Reception, source: str, message: Message, *, here: bool = False) -> asyncio.Task[str]:
    return asyncio.create_task(reception.receive(message, source, here=here))


def _note(order: list[int], number: int, _: object) -> None:
    order.append(number)


async def test_a_place_that_is_free_goes_to_whoever_has_least_and_then_to_whoever_waits_longest() -> None:
    """However many wait, of one source or of several."""
    reception = Reception(places=4, timeout_s=TIMEOUT_S, patience_s=PATIENCE_S)
    held = [Message() for _ in range(4)]
    first = [receiving(reception, source, one) for source, one in zip("aabc", held, strict=True)]
    await settle()
    assert reception.taken == 4
    waiting = [(source, Message()) for source in "aabbdcdd"]
    tasks = [receiving(reception, source, one) for source, one in waiting]
    await settle()
    assert reception.waiting == len(waiting)
    order: list[int] = []
    for number, task in enumerate(tasks):
        task.add_done_callback(partial(_note, order, number))
    for _, one in waiting:
        one.came.set_result("whole")
    for one in held:
        one.came.set_result("whole")
        await settle()
    assert await asyncio.gather(*first, *tasks) == ["whole"] * 12
    assert order[0] == 4  # the first of d, which had nothing
    assert [number for number in order if waiting[number][0] == "a"] == [0, 1]
    assert [number for number in order if waiting[number][0] == "d"] == [4, 6, 7]
    assert (reception.taken, reception.waiting) == (0, 0)


async def test_a_message_that_is_here_takes_a_place_for_no_time() -> None:
    """It waits for one as others do; then it is read at once, by no task of its own."""
    reception = Reception(places=2, timeout_s=TIMEOUT_S, patience_s=PATIENCE_S)
    held, other, here = Message(), Message(), Message()
    here.came.set_result("here")
    first = [receiving(reception, "a", held), receiving(reception, "b", other)]
    await settle()
    waits = receiving(reception, "c", here, here=True)
    await settle()
    assert (waits.done(), reception.waiting) == (False, 1)
    held.came.set_result("whole")
    assert await waits == "here"
    tasks = len(asyncio.all_tasks())
    assert await reception.receive(here, "c", here=True) == "here"
    assert (len(asyncio.all_tasks()), reception.taken) == (tasks, 1)
    other.came.set_result("whole")
    assert await asyncio.gather(*first) == ["whole"] * 2


async def test_a_message_that_is_here_gives_its_place_back_whatever_is_raised() -> None:
    """As a form that is none."""
    reception = Reception(places=2, timeout_s=TIMEOUT_S, patience_s=PATIENCE_S)
    wrong = Message()
    wrong.came.set_exception(TooManyCalls("wrong"))
    with pytest.raises(TooManyCalls, match="wrong"):
        await reception.receive(wrong, "a", here=True)
    assert reception.taken == 0


@pytest.mark.parametrize("leave", [asyncio.Task.cancel, None])
async def test_who_waits_no_more_leaves_the_line(
    leave: Callable[[asyncio.Task[str]], Awaitable[None]] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because its client has left it, or because its time is over; those behind it go on waiting."""
    clock = Clock(monkeypatch)
    reception = Reception(places=2, timeout_s=TIMEOUT_S, patience_s=PATIENCE_S)
    held = Message()
    first = [receiving(reception, source, held) for source in "ab"]
    await settle()
    gone = receiving(reception, "c", Message())
    await clock.turn_on(TIMEOUT_S / 2)
    stays = Message()
    last = receiving(reception, "c", stays)
    await settle()
    if leave is None:
        await clock.turn_on(TIMEOUT_S / 2)
        for task in first:
            with pytest.raises(TooSlow):
                await task
        with pytest.raises(TooManyCalls):
            await gone
    else:
        gone.cancel()
        await settle()
    assert reception.waiting == 1
    stays.came.set_result("whole")
    held.came.set_result("whole")
    assert await last == "whole"
    await asyncio.gather(*first, return_exceptions=True)
    assert (reception.taken, reception.waiting) == (0, 0)
