"""A device and an engine without a network, for tests and load benchmarks: deterministic, and faulty on demand.

Why: whether a server handles crops correctly does not depend on what the vectors mean. Here a vector is a hash of the
picture's bytes and the box, so a row that reaches the wrong box, frame or camera is noticed (`fake_embedding` gives the
right one). Trap: nothing is decoded. Two encodings of one picture have different vectors, and damaged pictures are
accepted unless `refuse` says otherwise.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from typing_extensions import Self, assert_never, override

from .errors import EngineFault, EngineLost, InvalidImage
from .image import EncodedImage, Image, PixelBox, RawImage
from .protocol import (
    BoxCrop,
    Crop,
    DeviceUsage,
    Embeddings,
    Engine,
    EngineInfo,
    EngineLimits,
    Health,
    StagedFrame,
    Stager,
    TensorCrop,
    Ticket,
)
from .spec import ColorOrder, CropRule, Fit, InputSpec, ModelSpec, OutputSpec, Resize

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeScript:
    """What a FakeEngine costs and what goes wrong.

    `seconds_per_batch`, `seconds_per_crop`: their sum is passed to `sleep` in `Ticket.result`, unless it is 0.
    `failing_batches`, `lost_at`: numbers of batches in the order of `submit`, from 0. A failing one raises EngineFault;
    from `lost_at` on every batch raises EngineLost.
    `poison`: a batch raises EngineFault if this is true of one of its crops.
    """

    seconds_per_batch: float = 0.0
    seconds_per_crop: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    failing_batches: frozenset[int] = frozenset()
    lost_at: int | None = None
    poison: Callable[[Crop], bool] | None = None


def fake_spec(name: str = "fake", dim: int = 32) -> ModelSpec:
    """The spec of a fake model; its space depends on `dim` only."""
    digest = hashlib.sha256(f"fake {dim}".encode()).hexdigest()
    return ModelSpec(
        name=name,
        profile="fake",
        artifact_sha256=digest,
        space_id=f"1:{digest}",
        input=InputSpec(
            name="input",
            width=128,
            height=256,
            color_order=ColorOrder.RGB,
            resize=Resize.OPENCV_BILINEAR,
            fit=Fit.STRETCH,
            crop_rule=CropRule.EXACT,
            scale=1.0,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
        output=OutputSpec(name="embedding", dim=dim, l2_normalize=True),
    )


def fake_embedding(image: Image, box: PixelBox, dim: int) -> Embeddings:
    """The vector (dim,) that a FakeEngine gives for this box of this image. Norm 1."""
    return _vector(_box_key(_digest(image), box), dim)


class FakeFrame(StagedFrame):
    """A picture's hash in place of its pixels."""

    __slots__ = ("_closed", "_digest", "_on_close", "image_size")

    def __init__(self, image: Image, on_close: Callable[[], None]) -> None:
        self.image_size = (image.width, image.height)
        self._digest = _digest(image)
        self._on_close = [on_close]
        self._closed = False

    @property
    def digest(self) -> bytes:
        """Raises EngineFault once the frame is closed, as real pixels do."""
        if self._closed:
            raise EngineFault("a staged frame was used after it was closed")
        return self._digest

    @override
    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(IndexError):  # closed before; taking from a list is atomic
            self._on_close.pop()()

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class FakeStager(Stager):
    """Stages by hashing. `seconds` is passed to `sleep` for each picture; `refuse` makes a picture InvalidImage."""

    def __init__(
        self,
        *,
        seconds: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        refuse: Callable[[Image], bool] | None = None,
    ) -> None:
        self._seconds = seconds
        self._sleep = sleep
        self._refuse = refuse
        self._open = 0
        self._lock = threading.Lock()

    @property
    def open_frames(self) -> int:
        """Frames that were staged and are not closed yet."""
        return self._open

    @override
    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> FakeFrame:
        if self._seconds:
            self._sleep(self._seconds)
        if self._refuse is not None and self._refuse(image):
            raise InvalidImage("refused by script")
        frame = FakeFrame(image, self._closed_one)
        with self._lock:
            self._open += 1
        return frame

    @override
    def instant(self, image: Image) -> bool:
        """As on a CPU, for raw pixels, unless staging takes time here."""
        return isinstance(image, RawImage) and not self._seconds

    @override
    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        """Three bytes a pixel, as if it were decoded."""
        return image.width * image.height * 3

    @override
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        """What the script says."""
        return round(self._seconds * 1_000_000_000)

    @override
    def devices(self) -> tuple[DeviceUsage, ...]:
        """As on a CPU."""
        return ()

    def _closed_one(self) -> None:
        with self._lock:
            self._open -= 1


