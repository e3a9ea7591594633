"""The answer to a frame: arrays and closed sets, frozen.

Trap: vectors of different models must never be in one matrix. `embeddings` is for the usual session of one model; with
several models it raises, and `for_model` gives each model's own matrix.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import grpc
import numpy as np
import numpy.typing as npt
from typing_extensions import TypeVar, override

from .checks import shown
from .errors import InvalidRequest, SeveralModels
from .models import AgreedModel

_SHOWN: Final = 120
"""Characters of a text that comes from elsewhere, where an answer is printed."""

Embeddings: TypeAlias = npt.NDArray[np.float32]


class Outcome(Enum):
    """What became of a box. EMBEDDED and CACHED have a vector, all others have none.

    CACHED: the newest row of the box's track. SOURCE_LOST: it was to have the row of a frame that got none.
    UNKNOWN and FRAME_FAILED are the client's own. UNKNOWN is a value that this client does not know, and counts as
    failed. FRAME_FAILED is a box of a frame that has an `error`.
    """

    EMBEDDED = 1
    CACHED = 2
    TOO_SMALL = 3
    OUTSIDE_FRAME = 4
    INVALID_BOX = 5
    FILTERED = 6
    NO_MODEL = 7
    INVALID_IMAGE = 8
    FAILED = 9
    SOURCE_LOST = 10
    UNKNOWN = -1
    FRAME_FAILED = -2


class ErrorReason(Enum):
    """Why a whole frame has no embeddings. UNKNOWN is the client's own, for a reason that it does not know."""

    INVALID_FRAME_ID = 1
    INVALID_IMAGE = 2
    UNSUPPORTED_IMAGE = 3
    IMAGE_TOO_LARGE = 4
    TOO_MANY_BOXES = 5
    ANSWER_TOO_LARGE = 6
    INVALID_ARGUMENT = 7
    DROPPED = 8
    WINDOW_FULL = 9
    QUEUE_FULL = 10
    OVER_BUDGET = 11
    ENGINE_LOST = 12
    SHUTTING_DOWN = 13
    INTERNAL = 14
    STAGING_TIMEOUT = 15
    UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFailure:
    """A frame's error. `retry_after_s`: None if trying again makes no sense."""

    code: grpc.StatusCode
    reason: ErrorReason
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When things happened on the server, in seconds since the frame arrived there; None: it did not happen.

    `round_trip_s` is the client's: from handing the frame to gRPC to reading its answer; None if it was not sent.
    `batch_sizes`: crops in each batch that held a crop of this frame, other cameras' crops included.
    """

    decoded_s: float | None = None
    first_batch_started_s: float | None = None
    last_batch_ended_s: float | None = None
    sent_s: float | None = None
    round_trip_s: float | None = None
    batch_sizes: tuple[int, ...] = ()

    @property
    def queue_s(self) -> float | None:
        """From decoded to the first batch's start."""
        return _between(self.decoded_s, self.first_batch_started_s)

    @property
    def inference_s(self) -> float | None:
        """From the first batch's start to the last one's end."""
        return _between(self.first_batch_started_s, self.last_batch_ended_s)

    @property
    def reply_s(self) -> float | None:
        """From the last batch's end to the answer: waiting for its turn, mostly."""
        return _between(self.last_batch_ended_s, self.sent_s)

    @property
    def network_s(self) -> float | None:
        """The time outside the server: the network both ways, and gRPC on both sides."""
        return _between(self.sent_s, self.round_trip_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelEmbeddings:
    """One model's part of an answer. `embeddings`: (N, dim) float32, zero where `valid` (N,) is False; N is all boxes
    of the frame.
    """

    model: AgreedModel
    embeddings: Embeddings
    valid: npt.NDArray[np.bool_]

    @override
    def __repr__(self) -> str:
        rows, dim = self.embeddings.shape
        return f"ModelEmbeddings(model={_cut(self.model.name)!r}, boxes={rows}, valid={self.valid.sum()}, dim={dim})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameEmbeddings:
    """The answer to one frame of N boxes (or crops); row i of everything belongs to box i. The arrays are the
    caller's.

    `valid` (N,) bool: the box has a vector. `outcomes`: N. `quality` (N,) float32, 0 to 1: how much picture there was
    to look at. `source_frame_ids` (N,) uint64: the frame that the vector was computed from, this one unless CACHED.
    `source_ages_s` (N,) float64: how much later this frame was taken than that one. `cached` (N,) bool: CACHED.
    `blocks`: one per model of the session. `error`: why the whole frame has none. `local`: answered by the client,
    without the server.
    """

    frame_id: int
    outcomes: tuple[Outcome, ...]
    valid: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.float32]
    source_frame_ids: npt.NDArray[np.uint64]
    source_ages_s: npt.NDArray[np.float64]
    blocks: tuple[ModelEmbeddings, ...]
    timing: Timing
    error: FrameFailure | None = None
    local: bool = False

    @property
    def cached(self) -> npt.NDArray[np.bool_]:
        """(N,) bool: the vector is one of an earlier frame of the same track."""
        return np.array([outcome is Outcome.CACHED for outcome in self.outcomes], np.bool_)

    @property
    def embeddings(self) -> Embeddings:
        """(N, D) float32, zero rows where `valid` is False. Raises SeveralModels in a session of several."""
        return self._only().embeddings

    @property
    def model(self) -> AgreedModel:
        """The model. Raises SeveralModels in a session of several."""
        return self._only().model

    @property
    def space_id(self) -> str:
        """The space of `embeddings`: compare no vectors of different spaces. Raises SeveralModels."""
        return self._only().model.space_id

    def for_model(self, name: str) -> ModelEmbeddings:
        """The part of the model `name`. Raises InvalidRequest for a name that the session does not use."""
        for block in self.blocks:
            if block.model.name == name:
                return block
        raise InvalidRequest(f"this session has no model {shown(name)}; its models are {self._names()}")

    @override
    def __repr__(self) -> str:
        outcomes = ", ".join(f"{count} {outcome.name}" for outcome, count in Counter(self.outcomes).items())
        models = ", ".join(f"{block.model.name} {block.embeddings.shape}" for block in self.blocks)
        parts = [f"frame_id={self.frame_id}", f"boxes={len(self.outcomes)}", f"outcomes={outcomes!r}"]
        parts.append(f"embeddings={_cut(models)!r}")
        if self.error is not None:
            parts.append(f"error={_cut(f'{self.error.reason.name}: {self.error.message}')!r}")
        if self.timing.round_trip_s is not None:
            parts.append(f"round_trip_s={self.timing.round_trip_s:.4g}")
        if self.local:
            parts.append("local=True")
        return f"FrameEmbeddings({', '.join(parts)})"

    def _only(self) -> ModelEmbeddings:
        if len(self.blocks) != 1:
            raise SeveralModels(
                f"this session uses several models ({self._names()}), whose vectors must not share a matrix; "
                "use .for_model(name) or .blocks"
            )
        return self.blocks[0]

    def _names(self) -> str:
        return ", ".join(block.model.name for block in self.blocks)


