"""Python's garbage collector, told not to look again at what is there when serving begins, and to look at all rarely.

Why: a full collection looks at every object, and everything waits for it, frames too. After the start that is some
60,000 objects, nearly all of them code: 37 ms on the machine where it was measured. What was there before the first
call is never garbage, so only what came later is looked at. But in a crowd that is much, too: with 1,500 open calls 60
to 150 ms, and Python looked every half second, since each call makes objects that stay for a while. So there is one
full collection for 20 of Python's own.

Trap: what is frozen while it is garbage stays for ever. So garbage is collected first. And garbage that is a ring may
stay for minutes, so nothing large may hang on one (`transport.grpc_server.forgetting`).
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, ALL = 1000, 10, 200
"""New objects until the youngest are looked at; how many of these looks until what they left is looked at, which takes
2 ms; and how many of those until everything is.
"""


def leave_out_what_is_there() -> int:
    """Collect once, and leave out of all later collections what is left; returns how many objects that is. Call it when
    everything is loaded, before the first call comes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, ALL)
    return gc.get_freeze_count()
