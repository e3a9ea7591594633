"""A door that is no stream: the rules of a frame, one answer, and every way in which there is none."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_engines.errors import ImageError
from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_engines.headers import parse_encoded
from reidstream_engines.protocol import BoxCrop, Embeddings, TensorCrop
from reidstream_proto.v1 import frame_pb2
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.core.terms import DrainReason, ModelIndex, Ordering, OverloadPolicy
from reidstream_server.errors import GoingAway, InvalidCall
from reidstream_server.intake.ask import ask
from reidstream_server.intake.box_answers import Embedded, box_answers
from reidstream_server.intake.frames import FrameOrFault
from reidstream_server.intake.limits import WindowLimits
from reidstream_server.intake.plan import FramePlan
from reidstream_server.intake.terms import PlainTerms, agree_on_call, agree_on_stream
from reidstream_server.parts import Parts
from reidstream_server.runtime.agreement import Agreement, BoxFilter
from reidstream_server.runtime.job import CachedRow, image_fault
from reidstream_server.runtime.models import ModelChoice
from reidstream_server.transport.status import FRAMES
from tests.support.gate import Gate
from tests.support.harness import JPEG, encode, frame, picture, real_engine, serving, stream_to, until
from tests.support.patience import HANG_S

WINDOW = WindowLimits(max_frames=8, max_bytes=10**9, default_frames=4)
BOXES = ((10.0, 10.0, 60.0, 120.0), (100.0, 20.0, 160.0, 200.0))  # those of `frame`


# A door in full: it reads its own wire (bytes of a picture, corners), and knows nothing of gRPC or protobuf.


@dataclass(frozen=True, slots=True)
class ToyDoor:
    """A vector (dim,), or None, for each box on a picture. Raises what `intake` raises, and ToyFault."""

    parts: Parts

    async def embed(self, picture: bytes, boxes: object, camera: str = "toy") -> list[Embeddings | None]:
        parts, rects = self.parts, np.asarray(boxes, float)
        agreement = agree_on_call(
            PlainTerms(client="", source="connection toy", camera_id=camera), models=parts.runtime.models, limits=WINDOW
        )
        answer = await ask(parts.runtime, agreement, 1, self._frame(agreement, picture, rects))
        if answer.fault is not None:
            raise ToyFault(answer.fault)
        return [box.vector if isinstance(box, Embedded) else None for box in box_answers(answer)]

    def _frame(self, agreement: Agreement, picture: bytes, rects: npt.NDArray[np.float64]) -> FrameOrFault:
        intake = self.parts.intake
        plan = intake.begin(agreement, len(rects))
        if isinstance(plan, FrameFault):
            return plan
        try:
            index = intake.picture(plan, parse_encoded(picture))
        except ImageError as error:
            return image_fault(error)
        if isinstance(index, FrameFault):
            return index
        for x1, y1, x2, y2 in rects.tolist():
            plan.add(index, (x1, y1, x2, y2), (x2 - x1, y2 - y1), class_id=None, score=None)
        return intake.finish(plan, frame_id=1, age_ns=0)


class ToyFault(Exception):
    """A frame's fault, as this door tells it."""

    def __init__(self, fault: FrameFault) -> None:
        super().__init__(fault.message)
        self.status = FRAMES[fault.reason].http


def test_the_toy_door_is_a_small_one() -> None:
    """Under 60 lines, its exception included: the rules are elsewhere."""
    assert sum(len(inspect.getsource(part).splitlines()) for part in (ToyDoor, ToyFault)) < 60


async def test_a_toy_door_embeds_what_the_stream_embeds() -> None:
    """The embedded network on real pixels, bit for bit."""
    async with serving(real_engine()) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        (block,) = (await stream.result()).blocks
        by_stream = np.frombuffer(block.data, "<f4").reshape(block.count, block.dim)
        by_door = await ToyDoor(server.parts).embed(JPEG, BOXES)
    assert by_stream.shape == (2, block.dim)
    assert np.array_equal(by_stream, np.stack([vector for vector in by_door if vector is not None]))


