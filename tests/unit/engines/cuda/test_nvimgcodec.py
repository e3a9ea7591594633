"""JPEG decoded by nvimgcodec: its CPU decoder has the CPU engine's very pixels, and what it leaves is decoded here.

A fake device's memory is this machine's, so the library's CPU decoder writes where a GPU's would. Streams, events and
the way memory is handed over to a GPU are driven with a fake of the library.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PilImage

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.memory import size_class
from reidstream_engines.cuda.nvimgcodec import MOST_AT_ONCE, NvimgcodecDecoder, open_nvimgcodec
from reidstream_engines.cuda.nvimgcodec_api import Nvimgcodec, installed_nvimgcodec
from reidstream_engines.cuda.stager import CudaFrame, CudaStager
from reidstream_engines.errors import (
    DeviceUnavailable,
    EngineFault,
    EngineLost,
    ImageError,
    InvalidImage,
    OutOfDeviceMemory,
    PackageMissing,
)
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import EncodedImage, PixelBox
from tests.support.patience import HANG_S
from tests.unit.engines.cuda.fake_driver import FakeDriver
from tests.unit.engines.cuda.fake_nvimgcodec import FakeNvimgcodec
from tests.unit.engines.cuda.rig import STAGED_BYTES, stager_on

Pixels = NDArray[np.uint8]

SAMPLINGS = {
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
DECLINED = ("progressive", "png", "webp", "rgb", "no end")


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """A stager on a fake device, whose decoder is nvimgcodec."""

    driver: FakeDriver
    stager: CudaStager
    decoder: NvimgcodecDecoder

    def pixels(self, frame: CudaFrame) -> Pixels:
        found = frame.pixels
        frame.ready.synchronize()
        shape = (found.height, found.width, 3)
        return self.driver.memory_at(found.data, found.pitch * found.height).reshape(shape).copy()


class Refusing:
    """The package, whose decoder does not know pictures of this width, and begins when it is let go."""

    def __init__(self, width: int) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.batches: list[int] = []
        self._package = installed_nvimgcodec()
        self._width = width
        self._decoder: Any = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._package, name)

    def Decoder(self, **asked: object) -> Refusing:  # noqa: N802 - NVIDIA's
        self._decoder = self._package.Decoder(**asked)
        return self

    def decode(self, srcs: Sequence[Any], **rest: object) -> list[object]:
        self.begun.set()
        assert self.go.wait(HANG_S)
        self.batches.append(len(srcs))
        garbage = self._package.CodeStream(b"garbage")
        return list(self._decoder.decode([garbage if code.width == self._width else code for code in srcs], **rest))

    def __exit__(self, *raised: object) -> None:
        self._decoder.__exit__(*raised)


def opened(stack: ExitStack, package: object = None, max_bytes: int = STAGED_BYTES) -> Decoding:
    """With nvimgcodec's CPU decoder if `package` is None, the real thing or a wrapper of it; else as on a GPU."""
    driver = FakeDriver()
    context = stack.enter_context(Context(driver, 0))
    fake = isinstance(package, FakeNvimgcodec)
    if isinstance(package, FakeNvimgcodec):
        package.driver = driver
    found = cast("Nvimgcodec", package or installed_nvimgcodec())
    decoder = NvimgcodecDecoder(context, found, on_host=not fake)
    stager = stager_on(context, max_bytes, on_device=decoder)
    stack.callback(stager.close)
    return Decoding(driver=driver, stager=stager, decoder=decoder)


@pytest.fixture(scope="module")
def decoding() -> Iterator[Decoding]:
    with ExitStack() as stack:
        made = opened(stack)
        yield made
    assert +made.driver.live == {}


@pytest.fixture
def package() -> FakeNvimgcodec:
    return FakeNvimgcodec(FakeDriver())


@pytest.fixture
def device(package: FakeNvimgcodec) -> Iterator[Decoding]:
    """As on a GPU."""
    with ExitStack() as stack:
        made = opened(stack, package)
        yield made
    assert made.driver.lost or +made.driver.live == {}
    assert package.closed == 1


