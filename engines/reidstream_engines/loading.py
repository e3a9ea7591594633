"""From a model file to an engine that serves it.

Why one function: the order matters. The file is opened first, its spec is resolved against what the network really has,
and a profile that cannot be exact here is refused before a single crop is taken.
"""

from __future__ import annotations

from pathlib import Path

from typing_extensions import assert_never

from .cpu.network import OnnxOptions, OnnxRuntimeSession, Runtime, open_session
from .cpu.onnx_engine import OnnxEngine
from .cpu.openvino_session import open_openvino
from .cpu.rows import Session
from .spec_source import read_signature, resolve_spec


def load_onnx(
    path: Path,
    *,
    name: str | None,
    profile: str | None,
    options: OnnxOptions,
    jpeg_scale: int = 1,
    fallback_reason: str = "",
) -> OnnxEngine:
    """Load an ONNX file. `name` None: from the file; `profile` None: from the file's metadata or the TOML beside it.

    `jpeg_scale`: that of the stager whose frames it will be given; it is part of the embedding space.
    `fallback_reason`: see `EngineInfo`.

    Raises ModelError (missing, not ONNX, a provider or a precision that is not there), PackageMissing (the runtime),
    SpecError (no spec, or one that does not fit the network) and UnsupportedProfile (the preprocessing cannot be exact
    here; says what to install).
    """
    opened = open_session(path, options)  # whatever the runtime: it is onnxruntime that reads signatures
    spec = resolve_spec(path=path, signature=read_signature(opened), name=name, profile=profile, jpeg_scale=jpeg_scale)
    session: Session
    match options.runtime:
        case Runtime.ONNXRUNTIME:
            session = OnnxRuntimeSession(opened, spec, options.providers)
        case Runtime.OPENVINO:
            del opened  # its copy of the weights
            session = open_openvino(path, spec, options)
        case _:
            assert_never(options.runtime)
    return OnnxEngine(session, spec, options, fallback_reason=fallback_reason)
