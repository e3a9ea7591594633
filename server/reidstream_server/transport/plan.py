"""A frame's plan: which box becomes which crop, for which model, in which row of the answer.

Why apart from parsing: the order of the checks is a promise. A box is looked at in this order: a model that takes its
class, a rectangle that can be cut, the session's filter; the first that fails is its outcome. Trap: rows count per
model, crops count per frame.
"""

from __future__ import annotations

from collections.abc import Mapping

from reidstream_engines.boxes import BoxFault, Rect, quality, resolve
from reidstream_engines.image import Image, PixelBox
from reidstream_proto.v1 import image_pb2
from reidstream_server.core.terms import ModelIndex
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import BoxRefusal, CropPlan, FrameJob, allocate_vectors
from reidstream_server.runtime.models import ModelTable

_REFUSALS: Mapping[BoxFault, BoxRefusal] = {
    BoxFault.INVALID: BoxRefusal.INVALID_BOX,
    BoxFault.OUTSIDE: BoxRefusal.OUTSIDE_FRAME,
    BoxFault.TOO_SMALL: BoxRefusal.TOO_SMALL,
}


class FramePlan:
    """Collects a frame's pictures, boxes and crops while they are parsed. Not thread-safe.

    `cuts`: what will be cut from each picture. `rows`: of each model.
    """

    def __init__(self, models: ModelTable, agreement: Agreement, min_box_px: int) -> None:
        self.images: list[Image] = []
        self.cuts: list[list[PixelBox]] = []
        self.boxes: list[int | BoxRefusal] = []
        self.crops: list[CropPlan] = []
        self.rows: dict[ModelIndex, int] = {}
        self._models = models
        self._agreement = agreement
        self._min_box_px = min_box_px

    def picture(self, image: Image) -> int:
        """Take a picture; returns its index."""
        self.images.append(image)
        self.cuts.append([])
        return len(self.images) - 1

    def add(
        self,
        box: image_pb2.Box,
        picture: int,
        image: Image,
        rect: Rect | None,
        source_size: tuple[float, float],
    ) -> None:
        """Plan the crop of one box, or note why there is none; `rect` is None for a box that has none."""
        class_id = box.class_id if box.HasField("class_id") else None
        model = self._agreement.routes.of(class_id)
        if model is None:
            self.boxes.append(BoxRefusal.NO_MODEL)
            return
        if rect is None:
            self.boxes.append(BoxRefusal.INVALID_BOX)
            return
        spec = self._models[model].spec.input
        found = resolve(rect, width=image.width, height=image.height, rule=spec.crop_rule, min_px=self._min_box_px)
        if not isinstance(found, PixelBox):
            self.boxes.append(_REFUSALS[found])
            return
        wanted = self._agreement.box_filter
        if wanted is not None and not wanted.passes(
            width=source_size[0],
            height=source_size[1],
            class_id=class_id,
            score=box.score if box.HasField("score") else None,
        ):
            self.boxes.append(BoxRefusal.FILTERED)
            return
        row = self.rows.get(model, 0)
        self.rows[model] = row + 1
        self.boxes.append(len(self.crops))
        self.cuts[picture].append(found)
        self.crops.append(CropPlan(image=picture, box=found, model=model, row=row, quality=quality(rect, found, spec)))

    def job(self, *, ready_crops: bool) -> FrameJob:
        """The finished job."""
        dims = {model: self._models[model].spec.output.dim for model in self.rows}
        return FrameJob(
            agreement=self._agreement,
            ready_crops=ready_crops,
            images=self.images,
            cuts=self.cuts,
            boxes=self.boxes,
            crops=self.crops,
            vectors=allocate_vectors(self.rows, dims),
        )
