"""A wait with a time limit, for which no cancellation is lost.

Why not `asyncio.wait_for`: before Python 3.12 it drops a cancellation that comes just when the wait is over. The
caller's task was told to stop, and would go on. `asyncio.timeout` does better, and is not in Python 3.10.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(timeout_s: float, work: Awaitable[T]) -> T:
    """Its result. Raises asyncio.TimeoutError when it takes longer; it is cancelled then, and has ended. It is also
    cancelled when the caller is, which does not wait for it.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            if task.cancelled():
                raise asyncio.TimeoutError
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else asks for it
        raise
    return task.result()
