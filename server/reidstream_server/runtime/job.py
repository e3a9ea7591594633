"""A frame on its way through the runtime: its pictures, its crops, and the vectors that come back.

This is the core's opaque payload. Trap: several threads touch it, one after the other, never at once on the same
field. The event loop makes it, one thread stages it, those that run its batches write disjoint rows of `vectors`, and
the event loop reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import ImageError, UnsupportedImage
from reidstream_engines.image import Image, PixelBox
from reidstream_engines.protocol import BoxCrop, Crop, Embeddings, StagedFrame, Stager, TensorCrop
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import ModelIndex
from reidstream_server.tracks.track import FrameTracks

from .agreement import Agreement
from .trace import FrameTrace

Tensor: TypeAlias = npt.NDArray[np.float32]


class BoxRefusal(Enum):
    """Why a box never becomes a crop."""

    TOO_SMALL = "too_small"
    OUTSIDE_FRAME = "outside_frame"
    INVALID_BOX = "invalid_box"
    FILTERED = "filtered"
    NO_MODEL = "no_model"
    INVALID_IMAGE = "invalid_image"
    SOURCE_LOST = "source_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedRow:
    """A vector (dim,) of `model` that is known already, computed for the frame `source_frame_id` of this session, which
    was taken `source_age_ns` before this one.
    """

    model: ModelIndex
    vector: Embeddings
    source_frame_id: int
    source_age_ns: int
    quality: float


CropIndex: TypeAlias = int
"""The place of a crop among a job's crops."""

Fetch: TypeAlias = Callable[[], bytes]
"""Brings a picture's bytes, in the thread that stages it."""

BoxFate: TypeAlias = CropIndex | CachedRow | BoxRefusal
"""What becomes of a box, known before anything is decoded: it is cropped, it has a vector, or it has none.

A box that is promised the row of its track is SOURCE_LOST until its answer is handed out (see `tracking`).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlan:
    """A crop to embed: which picture of the job, which pixels, by which model, and into which row of its vectors."""

    image: int
    box: PixelBox
    model: ModelIndex
    row: int
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """A network input to embed as it is: which tensor of the job, by which model, and into which row of its vectors."""

    tensor: int
    model: ModelIndex
    row: int
    quality: float = 1.0


PlannedCrop: TypeAlias = CropPlan | TensorPlan


@dataclass(slots=True, eq=False, kw_only=True)
class FrameJob:
    """`fates` has one item per box of the request, in order.

    `cuts`: what will be cut from each of `images`. `late`: of those whose `data` must not be looked at, only what is
    fetched in its place. `ready_crops`: every crop has a picture of its own, so one that
    cannot be decoded harms no other. `tensors`: network inputs (C, H, W) float32 that a client made itself. `trace`:
    None if the frame is not recorded. `tracks`: what was decided about its boxes, in a session with tracks; `let_go`:
    bytes of its message that nobody needs, since what they show is cached.
    """

    agreement: Agreement
    ready_crops: bool
    images: Sequence[Image]
    cuts: Sequence[Sequence[PixelBox]]
    fates: Sequence[BoxFate]
    crops: Sequence[PlannedCrop]
    vectors: dict[ModelIndex, Embeddings]
    tensors: Sequence[Tensor] = ()
    late: Mapping[int, Fetch] = field(default_factory=dict)
    staged: list[StagedFrame | None] = field(default_factory=list)
    trace: FrameTrace | None = None
    tracks: FrameTracks | None = None
    let_go: int = 0

    def instant(self, stager: Stager) -> bool:
        """Whether `stage` only points at memory that is there."""
        return not self.late and all(stager.instant(image) for image in self.images)

    def stage(self, stager: Stager) -> frozenset[int]:
        """Bring every picture to the device; returns the crops whose own picture was refused.

        Raises the ImageError of a whole frame. Blocks, so never on the event loop.
        """
        refused: set[int] = set()
        for index, (image, boxes) in enumerate(zip(self.images, self.cuts, strict=True)):
            try:
                self.staged.append(stager.stage(self._with_bytes(index, image), boxes))
            except ImageError:
                if not self.ready_crops:
                    raise
                self.staged.append(None)
                refused.add(index)
        self.images, self.late = (), {}  # the message's bytes are not needed any more
        if not refused:
            return frozenset()
        return frozenset(i for i, crop in enumerate(self.crops) if isinstance(crop, CropPlan) and crop.image in refused)

    def _with_bytes(self, index: int, image: Image) -> Image:
        fetch = self.late.get(index)
        return image if fetch is None else replace(image, data=fetch())

    def crop(self, index: int) -> Crop:
        """The crop as an engine takes it. Raises LookupError for one whose pixels were refused, or released."""
        match plan := self.crops[index]:
            case CropPlan():
                frame = self.staged[plan.image]
                if frame is None:
                    raise LookupError(f"crop {index} has no staged picture")
                return BoxCrop(frame=frame, box=plan.box)
            case TensorPlan():
                return TensorCrop(tensor=self.tensors[plan.tensor])
            case _:
                assert_never(plan)

    def store(self, index: int, vector: Embeddings) -> None:
        """Keep the vector (dim,) of a crop."""
        plan = self.crops[index]
        self.vectors[plan.model][plan.row] = vector

    def forget_vectors(self) -> None:
        """Nobody will look at its vectors."""
        self.vectors.clear()

    def release(self) -> None:
        """Give the pixels back, and the message that brought them. Harmless to repeat."""
        for frame in self.staged:
            if frame is not None:
                frame.close()
        self.staged.clear()
        self.images = self.tensors = ()
        self.late = {}


def image_fault(error: ImageError) -> FrameFault:
    """The fault of a frame whose picture cannot be used, read from its header or found by the decoder."""
    unsupported = isinstance(error, UnsupportedImage)
    return FrameFault(
        reason=FaultReason.UNSUPPORTED_IMAGE if unsupported else FaultReason.INVALID_IMAGE, message=str(error)
    )


def allocate_vectors(rows: Mapping[ModelIndex, int], dims: Mapping[ModelIndex, int]) -> dict[ModelIndex, Embeddings]:
    """One (rows, dim) float32 array per model that has rows."""
    return {model: np.empty((count, dims[model]), dtype=np.float32) for model, count in rows.items()}