class TrackEndCause(Enum):
    """Why a track has ended. UNKNOWN is the client's own, for a cause that it does not know.

    CLIENT: `end_tracks` named it. TIMEOUT: it had no box for `timeout_s`. SESSION: the session was finished. EVICTED: a
    newer track needed its room. MODEL_CHANGED: a box with its id went to another model.
    """

    CLIENT = 1
    TIMEOUT = 2
    SESSION = 3
    EVICTED = 4
    MODEL_CHANGED = 5
    UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackEnded:
    """A track has ended. It comes after the answers to all of its frames.

    `vector` (D,) float32: the track's, as `TrackOptions.vector` says. `representatives` (K, D) float32: its best row,
    and those that differ from it most; `representative_frame_ids` (K,) uint64 are their frames. `count`: how many rows
    it is made of. `weight`: the sum of their weights, and `total` (D,) float32 the sum of the rows, each times its own:
    add those of several cameras to go on. If no box of it got a row, `count` is 0, and `vector`, `total` and `model`
    are None.
    """

    track_id: int
    cause: TrackEndCause
    first_frame_id: int
    last_frame_id: int
    count: int
    weight: float
    model: AgreedModel | None
    vector: Embeddings | None
    total: Embeddings | None
    representatives: Embeddings
    representative_frame_ids: npt.NDArray[np.uint64]

    @property
    def space_id(self) -> str | None:
        """The space of its vectors: compare no vectors of different spaces. None if it has none."""
        return None if self.model is None else self.model.space_id

    @override
    def __repr__(self) -> str:
        frames = f"{self.first_frame_id} to {self.last_frame_id}"
        return f"TrackEnded(track_id={self.track_id}, {self.cause.name}, frames={frames}, count={self.count})"


SessionEvent: TypeAlias = FrameEmbeddings | TrackEnded
"""What a session with `tracks` gives: answers, and the ends of tracks between them."""

Event_co = TypeVar("Event_co", bound=SessionEvent, default=FrameEmbeddings, covariant=True)
"""What a session gives: answers, or with `tracks` a SessionEvent."""


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
