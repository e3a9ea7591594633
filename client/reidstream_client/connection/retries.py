"""Calls that met no ready server, repeated.

Why only those: a server that is starting, stopping or gone has done nothing with the call. Whoever can bear more says
what else to repeat. Trap: the pauses are random, or the clients of a server that comes back would all come at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from reidstream_client.choices import RetryPolicy
from reidstream_client.errors import CallTimeout, ReidError, ServerUnavailable

T = TypeVar("T")


def met_no_server(error: ReidError) -> bool:
    """No ready server was there."""
    return isinstance(error, ServerUnavailable)


async def with_retries(
    attempt: Callable[[float], Awaitable[T]],
    policy: RetryPolicy,
    *,
    timeout_s: float,
    repeats: Callable[[ReidError], bool] = met_no_server,
) -> T:
    """Await `attempt(seconds left)`, again while `repeats` its error, and policy and time allow.

    Raises the last error; if the last attempt was only cut short by the deadline, the one before, which says more.
    """
    deadline = time.monotonic() + timeout_s
    pause = policy.first_s
    tried = 0
    before: ReidError | None = None
    while True:
        try:
            return await attempt(deadline - time.monotonic())
        except ReidError as error:
            tried += 1
            left_s = deadline - time.monotonic()
            if before is not None and isinstance(error, CallTimeout) and left_s <= 0:
                raise before from None
            if not repeats(error) or tried >= policy.attempts or left_s <= pause:
                raise
            before = error.with_traceback(None)  # which would keep the call alive
        await asyncio.sleep(spread(pause))
        pause = min(policy.cap_s, 2 * pause)


def spread(pause_s: float) -> float:
    """A pause, shortened at random by up to a half, so that many clients do not come back together."""
    return pause_s * random.uniform(0.5, 1)  # noqa: S311 - only spreads clients out
