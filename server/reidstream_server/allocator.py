"""How the C library keeps memory that Python gives back: for the next frame, not for the kernel.

Why: a message of some megabytes is allocated and freed for every frame. By default glibc maps such blocks anew each
time, and every page of them is a page fault; for ready crops that was a third of the server's time. And an
arena for each core instead of eight: a dozen threads that decode by turns would each keep free memory of their own,
which was 30 MB on two cores and crept up for as long as one watched. Trap: these are glibc's switches, and it refuses a
threshold above 32 MiB; elsewhere nothing is done, and nothing is lost but time.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_KEPT_FREE = 256 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc; False where the C library is another one, or refuses. Before the first frame."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _KEPT_FREE),
        (_M_ARENA_MAX, max(2, os.cpu_count() or 1)),
    )
    return all(mallopt(switch, value) == 1 for switch, value in settings)
