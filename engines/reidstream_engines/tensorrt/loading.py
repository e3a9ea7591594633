"""From a device's number to engines on it: what it lacks is said first, then plans, kernels and engines are made.

Why one object: what the models of a device share (the context, TensorRT's runtime, the stager's memory) must outlive
all of them, and go in the right order. Trap: TensorRT is not touched before a device was found; without one its next
call ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from reidstream_engines.cpu.jpeg import JpegDecoder
from reidstream_engines.cpu.network import OnnxOptions, open_session
from reidstream_engines.cuda.compile import crop_cubin
from reidstream_engines.cuda.decoding import CpuFrameDecoder
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.driver_api import DriverApi
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.nvimgcodec import open_nvimgcodec
from reidstream_engines.cuda.probe import CudaDevice, probe
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.errors import SpecError
from reidstream_engines.spec import ModelSpec, Resize
from reidstream_engines.spec_source import read_signature, resolve_spec

from .adopt import open_adopted
from .api import Flavour, Runtime, load_tensorrt
from .cache import PlanCache, is_kept
from .manifest import PlanPrecision
from .messages import Messages, logger_for, without_collection
from .opening import CropKernel, Opened, open_plan
from .plans import plan_for
from .progress import LoggedProgress

PLANS = "plans"
"""The plans' folder in the cache."""


def default_cache() -> Path:
    """Where plans and kernels are kept if nobody says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reidstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuOptions:
    """`slots`: batches in flight a model. `max_staged_bytes`: device memory for frames. `cache`: a folder. `decode`:
    JPEG on the device, where it can.
    """

    precision: PlanPrecision = PlanPrecision.FP32
    max_batch: int = 32
    slots: int = 2
    max_staged_bytes: int = 1 << 30
    decode: bool = False
    cache: Path = field(default_factory=default_cache)


class Planner(Protocol):
    """The plan's bytes for a model file on the current device."""

    def __call__(self, path: Path, spec: ModelSpec, device: CudaDevice, options: GpuOptions, /) -> bytes:
        """Raises what `plan_for` does."""
        ...


class Gpu:
    """A device, opened. Used by `with`: whatever was loaded on it must be closed before."""

    def __init__(
        self,
        api: DriverApi,
        device: CudaDevice,
        options: GpuOptions,
        *,
        make_runtime: Callable[[Messages], tuple[Runtime, object]],
        planner: Planner,
        crop_kernel: CropKernel,
    ) -> None:
        """`make_runtime`: TensorRT's, and the logger that must outlive it."""
        self.device = device
        self._options = options
        self._planner = planner
        self._crop_kernel = crop_kernel
        self._messages = Messages()
        self._context = Context(api, device.index)
        try:
            self._context.use()
            self._runtime, self._logger = make_runtime(self._messages)
        except BaseException:
            self._context.close()
            raise

    def stager(self, jpeg: JpegDecoder) -> CudaStager:
        """For all models of the device; the caller closes it. Raises what
        `open_nvimgcodec` does, if the device is to decode.
        """
        on_device = open_nvimgcodec(self._context) if self._options.decode else None
        most = self._options.max_staged_bytes
        return CudaStager(self._context, CpuFrameDecoder(jpeg), max_bytes=most, on_device=on_device)

    def load(self, path: Path, *, name: str | None, profile: str | None) -> Opened:
        """Load an ONNX file, as `loading.load_onnx` does; builds its plan if none is kept, which takes minutes. Or
        the folder of an adopted plan, which has its preprocessing with it.

        Raises what `load_onnx`, `plan_for`, `open_adopted` and `open_plan` do.
        """
        if is_kept(path):
            return self._load_adopted(path, name, profile)
        opened = open_session(path, OnnxOptions())  # onnxruntime reads signatures, whoever computes
        spec = resolve_spec(path=path, signature=read_signature(opened), name=name, profile=profile)
        del opened
        self._context.use()
        plan = self._planner(path, spec, self.device, self._options)
        return self._open(plan, spec, max_batch=self._options.max_batch, precision=self._options.precision)

    def _load_adopted(self, folder: Path, name: str | None, profile: str | None) -> Opened:
        if profile is not None:
            raise SpecError(f"{folder} has the preprocessing that it was adopted with: leave the profile out")
        adopted = open_adopted(folder, architecture=self.device.architecture)
        manifest = adopted.plan.manifest
        most = self._options.max_batch if manifest.static_batch else min(self._options.max_batch, manifest.max_batch)
        spec = replace(adopted.spec, name=name or adopted.spec.name)
        return self._open(adopted.plan.image, spec, max_batch=most, precision=manifest.key.precision)

    def _open(self, plan: bytes, spec: ModelSpec, *, max_batch: int, precision: PlanPrecision) -> Opened:
        return open_plan(
            self._context,
            self._runtime,
            plan,
            spec,
            crop_kernel=self._crop_kernel,
            messages=self._messages,
            max_batch=max_batch,
            slots=self._options.slots,
            precision=precision.value,
        )

    def close(self) -> None:
        """Let go of the device."""
        self._context.use_to_free()
        del self._runtime, self._logger  # in this order
        self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def open_gpu(index: int, options: GpuOptions) -> Gpu:
    """Open CUDA device `index`. Raises DeviceUnavailable, whose message says what is missing and what installs it."""
    probed = probe()
    device = probed.device(index)
    trt = load_tensorrt(Flavour.TENSORRT)

    def make_runtime(messages: Messages) -> tuple[Runtime, object]:
        logger = logger_for(trt, messages)
        with without_collection():
            return trt.Runtime(logger), logger

    def crop_kernel(resize: Resize, output: OutputType) -> bytes:
        cache = options.cache / "kernels"
        return crop_cubin(resize, output, architecture=device.architecture, cache=cache).image

    return Gpu(probed.api, device, options, make_runtime=make_runtime, planner=_kept_or_built, crop_kernel=crop_kernel)


def _kept_or_built(path: Path, spec: ModelSpec, device: CudaDevice, options: GpuOptions, /) -> bytes:
    return plan_for(
        path,
        spec,
        architecture=device.architecture,
        precision=options.precision,
        max_batch=options.max_batch,
        cache=PlanCache(root=options.cache / PLANS),
        progress=LoggedProgress(spec.name),
    ).image
