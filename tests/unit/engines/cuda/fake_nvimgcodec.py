"""nvimgcodec on a fake device: pixels come in their turn on the stream that it was given, and not before."""
# ruff: noqa: N802 - the names are NVIDIA's

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.unit.engines.cuda.fake_driver import FakeDriver

Pixels = NDArray[np.uint8]


@dataclass(kw_only=True)
class FakeStream:
    """A compressed picture."""

    pixels: Pixels
    codec_name: str = "jpeg"

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def get_sub_code_stream(self, *, region: tuple[int, int, int, int]) -> FakeStream:
        y1, x1, y2, x2 = region
        assert 0 <= y1 < y2 <= self.height
        assert 0 <= x1 < x2 <= self.width
        return FakeStream(pixels=self.pixels[y1:y2, x1:x2])


@dataclass
class FakeNvimgcodec:
    """`refuses`: what it cannot decode. `elsewhere`: it takes memory of its own. `misread`: it finds another size.
    `error`: a whole batch fails.
    """

    driver: FakeDriver
    refuses: Callable[[Pixels], bool] = lambda _: False
    elsewhere: bool = False
    misread: bool = False
    error: Exception | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    closed: int = 0

    NVIMGCODEC_DEVICE_CPU_ONLY = -99999
    BackendKind = SimpleNamespace(CPU_ONLY="cpu", GPU_ONLY="gpu", HYBRID_CPU_GPU="hybrid", HW_GPU_ONLY="engine")
    ColorSpec = SimpleNamespace(SRGB="srgb")
    SampleFormat = SimpleNamespace(I_BGR="bgr")

    def Backend(self, kind: str) -> str:
        return kind

    def DecodeParams(self, **params: object) -> dict[str, object]:
        return params

    def Region(self, *edges: int) -> tuple[int, ...]:
        return edges

    def CodeStream(self, data: bytes) -> FakeStream:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if found is None:
            raise RuntimeError("Failed to get image info")
        return FakeStream(pixels=np.asarray(found, np.uint8)[int(self.misread) :])

    def Decoder(self, **asked: object) -> FakeNvimgcodec:
        self.asked.append(asked)
        return self

    def as_image(self, source: Any) -> Any:
        interface = source.__cuda_array_interface__
        size = int(np.prod(interface["shape"]))
        self.driver.memory_at(interface["data"][0], size)
        return source

    def decode(
        self, srcs: Sequence[FakeStream], *, images: Sequence[Any], params: dict[str, object], cuda_stream: int
    ) -> list[Any]:
        assert params["sample_format"] == "bgr"
        self.batches.append(len(srcs))
        self.driver._current.device = 1  # as a library may leave it
        if self.error is not None:
            raise self.error
        return [self._decode(code, image, cuda_stream) for code, image in zip(srcs, images, strict=True)]

    def __exit__(self, *raised: object) -> None:
        self.closed += 1

    def _decode(self, code: FakeStream, image: Any, stream: int) -> Any:
        interface = image.__cuda_array_interface__
        assert interface["stream"] == stream
        assert interface["shape"] == code.pixels.shape
        if self.refuses(code.pixels):
            return None
        address, size = interface["data"][0], code.pixels.size

        def write() -> None:
            self.driver.memory_at(address, size)[:] = code.pixels.ravel()

        self.driver.enqueue(stream, write)
        if self.elsewhere:
            return SimpleNamespace(__cuda_array_interface__={**interface, "data": (address + 4096, False)})
        return image
