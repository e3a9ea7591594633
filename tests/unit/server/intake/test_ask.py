"""A door that is no stream: the rules of a frame, one answer, and every way in which there is none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_engines.headers import parse_encoded
from reidstream_engines.protocol import TensorCrop
from reidstream_proto.v1 import frame_pb2
from reidstream_server.app import Parts
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.core.terms import DrainReason, ModelIndex
from reidstream_server.errors import GoingAway, InvalidCall
from reidstream_server.intake.ask import ask
from reidstream_server.intake.limits import WindowLimits
from reidstream_server.intake.plan import FramePlan
from reidstream_server.intake.terms import Asked, agree_on_call
from reidstream_server.runtime.job import CachedRow
from reidstream_server.runtime.session import JobAnswer
from tests.support.gate import Gate
from tests.support.harness import JPEG, frame, real_engine, serving, stream_to, until
from tests.support.patience import HANG_S

WINDOW = WindowLimits(max_frames=8, max_bytes=10**9, default_frames=4)
BOXES = ((10.0, 10.0, 60.0, 120.0), (100.0, 20.0, 160.0, 200.0))  # those of `frame`


# A door in full: it reads its own wire (bytes of a picture, corners), and knows nothing of gRPC or protobuf.


@dataclass(frozen=True, slots=True)
class ToyDoor:
    """Vectors (n, dim) for boxes on a picture. Raises what `intake` raises, and ValueError with a frame's fault."""

    parts: Parts

    async def embed(self, picture: bytes, boxes: object) -> npt.NDArray[np.float32]:
        answer = await self.answer(picture, boxes)
        if answer.fault is not None or answer.payload is None:
            raise ValueError(answer.fault)
        return answer.payload.vectors[ModelIndex(0)]

    async def answer(self, picture: bytes, boxes: object, camera: str = "toy") -> JobAnswer:
        parts = self.parts
        rects = np.asarray(boxes, float)
        agreement = agree_on_call(Asked(client="", camera_id=camera), models=parts.runtime.models, limits=WINDOW)
        plan = parts.intake.begin(agreement, len(rects))
        if isinstance(plan, FrameFault):
            return await ask(parts.runtime, agreement, 1, plan)
        image = parse_encoded(picture)
        if (fault := parts.intake.too_large(plan, image)) is not None:
            return await ask(parts.runtime, agreement, 1, fault)
        index = plan.picture(image)
        for x1, y1, x2, y2 in rects.tolist():
            plan.add(index, image, (x1, y1, x2, y2), (x2 - x1, y2 - y1), class_id=None, score=None)
        return await ask(parts.runtime, agreement, 1, parts.intake.finish(plan, frame_id=1, age_ns=0))


async def test_a_toy_door_embeds_what_the_stream_embeds() -> None:
    """The embedded network on real pixels, bit for bit."""
    async with serving(real_engine()) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        (block,) = (await stream.result()).blocks
        by_stream = np.frombuffer(block.data, "<f4").reshape(block.count, block.dim)
        by_door = await ToyDoor(server.parts).embed(JPEG, BOXES)
    assert by_stream.shape == by_door.shape == (2, block.dim)
    assert np.array_equal(by_stream, by_door)


async def test_a_toy_door_is_refused_as_the_stream_is() -> None:
    """The same reason and the same words, for each bound."""
    async with serving(max_boxes_per_frame=1, max_image_pixels=1000) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        await stream.call.write(frame(2, boxes=[]))
        errors = [(await stream.result()).error for _ in range(2)]
        answers = [await ToyDoor(server.parts).answer(JPEG, boxes) for boxes in (BOXES, np.zeros((0, 4)))]
    faults = [answer.fault for answer in answers]
    assert [fault.reason for fault in faults if fault] == [FaultReason.TOO_MANY_BOXES, FaultReason.IMAGE_TOO_LARGE]
    assert [fault.message for fault in faults if fault] == [error.message for error in errors]
    assert [error.reason for error in errors] == [
        frame_pb2.ERROR_REASON_TOO_MANY_BOXES,
        frame_pb2.ERROR_REASON_IMAGE_TOO_LARGE,
    ]


async def test_a_toy_doors_words_are_checked_by_the_intake() -> None:
    """No door can forget a rule of a call."""
    async with serving() as server:
        with pytest.raises(InvalidCall, match="camera_id has 0 bytes; it must have 1 to 128"):
            await ToyDoor(server.parts).answer(JPEG, BOXES, camera="")
        assert server.runtime.open_sessions == 0


def begun(parts: Parts) -> FramePlan:
    agreement = agree_on_call(Asked(client="", camera_id="toy"), models=parts.runtime.models, limits=WINDOW)
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
        plan.add_cached(CachedRow(model=ModelIndex(0), vector=np.ones(32, np.float32), source_frame_id=3, quality=1.0))
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
        assert (await asking).shape == (2, 32)
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
