"""How threads wake the event loop: every event is heard once, in its order, and a crowd of them with one wake-up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from reidstream_server.runtime.wakeups import Wakeups
from tests.support.harness import until


def fail(error: Exception) -> None:
    raise error


async def test_what_ends_while_a_wakeup_is_on_its_way_comes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what ends later wakes the loop again."""
    loop = asyncio.get_running_loop()
    woken, wake = list[object](), loop.call_soon_threadsafe

    def counted(what: Callable[[], object]) -> asyncio.Handle:
        woken.append(what)
        return wake(what)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    wakeups = Wakeups(fail, lambda: None)
    heard: list[int] = []
    for number in range(100):
        wakeups.from_thread(heard.append, number)
    assert (len(woken), heard) == (1, [])
    await asyncio.sleep(0)
    assert heard == list(range(100))
    wakeups.from_thread(heard.append, 100)
    assert len(woken) == 2
    await asyncio.sleep(0)
    assert heard[-1] == 100


async def test_every_event_of_every_thread_is_heard_once_and_in_its_order() -> None:
    """However they race with the loop."""
    wakeups = Wakeups(fail, lambda: None)
    heard: list[tuple[int, int]] = []

    def work(thread: int) -> None:
        for number in range(2000):
            wakeups.from_thread(heard.append, (thread, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    await until(lambda: len(heard) == 4 * 2000)
    for thread in threads:
        thread.join()
    for thread_number in range(4):
        assert [number for thread, number in heard if thread == thread_number] == list(range(2000))


async def test_an_event_that_fails_is_told_and_keeps_no_other_from_being_heard() -> None:
    """Nobody awaits events, so nobody else would tell."""
    failures: list[Exception] = []
    wakeups = Wakeups(failures.append, lambda: None)
    heard: list[int] = []

    wakeups.from_thread(fail, ValueError())
    wakeups.from_thread(heard.append, 1)
    await asyncio.sleep(0)
    assert (len(failures), heard) == (1, [1])
