"""JPEG decoded by the GPU, in batches, into the memory in which a frame is staged (package nvidia-nvimgcodec).

Why only files with a `JpegLayout`: those are plain baseline JPEGs with their end marker in place. All others, above all
truncated files, go to the CPU's decoders, which are strict. Why batches: the GPU decodes several pictures in little
more time than one, and pictures of different cameras come in different threads.

Traps: the pixels differ a little from the CPU's, since the library computes differently on a GPU. A file that lacks
bytes in its middle may be decoded to wrong pixels, where the CPU's decoders refuse it. And the library would allocate
memory of its own, which nobody counts; so it gets ours, and each time it is checked that it used it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TypeGuard

import cv2
import numpy as np
from typing_extensions import override

from reidstream_engines.cores import usable_cores
from reidstream_engines.errors import DeviceUnavailable
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import EncodedImage, Image, Orientation, PixelFormat

from .decoders import DeviceDecoder, PixelLayout
from .driver import Context, DeviceBuffer, Event, Stream
from .gathering import Gathering
from .nvimgcodec_api import DECODE_EXTRA, CodecImage, CodeStream, Nvimgcodec, installed_nvimgcodec

MOST_AT_ONCE = 16
"""The most pictures in a batch. The library's own memory grows with them, and nobody counts it."""

_OPTIONS = ":fancy_upsampling=1"  # smooth, as in the CPU's decoders
_ADOBE = b"Adobe"
_ADOBE_WITHIN = 1 << 16
_CHANNELS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    code: CodeStream
    layout: PixelLayout
    target: int
    done: Event


class NvimgcodecDecoder(DeviceDecoder):
    """`cores`: as in `usable_cores`. `on_host`: uses the library's CPU decoder, for fake devices, whose memory is this
    machine's.
    """

    def __init__(self, context: Context, package: Nvimgcodec, *, cores: int = 0, on_host: bool = False) -> None:
        kinds = package.BackendKind
        # Not the library's CPU decoder (ours is stricter), nor the GPU's JPEG engine (it upsamples differently).
        used = [kinds.CPU_ONLY] if on_host else [kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU]
        self._package = package
        self._context = context
        self._on_host = on_host
        self._interface = "__array_interface__" if on_host else "__cuda_array_interface__"
        self._params = package.DecodeParams(
            apply_exif_orientation=False,
            color_spec=package.ColorSpec.SRGB,
            allow_any_depth=False,
            sample_format=package.SampleFormat.I_BGR,
        )
        context.use()
        self._stream = Stream(context)
        try:
            self._decoder = package.Decoder(
                device_id=package.NVIMGCODEC_DEVICE_CPU_ONLY if on_host else context.index,
                max_num_cpu_threads=min(MOST_AT_ONCE, usable_cores(cores)),
                backends=[package.Backend(kind) for kind in used],
                options=_OPTIONS,
            )
        except BaseException:
            self._stream.close()
            raise
        self._batches = Gathering(self._decode, most=MOST_AT_ONCE)

    @override
    def takes(self, image: Image) -> TypeGuard[EncodedImage]:
        if not isinstance(image, EncodedImage) or image.layout is None or image.turn is not Orientation.AS_STORED:
            return False  # a picture that is to be turned is turned by the CPU
        return image.data.find(_ADOBE, 0, _ADOBE_WITHIN) < 0  # its RGB would be read as YCbCr

    @override
    def decode(self, image: EncodedImage, layout: PixelLayout, target: int, done: Event) -> bool:
        code = self._opened(image, layout)
        return code is not None and self._batches.run(_Job(code, layout, target, done))

    @override
    def close(self) -> None:
        self._decoder.__exit__(None, None, None)
        self._stream.close()

    def _opened(self, image: EncodedImage, layout: PixelLayout) -> CodeStream | None:
        """The opened picture; None if the library reads another format or size from the header than we do."""
        (x, y), package = layout.origin, self._package
        try:
            code: CodeStream = package.CodeStream(image.data)
            if (code.codec_name, code.width, code.height) != ("jpeg", image.width, image.height):
                return None
            if (layout.width, layout.height) == (image.width, image.height):
                return code
            return code.get_sub_code_stream(region=package.Region(y, x, y + layout.height, x + layout.width))
        except (RuntimeError, ValueError):
            return None

    def _decode(self, jobs: Sequence[_Job]) -> list[bool]:
        try:
            found = self._decoder.decode(
                [job.code for job in jobs],
                images=[self._package.as_image(self._memory(job)) for job in jobs],
                params=self._params,
                cuda_stream=0 if self._on_host else self._stream.address,
            )
        except (RuntimeError, ValueError, MemoryError) as error:  # `record` tells a lost device from a fault
            _log.warning("the GPU decoded none of %d pictures, so the CPU does: %s", len(jobs), error)
            found = [None] * len(jobs)
        self._context.use()  # the library may have set another context
        for job in jobs:
            self._stream.record(job.done)
        return [
            image is not None and self._address(image) == job.target for job, image in zip(jobs, found, strict=True)
        ]

    def _memory(self, job: _Job) -> SimpleNamespace:
        """The target memory, as an object with an array interface."""
        interface = {
            "shape": (job.layout.height, job.layout.width, _CHANNELS),
            "typestr": "|u1",
            "data": (job.target, False),
            "strides": None,
            "version": 3,
        }
        if not self._on_host:
            interface["stream"] = self._stream.address
        return SimpleNamespace(**{self._interface: interface})

    def _address(self, image: CodecImage) -> int:
        return int(getattr(image, self._interface)["data"][0])


def open_nvimgcodec(
    context: Context,
    *,
    cores: int = 0,
    find: Callable[[], Nvimgcodec] = installed_nvimgcodec,
    on_host: bool = False,
) -> NvimgcodecDecoder:
    """A device's decoder, tested with a small picture. Raises PackageMissing, and DeviceUnavailable if it fails."""
    package = find()
    try:
        decoder = NvimgcodecDecoder(context, package, cores=cores, on_host=on_host)
    except RuntimeError as error:
        raise DeviceUnavailable(f"nvimgcodec cannot make a decoder for CUDA device {context.index}: {error}") from error
    try:
        _try(context, decoder)
    except BaseException:
        decoder.close()
        raise
    return decoder


def _try(context: Context, decoder: NvimgcodecDecoder) -> None:
    side = 64
    image = parse_encoded(cv2.imencode(".jpg", np.zeros((side, side, 3), np.uint8))[1].tobytes())
    layout = PixelLayout(format=PixelFormat.BGR, width=side, height=side)
    event = Event(context)
    with closing(event), closing(DeviceBuffer(context, layout.size)) as target:
        decodes = decoder.takes(image) and decoder.decode(image, layout, target.address, event)
        event.synchronize()
    if not decodes:
        raise DeviceUnavailable(
            f"nvimgcodec cannot decode JPEG on CUDA device {context.index}; it needs nvidia-nvjpeg: {DECODE_EXTRA}"
        )
