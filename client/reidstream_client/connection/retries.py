"""Calls that met no ready server, or were cut off before an answer, repeated.

Why only those: a server that is starting, stopping or gone has done nothing with the call, and no call of ours does
harm if it is made twice. An answer that says why, whoever gave it, is not asked for again. Whoever can bear more says
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
    """No ready server was there, or the call was cut off without a reason."""
    return isinstance(error, ServerUnavailable) or error.cut_off


async def with_retries(
    attempt: Callable[[float], Awaitable[T]],
    policy: RetryPolicy,
    *,
    timeout_s: float,
    repeats: Callable[[ReidError], bool] = met_no_server,
) -> T:
    """Await `attempt(seconds left)`, again while `repeats` its error, and policy and time allow.

    Raises the last error, which says how often it was tried; if the last attempt was only cut short by the deadline,
    the one before, which says more. A call that was cut off to the last raises ServerUnavailable.
    """
    begun = time.monotonic()
    deadline = begun + timeout_s
    pause = policy.first_s
    tried = 0
    before: ReidError | None = None
    while True:
        try:
            return await attempt(deadline - time.monotonic())
        except ReidError as error:
            failed = error
        tried += 1
        took_s = time.monotonic() - begun
        left_s = timeout_s - took_s
        if before is not None and isinstance(failed, CallTimeout) and left_s <= 0:
            raise _at_last(before, tried, took_s)
        if not repeats(failed) or tried >= policy.attempts or left_s <= pause:
            raise _at_last(failed, tried, took_s)
        before = failed.with_traceback(None)  # which would keep the call alive
        await asyncio.sleep(spread(pause))
        pause = min(policy.cap_s, 2 * pause)


def _at_last(error: ReidError, tried: int, took_s: float) -> ReidError:
    """The error for the caller, once no further try follows."""
    said = str(error)
    if error.cut_off:
        said += ": the server, or something on the way to it, ended the call before it answered"
    if tried > 1:
        said += f" (tried {tried} times in {took_s:.3g} s)"
    if not error.cut_off or isinstance(error, ServerUnavailable):
        error.args = (said,)
        return error
    cut = ServerUnavailable(said, status=error.status)
    cut.cut_off = True
    return cut


def spread(pause_s: float) -> float:
    """A pause, shortened at random by up to a half, so that many clients do not come back together."""
    return pause_s * random.uniform(0.5, 1)  # noqa: S311 - only spreads clients out
