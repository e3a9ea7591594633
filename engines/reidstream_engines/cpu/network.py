"""A network in onnxruntime: from a filled batch to finished rows.

Why apart from the engine: this is all that knows onnxruntime. Traps: the plain wheel lists providers that it was not
asked for, so they are always named; its threads spin for work between calls unless told not to, which on shared cores
makes everything slower; a provider that fails to start is replaced by the CPU with no more than a log line, so what
came out is compared with what was asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from reidstream_engines.errors import EngineFault, ModelError
from reidstream_engines.protocol import Embeddings
from reidstream_engines.spec import ModelSpec

CPU_PROVIDER = "CPUExecutionProvider"
_LOG_FATAL = 4  # whatever is an error is raised as well


def usable_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """How onnxruntime runs a model. Raises ModelError for a number below 1 or an empty list of providers.

    `threads_per_call`: with 1, a call computes in the thread that made it, and `slots` threads run beside each other;
    that is the most work per core. More threads shorten one batch and waste some of the cores.
    `spinning`: threads wait busily for work; only for cores that nobody shares.
    `max_batch`: on a CPU batches beyond about 8 crops only lose the cache.
    """

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


def open_session(path: Path, options: OnnxOptions) -> onnxruntime.InferenceSession:
    """Load a model file. Raises ModelError for a file or a provider that is missing, and for what is no ONNX model."""
    if not path.is_file():
        raise ModelError(f"no model file at {path}")
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


class Network:
    """A loaded model as a function from batches to rows. Any number of threads."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec) -> None:
        self._session: Any = session
        self._spec = spec
        shape = next(tensor.shape for tensor in session.get_inputs() if tensor.name == spec.input.name)
        self._piece = shape[0] if isinstance(shape[0], int) else None

    @property
    def providers(self) -> tuple[str, ...]:
        """What onnxruntime really uses, the preferred one first."""
        return tuple(self._session.get_providers())

    def capacity(self, count: int) -> int:
        """Rows that a batch array needs for `count` crops: more than `count` where the model's batch size is fixed."""
        if self._piece is None:
            return count
        return -(-count // self._piece) * self._piece

    def run(self, batch: npt.NDArray[np.float32], count: int) -> Embeddings:
        """Embed the first `count` rows of `batch`, (capacity(n), C, H, W) with n >= count; the others are scratch.

        Returns (count, dim) float32, the caller's. Raises EngineFault.
        """
        if self._piece is None:
            rows = self._call(batch[:count])
        else:
            end = self.capacity(count)
            batch[count:end] = 0.0
            pieces = [self._call(batch[at : at + self._piece]) for at in range(0, end, self._piece)]
            rows = np.concatenate(pieces)[:count]
        return self._finish(rows)

    def _call(self, batch: npt.NDArray[np.float32]) -> Embeddings:
        spec = self._spec
        try:
            (rows,) = self._session.run([spec.output.name], {spec.input.name: batch})
        except Exception as error:  # onnxruntime's exceptions share no base
            raise EngineFault(f"onnxruntime failed on a batch of {len(batch)}: {error}") from error
        if rows.shape != (len(batch), spec.output.dim) or rows.dtype != np.float32:
            raise EngineFault(
                f"the network answered {rows.dtype} {rows.shape} to a batch of {len(batch)}, "
                f"not float32 ({len(batch)}, {spec.output.dim})"
            )
        return np.asarray(rows, np.float32)

    def _finish(self, rows: Embeddings) -> Embeddings:
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            raise EngineFault(f"the network's answer is not finite in rows {np.flatnonzero(~finite).tolist()}")
        if self._spec.output.l2_normalize:
            # In float64, so that neither large nor tiny numbers leave its range when they are squared.
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
            norms[norms == 0.0] = 1.0
            np.divide(rows, norms[:, np.newaxis], out=rows, casting="same_kind")
        return rows
