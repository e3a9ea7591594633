"""What a simulated run will do, decided before it begins.

Why apart from the world: a plan is data, drawn from a seed or written by hand in a test; the world only carries it out.
All times are nanoseconds of the virtual clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from reidstream_server.core.terms import FrameRequest, ModelIndex, ModelTerms, SchedulerLimits, SessionTerms

MS = 1_000_000
START_NS = 1_000 * MS

Name = NewType("Name", int)
"""What clients call a model. Several models may have one name, one after the other; a session gets the newest."""


class Fault(Enum):
    """The kinds of things that go wrong on purpose."""

    ENGINE_RAISES = "an engine raises on a batch"
    POISON = "a crop fails every batch that it is in"
    ENGINE_LOST = "an engine cannot go on"
    BATCH_NEVER_RETURNS = "a batch never returns"
    BATCH_RETURNS_LATE = "a batch returns after its engine was given up"
    BATCH_SLOW = "a batch takes very long"
    STAGING_FAILS = "a frame cannot be decoded"
    STAGING_SLOW = "a frame takes very long to decode"
    STAGING_HANGS = "a frame is decoded for so long that it is given up"
    STAGING_UNTOLD = "a frame takes far longer to decode than its headers say"
    CROPS_UNDECODABLE = "crops of a frame cannot be decoded"
    DEVICE_LOST = "staging finds the device lost"
    CLIENT_VANISHES = "a client vanishes"
    CLIENT_STALLS = "a client stops reading"
    CLIENT_SLOW = "a client reads slowly"
    CLIENT_FLOODS = "a client ignores its window"
    DRAIN_ONE = "one session is drained"
    DRAIN_ALL = "all sessions are drained"


class BatchFate(Enum):
    """What happens to a batch."""

    RAISES = "raises"
    LOSES_ENGINE = "loses its engine"
    NEVER_RETURNS = "never returns"
    RETURNS_LATE = "returns late"
    SLOW = "slow"


class Moment(Enum):
    """How far a frame has come when its client vanishes."""

    PARKED = "waits for room"
    QUEUED = "is queued"
    STAGING = "is being staged"
    READY = "has crops ready"
    RUNNING = "has crops running"
    ISOLATING = "has crops that must run alone"


class Use(Enum):
    """What a model is in the middle of when it is told to retire."""

    UNUSED = "nothing of it is open"
    NAMED = "a session that names it is open"
    DRAINING = "a session that names it is being drained"
    QUEUED = "a frame for it is queued"
    STAGING = "a frame for it is being staged"
    LINGERING = "a batch of it waits to fill"
    RUNNING = "a batch of it runs"
    ISOLATING = "crops for it must run alone"
    LOST = "its engine is lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlan:
    """A frame that a client will send. `crops`: the name of each crop's model. `declared_ns`: how long its staging
    takes by its headers. `reading_ns`: the event loop reads it for so long. `refused`: and cannot understand it.
    """

    frame_id: int
    message_bytes: int
    staged_bytes: int
    answer_bytes: int
    age_ns: int
    crops: tuple[Name, ...]
    staging_ns: int
    declared_ns: int
    reading_ns: int = 0
    refused: bool = False
    staging_fails: bool = False
    poison: frozenset[int] = frozenset()
    undecodable: frozenset[int] = frozenset()

    def request(self, models: tuple[ModelIndex, ...]) -> FrameRequest:
        """As the scheduler is told, with the model of each crop."""
        return FrameRequest(
            frame_id=self.frame_id,
            message_bytes=self.message_bytes,
            staged_bytes=self.staged_bytes,
            answer_bytes=self.answer_bytes,
            staging_ns=self.declared_ns,
            age_ns=self.age_ns,
            crops=models,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """One session's client.

    `terms` are without models: which ones have the `names` is known when it opens. It does not open if one is missing.
    `stalls_after` counts answers; `read_ns` is how long it takes for each. It vanishes at `vanishes_ns`, or as soon as
    a frame of it has come as far as `vanishes_when`; its first `vanishes_after` frames do not count.
    """

    terms: SessionTerms
    names: frozenset[Name]
    opens_ns: int
    interval_ns: int
    read_ns: int
    frames: tuple[FramePlan, ...]
    floods: bool = False
    stalls_after: int | None = None
    vanishes_ns: int | None = None
    vanishes_when: Moment | None = None
    vanishes_after: int = 0
    leaves_on_drain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """One model's engine: how long batches take, and which of them (counted from 0) go wrong."""

    batch_ns: int
    crop_ns: int
    fates: dict[int, BatchFate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """A model. `comes_ns`: None if it is there from the beginning. After `retires_ns` it retires as soon as it is in
    the middle of `retires_when`; None: at once.
    """

    name: Name
    terms: ModelTerms
    engine: EnginePlan
    comes_ns: int | None = None
    retires_ns: int | None = None
    retires_when: Use | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainPlan:
    """Ask one client's session, or all, to leave. A shutdown of all also keeps new sessions out."""

    at_ns: int
    client: int | None
    allowed_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a run depends on.

    `timer_lag_ns`: how late the shell's timers fire. `device_lost_at`: the staging (counted from 0) that finds the
    device lost. `stops_when_engine_dies`: whether the shell then drains everything, as a service does. `remembered`:
    how many sources that left are remembered.
    """

    seed: int
    limits: SchedulerLimits
    models: tuple[ModelPlan, ...]
    clients: tuple[ClientPlan, ...]
    drains: tuple[DrainPlan, ...] = ()
    faults: tuple[Fault, ...] = ()
    timer_lag_ns: int = 0
    device_lost_at: int | None = None
    stops_when_engine_dies: bool = False
    remembered: int = 1_024

    @property
    def frames(self) -> int:
        """How many frames the clients mean to send."""
        return sum(len(client.frames) for client in self.clients)
