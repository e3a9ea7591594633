"""What can be set of models, and of what runs them.

Why apart from the other groups: it is the largest, and the one that grows with every device. Trap: see `settings`.
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
            "cuda:0; several, such as cuda:0,cuda:1, share the frames. Where a GPU was wanted and cannot be had the "
            "CPU is used; the log, GetModel and the metric reidstream_engine_fallback say so.",
        ),
    ] = "auto"
    require_gpu: Annotated[bool, About(kind=Switch(), help="Do not start without a GPU, instead of using the CPU.")] = (
        False
    )
    gpu_precision: Annotated[
        GpuPrecision,
        About(
            kind=OneOf(members=GpuPrecision),
            help="What a GPU computes in. fp16 moves vectors a little.",
        ),
    ] = GpuPrecision.FP32
    gpu_decode: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Let the GPU decode JPEG, where it can: pip install 'reidstream-engines[gpu-decode]'. Its pixels are "
            "not exactly the CPU's, so vectors move a little (docs/gpu.md).",
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
            help="The library that computes. openvino is an extra: pip install 'reidstream-engines[openvino]'.",
        ),
    ] = InferenceRuntime.ONNXRUNTIME
    precision: Annotated[
        Precision,
        About(
            kind=OneOf(members=Precision),
            help="Of a network's float layers. bf16 needs runtime openvino and a CPU that computes in it: faster, and "
            "vectors a little off (docs/backends.md). Files in INT8 stay INT8.",
        ),
    ] = Precision.FP32
    providers: Annotated[
        tuple[str, ...],
        About(kind=NameList(), help="onnxruntime's execution providers, the preferred one first."),
    ] = ("CPUExecutionProvider",)
    threads_per_call: Annotated[
        int, About(kind=_THREADS, help="Threads that compute one batch; 0: as measured at the start.")
    ] = 0
    slots: Annotated[
        int,
        About(
            kind=WholeNumber(low=0, high=256, unit="batches"),
            help="Batches in flight per model; 0: as many as fill the cores, and on a GPU 2, which keep it busy while "
            "the next batch is prepared.",
        ),
    ] = 0
    max_batch: Annotated[
        int,
        About(
            kind=WholeNumber(low=0, high=1024, unit="crops"),
            help="Most crops in a batch; 0: as measured at the start, and on a GPU 32. Higher suits a GPU; on a CPU it "
            "makes urgent crops wait.",
        ),
    ] = 0
    tune_seconds: Annotated[
        float,
        About(
            kind=Duration(low=0, high=60, unit="s"),
            help="How long the start may measure, for each model on the CPU, which threads_per_call and max_batch "
            "serve most crops a second; those that are given are not measured. 0: 2 slots that share the cores, and "
            "batches of 8.",
        ),
    ] = 2.0
    spinning: Annotated[
        bool, About(kind=Switch(), help="Let idle engine threads spin: a little faster, and a core burnt for each.")
    ] = False
    decode_threads: Annotated[int, About(kind=_THREADS, help="Threads that decode images; 0: one per core.")] = 0
    jpeg_region: Annotated[
        bool,
        About(
            kind=Switch(),
            help="Decode only the part of a JPEG that has boxes: the same pixels in less time. A truncated file is "
            "refused all the same; one that lacks bytes in its middle may not be, and false refuses it.",
        ),
    ] = True
    jpeg_scale: Annotated[
        int,
        About(
            kind=NumberOf(numbers=(1, 2, 4, 8)),
            help="Decode JPEG frames and crops at 1/N of their size: faster, and other vectors, so each N has a space "
            "of its own. 1 is exact. PNG, WebP and raw pixels are not scaled: a session that mixes them with JPEG then "
            "mixes preprocessings within one space.",
        ),
    ] = 1
