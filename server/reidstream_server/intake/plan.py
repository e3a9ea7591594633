"""A frame's plan: which box becomes which crop, for which model, in which row of the answer.

Why apart from the bounds: the order of the checks is a promise. A box is looked at in this order: a model that takes
its class, a rectangle that can be cut, the session's filter; the first that fails is its outcome. Trap: rows count per
model, crops count per frame. A box's fields are arguments, not an object: this runs for every box of every frame.

In a session with tracks, a plan is read before it is known which boxes are embedded: `settle` says that. Until then it
is taken that all are, so a bound that it keeps by then it also keeps with fewer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reidstream_engines.boxes import BoxFault, Rect, quality, resolve
from reidstream_engines.image import EncodedImage, Image, PixelBox
from reidstream_engines.spec import InputSpec
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import ModelIndex
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import (
    BoxFate,
    BoxRefusal,
    CachedRow,
    CropPlan,
    Fetch,
    FrameJob,
    PlannedCrop,
    Tensor,
    TensorPlan,
    allocate_vectors,
)

_REFUSALS: Mapping[BoxFault, BoxRefusal] = {
    BoxFault.INVALID: BoxRefusal.INVALID_BOX,
    BoxFault.OUTSIDE: BoxRefusal.OUTSIDE_FRAME,
    BoxFault.TOO_SMALL: BoxRefusal.TOO_SMALL,
}


@dataclass(slots=True, kw_only=True)
class PendingCrop:
    """A box that is embedded, or gets the row of its track. `index`: among the frame's boxes."""

    index: int
    picture: int
    box: PixelBox
    model: ModelIndex
    quality: float


