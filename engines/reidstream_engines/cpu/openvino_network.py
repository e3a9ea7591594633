"""A network in OpenVINO, the other inference library for ONNX files on a CPU.

Why a second library: it can compute in bf16 if the CPU can; onnxruntime cannot. Why pieces: a network that was compiled
for one batch size is up to a quarter faster than one that takes any, and in bf16 closer to fp32, since more is fused.
So a batch is cut into pieces of two sizes.

Traps:
- By default OpenVINO silently uses bf16 wherever that is fast. So the precision is always named, and the one that was
  really used is read from the compiled network. A CPU without bf16 is refused here, since OpenVINO would ignore it.
- An infer request serves one call at a time, and its answer is a view that the next call overwrites.
- Pinned threads of several processes would share some cores while others idle, so nothing is pinned.
- Importing OpenVINO reports to its makers over the network, in a thread of its own, unless the package that does this
  cannot be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from reidstream_engines.errors import ModelError, PackageMissing
from reidstream_engines.onnx_facts import PLAIN_FACTS, OnnxFacts
from reidstream_engines.protocol import EngineInfo
from reidstream_engines.spec import ModelSpec

from .loaded_network import LoadedNetwork
from .options import OnnxOptions, Precision

_DEVICE = "CPU"
_SIZES = (4, 1)
"""Pieces, the largest first. 4 is as fast as 8, and each size needs a copy of the weights."""
_HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16"}
_SHOWN = {"u8": "int8", "i8": "int8", "bf16": "bf16", "f16": "fp16", "f32": "fp32"}
_HEAVY = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
"""The layers of a compiled network that take most of the time; their precision is reported as the network's."""


class OpenVinoNetwork(LoadedNetwork):
    """`pieces`: the network, compiled for each batch size, the largest first. `fixed`: the file has only one size."""

    def __init__(self, pieces: Mapping[int, Any], spec: ModelSpec, info: EngineInfo, *, fixed: bool) -> None:
        self._pieces = {size: _Piece(compiled, spec) for size, compiled in pieces.items()}
        self._fixed_batch = max(pieces) if fixed else None
        self._info = info

    @property
    @override
    def info(self) -> EngineInfo:
        return self._info

    @property
    @override
    def fixed_batch(self) -> int | None:
        return self._fixed_batch

    @override
    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rows, at = [], 0
        for size, piece in self._pieces.items():
            while len(batch) - at >= size:
                rows.append(piece.run(batch[at : at + size]))
                at += size
        return np.concatenate(rows)


class _Piece:
    """The network for one batch size. It has as many infer requests as calls were ever in progress at a time."""

    def __init__(self, compiled: Any, spec: ModelSpec) -> None:  # noqa: ANN401 - OpenVINO has no types
        self._compiled = compiled
        self._input = spec.input.name
        self._output = spec.output.name
        self._tensor: Any = _openvino().Tensor
        self._idle: list[Any] = []

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
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


def open_openvino(path: Path, spec: ModelSpec, options: OnnxOptions, facts: OnnxFacts = PLAIN_FACTS) -> OpenVinoNetwork:
    """Compile a model file for this CPU, with as many streams as there are slots. `facts`: of the file.

    Raises PackageMissing, and ModelError for a precision that this CPU lacks or a file that OpenVINO cannot run.
    """
    core = _openvino().Core()
    capabilities = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if options.precision is Precision.BF16 and "BF16" not in capabilities:
        raise ModelError(f"this CPU does not compute in bf16, only in {', '.join(capabilities)}; choose precision fp32")
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        "NUM_STREAMS": options.slots,
        "INFERENCE_NUM_THREADS": options.slots * options.threads_per_call,
        "ENABLE_CPU_PINNING": False,
    }
    source = spec.input
    try:
        model = core.read_model(os.fspath(path))
        batch = model.input(source.name).partial_shape[0]
        sizes = [batch.get_length()] if batch.is_static else [size for size in _SIZES if size <= options.max_batch]
        pieces = {}
        for size in sizes:
            model.reshape({source.name: [size, len(source.mean), source.height, source.width]})
            pieces[size] = core.compile_model(model, _DEVICE, settings)
        info = _info(pieces[sizes[0]], options.precision, facts)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot run {path}: {error}") from error
    return OpenVinoNetwork(pieces, spec, info, fixed=batch.is_static)


def _info(compiled: Any, wanted: Precision, facts: OnnxFacts) -> EngineInfo:  # noqa: ANN401 - OpenVINO has no types
    used = {
        _SHOWN.get(name, name)
        for layer in compiled.get_runtime_model().get_ops()
        if _text(layer, "layerType") in _HEAVY
        for name in [_text(layer, "runtimePrecision")]
    }
    missed = wanted is Precision.BF16 and "bf16" not in used
    reason = "bf16 was asked for, but OpenVINO computes no layer of this network in bf16" if missed else ""
    return EngineInfo(engine="openvino", device="cpu", precision=facts.precision(*used), fallback_reason=reason)


def _text(layer: Any, key: str) -> str:  # noqa: ANN401 - OpenVINO has no types
    return str(layer.get_rt_info()[key].value)


def _openvino() -> ModuleType:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed
    try:
        import openvino  # noqa: PLC0415 - optional
    except ImportError:
        raise PackageMissing(
            "runtime openvino needs the package openvino, which is not installed; install it: "
            "pip install 'reidstream-engines[openvino]'"
        ) from None
    module: ModuleType = openvino
    return module
