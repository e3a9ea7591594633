"""The settings of models and of the engines that run them.

Why apart from the other groups: it is the largest, and it grows with every device. Trap: see `settings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from .about import About
from .fields import Duration, NameList, NumberOf, OneOf, Switch, Text, WholeNumber
from .paths import FilePath
from .runtimes import GpuPrecision, InferenceRuntime, Precision

_THREADS = WholeNumber(low=0, high=1024, unit="threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How models are run."""

    device: Annotated[
        str,
        About(
            kind=Text(
                pattern=r"auto|cpu|cuda|cuda:\d{1,3}(,cuda:\d{1,3})*",
                allowed="auto, cpu, cuda, or cuda:N[,cuda:N...]",
                metavar="DEVICE",
            ),
            help="Where models run. auto: on the first CUDA device if this machine has one, else on the CPU. cuda is "
            "cuda:0; several, such as cuda:0,cuda:1, share the frames. If a GPU was asked for and cannot be used, "
            "the CPU is used; the log, GetModel and the metric reidstream_engine_fallback say so.",
        ),
    ] = "auto"
    require_gpu: Annotated[
        bool, About(kind=Switch(), help="Do not start if no GPU can be used; without this, the CPU is used.")
    ] = False
    gpu_precision: Annotated[
        GpuPrecision,
        About(
            kind=OneOf(members=GpuPrecision),
            help="The precision in which a GPU computes. fp16 changes vectors a little.",
        ),
    ] = GpuPrecision.FP32
    gpu_decode: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Let the GPU decode JPEG, if it can: pip install 'reidstream-engines[gpu-decode]'. Its pixels differ "
            "a little from the CPU's, and so do the vectors (docs/gpu.md).",
        ),
    ] = False
    gpu_cache: Annotated[
        Path | None,
        About(kind=FilePath(), help="Folder for TensorRT's plans and compiled kernels. Default: ~/.cache/reidstream."),
    ] = None
    runtime: Annotated[
        InferenceRuntime,
        About(
            kind=OneOf(members=InferenceRuntime),
            help="The library that runs networks on the CPU. openvino must be installed: pip install "
            "'reidstream-engines[openvino]'.",
        ),
    ] = InferenceRuntime.ONNXRUNTIME
    precision: Annotated[
        Precision,
        About(
            kind=OneOf(members=Precision),
            help="The precision of a network's float layers. bf16 is faster and changes vectors a little "
            "(docs/backends.md); it needs runtime openvino and a CPU that can compute in bf16. INT8 layers stay INT8.",
        ),
    ] = Precision.FP32
    providers: Annotated[
        tuple[str, ...],
        About(kind=NameList(), help="onnxruntime's execution providers, the preferred one first."),
    ] = ("CPUExecutionProvider",)
    cores: Annotated[
        int,
        About(
            kind=WholeNumber(low=0, high=1024, unit="cores"),
            help="Cores to work with: every number of threads is made for them. 0: those that the process may run on, "
            "or the CPU quota of its container, rounded up, if that is less.",
        ),
    ] = 0
    threads_per_call: Annotated[
        int, About(kind=_THREADS, help="Threads that compute one batch; 0: measured at the start.")
    ] = 0
    slots: Annotated[
        int,
        About(
            kind=WholeNumber(low=0, high=256, unit="batches"),
            help="Batches in flight for each model; 0: as many as fill the cores; on a GPU 2, so that it computes one "
            "while the next is prepared.",
        ),
    ] = 0
    max_batch: Annotated[
        int,
        About(
            kind=WholeNumber(low=0, high=1024, unit="crops"),
            help="Most crops in a batch; 0: measured at the start; on a GPU 32. More suits a GPU; on a CPU, large "
            "batches make urgent crops wait.",
        ),
    ] = 0
    tune_seconds: Annotated[
        float,
        About(
            kind=Duration(low=0, high=60, unit="s"),
            help="How long to measure at the start, for each model on the CPU, which threads_per_call and max_batch "
            "serve the most crops a second: the simplest that no other clearly beats. A figure that is set is not "
            "measured. 0: no measuring; 2 slots share the cores, and batches have 8 crops.",
        ),
    ] = 2.0
    tuning_file: Annotated[
        Path | None,
        About(
            kind=FilePath(),
            help="Remember in this file what was measured, for each model, processor, number of cores and version of "
            "the libraries. The next start then uses it and measures nothing. reidstream-engines tune writes it, too.",
        ),
    ] = None
    spinning: Annotated[
        bool,
        About(kind=Switch(), help="Let idle engine threads spin: a little faster, but each one keeps a core busy."),
    ] = False
    decode_threads: Annotated[
        int, About(kind=_THREADS, help="Frames that are decoded at a time; 0: one for each core.")
    ] = 0
    jpeg_region: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Do not decode what lies above and beside the boxes of a JPEG: the same pixels in less time. "
            "Damaged files are refused either way.",
        ),
    ] = True
    jpeg_scale: Annotated[
        int,
        About(
            kind=NumberOf(numbers=(1, 2, 4, 8)),
            help="Decode JPEG frames and crops at 1/N of their size. This is faster and gives other vectors, so each N "
            "has its own embedding space. 1 is exact. PNG, WebP and raw pixels are not scaled, so do not mix them with "
            "JPEG in one session: their preprocessing would differ within one space.",
        ),
    ] = 1
