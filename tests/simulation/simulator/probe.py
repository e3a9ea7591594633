"""The only place that looks inside the core.

Why at all: nobody can see from outside that an answer which waits its turn is decided, or that a map is never emptied.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.state import FrameState
from reidstream_server.core.terms import FrameKey, SessionKey

from .books import FrameBook


def next_frame_key(scheduler: Scheduler[FrameBook]) -> FrameKey:
    """The key that the next frame will get."""
    return FrameKey(scheduler._keys + 1)


def frame_state(scheduler: Scheduler[FrameBook], session: SessionKey, key: FrameKey) -> FrameState[FrameBook] | None:
    """The core's state of a frame; None if the frame is answered, and nothing looks at it."""
    known = scheduler._sessions.get(session)
    waiting = known.open_frames.get(key) if known is not None else None
    return waiting or scheduler._ledger.frames.get(key)


def remembered(scheduler: Scheduler[FrameBook]) -> AbstractSet[str]:
    """The sources without sessions of which the core knows what was read for nothing."""
    return scheduler._sources._gone.keys()


def leftovers(scheduler: Scheduler[FrameBook], *, stuck: bool) -> dict[str, int]:
    """Sizes of everything in the core that must be empty when nothing is open, except frames and batches.

    `stuck`: some batches never came back; they hold the memory of their frames.
    """
    ledger, admission = scheduler._ledger, scheduler._ledger.admission
    rooms = (admission._boxes, admission._bytes, admission._answers)
    sizes = {
        "sessions": len(scheduler._sessions),
        "timers": len(scheduler._timers),
        "sessions with news": len(scheduler._delivery._touched),
        "cameras that wait": sum(len(level.lanes) for level in ledger.waiting._levels.values()),
        "frames that wait": len(ledger.waiting),
        "cameras with boxes": len(admission._boxes.pool._by_holder),
        "cameras with bytes": len(admission._bytes.pool._by_holder),
        "cameras with answers": len(admission._answers.pool._by_holder),
        "sources with a part": sum(len(room.sources._by_holder) + len(room.in_turn._by_holder) for room in rooms),
        "sources that parked": len(admission._parked._by_holder),
        "what has passed others": sum(room.passed for room in rooms),
        "parked": len(admission._parking),
        "sources that wait": len(admission._waiting),
        "heavy frames that wait": ledger._waiting_heavy,
        "frames that are being staged": len(ledger.staging._at_work),
        "slots taken": ledger.staging.frames + ledger.staging.aside_frames + ledger.staging.lost,
        "sources": len(scheduler._sources),
    }
    if stuck:
        del sizes["cameras with answers"], sizes["sources with a part"], sizes["what has passed others"]
    fleet = scheduler._fleet
    sizes["models that are gone, and have their turns"] = len({*fleet.sharing, *fleet.on_devices} ^ set(fleet.batchers))
    sizes["models that are gone, and nobody was told"] = len(fleet.unused)
    for index, batcher in fleet.batchers.items():
        sizes[f"crops ready of model {index}"] = batcher.ready_crops
        sizes[f"cameras ready of model {index}"] = sum(len(level.lanes) for level in batcher._ready._levels.values())
        for name, sight in (("light", batcher._light), ("heavy", batcher._aside)):
            sizes[f"{name} crops in sight of model {index}"] = sight.crops
            sizes[f"{name} frames in sight of model {index}"] = sight.frames
    return {name: size for name, size in sizes.items() if size}
