"""What runs in threads: staging a frame, embedding a batch. Every exception becomes a value here.

Why values: the event loop must hear of the end of every call, so nothing may escape. Trap: an exception that is not in
the engines' tree is logged, and its text stays in the log; clients get a sentence of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reidstream_engines.errors import EngineLost, EnginesError, ImageError, OutOfDeviceMemory
from reidstream_engines.protocol import Engine, Stager
from reidstream_server.core.effects import CropRef
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.logs import get_logger

from .job import FrameJob, image_fault

log = get_logger(__name__)

_RETRY_AFTER_MS = 100  # some batches later


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A frame is staged; `invalid` are the crops whose own picture was refused."""

    invalid: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Every crop of the batch has its vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The engine failed on the batch. The message is for the log."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The engine, or its device, cannot go on."""

    message: str


Staging: TypeAlias = Staged | FrameFault | Lost
Embedding: TypeAlias = Embedded | Failed | Lost


def stage(job: FrameJob, stager: Stager) -> Staging:
    """Bring the job's pictures to the device; nothing stays there unless the answer is Staged."""
    try:
        return Staged(invalid=job.stage(stager))
    except ImageError as error:
        job.release()
        return image_fault(error)
    except OutOfDeviceMemory as error:
        job.release()
        log.warning("staging_without_memory", reason=str(error))
        message = "the device has no memory for this frame now; try again later"
        return FrameFault(reason=FaultReason.QUEUE_FULL, message=message, retry_after_ms=_RETRY_AFTER_MS)
    except EngineLost as error:
        job.release()
        return Lost(message=str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the frame is answered and the server goes on
        job.release()
        log.failure("staging_failed", error)
        return FrameFault(reason=FaultReason.INTERNAL, message="the frame could not be staged: internal error")


def embed(engine: Engine, crops: Sequence[CropRef[FrameJob]]) -> Embedding:
    """Run a batch and keep its vectors in the jobs."""
    try:
        rows = engine.submit([ref.payload.crop(ref.index) for ref in crops]).result()
        for ref, row in zip(crops, rows, strict=True):
            ref.payload.store(ref.index, row)
    except EngineLost as error:
        return Lost(message=str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is this batch's
        if not isinstance(error, EnginesError):
            log.failure("engine_raised", error, model=engine.spec.name)
        return Failed(message=str(error) or repr(error))
    return Embedded()
