"""Opens a GPU and loads models on it: checks first what is missing, then makes plans, kernels and engines.

Why one object: the models of a device share the context, TensorRT's runtime and the stager's memory. These must live
longer than all models, and be released in the right order. Trap: TensorRT must not be used before a device was found;
without one its next call ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from reidstream_engines.cuda.compile import crop_cubin
from reidstream_engines.cuda.decoders import CpuFrameDecoder
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.driver_api import DriverApi
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.nvimgcodec import open_nvimgcodec
from reidstream_engines.cuda.probe import CudaDevice, probe
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.errors import SpecError
from reidstream_engines.onnx_facts import read_facts
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.spec import ModelSpec, Resize
from reidstream_engines.spec_source import resolve_spec

from .adopt import open_adopted
from .api import Flavour, Runtime, load_tensorrt
from .cache import PlanCache, is_plan_folder
from .manifest import PlanPrecision
from .messages import Messages, logger_for, without_collection
from .opened_plan import CropKernel, OpenedPlan, open_plan
from .plans import plan_for
from .progress import LoggedProgress

PLANS = "plans"
"""The folder of the plans in the cache."""


def default_cache() -> Path:
    """The default folder for plans and kernels."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reidstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuOptions:
    """`slots`: batches in flight for each model. `max_staged_bytes`: device memory for frames. `cache`: a folder.
    `decode`: the device decodes JPEG, if it can. `cores`: as in `usable_cores`.
    """

    precision: PlanPrecision = PlanPrecision.FP32
    max_batch: int = 32
    slots: int = 2
    max_staged_bytes: int = 1 << 30
    decode: bool = False
    cores: int = 0
    cache: Path = field(default_factory=default_cache)


class Planner(Protocol):
    """Gives the plan's bytes for a model file on the current device."""

    def __call__(self, path: Path, spec: ModelSpec, device: CudaDevice, options: GpuOptions, /) -> bytes:
        """Raises what `plan_for` raises."""
        ...


class Gpu:
    """An opened device. Use it with `with`; close whatever was loaded on it before."""

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
        """`make_runtime`: makes TensorRT's runtime, and the logger that must live longer."""
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
        """The stager for all models of the device; the caller closes it. Raises what `open_nvimgcodec` raises, if the
        device decodes.
        """
        on_device = open_nvimgcodec(self._context, cores=self._options.cores) if self._options.decode else None
        most = self._options.max_staged_bytes
        return CudaStager(self._context, CpuFrameDecoder(jpeg), max_bytes=most, on_device=on_device)

    def load(self, path: Path, *, name: str | None, profile: str | None) -> OpenedPlan:
        """Load an ONNX file, as `load_onnx` does; builds its plan if none is kept, which takes minutes. Or load the
        folder of an adopted plan, which has its own preprocessing.

        Raises what `read_signature`, `resolve_spec`, `plan_for`, `open_adopted` and `open_plan` raise.
        """
        if is_plan_folder(path):
            return self._load_adopted(path, name, profile)
        spec = resolve_spec(path=path, signature=read_signature(path), name=name, profile=profile)
        self._context.use()
        plan = self._planner(path, spec, self.device, self._options)
        precision = read_facts(path).precision(self._options.precision.value)
        return self._open(plan, spec, max_batch=self._options.max_batch, precision=precision)

    def _load_adopted(self, folder: Path, name: str | None, profile: str | None) -> OpenedPlan:
        if profile is not None:
            raise SpecError(f"{folder} is an adopted plan, which has its own preprocessing: leave the profile out")
        adopted = open_adopted(folder, architecture=self.device.architecture)
        manifest = adopted.plan.manifest
        most = self._options.max_batch if manifest.static_batch else min(self._options.max_batch, manifest.max_batch)
        spec = replace(adopted.spec, name=name or adopted.spec.name)
        return self._open(adopted.plan.image, spec, max_batch=most, precision=manifest.key.precision.value)

    def _open(self, plan: bytes, spec: ModelSpec, *, max_batch: int, precision: str) -> OpenedPlan:
        return open_plan(
            self._context,
            self._runtime,
            plan,
            spec,
            crop_kernel=self._crop_kernel,
            messages=self._messages,
            max_batch=max_batch,
            slots=self._options.slots,
            precision=precision,
        )

    def close(self) -> None:
        """Release the device."""
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
    """Open CUDA device `index`. Raises DeviceUnavailable, which says what is missing and how to install it."""
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