def picture(width: int, height: int, seed: int = 0) -> Pixels:
    """Hard edges in colour, so that every chroma sample differs from its neighbours."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def jpeg(pixels: Pixels, *parameters: int) -> EncodedImage:
    done, data = cv2.imencode(".jpg", pixels, list(parameters))
    assert done
    return parse_encoded(data.tobytes())


def whole(image: EncodedImage) -> list[PixelBox]:
    return [PixelBox(x1=0, y1=0, x2=image.width, y2=image.height)]


def declined(kind: str) -> EncodedImage:
    pixels = picture(96, 64)
    match kind:
        case "progressive":
            return jpeg(pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
        case "rgb":
            target = io.BytesIO()
            PilImage.fromarray(pixels).save(target, "JPEG", keep_rgb=True)
            return parse_encoded(target.getvalue())
        case "no end":
            return parse_encoded(jpeg(pixels).data + bytes(1000))
        case _:
            done, data = cv2.imencode(f".{kind}", pixels)
            assert done
            return parse_encoded(data.tobytes())


def assert_same(decoding: Decoding, image: EncodedImage, boxes: Sequence[PixelBox]) -> None:
    """Decoded there, with every box's pixels as the CPU engine has them."""
    before = decoding.stager.decoded
    with decoding.stager.stage(image, boxes) as frame, CpuStager().stage(image, boxes) as expected:
        assert decoding.stager.decoded == before + 1
        x, y = frame.origin
        found = decoding.pixels(frame)
        for box in boxes:
            np.testing.assert_array_equal(found[box.y1 - y : box.y2 - y, box.x1 - x : box.x2 - x], expected.cut(box))


@pytest.mark.needs("nvimgcodec")
@settings(deadline=None)
@given(
    sampling=st.sampled_from(list(SAMPLINGS)),
    grey=st.booleans(),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    quality=st.integers(1, 100),
    restart=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_the_cpu_decoders_pixels(
    decoding: Decoding, sampling: str, *, grey: bool, size: tuple[int, int], quality: int, restart: int, seed: int
) -> None:
    """Grey and every sampling, odd sizes, restart markers."""
    pixels = picture(*size, seed)
    options = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, restart)
    sampled = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling])
    image = jpeg(pixels[:, :, 0], *options) if grey else jpeg(pixels, *options, *sampled)
    assert_same(decoding, image, whole(image))


@pytest.mark.needs("nvimgcodec")
@settings(deadline=None)
@given(sampling=st.sampled_from(list(SAMPLINGS)), x=st.integers(0, 299), y=st.integers(0, 199), side=st.integers(1, 90))
def test_a_region(decoding: Decoding, sampling: str, x: int, y: int, side: int) -> None:
    """What the CPU would decode for the box, and no byte more."""
    image = jpeg(picture(301, 203), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling])
    box = PixelBox(x1=x, y1=y, x2=min(301, x + side), y2=min(203, y + side))
    assert_same(decoding, image, [box])
    with decoding.stager.stage(image, [box]):
        assert decoding.stager.usage().in_use == decoding.stager.staged_bytes(image, [box])


@pytest.mark.needs("nvimgcodec")
def test_orientation_is_ignored_unless_it_is_asked_for(decoding: Decoding) -> None:
    """As the contract has it: boxes are pixels of the picture as it is stored. The CPU turns what is to be turned."""
    exif = PilImage.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    target = io.BytesIO()
    PilImage.fromarray(picture(64, 64)).save(target, "JPEG", exif=exif)
    image = parse_encoded(target.getvalue())
    assert_same(decoding, image, whole(image))
    turned = parse_encoded(target.getvalue(), upright=True)
    with decoding.stager.stage(turned, whole(turned)) as frame, CpuStager().stage(turned, ()) as expected:
        np.testing.assert_array_equal(decoding.pixels(frame), expected.pixels)


@pytest.mark.needs("nvimgcodec", "shared-data")
def test_real_frames(decoding: Decoding, shared_data: Path) -> None:
    """Every frame, whole."""
    paths = sorted((shared_data / "frames").rglob("*.jpg"))
    assert paths
    for path in paths:
        image = parse_encoded(path.read_bytes())
        assert image.layout is not None
        assert_same(decoding, image, whole(image))


@pytest.mark.needs("nvimgcodec")
@pytest.mark.parametrize("kind", DECLINED)
def test_what_it_is_not_for(decoding: Decoding, kind: str) -> None:
    """Decoded here and copied, as without it."""
    image = declined(kind)
    before = decoding.stager.decoded, decoding.stager.uploads
    with decoding.stager.stage(image, whole(image)) as frame, CpuStager().stage(image, ()) as expected:
        np.testing.assert_array_equal(decoding.pixels(frame), expected.pixels)
    assert (decoding.stager.decoded, decoding.stager.uploads) == (before[0], before[1] + 1)


