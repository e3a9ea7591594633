"""What the simulator itself knows about frames and sessions, kept from plans, engines' returns and effects.

Why books of our own: an invariant that is checked with the core's own numbers cannot find a wrong number. Two things
cannot be seen from outside: that an answer which waits its turn is decided, and that a frame waits for room. Only for
them a frame's book holds a view of the core's state. Trap: `view` may be None for a frame that was answered within the
call that brought it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import assert_never

from reidstream_server.core.effects import CropRef
from reidstream_server.core.faults import CropOutcome, FaultReason
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.state import FrameState, Phase
from reidstream_server.core.terms import BatchKey, Flow, ModelIndex, Priority, SessionKey

from .accounts import Accounts
from .plan import MS, ClientPlan, FramePlan, ModelPlan, Moment, Name, Scenario
from .situations import Situation


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


class Pixels(Enum):
    """Where a frame's pixels are."""

    NOWHERE = "nowhere"
    STAGING = "staging"
    STAGED = "staged"
    FAILED = "failed"
    RELEASED = "released"


class Crop(Enum):
    """How far a crop has come. ALONE: it was in a batch that failed, and must run by itself."""

    UNSTAGED = "unstaged"
    READY = "ready"
    ALONE = "alone"
    RUNNING = "running"
    EMBEDDED = "embedded"
    FAILED = "failed"
    UNDECODABLE = "undecodable"


DECIDED = {
    Crop.EMBEDDED: CropOutcome.EMBEDDED,
    Crop.FAILED: CropOutcome.FAILED,
    Crop.UNDECODABLE: CropOutcome.INVALID_IMAGE,
}


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """Where the frames of a camera at one priority wait. One object each, compared by identity, which is quick."""

    priority: Priority
    flow: Flow

    def __str__(self) -> str:
        return f"{self.flow.camera_id} ({self.priority.name})"


def lanes_of(scenario: Scenario) -> list[tuple[Lane, ...]]:
    """Each client's lanes: that of its priority, and where that is the highest, the normal one. Sessions of one camera
    and priority share theirs.
    """
    shared: dict[tuple[Priority, Flow], Lane] = {}
    lanes: list[tuple[Lane, ...]] = []
    for terms in (client.terms for client in scenario.clients):
        asked = (Priority.HIGH, Priority.NORMAL) if terms.priority is Priority.HIGH else (terms.priority,)
        lanes.append(tuple(shared.setdefault((own, terms.holder), Lane(own, terms.holder)) for own in asked))
    return lanes


