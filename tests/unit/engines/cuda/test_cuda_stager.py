"""Frames come to the device as the CPU engine has them, once, and their memory goes back when nothing reads it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.memory import size_class
from reidstream_engines.cuda.stager import CudaFrame, CudaStager
from reidstream_engines.errors import EngineFault, EngineLost, InvalidImage, OutOfDeviceMemory
from reidstream_engines.headers import parse_encoded, parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, Image, PixelBox, PixelFormat
from tests.unit.engines.cuda.fake_driver import FakeDriver
from tests.unit.engines.cuda.rig import stager_on

WIDTH, HEIGHT = 96, 64
BOX = PixelBox(x1=40, y1=10, x2=60, y2=30)


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def stager(driver: FakeDriver) -> Iterator[CudaStager]:
    with Context(driver, 0) as context:
        made = stager_on(context)
        yield made
        made.close()
    assert driver.lost or +driver.live == {}


def pixels(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    blocks = np.random.default_rng(3).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def encoded(suffix: str) -> Image:
    done, data = cv2.imencode(suffix, pixels())
    assert done
    return parse_encoded(data.tobytes())


def raw(kind: PixelFormat, stride: int, chroma_stride: int = 0) -> Image:
    rows = HEIGHT if kind is not PixelFormat.NV12 else HEIGHT * 3 // 2
    return parse_raw(
        data=np.random.default_rng(4).integers(0, 256, stride * rows + 10, np.uint8).tobytes(),
        format=kind,
        width=WIDTH,
        height=HEIGHT,
        stride=stride,
        offset=10,
        chroma_stride=chroma_stride,
        chroma_offset=10 + stride * HEIGHT if chroma_stride else 0,
        color_matrix=ColorMatrix.BT709,
        color_range=ColorRange.FULL,
    )


def on_device(driver: FakeDriver, frame: CudaFrame, channels: int) -> NDArray[np.uint8]:
    found = frame.pixels
    assert found.pitch == found.width * channels
    frame.ready.synchronize()
    return driver.memory_at(found.data, found.pitch * found.height).reshape(found.height, found.width, channels)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_compressed_pictures(driver: FakeDriver, stager: CudaStager, suffix: str) -> None:
    """The CPU engine's very pixels."""
    image = encoded(suffix)
    with stager.stage(image, ()) as frame, CpuStager().stage(image, ()) as expected:
        np.testing.assert_array_equal(on_device(driver, frame, 3), expected.pixels)


@pytest.mark.needs("turbojpeg")
def test_only_a_region_is_uploaded(driver: FakeDriver, stager: CudaStager) -> None:
    """What the decoder decodes for the boxes; crops are taken from its origin on."""
    done, data = cv2.imencode(".jpg", pixels(640, 480))
    assert done
    image = parse_encoded(data.tobytes())
    with stager.stage(image, [BOX]) as frame, CpuStager().stage(image, [BOX]) as expected:
        x, y = frame.origin
        cut = on_device(driver, frame, 3)[BOX.y1 - y : BOX.y2 - y, BOX.x1 - x : BOX.x2 - x]
        np.testing.assert_array_equal(cut, expected.cut(BOX))
        assert driver.copied["cuMemcpyHtoDAsync"] == frame.pixels.pitch * frame.pixels.height < 640 * 480
        assert stager.usage().in_use == stager.staged_bytes(image, [BOX])


@pytest.mark.parametrize(("kind", "channels"), [(PixelFormat.BGR, 3), (PixelFormat.RGB, 3), (PixelFormat.GRAY, 1)])
def test_raw_pictures_lose_their_gaps(driver: FakeDriver, stager: CudaStager, kind: PixelFormat, channels: int) -> None:
    """And nothing else."""
    image = raw(kind, WIDTH * channels + 13)
    with stager.stage(image, ()) as frame, CpuStager().stage(image, ()) as expected:
        assert frame.pixels.format is kind
        found = on_device(driver, frame, channels)
        np.testing.assert_array_equal(found, expected.pixels.reshape(found.shape))


