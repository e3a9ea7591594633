"""How many processor cores there are to work with.

Why one function: the engines size their calls by it, and the server its scheduling; both must see the same number.
Trap: a container may be given fewer cores than the machine has, and `os.cpu_count` does not know that.
"""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many cores this process may run on, at least 1. Where the system cannot say, all cores of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
