"""How an ONNX file is run on the CPU: the inference library, the precision, threads and batches.

Why apart from the libraries: whoever chooses needs none of them loaded. Trap: not every library has every option; what
does not fit together is refused when the options are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from typing_extensions import assert_never

from reidstream_engines.cores import usable_cores
from reidstream_engines.errors import ModelError
from reidstream_engines.onnx_file import CPU_PROVIDER


class InferenceRuntime(Enum):
    """The library that runs the network."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Precision(Enum):
    """The precision of a network's float layers. Layers that the file holds in int8 stay in int8."""

    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """How an ONNX file is run. Raises ModelError for a number below 1, and for an option that the runtime lacks.

    `providers`, `spinning`: for onnxruntime only. `precision` other than fp32: for OpenVINO only.
    `threads_per_call`: with 1, each call computes in the thread that made it, and `slots` calls run at a time; this
    gives the most work per core. More threads shorten one batch and leave some cores idle.
    `spinning`: threads wait busily for work. Use it only for cores that nothing else uses.
    `max_batch`: on a CPU, batches of more than about 8 crops only lose the cache.
    """

    runtime: InferenceRuntime = InferenceRuntime.ONNXRUNTIME
    precision: Precision = Precision.FP32
    providers: tuple[str, ...] = (CPU_PROVIDER,)
    threads_per_call: int = 1
    spinning: bool = False
    max_batch: int = 8
    slots: int = field(default_factory=usable_cores)

    def __post_init__(self) -> None:
        for name in ("threads_per_call", "max_batch", "slots"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.providers:
            raise ModelError("providers must name at least one onnxruntime execution provider")
        match self.runtime:
            case InferenceRuntime.ONNXRUNTIME:
                if self.precision is not Precision.FP32:
                    raise ModelError(
                        f"onnxruntime computes in fp32 only; precision {self.precision.value} needs runtime openvino"
                    )
            case InferenceRuntime.OPENVINO:
                if self.providers != (CPU_PROVIDER,) or self.spinning:
                    raise ModelError(
                        "providers and spinning are options of runtime onnxruntime; leave them out with openvino"
                    )
            case _:
                assert_never(self.runtime)