@dataclass(slots=True, eq=False)
class ClientBook:
    """One session as its client and the shell see it. `lanes`: where its frames may wait. `models`: which one has each
    of its names. `classes`: whether its frames were heavy. The last six before them are of the end of the last step.
    """

    plan: ClientPlan
    number: int
    lanes: tuple[Lane, ...]
    key: SessionKey | None = None
    models: dict[Name, ModelIndex] = field(default_factory=dict)
    gate: bool = True
    over: bool = False
    half_closed: bool = False
    drain_ns: int | None = None
    drain_sent: bool = False
    told: int = 0
    last_id: int | None = None
    unanswered: dict[int, FrameBook] = field(default_factory=dict)
    unwritten: deque[FrameBook] = field(default_factory=deque)
    stalled_since_ns: int = 0
    place: int | None = None
    backlog: int = 0
    window_frames: int = 0
    window_bytes: int = 0
    parked: FrameBook | None = None
    unstarted: list[FrameBook] = field(default_factory=list)
    open_seen: bool = False
    classes: set[bool] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Whether the scheduler should know it."""
        return self.key is not None and not self.over

    @property
    def has_come_to_vanish(self) -> bool:
        """Whether a frame of it has come as far as the plan says for vanishing."""
        moment = self.plan.vanishes_when
        if moment is None or self.over or self.told <= self.plan.vanishes_after:
            return False
        return any(frame.is_at(moment) for frame in self.unanswered.values())

    @property
    def flow(self) -> Flow:
        """Its camera."""
        return self.plan.terms.holder

    def __str__(self) -> str:
        terms = self.plan.terms
        words = (terms.priority.name, terms.ordering.name, terms.overload_policy.name)
        return f"client {self.number} ({' '.join(words)}, window {terms.window.frames}, {terms.flow.camera_id})"


@dataclass(slots=True, eq=False)
class FrameBook:
    """One frame that the scheduler was told of: the payload of the simulation. `models`: of each crop.

    `expected_ns`: how long its staging should take. `admitted`: the queue has let it in. `lane`: where it waits, once
    it is `ranked`. `unpaid_ns`: of reading it, what nobody has paid for, and what was not for nothing so far.
    """

    client: ClientBook
    plan: FramePlan
    number: int
    arrived_ns: int
    due_ns: int | None
    id_valid: bool
    models: tuple[ModelIndex, ...]
    crops: list[Crop]
    undecided: int
    lane: Lane
    ranked: bool = False
    expected_ns: int = 0
    cost_ns: int = 0
    unpaid_ns: int = 0
    heavy: bool = False
    aside: bool = False
    given_up: bool = False
    admitted: bool = False
    view: FrameState[FrameBook] | None = None
    phase: Phase | None = None
    pixels: Pixels = Pixels.NOWHERE
    released: bool = False
    running: int = 0
    ready: Counter[ModelIndex] = field(default_factory=Counter)
    ready_at_first: Counter[ModelIndex] = field(default_factory=Counter)
    alone: Counter[ModelIndex] = field(default_factory=Counter)
    queued_ns: int | None = None
    staging_ns: int = 0
    staged_ns: int = 0
    begun: bool = False
    resolved: bool = False
    fault: FaultReason | None = None
    isolated: set[int] = field(default_factory=set)
    batch_sizes: list[int] = field(default_factory=list)
    first_batch_ns: int = 0
    last_batch_ns: int = 0
    answered: bool = False
    answered_ns: int = 0
    written: bool = False

    @property
    def boxes(self) -> int:
        """How many crops it has."""
        return len(self.plan.crops)

    @property
    def at_work(self) -> bool:
        """Whether somebody works on its pixels, wanted or not."""
        return self.pixels is Pixels.STAGING or self.running > 0

    @property
    def holds_answer(self) -> bool:
        """Whether the memory for its vectors is taken."""
        if not self.admitted:
            return False
        if self.fault is not None:
            return self.at_work
        return not self.written and not self.client.over

    @property
    def in_window(self) -> bool:
        """Whether it takes a place in its session's window, as long as it has no fault and is not written."""
        return self.id_valid and not self.plan.refused and bool(self.plan.crops)

    def is_ample(self, model: ModelIndex) -> bool:
        """Whether more than half of its crops for the model still wait for a batch."""
        return 2 * self.ready[model] > self.ready_at_first[model]

    def is_at(self, moment: Moment) -> bool:
        """Whether it has come so far, and its answer is open."""
        match moment:
            case Moment.PARKED:
                there = self.phase is Phase.PARKED
            case Moment.QUEUED:
                there = self.phase is Phase.QUEUED
            case Moment.STAGING:
                there = self.pixels is Pixels.STAGING
            case Moment.READY:
                there = Crop.READY in self.crops
            case Moment.RUNNING:
                there = Crop.RUNNING in self.crops
            case Moment.ISOLATING:
                there = Crop.ALONE in self.crops
            case _:
                assert_never(moment)
        return there and not self.resolved

    @property
    def closed(self) -> bool:
        """Whether nobody waits for it, and nobody looks at its pixels."""
        return (self.written or self.client.over) and self.pixels not in (Pixels.STAGING, Pixels.STAGED)

    def __str__(self) -> str:
        return f"frame {self.number} (id {self.plan.frame_id}, {self.boxes} crops) of {self.client}"


@dataclass(frozen=True, slots=True, eq=False)
class BatchBook:
    """A batch that an engine has."""

    model: ModelIndex
    key: BatchKey
    crops: tuple[CropRef[FrameBook], ...]
    started_ns: int


