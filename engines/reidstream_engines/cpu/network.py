"""A network in onnxruntime.

Why apart from the engine: this is all that knows onnxruntime; batches and rows are `rows.py`'s. Traps: the plain wheel
lists providers that it was not asked for, so they are always named; its threads spin for work between calls unless told
not to, which on shared cores makes everything slower; a provider that fails to start is replaced by the CPU with no
more than a log line, so what came out is compared with what was asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from typing_extensions import assert_never

from reidstream_engines.errors import ModelError
from reidstream_engines.protocol import EngineInfo
from reidstream_engines.spec import ModelSpec
from reidstream_engines.spec_source import is_int8

CPU_PROVIDER = "CPUExecutionProvider"
_LOG_FATAL = 4  # whatever is an error is raised as well


def usable_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Runtime(Enum):
    """The library that computes."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Precision(Enum):
    """What the float layers of a network are computed in. Layers that its file holds in int8 stay in int8."""

    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """How an ONNX file is run. Raises ModelError for a number below 1, and for what the runtime has not.

    `providers`, `spinning`: onnxruntime's alone. `precision` other than fp32: OpenVINO's alone.
    `threads_per_call`: with 1, a call computes in the thread that made it, and `slots` threads run beside each other;
    that is the most work per core. More threads shorten one batch and waste some of the cores.
    `spinning`: threads wait busily for work; only for cores that nobody shares.
    `max_batch`: on a CPU batches beyond about 8 crops only lose the cache.
    """

    runtime: Runtime = Runtime.ONNXRUNTIME
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
            case Runtime.ONNXRUNTIME:
                if self.precision is not Precision.FP32:
                    raise ModelError(f"onnxruntime computes in fp32; {self.precision.value} needs runtime openvino")
            case Runtime.OPENVINO:
                if self.providers != (CPU_PROVIDER,) or self.spinning:
                    raise ModelError("providers and spinning are onnxruntime's; runtime openvino has neither")
            case _:
                assert_never(self.runtime)


def open_session(path: Path, options: OnnxOptions) -> onnxruntime.InferenceSession:
    """Load a model file. Raises ModelError for a file or a provider that is missing, and for what is no ONNX model."""
    if not path.is_file():
        raise ModelError(f"no model file at {path}")
    onnxruntime.disable_telemetry_events()  # nobody who runs a camera service expects it to report anything
    available = onnxruntime.get_available_providers()
    for provider in options.providers:
        if provider not in available:
            raise ModelError(f"onnxruntime has no {provider} here; it has {', '.join(available)}")
    session_options = onnxruntime.SessionOptions()
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session_options.intra_op_num_threads = options.threads_per_call
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = _LOG_FATAL
    session_options.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spinning)))
    try:
        return onnxruntime.InferenceSession(
            os.fspath(path), sess_options=session_options, providers=list(options.providers)
        )
    except Exception as error:  # onnxruntime's exceptions share no base
        raise ModelError(f"{path} is no ONNX model that onnxruntime can load: {error}") from error


class OnnxRuntimeSession:
    """See `Session`. `wanted`: the providers that were asked for."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec, wanted: tuple[str, ...]) -> None:
        self._session: Any = session
        self._input = spec.input.name
        self._output = spec.output.name
        precision = "int8" if is_int8(session.get_modelmeta().custom_metadata_map) else "fp32"
        self._info = _info(tuple(session.get_providers()), wanted, precision)
        shape = next(tensor.shape for tensor in session.get_inputs() if tensor.name == self._input)
        self._fixed_batch = shape[0] if isinstance(shape[0], int) else None

    @property
    def info(self) -> EngineInfo:
        """See `Session`."""
        return self._info

    @property
    def fixed_batch(self) -> int | None:
        """See `Session`."""
        return self._fixed_batch

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """See `Session`."""
        (rows,) = self._session.run([self._output], {self._input: batch})
        return np.asarray(rows)


def _info(providers: tuple[str, ...], wanted: tuple[str, ...], precision: str) -> EngineInfo:
    first = providers[0]
    device = "cpu" if first == CPU_PROVIDER else first.removesuffix("ExecutionProvider").lower()
    reason = "" if first == wanted[0] else f"onnxruntime could not start {wanted[0]} and uses {first}"
    return EngineInfo(engine="onnxruntime", device=device, precision=precision, fallback_reason=reason)
