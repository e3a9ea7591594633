"""What the service may ask of a device and of an engine.

Why two Protocols: staging a frame belongs to the device, since several models look at the same staged frame;
running a network belongs to the engine. Pixels stay where they were staged: there is no call that takes an array of
pixels and gives vectors. Trap: `submit` may only enqueue; the time is spent in `Ticket.result`, so a caller that keeps
two tickets open per engine overlaps the copies of one with the computing of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from .image import Image, PixelBox
from .spec import ModelSpec

Embeddings: TypeAlias = npt.NDArray[np.float32]


class Health(Enum):
    """Whether an engine can still answer."""

    SERVING = "serving"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """`max_batch`: crops a `submit` takes. `slots`: tickets worth having open at a time. `cores`: of this machine's,
    that a ticket's `result` keeps busy; 0 where a device computes.
    """

    max_batch: int
    slots: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What runs the model. `fallback_reason` is empty unless another engine was preferred and could not be had."""

    engine: str
    device: str
    precision: str
    fallback_reason: str = ""


class StagedFrame(Protocol):
    """A frame whose pixels lie where crops are taken. Held until closed; closing twice is harmless. Any thread."""

    def close(self) -> None:
        """Give the pixels back."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUsage:
    """Bytes: with holders, kept for reuse, and the most that both may be together."""

    in_use: int
    idle: int
    bound: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUsage:
    """What a stager has of a device (`cuda:0`): its memory, and this machine's pinned memory that leads to it.

    `decoded`: frames that the device decoded so far; `declined`: those that it was given and could not decode, so that
    the CPU did.
    """

    device: str
    memory: PoolUsage
    pinned: PoolUsage
    decoded: int
    declined: int


class Stager(Protocol):
    """Brings pictures to the device. Called from several threads at once; blocks while it decodes."""

    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> StagedFrame:
        """Decode or upload; raises ImageError for the picture's faults, EngineLost for the device's.

        `boxes`: every rectangle that will be cut from it, all inside it. Other pixels need not be there afterwards, and
        a fault in them need not be noticed. With none the whole picture is looked at.
        """
        ...

    def instant(self, image: Image) -> bool:
        """Whether `stage` only points at memory that is there: then it may be called where nothing may block."""
        ...

    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        """How much memory `stage(image, boxes)` will hold until it is closed; cheap, from the sizes alone."""
        ...

    def devices(self) -> Sequence[DeviceUsage]:
        """What is used of each device now, in their order; none where frames stay in this machine's memory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCrop:
    """A rectangle of a staged frame."""

    frame: StagedFrame
    box: PixelBox


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorCrop:
    """A network input made elsewhere: float32 (C, H, W), already normalised."""

    tensor: npt.NDArray[np.float32]


Crop: TypeAlias = BoxCrop | TensorCrop


class Ticket(Protocol):
    """A batch on its way."""

    def result(self) -> Embeddings:
        """Wait; (n, dim) float32, one row per crop in order, the caller's to keep. Raises EngineFault or
        EngineLost.
        """
        ...


class Engine(Protocol):
    """A loaded model on a device. `submit` and `result` are called from several threads at once."""

    @property
    def spec(self) -> ModelSpec:
        """What it embeds, and how."""
        ...

    @property
    def limits(self) -> EngineLimits:
        """Fixed for its life."""
        ...

    @property
    def info(self) -> EngineInfo:
        """Fixed for its life."""
        ...

    def health(self) -> Health:
        """LOST is for good."""
        ...

    def submit(self, crops: Sequence[Crop]) -> Ticket:
        """Start a batch of 1 to `limits.max_batch` crops. Their frames stay staged until its result is there."""
        ...

    def close(self) -> None:
        """Release everything; no ticket may be open."""
        ...
