"""The bounds of a frame, around its plan: it becomes a job, or a fault that says which bound it broke.

Everything about a frame that can be wrong without decoding it is found here, so a hopeless frame costs neither a
decode nor an inference. Trap: sizes are what headers *claim*; the stager refuses a picture that decodes to another
size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from reidstream_engines.header_steps import STEPS, STEPS_A_PICTURE, HeaderSteps
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import EncodedImage, Image
from reidstream_engines.protocol import Stager
from reidstream_proto.v1 import contract
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import FrameRequest
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import Fetch, FrameJob
from reidstream_server.runtime.trace import FrameTrace
from reidstream_server.runtime.tracking import SessionTracks
from reidstream_server.tracks.room import SNAPSHOT_ROWS
from reidstream_server.tracks.track import SightedBox

from .limits import FrameLimits
from .plan import FramePlan
from .sightings import Sightings
from .turned import TurnedPictures

FrameOrFault: TypeAlias = tuple[FrameRequest, FrameJob] | FrameFault
"""A frame as the runtime takes it, or why it has no embeddings."""


@dataclass(slots=True, kw_only=True, eq=False)
class SightedFrame:
    """A frame of a session with tracks, read and found good. What is embedded of it is decided when it is taken."""

    plan: FramePlan
    frame_id: int
    age_ns: int
    boxes: tuple[SightedBox, ...]
    trace: FrameTrace | None = None


MOST_PASSES = 16
"""A picture of the largest size may have so many scans, and a smaller one more. Encoders write about ten."""

_MOST_64 = 2**64 - 1
_COPY_NS_PER_BYTE = 2  # of memory that was never written; measured: 1.6
_MOST_AGE_NS = contract.MAX_FRAME_AGE_MS * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameIntake:
    """Begins and finishes plans. Any thread."""

    limits: FrameLimits
    stager: Stager
    turned: TurnedPictures = field(default_factory=TurnedPictures)

    def begin(self, agreement: Agreement, boxes: int, *, ready_crops: bool = False) -> FramePlan | FrameFault:
        """A plan for a frame of so many boxes, crops or tensors. `ready_crops`: each has a picture of its own."""
        if boxes > self.limits.max_boxes:
            return _over(FaultReason.TOO_MANY_BOXES, f"{boxes} boxes", "max_boxes_per_frame", self.limits.max_boxes)
        return FramePlan(agreement, min_box_px=self.limits.min_box_px, ready_crops=ready_crops)

    def encoded(self, agreement: Agreement, data: bytes, steps: HeaderSteps | None = None) -> EncodedImage:
        """The header of a compressed picture. `steps`: of all pictures of the frame. Raises ImageError."""
        image = parse_encoded(data, upright=agreement.upright, steps=steps)
        if image.orientation is not image.turn:
            self.turned.notice(agreement.terms.flow, image.orientation)
        return image

    def picture(self, plan: FramePlan, image: Image, fetch: Fetch | None = None) -> int | FrameFault:
        """Take a picture into the plan; returns its index. A fault: the frame would have too many pixels.

        `fetch`: brings its bytes in the thread that stages it, if its `data` must not be looked at.
        """
        limit = self.limits.max_image_pixels
        pixels = plan.pixels + image.width * image.height
        if pixels > limit:
            return _over(FaultReason.IMAGE_TOO_LARGE, f"{pixels} pixels by the header", "max_image_pixels", limit)
        index = plan.picture(image, fetch)
        if plan.passes > MOST_PASSES * limit:
            what = f"JPEG scans go over {plan.passes} pixels in all; send a baseline JPEG, which has one scan"
            setting = f"{MOST_PASSES} * max_image_pixels"
            return _over(FaultReason.IMAGE_TOO_LARGE, what, setting, MOST_PASSES * limit)
        return index

    def finish(self, plan: FramePlan, *, frame_id: int, age_ns: int) -> FrameOrFault:
        """The plan as a job, and what it asks of the scheduler. `age_ns`: since the frame was taken; what is
        larger than the contract's largest counts as that.
        """
        staged_bytes = self._staged_bytes(plan)
        fault = self._fault(plan, frame_id, age_ns, staged_bytes)
        return fault or self._finished(plan, frame_id, age_ns, staged_bytes)

    def sighted(
        self, plan: FramePlan, sightings: Sightings, *, frame_id: int, age_ns: int
    ) -> SightedFrame | FrameFault:
        """The same for a session with tracks, as far as it can be known before the frame is taken. Any thread."""
        fault = self._fault(plan, frame_id, age_ns, self._staged_bytes(plan))
        if fault is not None:
            return fault
        boxes = sightings.of(plan)
        return SightedFrame(plan=plan, frame_id=frame_id, age_ns=min(age_ns, _MOST_AGE_NS), boxes=boxes)

    def decided(self, frame: SightedFrame, tracks: SessionTracks) -> tuple[FrameRequest, FrameJob]:
        """The frame as the runtime takes it: each box is embedded, or has its track's row. Event loop only."""
        plan = frame.plan
        came = _sent_bytes(plan)
        decided = tracks.decide(frame.frame_id, frame.boxes, frame.age_ns)
        plan.settle(frozenset() if decided is None else decided.cached)
        request, job = self._finished(plan, frame.frame_id, frame.age_ns, self._staged_bytes(plan))
        job.tracks, job.trace, job.let_go = decided, frame.trace, came - _sent_bytes(plan)
        return request, job

    def _fault(self, plan: FramePlan, frame_id: int, age_ns: int, staged_bytes: int) -> FrameFault | None:
        if not 0 <= frame_id <= _MOST_64 or not 0 <= age_ns <= _MOST_64:
            message = f"frame_id is {frame_id} and age_ns is {age_ns}; both must be 0 to 2**64 - 1"
            return FrameFault(reason=FaultReason.INVALID_ARGUMENT, message=message)
        agreement, limits = plan.agreement, self.limits
        models = agreement.routes.models
        width = int(agreement.dtype.value[-1])
        if agreement.tracks is not None and agreement.tracks.snapshots:
            width += 4 * SNAPSHOT_ROWS
        total = width * sum(models[model].spec.output.dim * rows for model, rows in plan.vector_rows().items())
        if total > limits.max_answer_bytes:
            what = f"the embeddings would have {total} bytes"
            return _over(FaultReason.ANSWER_TOO_LARGE, what, "max_answer_bytes", limits.max_answer_bytes)
        if staged_bytes > limits.max_staged_bytes:  # it would wait for ever, and everybody behind it
            what = f"{staged_bytes} bytes to be held"
            return _over(FaultReason.IMAGE_TOO_LARGE, what, "max_staged_bytes", limits.max_staged_bytes)
        return None

    def _staged_bytes(self, plan: FramePlan) -> int:
        tensor_bytes = sum(tensor.nbytes for tensor in plan.tensors)
        return tensor_bytes + sum(map(self.stager.staged_bytes, plan.images, plan.cuts))

    def _finished(
        self, plan: FramePlan, frame_id: int, age_ns: int, staged_bytes: int
    ) -> tuple[FrameRequest, FrameJob]:
        models, tracks = plan.agreement.routes.models, plan.agreement.tracks
        kept = 1 if tracks is None else 2 + (SNAPSHOT_ROWS if tracks.snapshots else 0)  # of each row: see `tracks.room`
        sent_bytes = _sent_bytes(plan)
        late_bytes = sum(len(plan.images[index].data) for index in plan.late)
        request = FrameRequest(
            frame_id=frame_id,
            message_bytes=sent_bytes + late_bytes + sum(tensor.nbytes for tensor in plan.tensors),
            staged_bytes=staged_bytes,
            answer_bytes=sum(models[model].spec.output.dim * 4 * kept * rows for model, rows in plan.rows.items()),
            staging_ns=sum(map(self.stager.staging_ns, plan.images, plan.cuts)) + late_bytes * _COPY_NS_PER_BYTE,
            age_ns=min(age_ns, _MOST_AGE_NS),  # sums of ages must survive whatever a client says
            crops=tuple(crop.model for crop in plan.crops),
        )
        return request, plan.job()