@dataclass(slots=True, eq=False)
class ModelBook:
    """A model. `passed`: how many batches of others have taken a core since it waits for one. `ahead`: how many may.
    `box_ns`: what a crop costs.
    """

    index: ModelIndex
    plan: ModelPlan
    retiring: bool = False
    batches: int = 0
    last_batch: BatchKey = field(default=BatchKey(0))
    passed: int = 0
    ahead: int = 0
    box_ns: int = MS

    def __str__(self) -> str:
        return f"model {self.index} ({self.plan.terms.name}{', retiring' * self.retiring})"


@dataclass(slots=True, eq=False)
class Books:
    """Everything that is known, and what the last step came to. `lanes`: each client's.

    `models`: all that there ever were; `there`: those that are not gone; `newest`: what sessions that open get.
    `lane_models`: those that the frames of a lane may need. `lingering`: of which a batch waited to fill, at the end of
    the last step.

    Of this step, so far: `came_now` are the frames that arrived or were staged, `staged_now` those whose staging began,
    `ran_now` those with a crop that was taken from a queue to run, and `began_now` the models of batches that began.
    """

    scenario: Scenario
    scheduler: Scheduler[FrameBook]
    seen: Counter[Situation]
    lanes: list[tuple[Lane, ...]]
    accounts: Accounts
    models: dict[ModelIndex, ModelBook] = field(default_factory=dict)
    there: dict[ModelIndex, ModelBook] = field(default_factory=dict)
    newest: dict[Name, ModelIndex] = field(default_factory=dict)
    lane_models: dict[Lane, set[ModelIndex]] = field(default_factory=dict)
    lingering: set[ModelIndex] = field(default_factory=set)
    clients: dict[SessionKey, ClientBook] = field(default_factory=dict)
    frames: dict[int, FrameBook] = field(default_factory=dict)
    batches: dict[BatchKey, BatchBook] = field(default_factory=dict)
    told_lost: set[ModelIndex] = field(default_factory=set)
    lost: set[ModelIndex] = field(default_factory=set)
    failures_untold: int = 0
    frames_told: int = 0
    checks: int = 0
    queue_boxes: int = 0
    queue_bytes: int = 0
    flow_boxes: Counter[Flow] = field(default_factory=Counter)
    flow_bytes: Counter[Flow] = field(default_factory=Counter)
    answer_bytes: int = 0
    flow_answers: Counter[Flow] = field(default_factory=Counter)
    parked_bytes: int = 0
    source_parked: Counter[str] = field(default_factory=Counter)
    staging: int = 0
    aside: int = 0
    lost_stagings: int = 0
    heavy_bytes: int = 0
    staged_bytes: int = 0
    parked: int = 0
    came_now: list[FrameBook] = field(default_factory=list)
    staged_now: list[FrameBook] = field(default_factory=list)
    ran_now: list[tuple[ModelIndex, FrameBook]] = field(default_factory=list)
    began_now: list[ModelIndex] = field(default_factory=list)

    def want_work(self) -> bool:
        """Whether a core is free or, if each of several has one piece of work, nothing waits for the next free one.
        What engines that are lost still run does not count.
        """
        living = (batch.model for batch in self.batches.values() if batch.model not in self.lost)
        pieces = [1] * self.staging
        pieces += [cores for model in living if (cores := self.models[model].plan.terms.cores)]
        cores = self.scenario.limits.cores
        return sum(pieces) < cores or (cores > 1 and pieces == [1] * cores)

    def hungry(self, model: ModelIndex, *, heavy: bool) -> bool:
        """Whether a model's engine would run dry without more frames, or more heavy ones. See `would_run_dry`."""
        frames = crops = 0
        for frame in self.frames.values():
            if frame.aside and not heavy:
                continue
            if frame.pixels is Pixels.STAGING and not frame.given_up:
                frames += model in frame.models
                crops += frame.models.count(model)
            elif frame.pixels is Pixels.STAGED and frame.view is not None and not frame.view.resolved:
                frames += frame.is_ample(model)
                crops += frame.ready[model] + frame.alone[model]
        return model not in self.lost and would_run_dry(self, model, frames, crops)


def would_run_dry(books: Books, model: ModelIndex, frames: int, crops: int) -> bool:
    """Whether a living engine needs more than these frames and crops of it that are being staged or ready."""
    terms = books.models[model].plan.terms
    return frames < books.scenario.limits.staging_slots or crops < terms.max_batch * terms.slots
