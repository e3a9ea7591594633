"""How far the open frames of a session are, for people who ask why it is slow.

Why apart from the statistics: those take the same time whatever a session holds, and this looks at every open frame. So
it is asked for by people, and never for a frame. Trap: a frame that is done may still be open, since its answer waits
for that to an older one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TypeVar

from .state import FrameState, Phase, SessionState

P = TypeVar("P")


class Progress(Enum):
    """How far an open frame has come."""

    PARKED = "parked"
    QUEUED = "queued"
    STAGING = "staging"
    READY = "ready"
    DONE = "done"


_OF_PHASE = {
    Phase.PARKED: Progress.PARKED,
    Phase.QUEUED: Progress.QUEUED,
    Phase.STAGING: Progress.STAGING,
    Phase.READY: Progress.READY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFrame:
    """A frame without an answer. `here_ns`: since it came. `age_ns`: its age when it came."""

    frame_id: int
    progress: Progress
    here_ns: int
    age_ns: int
    crops: int
    message_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionProgress:
    """A session's open frames, and what holds it up.

    `waiting_frames` wait to be staged, `running_frames` are staged or embedded, `done_frames` wait for an older one.
    `unread_ns`: how long the client has taken none of the answers that wait for it; `oldest_frame_ns`: how long the
    oldest open frame has been here; 0 for none. `paused`, `slowed`: see `state.SessionState`.
    """

    waiting_frames: int
    running_frames: int
    done_frames: int
    unread_ns: int
    oldest_frame_ns: int
    parked: bool
    paused: bool
    slowed: bool
    half_closed: bool


def progress_of(session: SessionState[P], now: int) -> SessionProgress:
    """A snapshot. Looks at every open frame."""
    waiting = running = done = 0
    for frame in session.open_frames.values():
        if frame.resolved:
            done += 1
        elif frame.started:
            running += 1
        else:
            waiting += 1
    oldest = next(iter(session.open_frames.values()), None)
    return SessionProgress(
        waiting_frames=waiting,
        running_frames=running,
        done_frames=done,
        unread_ns=now - session.stalled_since_ns if session.unwritten else 0,
        oldest_frame_ns=0 if oldest is None else now - oldest.arrived_ns,
        parked=session.parked is not None,
        paused=session.paused,
        slowed=session.slowed,
        half_closed=session.half_closed,
    )


def open_frames_of(session: SessionState[P], most: int, now: int) -> tuple[OpenFrame, ...]:
    """The oldest of its open frames, in the order in which they came."""
    return tuple(_open_frame(frame, now) for frame in islice(session.open_frames.values(), most))


def _open_frame(frame: FrameState[P], now: int) -> OpenFrame:
    return OpenFrame(
        frame_id=frame.request.frame_id,
        progress=Progress.DONE if frame.resolved else _OF_PHASE[frame.phase],
        here_ns=now - frame.arrived_ns,
        age_ns=frame.request.age_ns,
        crops=frame.boxes,
        message_bytes=frame.request.message_bytes,
    )