@pytest.mark.needs("nvimgcodec")
def test_no_boxes(decoding: Decoding) -> None:
    """All of the picture is looked at then: bytes that are missing in its middle are noticed."""
    data = jpeg(picture(300, 200)).data
    broken = parse_encoded(data[: len(data) // 2] + data[len(data) // 2 + 1400 :])
    assert broken.layout is not None
    with pytest.raises(InvalidImage):
        decoding.stager.stage(broken, ())


@pytest.mark.needs("nvimgcodec")
@pytest.mark.parametrize("left", [0.2, 0.5, 0.9, 0.999])
def test_truncated(decoding: Decoding, left: float) -> None:
    """Refused, as on the CPU, and nothing is kept."""
    data = jpeg(picture(300, 200)).data
    image = parse_encoded(data[: int(len(data) * left)])
    with pytest.raises(InvalidImage):
        decoding.stager.stage(image, whole(image))
    assert decoding.stager.usage().in_use == 0


@pytest.mark.needs("nvimgcodec")
@settings(deadline=None)
@given(seed=st.integers(0, 1 << 32), flips=st.integers(1, 30))
def test_damaged(decoding: Decoding, seed: int, flips: int) -> None:
    """A picture or an ImageError: nothing else comes out, and nothing is written beyond the frame's memory."""
    rng = np.random.default_rng(seed)
    data = bytearray(jpeg(picture(120, 90)).data)
    for at in rng.integers(2, len(data) - 2, flips):
        data[at] = rng.integers(0, 256)
    try:
        image = parse_encoded(bytes(data))
        frame = decoding.stager.stage(image, whole(image)[:1] if image.width * image.height < 1 << 20 else ())
    except ImageError:
        return
    with frame:
        assert decoding.pixels(frame).shape == (image.height, image.width, 3)


@pytest.mark.needs("nvimgcodec")
def test_batch_mates_are_unharmed() -> None:
    """Some of a batch are not decoded there: they are decoded here, the others where they were."""
    images = [jpeg(picture(96 + n % 4, 64, n)) for n in range(13)]
    with ExitStack() as stack:
        package = Refusing(width=97)
        decoding = opened(stack, package)
        pool = stack.enter_context(ThreadPoolExecutor(len(images)))
        futures = [pool.submit(decoding.stager.stage, image, whole(image)) for image in images[:1]]
        assert package.begun.wait(HANG_S)
        futures += [pool.submit(decoding.stager.stage, image, whole(image)) for image in images[1:]]
        moment = threading.Event()
        while len(decoding.decoder._batches._waiting) < len(images) - 1:
            moment.wait(0.001)
        package.go.set()
        for image, future in zip(images, futures, strict=True):
            with future.result(HANG_S) as frame, CpuStager().stage(image, ()) as expected:
                np.testing.assert_array_equal(decoding.pixels(frame), expected.pixels)
        assert package.batches == [1, 12]
        assert (decoding.stager.decoded, decoding.stager.uploads) == (10, 3)


@pytest.mark.needs("nvimgcodec")
def test_the_check_at_the_start() -> None:
    """One picture is decoded; it leaves nothing on the device."""
    driver = FakeDriver()
    with Context(driver, 0) as context:
        decoder = open_nvimgcodec(context, on_host=True)
        assert driver.in_use() == 0
        decoder.close()
    assert +driver.live == {}


@pytest.mark.needs("nvimgcodec")
def test_it_says_nothing_about_pictures() -> None:
    """Garbage cannot fill the log; and a process that used it ends well."""
    code = """
import os
from reidstream_engines.cuda.nvimgcodec_api import installed_nvimgcodec
n = installed_nvimgcodec()
d = n.Decoder(device_id=n.NVIMGCODEC_DEVICE_CPU_ONLY, backends=[n.Backend(n.BackendKind.CPU_ONLY)])
print("loaded", file=__import__("sys").stderr, flush=True)
assert d.decode([n.CodeStream(b"garbage")]) == [None]
assert "PYNVIMGCODEC_VERBOSITY" not in os.environ
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYNVIMGCODEC_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=HANG_S, capture_output=True, text=True, env=environment
    )
    assert done.stderr.partition("loaded\n")[2] == ""


@pytest.mark.needs("nvimgcodec")
def test_the_package_takes_our_arguments() -> None:
    """A GPU's, too: it gets as far as looking for the device, and at what the address points to."""
    driver = FakeDriver()
    with Context(driver, 0) as context, pytest.raises(DeviceUnavailable, match="decode"):
        open_nvimgcodec(context)
    assert +driver.live == {}
    package = FakeNvimgcodec(driver)
    seen: list[object] = []
    package.as_image = seen.append  # type: ignore[assignment, method-assign] # a fake
    package.decode = lambda srcs, **_: [None] * len(srcs)  # type: ignore[method-assign] # a fake
    with Context(driver, 0) as context, pytest.raises(DeviceUnavailable, match="cannot decode JPEG"):
        open_nvimgcodec(context, find=lambda: cast("Nvimgcodec", package))
    with pytest.raises(RuntimeError, match="CUDA-accessible"):
        installed_nvimgcodec().as_image(seen[0])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which line installs it."""
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    with Context(FakeDriver(), 0) as context, pytest.raises(PackageMissing, match=r"reidstream-engines\[gpu-decode\]"):
        open_nvimgcodec(context)


# As on a GPU, with a fake of the library.


def test_pixels_come_with_the_event(device: Decoding, package: FakeNvimgcodec) -> None:
    """On a stream, straight to the frame's memory; nothing is copied."""
    image = jpeg(picture(301, 203))
    box = PixelBox(x1=100, y1=100, x2=140, y2=150)
    with device.stager.stage(image, [box]) as frame, CpuStager().stage(image, [box]) as expected:
        x, y = frame.origin
        memory = device.driver.memory_at(frame.pixels.data, frame.pixels.pitch * frame.pixels.height)
        assert (memory == 0xFF).all()
        found = device.pixels(frame)
        np.testing.assert_array_equal(found[box.y1 - y : box.y2 - y, box.x1 - x : box.x2 - x], expected.cut(box))
    assert device.driver.copied["cuMemcpyHtoDAsync"] == 0
    assert (device.stager.decoded, device.stager.uploads) == (1, 0)
    (asked,) = package.asked
    assert asked["device_id"] == 0
    assert asked["backends"] == ["gpu", "hybrid"]


@pytest.mark.parametrize("trouble", ["refused", "elsewhere", "misread", "error"])
def test_what_the_gpu_does_not_decode(device: Decoding, package: FakeNvimgcodec, trouble: str) -> None:
    """Is decoded here: a picture that it refuses or misreads, pixels that it put elsewhere, a batch that failed."""
    package.refuses = lambda _: trouble == "refused"
    package.elsewhere = trouble == "elsewhere"
    package.misread = trouble == "misread"
    package.error = RuntimeError("nvjpeg failed") if trouble == "error" else None
    image = jpeg(picture(96, 64))
    with device.stager.stage(image, whole(image)) as frame, CpuStager().stage(image, ()) as expected:
        np.testing.assert_array_equal(device.pixels(frame), expected.pixels)
    assert (device.stager.decoded, device.stager.uploads) == (0, 1)
    assert device.stager.devices()[0].declined == 1
    assert device.stager.usage().in_use == 0


@pytest.mark.parametrize(("status", "error"), [("INVALID_VALUE", EngineFault), ("ECC_UNCORRECTABLE", EngineLost)])
def test_a_call_fails(device: Decoding, status: str, error: type[Exception]) -> None:
    """Nothing is kept of the frame; after a fault the next one is staged."""
    image = jpeg(picture(96, 64))
    device.driver.fail("cuEventRecord", status)
    with pytest.raises(error, match="cuEventRecord"):
        device.stager.stage(image, whole(image))
    assert device.stager.usage().in_use == 0
    if error is EngineFault:
        device.stager.stage(image, whole(image)).close()
        assert device.stager.decoded == 1


def test_threads_share_batches(device: Decoding, package: FakeNvimgcodec) -> None:
    """All of them have their own pixels, in memory that is used again."""
    images = [jpeg(picture(64 + n, 48, n)) for n in range(64)]
    cpu = CpuStager()

    def check(image: EncodedImage) -> bool:
        with device.stager.stage(image, whole(image)) as frame, cpu.stage(image, ()) as expected:
            return bool(np.array_equal(device.pixels(frame), expected.pixels))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, images))
    assert device.stager.decoded == sum(package.batches) == len(images)
    assert max(package.batches) <= MOST_AT_ONCE


def test_the_bound_holds(package: FakeNvimgcodec) -> None:
    """The newest frame is refused before it is decoded; the others stay."""
    image = jpeg(picture(96, 64))
    with ExitStack() as stack:
        device = opened(stack, package, max_bytes=size_class(96 * 64 * 3))
        with device.stager.stage(image, whole(image)), pytest.raises(OutOfDeviceMemory):
            device.stager.stage(image, whole(image))
        assert sum(package.batches) == 1
        device.stager.stage(image, whole(image)).close()


@pytest.mark.parametrize("trouble", ["no decoder", "decodes nothing"])
def test_a_device_that_decodes_nothing(package: FakeNvimgcodec, trouble: str) -> None:
    """Said at the start, with what to install; nothing is left on the device."""
    driver = package.driver
    if trouble == "no decoder":
        package.Decoder = lambda **_: (_ for _ in ()).throw(RuntimeError("no decoder"))  # type: ignore[method-assign] # a fake
    package.refuses = lambda _: True
    with Context(driver, 0) as context, pytest.raises(DeviceUnavailable, match="decode"):
        open_nvimgcodec(context, find=lambda: cast("Nvimgcodec", package))
    assert +driver.live == {}
