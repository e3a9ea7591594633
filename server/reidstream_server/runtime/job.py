"""A frame on its way through the runtime: its pictures, its crops, and the vectors that come back.

This is the core's opaque payload. Trap: several threads touch it, one after the other, never at once on the same
field: the event loop makes it, a staging thread fills `staged`, inference threads write disjoint rows of `vectors`, the
event loop reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from reidstream_engines.errors import ImageError
from reidstream_engines.image import Image, PixelBox
from reidstream_engines.protocol import BoxCrop, Embeddings, StagedFrame, Stager
from reidstream_server.core.terms import ModelIndex

from .agreement import Agreement


class BoxRefusal(Enum):
    """Why a box never becomes a crop."""

    TOO_SMALL = "too_small"
    OUTSIDE_FRAME = "outside_frame"
    INVALID_BOX = "invalid_box"
    FILTERED = "filtered"
    NO_MODEL = "no_model"
    INVALID_IMAGE = "invalid_image"


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlan:
    """A crop to embed: which picture of the job, which pixels, by which model, and into which row of its vectors."""

    image: int
    box: PixelBox
    model: ModelIndex
    row: int
    quality: float


@dataclass(slots=True, eq=False, kw_only=True)
class FrameJob:
    """`boxes` has one item per box of the request, in order: an index into `crops`, or why there is none.

    `cuts`: what will be cut from each of `images`. `ready_crops`: every crop has a picture of its own, so one that
    cannot be decoded harms no other.
    """

    agreement: Agreement
    ready_crops: bool
    images: Sequence[Image]
    cuts: Sequence[Sequence[PixelBox]]
    boxes: Sequence[int | BoxRefusal]
    crops: Sequence[CropPlan]
    vectors: dict[ModelIndex, Embeddings]
    staged: list[StagedFrame | None] = field(default_factory=list)

    def instant(self, stager: Stager) -> bool:
        """Whether `stage` only points at memory that is there."""
        return all(stager.instant(image) for image in self.images)

    def stage(self, stager: Stager) -> frozenset[int]:
        """Bring every picture to the device; returns the crops whose own picture was refused.

        Raises the ImageError of a whole frame. Blocks; runs in a staging thread.
        """
        refused: set[int] = set()
        for index, (image, boxes) in enumerate(zip(self.images, self.cuts, strict=True)):
            try:
                self.staged.append(stager.stage(image, boxes))
            except ImageError:
                if not self.ready_crops:
                    raise
                self.staged.append(None)
                refused.add(index)
        self.images = ()  # the message's bytes are not needed any more
        return frozenset(i for i, crop in enumerate(self.crops) if crop.image in refused) if refused else frozenset()

    def crop(self, index: int) -> BoxCrop:
        """The crop as an engine takes it. Raises LookupError for one whose picture was refused, or released."""
        plan = self.crops[index]
        frame = self.staged[plan.image]
        if frame is None:
            raise LookupError(f"crop {index} has no staged picture")
        return BoxCrop(frame=frame, box=plan.box)

    def store(self, index: int, vector: Embeddings) -> None:
        """Keep the vector (dim,) of a crop."""
        plan = self.crops[index]
        self.vectors[plan.model][plan.row] = vector

    def release(self) -> None:
        """Give the pixels back, and the message that they came in. Harmless to repeat."""
        for frame in self.staged:
            if frame is not None:
                frame.close()
        self.staged.clear()
        self.images = ()


def allocate_vectors(rows: Mapping[ModelIndex, int], dims: Mapping[ModelIndex, int]) -> dict[ModelIndex, Embeddings]:
    """One (rows, dim) float32 array per model that has rows."""
    return {model: np.empty((count, dims[model]), dtype=np.float32) for model, count in rows.items()}