class FakeTicket(Ticket):
    """Vectors that are ready, or the fault that comes instead."""

    __slots__ = ("_engine", "_keys", "_poisoned", "_serial")

    def __init__(self, engine: FakeEngine, serial: int, keys: list[bytes], poisoned: list[int]) -> None:
        self._engine = engine
        self._serial = serial
        self._keys = keys
        self._poisoned = poisoned

    @override
    def result(self) -> Embeddings:
        return self._engine.compute(self._serial, self._keys, self._poisoned)


class FakeEngine(Engine):
    """Takes boxes of frames staged by a FakeStager, and tensors of any shape."""

    def __init__(
        self,
        spec: ModelSpec | None = None,
        *,
        max_batch: int = 8,
        slots: int = 2,
        cores: int = 0,
        script: FakeScript | None = None,
    ) -> None:
        self._spec = fake_spec() if spec is None else spec
        self._limits = EngineLimits(max_batch=max_batch, slots=slots, cores=cores)
        self._script = FakeScript() if script is None else script
        self._serials = itertools.count()
        self._lost = False

    @property
    @override
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    @override
    def limits(self) -> EngineLimits:
        return self._limits

    @property
    @override
    def info(self) -> EngineInfo:
        return EngineInfo(engine="fake", device="none", precision="fp32")

    @override
    def health(self) -> Health:
        """LOST from the script's `lost_at` on."""
        return Health.LOST if self._lost else Health.SERVING

    @override
    def submit(self, crops: Sequence[Crop]) -> FakeTicket:
        if not 1 <= len(crops) <= self._limits.max_batch:
            raise EngineFault(f"a batch has 1 to {self._limits.max_batch} crops, not {len(crops)}")
        serial = next(self._serials)
        poison = self._script.poison
        poisoned = [row for row, crop in enumerate(crops) if poison is not None and poison(crop)]
        return FakeTicket(self, serial, [_key(crop) for crop in crops], poisoned)

    def compute(self, serial: int, keys: Sequence[bytes], poisoned: Sequence[int]) -> Embeddings:
        """The work of `FakeTicket.result`."""
        script = self._script
        if script.lost_at is not None and serial >= script.lost_at:
            self._lost = True
        if self._lost:
            raise EngineLost("lost by script")
        seconds = script.seconds_per_batch + script.seconds_per_crop * len(keys)
        if seconds:
            script.sleep(seconds)
        if serial in script.failing_batches:
            raise EngineFault(f"batch {serial} fails by script")
        if poisoned:
            raise EngineFault(f"poisoned crops in rows {list(poisoned)}")
        return np.stack([_vector(key, self._spec.output.dim) for key in keys])

    @override
    def close(self) -> None:
        """Nothing is held."""


def _digest(image: Image) -> bytes:
    match image:
        case EncodedImage():
            layout = b"encoded"
        case RawImage():
            layout = f"{image.format.value} {image.width} {image.height} {image.stride} {image.offset}".encode()
        case _:
            assert_never(image)
    digest = hashlib.blake2b(image.data, digest_size=_DIGEST_BYTES)
    digest.update(layout)
    return digest.digest()


def _box_key(digest: bytes, box: PixelBox) -> bytes:
    return digest + struct.pack("<4I", box.x1, box.y1, box.x2, box.y2)


def _key(crop: Crop) -> bytes:
    match crop:
        case BoxCrop(frame=FakeFrame() as frame, box=box):
            return _box_key(frame.digest, box)
        case BoxCrop():
            raise EngineFault("a crop's frame was not staged by a FakeStager")
        case TensorCrop(tensor=tensor):
            return hashlib.blake2b(tensor.tobytes(), digest_size=_DIGEST_BYTES).digest()
        case _:
            assert_never(crop)


def _vector(key: bytes, dim: int) -> Embeddings:
    numbers = np.frombuffer(hashlib.shake_128(key).digest(2 * dim), "<u2").astype(np.float32) - np.float32(32767.5)
    return numbers / np.linalg.norm(numbers)
