"""What the scheduler wants done: the only way out of the core.

The caller carries effects out in order. `payload` is whatever it gave with the frame; the core never looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

from .faults import CropOutcome, FrameFault
from .terms import BatchKey, DrainReason, FrameKey, ModelIndex, SessionKey

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimes:
    """Monotonic nanoseconds; 0 for what did not happen. `batch_sizes`: in the order in which the batches ended."""

    arrived_ns: int
    age_ns: int
    staging_ns: int
    decoded_ns: int
    first_batch_ns: int
    last_batch_ns: int
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[P]):
    """Bring the frame to the device; answer with `frame_staged` or `frame_staging_failed`.

    `aside`: it is heavy. It must not keep a core from whatever else can use it.
    """

    frame: FrameKey
    payload: P
    aside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside(Generic[P]):
    """A frame that is being staged turns out to be heavy: whoever stages it gives its core to the others."""

    frame: FrameKey
    payload: P


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpStaging(Generic[P]):
    """A frame has been staged for too long, and was answered. Its decoder goes on; another takes its place."""

    frame: FrameKey
    payload: P


@dataclass(frozen=True, slots=True, kw_only=True)
class CropRef(Generic[P]):
    """The `index`-th crop of a frame."""

    frame: FrameKey
    payload: P
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Generic[P]):
    """Embed a batch; answer with `batch_done`, `batch_failed` or `engine_lost`."""

    model: ModelIndex
    batch: BatchKey
    crops: tuple[CropRef[P], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Generic[P]):
    """Nobody will look at the frame's pixels again, be they staged or still in its message. Once per frame.

    `vectors`: nor at its vectors, because it has a fault.
    """

    payload: P
    vectors: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[P]):
    """Write this answer next on the session's stream, then call `answer_written`.

    Either `fault`, or one outcome per crop. `payload` is None for a frame that was refused before it had one.
    """

    session: SessionKey
    frame_id: int
    payload: P | None
    fault: FrameFault | None
    outcomes: tuple[CropOutcome, ...]
    times: FrameTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """The session may read its next message."""

    session: SessionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDrain:
    """Tell the session's client to leave. `last_accepted_frame_id` is None if no frame was read."""

    session: SessionKey
    last_accepted_frame_id: int | None
    deadline_ns: int
    reason: DrainReason


class EndCause(Enum):
    """Why a session is over. CLOSED is its client's word, and no effect of the core says it."""

    FINISHED = "finished"
    DRAINED = "drained"
    STALLED = "stalled"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """End the stream: everything is answered or, when STALLED, the client does not read. The session is forgotten."""

    session: SessionKey
    cause: EndCause


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDied:
    """A model's engine cannot go on: the process must end and say so. Emitted once per model. `running`: its batches
    that are in flight, and may never come back. Nothing waits for their cores.
    """

    model: ModelIndex
    message: str
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFailed:
    """A batch failed; for logs and counters. `retried`: whether its crops are tried one by one."""

    model: ModelIndex
    size: int
    message: str
    retried: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """The model is gone: nothing of it is open, no frame of it is held, none of its batches runs. Once per model, the
    last effect of its event. Its engine may be closed; its index is never used again.
    """

    model: ModelIndex


Effect: TypeAlias = (
    Stage[P]
    | SetAside[P]
    | GiveUpStaging[P]
    | Run[P]
    | Release[P]
    | Answer[P]
    | Readable
    | SendDrain
    | End
    | EngineDied
    | BatchFailed
    | Retired
)
