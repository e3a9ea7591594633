"""A network in onnxruntime.

Trap: if a provider fails to start, onnxruntime uses the CPU and only writes a log line. So the providers that are
really used are compared with those that were asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from typing_extensions import override

from reidstream_engines.onnx_file import CPU_PROVIDER, open_session
from reidstream_engines.protocol import EngineInfo
from reidstream_engines.spec import ModelSpec

from .loaded_network import LoadedNetwork
from .options import OnnxOptions


def open_onnxruntime(path: Path, options: OnnxOptions) -> onnxruntime.InferenceSession:
    """Load a model file as `options` say. Raises what `open_session` does."""
    return open_session(path, providers=options.providers, threads=options.threads_per_call, spinning=options.spinning)


class OnnxRuntimeNetwork(LoadedNetwork):
    """`wanted`: the providers that were asked for. `precision`: of the file."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        spec: ModelSpec,
        wanted: tuple[str, ...],
        *,
        precision: str = "fp32",
    ) -> None:
        self._session: Any = session
        self._input = spec.input.name
        self._output = spec.output.name
        self._info = _info(tuple(session.get_providers()), wanted, precision)
        shape = next(tensor.shape for tensor in session.get_inputs() if tensor.name == self._input)
        self._fixed_batch = shape[0] if isinstance(shape[0], int) else None

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
        (rows,) = self._session.run([self._output], {self._input: batch})
        return np.asarray(rows)


def _info(providers: tuple[str, ...], wanted: tuple[str, ...], precision: str) -> EngineInfo:
    first = providers[0]
    device = "cpu" if first == CPU_PROVIDER else first.removesuffix("ExecutionProvider").lower()
    reason = "" if first == wanted[0] else f"onnxruntime could not start {wanted[0]} and uses {first}"
    return EngineInfo(engine="onnxruntime", device=device, precision=precision, fallback_reason=reason)
