"""Calls that met no ready server, repeated.

Why only those: a server that is starting, stopping or gone has done nothing with the call. Trap: the pauses are
random, or the clients of a server that comes back would all come at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from reidstream_client.choices import RetryPolicy
from reidstream_client.errors import ServerUnavailable

T = TypeVar("T")


async def with_retries(attempt: Callable[[float], Awaitable[T]], policy: RetryPolicy, *, timeout_s: float) -> T:
    """Await `attempt(seconds left)`, again while it meets no ready server and policy and time allow."""
    deadline = time.monotonic() + timeout_s
    pause = policy.first_s
    tried = 0
    while True:
        try:
            return await attempt(deadline - time.monotonic())
        except ServerUnavailable:
            tried += 1
            if tried >= policy.attempts or deadline - time.monotonic() <= pause:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - only spreads clients out
        pause = min(policy.cap_s, 2 * pause)