class FramePlan:
    """Collects a frame's pictures, boxes and crops while a door reads them. Not thread-safe.

    `ready_crops`: every crop has a picture of its own. `cuts`: what will be cut from each picture. `late`: brings the
    bytes of those that have none yet. `pixels`: of all pictures, by their headers. `passes`: pixels times scans.
    `rows`: of each model, the cached ones not counted. `pending`: crops of which it is not known yet whether they are
    cut, in a session with tracks; `promised`: how many rows of tracks each model's boxes get.
    """

    def __init__(self, agreement: Agreement, *, min_box_px: int, ready_crops: bool) -> None:
        self.agreement = agreement
        self.ready_crops = ready_crops
        self.pixels = 0
        self.passes = 0
        self.images: list[Image] = []
        self.cuts: list[list[PixelBox]] = []
        self.late: dict[int, Fetch] = {}
        self.tensors: list[Tensor] = []
        self.fates: list[BoxFate] = []
        self.crops: list[PlannedCrop] = []
        self.rows: dict[ModelIndex, int] = {}
        self.pending: list[PendingCrop] = []
        self.promised: dict[ModelIndex, int] = {}
        self._waits = agreement.tracks is not None
        self._models = agreement.routes.models
        self._inputs: dict[ModelIndex, InputSpec] = {}  # looked up once: a spec is two properties away
        self._min_box_px = min_box_px

    def picture(self, image: Image, fetch: Fetch | None = None) -> int:
        """Take a picture; returns its index. `fetch`: brings its bytes, if `data` only says how many they are."""
        pixels = image.width * image.height
        self.pixels += pixels
        self.passes += pixels * image.scans if isinstance(image, EncodedImage) else pixels
        self.images.append(image)
        self.cuts.append([])
        if fetch is not None:
            self.late[len(self.images) - 1] = fetch
        return len(self.images) - 1

    def add(
        self,
        picture: int,
        rect: Rect | None,
        source_size: tuple[float, float],
        *,
        class_id: int | None,
        score: float | None,
    ) -> None:
        """Plan the crop of one box, or note why there is none.

        `rect`: x1, y1, x2, y2 in pixels of the picture; None for a box without one. `source_size`: the box's width and
        height in the source frame, where filters measure.
        """
        model = self.agreement.routes.of(class_id)
        if model is None:
            self.fates.append(BoxRefusal.NO_MODEL)
            return
        if rect is None:
            self.fates.append(BoxRefusal.INVALID_BOX)
            return
        spec, image = self._inputs.get(model), self.images[picture]
        if spec is None:
            spec = self._inputs[model] = self._models[model].spec.input
        found = resolve(rect, width=image.width, height=image.height, rule=spec.crop_rule, min_px=self._min_box_px)
        if not isinstance(found, PixelBox):
            self.fates.append(_REFUSALS[found])
            return
        wanted = self.agreement.box_filter
        if wanted is not None and not wanted.passes(
            width=source_size[0], height=source_size[1], class_id=class_id, score=score
        ):
            self.fates.append(BoxRefusal.FILTERED)
            return
        self.cuts[picture].append(found)
        good = quality(rect, found, spec)
        if self._waits:
            self.rows[model] = self.rows.get(model, 0) + 1
            index = len(self.fates)
            self.pending.append(PendingCrop(index=index, picture=picture, box=found, model=model, quality=good))
            self.fates.append(BoxRefusal.SOURCE_LOST)
            return
        self.fates.append(len(self.crops))
        self.crops.append(CropPlan(image=picture, box=found, model=model, row=self._next_row(model), quality=good))

    def settle(self, cached: Collection[int]) -> None:
        """Say which of the pending boxes get the row of their track; the others are cropped. Pictures of which nothing
        is cut are let go.
        """
        self.rows = {}
        self.cuts = [[] for _ in self.images]
        for crop in self.pending:
            model = crop.model
            if crop.index in cached:
                self.promised[model] = self.promised.get(model, 0) + 1
                continue
            row = self._next_row(model)
            self.fates[crop.index] = len(self.crops)
            self.cuts[crop.picture].append(crop.box)
            self.crops.append(CropPlan(image=crop.picture, box=crop.box, model=model, row=row, quality=crop.quality))
        self.pending = []
        if not all(self.cuts):
            self._let_go([index for index, cuts in enumerate(self.cuts) if cuts])

    def _let_go(self, used: Sequence[int]) -> None:
        """Keep these pictures, and no other."""
        new = {old: index for index, old in enumerate(used)}
        self.images = [self.images[index] for index in used]
        self.cuts = [self.cuts[index] for index in used]
        self.late = {new[index]: fetch for index, fetch in self.late.items() if index in new}
        self.crops = [
            replace(crop, image=new[crop.image]) if isinstance(crop, CropPlan) else crop for crop in self.crops
        ]

    def _next_row(self, model: ModelIndex) -> int:
        row = self.rows.get(model, 0)
        self.rows[model] = row + 1
        return row

    def add_tensor(self, model: ModelIndex, tensor: Tensor) -> FrameFault | None:
        """Plan a network input that a client has preprocessed: float32 (C, H, W). Returns a fault for another shape.

        It stands in the answer as a box of its own.
        """
        spec = self._models[model].spec.input
        shape = (len(spec.mean), spec.height, spec.width)
        if tensor.shape != shape or tensor.dtype != np.float32:
            given = f"{tensor.dtype} {tensor.shape}"
            message = f"a tensor is {given}; model {self._models[model].name!r} takes float32 {shape}"
            return FrameFault(reason=FaultReason.INVALID_ARGUMENT, message=message)
        self.fates.append(len(self.crops))
        self.crops.append(TensorPlan(tensor=len(self.tensors), model=model, row=self._next_row(model)))
        self.tensors.append(tensor)
        return None

    def add_cached(self, row: CachedRow) -> None:
        """Answer a box with a vector that is known already. Raises ValueError for one of another length."""
        dim = self._models[row.model].spec.output.dim
        if row.vector.shape != (dim,):
            raise ValueError(f"a cached vector has the shape {row.vector.shape}; the model's have ({dim},)")
        self.fates.append(row)

    def refuse(self, refusal: BoxRefusal) -> None:
        """Note a box that a door found impossible."""
        self.fates.append(refusal)

    def vector_rows(self) -> Mapping[ModelIndex, int]:
        """The answer's rows of each model, if every crop is embedded, and every promise kept."""
        if len(self.fates) == len(self.crops):
            return self.rows
        rows = dict(self.rows)
        for model, count in self.promised.items():
            rows[model] = rows.get(model, 0) + count
        for fate in self.fates:
            if isinstance(fate, CachedRow):
                rows[fate.model] = rows.get(fate.model, 0) + 1
        return rows

    def job(self) -> FrameJob:
        """The finished job."""
        dims = {model: self._models[model].spec.output.dim for model in self.rows}
        return FrameJob(
            agreement=self.agreement,
            ready_crops=self.ready_crops,
            images=self.images,
            cuts=self.cuts,
            fates=self.fates,
            crops=self.crops,
            vectors=allocate_vectors(self.rows, dims),
            tensors=self.tensors,
            late=self.late,
        )
