"""A network in OpenVINO, the other runtime for ONNX files on a CPU.

Why a second one: it computes in bf16 where the CPU does, which onnxruntime cannot. Traps: left alone it takes bf16
wherever that is fast, in silence, so the precision is always named, and what it really took is read from the compiled
network; what it cannot do it leaves out without a word, so a CPU without bf16 is refused here. An infer request
belongs to one call at a time, and its answer is a view that the next call overwrites. Pinned threads of several
processes meet on the same cores while others idle, so nothing is pinned.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import ModelError, PackageMissing
from reidstream_engines.protocol import EngineInfo
from reidstream_engines.spec import ModelSpec

from .network import OnnxOptions, Precision

_DEVICE = "CPU"
_HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16"}
_SHOWN = {"u8": "int8", "i8": "int8", "bf16": "bf16", "f16": "fp16", "f32": "fp32"}
_HEAVY = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
"""Layers of a compiled network in which the time is spent, and whose precision names the network's."""


class OpenVinoSession:
    """See `Session`. One infer request for each call that was ever in progress at a time."""

    def __init__(self, compiled: Any, spec: ModelSpec, info: EngineInfo) -> None:  # noqa: ANN401 - OpenVINO has no types
        self._compiled = compiled
        self._input = spec.input.name
        self._output = spec.output.name
        self._info = info
        batch = compiled.input(self._input).partial_shape[0]
        self._fixed_batch = batch.get_length() if batch.is_static else None
        self._tensor: Any = _openvino().Tensor
        self._idle: list[Any] = []

    @property
    def info(self) -> EngineInfo:
        """See `Session`."""
        return self._info

    @property
    def fixed_batch(self) -> int | None:
        """See `Session`."""
        return self._fixed_batch

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """See `Session`. The first batch of a size takes some ten milliseconds more."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.set_tensor(self._input, self._tensor(batch, shared_memory=True))
            request.infer()
            return np.array(request.get_tensor(self._output).data)
        finally:
            self._idle.append(request)


def open_openvino(path: Path, spec: ModelSpec, options: OnnxOptions) -> OpenVinoSession:
    """Compile a model file for this CPU, as many streams as there are slots.

    Raises PackageMissing, and ModelError for a precision that this CPU does not compute in and for a file that OpenVINO
    cannot run.
    """
    openvino = _openvino()
    core = openvino.Core()
    capabilities = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if options.precision is Precision.BF16 and "BF16" not in capabilities:
        raise ModelError(f"this CPU does not compute in bf16, only in {', '.join(capabilities)}; choose precision fp32")
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        "NUM_STREAMS": options.slots,
        "INFERENCE_NUM_THREADS": options.slots * options.threads_per_call,
        "ENABLE_CPU_PINNING": False,
    }
    try:
        model = core.read_model(os.fspath(path))
        batch = model.input(spec.input.name).partial_shape[0]
        source = spec.input
        model.reshape({source.name: openvino.PartialShape([batch, len(source.mean), source.height, source.width])})
        compiled = core.compile_model(model, _DEVICE, settings)
        info = _info(compiled, options.precision)
        return OpenVinoSession(compiled, spec, info)
    except RuntimeError as error:
        raise ModelError(f"{path} is no model that OpenVINO can run: {error}") from error


def _info(compiled: Any, wanted: Precision) -> EngineInfo:  # noqa: ANN401 - OpenVINO has no types
    used = {
        _SHOWN.get(name, name)
        for layer in compiled.get_runtime_model().get_ops()
        if _text(layer, "layerType") in _HEAVY
        for name in [_text(layer, "runtimePrecision")]
    }
    precision = "+".join(sorted(used - {"fp32"}, reverse=True)) or "fp32"
    missed = wanted is Precision.BF16 and "bf16" not in used
    reason = "bf16 was asked for, and OpenVINO computes no layer of this network in it" if missed else ""
    return EngineInfo(engine="openvino", device="cpu", precision=precision, fallback_reason=reason)


def _text(layer: Any, key: str) -> str:  # noqa: ANN401 - OpenVINO has no types
    return str(layer.get_rt_info()[key].value)


def _openvino() -> ModuleType:
    try:
        import openvino  # noqa: PLC0415 - optional
    except ImportError:
        raise PackageMissing(
            "runtime openvino needs the package openvino, which is not installed here: "
            "pip install 'reidstream-engines[openvino]'"
        ) from None
    module: ModuleType = openvino
    return module
