"""The whole chain on a fake device: context, stager, and an engine of any ONNX file."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reidstream_engines.cuda.decoders import CpuFrameDecoder, DeviceDecoder
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.stager import CudaFrame, CudaStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.turbojpeg import find_turbojpeg
from reidstream_engines.image import Image
from reidstream_engines.spec import ModelSpec
from reidstream_engines.tensorrt.engine import TensorRtEngine
from reidstream_engines.tensorrt.messages import Messages
from reidstream_engines.tensorrt.opened_plan import OpenedPlan, open_plan
from tests.unit.engines.cuda.fake_driver import FakeDriver, image
from tests.unit.engines.tensorrt.fake_tensorrt import FakeRuntime, Script

STAGED_BYTES = 512 << 20


@dataclass(frozen=True, kw_only=True)
class Rig:
    driver: FakeDriver
    context: Context
    stager: CudaStager
    opened: OpenedPlan
    script: Script
    frames: ExitStack

    def stage(self, image: Image) -> CudaFrame:
        """Whole, and closed at the end."""
        return self.frames.enter_context(self.stager.stage(image, ()))

    @property
    def engine(self) -> TensorRtEngine:
        return self.opened.engine


def stager_on(context: Context, max_bytes: int = STAGED_BYTES, on_device: DeviceDecoder | None = None) -> CudaStager:
    decoder = CpuFrameDecoder(JpegDecoder(find_turbojpeg()))
    return CudaStager(context, decoder, max_bytes=max_bytes, on_device=on_device)


def opened_on(
    context: Context, driver: FakeDriver, path: Path, spec: ModelSpec, script: Script, *, max_batch: int, slots: int
) -> OpenedPlan:
    messages = Messages()
    runtime = FakeRuntime(driver, script, messages)
    return open_plan(
        context,
        runtime,
        path.read_bytes(),
        spec,
        crop_kernel=image,
        messages=messages,
        max_batch=max_batch,
        slots=slots,
        precision="fp16" if script.half else "fp32",
    )


@contextmanager
def rig(
    kernel: ctypes.CDLL,
    path: Path,
    spec: ModelSpec,
    script: Script | None = None,
    *,
    max_batch: int = 8,
    slots: int = 2,
) -> Iterator[Rig]:
    """At the end everything is closed, and nothing may be left on the device."""
    driver = FakeDriver(kernel=kernel)
    script = script or Script()
    with Context(driver, 0) as context:
        stager = stager_on(context)
        opened = opened_on(context, driver, path, spec, script, max_batch=max_batch, slots=slots)
        with ExitStack() as frames:
            yield Rig(driver=driver, context=context, stager=stager, opened=opened, script=script, frames=frames)
        opened.engine.close()
        stager.close()
    if not driver.lost:
        assert +driver.live == {}
