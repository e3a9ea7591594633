"""A request's tensors become the crops of a plan, or it is said what is wrong with them.

What a request may have:

    the network's input   FP32 or FP16 (N, C, H, W)   as it is: the client has preprocessed it
    the network's input   UINT8 (N, C, H, W)          pixels of the network's size, preprocessed here
    image                 UINT8 (N, H, W, 3)          RGB crops of any size, resized and preprocessed here
    image and boxes       BYTES (1), FP32 (M, 4)      a compressed picture, and x1, y1, x2, y2 in its pixels

Trap: whoever sends N crops counts on N rows, so a crop without a vector fails its request. A box without one is a row
of NaN, since detectors send boxes that cannot be cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import ImageError
from reidstream_engines.image import Image
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.errors import InvalidCall
from reidstream_server.intake.box_answers import Embedded, box_answers
from reidstream_server.intake.frames import FrameIntake, FrameOrFault
from reidstream_server.intake.plan import FramePlan
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import image_fault
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.session import JobAnswer

from .asked import Asked, RawTensor
from .tensors import BYTES, FLOATS, PIXELS, floats, network_shape, picture, pixels, planes, shown

IMAGE, BOXES = "image", "boxes"

Rows = npt.NDArray[np.float32]

_SIDES = 4
_FRAME_ID = 0  # a call has one frame
_CLASSIFICATION = "classification"


@dataclass(frozen=True, slots=True)
class Planned:
    """`rows`: how many there will be. `rows_may_lack`: boxes were sent, so a row may be NaN."""

    taken: FrameOrFault
    rows: int
    rows_may_lack: bool


def plan(asked: Asked, agreement: Agreement, model: ServedModel, intake: FrameIntake) -> Planned:
    """The request as a job, or why it has none; its inputs are taken. Any thread. Raises InvalidCall."""
    _check(asked, model)
    inputs = {tensor.name: tensor for tensor in asked.inputs}
    asked.inputs.clear()
    by_boxes = set(inputs) == {IMAGE, BOXES}
    counted = inputs[BOXES] if by_boxes else next(iter(inputs.values()))
    try:
        if by_boxes:
            taken = _boxes(inputs[IMAGE], inputs[BOXES], agreement, intake)
        else:
            (tensor,) = inputs.values()
            taken = _crops(tensor, agreement, model, intake)
    except ImageError as error:
        taken = image_fault(error)
    return Planned(taken, int(counted.shape[0]) if counted.shape else 0, by_boxes)


def rows_of(answer: JobAnswer, dim: int, *, may_lack: bool) -> Rows | FrameFault:
    """A row for each crop or box of the request, in order; or why there are none."""
    if answer.fault is not None:
        return answer.fault
    found = list(box_answers(answer))
    rows: Rows = np.full((len(found), dim), np.nan, dtype="<f4")
    for index, one in enumerate(found):
        if isinstance(one, Embedded):
            rows[index] = one.vector
        elif not may_lack:
            reason = FaultReason.INTERNAL if one is CropOutcome.FAILED else FaultReason.INVALID_ARGUMENT
            return FrameFault(reason=reason, message=f"crop {index} has no vector: its outcome is {one.value}")
    return rows


def _check(asked: Asked, model: ServedModel) -> None:
    """What is wrong whatever the bytes are. Raises InvalidCall."""
    network, output = model.spec.input.name, model.spec.output.name
    names = [tensor.name for tensor in asked.inputs]
    if len(set(names)) != len(names) or (set(names) not in ({network}, {IMAGE}, {IMAGE, BOXES})):
        given = ", ".join(repr(name[:64]) for name in names[:_SIDES]) or "none"
        raise InvalidCall(
            f"the request has the inputs {given}; model {model.name!r} takes {network!r}, or {IMAGE!r}, or {IMAGE!r} "
            f"and {BOXES!r}"
        )
    for wanted in asked.outputs:
        if wanted.name != output:
            raise InvalidCall(f"output {wanted.name[:64]!r} is asked for; model {model.name!r} has {output!r}")
        if _CLASSIFICATION in wanted.parameters:
            raise InvalidCall(f"output {wanted.name!r} is asked for as a classification; it is a vector, not scores")


def _crops(tensor: RawTensor, agreement: Agreement, model: ServedModel, intake: FrameIntake) -> FrameOrFault:
    """Raises InvalidCall, ImageError."""
    spec, shape = model.spec.input, tuple(tensor.shape)
    if tensor.name == spec.name and shape[1:] == network_shape(spec) and (tensor.datatype in (*FLOATS, PIXELS)):
        if tensor.datatype in FLOATS:
            return _tensors(tensor, agreement, model, intake)
        found = planes(tensor, spec)
    elif tensor.name == IMAGE and tensor.datatype == PIXELS and len(shape) == _SIDES and shape[3] == 3:  # noqa: PLR2004
        found = pixels(tensor)
    else:
        raise _wrong(tensor, model)
    return _pictures(found, _count(tensor), agreement, intake)


def _tensors(tensor: RawTensor, agreement: Agreement, model: ServedModel, intake: FrameIntake) -> FrameOrFault:
    started = intake.begin(agreement, _count(tensor))
    if isinstance(started, FrameFault):
        return started
    for crop in floats(tensor):
        fault = started.add_tensor(model.index, crop)
        if fault is not None:
            return fault
    return intake.finish(started, frame_id=_FRAME_ID, age_ns=0)


def _pictures(images: Iterator[Image], count: int, agreement: Agreement, intake: FrameIntake) -> FrameOrFault:
    started = intake.begin(agreement, count, ready_crops=True)
    if isinstance(started, FrameFault):
        return started
    for image in images:
        index = intake.picture(started, image)
        if isinstance(index, FrameFault):
            return index
        _add(started, index, (0.0, 0.0, float(image.width), float(image.height)))
    return intake.finish(started, frame_id=_FRAME_ID, age_ns=0)


def _boxes(image: RawTensor, boxes: RawTensor, agreement: Agreement, intake: FrameIntake) -> FrameOrFault:
    """Raises InvalidCall, ImageError."""
    shape = tuple(boxes.shape)
    if image.datatype != BYTES or boxes.datatype != "FP32" or len(shape) != 2 or shape[1] != _SIDES:  # noqa: PLR2004
        raise InvalidCall(
            f"{IMAGE!r} is {image.datatype[:16]} and {BOXES!r} {boxes.datatype[:16]} {shown(shape)}; together they "
            "must be a BYTES tensor [1], a JPEG or PNG, and FP32 [M, 4]: x1, y1, x2, y2 in its pixels"
        )
    rects = floats(boxes)
    started = intake.begin(agreement, len(rects))
    if isinstance(started, FrameFault):
        return started
    index = intake.picture(started, intake.encoded(agreement, picture(image)))
    if isinstance(index, FrameFault):
        return index
    for x1, y1, x2, y2 in rects.tolist():
        _add(started, index, (x1, y1, x2, y2))
    return intake.finish(started, frame_id=_FRAME_ID, age_ns=0)


def _add(started: FramePlan, index: int, rect: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = rect
    started.add(index, rect, (x2 - x1, y2 - y1), class_id=None, score=None)


def _count(tensor: RawTensor) -> int:
    if not tensor.shape[0]:
        raise InvalidCall(f"input {tensor.name!r} has the shape {shown(tensor.shape)}; send at least one crop")
    return int(tensor.shape[0])


def _wrong(tensor: RawTensor, model: ServedModel) -> InvalidCall:
    sides = ", ".join(map(str, network_shape(model.spec.input)))
    return InvalidCall(
        f"input {tensor.name!r} is {tensor.datatype[:16]} {shown(tensor.shape)}; model {model.name!r} takes "
        f"{model.spec.input.name!r} as FP32, FP16 or UINT8 [N, {sides}], or {IMAGE!r} as UINT8 [N, height, width, 3]"
    )
