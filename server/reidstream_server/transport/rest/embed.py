"""POST /embed: a picture, several pictures, or a frame with its boxes.

What is here is this wire's: where the pictures and the boxes lie in a request. Boxes, bounds and answers are
`intake`'s, so a vector is the same, bit for bit, that the stream answers.

Trap: reading a thousand headers, or writing half a million numbers, takes the event loop too long. Both are done in the
thread of large messages.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from reidstream_engines.errors import ImageError
from reidstream_engines.header_steps import HeaderSteps
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import InvalidCall
from reidstream_server.intake.ask import ask
from reidstream_server.intake.box_answers import Embedded, box_answers
from reidstream_server.intake.frames import FrameIntake, FrameOrFault, too_many_steps
from reidstream_server.intake.limits import WindowLimits
from reidstream_server.intake.plan import FramePlan
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import BoxRefusal, image_fault
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.http_server.held import HeldAnswers
from reidstream_server.transport.http_server.requests import Request
from reidstream_server.transport.http_server.responses import Response, frame_refused, refusal
from reidstream_server.transport.http_server.routes import Call

from .form import Form, boundary_of, read_form
from .options import Options, agree, parse_options
from .rendering import Answered, kind_of, rendered

MANY_PICTURES = 64
"""Reading the headers of more of them is done apart."""

MANY_NUMBERS = 2**16
"""Writing more of them is done apart: a millisecond and a half, in JSON."""

_WHOLE_FRAME_ID = 0
_BYTES_A_NUMBER = 14  # in JSON, at most


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request has. `ready_crops`: each picture is a crop."""

    pictures: Sequence[bytes]
    options: Options
    ready_crops: bool


class _Reader:
    """Reads a body for the reception, which decides when."""

    def __init__(self, read: Callable[[], Awaitable[Form]]) -> None:
        self.read = read


class EmbedCall:
    """The handler. Event loop only."""

    def __init__(
        self,
        runtime: Runtime,
        intake: FrameIntake,
        entrance: Entrance,
        *,
        max_boxes: int,
        window: WindowLimits,
        held: HeldAnswers,
    ) -> None:
        self._runtime = runtime
        self._intake = intake
        self._entrance = entrance
        self._max_boxes = max_boxes
        self._window = window
        self._held = held

    async def __call__(self, call: Call) -> Response:
        """Raises CallRefused, ClientGone."""
        source = call.caller.source
        kind = kind_of(call.request.header("accept"))
        parse_options(call.request.fields, self._max_boxes)  # before the body is read
        asked = await self._asked(call.request, source)
        agreement = agree(asked.options, caller=call.caller, models=self._runtime.models, window=self._window)
        options, single = asked.options, asked.options.boxes is None and not asked.ready_crops
        many = len(asked.pictures) > MANY_PICTURES
        taken = await self._entrance.apart.do_if(many, source, partial(self._read, asked, agreement))
        del asked  # the pictures are the job's, which lets them go when they are decoded
        answer = await ask(self._runtime, agreement, _WHOLE_FRAME_ID, taken.value, spent_ns=taken.spent_ns)
        if answer.fault is not None:
            return frame_refused(answer.fault)
        boxes = list(box_answers(answer))
        if single and not isinstance(boxes[0], Embedded):
            why = boxes[0].value
            return refusal(422, f"the picture has no vector: its outcome is {why}", reason=why)
        model = _model_of(agreement)
        said = Answered(
            boxes=boxes,
            model=model,
            times=answer.times,
            now_ns=time.monotonic_ns(),
            single=single,
            as_base64=options.as_base64,
        )
        numbers = len(boxes) * model.spec.output.dim
        self._held.hold(source, numbers * _BYTES_A_NUMBER)
        return (await self._entrance.apart.do_if(numbers > MANY_NUMBERS, source, partial(rendered, said, kind))).value

    async def _asked(self, request: Request, source: str) -> _Asked:
        """Read the body, when there is a place for it."""
        kind, parameters = request.content_type

        async def form() -> Form:
            if kind == "multipart/form-data":
                return await read_form(request.body.pieces(), boundary_of(parameters), max_files=self._max_boxes)
            return Form(files=[await request.body.whole()])

        if kind != "multipart/form-data" and not (kind.startswith("image/") or kind == "application/octet-stream"):
            raise InvalidCall(
                f"Content-Type is {kind[:64] or 'missing'}; send multipart/form-data with a field named file, or a "
                "picture as the body with its type, such as image/jpeg"
            )
        found = await self._entrance.reception.receive(_Reader(form), source, here=request.body.here)
        await self._entrance.turns.again(source, request.peer)
        options = parse_options({**request.fields, **found.fields}, self._max_boxes)
        if not found.files:
            raise InvalidCall("the form has no file; send a picture in a field named file")
        several = len(found.files) > 1
        if several and options.boxes is not None:
            raise InvalidCall("boxes belong to one picture, and several files came; send one of them, or no boxes")
        return _Asked(found.files, options, several)

    def _read(self, asked: _Asked, agreement: Agreement) -> FrameOrFault:
        """The request as a job, or why it has no vectors. Any thread."""
        boxes = asked.options.boxes
        count = len(asked.pictures) if boxes is None else len(boxes)
        plan = self._intake.begin(agreement, count, ready_crops=asked.ready_crops)
        if isinstance(plan, FrameFault):
            return plan
        try:
            fault = self._crops(plan, asked) if asked.ready_crops else self._whole(plan, asked)
        except ImageError as error:
            return image_fault(error)
        return fault or self._intake.finish(plan, frame_id=_WHOLE_FRAME_ID, age_ns=0)

    def _whole(self, plan: FramePlan, asked: _Asked) -> FrameFault | None:
        """One picture and its boxes; without boxes, all of it. Raises ImageError."""
        image = self._intake.encoded(plan.agreement, asked.pictures[0])
        picture = self._intake.picture(plan, image)
        if isinstance(picture, FrameFault):
            return picture
        if asked.options.boxes is None:
            rect = (0.0, 0.0, float(image.width), float(image.height))
            plan.add(picture, rect, rect[2:], class_id=None, score=None)
            return None
        for box in asked.options.boxes:
            x1, y1, x2, y2 = box.rect
            plan.add(picture, box.rect, (x2 - x1, y2 - y1), class_id=box.class_id, score=box.score)
        return None

    def _crops(self, plan: FramePlan, asked: _Asked) -> FrameFault | None:
        """Several pictures, each a crop; a bad one harms no other."""
        steps = HeaderSteps(len(asked.pictures))
        for data in asked.pictures:
            fault = too_many_steps(steps)
            if fault is not None:
                return fault
            try:
                image = self._intake.encoded(plan.agreement, data, steps)
            except ImageError:
                plan.refuse(BoxRefusal.INVALID_IMAGE)
                continue
            picture = self._intake.picture(plan, image)
            if isinstance(picture, FrameFault):
                return picture
            rect = (0.0, 0.0, float(image.width), float(image.height))
            plan.add(picture, rect, rect[2:], class_id=None, score=None)
        return None


def _model_of(agreement: Agreement) -> ServedModel:
    """Every box of such a call goes to one model."""
    (model,) = agreement.routes.models.values()
    return model
