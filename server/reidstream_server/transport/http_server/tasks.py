"""The task that answers a request: its connection makes one for each.

Why looked up: what a call holds is given back when its task is over, whatever becomes of the call.
"""

from __future__ import annotations

import asyncio


def current_task() -> asyncio.Task[object]:
    """That of the call that runs."""
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("a request is answered by a task")
    return task
