"""What staging raises becomes a value; nothing of the frame stays on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from reidstream_engines.errors import EngineFault, EngineLost, InvalidImage, OutOfDeviceMemory, UnsupportedImage
from reidstream_engines.fake import FakeStager
from reidstream_engines.image import Image, PixelBox
from reidstream_engines.protocol import DeviceUsage, StagedFrame
from reidstream_engines.selftest import noise
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.blocking import Lost, Staged, stage
from reidstream_server.runtime.job import FrameJob


class FailingStager:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> StagedFrame:
        del image, boxes
        raise self._error

    def instant(self, image: Image) -> bool:
        del image
        return False

    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        del image, boxes
        return 1

    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        del image, boxes
        return 1

    def devices(self) -> tuple[DeviceUsage, ...]:
        return ()


def job() -> FrameJob:
    agreement = cast("Agreement", None)  # staging does not look at it
    return FrameJob(agreement=agreement, ready_crops=False, images=[noise()], cuts=[[]], fates=[], crops=[], vectors={})


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (InvalidImage("x"), FaultReason.INVALID_IMAGE, False),
        (UnsupportedImage("x"), FaultReason.UNSUPPORTED_IMAGE, False),
        (OutOfDeviceMemory("cuMemAlloc: x"), FaultReason.QUEUE_FULL, True),
        (EngineFault("cuStreamCreate: x"), FaultReason.INTERNAL, False),
    ],
)
def test_a_frames_fault(error: Exception, reason: FaultReason, *, retry: bool) -> None:
    """A device without memory is one that has too much to do: the client may try again."""
    frame = job()
    fault = stage(frame, FailingStager(error))
    assert not frame.images  # its answer may wait long for its turn
    assert isinstance(fault, FrameFault)
    assert fault.reason is reason
    assert (fault.retry_after_ms is not None) == retry
    assert "cu" not in fault.message


def test_a_lost_device() -> None:
    """The server ends."""
    assert stage(job(), FailingStager(EngineLost("gone"))) == Lost(message="gone")


def test_a_picture_that_is_fetched_is_staged_in_a_thread_with_what_came() -> None:
    """Even where its kind would be staged on the event loop: to fetch it may take long. A fault keeps nothing of it."""
    frame = job()
    (image,) = frame.images
    given = b"\7" * len(image.data)
    frame.late = {0: lambda: given}
    seen: list[Image] = []
    stager = FakeStager(refuse=lambda image: bool(seen.append(image)))  # type: ignore[func-returns-value]
    assert not frame.instant(stager)
    assert isinstance(stage(frame, stager), Staged)
    assert seen == [replace(image, data=given)]
    assert not frame.late
    frame.release()

    def fails() -> bytes:
        raise OSError("gone")

    broken = job()
    assert broken.instant(stager)
    broken.late = {0: fails}
    fault = stage(broken, stager)
    assert isinstance(fault, FrameFault)
    assert fault.reason is FaultReason.INTERNAL
    assert not broken.late
