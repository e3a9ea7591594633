"""The mutable state of frames and sessions. Owned by the scheduler; nothing outside the core sees it.

    frame:   PARKED -> QUEUED -> STAGING -> READY -> (answered)        any -> (answered with a fault)

Trap: a frame is *resolved* (its answer is known) before it is *gone*: in order, the answer may wait its turn, and
crops in a running batch may still look at its pixels.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from .effects import FrameTimes
from .faults import CropOutcome, FrameFault
from .lanes import Entry
from .statistics import SessionStatistics
from .terms import FrameKey, FrameRequest, ModelIndex, OverloadPolicy, Priority, SessionKey, SessionTerms
from .timers import Timer

P = TypeVar("P")

# Refused and dropped frames take no place in the window, but their answers may have to wait for older ones. When so
# many windows of answers wait, even a session that never waits is not read any more.
ANSWER_BACKLOG_WINDOWS = 4


class Phase(Enum):
    """How far a frame has come."""

    PARKED = "parked"
    QUEUED = "queued"
    STAGING = "staging"
    READY = "ready"


@dataclass(slots=True, eq=False)
class FrameState(Generic[P]):
    """A frame, from its arrival until nobody looks at its pixels any more.

    `cost_ns`: of one core, for its staging and its crops, as far as its headers tell. `heavy`: light frames do not wait
    for it. `aside`: it is or was staged beside the cores that all share. `share`, `passed`: see `admission`.
    `reading_ns`: what reading it took, as far as nobody has paid for it yet. `priority`: in all queues, decided when it
    is queued (see `precedence`).
    """

    key: FrameKey
    session: SessionState[P]
    request: FrameRequest
    priority: Priority
    arrived_ns: int
    payload: P | None
    models: frozenset[ModelIndex]
    cost_ns: int
    expected_staging_ns: int
    heavy: bool
    phase: Phase = Phase.PARKED
    resolved: bool = False
    fault: FrameFault | None = None
    outcomes: list[CropOutcome | None] = field(default_factory=list)
    open_crops: int = 0
    running_crops: int = 0
    holds_window: bool = False
    holds_queue_boxes: bool = False
    holds_queue_bytes: bool = False
    holds_answer_bytes: bool = False
    holds_staged_bytes: bool = False
    passed: bool = False
    share: float = 0.0
    reading_ns: int = 0
    being_staged: bool = False
    aside: bool = False
    set_aside: bool = False
    given_up: bool = False
    staged: bool = False
    lacked_room: bool = False
    queue_entry: Entry[FrameState[P]] | None = None
    crop_entries: list[tuple[ModelIndex, Entry[WaitingCrops[P]]]] = field(default_factory=list)
    budget_timer: Timer | None = None
    staging_ns: int = 0
    decoded_ns: int = 0
    first_batch_ns: int = 0
    last_batch_ns: int = 0
    batch_sizes: list[int] = field(default_factory=list)

    @property
    def boxes(self) -> int:
        """How many crops it has: its cost."""
        return len(self.request.crops)

    @property
    def seems_heavy(self) -> bool:
        """Whether light frames should not wait for it."""
        return self.heavy or self.session.slowed

    @property
    def started(self) -> bool:
        """Whether any work was done for it."""
        return self.phase in (Phase.STAGING, Phase.READY)

    def times(self) -> FrameTimes:
        """A snapshot."""
        return FrameTimes(
            arrived_ns=self.arrived_ns,
            age_ns=self.request.age_ns,
            staging_ns=self.staging_ns,
            decoded_ns=self.decoded_ns,
            first_batch_ns=self.first_batch_ns,
            last_batch_ns=self.last_batch_ns,
            batch_sizes=tuple(self.batch_sizes),
        )


@dataclass(slots=True, eq=False)
class WaitingCrops(Generic[P]):
    """Crops of a staged frame that wait for one model, the next one first. `at_first`: how many there were."""

    frame: FrameState[P]
    payload: P
    indices: deque[int]
    at_first: int

    @property
    def ample(self) -> bool:
        """Whether more than half of them still wait."""
        return 2 * len(self.indices) > self.at_first


@dataclass(frozen=True, slots=True)
class Portion(Generic[P]):
    """Some crops of one frame, in a batch."""

    frame: FrameState[P]
    payload: P
    indices: tuple[int, ...]

    def singly(self) -> Iterator[Portion[P]]:
        """Each crop by itself."""
        for index in self.indices:
            yield Portion(self.frame, self.payload, (index,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwritten:
    """An answer that was handed out and not yet written. It does not hold its frame, whose pixels it would keep."""

    window_frames: int
    window_bytes: int
    answer_bytes: int
    passed: bool


@dataclass(slots=True, eq=False)
class SessionState(Generic[P]):
    """A session: what it has open, in the order it came. `paused`: its source is not read at present. `slowed`: its
    source is paused, or has frames that turned out to be heavy; so all its frames are taken for heavy ones.
    """

    key: SessionKey
    terms: SessionTerms
    open_frames: OrderedDict[FrameKey, FrameState[P]] = field(default_factory=OrderedDict)
    resolved: list[FrameState[P]] = field(default_factory=list)
    unwritten: deque[Unwritten] = field(default_factory=deque)
    parked: FrameState[P] | None = None
    last_frame_id: int | None = None
    window_frames: int = 0
    window_bytes: int = 0
    half_closed: bool = False
    draining: bool = False
    gone: bool = False
    paused: bool = False
    slowed: bool = False
    was_readable: bool = True
    stalled_since_ns: int = 0
    stall_timer: Timer | None = None
    drain_timer: Timer | None = None

    @property
    def readable(self) -> bool:
        """Whether its next message may be read."""
        if self.paused:
            return False
        if self.draining:
            return True  # what still comes is not processed
        window = self.terms.window
        backlog = len(self.open_frames) + len(self.unwritten)
        if self.terms.overload_policy is not OverloadPolicy.WAIT:
            return backlog < ANSWER_BACKLOG_WINDOWS * window.frames
        return self.parked is None and backlog < window.frames and self.window_bytes < window.bytes

    @property
    def over_window(self) -> bool:
        """Whether more frames, or more bytes, are in the window than it allows."""
        window = self.terms.window
        return self.window_frames > window.frames or (self.window_bytes > window.bytes and self.window_frames > 1)

    @property
    def finished(self) -> bool:
        """Whether nothing is open and nothing more will come."""
        return (self.half_closed or self.draining) and not self.open_frames and not self.unwritten

    def statistics(self) -> SessionStatistics:
        """A snapshot. Takes the same time whatever the session holds."""
        return SessionStatistics(
            open_frames=len(self.open_frames),
            unwritten_answers=len(self.unwritten),
            window_frames=self.window_frames,
            window_bytes=self.window_bytes,
            window=self.terms.window,
            readable=self.readable,
            draining=self.draining,
        )

    def oldest_unstarted(self) -> FrameState[P] | None:
        """The oldest open frame for which no work was done."""
        return next((frame for frame in self.open_frames.values() if not frame.started and not frame.resolved), None)
