"""Tells the C library to keep memory that is freed, for the next frame; and, in quiet times, to give it back.

Why keep it: the server allocates and frees a message of some megabytes for every frame. By default glibc maps such a
block anew each time, and every page of it costs a page fault. For ready crops that was a third of the server's time.

Why one arena per core instead of glibc's eight: a dozen threads take turns to decode, and each would keep free memory
of its own. On two cores that was 30 MB, and it grew for as long as it was watched. It must be said before the threads
are there: an arena that exists goes on being used.

Why give it back: it gives back nothing by itself, if it is told to keep. After 1.9 GB of network buffers were freed,
1.9 GB were still the server's.

Trap: these switches are glibc's, and it refuses a threshold above 32 MiB. With another C library nothing is changed;
the server is then only slower. And `malloc_trim` leaves the end of each arena alone, up to 64 MiB: that is given back
only when something is freed there, by a thread that has this arena.
"""

from __future__ import annotations

import ctypes
import sys
import threading

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8  # malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_KEPT_FREE = 256 * 2**20
_KEPT_IN_QUIET = 2**20
_TOUCHED = 20 * 2**20  # more than what lies free in pieces, and never written to
_TOUCHING_S = 5.0


def keep_freed_memory(cores: int) -> bool:
    """Tell glibc. False if the C library is another one, or refuses. Call it before there are threads."""
    libc = _glibc()
    if libc is None:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, _KEPT_FREE),
        (_M_ARENA_MAX, _arenas(cores)),
    )
    return all(libc.mallopt(switch, value) == 1 for switch, value in settings)


def give_back_free_memory(cores: int) -> bool:
    """Return to the system what is free. False if the C library is another one. `cores`: as `keep_freed_memory` had,
    which must come first: glibc stops adapting its thresholds here, and its own first ones map every large block anew.

    Some 75 ms for each GB that is returned, in which threads that want memory may wait; a millisecond if little is.
    """
    libc = _glibc()
    if libc is None:
        return False
    libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_IN_QUIET)
    try:
        libc.malloc_trim(0)
        _touch(libc, _arenas(cores))
    finally:
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)
    return True


def _touch(libc: ctypes.CDLL, arenas: int) -> None:
    """Free a block in each arena. Threads that are there at the same time have different ones, as far as there are."""
    together = threading.Barrier(arenas + 1)

    def touch() -> None:
        try:
            together.wait(_TOUCHING_S)
            libc.free(libc.malloc(_TOUCHED))
            together.wait(_TOUCHING_S)
        except threading.BrokenBarrierError:  # a machine that starts no threads
            pass

    threads = [threading.Thread(target=touch, name="memory-given-back", daemon=True) for _ in range(arenas + 1)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:
        together.abort()
        return
    for thread in threads:
        thread.join()


def _arenas(cores: int) -> int:
    return max(2, cores)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    if getattr(libc, "mallopt", None) is None or getattr(libc, "malloc_trim", None) is None:
        return None
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    return libc
