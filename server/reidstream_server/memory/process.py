"""How much private memory this process has.

Private are the pages that are in no file and that nobody shares: the heap, stacks, and what libraries map for
themselves. Trap: resident memory has the pages of libraries in it, and those of clients that share memory with us.
Freed memory stays private until the C library gives it back: see `allocator`.
"""

from __future__ import annotations

import os

_STATM = "/proc/self/statm"
_PAGE = os.sysconf("SC_PAGE_SIZE")


def private_bytes() -> int | None:
    """Private memory now, in bytes; None where the kernel does not say. Takes some microseconds."""
    try:
        with open(_STATM, "rb", buffering=0) as file:  # noqa: PTH123 - it is read twenty times a second
            fields = file.read(256).split()
    except OSError:
        return None
    return (int(fields[1]) - int(fields[2])) * _PAGE
