"""Tells the C library to keep memory that Python frees, for the next frame, instead of giving it back to the kernel.

Why keep it: the server allocates and frees a message of some megabytes for every frame. By default glibc maps such a
block anew each time, and every page of it costs a page fault. For ready crops that was a third of the server's time.

Why one arena per core instead of glibc's eight: a dozen threads take turns to decode, and each would keep free memory
of its own. On two cores that was 30 MB, and it grew for as long as it was watched.

Trap: these switches are glibc's, and it refuses a threshold above 32 MiB. With another C library nothing is changed;
the server is then only slower.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_KEPT_FREE = 256 * 2**20


def keep_freed_memory(cores: int) -> bool:
    """Tell glibc. False if the C library is another one, or refuses. Call it before the first frame."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _KEPT_FREE),
        (_M_ARENA_MAX, max(2, cores)),
    )
    return all(mallopt(switch, value) == 1 for switch, value in settings)