def test_nv12_stays_nv12(driver: FakeDriver, stager: CudaStager) -> None:
    """Half the bytes of BGR; the kernel converts it."""
    image = raw(PixelFormat.NV12, WIDTH + 4, WIDTH + 4)
    with stager.stage(image, ()) as frame:
        luma = on_device(driver, frame, 1)
        found = frame.pixels
        chroma = driver.memory_at(found.chroma, found.chroma_pitch * found.height // 2)
        assert (found.color_matrix, found.color_range) == (ColorMatrix.BT709, ColorRange.FULL)
    assert not isinstance(image.data, memoryview)
    planes = np.frombuffer(image.data, np.uint8)[10:].reshape(-1, WIDTH + 4)[:, :WIDTH]
    np.testing.assert_array_equal(luma[:, :, 0], planes[:HEIGHT])
    np.testing.assert_array_equal(chroma.reshape(-1, WIDTH), planes[HEIGHT : HEIGHT * 3 // 2])
    assert driver.copied["cuMemcpyHtoDAsync"] == WIDTH * HEIGHT * 3 // 2


def test_memory_is_used_again(driver: FakeDriver, stager: CudaStager) -> None:
    """A hundred frames, one after the other: two blocks pinned at most, one on the device."""
    image = encoded(".jpg")
    for _ in range(100):
        stager.stage(image, ()).close()
    assert driver.calls["cuMemAlloc"] == 1
    assert driver.calls["cuMemHostAlloc"] == 1
    assert stager.uploads == 100
    assert stager.usage().in_use == 0


def test_a_closed_frame_is_not_used(stager: CudaStager) -> None:
    """Its memory may hold another one; closing again does nothing."""
    frame = stager.stage(encoded(".png"), ())
    frame.close()
    frame.close()
    with pytest.raises(EngineFault, match="after it was closed"):
        _ = frame.pixels


def test_the_bytes_are_counted_as_they_are_taken(stager: CudaStager) -> None:
    """What admission counts is what the pool counts."""
    image = raw(PixelFormat.BGR, WIDTH * 3)
    assert not stager.instant(image)
    with stager.stage(image, ()):
        assert stager.usage().in_use == stager.staged_bytes(image, ()) == size_class(WIDTH * HEIGHT * 3)


def test_a_bad_picture_takes_nothing(stager: CudaStager) -> None:
    """An ImageError, as on the CPU."""
    done, data = cv2.imencode(".jpg", pixels())
    assert done
    broken = parse_encoded(data.tobytes()[: len(data) // 2])
    with pytest.raises(InvalidImage):
        stager.stage(broken, ())
    assert stager.usage().in_use == 0
    stager.stage(encoded(".jpg"), ()).close()


def test_more_than_fits(driver: FakeDriver) -> None:
    """The newest frame is refused; the others stay."""
    with Context(driver, 0) as context:
        stager = stager_on(context, max_bytes=size_class(WIDTH * HEIGHT * 3))
        with stager.stage(encoded(".png"), ()), pytest.raises(OutOfDeviceMemory):
            stager.stage(encoded(".png"), ())
        stager.stage(encoded(".png"), ()).close()
        stager.close()


@pytest.mark.parametrize("call", ["cuMemcpyHtoDAsync", "cuEventRecord", "cuMemAlloc", "cuMemHostAlloc"])
@pytest.mark.parametrize(("status", "error"), [("INVALID_VALUE", EngineFault), ("ECC_UNCORRECTABLE", EngineLost)])
def test_a_call_fails(driver: FakeDriver, stager: CudaStager, call: str, status: str, error: type[Exception]) -> None:
    """Nothing is kept of the frame; after a fault the next one is staged."""
    driver.fail(call, status)
    with pytest.raises(error, match=call):
        stager.stage(encoded(".jpg"), ())
    assert stager.usage().in_use == 0
    if error is EngineFault:
        stager.stage(encoded(".jpg"), ()).close()


def test_threads_stage_at_once(driver: FakeDriver, stager: CudaStager) -> None:
    """Each from a thread that never saw the device before."""
    images = [encoded(".jpg"), encoded(".png"), raw(PixelFormat.BGR, WIDTH * 3)] * 8
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(lambda image: stager.stage(image, ()), images))
    cpu = CpuStager()
    for image, frame in zip(images, frames, strict=True):
        with cpu.stage(image, ()) as expected, frame:
            np.testing.assert_array_equal(on_device(driver, frame, 3), expected.pixels)
    assert stager.uploads == len(images)