def _sent_bytes(plan: FramePlan) -> int:
    """Of the message, pictures alone: they are 99.9 % of it, and ByteSize() would serialise all of it. Views are of
    shared memory, and came in no message; but those that will be copied count as if they had.
    """
    return sum(len(image.data) for image in plan.images if isinstance(image.data, bytes))


def too_many_steps(steps: HeaderSteps) -> FrameFault | None:
    """The fault of a frame whose pictures' headers take too long to read. Look before each of them."""
    if steps.left >= 0:
        return None
    return FrameFault(
        reason=FaultReason.INVALID_IMAGE,
        message=f"the headers of the crops have more than {steps.most} segments, chunks and EXIF entries "
        f"({STEPS} and {STEPS_A_PICTURE} for each crop); leave out comments and metadata",
    )


def source_scale(image: Image, source_size: tuple[int, int] | None) -> tuple[float, float] | FrameFault:
    """How much larger the source frame is than the picture that was sent, in x and y; (1, 1) if nothing is said."""
    if source_size is None:
        return 1.0, 1.0
    width, height = source_size
    if not (width and height):
        message = f"source_size is {width} x {height}; both must be above 0"
        return FrameFault(reason=FaultReason.INVALID_ARGUMENT, message=message)
    return width / image.width, height / image.height


def _over(reason: FaultReason, what: str, setting: str, limit: int) -> FrameFault:
    """Over a limit, with the setting's name, which is the published limit's too."""
    return FrameFault(reason=reason, message=f"{what}; the limit is {limit} ({setting})")