async def test_a_toy_door_answers_box_by_box() -> None:
    """A box without a vector is told so in its place: refused before, or failed in the engine."""
    poisoned = FakeEngine(script=FakeScript(poison=lambda crop: isinstance(crop, BoxCrop) and crop.box.x1 == 100))
    async with serving(poisoned) as server:
        vectors = await ToyDoor(server.parts).embed(JPEG, [(900, 900, 950, 990), *BOXES])
    assert [vector is not None for vector in vectors] == [False, True, False]


GIF, HUGE = b"GIF89a", encode(picture(400, 300))
REFUSED: dict[str, tuple[dict[str, object], bytes, object]] = {
    "boxes": ({"max_boxes_per_frame": 1}, JPEG, BOXES),
    "pixels": ({"max_image_pixels": 1000}, JPEG, BOXES),
    "answer": ({"max_answer_bytes": 100}, JPEG, BOXES),
    "held": ({"max_staged_bytes": 1000}, JPEG, BOXES),
    "junk": ({}, b"junk", BOXES),
    "format": ({}, GIF, BOXES),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_toy_door_is_refused_as_the_stream_is(case: str) -> None:
    """In the same words, for each bound and each kind of picture that is none."""
    changes, data, boxes = REFUSED[case]
    async with serving(**changes) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1, image=data))
        error = (await stream.result()).error
        with pytest.raises(ToyFault) as caught:
            await ToyDoor(server.parts).embed(data, boxes)
    assert str(caught.value) == error.message
    reason = FaultReason[frame_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")]
    assert caught.value.status == FRAMES[reason].http


async def test_a_toy_doors_words_are_checked_by_the_intake() -> None:
    """No door can forget a rule of a call."""
    async with serving() as server:
        for camera, said in (("", "camera_id has 0 bytes; it must have 1 to 128"), ("\ud800", "not text")):
            with pytest.raises(InvalidCall, match=said):
                await ToyDoor(server.parts).embed(JPEG, BOXES, camera)
        assert server.runtime.open_sessions == 0


TOO_MUCH: dict[str, tuple[dict[str, Any], str]] = {
    "choices": ({"choices": [ModelChoice(class_ids=(n,)) for n in range(257)]}, "models has 257 items"),
    "classes": ({"choices": [ModelChoice(class_ids=tuple(range(4097)))]}, "models.class_ids, .* has 4097 items"),
    "name": ({"choices": [ModelChoice(name="m" * 129)]}, "models.name has 129 bytes; it may have at most 128"),
    "no text": ({"choices": [ModelChoice(name="\ud800")]}, "models.name is not text that UTF-8 can write"),
    "space": ({"choices": [ModelChoice(expected_space_id="1" * 129)]}, "expected_space_id has 129 bytes"),
    "filter": ({"box_filter": BoxFilter(class_ids=frozenset(range(4097)))}, "box_filter.class_ids has 4097 items"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
async def test_lists_and_text_of_any_door_are_bounded(case: str) -> None:
    """A door of another wire has no parser that would refuse them."""
    terms, said = TOO_MUCH[case]
    async with serving() as server:
        with pytest.raises(InvalidCall, match=said):
            agree_on_call(
                PlainTerms(client="", source="connection toy", camera_id="toy", **terms),
                models=server.runtime.models,
                limits=WINDOW,
            )


@pytest.mark.parametrize("asked", [{"window_frames": -1, "window_bytes": 0}, {"window_frames": 0, "window_bytes": -1}])
async def test_what_a_wire_without_unsigned_numbers_can_say_is_refused(asked: dict[str, int]) -> None:
    """A window that is negative would never be read."""
    async with serving() as server:
        with pytest.raises(InvalidCall, match="must not be negative"):
            agree_on_stream(
                PlainTerms(client="", source="connection toy", camera_id="toy"),
                models=server.runtime.models,
                limits=WINDOW,
                ordering=Ordering.IN_ORDER,
                policy=OverloadPolicy.WAIT,
                window_frames=asked["window_frames"],
                window_bytes=asked["window_bytes"],
            )
        plan = begun(server.parts)
        for frame_id, age_ns in ((-1, 0), (2**64, 0), (0, -1)):
            found = server.parts.intake.finish(plan, frame_id=frame_id, age_ns=age_ns)
            assert isinstance(found, FrameFault)
            assert found.reason is FaultReason.INVALID_ARGUMENT


async def test_a_model_that_is_retired_between_agreeing_and_asking_is_no_internal_error() -> None:
    """A door may wait in between, for a body; the client is told to call again."""
    async with serving() as server:
        plan = begun(server.parts)
        old = server.runtime.models.default
        server.runtime.add_model(FakeEngine())
        assert await server.runtime.retire_model(old)
        taken = server.parts.intake.finish(plan, frame_id=1, age_ns=0)
        with pytest.raises(GoingAway, match="call again"):
            await ask(server.runtime, plan.agreement, 1, taken)


def begun(parts: Parts) -> FramePlan:
    agreement = agree_on_call(
        PlainTerms(client="", source="connection toy", camera_id="toy"), models=parts.runtime.models, limits=WINDOW
    )
    plan = parts.intake.begin(agreement, 2)
    assert isinstance(plan, FramePlan)
    return plan


async def test_tensors_are_embedded_as_they_are() -> None:
    """KServe and TAO send network inputs: no picture is staged, and what is held is counted and given back."""
    engine = real_engine()
    shape = (3, engine.spec.input.height, engine.spec.input.width)
    tensors = np.random.default_rng(5).normal(size=(2, *shape)).astype(np.float32)
    async with serving(engine) as server:
        plan = begun(server.parts)
        for tensor in tensors:
            assert plan.add_tensor(ModelIndex(0), tensor) is None
        taken = server.parts.intake.finish(plan, frame_id=7, age_ns=0)
        assert not isinstance(taken, FrameFault)
        assert (taken[0].message_bytes, taken[0].staged_bytes) == (tensors.nbytes, tensors.nbytes)
        answer = await ask(server.runtime, plan.agreement, 7, taken)
        left = server.runtime.statistics()
    assert answer.outcomes == (CropOutcome.EMBEDDED,) * 2
    assert answer.payload is not None
    assert (left.staged_bytes, left.queue_bytes, left.frames) == (0, 0, 0)
    direct = engine.submit([TensorCrop(tensor=tensor) for tensor in tensors]).result()
    assert np.allclose(answer.payload.vectors[ModelIndex(0)], direct, atol=1e-6)


async def test_a_frame_of_cached_rows_needs_no_engine() -> None:
    """It is answered at once."""
    async with serving() as server:
        plan = begun(server.parts)
        plan.add_cached(
            CachedRow(
                model=ModelIndex(0), vector=np.ones(32, np.float32), source_frame_id=3, source_age_ns=1, quality=1.0
            )
        )
        answer = await ask(server.runtime, plan.agreement, 4, server.parts.intake.finish(plan, frame_id=4, age_ns=0))
    assert (answer.fault, answer.outcomes) == (None, ())
    assert answer.payload is not None
    assert isinstance(answer.payload.fates[0], CachedRow)


async def test_who_asks_before_the_drain_is_answered_and_who_asks_after_it_is_refused() -> None:
    """Leaving is known in one place, so a door cannot miss it."""
    gate = Gate()
    async with serving(FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))) as server:
        door = ToyDoor(server.parts)
        asking = asyncio.create_task(door.embed(JPEG, BOXES))
        await until(lambda: gate.entered == 1)
        server.runtime.leave()
        with pytest.raises(GoingAway, match="stopping"):
            await door.embed(JPEG, BOXES)
        draining = asyncio.create_task(server.runtime.drain(DrainReason.SHUTDOWN, HANG_S))
        gate.opened.set()
        assert [vector is not None for vector in await asking] == [True, True]
        assert await draining


async def test_who_is_cancelled_leaves_nothing() -> None:
    """Its batch may still run; its session is gone at once, its pixels when the batch is back."""
    gate = Gate()
    async with serving(FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))) as server:
        asking = asyncio.create_task(ToyDoor(server.parts).embed(JPEG, BOXES))
        await until(lambda: gate.entered == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert server.runtime.open_sessions == 0
        gate.opened.set()
        await until(lambda: server.runtime.statistics().frames == 0)
