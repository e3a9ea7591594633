"""Work on rows, on all cores.

Why threads: NumPy lets go of the interpreter while it sorts, compares and adds. Products of matrices have threads of
their own, so they are made outside of these. Trap: more threads than cores only take turns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def usable_cores() -> int:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def over_rows(rows: int, work: Callable[[int, int], None], pool: ThreadPoolExecutor | None) -> None:
    """Call `work(start, end)` for parts of `rows` rows that have all of them together; returns when all are done."""
    if pool is None or rows == 0:
        work(0, rows)
        return
    parts = min(rows, 4 * usable_cores())
    edges = [rows * part // parts for part in range(parts + 1)]
    for _ in pool.map(work, edges[:-1], edges[1:]):
        pass


def make_pool() -> ThreadPoolExecutor:
    """A thread for each core."""
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="evaluation")
