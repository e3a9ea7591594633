"""JPEG decoded by the GPU beside the CPU's decoder: how far apart pixels and vectors are, and how fast each is.

Why no target: the two have different arithmetic, and the operator chooses; these figures are what they need to know.
Trap: the CPU's rate is that of all cores, which then do nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import numpy.typing as npt

from bench.load.pictures import Content, Pictures
from reidstream_engines.cores import usable_cores
from reidstream_engines.cuda.decoders import CpuFrameDecoder, DeviceDecoder
from reidstream_engines.cuda.driver import PinnedBuffer, Stream
from reidstream_engines.cuda.stager import CudaFrame, CudaStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.turbojpeg import find_turbojpeg
from reidstream_engines.errors import DeviceUnavailable, PackageMissing
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import EncodedImage, PixelBox
from reidstream_proto.v1 import service_pb2

from .golden import golden_with
from .launch import Machine
from .report import Check, Outcome, measured

_STAGED = 1 << 30
_THREADS_MOST = 16


def gpu_decode(machine: Machine) -> Iterator[Check]:
    """Skipped, with the reason, where the device does not decode."""
    try:
        decoder = machine.open_decoder(machine.context)
    except (DeviceUnavailable, PackageMissing) as error:
        yield Check(name="decoding on the GPU", outcome=Outcome.SKIPPED, value=str(error))
        return
    with closing(_stager(machine, decoder)) as there, closing(_stager(machine, None)) as here:
        images = _pictures()
        apart = np.concatenate([_apart(machine, there, here, image) for image in images])
        value = (
            f"{(apart > 0).mean():.2%} of the values differ, by {apart.max()} at most, by {apart.mean():.4f} on average"
        )
        yield measured(f"decoding on the GPU, {there.decoded} of {len(images)} pictures: pixels", value)
        rates = {name: _rate(machine, stager, images) for name, stager in (("GPU", there), ("CPU", here))}
        threads = min(usable_cores(), _THREADS_MOST)
        value = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()) + f" frames/s, {threads} threads"
        yield measured("staging 1080p JPEGs of 350 kB", value)
    yield from golden_with(machine, "decoded on the GPU", lambda: machine.open_decoder(machine.context))


def _stager(machine: Machine, decoder: DeviceDecoder | None) -> CudaStager:
    jpeg = JpegDecoder(find_turbojpeg())
    return CudaStager(machine.context, CpuFrameDecoder(jpeg), max_bytes=_STAGED, on_device=decoder)


def _pictures() -> list[EncodedImage]:
    messages = Pictures(content=Content.FRAME).messages()
    return [parse_encoded(service_pb2.EmbedStreamRequest.FromString(item).frame.encoded.data) for item in messages]


def _whole(image: EncodedImage) -> Sequence[PixelBox]:
    return [PixelBox(x1=0, y1=0, x2=image.width, y2=image.height)]


def _apart(machine: Machine, there: CudaStager, here: CudaStager, image: EncodedImage) -> npt.NDArray[np.int16]:
    with there.stage(image, _whole(image)) as one, here.stage(image, _whole(image)) as other:
        found, expected = (_pixels(machine, frame).astype(np.int16) for frame in (one, other))
    return np.asarray(np.abs(found - expected))


def _pixels(machine: Machine, frame: CudaFrame) -> npt.NDArray[np.uint8]:
    pixels = frame.pixels
    size = pixels.pitch * pixels.height
    with closing(Stream(machine.context)) as stream, closing(PinnedBuffer(machine.context, size)) as back:
        stream.wait(frame.ready)
        stream.download(back.address, pixels.data, size)
        stream.synchronize()
        return back.array.copy()


def _rate(machine: Machine, stager: CudaStager, images: Sequence[EncodedImage]) -> float:
    """Frames staged and uploaded in a second, with a thread for each core."""
    threads = min(usable_cores(), _THREADS_MOST)

    def work(first: int) -> None:
        for turn in range(machine.repeats):
            image = images[(first + turn) % len(images)]
            with stager.stage(image, _whole(image)) as frame:
                frame.ready.synchronize()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
        begun = time.perf_counter()
        list(pool.map(work, range(threads)))
    return threads * machine.repeats / (time.perf_counter() - begun)
