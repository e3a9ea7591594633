"""Opens ONNX files with onnxruntime, to run them or only to read what they say of themselves.

Why in a place of its own: whatever runs a network (onnxruntime, OpenVINO, TensorRT), onnxruntime reads its signature.

Traps: the plain wheel of onnxruntime lists providers that nobody asked for, so they are always named. Its threads spin
between calls unless told not to, which slows everything down on shared cores.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import onnxruntime

from .errors import ModelError
from .model_kinds import no_file, what_it_is
from .spec_source import ModelSignature, TensorSignature

CPU_PROVIDER = "CPUExecutionProvider"
_NEWER = r"Unsupported model IR version|Opset \d+ is under development"
_LOG_FATAL = 4  # whatever is an error is raised as well


def open_session(
    path: Path, *, providers: tuple[str, ...] = (CPU_PROVIDER,), threads: int = 1, spinning: bool = False
) -> onnxruntime.InferenceSession:
    """Load a model file. `threads`: of one call. `spinning`: threads wait busily between calls.

    Raises ModelError: the file is missing or is not an ONNX model (it says what the file is instead), or a provider is
    not available here.
    """
    try:
        if not path.is_file():
            raise ModelError(no_file(path))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    onnxruntime.disable_telemetry_events()  # nobody who runs a camera service expects it to report anything
    available = onnxruntime.get_available_providers()
    for provider in providers:
        if provider not in available:
            raise ModelError(
                f"onnxruntime has no provider {provider} here; the available providers are {', '.join(available)}"
            )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    try:
        return onnxruntime.InferenceSession(os.fspath(path), sess_options=options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions share no base
        raise ModelError(_refusal(path, error)) from error


def _refusal(path: Path, error: Exception) -> str:
    try:
        said = what_it_is(path)
    except OSError as unreadable:
        return f"{path} cannot be read: {unreadable.strerror}"
    if said:
        return f"{path} {said}"
    reason = str(error).strip()
    if re.search(_NEWER, reason):
        return (
            f"{path} is newer than the installed onnxruntime {onnxruntime.__version__}; install a newer one, or export "
            f"the network with an older opset_version: {reason}"
        )
    return f"onnxruntime cannot load {path} as an ONNX model: {reason}"


def read_signature(path: Path) -> ModelSignature:
    """The signature of the ONNX file at `path`; loads it for that. Raises ModelError."""
    return signature_of(open_session(path))


def signature_of(session: Any) -> ModelSignature:  # noqa: ANN401 - onnxruntime's session has no types
    """The signature of a session of onnxruntime."""
    return ModelSignature(
        inputs=_tensors(session.get_inputs()),
        outputs=_tensors(session.get_outputs()),
        metadata=dict(session.get_modelmeta().custom_metadata_map),
    )


def _tensors(arguments: Any) -> tuple[TensorSignature, ...]:  # noqa: ANN401 - onnxruntime has no types
    return tuple(
        TensorSignature(
            name=argument.name,
            shape=tuple(axis if isinstance(axis, int) else None for axis in argument.shape),
            dtype=argument.type,
        )
        for argument in arguments
    )
