"""What the service may ask of a device and of an engine.

Why two Protocols: staging a frame belongs to the device, since several models look at the same staged frame;
running a network belongs to the engine. Pixels stay where they were staged: no call takes an array of pixels and
returns vectors.

Whoever implements one of these names it as its base, with `@override` on each method. Every member is abstract, so a
class that forgets one cannot be instantiated; `__slots__ = ()` lets a slotted class stay without a dict.

Traps: `submit` may only enqueue; the time is spent in `Ticket.result`. So a caller that keeps two tickets open for an
engine copies one batch while the other computes. And a plain attribute cannot take the place of an inherited property:
implementations have properties, too.
"""

from __future__ import annotations

from abc import abstractmethod
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
    """`max_batch`: the most crops in one `submit`. `slots`: how many open tickets are useful. `cores`: how many of this
    machine's cores a ticket's `result` keeps busy; 0 if a device computes.
    """

    max_batch: int
    slots: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What runs the model. `precision`: what is less than fp32 on the way to a vector, in the file or in the computing,
    such as "int8+bf16"; else "fp32". `fallback_reason`: why not the engine that was preferred; empty if it is that one.
    """

    engine: str
    device: str
    precision: str
    fallback_reason: str = ""


class StagedFrame(Protocol):
    """A frame whose pixels lie where crops are taken. Held until closed; closing twice is harmless. Any thread."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Give the pixels back."""
        ...

    @abstractmethod
    def __enter__(self) -> Self: ...
    @abstractmethod
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUsage:
    """In bytes. `in_use`: held by somebody. `idle`: kept for reuse. `bound`: the most that both may be together."""

    in_use: int
    idle: int
    bound: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUsage:
    """What a stager uses of a device (such as `cuda:0`): its memory, and this machine's pinned memory for copies to it.

    `decoded`: frames that the device has decoded so far. `declined`: frames that it could not decode, so the CPU did.
    """

    device: str
    memory: PoolUsage
    pinned: PoolUsage
    decoded: int
    declined: int


class Stager(Protocol):
    """Brings pictures to the device. Called from several threads at once; blocks while it decodes."""

    __slots__ = ()

    @abstractmethod
    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> StagedFrame:
        """Decode or upload a picture. Raises ImageError if the picture is at fault, EngineLost if the device is lost.

        `boxes`: every rectangle that will be cut from the picture, all inside it. Pixels outside them need not be
        staged, but a picture that is refused for one box is refused for every other. Without boxes the whole picture
        is decoded.
        """
        ...

    @abstractmethod
    def instant(self, image: Image) -> bool:
        """Whether `stage` only points at memory that is there. Then it may be called where nothing may block."""
        ...

    @abstractmethod
    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        """The most memory that `stage(image, boxes)` holds, while it decodes and until the frame is closed. Cheap:
        computed from the header.
        """
        ...

    @abstractmethod
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        """How long `stage(image, boxes)` will keep one core busy, estimated from the header, in nanoseconds; 0 if it
        only points at memory. Cheap: nothing is decoded. Within a factor of two or so (`decoding/cost.py`).
        """
        ...

    @abstractmethod
    def devices(self) -> Sequence[DeviceUsage]:
        """What is used of each device now, in their order. Empty if frames stay in this machine's memory."""
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

    __slots__ = ()

    @abstractmethod
    def result(self) -> Embeddings:
        """Wait for the batch: (n, dim) float32, one row per crop in their order. The caller may keep the array.

        Raises EngineFault or EngineLost.
        """
        ...


class Engine(Protocol):
    """A loaded model on a device. `submit` and `result` are called from several threads at once."""

    __slots__ = ()

    @property
    @abstractmethod
    def spec(self) -> ModelSpec:
        """What it embeds, and how."""
        ...

    @property
    @abstractmethod
    def limits(self) -> EngineLimits:
        """Fixed for its life."""
        ...

    @property
    @abstractmethod
    def info(self) -> EngineInfo:
        """Fixed for its life."""
        ...

    @abstractmethod
    def health(self) -> Health:
        """Whether it can still answer. LOST never changes back."""
        ...

    @abstractmethod
    def submit(self, crops: Sequence[Crop]) -> Ticket:
        """Start a batch of 1 to `limits.max_batch` crops. Keep their frames open until its result is there.

        Raises EngineFault or EngineLost.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Release everything. No ticket may be open."""
        ...
