"""What is agreed beforehand: the limits of the service, the terms of a model and of a session, what a frame asks for.

All times are integer nanoseconds of one monotonic clock; all sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, NewType

SessionKey = NewType("SessionKey", int)
FrameKey = NewType("FrameKey", int)
BatchKey = NewType("BatchKey", int)
ModelIndex = NewType("ModelIndex", int)


class Priority(Enum):
    """The highest value is served first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Ordering(Enum):
    """In which order frames are answered."""

    IN_ORDER = "in_order"
    AS_COMPLETED = "as_completed"


class OverloadPolicy(Enum):
    """What happens to a frame that finds the window or the queue full."""

    WAIT = "wait"
    DROP_OLDEST = "drop_oldest"
    REJECT = "reject"


class DrainReason(Enum):
    """Why sessions are asked to leave."""

    SHUTDOWN = "shutdown"
    CONNECTION_AGE = "connection_age"
    IDLE = "idle"


class Bound(Enum):
    """What a frame may find no room in. TURN: there was room, and frames that wait go first."""

    BOXES = "boxes"
    BYTES = "bytes"
    ANSWERS = "answers"
    TURN = "turn"
    PARKED = "parked"
    STAGED = "staged"


class Flow(NamedTuple):
    """A camera of a client identity. The engines are shared fairly between flows.

    A tuple, since each frame is looked up by it dozens of times, and a tuple is hashed and compared without any code of
    ours.
    """

    client: str
    camera_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How many unanswered frames, and bytes of their messages, a session may have at a time."""

    frames: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What a session agreed on.

    `source`: who is held responsible for what it costs; several sessions may have one. `holder`: who has its turns and
    its share of the queue: the camera of its source. Where nothing tells clients apart, anybody may name any camera,
    and would have its turns. `latency_budget_ns`: None for no budget. `models`: those that its boxes may go to, and no
    others.
    """

    flow: Flow
    source: str
    priority: Priority
    ordering: Ordering
    overload_policy: OverloadPolicy
    window: Window
    latency_budget_ns: int | None
    models: frozenset[ModelIndex]
    holder: Flow = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "holder", Flow(client=self.source, camera_id=self.flow.camera_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRequest:
    """What one frame asks for.

    `crops[i]` is the model of the i-th crop to embed, one of its session's. `staged_bytes` will be held from staging
    until the last crop is done, `answer_bytes` until its answer is written. `staging_ns`: how long one core is expected
    to stage it. `age_ns` is the frame's age at arrival.
    """

    frame_id: int
    message_bytes: int
    staged_bytes: int
    answer_bytes: int
    staging_ns: int
    age_ns: int
    crops: tuple[ModelIndex, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTerms:
    """A model's engine. `name`: for messages. `slots`: how many batches may be in flight. `cores`: how many of the
    server's cores each batch keeps busy; 0: another device computes.
    """

    name: str
    max_batch: int
    slots: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """Every bound that the scheduler keeps, whatever its models are.

    `staging_slots`: frames being staged at a time, each on a core of its own. `cores`: what staging and batches share;
    of several, one piece of work more than fits is given out, and waits for the core that is free next.
    `max_queue_boxes`: boxes admitted and not yet answered, at least twice the most boxes of a frame.
    `max_queue_bytes`: messages admitted and not yet staged, at least twice the largest message. `max_parked_bytes`:
    messages that wait for room there. `max_staged_bytes`: at least the largest staged frame. `max_held_answer_bytes`:
    vectors of frames that are admitted and whose answers are not written, at least twice the largest answer.

    `heavy_boxes`, `heavy_staging_ns`: a frame with more boxes, or that is expected to be staged for longer, is heavy:
    light ones do not wait for it. `slow_staging_ns`: a frame that is staged for longer turns out to be heavy.
    `staging_timeout_ns`: one that takes even longer is given up, though its decoder goes on.

    `quantum_boxes`: a camera's turn. `max_source_turns`: in each round, so many cameras of a source have one.
    `aging_ns`: after so long a lower priority gets a share. `high_at_once_ns`: of the machine's time, so much may go to
    frames of high priority of a source that has rested. `linger_ns`: how long a batch may wait to fill, from its first
    crop. `batch_timeout_ns`: a batch that takes longer has lost its engine.
    `stall_timeout_ns`: a client that does not take an answer for so long is gone.
    """

    staging_slots: int
    cores: int
    max_queue_boxes: int
    max_queue_bytes: int
    max_parked_bytes: int
    max_staged_bytes: int
    max_held_answer_bytes: int
    heavy_boxes: int
    heavy_staging_ns: int
    slow_staging_ns: int
    staging_timeout_ns: int
    quantum_boxes: int
    max_source_turns: int
    aging_ns: int
    high_at_once_ns: int
    linger_ns: int
    batch_timeout_ns: int
    stall_timeout_ns: int
