"""The thread of large messages: one at a time, a rest after each, everybody in turn, and nothing stays of who left."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial

import pytest

from reidstream_server.errors import GoingAway
from reidstream_server.transport.entrance.apart import Apart, Done
from tests.support.gate import Gate
from tests.support.harness import until


def alone(_: AbstractSet[str]) -> bool:
    """Nobody else is served."""
    return False


@asynccontextmanager
async def busy() -> AsyncIterator[tuple[Apart, Gate, asyncio.Task[Done[None]]]]:
    """One whose thread is at work until the gate opens."""
    apart, gate = Apart(alone), Gate()
    task = asyncio.create_task(apart.do("first", partial(gate.wait, 0)))
    await until(lambda: gate.entered == 1)
    try:
        yield apart, gate, task
    finally:
        gate.opened.set()
        apart.close()


def begun(apart: Apart, source: str, work: Callable[[], object]) -> asyncio.Task[Done[object]]:
    return asyncio.create_task(apart.do(source, work))


async def test_work_is_done_in_one_other_thread_and_its_outcome_comes_back() -> None:
    """A value with the thread's own time, or the exception. The thread starts with the first piece."""
    before = set(threading.enumerate())
    apart = Apart(alone)
    assert set(threading.enumerate()) == before
    done = [await apart.do("a", threading.current_thread) for _ in range(3)]
    with pytest.raises(ZeroDivisionError):
        await apart.do("a", lambda: 1 // 0)
    (thread,) = {item.value for item in done}
    assert thread is not threading.current_thread()
    assert all(item.spent_ns > 0 for item in done)
    apart.close()
    await until(lambda: not thread.is_alive())


async def test_sources_have_their_turns_in_a_ring() -> None:
    """One with many messages waits for itself; each has its own in order."""
    order: list[str] = []
    async with busy() as (apart, gate, _):
        tasks = [begun(apart, name[0], partial(order.append, name)) for name in ("a1", "a2", "a3", "b1", "c1", "b2")]
        await until(lambda: apart.waiting == 6)
        gate.opened.set()
        await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


@pytest.mark.parametrize(("beside_others", "rest_s"), [(False, 3600.0), (True, 3 * 3600.0)])
async def test_the_next_begins_after_a_rest(
    *, beside_others: bool, rest_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the last one took where all send such messages, and three times as long beside those who do not."""
    clock = iter([0, 3_600_000_000_000, 0, 0])
    rests: list[tuple[float, Callable[[], None]]] = []
    monkeypatch.setattr(time, "thread_time_ns", lambda: next(clock))
    apart = Apart(lambda senders: beside_others and senders == {"a", "b"})
    apart.notice_large("b")
    loop = asyncio.get_running_loop()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_later", lambda delay, call: rests.append((delay, call)))
        assert (await apart.do("a", lambda: 1)).spent_ns == 3_600_000_000_000
        await asyncio.sleep(0)
        second = begun(apart, "a", lambda: 2)
        await asyncio.sleep(0)
        assert (apart.waiting, [seconds for seconds, _ in rests]) == (1, [rest_s])
        rests[0][1]()
        assert apart.waiting == 0
        assert (await second).value == 2
    apart.close()


async def test_nothing_stays_of_a_call_that_ends_while_it_waits() -> None:
    """Its message is dropped at once, not when its turn comes; the others have their turns."""

    class Message:
        def read(self) -> None:
            raise AssertionError("nobody wants it")

    async with busy() as (apart, gate, _):
        message = Message()
        known = weakref.ref(message)
        leaving, staying = begun(apart, "a", message.read), begun(apart, "a", lambda: 7)
        del message
        await until(lambda: apart.waiting == 2)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert (leaving.cancelled(), known(), apart.waiting) == (True, None, 1)
        gate.opened.set()
        assert (await staying).value == 7


async def test_a_call_that_ends_while_its_message_is_read_waits_for_nothing() -> None:
    """It is over at once; the thread goes on to the next when it is through."""
    async with busy() as (apart, gate, task):
        task.cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), gate.opened.is_set()) == (True, False)
        following = begun(apart, "b", lambda: 8)
        gate.opened.set()
        assert (await following).value == 8


async def test_nobody_writes_out_a_message() -> None:
    """Its text would take a second to make, on the event loop; also where others of its source wait."""

    class Message:
        def __call__(self) -> int:
            return 9

        def __repr__(self) -> str:
            raise AssertionError("it is large")

    async with busy() as (apart, gate, _):
        tasks = [begun(apart, "a", Message()) for _ in range(3)]
        await until(lambda: apart.waiting == 3)
        gate.opened.set()
        assert [done.value for done in await asyncio.gather(*tasks)] == [9, 9, 9]


async def test_when_the_service_is_closed_nobody_waits_any_more() -> None:
    """What has not begun is refused, and so is what comes; what is being read is read to its end."""
    async with busy() as (apart, gate, task):
        waiting = [begun(apart, source, lambda: 1) for source in "ab"]
        await until(lambda: apart.waiting == 2)
        apart.close()
        apart.close()
        for refused in (*waiting, begun(apart, "c", lambda: 1)):
            with pytest.raises(GoingAway, match="stopping"):
                await refused
        gate.opened.set()
        await task
        assert apart.waiting == 0
